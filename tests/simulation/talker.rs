//! Talkers: people who use everything that a WebSocket can do, and know what they must be answered.
//!
//! Frames come in fragments, with pings in between, in pieces that have nothing to do with either. Each ping and each
//! command is answered, in order, and the last frame ends it.
//!
//! Knows: frames and their answers. Never learns what subscribers are told.

use crate::common::frames::{self, BINARY, CLOSE, CONTINUATION, FIN, Heard, PING, PONG, TEXT, UPGRADE};

use super::dice::Dice;
use super::visitor::text;
use super::world::World;

/// What a frame must be answered.
enum Answer {
    Pong(Vec<u8>),
    /// To a publication of this text.
    Text(usize),
    /// To a change of the subscription: this is its `ref`.
    Cursor(usize),
    /// A mistake is told under its `ref`.
    Mistake(usize),
    /// The server's last frame.
    Close(Option<u16>),
}

impl World {
    /// Somebody talks over a WebSocket, and hears all answers.
    pub fn talk(&mut self, seed: u64) -> Result<(), String> {
        let mut dice = Dice::new(seed);
        if self.leaving.is_some() || self.is_tight() {
            return Ok(());
        }
        self.settle()?;
        let Some(line) = self.connect_a_stranger(1 + dice.below(2_000))? else { return Ok(()) };
        let handshake = format!("GET /channels/quiet HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n");
        let (mut frames, mut expected) = (handshake.into_bytes(), Vec::new());
        for _ in 0..1 + dice.below(5) {
            self.say_something(&mut dice, &mut frames, &mut expected);
        }
        expected.push(Answer::Close(say_last(&mut dice, &mut frames)));
        // Nothing is heard behind the last frame.
        frames.extend(frames::frame(FIN | PING, b"hello?"));
        let mut heard = self.converse(&line, &frames, 1 + dice.below(100), false)?;
        let end = crate::common::find(&heard, b"\r\n\r\n").ok_or("a handshake without an answer")?;
        if !heard.starts_with(b"HTTP/1.1 101 ") {
            return Err(format!("a handshake was answered {:?}", text(&heard)));
        }
        heard.drain(..end + 4);
        for answer in expected {
            self.expect(answer, &mut heard)?;
        }
        if !heard.is_empty() || !line.borrow().is_closed() {
            return Err(format!("behind the last frame {:?}", text(&heard)));
        }
        line.borrow_mut().half_close();
        self.settle()
    }

    fn say_something(&mut self, dice: &mut Dice, frames: &mut Vec<u8>, expected: &mut Vec<Answer>) {
        let nth = expected.len();
        let may_be_refused = self.settings.limits.publish_rate_max > 0;
        match dice.below(6) {
            0 => {
                let payload = vec![b'p'; dice.one_of(&[0, 1, 4, 125])];
                frames.extend(frames::frame(FIN | PING, &payload));
                expected.push(Answer::Pong(payload));
            }
            1 => frames.extend(frames::frame(FIN | PONG, b"nobody asked")),
            2 => {
                frames.extend(frames::text(&format!("{{\"publish\":\"to whom?\",\"ref\":{nth}}}")));
                expected.push(Answer::Mistake(nth));
            }
            3 => {
                for verb in ["unsubscribe", "subscribe"] {
                    frames.extend(frames::text(&format!("{{\"{verb}\":[\"quiet\"],\"ref\":{nth}}}")));
                    expected.push(Answer::Cursor(nth));
                }
            }
            _ if may_be_refused => {}
            _ => {
                let channel = dice.below(5);
                let bytes = dice.below(300);
                let number = self.log.text(channel, bytes);
                let json = self.log.command(number).to_string();
                self.fragments(json.as_bytes(), dice, frames, expected);
                expected.push(Answer::Text(number));
            }
        }
    }

    /// One message in several frames; between them, pings.
    fn fragments(&self, bytes: &[u8], dice: &mut Dice, frames: &mut Vec<u8>, expected: &mut Vec<Answer>) {
        let pieces: Vec<&[u8]> = bytes.chunks(1 + dice.below(bytes.len()).max(bytes.len() / 10)).collect();
        for (nth, piece) in pieces.iter().enumerate() {
            let opcode = if nth == 0 { TEXT } else { CONTINUATION };
            let fin = if nth + 1 == pieces.len() { FIN } else { 0 };
            frames.extend(frames::frame(fin | opcode, piece));
            if fin == 0 && dice.once_in(3) {
                frames.extend(frames::frame(FIN | PING, &[nth as u8]));
                expected.push(Answer::Pong(vec![nth as u8]));
            }
        }
    }

    fn expect(&mut self, answer: Answer, heard: &mut Vec<u8>) -> Result<(), String> {
        let frame = loop {
            match frames::take(heard)? {
                Some(Heard::Ping(_)) => {}
                other => break other,
            }
        };
        let json: serde_json::Value = match &frame {
            Some(Heard::Text(text)) => serde_json::from_str(text).map_err(|error| error.to_string())?,
            _ => serde_json::Value::Null,
        };
        let is_to = |nth: usize| json["ref"] == nth;
        match (answer, &frame) {
            (Answer::Pong(payload), Some(Heard::Pong(pong))) if payload == *pong => Ok(()),
            (Answer::Text(number), _) if is_to(number) && json["id"].is_u64() => {
                self.log.accept(number, json["id"].as_u64().unwrap_or_default())
            }
            (Answer::Cursor(nth), _) if is_to(nth) && json["id"].is_u64() => Ok(()),
            (Answer::Mistake(nth), _) if is_to(nth) && json["error"]["status"] == 400 => Ok(()),
            (Answer::Close(code), Some(Heard::Close(told, _))) if code == *told => Ok(()),
            (Answer::Pong(payload), _) => Err(format!("a ping with {payload:?} was answered {frame:?}")),
            (Answer::Text(number), _) => Err(format!("text {number} was answered {frame:?}")),
            (Answer::Cursor(nth) | Answer::Mistake(nth), _) => {
                Err(format!("command {nth} was answered {frame:?}"))
            }
            (Answer::Close(code), _) => {
                Err(format!("what must be closed with {code:?} was answered {frame:?}"))
            }
        }
    }
}

/// Says goodbye, or something after which the server does. Returns with which code.
fn say_last(dice: &mut Dice, frames: &mut Vec<u8>) -> Option<u16> {
    match dice.below(6) {
        0 => {
            frames.extend(frames::frame(FIN | CLOSE, b""));
            None
        }
        1 => {
            frames.extend(frames::frame(FIN | BINARY, b"\0"));
            Some(1003)
        }
        2 => {
            frames.extend(frames::frame(FIN | TEXT, b"\xff"));
            Some(1007)
        }
        3 => {
            // Not masked.
            frames.extend(b"\x81\x01x");
            Some(1002)
        }
        4 => {
            frames.extend(frames::frame(FIN | CONTINUATION, b"of nothing"));
            Some(1002)
        }
        _ => {
            let code = dice.one_of(&[1_000, 1_001, 4_000]);
            frames.extend(frames::close(code));
            Some(code)
        }
    }
}
