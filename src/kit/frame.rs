//! Bytes that many connections send and nobody changes.
//!
//! A page, or a message in one framing, is made once and owned by everyone who still has
//! some of it to send. Cloning a frame copies a pointer.
//!
//! Knows: bytes. Never learns what they say.

use std::rc::Rc;

/// Immutable bytes, shared within the one thread.
#[derive(Clone, Debug)]
pub enum Frame {
    /// Part of the program itself.
    Static(&'static [u8]),
    /// Made while running; freed with its last owner.
    Shared(Rc<[u8]>),
}

impl Frame {
    /// A frame of its own for these bytes. Copies them once.
    pub fn copy(bytes: &[u8]) -> Self {
        Frame::Shared(Rc::from(bytes))
    }
}

impl std::ops::Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Frame::Static(bytes) => bytes,
            Frame::Shared(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for Frame {
    fn from(bytes: Vec<u8>) -> Self {
        Frame::Shared(Rc::from(bytes))
    }
}
