//! Abuse: for as long as you like, strangers do everything at once that strangers do to a server.
//!
//! Meanwhile citizens hear each message exactly once and in order, or a gap that says so; who is inside is
//! served; and when everybody has gone, the server is as it was before: its descriptors, its memory,
//! and its sleep. docs/abuse.md tells more.
//!
//! | variable | means |
//! |---|---|
//! | `ENCKE_ABUSE_MINUTES` | so long; without it a few seconds |
//! | `ENCKE_SEED` | another choice of what comes when |
#![cfg(feature = "shell")]
// Clocks and threads are a test's own affair.
#![allow(clippy::disallowed_methods)]

#[path = "../common/mod.rs"]
mod common;

mod book;
mod citizens;
mod peace;
mod probe;
mod site;
mod speakers;
mod strangers;

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use book::Room;
use citizens::{Citizen, Manner};
use common::{Client, let_pass, until};
use peace::Peace;
use site::{Site, number, stats};
use speakers::{Way, speak};
use strangers::Plan;

/// Bouts at a time.
const STRANGERS: u64 = 8;

/// The heap takes a while to find its size: a quarter of the time, but no more than this.
const WARM_UP_MAX: Duration = Duration::from_secs(120);

/// Without `ENCKE_ABUSE_MINUTES`.
const BRIEFLY: Duration = Duration::from_secs(4);

#[test]
fn after_any_abuse_the_server_is_as_it_was_before() {
    let seed = variable("ENCKE_SEED").unwrap_or(1);
    let minutes = variable("ENCKE_ABUSE_MINUTES");
    let time = minutes.map_or(BRIEFLY, |minutes| Duration::from_secs(60 * minutes));
    println!("ENCKE_SEED={seed}: one round of everything, and then {time:?} of it");
    let mut site = Site::open();

    // Whatever is kept for good is made now, and the heap finds its size.
    live(&site, &Plan::round(WARM_UP_MAX.min(time / 4)), seed);
    let before = Peace::of(&site.server);
    println!("before: {before:?}");
    live(&site, &Plan::mix(time), seed + 1);
    let after = Peace::of(&site.server);
    println!("after:  {after:?}");
    // In a few seconds the heap has not found its size yet; only a bad leak would be seen.
    after.is_as(&before, if minutes.is_some() { 2_048 } else { 8_192 });

    let verified = site.verified.load(Ordering::Relaxed);
    println!("{verified} messages were verified, and {} gaps told", site.gaps.load(Ordering::Relaxed));
    assert!(verified > 0 && site.well.load(Ordering::Relaxed) > 0, "somebody listened, and somebody got in");
    let counted = stats(&mut Client::connect(&site.server));
    for name in probe::SHED {
        // In a few seconds not every kind has its turn.
        assert!(minutes.is_none() || number(&counted, name) > 0, "no stranger has brought about: {name}");
    }
    site.server.signal(Signal::TERM);
    assert_eq!(site.server.exit().code(), Some(0));
    let log = site.server.stderr();
    assert!(!log.contains("panic"), "{log}");
}

/// Citizens live here while strangers do what is planned. At the end all citizens have heard everything, and are gone.
fn live(site: &Site, plan: &Plan, seed: u64) {
    let rooms = [
        (Room::new("room.post", 1_500), [Way::Post, Way::Post]),
        (Room::new("room.websocket", 1_500), [Way::Websocket, Way::Post]),
        (Room::new("attic.post", 30_000), [Way::Post, Way::Websocket]),
        (Room::new("chat:/abuse/", 60), [Way::Get, Way::Form]),
    ];
    let [post, socket, attic, chat] = rooms.each_ref().map(|(room, _)| room);
    site.strangers_come();
    thread::scope(|scope| {
        for (number, (room, ways)) in (1..).zip(&rooms) {
            scope.spawn(move || site.attend(|| speak(site, room, ways, number)));
        }
        for (number, manner) in
            (0..).zip([[Manner::Steady; 5], [Manner::Hopping; 5], [Manner::Slow; 5]].concat())
        {
            let rooms = match number % 3 {
                0 => vec![post],
                1 => vec![post, socket],
                _ => vec![attic],
            };
            scope.spawn(move || site.attend(|| Citizen::new(site, rooms, manner, number).listen()));
        }
        scope.spawn(|| site.attend(|| citizens::chat(site, chat)));
        scope.spawn(|| site.attend(|| citizens::clock(site)));
        scope.spawn(|| site.attend(|| probe::stay(site)));
        scope.spawn(|| site.attend(|| probe::knock(site)));
        thread::scope(|scope| {
            for stranger in 0..STRANGERS {
                scope.spawn(move || site.attend(|| strangers::carry_on(site, plan, seed << 8 | stranger)));
            }
        });
        site.strangers_are_gone();
    });
    let mut client = Client::connect(&site.server);
    for room in [post, socket, attic] {
        client.send(format!("DELETE /channels/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", room.channel));
        assert!(client.answer().status() < 300);
    }
    // Everything else is forgotten by itself, and who lives here next must not hear of it.
    until("every channel is forgotten", || {
        let_pass(Duration::from_millis(100));
        number(&stats(&mut client), "channels") == 0
    });
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}; expected a number")))
}
