//! A server whose kernel takes everything and keeps nothing, in a time that is told to it.
//!
//! Knows: the engine's doors. Never learns what is counted, or (in benches/sweep.rs) measured.

// Each of those who include this uses a part of it.
#![allow(dead_code)]

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, IoSlice, Read, Write};

use encke::config::Settings;
use encke::dialect::pages::Embedded;
use encke::engine::{Engine, Readiness, Socket};
use encke::kit::clock::Now;
use encke::kit::id::ConnId;
use encke::wire::json::Publication;

/// What a subscription asks for: its name in a failure, and its request.
pub struct Transport {
    pub name: &'static str,
    /// `{}` stands for the channels, `{now}` for the cursor of whoever has everything.
    target: &'static str,
    fields: &'static str,
}

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Those that stay.
pub const STREAMS: [Transport; 4] = [
    Transport { name: "events", target: "/channels/{}?as=events", fields: "" },
    Transport { name: "ndjson", target: "/channels/{}?as=ndjson", fields: "" },
    Transport { name: "iframe", target: "/channels/{}?as=iframe", fields: "" },
    Transport { name: "websocket", target: "/channels/{}", fields: UPGRADE },
];

/// Those that are answered once. The article's chat of `/news/` is the channel `chat:/news/`.
pub const POLLS: [Transport; 2] = [
    Transport { name: "poll", target: "/channels/{}?as=poll", fields: "" },
    Transport { name: "chat", target: "/{}/backend.php?timestamp={now}", fields: "" },
];

/// Told the time, and nothing else.
pub const CLOCK: Transport = Transport { name: "clock", target: "/{}/backend.php", fields: "" };

impl Transport {
    /// `events` or `ndjson`, from the beginning of the history.
    pub fn since_oldest(name: &'static str) -> Self {
        let target = match name {
            "events" => "/channels/{}?as=events&since=oldest",
            _ => "/channels/{}?as=ndjson&since=oldest",
        };
        Transport { name, target, fields: "" }
    }

    /// The channel in which one of its subscribers to `news` hears what is said.
    pub fn channel(&self) -> &'static str {
        if self.name == "chat" { "chat:/news/" } else { "news" }
    }
}

/// The other side of every socket.
#[derive(Default)]
struct Kernel {
    /// What whoever reads next is given.
    request: RefCell<Vec<u8>>,
    writes: Cell<usize>,
    /// Every write would block.
    is_full: Cell<bool>,
    /// Whoever is read from next has reset the connection.
    is_gone: Cell<bool>,
}

/// As small as a real socket, so that a connection is as large as a real one.
struct Peer(&'static Kernel);

impl Read for Peer {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.0.is_gone.get() {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let mut request = self.0.request.borrow_mut();
        if request.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let length = request.len();
        bytes[..length].copy_from_slice(&request);
        request.clear();
        Ok(length)
    }
}

impl Peer {
    fn take(&mut self, bytes: usize) -> io::Result<usize> {
        if self.0.is_full.get() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.0.writes.set(self.0.writes.get() + 1);
        Ok(bytes)
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take(bytes.len())
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.take(pieces.iter().map(|piece| piece.len()).sum())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Peer {
    fn shutdown_write(&mut self) {}
}

/// A server, and the time it is told.
pub struct World {
    engine: Engine<Peer>,
    kernel: &'static Kernel,
    ms: u64,
    /// The last message's timestamp, as the article's chat tells it.
    last: String,
}

impl World {
    /// A server that may have so many connections.
    pub fn with_room_for(connections: usize) -> Self {
        let mut settings = Settings::default();
        settings.limits.connections_max = connections as u32;
        // Counted is what the engine does, and not how it is inspected.
        settings.pace.inspected_per_door = 0;
        // Leaked: it has to outlive the sockets, whose size leaves no room for a counted reference.
        let kernel: &'static Kernel = Box::leak(Box::default());
        let engine = Engine::new(&settings, Box::new(Embedded::new()), 1, at(0));
        World { engine, kernel, ms: 1, last: "0".into() }
    }

    /// One more subscriber.
    pub fn subscribe(&mut self, transport: &Transport, channels: &str) -> ConnId {
        let Transport { name, target, fields } = transport;
        let target = target.replace("{}", channels).replace("{now}", &self.last);
        let before = self.kernel.writes.get();
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        *self.kernel.request.borrow_mut() = request.into_bytes();
        let id = self.engine.next_id();
        assert!(self.engine.accept(Peer(self.kernel), None, at(self.ms)));
        self.engine.ready(id, Readiness { readable: true, ..Readiness::default() }, at(self.ms));
        let is_poll = POLLS.iter().any(|poll| poll.name == *name);
        assert_eq!(self.kernel.writes.get() > before, !is_poll, "{name}: only a stream is answered at once");
        // The scratch that a request is formatted in is given back before anything is counted.
        *self.kernel.request.borrow_mut() = Vec::new();
        id
    }

    /// A subscriber is gone, without a word.
    pub fn vanish(&mut self, id: ConnId) {
        self.kernel.is_gone.set(true);
        self.engine.ready(id, Readiness { readable: true, ..Readiness::default() }, at(self.ms));
        self.kernel.is_gone.set(false);
        // The dead are buried at the end of a turn.
        self.engine.advance(at(self.ms));
    }

    /// Many subscribers to the same.
    pub fn crowd(&mut self, transport: &Transport, channels: &str, members: usize) {
        for nth in 0..members {
            self.subscribe(transport, &channels.replace("{}", &nth.to_string()));
        }
        // A millisecond to come to rest in.
        self.pass(1);
    }

    /// Publishes, and delivers it to everybody.
    pub fn say(&mut self, channel: &str, data: &str) {
        self.publish(channel, data);
        self.deliver();
    }

    pub fn publish(&mut self, channel: &str, data: &str) {
        self.ms += 1;
        let news = Publication { channel: channel.into(), data: data.into(), event: None };
        let ids = self.engine.publish(&[news], at(self.ms)).expect("nothing forbids it");
        self.last = format!("{}.{:06}", ids[0] / 1_000_000, ids[0] % 1_000_000);
    }

    /// Turns until nothing is left to do.
    pub fn deliver(&mut self) {
        while self.engine.deadline().is_some_and(|us| us <= self.ms * 1_000) {
            self.engine.advance(at(self.ms));
        }
    }

    /// Lets time pass, with a turn for everything that is due in it.
    pub fn pass(&mut self, ms: u64) {
        let end = self.ms + ms;
        while let Some(due_us) = self.engine.deadline().filter(|us| *us <= end * 1_000) {
            self.ms = self.ms.max(due_us / 1_000);
            self.engine.advance(at(self.ms));
        }
        self.ms = end;
        self.engine.advance(at(self.ms));
    }

    /// From now on no socket takes anything.
    pub fn stall(&mut self) {
        self.kernel.is_full.set(true);
    }

    /// Writes so far, on all sockets.
    pub fn writes(&self) -> usize {
        self.kernel.writes.get()
    }

    pub fn connections(&self) -> usize {
        self.engine.connections()
    }
}

fn at(ms: u64) -> Now {
    Now { mono_us: ms * 1_000, unix_us: 1_700_000_000_000_000 + ms * 1_000 }
}
