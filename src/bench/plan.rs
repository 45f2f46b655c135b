//! The plan of a run: everything that is decided before it begins.
//!
//! It goes to every worker as it is, so that each can work out for itself what is due when:
//! subscriber `n` connects at the ramp's start plus `n / ramp`, message `s` is due at the start
//! plus `s / rate`. Nothing that happens changes when something is due; that is what *open loop*
//! means.
//!
//! Knows: numbers and templates. Never learns how far a run has come.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::preset::Transport;
use super::stamp::RUN_BYTES;
use super::template::{Filling, Template};

/// Messages of one run: what is known of each of them has to fit into memory several times.
pub(super) const MESSAGES_MAX: u64 = 4_000_000;

/// Connections of one run: more than one machine has addresses' ports for is a mistake.
pub(super) const CONNECTIONS_MAX: u32 = 4_000_000;

/// Connections from one source address. Ports of closed connections rest for a minute, and a storm
/// needs as many again: a quarter of the usual range.
pub(super) const PER_SOURCE: u32 = 7_000;

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Plan {
    /// The run's name: eight hexadecimal digits.
    pub(super) run: String,
    pub(super) address: SocketAddr,
    /// What a request calls the server.
    pub(super) host: String,
    pub(super) connections: u32,
    pub(super) channels: u32,
    pub(super) ramp_per_s: f64,
    /// Addresses of 127.0.0.0/8 that connections come from; 0: the kernel chooses.
    pub(super) sources: u32,
    pub(super) transport: Transport,
    pub(super) ask: Ask,
    /// Nobody publishes without.
    pub(super) say: Option<Say>,
    pub(super) rate_per_s: f64,
    pub(super) duration_us: u64,
    /// Connections that leave and come back, in a second.
    pub(super) churn_per_s: f64,
    /// The share of subscribers who read slowly, and how fast.
    pub(super) slow_share: f64,
    pub(super) slow_bytes_per_s: u64,
    /// The share of subscribers who read their first frame and nothing else.
    pub(super) stalled_share: f64,
    pub(super) ticks: Option<TickPlan>,
    /// Cores that workers are bound to, in turn; empty: the kernel chooses.
    pub(super) pin: Vec<usize>,
}

/// How to subscribe.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Ask {
    pub(super) target: Template,
    pub(super) headers: Vec<Template>,
    /// The target with a cursor in it, if a cursor belongs there.
    pub(super) resume: Option<Template>,
    pub(super) resume_headers: Vec<Template>,
    pub(super) cursor: CursorFrom,
    pub(super) gaps: Vec<String>,
}

/// Where a subscriber finds its cursor.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum CursorFrom {
    /// There is none: who leaves misses what is said meanwhile.
    #[default]
    Nowhere,
    /// Behind this text, in the body.
    Behind(String),
    /// `Last-Modified` and `Etag` of the answer, handed back as `If-Modified-Since` and `If-None-Match`.
    Validators,
}

/// How to publish.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Say {
    pub(super) method: String,
    pub(super) target: Template,
    pub(super) headers: Vec<Template>,
    pub(super) body: Template,
    pub(super) payload_bytes: usize,
    /// Connections at most.
    pub(super) lines_max: usize,
    /// Whether a request may be sent before the one before it is answered, when all connections are busy.
    pub(super) pipeline: bool,
}

/// How to know a tick.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct TickPlan {
    /// The text before the time.
    pub(super) behind: String,
    pub(super) period_us: u64,
}

impl Plan {
    /// How many messages are planned.
    pub(super) fn messages(&self) -> u32 {
        if self.say.is_none() {
            return 0;
        }
        let messages = (self.rate_per_s * self.duration_us as f64 / 1e6).round() as u64;
        messages.min(MESSAGES_MAX) as u32
    }

    /// When message `sequence` is due if the first one is due at `start_us`.
    pub(super) fn due_us(&self, start_us: u64, sequence: u32) -> u64 {
        start_us + (f64::from(sequence) * 1e6 / self.rate_per_s) as u64
    }

    /// When subscriber `n` is to connect.
    pub(super) fn connect_us(&self, start_us: u64, n: u32) -> u64 {
        start_us + (f64::from(n) * 1e6 / self.ramp_per_s) as u64
    }

    /// The room that subscriber `n` is in: all are of one size, give or take one.
    pub(super) fn room(&self, n: u32) -> u32 {
        (u64::from(n) * u64::from(self.channels) / u64::from(self.connections)) as u32
    }

    /// How many of the first `said` messages went to this room: they go to all in turn.
    pub(super) fn said_in(&self, room: u32, said: u32) -> u32 {
        (said + self.channels - 1 - room) / self.channels
    }

    /// Appends the head with which subscriber `n` asks, without the empty line that ends it. Who has no
    /// cursor hands in none.
    pub(super) fn write_subscription(&self, n: u32, cursor: &[u8], out: &mut Vec<u8>) {
        let ask = &self.ask;
        let with = Filling { run: &self.run, room: self.room(n), number: n, cursor, ..Filling::default() };
        out.extend_from_slice(b"GET ");
        let resume = ask.resume.as_ref().filter(|_| !cursor.is_empty());
        resume.unwrap_or(&ask.target).fill(&with, out);
        out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        out.extend_from_slice(self.host.as_bytes());
        out.extend_from_slice(b"\r\n");
        let more = if cursor.is_empty() { &[][..] } else { &ask.resume_headers };
        for field in ask.headers.iter().chain(more) {
            field.fill(&with, out);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// The run's name, as it stands in stamps.
    pub(super) fn run_bytes(&self) -> [u8; RUN_BYTES] {
        self.run.as_bytes().try_into().expect("a run's name has eight characters")
    }

    pub(super) fn habit(&self, n: u32) -> Habit {
        // Spread over all rooms, and the same in every run.
        let dice = f64::from(n.wrapping_mul(0x9e37_79b1)) / f64::from(u32::MAX);
        match dice {
            _ if dice < self.slow_share => Habit::Slow,
            _ if dice < self.slow_share + self.stalled_share => Habit::Stalled,
            _ => Habit::Regular,
        }
    }
}

/// How a subscriber reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Habit {
    /// At once.
    Regular,
    /// A few bytes at a time, at a given rate.
    Slow,
    /// Never, once it has its first frame.
    Stalled,
}

/// One worker's place among all.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Place {
    /// Subscribers `number`, `number + of`, … are its.
    pub(super) number: u32,
    pub(super) of: u32,
    pub(super) publishes: bool,
}
