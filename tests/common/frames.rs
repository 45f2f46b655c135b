//! WebSocket frames, byte by byte: as a client writes them, and as a client reads them.
//!
//! Frames are written just as they are asked for, however wrong; those of the server are
//! read by a reader that forgives nothing (RFC 6455 §5).
//!
//! Knows: frames. Never learns what is said in them.

/// The handshake's lines behind the request line and Host, with the key of RFC 6455 §1.3.
pub const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// What that key must be answered with.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The bit that says that a frame is the last of its message.
pub const FIN: u8 = 0x80;

/// A masked frame whose first byte is `first`, with the shortest length that fits.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, payload.len());
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    bytes.extend(mask);
    bytes.extend(payload.iter().enumerate().map(|(n, byte)| byte ^ mask[n % 4]));
    bytes
}

/// The head of a masked frame, without the mask.
pub fn head(first: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..126 => bytes.push(0x80 | length as u8),
        126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes
}

/// A text message in one frame.
pub fn text(text: &str) -> Vec<u8> {
    frame(FIN | TEXT, text.as_bytes())
}

/// A close frame.
pub fn close(code: u16) -> Vec<u8> {
    frame(FIN | CLOSE, &code.to_be_bytes())
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

/// Takes one frame off the front, if it is there as a whole. The server never sends fragments.
pub fn take(bytes: &mut Vec<u8>) -> Result<Option<Heard>, String> {
    let [first, second, ..] = bytes[..] else { return Ok(None) };
    if second & 0x80 != 0 {
        return Err("the server masks its frames".to_owned());
    }
    let (start, length) = match second {
        126 if bytes.len() < 4 => return Ok(None),
        126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
        127 if bytes.len() < 10 => return Ok(None),
        127 => (10, u64::from_be_bytes(bytes[2..10].try_into().expect("eight bytes")) as usize),
        short => (2, usize::from(short)),
    };
    if second == 126 && length < 126 || second == 127 && length < 0x1_0000 {
        return Err(format!("a length of {length} in too many bytes"));
    }
    if bytes.len() < start + length {
        return Ok(None);
    }
    let payload = bytes.drain(..start + length).skip(start).collect();
    heard(first, payload).map(Some)
}

fn heard(first: u8, payload: Vec<u8>) -> Result<Heard, String> {
    let as_text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| "text that is not UTF-8".to_owned());
    if first & 0x08 != 0 && payload.len() > 125 {
        return Err("a control frame of more than 125 bytes".to_owned());
    }
    match first {
        0x81 => as_text(payload).map(Heard::Text),
        0x82 => Ok(Heard::Binary(payload)),
        0x89 => Ok(Heard::Ping(payload)),
        0x8a => Ok(Heard::Pong(payload)),
        0x88 if payload.is_empty() => Ok(Heard::Close(None, String::new())),
        0x88 if payload.len() >= 2 => {
            let code = u16::from_be_bytes([payload[0], payload[1]]);
            Ok(Heard::Close(Some(code), as_text(payload[2..].to_vec())?))
        }
        other => Err(format!("a frame that begins with {other:#04x}")),
    }
}
