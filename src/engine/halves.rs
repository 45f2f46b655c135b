//! Halves: subscribers whose peers will send no more.
//!
//! That may mean that a peer only reads from now on, or that it is gone: nothing but writing to it
//! can tell. A stream that is written to finds out, and one that is silent gets a grace. But when
//! everybody leaves and comes back at once, those who have left must not keep out those who come:
//! so without room for a new connection the grace is over for whoever has had the most of it.
//!
//! Knows: who, and in which order. Never learns what they listen to.

use super::Engine;
use super::conn::{Mark, Socket};
use super::crowd::Crowd;
use super::stats::Hangup;

/// How long a silent stream whose peer closed its half is kept, in milliseconds.
const HALF_CLOSED_MS: u64 = 5_000;

/// Such a grace ends at a multiple of this, in milliseconds of the monotonic clock. Those who left together are parted
/// from together: a wake-up for each would cost as much as parting from him.
const TOGETHER_MS: u64 = 500;

/// Those who are gone are taken off the list when they are the majority, and this many.
const STALE_MIN: usize = 64;

/// Who is parted from at most when the process is out of descriptors: as many as can be accepted in a turn.
const ROOM_AT_ONCE: usize = 256;

impl<S: Socket> Engine<S> {
    /// The peer of a subscriber will send no more.
    pub(super) fn await_the_other_half(&mut self, index: u32) {
        if self.bids_farewell() {
            // It is being parted from anyway, and its timer says when.
            return;
        }
        let crowd = &mut self.crowd;
        let grace_ends_ms = (crowd.now.mono_ms() + HALF_CLOSED_MS).next_multiple_of(TOGETHER_MS);
        crowd.wheel.arm(index, grace_ends_ms);
        // It comes here again whenever it has read on, and then has its place already.
        if crowd[index].marks.set(Mark::Half) {
            return;
        }
        if crowd.halves.len() >= 2 * crowd.len() + STALE_MIN {
            let halves = std::mem::take(&mut crowd.halves);
            crowd.halves = halves.into_iter().filter(|&id| crowd.find(id).is_some()).collect();
        }
        crowd.halves.push_back(crowd.id(index));
    }

    /// There was no descriptor, or no memory, for another connection. Returns whether there will be when the turn is over.
    pub fn starved(&mut self) -> bool {
        self.crowd.stats.starved += 1;
        (0..ROOM_AT_ONCE).take_while(|_| self.crowd.part_from_a_half()).count() > 0
    }
}

impl<S: Socket> Crowd<S> {
    /// Parts from the silent subscriber whose peer closed its half first, if there is one.
    pub(super) fn part_from_a_half(&mut self) -> bool {
        while let Some(id) = self.halves.pop_front() {
            let Some(index) = self.find(id) else { continue };
            self[index].marks.clear(Mark::Half);
            // Polls that were answered meanwhile are on their way out.
            if self[index].is_subscriber() {
                self.hang_up(index, Hangup::Left);
                return true;
            }
        }
        false
    }
}
