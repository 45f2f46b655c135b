//! The disk: the log on a thread of its own, because a disk takes its time.
//!
//! The reactor hands over what is to be stored and goes on. The thread takes all that has come meanwhile, stores it
//! in one transaction (so the slower the disk, the more messages share a commit), answers, and wakes the reactor.
//! With nothing to store it sleeps, and nobody wakes it.
//!
//! Knows: two queues, a waker. Never learns statements, or what a publisher is told.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use mio::Waker;

use crate::engine::{Stored, Unstored};

use super::clock::Clock;
use super::sqlite::Sqlite;

/// Messages that share a commit, at most, unless one publication alone has more: all of their publishers are answered in
/// one turn of the reactor.
const MESSAGES_PER_COMMIT: usize = 256;

/// What is outdated is forgotten with the next message that is stored; and by itself if none comes for so long, or if
/// so many channels are waiting for it.
const FORGETS_AFTER: Duration = Duration::from_secs(1);
const FORGETS_AT: usize = 1_000;

/// How long the end of the process waits for the disk. What it has not stored by then was promised to nobody.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the reactor hands over in a turn.
struct Order {
    unstored: Vec<Unstored>,
    outdated: Vec<(String, u64)>,
}

/// The reactor's end.
pub(super) struct Disk {
    orders: Sender<Order>,
    answers: Receiver<Vec<Stored>>,
}

impl Disk {
    /// Starts the thread. `waker` is told when there are answers.
    pub(super) fn start(log: Sqlite, waker: Waker) -> io::Result<Self> {
        let (orders, received) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let keeper = Keeper {
            log,
            clock: Clock::new(),
            orders: received,
            answer,
            waker,
            waiting: VecDeque::new(),
            outdated: HashMap::new(),
            is_well: true,
        };
        thread::Builder::new().name("encke-log".into()).spawn(|| keeper.run())?;
        Ok(Disk { orders, answers })
    }

    /// Hands over what is to be stored, and what need not be kept any longer.
    pub(super) fn give(&self, unstored: Vec<Unstored>, outdated: Vec<(String, u64)>) {
        if !(unstored.is_empty() && outdated.is_empty()) {
            self.orders.send(Order { unstored, outdated }).expect("the thread ends after us");
        }
    }

    /// What the disk has answered since the last call.
    pub(super) fn answers(&self) -> impl Iterator<Item = Stored> {
        self.answers.try_iter().flatten()
    }

    /// Waits until everything is stored, but not for ever.
    pub(super) fn close(self) {
        drop(self.orders);
        loop {
            match self.answers.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    return log::warn!("the disk does not answer; left without it");
                }
            }
        }
    }
}

/// The thread's end.
struct Keeper {
    log: Sqlite,
    clock: Clock,
    orders: Receiver<Order>,
    answer: Sender<Vec<Stored>>,
    waker: Waker,
    waiting: VecDeque<Unstored>,
    outdated: HashMap<String, u64>,
    /// Whether the disk stored what it was last given.
    is_well: bool,
}

impl Keeper {
    fn run(mut self) {
        loop {
            let order = match self.outdated.is_empty() {
                true => self.orders.recv().map_err(RecvTimeoutError::from),
                false => self.orders.recv_timeout(FORGETS_AFTER),
            };
            let is_over = matches!(order, Err(RecvTimeoutError::Disconnected));
            let is_time = order.is_err();
            order.into_iter().for_each(|order| self.take(order));
            self.take_all();
            while !self.waiting.is_empty() {
                self.store();
                self.take_all();
            }
            if !self.outdated.is_empty() && (is_time || self.outdated.len() >= FORGETS_AT) {
                self.store();
            }
            if is_over {
                // The file is closed before the reactor hears that nothing more will come.
                drop(self.log);
                return drop(self.answer);
            }
        }
    }

    fn take(&mut self, order: Order) {
        self.waiting.extend(order.unstored);
        self.outdated.extend(order.outdated);
    }

    fn take_all(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            self.take(order);
        }
    }

    /// Stores what has waited longest, as one, and answers.
    fn store(&mut self) {
        let mut messages = 0;
        let fits = self.waiting.iter().take_while(|one| {
            messages += one.publications.len();
            messages <= MESSAGES_PER_COMMIT
        });
        let count = fits.count().max(1).min(self.waiting.len());
        let group: Vec<Unstored> = self.waiting.drain(..count).collect();
        let stored = self.log.store(&group, &self.outdated, self.clock.now());
        self.complain(stored.as_ref().err());
        let first_ids = match stored {
            Ok(first_ids) => {
                self.outdated.clear();
                first_ids.into_iter().map(Some).collect()
            }
            Err(_) => vec![None; group.len()],
        };
        let answers = group.into_iter().zip(first_ids).map(|(what, first_id)| Stored { what, first_id });
        // The reactor may be gone; what it has given us is stored all the same.
        let _ = self.answer.send(answers.collect());
        let _ = self.waker.wake();
    }

    /// Says in the log when the disk has fallen ill, and when it is well again; once each.
    fn complain(&mut self, error: Option<&rusqlite::Error>) {
        let was_well = std::mem::replace(&mut self.is_well, error.is_none());
        match error {
            Some(error) if was_well => {
                log::error!(error:% = error; "the disk does not store; publishers are answered 503")
            }
            None if !was_well => log::info!("the disk stores again"),
            _ => {}
        }
    }
}
