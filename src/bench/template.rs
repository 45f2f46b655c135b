//! Templates: what is asked, with holes.
//!
//! A load generator for any server must not know how that server spells its URLs. So every
//! target, header and body is a text with names in braces, filled anew for each request.
//!
//! Knows: text. Never learns what a request is.

use serde::{Deserialize, Serialize};

use crate::wire::text::decimal;

/// A text with holes. Serialises as what was written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Hole(Hole),
}

/// What may stand in braces.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Hole {
    /// The name of the subscriber's, or the message's, channel.
    Channel,
    /// The room's number, from 0: channels are rooms of equal size.
    Room,
    /// The subscriber's number, from 0.
    Number,
    /// Where the subscriber stopped listening, as the server told it.
    Cursor,
    /// What is published.
    Payload,
    /// The message's number, from 0.
    Sequence,
}

const HOLES: &[(&str, Hole)] = &[
    ("channel", Hole::Channel),
    ("room", Hole::Room),
    ("n", Hole::Number),
    ("cursor", Hole::Cursor),
    ("payload", Hole::Payload),
    ("seq", Hole::Sequence),
];

/// What a request's holes are filled with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filling<'a> {
    pub(super) run: &'a str,
    pub(super) room: u32,
    pub(super) number: u32,
    pub(super) cursor: &'a [u8],
    pub(super) payload: &'a [u8],
    pub(super) sequence: u32,
}

impl Template {
    /// Reads a text; braces that hold no word (JSON, say) stand for themselves.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let (mut plain, mut rest) = (String::new(), text);
        while let Some(open) = rest.find('{') {
            let (before, behind) = rest.split_at(open);
            plain.push_str(before);
            let word = behind[1..].split_once('}').map(|(word, _)| word);
            let word = word.filter(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()));
            let Some(word) = word else {
                plain.push('{');
                rest = &behind[1..];
                continue;
            };
            let Some((_, hole)) = HOLES.iter().find(|(name, _)| *name == word) else {
                let known: Vec<String> = HOLES.iter().map(|(name, _)| format!("{{{name}}}")).collect();
                return Err(format!("\"{text}\" has {{{word}}}; expected one of {}", known.join(", ")));
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Hole(*hole));
            rest = &behind[word.len() + 2..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Template { text: text.to_owned(), pieces })
    }

    /// What was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn has(&self, hole: Hole) -> bool {
        self.pieces.contains(&Piece::Hole(hole))
    }

    /// Appends the text with its holes filled.
    pub(super) fn fill(&self, with: &Filling<'_>, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Hole(Hole::Channel) => {
                    out.extend_from_slice(channel_name(with.run, with.room).as_bytes());
                }
                Piece::Hole(Hole::Room) => decimal(with.room.into(), out),
                Piece::Hole(Hole::Number) => decimal(with.number.into(), out),
                Piece::Hole(Hole::Cursor) => out.extend_from_slice(with.cursor),
                Piece::Hole(Hole::Payload) => out.extend_from_slice(with.payload),
                Piece::Hole(Hole::Sequence) => decimal(with.sequence.into(), out),
            }
        }
    }
}

/// A room's channel. The run's name is part of it, so that nothing older can be heard there.
pub(super) fn channel_name(run: &str, room: u32) -> String {
    format!("bench-{run}-{room}")
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Template::parse(&text)
    }
}

impl From<Template> for String {
    fn from(template: Template) -> String {
        template.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> String {
        let with = Filling { run: "ab12", room: 3, number: 35, cursor: b"17", payload: b"~e", sequence: 9 };
        let mut out = Vec::new();
        Template::parse(text).expect("a good template").fill(&with, &mut out);
        String::from_utf8(out).expect("only text went in")
    }

    #[test]
    fn holes_are_filled_and_other_braces_stay() {
        assert_eq!(filled("/sub/{channel}?n={n}&since={cursor}"), "/sub/bench-ab12-3?n=35&since=17");
        assert_eq!(
            filled("{\"room\":{room},\"text\":\"{payload}\",\"i\":{seq}}"),
            r#"{"room":3,"text":"~e","i":9}"#
        );
        assert_eq!(filled("{}{ x }{"), "{}{ x }{");
    }

    #[test]
    fn an_unknown_hole_is_told_the_known_ones() {
        let error = Template::parse("/sub/{chanel}").expect_err("misspelt");
        assert!(error.contains("{chanel}") && error.contains("{channel}, {room}"), "{error}");
    }
}
