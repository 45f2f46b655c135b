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

/// The value of the first pair called `name`. Other pairs' values are not decoded, so their mistakes do not matter.
pub fn field<'q>(query: &'q str, name: &str) -> Result<Option<Cow<'q, str>>, Malformed> {
    let [value] = fields(query, [name])?;
    value.map(decode_form).transpose()
}

/// The values of the first pairs called so, each to be [decoded](decode_form).
pub fn fields<'q, const N: usize>(
    query: &'q str,
    names: [&str; N],
) -> Result<[Option<&'q str>; N], Malformed> {
    let mut values = [None; N];
    for (raw_name, raw_value) in raw_pairs(query) {
        let name = decode_form(raw_name)?;
        if let Some(nth) = names.iter().position(|wanted| *wanted == name) {
            values[nth] = values[nth].or(Some(raw_value));
        }
    }
    Ok(values)
}

fn raw_pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Decodes one name or value of a form: escapes, and `+` for a space. Allocates only if there is something to decode.
pub fn decode_form(raw: &str) -> Result<Cow<'_, str>, Malformed> {
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

/// Copies `text`, run by run, and lets `write` say something else for what is `special`: it is given the rest from
/// there on and returns how many bytes it has dealt with.
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

/// Reads what [`seconds_fraction`] wrote, and what a page may have made of it: `0`, `1700000000`, `1700000000.5`.
/// Answers in microseconds; decimals beyond the sixth are cut off. `None` for anything else. No floating point: a
/// cursor is exact.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("text in, text out")
    }

    fn all(query: &str) -> Result<Vec<(String, String)>, Malformed> {
        pairs(query).map(|pair| pair.map(|(name, value)| (name.into_owned(), value.into_owned()))).collect()
    }

    #[test]
    fn a_query_is_pairs_in_order() {
        let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
        assert_eq!(all(""), Ok(vec![]));
        assert_eq!(all("a=1&b=2&a=3"), Ok(vec![pair("a", "1"), pair("b", "2"), pair("a", "3")]));
        assert_eq!(all("&envelope&&x==&="), Ok(vec![pair("envelope", ""), pair("x", "="), pair("", "")]));
        assert_eq!(all("a+b=c+d%2B%26%3d"), Ok(vec![pair("a b", "c d+&=")]));
        assert_eq!(all("m=%C3%A4%0A%00"), Ok(vec![pair("m", "ä\n\0")]), "a form may hold any character");
    }

    #[test]
    fn a_query_is_decoded_exactly_once() {
        assert_eq!(field("a=%2541", "a"), Ok(Some("%41".into())));
    }

    #[test]
    fn a_malformed_escape_or_utf_8_is_an_error_that_becomes_a_400() {
        for query in ["a=%", "a=%4", "a=%zz", "a=%%", "%=a", "a=%+1", "a=x%2"] {
            assert_eq!(all(query), Err(Malformed::Escape), "{query:?}");
        }
        for query in ["a=%ff", "a=%c3", "%ed%a0%80=a", "a=%c3+%a4"] {
            assert_eq!(all(query), Err(Malformed::Utf8), "{query:?}");
        }
        let refusal = Refusal::from(Malformed::Escape);
        assert_eq!((refusal.status, refusal.close), (400, false));
    }

    #[test]
    fn the_first_of_two_fields_counts_and_a_mistake_in_another_value_does_not() {
        assert_eq!(field("b=%zz&a=1&a=%zz", "a"), Ok(Some("1".into())));
        assert_eq!(field("a=1", "b"), Ok(None));
        assert_eq!(field("a=%zz", "a"), Err(Malformed::Escape));
        assert_eq!(field("%zz=1&a=1", "a"), Err(Malformed::Escape), "nobody knows what that one is called");
    }

    #[test]
    fn a_plain_value_is_borrowed() {
        assert!(matches!(field("a=plain", "a"), Ok(Some(Cow::Borrowed("plain")))));
    }

    #[test]
    fn json_escapes_what_it_must_and_the_two_line_ends_that_old_javascript_knew() {
        let json = |text| written(|out| json_string(text, out));
        assert_eq!(json(""), r#""""#);
        assert_eq!(json("a\"b\\c/d"), r#""a\"b\\c/d""#);
        assert_eq!(json("\n\r\t\0\x08\x1f\x7f"), "\"\\n\\r\\t\\u0000\\u0008\\u001f\x7f\"");
        assert_eq!(json("\u{2027}\u{2028}\u{2029}\u{202a}ä€😀"), "\"\u{2027}\\u2028\\u2029\u{202a}ä€😀\"");
        assert_eq!(json("</script>&'"), "\"</script>&'\"");
    }

    #[test]
    fn nothing_in_a_message_can_leave_a_script() {
        let json = |text| written(|out| json_string_in_script(text, out));
        assert_eq!(json("</script><!--&'"), r#""\u003c/script\u003e\u003c!--\u0026\u0027""#);
        assert_eq!(json("\"\\\u{2028}€"), "\"\\\"\\\\\\u2028€\"");
    }

    #[test]
    fn nothing_in_a_text_can_leave_its_element_or_attribute() {
        assert_eq!(
            written(|out| html("<a b='c' d=\"e\">&ä", out)),
            "&lt;a b=&#39;c&#39; d=&quot;e&quot;&gt;&amp;ä"
        );
    }

    #[test]
    fn a_callback_is_identifiers_joined_by_dots() {
        for name in ["a", "$", "_1", "parent.comet.onmessage", "jQuery123_456", &"a".repeat(64)] {
            assert!(is_callback(name), "{name:?}");
        }
        for name in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "1a",
            "a.1",
            "a-b",
            "a b",
            "a(",
            "a[0]",
            "ä",
            "a\n",
            "a\u{2028}",
            &"a".repeat(65),
        ] {
            assert!(!is_callback(name), "{name:?}");
        }
    }

    #[test]
    fn a_cursor_in_seconds_has_six_decimals() {
        for (us, text) in [
            (0, "0.000000"),
            (1_700_000_000_000_123, "1700000000.000123"),
            (999_999, "0.999999"),
            (u64::MAX, "18446744073709.551615"),
        ] {
            assert_eq!(written(|out| seconds_fraction(us, out)), text);
            assert_eq!(parse_seconds_fraction(text), Some(us));
        }
    }

    #[test]
    fn a_cursor_in_seconds_is_read_exactly_or_not_at_all() {
        for (text, us) in [
            ("0", 0),
            ("1700000000", 1_700_000_000_000_000),
            ("1700000000.5", 1_700_000_000_500_000),
            ("1700000000.000123", 1_700_000_000_000_123),
            ("1700000000.0001239999", 1_700_000_000_000_123),
            ("18446744073709.551615", u64::MAX),
        ] {
            assert_eq!(parse_seconds_fraction(text), Some(us), "{text:?}");
        }
        for text in [
            "",
            ".",
            ".5",
            "1.",
            "1..2",
            "1.2.3",
            "-1",
            "+1",
            " 1",
            "1 ",
            "1e9",
            "1,5",
            "0x1",
            "NaN",
            "1.5x",
            "1.-5",
            "١",
            "18446744073709.551616",
            "18446744073710",
            "99999999999999999999999999",
        ] {
            assert_eq!(parse_seconds_fraction(text), None, "{text:?}");
        }
    }

    #[test]
    fn digits_are_nothing_but_digits() {
        assert_eq!(digits("0"), Some(0));
        assert_eq!(digits("18446744073709551615"), Some(u64::MAX));
        for text in ["", "+1", "-1", " 1", "1_0", "18446744073709551616", "²"] {
            assert_eq!(digits(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn json_gives_back_what_was_put_in(text in "([ -~\0-\x1f\u{2020}-\u{2030}<>&'\"\\\\]|.){0,40}") {
            let read = |json: &str| serde_json::from_str::<String>(json).unwrap();
            prop_assert_eq!(read(&written(|out| json_string(&text, out))), text.clone());
            let in_script = written(|out| json_string_in_script(&text, out));
            let dangerous = ['<', '>', '&', '\'', '\u{2028}', '\u{2029}'];
            prop_assert!(!in_script.contains(dangerous));
            prop_assert_eq!(read(&in_script), text);
        }

        #[test]
        fn a_form_gives_back_what_was_put_in(text in ".{0,40}") {
            let encoded: String = text.bytes().map(|byte| match byte {
                b' ' => "+".to_string(),
                b'a'..=b'z' => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            }).collect();
            let query = format!("x=1&m={encoded}");
            prop_assert_eq!(field(&query, "m").unwrap().unwrap(), text);
        }

        #[test]
        fn numbers_are_written_as_the_standard_library_writes_them(n in any::<u64>(), shift in 0..64u32) {
            let n = n >> shift;
            prop_assert_eq!(written(|out| decimal(n, out)), n.to_string());
            prop_assert_eq!(written(|out| hexadecimal(n, out)), format!("{n:x}"));
            prop_assert_eq!(parse_seconds_fraction(&written(|out| seconds_fraction(n, out))), Some(n));
        }

        #[test]
        fn no_query_makes_the_decoder_panic(query in "[%+=&a-f0-9\u{e4}]{0,30}") {
            let _ = all(&query);
        }
    }
}
