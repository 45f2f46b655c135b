//! The walk: a slow round past all connections, for what needs no timer of its own.
//!
//! Proxies close what is silent for long, and a peer that has vanished is only noticed when
//! something is written to it. So every stream that heard nothing since the walk last came by is
//! sent a sign of life. One round takes one heartbeat period, in small steps, so that a million
//! signs of life do not fall into one moment. Without heartbeats it only looks for those who have
//! stalled, and stays at home while nobody can have.
//!
//! Knows: slots, one deadline. Never learns what a framing's sign of life looks like.

use super::Engine;
use super::conn::{Mark, Phase, Socket};
use super::crowd::Crowd;
use super::stats::Hangup;

/// Slots looked at in one step, unless there are so many that steps would have to be less than a millisecond apart.
const STEP: u32 = 64;

/// Where the walk is.
pub(super) struct Walk {
    /// How long a round takes, in milliseconds.
    period_ms: u64,
    /// Whether it gives signs of life, or only looks for those who have stalled.
    has_heartbeats: bool,
    next_slot: u32,
    /// When the last step was due; nothing while there are no streams.
    stepped_ms: Option<u64>,
}

impl Walk {
    /// A walk of one round per heartbeat; without heartbeats (0), as often as needed to find out who has stalled.
    pub(super) fn new(heartbeat_ms: u64, write_timeout_ms: u64) -> Self {
        let has_heartbeats = heartbeat_ms > 0;
        let period_ms = if has_heartbeats { heartbeat_ms } else { write_timeout_ms };
        Walk { period_ms, has_heartbeats, next_slot: 0, stepped_ms: None }
    }

    /// When the next step is due, in milliseconds of the monotonic clock.
    pub(super) fn deadline<S: Socket>(&self, crowd: &Crowd<S>) -> Option<u64> {
        // Reckoned from the last step each time: when many come at once, a pause that was made for few is cut short.
        let next_ms = self.stepped_ms.map(|stepped_ms| stepped_ms + self.pause_ms(crowd.slots()));
        // Somebody blocked since it last looked whether it has cause to go: it has to look again.
        let has_cause = crowd.has_blocked.then_some(0);
        next_ms.or(has_cause).filter(|_| crowd.streams > 0)
    }

    /// Slots to pass in one step.
    fn step(&self, slots: u32) -> u32 {
        STEP.max(u32::try_from(u64::from(slots) / self.period_ms).map_or(u32::MAX, |slots| slots + 1))
    }

    /// From one step to the next.
    fn pause_ms(&self, slots: u32) -> u64 {
        (self.period_ms / u64::from(slots.div_ceil(self.step(slots)).max(1))).max(1)
    }
}

impl<S: Socket> Engine<S> {
    pub(super) fn take_a_walk(&mut self) {
        let now_ms = self.crowd.now.mono_ms();
        let begins = self.walk.next_slot == 0;
        let has_cause = self.walk.has_heartbeats || self.crowd.has_blocked || !begins;
        if self.crowd.streams == 0 || !has_cause {
            self.walk.stepped_ms = None;
            return;
        }
        let slots = self.crowd.slots();
        let (step, pause_ms) = (self.walk.step(slots), self.walk.pause_ms(slots));
        let due_ms = *self.walk.stepped_ms.get_or_insert(now_ms) + pause_ms;
        if due_ms > now_ms {
            return;
        }
        // Whoever is found to be blocked in this round gives cause for another.
        self.crowd.has_blocked &= !begins;
        let first = self.walk.next_slot;
        let next = first.saturating_add(step);
        self.walk.next_slot = if next >= slots { 0 } else { next };
        self.walk.stepped_ms = Some(due_ms.max(now_ms.saturating_sub(pause_ms)));
        for index in first..next {
            if self.crowd.is_taken(index) {
                self.visit(index);
            }
        }
    }

    fn visit(&mut self, index: u32) {
        let now_ms = self.crowd.now.mono_ms();
        let stalled_ms_max = self.crowd.limits.write_timeout_ms;
        let conn = &mut self.crowd[index];
        let Phase::Subscribed(seat) = conn.phase else { return };
        if conn.is_dead() || conn.marks.has(Mark::Polls) {
            return;
        }
        let spoke = conn.marks.clear(Mark::Spoke);
        if !conn.outbox.is_empty() {
            let has_stalled = conn.outbox.stalled_ms(now_ms) >= stalled_ms_max;
            self.crowd.has_blocked = true;
            if has_stalled {
                self.crowd.hang_up(index, Hangup::Stalled);
            }
            return;
        }
        // Most who closed their half are gone, and are parted from sooner than they could miss a sign of life.
        if spoke || conn.marks.has(Mark::Half) {
            return;
        }
        let Some(cursor) = self.hub.vouch(seat) else {
            // Who was cut exactly between two messages has nothing unsent by which to find that he has stalled.
            return self.crowd.look_again(index);
        };
        if !self.walk.has_heartbeats {
            return;
        }
        self.draft.clear();
        self.hub.framing(seat).heartbeat(cursor, &mut self.draft);
        self.crowd.send(index, &self.draft);
    }
}
