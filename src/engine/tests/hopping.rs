//! Hopping: subscribers change the transport, lose their connections, and read slowly or not at
//! all, while others speak. In the end everyone has every message once and in order.

use super::*;
use crate::wire::json::Publication;

/// Numbers that look random and are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides
    }
}

const TRANSPORTS: [&str; 5] = ["events", "ndjson", "iframe", "poll", "websocket"];

/// A subscriber and what it has heard.
struct Hopper {
    channels: Vec<usize>,
    cursor: u64,
    heard: Vec<u64>,
    gaps: Vec<(u64, u64)>,
    line: Option<(Client, &'static str)>,
    /// What has arrived and is not understood yet.
    pending: Vec<u8>,
    head_seen: bool,
}

impl Hopper {
    fn new(dice: &mut Dice) -> Self {
        let channels = (0..8).filter(|_| dice.below(3) == 0).collect::<Vec<usize>>();
        Hopper {
            channels: if channels.is_empty() { vec![dice.below(8)] } else { channels },
            cursor: START.unix_us,
            heard: Vec::new(),
            gaps: Vec::new(),
            line: None,
            pending: Vec::new(),
            head_seen: false,
        }
    }

    /// Loses its connection, or looks for another one, or reads a little.
    fn act(&mut self, world: &mut World, dice: &mut Dice) {
        match dice.below(10) {
            0 => {
                if let Some((client, _)) = self.line.take() {
                    // Found out by whoever writes next, or at once.
                    client.line.borrow_mut().reset = true;
                    if dice.below(2) == 0 {
                        world.close(&client);
                        world.engine.crowd.hang_up_for_test(client.id);
                    }
                }
            }
            1..=3 if self.line.is_none() => self.connect(world, dice),
            _ => {
                if let Some((client, _)) = &self.line {
                    let room = dice.below(2_000);
                    world.make_room(client, room);
                }
                self.listen();
            }
        }
    }

    /// Reads as fast as it can, until it has the message `last`.
    fn catch_up(&mut self, last: u64, world: &mut World, dice: &mut Dice) {
        for _ in 0..10_000 {
            if self.cursor >= last {
                return;
            }
            if self.line.is_none() {
                self.connect(world, dice);
            }
            if let Some((client, _)) = &self.line {
                client.line.borrow_mut().room = 0;
                world.make_room(client, 10_000_000);
            }
            self.listen();
        }
        panic!("nothing comes any more at {}", self.cursor);
    }

    fn connect(&mut self, world: &mut World, dice: &mut Dice) {
        let transport = TRANSPORTS[dice.below(TRANSPORTS.len())];
        let names: Vec<String> = self.channels.iter().map(|channel| format!("c{channel}")).collect();
        let upgrade = match transport {
            "websocket" => {
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            }
            _ => "",
        };
        let request = format!(
            "GET /channels/{}?as={transport}&envelope&since={} HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n",
            names.join(","),
            self.cursor
        );
        let client = world.connect();
        client.line.borrow_mut().room = dice.below(3_000);
        world.send(&client, &request);
        self.pending.clear();
        self.head_seen = false;
        self.line = Some((client, transport));
    }

    /// Reads what is there and takes it to heart.
    fn listen(&mut self) {
        let Some((client, transport)) = &self.line else { return };
        let transport = *transport;
        self.pending.append(&mut std::mem::take(&mut client.line.borrow_mut().down));
        if !self.head_seen {
            let Some(end) = self.pending.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return };
            let head = String::from_utf8(self.pending[..end].to_vec()).unwrap();
            assert!(head.starts_with("HTTP/1.1 200 ") || head.starts_with("HTTP/1.1 101 "), "{head}");
            if transport == "poll" {
                let length = head.split("Content-Length: ").nth(1).unwrap().lines().next().unwrap();
                if self.pending.len() < end + 4 + length.parse::<usize>().unwrap() {
                    return;
                }
            }
            self.pending.drain(..end + 4);
            self.head_seen = true;
        }
        match transport {
            "websocket" => self.hear_frames(),
            "poll" => self.hear_answer(),
            _ => self.hear_lines(),
        }
    }

    fn hear_lines(&mut self) {
        while let Some(end) = self.pending.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            let line = String::from_utf8(line).unwrap();
            let line = line.trim_end();
            let json = line.strip_prefix("data: ").unwrap_or(line);
            let json = json
                .strip_prefix("<script>parent.comet.onmessage(")
                .unwrap_or(json)
                .trim_end_matches(");</script>");
            if json.starts_with("{\"from\"") {
                self.hear(&format!("{{\"gap\":{json}}}"));
            } else if json.starts_with('{') {
                self.hear(json);
            }
        }
    }

    fn hear_frames(&mut self) {
        while self.pending.len() >= 2 {
            let (head, length) = match self.pending[1] {
                126 if self.pending.len() < 4 => return,
                126 => (4, usize::from(u16::from_be_bytes([self.pending[2], self.pending[3]]))),
                length => (2, usize::from(length)),
            };
            if self.pending.len() < head + length {
                return;
            }
            let frame: Vec<u8> = self.pending.drain(..head + length).collect();
            if frame[0] == 0x81 {
                self.hear(std::str::from_utf8(&frame[head..]).unwrap());
            }
        }
    }

    fn hear_answer(&mut self) {
        let answer: serde_json::Value = serde_json::from_slice(&self.pending).unwrap();
        if let Some(gap) = answer.get("gap") {
            self.hear(&serde_json::json!({ "gap": gap }).to_string());
        }
        for message in answer["messages"].as_array().unwrap() {
            self.hear(&message.to_string());
        }
        assert!(answer["since"].as_u64().unwrap() >= self.cursor);
        self.cursor = answer["since"].as_u64().unwrap();
        self.pending.clear();
        self.line = None;
    }

    fn hear(&mut self, json: &str) {
        let told: serde_json::Value =
            serde_json::from_str(json).unwrap_or_else(|error| panic!("{error} in {json}"));
        if let Some(gap) = told.get("gap") {
            let (from, to) = (gap["from"].as_u64().unwrap(), gap["to"].as_u64().unwrap());
            assert!(from >= self.cursor, "a gap from {from}, and {} was heard", self.cursor);
            self.gaps.push((from, to));
            return;
        }
        let id = told["id"].as_u64().unwrap();
        assert!(id > self.cursor, "{id} again, or out of order, after {}", self.cursor);
        self.cursor = id;
        self.heard.push(id);
    }
}

/// Everyone hops for a while. Returns the hoppers, and what was published: channel and id.
fn hop(seed: u64, limits: Limits, messages: usize) -> (Vec<Hopper>, Vec<(usize, u64)>) {
    let mut dice = Dice(seed);
    let mut world = World::new(Limits { connections_max: 200, ..limits });
    let mut hoppers: Vec<Hopper> = (0..30).map(|_| Hopper::new(&mut dice)).collect();
    let mut published = Vec::new();
    while published.len() < messages {
        for _ in 0..dice.below(4) {
            let channel = dice.below(8);
            let data = "x".repeat(dice.below(300)).into();
            let publication = Publication { channel: format!("c{channel}"), event: None, data };
            let ids = world.engine.publish(&[publication], world.now).unwrap();
            published.push((channel, ids[0]));
        }
        if dice.below(3) == 0 {
            world.engine.advance(world.now);
        } else {
            world.pass_ms(dice.below(20) as u64);
        }
        let chosen = dice.below(hoppers.len());
        hoppers[chosen].act(&mut world, &mut dice);
    }
    for hopper in &mut hoppers {
        let mine = published.iter().rev().find(|(channel, _)| hopper.channels.contains(channel));
        if let Some(&(_, last)) = mine {
            hopper.catch_up(last, &mut world, &mut dice);
        }
    }
    (hoppers, published)
}

#[test]
fn hoppers_hear_every_message_once_and_in_order() {
    for seed in 0..60 {
        let (hoppers, published) = hop(seed, Limits::default(), 600);
        for hopper in hoppers {
            let expected: Vec<u64> = published
                .iter()
                .filter(|(channel, _)| hopper.channels.contains(channel))
                .map(|&(_, id)| id)
                .collect();
            assert_eq!(hopper.heard, expected, "seed {seed}");
            assert_eq!(hopper.gaps, []);
        }
    }
}

#[test]
fn what_hoppers_do_not_hear_lies_in_a_gap_that_they_were_told() {
    let mut gaps = 0;
    for seed in 0..60 {
        let limits = Limits { history_messages_max: 5, ..Limits::default() };
        let (hoppers, published) = hop(seed, limits, 600);
        for hopper in hoppers {
            gaps += hopper.gaps.len();
            for (_, id) in published.iter().filter(|(channel, _)| hopper.channels.contains(channel)) {
                let told = hopper.gaps.iter().any(|(from, to)| (from..=to).contains(&id));
                assert!(
                    hopper.heard.contains(id) || told,
                    "seed {seed}: {id} is missing, and nobody said so"
                );
            }
        }
    }
    assert!(gaps > 100, "only {gaps} gaps: the histories were not short enough to test anything");
}
