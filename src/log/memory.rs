//! The log that answers at once: ids, and nothing that outlives the process.

use crate::kit::clock::Now;

/// Hands out ids. The messages themselves live in the channels' histories.
#[derive(Debug)]
pub struct MemoryLog {
    /// Invariant: no id was ever given that is greater.
    last: u64,
}

impl MemoryLog {
    /// A log that begins now: ids before this moment are not its own.
    pub fn new(now: Now) -> Self {
        MemoryLog { last: now.unix_us }
    }

    /// The newest id given (or, before the first, the moment the log began).
    pub fn head(&self) -> u64 {
        self.last
    }

    /// The id of the next message: the wall clock in microseconds, but always more than the last.
    ///
    /// So a clock that is set back for a day costs ids their meaning as times for that day,
    /// and costs nobody a message.
    pub fn stamp(&mut self, now: Now) -> u64 {
        self.last = now.unix_us.max(self.last + 1);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_increase_while_the_clock_stands_still_or_goes_back() {
        let at = |unix_us| Now { mono_us: 0, unix_us };
        let mut log = MemoryLog::new(at(1_000));
        let ids: Vec<u64> = [1_000, 1_000, 2_000, 1_500, 3_000].map(|us| log.stamp(at(us))).into();
        assert_eq!(ids, [1_001, 1_002, 2_000, 2_001, 3_000]);
        assert_eq!(log.head(), 3_000);
    }
}
