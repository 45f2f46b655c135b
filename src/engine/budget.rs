//! The budget: what all connections together may hold.
//!
//! An idle connection holds nothing. But a client can make it hold: half a head, a body on its way, a
//! WebSocket's message in pieces, answers that it does not read. Each has a limit of its own, and twenty
//! thousand of them would still be gigabytes. So every byte that is kept for a connection is
//! counted when it comes and when it goes, and together they have a bound.
//!
//! Near it, at [`TIGHT`], nothing new is begun that would have to be kept: bodies that have not come with
//! their head, messages in pieces. At the bound whoever holds the most is parted from, until a
//! sixteenth is free: those are the slowest readers and the largest uploads. A reader has a cursor and
//! comes back with it; so nothing is lost that was promised.
//!
//! Nothing here runs on the way of a delivery that the kernel takes whole: it leaves nothing to count.
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

/// An account of what is held.
pub(super) struct Budget {
    held_bytes: usize,
    bytes_max: usize,
}

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Self {
        Budget { held_bytes: 0, bytes_max }
    }

    /// What all connections hold.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether so much is held that nothing new should be kept.
    pub(super) fn is_tight(&self) -> bool {
        self.held_bytes > self.bytes_max / TIGHT.1 * TIGHT.0
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
        self.budget.held_bytes = self.budget.held_bytes + after - before;
        if after > before && self.budget.is_exceeded() {
            self.shed();
        }
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

    fn shed(&mut self) {
        let goal = self.budget.bytes_max - self.budget.bytes_max / SLACK;
        let mut holders: BinaryHeap<(usize, u32)> = self.holders().collect();
        log::warn!(held_bytes = self.budget.held_bytes, holders = holders.len(); "connections hold more than connection-budget-bytes-max; parting from those that hold the most");
        while self.budget.held_bytes > goal
            && let Some((_, index)) = holders.pop()
        {
            self.hang_up(index, Hangup::OverBudget);
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
