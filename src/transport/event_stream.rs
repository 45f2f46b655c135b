//! The event stream: what a browser's `EventSource` reads (WHATWG HTML, server-sent events).
//!
//! Lines of `field: value`, and an empty line that dispatches what they say. The browser
//! remembers the last `id` and hands it back when it reconnects, by itself.
//!
//! Knows: fields and lines. Never learns who reconnects.

use crate::wire::text;

use super::envelope::{self, Reader};
use super::{Gap, News};

/// The media type, with the one charset it can have.
pub const CONTENT_TYPE: &str = "text/event-stream; charset=utf-8";

/// The first bytes: how long to wait before reconnecting, a comment, so that `onopen` fires at once, and a
/// cursor for a browser that has none. An event without data is not dispatched, but its id is remembered.
pub fn begin(retry_ms: u64, cursor: Option<u64>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"retry: ");
    text::decimal(retry_ms, out);
    out.extend_from_slice(b"\n: encke\n");
    match cursor {
        Some(cursor) => heartbeat(cursor, out),
        None => out.push(b'\n'),
    }
}

/// The last bytes: when to come back. Dispatches nothing.
pub fn end(retry_ms: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"retry: ");
    text::decimal(retry_ms, out);
    out.extend_from_slice(b"\n\n");
}

/// A message; its data line by line, or as an envelope.
pub(super) fn message(news: News<'_>, as_envelope: bool, out: &mut Vec<u8>) {
    if let Some(id) = news.id {
        out.extend_from_slice(b"id: ");
        text::decimal(id, out);
        out.push(b'\n');
    }
    if let Some(event) = news.event {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(event.as_bytes());
        out.push(b'\n');
    }
    if as_envelope {
        out.extend_from_slice(b"data: ");
        envelope::envelope(news, Reader::Json, out);
        out.push(b'\n');
    } else {
        for line in lines(news.data) {
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
    }
    out.push(b'\n');
}

/// Moves the browser's cursor and dispatches nothing.
pub(super) fn heartbeat(cursor: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"id: ");
    text::decimal(cursor, out);
    out.extend_from_slice(b"\n\n");
}

pub(super) fn gap(gap: Gap, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: gap\ndata: ");
    envelope::gap(gap, out);
    out.extend_from_slice(b"\n\n");
}

/// The lines of a text, however they end: CRLF, LF or CR. There is always one, if an empty one.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\r', '\n']) else {
            rest = None;
            return Some(text);
        };
        let ending = if text[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = Some(&text[end + ending..]);
        Some(&text[..end])
    })
}

/// What a browser makes of it.
#[cfg(test)]
#[path = "../../tests/common/event_source.rs"]
pub(super) mod event_source;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::event_source::{Event, EventSource};
    use super::*;

    fn written(event: Option<&str>, data: &str, as_envelope: bool) -> String {
        let mut out = Vec::new();
        message(News { id: Some(7), channel: "a", event, data }, as_envelope, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_line_of_a_message_is_a_data_line() {
        assert_eq!(written(None, "one", false), "id: 7\ndata: one\n\n");
        assert_eq!(
            written(Some("line"), "a\nb\rc\r\nd\n", false),
            "id: 7\nevent: line\ndata: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"
        );
        assert_eq!(written(None, "", false), "id: 7\ndata: \n\n");
        assert_eq!(written(None, "\n\r", false), "id: 7\ndata: \ndata: \ndata: \n\n");
    }

    #[test]
    fn an_envelope_is_one_line_whatever_is_in_it() {
        assert_eq!(
            written(None, "a\nb", true),
            "id: 7\ndata: {\"id\":7,\"channel\":\"a\",\"data\":\"a\\nb\"}\n\n"
        );
    }

    proptest! {
        #[test]
        fn a_browser_reads_what_was_written_in_whatever_pieces_it_comes(
            said in prop::collection::vec(("[a-z]{0,3}", "([\r\n:\\s]|data|id|\0|\u{feff}|.){0,12}"), 1..4),
            as_envelope: bool,
            step in 1..9_usize,
        ) {
            let mut written = Vec::new();
            begin(1_234, Some(6), &mut written);
            for (nth, (event, data)) in said.iter().enumerate() {
                let event = Some(event.as_str()).filter(|event| !event.is_empty());
                message(News { id: Some(7 + nth as u64), channel: "a", event, data }, as_envelope, &mut written);
                heartbeat(100 + nth as u64, &mut written);
            }
            let mut browser = EventSource::default();
            let heard: Vec<Event> = written.chunks(step).flat_map(|piece| browser.feed(piece)).collect();
            prop_assert_eq!(heard.len(), said.len(), "a heartbeat is no event");
            for (nth, (event, (kind, data))) in heard.iter().zip(&said).enumerate() {
                let expected_kind = if kind.is_empty() { "message" } else { kind };
                prop_assert_eq!((event.kind.as_str(), &event.id), (expected_kind, &(7 + nth).to_string()));
                if as_envelope {
                    let envelope: serde_json::Value = serde_json::from_str(&event.data).unwrap();
                    prop_assert_eq!(envelope["data"].as_str(), Some(data.as_str()));
                } else {
                    // How a line ended is the one thing that this transport cannot say.
                    prop_assert_eq!(&event.data, &data.replace("\r\n", "\n").replace('\r', "\n"));
                }
            }
            prop_assert_eq!((browser.retry_ms, browser.last_id), (Some(1_234), (99 + said.len()).to_string()));
        }
    }
}
