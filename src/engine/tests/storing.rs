//! Storing: with a log that takes time, nobody hears or is told anything before it has answered.

use super::channels::{HANDSHAKE, frames, post};
use super::*;
use crate::engine::{Stored, Unstored};
use crate::wire::json::Publication;

/// The first id that the log gives.
const ID: u64 = START.unix_us + 5_000;

/// A log that answers when it is told to.
#[derive(Default)]
struct Log {
    taken: Vec<Unstored>,
    given: u64,
}

impl Log {
    fn take(&mut self, world: &mut World) {
        self.taken.extend(world.engine.unstored());
    }

    /// Answers for everything that it has been given.
    fn answer(&mut self, world: &mut World, is_well: bool) {
        self.take(world);
        let stored = self.taken.drain(..).map(|what| {
            let first_id = is_well.then_some(ID + self.given);
            self.given += what.publications.len() as u64;
            Stored { what, first_id }
        });
        let stored: Vec<Stored> = stored.collect();
        world.engine.stored(stored, world.now);
        world.settle();
    }
}

fn slow_world(limits: Limits) -> (World, Log) {
    let mut world = World::new(limits);
    world.engine.log_elsewhere(START.unix_us, START.unix_us);
    (world, Log::default())
}

fn status(answer: &str) -> u16 {
    answer
        .get(9..12)
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

fn bulk(lines: &str) -> String {
    let length = lines.len();
    format!(
        "POST /channels HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n\
         Content-Length: {length}\r\n\r\n{lines}"
    )
}

#[test]
fn nobody_hears_a_message_or_is_told_its_id_before_it_is_stored() {
    let (mut world, mut log) = slow_world(Limits::default());
    let listener = world.ask(&get("/channels/a?as=ndjson"));
    listener.read();
    let publisher = world.ask(&post("/channels/a,b", "hi"));
    log.take(&mut world);
    assert_eq!(
        world.engine.deadline(),
        Some(world.now.mono_us / 1_000 * 1_000 + 10_000_000),
        "no sooner than need be"
    );
    assert_eq!((publisher.read(), listener.read()), (String::new(), String::new()));
    log.answer(&mut world, true);
    assert_eq!(listener.read(), format!("{{\"id\":{ID},\"channel\":\"a\",\"data\":\"hi\"}}\n"));
    let answer = publisher.read();
    assert_eq!(status(&answer), 201);
    assert_eq!(body(&answer), format!(r#"{{"id":{},"channels":["a","b"],"subscribers":1}}"#, ID + 1));
}

#[test]
fn every_way_to_publish_is_answered_as_ever() {
    let (mut world, mut log) = slow_world(Limits::default());
    let one = world.ask(&post("/channels/a", "1"));
    let many = world.ask(&bulk("{\"channel\":\"a\",\"data\":\"2\"}\n{\"channel\":\"b\",\"data\":\"3\"}\n"));
    let line = world.ask(&get("/demo/backend.php?msg=4"));
    let socket = world.ask(&format!("GET /channels/c {HANDSHAKE}"));
    socket.read();
    world.send_frame(&socket, r#"{"publish":"5","channel":"c","ref":"x"}"#);
    let last_word = world.ask("DELETE /channels/a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let inside = Publication { channel: "a".into(), event: None, data: "6".into() };
    assert_eq!(world.engine.publish([inside], world.now), Ok(vec![]), "there is no id yet");
    let silent = [&one, &many, &line, &last_word].iter().all(|client| client.read().is_empty());
    assert!(silent && frames(&socket).is_empty());
    log.answer(&mut world, true);
    assert_eq!(body(&one.read()), format!(r#"{{"id":{ID},"channels":["a"],"subscribers":0}}"#));
    assert_eq!(body(&many.read()), format!(r#"{{"ids":[{},{}]}}"#, ID + 1, ID + 2));
    let empty = line.read();
    assert!(status(&empty) == 200 && body(&empty).is_empty(), "{empty}");
    let told = frames(&socket);
    assert!(told.contains(&format!(r#"{{"ref":"x","id":{}}}"#, ID + 4)), "{told:?}");
    let deleted = last_word.read();
    assert_eq!((status(&deleted), body(&deleted)), (200, &*format!(r#"{{"id":{},"channel":"a"}}"#, ID + 5)));
    assert_eq!(
        world.engine.hub.channel_stats("a").map(|stats| stats.messages),
        Some(1),
        "what came behind it"
    );
    assert_eq!(world.engine.holdings().unstored_bytes, 0);
}

#[test]
fn what_could_not_be_stored_is_refused_in_every_form_and_leaves_nothing() {
    let (mut world, mut log) = slow_world(Limits::default());
    let one = world.ask(&post("/channels/a", "1"));
    let line = world.ask(&get("/demo/backend.php?msg=2"));
    let socket = world.ask(&format!("GET /channels/c {HANDSHAKE}"));
    socket.read();
    world.send_frame(&socket, r#"{"publish":"3","channel":"c"}"#);
    log.answer(&mut world, false);
    let (one, line) = (one.read(), line.read());
    for answer in [&one, &line] {
        assert!(status(answer) == 503 && answer.contains("\r\nRetry-After: 2\r\n"), "{answer}");
        assert!(answer.contains("nothing was published"), "{answer}");
    }
    assert!(one.contains("\r\nContent-Type: application/problem+json\r\n"), "{one}");
    assert!(line.contains("\r\nContent-Type: text/plain; charset=utf-8\r\n"), "{line}");
    let told = String::from_utf8_lossy(&std::mem::take(&mut socket.line.borrow_mut().down)).into_owned();
    assert!(told.contains(r#"{"error":{"title":"Service Unavailable","status":503,"#), "{told}");
    let stats = world.engine.hub.stats();
    assert_eq!((stats.messages, world.engine.stats().store_failures), (0, 3));
    assert_eq!(world.engine.hub.channels(), 1, "only the channel that is listened to");
}

#[test]
fn no_cursor_is_ahead_of_what_is_still_on_its_way() {
    let (mut world, mut log) = slow_world(Limits::default());
    world.ask(&post("/channels/a", "first"));
    log.answer(&mut world, true);
    world.ask(&post("/channels/b", "second"));
    log.take(&mut world);
    let events = world.ask(&get("/channels/b?as=events")).read();
    assert!(events.contains(&format!("id: {ID}\n")), "a stream begins at what is stored: {events}");
    let poll = world.ask(&get("/channels/b?as=poll"));
    world.pass_ms(9_000);
    let beats = world.ask(&get("/channels/a?as=poll&since=oldest"));
    assert!(body(&beats.read()).ends_with(&format!("\"since\":{ID}}}")));
    log.answer(&mut world, true);
    assert!(body(&poll.read()).contains("\"data\":\"second\""));
    let resumed = world.ask(&get(&format!("/channels/b?as=poll&since={ID}"))).read();
    assert!(body(&resumed).contains("\"data\":\"second\""), "{resumed}");
}

#[test]
fn pipelined_requests_wait_behind_the_log_and_are_answered_in_order() {
    let (mut world, mut log) = slow_world(Limits::default());
    let client = world.ask(&[post("/channels/a", "1"), get("/healthz"), post("/channels/a", "2")].concat());
    assert_eq!(client.read(), "");
    log.answer(&mut world, true);
    let told = client.read();
    assert!(told.starts_with("HTTP/1.1 201 ") && told.ends_with("ok\n"), "{told}");
    log.answer(&mut world, true);
    assert_eq!(status(&client.read()), 201);
}

#[test]
fn a_websockets_next_commands_wait_for_the_log_and_its_news_do_not() {
    let (mut world, mut log) = slow_world(Limits::default());
    let socket = world.ask(&format!("GET /channels/a {HANDSHAKE}"));
    socket.read();
    world.ask(&post("/channels/a", "news"));
    world.send_frame(&socket, r#"{"publish":"1","channel":"b","ref":1}"#);
    world.send_frame(&socket, r#"{"subscribe":["c"],"ref":2}"#);
    world.send_frame(&socket, r#"{"publish":"3","channel":"b","ref":3}"#);
    assert!(frames(&socket).is_empty());
    log.answer(&mut world, true);
    let told = frames(&socket);
    let at =
        |text: &str| told.iter().position(|frame| frame.contains(text)).unwrap_or_else(|| panic!("{told:?}"));
    at("\"news\"");
    assert!(at("\"ref\":1") < at("\"ref\":2") && !told.iter().any(|frame| frame.contains("\"ref\":3")));
    log.answer(&mut world, true);
    assert!(frames(&socket)[0].contains("\"ref\":3"));
}

#[test]
fn a_publisher_that_is_gone_has_spoken_all_the_same() {
    let (mut world, mut log) = slow_world(Limits::default());
    let listener = world.ask(&get("/channels/a?as=ndjson"));
    listener.read();
    let gone = world.ask(&post("/channels/a", "1"));
    let half = world.ask(&post("/channels/a", "2"));
    world.engine.crowd.hang_up_for_test(gone.id);
    world.close(&half);
    let next = world.connect();
    assert_eq!(next.id.index, gone.id.index, "the slot has another tenant");
    log.answer(&mut world, true);
    assert_eq!(listener.read().lines().count(), 2);
    assert_eq!(next.read(), "");
    assert_eq!(status(&half.read()), 201, "who sends no more still reads");
    assert!(half.has_ended());
}

#[test]
fn nobody_waits_for_ever_and_what_is_stored_late_is_still_heard() {
    let (mut world, mut log) = slow_world(Limits { store_timeout_ms: 1_000, ..Limits::default() });
    let socket = world.ask(&format!("GET /channels/a {HANDSHAKE}"));
    socket.read();
    world.send_frame(&socket, r#"{"publish":"1","channel":"b","ref":1}"#);
    let publisher = world.ask(&post("/channels/a", "2"));
    world.pass_ms(999);
    assert_eq!(publisher.read(), "");
    world.pass_ms(1);
    let told = publisher.read();
    assert!(
        status(&told) == 503 && told.contains("\r\nRetry-After: ") && told.contains("may or may not"),
        "{told}"
    );
    let told = String::from_utf8_lossy(&std::mem::take(&mut socket.line.borrow_mut().down)).into_owned();
    assert!(told.contains("{\"ref\":1,\"error\":") && told.contains("may or may not"), "{told}");
    assert_eq!(world.engine.stats().store_timeouts, 2);
    world.send(&publisher, &post("/channels/a", "3"));
    log.answer(&mut world, true);
    let answer = publisher.read();
    assert!(
        body(&answer).starts_with(&format!("{{\"id\":{}", ID + 2)),
        "the first answer is not for the second: {answer}"
    );
    assert_eq!(frames(&socket).len(), 2, "what was said late and what was said then");
}

#[test]
fn what_waits_for_the_log_has_a_bound() {
    let weight = |data: &str| {
        let (mut world, _) = slow_world(Limits::default());
        world.ask(&post("/channels/a", data));
        world.engine.holdings().unstored_bytes
    };
    let data = "x".repeat(1_000);
    let limits = Limits { unstored_bytes_max: 3 * weight(&data), ..Limits::default() };
    let (mut world, mut log) = slow_world(limits);
    let waiting: Vec<Client> = (0..3).map(|_| world.ask(&post("/channels/a", &data))).collect();
    let one_too_many = world.ask(&post("/channels/new", "")).read();
    assert!(status(&one_too_many) == 503 && one_too_many.contains("nothing was published"), "{one_too_many}");
    assert_eq!((world.engine.stats().store_refusals, world.engine.hub.channels()), (1, 1));
    log.answer(&mut world, true);
    assert!(waiting.iter().all(|client| status(&client.read()) == 201));
    let whole = format!("{{\"channel\":\"a\",\"data\":\"{}\"}}\n", "y".repeat(8_000));
    let large = world.ask(&bulk(&whole));
    log.answer(&mut world, true);
    assert_eq!(status(&large.read()), 201, "one alone always fits");
}

#[test]
fn a_channel_is_kept_open_for_what_is_on_its_way() {
    let (mut world, mut log) = slow_world(Limits { channels_max: 1, ..Limits::default() });
    let first = world.ask(&post("/channels/a", "1"));
    let one_too_many = world.ask(&post("/channels/b", "2"));
    assert_eq!(status(&one_too_many.read()), 503);
    let visitor = world.ask(&get("/channels/a?as=ndjson"));
    world.engine.crowd.hang_up_for_test(visitor.id);
    world.settle();
    log.answer(&mut world, true);
    assert_eq!(status(&first.read()), 201);
    assert_eq!(world.engine.hub.channel_stats("a").map(|stats| stats.messages), Some(1));
}

fn recalled(channel: &str, data: &str) -> Publication {
    Publication { channel: channel.into(), event: None, data: data.into() }
}

#[test]
fn what_a_log_has_from_before_is_served_and_what_it_has_forgotten_is_a_gap() {
    let limits =
        Limits { history_messages_max: 2, history_age_ms: 60_000, channels_max: 3, ..Limits::default() };
    let mut world = World::new(limits);
    let ago = |seconds: u64| START.unix_us - seconds * 1_000_000;
    world.engine.log_elsewhere(START.unix_us + 9, ago(1_000));
    world.engine.recall_floor("a", ago(50));
    for (channel, seconds) in [("old", 61), ("a", 40), ("a", 30), ("b", 25), ("a", 20), ("c", 15), ("d", 10)]
    {
        world.engine.recall(recalled(channel, &seconds.to_string()), ago(seconds), world.now);
    }
    let poll = |world: &mut World, query: &str| {
        body(&world.ask(&get(&format!("/channels/{query}"))).read()).to_owned()
    };
    let told = poll(&mut world, &format!("a?since={}", ago(60)));
    assert!(told.contains(&format!(r#""gap":{{"from":{},"to":{}}}"#, ago(60), ago(30))), "{told}");
    assert!(told.contains(r#""data":"30""#) && told.contains(r#""data":"20""#), "{told}");
    let told = poll(&mut world, &format!("b?since={}", ago(999)));
    assert!(told.contains(r#""data":"25""#) && !told.contains("gap"), "b has forgotten nothing: {told}");
    assert_eq!(world.engine.hub.channels(), 3, "neither what is too old nor what is one too many");
    let mut outdated: Vec<(String, u64)> = world.engine.outdated().collect();
    outdated.sort();
    assert_eq!(outdated, [("a".into(), ago(40)), ("old".into(), ago(61))]);
    world.pass_ms(31_000);
    assert!(world.engine.outdated().any(|one| one == ("a".into(), ago(30))), "it is a minute old by now");
    assert_eq!(world.engine.hub.head(), START.unix_us + 9);
}

#[test]
fn a_server_that_leaves_waits_for_the_log_and_then_for_the_listeners() {
    let (mut world, mut log) = slow_world(Limits::default());
    let listener = world.ask(&get("/channels/a?as=ndjson"));
    listener.read();
    let publisher = world.ask(&post("/channels/a", "1"));
    world.engine.shut_down(world.now);
    world.settle();
    world.pass_ms(1_000);
    assert!(!listener.has_ended());
    log.answer(&mut world, true);
    let answer = publisher.read();
    assert!(status(&answer) == 201 && answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert!(listener.read().contains("\"data\":\"1\""));
    world.pass_ms(2_000);
    assert_eq!(world.engine.connections(), 0);
}

#[test]
fn a_log_that_never_answers_keeps_nobody_from_leaving() {
    let (mut world, mut log) = slow_world(Limits::default());
    let listener = world.ask(&get("/channels/a?as=ndjson"));
    listener.read();
    let publisher = world.ask(&post("/channels/a", "1"));
    world.engine.shut_down(world.now);
    world.pass_ms(2_000);
    let told = publisher.read();
    assert!(status(&told) == 503 && told.contains("may or may not"), "{told}");
    log.answer(&mut world, true);
    assert_eq!(listener.read(), "", "who has been bidden farewell hears it from our successor");
    world.pass_ms(1_000);
    assert_eq!(world.engine.connections(), 0);
}
