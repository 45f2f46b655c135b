//! A request's body, in whatever pieces it comes.
//!
//! The reader keeps its place in 32 bytes: it hands the data on as it arrives, stores nothing, and
//! never looks at a byte twice, so a chunk size may come digit by digit and a limit holds from the
//! first byte on.
//!
//! Knows: lengths and chunks. Never learns what the body says.

use super::{is_control, is_token_byte};
use crate::wire::refusal::Refusal;

/// Bytes of one chunk's extension, or of one trailer line. Nobody sends either; so this is generous.
pub const LINE_BYTES_MAX: u32 = 4 * 1024;

/// Bytes of all extensions and trailers of a body: they are read and dropped, and no limit on the data holds for them.
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

impl BodyFraming {
    /// Whether the body is certain to end within so many bytes.
    pub fn is_within(self, bytes: usize) -> bool {
        match self {
            BodyFraming::None => true,
            BodyFraming::Length(length) => length <= bytes as u64,
            BodyFraming::Chunked => false,
        }
    }
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

const _: () = assert!(size_of::<BodyReader>() <= 32);

/// A place in a chunked body (RFC 9112 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// Data bytes that later chunks may still bring.
    allowed: u64,
    /// Data bytes that all chunks together may bring.
    bytes_max: u64,
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
    /// A reader for a body of at most `bytes_max` bytes of data. A longer one is a fatal 413: here and now if the
    /// request announces its length, else at the size of the chunk that goes too far.
    pub fn new(framing: BodyFraming, bytes_max: u64) -> Result<Self, Refusal> {
        match framing {
            BodyFraming::None | BodyFraming::Length(0) => Ok(BodyReader::Done),
            BodyFraming::Length(length) if length > bytes_max => Err(too_large(bytes_max)),
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
        Chunks {
            allowed: bytes_max,
            bytes_max,
            missing: 0,
            extras: 0,
            line: 0,
            digits: 0,
            place: Place::Size,
        }
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
            _ => Err(fatal("a control character or a broken line end between chunks; lines end in CR LF")),
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
        self.allowed =
            self.allowed.checked_sub(u64::from(self.missing)).ok_or_else(|| too_large(self.bytes_max))?;
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

fn too_large(bytes_max: u64) -> Refusal {
    Refusal::fatal(413, format!("a body of more than {bytes_max} bytes; send less at a time"))
}

fn fatal(detail: &'static str) -> Refusal {
    Refusal::fatal(400, detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes of `input`, handed over in pieces that end at `ends`: the data, the bytes used, and whether
    /// it is complete.
    fn read_in(ends: &[usize], input: &[u8], bytes_max: u64) -> Result<(Vec<u8>, usize, bool), u16> {
        let mut reader = BodyReader::new(BodyFraming::Chunked, bytes_max).expect("nothing was announced");
        let mut body = Vec::new();
        let mut used = 0;
        for end in ends {
            while used < *end {
                let progress = reader.read(&input[used..*end], &mut body).map_err(|refusal| {
                    assert!(refusal.close, "where the body ends is unknown");
                    refusal.status
                })?;
                used += progress.used;
                if progress.done {
                    return Ok((body, used, true));
                }
                assert_eq!(used, *end, "an unfinished body takes all it is given");
            }
        }
        Ok((body, used, reader.is_done()))
    }

    /// Reads in one piece and byte by byte, which must agree, and gives the data of a complete body.
    fn read(input: impl AsRef<[u8]>) -> Result<Vec<u8>, u16> {
        let input = input.as_ref();
        let at_once = read_in(&[input.len()], input, 1_000_000);
        let bytewise: Vec<_> = (1..=input.len()).collect();
        assert_eq!(at_once, read_in(&bytewise, input, 1_000_000), "pieces matter");
        let (body, used, done) = at_once?;
        assert!(done && used == input.len(), "the tests hand in complete bodies");
        Ok(body)
    }

    #[test]
    fn a_request_without_a_body_is_done_at_once() {
        for framing in [BodyFraming::None, BodyFraming::Length(0)] {
            let mut reader = BodyReader::new(framing, 0).unwrap();
            assert!(reader.is_done());
            assert_eq!(reader.skip(b"GET"), Ok(BodyProgress { used: 0, done: true }));
        }
    }

    #[test]
    fn a_length_ends_the_body_and_leaves_the_next_request_alone() {
        let mut reader = BodyReader::new(BodyFraming::Length(5), 5).unwrap();
        let mut body = Vec::new();
        assert_eq!(reader.read(b"he", &mut body), Ok(BodyProgress { used: 2, done: false }));
        assert_eq!(reader.read(b"", &mut body), Ok(BodyProgress { used: 0, done: false }));
        assert_eq!(reader.read(b"lloGET /", &mut body), Ok(BodyProgress { used: 3, done: true }));
        assert_eq!(body, b"hello");
    }

    #[test]
    fn a_length_over_the_limit_is_a_413_before_a_byte_is_read() {
        assert!(BodyReader::new(BodyFraming::Length(100), 100).is_ok());
        let refusal = BodyReader::new(BodyFraming::Length(101), 100).unwrap_err();
        assert_eq!((refusal.status, refusal.close), (413, true));
        assert!(refusal.detail.contains("more than 100 bytes"), "{}", refusal.detail);
    }

    #[test]
    fn chunks_are_put_together_and_the_next_request_is_left_alone() {
        let input = b"5\r\nhello\r\n00000001\r\n \r\nA\r\n0123456789\r\n0\r\n\r\nGET /";
        let (body, used, done) = read_in(&[input.len()], input, 100).unwrap();
        assert_eq!((body.as_slice(), done), (&b"hello 0123456789"[..], true));
        assert_eq!(&input[used..], b"GET /");
    }

    #[test]
    fn a_body_that_nobody_wants_is_skipped_to_the_same_place() {
        let mut reader = BodyReader::new(BodyFraming::Chunked, 10).unwrap();
        assert_eq!(reader.skip(b"1\r\nx\r\n0\r\n\r\nGET"), Ok(BodyProgress { used: 11, done: true }));
    }

    #[test]
    fn a_chunk_size_is_one_to_eight_hexadecimal_digits() {
        assert_eq!(read("0\r\n\r\n"), Ok(vec![]));
        assert_eq!(read("00000000\r\n\r\n"), Ok(vec![]));
        for size in
            ["", "000000000", "000000001", "g", "-1", "+1", "0x1", " 1", "1 ", "1\t", "1.0", "\u{b2}", "1_0"]
        {
            assert_eq!(read(format!("{size}\r\nx\r\n0\r\n\r\n")), Err(400), "{size:?}");
        }
        assert_eq!(read(";a=b\r\n\r\n"), Err(400), "an extension of nothing");
    }

    #[test]
    fn a_chunk_size_line_ends_in_cr_lf_and_nothing_else() {
        for end in ["\n", "\r", "\rx", "\r\r\n", "\n\r"] {
            assert_eq!(read(format!("1{end}x\r\n0\r\n\r\n")), Err(400), "{end:?}");
            assert_eq!(read(format!("1;a{end}x\r\n0\r\n\r\n")), Err(400), "{end:?} behind an extension");
        }
    }

    #[test]
    fn chunk_data_is_followed_by_cr_lf_and_nothing_else() {
        for end in ["\n", "\rx", "x\r\n", "\r\r\n", "0\r\n"] {
            assert_eq!(read(format!("1\r\nx{end}0\r\n\r\n")), Err(400), "{end:?}");
        }
    }

    #[test]
    fn data_of_the_limit_is_read_and_one_byte_more_is_a_413_at_the_size() {
        let whole = b"8\r\n12345678\r\n2\r\n90\r\n0\r\n\r\n";
        assert_eq!(read_in(&[whole.len()], whole, 10), Ok((b"1234567890".to_vec(), whole.len(), true)));
        assert_eq!(read_in(&[15], whole, 9), Err(413), "the second size, its line not yet ended");
        assert_eq!(read_in(&[14], whole, 9), Ok((b"12345678".to_vec(), 14, false)));
        assert_eq!(read_in(&[9], b"ffffffff\r", 1_000), Err(413));
    }

    #[test]
    fn extensions_are_ignored() {
        assert_eq!(read(b"1;a\r\nx\r\n0;b=\"c;\td\xe4\"\r\n\r\n"), Ok(b"x".to_vec()));
        assert_eq!(read("1;a\0\r\nx\r\n0\r\n\r\n"), Err(400));
    }

    #[test]
    fn an_extension_of_the_limit_is_read_and_one_byte_more_is_a_400() {
        let body = |bytes: u32| format!("0;{}\r\n\r\n", "a".repeat(bytes as usize - 1));
        assert_eq!(read(body(LINE_BYTES_MAX)), Ok(vec![]));
        assert_eq!(read(body(LINE_BYTES_MAX + 1)), Err(400));
    }

    #[test]
    fn all_extensions_and_trailers_together_are_bounded() {
        let chunk = format!("1;{}\r\nx\r\n", "a".repeat(1023));
        let body = |trailer| format!("{}0\r\n{trailer}\r\n", chunk.repeat(63));
        let rest = (EXTENSION_BYTES_MAX - 63 * 1024) as usize;
        assert_eq!(read(body(format!("T:{}\r\n", "a".repeat(rest - 2)))), Ok(b"x".repeat(63)));
        assert_eq!(read(body(format!("T:{}\r\n", "a".repeat(rest - 1)))), Err(400));
    }

    #[test]
    fn trailers_are_checked_and_dropped() {
        assert_eq!(read("1\r\nx\r\n0\r\nA: b\r\nContent-Length: 7\r\nE:\r\n\r\n"), Ok(b"x".to_vec()));
        for trailer in
            ["nothing", ": v", " folded: v", "A : b", "A: b\n", "A: b\rC: d", "A: \0", "GET / HTTP/1.1"]
        {
            assert_eq!(read(format!("0\r\n{trailer}\r\n\r\n")), Err(400), "{trailer:?}");
        }
        let trailer = |bytes: u32| format!("0\r\nT:{}\r\n\r\n", "a".repeat(bytes as usize - 2));
        assert_eq!(read(trailer(LINE_BYTES_MAX)), Ok(vec![]));
        assert_eq!(read(trailer(LINE_BYTES_MAX + 1)), Err(400));
    }

    /// Bytes that are nearly a chunked body.
    fn nearly_chunked() -> impl Strategy<Value = Vec<u8>> {
        let chunk = prop::collection::vec(any::<u8>(), 1..20).prop_map(|data| {
            let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
            chunk.extend_from_slice(&data);
            chunk.extend_from_slice(b"\r\n");
            chunk
        });
        let piece = prop_oneof![
            6 => chunk,
            1 => "[0-9a-f]{1,9}(;[a-z]{0,5})?\r\n".prop_map(String::into_bytes),
            1 => "[A-Z]{1,3}: [a-z]{0,3}\r\n".prop_map(String::into_bytes),
            2 => Just(b"0\r\n\r\n".to_vec()),
            1 => "[\r\n;0 x]".prop_map(String::into_bytes),
        ];
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_pieces_give_what_the_whole_gives(
            input in nearly_chunked(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(input.len() + 1)).chain([input.len()]).collect();
            ends.sort_unstable();
            prop_assert_eq!(read_in(&ends, &input, 60), read_in(&[input.len()], &input, 60));
        }

        #[test]
        fn what_is_sent_in_chunks_arrives(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..5),
        ) {
            let mut input = Vec::new();
            for data in &chunks {
                super::super::chunk_head(data.len(), &mut input);
                input.extend_from_slice(data);
                input.extend_from_slice(super::super::CHUNK_END);
            }
            input.extend_from_slice(super::super::LAST_CHUNK);
            prop_assert_eq!(read_in(&[input.len()], &input, 10_000), Ok((chunks.concat(), input.len(), true)));
        }
    }
}
