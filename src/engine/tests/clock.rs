//! The clock: ticks, phases, slow readers.

use super::*;
use crate::engine::Hangup;

#[test]
fn a_clock_ticks_at_once_and_then_once_per_second_of_its_own() {
    let mut world = World::roomy();
    let clock = world.ask(&get("/clock/backend.php"));
    assert!(clock.read().ends_with(&format!("<body>\n{}", tick(1_700_000_000))));
    assert_eq!(world.pass_ms(999), 0, "nothing is due in between");
    assert_eq!(clock.read(), "");
    assert_eq!(world.pass_ms(1), 1);
    assert_eq!(clock.read(), tick(1_700_000_001));
    world.pass_ms(3_000);
    assert_eq!(clock.read(), [2, 3, 4].map(|s| tick(1_700_000_000 + s)).concat());
}

#[test]
fn a_late_turn_makes_no_later_tick_late() {
    let mut world = World::roomy();
    let clock = world.ask(&get("/backend.php"));
    clock.read();
    world.jump_to(world.now.mono_us + 1_400_000);
    world.settle();
    assert_eq!(clock.read(), tick(1_700_000_001));
    world.pass_ms(600);
    assert_eq!(clock.read(), tick(1_700_000_002));
}

#[test]
fn beats_missed_while_asleep_are_skipped_and_not_bunched() {
    let mut world = World::roomy();
    let clock = world.ask(&get("/backend.php"));
    clock.read();
    world.jump_to(world.now.mono_us + 60_500_000);
    world.settle();
    assert_eq!(clock.read(), tick(1_700_000_060));
    world.pass_ms(500);
    assert_eq!(clock.read(), tick(1_700_000_061));
}

#[test]
fn no_second_is_skipped_or_said_twice_however_late_the_turns_are() {
    let mut world = World::roomy();
    // A phase just before the second's end, where a millisecond more or less is another second.
    world.jump_to(world.now.mono_us + 749_700);
    let clock = world.ask(&get("/backend.php"));
    let mut said = clock.read();
    for late_us in [0, 900, 0, 300, 999, 1, 500] {
        let due_us = world.engine.deadline().expect("the next tick is due");
        world.jump_to(due_us + late_us);
        world.settle();
        said += &clock.read();
    }
    let expected: String = (0..=7).map(|s| tick(1_700_000_000 + s)).collect();
    assert!(said.ends_with(&expected), "{said}");
}

#[test]
fn a_reader_that_stalls_costs_the_rest_of_one_tick_and_then_hears_the_newest() {
    let mut world = World::roomy();
    let clock = world.ask(&get("/backend.php"));
    clock.read();
    clock.line.borrow_mut().room = 10;
    world.pass_ms(5_000);
    world.make_room(&clock, usize::MAX / 2);
    assert_eq!(clock.read(), tick(1_700_000_001), "the one that was begun is finished");
    assert_eq!(world.engine.stats().ticks_skipped, 4);
    world.pass_ms(1_000);
    assert_eq!(clock.read(), tick(1_700_000_006));
}

#[test]
fn a_reader_that_never_reads_is_parted_from() {
    let mut world = World::roomy();
    let clock = world.ask(&get("/backend.php"));
    clock.line.borrow_mut().room = 0;
    world.pass_ms(Limits::default().write_timeout_ms + 2_000);
    assert!(clock.is_gone());
    assert_eq!(world.engine.stats().hangups(Hangup::Stalled), 1);
}

#[test]
fn padding_is_limited_by_the_setting() {
    let mut world = World::new(Limits { padding_max: 10, connections_max: 2, ..Limits::default() });
    let fits = world.ask(&get("/backend.php?padding=10"));
    assert!(fits.read().ends_with(&format!("<body>\n{}{}", " ".repeat(10), tick(1_700_000_000))));
    let exceeds = world.ask(&get("/backend.php?padding=11"));
    assert!(exceeds.read().starts_with("HTTP/1.1 400 "));
}
