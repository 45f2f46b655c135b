//! A worker: one process, one thread, one loop.
//!
//! A process may have only so many descriptors, and a core can hear only so much; so the load is
//! spread over several. Each takes orders on its standard input and reports on its standard output.
//! It ends when it is told to, and when the one who gives the orders is gone.
//!
//! Knows: the loop. Never learns what its part is about.

mod crowd;
mod person;
mod speaker;

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use mio::unix::pipe::Receiver;
use mio::{Events, Interest, Poll, Registry, Token, event::Event};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::alarm::Alarm;
use super::clock::mono_us;
use super::orders::{Lines, Order, Progress, Word, line};
use super::plan::{Place, Plan};
use super::tally::Tally;

use crowd::Crowd;
use speaker::Speaker;

/// Events taken at a time.
const EVENTS_PER_TURN: usize = 1_024;

/// How often a worker says how far it is.
const PROGRESS_EVERY_US: u64 = 100_000;

/// Tokens that are not connections.
const ORDERS: Token = Token(usize::MAX);
const ALARM: Token = Token(usize::MAX - 1);

/// What a worker is there for.
trait Part {
    /// An order, other than the last.
    fn order(&mut self, order: Order, now_us: u64);
    /// Something happened at a connection.
    fn ready(&mut self, event: &Event);
    /// Does what is due; says when something will be, or a past moment if there is more to do at once.
    fn advance(&mut self, now_us: u64) -> Option<u64>;
    fn progress(&self) -> Progress;
    /// The last order: all that was counted.
    fn finish(&mut self, said: u32) -> Tally;
}

/// Runs the process that [`super::fleet`] started.
pub(super) fn run() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = io::stdout().write_all(&line(&Word::Failed(format!("a worker cannot go on: {error}"))));
            ExitCode::FAILURE
        }
    }
}

fn work() -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // Ctrl-C goes to the whole group; what is to be done then is the conductor's decision.
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::new(AtomicBool::new(false)))?;
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });

    let poll = Poll::new()?;
    let mut orders = Receiver::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut lines = Lines::default();
    let (plan, place, rest) = first_order(&mut orders, &mut lines)?;
    bind_to_core(&plan, place)?;
    orders.set_nonblocking(true)?;
    poll.registry().register(&mut orders, ORDERS, Interest::READABLE)?;
    let registry = poll.registry().try_clone()?;
    let part: Box<dyn Part> = match place.publishes {
        true => Box::new(Speaker::new(plan, registry)),
        false => Box::new(Crowd::new(plan, place, registry)),
    };
    Worker { alarm: Alarm::new(poll.registry(), ALARM)?, poll, orders, lines, part, longest_turn_us: 0 }
        .run(rest)
}

/// Waits for the plan; other orders may have come with it.
fn first_order(orders: &mut Receiver, lines: &mut Lines) -> io::Result<(Plan, Place, Vec<Order>)> {
    let gone = || io::Error::new(io::ErrorKind::UnexpectedEof, "nobody gives orders");
    loop {
        // The pipe still blocks: this takes one piece at a time.
        let mut piece = [0; 4_096];
        let length = io::Read::read(orders, &mut piece)?;
        if length == 0 {
            return Err(gone());
        }
        lines.fill(&mut &piece[..length])?;
        let mut heard = lines.take::<Order>()?.into_iter();
        if let Some(Order::Plan(plan, place)) = heard.next() {
            return Ok((*plan, place, heard.collect()));
        }
    }
}

fn bind_to_core(plan: &Plan, place: Place) -> io::Result<()> {
    if plan.pin.is_empty() {
        return Ok(());
    }
    // The publisher shares the last worker's core rather than the server's.
    let at = if place.publishes { plan.pin.len() - 1 } else { place.number as usize % plan.pin.len() };
    let mut cores = CpuSet::new();
    cores.set(plan.pin[at]);
    Ok(sched_setaffinity(None, &cores)?)
}

struct Worker {
    poll: Poll,
    alarm: Alarm,
    orders: Receiver,
    lines: Lines,
    part: Box<dyn Part>,
    longest_turn_us: u64,
}

impl Worker {
    fn run(mut self, first: Vec<Order>) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        let (mut due, mut report_us) = (Some(0), 0);
        for order in first {
            if self.obey(order)? {
                return Ok(());
            }
        }
        loop {
            let woken = self.wait(&mut events, due.map_or(report_us, |due| due.min(report_us)))?;
            for event in &events {
                match event.token() {
                    ALARM => {}
                    ORDERS => {
                        let alive = self.lines.fill(&mut self.orders)?;
                        for order in self.lines.take()? {
                            if self.obey(order)? {
                                return Ok(());
                            }
                        }
                        if !alive {
                            return Ok(());
                        }
                    }
                    _ => self.part.ready(event),
                }
            }
            let now = mono_us();
            due = self.part.advance(now);
            if now >= report_us {
                io::stdout().write_all(&line(&Word::Progress(self.part.progress())))?;
                report_us = now + PROGRESS_EVERY_US;
            }
            self.longest_turn_us = self.longest_turn_us.max(mono_us() - woken);
        }
    }

    /// Sleeps until something happens or `until_us` is there; says when it woke.
    fn wait(&mut self, events: &mut Events, until_us: u64) -> io::Result<u64> {
        let timeout = if until_us <= mono_us() {
            Some(Duration::ZERO)
        } else {
            self.alarm.set(Some(until_us))?;
            None
        };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(mono_us()),
        }
    }

    /// Carries out an order; true after the last.
    fn obey(&mut self, order: Order) -> io::Result<bool> {
        let Order::Finish { said } = order else {
            self.part.order(order, mono_us());
            return Ok(false);
        };
        let mut tally = self.part.finish(said);
        tally.longest_turn_us = self.longest_turn_us;
        io::stdout().write_all(&line(&Word::Result(Box::new(tally))))?;
        Ok(true)
    }
}

/// Registers a connection, once and for ever.
fn register(registry: &Registry, socket: &mut mio::net::TcpStream, token: Token) -> io::Result<()> {
    registry.register(socket, token, Interest::READABLE | Interest::WRITABLE)
}

/// What went wrong, in words that are the same each time.
fn kind(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => "connection refused".into(),
        Some(libc::ECONNRESET) => "connection reset".into(),
        Some(libc::ETIMEDOUT) => "connection timed out".into(),
        Some(libc::EADDRNOTAVAIL) => "no free port at the source address".into(),
        Some(libc::EMFILE) => "out of descriptors (ulimit -n)".into(),
        Some(libc::EPIPE) => "broken pipe".into(),
        _ => error.to_string(),
    }
}
