//! WebSocket (RFC 6455) as pure functions: bytes in, values out, and back.
//!
//! [`handshake()`] reads the request that asks for one; its [`Accept`] writes the answer. From then on
//! [`Reader`] takes apart what the client sends, whatever pieces it comes in, and says what arrived as
//! [`Event`]s. What the server sends leaves through [`frame`] and its relatives.
//!
//! No extension and no subprotocol is ever negotiated: an offer is declined by silence. A compressor
//! would cost every idle connection a thousand times what the rest of it does.
//!
//! Knows: RFC 6455. Never learns of sockets, connections, channels, or what a message says.

mod handshake;
mod reader;
#[cfg(test)]
mod rules;
mod writer;

pub use handshake::{Accept, UPGRADE_LINES, handshake};
pub use reader::{Event, Limits, Reader, Violation};
pub use writer::{close, close_answer, frame, ping, pong, text_head};

/// What a frame is (RFC 6455 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message that was begun.
    Continuation = 0x0,
    /// A text message, or the beginning of one.
    Text = 0x1,
    /// A binary message, or the beginning of one.
    Binary = 0x2,
    /// The sender's last frame.
    Close = 0x8,
    /// A question that a [`Opcode::Pong`] with the same payload answers.
    Ping = 0x9,
    /// The answer to a ping, or a heartbeat that nobody asked for.
    Pong = 0xa,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xa => Opcode::Pong,
            _ => return None,
        })
    }

    /// Whether it speaks about the connection and not for the application: such a frame is short, whole, and may
    /// stand between the fragments of a message (RFC 6455 §5.5).
    pub fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// Why a connection ends (RFC 6455 §7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// All is said.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// The server stops, or the page is left.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// The peer broke RFC 6455.
    pub const PROTOCOL: CloseCode = CloseCode(1002);
    /// A kind of message that is not taken here.
    pub const UNSUPPORTED: CloseCode = CloseCode(1003);
    /// A text that is not UTF-8.
    pub const NOT_UTF8: CloseCode = CloseCode(1007);
    /// Within the RFC, but not within the rules of this server.
    pub const POLICY: CloseCode = CloseCode(1008);
    /// A message longer than is taken here.
    pub const TOO_LONG: CloseCode = CloseCode(1009);
    /// The server failed.
    pub const INTERNAL: CloseCode = CloseCode(1011);
    /// The server has too much to do; the client may come back.
    pub const TRY_AGAIN: CloseCode = CloseCode(1013);

    /// Whether it may stand in a close frame. 1004 means nothing yet; 1005, 1006 and 1015 are what a library tells
    /// its application when no frame came (RFC 6455 §7.4.1); 1012 to 1014 were registered later.
    pub fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

/// Bytes in the payload of a control frame (RFC 6455 §5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// Bytes of a close frame's reason: what its code leaves.
pub const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// Set in a frame's first byte if it ends its message.
const FINAL: u8 = 0x80;

/// Set in a frame's second byte if its payload is masked.
const MASKED: u8 = 0x80;

/// In the seven bits of the length: the next two bytes say it.
const LENGTH_IN_2_BYTES: u8 = 126;

/// In the seven bits of the length: the next eight bytes say it.
const LENGTH_IN_8_BYTES: u8 = 127;
