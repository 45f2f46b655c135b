//! What the conductor and its workers say to each other: a line of JSON each.
//!
//! Knows: lines and their shapes. Never learns what is done about them.

use std::io::{self, ErrorKind, Read};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::plan::{Place, Plan};
use super::tally::Tally;

/// From the conductor. Moments are microseconds of the monotonic clock, which all processes share.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Order {
    /// The first line: what it is all about.
    Plan(Box<Plan>, Place),
    /// Begin to connect.
    Ramp { at_us: u64 },
    /// The first message is due; churn begins.
    Speak { at_us: u64 },
    /// Send what is on its way and nothing more.
    Hush,
    /// Cut all connections and come back.
    Storm { at_us: u64 },
    /// Count what is missing of the first `said` messages, tell everything, and end.
    Finish { said: u32 },
}

/// From a worker.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Word {
    /// How far it is, several times a second.
    Progress(Progress),
    /// Everything it counted. The last word.
    Result(Box<Tally>),
    /// It cannot go on.
    Failed(String),
}

/// How far a worker is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Progress {
    /// Connections that are to be there and are neither there nor given up.
    pub(super) pending: u64,
    /// Connections that listen.
    pub(super) listening: u64,
    /// Deliveries, each message and subscriber once.
    pub(super) received: u64,
    pub(super) ticks: u64,
    pub(super) errors: u64,
    /// What went wrong last.
    pub(super) last_error: Option<String>,
    /// Storms begun, and how many are not back from the last.
    pub(super) storms: u64,
    pub(super) storming: u64,
    /// Messages whose moment has come, and those of them that are answered or given up.
    pub(super) said: u64,
    pub(super) answered: u64,
}

impl Progress {
    pub(super) fn add(&mut self, other: &Progress) {
        self.pending += other.pending;
        self.listening += other.listening;
        self.received += other.received;
        self.ticks += other.ticks;
        self.errors += other.errors;
        self.last_error = other.last_error.clone().or(self.last_error.take());
        self.storms += other.storms;
        self.storming += other.storming;
        self.said += other.said;
        self.answered += other.answered;
    }
}

/// Lines that come in pieces over a pipe that does not block.
#[derive(Debug, Default)]
pub(super) struct Lines {
    unread: Vec<u8>,
}

impl Lines {
    /// Reads what is there. `false`: the other end is gone.
    pub(super) fn fill(&mut self, pipe: &mut impl Read) -> io::Result<bool> {
        let mut piece = [0; 64 * 1024];
        loop {
            match pipe.read(&mut piece) {
                Ok(0) => return Ok(false),
                Ok(length) => self.unread.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The values of all whole lines.
    pub(super) fn take<T: DeserializeOwned>(&mut self) -> io::Result<Vec<T>> {
        let whole = memchr::memrchr(b'\n', &self.unread).map_or(0, |last| last + 1);
        let values = serde_json::Deserializer::from_slice(&self.unread[..whole]).into_iter();
        let values = values.collect::<Result<Vec<T>, _>>().map_err(io::Error::from)?;
        self.unread.drain(..whole);
        Ok(values)
    }
}

/// A value as a line.
pub(super) fn line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).expect("a value without maps of odd keys is JSON");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_in_any_pieces() {
        let mut text = line(&Order::Ramp { at_us: 7 });
        text.extend(line(&Order::Finish { said: 3 }));
        for split in 0..=text.len() {
            let mut lines = Lines::default();
            let mut heard = Vec::new();
            for mut piece in [&text[..split], &text[split..]] {
                lines.fill(&mut piece).expect("a slice can be read");
                heard.extend(lines.take::<Order>().expect("our own lines"));
            }
            assert!(matches!(heard[..], [Order::Ramp { at_us: 7 }, Order::Finish { said: 3 }]), "{heard:?}");
        }
    }
}
