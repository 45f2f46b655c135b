//! Bytes that are sent and that nobody changes.
//!
//! A page is made once and owned by everyone who still has some of it to send. The unsent rest of an
//! answer belongs to one connection alone, and is memory that this connection costs.
//!
//! Knows: bytes. Never learns what they say.

use std::rc::Rc;

/// Immutable bytes.
#[derive(Clone, Debug)]
pub enum Frame {
    /// Part of the program itself.
    Static(&'static [u8]),
    /// Made while running and shared within the one thread; freed with its last owner.
    Shared(Rc<[u8]>),
    /// Copied for one owner.
    Own(Box<[u8]>),
}

impl Frame {
    /// A frame of its own for these bytes. Copies them once.
    pub fn copy(bytes: &[u8]) -> Self {
        Frame::Own(Box::from(bytes))
    }

    /// How many of its bytes go when this frame does.
    pub fn own_bytes(&self) -> usize {
        match self {
            Frame::Static(_) | Frame::Shared(_) => 0,
            Frame::Own(bytes) => bytes.len(),
        }
    }
}

impl std::ops::Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Frame::Static(bytes) => bytes,
            Frame::Shared(bytes) => bytes,
            Frame::Own(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for Frame {
    fn from(bytes: Vec<u8>) -> Self {
        Frame::Shared(Rc::from(bytes))
    }
}
