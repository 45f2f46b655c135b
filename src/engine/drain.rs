//! Leaving well: the server was told to stop, and nothing that was promised is lost by it.
//!
//! Three stages. *Requests* that had begun are heard to their end, and what they publish is stored.
//! Then *sweeps* go to their end, so that everybody is offered all that was ever answered with a
//! 201. Only then come the *farewells*: each subscriber that has everything is told when to come back, or, on a
//! transport that has no word for it, is let go at a moment of its own; so they do not all fall
//! upon the successor at once. Whoever is too slow to take his rest has until the drain time is over.
//!
//! Knows: phases, one span of time. Never learns signals, or who comes after us.

use crate::kit::clock::Now;
use crate::kit::id::ConnId;
use crate::transport::{Framing, event_stream};
use crate::wire::refusal::Refusal;
use crate::wire::websocket::CloseCode;

use super::Engine;
use super::conn::{Mark, Phase, Socket};
use super::stats::Hangup;

/// Slots past which the farewells come in one turn.
const FAREWELLS_PER_TURN: u32 = 256;

/// How far the server has got in leaving.
pub(super) struct Drain {
    stage: Stage,
    /// When requests that are still on their way are given up, in milliseconds of the monotonic clock: what they
    /// publish must still find somebody to hear it.
    requests_until_ms: u64,
    /// The last moment at which somebody is let go who still has to be able to read his end.
    farewells_until_ms: u64,
    /// When whoever is still there is hung up on. Sweeps and farewells that have not ended by then end first:
    /// they depend on nobody.
    ends_ms: u64,
}

enum Stage {
    /// These had begun to ask for something.
    Requests(Vec<ConnId>),
    /// Nothing is published any more.
    Sweeps,
    /// Whoever is in front of this slot has been thought of.
    Farewells { next_slot: u32 },
}

impl Drain {
    fn new(begun: Vec<ConnId>, span_ms: u64, now: Now) -> Self {
        let now_ms = now.mono_ms();
        Drain {
            stage: Stage::Requests(begun),
            requests_until_ms: now_ms + span_ms * 2 / 3,
            farewells_until_ms: now_ms + span_ms * 5 / 6,
            ends_ms: now_ms + span_ms,
        }
    }

    /// Whether what is published now would come too late to be heard by everybody.
    fn is_deaf(&self) -> bool {
        !matches!(self.stage, Stage::Requests(_))
    }

    fn bids_farewell(&self) -> bool {
        matches!(self.stage, Stage::Farewells { .. })
    }

    /// When something is to be done, in milliseconds of the monotonic clock.
    fn deadline_ms(&self, slots: u32, is_storing: bool) -> u64 {
        match &self.stage {
            Stage::Requests(begun) if begun.is_empty() && !is_storing => 0,
            Stage::Requests(_) => self.requests_until_ms,
            Stage::Sweeps => 0,
            Stage::Farewells { next_slot } if *next_slot < slots => 0,
            Stage::Farewells { .. } => self.ends_ms,
        }
    }
}

impl<S: Socket> Engine<S> {
    /// Leaves: no new connections, and no request that has not begun. What was begun is finished, what was
    /// published is delivered, and everybody is told when to come back. After the
    /// [drain time](crate::config::Settings::drain_ms) at the latest, unless a sweep takes longer,
    /// [`connections`](Engine::connections) is zero.
    pub fn shut_down(&mut self, now: Now) {
        self.crowd.tell_time(now);
        if std::mem::replace(&mut self.closing, true) {
            return;
        }
        let everybody = self.crowd.indices();
        // What has arrived had begun, whether or not its readiness has been told yet.
        everybody.iter().for_each(|&index| self.read_the_last(index));
        let mut begun = everybody;
        begun.retain(|&index| self.ends_with_this_request(index));
        let begun: Vec<ConnId> = begun.into_iter().map(|index| self.crowd.id(index)).collect();
        self.hub.hush();
        self.drain = Some(Drain::new(begun, self.drain_ms, now));
        self.drain_on();
        self.bury();
        self.check_invariants();
    }

    fn read_the_last(&mut self, index: u32) {
        let conn = &mut self.crowd[index];
        // Whatever is answered from now on is the last answer, and says so.
        conn.marks.clear(Mark::KeepAlive);
        let may_ask = match conn.phase {
            Phase::Head | Phase::Body(_) => true,
            Phase::Subscribed(_) => conn.marks.has(Mark::Websocket),
            Phase::Clock { .. } | Phase::Storing | Phase::Echo | Phase::Leaving | Phase::Lingering => false,
        };
        if may_ask {
            self.read(index, false);
        }
    }

    /// Parts from a connection that does not ask for anything. Returns whether it does.
    fn ends_with_this_request(&mut self, index: u32) -> bool {
        let conn = &self.crowd[index];
        let asks = conn.is_asking();
        if !asks && matches!(conn.phase, Phase::Head) {
            self.part(index);
        }
        asks
    }

    /// Goes on with leaving, as far as one turn goes.
    pub(super) fn drain_on(&mut self) {
        let now_ms = self.crowd.now.mono_ms();
        let is_storing = self.is_storing();
        let Some(drain) = &mut self.drain else { return };
        if let Stage::Requests(begun) = &mut drain.stage {
            let crowd = &self.crowd;
            begun.retain(|&id| crowd.find(id).is_some_and(|index| crowd[index].is_asking()));
            if begun.is_empty() && !is_storing || now_ms >= drain.requests_until_ms {
                drain.stage = Stage::Sweeps;
                self.tell_all_who_wait();
            }
        }
        let Some(drain) = &mut self.drain else { return };
        if matches!(drain.stage, Stage::Sweeps) && !self.hub.is_active() {
            drain.stage = Stage::Farewells { next_slot: 0 };
        }
        let Stage::Farewells { next_slot } = &mut drain.stage else { return };
        let slots = self.crowd.slots();
        if *next_slot < slots {
            let first = *next_slot;
            let next = first.saturating_add(FAREWELLS_PER_TURN).min(slots);
            *next_slot = next;
            for index in first..next {
                if self.crowd.is_taken(index) {
                    self.part(index);
                }
            }
        } else if now_ms >= drain.ends_ms {
            self.crowd.indices().into_iter().for_each(|index| self.crowd.hang_up(index, Hangup::ShutDown));
        }
    }

    /// When the next thing is to be done about leaving, in milliseconds of the monotonic clock.
    pub(super) fn drain_deadline_ms(&self) -> Option<u64> {
        let drain = self.drain.as_ref().filter(|_| self.crowd.len() > 0)?;
        Some(drain.deadline_ms(self.crowd.slots(), self.is_storing()))
    }

    /// Whether everybody is being sent away.
    pub(super) fn bids_farewell(&self) -> bool {
        self.drain.as_ref().is_some_and(Drain::bids_farewell)
    }

    /// Refuses to publish what could not be delivered any more.
    pub(super) fn check_not_deaf(&self) -> Result<(), Refusal> {
        if self.drain.as_ref().is_some_and(Drain::is_deaf) { Err(stopping()) } else { Ok(()) }
    }

    /// The same for a command that a WebSocket sends now: it is too late unless it had begun before.
    pub(super) fn check_had_begun(&self, index: u32) -> Result<(), Refusal> {
        match &self.drain {
            Some(Drain { stage: Stage::Requests(begun), .. }) if begun.contains(&self.crowd.id(index)) => {
                Ok(())
            }
            Some(_) => Err(stopping()),
            None => Ok(()),
        }
    }

    /// Parts from a peer as politely as its phase allows, or sees to it that this happens at a moment of its own.
    pub(super) fn part(&mut self, index: u32) {
        let conn = &self.crowd[index];
        match conn.phase {
            _ if conn.is_dead() => {}
            Phase::Head if conn.is_asking() => {}
            Phase::Head if conn.outbox.is_empty() => self.crowd.hang_up(index, Hangup::ShutDown),
            Phase::Head => self.crowd.leave(index),
            // Their end is near as it is.
            Phase::Body(_) | Phase::Storing | Phase::Leaving | Phase::Lingering => {}
            Phase::Echo => self.part_at_once(index),
            Phase::Subscribed(_) if conn.is_stream() => self.part_when_complete(index),
            Phase::Subscribed(_) | Phase::Clock { .. } => self.part_at_its_moment(index),
        }
    }

    /// Sends a stream away that has everything. One that has not is looked at again when it can take more.
    fn part_when_complete(&mut self, index: u32) {
        let Phase::Subscribed(seat) = self.crowd[index].phase else { return };
        if !self.crowd[index].outbox.is_empty() || self.hub.vouch(seat).is_none() {
            // Nor does a peer that only reads any more lose what it lacks.
            self.crowd.wheel.cancel(index);
            return;
        }
        match self.hub.framing(seat) {
            Framing::Events { .. } | Framing::Websocket => self.part_at_once(index),
            _ => self.part_at_its_moment(index),
        }
    }

    /// A transport that cannot say when to come back, or a client that comes back at once: what spreads them is
    /// when they are let go.
    fn part_at_its_moment(&mut self, index: u32) {
        let Some(drain) = &self.drain else { return };
        let left_ms = drain.farewells_until_ms.saturating_sub(self.crowd.now.mono_ms());
        let moment_ms = self.crowd.dice(left_ms + 1);
        self.crowd.arm_in(index, moment_ms);
    }

    /// The moment of a connection has come.
    pub(super) fn part_at_once(&mut self, index: u32) {
        let conn = &self.crowd[index];
        match conn.phase {
            Phase::Echo => {
                let reason = self.retry_reason();
                self.close_socket(index, CloseCode::GOING_AWAY, &reason);
            }
            Phase::Clock { .. } => self.crowd.leave(index),
            Phase::Subscribed(seat) => match self.hub.framing(seat).clone() {
                // Neither an empty answer nor none: the page takes the end of the connection for what it is.
                Framing::Chat => self.crowd.hang_up(index, Hangup::ShutDown),
                Framing::Poll => self.end_poll(index),
                // What it lacks comes first.
                _ if !conn.outbox.is_empty() || self.hub.vouch(seat).is_none() => {}
                Framing::Websocket => {
                    let reason = self.retry_reason();
                    self.close_socket(index, CloseCode::GOING_AWAY, &reason);
                }
                Framing::Events { .. } => {
                    let retry_ms = self.retry_ms();
                    self.draft.clear();
                    event_stream::end(retry_ms, &mut self.draft);
                    self.say_last(index);
                }
                Framing::Ndjson | Framing::Iframe(_) => {
                    self.draft.clear();
                    self.say_last(index);
                }
            },
            _ => {}
        }
    }

    /// When one of them may come back, in milliseconds: not before a successor can be there, and each at its
    /// own moment.
    fn retry_ms(&mut self) -> u64 {
        let span_ms = self.drain_ms;
        let floor_ms = span_ms / 3;
        floor_ms + self.crowd.dice(span_ms - floor_ms + 1)
    }

    fn retry_reason(&mut self) -> String {
        format!("{{\"retry\":{}}}", self.retry_ms())
    }
}

fn stopping() -> Refusal {
    Refusal::new(503, "the server is stopping; publish again to the one that comes after it")
}
