//! The chat of the article: held polls, cursors, spaces.

use super::*;
use crate::config::Pace;
use crate::engine::Hangup;
use crate::wire::json::Publication;

#[test]
fn everybody_who_waits_hears_the_news_at_once() {
    let mut world = World::roomy();
    let polls: Vec<Client> = (0..600).map(|_| world.ask(&get("/chat/backend.php?timestamp=0"))).collect();
    let other = world.ask(&get("/elsewhere/backend.php?timestamp=0"));
    world.ask(&get("/chat/backend.php?msg=hello"));
    for poll in &polls {
        assert_eq!(body(&poll.read()), r#"{"msg":"hello","timestamp":1700000000.250001}"#);
    }
    assert_eq!(other.read(), "", "another directory is another chat");
}

#[test]
fn messages_of_one_instant_are_walked_one_by_one() {
    let mut world = World::roomy();
    for i in 0..5 {
        world.ask(&get(&format!("/backend.php?msg=m{i}")));
    }
    let mut cursor = String::from("1");
    for i in 0..5 {
        let poll = world.ask(&get(&format!("/backend.php?timestamp={cursor}")));
        let answer = poll.read();
        let json = body(&answer);
        assert!(json.starts_with(&format!(r#"{{"msg":"m{i}","#)), "{json}");
        cursor = json.rsplit_once(':').unwrap().1.trim_end_matches('}').to_owned();
    }
    let poll = world.ask(&get(&format!("/backend.php?timestamp={cursor}")));
    assert_eq!(poll.read(), "", "it has everything, and waits");
}

#[test]
fn a_poller_that_comes_back_between_two_messages_of_a_burst_misses_none() {
    let mut world = World::roomy();
    let poll = world.ask(&get("/backend.php?timestamp=0"));
    let say = |world: &mut World, text: &str| {
        let publication = Publication { channel: "chat:/".into(), event: None, data: text.into() };
        world.engine.publish(&[publication], world.now).unwrap();
    };
    say(&mut world, "one");
    say(&mut world, "two");
    // It is answered in the middle of a turn and asks again before the next one.
    world.engine.advance(world.now);
    let first = poll.read();
    assert!(body(&first).starts_with(r#"{"msg":"one""#));
    world.send(&poll, &get("/backend.php?timestamp=1700000000.250001"));
    assert!(body(&poll.read()).starts_with(r#"{"msg":"two""#));
}

#[test]
fn zero_is_answered_with_the_newest_message() {
    let mut world = World::roomy();
    world.ask(&get("/backend.php?msg=old"));
    world.ask(&get("/backend.php?msg=new"));
    assert!(body(&world.ask(&get("/backend.php?timestamp=0")).read()).starts_with(r#"{"msg":"new""#));
}

#[test]
fn a_cursor_from_the_future_is_answered_with_the_oldest_message() {
    let mut world = World::roomy();
    world.ask(&get("/backend.php?msg=old"));
    world.ask(&get("/backend.php?msg=new"));
    let poll = world.ask(&get("/backend.php?timestamp=1800000000"));
    assert!(body(&poll.read()).starts_with(r#"{"msg":"old""#));
}

#[test]
fn a_held_poll_gets_a_space_now_and_then_and_its_answer_behind_them() {
    let mut world = World::roomy();
    let poll = world.ask(&get("/backend.php?timestamp=0"));
    assert_eq!(world.pass_ms(19_999), 0, "no wake-up between the spaces");
    assert_eq!(world.pass_ms(20_001), 2);
    let begun = poll.read();
    assert!(begun.contains("\r\nTransfer-Encoding: chunked\r\n"));
    assert!(begun.ends_with("\r\n\r\n1\r\n \r\n1\r\n \r\n"));
    world.ask(&get("/backend.php?msg=x"));
    assert_eq!(poll.read(), "29\r\n{\"msg\":\"x\",\"timestamp\":1700000040.250000}\r\n0\r\n\r\n");
    assert!(!poll.has_ended());
}

#[test]
fn a_held_poll_begins_its_answer_when_what_came_before_is_read() {
    let mut world = World::roomy();
    let client = world.connect();
    client.line.borrow_mut().room = 100;
    world.send(&client, &(get("/style.css") + &get("/backend.php?timestamp=0")));
    world.pass_ms(50_000);
    world.make_room(&client, usize::MAX / 2);
    let page = client.read();
    let length =
        page.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a page has a length");
    assert_eq!(body(&page).len().to_string(), length, "and no spaces of an answer that has no head");
    world.pass_ms(20_000);
    world.ask(&get("/backend.php?msg=x"));
    let answer = client.read();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("}\r\n0\r\n\r\n"), "{answer}");
}

#[test]
fn a_poller_that_closes_its_half_is_still_answered() {
    let mut world = World::roomy();
    let poll = world.ask(&get("/backend.php?timestamp=0"));
    world.close(&poll);
    world.ask(&get("/backend.php?msg=x"));
    assert!(poll.read().contains(r#"{"msg":"x","#));
    assert!(poll.is_gone());
}

#[test]
fn requests_behind_a_held_poll_wait_for_it() {
    let mut world = World::roomy();
    let client = world.connect();
    world.send(&client, &(get("/backend.php?timestamp=0") + &get("/healthz") + &get("/nowhere")));
    assert_eq!(client.read(), "");
    world.ask(&get("/backend.php?msg=x"));
    let answers = client.read();
    let order = ["\"msg\":\"x\"", "ok\n", "HTTP/1.1 404"].map(|part| answers.find(part).expect(part));
    assert!(order.is_sorted());
}

#[test]
fn a_flood_behind_a_held_poll_stays_with_the_sender() {
    let mut world = World::roomy();
    let client = world.ask(&get("/backend.php?timestamp=0"));
    let flood = get("/healthz").repeat(40_000);
    world.send(&client, &flood);
    let kept = Limits::default().held_input_bytes_max + Pace::default().scratch_bytes;
    assert!(client.line.borrow().up.len() >= flood.len() - kept, "the rest is left in the socket");
    world.ask(&get("/backend.php?msg=x"));
    assert_eq!(client.read().matches("ok\n").count(), 40_000, "and it is served, once the poll is over");
}

#[test]
fn pollers_that_leave_free_their_seats() {
    let mut world = World::roomy();
    for _ in 0..500 {
        let poll = world.ask(&get("/backend.php?timestamp=0"));
        world.close(&poll);
        // The space that asks whether it is still there finds nobody.
        world.engine.crowd.hang_up(poll.id.index, Hangup::Reset);
        world.settle();
        assert!(poll.is_gone());
    }
    assert_eq!(world.engine.connections(), 0);
    assert_eq!(world.engine.hub.channels(), 0);
    assert_eq!(world.engine.deadline(), None);
}

#[test]
fn channels_beyond_the_most_are_refused_and_come_back_when_others_go() {
    let mut world = World::new(Limits { channels_max: 2, connections_max: 10, ..Limits::default() });
    let polls = ["/a/", "/b/"].map(|path| world.ask(&get(&format!("{path}backend.php?timestamp=0"))));
    let refused = world.ask(&get("/c/backend.php?timestamp=0"));
    assert!(refused.read().starts_with("HTTP/1.1 503 "));
    world.engine.crowd.hang_up(polls[0].id.index, Hangup::Reset);
    world.settle();
    assert_eq!(world.ask(&get("/c/backend.php?timestamp=0")).read(), "");
}

#[test]
fn old_messages_are_forgotten_and_with_them_their_channel() {
    let mut world = World::roomy();
    let speaker = world.ask(&get("/backend.php?msg=x"));
    world.close(&speaker);
    let age_ms = Limits::default().history_age_ms;
    assert!(world.pass_ms(age_ms + 1_000) <= 2);
    assert_eq!(world.engine.hub.channels(), 0);
    assert_eq!(world.engine.deadline(), None, "nothing is due any more");
}
