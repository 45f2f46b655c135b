//! The long poll: a request whose answer waits until there is news.
//!
//! Every poll that waits in a channel lacks the same message, so one encoding answers them
//! all, however many they are. It differs only in how the answer is framed: whole, with a
//! length, as long as nothing was sent; but a poll that was held for long has had its head
//! and a few spaces already, which keep the connection alive on its way through proxies and
//! find out whether anybody is still there.
//!
//! Two dialects poll: channels hear all that is new, `{"messages":[…],"since":ID}`; the pages
//! of the article one message at a time, `{"msg":…,"timestamp":…}`.
//!
//! Knows: the two JSONs and their framings. Never learns who polls.

use crate::log::Message;
use crate::wire::http::{AnswerBody, AnswerHead, CHUNK_END, DateLine, LAST_CHUNK, Version, chunk_head};
use crate::wire::text;

use super::envelope::{self, Reader};
use super::{Batch, Gap, News};

/// Header lines of every answer in the article dialect: as the PHP scripts sent them, so that no cache keeps an answer.
pub const UNCACHED: &[u8] = b"Cache-Control: no-cache, must-revalidate\r\n\
    Expires: Mon, 26 Jul 1997 05:00:00 GMT\r\n\
    X-Content-Type-Options: nosniff\r\n";

/// Never a JavaScript type: Prototype would evaluate the answer.
const CONTENT_TYPE: &str = "application/json";

/// What keeps a held poll alive: white space before the JSON, which every JSON reader skips.
const SPACE: &[u8] = b" ";

/// What a poll's client understands, and how much of the answer it has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// The client's version.
    pub version: Version,
    /// Whether the connection goes on after the answer.
    pub keep_alive: bool,
    /// Whether the head and a first space went out.
    pub begun: bool,
    /// Which other origin's page may read the answer: an index into the lines that say so; 0 is none.
    pub origin: u8,
}

impl Manner {
    /// Whether the connection goes on after the answer. One without a length can only end with
    /// the connection.
    pub fn survives(self) -> bool {
        self.keep_alive && !(self.begun && self.version == Version::Http10)
    }
}

/// Begins the answer: the head and a first space.
pub fn begin(manner: Manner, date: &DateLine, out: &mut Vec<u8>) {
    AnswerHead::new(200, manner.version, manner.keep_alive, date, out)
        .content_type(CONTENT_TYPE)
        .lines(UNCACHED)
        .finish(AnswerBody::Unknown);
    space(manner, out);
}

/// One more space, in an answer that has begun.
pub fn space(manner: Manner, out: &mut Vec<u8>) {
    piece(manner, SPACE, out);
}

/// Header lines of every answer to a poll of channels.
pub const UNSTORED: &[u8] = b"Cache-Control: no-cache, no-store\r\nX-Content-Type-Options: nosniff\r\n";

/// One answer in all its framings, each made when it is first asked for.
pub struct Answers {
    json: Vec<u8>,
    lines: &'static [u8],
    framed: Vec<(Manner, Vec<u8>)>,
}

impl Answers {
    /// What the pages of the article hear: one message.
    pub fn chat(message: &Message) -> Self {
        let mut json = Vec::new();
        chat_json(message, &mut json);
        Answers { json, lines: UNCACHED, framed: Vec::new() }
    }

    /// What channels answer: these messages (encoded as [`Framing::Poll`](super::Framing::Poll)), and
    /// the cursor of whoever has them.
    pub fn poll(batch: &Batch, since: u64, gap: Option<Gap>) -> Self {
        let mut json = b"{\"messages\":[".to_vec();
        json.extend_from_slice(batch.bytes.strip_suffix(b",").unwrap_or(&batch.bytes));
        json.extend_from_slice(b"],\"since\":");
        text::decimal(since, &mut json);
        if let Some(gap) = gap {
            json.extend_from_slice(b",\"gap\":");
            envelope::gap(gap, &mut json);
        }
        json.push(b'}');
        Answers { json, lines: UNSTORED, framed: Vec::new() }
    }

    /// The answer, for a client of this manner. `origin_lines` allow the manner's origin to read it.
    ///
    /// Hot: runs once per answered poll. Encodes only what nobody has asked for before.
    pub fn bytes(&mut self, manner: Manner, date: &DateLine, origin_lines: &[u8]) -> &[u8] {
        let known = self.framed.iter().position(|(framed, _)| *framed == manner);
        let which = known.unwrap_or_else(|| {
            self.framed.push((manner, self.frame(manner, date, origin_lines)));
            self.framed.len() - 1
        });
        &self.framed[which].1
    }

    fn frame(&self, manner: Manner, date: &DateLine, origin_lines: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.json.len() + 256);
        if manner.begun {
            piece(manner, &self.json, &mut out);
            if manner.version == Version::Http11 {
                out.extend_from_slice(LAST_CHUNK);
            }
        } else {
            AnswerHead::new(200, manner.version, manner.keep_alive, date, &mut out)
                .content_type(CONTENT_TYPE)
                .lines(self.lines)
                .lines(origin_lines)
                .finish(AnswerBody::Length(self.json.len() as u64));
            out.extend_from_slice(&self.json);
        }
        out
    }
}

/// An element of `messages`, and a comma.
pub(super) fn message(news: News<'_>, out: &mut Vec<u8>) {
    envelope::envelope(news, Reader::Json, out);
    out.push(b',');
}

/// `{"msg":TEXT,"timestamp":T}`, `T` being the id in seconds.
fn chat_json(message: &Message, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"msg\":");
    text::json_string(&message.data, out);
    out.extend_from_slice(b",\"timestamp\":");
    text::seconds_fraction(message.id, out);
    out.push(b'}');
}

/// A piece of a body without a length: a chunk for HTTP/1.1, the bare bytes for 1.0.
fn piece(manner: Manner, bytes: &[u8], out: &mut Vec<u8>) {
    if manner.version == Version::Http11 {
        chunk_head(bytes.len(), out);
        out.extend_from_slice(bytes);
        out.extend_from_slice(CHUNK_END);
    } else {
        out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Manner = Manner { version: Version::Http11, keep_alive: true, begun: false, origin: 0 };

    fn answer(manner: Manner) -> String {
        let message = Message { id: 1_700_000_000_000_123, event: None, data: "hi \"you\"".into() };
        let date = DateLine::at(1_700_000_000);
        let mut answers = Answers::chat(&message);
        let first = answers.bytes(manner, &date, b"").to_vec();
        assert_eq!(answers.bytes(manner, &date, b""), first, "the second time it is remembered");
        String::from_utf8(first).unwrap()
    }

    const JSON: &str = r#"{"msg":"hi \"you\"","timestamp":1700000000.000123}"#;

    #[test]
    fn news_for_a_fresh_poll_has_a_length_and_keeps_the_connection() {
        let text = answer(FRESH);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n"));
        assert!(text.contains("\r\nContent-Type: application/json\r\n"));
        assert!(text.contains("\r\nContent-Length: 50\r\n"));
        assert!(text.ends_with(&format!("\r\n\r\n{JSON}")));
        assert!(!text.contains("Connection:"));
    }

    #[test]
    fn news_behind_spaces_ends_the_chunks() {
        assert_eq!(answer(Manner { begun: true, ..FRESH }), format!("32\r\n{JSON}\r\n0\r\n\r\n"));
    }

    #[test]
    fn an_old_client_gets_the_bare_bytes_behind_spaces_and_then_the_end() {
        let manner = Manner { version: Version::Http10, begun: true, ..FRESH };
        assert_eq!(answer(manner), JSON);
        assert!(!manner.survives());
        assert!(Manner { begun: false, ..manner }.survives());
    }

    #[test]
    fn a_space_begins_the_answer() {
        let mut out = Vec::new();
        begin(FRESH, &DateLine::at(0), &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("\r\nTransfer-Encoding: chunked\r\n"));
        assert!(text.ends_with("\r\n\r\n1\r\n \r\n"));
    }
}
