//! Slow readers, and channels that are different: what the rules of `[[channel]]` and `[[ticker]]` do.
//!
//! A subscriber that does not read costs the server nothing but its connection, and others
//! nothing at all. What becomes of it is for the channel's rule to say.
#![cfg(feature = "shell")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use mio::{Events, Interest, Poll, Token};

use common::{Asked, Client, Hearing, PATIENCE, Server, Setup, Told, Transport, until};

fn say_on(client: &mut Client, channel: &str, text: &str) -> u64 {
    let answer = client.post(&format!("/channels/{channel}"), text);
    assert_eq!(answer.status(), 201, "{}", answer.text());
    let value: serde_json::Value = serde_json::from_str(answer.text()).expect("JSON");
    value["id"].as_u64().expect("a 201 has an id")
}

/// A number from `/stats`.
fn stat(client: &mut Client, name: &str) -> u64 {
    let value: serde_json::Value = serde_json::from_str(client.get("/stats").text()).expect("JSON");
    value[name].as_u64().or_else(|| value["hangups"][name].as_u64()).unwrap_or_else(|| panic!("no {name}"))
}

/// A subscriber that has asked, and reads nothing.
fn stalled(server: &Server, names: &str) -> Client {
    let mut client = Client::narrow(server);
    client.send(format!("GET /channels/{names}?as=ndjson HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    client
}

/// Publishes until the reader's own messages are gone from the history: it is behind, and blocked.
fn flood(client: &mut Client, channel: &str) -> u64 {
    let text = "x".repeat(60_000);
    let last = (0..200).map(|_| say_on(client, channel, &text)).last().expect("many");
    assert!(stat(client, "blocked") > 0, "12 MB do not fit into the kernel");
    last
}

fn messages(told: &[Told]) -> Vec<u64> {
    let id = |told: &Told| match told {
        Told::Message(news) => news.id,
        _ => None,
    };
    told.iter().filter_map(id).collect()
}

/// Reads on until the message `last`.
fn read_to(client: &mut Client, last: u64) -> Vec<Told> {
    let (mut hearing, mut told) = (Hearing::new(Transport::Ndjson), Vec::new());
    while messages(&told).last() != Some(&last) {
        told.extend(hearing.feed(&client.try_some().expect("more")).expect("ndjson"));
    }
    told
}

#[test]
fn a_reader_that_falls_off_the_history_is_told_of_the_gap() {
    let server = Setup::default().limit("history-messages-max", "5").start();
    for names in ["a", "a,b"] {
        let mut slow = stalled(&server, names);
        let mut client = Client::connect(&server);
        until("it listens", || client.get("/stats/channels/a").text().contains("\"subscribers\":1"));
        let last = flood(&mut client, "a");
        let told = read_to(&mut slow, last);
        let gaps: Vec<&Told> = told.iter().filter(|told| matches!(told, Told::Gap { .. })).collect();
        assert_eq!(gaps.len(), 1, "{names}");
        let at = told.iter().position(|told| matches!(told, Told::Gap { .. })).expect("just counted");
        let heard = messages(&told);
        let before = messages(&told[..at]);
        let Told::Gap { from, to } = told[at] else { unreachable!("just found") };
        assert_eq!(before.last(), Some(&from), "{names}: it begins behind the last message");
        assert_eq!(messages(&told[at..])[0], to, "{names}: it ends with the next");
        assert!(heard.is_sorted_by(|a, b| a < b) && heard.len() < 200);
        drop(slow);
        until("it is gone", || client.get("/stats/channels/a").text().contains("\"subscribers\":0"));
    }
}

#[test]
fn a_channel_that_does_not_wait_closes_the_connection() {
    let rule = "[[channel]]\nmatch = \"strict*\"\nhistory-messages-max = 5\nslow = \"disconnect\"\n";
    let server = Setup::default().table(rule).start();
    for (n, names) in ["strict", "strict,other"].into_iter().enumerate() {
        let mut slow = stalled(&server, names);
        let mut client = Client::connect(&server);
        until("it listens", || client.get("/stats/channels/strict").text().contains("\"subscribers\":1"));
        flood(&mut client, "strict");
        // What the kernel has is read; behind it there is the end, and no gap.
        let mut words = Vec::new();
        while let Ok(more) = slow.try_some() {
            words.extend(more);
        }
        assert!(common::find(&words, b"\"gap\"").is_none(), "{names}");
        assert_eq!(stat(&mut client, "too_slow"), n as u64 + 1, "{names}");
    }
}

#[test]
fn where_only_the_latest_counts_there_is_no_gap() {
    let rule = "[[channel]]\nmatch = \"price:*\"\nhistory-messages-max = 5\nslow = \"latest\"\n";
    let server = Setup::default().table(rule).start();
    for names in ["price:gold", "price:gold,price:tin"] {
        let mut slow = stalled(&server, names);
        let mut client = Client::connect(&server);
        until("it listens", || client.get("/stats/channels/price:gold").text().contains("\"subscribers\":1"));
        let last = flood(&mut client, "price:gold");
        let told = read_to(&mut slow, last);
        assert!(!told.iter().any(|told| matches!(told, Told::Gap { .. })), "{names}");
        let heard = messages(&told);
        assert!(heard.is_sorted_by(|a, b| a < b) && heard.len() < 200);
        drop(slow);
        until("it is gone", || client.get("/stats/channels/price:gold").text().contains("\"subscribers\":0"));
    }
}

#[test]
fn a_channels_rule_bounds_its_history() {
    let rules = "[[channel]]\nmatch = \"short:*\"\nhistory-messages-max = 3\n\
        [[channel]]\nmatch = \"light:*\"\nhistory-bytes-max = 70000\n\
        [[channel]]\nmatch = \"brief:*\"\nhistory-age = \"1s\"\n";
    let server = Setup::default().table(rules).start();
    let mut client = Client::connect(&server);
    for channel in ["short:a", "light:a", "brief:a", "other"] {
        for _ in 0..10 {
            say_on(&mut client, channel, &"x".repeat(10_000));
        }
    }
    let mut kept = |channel: &str| {
        let answer = client.get(&format!("/stats/channels/{channel}"));
        let value: serde_json::Value = serde_json::from_str(answer.text()).expect("JSON");
        value["messages"].as_u64().unwrap_or(0)
    };
    assert_eq!(kept("short:a"), 3);
    assert_eq!(kept("light:a"), 6);
    assert_eq!(kept("other"), 10);
    until("the brief channel has forgotten", || kept("brief:a") == 0);
    assert_eq!(kept("other"), 10);
}

#[test]
fn a_gathering_channel_sends_a_burst_in_one_piece() {
    let rule = "[[channel]]\nmatch = \"g\"\ngather = \"300ms\"\n";
    let server = Setup::default().table(rule).start();
    let mut listener = Client::connect(&server);
    listener.send("GET /channels/g?as=ndjson HTTP/1.1\r\nHost: localhost\r\n\r\n");
    listener.head(Asked::GET);
    let mut client = Client::connect(&server);
    let before = stat(&mut client, "sends");
    let last = (0..20).map(|n| say_on(&mut client, "g", &n.to_string())).last().expect("twenty");
    listener.take_through(last.to_string().as_bytes());
    let sends = stat(&mut client, "sends") - before;
    assert!((1..=3).contains(&sends), "{sends} sends for twenty messages within a moment");
}

#[test]
fn tickers_tick_without_ids_and_the_clock_on_the_second() {
    let ticker = "[[ticker]]\nchannel = \"$beat\"\nevery = \"50ms\"\npayload = \"{count} at {unix_ms}\"\n";
    let server = Setup::default().table(ticker).start();
    let mut beat = Client::connect(&server);
    beat.send("GET /channels/$beat?as=events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    beat.head(Asked::GET);
    beat.take_through(b"\n\n");
    let mut counts = Vec::new();
    for _ in 0..5 {
        let tick = String::from_utf8(beat.take_through(b"\n\n")).expect("UTF-8");
        let count = tick.strip_prefix("data: ").and_then(|tick| tick.split(' ').next()).expect(&tick);
        counts.push(count.parse::<u64>().expect("a count"));
    }
    assert!(counts.is_sorted_by(|a, b| a < b), "{counts:?}");
    let mut clock = Client::connect(&server);
    clock.send("GET /channels/$clock,$beat?as=ndjson HTTP/1.1\r\nHost: localhost\r\n\r\n");
    clock.head(Asked::GET);
    let mut seconds = Vec::new();
    while seconds.len() < 2 {
        let line = clock.take_through(b"\n");
        let value: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
        assert!(value.get("id").is_none(), "{value}");
        if value["channel"] == "$clock" {
            let second: u64 = value["data"].as_str().expect("text").parse().expect("Unix time");
            assert!(common::unix_s().abs_diff(second) <= 5);
            seconds.push(second);
        }
    }
    assert!(seconds[1] > seconds[0], "{seconds:?}");
    let mut client = Client::connect(&server);
    assert_eq!(client.get("/channels/$nothing").status(), 404);
    assert_eq!(client.post("/channels/$beat", "x").status(), 403);
}

// --- Two thousand -------------------------------------------------------------------------------

const HEALTHY: usize = 1_800;
const STALLED: usize = 200;
const CHANNELS: usize = 50;
const ROUNDS: usize = 40;
const TEXT: usize = 26_000;

/// Those who read, all at once, on one thread.
struct Readers {
    poll: Poll,
    events: Events,
    streams: Vec<mio::net::TcpStream>,
    /// Bytes of body each has had.
    had: Vec<usize>,
    buffer: Vec<u8>,
}

impl Readers {
    fn new(server: &Server) -> Self {
        let poll = Poll::new().expect("epoll exists");
        let mut streams = Vec::new();
        for n in 0..HEALTHY {
            let mut stream = TcpStream::connect(server.address()).expect("the server listens");
            let channel = n % CHANNELS;
            let target = format!("GET /channels/f{channel}?as=ndjson HTTP/1.1\r\nHost: localhost\r\n\r\n");
            stream.write_all(target.as_bytes()).expect("the server reads");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a head");
                head.push(byte[0]);
            }
            stream.set_nonblocking(true).expect("a socket option");
            let mut stream = mio::net::TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(n), Interest::READABLE).expect("epoll takes it");
            streams.push(stream);
        }
        let events = Events::with_capacity(1_024);
        Readers { poll, events, had: vec![0; streams.len()], streams, buffer: vec![0; 1 << 16] }
    }

    /// Reads until everyone has had so many bytes.
    fn read_to(&mut self, bytes: usize) {
        let mut missing = self.had.iter().filter(|&&had| had < bytes).count();
        while missing > 0 {
            self.poll.poll(&mut self.events, Some(PATIENCE)).expect("epoll works");
            assert!(!self.events.is_empty(), "{missing} healthy readers wait in vain");
            for event in &self.events {
                let n = event.token().0;
                let before = self.had[n];
                loop {
                    match self.streams[n].read(&mut self.buffer) {
                        Ok(0) => panic!("a healthy reader was parted from"),
                        Ok(read) => self.had[n] += read,
                        Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                        Err(e) => panic!("a healthy reader lost its connection: {e}"),
                    }
                }
                missing -= usize::from(before < bytes && self.had[n] >= bytes);
            }
        }
    }
}

#[test]
fn two_hundred_that_never_read_cost_no_memory_and_nobody_else_a_message() {
    // Every byte is counted, and on a busy machine this takes longer than a heartbeat.
    let quiet = Setup::default().setting("heartbeat", "\"0s\"");
    let server = quiet.limit("history-bytes-max", "\"128KiB\"").start();
    let mut readers = Readers::new(&server);
    let all: Vec<String> = (0..CHANNELS).map(|n| format!("f{n}")).collect();
    let stalled: Vec<Client> = (0..STALLED)
        .map(|n| stalled(&server, &if n % 2 == 0 { all.join(",") } else { all[n % CHANNELS].clone() }))
        .collect();
    let mut client = Client::connect(&server);
    let everyone = (CHANNELS * STALLED / 2 + STALLED / 2 + HEALTHY) as u64;
    until("everyone listens", || {
        let value: serde_json::Value =
            serde_json::from_str(client.get("/stats/channels").text()).expect("JSON");
        let channels = value["channels"].as_array().expect("a list");
        channels.iter().filter_map(|channel| channel["subscribers"].as_u64()).sum::<u64>() == everyone
    });
    let text = "x".repeat(TEXT);
    let mut line_bytes = 0;
    let mut settled = (0, 0);
    for round in 0..ROUNDS {
        for channel in 0..CHANNELS {
            let id = say_on(&mut client, &format!("f{channel}"), &text);
            let line = format!("{{\"id\":{id},\"channel\":\"f{channel}\",\"data\":\"{text}\"}}\n");
            // Names of channels are one or two digits long.
            line_bytes = line.len() - usize::from(channel > 9);
        }
        readers.read_to((round + 1) * line_bytes);
        if round == ROUNDS / 4 {
            // By now the histories are full, and everyone who will block has blocked.
            settled = (server.resident_kib(), server.proportional_kib());
        }
    }
    for (n, &had) in readers.had.iter().enumerate() {
        let long_name = usize::from(n % CHANNELS > 9);
        assert_eq!(had, ROUNDS * (line_bytes + long_name), "reader {n}");
    }
    assert!(stat(&mut client, "blocked") >= 100, "those with all channels have 50 MB before them");
    let grown = [
        server.resident_kib().saturating_sub(settled.0),
        server.proportional_kib().saturating_sub(settled.1),
    ];
    println!("settled at {settled:?} KiB; grown by {grown:?} KiB");
    assert!(grown.iter().all(|&kib| kib < 4_096), "grown by {grown:?} KiB (RSS, PSS) over {settled:?}");
    drop(stalled);
}
