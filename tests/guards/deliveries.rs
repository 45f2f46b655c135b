//! What a delivery costs: one write, and nothing on the heap.
//!
//! A sweep may make its frame, once; what it does for each member must not touch the heap. So a sweep
//! of a thousand members allocates exactly as often as one of ten.

use super::allocator::allocations;
use super::world::{CLOCK, POLLS, STREAMS, Transport, World};

/// What happened meanwhile.
#[derive(Debug, PartialEq, Eq)]
struct Cost {
    allocations: usize,
    writes: usize,
}

fn cost(world: &mut World, what: impl FnOnce(&mut World)) -> Cost {
    let before = (allocations(), world.writes());
    what(world);
    Cost { allocations: allocations() - before.0, writes: world.writes() - before.1 }
}

/// A server with so many listeners; what the second message to them costs. The first one grows what stays.
fn a_message(transport: &Transport, channels: &str, members: usize) -> Cost {
    let mut world = World::with_room_for(2 * members);
    world.crowd(transport, channels, members);
    world.say(transport.channel(), "hello");
    if world.writes() < 2 * members {
        // It was a poll's answer. They ask again.
        world.crowd(transport, channels, members);
    }
    world.publish(transport.channel(), "hello");
    cost(&mut world, World::deliver)
}

fn costs_one_write_each(transport: &Transport, channels: &str) {
    let name = transport.name;
    let (few, many) = (a_message(transport, channels, 10), a_message(transport, channels, 1_000));
    assert_eq!((few.writes, many.writes), (10, 1_000), "{name}: one write for each delivery");
    assert_eq!(many.allocations, few.allocations, "{name}: a sweep of 1,000 members, and one of 10");
}

#[test]
fn a_delivery_to_a_stream_is_one_write_and_allocates_nothing() {
    STREAMS.iter().for_each(|transport| costs_one_write_each(transport, "news"));
}

#[test]
fn a_delivery_to_one_with_two_channels_is_one_write_and_allocates_nothing() {
    STREAMS.iter().for_each(|transport| costs_one_write_each(transport, "private-{},news"));
}

#[test]
fn an_answer_to_a_poll_is_one_write_and_allocates_nothing() {
    POLLS.iter().for_each(|transport| costs_one_write_each(transport, "news"));
}

#[test]
fn many_messages_are_one_write_for_each_member() {
    let mut world = World::with_room_for(100);
    world.crowd(&STREAMS[0], "news", 100);
    (0..50).for_each(|_| world.publish("news", "hello"));
    assert_eq!(cost(&mut world, World::deliver).writes, 100);
}

#[test]
fn a_tick_of_the_articles_clock_is_one_write_and_allocates_nothing() {
    let mut world = World::with_room_for(1_000);
    world.crowd(&CLOCK, "clock", 1_000);
    world.pass(2_000);
    assert_eq!(cost(&mut world, |world| world.pass(3_000)), Cost { allocations: 0, writes: 3_000 });
}

#[test]
fn a_tick_of_a_channel_is_one_write_and_allocates_nothing_for_each_member() {
    let three_ticks = |transport, members| {
        let mut world = World::with_room_for(members);
        world.crowd(transport, "$clock", members);
        world.pass(2_000);
        cost(&mut world, |world| world.pass(3_000))
    };
    for transport in &STREAMS {
        let (few, many) = (three_ticks(transport, 10), three_ticks(transport, 1_000));
        assert_eq!((few.writes, many.writes), (30, 3_000), "{}", transport.name);
        assert_eq!(many.allocations, few.allocations, "{}: 1,000 members, and 10", transport.name);
    }
}

#[test]
fn a_heartbeat_is_one_write_and_allocates_nothing() {
    for transport in &STREAMS {
        let mut world = World::with_room_for(1_000);
        world.crowd(transport, "news", 1_000);
        // Two rounds of the walk: in the first everybody has just had his head.
        world.pass(50_000);
        let cost = cost(&mut world, |world| world.pass(25_000));
        assert_eq!(cost, Cost { allocations: 0, writes: 1_000 }, "{}", transport.name);
    }
}

#[test]
fn nothing_is_written_or_allocated_while_nothing_happens() {
    let mut world = World::with_room_for(1_000);
    world.crowd(&POLLS[1], "news", 1_000);
    // The first space of a held poll is due after 20 seconds.
    assert_eq!(cost(&mut world, |world| world.pass(19_000)), Cost { allocations: 0, writes: 0 });
}
