//! WebSocket: an envelope a text frame (RFC 6455).
//!
//! Knows: what stands in a frame. Never learns the handshake, or what the peer says.

use crate::wire::websocket::{Opcode, frame};

use super::envelope::{self, Reader};
use super::{Gap, News};

pub(super) fn message(news: News<'_>, out: &mut Vec<u8>) {
    let mut json = Vec::with_capacity(news.data.len() + 96);
    envelope::envelope(news, Reader::Json, &mut json);
    frame(Opcode::Text, &json, out);
}

pub(super) fn heartbeat(out: &mut Vec<u8>) {
    frame(Opcode::Ping, b"", out);
}

pub(super) fn gap(gap: Gap, out: &mut Vec<u8>) {
    let mut json = Vec::new();
    envelope::gap_envelope(gap, &mut json);
    frame(Opcode::Text, &json, out);
}
