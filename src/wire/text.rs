//! Text in the costumes it wears on the wire: forms, JSON, HTML, decimal numbers.
//!
//! Knows: encodings, and how to get out of each what was put in. Never learns what a text says.

use std::borrow::Cow;
use std::fmt;

use crate::wire::refusal::Refusal;

/// Why an encoded text cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A percent sign without two hexadecimal digits behind it.
    Escape,
    /// What it decodes to is not UTF-8.
    Utf8,
}

impl Malformed {
    fn detail(self) -> &'static str {
        match self {
            Malformed::Escape => "a malformed percent-escape; expected % and two hexadecimal digits",
            Malformed::Utf8 => "percent-encoded bytes that are not UTF-8; encode text as UTF-8",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for Refusal {
    /// A 400 that leaves the connection usable: where the request ends is not in question.
    fn from(malformed: Malformed) -> Self {
        Refusal::new(400, malformed.detail())
    }
}

// --- Forms -------------------------------------------------------------------------------------

/// The `name=value` pairs of a query or a form, decoded, in the order they came (WHATWG URL §5.1, but strict
/// about escapes). A name without `=` has an empty value; empty pairs are left out.
pub fn pairs(query: &str) -> impl Iterator<Item = Result<(Cow<'_, str>, Cow<'_, str>), Malformed>> {
    raw_pairs(query).map(|(name, value)| Ok((decode_form(name)?, decode_form(value)?)))
}

/// The value of the first pair called `name`. Other pairs' values are not decoded, so their mistakes do not matter here.
pub fn field<'q>(query: &'q str, name: &str) -> Result<Option<Cow<'q, str>>, Malformed> {
    for (raw_name, raw_value) in raw_pairs(query) {
        if decode_form(raw_name)? == name {
            return decode_form(raw_value).map(Some);
        }
    }
    Ok(None)
}

fn raw_pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Decodes one name or value of a form: escapes, and `+` for a space. Allocates only if there is something to decode.
fn decode_form(raw: &str) -> Result<Cow<'_, str>, Malformed> {
    if !raw.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Ok(Cow::Borrowed(raw));
    }
    let mut bytes = Vec::with_capacity(raw.len());
    decode(raw, |byte| byte == b'%' || byte == b'+', &mut bytes)?;
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| Malformed::Utf8)
}

/// Appends `raw` with its percent-escapes decoded, once; `+` stays a plus. The result may be any bytes.
pub fn percent_decode(raw: &str, out: &mut Vec<u8>) -> Result<(), Malformed> {
    decode(raw, |byte| byte == b'%', out)
}

/// Copies `raw`, run by run, and decodes what is `special`: `%XX`, and a plus for a space.
fn decode(raw: &str, special: impl Fn(u8) -> bool, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut rest = raw.as_bytes();
    while let Some(at) = rest.iter().position(|byte| special(*byte)) {
        out.extend_from_slice(&rest[..at]);
        rest = match rest[at..] {
            [b'+', ref rest @ ..] => {
                out.push(b' ');
                rest
            }
            [_, high, low, ref rest @ ..] => {
                let (high, low) = (hex_digit(high), hex_digit(low));
                out.push(high.ok_or(Malformed::Escape)? << 4 | low.ok_or(Malformed::Escape)?);
                rest
            }
            _ => return Err(Malformed::Escape),
        };
    }
    out.extend_from_slice(rest);
    Ok(())
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

// --- JSON and HTML ------------------------------------------------------------------------------

/// Appends `text` as a JSON string, quotes included (RFC 8259 §7).
///
/// U+2028 and U+2029 are escaped too: JSON allows them, but JavaScript before 2019 took them for line ends.
pub fn json_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    escape(text, out, |byte| byte < 0x20 || byte == b'"' || byte == b'\\' || byte == 0xe2, json_escape);
    out.push(b'"');
}

/// Like [`json_string`], for a string inside a `<script>`: `<`, `>`, `&` and `'` are escaped as well, so that
/// nothing in it can end the script, open a comment or leave an attribute.
pub fn json_string_in_script(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let special = |byte| byte < 0x20 || b"\"\\<>&'\xe2".contains(&byte);
    escape(text, out, special, json_escape);
    out.push(b'"');
}

/// Appends `text` for HTML, as the content of an element or inside a quoted attribute.
pub fn html(text: &str, out: &mut Vec<u8>) {
    escape(
        text,
        out,
        |byte| b"&<>\"'".contains(&byte),
        |rest, out| {
            out.extend_from_slice(match rest[0] {
                b'&' => b"&amp;",
                b'<' => b"&lt;",
                b'>' => b"&gt;",
                b'"' => b"&quot;",
                _ => b"&#39;",
            });
            1
        },
    );
}

/// Copies `text`, run by run, and lets `write` say something else for what is `special`: it is given the rest from there on
/// and returns how many bytes it has dealt with.
fn escape(
    text: &str,
    out: &mut Vec<u8>,
    special: impl Fn(u8) -> bool,
    write: impl Fn(&[u8], &mut Vec<u8>) -> usize,
) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| special(*byte)) {
        out.extend_from_slice(&rest[..at]);
        let dealt_with = write(&rest[at..], out);
        rest = &rest[at + dealt_with..];
    }
    out.extend_from_slice(rest);
}

fn json_escape(rest: &[u8], out: &mut Vec<u8>) -> usize {
    let short = match rest {
        [b'"', ..] => b"\\\"",
        [b'\\', ..] => b"\\\\",
        [b'\n', ..] => b"\\n",
        [b'\r', ..] => b"\\r",
        [b'\t', ..] => b"\\t",
        [0xe2, 0x80, last @ (0xa8 | 0xa9), ..] => {
            out.extend_from_slice(if *last == 0xa8 { b"\\u2028" } else { b"\\u2029" });
            return 3;
        }
        [0xe2, ..] => {
            // Another character that begins with the same byte; what follows it is copied as it is.
            out.push(0xe2);
            return 1;
        }
        [byte, ..] => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[HEX_DIGITS[usize::from(byte >> 4)], HEX_DIGITS[usize::from(byte & 15)]]);
            return 1;
        }
        [] => return 0,
    };
    out.extend_from_slice(short);
    1
}

/// Whether `name` may be called from a script we write: identifiers joined by dots, such as
/// `parent.comet.onmessage`; ASCII, at most 64 characters.
pub fn is_callback(name: &str) -> bool {
    let starts = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte == b'$';
    let identifier = |part: &str| {
        part.bytes().next().is_some_and(starts)
            && part.bytes().all(|byte| starts(byte) || byte.is_ascii_digit())
    };
    name.len() <= 64 && name.split('.').all(identifier)
}

// --- Numbers -----------------------------------------------------------------------------------

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Appends `n` in decimal digits.
pub fn decimal(n: u64, out: &mut Vec<u8>) {
    radix::<10>(n, 1, out);
}

/// Appends `n` in lower-case hexadecimal digits.
pub fn hexadecimal(n: u64, out: &mut Vec<u8>) {
    radix::<16>(n, 1, out);
}

/// Appends `us` microseconds as seconds with exactly six decimals: `1700000000.000123`.
pub fn seconds_fraction(us: u64, out: &mut Vec<u8>) {
    decimal(us / 1_000_000, out);
    out.push(b'.');
    radix::<10>(us % 1_000_000, 6, out);
}

/// Reads what [`seconds_fraction`] wrote, and what a page may have made of it: `0`, `1700000000`, `1700000000.5`. Answers in
/// microseconds; decimals beyond the sixth are cut off. `None` for anything else. No floating point: a cursor is exact.
pub fn parse_seconds_fraction(text: &str) -> Option<u64> {
    let (seconds, fraction) = match text.split_once('.') {
        Some((seconds, fraction)) => (seconds, Some(fraction)),
        None => (text, None),
    };
    let seconds_us = digits(seconds)?.checked_mul(1_000_000)?;
    let Some(fraction) = fraction else {
        return Some(seconds_us);
    };
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let us = fraction
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(6)
        .fold(0, |us, byte| us * 10 + u64::from(byte - b'0'));
    seconds_us.checked_add(us)
}

/// Reads a number that is nothing but digits. `str::parse` would take a sign.
pub fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Writes `n` to the base `RADIX`, with leading zeros up to `width_min` digits.
fn radix<const RADIX: u64>(mut n: u64, width_min: usize, out: &mut Vec<u8>) {
    const DIGITS_MAX: usize = 20;
    let mut buffer = [b'0'; DIGITS_MAX];
    let mut at = DIGITS_MAX;
    while n > 0 || DIGITS_MAX - at < width_min {
        at -= 1;
        buffer[at] = HEX_DIGITS[(n % RADIX) as usize];
        n /= RADIX;
    }
    out.extend_from_slice(&buffer[at..]);
}
