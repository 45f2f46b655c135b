//! The reactor: one thread, one loop, seven steps.
//!
//! Wait, read the clock, accept, serve who is ready, advance; and in there, flush what is
//! unfinished and bury the dead. Every socket is registered once, edge-triggered, for reading
//! and writing, and never again: the engine remembers what it has not finished.
//!
//! Knows: mio, listeners, tokens. Never learns what is said on a connection.

use std::io::{self, ErrorKind};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

use crate::engine::{Engine, Readiness};
use crate::kit::clock::Now;
use crate::kit::id::ConnId;

use super::alarm::Alarm;
use super::clock::Clock;
use super::disk::Disk;
use super::listener::Listener;
use super::sqlite::Sqlite;
use super::stream::Stream;

/// Events taken from the kernel at a time. The rest stays there for the next turn.
const EVENTS_PER_TURN: usize = 1_024;

/// Connections accepted per turn and listener: a storm of new ones does not starve the old ones.
const ACCEPTS_PER_TURN: usize = 256;

/// Without descriptors, how long to wait before accepting is tried again, in microseconds.
const STARVED_RETRY_US: u64 = 500_000;

/// Between two complaints about it in the log, in microseconds.
const COMPLAINT_US: u64 = 60_000_000;

/// How often [`ACCEPTS_PER_TURN`] are accepted before listeners are closed: the kernel has promised them a server.
const LAST_ACCEPTS: usize = 64;

// Tokens that no connection has: no generation is all ones.
const ALARM: Token = Token(usize::MAX);
const SIGNALS: Token = Token(usize::MAX - 1);
/// The disk has answered. Nothing is to be read from it: its answers are taken in every turn.
const DISK: Token = Token(usize::MAX - 2);
const LISTENERS_END: usize = usize::MAX - 2;

/// The loop and what it turns.
pub(super) struct Reactor {
    poll: Poll,
    engine: Engine<Stream>,
    listeners: Vec<Listener>,
    alarm: Alarm,
    clock: Clock,
    signals: Signals,
    /// Where the log is kept, if not in memory.
    disk: Option<Disk>,
    /// There may be connections to accept. An edge-triggered listener does not say so twice.
    acceptable: bool,
    /// Out of descriptors: when to try again, in microseconds of the monotonic clock.
    starved_until: Option<u64>,
    /// When its want of descriptors was last logged: under load it comes and goes with every connection.
    complained_at: Option<u64>,
    /// Told to stop: it ends when the engine has parted from everybody.
    stopping: bool,
    /// Told again: it ends now.
    hurried: bool,
}

impl Reactor {
    pub(super) fn new(
        engine: Engine<Stream>,
        mut listeners: Vec<Listener>,
        clock: Clock,
        log: Option<Sqlite>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let alarm = Alarm::new()?;
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let registry = poll.registry();
        registry.register(&mut SourceFd(&alarm.descriptor()), ALARM, Interest::READABLE)?;
        registry.register(&mut signals, SIGNALS, Interest::READABLE)?;
        for (i, listener) in listeners.iter_mut().enumerate() {
            registry.register(listener.source(), Token(LISTENERS_END - 1 - i), Interest::READABLE)?;
        }
        let disk = match log {
            Some(log) => Some(Disk::start(log, Waker::new(registry, DISK)?)?),
            None => None,
        };
        Ok(Reactor {
            poll,
            engine,
            listeners,
            alarm,
            clock,
            signals,
            disk,
            acceptable: true,
            starved_until: None,
            complained_at: None,
            stopping: false,
            hurried: false,
        })
    }

    /// Turns until it is told to stop.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        let mut now = self.clock.now();
        while !self.is_over() {
            self.wait(&mut events, now)?;
            now = self.clock.now();
            if events.iter().any(|event| event.token() == SIGNALS) {
                self.obey_signals(now);
            }
            self.acceptable |= events.iter().any(|event| self.is_listener(event.token()));
            self.accept(now);
            let listeners_start = self.listeners_start();
            for event in events.iter().filter(|event| event.token() < listeners_start) {
                self.engine.ready(ConnId::from_u64(event.token().0 as u64), readiness(event), now);
            }
            if let Some(disk) = &self.disk {
                self.engine.stored(disk.answers(), now);
            }
            let before = self.engine.connections();
            self.engine.advance(now);
            if let Some(disk) = &self.disk {
                disk.give(self.engine.unstored().collect(), self.engine.outdated().collect());
            }
            now = self.clock.now();
            self.engine.end_turn(now.mono_us);
            if self.engine.connections() < before {
                // Descriptors are free again.
                self.starved_until = None;
            }
        }
        if let Some(disk) = self.disk.take().filter(|_| !self.hurried) {
            disk.close();
        }
        log::info!(cut_off = self.engine.connections(); "stopped");
        Ok(())
    }

    /// Sleeps until something is ready or due.
    fn wait(&mut self, events: &mut Events, now: Now) -> io::Result<()> {
        let accepting = self.acceptable.then(|| self.starved_until.unwrap_or(0));
        let deadline = [self.engine.deadline(), accepting].into_iter().flatten().min();
        let patience = self.alarm.before_sleep(deadline, now.mono_us)?;
        match self.poll.poll(events, patience) {
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            other => other,
        }
    }

    /// Takes who has come, as far as one turn goes. Returns whether more may be taken at once.
    fn accept(&mut self, now: Now) -> bool {
        if !self.acceptable || self.starved_until.is_some_and(|until| now.mono_us < until) {
            return false;
        }
        self.acceptable = false;
        for i in 0..self.listeners.len() {
            for turn in 0.. {
                if turn == ACCEPTS_PER_TURN {
                    self.acceptable = true;
                    break;
                }
                match self.listeners[i].accept() {
                    Ok((stream, peer)) => self.welcome(stream, peer, now),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if is_starvation(&error) => {
                        self.starve(&error, now);
                        return false;
                    }
                    // A client that gave up before it was accepted.
                    Err(error) => log::debug!(error:% = error; "not accepted"),
                }
            }
        }
        self.starved_until = None;
        self.acceptable
    }

    fn welcome(&mut self, mut stream: Stream, peer: Option<std::net::IpAddr>, now: Now) {
        let token = Token(self.engine.next_id().to_u64() as usize);
        let interests = Interest::READABLE | Interest::WRITABLE;
        match self.poll.registry().register(&mut stream, token, interests) {
            Ok(()) => {
                self.engine.accept(stream, peer, now);
            }
            Err(error) if self.may_complain(now) => {
                log::warn!(error:% = error; "not accepted: epoll refuses it")
            }
            Err(_) => {}
        }
    }

    /// No descriptor, or no memory, for another connection. Those that exist are served; accepting
    /// is tried again when one of them ends, and every now and then.
    fn starve(&mut self, error: &io::Error, now: Now) {
        self.acceptable = true;
        if self.engine.starved() {
            // Descriptors are free again when this turn is over.
            return;
        }
        if self.may_complain(now) {
            log::warn!(error:% = error, connections = self.engine.connections(); "cannot accept; serving those that are there");
        }
        self.starved_until = Some(now.mono_us + STARVED_RETRY_US);
    }

    /// Whether the log has not been told lately.
    fn may_complain(&mut self, now: Now) -> bool {
        let may = self.complained_at.is_none_or(|at| now.mono_us - at >= COMPLAINT_US);
        if may {
            self.complained_at = Some(now.mono_us);
        }
        may
    }

    /// The first signal ends the server politely, the second at once.
    fn obey_signals(&mut self, now: Now) {
        let signals: Vec<_> = self.signals.pending().collect();
        for signal in signals {
            if self.stopping {
                log::info!(signal = signal; "told again: leaving at once");
                self.hurried = true;
                continue;
            }
            log::info!(signal = signal, connections = self.engine.connections(); "told to stop");
            self.stopping = true;
            self.acceptable = true;
            let mut rounds = 0;
            while rounds < LAST_ACCEPTS && self.accept(now) {
                rounds += 1;
            }
            self.acceptable = false;
            self.listeners.clear();
            self.engine.shut_down(now);
        }
    }

    fn is_over(&self) -> bool {
        self.hurried || self.stopping && self.engine.connections() == 0
    }

    fn listeners_start(&self) -> Token {
        Token(LISTENERS_END - self.listeners.len())
    }

    fn is_listener(&self, token: Token) -> bool {
        (self.listeners_start().0..LISTENERS_END).contains(&token.0)
    }
}

fn readiness(event: &Event) -> Readiness {
    Readiness {
        readable: event.is_readable() || event.is_error(),
        writable: event.is_writable(),
        read_closed: event.is_read_closed() || event.is_error(),
    }
}

/// Whether `accept` failed for want of something that comes back when connections end.
fn is_starvation(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let starved = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS];
    starved.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
