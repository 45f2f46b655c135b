//! Channels that were here and are not any more.
//!
//! A channel without subscribers and history disappears. If it comes again, it must not claim
//! to remember what it forgot; and whoever missed nothing must not be told of a gap. So the
//! last position of the latest of them is kept, by name, and of all the others only the
//! greatest: better a gap told that was none than one that was not told.
//!
//! Knows: names and positions. Never learns what was said.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// Names kept. At 128 bytes each, two megabytes at the most.
const NAMES_MAX: usize = 10_000;

/// The floors of channels that do not exist.
pub(super) struct Forgotten {
    floors: HashMap<Rc<str>, u64>,
    /// The same names, the longest gone first. Those that came again are still in it.
    order: VecDeque<Rc<str>>,
    /// Of everyone whose name is not kept.
    floor: u64,
}

impl Forgotten {
    /// Nothing was forgotten since `floor`.
    pub(super) fn new(floor: u64) -> Self {
        Forgotten { floors: HashMap::new(), order: VecDeque::new(), floor }
    }

    /// A channel is no more, whose last message had this id.
    pub(super) fn add(&mut self, name: Rc<str>, head: u64) {
        if head <= self.floor {
            return;
        }
        if self.floors.insert(Rc::clone(&name), head).is_none() {
            self.order.push_back(name);
        }
        if self.order.len() > NAMES_MAX {
            let oldest = self.order.pop_front().expect("more than none");
            self.floor = self.floor.max(self.floors.remove(&oldest).unwrap_or(0));
        }
    }

    /// Up to where a channel of this name may have forgotten something.
    pub(super) fn floor_of(&self, name: &str) -> u64 {
        self.floors.get(name).copied().unwrap_or(self.floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_that_comes_again_knows_what_it_forgot_and_others_forgot_nothing() {
        let mut forgotten = Forgotten::new(5);
        forgotten.add("a".into(), 70);
        assert_eq!((forgotten.floor_of("a"), forgotten.floor_of("b")), (70, 5));
    }

    #[test]
    fn when_a_name_is_dropped_its_floor_is_everybodys() {
        let mut forgotten = Forgotten::new(0);
        for i in 0..=NAMES_MAX as u64 {
            forgotten.add(format!("c{i}").into(), 10 + i);
        }
        assert_eq!(forgotten.floor_of("c0"), 10, "the first had to go");
        assert_eq!(forgotten.floor_of("never"), 10);
        assert_eq!(forgotten.floor_of("c1"), 11);
        assert_eq!(forgotten.floors.len(), NAMES_MAX);
    }
}
