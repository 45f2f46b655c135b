//! HTTP/1.0 and 1.1 as pure functions: bytes in, values out, and back.
//!
//! A request arrives in three steps. [`HeadScan`] watches the bytes of a head come in and
//! says where it ends, or refuses it at the first byte that cannot be right. [`Request`]
//! reads a complete head. [`BodyReader`] takes the body apart, whatever pieces it comes in.
//! An answer leaves through [`AnswerHead`].
//!
//! Whatever could be read in two ways is refused, because somewhere between the client and us
//! stands a proxy that may read it the other way (request smuggling). Nothing here allocates
//! as long as the peer behaves and the sinks have room.
//!
//! Knows: RFC 9110 and 9112. Never learns of sockets, connections, routes or channels.

mod answer;
mod authority;
mod body;
mod path;
mod request;
#[cfg(test)]
mod rules;
mod scan;

pub use answer::{
    AnswerBody, AnswerFraming, AnswerHead, CHUNK_END, CONTINUE, DateLine, LAST_CHUNK, chunk_head, reason,
};
pub use authority::Authority;
pub use body::{BodyFraming, BodyProgress, BodyReader, Chunks, EXTENSION_BYTES_MAX, LINE_BYTES_MAX};
pub use path::{decode_path, is_plain_path};
pub use request::{Fields, Method, Remains, Request, Version};
pub use scan::{EMPTY_LINES_MAX, FIELDS_CEILING, HeadLimits, HeadScan, METHOD_BYTES_MAX};

/// Whether `byte` may stand in a token: a method, a field's name, a connection option (RFC 9110 §5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

/// Whether `byte` is a control character that no part of a head may hold: all of them but the tab.
fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}
