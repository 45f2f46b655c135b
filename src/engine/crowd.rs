//! The crowd: all connections, and what can be done to any of them.
//!
//! Writing, arming the one timer, parting. It decides nothing: what to write and when to part
//! is for the files beside it.
//!
//! Knows: slots, sockets, the wheel. Never learns channels; to the hub it is its `Members`.

use std::collections::VecDeque;
use std::ops::{Index, IndexMut};
use std::rc::Rc;

use slab::Slab;

use crate::config::Limits;
use crate::hub::{Members, Push, Seat};
use crate::kit::clock::Now;
use crate::kit::frame::Frame;
use crate::kit::id::ConnId;
use crate::kit::outbox::Sent;
use crate::kit::wheel::Wheel;
use crate::transport::Batch;
use crate::transport::long_poll::Answers;
use crate::wire::http::DateLine;

use super::conn::{Conn, Mark, Phase, Socket};
use super::stats::{Hangup, Stats};

/// All connections.
pub(super) struct Crowd<S> {
    pub(super) conns: Slab<Conn<S>>,
    /// One timer per connection, keyed by its slot. What it means, the phase says.
    pub(super) wheel: Wheel,
    /// Who has to be looked at again though no readiness will come: there is input left to
    /// serve. Each once. May name the dead.
    pub(super) again: VecDeque<ConnId>,
    /// Who is buried at the end of the turn, each once.
    pub(super) dead: Vec<u32>,
    /// The moment of the door that is being served.
    pub(super) now: Now,
    pub(super) date: DateLine,
    pub(super) limits: Limits,
    pub(super) stats: Stats,
    next_generation: u32,
    /// What allows other origins to read answers, by their number.
    pub(super) origin_lines: Rc<[Vec<u8>]>,
    /// How many streams there are: subscribers that are no polls.
    pub(super) streams: usize,
    slots_used: u32,
    /// The state of the dice.
    seed: u64,
}

impl<S: Socket> Crowd<S> {
    pub(super) fn new(limits: Limits, origin_lines: Rc<[Vec<u8>]>, seed: u64, now: Now) -> Self {
        Crowd {
            // Address space, not memory: pages are touched as connections come, and nothing is
            // ever moved.
            conns: Slab::with_capacity(limits.connections_max as usize),
            wheel: Wheel::new(now.mono_ms()),
            again: VecDeque::new(),
            dead: Vec::new(),
            now,
            date: DateLine::at(now.unix_s()),
            limits,
            stats: Stats::default(),
            next_generation: 0,
            origin_lines,
            streams: 0,
            slots_used: 0,
            seed: seed | 1,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.conns.len()
    }

    /// Every door says first what time it is.
    pub(super) fn tell_time(&mut self, now: Now) {
        self.now = now;
        self.wheel.wind(now.mono_ms());
        self.date.advance(now.unix_s());
    }

    /// The name of the next connection.
    pub(super) fn next_id(&self) -> ConnId {
        ConnId { index: self.conns.vacant_key() as u32, generation: self.next_generation }
    }

    pub(super) fn insert(&mut self, socket: S) -> ConnId {
        let id = self.next_id();
        // All ones is left to the reactor: it needs names for what is not a connection.
        self.next_generation = (self.next_generation + 1) % u32::MAX;
        self.conns.insert(Conn::new(socket, id.generation));
        self.slots_used = self.slots_used.max(id.index + 1);
        id
    }

    /// The slot of a connection that is still there.
    pub(super) fn find(&self, id: ConnId) -> Option<u32> {
        let conn = self.conns.get(id.index as usize)?;
        (conn.generation == id.generation && !conn.is_dead()).then_some(id.index)
    }

    pub(super) fn id(&self, index: u32) -> ConnId {
        ConnId { index, generation: self[index].generation }
    }

    /// All slots in use.
    pub(super) fn indices(&self) -> Vec<u32> {
        self.conns.iter().map(|(index, _)| index as u32).collect()
    }

    /// Sets the connection's timer, in milliseconds from now.
    pub(super) fn arm_in(&mut self, index: u32, ms: u64) {
        self.wheel.arm(index, self.now.mono_ms() + ms);
    }

    /// Sends bytes, or keeps what the kernel does not take.
    ///
    /// Hot: runs once per delivery. One `write`; no allocation as long as the kernel takes it all.
    pub(super) fn send(&mut self, index: u32, bytes: &[u8]) {
        let now_ms = self.now.mono_ms();
        let conn = &mut self[index];
        if conn.is_dead() {
            return;
        }
        if conn.outbox.send(&mut conn.socket, bytes, now_ms) == Sent::Broken {
            self.hang_up(index, Hangup::Reset);
        }
    }

    /// Sends a head and a shared body.
    pub(super) fn send_frame(&mut self, index: u32, head: &[u8], body: &Frame) {
        let now_ms = self.now.mono_ms();
        let conn = &mut self[index];
        if conn.outbox.send_frame(&mut conn.socket, head, body, now_ms) == Sent::Broken {
            self.hang_up(index, Hangup::Reset);
        }
    }

    /// The answer is with the outbox: go on with the next request, or part.
    pub(super) fn end_exchange(&mut self, index: u32, keep_alive: bool) {
        if self[index].is_dead() {
            return;
        }
        if keep_alive {
            self[index].phase = Phase::Head;
            self.await_request(index);
        } else {
            self.leave(index);
        }
    }

    /// Sets the timer of a connection that may ask next.
    pub(super) fn await_request(&mut self, index: u32) {
        let unsent = !self[index].outbox.is_empty();
        let ms = if unsent { self.limits.write_timeout_ms } else { self.limits.idle_timeout_ms };
        self.arm_in(index, ms);
    }

    /// Nothing more will be said after what is in the outbox.
    pub(super) fn leave(&mut self, index: u32) {
        if self[index].is_dead() {
            return;
        }
        self.streams -= usize::from(self[index].is_stream());
        self[index].phase = Phase::Leaving;
        self[index].input = None;
        if self[index].outbox.is_empty() {
            self.linger(index);
        } else {
            self.arm_in(index, self.limits.write_timeout_ms);
        }
    }

    /// Everything is said and sent. Whoever closes a socket with unread input resets it, and
    /// the peer may lose the answer; so read on for a moment (RFC 9112 §9.6).
    pub(super) fn linger(&mut self, index: u32) {
        if self[index].marks.has(Mark::PeerClosed) {
            return self.hang_up(index, Hangup::Done);
        }
        self[index].socket.shutdown_write();
        self[index].phase = Phase::Lingering;
        self.arm_in(index, self.limits.linger_ms);
    }

    /// The end. The socket closes when the turn is over, so that no event of this turn can
    /// meet the slot's next tenant.
    pub(super) fn hang_up(&mut self, index: u32, why: Hangup) {
        if self[index].marks.set(Mark::Dead) {
            return;
        }
        self.stats.count_hangup(why);
        self.dead.push(index);
        log::debug!(connection:% = self.id(index), reason:? = why; "hung up");
    }

    /// Has the connection looked at again in the next turn.
    pub(super) fn look_again(&mut self, index: u32) {
        let id = self.id(index);
        if !self[index].marks.set(Mark::Queued) {
            self.again.push_back(id);
        }
    }

    /// A subscriber that is no poll has no deadline: the walk looks after it.
    pub(super) fn join_streams(&mut self, index: u32) {
        if self[index].is_stream() {
            self.wheel.cancel(index);
            self.streams += 1;
        }
    }

    /// A number below `sides`, for spreading things (xorshift; nobody is kept out by it).
    pub(super) fn dice(&mut self, sides: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % sides
    }

    /// The slots from `from` on, at most `count` of them, that are in use; and the slot behind them.
    pub(super) fn some_from(&self, from: u32, count: u32) -> (Vec<u32>, u32) {
        let end = from.saturating_add(count);
        ((from..end).filter(|&index| self.conns.contains(index as usize)).collect(), end)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Conn<S>> {
        self.conns.iter().map(|(_, conn)| conn)
    }

    /// How many slots were ever in use.
    pub(super) fn slots(&self) -> u32 {
        self.slots_used
    }

    /// The kernel finds out that a peer is gone.
    #[cfg(test)]
    pub(super) fn hang_up_for_test(&mut self, id: ConnId) {
        if let Some(index) = self.find(id) {
            self.hang_up(index, Hangup::Reset);
        }
    }

    /// Takes one of the dead out of its slot.
    pub(super) fn bury_one(&mut self) -> Option<Conn<S>> {
        let index = self.dead.pop()?;
        self.wheel.cancel(index);
        let conn = self.conns.remove(index as usize);
        self.streams -= usize::from(conn.is_stream());
        Some(conn)
    }
}

impl<S> Index<u32> for Crowd<S> {
    type Output = Conn<S>;

    fn index(&self, index: u32) -> &Conn<S> {
        &self.conns[index as usize]
    }
}

impl<S> IndexMut<u32> for Crowd<S> {
    fn index_mut(&mut self, index: u32) -> &mut Conn<S> {
        &mut self.conns[index as usize]
    }
}

impl<S: Socket> Members for Crowd<S> {
    /// Hot: runs once per delivery. No allocation as long as the kernel takes it all.
    fn push(&mut self, member: u32, batch: &Batch) -> Push {
        let now_ms = self.now.mono_ms();
        let conn = &mut self[member];
        if conn.is_dead() {
            return Push::Gone;
        }
        if !conn.outbox.is_empty() {
            return Push::Refused;
        }
        let bytes = &batch.bytes;
        let sent = conn.outbox.offer(&mut conn.socket, bytes, |sent| batch.cut_at(sent).end, now_ms);
        conn.marks.set(Mark::Spoke);
        self.stats.sends += 1;
        match sent {
            Ok(sent) if sent == bytes.len() => {
                self.stats.deliveries += batch.len() as u64;
                self.stats.bytes += sent as u64;
                Push::All
            }
            Ok(sent) => {
                self.stats.bytes += sent as u64;
                self.stats.blocked += 1;
                Push::Cut(batch.cut_at(sent).cursor)
            }
            Err(_) => {
                self.hang_up(member, Hangup::Reset);
                Push::Gone
            }
        }
    }

    fn tell(&mut self, member: u32, bytes: &[u8]) {
        self.send(member, bytes);
    }

    /// Hot: runs once per answered poll.
    fn answer(&mut self, member: u32, answers: &mut Answers) {
        let conn = &mut self[member];
        conn.phase = Phase::Head;
        if conn.is_dead() {
            return;
        }
        let manner = conn.manner();
        let has_more = conn.has_unserved_input();
        self.stats.deliveries += 1;
        self.stats.sends += 1;
        let bytes = answers.bytes(manner, &self.date, &self.origin_lines[usize::from(manner.origin)]);
        self.stats.bytes += bytes.len() as u64;
        self.send(member, bytes);
        self.end_exchange(member, manner.survives());
        if has_more {
            self.look_again(member);
        }
    }

    fn reseat(&mut self, member: u32, seat: Seat) {
        self[member].phase = Phase::Subscribed(seat);
    }

    fn look_again(&mut self, member: u32) {
        Crowd::look_again(self, member);
    }

    fn part_from_slow(&mut self, member: u32) {
        self.hang_up(member, Hangup::TooSlow);
    }
}
