//! A request's body, in whatever pieces it comes.
//!
//! The reader keeps its place in 24 bytes: it hands the data on as it arrives, stores nothing, and
//! never looks at a byte twice, so a chunk size may come digit by digit and a limit holds from the
//! first byte on.
//!
//! Knows: lengths and chunks. Never learns what the body says.

use super::{is_control, is_token_byte};
use crate::wire::refusal::Refusal;

/// Bytes of one chunk's extension, or of one trailer line. Nobody sends either; so this is generous.
pub const LINE_BYTES_MAX: u32 = 4 * 1024;

/// Bytes of all extensions and trailers of a body: they are read and dropped, and a limit on the data does not limit them.
pub const EXTENSION_BYTES_MAX: u32 = 64 * 1024;

/// Hexadecimal digits of a chunk's size: all that a `u32` can hold.
const SIZE_DIGITS_MAX: u8 = 8;

/// How a request says where its body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// It comes in chunks, the last of which is empty.
    Chunked,
}

/// What a piece of input brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyProgress {
    /// Bytes of the input that belong to this body: all of it, unless the body ended before.
    pub used: usize,
    /// Whether the body is complete. What follows is another request.
    pub done: bool,
}

/// A place in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyReader {
    /// So many bytes are missing.
    Length {
        /// Invariant: not 0.
        missing: u64,
    },
    /// Somewhere between chunks, or in one.
    Chunked(Chunks),
    /// Nothing is missing.
    Done,
}

const _: () = assert!(size_of::<BodyReader>() <= 24);

/// A place in a chunked body (RFC 9112 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// Data bytes that later chunks may still bring.
    allowed: u64,
    /// While reading a size: its value so far. Inside a chunk: how much of it is missing.
    missing: u32,
    /// Bytes of extensions and trailers so far.
    extras: u32,
    /// Bytes of the current extension or trailer line.
    line: u16,
    /// Digits of the size read so far.
    digits: u8,
    place: Place,
}

/// What the next byte of a chunked body will mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The first byte of a trailer field, or the CR of the last line.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Complete,
}

impl BodyReader {
    /// A reader for a body of at most `bytes_max` bytes of data. A longer one is a fatal 413: at once if the request announces its length.
    pub fn new(framing: BodyFraming, bytes_max: u64) -> Result<Self, Refusal> {
        match framing {
            BodyFraming::None | BodyFraming::Length(0) => Ok(BodyReader::Done),
            BodyFraming::Length(length) if length > bytes_max => Err(too_large()),
            BodyFraming::Length(length) => Ok(BodyReader::Length { missing: length }),
            BodyFraming::Chunked => Ok(BodyReader::Chunked(Chunks::new(bytes_max))),
        }
    }

    /// Reads on, and appends the data to `body`. Every refusal is fatal, and the reader of no further use after it.
    pub fn read(&mut self, input: &[u8], body: &mut Vec<u8>) -> Result<BodyProgress, Refusal> {
        self.walk(input, |data| body.extend_from_slice(data))
    }

    /// Reads on like [`BodyReader::read`], for a body that nobody wants.
    pub fn skip(&mut self, input: &[u8]) -> Result<BodyProgress, Refusal> {
        self.walk(input, |_| {})
    }

    /// Whether nothing is missing.
    pub fn is_done(&self) -> bool {
        matches!(self, BodyReader::Done)
    }

    fn walk(&mut self, input: &[u8], keep: impl FnMut(&[u8])) -> Result<BodyProgress, Refusal> {
        let used = match self {
            BodyReader::Done => 0,
            BodyReader::Length { missing } => take_length(missing, input, keep),
            BodyReader::Chunked(chunks) => chunks.walk(input, keep)?,
        };
        let complete = match self {
            BodyReader::Done => true,
            BodyReader::Length { missing } => *missing == 0,
            BodyReader::Chunked(chunks) => chunks.place == Place::Complete,
        };
        if complete {
            *self = BodyReader::Done;
        }
        Ok(BodyProgress { used, done: complete })
    }
}

fn take_length(missing: &mut u64, input: &[u8], mut keep: impl FnMut(&[u8])) -> usize {
    let used = usize::try_from(*missing).unwrap_or(usize::MAX).min(input.len());
    keep(&input[..used]);
    *missing -= used as u64;
    used
}

impl Chunks {
    fn new(bytes_max: u64) -> Self {
        Chunks { allowed: bytes_max, missing: 0, extras: 0, line: 0, digits: 0, place: Place::Size }
    }

    /// How much of the input is this body's.
    fn walk(&mut self, input: &[u8], mut keep: impl FnMut(&[u8])) -> Result<usize, Refusal> {
        let mut at = 0;
        while at < input.len() && self.place != Place::Complete {
            if self.place == Place::Data {
                let mut missing = u64::from(self.missing);
                at += take_length(&mut missing, &input[at..], &mut keep);
                self.missing = missing as u32;
                if missing == 0 {
                    self.place = Place::DataCr;
                }
            } else {
                self.place = self.after(input[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    /// What the byte behind `byte` will mean, or why `byte` cannot stand here.
    fn after(&mut self, byte: u8) -> Result<Place, Refusal> {
        match (self.place, byte) {
            (Place::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte),
            (Place::Size, b';') if self.digits > 0 => self.size_read(Place::Extension),
            (Place::Size, b'\r') if self.digits > 0 => self.size_read(Place::SizeLf),
            (Place::Size, _) => {
                Err(fatal("a malformed chunk size; expected 1 to 8 hexadecimal digits and CR LF"))
            }
            (Place::Extension, b'\r') => Ok(Place::SizeLf),
            (Place::Extension, _) if !is_control(byte) => self.extra(Place::Extension),
            (Place::SizeLf, b'\n') if self.missing > 0 => Ok(Place::Data),
            (Place::SizeLf, b'\n') => Ok(Place::TrailerStart),
            (Place::DataCr, b'\r') => Ok(Place::DataLf),
            (Place::DataLf, b'\n') => {
                (self.missing, self.digits) = (0, 0);
                Ok(Place::Size)
            }
            (Place::DataCr | Place::DataLf, _) => {
                Err(fatal("a chunk that is longer than its size says; expected CR LF behind the data"))
            }
            (Place::TrailerStart, b'\r') => Ok(Place::LastLf),
            (Place::TrailerStart, _) if is_token_byte(byte) => {
                self.line = 0;
                self.extra(Place::TrailerName)
            }
            (Place::TrailerName, _) if is_token_byte(byte) => self.extra(Place::TrailerName),
            (Place::TrailerName, b':') => self.extra(Place::TrailerValue),
            (Place::TrailerValue, b'\r') => Ok(Place::TrailerLf),
            (Place::TrailerValue, _) if !is_control(byte) => self.extra(Place::TrailerValue),
            (Place::TrailerLf, b'\n') => Ok(Place::TrailerStart),
            (Place::LastLf, b'\n') => Ok(Place::Complete),
            (Place::TrailerStart | Place::TrailerName, _) => {
                Err(fatal("a malformed trailer behind the last chunk; expected NAME: VALUE or an empty line"))
            }
            _ => Err(fatal("a control character between chunks; lines end in CR LF")),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<Place, Refusal> {
        if self.digits == SIZE_DIGITS_MAX {
            return Err(fatal("a chunk size of more than 8 digits; send smaller chunks"));
        }
        let digit = char::from(byte).to_digit(16).expect("only called with hexadecimal digits");
        self.digits += 1;
        self.missing = self.missing << 4 | digit;
        Ok(Place::Size)
    }

    /// The size is known: refused before its first byte is read if it is too much.
    fn size_read(&mut self, next: Place) -> Result<Place, Refusal> {
        self.allowed = self.allowed.checked_sub(u64::from(self.missing)).ok_or_else(too_large)?;
        self.line = 0;
        if next == Place::Extension { self.extra(next) } else { Ok(next) }
    }

    /// One more byte that is read and dropped.
    fn extra(&mut self, next: Place) -> Result<Place, Refusal> {
        self.line += 1;
        self.extras += 1;
        if u32::from(self.line) > LINE_BYTES_MAX || self.extras > EXTENSION_BYTES_MAX {
            return Err(fatal("chunk extensions or trailers over the limit; they are ignored, send none"));
        }
        Ok(next)
    }
}

fn too_large() -> Refusal {
    Refusal::fatal(413, "a body over the limit; send less at a time")
}

fn fatal(detail: &'static str) -> Refusal {
    Refusal::fatal(400, detail)
}
