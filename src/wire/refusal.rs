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
}

impl Refusal {
    /// The request was understood and its end is known; the connection may go on.
    pub fn new(status: u16, detail: impl Into<Cow<'static, str>>) -> Self {
        Refusal { status, detail: detail.into(), close: false }
    }

    /// Nobody can say where the next request would begin: `Connection: close`, lingering close.
    pub fn fatal(status: u16, detail: impl Into<Cow<'static, str>>) -> Self {
        Refusal { status, detail: detail.into(), close: true }
    }
}
