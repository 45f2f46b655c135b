//! Leaving: what was promised is kept, and everybody is told when to come back.

use std::collections::BTreeSet;

use super::*;
use crate::config::{ChannelRule, TickerRule};
use crate::wire::json::Publication;

/// What leaving may take by default.
const DRAIN_MS: u64 = 3_000;

fn upload(target: &str, length: usize) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")
}

impl World {
    fn publish(&mut self, channel: &str, data: &str) {
        let publication = Publication { channel: channel.into(), event: None, data: data.into() };
        self.engine.publish(&[publication], self.now).unwrap();
    }

    fn stop(&mut self) {
        self.engine.shut_down(self.now);
        self.settle();
    }

    fn websocket(&mut self, target: &str) -> Client {
        let client = self.ask(&format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ));
        assert!(client.read().starts_with("HTTP/1.1 101 "));
        client
    }

    fn command(&mut self, client: &Client, json: &str) {
        assert!(json.len() < 126);
        let head = [0x81, 0x80 | json.len() as u8, 0, 0, 0, 0];
        client.line.borrow_mut().up.extend(head.iter().chain(json.as_bytes()));
        self.tell(client, Readiness { readable: true, ..Readiness::default() });
    }
}

impl Client {
    /// What has arrived, be it text or not.
    fn bytes(&self) -> Vec<u8> {
        std::mem::take(&mut self.line.borrow_mut().down)
    }
}

/// The milliseconds of the `retry: MS` that an event stream ends with, and what came before it.
fn farewell(told: &str) -> (String, u64) {
    let (before, retry) = told.strip_suffix("\n\n").unwrap().rsplit_once("retry: ").unwrap();
    (before.to_owned(), retry.parse().unwrap())
}

#[test]
fn what_was_said_right_before_the_end_reaches_everybody() {
    let mut world = World::roomy();
    let clients: Vec<Client> = (0..1_000).map(|_| world.ask(&get("/channels/a?as=events"))).collect();
    clients.iter().for_each(|client| drop(client.read()));
    world.publish("a", "the last word");
    world.stop();
    let mut retries = BTreeSet::new();
    for client in &clients {
        let (before, retry_ms) = farewell(&client.read());
        assert!(before.ends_with("data: the last word\n\n"), "{before}");
        assert!((DRAIN_MS / 3..=DRAIN_MS).contains(&retry_ms), "{retry_ms}");
        assert!(client.has_ended());
        retries.insert(retry_ms);
    }
    assert!(retries.len() > 500, "{} different moments for 1,000", retries.len());
    assert!(*retries.first().unwrap() < 1_100 && *retries.last().unwrap() > 2_900);
}

#[test]
fn whoever_is_answered_in_the_last_moment_is_told_that_it_was_the_last_answer() {
    let mut world = World::roomy();
    let client = world.ask(&(upload("/channels/a", 5) + "he"));
    client.line.borrow_mut().up.extend(b"llo");
    world.stop();
    let answer = client.read();
    assert!(answer.starts_with("HTTP/1.1 201 ") && answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert!(client.has_ended());
}

#[test]
fn a_websocket_is_told_when_to_come_back() {
    let mut world = World::roomy();
    let client = world.websocket("/channels/a");
    world.publish("a", "bye");
    world.stop();
    let told = client.bytes();
    let close =
        told.windows(4).position(|window| window == [0x88, 16, 0x03, 0xe9]).expect("a close with 1001");
    assert!(told[..close].windows(5).any(|window| window == b"\"bye\""), "the message comes first");
    let reason = std::str::from_utf8(&told[close + 4..]).unwrap();
    let retry = reason.strip_prefix("{\"retry\":").and_then(|rest| rest.strip_suffix('}')).unwrap();
    assert!((1_000..=3_000).contains(&retry.parse::<u64>().unwrap()), "{reason}");
}

#[test]
fn whoever_has_no_word_for_it_is_let_go_at_a_moment_of_its_own() {
    let mut world = World::roomy();
    let targets =
        ["/channels/a?as=ndjson", "/channels/a?as=iframe", "/backend.php", "/backend.php?timestamp=0"];
    let clients: Vec<Client> = (0..80).map(|n| world.ask(&get(targets[n % targets.len()]))).collect();
    clients.iter().for_each(|client| drop(client.read()));
    world.stop();
    let gone = |clients: &[Client]| clients.iter().filter(|client| client.has_ended()).count();
    assert!(gone(&clients) < 8);
    world.pass_ms(DRAIN_MS * 5 / 12);
    assert!((20..60).contains(&gone(&clients)), "{} of 80 after half the time", gone(&clients));
    world.pass_ms(DRAIN_MS * 5 / 12);
    assert_eq!(gone(&clients), 80);
    assert!(clients.iter().all(|client| client.read().is_empty()), "nothing more is said");
    world.pass_ms(DRAIN_MS / 6);
    assert_eq!(world.engine.connections(), 0);
}

#[test]
fn polls_are_answered_with_their_cursor_and_part() {
    let mut world = World::roomy();
    world.publish("a", "one");
    let since = world.engine.hub.head();
    let polls: Vec<Client> =
        (0..40).map(|_| world.ask(&get(&format!("/channels/a?as=poll&since={since}")))).collect();
    world.stop();
    let answered = |polls: &[Client]| polls.iter().filter(|poll| poll.has_ended()).count();
    assert!(answered(&polls) < 4, "each has its own moment");
    world.pass_ms(DRAIN_MS * 5 / 6);
    for poll in &polls {
        let answer = poll.read();
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        assert_eq!(body(&answer), format!("{{\"messages\":[],\"since\":{since}}}"));
        assert!(poll.has_ended());
    }
}

#[test]
fn an_upload_under_way_is_finished_and_delivered() {
    let mut world = World::roomy();
    let listener = world.ask(&get("/channels/a?as=events"));
    let late = world.ask(&get("/channels/a?as=poll"));
    listener.read();
    let publisher = world.ask(&upload("/channels/a", 10));
    world.send(&publisher, "01234");
    let head = world.ask("POST /channels/a HTTP/1.1\r\nHost: localhost\r\n");
    world.stop();
    assert!(!listener.has_ended());
    world.pass_ms(1_500);
    world.send(&head, "Content-Length: 3\r\n\r\nabc");
    assert!(!listener.has_ended(), "one more is still on its way");
    world.send(&publisher, "56789");
    for publisher in [&publisher, &head] {
        let answer = publisher.read();
        assert!(
            answer.starts_with("HTTP/1.1 201 ") && answer.contains("\r\nConnection: close\r\n"),
            "{answer}"
        );
    }
    let (before, _) = farewell(&listener.read());
    assert!(before.contains("data: abc\n\n") && before.ends_with("data: 0123456789\n\n"), "{before}");
    assert!(body(&late.read()).contains("\"abc\""));
    assert!(late.has_ended(), "an answered poll is not asked again");
}

#[test]
fn an_upload_that_takes_too_long_is_refused_and_not_stored() {
    let mut world = World::roomy();
    let listener = world.ask(&get("/channels/a?as=events"));
    listener.read();
    let publisher = world.ask(&upload("/channels/a", 10));
    world.stop();
    world.pass_ms(DRAIN_MS * 2 / 3 - 1);
    assert!(!listener.has_ended());
    world.pass_ms(1);
    assert!(listener.has_ended());
    world.send(&publisher, "0123456789");
    let answer = publisher.read();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("the server is stopping"), "{answer}");
    assert_eq!(world.engine.hub.stats().messages, 0);
}

#[test]
fn a_request_that_has_arrived_but_was_not_looked_at_yet_is_served() {
    let mut world = World::roomy();
    let listener = world.ask(&get("/channels/a?as=ndjson"));
    listener.read();
    let publisher = world.connect();
    publisher.line.borrow_mut().up.extend(format!("{}hello", upload("/channels/a", 5)).bytes());
    let idle = world.connect();
    world.stop();
    let answer = publisher.read();
    assert!(answer.starts_with("HTTP/1.1 201 ") && answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert!(listener.read().contains("\"hello\""));
    assert!(idle.is_gone());
}

#[test]
fn a_command_that_comes_too_late_is_told_so() {
    let mut world = World::roomy();
    let client = world.websocket("/channels/a");
    let begun = world.ask(&upload("/channels/a", 1));
    world.stop();
    world.command(&client, r#"{"publish":"late","channel":"a","ref":1}"#);
    let told = String::from_utf8_lossy(&client.bytes()).into_owned();
    assert!(told.contains("\"ref\":1,\"error\":") && told.contains("\"status\":503"), "{told}");
    world.send(&begun, "x");
    assert!(begun.read().starts_with("HTTP/1.1 201 "));
    assert_eq!(world.engine.hub.stats().messages, 1);
}

#[test]
fn a_command_that_had_begun_is_obeyed() {
    let mut world = World::roomy();
    let client = world.websocket("/channels/a");
    client.line.borrow_mut().up.extend([0x81, 0x80 | 29, 0, 0, 0, 0]);
    world.tell(&client, Readiness { readable: true, ..Readiness::default() });
    world.stop();
    assert!(!client.has_ended());
    world.send(&client, r#"{"publish":"x","channel":"a"}"#);
    let told = String::from_utf8_lossy(&client.bytes()).into_owned();
    assert!(told.contains("\"data\":\"x\"") && told.contains("\"retry\":"), "{told}");
}

#[test]
fn a_slow_reader_gets_its_rest_before_it_is_sent_away() {
    let mut world = World::roomy();
    let slow = world.ask(&get("/channels/a?as=events"));
    slow.read();
    slow.line.borrow_mut().room = 10;
    for n in 0..300 {
        world.publish("a", &format!("{n:0>200}"));
    }
    world.stop();
    for _ in 0..20 {
        assert!(!slow.has_ended());
        world.pass_ms(100);
        world.make_room(&slow, 1_000);
    }
    world.make_room(&slow, usize::MAX / 2);
    let (told, retry_ms) = farewell(&slow.read());
    assert_eq!(told.matches("data: ").count(), 300);
    assert!((1_000..=3_000).contains(&retry_ms));
    assert!(slow.has_ended());
}

#[test]
fn one_that_only_reads_any_more_gets_its_rest_as_well() {
    let mut world = World::roomy();
    let half = world.ask(&get("/channels/a?as=events"));
    half.read();
    half.line.borrow_mut().room = 10;
    world.publish("a", &"x".repeat(100));
    world.settle();
    world.close(&half);
    world.stop();
    world.pass_ms(2_000);
    world.make_room(&half, usize::MAX / 2);
    let (told, _) = farewell(&half.read());
    assert!(told.ends_with("xxx\n\n"), "{told}");
    assert!(half.has_ended());
}

#[test]
fn whoever_does_not_read_has_until_the_time_is_over() {
    let mut world = World::roomy();
    let clients = ["/channels/a?as=events", "/channels/a?as=ndjson", "/channels/a,b?as=events"];
    let clients = clients.map(|target| world.ask(&get(target)));
    for client in &clients {
        client.read();
        client.line.borrow_mut().room = 10;
    }
    world.publish("a", &"x".repeat(100));
    world.stop();
    world.pass_ms(DRAIN_MS - 1);
    assert_eq!(world.engine.connections(), 3);
    world.pass_ms(1);
    assert_eq!(world.engine.connections(), 0);
    assert!(clients.iter().all(Client::is_gone));
    assert_eq!(world.engine.deadline().filter(|&us| us <= world.now.mono_us), None, "nothing is left to do");
}

#[test]
fn nobody_waits_for_what_gathers_or_ticks() {
    let gathering = ChannelRule { gather_ms: 60_000, ..ChannelRule::new("a".parse().unwrap()) };
    let ticker = TickerRule { channel: "t".into(), every_ms: 1, payload: "{count}".parse().unwrap() };
    let mut world =
        World::with(Settings { channels: vec![gathering], tickers: vec![ticker], ..Settings::default() });
    let gathers = world.ask(&get("/channels/a?as=events"));
    let ticks = world.ask(&get("/channels/t?as=ndjson"));
    gathers.read();
    ticks.read();
    world.publish("a", "gathered");
    world.stop();
    let (before, _) = farewell(&gathers.read());
    assert!(before.ends_with("data: gathered\n\n"), "{before}");
    world.pass_ms(DRAIN_MS);
    assert!(!ticks.read().contains("data"), "clocks end");
    assert_eq!(world.engine.connections(), 0);
}

#[test]
fn who_subscribes_while_the_server_leaves_is_told_to_come_back() {
    let mut world = World::roomy();
    let late = world.ask("GET /channels/a?as=events HTTP/1.1\r\nHost: local");
    world.stop();
    world.pass_ms(DRAIN_MS * 2 / 3 + 10);
    world.send(&late, "host\r\n\r\n");
    let answer = late.read();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n"),
        "any other status would end a browser's trying: {answer}"
    );
    assert!((1_000..=3_000).contains(&farewell(&answer).1));
    assert!(late.has_ended());
}

#[test]
fn being_told_twice_changes_nothing() {
    let mut world = World::roomy();
    let client = world.ask(&get("/channels/a?as=ndjson"));
    world.stop();
    world.stop();
    world.pass_ms(DRAIN_MS);
    assert!(client.is_gone());
    assert!(!world.engine.accept(Fake(Rc::default()), None, world.now));
}

/// A small seeded generator (xorshift): what goes wrong once goes wrong again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

/// More than anybody is ever sent, and can be had several times.
const ROOMY: usize = 1 << 40;

/// How often each of `count` messages, `~n~`, stands in what was told.
fn times_heard(told: &str, count: usize) -> Vec<usize> {
    (0..count).map(|n| told.matches(&format!("~{n}~")).count()).collect()
}

/// Listeners over every transport that streams, some of whom do not read for now.
fn a_mixed_crowd(world: &mut World, dice: &mut Dice) -> Vec<Client> {
    let targets = [
        "a?as=events",
        "a,b?as=events",
        "a?as=ndjson",
        "a,b?as=ndjson",
        "a?as=iframe",
        "a?as=events&envelope",
    ];
    let clients: Vec<Client> = (0..1 + dice.below(60))
        .map(|_| match targets.get(dice.below(targets.len() + 1)) {
            Some(target) => world.ask(&get(&format!("/channels/{target}"))),
            None => world.websocket("/channels/a"),
        })
        .collect();
    for client in &clients {
        client.bytes();
        client.line.borrow_mut().room = if dice.below(3) == 0 { dice.below(200) } else { ROOMY };
    }
    clients
}

#[test]
fn whenever_it_is_told_to_stop_everybody_hears_everything_once() {
    for seed in 1..=150 {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let mut world = World::roomy();
        let clients = a_mixed_crowd(&mut world, &mut dice);
        let mut count = 0;
        let mut uploads = Vec::new();
        for _ in 0..dice.below(40) {
            if dice.below(4) == 0 {
                let text = format!("~{count}~");
                let upload = world.ask(&upload("/channels/a", text.len()));
                uploads.push((upload, text));
            } else {
                world.publish("a", &format!("~{count}~"));
                // A part of a turn, or none: the server is told to stop in the middle of sweeps.
                (0..dice.below(3)).for_each(|_| world.engine.advance(world.now));
            }
            count += 1;
        }
        world.engine.shut_down(world.now);
        for _ in 0..10 {
            world.pass_ms(100);
            let lucky = &clients[dice.below(clients.len())];
            world.make_room(lucky, dice.below(2_000));
            if let Some((upload, text)) = uploads.pop() {
                world.send(&upload, &text);
                let answer = upload.read();
                assert!(answer.starts_with("HTTP/1.1 201 "), "seed {seed}: {answer}");
            }
        }
        for (upload, text) in std::mem::take(&mut uploads) {
            world.send(&upload, &text);
        }
        clients.iter().for_each(|client| world.make_room(client, ROOMY));
        world.pass_ms(DRAIN_MS);
        for (n, client) in clients.iter().enumerate() {
            let told = String::from_utf8_lossy(&client.bytes()).into_owned();
            assert_eq!(times_heard(&told, count), vec![1; count], "seed {seed}, client {n}: {told}");
            assert!(client.has_ended());
        }
        assert_eq!(world.engine.connections(), 0, "seed {seed}");
        assert_eq!(world.engine.holdings().seats, 0, "seed {seed}");
    }
}
