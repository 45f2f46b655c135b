//! Counters.
//!
//! Knows: numbers and why they change. Never learns who reads them.

use crate::kit::histogram::Histogram;
use crate::transport::Framing;

/// Why we parted from a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// The exchange was over and both sides said so.
    Done,
    /// The peer closed while nothing was under way.
    Left,
    /// The peer closed in the middle of a request.
    Truncated,
    /// The connection was reset, or a write found nobody.
    Reset,
    /// Nothing was asked for too long.
    Idle,
    /// The peer did not take a byte for too long.
    Stalled,
    /// The reader fell off the history of a channel that does not wait.
    TooSlow,
    /// The server ends.
    ShutDown,
    /// It held the most when all together held too much.
    OverBudget,
}

impl Hangup {
    /// How many there are.
    const COUNT: usize = 9;
}

/// What happened since the start.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Connections taken.
    pub accepted: u64,
    /// Connections that were one too many.
    pub turned_away: u64,
    /// Connections that were one too many for their address.
    pub address_turned_away: u64,
    /// How often there was no descriptor, or no memory, for one more connection.
    pub starved: u64,
    /// Requests understood.
    pub requests: u64,
    /// Requests refused, with a status of 400 or more.
    pub refusals: u64,
    /// Requests that did not come to their end in time.
    pub timed_out: u64,
    /// Publications refused because their address had said too much: requests and commands, not messages.
    pub rate_limited: u64,
    /// Bodies and messages in pieces that were not waited for, because connections held too much already.
    pub uploads_refused: u64,
    /// Publications refused because too much waited for the log.
    pub store_refusals: u64,
    /// Publications that the log could not store.
    pub store_failures: u64,
    /// Publishers who were told that nobody knows, because the log did not answer in time.
    pub store_timeouts: u64,
    /// Ticks sent.
    pub ticks: u64,
    /// Ticks left out, because the reader had not taken the one before.
    pub ticks_skipped: u64,
    /// Messages that the kernel took for a subscriber, and answers to polls.
    pub deliveries: u64,
    /// Writes that carried them.
    pub sends: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Writes of which the kernel did not take all.
    pub blocked: u64,
    /// How long the reactor's turns took, in microseconds.
    pub turns_us: Histogram,
    /// From publishing to the last write of a section, in microseconds, by the kind of framing.
    pub latency_us: [Histogram; Framing::NAMES.len()],
    hangups: [u64; Hangup::COUNT],
}

impl Stats {
    /// Every reason, and how often it was one.
    pub fn all_hangups(&self) -> impl Iterator<Item = (&'static str, u64)> {
        const NAMES: [&str; Hangup::COUNT] =
            ["done", "left", "truncated", "reset", "idle", "stalled", "too_slow", "shut_down", "over_budget"];
        NAMES.into_iter().zip(self.hangups)
    }

    /// How often we parted for this reason.
    pub fn hangups(&self, why: Hangup) -> u64 {
        self.hangups[why as usize]
    }

    pub(super) fn count_hangup(&mut self, why: Hangup) {
        self.hangups[why as usize] += 1;
    }
}
