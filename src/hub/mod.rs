//! The hub: channels, and everything that is said in them.
//!
//! Publishing gives a message its place in the log and puts it into its channel's history.
//! Subscribers are cursors into that: one that is behind is served from the history, one
//! that has everything takes a seat and is served by the next sweep.
//!
//! The kinds of method: *inputs* (`reserve` and then `store`, `delete` or `give_up`; `subscribe`, `poll_chat`, `leave`), *time*
//! (`deadline`, `advance`, `sweep`), and one *output*: what the hub has to say to
//! connections, it says to the [`Members`] handed in.
//!
//! Knows: names, messages, seats. Never learns sockets, HTTP, or what time it is.

mod budget;
mod catch_up;
mod channel;
mod forgotten;
mod history;
#[cfg(debug_assertions)]
mod invariants;
mod publish;
mod recall;
mod row;
mod several;
mod sweep;
mod ticker;

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use slab::Slab;

use crate::config::{ChannelRules, Pace, Settings};
use crate::kit::clock::Now;
use crate::kit::histogram::Histogram;
use crate::kit::wheel::Wheel;
use crate::log::{Ids, Message, Since};
use crate::transport::long_poll::Answers;
use crate::transport::{Batch, Framing};
use crate::wire::refusal::Refusal;

pub use catch_up::Subscription;
#[cfg(debug_assertions)]
pub(crate) use invariants::Sitting;
pub use publish::Reservation;

use channel::Channel;
use forgotten::Forgotten;
use several::Several;
use ticker::Ticker;

/// Histories are looked through for what is too old at most this often, in milliseconds.
const EXPIRY_GRAIN_MS: u64 = 1_000;

/// Where a subscriber sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// Among those who have everything up to the last sweep.
    Section {
        /// Which section of the channel: its framing.
        section: u8,
        /// The channel's key.
        channel: u32,
        /// The place in the section's row.
        place: u32,
    },
    /// Beside them, until the sweep under way has ended.
    Beside {
        /// Which section it will join.
        section: u8,
        /// The channel's key.
        channel: u32,
        /// The place among those who wait.
        place: u32,
    },
    /// Behind: it reads from the history, as fast as it can.
    Behind {
        /// Which section it will join when it has caught up.
        section: u8,
        /// The channel's key.
        channel: u32,
        /// It has everything up to here.
        cursor: u64,
    },
    /// In the rows of several channels.
    Several {
        /// By which the hub finds out about them.
        key: u32,
    },
    /// Nowhere: it hears nothing.
    None,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// The kernel has it.
    All,
    /// The kernel has some of it, and the connection keeps the rest of the message that was begun: this one.
    Cut(u64),
    /// Nothing was begun: the rest of an earlier message is still unsent.
    Refused,
    /// There is nobody any more. The seat is given back when the connection is buried.
    Gone,
}

/// Whoever owns the connections that sit in the hub's seats.
pub trait Members {
    /// Sends a batch to a stream.
    fn push(&mut self, member: u32, batch: &Batch) -> Push;

    /// Sends a batch to streams, in this order. Appends to `late` those who did not take all of it at once: which of
    /// `members`, and what became of it.
    fn push_each(&mut self, members: &[u32], batch: &Batch, late: &mut Vec<(usize, Push)>);

    /// Sends a stream the first word of its subscription, behind whatever is still unsent of the answer's head.
    fn tell(&mut self, member: u32, bytes: &[u8]);

    /// The poll of `member` is over: this is its answer. Its seat is gone already. `answers` is the same for everyone
    /// who hears the same, and remembers its framings.
    fn answer(&mut self, member: u32, answers: &mut Answers);

    /// `member` sits here now.
    fn reseat(&mut self, member: u32, seat: Seat);

    /// `member` is behind and may be able to take more: call [`Hub::catch_up`] soon.
    fn look_again(&mut self, member: u32);

    /// `member` was too slow for a channel that does not wait.
    fn part_from_slow(&mut self, member: u32);
}

/// What an article's poll finds.
pub enum Poll {
    /// A message it lacks: the answer.
    News(Rc<Message>),
    /// Nothing yet; it waits in this seat.
    Held(Seat),
}

/// Numbers about one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelStats {
    /// Its name.
    pub name: Rc<str>,
    /// Live subscribers.
    pub subscribers: usize,
    /// Retained messages.
    pub messages: usize,
    /// What they weigh.
    pub bytes: usize,
    /// The newest id.
    pub head: u64,
    /// The oldest position from which nothing is missing.
    pub floor: u64,
}

/// Counters.
#[derive(Clone, Debug, Default)]
pub struct HubStats {
    /// Messages published.
    pub messages: u64,
    /// Gaps told.
    pub gaps: u64,
    /// Deliveries of each sweep.
    pub sweeps: Histogram,
    /// Messages that went because all histories together were too large.
    pub evicted: u64,
    /// Requests for a channel that would have been one too many.
    pub channels_refused: u64,
    /// Subscribers for whose way of being told a channel had no section left.
    pub sections_refused: u64,
}

/// All channels of the server.
pub struct Hub {
    /// The newest id is that of the newest message that is stored: of no other there is one.
    log: Ids,
    channels: Slab<Channel>,
    names: HashMap<Rc<str>, u32>,
    several: Slab<Several>,
    /// Channels with news that have not had a slice of it yet. Each active channel is in here or in `begun`, once.
    fresh: VecDeque<u32>,
    /// Channels in whose sweep we are, in the order in which they get their slices.
    begun: VecDeque<u32>,
    /// When a channel's history has something to forget. Keys are slots of `channels`.
    ages: Wheel,
    /// When a channel has gathered for long enough. The same keys.
    gathers: Wheel,
    tickers: Vec<Ticker>,
    /// When a ticker ticks. Keys are places in `tickers`.
    beats: Wheel,
    forgotten: Forgotten,
    /// Floors that have risen since a log elsewhere was told of them, if there is one.
    risen: Option<HashMap<Rc<str>, u64>>,
    rules: ChannelRules,
    pace: Pace,
    channels_max: usize,
    /// What all histories weigh, and what they may.
    history_bytes: usize,
    history_budget: usize,
    /// Where batches for one subscriber are put together.
    draft: Batch,
    /// Whom sweeps have served since somebody asked: a kind of framing, and when the oldest
    /// message that they were brought was published.
    served: Vec<(usize, u64)>,
    /// Tickers are silent, and nothing gathers.
    hushed: bool,
    stats: HubStats,
}

impl Hub {
    /// A hub without channels, whose log begins now.
    pub fn new(settings: &Settings, now: Now) -> Self {
        let log = Ids::new(now);
        Hub {
            forgotten: Forgotten::new(log.head()),
            log,
            risen: None,
            channels: Slab::new(),
            names: HashMap::new(),
            several: Slab::new(),
            fresh: VecDeque::new(),
            begun: VecDeque::new(),
            ages: Wheel::new(now.mono_ms()),
            gathers: Wheel::new(now.mono_ms()),
            tickers: Ticker::all(&settings.tickers, now),
            beats: Wheel::new(now.mono_ms()),
            rules: settings.channel_rules(),
            pace: settings.pace.clone(),
            channels_max: settings.limits.channels_max,
            history_bytes: 0,
            history_budget: settings.limits.history_budget_bytes_max,
            draft: Batch::default(),
            served: Vec::new(),
            hushed: false,
            stats: HubStats::default(),
        }
    }

    fn activate(&mut self, key: u32) {
        if !std::mem::replace(&mut self.channels[key as usize].queued, true) {
            self.fresh.push_back(key);
        }
    }

    /// An article's poll asks for the oldest message after its cursor. If there is none, `member` waits.
    ///
    /// A cursor that this log cannot have given yet, or that is older than what the history
    /// still has, is answered with the oldest message there is.
    pub fn poll_chat(&mut self, name: &str, since: Since, member: u32, now: Now) -> Result<Poll, Refusal> {
        let key = self.open(name)?;
        self.expire_one(key, now);
        let head = self.log.head();
        let channel = &mut self.channels[key as usize];
        let news = match since {
            Since::Last(_) => channel.history.newest(),
            Since::After(cursor) if cursor > head => channel.history.oldest(),
            Since::After(cursor) => channel.history.first_after(cursor),
            Since::Now => None,
            Since::Oldest | Since::Lost => channel.history.oldest(),
        };
        if let Some(news) = news {
            return Ok(Poll::News(Rc::clone(news)));
        }
        let seated = channel.enter(&Framing::Chat).map(|section| channel.join(key, section, member, head));
        if seated.is_err() {
            self.forget_if_empty(key);
        }
        seated.map(Poll::Held)
    }

    /// Whoever sat there is gone. Returns what he had: everything up to this cursor.
    pub fn leave(&mut self, seat: Seat, members: &mut impl Members) -> u64 {
        let (section, key) = match seat {
            Seat::Section { section, channel, .. }
            | Seat::Beside { section, channel, .. }
            | Seat::Behind { section, channel, .. } => (section, channel),
            Seat::Several { key } => {
                let channels: Vec<u32> =
                    self.several[key as usize].chairs.iter().map(|chair| chair.channel).collect();
                let cursor = self.drop_listener(key);
                channels.into_iter().for_each(|key| self.close_several_holes(key));
                return cursor;
            }
            Seat::None => return self.log.head(),
        };
        let cursor = self.cursor(seat);
        let channel = &mut self.channels[key as usize];
        channel.stand_up(seat, self.pace.holes_min, members);
        channel.exit(section);
        self.forget_if_empty(key);
        cursor
    }

    /// What the subscriber in a seat has: as much as can be said without telling of more than he was sent.
    pub fn cursor(&self, seat: Seat) -> u64 {
        match seat {
            Seat::None => self.log.head(),
            Seat::Several { key } => {
                let one = &self.several[key as usize];
                let complete =
                    one.chairs.iter().all(|chair| self.channels[chair.channel as usize].head <= one.cursor);
                if complete { self.log.head().max(one.cursor) } else { one.cursor }
            }
            Seat::Section { channel, .. } if self.channels[channel as usize].at_rest() => self.log.head(),
            Seat::Section { channel, .. } | Seat::Beside { channel, .. } | Seat::Behind { channel, .. } => {
                self.channels[channel as usize].cursor_of(seat)
            }
        }
    }

    /// The cursor that a sign of life may tell; `None` if news is under way, which is a better one.
    pub fn vouch(&mut self, seat: Seat) -> Option<u64> {
        let is_complete = match seat {
            Seat::None => true,
            Seat::Several { key } => {
                let one = &self.several[key as usize];
                one.chairs.iter().all(|chair| self.channels[chair.channel as usize].head <= one.cursor)
            }
            Seat::Section { channel, .. } => self.channels[channel as usize].at_rest(),
            Seat::Beside { .. } | Seat::Behind { .. } => false,
        };
        let head = self.log.head();
        if let Seat::Several { key } = seat
            && is_complete
        {
            let one = &mut self.several[key as usize];
            one.cursor = one.cursor.max(head);
        }
        is_complete.then_some(head)
    }

    /// The framing of the subscriber in a seat.
    pub fn framing(&self, seat: Seat) -> &Framing {
        match seat {
            // Only a WebSocket stays when it listens to nothing.
            Seat::None => &Framing::Websocket,
            Seat::Several { key } => &self.several[key as usize].framing,
            Seat::Section { section, channel, .. }
            | Seat::Beside { section, channel, .. }
            | Seat::Behind { section, channel, .. } => {
                &self.channels[channel as usize].sections[usize::from(section)].framing
            }
        }
    }

    /// The names of the channels that a seat is in.
    pub fn channels_of(&self, seat: Seat) -> Vec<String> {
        let name = |key: u32| self.channels[key as usize].name.to_string();
        match seat {
            Seat::None => Vec::new(),
            Seat::Several { key } => {
                self.several[key as usize].chairs.iter().map(|chair| name(chair.channel)).collect()
            }
            Seat::Section { channel, .. } | Seat::Beside { channel, .. } | Seat::Behind { channel, .. } => {
                vec![name(channel)]
            }
        }
    }

    /// When [`Hub::advance`] has something to do, in milliseconds of the monotonic clock.
    pub fn deadline(&self) -> Option<u64> {
        [self.ages.deadline(), self.gathers.deadline(), self.beats.deadline()].into_iter().flatten().min()
    }

    /// Whether a sweep is unfinished or has yet to begin.
    pub fn is_active(&self) -> bool {
        !(self.fresh.is_empty() && self.begun.is_empty())
    }

    /// Does what is due: forgets what is too old, ends gathering, ticks.
    pub fn advance(&mut self, now: Now) {
        while let Some((key, _)) = self.ages.pop(now.mono_ms()) {
            self.expire_one(key, now);
            self.watch_age(key, now);
            self.forget_if_empty(key);
        }
        while let Some((key, _)) = self.gathers.pop(now.mono_ms()) {
            self.activate(key);
        }
        self.tick(now);
    }

    /// The end is near: tickers fall silent, and what gathers is swept at once.
    pub fn hush(&mut self) {
        self.hushed = true;
        self.stop_tickers();
        let keys: Vec<u32> = self.channels.iter().map(|(key, _)| key as u32).collect();
        for key in keys {
            if self.gathers.cancel(key) {
                self.activate(key);
            }
        }
    }

    /// Gives active channels a slice each, as far as one turn of the reactor goes: who has just been spoken in goes
    /// first, so that a small chat waits for one slice of a large sweep at most; and then those that are in the middle
    /// of one, of which one at least gets on.
    pub fn sweep(&mut self, members: &mut impl Members) {
        let mut budget = self.pace.deliveries_per_turn;
        let begun = self.begun.len();
        while budget > self.pace.deliveries_per_slice
            && let Some(key) = self.fresh.pop_front()
        {
            budget = budget.saturating_sub(self.slice(key, members));
        }
        for _ in 0..begun {
            if budget == 0 {
                break;
            }
            let key = self.begun.pop_front().expect("counted before the loops, and only refilled by them");
            budget = budget.saturating_sub(self.slice(key, members));
        }
    }

    /// One slice for a channel. Returns what it took of the turn.
    fn slice(&mut self, key: u32, members: &mut impl Members) -> usize {
        let done = self.sweep_slice(key, self.pace.deliveries_per_slice, members);
        let channel = &mut self.channels[key as usize];
        if channel.is_active() {
            self.begun.push_back(key);
        } else {
            channel.queued = false;
            self.forget_if_empty(key);
        }
        done.max(1)
    }

    /// How many channels there are.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// What all histories weigh, in bytes.
    pub fn history_bytes(&self) -> usize {
        self.history_bytes
    }

    /// How many timers are armed.
    pub fn timers(&self) -> usize {
        self.ages.len() + self.gathers.len() + self.beats.len()
    }

    /// How many sit somewhere; who listens to several channels counts in each of them.
    pub fn seats(&self) -> usize {
        self.several.len() + self.channels.iter().map(|(_, channel)| channel.subscribers()).sum::<usize>()
    }

    /// The newest id of the log.
    pub fn head(&self) -> u64 {
        self.log.head()
    }

    /// What happened so far.
    pub fn stats(&self) -> &HubStats {
        &self.stats
    }

    /// Whom sweeps have served since the last call, by the [kind](Framing::kind) of framing: all who were in a section
    /// when the sweep began; with the moment when the oldest message that they were brought was published.
    pub fn take_served(&mut self) -> impl Iterator<Item = (usize, u64)> {
        self.served.drain(..)
    }

    /// Numbers about one channel, if there is one of this name.
    pub fn channel_stats(&self, name: &str) -> Option<ChannelStats> {
        self.names.get(name).map(|&key| self.stats_of(&self.channels[key as usize]))
    }

    /// Numbers about every channel.
    pub fn all_channel_stats(&self) -> impl Iterator<Item = ChannelStats> {
        self.channels.iter().map(|(_, channel)| self.stats_of(channel))
    }

    fn stats_of(&self, channel: &Channel) -> ChannelStats {
        ChannelStats {
            name: Rc::clone(&channel.name),
            subscribers: channel.subscribers(),
            messages: channel.history.len(),
            bytes: channel.history.bytes(),
            head: channel.head,
            floor: channel.history.floor(),
        }
    }

    /// Whether a subscription to these channels would be taken, before anything is said about it.
    pub fn check_room(&mut self, names: &[String], framing: &Framing) -> Result<(), Refusal> {
        let new = names.iter().filter(|name| !self.names.contains_key(name.as_str())).count();
        if new > 0 && self.channels.len() + new > self.channels_max {
            return Err(self.refuse_channel());
        }
        if let [name] = names
            && let Some(&key) = self.names.get(name.as_str())
            && let Err(refusal) = self.channels[key as usize].check_section(framing)
        {
            self.stats.sections_refused += 1;
            return Err(refusal);
        }
        Ok(())
    }

    fn refuse_channel(&mut self) -> Refusal {
        self.stats.channels_refused += 1;
        Refusal::new(503, "as many channels exist as this server allows; try again later")
    }

    fn open(&mut self, name: &str) -> Result<u32, Refusal> {
        if let Some(&key) = self.names.get(name) {
            return Ok(key);
        }
        if self.channels.len() >= self.channels_max {
            return Err(self.refuse_channel());
        }
        let name: Rc<str> = name.into();
        let ticker =
            self.tickers.iter().position(|ticker| *ticker.channel == *name).map(|index| index as u16);
        let limits = self.rules.limits_for(&name);
        let key = self.channels.insert(Channel::new(
            Rc::clone(&name),
            limits,
            self.forgotten.floor_of(&name),
            ticker,
        )) as u32;
        self.names.insert(name, key);
        Ok(key)
    }

    fn expire_one(&mut self, key: u32, now: Now) -> Option<u64> {
        self.change_history(key, |channel| channel.history.expire(now.mono_ms(), &channel.limits))
    }

    /// Changes a channel's history, and keeps the books: what all of them weigh, and what a log elsewhere need not
    /// keep any longer.
    fn change_history<R>(&mut self, key: u32, change: impl FnOnce(&mut Channel) -> R) -> R {
        let channel = &mut self.channels[key as usize];
        let (bytes, floor) = (channel.history.bytes(), channel.history.floor());
        let result = change(channel);
        self.history_bytes = self.history_bytes + channel.history.bytes() - bytes;
        if channel.history.floor() > floor
            && let Some(risen) = &mut self.risen
        {
            risen.insert(Rc::clone(&channel.name), channel.history.floor());
        }
        result
    }

    /// Sets the timer for the channel's oldest message.
    fn watch_age(&mut self, key: u32, now: Now) {
        if self.ages.is_armed(key) {
            return;
        }
        self.ages.wind(now.mono_ms());
        if let Some(due_ms) = self.expire_one(key, now) {
            self.ages.arm(key, due_ms.next_multiple_of(EXPIRY_GRAIN_MS));
        }
    }

    fn forget_if_empty(&mut self, key: u32) {
        if !self.channels.get(key as usize).is_some_and(Channel::is_forgettable) || self.gathers.is_armed(key)
        {
            return;
        }
        let channel = self.channels.remove(key as usize);
        self.names.remove(&channel.name);
        self.ages.cancel(key);
        self.forgotten.add(channel.name, channel.head);
    }
}
