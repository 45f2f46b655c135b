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
    /// Nothing, in an answer to HEAD whose GET will have a length that is not known yet (RFC 9110 §8.6 lets it out).
    Unsaid,
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

    /// The connection ends with this answer, whatever the request asked for.
    pub fn closing(mut self) -> Self {
        self.keep_alive = false;
        self
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
    /// A 1xx, 204 or 304 has no body and neither length nor coding, whatever `body` says (RFC 9110 §8.6,
    /// RFC 9112 §6.1).
    pub fn finish(self, body: AnswerBody) -> AnswerFraming {
        let bodiless = matches!(self.status, 100..200 | 204 | 304);
        let chunked = !bodiless && body == AnswerBody::Unknown && self.version == Version::Http11;
        let until_close =
            !bodiless && !chunked && matches!(body, AnswerBody::Unknown | AnswerBody::UntilClose);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A head and what follows from it, as text without the date.
    fn answer(status: u16, version: Version, keep_alive: bool, body: AnswerBody) -> (String, AnswerFraming) {
        let mut out = Vec::new();
        let head = AnswerHead::new(status, version, keep_alive, &DateLine::at(0), &mut out);
        let framing = head.finish(body);
        let text = String::from_utf8(out).unwrap();
        let date = str::from_utf8(DATE_LINE).unwrap();
        assert_eq!(text.matches(date).count(), 1, "every answer has one Date");
        (text.replace(date, ""), framing)
    }

    #[test]
    fn a_head_with_everything_reads_like_this() {
        let mut out = Vec::new();
        let head = AnswerHead::new(201, Version::Http11, true, &DateLine::at(784_111_777), &mut out);
        let head = head.content_type("application/json").field("X-Bytes", b"\xe4").number("Retry-After", 5);
        let framing = head.lines(b"Vary: Origin\r\n").finish(AnswerBody::Length(12));
        assert_eq!(framing, AnswerFraming { chunked: false, close: false });
        assert_eq!(
            out.escape_ascii().to_string().replace("\\r\\n", "\n"),
            "HTTP/1.1 201 Created\nDate: Sun, 06 Nov 1994 08:49:37 GMT\nContent-Type: application/json\n\
             X-Bytes: \\xe4\nRetry-After: 5\nVary: Origin\nContent-Length: 12\n\n"
        );
    }

    #[test]
    fn close_is_announced_and_so_is_an_http_1_0_keep_alive() {
        let connection = |version, keep_alive| {
            let (text, framing) = answer(200, version, keep_alive, AnswerBody::Length(0));
            assert_eq!(framing.close, !keep_alive);
            text.lines().find(|line| line.starts_with("Connection")).unwrap_or("").to_string()
        };
        assert_eq!(connection(Version::Http11, true), "");
        assert_eq!(connection(Version::Http11, false), "Connection: close");
        assert_eq!(connection(Version::Http10, true), "Connection: keep-alive");
        assert_eq!(connection(Version::Http10, false), "Connection: close");
    }

    #[test]
    fn an_unknown_length_is_chunked_for_1_1_and_ends_with_the_connection_for_1_0() {
        let (text, framing) = answer(200, Version::Http11, true, AnswerBody::Unknown);
        assert_eq!(text, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(framing, AnswerFraming { chunked: true, close: false });
        let (text, framing) = answer(200, Version::Http10, true, AnswerBody::Unknown);
        assert_eq!(text, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        assert_eq!(framing, AnswerFraming { chunked: false, close: true });
    }

    #[test]
    fn a_stream_ends_with_the_connection_for_every_version() {
        for version in [Version::Http10, Version::Http11] {
            let (text, framing) = answer(200, version, true, AnswerBody::UntilClose);
            assert_eq!(text, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            assert_eq!(framing, AnswerFraming { chunked: false, close: true });
        }
    }

    #[test]
    fn a_1xx_a_204_and_a_304_have_neither_length_nor_coding() {
        for status in [101, 204, 304] {
            for body in [AnswerBody::Length(5), AnswerBody::Unknown, AnswerBody::UntilClose] {
                let (text, framing) = answer(status, Version::Http11, true, body);
                assert_eq!(text, format!("HTTP/1.1 {status} {}\r\n\r\n", reason(status)));
                assert_eq!(framing, AnswerFraming { chunked: false, close: false });
            }
        }
        assert!(answer(204, Version::Http11, false, AnswerBody::Length(0)).0.contains("Connection: close"));
    }

    #[test]
    fn no_answer_has_both_a_length_and_a_transfer_encoding_and_none_is_chunked_for_1_0() {
        for version in [Version::Http10, Version::Http11] {
            for status in 100..600 {
                for body in [AnswerBody::Length(1), AnswerBody::Unknown, AnswerBody::UntilClose] {
                    let (text, framing) = answer(status, version, true, body);
                    let chunked = text.contains("Transfer-Encoding");
                    assert!(!(chunked && text.contains("Content-Length")));
                    assert_eq!(chunked, framing.chunked);
                    assert!(!(chunked && version == Version::Http10));
                }
            }
        }
    }

    #[test]
    fn an_answer_to_a_request_may_close_though_the_client_would_stay() {
        let request = Request::parse(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let mut out = Vec::new();
        assert!(
            !AnswerHead::to(&request, 200, &DateLine::at(0), &mut out).finish(AnswerBody::Length(0)).close
        );
        let head = AnswerHead::to(&request, 200, &DateLine::at(0), &mut out).closing();
        assert!(head.finish(AnswerBody::Length(0)).close);
        assert!(out.ends_with(b"Connection: close\r\n\r\n"));
    }

    #[test]
    fn an_upgrade_writes_its_own_connection_field() {
        let mut out = Vec::new();
        let head = AnswerHead::new(101, Version::Http11, false, &DateLine::at(0), &mut out);
        let framing =
            head.field("Connection", "Upgrade").field("Upgrade", "websocket").finish(AnswerBody::Length(0));
        assert_eq!(framing, AnswerFraming { chunked: false, close: false });
        assert!(out.ends_with(b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"));
    }

    #[test]
    fn a_value_cannot_end_its_line() {
        let mut out = Vec::new();
        write_value(b"a\r\nSet-Cookie: b\0\tc\x7f\xe4", &mut out);
        assert_eq!(out, b"a  Set-Cookie: b \tc \xe4");
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "a control character in Location")]
    fn a_value_that_would_end_its_line_is_a_bug_of_ours() {
        let mut out = Vec::new();
        let head = AnswerHead::new(302, Version::Http11, true, &DateLine::at(0), &mut out);
        let _ = head.field("Location", "/\r\nSet-Cookie: a");
    }

    #[test]
    fn the_date_follows_the_clock_both_ways_and_stops_at_its_last_year() {
        let mut date = DateLine::at(0);
        assert_eq!(date.line(), DATE_LINE);
        for (unix_s, text) in [
            (1_700_000_000, "Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n"),
            (1_700_000_001, "Date: Tue, 14 Nov 2023 22:13:21 GMT\r\n"),
            (951_782_400, "Date: Tue, 29 Feb 2000 00:00:00 GMT\r\n"),
            (0, "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"),
            (u64::MAX, "Date: Fri, 31 Dec 9999 23:59:59 GMT\r\n"),
        ] {
            date.advance(unix_s);
            assert_eq!(date.line(), text.as_bytes());
        }
    }

    #[test]
    fn a_sink_with_room_is_not_allocated_again() {
        let mut out = Vec::with_capacity(512);
        let before = out.as_ptr();
        let head = AnswerHead::new(200, Version::Http11, true, &DateLine::at(0), &mut out);
        head.content_type("text/html").number("Retry-After", u64::MAX).finish(AnswerBody::Length(u64::MAX));
        chunk_head(usize::MAX, &mut out);
        assert_eq!(out.as_ptr(), before);
    }

    #[test]
    fn a_chunk_begins_with_its_size_in_hexadecimal() {
        let mut out = Vec::new();
        chunk_head(1, &mut out);
        chunk_head(0xabc, &mut out);
        assert_eq!(out, b"1\r\nabc\r\n");
    }
}
