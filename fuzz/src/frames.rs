//! What a client says over a WebSocket, from the first frame on. The input is what it sends.
//!
//! What is heard does not depend on the pieces, nor on whether an idle reader is kept. What a
//! reader holds is bounded. What was heard, and is said again in frames of another cut and mask, is
//! heard again.

use encke::wire::websocket::{CloseCode, Event, Limits, Reader, Violation};

use crate::pieces::cuts;

/// So low that an input of a few frames reaches them.
const LOW: Limits = Limits { message_bytes_max: 60, fragments_max: 4, takes_binary: true };

pub fn frames(input: &[u8]) {
    for limits in [LOW, Limits::default()] {
        let heard: Vec<_> = cuts(input).iter().map(|pieces| hear(pieces, &limits)).collect();
        assert!(heard.windows(2).all(|two| two[0] == two[1]), "pieces matter: {heard:?}");
        let heard = &heard[0];
        if let Some(violation) = heard.violation {
            assert!(violation.code.is_sendable() && violation.reason.len() <= 123, "{violation}");
        }
        let again = say(&heard.said);
        assert_eq!(hear(&[&again], &limits).said, heard.said, "said again, it is something else");
    }
}

#[derive(Debug, PartialEq)]
struct Heard {
    said: Vec<Said>,
    violation: Option<Violation>,
}

#[derive(Debug, PartialEq)]
enum Said {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<CloseCode>),
}

fn hear(pieces: &[&[u8]], limits: &Limits) -> Heard {
    let mut heard = Heard { said: Vec::new(), violation: None };
    let mut reader = Reader::default();
    for piece in pieces {
        let mut at = 0;
        while at < piece.len() {
            let (used, event) = match reader.next(&piece[at..], limits) {
                Ok(progress) => progress,
                Err(violation) => {
                    heard.violation = Some(violation);
                    let (used, event) = reader.next(b"\x81\x80\0\0\0\0", limits).expect("it was told once");
                    assert!(used == 6 && event.is_none(), "something is heard behind a broken rule");
                    return heard;
                }
            };
            assert!(used > 0, "the reader does not move");
            at += used;
            heard.said.extend(event.map(|event| match event {
                Event::Text(text) => Said::Text(text.to_owned()),
                Event::Binary(bytes) => Said::Binary(bytes.to_owned()),
                Event::Ping(payload) => Said::Ping(payload.to_owned()),
                Event::Pong => Said::Pong,
                Event::Close(code) => Said::Close(code),
            }));
            assert!(reader.held_bytes() <= 2 * limits.message_bytes_max.max(8), "it holds too much");
        }
        if reader.is_idle() {
            // What the engine does with one.
            reader = Reader::default();
        }
    }
    heard
}

/// In one frame each, with a mask of its own; as a client would say it.
fn say(said: &[Said]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (nth, said) in said.iter().enumerate() {
        let code;
        let (opcode, payload): (u8, &[u8]) = match said {
            Said::Text(text) => (0x81, text.as_bytes()),
            Said::Binary(bytes) => (0x82, bytes),
            Said::Ping(payload) => (0x89, payload),
            Said::Pong => (0x8a, b""),
            Said::Close(None) => (0x88, b""),
            Said::Close(Some(found)) => {
                code = found.0.to_be_bytes();
                (0x88, &code)
            }
        };
        let mask = [nth as u8, 0x55, 0xff, !(nth as u8)];
        bytes.push(opcode);
        match payload.len() {
            length @ 0..126 => bytes.push(0x80 | length as u8),
            length @ 126..65_536 => bytes.extend([&[0xfe], &(length as u16).to_be_bytes()[..]].concat()),
            length => bytes.extend([&[0xff], &(length as u64).to_be_bytes()[..]].concat()),
        }
        bytes.extend(mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }
    bytes
}
