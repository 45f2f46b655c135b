//! What goes back: heads of answers, and the frames of chunks.
//!
//! The caller says what it will send; how that is framed, and whether the connection survives it,
//! follows from the status, the length and the peer's version, and is decided in one place:
//! [`AnswerHead::finish`].
//!
//! Knows: RFC 9112 §6 and §9. Never learns why an answer is what it is, or who reads it.

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use super::{Request, Version};
use crate::wire::text;

/// The interim answer that lets a client send its body. Only to HTTP/1.1.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Stands behind the data of every chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// Ends a chunked body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Begins a chunk of `data_bytes` bytes; [`CHUNK_END`] stands behind the data.
///
/// There is no empty chunk: its frame would be the end of the body. An empty one is left out altogether.
pub fn chunk_head(data_bytes: usize, out: &mut Vec<u8>) {
    debug_assert!(data_bytes > 0, "an empty chunk would end the body");
    text::hexadecimal(data_bytes as u64, out);
    out.extend_from_slice(b"\r\n");
}

/// The `Date` line, formatted once per second.
#[derive(Clone, Debug)]
pub struct DateLine {
    unix_s: u64,
    line: [u8; DATE_LINE.len()],
}

const DATE_LINE: &[u8; 37] = b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";

/// The last second of the year 9999: the format has four digits.
const LAST_SECOND: u64 = 253_402_300_799;

impl DateLine {
    /// The line for one moment.
    pub fn at(unix_s: u64) -> Self {
        let mut date = DateLine { unix_s: 0, line: *DATE_LINE };
        date.advance(unix_s);
        date
    }

    /// Moves on to another second, which may lie before: the wall clock jumps. Costs nothing within the same one.
    pub fn advance(&mut self, unix_s: u64) {
        if unix_s == self.unix_s {
            return;
        }
        self.unix_s = unix_s;
        let moment = UNIX_EPOCH + Duration::from_secs(unix_s.min(LAST_SECOND));
        write!(&mut self.line[..], "Date: {}\r\n", httpdate::HttpDate::from(moment))
            .expect("every date has the same length");
    }

    /// `Date: Thu, 01 Jan 1970 00:00:00 GMT` and its line end.
    pub fn line(&self) -> &[u8] {
        &self.line
    }
}

/// What will follow the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerBody {
    /// So many bytes (in an answer to HEAD: so many would have followed).
    Length(u64),
    /// Something whose length is not known yet: chunked for HTTP/1.1, until the connection closes for HTTP/1.0.
    Unknown,
    /// A stream that ends with the connection, for every version: its frames are nothing but their payload.
    UntilClose,
}

/// How the body must be framed, and what happens after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerFraming {
    /// Each piece goes between [`chunk_head`] and [`CHUNK_END`], and [`LAST_CHUNK`] ends it.
    pub chunked: bool,
    /// The connection ends with this answer, and the head says so.
    pub close: bool,
}

/// The head of an answer, while it is being written into a sink. Ends with [`AnswerHead::finish`].
#[must_use = "a head without `finish` has no end"]
pub struct AnswerHead<'o> {
    out: &'o mut Vec<u8>,
    status: u16,
    version: Version,
    keep_alive: bool,
}

impl<'o> AnswerHead<'o> {
    /// Writes the status line and the date. `version` is the peer's; the answer's is always HTTP/1.1 (RFC 9110 §6.2).
    /// `keep_alive` says whether the connection may go on, if the body's framing allows it.
    pub fn new(
        status: u16,
        version: Version,
        keep_alive: bool,
        date: &DateLine,
        out: &'o mut Vec<u8>,
    ) -> Self {
        debug_assert!((100..600).contains(&status), "a status has three digits");
        out.extend_from_slice(b"HTTP/1.1 ");
        text::decimal(u64::from(status), out);
        out.push(b' ');
        out.extend_from_slice(reason(status).as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(date.line());
        AnswerHead { out, status, version, keep_alive }
    }

    /// An answer to `request`, which says what the peer understands and whether it stays.
    pub fn to(request: &Request<'_>, status: u16, date: &DateLine, out: &'o mut Vec<u8>) -> Self {
        AnswerHead::new(status, request.version, request.keep_alive, date, out)
    }

    /// A field. Those that frame the message (`Content-Length`, `Transfer-Encoding`, and `Connection` unless the
    /// status is 101) and `Date` are not the caller's to write.
    pub fn field(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        debug_assert!(!is_ours(name) || self.status == 101, "{name} is written by the head itself");
        debug_assert!(value.iter().all(|byte| !super::is_control(*byte)), "a control character in {name}");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        write_value(value, self.out);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// A field whose value is a number.
    pub fn number(self, name: &str, value: u64) -> Self {
        debug_assert!(!is_ours(name), "{name} is written by the head itself");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        text::decimal(value, self.out);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// `Content-Type`.
    pub fn content_type(self, value: &str) -> Self {
        self.field("Content-Type", value)
    }

    /// Lines that were prepared earlier: whole fields, each with its line end.
    pub fn lines(self, lines: &[u8]) -> Self {
        debug_assert!(lines.is_empty() || lines.ends_with(b"\r\n"), "a line without its end");
        self.out.extend_from_slice(lines);
        self
    }

    /// Writes what frames the message, ends the head, and says how to go on.
    ///
    /// A 1xx, 204 or 304 has no body and neither length nor coding, whatever `body` says (RFC 9110 §8.6, RFC 9112 §6.1).
    pub fn finish(self, body: AnswerBody) -> AnswerFraming {
        let bodiless = matches!(self.status, 100..200 | 204 | 304);
        let chunked = !bodiless && body == AnswerBody::Unknown && self.version == Version::Http11;
        let until_close = !bodiless && !chunked && !matches!(body, AnswerBody::Length(_));
        let close = self.status != 101 && (until_close || !self.keep_alive);
        if let (AnswerBody::Length(length), false) = (body, bodiless) {
            self.out.extend_from_slice(b"Content-Length: ");
            text::decimal(length, self.out);
            self.out.extend_from_slice(b"\r\n");
        }
        if chunked {
            self.out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        if close {
            self.out.extend_from_slice(b"Connection: close\r\n");
        } else if self.version == Version::Http10 {
            // An HTTP/1.0 client that asked to stay closes unless it is told that it may.
            self.out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        self.out.extend_from_slice(b"\r\n");
        AnswerFraming { chunked, close }
    }
}

/// Whether a field is written by [`AnswerHead`] alone.
fn is_ours(name: &str) -> bool {
    ["content-length", "transfer-encoding", "connection", "date"]
        .iter()
        .any(|ours| name.eq_ignore_ascii_case(ours))
}

/// A value cannot end its line: whatever would is written as a space (RFC 9110 §5.5).
fn write_value(value: &[u8], out: &mut Vec<u8>) {
    out.extend(value.iter().map(|byte| if super::is_control(*byte) { b' ' } else { *byte }));
}

/// The reason phrase of a status: for people; programs read the number.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        // RFC 9112 §4: the phrase may be empty, the space before it may not.
        _ => "",
    }
}
