//! The disk: a log that takes its time, answers in bursts, refuses, or says nothing at all.
//!
//! What it has stored is in the record from that moment on: so who is told of a message earlier, or of one that
//! it has refused, is found out.
//!
//! Knows: what it was given, in which order. Never throws dice: a script says how it fares.

use std::collections::VecDeque;

use encke::engine::{Stored, Unstored};
use encke::kit::clock::Now;

use super::record::Log;
use super::script::{CHANNELS, Temper};

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
}

impl Disk {
    pub fn new(now: Now) -> Self {
        Disk { temper: Temper::Prompt, last: now.unix_us, given: VecDeque::new(), count: 0 }
    }

    /// From now on it is like this; and answers for what it has kept silent about, if it speaks at all.
    pub fn change(&mut self, temper: Temper, now: Now) {
        self.temper = temper;
        let due_us = self.due_us(now);
        self.given.iter_mut().for_each(|(_, due)| *due = due_us);
    }

    pub fn take(&mut self, unstored: impl Iterator<Item = Unstored>, now: Now) {
        let due_us = self.due_us(now);
        self.given.extend(unstored.map(|what| (what, due_us)));
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
        for (what, _) in self.given.drain(..count.min(self.given.len())) {
            self.count += 1;
            let fails = match self.temper {
                Temper::Broken => true,
                Temper::Flaky => self.count.is_multiple_of(2),
                Temper::Prompt | Temper::Late(_) | Temper::Silent => false,
            };
            let first = now.unix_us.max(self.last + 1);
            if !fails {
                self.last = first + what.publications.len() as u64 - 1;
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

fn number(data: &str) -> Result<usize, String> {
    let digits = data.split(':').next().and_then(|digits| digits.parse().ok());
    digits.ok_or_else(|| format!("the log is to store what nobody wrote: {data:?}"))
}
