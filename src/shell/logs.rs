//! The log: a line for each thing that somebody may want to know, on standard error.
//!
//! Whatever a peer sent may end up in a line. So values are quoted and control characters
//! escaped: nobody outside can write a line of his own into the log.
//!
//! Knows: the wall clock, and how lines look. Never learns what they are about.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::SystemTime;

use env_logger::{Builder, Target};
use log::kv::{self, Key, Value, VisitSource, VisitValue};
use log::{LevelFilter, Record};
use serde::ser::{SerializeMap, Serializer};

use crate::config::{LogFormat, LogLevel};

/// Installs the logger of this process. Only encke's own lines are logged. Once: a second call changes nothing.
pub fn install(level: LogLevel, format: LogFormat) {
    let write_line = match format {
        LogFormat::Text => text_line,
        LogFormat::Json => json_line,
    };
    let installed = Builder::new()
        .filter_module("encke", filter(level))
        .target(Target::Stderr)
        .format(move |out, record| {
            // Called a few times a day, not a turn: the one place where a line asks for the time itself.
            #[allow(clippy::disallowed_methods)]
            let now = SystemTime::now();
            let style = out.default_level_style(record.level());
            let mut line = Vec::with_capacity(160);
            write_line(&mut line, now, record, &style)?;
            out.write_all(&line)
        })
        .try_init();
    // An embedder that has a logger already keeps it.
    drop(installed);
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
        LogLevel::Trace => LevelFilter::Trace,
    }
}

/// What env_logger gives for a level: colours on a terminal, nothing elsewhere.
type Style = env_logger::fmt::style::Style;

/// `2026-11-22T21:00:00Z INFO message key=value`
fn text_line(out: &mut Vec<u8>, at: SystemTime, record: &Record<'_>, style: &Style) -> io::Result<()> {
    let level = record.level();
    let message = escaped(&record.args().to_string());
    write!(out, "{} {style}{level}{style:#} {message}", humantime::format_rfc3339_seconds(at))?;
    record.key_values().visit(&mut TextPairs(out)).map_err(io::Error::other)?;
    out.write_all(b"\n")
}

struct TextPairs<'a>(&'a mut Vec<u8>);

impl<'kvs> VisitSource<'kvs> for TextPairs<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let value = value.to_string();
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"\"'=\\".contains(c);
        if !value.is_empty() && value.chars().all(plain) {
            write!(self.0, " {key}={value}")?;
        } else {
            write!(self.0, " {key}={value:?}")?;
        }
        Ok(())
    }
}

/// The text with its control characters written out: `\n`, `\u{1b}`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            write!(out, "{}", c.escape_default()).expect("a string takes whatever is written to it");
        } else {
            out.push(c);
        }
    }
    out
}

/// `{"ts":"2026-11-22T21:00:00Z","level":"info","msg":"message","key":"value"}`
fn json_line(out: &mut Vec<u8>, at: SystemTime, record: &Record<'_>, _: &Style) -> io::Result<()> {
    let mut json = serde_json::Serializer::new(&mut *out);
    let mut map = json.serialize_map(None)?;
    map.serialize_entry("ts", &humantime::format_rfc3339_millis(at).to_string())?;
    map.serialize_entry("level", &record.level().as_str().to_ascii_lowercase())?;
    map.serialize_entry("msg", &record.args().to_string())?;
    record.key_values().visit(&mut JsonPairs(&mut map)).map_err(io::Error::other)?;
    map.end()?;
    out.write_all(b"\n")
}

struct JsonPairs<'a, M>(&'a mut M);

impl<'kvs, M: SerializeMap> VisitSource<'kvs> for JsonPairs<'_, M> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let mut json = JsonValue(serde_json::Value::Null);
        value.visit(&mut json)?;
        self.0.serialize_entry(key.as_str(), &json.0).map_err(|_| kv::Error::msg("a value that is not JSON"))
    }
}

/// Numbers and truth values as they are, all else as text.
struct JsonValue(serde_json::Value);

impl<'v> VisitValue<'v> for JsonValue {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        self.0 = value.to_string().into();
        Ok(())
    }

    fn visit_u64(&mut self, number: u64) -> Result<(), kv::Error> {
        self.0 = number.into();
        Ok(())
    }

    fn visit_i64(&mut self, number: i64) -> Result<(), kv::Error> {
        self.0 = number.into();
        Ok(())
    }

    fn visit_f64(&mut self, number: f64) -> Result<(), kv::Error> {
        self.0 = number.into();
        Ok(())
    }

    fn visit_bool(&mut self, truth: bool) -> Result<(), kv::Error> {
        self.0 = truth.into();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use log::Level;

    use super::*;

    type WriteLine = fn(&mut Vec<u8>, SystemTime, &Record<'_>, &Style) -> io::Result<()>;

    fn line(write_line: WriteLine, message: &str, pairs: &[(&str, Value<'_>)]) -> String {
        let mut out = Vec::new();
        let at = UNIX_EPOCH + Duration::from_millis(1_795_381_200_250);
        let args = format_args!("{message}");
        let record = Record::builder().level(Level::Info).args(args).key_values(&pairs).build();
        write_line(&mut out, at, &record, &Style::new()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_text_line_is_time_level_message_and_pairs() {
        let pairs = [("peer", Value::from("127.0.0.1:9")), ("bytes", Value::from(12))];
        assert_eq!(
            line(text_line, "connection closed", &pairs),
            "2026-11-22T21:00:00Z INFO connection closed peer=127.0.0.1:9 bytes=12\n"
        );
    }

    #[test]
    fn a_peer_cannot_forge_a_line_of_text() {
        let pairs = [("path", Value::from("/a b\n\"x\"")), ("empty", Value::from(""))];
        assert_eq!(
            line(text_line, "odd\r\n\u{1b}[31mrequest é", &pairs),
            "2026-11-22T21:00:00Z INFO odd\\r\\n\\u{1b}[31mrequest é path=\"/a b\\n\\\"x\\\"\" empty=\"\"\n"
        );
    }

    #[test]
    fn a_json_line_is_one_object_with_typed_pairs() {
        let pairs = [
            ("peer", Value::from("a\n\"b\"")),
            ("bytes", Value::from(12)),
            ("change", Value::from(-1)),
            ("ratio", Value::from(0.5)),
            ("open", Value::from(true)),
        ];
        assert_eq!(
            line(json_line, "two\nlines", &pairs),
            concat!(
                r#"{"ts":"2026-11-22T21:00:00.250Z","level":"info","msg":"two\nlines","#,
                r#""peer":"a\n\"b\"","bytes":12,"change":-1,"ratio":0.5,"open":true}"#,
                "\n"
            )
        );
    }
}
