//! The publisher: says each message when it is due, whatever became of those before.
//!
//! A message goes out over a connection that has nothing to wait for; if there is none, over a new
//! one; if there are enough of them, behind the request that has the fewest before it. So an answer
//! that takes long delays nobody, and if a message is late all the same, its latency is counted
//! from when it was due.
//!
//! Knows: requests, answers, moments. Never learns who listens.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Registry, Token};

use super::super::answer::{Answer, Heard};
use super::super::clock::mono_us;
use super::super::orders::{Order, Progress};
use super::super::plan::{Plan, Say};
use super::super::source;
use super::super::stamp::Stamp;
use super::super::tally::{Publication, Tally};
use super::super::template::Filling;
use super::{Part, kind, register};

/// Connections that are opened before anything is due, so that the first messages need not wait for one.
const LINES_AT_FIRST: usize = 2;

/// Bytes read at a time.
const READ_BYTES: usize = 16 * 1024;

/// One connection to publish over.
struct Line {
    socket: TcpStream,
    connected: bool,
    answer: Answer,
    /// Messages whose answers are to come, in order.
    waiting: VecDeque<u32>,
    unsent: Vec<u8>,
    /// Of `waiting`, the last ones, whose requests end so many bytes into `unsent`.
    unsent_ends: VecDeque<(u32, usize)>,
}

pub(super) struct Speaker {
    plan: Plan,
    say: Say,
    registry: Registry,
    lines: Vec<Option<Line>>,
    /// Due messages for which there is no connection yet.
    queue: VecDeque<u32>,
    publications: Vec<Publication>,
    start_us: Option<u64>,
    hushed: bool,
    answered: u64,
    tally: Tally,
    last_error: Option<String>,
}

impl Speaker {
    pub(super) fn new(plan: Plan, registry: Registry) -> Self {
        let say = plan.say.clone().expect("who has nothing to say gets no publisher");
        Speaker {
            publications: Vec::with_capacity(plan.messages() as usize),
            plan,
            say,
            registry,
            lines: Vec::new(),
            queue: VecDeque::new(),
            start_us: None,
            hushed: false,
            answered: 0,
            tally: Tally::default(),
            last_error: None,
        }
    }

    /// Opens a connection; says where it is.
    fn open(&mut self) -> Option<usize> {
        let at = self.lines.iter().position(Option::is_none).unwrap_or(self.lines.len());
        if at >= self.say.lines_max {
            return None;
        }
        let opened = source::connect(self.plan.address, None, None).and_then(|mut socket| {
            register(&self.registry, &mut socket, Token(at))?;
            Ok(socket)
        });
        match opened {
            Ok(socket) => {
                let line = Line {
                    socket,
                    connected: false,
                    answer: Answer::default(),
                    waiting: VecDeque::new(),
                    unsent: Vec::new(),
                    unsent_ends: VecDeque::new(),
                };
                if at == self.lines.len() {
                    self.lines.push(None);
                }
                self.lines[at] = Some(line);
                Some(at)
            }
            Err(error) => {
                self.error(kind(&error));
                None
            }
        }
    }

    fn error(&mut self, what: String) {
        self.tally.error(format!("publish: {what}"));
        self.last_error = Some(format!("publish: {what}"));
    }

    /// A connection for one more message.
    fn choose(&mut self) -> Option<usize> {
        let load = |line: &Option<Line>| line.as_ref().map(|line| (line.waiting.len(), !line.connected));
        let idle = self.lines.iter().position(|line| load(line) == Some((0, false)));
        idle.or_else(|| self.lines.iter().position(|line| load(line) == Some((0, true))))
            .or_else(|| self.open())
            .or_else(|| {
                let loads = self.lines.iter().enumerate().filter_map(|(at, line)| Some((load(line)?, at)));
                loads.min().filter(|_| self.say.pipeline).map(|(_, at)| at)
            })
    }

    /// Hands a message to a connection, or leaves it in the queue.
    fn dispatch(&mut self) {
        while let Some(&sequence) = self.queue.front() {
            let Some(at) = self.choose() else { return };
            self.queue.pop_front();
            let mut line = self.lines[at].take().expect("it was just chosen");
            self.write_request(sequence, &mut line.unsent);
            line.waiting.push_back(sequence);
            line.unsent_ends.push_back((sequence, line.unsent.len()));
            self.lines[at] = Some(line);
            self.send(at);
        }
    }

    fn write_request(&self, sequence: u32, out: &mut Vec<u8>) {
        let mut payload = Vec::with_capacity(self.say.payload_bytes);
        let planned_us = self.publications[sequence as usize].planned_us;
        Stamp { sequence, planned_us }.write(&self.plan.run, &mut payload);
        payload.resize(self.say.payload_bytes.max(payload.len()), b'x');
        let room = sequence % self.plan.channels;
        let with = Filling {
            run: &self.plan.run,
            room,
            number: room,
            payload: &payload,
            sequence,
            ..Filling::default()
        };
        let mut body = Vec::new();
        self.say.body.fill(&with, &mut body);
        out.extend_from_slice(self.say.method.as_bytes());
        out.push(b' ');
        self.say.target.fill(&with, out);
        out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        out.extend_from_slice(self.plan.host.as_bytes());
        for field in &self.say.headers {
            out.extend_from_slice(b"\r\n");
            field.fill(&with, out);
        }
        if !body.is_empty() || self.say.method != "GET" {
            out.extend_from_slice(format!("\r\nContent-Length: {}", body.len()).as_bytes());
        }
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(&body);
    }

    fn send(&mut self, at: usize) {
        let Some(line) = &mut self.lines[at] else { return };
        if !line.connected {
            return;
        }
        while !line.unsent.is_empty() {
            match line.socket.write(&line.unsent) {
                Ok(sent) => {
                    let now = mono_us();
                    line.unsent.drain(..sent);
                    line.unsent_ends.iter_mut().for_each(|(_, end)| *end = end.saturating_sub(sent));
                    while let Some(&(sequence, 0)) = line.unsent_ends.front() {
                        self.publications[sequence as usize].sent_us = now;
                        line.unsent_ends.pop_front();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.close(at, Some(kind(&error))),
            }
        }
    }

    fn read(&mut self, at: usize) {
        let mut buffer = [0; READ_BYTES];
        loop {
            let Some(line) = &mut self.lines[at] else { return };
            match line.socket.read(&mut buffer) {
                Ok(0) => return self.close(at, Some("the server closed the connection".into())),
                Ok(length) => self.hear(at, &buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.close(at, Some(kind(&error))),
            }
        }
    }

    fn hear(&mut self, at: usize, mut bytes: &[u8]) {
        let now = mono_us();
        let mut over = None;
        let mut refused = None;
        let Some(line) = &mut self.lines[at] else { return };
        loop {
            match line.answer.next(&mut bytes) {
                Ok(None) => break,
                Ok(Some(Heard::Head { status, .. })) => {
                    let Some(&sequence) = line.waiting.front() else { break };
                    let publication = &mut self.publications[sequence as usize];
                    publication.answered_us = now;
                    publication.accepted = status / 100 == 2;
                    refused = (!publication.accepted).then(|| format!("status {status}")).or(refused);
                }
                Ok(Some(Heard::End { keep })) => {
                    line.waiting.pop_front();
                    self.answered += 1;
                    if !keep {
                        over = Some(None);
                        break;
                    }
                }
                Ok(Some(_)) => {}
                Err(nonsense) => {
                    over = Some(Some(nonsense.0.to_owned()));
                    break;
                }
            }
        }
        refused.into_iter().for_each(|what| self.error(what));
        if let Some(why) = over {
            self.close(at, why);
        }
        self.dispatch();
    }

    /// A connection has ended. If the server had announced it, it has read no further request, and those behind
    /// the last answer are sent again (RFC 9112 section 9.3.2); else nobody knows, and they count as unanswered.
    fn close(&mut self, at: usize, why: Option<String>) {
        let Some(mut line) = self.lines[at].take() else { return };
        // A body without length ends with its connection.
        let is_answered = |sequence: &u32| self.publications[*sequence as usize].answered_us != 0;
        if line.waiting.front().is_some_and(is_answered) {
            line.waiting.pop_front();
            self.answered += 1;
        }
        match why {
            None => line.waiting.into_iter().rev().for_each(|sequence| self.queue.push_front(sequence)),
            Some(_) if line.waiting.is_empty() => {}
            Some(why) => {
                for _ in &line.waiting {
                    self.error(why.clone());
                }
                self.answered += line.waiting.len() as u64;
            }
        }
    }
}

impl Part for Speaker {
    fn order(&mut self, order: Order, _now_us: u64) {
        match order {
            // Not sooner: a server parts from who connects and says nothing, and that would be seen while nothing is to happen.
            Order::Speak { at_us } => {
                self.start_us = Some(at_us);
                for _ in 0..LINES_AT_FIRST {
                    self.open();
                }
            }
            Order::Hush => self.hushed = true,
            _ => {}
        }
    }

    fn ready(&mut self, event: &Event) {
        let at = event.token().0;
        let Some(Some(line)) = self.lines.get_mut(at) else { return };
        if !line.connected && (event.is_writable() || event.is_error()) {
            match line.socket.take_error() {
                Ok(None) => line.connected = line.socket.peer_addr().is_ok(),
                Ok(Some(error)) | Err(error) => return self.close(at, Some(kind(&error))),
            }
        }
        if self.lines[at].as_ref().is_some_and(|line| line.connected) {
            self.send(at);
            self.read(at);
        }
    }

    fn advance(&mut self, now_us: u64) -> Option<u64> {
        let start_us = self.start_us?;
        let mut next = None;
        while !self.hushed && (self.publications.len() as u32) < self.plan.messages() {
            let sequence = self.publications.len() as u32;
            let planned_us = self.plan.due_us(start_us, sequence);
            if planned_us > now_us {
                next = Some(planned_us);
                break;
            }
            self.publications.push(Publication { planned_us, ..Publication::default() });
            self.queue.push_back(sequence);
        }
        self.dispatch();
        next
    }

    fn progress(&self) -> Progress {
        Progress {
            said: self.publications.len() as u64,
            answered: self.answered,
            errors: self.tally.errors.values().sum(),
            last_error: self.last_error.clone(),
            ..Progress::default()
        }
    }

    fn finish(&mut self, _said: u32) -> Tally {
        let mut tally = std::mem::take(&mut self.tally);
        tally.publications = std::mem::take(&mut self.publications);
        tally
    }
}
