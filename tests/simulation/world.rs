//! The world: the real engine, a kernel and a time that are not real, and everybody who talks to it.
//!
//! Knows: all of them. Never throws dice: a script says what happens.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use encke::config::Settings;
use encke::dialect::pages::Embedded;
use encke::engine::{Engine, Hangup};
use encke::kit::clock::Now;
use encke::wire::json::Publication;

use super::bystander::{Asked, Asker, Chatter, Watcher, bulk, post};
use super::dice::Dice;
use super::disk::Disk;
use super::leaving::Leaving;
use super::record::Log;
use super::script::{Act, CHANNELS, End, Mouth, PUBLIC, Script, Start, Temper, Then, Way};
use super::subscriber::{LATE_US, Subscriber};
use super::wire::{Far, Line, Wire};

const START: Now = Now { mono_us: 5_000_250_000, unix_us: 1_700_000_000_250_000 };

/// Turns after which a server that never comes to rest is taken to be spinning.
const TURNS_MOST: usize = 20_000;

/// Wake-ups after which nobody has anything to do any more, however long it is.
const WAKES_MOST: usize = 100_000;

/// A tick of the article's clock.
const TICK_BYTES: usize = 75;

/// Readings after which nobody can have anything new, not even byte by byte.
pub const READINGS_MOST: usize = 200_000;

/// More than anybody can have missed, in bytes.
const BYTES_MOST: usize = 8 << 20;

/// After so long the kernel itself gives up a connection whose peer acknowledges nothing.
pub const KERNEL_PATIENCE_MS: u64 = 30_000;

pub struct World {
    pub engine: Engine<Far>,
    pub now: Now,
    /// When this server began: there was another one before, if that died.
    pub began: Now,
    /// All connections that the server has not let go of.
    pub lines: Vec<Line>,
    pub subscribers: Vec<Subscriber>,
    pub publisher: Asker,
    pub chatters: Vec<Chatter>,
    pub watchers: Vec<Watcher>,
    pub log: Log,
    /// Messages that were said when the server before this one died.
    pub said_before: usize,
    /// Where the log is kept, if not in memory.
    pub disk: Option<Disk>,
    pub settings: Settings,
    /// Connections that the server took, and that it did not.
    pub taken: u64,
    pub dropped: u64,
    /// Polls of inspections that were answered.
    pub polled: u64,
    /// Whether the server ever slept when something was due.
    pub has_overslept: bool,
    pub is_roomy: bool,
    /// The server was told to stop.
    pub leaving: Option<Leaving>,
    /// Connections that were let in only to hear that there is no room.
    pub refused: u64,
    /// Gaps that inspections were told of.
    pub gaps_polled: u64,
    /// Messages in channels of which no subscriber knows.
    pub said_aside: u64,
    /// How many came from an address of their own.
    pub strangers: u16,
    /// So many different addresses there are.
    addresses: usize,
    /// Something may be refused because somebody holds or says too much.
    pub is_bound: bool,
    /// Had to make room for others, and must be gone when the turn is over.
    doomed: Vec<Line>,
}

impl World {
    /// Plays a whole script, and what follows: everybody comes back, hears all, and leaves. Says what was wrong.
    pub fn play(script: &Script) -> Result<Summary, String> {
        let mut dice = Dice::new(script.seed ^ 0xc0ffee);
        let all = (1 << CHANNELS.len()) - 1;
        let mut world = World {
            engine: Engine::new(&script.settings, Box::new(Embedded::new()), script.seed, START),
            now: START,
            began: START,
            lines: Vec::new(),
            subscribers: (0..script.subscribers)
                .map(|_| {
                    let set =
                        if dice.once_in(2) { 1 << dice.below(CHANNELS.len()) } else { 1 + dice.below(all) };
                    let crowded = script.crowded.filter(|_| !dice.once_in(4));
                    Subscriber::new(crowded.map_or(set, |channel| 1 << channel) as u8)
                })
                .collect(),
            publisher: Asker::default(),
            chatters: (0..2).map(|_| Chatter::default()).collect(),
            watchers: (0..2).map(|_| Watcher::default()).collect(),
            log: Log {
                histories_age: script.settings.limits.history_age_ms < 86_400_000,
                is_bound: script.is_bound(),
                is_on_disk: script.is_on_disk,
                has_addresses: script.has_addresses(),
                ..Log::default()
            },
            said_before: 0,
            disk: script.is_on_disk.then(|| Disk::new(START)),
            settings: script.settings.clone(),
            taken: 0,
            dropped: 0,
            polled: 0,
            has_overslept: false,
            is_roomy: script.is_roomy(),
            leaving: None,
            refused: 0,
            gaps_polled: 0,
            said_aside: 0,
            strangers: 0,
            addresses: if script.has_addresses() { 3 } else { 200 },
            is_bound: script.is_bound(),
            doomed: Vec::new(),
        };
        if script.is_on_disk {
            world.engine.log_elsewhere(START.unix_us, START.unix_us);
        }
        for (nth, (act, then)) in script.acts.iter().enumerate() {
            world
                .act(act)
                .and_then(|()| world.then(*then))
                .map_err(|error| format!("{error}\n    at act {nth}: {act:?}"))?;
        }
        world.end(script)
    }

    fn act(&mut self, act: &Act) -> Result<(), String> {
        match *act {
            Act::Ask { who, way, start, capacity, arrives, is_old } => {
                self.ask(who, way, start, capacity, arrives, is_old)
            }
            Act::Arrive { who, bytes } => self.with_line(who, |line| line.arrive(bytes)),
            Act::Read { who, bytes } => self.read(who, bytes)?,
            Act::End { who, end } => self.cut(who, end),
            Act::Repeat { who } => self.with_line(who, Wire::repeat),
            Act::Change { who, channel, joins, since } => {
                let who = who % self.subscribers.len();
                self.subscribers[who].change(channel, joins, since);
            }
            Act::Inspect { channel, number } => self.inspect(channel, number)?,
            Act::Publish { channel, bytes, mouth } => self.publish(channel, bytes, mouth)?,
            Act::Delete { channel } => {
                self.introduce_publisher();
                let request = format!("DELETE /channels/{} HTTP/1.1\r\nHost: x\r\n\r\n", CHANNELS[channel]);
                self.publisher.ask(request.as_bytes(), Asked::Delete(channel));
            }
            Act::Babble { seed, bytes } => self.babble(seed, bytes),
            Act::Visit { seed } => self.visit(seed)?,
            Act::Talk { seed } => self.talk(seed)?,
            Act::Examine { what, seed } => self.examine(what, seed)?,
            Act::Chat { who, says, parts } => self.chat(who, says, parts)?,
            Act::Clock { who, parts } => self.watch(who, parts)?,
            Act::Pass { ms, asleep } => self.pass(ms, asleep)?,
            Act::SetClock { seconds } => {
                self.now.unix_us = self.now.unix_us.saturating_add_signed(seconds * 1_000_000);
                self.log.clock_was_set = true;
            }
            Act::Audit => self.audit()?,
            Act::Starve => self.starve()?,
            Act::Disk(temper) => self.change_disk(temper),
            Act::Burst(count) => self.burst(count)?,
            Act::Crash { stored } => self.crash(stored)?,
            Act::Stop => self.stop()?,
        }
        Ok(())
    }

    fn then(&mut self, then: Then) -> Result<(), String> {
        match then {
            Then::Nothing => {}
            Then::Turn => self.turn()?,
            Then::Settle => self.settle()?,
        }
        self.publisher.listen(&mut self.log)?;
        self.publisher.check_patience(self.now.mono_us, self.settings.limits.store_timeout_ms * 1_000)
    }

    // --- The kernel and the reactor -------------------------------------------------------------

    /// A connection, if the server takes it.
    pub fn connect(&mut self, capacity: usize) -> Option<Line> {
        let peer = Ipv4Addr::new(192, 0, 2, (self.lines.len() % self.addresses) as u8);
        self.connect_from(capacity, peer.into())
    }

    /// The same, from a certain address.
    pub fn connect_from(&mut self, capacity: usize, peer: IpAddr) -> Option<Line> {
        let id = self.engine.next_id();
        let line = Wire::new(id, capacity);
        let left = self.engine.stats().hangups(Hangup::Left);
        let first = self.first_half();
        let is_taken = self.engine.accept(Far(line.clone()), Some(peer), self.now);
        if self.engine.stats().hangups(Hangup::Left) > left {
            self.doomed.extend(first);
        }
        if !is_taken {
            self.dropped += 1;
            return None;
        }
        self.taken += 1;
        // To one who is welcome nothing is said before he has asked.
        self.refused += u64::from(line.borrow().written > 0);
        self.lines.push(line.clone());
        self.log.most_lines = self.log.most_lines.max(self.lines.len());
        Some(line)
    }

    /// Whether all connections together may hold so little that anybody may have to go.
    pub fn is_tight(&self) -> bool {
        self.settings.limits.connection_budget_bytes_max < 1 << 28
    }

    /// One turn of the reactor: whoever has news is told once, then everything else.
    pub fn turn(&mut self) -> Result<(), String> {
        for line in &self.lines {
            let edge = line.borrow_mut().take_edge();
            let id = line.borrow().id;
            if let Some(readiness) = edge {
                self.engine.ready(id, readiness, self.now);
            }
        }
        self.advance();
        self.engine.end_turn(self.now.mono_us);
        self.hear_the_disk()?;
        self.lines.retain(|line| !line.borrow().is_free());
        match self.doomed.drain(..).find(|line| !line.borrow().is_free()) {
            Some(line) => Err(format!("{:?} closed its half first, and others made room", line.borrow().id)),
            None => Ok(()),
        }
    }

    /// Everything else; and what is to be stored goes to the disk.
    fn advance(&mut self) {
        self.engine.advance(self.now);
        if let Some(disk) = &mut self.disk {
            disk.take(&mut self.engine, self.now);
        }
    }

    fn hear_the_disk(&mut self) -> Result<(), String> {
        let is_heard = self.hears_the_disk();
        let Some(disk) = &mut self.disk else { return Ok(()) };
        let answers = disk.due(self.now, &mut self.log, is_heard)?;
        if !answers.is_empty() {
            self.engine.stored(answers, self.now);
            self.advance();
        }
        Ok(())
    }

    fn burst(&mut self, count: usize) -> Result<(), String> {
        let is_heard = self.hears_the_disk();
        let Some(disk) = &mut self.disk else { return Ok(()) };
        let answers = disk.answer(count, self.now, &mut self.log, is_heard)?;
        self.engine.stored(answers, self.now);
        self.advance();
        Ok(())
    }

    /// Another server counts from zero, and has none of the lines of the one before.
    pub fn begin_to_count_anew(&mut self) {
        (self.taken, self.dropped, self.refused, self.polled, self.gaps_polled) = (0, 0, 0, 0, 0);
        self.said_before = self.log.said.len() + self.log.chatted.len();
        self.began = self.now;
        self.doomed.clear();
    }

    pub fn change_disk(&mut self, temper: Temper) {
        if let Some(disk) = &mut self.disk {
            disk.change(temper, self.now);
        }
    }

    /// When anything happens by itself, in microseconds of the monotonic clock.
    fn deadline(&self) -> Option<u64> {
        let disk_us = self.disk.as_ref().and_then(Disk::deadline);
        [self.engine.deadline(), disk_us].into_iter().flatten().min()
    }

    /// Streams that are there for sure, whose other end the server knows to be closed.
    fn halves(&self) -> Vec<Line> {
        let lines = self.subscribers.iter().filter(|one| one.is_open && one.way.is_one_way());
        let lines = lines.filter_map(|one| one.line.clone());
        lines.filter(|line| line.borrow().end_read().is_some() && !line.borrow().is_closed()).collect()
    }

    /// Whoever closed his half before all others, if that is a stream.
    fn first_half(&self) -> Option<Line> {
        let is_there = |line: &&Line| !line.borrow().is_free() && line.borrow().end_read().is_some();
        let is_first = |line: &&Line| !self.doomed.iter().any(|doomed| Rc::ptr_eq(doomed, line));
        let first = self.lines.iter().filter(is_there).filter(is_first);
        let first = first.min_by_key(|line| line.borrow().end_read())?;
        self.halves().into_iter().find(|line| Rc::ptr_eq(line, first))
    }

    /// Somebody comes, and there is no descriptor for him: whoever closed his half goes, and nobody else.
    fn starve(&mut self) -> Result<(), String> {
        if self.leaving.is_some() {
            return Ok(());
        }
        let (halves, left) = (self.halves(), self.engine.stats().hangups(Hangup::Left));
        let closed: Vec<Line> =
            self.lines.iter().filter(|line| line.borrow().end_read().is_some()).cloned().collect();
        let makes_room = self.engine.starved();
        let went = self.engine.stats().hangups(Hangup::Left) - left;
        if makes_room != (went > 0) {
            return Err(format!("{went} made room for who comes, and that was said to be {makes_room}"));
        }
        self.turn()?;
        let gone = closed.iter().filter(|line| line.borrow().is_free()).count() as u64;
        if gone < went {
            return Err(format!("{went} made room, and only {gone} of them had closed their half"));
        }
        match halves.iter().filter(|line| !line.borrow().is_free()).count() {
            0 => Ok(()),
            kept => Err(format!("{kept} who closed their half keep out who comes")),
        }
    }

    /// Turns until there is nothing left to do now.
    pub fn settle(&mut self) -> Result<(), String> {
        for _ in 0..TURNS_MOST {
            self.turn()?;
            let is_due = self.deadline().is_some_and(|deadline_us| deadline_us <= self.now.mono_us);
            if !is_due {
                self.publisher.note_the_time(self.now.mono_us);
                return self.expect_to_wake();
            }
        }
        Err("the server spins: there is always something due".to_owned())
    }

    /// Whoever waits for the disk will be told in time: the server means to be awake.
    fn expect_to_wake(&self) -> Result<(), String> {
        let due_us = self.publisher.due_us(self.settings.limits.store_timeout_ms * 1_000);
        match due_us.filter(|_| self.disk.is_some()) {
            Some(due_us) if self.engine.deadline().is_none_or(|deadline_us| deadline_us > due_us) => {
                Err(format!("{:?} waits, and nobody will wake up for it", self.publisher.asked.front()))
            }
            _ => Ok(()),
        }
    }

    pub fn pass(&mut self, ms: u64, asleep: bool) -> Result<(), String> {
        let end_us = self.now.mono_us + ms * 1_000;
        for _ in 0..WAKES_MOST {
            let deadline = self.deadline().filter(|&deadline_us| deadline_us <= end_us && !asleep);
            let Some(deadline_us) = deadline else {
                let is_late =
                    asleep && self.engine.deadline().is_some_and(|deadline_us| deadline_us < end_us);
                self.has_overslept |= is_late;
                self.jump_to(end_us);
                return self.settle();
            };
            self.jump_to(deadline_us.max(self.now.mono_us));
            self.settle()?;
        }
        Err("the server wakes again and again".to_owned())
    }

    pub fn jump_to(&mut self, mono_us: u64) {
        self.now.unix_us += mono_us - self.now.mono_us;
        self.now.mono_us = mono_us;
    }

    // --- The actors -----------------------------------------------------------------------------

    pub fn ask(&mut self, who: usize, way: Way, start: Start, capacity: usize, arrives: usize, is_old: bool) {
        let now_us = self.now.mono_us;
        let who = who % self.subscribers.len();
        if !self.subscribers[who].is_free() {
            self.subscribers[who].poll_again(now_us);
            return;
        }
        if let Some(line) = self.connect(capacity) {
            self.subscribers[who].ask(line.clone(), way, start, is_old, now_us);
            line.borrow_mut().arrive(arrives);
        }
    }

    fn with_line(&mut self, who: usize, change: impl FnOnce(&mut Wire)) {
        let who = who % self.subscribers.len();
        if let Some(line) = &self.subscribers[who].line {
            change(&mut line.borrow_mut());
        }
    }

    pub fn read(&mut self, who: usize, bytes: usize) -> Result<(), String> {
        let who = who % self.subscribers.len();
        // A server that leaves answers polls before their time.
        let timeout_us = if self.leaving.is_some() { 0 } else { self.settings.poll_timeout_ms * 1_000 };
        self.subscribers[who]
            .read(bytes, &mut self.log, self.now.mono_us, timeout_us)
            .map_err(|error| format!("subscriber {who}: {error}"))
    }

    fn cut(&mut self, who: usize, end: End) {
        let who = who % self.subscribers.len();
        let Some(line) = self.subscribers[who].line.clone() else { return };
        if let Some(leaving) = &mut self.leaving {
            leaving.forget(who);
        }
        match end {
            // It reads on, to the end.
            End::HalfClose => line.borrow_mut().half_close(),
            End::Reset | End::SilentReset => {
                line.borrow_mut().reset(matches!(end, End::Reset));
                self.subscribers[who].lose();
            }
            End::Vanish => {
                line.borrow_mut().vanish();
                self.subscribers[who].lose();
            }
        }
    }

    pub fn introduce_publisher(&mut self) {
        if self.publisher.line.is_none() {
            self.publisher.line = self.connect(1 << 20);
        }
    }

    pub fn publish(&mut self, channel: usize, bytes: usize, mouth: Mouth) -> Result<(), String> {
        let bytes = bytes.min(4_000);
        match mouth {
            Mouth::Inside => self.publish_inside(channel, bytes)?,
            Mouth::Post | Mouth::Chunked => {
                self.introduce_publisher();
                let number = self.log.text(channel, bytes);
                let request = post(&self.log, number, channel, matches!(mouth, Mouth::Chunked));
                self.publisher.ask(&request, Asked::Texts(vec![number]));
            }
            Mouth::Bulk(count) => {
                self.introduce_publisher();
                let texts: Vec<(usize, usize)> = (0..count)
                    .map(|nth| (channel + nth) % PUBLIC)
                    .map(|channel| (self.log.text(channel, bytes), channel))
                    .collect();
                let request = bulk(&self.log, &texts);
                self.publisher
                    .ask(&request, Asked::Texts(texts.into_iter().map(|(number, _)| number).collect()));
            }
            Mouth::Websocket(who) => {
                let who = who % self.subscribers.len();
                let number = self.log.text(channel, bytes);
                if !self.subscribers[who].publish(number, &self.log) {
                    self.log.refuse(number)?;
                }
            }
            Mouth::CutOff => {
                let number = self.log.text(channel, bytes);
                let request = post(&self.log, number, channel, bytes.is_multiple_of(2));
                if let Some(line) = self.connect(1 << 20) {
                    line.borrow_mut().send(&request);
                    line.borrow_mut().arrive(request.len() - 1);
                    self.turn()?;
                    line.borrow_mut().reset(true);
                }
                self.log.refuse(number)?;
            }
            Mouth::Forbidden => {
                self.introduce_publisher();
                let number = self.log.text(channel, bytes);
                let request = String::from_utf8(post(&self.log, number, channel, false)).expect("text");
                let request = request.replacen("/channels/", "/channels/$", 1);
                self.publisher.ask(request.as_bytes(), Asked::Forbidden(number));
            }
        }
        Ok(())
    }

    fn publish_inside(&mut self, channel: usize, bytes: usize) -> Result<(), String> {
        let number = self.log.text(channel, bytes);
        let (data, event) = (self.log.data(number).into(), self.log.event(number).map(str::to_owned));
        let publication = Publication { channel: CHANNELS[channel].to_owned(), event, data };
        match self.engine.publish(&[publication], self.now) {
            Ok(_) if self.is_deaf() => return Err("what nobody will hear was accepted".to_owned()),
            Ok(ids) => {
                if self.disk.is_some() && ids.is_empty() {
                    return Ok(());
                }
                let least = self.now.unix_us.max(self.log.head() + 1);
                if ids.len() != 1 || ids[0] < least {
                    return Err(format!("the ids {ids:?}, and it must be one of {least} at least"));
                }
                self.log.accept(number, ids[0])?
            }
            Err(_) => self.log.refuse(number)?,
        }
        Ok(())
    }

    /// Bytes that begin like a request, a frame or nothing at all, and then no more; the connection stays.
    fn babble(&mut self, seed: u64, bytes: usize) {
        let mut dice = Dice::new(seed);
        let Some(line) = self.connect(1 + dice.below(4_000)) else { return };
        let beginning: &[u8] = dice.one_of(&[
            b"GET /channels/a?as=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                .as_slice(),
            b"GET /channels/a,b HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(),
            b"POST /channels/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice(),
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\nHEAD /channels/a HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(),
            b"".as_slice(),
        ]);
        let noise: Vec<u8> = (0..bytes).map(|_| dice.below(256) as u8).collect();
        let mut wire = line.borrow_mut();
        wire.send(&[beginning, &noise].concat());
        wire.arrive(usize::MAX);
        match dice.below(4) {
            0 => wire.half_close(),
            1 => wire.reset(dice.once_in(2)),
            _ => {}
        }
    }

    fn chat(&mut self, who: usize, says: bool, parts: bool) -> Result<(), String> {
        let who = who % self.chatters.len();
        if says && let Some(line) = self.connect(1 << 20) {
            let words = format!("said{}", self.log.lines);
            let request = format!("GET /demo/backend.php?msg={words} HTTP/1.1\r\nHost: x\r\n\r\n");
            let again = format!("said{}", self.log.lines + 1);
            self.log.lines += 2;
            let stored = self.log.chatted.len();
            let both = [request.as_str(), &request.replacen(&words, &again, 1)].concat();
            line.borrow_mut().send(both.as_bytes());
            line.borrow_mut().arrive(usize::MAX);
            self.settle()?;
            let answers = String::from_utf8_lossy(&line.borrow_mut().read(usize::MAX)).into_owned();
            let said = answers.matches("HTTP/1.1 200 ").count();
            if self.disk.is_none() {
                self.log.chatted.extend([words, again].into_iter().take(said));
            } else if said > self.log.chatted.len() - stored {
                return Err(format!("{said} lines were taken before the log had them"));
            }
            line.borrow_mut().half_close();
        }
        if self.chatters[who].line.is_none() {
            self.chatters[who].line = self.connect(1 << 20);
        }
        let chatter = &mut self.chatters[who];
        // Two ids of one microsecond are told apart by the fraction; a clock set back does not change their order.
        chatter.listen(&self.log, self.is_roomy)?;
        if parts && let Some(line) = chatter.line.take() {
            line.borrow_mut().reset(true);
            chatter.part();
        }
        chatter.poll();
        Ok(())
    }

    fn watch(&mut self, who: usize, parts: bool) -> Result<(), String> {
        let who = who % self.watchers.len();
        let is_exact = !self.has_overslept && !self.log.clock_was_set && who.is_multiple_of(2);
        let has_head = self.watchers[who].has_head;
        self.watchers[who].listen(self.log.clock_was_set, is_exact)?;
        // What comes now was not taken by the kernel at its time: one tick at the most.
        let mut late = 0;
        loop {
            self.settle()?;
            match self.watchers[who].listen(self.log.clock_was_set, is_exact)? {
                0 => break,
                bytes => late += bytes,
            }
        }
        if has_head && late > TICK_BYTES {
            return Err(format!("{late} bytes of ticks were kept for later"));
        }
        if parts && let Some(line) = self.watchers[who].line.take() {
            line.borrow_mut().reset(false);
        } else if self.watchers[who].line.is_none() {
            // Every other one has room for a tick and a half.
            let capacity = if who.is_multiple_of(2) { 1 << 20 } else { 110 };
            self.watchers[who].line = self.connect(capacity);
            self.watchers[who].look();
        }
        Ok(())
    }

    // --- The judge ------------------------------------------------------------------------------

    /// Everybody who can reads all there is, and must then have heard everything.
    pub fn audit(&mut self) -> Result<(), String> {
        self.subscribers.iter_mut().for_each(|one| one.bytes_audited = one.bytes_read);
        // Two rounds of reading bring a slow one up to date; in between passes what a channel gathers for. While
        // the disk has more to say, they are followed by others.
        let mut said = self.log.said.len();
        for round in 0.. {
            for reading in 0.. {
                if reading > READINGS_MOST {
                    return Err("somebody is told something again and again".to_owned());
                }
                self.settle()?;
                self.publisher.listen(&mut self.log)?;
                let before = self.bytes_read();
                let is_too_much = |one: &Subscriber| one.bytes_read - one.bytes_audited > BYTES_MOST;
                if self.subscribers.iter().any(is_too_much) {
                    return Err("somebody is told more than was ever said".to_owned());
                }
                for who in 0..self.subscribers.len() {
                    self.with_line(who, |line| line.arrive(usize::MAX));
                    self.read(who, usize::MAX)?;
                    self.subscribers[who].poll_again(self.now.mono_us);
                    self.with_line(who, |line| {
                        if !line.is_half_closed() {
                            line.arrive(usize::MAX)
                        }
                    });
                }
                self.settle()?;
                if self.bytes_read() == before {
                    break;
                }
            }
            if round >= 2 && self.log.said.len() == said {
                break;
            }
            said = self.log.said.len();
            self.pass(50, false)?;
        }
        let store_us = self.settings.limits.store_timeout_ms * 1_000 + LATE_US;
        let timeout_us = self.settings.poll_timeout_ms * 1_000;
        for (who, subscriber) in self.subscribers.iter_mut().enumerate() {
            let in_time = subscriber.check_patience(self.now.mono_us, timeout_us);
            let in_time = in_time.and_then(|()| subscriber.check_commands(self.now.mono_us, store_us));
            in_time.map_err(|error| format!("subscriber {who}: {error}"))?;
            let whole = subscriber.is_listening() && subscriber.record.entries.len() > 2;
            subscriber
                .record
                .check(&self.log, whole, self.is_roomy)
                .map_err(|error| format!("subscriber {who} ({:?}): {error}", subscriber.way))?;
        }
        self.audit_the_chat()
    }

    fn audit_the_chat(&mut self) -> Result<(), String> {
        for who in 0..self.chatters.len() {
            for _ in 0..=self.log.chatted.len() {
                self.chatters[who].listen(&self.log, self.is_roomy)?;
                self.chatters[who].poll();
                self.settle()?;
            }
            self.chatters[who].listen(&self.log, self.is_roomy)?;
            if self.is_roomy && !self.chatters[who].is_current(&self.log) {
                return Err(format!("chatter {who} waits, and has not heard the last word"));
            }
        }
        Ok(())
    }

    pub fn bytes_read(&self) -> usize {
        self.subscribers.iter().map(|subscriber| subscriber.bytes_read).sum()
    }
}

/// What a good run was like.
#[derive(Debug, Default)]
pub struct Summary {
    /// Entries in the records of all subscribers.
    pub heard: usize,
    /// Messages.
    pub said: usize,
    pub is_roomy: bool,
    /// Publications that the log could not store, that it was too far behind for, and that nobody knew of.
    pub unstored: [u64; 3],
}
