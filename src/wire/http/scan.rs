//! Where does this head end?
//!
//! A head may come in one piece or byte by byte, and a hostile one never ends at all. So the
//! scan remembers how far it looked, never looks at a byte twice, and refuses a head at the
//! first byte that cannot belong to one: nobody can make us store or re-read what is already
//! known to be wrong.
//!
//! Knows: line ends, control bytes, the shape of a request line, limits. Never learns what a
//! method, a target or a field means.

use super::{is_control, is_token_byte};
use crate::wire::refusal::Refusal;

/// Empty lines that are ignored before a request line (RFC 9112 §2.2 asks for at least one: old clients
/// put one behind a POST). More is somebody feeding us line ends.
pub const EMPTY_LINES_MAX: u8 = 4;

/// The longest method we read. The longest registered one, `UPDATEREDIRECTREF`, has 17 bytes.
pub const METHOD_BYTES_MAX: u32 = 32;

/// `HTTP/1.1`.
const VERSION_BYTES: u32 = 8;

/// How much of a head we are willing to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the request target. More is a 414.
    pub target_bytes_max: u32,
    /// Bytes of the whole head, from the first leading empty line to the last line end. More is a 431.
    pub head_bytes_max: u32,
    /// Field lines. More is a 431. At most [`FIELDS_CEILING`](super::FIELDS_CEILING) has an effect.
    pub fields_max: u32,
}

impl Default for HeadLimits {
    /// Room for a chat message in the query (8 KiB), for a browser with many cookies (32 KiB), and for
    /// several times the fields that any browser sends (100).
    fn default() -> Self {
        HeadLimits { target_bytes_max: 8 * 1024, head_bytes_max: 32 * 1024, fields_max: 100 }
    }
}

/// How far a head that is still arriving was looked at.
///
/// Start the next head with `HeadScan::default()`. After a refusal the scan is of no further use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadScan {
    /// Bytes looked at. Invariant: never decreases, never above the length of what was handed in.
    seen: u32,
    /// Where the part of the request line that is being read began.
    part_start: u32,
    fields: u16,
    empty_lines: u8,
    place: Place,
}

const _: () = assert!(size_of::<HeadScan>() <= 16);

/// What the next byte will mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// The first byte of a request line, or an empty line before it.
    #[default]
    Before,
    /// The LF of a leading empty line.
    BeforeLf,
    Method,
    Target,
    Version,
    /// The LF that ends the request line.
    RequestLf,
    /// The first byte of a field, or the CR of the last line.
    LineStart,
    Field,
    /// The LF that ends a field line.
    FieldLf,
    /// The LF that ends the head.
    LastLf,
    /// Not of this head.
    Complete,
}

impl HeadScan {
    /// Looks at the bytes that are new since the last call and says how long the head is, leading empty
    /// lines and the final empty line included, or `None` if it goes on.
    ///
    /// `bytes` is all that was received of this head so far (and possibly more behind it): what was handed
    /// in last time, and then some. Every refusal is fatal.
    pub fn scan(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Refusal> {
        let end = bytes.len().min(limits.head_bytes_max as usize);
        let mut at = self.seen as usize;
        debug_assert!(at <= bytes.len(), "a head does not shrink between two looks");
        while at < end && self.place != Place::Complete {
            if self.place == Place::Field {
                at += printable_prefix(&bytes[at..end]);
                if at == end {
                    break;
                }
            }
            self.place = self.after(bytes[at], at as u32, limits)?;
            at += 1;
        }
        self.seen = at as u32;
        if self.place == Place::Complete {
            return Ok(Some(at));
        }
        if bytes.len() > end {
            return Err(self.too_long());
        }
        Ok(None)
    }

    /// Whether a byte of the request line was seen. Empty lines before it do not count.
    pub fn started(&self) -> bool {
        !matches!(self.place, Place::Before | Place::BeforeLf)
    }

    /// What the byte behind `byte` will mean, or why `byte`, number `at` of the head, cannot stand here.
    fn after(&mut self, byte: u8, at: u32, limits: &HeadLimits) -> Result<Place, Refusal> {
        let part_bytes = at - self.part_start;
        match (self.place, byte) {
            (Place::Before, b'\r') => {
                self.empty_lines += 1;
                if self.empty_lines > EMPTY_LINES_MAX {
                    return Err(Refusal::fatal(400, "more than 4 empty lines; expected a request line"));
                }
                Ok(Place::BeforeLf)
            }
            (Place::BeforeLf, b'\n') => Ok(Place::Before),
            (Place::Before, _) if is_token_byte(byte) => {
                self.part_start = at;
                Ok(Place::Method)
            }
            (Place::Method, _) if is_token_byte(byte) => match part_bytes < METHOD_BYTES_MAX {
                true => Ok(Place::Method),
                false => Err(Refusal::fatal(501, "a method of more than 32 bytes; no such method exists")),
            },
            (Place::Method, b' ') => {
                self.part_start = at + 1;
                Ok(Place::Target)
            }
            (Place::Target, b' ') if part_bytes > 0 => {
                self.part_start = at + 1;
                Ok(Place::Version)
            }
            (Place::Target, 0x21..=0x7e | 0x80..) => match part_bytes < limits.target_bytes_max {
                true => Ok(Place::Target),
                false => Err(too_long_target()),
            },
            (Place::Version, 0x21..=0x7e) if part_bytes < VERSION_BYTES => Ok(Place::Version),
            (Place::Version, b'\r') if part_bytes == VERSION_BYTES => Ok(Place::RequestLf),
            (Place::RequestLf | Place::FieldLf, b'\n') => Ok(Place::LineStart),
            (Place::LineStart, b'\r') => Ok(Place::LastLf),
            (Place::LineStart, _) if is_token_byte(byte) => {
                if u32::from(self.fields) >= limits.fields_max.min(u32::from(u16::MAX)) {
                    return Err(Refusal::fatal(431, "too many header fields; send fewer"));
                }
                self.fields += 1;
                Ok(Place::Field)
            }
            (Place::Field, b'\r') => Ok(Place::FieldLf),
            (Place::Field, _) if byte != b'\n' && !is_control(byte) => Ok(Place::Field),
            (Place::LastLf, b'\n') => Ok(Place::Complete),
            _ => Err(self.misplaced(byte)),
        }
    }

    /// Why `byte` cannot stand here. Reached once per refused head, so it may take its time to be helpful.
    fn misplaced(&self, byte: u8) -> Refusal {
        let detail = match (self.place, byte) {
            (Place::BeforeLf | Place::RequestLf | Place::FieldLf | Place::LastLf, _) => {
                "a carriage return without a line feed; lines end in CR LF"
            }
            (_, b'\n') => "a line feed without a carriage return; lines end in CR LF",
            (Place::Target | Place::Method, b'\r') => {
                "a request line without a version (HTTP/0.9?); expected METHOD TARGET HTTP/1.1"
            }
            (Place::LineStart, b' ' | b'\t') => {
                "a line that begins with white space; folded lines are not understood, put each field on one line"
            }
            (Place::LineStart, b':') => "a header field without a name; expected NAME: VALUE",
            (_, _) if is_control(byte) => "a control character in the head; is this HTTP?",
            (Place::Before | Place::Method, _) => {
                "a method with a character that no method has; expected METHOD TARGET HTTP/1.1"
            }
            (Place::Target | Place::Version, b' ' | b'\t') => {
                "extra white space in the request line; expected METHOD TARGET HTTP/1.1, one space between them"
            }
            (Place::Version, _) => "a malformed version; expected HTTP/1.1 or HTTP/1.0",
            _ => "a header field whose name holds a character that no name has; expected NAME: VALUE",
        };
        Refusal::fatal(400, detail)
    }

    /// The head ran into its limit: whose fault that is depends on where we were.
    fn too_long(&self) -> Refusal {
        match self.place {
            Place::Target => too_long_target(),
            _ => Refusal::fatal(431, "a request head over the limit; send fewer or shorter fields"),
        }
    }
}

fn too_long_target() -> Refusal {
    Refusal::fatal(414, "a request target over the limit; send what is long in a body")
}

/// How many bytes at the front are not control characters: eight at a time, because nearly all of a head is
/// field lines, and nearly all of those is this.
///
/// Hot: runs over every byte of every head. May stop early at a tab, which is a control character that is allowed.
fn printable_prefix(bytes: &[u8]) -> usize {
    let mut words = bytes.chunks_exact(8);
    let mut at = 0;
    for word in &mut words {
        let word = u64::from_le_bytes(word.try_into().expect("chunks_exact(8) gives 8 bytes"));
        if has_control(word) {
            break;
        }
        at += 8;
    }
    at + bytes[at..].iter().take_while(|byte| !byte.is_ascii_control()).count()
}

/// Whether one of the eight bytes is below 0x20 or is 0x7f.
fn has_control(word: u64) -> bool {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    // A byte below n borrows from its highest bit when n is taken away, and its own highest bit was not set.
    let below = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word & HIGHS;
    // A borrow can only spoil bytes above one that is really below n: a hit may be in the wrong place, never missing or made up.
    below(word, 0x20) | below(word ^ (ONES * 0x7f), 1) != 0
}
