//! The hub: channels, and everything that is said in them.
//!
//! Publishing gives a message its place in the log and puts it into its channel's history.
//! Subscribers are cursors into that: one that is behind is answered from the history, one
//! that has everything takes a seat and is answered by the next sweep.
//!
//! The kinds of method: *inputs* (`publish`, `poll`, `leave`), *time* (`deadline`, `expire`,
//! `sweep`), and one *output*: what the hub has to say to connections, it says to the
//! [`Members`] handed in.
//!
//! Knows: names, messages, seats. Never learns sockets, HTTP, or what time it is.

mod channel;
mod history;
mod section;
mod sweep;

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use slab::Slab;

use crate::config::Limits;
use crate::kit::clock::Now;
use crate::kit::wheel::Wheel;
use crate::log::{MemoryLog, Message};
use crate::transport::long_poll::Answers;
use crate::wire::refusal::Refusal;

use channel::Channel;
pub use history::HistoryLimits;

/// Deliveries to one channel before the next one gets its turn.
const SLICE: usize = 256;

/// Deliveries before the reactor looks at its sockets again.
const SLICES_PER_TURN: usize = 8;

/// Histories are looked through for what is too old at most this often, in milliseconds.
const EXPIRY_GRAIN_MS: u64 = 1_000;

/// Where a subscriber sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    channel: u32,
    place: u32,
    row: Row,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    /// Among those who have everything up to the last sweep.
    Section,
    /// Beside them, with a cursor, until the sweep under way has ended.
    Beside,
}

/// Where a subscriber begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// At the newest message, whichever it is.
    Newest,
    /// After this cursor, an id.
    After(u64),
}

/// What a poll finds.
pub enum Poll {
    /// A message it lacks: the answer.
    News(Rc<Message>),
    /// Nothing yet; it waits in this seat.
    Held(Seat),
}

/// Whoever owns the connections that sit in the hub's seats.
pub trait Members {
    /// The poll of `member` is over: `news` is its answer. Its seat is gone already. `answers`
    /// is the same for everyone who hears this message, and remembers its encodings.
    fn answer(&mut self, member: u32, news: &Message, answers: &mut Answers);

    /// `member` sits here now.
    fn reseat(&mut self, member: u32, seat: Seat);
}

/// All channels of the server.
pub struct Hub {
    log: MemoryLog,
    channels: Slab<Channel>,
    names: HashMap<Rc<str>, u32>,
    /// Channels with news, each once, in the order in which they get their slices.
    active: VecDeque<u32>,
    /// When a channel's history has something to forget. Keys are slots of `channels`.
    wheel: Wheel,
    /// Messages up to here may be gone together with their channel.
    floor: u64,
    history_limits: HistoryLimits,
    channels_max: usize,
}

impl Hub {
    /// A hub without channels, whose log begins now.
    pub fn new(limits: &Limits, now: Now) -> Self {
        let log = MemoryLog::new(now);
        Hub {
            floor: log.head(),
            log,
            channels: Slab::new(),
            names: HashMap::new(),
            active: VecDeque::new(),
            wheel: Wheel::new(now.mono_ms()),
            history_limits: HistoryLimits {
                messages_max: limits.history_messages_max,
                bytes_max: limits.history_bytes_max,
                age_ms: limits.history_age_ms,
            },
            channels_max: limits.channels_max,
        }
    }

    /// Appends a message to the log and to its channel. Returns its id; it is delivered by the
    /// sweeps to come. Refused when the channel would be one too many.
    pub fn publish(&mut self, name: &str, data: &str, now: Now) -> Result<u64, Refusal> {
        let key = self.open(name)?;
        let id = self.log.stamp(now);
        let channel = &mut self.channels[key as usize];
        let message = Rc::new(Message { id, data: data.into() });
        channel.history.push(message, now.mono_ms(), self.history_limits);
        channel.head = id;
        if !std::mem::replace(&mut channel.queued, true) {
            self.active.push_back(key);
        }
        self.watch_age(key, now);
        Ok(id)
    }

    /// A poll asks for the oldest message after its cursor. If there is none, `member` waits.
    ///
    /// A cursor that this log cannot have given yet, or that is older than what the history
    /// still has, is answered with the oldest message there is.
    pub fn poll(&mut self, name: &str, since: Since, member: u32, now: Now) -> Result<Poll, Refusal> {
        let key = self.open(name)?;
        let channel = &mut self.channels[key as usize];
        channel.history.expire(now.mono_ms(), self.history_limits);
        let news = match since {
            Since::Newest => channel.history.newest(),
            Since::After(cursor) if cursor > self.log.head() => channel.history.oldest(),
            Since::After(cursor) => channel.history.first_after(cursor),
        };
        Ok(match news {
            Some(news) => Poll::News(Rc::clone(news)),
            None => Poll::Held(channel.join(key, member, channel.head)),
        })
    }

    /// Whoever sat there is gone.
    pub fn leave(&mut self, seat: Seat, members: &mut impl Members) {
        self.channels[seat.channel as usize].leave(seat, members);
        self.forget_if_empty(seat.channel);
    }

    /// When [`Hub::expire`] has something to do, in milliseconds of the monotonic clock.
    pub fn deadline(&self) -> Option<u64> {
        self.wheel.deadline()
    }

    /// Whether a sweep is unfinished or has yet to begin.
    pub fn is_active(&self) -> bool {
        !self.active.is_empty()
    }

    /// Drops what has become too old to keep.
    pub fn expire(&mut self, now: Now) {
        while let Some((key, _)) = self.wheel.pop(now.mono_ms()) {
            self.channels[key as usize].history.expire(now.mono_ms(), self.history_limits);
            self.watch_age(key, now);
            self.forget_if_empty(key);
        }
    }

    /// Gives active channels a slice each, in turn, as far as one turn of the reactor goes.
    pub fn sweep(&mut self, members: &mut impl Members) {
        let mut budget = SLICE * SLICES_PER_TURN;
        for _ in 0..self.active.len() {
            if budget == 0 {
                break;
            }
            let key = self.active.pop_front().expect("counted before the loop, and only refilled by it");
            let channel = &mut self.channels[key as usize];
            let done = channel.sweep_slice(key, SLICE, members);
            budget = budget.saturating_sub(done.max(1));
            if channel.at_rest() {
                channel.queued = false;
                self.forget_if_empty(key);
            } else {
                self.active.push_back(key);
            }
        }
    }

    /// How many channels there are.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    fn open(&mut self, name: &str) -> Result<u32, Refusal> {
        if let Some(&key) = self.names.get(name) {
            return Ok(key);
        }
        if self.channels.len() >= self.channels_max {
            return Err(Refusal::new(503, "as many channels exist as this server allows; try again later"));
        }
        let name: Rc<str> = name.into();
        let key = self.channels.insert(Channel::new(Rc::clone(&name), self.floor)) as u32;
        self.names.insert(name, key);
        Ok(key)
    }

    /// Sets the timer for the channel's oldest message.
    fn watch_age(&mut self, key: u32, now: Now) {
        if self.wheel.is_armed(key) {
            return;
        }
        self.wheel.wind(now.mono_ms());
        let limits = self.history_limits;
        if let Some(due_ms) = self.channels[key as usize].history.expire(now.mono_ms(), limits) {
            self.wheel.arm(key, due_ms.next_multiple_of(EXPIRY_GRAIN_MS));
        }
    }

    fn forget_if_empty(&mut self, key: u32) {
        if !self.channels[key as usize].is_forgettable() {
            return;
        }
        let channel = self.channels.remove(key as usize);
        self.names.remove(&channel.name);
        self.wheel.cancel(key);
        // A channel of this name may come again. It must not claim to remember what this one forgot.
        self.floor = self.floor.max(channel.head);
    }
}
