//! Three ways to cut an input: not at all, after every byte, and anywhere.
//!
//! Where "anywhere" is follows from the input itself. So an input is nothing but what a peer would
//! send: it can be read, and written, by hand.

use std::hash::{DefaultHasher, Hasher};

/// The most bytes of an input that is also cut into single ones: that costs too much for a long one.
const SINGLE_BYTES_MOST: usize = 4_096;

/// The pieces, in all three ways.
pub fn cuts(bytes: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut cuts = vec![vec![bytes], anywhere(bytes)];
    if bytes.len() <= SINGLE_BYTES_MOST {
        cuts.push(bytes.chunks(1).collect());
    }
    cuts
}

fn anywhere(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    let mut dice = hasher.finish() | 1;
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        // Mostly short pieces, now and then a long one.
        let length = 1 + dice as usize % [3, 17, 200, 3_000][dice as usize >> 20 & 3];
        let (piece, rest) = bytes.split_at(length.min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}
