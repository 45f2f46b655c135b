//! Requests: order, deadlines, bounds, the end.

use super::*;
use crate::engine::LOUNGE;

#[test]
fn answers_come_in_the_order_of_the_requests_in_whatever_pieces_they_arrive() {
    let form = "POST /backend.php HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let chunked = format!("{form}Transfer-Encoding: chunked\r\n\r\n5\r\nmsg=a\r\n1\r\nb\r\n0\r\n\r\n");
    let counted = format!("{form}Content-Length: 6\r\n\r\nmsg=cd");
    let requests =
        get("/healthz") + &chunked + &counted + &get("/nowhere") + &get("/backend.php?timestamp=1");
    let whole = World::roomy().ask(&requests).read();
    assert_eq!(whole.matches("HTTP/1.1 200 OK\r\n").count(), 4);
    assert!(whole.ends_with(r#"{"msg":"ab","timestamp":1700000000.250001}"#));
    for step in [1, 2, 3, 7, 50] {
        let mut world = World::roomy();
        let client = world.connect();
        for piece in requests.as_bytes().chunks(step) {
            world.send(&client, std::str::from_utf8(piece).unwrap());
        }
        assert_eq!(client.read(), whole, "{step} bytes at a time");
    }
}

#[test]
fn whoever_does_not_read_is_not_served_more() {
    let mut world = World::roomy();
    let client = world.connect();
    client.line.borrow_mut().room = 0;
    world.send(&client, &get("/style.css").repeat(1_000));
    let unsent = world.engine.crowd[client.id.index].outbox.len();
    assert!(unsent < 2 * Limits::default().unsent_bytes_max, "{unsent} bytes");
    world.make_room(&client, usize::MAX);
    assert_eq!(client.read().matches("HTTP/1.1 200 OK").count(), 1_000);
}

#[test]
fn requests_behind_unsent_answers_are_served_even_if_room_comes_together_with_the_end() {
    let mut world = World::roomy();
    let client = world.connect();
    client.line.borrow_mut().room = 0;
    world.send(&client, &get("/style.css").repeat(100));
    assert!(world.engine.stats().requests < 100, "some wait to be read");
    (client.line.borrow_mut().room, client.line.borrow_mut().client_closed) = (usize::MAX, true);
    world.tell(&client, Readiness { readable: true, writable: true, read_closed: true });
    assert_eq!(client.read().matches("HTTP/1.1 200 OK").count(), 100);
    assert!(client.is_gone());
}

#[test]
fn a_publisher_is_told_behind_those_who_listen_in_the_same_turn() {
    let mut world = World::roomy();
    let (listener, publisher) = (world.ask(&get("/channels/a?as=ndjson")), world.connect());
    listener.read();
    let post = "POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx";
    publisher.line.borrow_mut().up.extend(post.repeat(2).as_bytes());
    let readable = Readiness { readable: true, ..Readiness::default() };
    world.engine.ready(publisher.id, readable, world.now);
    assert_eq!((listener.read(), publisher.read()), (String::new(), String::new()));
    world.engine.advance(world.now);
    assert_eq!(listener.read().matches("\"data\":\"x\"").count(), 2);
    assert_eq!(publisher.read().matches("HTTP/1.1 201 ").count(), 2);
    assert!(world.engine.deadline().is_none_or(|deadline_us| deadline_us > world.now.mono_us));
}

#[test]
fn a_publisher_that_leaves_in_his_next_request_is_told_of_the_first() {
    let mut world = World::roomy();
    let publisher = world.connect();
    let post = "POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx";
    publisher.line.borrow_mut().up.extend(post.as_bytes());
    publisher.line.borrow_mut().up.extend(&post.as_bytes()[..post.len() - 1]);
    world.close(&publisher);
    assert_eq!(publisher.read().matches("HTTP/1.1 201 ").count(), 1);
    assert!(publisher.is_gone());
}

#[test]
fn a_head_has_a_deadline_that_no_byte_moves() {
    let mut world = World::roomy();
    let client = world.connect();
    world.pass_ms(5_000);
    for byte in "GET / HTTP".chars() {
        world.send(&client, &byte.to_string());
        world.pass_ms(999);
        assert!(!client.has_ended());
    }
    world.pass_ms(20);
    assert!(client.read().starts_with("HTTP/1.1 408 "));
    assert!(client.has_ended() && !client.is_gone());
    world.pass_ms(1_000);
    assert!(client.is_gone(), "after a moment to read the answer");
}

#[test]
fn a_body_has_a_deadline_that_no_byte_moves() {
    let mut world = World::roomy();
    let head = "POST /backend.php HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let client = world.ask(&format!("{head}Content-Length: 100\r\n\r\n"));
    for _ in 0..30 {
        world.send(&client, "x");
        world.pass_ms(999);
    }
    world.pass_ms(31);
    assert!(client.read().starts_with("HTTP/1.1 408 "));
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let mut world = World::roomy();
    let client = world.ask(&get("/healthz"));
    client.read();
    assert_eq!(world.pass_ms(74_999), 0);
    world.pass_ms(1);
    assert!(client.is_gone());
    assert_eq!(client.read(), "");
}

#[test]
fn empty_lines_do_not_prolong_a_deadline() {
    let mut world = World::roomy();
    let client = world.connect();
    for _ in 0..3 {
        world.pass_ms(3_000);
        world.send(&client, "\r\n");
    }
    world.pass_ms(1_000);
    assert!(client.is_gone());
}

#[test]
fn a_truncated_body_is_never_published() {
    let mut world = World::roomy();
    let head = "POST /backend.php HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let client = world.ask(&format!("{head}Content-Length: 100\r\n\r\nmsg=abc"));
    world.close(&client);
    assert!(client.is_gone());
    assert_eq!(client.read(), "");
    assert_eq!(world.engine.hub.stats().messages, 0);
}

#[test]
fn nothing_behind_an_error_is_served() {
    let mut world = World::roomy();
    let client =
        world.ask(&format!("GET / HTTP/1.1\r\nHost: x\r\nBad Name: 1\r\n\r\n{}", get("/backend.php?msg=x")));
    let answer = client.read();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\r\nConnection: close\r\n"));
    assert_eq!(answer.matches("HTTP/1.1").count(), 1);
    assert_eq!(world.engine.hub.stats().messages, 0);
}

#[test]
fn one_too_many_hears_that_the_server_is_full() {
    let mut world = World::new(Limits { connections_max: 2, ..Limits::default() });
    let seated = [world.connect(), world.connect()];
    let extra = world.connect();
    assert!(extra.read().starts_with("HTTP/1.1 503 "));
    assert!(extra.has_ended());
    for _ in 1..LOUNGE {
        assert!(!world.connect().is_gone());
    }
    assert!(world.connect().is_gone(), "beyond the lounge it is dropped");
    world.pass_ms(1_000);
    assert_eq!(world.engine.connections(), 2);
    world.close(&seated[0]);
    world.send(&seated[1], &get("/healthz"));
    assert!(seated[1].read().ends_with("ok\n"));
    assert_eq!(world.ask(&get("/healthz")).read().matches("ok\n").count(), 1);
}

#[test]
fn an_event_for_a_tenant_that_moved_out_finds_nobody() {
    let mut world = World::roomy();
    let old = world.connect();
    world.close(&old);
    let new = world.connect();
    assert_eq!(old.id.index, new.id.index);
    world.engine.ready(old.id, Readiness { readable: true, writable: true, read_closed: true }, world.now);
    world.settle();
    assert!(!new.is_gone());
}

#[test]
fn an_ending_server_finishes_what_it_began() {
    let mut world = World::roomy();
    let idle = world.connect();
    let poll = world.ask(&get("/backend.php?timestamp=0"));
    let clock = world.ask(&get("/backend.php"));
    let slow = world.connect();
    slow.line.borrow_mut().room = 100;
    world.send(&slow, &get("/style.css"));
    world.engine.shut_down(world.now);
    assert!(idle.is_gone() && !slow.has_ended());
    world.make_room(&slow, usize::MAX / 2);
    assert!(slow.has_ended());
    assert!(slow.read().contains("\r\n\r\n"));
    world.pass_ms(3_000);
    assert!(poll.is_gone() && clock.has_ended());
    assert_eq!(world.engine.connections(), 0);
}

#[test]
fn a_silent_stream_whose_client_has_said_all_is_kept_for_a_while() {
    let mut world = World::roomy();
    let (silent, told) = (world.ask(&get("/channels/a?as=events")), world.ask(&get("/channels/b?as=events")));
    world.close(&silent);
    world.close(&told);
    world.pass_ms(4_000);
    assert!(!silent.is_gone(), "it may still read");
    world.ask("POST /channels/b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nnews");
    assert!(told.read().ends_with("data: news\n\n"));
    world.pass_ms(2_000);
    assert!(silent.is_gone(), "nobody has seen it read");
}
