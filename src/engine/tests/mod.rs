//! The engine over sockets that are not there, in a time that stands still.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::rc::Rc;

use crate::config::{Limits, Settings};
use crate::dialect::pages::Embedded;
use crate::kit::clock::Now;
use crate::kit::id::ConnId;

use super::{Engine, Readiness, Socket};

mod channels;
mod chat;
mod clock;
mod drain;
mod gaps;
mod hopping;
mod limits;
mod requests;
mod storing;
mod walk;

/// Both ends of a connection without a kernel between them.
#[derive(Default)]
struct Line {
    /// What the client has sent and the server has not read.
    up: VecDeque<u8>,
    /// What the server has written and the client has not read.
    down: Vec<u8>,
    /// How many more bytes the server may write before it would block.
    room: usize,
    client_closed: bool,
    /// Writes fail: the peer has reset the connection.
    reset: bool,
    server_closed: bool,
    dropped: bool,
}

/// The server's end.
struct Fake(Rc<RefCell<Line>>);

impl Read for Fake {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut line = self.0.borrow_mut();
        match line.up.len() {
            0 if line.client_closed => Ok(0),
            0 => Err(ErrorKind::WouldBlock.into()),
            waiting => {
                let n = waiting.min(bytes.len());
                for (byte, sent) in bytes.iter_mut().zip(line.up.drain(..n)) {
                    *byte = sent;
                }
                Ok(n)
            }
        }
    }
}

impl Write for Fake {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut line = self.0.borrow_mut();
        if line.reset {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let n = bytes.len().min(line.room);
        if n == 0 && !bytes.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        line.room -= n;
        line.down.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.write(&pieces.iter().flat_map(|piece| piece.iter().copied()).collect::<Vec<u8>>())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Fake {
    fn shutdown_write(&mut self) {
        self.0.borrow_mut().server_closed = true;
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.0.borrow_mut().dropped = true;
    }
}

/// The client's end.
struct Client {
    id: ConnId,
    line: Rc<RefCell<Line>>,
}

impl Client {
    /// What has arrived since the last call.
    fn read(&self) -> String {
        let bytes = std::mem::take(&mut self.line.borrow_mut().down);
        String::from_utf8(bytes).expect("the server writes text")
    }

    fn is_gone(&self) -> bool {
        self.line.borrow().dropped
    }

    fn has_ended(&self) -> bool {
        self.line.borrow().server_closed || self.is_gone()
    }
}

/// A server, and the time it is told.
struct World {
    engine: Engine<Fake>,
    now: Now,
}

/// A Tuesday, at 250 ms past the second.
const START: Now = Now { mono_us: 5_000_250_000, unix_us: 1_700_000_000_250_000 };

impl World {
    fn new(limits: Limits) -> Self {
        World::with(Settings { limits, ..Settings::default() })
    }

    fn with(mut settings: Settings) -> Self {
        if settings.limits.connections_max == 0 {
            settings.limits.connections_max = 1_000;
        }
        let engine = Engine::new(&settings, Box::new(Embedded::new()), 7, START);
        World { engine, now: START }
    }

    fn roomy() -> Self {
        World::new(Limits { connections_max: 1_000, ..Limits::default() })
    }

    fn connect(&mut self) -> Client {
        self.connect_from(None)
    }

    fn connect_from(&mut self, peer: Option<IpAddr>) -> Client {
        let line = Rc::new(RefCell::new(Line { room: usize::MAX, ..Line::default() }));
        let id = self.engine.next_id();
        self.engine.accept(Fake(Rc::clone(&line)), peer, self.now);
        Client { id, line }
    }

    fn send(&mut self, client: &Client, bytes: &str) {
        client.line.borrow_mut().up.extend(bytes.as_bytes());
        self.tell(client, Readiness { readable: true, ..Readiness::default() });
    }

    fn close(&mut self, client: &Client) {
        client.line.borrow_mut().client_closed = true;
        self.tell(client, Readiness { readable: true, read_closed: true, writable: false });
    }

    /// The client reads, and so makes room.
    fn make_room(&mut self, client: &Client, bytes: usize) {
        client.line.borrow_mut().room += bytes;
        self.tell(client, Readiness { writable: true, ..Readiness::default() });
    }

    fn tell(&mut self, client: &Client, readiness: Readiness) {
        self.engine.ready(client.id, readiness, self.now);
        self.settle();
    }

    /// Turns until there is nothing left to do now.
    fn settle(&mut self) {
        loop {
            self.engine.advance(self.now);
            if self.engine.deadline().is_none_or(|deadline_us| deadline_us > self.now.mono_us) {
                return;
            }
        }
    }

    /// Lets time pass, waking at every deadline as the reactor would. Returns how often it woke.
    fn pass_ms(&mut self, ms: u64) -> usize {
        let end_us = self.now.mono_us + ms * 1_000;
        let mut wakes = 0;
        while let Some(deadline_us) = self.engine.deadline().filter(|&deadline_us| deadline_us <= end_us) {
            self.jump_to(deadline_us.max(self.now.mono_us));
            self.settle();
            wakes += 1;
        }
        self.jump_to(end_us);
        wakes
    }

    fn jump_to(&mut self, mono_us: u64) {
        self.now.unix_us += mono_us - self.now.mono_us;
        self.now.mono_us = mono_us;
    }

    fn ask(&mut self, request: &str) -> Client {
        let client = self.connect();
        self.send(&client, request);
        client
    }
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

fn tick(unix_s: u64) -> String {
    format!(r#"<script type="text/javascript">comet.printServerTime({unix_s});</script>"#)
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("an answer has a head").1
}
