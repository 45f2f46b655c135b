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

/// Field lines in one head, whatever [`HeadLimits`] says: [`Request`](super::Request) lends `httparse` an array for
/// them on the stack.
pub const FIELDS_CEILING: u32 = 128;

/// `HTTP/1.1`.
const VERSION_BYTES: u32 = 8;

/// How much of a head we are willing to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the request target. More is a 414.
    pub target_bytes_max: u32,
    /// Bytes of the whole head, from the first leading empty line to the last line end. More is a 431.
    pub head_bytes_max: u32,
    /// Field lines. More is a 431. No value above [`FIELDS_CEILING`] has an effect.
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
            at += self.run(at, &bytes[..end], limits);
            if at == end {
                break;
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

    /// How many bytes from `at` on change nothing: they go on with a target or a field, as nearly all of a head does.
    fn run(&self, at: usize, bytes: &[u8], limits: &HeadLimits) -> usize {
        match self.place {
            Place::Target => {
                let end_max = self.part_start as usize + limits.target_bytes_max as usize;
                plain_prefix(&bytes[at..end_max.clamp(at, bytes.len())], b'!')
            }
            Place::Field => plain_prefix(&bytes[at..], b' '),
            _ => 0,
        }
    }

    /// Whether a byte of the request line was seen. Empty lines before it do not count.
    pub fn started(&self) -> bool {
        !matches!(self.place, Place::Before | Place::BeforeLf)
    }

    /// The request line of what was handed in, with what stands before it; empty as long as it is not complete. What is
    /// refused further on does not change it.
    pub fn request_line<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        match self.place {
            Place::LineStart | Place::Field | Place::FieldLf | Place::LastLf | Place::Complete => {
                &bytes[..(self.part_start + VERSION_BYTES) as usize + b"\r\n".len()]
            }
            _ => b"",
        }
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
            (Place::Method, _) if is_token_byte(byte) && part_bytes < METHOD_BYTES_MAX => Ok(Place::Method),
            (Place::Method, _) if is_token_byte(byte) => {
                Err(Refusal::fatal(501, "a method of more than 32 bytes; no such method exists"))
            }
            (Place::Method, b' ') => {
                self.part_start = at + 1;
                Ok(Place::Target)
            }
            (Place::Target, b' ') if part_bytes > 0 => {
                self.part_start = at + 1;
                Ok(Place::Version)
            }
            (Place::Target, 0x21..=0x7e | 0x80..) if part_bytes < limits.target_bytes_max => {
                Ok(Place::Target)
            }
            (Place::Target, 0x21..=0x7e | 0x80..) => Err(too_long_target()),
            (Place::Version, 0x21..=0x7e) if part_bytes < VERSION_BYTES => Ok(Place::Version),
            (Place::Version, b'\r') if part_bytes == VERSION_BYTES => Ok(Place::RequestLf),
            (Place::RequestLf | Place::FieldLf, b'\n') => Ok(Place::LineStart),
            (Place::LineStart, b'\r') => Ok(Place::LastLf),
            (Place::LineStart, _) if is_token_byte(byte) => {
                self.fields += 1;
                if u32::from(self.fields) > limits.fields_max.min(FIELDS_CEILING) {
                    return Err(Refusal::fatal(431, "too many header fields; send fewer"));
                }
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
            (Place::Before | Place::Target | Place::Version, b' ' | b'\t') => {
                "extra white space in the request line; expected METHOD TARGET HTTP/1.1, one space between them"
            }
            _ if is_control(byte) => "a control character in the head; is this HTTP?",
            (Place::Before | Place::Method, _) => {
                "a method with a character that no method has; expected METHOD TARGET HTTP/1.1"
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

/// How many bytes at the front are neither below `least` nor 0x7f: eight at a time. Stops at a tab too, the one
/// control character that is allowed.
///
/// Hot: runs over nearly every byte of every head.
fn plain_prefix(bytes: &[u8], least: u8) -> usize {
    let (words, rest) = bytes.as_chunks();
    for (nth, word) in words.iter().enumerate() {
        if let Some(at) = first_special(u64::from_le_bytes(*word), least) {
            return 8 * nth + at;
        }
    }
    8 * words.len() + rest.iter().take_while(|&&byte| byte >= least && byte != 0x7f).count()
}

/// Which of the eight bytes, the lowest first, is below `least` or is 0x7f.
fn first_special(word: u64, least: u8) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    // Taking n from a byte below n borrows, which sets its highest bit; a byte that had it set is no candidate. The
    // borrow may make up hits above, but never below the first.
    let below = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word & HIGHS;
    let hits = below(word, u64::from(least)) | below(word ^ (ONES * 0x7f), 1);
    (hits != 0).then_some(hits.trailing_zeros() as usize / 8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SMALL: HeadLimits = HeadLimits { target_bytes_max: 10, head_bytes_max: 60, fields_max: 3 };

    fn scan(bytes: impl AsRef<[u8]>, limits: &HeadLimits) -> Result<Option<usize>, u16> {
        let result = HeadScan::default().scan(bytes.as_ref(), limits);
        result.map_err(|refusal| {
            assert!(refusal.close, "where the head ends is unknown");
            refusal.status
        })
    }

    #[test]
    fn the_request_line_is_known_once_it_is_complete_whatever_follows() {
        let head = b"\r\nGET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n";
        for end in [0, 5, 17, 18, 20, head.len()] {
            let mut scan = HeadScan::default();
            assert_eq!(scan.scan(&head[..end], &SMALL).is_err(), end == head.len());
            let line: &[u8] = if end < 18 { b"" } else { &head[..18] };
            assert_eq!(scan.request_line(&head[..end]), line, "{end}");
        }
    }

    #[test]
    fn a_head_ends_with_its_empty_line_and_what_follows_is_not_looked_at() {
        let head = "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n";
        assert_eq!(scan(head, &SMALL), Ok(Some(head.len())));
        assert_eq!(scan(format!("{head}\n\0\r"), &SMALL), Ok(Some(head.len())));
        assert_eq!(scan(&head[..head.len() - 1], &SMALL), Ok(None));
        assert_eq!(scan("GET / HTTP/1.1\r\n\r\n", &SMALL), Ok(Some(18)), "a head without fields");
    }

    #[test]
    fn a_cr_that_came_last_is_still_open() {
        for bytes in
            ["\r", "GET / HTTP/1.1\r", "GET / HTTP/1.1\r\nHost: h\r", "GET / HTTP/1.1\r\nHost: h\r\n\r"]
        {
            assert_eq!(scan(bytes, &SMALL), Ok(None));
            assert_eq!(scan(format!("{bytes}x"), &SMALL), Err(400));
        }
    }

    #[test]
    fn what_is_wrong_is_refused_at_its_first_byte() {
        for (good, bad) in [
            ("\r\n\r\n\r\n\r\n", '\r'),
            ("", '\n'),
            ("", '\x16'),
            ("", ' '),
            ("GET", '\n'),
            ("GET", '('),
            ("GET ", ' '),
            ("GET /", '\n'),
            ("GET /", '\0'),
            ("GET /", '\x7f'),
            ("GET / ", ' '),
            ("GET / HTTP/1.1", '1'),
            ("GET / HTTP/1.1", ' '),
            ("GET / HTTP/1.1\r\n", ' '),
            ("GET / HTTP/1.1\r\n", ':'),
            ("GET / HTTP/1.1\r\nHost: h", '\n'),
            ("GET / HTTP/1.1\r\nHost: h", '\x1f'),
            ("GET / HTTP/1.1\r\nHost: h\r\n", '\t'),
        ] {
            assert_eq!(scan(good, &SMALL), Ok(None), "{good:?}");
            assert_eq!(scan(format!("{good}{bad}"), &SMALL), Err(400), "{good:?} and then {bad:?}");
        }
    }

    #[test]
    fn a_head_has_started_with_the_first_byte_of_its_request_line() {
        let mut scan = HeadScan::default();
        for (bytes, started) in
            [("", false), ("\r", false), ("\r\n", false), ("\r\nG", true), ("\r\nGE", true)]
        {
            assert_eq!(scan.scan(bytes.as_bytes(), &SMALL), Ok(None));
            assert_eq!(scan.started(), started, "{bytes:?}");
        }
    }

    #[test]
    fn no_byte_is_looked_at_twice() {
        let head = b"\r\nGET /target HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n";
        for seen in 0..head.len() {
            let mut scan = HeadScan::default();
            assert_eq!(scan.scan(&head[..seen], &SMALL), Ok(None));
            // What was looked at may rot: nobody notices, because nobody looks again.
            let mut rotten = *head;
            rotten[..seen].fill(0);
            assert_eq!(scan.scan(&rotten, &SMALL), Ok(Some(head.len())), "the first {seen} bytes seen");
        }
    }

    #[test]
    fn a_target_of_the_limit_is_read_and_one_byte_more_is_a_414() {
        let line = |bytes: usize| format!("GET /{}", "x".repeat(bytes - 1));
        assert_eq!(scan(line(10), &SMALL), Ok(None));
        assert_eq!(scan(format!("{} HTTP/1.1\r\n\r\n", line(10)), &SMALL), Ok(Some(27)));
        assert_eq!(scan(line(11), &SMALL), Err(414));
    }

    #[test]
    fn a_method_of_the_limit_is_read_and_one_byte_more_is_a_501() {
        let method = |bytes| "M".repeat(bytes);
        assert_eq!(scan(method(METHOD_BYTES_MAX as usize), &SMALL), Ok(None));
        assert_eq!(scan(method(METHOD_BYTES_MAX as usize + 1), &SMALL), Err(501));
    }

    #[test]
    fn a_head_of_the_limit_is_read_and_one_byte_more_is_a_431() {
        let head = |bytes: usize| format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(bytes - 23));
        assert_eq!(scan(head(60), &SMALL), Ok(Some(60)));
        assert_eq!(scan(format!("{}more", head(60)), &SMALL), Ok(Some(60)));
        assert_eq!(scan(head(61), &SMALL), Err(431));
        assert_eq!(scan(&head(999)[..60], &SMALL), Ok(None));
        assert_eq!(scan(&head(999)[..61], &SMALL), Err(431), "refused without waiting for the end");
    }

    #[test]
    fn a_head_that_ends_in_its_target_is_a_414_even_if_the_whole_head_is_limited_lower() {
        let limits = HeadLimits { target_bytes_max: 100, ..SMALL };
        assert_eq!(scan(format!("GET /{}", "x".repeat(56)), &limits), Err(414));
    }

    #[test]
    fn as_many_fields_as_the_limit_are_read_and_one_more_is_a_431() {
        let head = |fields| format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(fields));
        assert_eq!(scan(head(3) + "\r\n", &SMALL), Ok(Some(36)));
        assert_eq!(scan(head(3) + "X", &SMALL), Err(431), "refused at the first byte of the field");
        let generous = HeadLimits { fields_max: u32::MAX, ..HeadLimits::default() };
        assert_eq!(scan(head(FIELDS_CEILING as usize) + "\r\n", &generous), Ok(Some(786)));
        assert_eq!(scan(head(FIELDS_CEILING as usize) + "X", &generous), Err(431));
    }

    #[test]
    fn the_words_find_every_control_byte_and_no_other() {
        for byte in 0..=255u8 {
            for at in 0..24 {
                let mut bytes = [b'~'; 24];
                bytes[at] = byte;
                for least in [b' ', b'!'] {
                    let expected = if byte < least || byte == 0x7f { at } else { 24 };
                    assert_eq!(plain_prefix(&bytes, least), expected, "{byte:#x} at {at}");
                }
            }
        }
    }

    /// Bytes that are nearly a head.
    fn nearly_a_head() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => Just("\r\n".to_string()),
            2 => Just("GET / HTTP/1.1\r\n".to_string()),
            2 => "[A-Z]{1,4} /[a-z]{0,12} HTTP/1\\.1\r\n",
            4 => "[A-Za-z-]{1,6}: [ -~]{0,20}\r\n",
            1 => "[\r\n\t :x\u{0}\u{e4}]",
        ];
        prop::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn any_pieces_give_what_the_whole_gives(
            bytes in nearly_a_head(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let whole = HeadScan::default().scan(&bytes, &SMALL);
            let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([bytes.len()]).collect();
            ends.sort_unstable();
            let mut scan = HeadScan::default();
            let mut result = Ok(None);
            for end in ends {
                result = scan.scan(&bytes[..end], &SMALL);
                if !matches!(result, Ok(None)) {
                    break;
                }
            }
            prop_assert_eq!(result, whole);
        }
    }
}
