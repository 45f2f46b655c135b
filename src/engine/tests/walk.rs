//! The walk: signs of life in time, and those who have stalled.

use super::*;
use crate::engine::Hangup;
use crate::wire::json::Publication;

/// A round of the walk, and how long a write may make no progress.
const ROUND_MS: u64 = 25_000;

fn settings() -> Settings {
    Settings {
        heartbeat_ms: ROUND_MS,
        limits: Limits { write_timeout_ms: ROUND_MS, ..Limits::default() },
        ..Settings::default()
    }
}

#[test]
fn nobody_waits_longer_for_a_heartbeat_because_many_came_at_once() {
    let mut world = World::with(settings());
    let first = world.ask(&get("/channels/a?as=ndjson"));
    // A step of the walk has just been planned for one.
    world.pass_ms(ROUND_MS + 1);
    let many: Vec<Client> = (0..150).map(|_| world.ask(&get("/channels/a?as=ndjson"))).collect();
    for client in many.iter().chain([&first]) {
        client.read();
    }
    world.pass_ms(2 * ROUND_MS + 1);
    let silent = many.iter().filter(|client| client.read().is_empty()).count();
    assert_eq!(silent, 0, "of 150 heard nothing in two rounds");
}

#[test]
fn whoever_closed_his_half_gets_no_sign_of_life() {
    let mut world = World::with(Settings { heartbeat_ms: 1_000, ..Settings::default() });
    let [whole, half] = [0, 1].map(|_| world.ask(&get("/channels/a?as=ndjson")));
    whole.read();
    half.read();
    world.close(&half);
    world.pass_ms(4_000);
    assert!(!whole.read().is_empty());
    assert_eq!((half.read().as_str(), half.is_gone()), ("", false), "it has its grace");
    world.pass_ms(2_000);
    assert!(half.is_gone() && !whole.is_gone());
}

#[test]
fn whoever_stalls_exactly_between_two_messages_is_found_out() {
    let mut world = World::with(settings());
    let client = world.ask(&get("/channels/a?as=ndjson"));
    client.read();
    let publications =
        ["one", "two"].map(|data| Publication { channel: "a".to_owned(), event: None, data: data.into() });
    let message = "{\"id\":1700000000250001,\"channel\":\"a\",\"data\":\"one\"}\n";
    client.line.borrow_mut().room = message.len();
    world.engine.publish(&publications, world.now).expect("there is room for a channel");
    world.settle();
    assert_eq!(client.read(), message, "the kernel took the first message, and of the second nothing");
    world.pass_ms(5 * ROUND_MS);
    assert_eq!(world.engine.stats().hangups(Hangup::Stalled), 1);
    assert!(client.is_gone());
}
