//! Ids: every message's place in the log.
//!
//! Whoever keeps the log gives them. Without a disk that is the hub itself, at once. A log that takes time
//! gives them when it stores, so that an id that anybody has seen is never ahead of a message that is still
//! on its way: no cursor can pass over it.

use crate::kit::clock::Now;

/// The ids that were given so far.
#[derive(Debug)]
pub struct Ids {
    /// Invariant: no id was ever given that is greater.
    last: u64,
}

impl Ids {
    /// Ids of a log that begins now: those before this moment are not its own.
    pub fn new(now: Now) -> Self {
        Ids { last: now.unix_us }
    }

    /// The newest id given (or, before the first, the moment the log began).
    pub fn head(&self) -> u64 {
        self.last
    }

    /// The id of the next message: the wall clock in microseconds, but always more than the last.
    ///
    /// So a clock that is set back for a day costs ids their meaning as times for that day,
    /// and costs nobody a message.
    pub fn next(&self, now: Now) -> u64 {
        now.unix_us.max(self.last + 1)
    }

    /// A message has this id.
    pub fn give(&mut self, id: u64) {
        debug_assert!(id > self.last, "the id {id} was given after {}", self.last);
        self.last = self.last.max(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_increase_while_the_clock_stands_still_or_goes_back() {
        let at = |unix_us| Now { mono_us: 0, unix_us };
        let mut ids = Ids::new(at(1_000));
        let given = [1_000, 1_000, 2_000, 1_500, 3_000].map(|us| {
            let id = ids.next(at(us));
            ids.give(id);
            id
        });
        assert_eq!(given, [1_001, 1_002, 2_000, 2_001, 3_000]);
        assert_eq!(ids.head(), 3_000);
    }
}
