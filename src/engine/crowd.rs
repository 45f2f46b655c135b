//! The crowd: all connections, and what can be done to any of them.
//!
//! Writing, arming the one timer, parting. It decides nothing: what to write and when to part
//! is for the files beside it.
//!
//! Knows: slots, sockets, the wheel. Never learns channels; to the hub it is its `Members`.

use std::collections::VecDeque;
use std::hint::black_box;
use std::io;
use std::net::IpAddr;
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

use super::LOUNGE;
use super::addresses::Addresses;
use super::budget::Budget;
use super::conn::{Conn, Mark, Phase, Socket};
use super::courier::Dispatch;
use super::stats::{Hangup, Stats};

/// Slots of those who had to make room in this turn, and are buried when it is over.
const ROOM_FOR_THE_DEAD: u32 = 1_024;

/// Members that are written to together: enough that what is known of them comes into the cache while nothing else
/// happens, and few enough that it is still there when the last of them gets his.
const COMPANY: usize = 32;

/// All connections.
pub(super) struct Crowd<S> {
    pub(super) conns: Slab<Conn<S>>,
    /// One timer per connection, keyed by its slot. What it means, the phase says.
    pub(super) wheel: Wheel,
    /// Who has to be looked at again though no readiness will come: there is input left to
    /// serve. Each once. May name the dead.
    pub(super) again: VecDeque<ConnId>,
    /// Whose answers are held back until the sweeps have had their turn. May name the dead.
    pub(super) held_back: Vec<ConnId>,
    /// Who is buried at the end of the turn, each once.
    pub(super) dead: Vec<u32>,
    /// Subscribers whose peers have closed their half, in that order. May name the dead.
    pub(super) halves: VecDeque<ConnId>,
    /// The moment of the door that is being served.
    pub(super) now: Now,
    pub(super) date: DateLine,
    pub(super) limits: Limits,
    pub(super) stats: Stats,
    /// What all connections hold.
    pub(super) budget: Budget,
    /// Where they come from.
    pub(super) addresses: Addresses,
    next_generation: u32,
    /// What allows other origins to read answers, by their number.
    pub(super) origin_lines: Rc<[Vec<u8>]>,
    /// How many streams there are: subscribers that are no polls.
    pub(super) streams: usize,
    /// Somebody was sent more than his kernel would take, since the walk last began a round.
    pub(super) has_blocked: bool,
    slots_used: u32,
    /// The state of the dice.
    seed: u64,
    /// Who writes to many, if not the crowd itself.
    pub(super) dispatch: Option<Dispatch>,
}

impl<S: Socket> Crowd<S> {
    pub(super) fn new(limits: Limits, origin_lines: Rc<[Vec<u8>]>, seed: u64, now: Now) -> Self {
        Crowd {
            // Address space, not memory: pages are touched as connections come, and nothing is
            // ever moved.
            conns: Slab::with_capacity((limits.connections_max + LOUNGE + ROOM_FOR_THE_DEAD) as usize),
            wheel: Wheel::new(now.mono_ms()),
            again: VecDeque::new(),
            held_back: Vec::new(),
            dead: Vec::new(),
            halves: VecDeque::new(),
            now,
            date: DateLine::at(now.unix_s()),
            budget: Budget::new(limits.connection_budget_bytes_max),
            addresses: Addresses::new(&limits),
            limits,
            stats: Stats::default(),
            next_generation: 0,
            origin_lines,
            streams: 0,
            has_blocked: false,
            slots_used: 0,
            seed: seed | 1,
            dispatch: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.conns.len()
    }

    /// How many are not about to be buried.
    pub(super) fn living(&self) -> usize {
        self.conns.len() - self.dead.len()
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

    pub(super) fn insert(&mut self, socket: S, peer: Option<IpAddr>) -> ConnId {
        let id = self.next_id();
        // All ones is left to the reactor: it needs names for what is not a connection.
        self.next_generation = (self.next_generation + 1) % u32::MAX;
        self.conns.insert(Conn::new(socket, id.generation));
        self.slots_used = self.slots_used.max(id.index + 1);
        self.addresses.arrive(id.index, peer, self.now);
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
        let before = conn.outbox.held_bytes();
        let sent = conn.outbox.send(&mut conn.socket, bytes, now_ms);
        if sent != Sent::All {
            self.not_all_sent(index, sent, before);
        }
    }

    /// Sends bytes, but not before the sweeps have had their turn.
    pub(super) fn send_behind_sweeps(&mut self, index: u32, bytes: &[u8]) {
        let (id, now_ms) = (self.id(index), self.now.mono_ms());
        let outbox = &mut self[index].outbox;
        let before = outbox.held_bytes();
        // Who has something unsent already is on the list, or will be told that there is room.
        let is_first = outbox.is_empty();
        outbox.hold(bytes, now_ms);
        if is_first {
            self.held_back.push(id);
        }
        self.recount_outbox(index, before);
    }

    /// Sends a head and a shared body.
    pub(super) fn send_frame(&mut self, index: u32, head: &[u8], body: &Frame) {
        let now_ms = self.now.mono_ms();
        let conn = &mut self[index];
        let before = conn.outbox.held_bytes();
        let sent = conn.outbox.send_frame(&mut conn.socket, head, body, now_ms);
        if sent != Sent::All {
            self.not_all_sent(index, sent, before);
        }
    }

    /// What the outbox held `before` is no longer what it holds.
    fn not_all_sent(&mut self, index: u32, sent: Sent, before: usize) {
        if sent == Sent::Broken {
            self.hang_up(index, Hangup::Reset);
        } else {
            self.has_blocked = true;
            self.recount_outbox(index, before);
        }
    }

    /// Sends more of what the kernel did not take before.
    pub(super) fn flush(&mut self, index: u32) -> Sent {
        let now_ms = self.now.mono_ms();
        let conn = &mut self[index];
        let before = conn.outbox.held_bytes();
        let sent = conn.outbox.flush(&mut conn.socket, now_ms);
        self.recount_outbox(index, before);
        sent
    }

    fn recount_outbox(&mut self, index: u32, before: usize) {
        let after = self[index].outbox.held_bytes();
        self.recount(before, after);
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
        let conn = &mut self[index];
        let before = conn.held_bytes();
        conn.phase = Phase::Leaving;
        conn.input = None;
        let after = conn.held_bytes();
        self.recount(before, after);
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
        self.let_go_of_what_is_held_back(index);
        if self[index].marks.set(Mark::Dead) {
            return;
        }
        self.stats.count_hangup(why);
        self.dead.push(index);
        self.release(index);
        log::debug!(connection:% = self.id(index), reason:? = why; "hung up");
    }

    /// What was only held back out of courtesy is not lost with its connection.
    fn let_go_of_what_is_held_back(&mut self, index: u32) {
        let id = self.id(index);
        if let Some(nth) = self.held_back.iter().position(|held| *held == id) {
            self.held_back.swap_remove(nth);
            self.flush(index);
        }
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

    /// Whether somebody is in a slot.
    pub(super) fn is_taken(&self, index: u32) -> bool {
        self.conns.contains(index as usize)
    }

    /// All connections, with their slots.
    pub(super) fn occupied(&self) -> impl Iterator<Item = (u32, &Conn<S>)> {
        self.conns.iter().map(|(index, conn)| (index as u32, conn))
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

    /// Hot: the loop of a delivery. One `write`; no allocation as long as the kernel takes it all.
    ///
    /// A write throws everything out of the nearest cache. So all connections are looked at first, when
    /// what is known of the next one can be fetched while this one is looked at.
    fn push_to_company(
        &mut self,
        members: &[u32],
        first: usize,
        batch: &Batch,
        late: &mut Vec<(usize, Push)>,
    ) {
        black_box(members.iter().filter(|&&member| self.refusal_of(member).is_some()).count());
        for (nth, &member) in members.iter().enumerate() {
            if let Some(became) = self.refusal_of(member) {
                late.push((first + nth, became));
                continue;
            }
            match self[member].socket.write(&batch.bytes) {
                Ok(sent) if sent == batch.bytes.len() => {}
                wrote => late.push((first + nth, self.push_late(member, batch, wrote))),
            }
            // Whoever is only read from costs less than whoever is written to.
            if !self[member].marks.has(Mark::Spoke) {
                self[member].marks.set(Mark::Spoke);
            }
        }
    }

    /// Why nothing can be written to somebody now, if so.
    pub(super) fn refusal_of(&self, member: u32) -> Option<Push> {
        let conn = &self[member];
        if conn.is_dead() { Some(Push::Gone) } else { (!conn.outbox.is_empty()).then_some(Push::Refused) }
    }

    /// What becomes of a push whose first write did not take all.
    #[cold]
    pub(super) fn push_late(&mut self, member: u32, batch: &Batch, wrote: io::Result<usize>) -> Push {
        let now_ms = self.now.mono_ms();
        let conn = &mut self[member];
        let kept = conn.outbox.follow_up(
            &mut conn.socket,
            &batch.bytes,
            wrote,
            |sent| batch.cut_at(sent).end,
            now_ms,
        );
        self.stats.sends += 1;
        match kept {
            Ok(sent) if sent == batch.bytes.len() => {
                self.stats.deliveries += batch.len() as u64;
                self.stats.bytes += sent as u64;
                Push::All
            }
            Ok(sent) => {
                self.stats.bytes += sent as u64;
                self.stats.blocked += 1;
                self.has_blocked = true;
                self.recount_outbox(member, 0);
                if self[member].is_dead() { Push::Gone } else { Push::Cut(batch.cut_at(sent).cursor) }
            }
            Err(_) => {
                self.hang_up(member, Hangup::Reset);
                Push::Gone
            }
        }
    }

    /// Takes one of the dead out of its slot.
    pub(super) fn bury_one(&mut self) -> Option<Conn<S>> {
        let index = self.dead.pop()?;
        self.wheel.cancel(index);
        let conn = self.conns.remove(index as usize);
        self.streams -= usize::from(conn.is_stream());
        self.addresses.leave(index, self.now);
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
    fn push(&mut self, member: u32, batch: &Batch) -> Push {
        let mut late = Vec::new();
        self.push_each(&[member], batch, &mut late);
        late.pop().map_or(Push::All, |(_, became)| became)
    }

    /// Hot: runs once for each slice.
    fn push_each(&mut self, members: &[u32], batch: &Batch, late: &mut Vec<(usize, Push)>) {
        let before = late.len();
        if let Some(mut dispatch) = self.dispatch.take() {
            self.push_by_courier(&mut dispatch, members, batch, late);
            self.dispatch = Some(dispatch);
        } else {
            for (company, first) in members.chunks(COMPANY).zip((0..).step_by(COMPANY)) {
                self.push_to_company(company, first, batch, late);
            }
        }
        let whole = (members.len() + before - late.len()) as u64;
        self.stats.sends += whole;
        self.stats.deliveries += whole * batch.len() as u64;
        self.stats.bytes += whole * batch.bytes.len() as u64;
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
