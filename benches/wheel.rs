//! What the timer wheel's doors cost with 100,000 timers armed: `cargo bench --bench wheel`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use encke::kit::wheel::Wheel;

const KEYS: u32 = 100_000;

/// A due time within 75 seconds of `now_ms`, the idle timeout, scattered over it.
fn scattered(key: u32, now_ms: u64) -> u64 {
    now_ms + 1 + u64::from(key.wrapping_mul(2_654_435_761)) % 75_000
}

fn armed() -> Wheel {
    let mut wheel = Wheel::new(0);
    for key in 0..KEYS {
        wheel.arm(key, scattered(key, 0));
    }
    wheel
}

/// Keys in an order that no prefetcher guesses: as connections become ready.
fn keys() -> impl Iterator<Item = u32> {
    (0u32..).map(|n| n.wrapping_mul(2_654_435_761) % KEYS)
}

fn doors(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wheel, 100,000 armed");

    group.bench_function("cancel and arm", |bencher| {
        let (mut wheel, mut keys) = (armed(), keys());
        bencher.iter(|| {
            let key = keys.next().expect("endless");
            wheel.cancel(black_box(key));
            wheel.arm(key, scattered(key, 10));
        });
    });

    group.bench_function("re-arm", |bencher| {
        let (mut wheel, mut keys) = (armed(), keys());
        bencher.iter(|| {
            let key = keys.next().expect("endless");
            wheel.arm(black_box(key), scattered(key ^ 1, 10));
        });
    });

    group.bench_function("deadline", |bencher| {
        let wheel = armed();
        bencher.iter(|| black_box(&wheel).deadline());
    });

    // Everybody has a tick each second, at a phase of his own: the article's clock, 100,000 times.
    group.bench_function("pop a tick and arm the next", |bencher| {
        let mut wheel = Wheel::new(0);
        for key in 0..KEYS {
            wheel.arm(key, 1 + u64::from(key) % 1_000);
        }
        let mut now_ms = 0;
        bencher.iter(|| {
            loop {
                if let Some((key, due_ms)) = wheel.pop(now_ms) {
                    break wheel.arm(key, due_ms + 1_000);
                }
                now_ms += 1;
            }
        });
    });

    // From far out, so that each timer is carried through all levels before it fires.
    group.bench_function("arm an hour ahead and pop in the end, per 100,000", |bencher| {
        bencher.iter(|| {
            let mut wheel = Wheel::new(0);
            for key in 0..KEYS {
                wheel.arm(key, 3_600_000 + scattered(key, 0));
            }
            while let Some(popped) = wheel.pop(u64::MAX) {
                black_box(popped);
            }
        });
    });

    group.finish();
}

criterion_group!(wheel, doors);
criterion_main!(wheel);
