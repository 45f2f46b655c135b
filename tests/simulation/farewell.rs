//! The end of a world: everybody comes back and hears all; then everybody leaves, or the server
//! does, and nothing is left.
//!
//! Knows: what must hold in the end. Never throws dice.

use encke::config::Limits;
use encke::engine::Hangup;

use super::disk::Disk;
use super::script::{BEATS, CLOCK, Script, Start, Temper, Way};
use super::subscriber::Subscriber;
use super::wire::Line;
use super::world::{KERNEL_PATIENCE_MS, Summary, World};

/// After so long nobody waits any more for one who closed his half.
const GRACE_MS: u64 = 10_000;

/// A buffer that nobody fills.
pub const WIDE: usize = 1 << 20;

impl World {
    /// Everybody comes back and hears all; then everybody leaves, and nothing may be left.
    pub fn end(mut self, script: &Script) -> Result<Summary, String> {
        let ends = if self.leaving.is_some() { self.leave(script) } else { self.farewell(script) };
        ends.map_err(|error| format!("{error}\n    in the end"))
    }

    fn farewell(&mut self, script: &Script) -> Result<Summary, String> {
        self.change_disk(Temper::Prompt);
        self.free_the_server()?;
        for who in 0..self.subscribers.len() {
            if self.subscribers[who].is_free() {
                let way = [Way::Ndjson, Way::Events, Way::Websocket, Way::Poll, Way::Iframe][who % 5];
                self.ask(who, way, Start::Cursor, WIDE, usize::MAX, false);
            }
        }
        self.audit()?;
        self.inspect(script.seed as usize % 3, 2)?;
        self.expect_ticks()?;
        self.expect_signs_of_life()?;
        self.audit()?;
        self.expect_answers()?;
        if script.is_calm && self.engine.stats().hangups(Hangup::Stalled) == 0 {
            self.count(script.is_slow)?;
        }
        if script.is_shut_down {
            self.stop()?;
            return self.leave(script);
        }
        self.everybody_leaves()?;
        Ok(self.summary())
    }

    /// The disk is well again, and nobody who could hear an answer waits for one.
    fn expect_answers(&self) -> Result<(), String> {
        if self.publisher.waits() {
            return Err(format!("nobody answers {:?}", self.publisher.asked));
        }
        match self.subscribers.iter().position(Subscriber::has_commanded) {
            Some(who) => Err(format!("nobody answers what subscriber {who} has commanded")),
            None => Ok(()),
        }
    }

    pub fn summary(&self) -> Summary {
        let heard = self.subscribers.iter().map(|subscriber| subscriber.record.entries.len()).sum();
        let stats = self.engine.stats();
        Summary {
            heard,
            said: self.log.said.len(),
            is_roomy: self.is_roomy,
            unstored: [stats.store_failures, stats.store_refusals, stats.store_timeouts],
        }
    }

    /// Those who listen, read everything, and could take much more.
    pub fn streams(&self) -> Vec<usize> {
        let is_stream = |who: &usize| {
            let subscriber = &self.subscribers[*who];
            let is_wide = subscriber.line.as_ref().is_some_and(|line| line.borrow().capacity >= WIDE);
            subscriber.is_listening() && subscriber.way != Way::Poll && is_wide
        };
        (0..self.subscribers.len()).filter(is_stream).collect()
    }

    /// Who listens to a ticker hears its ticks, one after the other.
    fn expect_ticks(&mut self) -> Result<(), String> {
        let beat_ms = self.settings.tickers[0].every_ms;
        for (channel, every_ms) in [(CLOCK, 1_000), (BEATS, beat_ms)] {
            self.read_all()?;
            let listeners: Vec<(usize, usize)> = self
                .streams()
                .into_iter()
                .filter(|&who| self.subscribers[who].channels & 1 << channel != 0)
                .map(|who| (who, self.subscribers[who].ticks(channel)))
                .collect();
            if listeners.is_empty() {
                continue;
            }
            const BEATS_HEARD: u64 = 3;
            for _ in 0..BEATS_HEARD {
                self.pass(every_ms, false)?;
                for &(who, _) in &listeners {
                    self.read(who, usize::MAX)?;
                }
            }
            let begun_ms = self.now.mono_ms() - self.began.mono_ms();
            let last = if channel == CLOCK { self.now.unix_s() } else { begun_ms / every_ms };
            for (who, before) in listeners {
                let ticks = (self.subscribers[who].ticks(channel) - before) as u64;
                if self.subscribers[who].is_listening() && ticks != BEATS_HEARD {
                    return Err(format!("subscriber {who} heard {ticks} ticks in {BEATS_HEARD} beats"));
                }
                let said = self.subscribers[who].last_tick(channel);
                if self.subscribers[who].is_listening() && said != Some(last) {
                    return Err(format!("subscriber {who} was told {said:?} in the beat {last}"));
                }
            }
        }
        Ok(())
    }

    /// No stream is silent for longer than two heartbeats.
    fn expect_signs_of_life(&mut self) -> Result<(), String> {
        let heartbeat_ms = self.settings.heartbeat_ms;
        if heartbeat_ms == 0 {
            return Ok(());
        }
        let written = |world: &World, who: usize| {
            world.subscribers[who].line.as_ref().map(|line| line.borrow().written)
        };
        let before: Vec<_> = self.streams().into_iter().map(|who| (who, written(self, who))).collect();
        self.pass(2 * heartbeat_ms + 10, false)?;
        for (who, written_before) in before {
            if self.subscribers[who].is_listening() && written(self, who) == written_before {
                return Err(format!("subscriber {who} has heard no heartbeat"));
            }
        }
        Ok(())
    }

    fn everybody_leaves(&mut self) -> Result<(), String> {
        for (who, subscriber) in self.subscribers.iter_mut().enumerate() {
            if let Some(line) = subscriber.line.take() {
                match who % 3 {
                    0 => line.borrow_mut().half_close(),
                    1 => line.borrow_mut().reset(true),
                    _ => line.borrow_mut().vanish(),
                }
            }
        }
        for line in &self.lines {
            if !line.borrow().is_half_closed() {
                line.borrow_mut().vanish();
            }
        }
        self.give_up_the_stalled()?;
        self.free_the_server()?;
        self.pass(2 * self.settings.heartbeat_ms + 200_000, false)?;
        let left = self.engine.connections();
        if left > 0 {
            return Err(format!("{left} connections are left when everybody is gone"));
        }
        self.pass(self.settings.limits.history_age_ms + 2_000, false)?;
        self.expect_nothing()
    }

    /// Who takes nothing for long is given up without the kernel's help.
    fn give_up_the_stalled(&mut self) -> Result<(), String> {
        let stalled: Vec<Line> =
            self.lines.iter().filter(|line| line.borrow().is_blocked()).cloned().collect();
        let Limits { write_timeout_ms, .. } = self.settings.limits;
        self.pass(3 * write_timeout_ms.max(self.settings.heartbeat_ms) + 1_000, false)?;
        match stalled.iter().filter(|line| !line.borrow().is_free()).count() {
            0 => Ok(()),
            kept => Err(format!("{kept} connections that take nothing are kept for ever")),
        }
    }

    /// Everybody reads, as long as there is anything.
    pub fn read_all(&mut self) -> Result<(), String> {
        loop {
            let before = self.bytes_read();
            for who in 0..self.subscribers.len() {
                self.read(who, usize::MAX)?;
            }
            self.settle()?;
            if self.bytes_read() == before {
                return Ok(());
            }
        }
    }

    fn expect_nothing(&mut self) -> Result<(), String> {
        // An address that has said too much, and those who closed their half and went, are remembered until the
        // next one comes, closes his half, and goes.
        let line = self.connect(WIDE).ok_or("there is no room where nobody is")?;
        line.borrow_mut().send(b"GET /channels/a?as=ndjson HTTP/1.1\r\nHost: x\r\n\r\n");
        line.borrow_mut().half_close();
        self.settle()?;
        self.pass(GRACE_MS, false)?;
        let mut held = self.engine.holdings();
        if held.halves > 1 {
            return Err(format!("{} who closed their half are remembered, and one did", held.halves));
        }
        held.halves = 0;
        match self.disk.as_mut().map_or(0, Disk::tidy) {
            0 => {}
            rows => return Err(format!("the disk keeps {rows} messages that no history has")),
        }
        if held != Default::default() {
            return Err(format!(
                "something is left when everybody is gone and everything is forgotten: {held:?}"
            ));
        }
        Ok(())
    }

    /// Those who have vanished are given up by the kernel, in time.
    fn free_the_server(&mut self) -> Result<(), String> {
        self.pass(KERNEL_PATIENCE_MS, false)?;
        for line in &self.lines {
            let has_vanished = line.borrow().has_vanished();
            if has_vanished {
                line.borrow_mut().reset(true);
            }
        }
        self.settle()
    }
}
