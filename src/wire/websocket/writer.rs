//! Frames as a server sends them: unmasked, whole, the length in as few bytes as it fits.
//!
//! Knows: the head of a frame. Never learns what is in one.

use super::{
    CONTROL_BYTES_MAX, CloseCode, FINAL, LENGTH_IN_2_BYTES, LENGTH_IN_8_BYTES, Opcode, REASON_BYTES_MAX,
};

/// Appends the head of a text message of `payload_bytes`; the caller appends the payload.
pub fn text_head(payload_bytes: usize, out: &mut Vec<u8>) {
    head(Opcode::Text, payload_bytes, out);
}

/// Appends a whole frame.
pub fn frame(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    head(opcode, payload.len(), out);
    out.extend_from_slice(payload);
}

/// Appends a ping, with at most [`CONTROL_BYTES_MAX`] bytes for the peer to send back.
pub fn ping(payload: &[u8], out: &mut Vec<u8>) {
    frame(Opcode::Ping, payload, out);
}

/// Appends the answer to a ping: its own payload.
pub fn pong(payload: &[u8], out: &mut Vec<u8>) {
    frame(Opcode::Pong, payload, out);
}

/// Appends the last frame. A reason beyond [`REASON_BYTES_MAX`] is cut between two characters.
pub fn close(code: CloseCode, reason: &str, out: &mut Vec<u8>) {
    debug_assert!(code.is_sendable(), "{code:?} does not stand in a frame");
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    head(Opcode::Close, size_of::<u16>() + end, out);
    out.extend_from_slice(&code.0.to_be_bytes());
    out.extend_from_slice(&reason.as_bytes()[..end]);
}

/// Appends the answer to the peer's last frame: its own code, if it gave one (RFC 6455 §5.5.1).
pub fn close_answer(code: Option<CloseCode>, out: &mut Vec<u8>) {
    match code {
        Some(code) => close(code, "", out),
        None => frame(Opcode::Close, b"", out),
    }
}

fn head(opcode: Opcode, payload_bytes: usize, out: &mut Vec<u8>) {
    debug_assert!(!opcode.is_control() || payload_bytes <= CONTROL_BYTES_MAX, "a long {opcode:?}");
    out.push(FINAL | opcode as u8);
    if payload_bytes < usize::from(LENGTH_IN_2_BYTES) {
        out.push(payload_bytes as u8);
    } else if let Ok(length) = u16::try_from(payload_bytes) {
        out.push(LENGTH_IN_2_BYTES);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(LENGTH_IN_8_BYTES);
        out.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn the_examples_of_the_rfc_are_written_as_it_says() {
        assert_eq!(written(|out| frame(Opcode::Text, b"Hello", out)), b"\x81\x05Hello");
        assert_eq!(written(|out| ping(b"Hello", out)), b"\x89\x05Hello");
        assert_eq!(written(|out| pong(b"Hello", out)), b"\x8a\x05Hello");
        assert_eq!(written(|out| frame(Opcode::Binary, &[7; 256], out))[..4], *b"\x82\x7e\x01\x00");
        assert_eq!(
            written(|out| frame(Opcode::Binary, &[7; 65_536], out))[..10],
            *b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"
        );
    }

    #[test]
    fn a_length_is_written_in_as_few_bytes_as_it_fits() {
        for (length, head) in [
            (0, &b"\x81\x00"[..]),
            (1, b"\x81\x01"),
            (125, b"\x81\x7d"),
            (126, b"\x81\x7e\x00\x7e"),
            (65_535, b"\x81\x7e\xff\xff"),
            (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
        ] {
            assert_eq!(written(|out| text_head(length, out)), head, "{length}");
        }
    }

    #[test]
    fn a_close_says_why() {
        let bytes = written(|out| close(CloseCode::GOING_AWAY, "bye", out));
        assert_eq!(bytes, b"\x88\x05\x03\xe9bye");
        assert_eq!(written(|out| close(CloseCode::NORMAL, "", out)), b"\x88\x02\x03\xe8");
    }

    #[test]
    fn a_close_is_answered_with_its_own_code_or_with_none() {
        assert_eq!(written(|out| close_answer(None, out)), b"\x88\x00");
        assert_eq!(written(|out| close_answer(Some(CloseCode(4_321)), out)), b"\x88\x02\x10\xe1");
    }

    #[test]
    fn a_long_reason_is_cut_between_two_characters() {
        let bytes = written(|out| close(CloseCode::NORMAL, &"x".repeat(123), out));
        assert_eq!(bytes.len(), 2 + 125);
        let bytes = written(|out| close(CloseCode::NORMAL, &format!("{}€", "x".repeat(121)), out));
        assert_eq!((bytes[1], bytes.len()), (2 + 121, 2 + 2 + 121));
    }
}
