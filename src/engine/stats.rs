//! Counters.
//!
//! Knows: numbers and why they change. Never learns who reads them.

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
    /// The server ends.
    ShutDown,
}

impl Hangup {
    /// How many there are.
    const COUNT: usize = 7;
}

/// What happened since the start.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Connections taken.
    pub accepted: u64,
    /// Connections that were one too many.
    pub turned_away: u64,
    /// Requests understood.
    pub requests: u64,
    /// Requests refused, with a status of 400 or more.
    pub refusals: u64,
    /// Messages published.
    pub messages: u64,
    /// Ticks sent.
    pub ticks: u64,
    /// Ticks left out, because the reader had not taken the one before.
    pub ticks_skipped: u64,
    /// Polls answered with a message.
    pub polls_answered: u64,
    hangups: [u64; Hangup::COUNT],
}

impl Stats {
    /// How often we parted for this reason.
    pub fn hangups(&self, why: Hangup) -> u64 {
        self.hangups[why as usize]
    }

    pub(super) fn count_hangup(&mut self, why: Hangup) {
        self.hangups[why as usize] += 1;
    }
}
