//! Whether what a server said to one client is HTTP, given what the client had said.
//!
//! The requests are read off what was sent, by the server's own parser: another target sees to
//! that. Then every answer must have the form that its request allows, in order, and what follows a
//! 101 must be frames.
//!
//! Knows: RFC 9110 and 9112 from the client's side. Never learns what a server is asked for.

use encke::wire::http::{BodyReader, HeadLimits, HeadScan, Method, Request, Version};

/// What the form of an answer depends on.
#[derive(Clone, Copy)]
struct Asked {
    head_only: bool,
    old: bool,
}

/// Checks what a client has heard. `whole`: it has read everything up to the end that the server made.
pub fn check(sent: &[u8], heard: &[u8], limits: &HeadLimits, whole: bool) -> Result<(), String> {
    let asked = requests(sent, limits);
    let (mut rest, mut nth) = (heard, 0);
    while !rest.is_empty() {
        let Some(end) = find(rest, b"\r\n\r\n") else {
            return if whole { Err("a head without end".to_owned()) } else { Ok(()) };
        };
        let head = Head::read(&rest[..end + 2])?;
        rest = &rest[end + 4..];
        let Some(request) = asked.get(nth).copied().or((head.status >= 400).then_some(Asked::GARBAGE)) else {
            return Err(format!("a {} that nobody has asked for", head.status));
        };
        match head.status {
            100 => continue,
            101 => return frames(rest, whole),
            _ => nth += 1,
        }
        if nth > asked.len() && !head.closes(request) {
            return Err("what is no request does not end the connection".to_owned());
        }
        let Some(behind) = head.body(request, rest, whole)? else { return Ok(()) };
        if head.closes(request) && !behind.is_empty() {
            return Err(format!("{} bytes behind an answer that closes", behind.len()));
        }
        rest = behind;
    }
    Ok(())
}

impl Asked {
    const GARBAGE: Asked = Asked { head_only: false, old: false };
}

fn requests(sent: &[u8], limits: &HeadLimits) -> Vec<Asked> {
    let (mut rest, mut asked) = (sent, Vec::new());
    while let Ok(Some(length)) = HeadScan::default().scan(rest, limits) {
        let Ok(request) = Request::parse(&rest[..length]) else { break };
        asked.push(Asked {
            head_only: request.method == Method::Head,
            old: request.version == Version::Http10,
        });
        rest = &rest[length..];
        let Ok(mut reader) = BodyReader::new(request.body, u64::MAX) else { break };
        if !reader.is_done() {
            match reader.skip(rest) {
                Ok(progress) if progress.done => rest = &rest[progress.used..],
                _ => break,
            }
        }
    }
    asked
}

/// An answer's head, read strictly.
struct Head {
    status: u16,
    fields: Vec<(String, String)>,
}

impl Head {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "a head that is not text")?;
        let mut lines = text.strip_suffix("\r\n").ok_or("a head without line end")?.split("\r\n");
        let line = lines.next().unwrap_or_default();
        let digits =
            line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split_once(' ')).map(|(digits, _)| digits);
        let status = digits.filter(|digits| digits.len() == 3).and_then(|digits| digits.parse().ok());
        let status = status.ok_or_else(|| format!("the status line {line:?}"))?;
        let fields = lines.map(field).collect::<Result<_, _>>()?;
        let head = Head { status, fields };
        head.check()?;
        Ok(head)
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn check(&self) -> Result<(), String> {
        let (length, coding) = (self.field("content-length"), self.field("transfer-encoding"));
        let date = self.field("date").and_then(|date| httpdate::parse_http_date(date).ok());
        let wrong = match self.status {
            status if status >= 200 && date.is_none() => "no date",
            405 if self.field("allow").is_none() => "a 405 without Allow",
            _ if length.is_some() && coding.is_some() => "both a length and a coding",
            100..200 | 204 if length.is_some() || coding.is_some() => "a length where there is no body",
            _ if coding.is_some_and(|coding| coding != "chunked") => "a coding that nobody knows",
            _ if length.is_some_and(|length| length.parse::<usize>().is_err()) => "a length that is none",
            _ => return Ok(()),
        };
        Err(format!("{wrong}: {} {:?}", self.status, self.fields))
    }

    fn closes(&self, asked: Asked) -> bool {
        let mut options = self.fields.iter().filter(|(name, _)| name == "connection");
        let says = options.any(|(_, value)| {
            value.split(',').any(|option| option.trim() == if asked.old { "keep-alive" } else { "close" })
        });
        says != asked.old
    }

    /// Checks the body, and returns what is behind it, or nothing if there cannot be anything.
    fn body<'a>(&self, asked: Asked, rest: &'a [u8], whole: bool) -> Result<Option<&'a [u8]>, String> {
        if asked.head_only || matches!(self.status, 204 | 304) {
            return Ok(Some(rest));
        }
        let kind = self.field("content-type").unwrap_or_default();
        if let Some(length) = self.field("content-length") {
            let length: usize = length.parse().map_err(|_| "checked before")?;
            if rest.len() < length {
                return if whole { Err("a body cut off".to_owned()) } else { Ok(None) };
            }
            page(kind, &rest[..length])?;
            return Ok(Some(&rest[length..]));
        }
        if self.field("transfer-encoding").is_some() {
            if asked.old {
                return Err("chunks for HTTP/1.0".to_owned());
            }
            return chunks(kind, rest);
        }
        if !self.closes(asked) {
            return Err("a body without end on a connection that goes on".to_owned());
        }
        stream(kind, rest).map(|()| None)
    }
}

fn field(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(": ").ok_or_else(|| format!("the field {line:?}"))?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if name.is_empty() || !name.bytes().all(is_name) || value.contains(|c: char| !matches!(c, ' '..='~')) {
        return Err(format!("the field {line:?}"));
    }
    Ok((name.to_ascii_lowercase(), value.to_owned()))
}

/// A whole body.
fn page(kind: &str, body: &[u8]) -> Result<(), String> {
    if kind.starts_with("application/json") || kind.starts_with("application/problem+json") {
        is_json(body)?;
    }
    Ok(())
}

fn chunks<'a>(kind: &str, mut rest: &'a [u8]) -> Result<Option<&'a [u8]>, String> {
    let mut body = Vec::new();
    loop {
        let Some(end) = find(rest, b"\r\n") else { return Ok(None) };
        let digits = std::str::from_utf8(&rest[..end]).map_err(|error| error.to_string())?;
        let size = usize::from_str_radix(digits, 16).map_err(|_| format!("the chunk size {digits:?}"))?;
        let Some((chunk, behind)) = rest[end + 2..].split_at_checked(size) else { return Ok(None) };
        let Some((ending, behind)) = behind.split_at_checked(2) else { return Ok(None) };
        if ending != b"\r\n" {
            return Err("a chunk that is longer than its size says".to_owned());
        }
        body.extend_from_slice(chunk);
        rest = behind;
        if size == 0 {
            return page(kind, &body).map(|()| Some(rest));
        }
    }
}

/// A body that ends with the connection, as far as it came.
fn stream(kind: &str, body: &[u8]) -> Result<(), String> {
    match std::str::from_utf8(body) {
        Err(error) if error.error_len().is_some() => {
            return Err(format!("a stream that is not text: {error}"));
        }
        _ => {}
    }
    let lines = || body.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"));
    if kind.starts_with("application/x-ndjson") {
        return lines().filter(|line| !line.is_empty()).try_for_each(is_json);
    }
    if kind.starts_with("text/event-stream") {
        let known: [&[u8]; 5] = [b"id: ", b"event: ", b"data: ", b"retry: ", b": "];
        let is_known = |line: &[u8]| line.is_empty() || known.iter().any(|field| line.starts_with(field));
        return match lines().find(|line| !is_known(line)) {
            Some(line) => Err(format!("the line {:?} of an event stream", String::from_utf8_lossy(line))),
            None => Ok(()),
        };
    }
    Ok(())
}

/// What a server says behind a 101.
fn frames(mut rest: &[u8], whole: bool) -> Result<(), String> {
    while let [first, second, behind @ ..] = rest {
        if first & 0x70 != 0
            || first & 0x80 == 0
            || second & 0x80 != 0
            || ![1, 2, 8, 9, 10].contains(&(first & 15))
        {
            return Err(format!("a frame that begins with {first:#x} {second:#x}"));
        }
        let (length, payload) = match (second, behind) {
            (126, [a, b, payload @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), payload),
            (127, [a, b, c, d, e, f, g, h, payload @ ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize, payload)
            }
            (126 | 127, _) => return cut_off(whole),
            (length, payload) => (usize::from(*length), payload),
        };
        let Some((payload, behind)) = payload.split_at_checked(length) else { return cut_off(whole) };
        match first & 15 {
            1 => drop(std::str::from_utf8(payload).map_err(|error| error.to_string())?),
            8 if !behind.is_empty() => return Err("something behind a close".to_owned()),
            _ => {}
        }
        rest = behind;
    }
    if rest.is_empty() { Ok(()) } else { cut_off(whole) }
}

fn cut_off(whole: bool) -> Result<(), String> {
    if whole { Err("a frame cut off".to_owned()) } else { Ok(()) }
}

fn is_json(text: &[u8]) -> Result<(), String> {
    let read: Result<serde_json::Value, _> = serde_json::from_slice(text);
    read.map(drop).map_err(|error| format!("{error} in {:?}", String::from_utf8_lossy(text)))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    const DATE: &str = "Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n";

    fn judge(sent: &str, heard: &str) -> Result<(), String> {
        check(sent.as_bytes(), heard.as_bytes(), &HeadLimits::default(), true)
    }

    fn answer(status: &str, fields: &str, body: &str) -> String {
        format!("HTTP/1.1 {status} X\r\n{DATE}{fields}\r\n{body}")
    }

    #[test]
    fn what_a_good_server_says_is_taken() {
        let ok = answer("200", "Content-Length: 2\r\n", "ok");
        let chunks = answer("200", "Transfer-Encoding: chunked\r\n", "1\r\n \r\n2\r\nok\r\n0\r\n\r\n");
        let stream = answer("200", "Content-Type: text/event-stream\r\nConnection: close\r\n", "data: x\n\n");
        let refused = answer("400", "Content-Length: 0\r\nConnection: close\r\n", "");
        for (sent, heard) in [
            (GET.repeat(2), ok.repeat(2)),
            (GET.repeat(3), chunks + &ok + &stream),
            (format!("{GET}garbage"), format!("{ok}{refused}")),
            (GET.replace("GET", "HEAD"), answer("200", "Content-Length: 2\r\n", "")),
            (GET.replace("1.1", "1.0"), ok.clone()),
            (GET.to_owned(), format!("HTTP/1.1 101 X\r\n{DATE}\r\n")),
        ] {
            assert_eq!(judge(&sent, &heard), Ok(()), "{heard}");
        }
    }

    #[test]
    fn whatever_is_wrong_with_an_answer_is_found() {
        let length = "Content-Length: 2\r\n";
        let ok = answer("200", length, "ok");
        let close = answer("200", &format!("{length}Connection: close\r\n"), "ok");
        let of_type = |kind: &str, body: &str| {
            answer("200", &format!("Content-Type: {kind}\r\nConnection: close\r\n"), body)
        };
        for heard in [
            ok.clone() + &ok,
            close + &ok,
            ok.replace(DATE, ""),
            ok.replace("HTTP/1.1 200", "HTTP/1.1 2000"),
            ok.replace("\r\nContent", "\nContent"),
            ok.replace("ok", "o"),
            answer("405", length, "ok"),
            answer("204", length, "ok"),
            answer("200", "", "ok"),
            answer("200", &format!("{length}Transfer-Encoding: chunked\r\n"), "ok"),
            answer("200", "Transfer-Encoding: chunked\r\n", "2\r\nokay\r\n0\r\n\r\n"),
            answer("200", "Content-Type: application/json\r\nContent-Length: 1\r\n", "{"),
            answer("200", "X: a\u{1}b\r\n", ""),
            of_type("text/event-stream", "date: x\n\n"),
            of_type("application/x-ndjson", "{\"a\":1\n"),
            format!("HTTP/1.1 101 X\r\n{DATE}\r\n\u{1}\u{1}x"),
        ] {
            assert!(judge(GET, &heard).is_err(), "{heard}");
        }
        let mut not_text = of_type("application/x-ndjson", "").into_bytes();
        not_text.push(0xff);
        assert!(check(GET.as_bytes(), &not_text, &HeadLimits::default(), true).is_err());
    }
}
