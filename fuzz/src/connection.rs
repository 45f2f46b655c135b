//! Whole connections. The input is what clients send, and between it, behind a byte that neither
//! HTTP nor UTF-8 has (0xff), a letter for what else happens in the world.
//!
//! | letter | what happens |
//! |---|---|
//! | `\|` | what was sent arrives, and the server has time for it |
//! | `+`, `-` | another client comes; `-`: whose kernel takes 64 bytes at a time |
//! | `0` to `5` | from here on this client speaks |
//! | `.`, `!`, `?`, `~` | it says that it has said all; it resets, or is reset and nobody is told; it vanishes |
//! | `r`, `R` | it reads 50 bytes, and then no more; it reads everything, from now on |
//! | `t`, `s`, `m`, `h` | 10 ms, a second, half a minute, an hour pass; `z`: 5 s, in which the server sleeps |
//! | `f`, `b` | the wall clock is set a day forward, or back |
//! | `p`, `P` | an embedder says a word in channel `a`; a hundred long ones |
//! | `q` | the server is told to end |
//! | 0xff | this byte itself |
//!
//! After every step the engine's invariants hold (debug builds check them) and it comes to rest.
//! Every client hears well-formed HTTP. When all have left and everything is forgotten, nothing is
//! left. And if nothing but one client's bytes happens, it does not matter in which pieces they
//! arrive.

use encke::config::{ChannelRule, Limits, Settings, Slow};
use encke::engine::Engine;
use encke::kit::clock::Now;
use encke::wire::http::HeadLimits;
use encke::wire::json::Publication;

use crate::Pages;
use crate::answers;
use crate::pieces::cuts;
use crate::wire::{Far, Line, Wire};

/// Not a part of what is sent: what follows it says what happens.
const ESCAPE: u8 = 0xff;

const START: Now = Now { mono_us: 5_000_250_000, unix_us: 1_700_000_000_250_000 };

/// Clients in one input; so many that the last are too many for the server.
const CLIENTS_MAX: usize = 6;

/// Turns after which a server that never comes to rest is taken to be spinning.
const TURNS_MOST: usize = 10_000;

const SECOND_MS: u64 = 1_000;
const DAY_US: u64 = 86_400_000_000;

pub fn connection(input: &[u8]) {
    if !input.contains(&ESCAPE) {
        return pieces_do_not_matter(input);
    }
    let mut world = World::new();
    let mut bytes = input.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            ESCAPE => match bytes.next() {
                Some(&ESCAPE) | None => world.say(ESCAPE),
                Some(&letter) => world.happen(letter),
            },
            byte => world.say(byte),
        }
    }
    world.happen(b'|');
    world.end();
}

fn pieces_do_not_matter(input: &[u8]) {
    let mut heard: Vec<Vec<u8>> = Vec::new();
    for pieces in cuts(input) {
        let mut world = World::new();
        for piece in pieces {
            piece.iter().for_each(|byte| world.say(*byte));
            world.happen(b'|');
        }
        heard.push(world.clients[0].heard.clone());
        world.end();
    }
    // The numbers tell of turns and reads. A WebSocket may hear the answer to its next word before, or after, what it
    // has said itself. And what was deleted leaves one message behind until it is swept.
    let may_differ: [&[u8]; 5] = [b"stats", b"metrics", b"%", b"101 ", b"DELETE"];
    let differs = |bytes: &[u8]| may_differ.iter().any(|word| bytes.windows(word.len()).any(|w| w == *word));
    if !differs(input) && !differs(&heard[0]) {
        for other in &heard[1..] {
            let (one, other) = (String::from_utf8_lossy(&heard[0]), String::from_utf8_lossy(other));
            assert_eq!(one, other, "pieces matter");
        }
    }
}

struct Client {
    line: Line,
    sent: Vec<u8>,
    heard: Vec<u8>,
    /// Reads whatever there is.
    reads: bool,
    /// Has read all that was written, for whatever was not written the server is to blame.
    reliable: bool,
}

struct World {
    engine: Engine<Far>,
    now: Now,
    clients: Vec<Client>,
    current: usize,
    settings: Settings,
}

/// So low that an input of a few lines reaches every limit.
fn settings() -> Settings {
    let limits = Limits {
        connections_max: 4,
        target_bytes_max: 200,
        head_bytes_max: 1_000,
        fields_max: 12,
        message_bytes_max: 200,
        bulk_bytes_max: 600,
        unsent_bytes_max: 1_500,
        held_input_bytes_max: 300,
        padding_max: 64,
        channels_max: 8,
        subscription_channels_max: 3,
        history_messages_max: 5,
        history_bytes_max: 1_000,
        history_age_ms: 60_000,
        history_budget_bytes_max: 2_500,
        ..Limits::default()
    };
    let rule = |pattern: &str| ChannelRule::new(pattern.parse().expect("a pattern"));
    let impatient = ChannelRule { slow: Slow::Disconnect, ..rule("impatient*") };
    let latest = ChannelRule { slow: Slow::Latest, ..rule("latest*") };
    let gathering = ChannelRule { gather_ms: 20, ..rule("gathering*") };
    let channels = vec![impatient, latest, gathering];
    let origins = vec!["https://friend.example".to_owned()];
    Settings { limits, channels, origins, lab: true, ..Settings::default() }
}

impl World {
    fn new() -> Self {
        let settings = settings();
        let engine = Engine::new(&settings, Box::new(Pages), 7, START);
        let mut world = World { engine, now: START, clients: Vec::new(), current: 0, settings };
        world.connect(usize::MAX);
        world
    }

    fn connect(&mut self, capacity: usize) {
        if self.clients.len() == CLIENTS_MAX {
            return;
        }
        let line = Wire::new(self.engine.next_id(), capacity);
        self.engine.accept(Far(Line::clone(&line)), None, self.now);
        self.current = self.clients.len();
        let reads = capacity == usize::MAX;
        self.clients.push(Client { line, sent: Vec::new(), heard: Vec::new(), reads, reliable: reads });
    }

    fn say(&mut self, byte: u8) {
        let client = &mut self.clients[self.current];
        if !client.line.borrow().is_half_closed() {
            client.sent.push(byte);
            client.line.borrow_mut().send(&[byte]);
        }
    }

    fn happen(&mut self, letter: u8) {
        let client = &mut self.clients[self.current];
        match letter {
            b'|' => client.line.borrow_mut().arrive(usize::MAX),
            b'+' => self.connect(usize::MAX),
            b'-' => self.connect(64),
            b'0'..=b'5' => self.current = usize::from(letter - b'0').min(self.clients.len() - 1),
            b'.' => client.line.borrow_mut().half_close(),
            b'!' | b'?' => {
                client.line.borrow_mut().reset(letter == b'!');
                client.reliable = false;
            }
            b'~' => {
                client.line.borrow_mut().vanish();
                client.reliable = false;
            }
            b'r' => {
                let read = client.line.borrow_mut().read(50);
                client.heard.extend(read);
                (client.reads, client.reliable) = (false, false);
            }
            b'R' => client.reads = true,
            b't' => self.pass(10),
            b's' => self.pass(SECOND_MS),
            b'm' => self.pass(30 * SECOND_MS),
            b'h' => self.pass(3_600 * SECOND_MS),
            b'z' => self.jump_to(self.now.mono_us + 5 * SECOND_MS * 1_000),
            b'f' => self.now.unix_us += DAY_US,
            b'b' => self.now.unix_us = self.now.unix_us.saturating_sub(DAY_US),
            b'p' => self.publish("a word"),
            b'P' => (0..100).for_each(|_| self.publish(&"long ".repeat(30))),
            b'q' => self.engine.shut_down(self.now),
            _ => {}
        }
        self.settle();
    }

    fn publish(&mut self, data: &str) {
        let publication = Publication { channel: "a".to_owned(), data: data.into(), event: None };
        let _ = self.engine.publish(&[publication], self.now);
    }

    // --- Time -----------------------------------------------------------------------------------

    fn turn(&mut self) {
        for client in &mut self.clients {
            let edge = client.line.borrow_mut().take_edge();
            let id = client.line.borrow().id;
            if let Some(readiness) = edge {
                self.engine.ready(id, readiness, self.now);
            }
        }
        self.engine.advance(self.now);
        self.engine.end_turn(self.now.mono_us);
        for client in self.clients.iter_mut().filter(|client| client.reads) {
            let read = client.line.borrow_mut().read(usize::MAX);
            client.heard.extend(read);
        }
    }

    /// Turns until there is nothing left to do now, for anybody.
    fn settle(&mut self) {
        for _ in 0..TURNS_MOST {
            let before = self.heard_bytes();
            self.turn();
            let is_due = self.engine.deadline().is_some_and(|deadline_us| deadline_us <= self.now.mono_us);
            if !is_due && self.heard_bytes() == before {
                return;
            }
        }
        panic!("the server spins: there is always something due");
    }

    fn heard_bytes(&self) -> usize {
        self.clients.iter().map(|client| client.heard.len()).sum()
    }

    fn pass(&mut self, ms: u64) {
        let end_us = self.now.mono_us + ms * 1_000;
        while let Some(deadline_us) = self.engine.deadline().filter(|&deadline_us| deadline_us <= end_us) {
            self.jump_to(deadline_us.max(self.now.mono_us));
            self.settle();
        }
        self.jump_to(end_us);
        self.settle();
    }

    fn jump_to(&mut self, mono_us: u64) {
        self.now.unix_us += mono_us - self.now.mono_us;
        self.now.mono_us = mono_us;
    }

    // --- The end --------------------------------------------------------------------------------

    fn end(mut self) {
        for (nth, client) in self.clients.iter().enumerate() {
            let mut line = client.line.borrow_mut();
            match nth % 3 {
                0 if !line.is_half_closed() => line.half_close(),
                1 => line.reset(true),
                _ => {}
            }
        }
        self.pass(30 * SECOND_MS);
        for client in &self.clients {
            client.line.borrow_mut().reset(true);
        }
        self.settle();
        self.pass(2 * self.settings.heartbeat_ms + 200 * SECOND_MS);
        self.pass(self.settings.limits.history_age_ms + 2 * SECOND_MS);
        assert_eq!(self.engine.holdings(), Default::default(), "something is left when everybody is gone");
        let limits = HeadLimits {
            target_bytes_max: self.settings.limits.target_bytes_max as u32,
            head_bytes_max: self.settings.limits.head_bytes_max as u32,
            fields_max: self.settings.limits.fields_max as u32,
        };
        for (nth, client) in self.clients.iter().enumerate() {
            let whole = client.reliable && nth % 3 != 1;
            if let Err(wrong) = answers::check(&client.sent, &client.heard, &limits, whole) {
                panic!("client {nth}: {wrong}\n{}", String::from_utf8_lossy(&client.heard));
            }
        }
    }
}
