//! What a server answers: a head, then a body in one of five shapes.
//!
//! Bytes come in whatever pieces the kernel hands out. The pieces of the body go on as they lie in the read
//! buffer; nothing is gathered but a head, or a ping, that came in two.
//!
//! Lenient where the server is strict: it is measured here, not judged.
//!
//! Knows: HTTP/1 answers, chunks, WebSocket frames. Never learns what a body means.

/// The longest head that is waited for.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The most header fields of a head.
const FIELDS_MAX: usize = 100;

/// The longest payload of a control frame (RFC 6455 section 5.5).
const CONTROL_BYTES_MAX: u64 = 125;

/// What was heard.
#[derive(Debug, PartialEq)]
pub(super) enum Heard<'a> {
    /// A whole head; `fields` are its bytes.
    Head { status: u16, fields: &'a [u8] },
    /// A piece of the body.
    Body(&'a [u8]),
    /// A WebSocket's ping, to be answered with the same payload.
    Ping(&'a [u8]),
    /// A WebSocket's close frame.
    Farewell,
    /// The answer is over. Without `keep`, so is the connection.
    End { keep: bool },
}

/// What no server may say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Nonsense(pub(super) &'static str);

/// An answer being read.
#[derive(Debug, Default)]
pub(super) struct Answer {
    shape: Shape,
    /// Whether the connection lives on behind the answer.
    keep: bool,
    /// A head or a ping that came in pieces. Boxed: nearly always there is none.
    #[allow(clippy::box_collection)]
    partial: Option<Box<Vec<u8>>>,
    /// It has been reported, and is needed no longer.
    spent: bool,
}

/// What the next bytes are.
#[derive(Debug, Default, PartialEq)]
enum Shape {
    #[default]
    Head,
    /// Body until the connection ends.
    Endless,
    Length(u64),
    /// The line with a chunk's size: the value of its digits so far, and `digits` while they last.
    ChunkSize {
        value: u64,
        digits: bool,
    },
    Chunk(u64),
    /// The line end behind a chunk, of which so many bytes are missing.
    ChunkEnd(u8),
    /// Lines behind the last chunk; whether the current one is still empty.
    Trailer {
        empty: bool,
    },
    /// The head of a frame.
    Frame {
        have: u8,
        head: [u8; 14],
    },
    /// A frame's payload.
    Payload {
        control: bool,
        opcode: u8,
        left: u64,
    },
    /// The answer is over and has not been reported.
    Over,
}

impl Answer {
    /// Whether nothing of an answer has come yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.shape == Shape::Head && self.partial.is_none()
    }

    /// Whether a WebSocket is between two frames.
    pub(super) fn is_between_frames(&self) -> bool {
        matches!(self.shape, Shape::Frame { have: 0, .. })
    }

    /// Takes bytes from the front of `input` and says what they were. `None`: all were taken, and there is
    /// nothing to say yet. After `End` the next answer is expected.
    ///
    /// Hot: runs at least once per delivery. Allocates only for heads and pings that come in pieces.
    pub(super) fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Heard<'a>>, Nonsense> {
        if std::mem::take(&mut self.spent) {
            self.partial = None;
        }
        loop {
            match &mut self.shape {
                Shape::Over => {
                    self.shape = Shape::Head;
                    return Ok(Some(Heard::End { keep: self.keep }));
                }
                _ if input.is_empty() => return Ok(None),
                Shape::Head => return self.head(input),
                Shape::Endless => return Ok(Some(Heard::Body(std::mem::take(input)))),
                Shape::Length(left) => {
                    let piece = split(input, left);
                    if *left == 0 {
                        self.shape = Shape::Over;
                    }
                    return Ok(Some(Heard::Body(piece)));
                }
                Shape::Chunk(left) => {
                    let piece = split(input, left);
                    if *left == 0 {
                        self.shape = Shape::ChunkEnd(2);
                    }
                    return Ok(Some(Heard::Body(piece)));
                }
                Shape::ChunkSize { .. } | Shape::ChunkEnd(_) | Shape::Trailer { .. } => {
                    self.between_chunks(input)?;
                }
                Shape::Frame { .. } => self.frame_head(input)?,
                Shape::Payload { control: false, left, .. } => {
                    let piece = split(input, left);
                    if *left == 0 {
                        self.shape = Shape::Frame { have: 0, head: [0; 14] };
                    }
                    if !piece.is_empty() {
                        return Ok(Some(Heard::Body(piece)));
                    }
                }
                Shape::Payload { .. } => {
                    let which = self.control(input);
                    self.spent = which.is_some();
                    match which {
                        Some(PING) => {
                            return Ok(Some(Heard::Ping(self.partial.as_deref().map_or(&[], |all| all))));
                        }
                        Some(CLOSE) => return Ok(Some(Heard::Farewell)),
                        Some(_) => self.partial = None,
                        None => {}
                    }
                }
            }
        }
    }

    fn head<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Option<Heard<'a>>, Nonsense> {
        let Some(mut partial) = self.partial.take() else {
            let Some(end) = head_end(input, 0) else {
                let bytes = std::mem::take(input);
                self.partial = Some(Box::new(bytes.to_vec()));
                return too_long(bytes.len());
            };
            let (fields, rest) = input.split_at(end);
            *input = rest;
            return self.begin(fields).map(|status| Some(report(status, fields)));
        };
        let before = partial.len();
        partial.extend_from_slice(input);
        let Some(end) = head_end(&partial, before.saturating_sub(3)) else {
            *input = &[];
            let bytes = self.partial.insert(partial).len();
            return too_long(bytes);
        };
        *input = &input[end - before..];
        partial.truncate(end);
        let status = self.begin(&partial)?;
        self.spent = true;
        Ok(Some(report(status, self.partial.insert(partial))))
    }

    /// Takes what a head says; `None` for an interim answer, behind which the real one comes.
    fn begin(&mut self, head: &[u8]) -> Result<Option<u16>, Nonsense> {
        let facts = Facts::read(head)?;
        (self.keep, self.shape) = (facts.keep, facts.shape);
        Ok((facts.status / 100 != 1 || facts.status == 101).then_some(facts.status))
    }

    /// One byte between chunks.
    fn between_chunks(&mut self, input: &mut &[u8]) -> Result<(), Nonsense> {
        let Some((&byte, rest)) = input.split_first() else { return Ok(()) };
        *input = rest;
        match &mut self.shape {
            Shape::ChunkSize { value, digits } => match (char::from(byte).to_digit(16), byte) {
                (Some(digit), _) if *digits => {
                    *value =
                        value.checked_mul(16).ok_or(Nonsense("a chunk without measure"))? + u64::from(digit);
                }
                (_, b'\n') if *value == 0 => self.shape = Shape::Trailer { empty: true },
                (_, b'\n') => self.shape = Shape::Chunk(*value),
                _ => *digits = false,
            },
            Shape::ChunkEnd(1) if byte == b'\n' => self.shape = Shape::ChunkSize { value: 0, digits: true },
            Shape::ChunkEnd(2) if byte == b'\r' => self.shape = Shape::ChunkEnd(1),
            Shape::ChunkEnd(_) => return Err(Nonsense("a chunk that does not end where it should")),
            Shape::Trailer { empty } => match byte {
                b'\n' if *empty => self.shape = Shape::Over,
                b'\n' => *empty = true,
                b'\r' => {}
                _ => *empty = false,
            },
            _ => {}
        }
        Ok(())
    }

    /// Bytes of a frame's head (RFC 6455 section 5.2), and what they begin when they are complete.
    fn frame_head(&mut self, input: &mut &[u8]) -> Result<(), Nonsense> {
        let Shape::Frame { have, head } = &mut self.shape else { return Ok(()) };
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            head[usize::from(*have)] = byte;
            *have += 1;
            let extended = match head[1] & 0x7f {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            if *have < 2 || *have < 2 + extended {
                continue;
            }
            if head[1] & 0x80 != 0 {
                return Err(Nonsense("a masked frame from a server"));
            }
            let left = match extended {
                0 => u64::from(head[1]),
                _ => head[2..2 + usize::from(extended)].iter().fold(0, |all, &b| all << 8 | u64::from(b)),
            };
            let opcode = head[0] & 0x0f;
            let control = opcode & 8 != 0;
            if control && left > CONTROL_BYTES_MAX {
                return Err(Nonsense("a control frame that is too long"));
            }
            self.shape = match left {
                // Nothing to read: a control frame is reported from its payload's state all the same.
                0 if !control => Shape::Frame { have: 0, head: [0; 14] },
                _ => Shape::Payload { control, opcode, left },
            };
            self.partial = None;
            break;
        }
        Ok(())
    }

    /// Gathers a control frame; says which it was when it is complete.
    fn control(&mut self, input: &mut &[u8]) -> Option<u8> {
        let Shape::Payload { opcode, left, .. } = &mut self.shape else { return None };
        let opcode = *opcode;
        let piece = split(input, left);
        let done = *left == 0;
        self.partial.get_or_insert_default().extend_from_slice(piece);
        done.then(|| {
            self.shape = Shape::Frame { have: 0, head: [0; 14] };
            opcode
        })
    }
}

const CLOSE: u8 = 8;
const PING: u8 = 9;

/// Up to `left` bytes from the front of `input`.
fn split<'a>(input: &mut &'a [u8], left: &mut u64) -> &'a [u8] {
    let length = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
    let (piece, rest) = input.split_at(length);
    *input = rest;
    *left -= length as u64;
    piece
}

fn report(status: Option<u16>, fields: &[u8]) -> Heard<'_> {
    status.map_or(Heard::Body(&[]), |status| Heard::Head { status, fields })
}

fn too_long<'a>(bytes: usize) -> Result<Option<Heard<'a>>, Nonsense> {
    if bytes > HEAD_BYTES_MAX { Err(Nonsense("a head without end")) } else { Ok(None) }
}

/// Where the head that starts at 0 ends, searching from `from` on.
fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memmem::find(&bytes[from..], b"\r\n\r\n").map(|at| from + at + 4)
}

/// What a head says about what follows it.
struct Facts {
    status: u16,
    keep: bool,
    shape: Shape,
}

impl Facts {
    fn read(head: &[u8]) -> Result<Self, Nonsense> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut answer = httparse::Response::new(&mut fields);
        match answer.parse(head) {
            Ok(httparse::Status::Complete(_)) => {}
            _ => return Err(Nonsense("a head that is not HTTP/1")),
        }
        let status = answer.code.unwrap_or(0);
        let field = |name: &str| answer.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        let says = |name: &str, word: &str| {
            let value = field(name).map(|field| field.value.to_ascii_lowercase()).unwrap_or_default();
            value.split(|&b| b == b',').any(|item| item.trim_ascii() == word.as_bytes())
        };
        let length = field("content-length").map(|field| std::str::from_utf8(field.value).map(str::parse));
        let is_old = answer.version == Some(0);
        let mut keep = if is_old { says("connection", "keep-alive") } else { !says("connection", "close") };
        let shape = match status {
            101 => Shape::Frame { have: 0, head: [0; 14] },
            100..=199 => Shape::Head,
            204 | 304 => Shape::Over,
            _ if says("transfer-encoding", "chunked") => Shape::ChunkSize { value: 0, digits: true },
            _ => match length {
                Some(Ok(Ok(0))) => Shape::Over,
                Some(Ok(Ok(length))) => Shape::Length(length),
                Some(_) => return Err(Nonsense("a length that is no number")),
                None => {
                    keep = false;
                    Shape::Endless
                }
            },
        };
        Ok(Facts { status, keep, shape })
    }
}

/// A field's value in a head, without the white space around it.
pub(super) fn field<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|&byte| byte == b'\n').find_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        line[..colon].eq_ignore_ascii_case(name.as_bytes()).then(|| line[colon + 1..].trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was heard, put together again: pieces of a body make one.
    fn heard(pieces: &[&[u8]]) -> Result<Vec<String>, Nonsense> {
        let mut answer = Answer::default();
        let mut all: Vec<String> = Vec::new();
        for mut piece in pieces.iter().copied() {
            while let Some(news) = answer.next(&mut piece)? {
                match news {
                    Heard::Head { status, .. } => all.push(format!("head {status}")),
                    Heard::Body(bytes) => {
                        let text = String::from_utf8_lossy(bytes);
                        match all.last_mut().filter(|last| last.starts_with("body ")) {
                            Some(body) => body.push_str(&text),
                            None if text.is_empty() => {}
                            None => all.push(format!("body {text}")),
                        }
                    }
                    Heard::Ping(bytes) => all.push(format!("ping {}", String::from_utf8_lossy(bytes))),
                    Heard::Farewell => all.push("farewell".into()),
                    Heard::End { keep } => all.push(format!("end {keep}")),
                }
            }
        }
        Ok(all)
    }

    fn hears_in_every_split(text: &[u8], expected: &[&str]) {
        for first in 0..text.len() {
            for second in first..text.len() {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(heard(&pieces).expect("it makes sense"), expected, "split at {first}, {second}");
            }
        }
    }

    #[test]
    fn a_stream_is_a_body_without_end() {
        hears_in_every_split(
            b"HTTP/1.1 200 OK\r\nA: b\r\n\r\ndata: 1\n\n",
            &["head 200", "body data: 1\n\n"],
        );
    }

    #[test]
    fn answers_with_a_length_follow_each_other() {
        hears_in_every_split(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\nabc\
              HTTP/1.1 204 No Content\r\n\r\nHTTP/1.0 200 OK\r\ncontent-length:0\r\n\r\n",
            &["head 201", "body abc", "end true", "head 204", "end true", "head 200", "end false"],
        );
    }

    #[test]
    fn chunks_are_put_together() {
        hears_in_every_split(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
              3;x=1\r\nabc\r\n2\r\nde\r\n0\r\nT: x\r\n\r\n",
            &["head 200", "body abcde", "end false"],
        );
    }

    #[test]
    fn frames_are_opened_and_pings_reported() {
        let mut text =
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02ab\x89\x02hi\x89\x00\x81\x7e\x00\x80".to_vec();
        text.extend_from_slice(&[b'x'; 128]);
        text.extend_from_slice(b"\x88\x02\x03\xe8");
        let body = format!("body {}", "x".repeat(128));
        hears_in_every_split(&text, &["head 101", "body ab", "ping hi", "ping ", &body, "farewell"]);
    }

    #[test]
    fn nonsense_is_told_from_answers() {
        for text in [
            b"SSH-2.0-OpenSSH\r\n\r\n".as_slice(),
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
            b"HTTP/1.1 101 X\r\n\r\n\x81\x80",
            b"HTTP/1.1 101 X\r\n\r\n\x89\x7e\x01\x00",
            &[b'x'; HEAD_BYTES_MAX + 1],
        ] {
            heard(&[text]).expect_err("nonsense");
        }
    }

    #[test]
    fn a_field_is_found_whatever_its_case() {
        let head = b"HTTP/1.1 200 OK\r\nLast-Modified: Sun, 22 Nov 2026\r\netag:  0 \r\n\r\n";
        assert_eq!(field(head, "last-modified"), Some(b"Sun, 22 Nov 2026".as_slice()));
        assert_eq!(field(head, "Etag"), Some(b"0".as_slice()));
        assert_eq!(field(head, "Server"), None);
    }
}
