//! What does the client say? Frames in, messages out.
//!
//! The reader takes bytes in whatever pieces they come, looks at each of them a bounded number of times,
//! and refuses a frame at the first byte that cannot be right: what a head announces is judged before
//! anything is stored. It stores what has arrived, never what was announced.
//!
//! Between two messages there is nothing to remember: see [`Reader::is_idle`]. So an idle connection
//! has no reader at all, and one that brings a whole message in one piece needs it for one turn.
//!
//! Knows: frames, masks, fragments, UTF-8. Never learns what a message says, or how it is answered.

use std::fmt;

use super::{CONTROL_BYTES_MAX, CloseCode, FINAL, LENGTH_IN_2_BYTES, LENGTH_IN_8_BYTES, MASKED, Opcode};

/// What a message may be, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message, over all its fragments. More is a 1009, as soon as a head announces it.
    pub message_bytes_max: usize,
    /// Frames of a message. More is a 1008.
    ///
    /// Fragments cost no memory, but an empty one costs six bytes to send, so without this bound a message could go
    /// on for ever and never grow.
    pub fragments_max: u32,
    /// Whether it may be binary. If not, one that is is a 1003, as soon as its first head has come.
    pub takes_binary: bool,
}

impl Default for Limits {
    /// Room for a text of 64 KiB and as much again for the names, quotes and escapes around it; and for such a
    /// message in pieces of 128 bytes, far less than any client cuts. Text only.
    fn default() -> Self {
        Limits { message_bytes_max: 128 * 1024, fragments_max: 1_024, takes_binary: false }
    }
}

/// Something arrived whole. Borrows from the reader, until it is asked for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A text message, unmasked and put together.
    Text(&'a str),
    /// A binary message, likewise.
    Binary(&'a [u8]),
    /// To be answered with a pong that carries these bytes, at most 125.
    Ping(&'a [u8]),
    /// The peer lives.
    Pong,
    /// The peer's last frame, to be answered in kind. Nothing that follows it is an event.
    Close(Option<CloseCode>),
}

/// The peer broke a rule. It is told which in a close frame, and the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What kind of rule.
    pub code: CloseCode,
    /// Which one, for a person; fits in a close frame.
    pub reason: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.code.0)
    }
}

impl std::error::Error for Violation {}

/// A place in what a client sends.
#[derive(Debug, Default)]
pub struct Reader {
    /// The beginning of a head that is still arriving.
    head: Kept<HEAD_BYTES_MAX>,
    /// The frame whose payload is arriving.
    frame: Option<Frame>,
    /// The data message that was begun. Control frames come and go beside it.
    message: Option<Message>,
    /// Whether `message` is complete and was handed out: it goes when the next event is asked for.
    delivered: bool,
    /// The payload of a control frame.
    control: Kept<CONTROL_BYTES_MAX>,
    /// Whether the peer has closed or broken a rule: whatever follows means nothing.
    ended: bool,
}

/// A head with an eight-byte length and a mask.
const HEAD_BYTES_MAX: usize = 14;

/// Bytes of a mask (RFC 6455 §5.3).
const MASK_BYTES: usize = 4;

const _: () = assert!(size_of::<Reader>() <= 256);

impl Reader {
    /// Reads on, up to the end of the next event or of the input. Says how many bytes it has used; the rest belongs
    /// into the next call, with the same reader, whenever that suits the caller.
    ///
    /// After a close or a violation all input is used and means nothing.
    pub fn next(&mut self, input: &[u8], limits: &Limits) -> Result<(usize, Option<Event<'_>>), Violation> {
        if std::mem::take(&mut self.delivered) {
            self.message = None;
        }
        if self.ended {
            return Ok((input.len(), None));
        }
        let found = self.collect(input, limits);
        // Until the end of this function shows otherwise: a close and every violation leave it before.
        self.ended = true;
        let (used, completed) = found?;
        let event = match completed {
            None => None,
            Some(Opcode::Ping) => Some(Event::Ping(self.control.bytes())),
            Some(Opcode::Pong) => Some(Event::Pong),
            Some(Opcode::Close) => return Ok((used, Some(Event::Close(read_close(self.control.bytes())?)))),
            Some(Opcode::Continuation | Opcode::Text | Opcode::Binary) => {
                self.delivered = true;
                Some(self.message.as_ref().expect("a data frame has a message to belong to").event()?)
            }
        };
        self.ended = false;
        Ok((used, event))
    }

    /// Whether nothing is in progress: then a new reader knows as much as this one, and it can be dropped.
    pub fn is_idle(&self) -> bool {
        !self.ended
            && self.head.bytes().is_empty()
            && self.frame.is_none()
            && (self.message.is_none() || self.delivered)
    }

    /// Bytes of memory that this reader holds besides its own size.
    pub fn held_bytes(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.bytes.capacity())
    }

    /// Reads frames until one completes something: a message, or a control frame.
    fn collect(&mut self, input: &[u8], limits: &Limits) -> Result<(usize, Option<Opcode>), Violation> {
        let mut used = 0;
        while used < input.len() {
            used += match self.frame {
                None => self.read_head(&input[used..], limits)?,
                Some(_) => self.read_payload(&input[used..])?,
            };
            // An empty frame ends with its head.
            if let Some(frame) = self.frame.take_if(|frame| frame.missing == 0)
                && frame.is_final
            {
                return Ok((used, Some(frame.opcode)));
            }
        }
        Ok((used, None))
    }

    fn read_head(&mut self, input: &[u8], limits: &Limits) -> Result<usize, Violation> {
        let before = self.head.bytes().len();
        let taken = self.head.fill(input);
        let message = self.message.as_ref();
        let Some((frame, head_bytes)) = Frame::parse(self.head.bytes(), message, limits)? else {
            return Ok(taken);
        };
        self.head.clear();
        match frame.opcode {
            Opcode::Binary if !limits.takes_binary => {
                return Err(Violation {
                    code: CloseCode::UNSUPPORTED,
                    reason: "a binary message; send text",
                });
            }
            Opcode::Continuation => {}
            Opcode::Text | Opcode::Binary => self.message = Some(Message::new(frame.opcode)),
            Opcode::Close | Opcode::Ping | Opcode::Pong => self.control.clear(),
        }
        if let (false, Some(message)) = (frame.opcode.is_control(), &mut self.message) {
            message.fragments += 1;
        }
        self.frame = Some(frame);
        // What was taken beyond the head is the payload's, and is read again.
        Ok(head_bytes - before)
    }

    fn read_payload(&mut self, input: &[u8]) -> Result<usize, Violation> {
        let Some(frame) = &mut self.frame else { return Ok(0) };
        let here = usize::try_from(frame.missing).map_or(input.len(), |missing| missing.min(input.len()));
        frame.missing -= here as u64;
        let (piece, whole) = (&input[..here], frame.missing == 0 && frame.is_final);
        if frame.opcode.is_control() {
            let from = self.control.bytes().len();
            self.control.fill(piece);
            frame.unmask(&mut self.control.bytes_mut()[from..]);
        } else if let Some(message) = &mut self.message {
            let from = message.bytes.len();
            message.bytes.extend_from_slice(piece);
            frame.unmask(&mut message.bytes[from..]);
            // A complete text is checked once more as a whole, and most texts come in one piece.
            if !whole {
                message.check_text_so_far()?;
            }
        }
        Ok(here)
    }
}

/// A frame whose head was read.
#[derive(Debug)]
struct Frame {
    opcode: Opcode,
    is_final: bool,
    /// Bytes of the payload that have not arrived.
    missing: u64,
    /// Begins with the byte that the next byte of the payload is masked with.
    mask: [u8; MASK_BYTES],
}

impl Frame {
    /// Reads the head that `bytes` begin with, and says how long it is; `None` if some of it is missing. What is there
    /// is judged in any case.
    fn parse(
        bytes: &[u8],
        message: Option<&Message>,
        limits: &Limits,
    ) -> Result<Option<(Frame, usize)>, Violation> {
        let [first, rest @ ..] = bytes else { return Ok(None) };
        let is_final = first & FINAL != 0;
        let opcode = judge_first(first & !FINAL, is_final, message, limits)?;
        let [second, rest @ ..] = rest else { return Ok(None) };
        if second & MASKED == 0 {
            return Err(protocol("an unmasked frame; clients mask every frame"));
        }
        let short = second & !MASKED;
        if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
            return Err(protocol("a control frame of more than 125 bytes"));
        }
        let Some((length, rest)) = parse_length(short, rest)? else { return Ok(None) };
        let before = message.map_or(0, |message| message.bytes.len()) as u64;
        if !opcode.is_control() && before.saturating_add(length) > limits.message_bytes_max as u64 {
            return Err(Violation {
                code: CloseCode::TOO_LONG,
                reason: "a message longer than is taken here",
            });
        }
        let Some((mask, rest)) = rest.split_first_chunk::<MASK_BYTES>() else { return Ok(None) };
        Ok(Some((Frame { opcode, is_final, missing: length, mask: *mask }, bytes.len() - rest.len())))
    }

    /// Unmasks what arrived last. Hot: runs over every byte of every payload, so eight at a time.
    fn unmask(&mut self, payload: &mut [u8]) {
        let [a, b, c, d] = self.mask;
        let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        let (eights, rest) = payload.as_chunks_mut::<8>();
        for eight in eights {
            *eight = (u64::from_ne_bytes(*eight) ^ wide).to_ne_bytes();
        }
        for (byte, mask) in rest.iter_mut().zip(self.mask.iter().cycle()) {
            *byte ^= mask;
        }
        let turned = rest.len() % MASK_BYTES;
        self.mask.rotate_left(turned);
    }
}

/// Judges what the first byte of a head says, besides whether the frame is final.
fn judge_first(
    bits: u8,
    is_final: bool,
    message: Option<&Message>,
    limits: &Limits,
) -> Result<Opcode, Violation> {
    const RESERVED: u8 = 0x70;
    if bits & RESERVED != 0 {
        return Err(protocol("a reserved bit; no extension was negotiated"));
    }
    let opcode = Opcode::from_bits(bits).ok_or_else(|| protocol("a reserved opcode"))?;
    match (opcode, message) {
        (Opcode::Close | Opcode::Ping | Opcode::Pong, _) if !is_final => {
            Err(protocol("a control frame in fragments"))
        }
        (Opcode::Continuation, None) => Err(protocol("a continuation of nothing")),
        (Opcode::Text | Opcode::Binary, Some(_)) => Err(protocol("a new message inside another")),
        (Opcode::Continuation, Some(message)) if message.fragments >= limits.fragments_max => {
            Err(Violation { code: CloseCode::POLICY, reason: "a message in too many fragments" })
        }
        _ => Ok(opcode),
    }
}

/// Reads the length that `short` says or announces, in as few bytes as it fits (RFC 6455 §5.2), and what follows it.
fn parse_length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    let (length, length_min, rest) = match short {
        LENGTH_IN_2_BYTES => match rest.split_first_chunk() {
            Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), 126, rest),
            None => return Ok(None),
        },
        LENGTH_IN_8_BYTES => match rest.split_first_chunk() {
            Some((length, rest)) => (u64::from_be_bytes(*length), 65_536, rest),
            None => return Ok(None),
        },
        length => (u64::from(length), 0, rest),
    };
    if length >> 63 != 0 {
        return Err(protocol("a length with its highest bit set"));
    }
    if length < length_min {
        return Err(protocol("a length in more bytes than it needs"));
    }
    Ok(Some((length, rest)))
}

/// A data message that was begun.
#[derive(Debug)]
struct Message {
    is_text: bool,
    /// What has arrived of it, unmasked. Grows by doubling, so it is at most twice that.
    bytes: Vec<u8>,
    /// Invariant: up to here `bytes` are whole characters, if they are text.
    checked: usize,
    /// Heads of frames that were read.
    fragments: u32,
}

impl Message {
    fn new(opcode: Opcode) -> Self {
        Message { is_text: opcode == Opcode::Text, bytes: Vec::new(), checked: 0, fragments: 0 }
    }

    /// Whether a text may still become one. A character may be cut in two here, but not be a wrong one: then no
    /// further byte could help. Looks at no more than three bytes again.
    fn check_text_so_far(&mut self) -> Result<(), Violation> {
        if !self.is_text {
            return Ok(());
        }
        match str::from_utf8(&self.bytes[self.checked..]) {
            Ok(rest) => self.checked += rest.len(),
            Err(wrong) if wrong.error_len().is_some() => return Err(not_utf8()),
            Err(cut) => self.checked += cut.valid_up_to(),
        }
        Ok(())
    }

    /// The complete message.
    fn event(&self) -> Result<Event<'_>, Violation> {
        if self.is_text {
            str::from_utf8(&self.bytes).map(Event::Text).map_err(|_| not_utf8())
        } else {
            Ok(Event::Binary(&self.bytes))
        }
    }
}

/// Reads the payload of a close: nothing, or a code and a reason in UTF-8 (RFC 6455 §5.5.1).
fn read_close(payload: &[u8]) -> Result<Option<CloseCode>, Violation> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [_] => return Err(protocol("a close with half a code")),
        [high, low, reason @ ..] => (CloseCode(u16::from_be_bytes([*high, *low])), reason),
    };
    if !code.is_sendable() {
        return Err(protocol("a close with a code that may not be sent"));
    }
    str::from_utf8(reason).map_err(|_| not_utf8())?;
    Ok(Some(code))
}

/// A few bytes, kept in place.
#[derive(Debug)]
struct Kept<const BYTES: usize> {
    bytes: [u8; BYTES],
    length: u8,
}

impl<const BYTES: usize> Kept<BYTES> {
    /// Keeps as much of `input` as there is room for, and says how much that is.
    fn fill(&mut self, input: &[u8]) -> usize {
        let room = &mut self.bytes[usize::from(self.length)..];
        let taken = room.len().min(input.len());
        room[..taken].copy_from_slice(&input[..taken]);
        self.length += taken as u8;
        taken
    }

    fn clear(&mut self) {
        self.length = 0;
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..usize::from(self.length)]
    }
}

impl<const BYTES: usize> Default for Kept<BYTES> {
    fn default() -> Self {
        const { assert!(BYTES <= u8::MAX as usize) };
        Kept { bytes: [0; BYTES], length: 0 }
    }
}

fn protocol(reason: &'static str) -> Violation {
    Violation { code: CloseCode::PROTOCOL, reason }
}

fn not_utf8() -> Violation {
    Violation { code: CloseCode::NOT_UTF8, reason: "a text that is not UTF-8" }
}
