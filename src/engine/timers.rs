//! Timers: what happens when time has passed.
//!
//! Every connection has one timer; its phase says what it means. Here the clock ticks: a tick
//! is *made* by [`Tick`](crate::transport::iframe::Tick), once per second, and *written* by
//! [`Crowd::send`](super::crowd::Crowd::send), once per connection.
//!
//! Knows: phases and deadlines. Never learns what the peer asked for.

use crate::transport::{Framing, long_poll};
use crate::wire::refusal::Refusal;
use crate::wire::websocket::CloseCode;

use super::Engine;
use super::conn::{Input, Mark, Phase, Socket};
use super::stats::Hangup;

/// Between two ticks of a connection.
pub(super) const TICK_MS: u64 = 1_000;

impl<S: Socket> Engine<S> {
    pub(super) fn fire_timers(&mut self) {
        for _ in 0..self.pace.fired_per_turn {
            let Some((index, due_ms)) = self.crowd.wheel.pop(self.crowd.now.mono_ms()) else { return };
            if !self.crowd[index].is_dead() {
                self.fire(index, due_ms);
            }
        }
    }

    fn fire(&mut self, index: u32, due_ms: u64) {
        let limits = &self.crowd.limits;
        let conn = &self.crowd[index];
        let stalled_ms = conn.outbox.stalled_ms(self.crowd.now.mono_ms());
        if stalled_ms >= limits.write_timeout_ms {
            return self.crowd.hang_up(index, Hangup::Stalled);
        }
        let until_stalled_ms = limits.write_timeout_ms - stalled_ms;
        match conn.phase {
            Phase::Clock { .. } | Phase::Subscribed(_) if self.bids_farewell() => self.part_at_once(index),
            Phase::Clock { padding } => self.send_tick(index, due_ms, padding),
            Phase::Subscribed(seat) if *self.hub.framing(seat) == Framing::Chat => {
                self.keep_poll_alive(index)
            }
            Phase::Subscribed(_) if conn.marks.has(Mark::Polls) => self.end_poll(index),
            // A stream whose peer closed its half, and has had a moment to show that it still reads.
            Phase::Subscribed(_) => self.part_from(index, Hangup::Left),
            Phase::Echo => self.close_socket(index, CloseCode::GOING_AWAY, "nothing came for too long"),
            Phase::Head if conn.input.as_ref().is_some_and(|input| input.progress.scan.started()) => {
                let line = |input: &Input| input.progress.scan.request_line(&input.bytes).to_vec();
                let line = conn.input.as_deref().map(line).unwrap_or_default();
                self.crowd.stats.timed_out += 1;
                let refusal = Refusal::fatal(408, "the head of the request did not come to its end in time");
                self.refuse_head(index, &line, refusal);
            }
            Phase::Head if conn.outbox.is_empty() => self.crowd.hang_up(index, Hangup::Idle),
            Phase::Body(_) => {
                self.crowd.stats.timed_out += 1;
                self.refuse(
                    index,
                    Refusal::fatal(408, "the body of the request did not come to its end in time"),
                );
            }
            Phase::Head | Phase::Storing | Phase::Leaving => self.crowd.arm_in(index, until_stalled_ms),
            Phase::Lingering => self.crowd.hang_up(index, Hangup::Done),
        }
    }

    /// One more tick, unless the reader has not taken the last one yet: then it gets the next,
    /// and never two at a time.
    fn send_tick(&mut self, index: u32, due_ms: u64, padding: u16) {
        // Beats that were missed while the process could not run are skipped, not bunched.
        let late_ms = self.crowd.now.mono_ms() - due_ms;
        let beat_ms = due_ms + late_ms - late_ms % TICK_MS;
        if self.crowd[index].outbox.is_empty() {
            let unix_s = self.second_of(beat_ms);
            self.crowd.stats.ticks += 1;
            self.crowd.send(index, self.tick.bytes(unix_s, usize::from(padding)));
        } else {
            self.crowd.stats.ticks_skipped += 1;
        }
        self.arm_next_tick(index, beat_ms);
    }

    /// What a tick that is due at `due_ms` says: that moment's second, not this one's. So a late
    /// turn can neither skip a second nor say one twice.
    pub(super) fn second_of(&self, due_ms: u64) -> u64 {
        self.crowd.now.unix_us_at(due_ms) / 1_000_000
    }

    /// Re-armed from when the last one was due, never from now: no drift.
    pub(super) fn arm_next_tick(&mut self, index: u32, due_ms: u64) {
        self.crowd.wheel.arm(index, due_ms + TICK_MS);
    }

    /// One more space for a held poll: it keeps the connection alive on its way, and if nobody
    /// is there any more, the kernel will say so.
    pub(super) fn keep_poll_alive(&mut self, index: u32) {
        // Who has not taken what came before needs no space; and a head that is not sent has not begun.
        if self.crowd[index].outbox.is_empty() {
            let manner = self.crowd[index].manner();
            self.draft.clear();
            if manner.begun {
                long_poll::space(manner, &mut self.draft);
            } else {
                long_poll::begin(manner, &self.crowd.date, &mut self.draft);
                self.crowd[index].marks.set(Mark::Begun);
            }
            self.crowd.send(index, &self.draft);
        }
        self.crowd.arm_in(index, self.crowd.limits.poll_space_ms);
    }
}
