//! Channels that speak by themselves, and what they say.
//!
//! A ticker publishes one text again and again: `{"time":{unix}}` every second, say. What the
//! operator writes is taken apart once, when it is read, so that a mistake in it stops the
//! server before it starts and a tick only has to put the parts together.
//!
//! Knows: the parts of a payload. Never learns the time: it is handed in.

use std::collections::HashSet;
use std::io::Write;
use std::str::FromStr;

use super::limits::check_time;
use super::{ConfigError, pattern};

/// Faster than this is not news but a load test, and one thread has everybody else to serve.
const EVERY_MS_LEAST: u64 = 10;

/// The most tickers: each has a timer of its own, and all of them are meant to be on time.
const TICKERS_MOST: usize = 1_000;

/// The longest payload as it is written, in bytes. Each subscriber gets it at each tick.
const PAYLOAD_BYTES_MOST: usize = 1 << 10;

/// The server's own ticker: one tick a second, on the second.
const BUILT_IN: &str = "$clock";

/// A `[[ticker]]`: a channel with a tick every so often. Ticks have no ids and no history; the latest wins.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Deserialize))]
#[cfg_attr(feature = "shell", serde(deny_unknown_fields, rename_all = "kebab-case"))]
pub struct TickerRule {
    /// The channel, by its native name. With a `$` in front nobody else can publish to it.
    #[cfg_attr(feature = "shell", serde(deserialize_with = "super::file::ticker_channel"))]
    pub channel: String,
    /// From one tick to the next, in milliseconds; at least 10.
    #[cfg_attr(feature = "shell", serde(rename = "every", deserialize_with = "super::file::time_ms"))]
    pub every_ms: u64,
    /// What a tick says. Default: `{unix}`, as the built-in clock.
    #[cfg_attr(feature = "shell", serde(default, deserialize_with = "super::file::payload"))]
    pub payload: Payload,
}

/// Refuses tickers that nobody could hear apart, or that would do nothing but tick.
pub(super) fn validate(tickers: &[TickerRule]) -> Result<(), ConfigError> {
    if tickers.len() > TICKERS_MOST {
        return Err(ConfigError::new(format!(
            "{} tickers; there may be {TICKERS_MOST} at most",
            tickers.len()
        )));
    }
    let mut channels = HashSet::new();
    for ticker in tickers {
        check_channel(&ticker.channel)?;
        let place = format!("ticker {:?}: ", ticker.channel);
        check_time(&place, "every", ticker.every_ms, EVERY_MS_LEAST)?;
        if !channels.insert(&ticker.channel) {
            return Err(ConfigError::new(format!(
                "{place}this channel has a ticker already; give this one another channel"
            )));
        }
    }
    Ok(())
}

/// Refuses what a ticker's channel cannot be called.
pub(super) fn check_channel(name: &str) -> Result<(), ConfigError> {
    if !pattern::is_native_name(name) {
        return Err(ConfigError::new(format!(
            "{name:?} is not a channel's name; write 1 to 128 of A-Z a-z 0-9 . _ - ~ : @ $"
        )));
    }
    if name == BUILT_IN {
        return Err(ConfigError::new(format!(
            "{name:?} is built in, one tick a second; give this ticker another channel"
        )));
    }
    Ok(())
}

/// A text with gaps for the time.
///
/// `{unix}` is the Unix time in whole seconds, `{unix_ms}` in milliseconds, `{count}` the number
/// of the tick. Braces around anything but a word stand for themselves, as in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    parts: Vec<Part>,
}

/// What a payload is put together from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Unix,
    UnixMs,
    Count,
}

impl Payload {
    /// Appends what the tick numbered `count` says at `unix_ms`, in milliseconds since the Unix epoch.
    pub fn render(&self, unix_ms: u64, count: u64, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Unix => decimal(unix_ms / 1_000, out),
                Part::UnixMs => decimal(unix_ms, out),
                Part::Count => decimal(count, out),
            }
        }
    }
}

fn decimal(number: u64, out: &mut Vec<u8>) {
    write!(out, "{number}").expect("a vector takes every byte");
}

impl Default for Payload {
    fn default() -> Self {
        Payload { parts: vec![Part::Unix] }
    }
}

impl FromStr for Payload {
    type Err = ConfigError;

    fn from_str(written: &str) -> Result<Self, ConfigError> {
        if written.len() > PAYLOAD_BYTES_MOST {
            return Err(ConfigError::new(format!(
                "a payload of {} bytes; a tick may be written in 1KiB ({PAYLOAD_BYTES_MOST}) at most",
                written.len()
            )));
        }
        let mut parts = Vec::new();
        let mut rest = written;
        while let Some((text, word, behind)) = next_placeholder(rest) {
            if !text.is_empty() {
                parts.push(Part::Text(text.to_owned()));
            }
            parts.push(part_named(word)?);
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Payload { parts })
    }
}

fn part_named(word: &str) -> Result<Part, ConfigError> {
    match word {
        "unix" => Ok(Part::Unix),
        "unix_ms" => Ok(Part::UnixMs),
        "count" => Ok(Part::Count),
        _ => Err(ConfigError::new(format!(
            "no placeholder named {{{word}}}; try {{unix}}, {{unix_ms}} or {{count}}"
        ))),
    }
}

/// The text before the first `{word}`, the word, and what is behind it.
fn next_placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    text.match_indices('{').find_map(|(at, _)| {
        let (word, behind) = text[at + 1..].split_once('}')?;
        is_word(word).then_some((&text[..at], word, behind))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(written: &str) -> String {
        let mut out = Vec::new();
        written.parse::<Payload>().unwrap().render(1_700_000_000_999, 42, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn complaint(written: &str) -> String {
        written.parse::<Payload>().unwrap_err().to_string()
    }

    #[test]
    fn a_payload_says_the_time_and_counts() {
        for (written, said) in [
            ("{unix}", "1700000000"),
            ("{unix_ms}", "1700000000999"),
            ("tick {count} at {unix}.", "tick 42 at 1700000000."),
            ("{count}{count}", "4242"),
            ("ping", "ping"),
            ("", ""),
        ] {
            assert_eq!(rendered(written), said);
        }
    }

    #[test]
    fn the_default_payload_is_the_second() {
        assert_eq!("{unix}".parse(), Ok(Payload::default()));
    }

    #[test]
    fn rendering_appends() {
        let mut out = b"data: ".to_vec();
        Payload::default().render(1_000, 0, &mut out);
        assert_eq!(out, b"data: 1");
    }

    #[test]
    fn braces_around_anything_but_a_word_stand_for_themselves() {
        for (written, said) in [
            (r#"{"n":{count}}"#, r#"{"n":42}"#),
            (r#"{"a":{"b":{count}},"c":{}}"#, r#"{"a":{"b":42},"c":{}}"#),
            ("{{count}}", "{42}"),
            ("{ unix }", "{ unix }"),
            ("{unix", "{unix"),
            ("unix}", "unix}"),
            ("{é}{", "{é}{"),
        ] {
            assert_eq!(rendered(written), said);
        }
    }

    #[test]
    fn an_unknown_placeholder_is_named() {
        for (written, named) in
            [("{uinx}", "{uinx}"), ("{unix} {Unix}", "{Unix}"), ("{0}", "{0}"), ("{\"a\":{tick}}", "{tick}")]
        {
            let expected = format!("no placeholder named {named}; try {{unix}}, {{unix_ms}} or {{count}}");
            assert_eq!(complaint(written), expected);
        }
    }

    #[test]
    fn a_payload_is_written_in_a_kibibyte() {
        assert_eq!(rendered(&"x".repeat(1_024)).len(), 1_024);
        let expected = "a payload of 1025 bytes; a tick may be written in 1KiB (1024) at most";
        assert_eq!(complaint(&"x".repeat(1_025)), expected);
    }

    fn ticker(channel: &str, every_ms: u64) -> Result<(), ConfigError> {
        validate(&[TickerRule { channel: channel.into(), every_ms, payload: Payload::default() }])
    }

    #[test]
    fn a_tickers_channel_has_a_native_name_of_its_own() {
        for name in ["time", "$time", "a.b:c@d~e_f-g"] {
            assert_eq!(ticker(name, 1_000), Ok(()));
        }
        for name in ["", "a b", "chat:/demo/", "a*", "a,b", "é"] {
            let error = ticker(name, 1_000).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{name:?} is not a channel's name; write 1 to 128")),
                "{error}"
            );
        }
        let error = ticker("$clock", 1_000).unwrap_err().to_string();
        assert_eq!(error, "\"$clock\" is built in, one tick a second; give this ticker another channel");
    }

    #[test]
    fn there_are_a_thousand_tickers_at_most() {
        let numbered = |number: u32| TickerRule {
            channel: number.to_string(),
            every_ms: 1_000,
            payload: Payload::default(),
        };
        let mut tickers: Vec<_> = (0..1_000).map(numbered).collect();
        assert_eq!(validate(&tickers), Ok(()));
        tickers.push(numbered(1_000));
        assert_eq!(validate(&tickers).unwrap_err().to_string(), "1001 tickers; there may be 1000 at most");
    }

    #[test]
    fn a_ticker_takes_at_least_ten_milliseconds_and_at_most_24_days() {
        assert_eq!(ticker("t", 10), Ok(()));
        assert_eq!(
            ticker("t", 9).unwrap_err().to_string(),
            "ticker \"t\": every is 9ms; it must be at least 10ms"
        );
        assert_eq!(
            ticker("t", 25 * 86_400_000).unwrap_err().to_string(),
            "ticker \"t\": every is 25 days; timers reach 24 days ahead at most"
        );
    }
}
