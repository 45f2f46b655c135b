//! The simulation: thousands of worlds in which everything goes wrong, and no message is lost in silence.
//!
//! The real engine runs over wires that are not there, in a time that somebody makes up. A seed
//! makes a script: who comes, over which transport, how slowly he reads, when his connection breaks
//! and in which way, what is published, when the clock is set and when the server sleeps. Every
//! subscriber keeps a record of what it is told, and the record is held against what was said.
//! docs/simulation.md tells more.
//!
//! | variable | means |
//! |---|---|
//! | `ENCKE_SEED` | only this world |
//! | `ENCKE_SEEDS` | so many worlds |
//! | `ENCKE_FIRST` | from this seed on |
//! | `ENCKE_BRIEF` | what was wrong in one line, without a shorter script |
mod common;

mod bystander;
mod dice;
mod disk;
mod exam;
mod farewell;
mod inspection;
mod leaving;
mod record;
mod script;
mod shrink;
mod subscriber;
mod talker;
mod visitor;
mod wire;
mod world;

use std::panic::{self, AssertUnwindSafe};

use script::Script;
use world::{Summary, World};

/// Worlds in a plain `cargo test`.
const SEEDS: u64 = 500;

/// Acts of a shrunken script that are printed.
const SHOWN: usize = 60;

/// A world, and what was wrong in it: also if that was a panic.
fn play(script: &Script) -> Result<Summary, String> {
    panic::catch_unwind(AssertUnwindSafe(|| World::play(script))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("a panic: {}", text.unwrap_or_default()))
    })
}

/// What a person needs to know about a world that went wrong.
fn report(script: &Script, error: &str) -> String {
    let fails = |script: &Script| play(script).is_err();
    let short = shrink::shrink(script, fails);
    let last = play(&short).err().unwrap_or_default();
    let acts: Vec<String> = short
        .acts
        .iter()
        .take(SHOWN)
        .enumerate()
        .map(|(nth, (act, then))| format!("  {nth:3} {act:?}, then {then:?}"))
        .collect();
    format!(
        "in world {seed}: {error}\n\nplay it again:\n    ENCKE_SEED={seed} cargo test --test simulation in_every_world\n\n\
         {subscribers} subscribers, {limits:?}\n\
         {long} acts, of which {short} are enough:\n{acts}\n\nthen: {last}\n",
        seed = script.seed,
        subscribers = script.subscribers,
        limits = script.settings.limits,
        long = script.acts.len(),
        short = short.acts.len(),
        acts = acts.join("\n"),
    )
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}; expected a number")))
}

#[test]
fn in_every_world_everything_is_heard_once_and_in_order_or_announced_as_a_gap() {
    let (first, count) = match number("ENCKE_SEED") {
        Some(seed) => (seed, 1),
        None => (number("ENCKE_FIRST").unwrap_or(0), number("ENCKE_SEEDS").unwrap_or(SEEDS)),
    };
    let loud = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let (mut heard, mut said, mut roomy, mut unstored) = (0, 0, 0, [0; 3]);
    let mut wrong = None;
    for seed in first..first + count {
        let script = Script::new(seed);
        match play(&script) {
            Ok(summary) => {
                heard += summary.heard;
                said += summary.said;
                roomy += u64::from(summary.is_roomy);
                unstored.iter_mut().zip(summary.unstored).for_each(|(sum, one)| *sum += one);
            }
            Err(error) => {
                let is_brief = std::env::var_os("ENCKE_BRIEF").is_some();
                wrong = Some(if is_brief {
                    format!("in world {seed}: {error}")
                } else {
                    report(&script, &error)
                });
                break;
            }
        }
    }
    panic::set_hook(loud);
    if let Some(report) = wrong {
        panic!("{report}");
    }
    let [failed, refused, unknown] = unstored;
    println!(
        "{count} worlds, {roomy} of them roomy: {said} messages, {heard} entries in the records; of a disk: \
         {failed} failures, {refused} that did not fit, {unknown} of which nobody knew"
    );
    if count >= 100 {
        // A simulation in which nothing happens proves nothing.
        assert!(said as u64 > 20 * count && heard > 2 * said, "{said} messages, {heard} entries");
        assert!(!unstored.contains(&0), "of a disk: {unstored:?}");
    }
}

#[test]
fn a_seed_makes_the_same_script_and_the_same_run() {
    for seed in [1, 7, 99] {
        let (one, other) = (Script::new(seed), Script::new(seed));
        assert_eq!(format!("{:?}", one.acts), format!("{:?}", other.acts));
        let (one, other) = (play(&one).expect("it holds"), play(&other).expect("it holds"));
        assert_eq!((one.heard, one.said), (other.heard, other.said));
    }
}
