//! Leaving: the server is told to stop, in the end or in the middle of everything.
//!
//! What was said until that very moment, in whatever way, must reach everybody who reads; and nobody is bidden
//! farewell who lacks anything.
//!
//! Knows: who listened when it began. Never throws dice.

use super::farewell::WIDE;
use super::script::{Mouth, Script, Way};
use super::subscriber::Goodbye;
use super::world::{Summary, World};

/// Steps in which the drain time passes.
const STEPS: u64 = 12;

/// What is said by whoever still can, in bytes.
const LAST_WORDS: usize = 30;

/// Who was there when the server was told to stop, and has not been cut off since.
pub struct Leaving {
    /// When that was, in microseconds of the monotonic clock.
    pub since_us: u64,
    /// Those who listened.
    listeners: Vec<usize>,
    /// Polls that were owed an answer.
    polls: Vec<usize>,
    /// Some of them could take much, and nothing kept them from it: these must be parted from in words.
    wide: Vec<usize>,
}

impl Leaving {
    /// Nothing can be said any more about what this one is told.
    pub fn forget(&mut self, who: usize) {
        for list in [&mut self.listeners, &mut self.polls, &mut self.wide] {
            list.retain(|&other| other != who);
        }
    }
}

impl World {
    /// The server is told to stop. In the same moment everybody says something.
    pub fn stop(&mut self) -> Result<(), String> {
        if self.leaving.is_some() {
            return Ok(());
        }
        for channel in 0..3 {
            self.publish(channel, LAST_WORDS, Mouth::Inside)?;
        }
        self.publish(3, LAST_WORDS, Mouth::Post)?;
        for who in 0..self.subscribers.len() {
            self.publish(who % 5, LAST_WORDS, Mouth::Websocket(who))?;
        }
        let listens = |who: &usize| self.subscribers[*who].is_listening();
        let there: Vec<usize> = (0..self.subscribers.len()).filter(listens).collect();
        let is_poll = |who: &usize| self.subscribers[*who].way == Way::Poll;
        let wide = self.streams();
        let (polls, listeners): (Vec<usize>, Vec<usize>) = there.into_iter().partition(is_poll);
        let polls = polls.into_iter().filter(|&who| self.is_owed_an_answer(who)).collect();
        self.leaving = Some(Leaving { since_us: self.now.mono_us, listeners, polls, wide });
        self.engine.shut_down(self.now);
        Ok(())
    }

    /// Whether a poll has asked, and was not turned away at the door.
    fn is_owed_an_answer(&self, who: usize) -> bool {
        let line = self.subscribers[who].line.as_ref().map(|line| line.borrow());
        let can_hear = line.is_some_and(|line| line.capacity >= WIDE && !line.is_closed());
        self.subscribers[who].waits && can_hear
    }

    /// Whether nothing may be accepted any more, because nobody would be left to hear it.
    pub fn is_deaf(&self) -> bool {
        let waits_us = self.settings.drain_ms * 1_000 * 2 / 3 + 1_000;
        self.leaving.as_ref().is_some_and(|leaving| self.now.mono_us > leaving.since_us + waits_us)
    }

    /// Whether what the disk has stored now goes to the listeners for certain.
    pub fn hears_the_disk(&self) -> bool {
        let waits_ms = self.settings.drain_ms * 2 / 3;
        self.leaving
            .as_ref()
            .is_none_or(|leaving| self.now.mono_us / 1_000 < leaving.since_us / 1_000 + waits_ms)
    }

    /// Everybody reads to the end. Then nobody is left, and all who were told to go had heard everything.
    pub fn leave(&mut self, script: &Script) -> Result<Summary, String> {
        let drain_ms = self.settings.drain_ms;
        // Whoever reads from the first moment on hears all and his farewell, however little he takes at a time.
        let is_fresh = self.leaving.as_ref().is_some_and(|leaving| leaving.since_us == self.now.mono_us);
        let overslept = std::mem::take(&mut self.has_overslept);
        for _ in 0..=STEPS {
            self.read_all()?;
            self.publisher.listen(&mut self.log)?;
            self.pass(drain_ms / STEPS, false)?;
        }
        self.read_all()?;
        self.publish(script.seed as usize % 3, LAST_WORDS, Mouth::Inside)?;
        if self.connect(WIDE).is_some() {
            return Err("a server that ends takes a connection".to_owned());
        }
        let held = self.engine.holdings();
        if (held.connections, held.streams, held.seats, held.again, held.held_bytes) != (0, 0, 0, 0, 0) {
            return Err(format!("the server has ended, and holds {held:?}"));
        }
        let leaving = self.leaving.take().expect("it was told to stop");
        for &who in &leaving.listeners {
            let is_bidden = is_fresh || leaving.wide.contains(&who);
            let is_bidden = is_bidden && !self.is_bound && !overslept && self.is_roomy;
            self.check_farewell(who, is_bidden)
                .map_err(|error| format!("subscriber {who}, when the server left: {error}"))?;
        }
        let owed = leaving.polls.iter().find(|&&who| self.subscribers[who].waits);
        if let Some(who) = owed.filter(|_| !self.is_bound && !overslept) {
            return Err(format!("the poll of subscriber {who} was never answered"));
        }
        Ok(self.summary())
    }

    /// Whoever is parted from in words has heard everything; of what others heard nothing is missing in between.
    fn check_farewell(&self, who: usize, is_bidden: bool) -> Result<(), String> {
        let drain_ms = self.settings.drain_ms;
        let subscriber = &self.subscribers[who];
        match subscriber.goodbye {
            Goodbye::Nothing if is_bidden => {
                return Err(format!("{:?}: it was never told to go", subscriber.way));
            }
            Goodbye::Retry(ms) if !(drain_ms / 3..=drain_ms).contains(&ms) => {
                return Err(format!("it is to come back after {ms} ms, of {drain_ms}"));
            }
            Goodbye::Retry(_) | Goodbye::End | Goodbye::Nothing => {}
        }
        let whole = subscriber.goodbye != Goodbye::Nothing;
        subscriber.record.check(&self.log, whole, self.is_roomy)
    }
}
