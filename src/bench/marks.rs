//! Marks: short texts behind which a server says something worth keeping.
//!
//! `id: ` in an event stream, `"timestamp":` in the article's chat, `printServerTime(` in its clock: what
//! follows is a cursor, or a time. A search goes on from read to read, and so does the taking of the value.
//!
//! Knows: bytes. Never learns what a mark is about.

use memchr::memmem::Finder;

/// The longest value that is kept: what is longer is no cursor that we could hand back.
pub(super) const VALUE_BYTES_MAX: usize = 40;

/// A text to look for, prepared.
pub(super) struct Mark {
    text: Vec<u8>,
    finder: Finder<'static>,
    /// How much is still matched when the byte behind `n` matched ones does not fit (Knuth, Morris, Pratt).
    fallback: Vec<u8>,
}

impl Mark {
    /// Prepares a text of 1 to 200 bytes.
    pub(super) fn new(text: &[u8]) -> Self {
        let mut fallback = vec![0; text.len() + 1];
        for at in 1..text.len() {
            let mut matched = usize::from(fallback[at]);
            while matched > 0 && text[at] != text[matched] {
                matched = usize::from(fallback[matched]);
            }
            fallback[at + 1] = (matched + usize::from(text[at] == text[matched])) as u8;
        }
        Mark { text: text.to_vec(), finder: Finder::new(text).into_owned(), fallback }
    }

    /// Looks on for the mark; `bytes` becomes what is behind it, or empty. `matched` is the search's state.
    pub(super) fn find(&self, matched: &mut u8, bytes: &mut &[u8]) -> bool {
        if *matched == 0 {
            if let Some(at) = self.finder.find(bytes) {
                *bytes = &bytes[at + self.text.len()..];
                return true;
            }
            // Only an end of these bytes can begin it.
            *bytes = &bytes[bytes.len().saturating_sub(self.text.len() - 1)..];
        }
        while let Some((&byte, rest)) = bytes.split_first() {
            *bytes = rest;
            while *matched > 0 && self.text[usize::from(*matched)] != byte {
                *matched = self.fallback[usize::from(*matched)];
            }
            *matched += u8::from(self.text[usize::from(*matched)] == byte);
            if usize::from(*matched) == self.text.len() {
                *matched = 0;
                return true;
            }
        }
        false
    }
}

/// A short value, in place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    bytes: [u8; VALUE_BYTES_MAX],
    length: u8,
}

impl Default for Value {
    fn default() -> Self {
        Value { bytes: [0; VALUE_BYTES_MAX], length: 0 }
    }
}

impl Value {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(usize::from(self.length)) {
            *place = byte;
            self.length += 1;
        }
    }
}

/// A search for a mark and the values behind it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Capture {
    matched: u8,
    taking: bool,
    value: Value,
}

impl Capture {
    /// As if these bytes had come before the first: a mark that begins with a line's end is found in the first line.
    pub(super) fn begin(&mut self, mark: &Mark, mut before: &[u8]) {
        *self = Capture::default();
        mark.find(&mut self.matched, &mut before);
    }

    /// The next value in `bytes`, which becomes what is behind it. A value ends before white space, a quote, a
    /// comma or a bracket; quotes and spaces right behind the mark are skipped.
    pub(super) fn next(&mut self, mark: &Mark, bytes: &mut &[u8]) -> Option<Value> {
        loop {
            if !self.taking {
                if !mark.find(&mut self.matched, bytes) {
                    return None;
                }
                (self.taking, self.value) = (true, Value::default());
            }
            while let Some((&byte, rest)) = bytes.split_first() {
                let ends = matches!(byte, b' ' | b'\r' | b'\n' | b'"' | b',' | b'}' | b')' | b'<');
                let leading = self.value.length == 0 && matches!(byte, b' ' | b'"');
                if ends && !leading {
                    self.taking = false;
                    break;
                }
                *bytes = rest;
                if !leading {
                    self.value.push(byte);
                }
            }
            if self.taking {
                return None;
            }
            // The byte that ends a value may begin the next mark: it is left in place.
            if self.value.length > 0 {
                return Some(self.value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(mark: &[u8], before: &[u8], pieces: &[&[u8]]) -> Vec<String> {
        let (mark, mut capture) = (Mark::new(mark), Capture::default());
        capture.begin(&mark, before);
        let mut values = Vec::new();
        for mut piece in pieces.iter().copied() {
            while let Some(value) = capture.next(&mark, &mut piece) {
                values.push(String::from_utf8_lossy(value.as_bytes()).into_owned());
            }
        }
        values
    }

    #[test]
    fn values_are_found_in_every_split() {
        type Case = (&'static [u8], &'static [u8], &'static [u8], &'static [&'static str]);
        let cases: [Case; 4] = [
            (b"\nid: ", b"\n", b"id: 17\ndata: \nid : no\n\nid: 18\n\n\nid: 19:1\n", &["17", "18", "19:1"]),
            (b"\"timestamp\":", b"", br#"{"msg":"x","timestamp":17.5}{"timestamp": "8"}"#, &["17.5", "8"]),
            (b"Time(", b"", b"TimTime(17);TTime(18);", &["17", "18"]),
            (b"aab", b"", b"aaab1 aab2,", &["1", "2"]),
        ];
        for (mark, before, text, expected) in cases {
            for first in 0..text.len() {
                for second in first..text.len() {
                    let pieces = [&text[..first], &text[first..second], &text[second..]];
                    assert_eq!(values(mark, before, &pieces), expected, "{first} {second}");
                }
            }
        }
    }

    #[test]
    fn a_value_that_is_too_long_is_cut() {
        let text = [b"id: ".as_slice(), &[b'7'; 100], b"\n"].concat();
        assert_eq!(values(b"id: ", b"", &[&text])[0].len(), VALUE_BYTES_MAX);
    }
}
