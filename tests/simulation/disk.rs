//! The disk: a log that takes its time, answers in bursts, refuses, or says nothing at all; and what is left of it
//! when the server dies.
//!
//! What it has stored is in the record from that moment on: so who is told of a message earlier, or of one that
//! it has refused, is found out.
//!
//! Knows: what it was given, in which order. Never throws dice: a script says how it fares.

use std::collections::{BTreeMap, VecDeque};

use encke::config::Settings;
use encke::dialect::pages::Embedded;
use encke::engine::{Engine, Stored, Unstored};
use encke::kit::clock::Now;
use encke::wire::json::Publication;

use super::record::Log;
use super::script::{CHANNELS, Temper};
use super::wire::Far;
use super::world::World;

/// Where the article's chat is.
const CHAT: &str = "chat:/demo/";

pub struct Disk {
    temper: Temper,
    /// The last id that it gave.
    last: u64,
    /// What it was given, and when it will answer: never, as things stand, without a moment.
    given: VecDeque<(Unstored, Option<u64>)>,
    /// How many it has been given so far.
    count: u64,
    /// What it has, and the floors of channels that have forgotten something.
    rows: BTreeMap<u64, Publication>,
    floors: BTreeMap<String, u64>,
    /// What it is to forget when it stores next.
    outdated: Vec<(String, u64)>,
    /// When its log began.
    began: u64,
}

impl Disk {
    pub fn new(now: Now) -> Self {
        Disk {
            temper: Temper::Prompt,
            last: now.unix_us,
            given: VecDeque::new(),
            count: 0,
            rows: BTreeMap::new(),
            floors: BTreeMap::new(),
            outdated: Vec::new(),
            began: now.unix_us,
        }
    }

    /// A server over what it has. Whatever it was given and has not stored is lost.
    pub fn restart(&mut self, settings: &Settings, seed: u64, now: Now) -> Engine<Far> {
        let mut engine = Engine::new(settings, Box::new(Embedded::new()), seed, now);
        self.given.clear();
        self.outdated.clear();
        self.last = self.last.max(now.unix_us);
        engine.log_elsewhere(self.last, self.began);
        self.floors.iter().for_each(|(channel, &floor)| engine.recall_floor(channel, floor));
        self.rows.iter().for_each(|(&id, publication)| engine.recall(publication.clone(), id, now));
        engine
    }

    /// Forgets what it was told to, and returns how many messages are left.
    pub fn tidy(&mut self) -> usize {
        for (channel, floor) in std::mem::take(&mut self.outdated) {
            self.forget(&channel, floor);
        }
        self.rows.len()
    }

    fn store(&mut self, what: &Unstored, first: u64) {
        for (publication, id) in what.publications.iter().zip(first..) {
            self.last = id;
            if what.deletes {
                self.forget(&publication.channel, id);
            } else {
                self.rows.insert(id, publication.clone());
            }
        }
        self.tidy();
    }

    fn forget(&mut self, channel: &str, floor: u64) {
        self.rows.retain(|&id, row| row.channel != channel || id > floor);
        let before = self.floors.entry(channel.to_owned()).or_default();
        *before = floor.max(*before);
    }

    /// From now on it is like this; and answers for what it has kept silent about, if it speaks at all.
    pub fn change(&mut self, temper: Temper, now: Now) {
        self.temper = temper;
        let due_us = self.due_us(now);
        self.given.iter_mut().for_each(|(_, due)| *due = due_us);
    }

    pub fn take(&mut self, engine: &mut Engine<Far>, now: Now) {
        let due_us = self.due_us(now);
        self.given.extend(engine.unstored().map(|what| (what, due_us)));
        self.outdated.extend(engine.outdated());
    }

    fn due_us(&self, now: Now) -> Option<u64> {
        match self.temper {
            Temper::Prompt | Temper::Broken | Temper::Flaky => Some(now.mono_us),
            Temper::Late(ms) => Some(now.mono_us + ms * 1_000),
            Temper::Silent => None,
        }
    }

    /// When it answers next, in microseconds of the monotonic clock.
    pub fn deadline(&self) -> Option<u64> {
        self.given.front().and_then(|(_, due_us)| *due_us)
    }

    /// The answers that are due.
    pub fn due(&mut self, now: Now, log: &mut Log, is_heard: bool) -> Result<Vec<Stored>, String> {
        let count =
            self.given.iter().take_while(|(_, due)| due.is_some_and(|due| due <= now.mono_us)).count();
        self.answer(count, now, log, is_heard)
    }

    /// So many answers, whatever was agreed. What nobody `is_heard` to listen to any more is open for ever.
    pub fn answer(
        &mut self,
        count: usize,
        now: Now,
        log: &mut Log,
        is_heard: bool,
    ) -> Result<Vec<Stored>, String> {
        let mut answers = Vec::new();
        for _ in 0..count {
            let Some((what, _)) = self.given.pop_front() else { break };
            self.count += 1;
            let fails = match self.temper {
                Temper::Broken => true,
                Temper::Flaky => self.count.is_multiple_of(2),
                Temper::Prompt | Temper::Late(_) | Temper::Silent => false,
            };
            let first = now.unix_us.max(self.last + 1);
            if !fails {
                self.store(&what, first);
            }
            for (publication, id) in what.publications.iter().zip(first..) {
                let channel = CHANNELS.iter().position(|name| *name == publication.channel);
                match channel {
                    _ if !is_heard => {}
                    Some(_) if fails && what.deletes => {}
                    Some(channel) if what.deletes => log.deleted(channel, id)?,
                    Some(_) if fails => log.refuse(number(&publication.data)?)?,
                    Some(_) => log.store(number(&publication.data)?, id)?,
                    None if fails || publication.channel != CHAT => {}
                    None => log.chatted.push(publication.data.to_string()),
                }
            }
            answers.push(Stored { what, first_id: (!fails).then_some(first) });
        }
        Ok(answers)
    }
}

impl World {
    /// The server dies. So many of the things that its disk was about to store are stored, of the others there is
    /// nothing. Another one begins in its place.
    pub fn crash(&mut self, stored: usize) -> Result<(), String> {
        let Some(disk) = self.disk.as_mut().filter(|_| self.leaving.is_none()) else { return Ok(()) };
        disk.take(&mut self.engine, self.now);
        disk.answer(stored, self.now, &mut self.log, true)?;
        disk.temper = Temper::Broken;
        disk.answer(usize::MAX, self.now, &mut self.log, true)?;
        disk.temper = Temper::Prompt;
        self.engine = disk.restart(&self.settings, self.now.mono_us, self.now);
        if self.log.clock_was_set {
            // Ages are those of the wall clock.
            (self.is_roomy, self.log.histories_age) = (false, true);
        }
        self.begin_to_count_anew();
        self.turn()
    }
}

fn number(data: &str) -> Result<usize, String> {
    let digits = data.split(':').next().and_then(|digits| digits.parse().ok());
    digits.ok_or_else(|| format!("the log is to store what nobody wrote: {data:?}"))
}
