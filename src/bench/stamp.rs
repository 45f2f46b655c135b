//! Stamps: how a message is known again, whatever was made of it on the way.
//!
//! The publisher puts one into every payload; a subscriber looks for it in the bytes that come. It
//! has a fixed length and only characters that no server escapes, in JSON, HTML or a URL, so it
//! survives every framing. Its first character occurs nowhere else in it: a search that fails
//! needs to look at no byte twice, and its whole state is a number of matched bytes.
//!
//! ```text
//! ~e 1f03c2aa . 00000042 . 0000001234567890
//!    the run    number     when it was planned, in microseconds
//! ```
//!
//! Knows: bytes. Never learns how they were framed.

use memchr::memchr;

/// Bytes of a stamp.
pub(super) const STAMP_BYTES: usize = 2 + RUN_BYTES + 1 + SEQUENCE_DIGITS + 1 + TIME_DIGITS;

/// Characters of a run's name.
pub(super) const RUN_BYTES: usize = 8;

/// More messages than these digits can number are refused beforehand.
const SEQUENCE_DIGITS: usize = 8;

const TIME_DIGITS: usize = 16;
const SEQUENCE_AT: usize = 2 + RUN_BYTES + 1;
const TIME_AT: usize = SEQUENCE_AT + SEQUENCE_DIGITS + 1;

/// What a message says about itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stamp {
    pub(super) sequence: u32,
    /// When it was to be sent, in microseconds of the monotonic clock.
    pub(super) planned_us: u64,
}

impl Stamp {
    /// Appends the stamp as text. `run` has [`RUN_BYTES`] characters.
    pub(super) fn write(self, run: &str, out: &mut Vec<u8>) {
        let Stamp { sequence, planned_us } = self;
        out.extend_from_slice(format!("~e{run}.{sequence:08}.{planned_us:016}").as_bytes());
    }
}

/// A search for the stamps of one run that goes on from read to read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StampScan {
    /// How many bytes of a stamp have been seen.
    matched: u8,
    sequence: u32,
    planned_us: u64,
}

impl StampScan {
    /// The next stamp in `bytes`, which becomes what is behind it; `None` when all of it was searched.
    ///
    /// Hot: runs once per delivery. No allocation.
    pub(super) fn next(&mut self, run: &[u8; RUN_BYTES], bytes: &mut &[u8]) -> Option<Stamp> {
        while !bytes.is_empty() {
            if self.matched == 0 {
                let Some(at) = memchr(b'~', bytes) else {
                    *bytes = &[];
                    return None;
                };
                *bytes = &bytes[at..];
            }
            let (&byte, rest) = bytes.split_first()?;
            *bytes = rest;
            if self.step(run, byte) {
                return Some(Stamp { sequence: self.sequence, planned_us: self.planned_us });
            }
        }
        None
    }

    /// Takes one byte; true when it completes a stamp.
    fn step(&mut self, run: &[u8; RUN_BYTES], byte: u8) -> bool {
        let at = usize::from(self.matched);
        let fits = match at {
            0 => byte == b'~',
            1 => byte == b'e',
            _ if at < SEQUENCE_AT - 1 => byte == run[at - 2],
            _ if at == SEQUENCE_AT - 1 || at == TIME_AT - 1 => byte == b'.',
            _ => byte.is_ascii_digit(),
        };
        if !fits {
            // Whatever it was, only this very byte can begin a stamp.
            self.matched = u8::from(byte == b'~');
            return false;
        }
        match at {
            0 => *self = StampScan::default(),
            _ if at >= TIME_AT => self.planned_us = self.planned_us * 10 + u64::from(byte - b'0'),
            _ if (SEQUENCE_AT..TIME_AT - 1).contains(&at) => {
                self.sequence = self.sequence * 10 + u32::from(byte - b'0');
            }
            _ => {}
        }
        self.matched = (at as u8 + 1) % STAMP_BYTES as u8;
        self.matched == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &[u8; RUN_BYTES] = b"1f03c2aa";

    fn found(pieces: &[&[u8]]) -> Vec<Stamp> {
        let mut scan = StampScan::default();
        let mut stamps = Vec::new();
        for mut piece in pieces.iter().copied() {
            while let Some(stamp) = scan.next(RUN, &mut piece) {
                stamps.push(stamp);
            }
        }
        stamps
    }

    fn text(stamps: &[Stamp]) -> Vec<u8> {
        let mut text = b"data: ~~e".to_vec();
        for stamp in stamps {
            stamp.write("1f03c2aa", &mut text);
            text.extend_from_slice(b"xx\n\ndata: ~");
        }
        text
    }

    #[test]
    fn stamps_are_found_in_every_split() {
        let stamps = [
            Stamp { sequence: 0, planned_us: 1 },
            Stamp { sequence: 99_999_999, planned_us: 9_999_999_999_999_999 },
        ];
        let text = text(&stamps);
        for first in 0..text.len() {
            for second in first..text.len() {
                assert_eq!(found(&[&text[..first], &text[first..second], &text[second..]]), stamps);
            }
        }
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(found(&single), stamps);
    }

    #[test]
    fn another_run_is_not_ours_and_hides_nothing() {
        let mut text = Vec::new();
        Stamp { sequence: 7, planned_us: 7 }.write("00000000", &mut text);
        let cut = &text[..20];
        let mut both = cut.to_vec();
        Stamp { sequence: 8, planned_us: 9 }.write("1f03c2aa", &mut both);
        assert_eq!(found(&[&text, &both]), [Stamp { sequence: 8, planned_us: 9 }]);
    }
}
