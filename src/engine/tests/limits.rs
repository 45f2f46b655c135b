//! Limits: each at its last value that is served and at the first that is not, in a time that is
//! made up.

use super::channels::{HANDSHAKE, frames, post};
use super::*;
use crate::config::Pace;
use crate::engine::Hangup;
use crate::wire::json::Publication;

/// The status of the first answer, and the seconds after which to try again.
fn outcome(answer: &str) -> (u16, Option<u64>) {
    let status = answer.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    let seconds = answer.split_once("\r\nRetry-After: ").and_then(|(_, rest)| rest.split_once("\r\n"));
    (status, seconds.and_then(|(digits, _)| digits.parse().ok()))
}

fn status(answer: &str) -> u16 {
    outcome(answer).0
}

fn bulk(body: &str) -> String {
    let kind = "Content-Type: application/x-ndjson\r\n";
    let length = body.len();
    format!("POST /channels HTTP/1.1\r\nHost: localhost\r\n{kind}Content-Length: {length}\r\n\r\n{body}")
}

/// A line of a bulk publish.
const LINE: &str = "{\"channel\":\"a\",\"data\":\"x\"}";

fn chunked(size: usize) -> String {
    let (head, data) = ("POST /channels/a HTTP/1.1\r\nHost: localhost\r\n", "x".repeat(size));
    format!("{head}Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n{data}\r\n0\r\n\r\n")
}

/// A head that is so many bytes long.
fn head_of(bytes: usize) -> String {
    let bare = "GET /healthz HTTP/1.1\r\nHost: x\r\nX: \r\n\r\n";
    bare.replace("X: ", &format!("X: {}", "x".repeat(bytes - bare.len())))
}

// --- Sizes and numbers --------------------------------------------------------------------------

/// With a limit of `n`, what asks for `n` is answered `served`, and what asks for one more `refused`.
fn edge(
    name: &str,
    n: usize,
    limit: fn(&mut Limits, usize),
    ask: impl Fn(usize) -> String,
    [served, refused]: [u16; 2],
) {
    let mut limits = Limits::default();
    limit(&mut limits, n);
    let mut world = World::new(limits);
    for (n, expected) in [(n, served), (n + 1, refused)] {
        let client = world.connect_from(Some([192, 0, 2, n as u8].into()));
        world.send(&client, &ask(n));
        let (status, seconds) = outcome(&client.read());
        assert_eq!(status, expected, "{name} {n}");
        assert_eq!(seconds.is_some(), [429, 503].contains(&expected), "{name} {n}: Retry-After");
    }
}

#[test]
fn a_request_that_fits_is_served_and_one_that_is_larger_by_one_is_refused() {
    let target = |n: usize| get(&format!("/healthz?{}", "x".repeat(n - "/healthz?".len())));
    edge("target-bytes-max", 40, |limits, n| limits.target_bytes_max = n, target, [200, 414]);
    edge("head-bytes-max", 100, |limits, n| limits.head_bytes_max = n, head_of, [200, 431]);
    let fields = |n: usize| format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: 1\r\n".repeat(n - 1));
    edge("fields-max", 3, |limits, n| limits.fields_max = n, fields, [200, 431]);
    let message = |n: usize| post("/channels/a", &"x".repeat(n));
    edge("message-bytes-max", 10, |limits, n| limits.message_bytes_max = n, message, [201, 413]);
    edge("the same in chunks", 10, |limits, n| limits.message_bytes_max = n, chunked, [201, 413]);
    let one_of_many = |n: usize| bulk(&format!("{{\"channel\":\"a\",\"data\":\"{}\"}}", "x".repeat(n)));
    edge("the same among others", 10, |limits, n| limits.message_bytes_max = n, one_of_many, [201, 413]);
    let padded = |n: usize| bulk(&format!("{LINE}{}", " ".repeat(n - LINE.len())));
    edge("bulk-bytes-max", 100, |limits, n| limits.bulk_bytes_max = n, padded, [201, 413]);
}

#[test]
fn what_may_be_so_many_may_not_be_one_more() {
    let names = |n: usize| ('a'..).take(n).map(String::from).collect::<Vec<_>>().join(",");
    let padding = |n: usize| get(&format!("/backend.php?padding={n}"));
    edge("padding-max", 5, |limits, n| limits.padding_max = n, padding, [200, 400]);
    let subscription = |n: usize| get(&format!("/channels/{}?as=ndjson", names(n)));
    let limit = |limits: &mut Limits, n| limits.subscription_channels_max = n;
    edge("subscription-channels-max", 3, limit, subscription, [200, 400]);
    let channels = |n: usize| post(&format!("/channels/{}", names(n)), "x");
    edge("channels-max", 3, |limits, n| limits.channels_max = n, channels, [201, 503]);
    let many = |n: usize| bulk(&format!("{LINE}\n").repeat(n));
    edge("publish-rate-max", 3, |limits, n| limits.publish_rate_max = n as u32, many, [201, 413]);
    let limit = |limits: &mut Limits, n| {
        limits.publish_rate_max = 1;
        limits.publish_burst_max = n as u32;
    };
    edge("publish-burst-max", 3, limit, many, [201, 413]);
}

#[test]
fn a_websockets_command_has_room_for_the_longest_message_and_its_names() {
    let limits = Limits { message_bytes_max: 100, ..Limits::default() };
    let most = 6 * limits.message_bytes_max + 16 * 1024;
    for (length, closed) in [(most, false), (most + 1, true)] {
        let mut world = World::new(limits.clone());
        let socket = world.ask(&format!("GET /channels/a {HANDSHAKE}"));
        socket.read();
        let mut head = vec![0x81, 0xfe];
        head.extend_from_slice(&(length as u16).to_be_bytes());
        socket.line.borrow_mut().up.extend(head);
        world.tell(&socket, Readiness { readable: true, ..Readiness::default() });
        let said = std::mem::take(&mut socket.line.borrow_mut().down);
        assert_eq!(said.get(2..4), closed.then_some(&1009u16.to_be_bytes()[..]), "{length}");
    }
}

#[test]
fn a_websockets_message_may_come_in_so_many_fragments() {
    let most = crate::wire::websocket::Limits::default().fragments_max as usize;
    for (fragments, closed) in [(most, false), (most + 1, true)] {
        let mut world = World::roomy();
        let socket = world.ask(&format!("GET /channels/a {HANDSHAKE}"));
        socket.read();
        let begins = [0x01, 0x80, 0, 0, 0, 0];
        let goes_on = [0x00, 0x80, 0, 0, 0, 0].repeat(fragments - 1);
        socket.line.borrow_mut().up.extend(begins.iter().chain(&goes_on));
        world.tell(&socket, Readiness { readable: true, ..Readiness::default() });
        let said = std::mem::take(&mut socket.line.borrow_mut().down);
        assert_eq!(said.get(2..4), closed.then_some(&1008u16.to_be_bytes()[..]), "{fragments}");
    }
}

#[test]
fn behind_a_held_poll_so_many_bytes_are_kept() {
    let limits = Limits { held_input_bytes_max: 100, ..Limits::default() };
    for (bytes, left) in [(100, 0), (101, 1)] {
        let pace = Pace { scratch_bytes: 1, ..Pace::default() };
        let mut world = World::with(Settings { limits: limits.clone(), pace, ..Settings::default() });
        let poll = world.ask(&get("/backend.php?timestamp=0"));
        world.send(&poll, &"G".repeat(bytes));
        assert_eq!(poll.line.borrow().up.len(), left, "of {bytes}, in the socket");
    }
}

#[test]
fn with_so_many_bytes_unsent_the_next_request_is_served_and_with_one_more_it_waits() {
    let answer_bytes = World::roomy().ask(&get("/healthz")).read().len();
    for (unsent_bytes_max, served) in [(answer_bytes, 2), (answer_bytes - 1, 1)] {
        let mut world = World::new(Limits { unsent_bytes_max, ..Limits::default() });
        let client = world.connect();
        client.line.borrow_mut().room = 0;
        world.send(&client, &get("/healthz").repeat(2));
        assert_eq!(world.engine.stats().requests, served, "{unsent_bytes_max}");
        world.make_room(&client, usize::MAX / 2);
        assert_eq!(client.read().matches("ok\n").count(), 2);
    }
}

#[test]
fn a_history_keeps_so_many_messages_bytes_and_milliseconds() {
    let heard = |limits: Limits, wait_ms: u64| {
        let mut world = World::new(limits);
        ["one", "two", "three"].iter().for_each(|text| drop(world.say("a", text)));
        world.pass_ms(wait_ms);
        let stats = world.engine.hub.channel_stats("a");
        stats.map_or(0, |stats| stats.messages)
    };
    let limits = Limits::default();
    assert_eq!(heard(Limits { history_messages_max: 3, ..limits.clone() }, 0), 3);
    assert_eq!(heard(Limits { history_messages_max: 2, ..limits.clone() }, 0), 2);
    let mut world = World::roomy();
    ["one", "two", "three"].iter().for_each(|text| drop(world.say("a", text)));
    let weight = world.engine.hub.history_bytes();
    assert_eq!(heard(Limits { history_bytes_max: weight, ..limits.clone() }, 0), 3);
    assert_eq!(heard(Limits { history_bytes_max: weight - 1, ..limits.clone() }, 0), 2);
    let mut budget = Limits { history_budget_bytes_max: weight, ..limits.clone() };
    assert_eq!(heard(budget.clone(), 0), 3);
    budget.history_budget_bytes_max -= 1;
    assert!(heard(budget, 0) < 3);
    assert_eq!(heard(Limits { history_age_ms: 5_000, ..limits.clone() }, 4_999), 3);
    assert_eq!(heard(Limits { history_age_ms: 5_000, ..limits }, 6_000), 0);
}

#[test]
fn a_channel_has_so_many_sections_and_says_so_before_the_head_is_out() {
    let mut world = World::roomy();
    let framed: Vec<Client> =
        (0..255).map(|n| world.ask(&get(&format!("/channels/a?as=iframe&callback=f{n}")))).collect();
    let lines = world.listen("/channels/a?as=ndjson");
    let refused = world.ask(&get("/channels/a?as=iframe&callback=g")).read();
    assert_eq!(outcome(&refused), (503, Some(2)));
    assert!(refused.contains("application/problem+json"), "{refused}");
    let events = world.ask(&get("/channels/a?as=events"));
    let said = events.read();
    assert!(status(&said) == 200 && body(&said).starts_with("retry: ") && events.has_ended(), "{said}");
    assert_eq!(world.engine.hub.stats().sections_refused, 2);
    // Those who fit are served, and whoever leaves makes room.
    assert_eq!(status(&world.ask(&get("/channels/a?as=iframe&callback=f7")).read()), 200);
    world.engine.crowd.hang_up(framed[0].id.index, Hangup::Reset);
    world.settle();
    assert_eq!(status(&world.ask(&get("/channels/a?as=iframe&callback=g")).read()), 200);
    world.say("a", "hello");
    assert!(lines.read().contains("hello"));
}

#[test]
fn without_room_for_a_channel_every_transport_is_told_in_its_own_way() {
    let mut world = World::new(Limits { channels_max: 1, ..Limits::default() });
    world.say("a", "one");
    for framing in ["iframe", "ndjson", "poll"] {
        let client = world.ask(&get(&format!("/channels/b?as={framing}")));
        let answer = client.read();
        assert_eq!(outcome(&answer), (503, Some(2)), "{framing}");
        assert!(body(&answer).contains("try again later"), "{framing}");
        assert!(!client.has_ended(), "{framing}: the connection can be used for something else");
    }
    for names in ["b", "a,b"] {
        let events = world.ask(&get(&format!("/channels/{names}?as=events")));
        let said = events.read();
        assert!(status(&said) == 200 && body(&said).starts_with("retry: "), "{said}");
        assert!(body(&said).contains("\nid: "), "it can say where it was when it comes back");
        assert!(events.has_ended());
        let socket = world.ask(&format!("GET /channels/{names} {HANDSHAKE}"));
        let said = std::mem::take(&mut socket.line.borrow_mut().down);
        let farewell = said.windows(2).position(|bytes| bytes == 1001u16.to_be_bytes());
        assert!(said.starts_with(b"HTTP/1.1 101 ") && farewell.is_some() && socket.has_ended());
    }
    assert_eq!(world.engine.hub.stats().channels_refused, 7);
    assert_eq!(world.engine.hub.channels(), 1);
    assert_eq!(status(&world.ask(&get("/channels/a?as=events")).read()), 200, "what is there is there");
}

// --- Times --------------------------------------------------------------------------------------

#[test]
fn a_deadline_is_met_to_the_millisecond() {
    type Begin = fn(&mut World) -> Client;
    let limits = Limits {
        head_timeout_ms: 2_000,
        body_timeout_ms: 3_000,
        idle_timeout_ms: 4_000,
        write_timeout_ms: 5_000,
        linger_ms: 700,
        ..Limits::default()
    };
    let cases: [(&str, u64, Begin, u16, Hangup); 5] = [
        ("head-timeout", 2_000, |world| world.ask("GET / HTTP/1.1\r\nHost: "), 408, Hangup::Done),
        (
            "body-timeout",
            3_000,
            |world| world.ask("POST /channels/a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx"),
            408,
            Hangup::Done,
        ),
        ("idle-timeout", 4_000, |world| world.ask(&get("/healthz")), 0, Hangup::Idle),
        (
            "write-timeout",
            5_000,
            |world| {
                let client = world.connect();
                client.line.borrow_mut().room = 100;
                world.send(&client, &get("/style.css"));
                client
            },
            0,
            Hangup::Stalled,
        ),
        ("linger", 700, |world| world.ask("GET / HTTP/9.9\r\n\r\n"), 0, Hangup::Done),
    ];
    for (name, ms, begin, status_then, why) in cases {
        let mut world = World::new(limits.clone());
        let client = begin(&mut world);
        client.read();
        world.pass_ms(ms - 1);
        assert!(!client.is_gone() && client.read().is_empty(), "{name}: too early");
        world.pass_ms(1);
        assert_eq!(status(&client.read()), status_then, "{name}");
        if status_then == 408 {
            world.pass_ms(limits.linger_ms);
        }
        assert!(client.is_gone(), "{name}: too late");
        assert_eq!(world.engine.stats().hangups(why), 1, "{name}");
        assert_eq!(world.engine.stats().timed_out, u64::from(status_then == 408), "{name}");
    }
}

// --- Addresses ----------------------------------------------------------------------------------

#[test]
fn an_address_has_so_many_connections_and_others_do_not_notice() {
    let mut world = World::new(Limits { connections_per_address_max: 2, ..Limits::default() });
    let (here, there) = (Some([192, 0, 2, 1].into()), Some([192, 0, 2, 2].into()));
    let inside = [world.connect_from(here), world.connect_from(here)];
    let extra = world.connect_from(here);
    let said = extra.read();
    assert_eq!(outcome(&said), (429, Some(2)));
    assert!(said.contains("\r\nConnection: close\r\n") && extra.has_ended() && !extra.is_gone());
    let crowd: Vec<Client> = (0..20).map(|_| world.connect_from(here)).collect();
    assert_eq!(crowd.iter().filter(|client| !client.is_gone()).count(), 3, "far beyond it nobody is let in");
    assert_eq!(world.engine.stats().address_turned_away, 21);
    for client in [world.connect_from(there), world.connect()] {
        world.send(&client, &get("/healthz"));
        assert_eq!(status(&client.read()), 200);
    }
    world.pass_ms(1_000);
    world.close(&inside[0]);
    let next = world.connect_from(here);
    world.send(&next, &get("/healthz"));
    assert_eq!(status(&next.read()), 200, "whoever leaves makes room");
}

#[test]
fn an_address_publishes_so_much_a_second_in_whatever_way() {
    let mut world = World::new(Limits { publish_rate_max: 2, ..Limits::default() });
    let here = Some([192, 0, 2, 1].into());
    let ways = [
        post("/channels/a", "x"),
        post("/channels/a,b", "x"),
        bulk(LINE),
        "DELETE /channels/a HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        get("/backend.php?msg=x"),
        "POST /backend.php HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: 5\r\n\r\nmsg=x"
            .to_owned(),
    ];
    let mut refused = 0;
    for way in &ways {
        world.pass_ms(10_000);
        let first = world.connect_from(here);
        world.send(&first, &bulk(&format!("{LINE}\n{LINE}")));
        assert_eq!(status(&first.read()), 201);
        let messages = world.engine.hub.stats().messages;
        // Another connection of the same address.
        let client = world.connect_from(here);
        world.send(&client, way);
        assert_eq!(outcome(&client.read()), (429, Some(1)), "{way}");
        refused += 1;
        assert_eq!(world.engine.hub.stats().messages, messages, "all or nothing: {way}");
        assert_eq!(world.engine.stats().rate_limited, refused);
        world.pass_ms(1_000);
        world.send(&client, way);
        assert!(status(&client.read()) < 300, "{way}");
    }
    let publication = Publication { channel: "a".into(), event: None, data: "x".into() };
    for _ in 0..10 {
        assert!(
            world.engine.publish(std::slice::from_ref(&publication), world.now).is_ok(),
            "who embeds it is no peer"
        );
        assert_eq!(status(&world.ask(&post("/channels/a", "x")).read()), 201, "a Unix socket has no address");
    }
}

#[test]
fn a_websocket_that_publishes_too_much_hears_it_under_its_ref_and_goes_on() {
    let mut world = World::new(Limits { publish_rate_max: 1, ..Limits::default() });
    let socket = world.connect_from(Some([192, 0, 2, 1].into()));
    world.send(&socket, &format!("GET /channels/b {HANDSHAKE}"));
    socket.read();
    world.send_frame(&socket, r#"{"publish":"x","channel":"a","ref":1}"#);
    world.send_frame(&socket, r#"{"publish":"x","channel":"a","ref":2}"#);
    // The error is longer than a short frame.
    let said = String::from_utf8_lossy(&std::mem::take(&mut socket.line.borrow_mut().down)).into_owned();
    assert!(said.contains(r#"{"ref":1,"id":"#), "{said}");
    assert!(said.contains(r#"{"ref":2,"error":{"title":"Too Many Requests","status":429,"#), "{said}");
    world.pass_ms(1_000);
    world.send_frame(&socket, r#"{"publish":"x","channel":"a","ref":3}"#);
    assert!(frames(&socket)[0].starts_with(r#"{"ref":3,"id":"#));
}

// --- The budget ---------------------------------------------------------------------------------

const BUDGET: usize = 100_000;

fn tight_world() -> World {
    World::new(Limits { connection_budget_bytes_max: BUDGET, ..Limits::default() })
}

/// How long the bodies are of which a part comes.
const BODY: usize = 12_000;

/// Holds so many bytes, and a little more: a part of a body.
fn upload(world: &mut World, bytes: usize) -> Client {
    let head = format!("POST /channels/a HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY}\r\n\r\n");
    world.ask(&format!("{head}{}", "x".repeat(bytes)))
}

#[test]
fn nearly_full_no_body_is_waited_for_and_whoever_comes_whole_is_served() {
    let mut world = tight_world();
    let uploads: Vec<Client> = (0..7).map(|_| upload(&mut world, 10_000)).collect();
    assert!(!world.engine.crowd.budget.is_tight());
    let last = upload(&mut world, 10_000);
    assert!(world.engine.crowd.budget.is_tight() && world.engine.stats().uploads_refused == 0);
    let refused = upload(&mut world, 10);
    assert_eq!(status(&refused.read()), 0, "a body that is on its way is read to its end");
    world.send(&refused, &"x".repeat(BODY - 10));
    assert_eq!(outcome(&refused.read()), (503, Some(2)));
    let asks = "POST /channels/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n";
    let asking = world.ask(asks);
    assert_eq!(outcome(&asking.read()), (503, Some(2)), "at once, if that is what was asked");
    assert_eq!(world.engine.stats().uploads_refused, 2);
    world.say("a", "whole");
    assert_eq!(status(&world.ask(&get("/channels/a?as=poll&since=oldest")).read()), 200);
    // What was begun is finished, and then everybody is served again.
    world.send(&last, &"x".repeat(BODY - 10_000));
    assert_eq!(status(&last.read()), 201);
    assert!(!world.engine.crowd.budget.is_tight());
    assert_eq!(status(&upload(&mut world, BODY).read()), 201);
    assert!(uploads.iter().all(|client| !client.is_gone()));
    assert_eq!(world.engine.stats().hangups(Hangup::OverBudget), 0);
}

#[test]
fn at_the_budget_whoever_holds_the_most_goes() {
    let mut world = tight_world();
    let small: Vec<Client> = (0..20).map(|_| upload(&mut world, 1_000)).collect();
    // It asks again and again and reads nothing.
    let reader = world.connect();
    reader.line.borrow_mut().room = 0;
    world.say("a", &"x".repeat(20_000));
    let poll = get("/channels/a?as=poll&since=oldest");
    world.send(&reader, &poll);
    assert!(!reader.is_gone() && world.engine.holdings().held_bytes > 40_000);
    world.send(&reader, &poll.repeat(3));
    assert!(reader.is_gone());
    assert_eq!(world.engine.stats().hangups(Hangup::OverBudget), 1);
    assert!(small.iter().all(|client| !client.is_gone()), "the small ones keep what they have");
    assert!(world.engine.holdings().held_bytes < BUDGET / 2, "room again, at once");
    small.iter().for_each(|client| world.close(client));
    assert_eq!(world.engine.holdings().held_bytes, 0);
}

#[test]
fn however_many_never_read_the_budget_holds_and_the_others_hear_everything() {
    let mut world = tight_world();
    let healthy = world.listen("/channels/a?as=ndjson");
    let mut stalled = Vec::new();
    for n in 0..200 {
        let client = world.connect();
        client.line.borrow_mut().room = 400 + n;
        world.send(&client, &get(&format!("/channels/a{}?as=ndjson", [",b", ""][n % 2])));
        stalled.push(client);
    }
    for n in 0..40 {
        world.say("a", &format!("{n} {}", "x".repeat(2_000)));
        assert!(world.engine.holdings().held_bytes <= BUDGET);
    }
    assert_eq!(healthy.read().lines().count(), 40);
    let shed = world.engine.stats().hangups(Hangup::OverBudget);
    let left = stalled.iter().filter(|client| !client.is_gone()).count();
    assert!(shed >= 100 && left as u64 == 200 - shed, "{shed} of 200 had to go");
    // One of them comes back with its cursor.
    let again = world.ask(&get("/channels/a?as=ndjson&since=oldest")).read();
    assert_eq!(body(&again).lines().count(), 40);
}

#[test]
fn nearly_full_no_message_in_pieces_is_begun() {
    let mut world = tight_world();
    let sockets: Vec<Client> = (0..2).map(|_| world.ask(&format!("GET /channels/a {HANDSHAKE}"))).collect();
    sockets.iter().for_each(|socket| drop(socket.read()));
    let fragment = |length: u8| [&[0x01, 0x80 | length, 0, 0, 0, 0][..], &vec![b'x'; length.into()]].concat();
    let say = |world: &mut World, n: usize| {
        sockets[n].line.borrow_mut().up.extend(fragment(100));
        world.tell(&sockets[n], Readiness { readable: true, ..Readiness::default() });
    };
    say(&mut world, 0);
    assert!(!sockets[0].has_ended());
    let uploads: Vec<Client> = (0..8).map(|_| upload(&mut world, 10_000)).collect();
    // Its first bytes came before: they said nothing about a length.
    let [first, rest @ ..] = &fragment(100)[..] else { unreachable!("a frame has bytes") };
    for part in [&[*first][..], rest] {
        sockets[1].line.borrow_mut().up.extend(part);
        world.tell(&sockets[1], Readiness { readable: true, ..Readiness::default() });
    }
    let said = std::mem::take(&mut sockets[1].line.borrow_mut().down);
    assert_eq!(said[2..4], 1013u16.to_be_bytes());
    assert!(sockets[1].has_ended() && !sockets[0].has_ended());
    assert_eq!(world.engine.stats().uploads_refused, 1);
    drop(uploads);
}

#[test]
fn nobody_keeps_the_others_out_by_holding_a_little_less_than_too_much() {
    let mut world = tight_world();
    let sockets: Vec<Client> = (0..8).map(|_| world.ask(&format!("GET /channels/a {HANDSHAKE}"))).collect();
    for socket in &sockets {
        let length = 10_000u16.to_be_bytes();
        socket.line.borrow_mut().up.extend([0x01, 0xfe, length[0], length[1], 0, 0, 0, 0]);
        socket.line.borrow_mut().up.extend([b'x'; 10_000]);
        world.tell(socket, Readiness { readable: true, ..Readiness::default() });
    }
    assert!(world.engine.crowd.budget.is_tight());
    let begin = |world: &mut World| {
        let client = upload(world, 10);
        world.send(&client, &"x".repeat(BODY - 10));
        status(&client.read())
    };
    assert_eq!(begin(&mut world), 503);
    world.pass_ms(Limits::default().write_timeout_ms - 1);
    assert_eq!(begin(&mut world), 503);
    world.pass_ms(1);
    assert_eq!(begin(&mut world), 201);
    assert_eq!(sockets.iter().filter(|socket| socket.is_gone()).count(), 1, "and no more than has to be");
}

#[test]
fn everything_that_is_kept_is_counted_and_given_back() {
    let mut world = World::roomy();
    let mut counted = vec![0];
    let mut clients = Vec::new();
    let partial = world.ask("GET / HTTP/1.1\r\nHost: loc");
    counted.push(world.engine.holdings().held_bytes);
    clients.push(partial);
    let poll = world.ask(&get("/channels/a?as=poll"));
    world.send(&poll, &"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(10));
    counted.push(world.engine.holdings().held_bytes);
    clients.push(poll);
    clients.push(upload(&mut world, 5_000));
    counted.push(world.engine.holdings().held_bytes);
    let page = world.connect();
    page.line.borrow_mut().room = 10;
    world.send(&page, &get("/style.css"));
    counted.push(world.engine.holdings().held_bytes);
    clients.push(page);
    assert!(counted.is_sorted_by(|before, after| before < after), "{counted:?}");
    assert!(counted[4] - counted[3] < 1_000, "a page belongs to all who read it");
    clients.iter().for_each(|client| world.close(client));
    world.pass_ms(100_000);
    let holdings = world.engine.holdings();
    assert_eq!((holdings.held_bytes, holdings.connections), (0, 0));
}

// --- Who makes room -----------------------------------------------------------------------------

#[test]
fn whoever_closed_his_half_makes_room_for_whoever_comes() {
    let mut world = World::new(Limits { connections_max: 3, ..Limits::default() });
    let streams: Vec<Client> = (0..3).map(|_| world.ask(&get("/channels/a?as=ndjson"))).collect();
    streams[..2].iter().for_each(|stream| world.close(stream));
    assert!(streams.iter().all(|stream| !stream.is_gone()), "there is a grace, and nobody needs the place");

    let first = world.ask(&get("/healthz"));
    assert_eq!(status(&first.read()), 200);
    assert_eq!([true, false, false], [0, 1, 2].map(|n| streams[n].is_gone()), "the oldest half goes first");
    let second = world.ask(&get("/healthz"));
    assert_eq!(status(&second.read()), 200);
    let third = world.ask(&get("/healthz"));
    assert_eq!(status(&third.read()), 503, "whoever is whole is not sent away");
    assert!(!streams[2].is_gone());
    assert_eq!(world.engine.stats().hangups(Hangup::Left), 2);
}

#[test]
fn out_of_descriptors_all_who_closed_their_half_make_room() {
    let mut world = World::roomy();
    let streams: Vec<Client> = (0..3).map(|_| world.ask(&get("/channels/a?as=ndjson"))).collect();
    streams[..2].iter().for_each(|stream| world.close(stream));
    assert!(world.engine.starved());
    world.settle();
    assert_eq!([true, true, false], [0, 1, 2].map(|n| streams[n].is_gone()));
    assert!(!world.engine.starved(), "nobody is left who could");
}

#[test]
fn whoever_may_not_stay_takes_nobodys_place() {
    let limits = Limits { connections_max: 2, connections_per_address_max: 1, ..Limits::default() };
    let mut world = World::new(limits);
    let here = Some([192, 0, 2, 1].into());
    let streams = [here, Some([192, 0, 2, 2].into())].map(|peer| {
        let stream = world.connect_from(peer);
        world.send(&stream, &get("/channels/a?as=ndjson"));
        stream
    });
    streams.iter().for_each(|stream| world.close(stream));
    let refused = world.connect_from(here);
    world.send(&refused, &get("/healthz"));
    assert!([429, 503].contains(&status(&refused.read())));
    assert!(streams.iter().all(|stream| !stream.is_gone()));
}

#[test]
fn one_that_only_reads_is_on_the_list_once_however_often_it_is_looked_at() {
    let mut world = World::roomy();
    let reader = world.ask(&get("/channels/a?as=ndjson"));
    reader.line.borrow_mut().room = 100;
    world.close(&reader);
    for n in 0..500 {
        world.say("a", &format!("{n} {}", "x".repeat(200)));
        world.make_room(&reader, 150);
        let passing = world.ask(&get("/channels/b?as=ndjson"));
        world.close(&passing);
        passing.line.borrow_mut().reset = true;
        world.say("b", "is anybody there?");
    }
    assert!(!reader.is_gone());
    let listed = world.engine.crowd.halves.len();
    assert!(listed < 200, "{listed} on the list of those who closed their half");
}

#[test]
fn whoever_closed_his_half_and_reads_on_is_remembered_once() {
    let mut world = World::roomy();
    let stream = world.ask(&get("/channels/a?as=ndjson"));
    world.close(&stream);
    stream.line.borrow_mut().room = 0;
    for _ in 0..10 {
        world.say("a", &"x".repeat(100));
        world.make_room(&stream, 50);
        world.make_room(&stream, 200);
    }
    assert!(stream.read().contains("xxx") && !stream.is_gone());
    assert_eq!(world.engine.holdings().halves, 1);
}
