//! The engine: the server without the kernel.
//!
//! It owns the connections, the hub and the wheel. It knows a peer only as a non-blocking
//! [`Socket`], and time only as a number that is handed in. So the same code runs over the
//! kernel's sockets and over a test's.
//!
//! Its doors are few. *Inputs*: [`accept`](Engine::accept), [`ready`](Engine::ready),
//! [`publish`](Engine::publish), [`stored`](Engine::stored), [`shut_down`](Engine::shut_down),
//! [`end_turn`](Engine::end_turn).
//! *Time*: [`deadline`](Engine::deadline) says when [`advance`](Engine::advance) must run again.
//! *Outputs*: what is written to the sockets, the [`Stats`], and as long as the log is kept elsewhere
//! what is [`unstored`](Engine::unstored) and [`outdated`](Engine::outdated).
//!
//! Where to look: `conn` is a connection, `crowd` does things to all of them. `intake` turns bytes
//! into requests; `answers`, and for channels `channels`, turn plans into answers; `sockets` hears
//! what WebSockets say. `storing` has publishers wait for a log that takes time, and
//! `receipts` tell them when it is over. `timers` says what happens when time has passed, `walk` looks after those
//! who have no timer, `halves` after those who will say no more. `budget` and `addresses` say when
//! it is too much; `drain` says how the server leaves. `report` tells how it goes, in numbers from
//! `stats`.
//!
//! Invariants, checked after every door in debug builds (`invariants` lists them): every connection
//! that is no stream and not about to be buried has a timer; a connection sits in a seat exactly
//! while its phase says so; the budget's account is the sum of what connections hold.
//!
//! Knows: connections, phases, plans. Never learns epoll, files, or what time it is.

mod addresses;
mod answers;
mod budget;
mod channels;
mod conn;
mod courier;
mod crowd;
mod drain;
mod halves;
mod intake;
#[cfg(debug_assertions)]
mod invariants;
mod receipts;
mod report;
mod sockets;
mod stats;
mod storing;
#[cfg(test)]
mod tests;
mod timers;
mod walk;

use std::net::IpAddr;

use crate::config::{Pace, Settings};
use crate::dialect::gate::Gate;
use crate::dialect::pages::Shelf;
use crate::hub::Hub;
use crate::kit::clock::Now;
use crate::kit::id::ConnId;
use crate::transport::iframe::Tick;
use crate::wire::json::Publication;
use crate::wire::refusal::Refusal;

pub use conn::Socket;
pub use courier::Courier;
pub use stats::{Hangup, Stats};
pub use storing::{Stored, Unstored};

use addresses::Room;
use conn::{Mark, Phase};
use courier::Dispatch;
use crowd::Crowd;
use drain::Drain;
use storing::Storing;
use walk::Walk;

/// Connections beyond the most that are let in to hear that the server is full. Any more are dropped.
pub const LOUNGE: u32 = 64;

/// What the kernel says of a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// There is something to read: bytes, an end, or an error.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
    /// The peer will send no more. Nothing says so again.
    pub read_closed: bool,
}

/// Everything that comes and goes, counted. When everybody has left and everything is forgotten, all of it is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Connections.
    pub connections: usize,
    /// Subscribers that are no polls.
    pub streams: usize,
    /// Armed timers: of connections, of histories, of gathering channels, of tickers.
    pub timers: usize,
    /// Connections that are to be looked at again.
    pub again: usize,
    /// Seats taken, in all sections and beside them, and listeners to several channels.
    pub seats: usize,
    /// Channels.
    pub channels: usize,
    /// What all histories weigh.
    pub history_bytes: usize,
    /// What all connections hold.
    pub held_bytes: usize,
    /// What waits for the log.
    pub unstored_bytes: usize,
    /// Addresses remembered.
    pub addresses: usize,
    /// Subscribers whose peers closed their half.
    pub halves: usize,
}

/// A comet server, whatever its sockets are.
pub struct Engine<S> {
    crowd: Crowd<S>,
    hub: Hub,
    gate: Gate,
    shelf: Box<dyn Shelf>,
    tick: Tick,
    /// What is on its way to the log, if that takes time.
    storing: Option<Box<Storing>>,
    /// Where input is read to. Empty while it is being served.
    scratch: Vec<u8>,
    /// Where answers are put together.
    draft: Vec<u8>,
    /// What a native poll may wait, in milliseconds.
    poll_timeout_ms: u64,
    /// Whether `/lab/` is there.
    lab: bool,
    walk: Walk,
    pace: Pace,
    #[cfg(debug_assertions)]
    inspector: invariants::Inspector,
    began: Now,
    /// No new connections, no second requests.
    closing: bool,
    /// How far it has got in leaving.
    drain: Option<Drain>,
    /// How long leaving may take, in milliseconds.
    drain_ms: u64,
}

impl<S: Socket> Engine<S> {
    /// An engine without connections, whose log begins now.
    ///
    /// `seed` spreads what must not happen to everybody at once.
    pub fn new(settings: &Settings, shelf: Box<dyn Shelf>, seed: u64, now: Now) -> Self {
        let gate = Gate::new(&settings.hosts, &settings.origins).locked(settings.auth.publish_tokens());
        let limits = settings.limits.clone();
        Engine {
            hub: Hub::new(settings, now),
            tick: Tick::new(limits.padding_max),
            storing: None,
            crowd: Crowd::new(limits, gate.all_origin_lines(), seed, now),
            gate,
            shelf,
            scratch: vec![0; settings.pace.scratch_bytes],
            draft: Vec::new(),
            poll_timeout_ms: settings.poll_timeout_ms,
            lab: settings.lab,
            walk: Walk::new(settings.heartbeat_ms, settings.limits.write_timeout_ms),
            pace: settings.pace.clone(),
            #[cfg(debug_assertions)]
            inspector: invariants::Inspector::default(),
            began: now,
            closing: false,
            drain: None,
            drain_ms: settings.drain_ms,
        }
    }

    /// From now on, what goes to many sockets goes by this courier.
    pub fn employ(&mut self, courier: Box<dyn Courier>) {
        self.crowd.dispatch = Some(Dispatch::new(courier));
    }

    /// The name that the next accepted connection will have: a kernel wants to be told before.
    pub fn next_id(&self) -> ConnId {
        self.crowd.next_id()
    }

    /// A new connection. Beyond the most that are allowed, in all or from its address, it only hears
    /// that; and far beyond, it is dropped and this says so.
    pub fn accept(&mut self, socket: S, peer: Option<IpAddr>, now: Now) -> bool {
        self.crowd.tell_time(now);
        let most = self.crowd.limits.connections_max as usize;
        let room = self.crowd.addresses.room_for(peer);
        let may_stay = room == Room::Free && !self.closing;
        let full = self.crowd.living() >= most && !(may_stay && self.crowd.part_from_a_half());
        if full || self.closing {
            self.crowd.stats.turned_away += 1;
        } else if room != Room::Free {
            self.crowd.stats.address_turned_away += 1;
        }
        if self.closing || room == Room::None || self.crowd.living() >= most + LOUNGE as usize {
            return false;
        }
        let id = self.crowd.insert(socket, peer);
        self.crowd.stats.accepted += 1;
        log::debug!(connection:% = id, peer:? = peer; "accepted");
        if full {
            let limit = "as many connections are open as this server allows; try again later";
            self.refuse(id.index, Refusal::fatal(503, limit));
        } else if room == Room::Anteroom {
            let limit =
                "as many connections are open from this address as this server allows; close one first";
            self.refuse(id.index, Refusal::fatal(429, limit));
        } else {
            self.crowd.arm_in(id.index, self.crowd.limits.head_timeout_ms);
        }
        self.check_invariants();
        true
    }

    /// The kernel has something to say about a connection.
    pub fn ready(&mut self, id: ConnId, readiness: Readiness, now: Now) {
        self.crowd.tell_time(now);
        let Some(index) = self.crowd.find(id) else { return };
        if readiness.writable {
            self.flush(index);
        }
        if readiness.readable || readiness.read_closed {
            self.read(index, readiness.read_closed);
        }
        self.check_invariants();
    }

    /// Publishes to channels, all or none, like a client would. Returns the messages' ids: none yet, if the log
    /// is kept [elsewhere](Engine::log_elsewhere) and has to answer first.
    ///
    /// # Errors
    /// If a message is too long, a channel would be one too many, or too much waits for the log.
    pub fn publish(
        &mut self,
        publications: impl Into<Vec<Publication>>,
        now: Now,
    ) -> Result<Vec<u64>, Refusal> {
        self.crowd.tell_time(now);
        let published = self.publish_inside(publications.into());
        self.check_invariants();
        published
    }

    /// Does what is due: timers, a slice of every sweep, input that was left over, answers that were held back;
    /// and buries the dead. The last step of every turn.
    pub fn advance(&mut self, now: Now) {
        self.crowd.tell_time(now);
        self.fire_timers();
        self.tell_the_overdue();
        self.take_a_walk();
        self.hub.advance(now);
        self.hub.sweep(&mut self.crowd);
        for _ in 0..self.crowd.again.len().min(self.pace.again_per_turn) {
            let id = self.crowd.again.pop_front().expect("counted just before");
            if let Some(index) = self.crowd.find(id) {
                self.crowd[index].marks.clear(Mark::Queued);
                self.resume(index);
            }
        }
        while let Some(id) = self.crowd.held_back.pop() {
            if let Some(index) = self.crowd.find(id) {
                self.flush(index);
            }
        }
        self.drain_on();
        self.bury();
        self.check_invariants();
    }

    /// The turn that began with the last [`advance`](Engine::advance) is over, at `mono_us`. Only for the
    /// statistics: nothing depends on whether it is called.
    pub fn end_turn(&mut self, mono_us: u64) {
        let stats = &mut self.crowd.stats;
        stats.turns_us.count(mono_us.saturating_sub(self.crowd.now.mono_us));
        for (kind, published_us) in self.hub.take_served() {
            stats.latency_us[kind].count(mono_us.saturating_sub(published_us));
        }
    }

    /// When [`advance`](Engine::advance) has something to do, in microseconds of the monotonic
    /// clock; a moment in the past if it has something left to do; `None` if nothing is due ever.
    pub fn deadline(&self) -> Option<u64> {
        if self.hub.is_active() || !self.crowd.again.is_empty() || !self.crowd.held_back.is_empty() {
            return Some(0);
        }
        let timers = [
            self.crowd.wheel.deadline(),
            self.hub.deadline(),
            self.walk.deadline(&self.crowd),
            self.storing_deadline_ms(),
            self.drain_deadline_ms(),
        ];
        timers.into_iter().flatten().min().map(|ms| ms * 1_000)
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.crowd.len()
    }

    /// How much there is of everything that comes and goes.
    pub fn holdings(&self) -> Holdings {
        Holdings {
            connections: self.crowd.len(),
            streams: self.crowd.streams,
            timers: self.crowd.wheel.len() + self.hub.timers(),
            again: self.crowd.again.iter().filter(|id| self.crowd.find(**id).is_some()).count(),
            seats: self.hub.seats(),
            channels: self.hub.channels(),
            history_bytes: self.hub.history_bytes(),
            held_bytes: self.crowd.budget.held_bytes(),
            unstored_bytes: self.unstored_bytes(),
            addresses: self.crowd.addresses.len(),
            halves: self.crowd.halves.iter().filter(|id| self.crowd.find(**id).is_some()).count(),
        }
    }

    /// What happened so far.
    pub fn stats(&self) -> &Stats {
        &self.crowd.stats
    }

    fn bury(&mut self) {
        while let Some(conn) = self.crowd.bury_one() {
            if let Phase::Subscribed(seat) = conn.phase {
                self.hub.leave(seat, &mut self.crowd);
            }
        }
    }

    #[cfg(not(debug_assertions))]
    fn check_invariants(&mut self) {}
}
