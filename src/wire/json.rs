//! What clients say in JSON: commands over a WebSocket, and many publications in one body.
//!
//! A key that is unknown, or there twice, is an error: whoever mistypes `chanel` should hear of it at
//! once. The sentence says where it stands and what was expected there; nothing that came is repeated.
//! `null` means the same as leaving a key out, because that is what scripts send for "none"; so does an empty type.
//!
//! Knows: the shapes of these objects. Never learns which channels exist, or which names are allowed.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::kit::secret::{self, Secret};
use crate::wire::refusal::Refusal;
use crate::wire::text;

/// Bytes of a client's `ref`, as it is written. It is kept until the answer goes out, and any handle fits: a number,
/// a UUID, two words.
pub const REFERENCE_BYTES_MAX: usize = 256;

/// Channel names in one command, as in one URL.
pub const NAMES_MAX: usize = 64;

// --- Commands -----------------------------------------------------------------------------------

/// What a text frame asks for, and under which handle it is to be answered.
#[derive(Debug)]
pub struct Asked {
    /// The `ref`, as it was written: it goes back into the answer, even if the rest of the frame makes no sense.
    pub reference: Option<Box<RawValue>>,
    /// What to do, or the sentence to answer with: a 400.
    pub command: Result<Command, Refusal>,
}

/// What a client tells a connection that stays open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `{"publish":TEXT,"channel":NAME,"event":TYPE,"token":TOKEN}`
    Publish {
        /// What is to be said, and where.
        publication: Publication,
        /// What allows it, for those who could not send it with the handshake.
        token: Option<Secret>,
    },
    /// `{"subscribe":[NAMES],"since":ID}`
    Subscribe {
        /// The channels' names; at least one.
        names: Vec<String>,
        /// Where to begin; with what comes from now on, if it does not say.
        start: Option<Start>,
    },
    /// `{"unsubscribe":[NAMES]}`
    Unsubscribe {
        /// The channels' names; at least one.
        names: Vec<String>,
    },
}

/// One message for one channel. Names and types are as they came: who knows channels judges them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publication {
    /// The channel's name.
    pub channel: String,
    /// What is said.
    pub data: Box<str>,
    /// Its type, if it has one.
    #[serde(default, deserialize_with = "event")]
    pub event: Option<String>,
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// After this id: an integer, or its digits in a string.
    After(u64),
    /// With all that the history still has: `"oldest"`.
    Oldest,
}

/// Reads a text frame.
pub fn command(frame: &str) -> Asked {
    match object::<Keys>(frame.as_bytes()) {
        Ok(keys) => keys.asked(),
        Err(mistake) => {
            // Read again for the handle alone, so that even a mistake finds the one who waits for an answer.
            let saved = object::<OnlyReference>(frame.as_bytes()).ok();
            let reference = saved.and_then(|saved| saved.reference);
            Asked { reference, command: Err(Refusal::new(400, mistake.sentence(0))) }
        }
    }
}

/// All that may stand in a command.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    publish: Option<Box<str>>,
    channel: Option<String>,
    #[serde(default, deserialize_with = "event")]
    event: Option<String>,
    token: Option<Token>,
    subscribe: Option<Names>,
    since: Option<Start>,
    unsubscribe: Option<Names>,
    #[serde(default, rename = "ref", deserialize_with = "reference")]
    reference: Option<Box<RawValue>>,
}

impl Keys {
    fn asked(mut self) -> Asked {
        let reference = self.reference.take();
        Asked { reference, command: self.command().map_err(|detail| Refusal::new(400, detail)) }
    }

    fn command(self) -> Result<Command, &'static str> {
        let Keys { publish, channel, event, token, subscribe, since, unsubscribe, reference: _ } = self;
        if publish.is_none() && (channel.is_some() || event.is_some() || token.is_some()) {
            return Err("a channel, an event or a token without anything to publish; expected \
                {\"publish\":TEXT,\"channel\":NAME}");
        }
        if subscribe.is_none() && since.is_some() {
            return Err("a since without a subscribe; expected {\"subscribe\":[NAMES],\"since\":ID}");
        }
        match (publish, subscribe, unsubscribe) {
            (Some(data), None, None) => {
                let channel = channel.ok_or("no channel to publish to; add \"channel\":NAME")?;
                let publication = Publication { channel, data, event };
                Ok(Command::Publish { publication, token: token.map(|Token(secret)| secret) })
            }
            (None, Some(Names(names)), None) if names.is_empty() => {
                Err("an empty list, expected a list of channel names")
            }
            (None, Some(Names(names)), None) => Ok(Command::Subscribe { names, start: since }),
            (None, None, Some(Names(names))) => Ok(Command::Unsubscribe { names }),
            (None, None, None) => Err("no command; expected publish, subscribe or unsubscribe"),
            _ => Err("several commands in one frame; send one of publish, subscribe and unsubscribe"),
        }
    }
}

/// An empty type is none, as in `?event=`.
fn event<'de, D: Deserializer<'de>>(json: D) -> Result<Option<String>, D::Error> {
    let event = Option::<String>::deserialize(json)?;
    Ok(event.filter(|event| !event.is_empty()))
}

/// What can be saved of a command that is wrong.
#[derive(serde::Deserialize)]
struct OnlyReference {
    #[serde(default, rename = "ref", deserialize_with = "reference")]
    reference: Option<Box<RawValue>>,
}

/// A `ref` is any JSON; not a number to us, nor a string, since reading it could change it.
fn reference<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Box<RawValue>>, D::Error> {
    let raw = <&RawValue>::deserialize(json)?;
    if raw.get().len() > REFERENCE_BYTES_MAX {
        return Err(de::Error::custom(format_args!("a ref of more than {REFERENCE_BYTES_MAX} bytes")));
    }
    Ok(Some(raw.to_owned()))
}

/// A token.
struct Token(Secret);

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Token;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a token, in a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Token, E> {
                Secret::new(text.as_bytes()).map(Token).ok_or_else(|| {
                    E::custom(format_args!("a token of more than {} bytes", secret::BYTES_MAX))
                })
            }
        }

        json.deserialize_any(Text)
    }
}

/// At most [`NAMES_MAX`] names.
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {NAMES_MAX} channel names")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element()? {
                    if names.len() == NAMES_MAX {
                        return Err(de::Error::custom(format_args!("too many names, expected {self}")));
                    }
                    names.push(name);
                }
                Ok(Names(names))
            }

            fn visit_str<E: de::Error>(self, _: &str) -> Result<Names, E> {
                Err(E::custom(format_args!("a string, expected {self}")))
            }
        }

        impl fmt::Display for List {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.expecting(f)
            }
        }

        json.deserialize_any(List)
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Id;

        impl Visitor<'_> for Id {
            type Value = Start;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a message id (an integer, or its digits in a string) or \"oldest\"")
            }

            fn visit_u64<E: de::Error>(self, id: u64) -> Result<Start, E> {
                Ok(Start::After(id))
            }

            fn visit_str<E: de::Error>(self, start: &str) -> Result<Start, E> {
                match (start, text::digits(start)) {
                    ("oldest", _) => Ok(Start::Oldest),
                    (_, Some(id)) => Ok(Start::After(id)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(start), &self)),
                }
            }
        }

        json.deserialize_any(Id)
    }
}

// --- Publications -------------------------------------------------------------------------------

/// Reads `application/x-ndjson`: one [`Publication`] a line, empty lines left out. The first line that is wrong says
/// so with its number, in a 400; what follows it is of no use, since a body is published as a whole or not at all.
pub fn publications(body: &[u8]) -> impl Iterator<Item = Result<Publication, Refusal>> {
    let lines = body.split(|byte| *byte == b'\n').enumerate();
    lines.filter(|(_, line)| !line.trim_ascii().is_empty()).map(|(lines_before, line)| {
        object(line).map_err(|mistake| Refusal::new(400, mistake.sentence(lines_before)))
    })
}

// --- Objects and mistakes -----------------------------------------------------------------------

/// Reads one object. `serde` would take `["news","hello"]` for a [`Publication`] as well.
fn object<T: de::DeserializeOwned>(json: &[u8]) -> Result<T, Mistake> {
    match json.trim_ascii_start() {
        [b'{', ..] => serde_json::from_slice(json).map_err(Mistake::Inside),
        _ => Err(Mistake::NoObject),
    }
}

/// Why some JSON is not what was expected.
enum Mistake {
    NoObject,
    Inside(serde_json::Error),
}

impl Mistake {
    /// What is wrong and where.
    fn sentence(&self, lines_before: usize) -> String {
        let (line, column, what) = match self {
            Mistake::NoObject => (1, 1, "no object; expected { here".to_owned()),
            Mistake::Inside(error) => (error.line(), error.column(), error.to_string()),
        };
        let what = what.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&what);
        format!("line {}, column {column}: {}", lines_before + line, without_quotation(what))
    }
}

/// `serde` says FOUND, or FOUND, expected EXPECTED. Before the comma it may quote what came (``unknown field `chanel` ``,
/// ``integer `7` ``, `string "a"`); that is left out.
fn without_quotation(what: &str) -> String {
    // The last one: a quoted key may hold these words as well.
    let Some((found, expected)) = what.rsplit_once(", expected ") else { return what.to_owned() };
    let found = found.split(['`', '"']).next().unwrap_or_default().trim_end();
    format!("{found}, expected {expected}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(frame: &str) -> Result<Command, String> {
        command(frame).command.map_err(|refusal| {
            assert_eq!((refusal.status, refusal.close), (400, false), "{}", refusal.detail);
            assert!(refusal.detail.len() < 200 && !refusal.detail.contains(char::is_control));
            refusal.detail.into()
        })
    }

    fn reference(frame: &str) -> Option<String> {
        command(frame).reference.map(|raw| raw.get().to_owned())
    }

    fn publication(channel: &str, data: &str, event: Option<&str>) -> Publication {
        Publication { channel: channel.into(), data: data.into(), event: event.map(String::from) }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).into()).collect()
    }

    #[track_caller]
    fn assert_says(frame: &str, words: &str) {
        let detail = read(frame).expect_err("this should have been refused");
        assert!(detail.contains(words), "{detail:?} lacks {words:?}");
    }

    #[test]
    fn a_publish_has_a_text_and_a_channel_and_may_have_a_type() {
        let published =
            |data, event| Ok(Command::Publish { publication: publication("news", data, event), token: None });
        assert_eq!(read(r#"{"publish":"hi","channel":"news"}"#), published("hi", None));
        assert_eq!(read(r#"{"publish":"hi","channel":"news","event":""}"#), published("hi", None));
        assert_eq!(read(r#" { "event" : "a" , "channel":"news","publish":"" } "#), published("", Some("a")));
        assert_eq!(
            read(r#"{"publish":"\u00e4\ud83d\ude00\n\u0000","channel":"news","event":null}"#),
            published("ä😀\n\0", None)
        );
        assert_says(r#"{"publish":"hi"}"#, "no channel");
        assert_says(r#"{"publish":7,"channel":"news"}"#, "expected a string");
        assert_says(r#"{"publish":"\ud800","channel":"news"}"#, "line 1, column");
    }

    #[test]
    fn a_publish_may_bring_a_token_which_nothing_repeats() {
        let Ok(Command::Publish { token, .. }) =
            read(r#"{"publish":"","channel":"a","token":"open-sesame"}"#)
        else {
            panic!("this is a command")
        };
        assert_eq!(token, Secret::new(b"open-sesame"));
        assert!(!format!("{token:?}").contains("sesame"));
        let long = format!(r#"{{"publish":"","channel":"a","token":"{}"}}"#, "sesame".repeat(50));
        assert_says(&long, "a token of more than 256 bytes");
        assert!(!read(&long).unwrap_err().contains("sesame"));
        for wrong in ["4242", "-4242", "42.42", "[4242]", "{\"a\":4242}"] {
            let error = read(&format!(r#"{{"publish":"","channel":"a","token":{wrong}}}"#)).unwrap_err();
            assert!(error.contains("expected a token, in a string") && !error.contains("42"), "{error}");
        }
        assert_says(r#"{"token":"open-sesame"}"#, "a token without anything to publish");
    }

    #[test]
    fn a_subscribe_begins_now_or_after_an_id_or_with_the_oldest() {
        let from = |start| Ok(Command::Subscribe { names: names(&["a", "b"]), start });
        let with = |since: &str| read(&format!(r#"{{"subscribe":["a","b"],"since":{since}}}"#));
        assert_eq!(read(r#"{"subscribe":["a","b"]}"#), from(None));
        assert_eq!(with("null"), from(None));
        assert_eq!(with("0"), from(Some(Start::After(0))));
        assert_eq!(with("1700000000000123"), from(Some(Start::After(1_700_000_000_000_123))));
        assert_eq!(with(r#""1700000000000123""#), from(Some(Start::After(1_700_000_000_000_123))));
        assert_eq!(with("18446744073709551615"), from(Some(Start::After(u64::MAX))));
        assert_eq!(with(r#""oldest""#), from(Some(Start::Oldest)));
        for since in
            ["-1", "1.5", "1e15", "18446744073709551616", r#""""#, r#""+1""#, r#""new""#, "true", "[1]", "{}"]
        {
            assert!(with(since).unwrap_err().contains("expected a message id"), "{since}");
        }
    }

    #[test]
    fn an_unsubscribe_has_names_or_none_to_change_nothing() {
        assert_eq!(read(r#"{"unsubscribe":["a"]}"#), Ok(Command::Unsubscribe { names: names(&["a"]) }));
        assert_eq!(read(r#"{"unsubscribe":[]}"#), Ok(Command::Unsubscribe { names: names(&[]) }));
        assert_says(r#"{"unsubscribe":"a"}"#, "expected a list of at most 64 channel names");
        assert_says(r#"{"unsubscribe":[1]}"#, "expected a string");
    }

    #[test]
    fn a_command_has_at_most_64_names() {
        let with = |count: usize| read(&format!(r#"{{"subscribe":[{}]}}"#, vec![r#""a""#; count].join(",")));
        assert!(with(NAMES_MAX).is_ok());
        assert!(with(NAMES_MAX + 1).unwrap_err().contains("too many names"));
    }

    #[test]
    fn a_frame_is_one_command_and_nothing_else() {
        assert_says("{}", "expected publish, subscribe or unsubscribe");
        assert_says(r#"{"ref":1}"#, "no command");
        assert_says(r#"{"subscribe":["a"],"unsubscribe":["b"]}"#, "several commands");
        assert_says(r#"{"subscribe":["a"],"channel":"b"}"#, "without anything to publish");
        assert_says(r#"{"unsubscribe":["a"],"since":1}"#, "a since without a subscribe");
        assert_says(r#"{"publish":"x","channel":"a","since":1}"#, "a since without a subscribe");
        assert_says(r#"{"publish":"x","channel":"a"} {}"#, "trailing characters");
        assert_says(r#"{"publish":"x","publish":"y","channel":"a"}"#, "duplicate field `publish`");
        assert_says(r#"{"publish":"x","chanel":"a"}"#, "unknown field, expected one of `publish`");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for frame in ["", " ", "null", "7", r#""publish""#, "[]", r#"["x","news"]"#, "\u{feff}{}", "x"] {
            assert_says(frame, "line 1, column 1: no object");
        }
        for frame in ["{", "{\"publish\":", "{\"publish\":\"x", "{'publish':'x'}", "{\"publish\":\"x\",}"] {
            assert_says(frame, "line 1, column ");
        }
    }

    #[test]
    fn a_reference_comes_back_as_it_was_written() {
        for raw in ["1", "1.50", "-0", "1e400", r#""\u0041""#, "null", "false", r#"{"a": [1 ,2],"a":3}"#] {
            let frame = format!(r#"{{"publish":"x","ref": {raw} ,"channel":"a"}}"#);
            assert_eq!(reference(&frame).as_deref(), Some(raw));
            assert!(read(&frame).is_ok());
        }
        assert_eq!(reference(r#"{"publish":"x","channel":"a"}"#), None);
    }

    #[test]
    fn a_reference_survives_the_mistakes_around_it() {
        assert_eq!(reference(r#"{"publish":"x","ref":7}"#).as_deref(), Some("7"));
        assert_eq!(reference(r#"{"publish":[{}],"ref":7}"#).as_deref(), Some("7"));
        assert_eq!(reference(r#"{"pubish":"x","ref":7}"#).as_deref(), Some("7"));
        assert_eq!(reference(r#"{"ref":7,"ref":8}"#), None, "nobody knows which");
        assert_eq!(reference(r#"{"ref":7"#), None, "nobody knows how it goes on");
        assert_eq!(reference(r#"[7]"#), None);
    }

    #[test]
    fn a_reference_has_at_most_256_bytes_quotes_included() {
        let with = |bytes: usize| format!(r#"{{"unsubscribe":["a"],"ref":"{}"}}"#, "x".repeat(bytes - 2));
        assert!(read(&with(256)).is_ok() && reference(&with(256)).is_some());
        assert_says(&with(257), "a ref of more than 256 bytes");
        assert_eq!(reference(&with(257)), None);
    }

    #[test]
    fn no_depth_is_deep_enough_to_hurt() {
        let deep = "[".repeat(100_000);
        for frame in [
            format!(r#"{{"ref":{deep}"#),
            format!(r#"{{"publish":{deep}"#),
            format!(r#"{{"since":{deep}"#),
            format!(r#"{{"ref":{deep}{}}}"#, "]".repeat(100_000)),
            "{\"ref\":".repeat(20_000),
            format!(r#"{{"subscribe":{deep}"#),
            format!(r#"{{"unknown":{deep}{},"ref":1}}"#, "]".repeat(100_000)),
        ] {
            assert!(read(&frame).is_err());
        }
    }

    #[test]
    fn no_sentence_repeats_what_came() {
        let long = format!(r#"{{"\n\u0007{}":1}}"#, "zqxjk ".repeat(50_000));
        for frame in [
            r#"{"publish":{"zqxjk":1},"channel":"zqxjk"}"#,
            r#"{"publish":77077,"channel":"zqxjk"}"#,
            r#"{"publish":-77077.5,"channel":"zqxjk"}"#,
            r#"{"publish":true,"channel":77077}"#,
            r#"{"subscribe":"zqxjk"}"#,
            r#"{"subscribe":["zqxjk",77077]}"#,
            r#"{"subscribe":77077}"#,
            r#"{"subscribe":["a"],"since":"zqxjk"}"#,
            r#"{"subscribe":["a"],"since":-77077}"#,
            r#"{"subscribe":["zqxjk"],"channel":"zqxjk"}"#,
            r#"{"publish":"zqxjk","event":"zqxjk","ref":"zqxjk"}"#,
            r#""zqxjk""#,
            r#"{"publish":zqxjk}"#,
            r#"{"zqxjk":1}"#,
            r#"{"zqxjk`, expected \"zqxjk":1}"#,
            r#"{"`, expected zqxjk, expected `":1}"#,
            r#"{"zqxjk":1,"ref":"zqxjk"}"#,
            &long,
        ] {
            let detail = read(frame).unwrap_err();
            assert!(!["zqxjk", "77077", "true"].iter().any(|came| detail.contains(came)), "{detail}");
        }
    }

    fn bulk(body: &[u8]) -> Result<Vec<Publication>, String> {
        publications(body).collect::<Result<_, _>>().map_err(|refusal| {
            assert_eq!((refusal.status, refusal.close), (400, false));
            refusal.detail.into()
        })
    }

    #[test]
    fn a_line_is_a_publication_and_an_empty_line_is_nothing() {
        let body = b"{\"channel\":\"a\",\"data\":\"1\"}\r\n\n \r\n{\"data\":\"2\",\"event\":\"e\",\"channel\":\"b\"}";
        assert_eq!(bulk(body), Ok(vec![publication("a", "1", None), publication("b", "2", Some("e"))]));
        let untyped = b"{\"channel\":\"a\",\"data\":\"1\",\"event\":\"\"}\n{\"channel\":\"a\",\"data\":\"1\",\"event\":null}";
        assert_eq!(bulk(untyped), Ok(vec![publication("a", "1", None); 2]));
        assert_eq!(bulk(b""), Ok(vec![]));
        assert_eq!(bulk(b"\n\n"), Ok(vec![]));
    }

    #[test]
    fn a_line_that_is_wrong_says_which_and_why() {
        for (line, words) in [
            (&b"{\"channel\":\"a\"}"[..], "missing field `data`"),
            (b"{\"data\":\"a\"}", "missing field `channel`"),
            (b"{\"channel\":\"a\",\"data\":1}", "expected a string"),
            (b"{\"channel\":\"a\",\"data\":null}", "expected a string"),
            (b"{\"channel\":\"a\",\"data\":\"b\",\"typ\":\"c\"}", "unknown field, expected one of `channel`"),
            (b"{\"channel\":\"a\",\"data\":\"b\",\"data\":\"c\"}", "duplicate field `data`"),
            (b"{\"channel\":\"a\",\"data\":\"\xff\"}", "invalid unicode"),
            (b"{\"channel\":\"a\",\"data\":\"b\"} x", "trailing characters"),
            (b"{\"channel\":\"a\",", "EOF"),
            (b"[\"a\",\"b\",null]", "no object"),
        ] {
            let body = [b"{\"channel\":\"a\",\"data\":\"b\"}\n\n", line].concat();
            let detail = bulk(&body).unwrap_err();
            assert!(detail.starts_with("line 3, column ") && detail.contains(words), "{detail}");
        }
    }

    proptest! {
        #[test]
        fn nothing_near_a_command_makes_the_reader_panic(
            frame in "(\\{(\"(publish|channel|subscribe|since|ref|x)\":(\"\\PC{0,5}\"|[0-9.e-]{1,5}|\\[\\]|null),?){0,4}\\}?|\\PC{0,20})",
        ) {
            let _ = read(&frame);
        }

        #[test]
        fn what_is_written_as_json_is_read_as_it_was(channel in "\\PC{0,20}", data in any::<String>()) {
            let mut line = b"{\"channel\":".to_vec();
            text::json_string(&channel, &mut line);
            line.extend_from_slice(b",\"data\":");
            text::json_string(&data, &mut line);
            line.push(b'}');
            prop_assert_eq!(bulk(&line), Ok(vec![publication(&channel, &data, None)]));
        }
    }
}
