//! The envelope: a message as JSON, with everything that is known of it.
//!
//! Most transports carry it as it is; they differ in what they put around it.

use crate::wire::text;

use super::{Gap, News};

/// Who reads the JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// A JSON parser.
    Json,
    /// A script inside a page: nothing in the text may end the script.
    Script,
}

/// Bytes of an envelope beside its texts, a framing's own included.
const PUNCTUATION: usize = 96;

/// `{"id":ID,"channel":NAME,"event":TYPE,"data":TEXT}`, without what there is not.
pub(super) fn envelope(news: News<'_>, reader: Reader, out: &mut Vec<u8>) {
    // Room for all of it at once, unless much has to be escaped.
    out.reserve(PUNCTUATION + news.channel.len() + news.event.map_or(0, str::len) + news.data.len());
    out.push(b'{');
    if let Some(id) = news.id {
        out.extend_from_slice(b"\"id\":");
        text::decimal(id, out);
        out.push(b',');
    }
    out.extend_from_slice(b"\"channel\":");
    string(news.channel, reader, out);
    if let Some(event) = news.event {
        out.extend_from_slice(b",\"event\":");
        string(event, reader, out);
    }
    out.extend_from_slice(b",\"data\":");
    string(news.data, reader, out);
    out.push(b'}');
}

/// `{"from":CURSOR,"to":OLDEST}`.
pub(super) fn gap(gap: Gap, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"from\":");
    text::decimal(gap.from, out);
    out.extend_from_slice(b",\"to\":");
    text::decimal(gap.to, out);
    out.push(b'}');
}

/// `{"gap":{…}}`, where a gap stands for itself.
pub(super) fn gap_envelope(found: Gap, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"gap\":");
    gap(found, out);
    out.push(b'}');
}

fn string(text: &str, reader: Reader, out: &mut Vec<u8>) {
    match reader {
        Reader::Json => text::json_string(text, out),
        Reader::Script => text::json_string_in_script(text, out),
    }
}
