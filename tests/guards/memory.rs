//! What a subscriber, a channel and a slow reader weigh: the bytes asked for, counted exactly.
//!
//! Knows: the promises of docs/memory.md. Never learns of what the bytes are made.

use super::allocator::bytes;
use super::world::{CLOCK, POLLS, STREAMS, Transport, World};

/// Of a subscriber, all in: what docs/memory.md promises.
const SUBSCRIBER_BYTES: f64 = 80.0;

/// Of a channel with one subscriber and no history, beside the subscriber.
const CHANNEL_BYTES: f64 = 256.0;

/// Sizes just before and just after tables grow, and in between.
const CROWDS: [usize; 6] = [1_000, 1_024, 1_025, 1_799, 1_800, 2_048];

/// What a server with so many idle subscribers weighs. `{}` in the channel stands for the number of each.
fn weight(transport: &Transport, channels: &str, members: usize) -> isize {
    let before = bytes();
    let mut world = World::with_room_for(members);
    world.crowd(transport, channels, members);
    assert_eq!(world.connections(), members);
    bytes() - before
}

fn each(transport: &Transport, channels: &str, members: usize) -> f64 {
    let many = weight(transport, channels, members) - weight(transport, channels, 1);
    many as f64 / (members - 1) as f64
}

#[test]
fn an_idle_subscriber_weighs_80_bytes_at_most_whatever_the_transport() {
    for transport in STREAMS.iter().chain(&POLLS).chain([&CLOCK]) {
        for members in CROWDS {
            let each = each(transport, "news", members);
            println!("{:<10} {members:>6} subscribers: {each:.1} bytes each", transport.name);
            assert!(
                each <= SUBSCRIBER_BYTES,
                "{}, {members} subscribers: {each:.1} bytes each",
                transport.name
            );
        }
    }
}

#[test]
fn a_channel_of_one_weighs_256_bytes_at_most_beside_its_subscriber() {
    // Where the tables are full or nearly so: the half of a table that nobody has used is address space, but it is
    // asked for all the same, and one channel more would be charged with the other thousand's places.
    for members in [1_000, 1_024, 2_000, 2_048] {
        let channel = each(&STREAMS[0], "private-{}", members) - each(&STREAMS[0], "news", members);
        println!("{members:>6} channels: {channel:.1} bytes each");
        assert!(channel <= CHANNEL_BYTES, "{members} channels: {channel:.1} bytes each");
    }
}

/// What `readers` weigh after `messages`, if they take them or if they do not.
fn after(messages: usize, readers: usize, stalled: bool) -> isize {
    let before = bytes();
    let mut world = World::with_room_for(readers);
    world.crowd(&STREAMS[1], "news", readers);
    if stalled {
        world.stall();
    }
    (0..messages).for_each(|_| world.say("news", &"x".repeat(1_000)));
    assert_eq!(world.connections(), readers);
    bytes() - before
}

#[test]
fn a_stalled_reader_costs_one_unsent_frame_and_no_more_however_much_is_published() {
    const READERS: usize = 100;
    let more =
        |messages| (after(messages, READERS, true) - after(messages, READERS, false)) / READERS as isize;
    let (one, many) = (more(1), more(500));
    println!("a stalled reader: {one} bytes after one message, {many} after 500");
    assert!(one <= 1_500, "{one} bytes for an unsent message of 1,000");
    assert!(many <= one, "{many} bytes after 500 messages, {one} after the first");
}
