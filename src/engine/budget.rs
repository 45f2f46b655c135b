//! The budget: what all connections together may hold.
//!
//! An idle connection holds nothing. But a client can make it hold: half a head, a body on its way,
//! a WebSocket's message in pieces, answers that it does not read. Each has a limit of its own, and
//! twenty thousand of them would still be gigabytes. So every byte that is kept for a connection is
//! counted when it comes and when it goes, and together they have a bound.
//!
//! Near it, at [`TIGHT`], nothing new is begun that would have to be kept: bodies that have not
//! come with their head, messages in pieces. At the bound whoever holds the most is parted from,
//! until a sixteenth is free: those are the slowest readers and the largest uploads. A reader has a
//! cursor and comes back with it; so nothing is lost that was promised. The same happens if it
//! stays tight for longer than anything takes that goes well: nobody can keep the others out by
//! holding a little less than too much.
//!
//! Nothing here runs on the way of a delivery that the kernel takes whole: it leaves nothing to
//! count.
//!
//! Knows: bytes, and who holds them. Never learns what they say.

use std::collections::BinaryHeap;

use super::conn::{Conn, Input, Phase, Socket, Upload};
use super::crowd::Crowd;
use super::stats::Hangup;
use crate::kit::outbox::Outbox;
use crate::wire::websocket;

/// The share of the budget at which nothing new is begun that would have to be kept: three of four quarters.
const TIGHT: (usize, usize) = (3, 4);

/// How far below the budget to go once it is reached, as a share of it: so that not every byte has to look for
/// the largest holder.
const SLACK: usize = 16;

/// Between two complaints about it in the log, in milliseconds.
const COMPLAINT_MS: u64 = 60_000;

/// An account of what is held.
pub(super) struct Budget {
    held_bytes: usize,
    bytes_max: usize,
    /// Since when nothing new is begun, in milliseconds of the monotonic clock.
    tight_since_ms: Option<u64>,
    /// When the log was last told that somebody had to go.
    complained_ms: Option<u64>,
}

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Self {
        Budget { held_bytes: 0, bytes_max, tight_since_ms: None, complained_ms: None }
    }

    /// What all connections hold.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether so much is held that nothing new should be kept.
    pub(super) fn is_tight(&self) -> bool {
        self.held_bytes > self.tight_bytes()
    }

    fn tight_bytes(&self) -> usize {
        self.bytes_max / TIGHT.1 * TIGHT.0
    }

    fn is_exceeded(&self) -> bool {
        self.held_bytes > self.bytes_max
    }
}

impl<S> Conn<S> {
    /// What goes when this connection does, besides what every connection has.
    pub(super) fn held_bytes(&self) -> usize {
        let input = self.input.as_ref().map_or(0, |input| input.held_bytes());
        let upload = if let Phase::Body(upload) = &self.phase { upload.held_bytes() } else { 0 };
        self.outbox.held_bytes() + input + upload
    }
}

impl Input {
    pub(super) fn held_bytes(&self) -> usize {
        let reader = |reader: &websocket::Reader| size_of::<websocket::Reader>() + reader.held_bytes();
        size_of::<Input>() + self.bytes.capacity() + self.progress.reader.as_deref().map_or(0, reader)
    }
}

impl Upload {
    pub(super) fn held_bytes(&self) -> usize {
        size_of::<Upload>() + self.plan_bytes as usize + self.body.capacity()
    }
}

impl<S: Socket> Crowd<S> {
    /// Somebody held `before` bytes of something and holds `after` now. May part from whoever holds the
    /// most, which may be that one.
    pub(super) fn recount(&mut self, before: usize, after: usize) {
        let budget = &mut self.budget;
        budget.held_bytes = budget.held_bytes + after - before;
        let since_ms = budget.tight_since_ms.unwrap_or(self.now.mono_ms());
        budget.tight_since_ms = budget.is_tight().then_some(since_ms);
        if after > before && budget.is_exceeded() {
            let goal = budget.bytes_max - budget.bytes_max / SLACK;
            self.shed(goal);
        }
    }

    /// Whether something may be begun that will have to be kept. May part from those who have kept it from being so
    /// for longer than a body or a reader may take.
    pub(super) fn may_begin(&mut self) -> bool {
        let patience_ms = self.limits.body_timeout_ms.max(self.limits.write_timeout_ms);
        if self.budget.tight_since_ms.is_some_and(|since| self.now.mono_ms() - since >= patience_ms) {
            self.shed(self.budget.tight_bytes());
        }
        !self.budget.is_tight()
    }

    /// The dead hold nothing: what was kept for them goes at once, and not with the socket.
    pub(super) fn release(&mut self, index: u32) {
        let conn = &mut self[index];
        let before = conn.held_bytes();
        conn.outbox = Outbox::default();
        conn.input = None;
        if matches!(conn.phase, Phase::Body(_)) {
            conn.phase = Phase::Leaving;
        }
        self.recount(before, 0);
    }

    /// Parts from whoever holds the most, until all together hold so much at most.
    fn shed(&mut self, bytes: usize) {
        let mut holders: BinaryHeap<(usize, u32)> = self.holders().collect();
        self.complain(holders.len());
        while self.budget.held_bytes > bytes
            && let Some((_, index)) = holders.pop()
        {
            self.hang_up(index, Hangup::OverBudget);
        }
    }

    fn complain(&mut self, holders: usize) {
        let now_ms = self.now.mono_ms();
        if self.budget.complained_ms.is_none_or(|at| now_ms - at >= COMPLAINT_MS) {
            self.budget.complained_ms = Some(now_ms);
            let held_bytes = self.budget.held_bytes;
            log::warn!(held_bytes = held_bytes, holders = holders; "connections hold too much; parting from those that hold the most; see connection-budget-bytes-max");
        }
    }

    /// Who holds anything, and how much.
    fn holders(&self) -> impl Iterator<Item = (usize, u32)> {
        self.occupied().map(|(index, conn)| (conn.held_bytes(), index)).filter(|(bytes, _)| *bytes > 0)
    }

    /// Whether the account is right.
    #[cfg(debug_assertions)]
    pub(super) fn check_budget(&self) {
        let held: usize = self.occupied().map(|(_, conn)| conn.held_bytes()).sum();
        assert_eq!(held, self.budget.held_bytes, "somebody kept or dropped bytes and did not say so");
        assert!(!self.budget.is_exceeded(), "the budget is exceeded, and nobody was parted from");
        assert!(self.iter().all(|conn| !conn.is_dead() || conn.held_bytes() == 0), "the dead hold nothing");
    }
}
