//! What the server says to a peer that asked wrongly.
//!
//! A refusal is a value that knows its consequence: the status to answer with and a
//! sentence for the person who reads it. It never carries bytes of the request back.
//!
//! Knows: status codes. Never learns how an answer is written.

use std::borrow::Cow;

/// The peer asked wrongly, or asks too much: a status and a sentence.
///
/// Texts are lower case and say what was found, what was expected and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status, 400 to 599.
    pub status: u16,
    /// One sentence for a person.
    pub detail: Cow<'static, str>,
    /// Whether the bytes after this request can no longer be trusted to be a request: answer, then close.
    pub close: bool,
    /// When it is worth while to try again, in seconds from now (RFC 9110 §10.2.3); 0 if time changes nothing.
    pub retry_after_s: u32,
}

/// What a server that is too busy says when it knows no better: long enough for something to have ended.
const RETRY_AFTER_S: u32 = 2;

impl Refusal {
    /// The request was understood and its end is known; the connection may go on.
    pub fn new(status: u16, detail: impl Into<Cow<'static, str>>) -> Self {
        let retry_after_s = if matches!(status, 429 | 503) { RETRY_AFTER_S } else { 0 };
        Refusal { status, detail: detail.into(), close: false, retry_after_s }
    }

    /// Nobody can say where the next request would begin: `Connection: close`, lingering close.
    pub fn fatal(status: u16, detail: impl Into<Cow<'static, str>>) -> Self {
        Refusal { close: true, ..Refusal::new(status, detail) }
    }

    /// The same, with the seconds after which it will be different.
    pub fn after(self, retry_after_s: u32) -> Self {
        Refusal { retry_after_s: retry_after_s.max(1), ..self }
    }
}
