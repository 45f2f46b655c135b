//! Paths: from what stands in the request to what it means.
//!
//! A path is split first and decoded once afterwards, so that an encoded separator is never taken for
//! a real one and nothing is decoded twice.
//!
//! Knows: percent-encoding and what makes a path unsafe. Never learns which paths exist.

use crate::wire::refusal::Refusal;
use crate::wire::text;

/// Decodes the percent-encoding of a path, or of one segment of it, into `out`, which is cleared first.
///
/// A plus sign stays one: that it means a space is a rule of forms. Refused with a 400 that leaves the connection
/// usable: malformed escapes, control characters (`%00`, `%0d`, `%0a` and the like), what is not UTF-8.
pub fn decode_path(raw: &str, out: &mut String) -> Result<(), Refusal> {
    // The buffer's memory goes through the byte view and comes back, so a warm `out` allocates nothing.
    let mut bytes = std::mem::take(out).into_bytes();
    bytes.clear();
    text::percent_decode(raw, &mut bytes)?;
    if bytes.iter().any(u8::is_ascii_control) {
        return Err(Refusal::new(400, "an encoded control character in the path; no path here has one"));
    }
    *out = String::from_utf8(bytes).map_err(|_| text::Malformed::Utf8)?;
    Ok(())
}

/// Whether a decoded path means one thing on every system: it begins with `/` and has no `.` or `..` segment, no
/// empty segment except behind a final slash, no backslash and no NUL. Only such a path may reach a file system.
pub fn is_plain_path(decoded: &str) -> bool {
    let Some(rest) = decoded.strip_prefix('/') else {
        return false;
    };
    let segments = rest.strip_suffix('/').unwrap_or(rest);
    let plain = |segment: &str| !matches!(segment, "" | "." | "..");
    rest.is_empty() || (segments.split('/').all(plain) && !rest.contains(['\\', '\0']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(raw: &str) -> Result<String, u16> {
        let mut out = "left over".to_string();
        decode_path(raw, &mut out).map(|()| out).map_err(|refusal| {
            assert!(!refusal.close, "the request itself was understood");
            refusal.status
        })
    }

    #[test]
    fn a_path_is_decoded_exactly_once() {
        assert_eq!(decoded("/a%20b+c"), Ok("/a b+c".into()));
        assert_eq!(decoded("/%C3%a4%E2%82%AC"), Ok("/ä€".into()));
        assert_eq!(decoded("/%252e%25"), Ok("/%2e%".into()));
        assert_eq!(decoded(""), Ok(String::new()));
    }

    #[test]
    fn a_malformed_escape_is_a_400() {
        for raw in ["%", "/%", "/%4", "/%zz", "/%4g", "/%%20", "/%+1", "/%\u{e4}\u{e4}"] {
            assert_eq!(decoded(raw), Err(400), "{raw:?}");
        }
    }

    #[test]
    fn an_encoded_control_character_is_a_400() {
        for raw in ["/%00", "/%0d%0a", "/%0D", "/%0a", "/%09", "/%1f", "/%7F"] {
            assert_eq!(decoded(raw), Err(400), "{raw:?}");
        }
    }

    #[test]
    fn a_path_that_is_not_utf_8_is_a_400() {
        // A byte that never occurs, an overlong slash, a surrogate, a character cut short.
        for raw in ["/%ff", "/%c0%af", "/%ed%a0%80", "/%e2%82"] {
            assert_eq!(decoded(raw), Err(400), "{raw:?}");
        }
    }

    #[test]
    fn a_warm_buffer_is_not_allocated_again() {
        let mut out = String::with_capacity(64);
        let before = out.as_ptr();
        decode_path("/a%20b", &mut out).unwrap();
        assert_eq!((out.as_str(), out.as_ptr()), ("/a b", before));
    }

    #[test]
    fn a_plain_path_cannot_climb() {
        for path in ["/", "/a", "/a/", "/a/b.c", "/.well-known/x", "/...", "/a..b/..c", "/ä €"] {
            assert!(is_plain_path(path), "{path:?}");
        }
        for path in [
            "", "a", "*", "//", "//a", "/a//b", "/a//", "/.", "/..", "/../a", "/a/..", "/a/../", "/a/./b",
            "/./", "/a\\b", "/..\\a", "/a\0",
        ] {
            assert!(!is_plain_path(path), "{path:?}");
        }
    }
}
