//! The crowd: all subscribers of one worker, and their sockets.
//!
//! What is due is worked out from the plan alone: a server that is slow to accept does not slow the
//! ramp, and one that is slow to answer does not slow the churn.
//!
//! Knows: sockets, moments. Never learns what the bytes mean.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Registry, Token};

use super::super::clock::mono_us;
use super::super::orders::{Order, Progress};
use super::super::plan::{Habit, Place, Plan};
use super::super::source;
use super::super::tally::{Broadcast, StormTally, Tally};
use super::person::{Parting, Person, View, Wish};
use super::{Part, kind, register};

/// Bytes read at a time. One buffer for all.
const READ_BYTES: usize = 64 * 1024;

/// Connections begun in a turn, so that those who listen are heard in between.
const CONNECTS_PER_TURN: usize = 64;

/// How long one waits who was disconnected, before it comes back.
const COME_BACK_US: u64 = 1_000_000;

/// How long a storm waits for those who are on their way back.
const STORM_WAITS_US: u64 = 3_000_000;

/// How often the slow ones read.
const SLOW_EVERY_US: u64 = 100_000;

/// What the kernel keeps for one who does not read: as little as it allows.
const SLOW_BUFFER_BYTES: usize = 4_096;

/// Ticks beyond the planned time that are still judged.
const TICKS_MORE: u64 = 4;

/// A subscriber's connection.
struct Seat {
    socket: Option<TcpStream>,
    stage: Stage,
    /// When it was to connect.
    planned_us: u64,
    /// What the kernel has not taken yet of what is to be sent.
    unsent: Vec<u8>,
    /// Whether it was cut by the storm, and is not back.
    storming: bool,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// There is none. Ends by: a planned moment.
    Absent,
    /// Ends by: established, refused.
    Connecting,
    /// Asked, and nothing came. Ends by: the first frame.
    Asked,
    /// It hears. Ends by: the server, churn, a storm.
    Listening,
}

pub(super) struct Crowd {
    view: View,
    place: Place,
    registry: Registry,
    people: Vec<Person>,
    seats: Vec<Seat>,
    buffer: Box<[u8]>,
    tally: Tally,
    received: u64,
    listening: u64,
    /// The ramp: when it began, how many have begun to connect, how many gave up.
    ramp_us: Option<u64>,
    ramped: usize,
    given_up: u64,
    churned: u64,
    hushed: bool,
    /// Who was disconnected, and when each comes back.
    returning: VecDeque<(u64, usize)>,
    /// Who has been cut and connects again as soon as possible.
    cut: VecDeque<usize>,
    storm_us: u64,
    storming: u64,
    /// When a storm was ordered that has not begun.
    ordered_us: Option<u64>,
    slow: Vec<usize>,
    slow_us: u64,
    dice: u64,
    last_error: Option<String>,
}

impl Crowd {
    pub(super) fn new(plan: Plan, place: Place, registry: Registry) -> Self {
        let numbers = (place.number..plan.connections).step_by(place.of as usize);
        let people: Vec<Person> = numbers.map(|n| Person::new(n, &plan)).collect();
        let seat = || Seat {
            socket: None,
            stage: Stage::Absent,
            planned_us: 0,
            unsent: Vec::new(),
            storming: false,
        };
        let tally =
            Tally { broadcasts: vec![Broadcast::default(); plan.messages() as usize], ..Tally::default() };
        Crowd {
            seats: people.iter().map(|_| seat()).collect(),
            slow: (0..people.len()).filter(|&at| people[at].habit == Habit::Slow).collect(),
            people,
            view: View::new(plan),
            place,
            registry,
            buffer: vec![0; READ_BYTES].into(),
            tally,
            received: 0,
            listening: 0,
            ramp_us: None,
            ramped: 0,
            given_up: 0,
            churned: 0,
            hushed: false,
            returning: VecDeque::new(),
            cut: VecDeque::new(),
            storm_us: 0,
            storming: 0,
            ordered_us: None,
            slow_us: 0,
            dice: 0x9e37_79b9_7f4a_7c15 ^ u64::from(place.number),
            last_error: None,
        }
    }

    fn connect(&mut self, at: usize, planned_us: u64) {
        let (seat, person) = (&mut self.seats[at], &mut self.people[at]);
        let sources = self.view.plan.sources;
        let source = (sources > 0).then(|| person.number % sources.max(1));
        let small = (person.habit != Habit::Regular).then_some(SLOW_BUFFER_BYTES);
        person.connect(&self.view);
        seat.unsent.clear();
        seat.planned_us = planned_us;
        let connected = source::connect(self.view.plan.address, source, small).and_then(|mut socket| {
            register(&self.registry, &mut socket, Token(at))?;
            Ok(socket)
        });
        match connected {
            Ok(socket) => (seat.socket, seat.stage) = (Some(socket), Stage::Connecting),
            Err(error) => self.part(at, Parting::Broken(kind(&error))),
        }
    }

    /// The kernel says that a connecting socket is writable, or that something is wrong with it.
    fn established(&mut self, at: usize) {
        let seat = &mut self.seats[at];
        let Some(socket) = &seat.socket else { return };
        match socket.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => return self.part(at, Parting::Broken(kind(&error))),
        }
        // An event that was meant for the socket before this one.
        if socket.peer_addr().is_err() {
            return;
        }
        let now = mono_us();
        self.tally.connect_us.record(now.saturating_sub(seat.planned_us));
        seat.stage = Stage::Asked;
        self.ask(at);
    }

    fn ask(&mut self, at: usize) {
        self.people[at].request(&self.view, &mut self.seats[at].unsent);
        self.send(at);
        // A poll's first frame is its first news: it counts as there when it has asked.
        if self.view.plan.transport.is_poll() && self.seats[at].stage == Stage::Asked {
            self.begins(at, mono_us());
        }
    }

    fn send(&mut self, at: usize) {
        let seat = &mut self.seats[at];
        let Some(socket) = &mut seat.socket else { return };
        while !seat.unsent.is_empty() {
            match socket.write(&seat.unsent) {
                Ok(sent) => drop(seat.unsent.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.part(at, Parting::Broken(kind(&error))),
            }
        }
        // A crowd keeps no buffers that it does not need.
        seat.unsent = Vec::new();
    }

    /// It has its first frame.
    fn begins(&mut self, at: usize, now_us: u64) {
        let seat = &mut self.seats[at];
        seat.stage = Stage::Listening;
        self.listening += 1;
        self.tally.first_frame_us.record(now_us.saturating_sub(seat.planned_us));
        self.people[at].listens(now_us);
        if std::mem::take(&mut seat.storming) {
            self.storming -= 1;
            if let Some(storm) = self.tally.storms.last_mut() {
                storm.back += 1;
                storm.last_us = now_us;
                storm.back_us.record(now_us.saturating_sub(self.storm_us));
            }
        }
    }

    /// Reads what is there, at most `bytes_max`. `closed`: the end is among it.
    fn read(&mut self, at: usize, bytes_max: usize, closed: bool) {
        let mut left = bytes_max;
        while left > 0 {
            let Some(socket) = &mut self.seats[at].socket else { return };
            let room = left.min(READ_BYTES);
            match socket.read(&mut self.buffer[..room]) {
                Ok(0) => return self.part(at, Parting::Broken("the server closed the connection".into())),
                Ok(length) => {
                    left -= length;
                    self.hear(at, length);
                    // Edge-triggered: less than was asked for means that no more was there, but maybe the end.
                    if length < room && !closed {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.part(at, Parting::Broken(kind(&error))),
            }
        }
    }

    /// Hands on what lies in the buffer, and does what the subscriber wishes.
    fn hear(&mut self, at: usize, length: usize) {
        let now = mono_us();
        let before = self.tally.latency_us.count();
        let wish = self.people[at].hear(&self.buffer[..length], now, &self.view, &mut self.tally);
        self.received += self.tally.latency_us.count() - before;
        let Wish { began, over, reply } = match wish {
            Ok(wish) => wish,
            Err(parting) => return self.part(at, parting),
        };
        if began && self.seats[at].stage == Stage::Asked {
            self.begins(at, now);
        }
        if !reply.is_empty() {
            self.seats[at].unsent.extend_from_slice(&reply);
            self.send(at);
        }
        match over {
            None => {}
            Some(true) if self.view.plan.transport.is_poll() => self.ask(at),
            // Each answer of such a server costs a connection. That is its way, and no mistake.
            Some(false) if self.view.plan.transport.is_poll() => {
                self.leave(at);
                self.connect(at, now);
            }
            Some(_) => self.part(at, Parting::Broken("the server closed the connection".into())),
        }
    }

    /// Closes the connection, if there is one.
    fn leave(&mut self, at: usize) {
        let seat = &mut self.seats[at];
        self.listening -= u64::from(seat.stage == Stage::Listening);
        (seat.socket, seat.stage) = (None, Stage::Absent);
    }

    /// Something went wrong: who had listened comes back, who never did gives up.
    fn part(&mut self, at: usize, parting: Parting) {
        let had_listened = self.seats[at].stage == Stage::Listening;
        self.leave(at);
        let (what, hopeless) = match parting {
            // Too busy, or too many: that passes.
            Parting::Refused(what) if matches!(what.as_str(), "status 503" | "status 429") => (what, false),
            Parting::Refused(what) => (what, true),
            Parting::Broken(what) => (what, false),
        };
        self.tally.error(what.as_str());
        self.last_error = Some(what);
        self.tally.disconnects += u64::from(had_listened);
        if self.people[at].has_listened() && !hopeless {
            self.returning.push_back((mono_us() + COME_BACK_US, at));
        } else {
            self.given_up += 1;
            self.storming -= u64::from(std::mem::take(&mut self.seats[at].storming));
        }
    }

    /// Connects those whose moment has come; says when the next one's comes.
    fn ramp(&mut self, now_us: u64, budget: &mut usize) -> Option<u64> {
        let start_us = self.ramp_us?;
        while let Some(person) = self.people.get(self.ramped) {
            let planned = self.view.plan.connect_us(start_us, person.number);
            if planned > now_us || *budget == 0 {
                return Some(planned);
            }
            *budget -= 1;
            self.ramped += 1;
            self.connect(self.ramped - 1, planned);
        }
        None
    }

    /// Brings back those who were cut or disconnected.
    fn bring_back(&mut self, now_us: u64, budget: &mut usize) -> Option<u64> {
        while *budget > 0
            && let Some(at) = self.cut.pop_front()
        {
            *budget -= 1;
            self.connect(at, self.storm_us);
        }
        while *budget > 0
            && let Some(&(due_us, at)) = self.returning.front().filter(|(due_us, _)| *due_us <= now_us)
        {
            *budget -= 1;
            self.returning.pop_front();
            self.tally.reconnects += 1;
            self.connect(at, due_us);
        }
        match self.cut.is_empty() {
            true => self.returning.front().map(|&(due_us, _)| due_us),
            false => Some(0),
        }
    }

    /// Has those leave and come back whose turn it is; says when the next one's is.
    fn churn(&mut self, now_us: u64) -> Option<u64> {
        let per_s = self.view.plan.churn_per_s / f64::from(self.place.of);
        if per_s <= 0.0 || self.view.speak_us == 0 || self.hushed || self.people.is_empty() {
            return None;
        }
        let speak_us = self.view.speak_us;
        let due = |churned: u64| speak_us + (churned as f64 * 1e6 / per_s) as u64;
        let mut planned = due(self.churned);
        while planned <= now_us {
            self.churned += 1;
            if let Some(at) = self.somebody() {
                self.leave(at);
                self.connect(at, planned);
                self.tally.churned += 1;
            }
            planned = due(self.churned);
        }
        Some(planned)
    }

    /// One who listens and may leave; after some tries, nobody.
    fn somebody(&mut self) -> Option<usize> {
        const TRIES: usize = 32;
        (0..TRIES).find_map(|_| {
            self.dice = self.dice.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let at = (self.dice >> 33) as usize % self.people.len();
            let may = self.people[at].habit == Habit::Regular
                && self.seats[at].stage == Stage::Listening
                && self.people[at].is_at_rest(self.view.plan.transport);
            may.then_some(at)
        })
    }

    /// Who is to be there, and is neither there nor given up.
    fn pending(&self) -> u64 {
        (self.people.len() as u64).saturating_sub(self.given_up + self.listening)
    }

    fn storm(&mut self, at_us: u64) {
        self.storm_us = at_us;
        for at in 0..self.seats.len() {
            if self.seats[at].stage == Stage::Listening && self.people[at].habit == Habit::Regular {
                self.leave(at);
                self.seats[at].storming = true;
                self.cut.push_back(at);
            }
        }
        self.storming = self.cut.len() as u64;
        self.tally.storms.push(StormTally { begun_us: at_us, cut: self.storming, ..StormTally::default() });
    }

    /// The slow ones read their share.
    fn read_slowly(&mut self, now_us: u64) -> Option<u64> {
        if self.slow.is_empty() {
            return None;
        }
        if now_us >= self.slow_us {
            self.slow_us = now_us + SLOW_EVERY_US;
            let share = self.view.plan.slow_bytes_per_s.saturating_mul(SLOW_EVERY_US) / 1_000_000;
            for at in self.slow.clone() {
                if self.seats[at].stage == Stage::Listening {
                    self.read(at, share.max(1) as usize, false);
                }
            }
        }
        Some(self.slow_us)
    }
}

impl Part for Crowd {
    fn order(&mut self, order: Order, _now_us: u64) {
        match order {
            Order::Ramp { at_us } => self.ramp_us = Some(at_us),
            Order::Speak { at_us } => {
                self.view.speak_us = at_us;
                let ticks = self.view.plan.ticks.as_ref();
                let ticks =
                    ticks.map_or(0, |ticks| self.view.plan.duration_us / ticks.period_us + TICKS_MORE);
                self.people.iter_mut().for_each(|person| person.expect_ticks(ticks as usize));
            }
            Order::Hush => self.hushed = true,
            Order::Storm { at_us } => self.ordered_us = Some(at_us),
            Order::Plan(..) | Order::Finish { .. } => {}
        }
    }

    fn ready(&mut self, event: &Event) {
        let at = event.token().0;
        if self.seats[at].stage == Stage::Connecting {
            if event.is_writable() || event.is_error() {
                self.established(at);
            }
            // What comes with it is read below: there will be no second edge.
        } else if event.is_writable() && !self.seats[at].unsent.is_empty() {
            self.send(at);
        }
        let listens = self.seats[at].stage == Stage::Listening;
        let reads = matches!(self.seats[at].stage, Stage::Asked | Stage::Listening);
        // Those who read slowly have a time for it, and those who are stalled have none.
        if reads && event.is_readable() && (!listens || self.people[at].habit == Habit::Regular) {
            self.read(at, usize::MAX, event.is_read_closed());
        }
    }

    fn advance(&mut self, now_us: u64) -> Option<u64> {
        // Whoever is on the way back from churn would be missing from the storm.
        let ordered_us =
            self.ordered_us.filter(|at_us| self.pending() == 0 || now_us > at_us + STORM_WAITS_US);
        if ordered_us.is_some() {
            self.ordered_us = None;
            self.storm(now_us);
        }
        let mut budget = CONNECTS_PER_TURN;
        let back = self.bring_back(now_us, &mut budget);
        let ramp = self.ramp(now_us, &mut budget);
        let churn = self.churn(now_us);
        let slow = self.read_slowly(now_us);
        [back, ramp, churn, slow].into_iter().flatten().min()
    }

    fn progress(&self) -> Progress {
        Progress {
            pending: self.pending(),
            listening: self.listening,
            received: self.received,
            ticks: self.tally.ticks.received,
            errors: self.tally.errors.values().sum(),
            last_error: self.last_error.clone(),
            storms: self.tally.storms.len() as u64,
            storming: self.storming,
            ..Progress::default()
        }
    }

    fn finish(&mut self, said: u32) -> Tally {
        let mut tally = std::mem::take(&mut self.tally);
        tally.broadcasts.truncate(said as usize);
        self.people.iter_mut().for_each(|person| person.finish(said, &self.view, &mut tally));
        tally
    }
}
