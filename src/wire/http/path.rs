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
