//! What does a delivery cost in user space, when the kernel costs nothing?
//!
//! A whole engine over sockets that take everything at once: the time per element is what encke
//! itself adds to each `send`. What it allocates for a whole sweep is printed first; for each
//! member it must be nothing, and `tests/guards` sees to that.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[path = "../tests/guards/allocator.rs"]
mod allocator;
#[path = "../tests/guards/world.rs"]
mod world;

use world::{STREAMS, Transport, World};

const MEMBERS: [usize; 3] = [16, 1_000, 16_000];

/// Messages in a history that somebody catches up with.
const MISSED: usize = 1_000;

const LINE: &str = "forty characters are a line of some chat";

fn listening(transport: &Transport, channels: &str, members: usize) -> World {
    let mut world = World::with_room_for(members);
    world.crowd(transport, channels, members);
    // The first message grows what stays.
    world.say("news", LINE);
    world.publish("news", LINE);
    let before = allocator::allocations();
    world.deliver();
    let allocations = allocator::allocations() - before;
    println!("{channels}, {} to {members}: {allocations} allocations in a sweep", transport.name);
    world
}

fn sweeps(criterion: &mut Criterion) {
    for (name, channels) in [("one channel", "news"), ("two channels", "private-{},news")] {
        let mut group = criterion.benchmark_group(format!("a message to all, {name}"));
        for members in MEMBERS {
            group.throughput(Throughput::Elements(members as u64));
            let mut world = listening(&STREAMS[0], channels, members);
            group.bench_function(members.to_string(), |bencher| bencher.iter(|| world.say("news", LINE)));
        }
        group.finish();
    }
}

fn rooms(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a message to a room of ten, of 1,000 rooms");
    group.throughput(Throughput::Elements(10));
    let mut world = World::with_room_for(10_000);
    for nth in 0..10_000 {
        world.subscribe(&STREAMS[0], &format!("room-{}", nth / 10));
    }
    let names: Vec<String> = (0..1_000).map(|nth| format!("room-{nth}")).collect();
    let mut names = names.iter().cycle();
    group.bench_function("in turn", |bencher| {
        bencher.iter(|| world.say(names.next().expect("endless"), LINE))
    });
    group.finish();
}

fn catching_up(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("catching up with 1,000 messages");
    group.throughput(Throughput::Elements(MISSED as u64));
    for transport in &STREAMS[..2] {
        let mut world = World::with_room_for(16);
        (0..MISSED).for_each(|_| world.say("news", LINE));
        let since = Transport::since_oldest(transport.name);
        group.bench_function(transport.name, |bencher| {
            bencher.iter(|| {
                let id = world.subscribe(&since, "news");
                world.deliver();
                world.vanish(black_box(id));
            })
        });
    }
    group.finish();
}

criterion_group!(benches, sweeps, rooms, catching_up);
criterion_main!(benches);
