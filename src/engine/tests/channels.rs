//! Channels: every transport, cursors, slow readers, ticks.

use super::*;
use crate::config::{ChannelRule, Pace, Slow};
use crate::engine::Hangup;
use crate::engine::conn::Phase;
use crate::wire::json::Publication;

pub(super) fn post(target: &str, body: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

impl World {
    /// Publishes like a client. Returns the answer's body.
    pub(super) fn say(&mut self, channel: &str, text: &str) -> String {
        let speaker = self.ask(&post(&format!("/channels/{channel}"), text));
        let answer = speaker.read();
        self.close(&speaker);
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        body(&answer).to_owned()
    }

    /// A stream that has had its head.
    pub(super) fn listen(&mut self, target: &str) -> Client {
        let client = self.ask(&get(target));
        let head = client.read();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        client
    }
}

/// The first message's id: the log begins at the start, and the clock stands still.
const FIRST: u64 = 1_700_000_000_250_001;

#[test]
fn every_stream_hears_a_message_in_its_own_words() {
    let mut world = World::roomy();
    let events = world.listen("/channels/a?as=events");
    let enveloped = world.listen("/channels/a?as=events&envelope");
    let ndjson = world.listen("/channels/a?as=ndjson");
    let iframe = world.listen("/channels/a?as=iframe&callback=top.hear");
    let poll = world.ask(&get("/channels/a?as=poll"));
    let answer = world.say("a?event=note", "one\n</script>");
    assert_eq!(answer, format!(r#"{{"id":{FIRST},"channels":["a"],"subscribers":5}}"#));
    let envelope = format!(r#"{{"id":{FIRST},"channel":"a","event":"note","data":"one\n</script>"}}"#);
    assert_eq!(events.read(), format!("id: {FIRST}\nevent: note\ndata: one\ndata: </script>\n\n"));
    assert_eq!(enveloped.read(), format!("id: {FIRST}\nevent: note\ndata: {envelope}\n\n"));
    assert_eq!(ndjson.read(), format!("{envelope}\n"));
    let escaped = envelope.replace('<', "\\u003c").replace('>', "\\u003e");
    assert_eq!(iframe.read(), format!("<script>top.hear({escaped});</script>\n"));
    assert_eq!(body(&poll.read()), format!(r#"{{"messages":[{envelope}],"since":{FIRST}}}"#));
}

#[test]
fn an_event_stream_begins_with_a_retry_and_a_comment_and_ends_with_the_connection() {
    let mut world = World::roomy();
    let client = world.ask("GET /channels/a HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n");
    let answer = client.read();
    for line in [
        "Content-Type: text/event-stream; charset=utf-8",
        "Cache-Control: no-cache, no-store",
        "Connection: close",
        "X-Accel-Buffering: no",
    ] {
        assert!(answer.contains(&format!("\r\n{line}\r\n")), "{line} in {answer}");
    }
    let (retry, rest) = body(&answer).strip_prefix("retry: ").unwrap().split_once('\n').unwrap();
    assert!((1_000..3_000).contains(&retry.parse::<u32>().unwrap()));
    let cursor = rest.strip_prefix(": encke\nid: ").and_then(|id| id.strip_suffix("\n\n")).unwrap();
    assert!(cursor.parse::<u64>().unwrap() > 0);
}

#[test]
fn whoever_resumes_hears_exactly_what_it_missed() {
    let mut world = World::roomy();
    for text in ["one", "two", "three"] {
        world.say("a", text);
    }
    let since = |world: &mut World, query: &str| {
        let answer = world.ask(&get(&format!("/channels/a?as=ndjson&{query}"))).read();
        body(&answer)
            .lines()
            .map(|line| line.split("\"data\":").nth(1).unwrap_or("gap").to_owned())
            .collect::<Vec<_>>()
            .join("")
    };
    assert_eq!(since(&mut world, &format!("since={FIRST}")), r#""two"}"three"}"#);
    assert_eq!(since(&mut world, &format!("lastEventId={}", FIRST + 1)), r#""three"}"#);
    assert_eq!(since(&mut world, "since=oldest"), r#""one"}"two"}"three"}"#);
    assert_eq!(since(&mut world, "last=2"), r#""two"}"three"}"#);
    assert_eq!(since(&mut world, "last=9"), r#""one"}"two"}"three"}"#);
    assert_eq!(since(&mut world, "last=0"), "");
    assert_eq!(since(&mut world, &format!("since={}", FIRST + 2)), "");
}

#[test]
fn a_cursor_that_nobody_can_honour_is_a_gap() {
    let mut world = World::roomy();
    world.say("a", "one");
    let before = world.listen_to_end("/channels/a?as=ndjson&since=5");
    assert_eq!(before.lines().next(), Some(format!(r#"{{"gap":{{"from":5,"to":{FIRST}}}}}"#).as_str()));
    assert_eq!(before.lines().count(), 2);
    let ahead = world.listen_to_end("/channels/a?as=ndjson&since=9000000000000000");
    assert_eq!(
        ahead.lines().next(),
        Some(format!(r#"{{"gap":{{"from":9000000000000000,"to":{FIRST}}}}}"#).as_str())
    );
    let answer =
        world.ask("GET /channels/a?as=events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: what\r\n\r\n").read();
    assert!(
        answer.contains(&format!("event: gap\ndata: {{\"from\":0,\"to\":{FIRST}}}\n\nid: {FIRST}\n")),
        "{answer}"
    );
    assert!(world.ask(&get("/channels/a?since=what")).read().starts_with("HTTP/1.1 400 "));
    let poll = world.ask(&get("/channels/a?since=5")).read();
    assert!(
        body(&poll).ends_with(&format!(r#"],"since":{FIRST},"gap":{{"from":5,"to":{FIRST}}}}}"#)),
        "{poll}"
    );
}

impl World {
    fn listen_to_end(&mut self, target: &str) -> String {
        body(&self.ask(&get(target)).read()).to_owned()
    }
}

#[test]
fn one_cursor_is_enough_for_several_channels() {
    let mut world = World::roomy();
    let live = world.listen("/channels/b,a,c?as=ndjson");
    for (channel, text) in [("a", "1"), ("b", "2"), ("c", "3"), ("x", "4"), ("a", "5")] {
        world.say(channel, text);
    }
    let told = live.read();
    let data = |told: &str| {
        told.lines().map(|line| line[line.len() - 3..line.len() - 2].to_owned()).collect::<String>()
    };
    assert_eq!(data(&told), "1235");
    let resumed = world.listen_to_end(&format!("/channels/a,b,c?as=ndjson&since={FIRST}"));
    assert_eq!(data(&resumed), "235");
}

#[test]
fn a_burst_rides_one_frame() {
    let mut world = World::roomy();
    let client = world.listen("/channels/a?as=ndjson");
    let sends = world.engine.stats().sends;
    let lines: String = (0..50).map(|i| format!("{{\"channel\":\"a\",\"data\":\"{i}\"}}\n")).collect();
    let bulk = format!(
        "POST /channels HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n{lines}",
        lines.len()
    );
    let answer = world.ask(&bulk).read();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert_eq!(client.read().lines().count(), 50);
    assert_eq!(world.engine.stats().sends - sends, 1);
}

#[test]
fn a_slow_reader_keeps_one_message_and_reads_the_rest_from_the_history() {
    let mut world = World::roomy();
    let slow = world.listen("/channels/a?as=ndjson");
    slow.line.borrow_mut().room = 10;
    for i in 0..500 {
        world.say("a", &format!("{i:0>100}"));
    }
    let unsent = world.engine.crowd[slow.id.index].outbox.len();
    assert!(unsent < 200, "{unsent} bytes for one who does not read");
    world.make_room(&slow, usize::MAX / 2);
    assert_eq!(slow.read().lines().count(), 500);
    world.say("a", "live again");
    assert!(slow.read().ends_with("\"live again\"}\n"));
}

#[test]
fn whoever_falls_off_the_history_is_told() {
    let mut world = World::new(Limits { history_messages_max: 10, ..Limits::default() });
    let slow = world.listen("/channels/a?as=ndjson");
    slow.line.borrow_mut().room = 10;
    for i in 0..30 {
        world.say("a", &i.to_string());
    }
    world.make_room(&slow, usize::MAX / 2);
    let told = slow.read();
    assert_eq!(
        told.lines().count(),
        12,
        "the message that was begun, the gap, and the ten that are left: {told}"
    );
    assert!(told.lines().nth(1).unwrap().starts_with(&format!(r#"{{"gap":{{"from":{FIRST},"#)));
}

#[test]
fn heartbeats_go_to_those_who_heard_nothing() {
    let mut world = World::roomy();
    let events = world.listen("/channels/a?as=events");
    let ndjson = world.listen("/channels/b?as=ndjson");
    world.pass_ms(10_000);
    world.say("b", "x");
    ndjson.read();
    world.pass_ms(20_000);
    assert_eq!(events.read(), "id: 1700000010250000\n\n", "its cursor moves on without a message");
    assert_eq!(ndjson.read(), "", "it has heard something");
    world.pass_ms(25_000);
    assert_eq!(ndjson.read(), "\n");
}

#[test]
fn without_heartbeats_the_walk_goes_only_while_somebody_may_have_stalled() {
    let mut world = World::with(Settings { heartbeat_ms: 0, ..Settings::default() });
    let idle: Vec<Client> = (0..100).map(|_| world.listen("/channels/quiet?as=ndjson")).collect();
    assert_eq!(world.engine.deadline(), None, "nobody can have stalled");
    let slow = world.listen("/channels/news?as=ndjson");
    slow.line.borrow_mut().room = 10;
    world.say("news", "longer than ten bytes");
    world.pass_ms(121_000);
    assert!(slow.is_gone(), "it has not read for a minute");
    assert!(idle.iter().all(|client| !client.is_gone()));
    // The round in which it was found is walked to its end; what is due then is a history's age.
    world.pass_ms(120_000);
    assert!(world.pass_ms(600_000) <= 1, "nobody is left who can have stalled");
}

#[test]
fn a_poll_that_hears_nothing_is_told_where_to_go_on() {
    let mut world = World::roomy();
    let poll = world.ask(&get("/channels/a"));
    assert_eq!(world.pass_ms(24_999), 0);
    world.pass_ms(1);
    assert_eq!(body(&poll.read()), format!(r#"{{"messages":[],"since":{}}}"#, FIRST - 1));
    assert!(!poll.has_ended());
    world.send(&poll, &get(&format!("/channels/a?since={}", FIRST - 1)));
    world.say("a", "x");
    assert!(body(&poll.read()).contains("\"data\":\"x\""));
}

#[test]
fn the_servers_clock_ticks_on_the_second_for_those_who_listen() {
    let mut world = World::roomy();
    assert_eq!(world.engine.deadline(), None);
    let events = world.listen("/channels/$clock?as=events");
    let both = world.listen("/channels/a,$clock?as=ndjson");
    world.pass_ms(749);
    assert_eq!(events.read(), "");
    world.pass_ms(1);
    assert_eq!(events.read(), "data: 1700000001\n\n");
    assert_eq!(both.read(), "{\"channel\":\"$clock\",\"data\":\"1700000001\"}\n");
    world.pass_ms(2_000);
    assert_eq!(events.read(), "data: 1700000002\n\ndata: 1700000003\n\n");
    world.close(&events);
    world.engine.crowd.hang_up(both.id.index, Hangup::Left);
    world.engine.crowd.hang_up(events.id.index, Hangup::Left);
    world.pass_ms(80_000);
    assert_eq!(world.engine.deadline(), None, "a clock without listeners does not tick");
    assert!(world.ask(&post("/channels/$clock", "x")).read().starts_with("HTTP/1.1 403 "));
    assert!(world.ask(&get("/channels/$other")).read().starts_with("HTTP/1.1 404 "));
}

#[test]
fn the_servers_clock_says_each_second_once_wherever_the_clocks_milliseconds_begin() {
    for behind_us in [0, 1, 499, 500, 999] {
        let mut world = World::roomy();
        world.now.mono_us += behind_us;
        let clock = world.listen("/channels/$clock?as=ndjson");
        world.pass_ms(5_000);
        let said = clock.read();
        let seconds: Vec<&str> = said.lines().filter_map(|line| line.split('"').nth(7)).collect();
        let expected: Vec<String> = (1..=5).map(|second| (1_700_000_000 + second).to_string()).collect();
        assert_eq!(seconds, expected, "{behind_us} us: {said}");
    }
}

#[test]
fn a_deleted_channel_says_so_and_forgets() {
    let mut world = World::roomy();
    let events = world.listen("/channels/a?as=events");
    world.say("a", "one");
    events.read();
    let deleted = world.ask("DELETE /channels/a HTTP/1.1\r\nHost: x\r\n\r\n").read();
    assert!(deleted.starts_with("HTTP/1.1 200 "), "{deleted}");
    assert_eq!(events.read(), format!("id: {}\nevent: deleted\ndata: \n\n", FIRST + 1));
    assert_eq!(world.listen_to_end("/channels/a?as=ndjson&since=oldest"), "");
    assert!(world.ask("DELETE /channels/b HTTP/1.1\r\nHost: x\r\n\r\n").read().starts_with("HTTP/1.1 404 "));
}

#[test]
fn a_poll_is_not_answered_with_nothing_because_its_news_was_deleted_in_the_middle_of_a_sweep() {
    // Where only the latest counts there is not even a gap to tell.
    let mut rule = ChannelRule::new("a".parse().unwrap());
    rule.slow = Slow::Latest;
    let pace = Pace { deliveries_per_slice: 1, deliveries_per_turn: 2, ..Pace::default() };
    let mut world = World::with(Settings { pace, channels: vec![rule], ..Settings::default() });
    let stream = world.listen("/channels/a?as=ndjson");
    let poll = world.ask(&get("/channels/a?as=poll"));
    let publication = Publication { channel: "a".to_owned(), event: None, data: "one".into() };
    world.engine.publish(&[publication], world.now).expect("there is room for a channel");
    // The sweep has served the stream, and comes to the poll in its next slice.
    world.engine.advance(world.now);
    assert!(stream.read().contains("one"));
    assert_eq!(poll.read(), "");
    world.ask("DELETE /channels/a HTTP/1.1\r\nHost: x\r\n\r\n");
    let last = FIRST + 1;
    let last_word = format!("{{\"id\":{last},\"channel\":\"a\",\"event\":\"deleted\",\"data\":\"\"}}");
    assert_eq!(body(&poll.read()), format!("{{\"messages\":[{last_word}],\"since\":{last}}}"));
}

#[test]
fn errors_are_problems_in_json() {
    let mut world = World::roomy();
    let answer = world.ask(&get("/channels/a?as=carrier-pigeon")).read();
    assert!(answer.starts_with("HTTP/1.1 400 "));
    assert!(answer.contains("\r\nContent-Type: application/problem+json\r\n"));
    assert!(body(&answer).contains("try iframe, poll, events, ndjson or websocket"));
    assert!(world.ask(&get("/channels/a%20b")).read().starts_with("HTTP/1.1 400 "));
    assert!(world.ask(&get("/channels/a?as=iframe&callback=alert(1)")).read().starts_with("HTTP/1.1 400 "));
    let put = world.ask("PUT /channels/a HTTP/1.1\r\nHost: x\r\n\r\n").read();
    assert!(put.contains("\r\nAllow: GET, HEAD, OPTIONS, POST, DELETE\r\n"));
}

#[test]
fn the_budget_takes_from_the_largest_and_publishing_never_fails() {
    let budget = 100_000;
    let mut world = World::new(Limits { history_budget_bytes_max: budget, ..Limits::default() });
    world.say("small", "stays");
    for i in 0..300 {
        world.say(&format!("large{}", i % 3), &"x".repeat(1_000));
    }
    assert!(world.engine.hub.history_bytes() <= budget);
    assert!(world.engine.hub.stats().evicted > 0);
    assert_eq!(world.engine.hub.channel_stats("small").unwrap().messages, 1);
}

#[test]
fn origins_are_allowed_by_the_setting_and_never_reflected() {
    let settings = Settings { origins: vec!["https://a.example".into()], ..Settings::default() };
    let mut world = World::with(settings);
    let from = |origin: &str| {
        format!("GET /channels/x?as=ndjson HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n\r\n")
    };
    let allowed = world.ask(&from("https://a.example")).read();
    assert!(allowed.contains("\r\nAccess-Control-Allow-Origin: https://a.example\r\n"));
    let other = world.ask(&from("https://b.example")).read();
    assert!(!other.contains("Access-Control-Allow-Origin") && other.contains("\r\nVary: Origin\r\n"));
    let preflight = "OPTIONS /channels/x HTTP/1.1\r\nHost: localhost\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n\r\n";
    assert!(
        world
            .ask(preflight)
            .read()
            .contains("\r\nAccess-Control-Allow-Methods: GET, HEAD, OPTIONS, POST, DELETE\r\n")
    );
    let cross = "POST /channels/x HTTP/1.1\r\nHost: localhost\r\nOrigin: https://b.example\r\nContent-Length: 1\r\n\r\nx";
    assert!(world.ask(cross).read().starts_with("HTTP/1.1 403 "));
}

/// A text frame as a client sends it, with a mask of zeros.
fn frame(text: &str) -> String {
    assert!(text.len() < 126);
    let mut bytes = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
    bytes.extend_from_slice(text.as_bytes());
    // Only ASCII is sent as text here; the two bytes of the head are not.
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

impl World {
    pub(super) fn send_frame(&mut self, client: &Client, text: &str) {
        let bytes: Vec<u8> = frame(text).chars().map(|c| c as u8).collect();
        client.line.borrow_mut().up.extend(bytes);
        self.tell(client, Readiness { readable: true, ..Readiness::default() });
    }
}

/// The texts of the frames that have arrived.
pub(super) fn frames(client: &Client) -> Vec<String> {
    let mut bytes = std::mem::take(&mut client.line.borrow_mut().down);
    let mut texts = Vec::new();
    while bytes.len() >= 2 {
        assert!(bytes[1] < 126, "short frames only");
        let frame: Vec<u8> = bytes.drain(..2 + usize::from(bytes[1])).collect();
        texts.push(String::from_utf8(frame[2..].to_vec()).unwrap());
    }
    texts
}

pub(super) const HANDSHAKE: &str = "HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[test]
fn a_websocket_speaks_listens_and_changes_its_mind() {
    let mut world = World::roomy();
    world.say("b", "before");
    let socket = world.ask(&format!("GET /channels/a {HANDSHAKE}"));
    assert!(socket.read().starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
    world.send_frame(&socket, r#"{"publish":"hi","channel":"a","ref":[1]}"#);
    let told = frames(&socket);
    assert!(told.contains(&format!(r#"{{"id":{},"channel":"a","data":"hi"}}"#, FIRST + 1)), "{told:?}");
    assert!(told.contains(&format!(r#"{{"ref":[1],"id":{}}}"#, FIRST + 1)), "{told:?}");
    world.send_frame(&socket, r#"{"subscribe":["b"],"since":"oldest"}"#);
    assert_eq!(
        frames(&socket),
        [format!(r#"{{"id":{FIRST},"channel":"b","data":"before"}}"#)],
        "the past of the new channel, and nothing of the other one again"
    );
    world.say("a", "1");
    world.say("b", "2");
    assert_eq!(frames(&socket).len(), 2);
    world.send_frame(&socket, r#"{"unsubscribe":["a"]}"#);
    world.say("a", "3");
    world.say("b", "4");
    assert_eq!(frames(&socket), [format!(r#"{{"id":{},"channel":"b","data":"4"}}"#, FIRST + 5)]);
    world.send_frame(&socket, r#"{"publish":"x","channel":"$clock","ref":2}"#);
    assert!(frames(&socket)[0].starts_with(r#"{"ref":2,"error":{"title":"Forbidden","status":403,"#));
}

#[test]
fn a_heartbeat_never_takes_a_cursor_back() {
    let mut world = World::roomy();
    let one = world.listen("/channels/a?as=events");
    let both = world.listen("/channels/a,b?as=events");
    world.say("elsewhere", "one");
    world.pass_ms(60_000);
    let told =
        |client: &Client| client.read().lines().rev().find_map(|l| l.strip_prefix("id: ").map(str::to_owned));
    assert_eq!(told(&one), Some(FIRST.to_string()), "all that was said anywhere");
    assert_eq!(told(&both), Some(FIRST.to_string()));
    // Published, and not swept when the walk comes by.
    let speech = Publication { channel: "a".into(), event: None, data: "two".into() };
    world.engine.publish(&[speech], world.now).unwrap();
    for client in [&one, &both] {
        let index = world.engine.crowd.find(client.id).expect("it listens");
        let Phase::Subscribed(seat) = world.engine.crowd[index].phase else { panic!("it listens") };
        assert_eq!(world.engine.hub.vouch(seat), None, "news is under way");
        assert!(world.engine.hub.cursor(seat) >= FIRST);
    }
}

#[test]
fn a_poll_that_was_told_of_a_gap_is_not_sent_back_before_it() {
    let mut world = World::with(Settings {
        limits: Limits { history_age_ms: 1_000, ..Limits::default() },
        ..Settings::default()
    });
    world.say("a", "one");
    world.say("a", "two");
    world.pass_ms(5_000);
    for names in ["a", "a,b"] {
        let answer = world.ask(&get(&format!("/channels/{names}?since={FIRST}"))).read();
        let last = FIRST + 1;
        let expected = format!(r#"{{"messages":[],"since":{last},"gap":{{"from":{FIRST},"to":{last}}}}}"#);
        assert_eq!(body(&answer), expected, "{names}");
    }
}

#[test]
fn a_farewell_that_finds_nobody_gives_the_seat_back_once() {
    let mut world = World::roomy();
    for names in ["a", "a,b"] {
        let socket = world.ask(&format!("GET /channels/{names} {HANDSHAKE}"));
        socket.line.borrow_mut().reset = true;
        socket.line.borrow_mut().up.extend([0x88, 0x80, 0, 0, 0, 0]);
        world.tell(&socket, Readiness { readable: true, ..Readiness::default() });
        assert!(socket.is_gone());
    }
    assert_eq!(world.engine.hub.channels(), 0);
}

#[test]
fn a_late_comer_to_a_channel_that_does_not_wait_is_told_and_stays() {
    let rule = ChannelRule { slow: Slow::Disconnect, ..ChannelRule::new("a".parse().unwrap()) };
    let limits = Limits { history_messages_max: 2, ..Limits::default() };
    let mut world = World::with(Settings { channels: vec![rule], limits, ..Settings::default() });
    for text in ["one", "two", "three"] {
        world.say("a", text);
    }
    let late = world.ask(&get(&format!("/channels/a?as=ndjson&since={}", FIRST - 1)));
    assert_eq!(body(&late.read()).lines().count(), 3, "the gap and what is left");
    world.say("a", "four");
    assert_eq!(late.read().lines().count(), 1);
}

#[test]
fn deleting_costs_the_budget_nothing() {
    let mut world = World::roomy();
    let listener = world.listen("/channels/a?as=ndjson");
    for _ in 0..20 {
        world.say("a", "x");
        world.ask("DELETE /channels/a HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    assert_eq!(listener.read().lines().count(), 40);
    assert_eq!(world.engine.hub.history_bytes(), 0);
}

#[test]
fn a_gap_waits_behind_a_head_that_is_not_through_yet() {
    let parts = ChannelRule { slow: Slow::Disconnect, ..ChannelRule::new("parts".parse().unwrap()) };
    let limits = Limits { history_messages_max: 1, connections_max: 10, ..Limits::default() };
    let mut world = World::with(Settings { limits, channels: vec![parts], ..Settings::default() });
    let cursor = START.unix_us;
    for text in ["one", "two"] {
        world.say("parts", text);
    }
    let client = world.connect();
    client.line.borrow_mut().room = 50;
    world.send(&client, &get(&format!("/channels/parts?as=ndjson&since={cursor}")));
    world.make_room(&client, 1_000_000);
    let answer = client.read();
    let lines: Vec<&str> = body(&answer).lines().collect();
    assert!(lines[0].starts_with("{\"gap\":{\"from\":") && lines[1].contains("\"two\""), "{answer}");
}
