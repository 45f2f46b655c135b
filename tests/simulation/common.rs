//! What is shared with the tests of the binary: how a client reads what it is told. Nothing in it
//! needs a kernel.

// A part of it is for those who have one.
#![allow(dead_code)]

#[path = "../common/frames.rs"]
pub mod frames;
#[path = "../common/hearing.rs"]
pub mod hearing;

pub use hearing::{Hearing, News, Told, Transport};

pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|window| window == needle)
}
