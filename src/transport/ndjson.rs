//! Newline-delimited JSON: an envelope a line, for programs.
//!
//! Knows: lines. Never learns who reads them.

use super::envelope::{self, Reader};
use super::{Gap, News};

/// The media type.
pub const CONTENT_TYPE: &str = "application/x-ndjson";

/// A heartbeat is an empty line, which readers of this format skip.
pub(super) const HEARTBEAT: &[u8] = b"\n";

pub(super) fn message(news: News<'_>, out: &mut Vec<u8>) {
    envelope::envelope(news, Reader::Json, out);
    out.push(b'\n');
}

pub(super) fn gap(gap: Gap, out: &mut Vec<u8>) {
    envelope::gap_envelope(gap, out);
    out.push(b'\n');
}
