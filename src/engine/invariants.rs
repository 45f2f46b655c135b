//! What must hold between any two doors of the engine. Debug builds check all of it after each.
//!
//! Looking at everything takes as long as there is much. So it is done after every door while the
//! world is small, as in tests, and in a large one only so often that it costs no more than a
//! constant per door.
//!
//! Knows: everything in the engine. Never changes anything but its own count.

use crate::hub::{Seat, Sitting};

use super::Engine;
use super::conn::{Conn, Mark, Phase, Socket};
use super::crowd::Crowd;
use super::timers::TICK_MS;

/// When to look again.
#[derive(Default)]
pub(super) struct Inspector {
    /// Doors since it looked.
    doors: usize,
}

impl<S: Socket> Engine<S> {
    pub(super) fn check_invariants(&mut self) {
        self.inspector.doors += 1;
        let share = self.pace.inspected_per_door;
        if share == 0 || self.inspector.doors * share < self.crowd.len() + self.hub.size() {
            return;
        }
        self.inspector.doors = 0;
        self.crowd.check_invariants(self.bids_farewell());
        self.crowd.check_budget();
        let sittings: Vec<Sitting> = self.crowd.conns.iter().filter_map(sitting).collect();
        self.hub.check_invariants(&sittings, self.check_storing());
    }
}

fn sitting<S>((index, conn): (usize, &Conn<S>)) -> Option<Sitting> {
    let Phase::Subscribed(seat) = conn.phase else { return None };
    Some(Sitting { member: index as u32, seat, is_dying: conn.is_dead() })
}

impl<S: Socket> Crowd<S> {
    /// `leaving` if everybody is being sent away: then streams have deadlines, too.
    fn check_invariants(&self, leaving: bool) {
        let (mut streams, mut armed, mut dead, mut queued) = (0, 0, 0, 0);
        let mut first_ms = u64::MAX;
        for (index, conn) in self.conns.iter() {
            streams += usize::from(conn.is_stream());
            armed += usize::from(self.wheel.is_armed(index as u32));
            first_ms = first_ms.min(self.wheel.due(index as u32).unwrap_or(u64::MAX));
            dead += usize::from(conn.is_dead());
            queued += usize::from(conn.marks.has(Mark::Queued) && !conn.is_dead());
            self.check_conn(index as u32, conn, leaving);
        }
        assert_eq!(streams, self.streams, "somebody did not say that a stream began or ended");
        assert_eq!(armed, self.wheel.len(), "timers of connections that are gone");
        assert!(self.wheel.deadline().unwrap_or(u64::MAX) <= first_ms, "a timer would go off too late");
        assert_eq!(dead, self.dead.len(), "the dead are not those who will be buried");
        let awaited: Vec<u32> = self.again.iter().filter_map(|&id| self.find(id)).collect();
        assert_eq!(queued, awaited.len(), "somebody waits twice to be looked at again, or in vain");
        let mut halves: Vec<u32> = self.halves.iter().filter_map(|&id| self.find(id)).collect();
        halves.sort_unstable();
        assert!(halves.is_sorted_by(|one, other| one < other), "somebody is twice among the halves");
        for index in awaited {
            assert!(self[index].marks.has(Mark::Queued), "{index} does not know that it waits");
        }
    }

    fn check_conn(&self, index: u32, conn: &Conn<S>, leaving: bool) {
        conn.outbox.check_invariants(self.now.mono_ms());
        if let Some(input) = &conn.input {
            let is_needed = !input.bytes.is_empty() || input.progress.reader.is_some();
            assert!(is_needed || conn.is_dead(), "{index} keeps room for input that is not there");
        }
        if conn.is_dead() {
            return;
        }
        let due_ms = self.wheel.due(index);
        let may_be_silent = conn.is_stream() && (!conn.marks.has(Mark::PeerClosed) || leaving);
        assert!(may_be_silent || due_ms.is_some(), "{index} is a connection without a deadline");
        assert!(!may_be_silent || due_ms.is_none() || leaving, "{index} is a stream with a deadline");
        let most_ms = match conn.phase {
            Phase::Clock { .. } if !leaving => TICK_MS,
            Phase::Body(_) => self.limits.body_timeout_ms,
            Phase::Storing | Phase::Leaving => self.limits.write_timeout_ms,
            Phase::Lingering => self.limits.linger_ms,
            Phase::Head | Phase::Subscribed(_) | Phase::Echo | Phase::Clock { .. } => u64::MAX,
        };
        let left_ms = due_ms.map_or(0, |due_ms| due_ms.saturating_sub(self.now.mono_ms()));
        assert!(left_ms <= most_ms, "{index} has {left_ms} ms left, of {most_ms} ms");
        match conn.phase {
            Phase::Leaving => assert!(!conn.outbox.is_empty(), "{index} waits to leave for nothing"),
            Phase::Lingering => assert!(conn.outbox.is_empty(), "{index} says more behind its last word"),
            Phase::Subscribed(Seat::None) => {
                assert!(conn.marks.has(Mark::Websocket), "{index} listens to nothing");
            }
            _ => {}
        }
    }
}
