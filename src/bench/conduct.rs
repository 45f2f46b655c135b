//! The conductor: takes a run through its phases.
//!
//! ```text
//! connect -> settle -> speak -> linger -> storm, if any -> finish
//! ```
//!
//! The server is looked at between the phases, so that looking costs it nothing while it is
//! measured; only its processor time is read all along. Every phase ends by itself: when it has
//! what it waits for, when patience is over, or when somebody presses Ctrl-C; then the results so
//! far are told.
//!
//! Knows: phases and their ends. Never learns what a worker does.

use std::io;
use std::time::Duration;

use super::clock::mono_us;
use super::fleet::Fleet;
use super::meter::Meter;
use super::orders::{Order, Progress};
use super::plan::Plan;
use super::server::{Memory, Server, Usage, kernel_memory};
use super::tally::Tally;

/// Orders that are to be carried out by all at one moment are given so long before it.
const AHEAD_US: u64 = 100_000;

/// How often the server's processor time is read.
const SAMPLE_EVERY_US: u64 = 250_000;

/// While connections come in, its memory is read this often: a walk over all of its pages is no small thing.
const MEMORY_EVERY_US: u64 = 500_000;

/// Before the bill of a storm is made up: no server is known to keep a half-closed connection for longer.
const GRACE_US: u64 = 6_000_000;

/// How long workers may take to tell their results.
const RESULTS_US: u64 = 60_000_000;

/// What a run yields; the report is made from it.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) tally: Tally,
    pub(super) said: u32,
    pub(super) interrupted: bool,
    /// Listening when the first message was due.
    pub(super) listening: u64,
    pub(super) ramp_s: f64,
    /// Memory before the first connection, and when all were there and nothing happened.
    pub(super) before: Memory,
    pub(super) after: Memory,
    /// What the server used while connections came in, while nothing happened, while messages were sent.
    pub(super) ramp: Usage,
    pub(super) idle: Usage,
    pub(super) idle_s: f64,
    pub(super) speak: Usage,
    pub(super) speak_s: f64,
    /// The same, until the last delivery: the time to which `speak` belongs.
    pub(super) served_s: f64,
    /// What each worker used of a core meanwhile, the publisher's last.
    pub(super) shares: Vec<f64>,
    /// How long all of them together were ready to run and had no core.
    pub(super) client_waited_s: f64,
    pub(super) storms: Vec<Storm>,
    pub(super) samples: Vec<Sample>,
}

/// One storm, from the conductor's side.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Storm {
    pub(super) usage: Usage,
}

/// A moment of the run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    /// Since the first connection.
    pub(super) t_s: f64,
    pub(super) listening: u64,
    pub(super) received: u64,
    pub(super) said: u64,
    pub(super) ticks: u64,
    pub(super) server_cpu_us: u64,
    /// Zero where it was not read.
    pub(super) server_pss: u64,
}

/// How a run is to be conducted, beside its plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) workers: u32,
    pub(super) storms: u32,
    pub(super) settle: Duration,
    pub(super) patience: Duration,
}

/// A run under way.
pub(super) struct Conductor<'a> {
    plan: &'a Plan,
    manner: Manner,
    server: Option<&'a Server>,
    fleet: Fleet,
    meter: Meter,
    record: Record,
    start_us: u64,
    sampled_us: u64,
    memory_us: u64,
    watches_memory: bool,
    /// So many interruptions have had their effect; a further one ends the current phase.
    heeded: u32,
}

/// Carries out the plan.
pub(super) fn run(plan: &Plan, manner: Manner, server: Option<&Server>) -> io::Result<Record> {
    let fleet = Fleet::start(plan, manner.workers)?;
    let conductor = Conductor {
        plan,
        manner,
        server,
        fleet,
        meter: Meter::new(),
        record: Record::default(),
        start_us: 0,
        sampled_us: 0,
        memory_us: 0,
        watches_memory: true,
        heeded: 0,
    };
    conductor.run()
}

impl Conductor<'_> {
    fn run(mut self) -> io::Result<Record> {
        self.connect()?;
        self.settle()?;
        if self.record.listening > 0 && self.fleet.interruptions == 0 {
            self.speak()?;
        }
        for _ in 0..self.manner.storms {
            self.storm()?;
        }
        self.finish()?;
        self.record.interrupted = self.fleet.interruptions > 0;
        Ok(self.record)
    }

    fn connect(&mut self) -> io::Result<()> {
        // Workers that are not up yet would begin late.
        self.until(5_000_000, Fleet::is_up)?;
        self.record.before = self.server.map_or_else(kernel_memory, Server::memory);
        let used = self.usage();
        self.start_us = mono_us() + AHEAD_US;
        self.fleet.order(&Order::Ramp { at_us: self.start_us }, None)?;
        let last_us = self.plan.connect_us(self.start_us, self.plan.connections);
        let patience = last_us.saturating_sub(mono_us()) + self.patience_us();
        self.meter.phase("connecting", u64::from(self.plan.connections));
        self.until(patience, |fleet| fleet.progress().pending == 0)?;
        self.watches_memory = false;
        self.record.ramp_s = mono_us().saturating_sub(self.start_us) as f64 / 1e6;
        self.record.ramp = self.usage().since(&used);
        Ok(())
    }

    /// Lets nothing happen, and sees what that costs.
    fn settle(&mut self) -> io::Result<()> {
        self.meter.phase("settling", 0);
        let (used, from) = (self.usage(), mono_us());
        self.until(self.manner.settle.as_micros() as u64, |_| false)?;
        self.record.idle = self.usage().since(&used);
        self.record.idle_s = (mono_us() - from) as f64 / 1e6;
        self.record.after = self.server.map_or_else(kernel_memory, Server::memory);
        self.record.listening = self.fleet.progress().listening;
        Ok(())
    }

    fn speak(&mut self) -> io::Result<()> {
        let start_us = mono_us() + AHEAD_US;
        let messages = u64::from(self.plan.messages());
        self.fleet.order(&Order::Speak { at_us: start_us }, None)?;
        self.meter.phase("measuring", self.plan.duration_us / 1_000);
        let (used, scheduled, from) = (self.usage(), self.fleet.scheduled_us(), mono_us());
        let end_us = start_us + self.plan.duration_us;
        self.until(end_us.saturating_sub(mono_us()), |_| false)?;
        // What was said is still waited for, interrupted or not: it would count as lost.
        self.heeded = self.fleet.interruptions;
        let to = mono_us();
        self.record.speak_s = (to - from) as f64 / 1e6;
        for (now, then) in self.fleet.scheduled_us().iter().zip(&scheduled) {
            self.record.shares.push((now.0 - then.0) as f64 / (to - from).max(1) as f64);
            self.record.client_waited_s += (now.1 - then.1) as f64 / 1e6;
        }
        self.fleet.order(&Order::Hush, None)?;
        self.meter.phase("waiting for the last ones", 0);
        self.until(self.patience_us().min(1_000_000), |fleet| {
            let progress = fleet.progress();
            progress.said >= messages && progress.answered >= progress.said
        })?;
        self.linger()?;
        self.record.speak = self.usage().since(&used);
        self.record.served_s = (mono_us() - from) as f64 / 1e6;
        Ok(())
    }

    /// Waits until everybody is back and has everything, as far as can be told, or nothing more comes.
    fn linger(&mut self) -> io::Result<()> {
        const QUIET_US: u64 = 500_000;
        let (plan, slow) = (self.plan, self.plan.slow_share + self.plan.stalled_share);
        let mut last = (0, mono_us());
        self.until(self.patience_us(), |fleet| {
            let progress = fleet.progress();
            let expected = expected(plan, &progress);
            if progress.received != last.0 {
                last = (progress.received, mono_us());
            }
            let all = slow == 0.0 && progress.received >= expected;
            progress.pending == 0 && (all || slow > 0.0 && mono_us() > last.1 + QUIET_US)
        })
    }

    fn storm(&mut self) -> io::Result<()> {
        if self.record.listening == 0 || self.fleet.interruptions > 0 {
            return Ok(());
        }
        let used = self.usage();
        self.fleet.order(&Order::Storm { at_us: mono_us() }, Some(false))?;
        self.meter.phase("storm", u64::from(self.plan.connections));
        // A worker that is still cutting has not said so.
        let begun = u64::from(self.manner.workers) * (self.record.storms.len() as u64 + 1);
        self.until(self.patience_us() * 4, |fleet| {
            let progress = fleet.progress();
            progress.storms == begun && progress.storming == 0
        })?;
        // What the end of the old connections costs belongs to it, also where a server grants half-closed ones a moment.
        if self.server.is_some() {
            self.until(GRACE_US, |_| false)?;
        }
        self.record.storms.push(Storm { usage: self.usage().since(&used) });
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.meter.phase("counting", 0);
        if self.plan.say.is_some() {
            self.fleet.order(&Order::Finish { said: 0 }, Some(true))?;
            self.insist(|fleet| fleet.has_results(true))?;
        }
        self.record.said = self.fleet.said();
        self.fleet.order(&Order::Finish { said: self.record.said }, Some(false))?;
        self.insist(|fleet| fleet.has_results(false))?;
        self.record.tally = self.fleet.take_results();
        self.meter.end();
        Ok(())
    }

    /// Waits for results, Ctrl-C or not.
    fn insist(&mut self, condition: impl Fn(&Fleet) -> bool) -> io::Result<()> {
        let end_us = mono_us() + RESULTS_US;
        while !condition(&self.fleet) {
            if mono_us() > end_us {
                return Err(io::Error::other("a worker does not tell its results"));
            }
            self.fleet.listen(Duration::from_millis(100))?;
        }
        Ok(())
    }

    /// Lets the run go on until `condition` holds, for at most `patience_us`.
    fn until(&mut self, patience_us: u64, mut condition: impl FnMut(&Fleet) -> bool) -> io::Result<()> {
        let end_us = mono_us() + patience_us;
        loop {
            let now = mono_us();
            if now >= end_us || self.fleet.interruptions > self.heeded || condition(&self.fleet) {
                return Ok(());
            }
            self.sample(now);
            let wait = (end_us - now).min(50_000);
            self.fleet.listen(Duration::from_micros(wait))?;
            self.meter.show(&self.fleet.progress(), now);
        }
    }

    fn sample(&mut self, now_us: u64) {
        if self.start_us == 0 || now_us < self.sampled_us + SAMPLE_EVERY_US {
            return;
        }
        self.sampled_us = now_us;
        let progress = self.fleet.progress();
        let reads_memory = self.watches_memory && now_us >= self.memory_us + MEMORY_EVERY_US;
        if reads_memory {
            self.memory_us = now_us;
        }
        self.record.samples.push(Sample {
            t_s: now_us.saturating_sub(self.start_us) as f64 / 1e6,
            listening: progress.listening,
            received: progress.received,
            said: progress.said,
            ticks: progress.ticks,
            server_cpu_us: self.usage().cpu_us(),
            server_pss: self.server.filter(|_| reads_memory).map_or(0, Server::pss),
        });
    }

    fn usage(&self) -> Usage {
        self.server.map_or_else(Usage::default, Server::usage)
    }

    fn patience_us(&self) -> u64 {
        self.manner.patience.as_micros() as u64
    }
}

/// How many deliveries there will be if everybody who listens hears everything: close enough to know when to stop
/// waiting, which is all that it is for.
fn expected(plan: &Plan, progress: &Progress) -> u64 {
    (progress.said as f64 * progress.listening as f64 / f64::from(plan.channels)).floor() as u64
}
