//! The fleet: the worker processes, and the pipes to them.
//!
//! Knows: processes, pipes, signals. Never learns what is measured.

use std::io::{self, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use mio::unix::pipe::Receiver;
use mio::{Events, Interest, Poll, Token};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

use super::orders::{Lines, Order, Progress, Word, line};
use super::plan::{Place, Plan};
use super::server::scheduled_us;
use super::tally::Tally;

/// The token of the signals; workers have theirs from 0 on.
const SIGNALS: Token = Token(usize::MAX);

/// One worker, from outside.
struct Worker {
    child: Child,
    orders: ChildStdin,
    words: Receiver,
    lines: Lines,
    progress: Progress,
    heard: bool,
    result: Option<Tally>,
}

/// All of them. The last one publishes, if anybody does. Who drops it ends them.
pub(super) struct Fleet {
    workers: Vec<Worker>,
    publishes: bool,
    poll: Poll,
    events: Events,
    signals: Signals,
    /// How often somebody has pressed Ctrl-C.
    pub(super) interruptions: u32,
}

impl Fleet {
    /// Starts so many workers, and one to publish if there is anything to say.
    pub(super) fn start(plan: &Plan, workers: u32) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
        let publishes = plan.say.is_some();
        let mut fleet = Fleet {
            workers: Vec::new(),
            publishes,
            poll,
            events: Events::with_capacity(64),
            signals,
            interruptions: 0,
        };
        let places = (0..workers).map(|number| Place { number, of: workers, publishes: false });
        let publisher = publishes.then_some(Place { number: workers, of: workers, publishes: true });
        for place in places.chain(publisher) {
            fleet.add(plan, place)?;
        }
        Ok(fleet)
    }

    fn add(&mut self, plan: &Plan, place: Place) -> io::Result<()> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bench", "--worker"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().expect("it was piped");
        let mut words = Receiver::from(child.stdout.take().expect("it was piped"));
        words.set_nonblocking(true)?;
        let token = Token(self.workers.len());
        self.poll.registry().register(&mut words, token, Interest::READABLE)?;
        let (lines, progress) = (Lines::default(), Progress::default());
        self.workers.push(Worker { child, orders, words, lines, progress, heard: false, result: None });
        let last = self.workers.last_mut().expect("it was just pushed");
        last.orders.write_all(&line(&Order::Plan(Box::new(plan.clone()), place)))
    }

    /// An order for all, or with `publisher` for that one alone.
    pub(super) fn order(&mut self, order: &Order, publisher: Option<bool>) -> io::Result<()> {
        let line = line(order);
        let last = self.workers.len() - usize::from(self.publishes);
        for (at, worker) in self.workers.iter_mut().enumerate() {
            if publisher.is_none_or(|publisher| publisher == (at >= last)) {
                worker.orders.write_all(&line)?;
            }
        }
        Ok(())
    }

    /// Waits until somebody says something, at most so long.
    pub(super) fn listen(&mut self, at_most: Duration) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(at_most)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &self.events {
            if event.token() == SIGNALS {
                self.interruptions += self.signals.pending().count() as u32;
                continue;
            }
            let worker = &mut self.workers[event.token().0];
            let alive = worker.lines.fill(&mut worker.words)?;
            for word in worker.lines.take()? {
                match word {
                    Word::Progress(progress) => (worker.progress, worker.heard) = (progress, true),
                    Word::Result(tally) => worker.result = Some(*tally),
                    Word::Failed(why) => return Err(io::Error::other(why)),
                }
            }
            if !alive && worker.result.is_none() {
                return Err(io::Error::other("a worker has ended before its time"));
            }
        }
        Ok(())
    }

    /// How far all of them are together.
    pub(super) fn progress(&self) -> Progress {
        let mut sum = Progress::default();
        self.workers.iter().for_each(|worker| sum.add(&worker.progress));
        sum
    }

    /// Whether all have said something.
    pub(super) fn is_up(&self) -> bool {
        self.workers.iter().all(|worker| worker.heard)
    }

    /// CPU time of each so far, and how long it waited for a core, in microseconds; the publisher's last. From the
    /// kernel: a worker that is too busy to report must not look idle.
    pub(super) fn scheduled_us(&self) -> Vec<(u64, u64)> {
        self.workers.iter().map(|worker| scheduled_us(worker.child.id())).collect()
    }

    /// Whether all, or the publisher alone, have told their results.
    pub(super) fn has_results(&self, publisher_only: bool) -> bool {
        let mut asked = self.workers.iter().rev().take(if publisher_only { 1 } else { usize::MAX });
        asked.all(|worker| worker.result.is_some())
    }

    /// The publisher's results, as long as they have not been taken: how many messages were said.
    pub(super) fn said(&self) -> u32 {
        let publisher = self.workers.last().filter(|_| self.publishes);
        let tally = publisher.and_then(|worker| worker.result.as_ref());
        tally.map_or(0, |tally| tally.publications.len() as u32)
    }

    /// All results, added up.
    pub(super) fn take_results(&mut self) -> Tally {
        let mut sum = Tally::default();
        self.workers.iter_mut().filter_map(|worker| worker.result.take()).for_each(|tally| sum.merge(tally));
        sum
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            let _ = worker.child.kill();
            let _ = worker.child.wait();
        }
    }
}
