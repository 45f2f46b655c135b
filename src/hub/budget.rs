//! The budget: what all histories together may weigh.
//!
//! At the budget the oldest messages of the largest channels go first. Publishing never
//! fails for want of it, and whoever missed what went is told about the gap.

use super::Hub;

/// How far below the budget to go once it is reached, as a share of it: so that not every message has to look
/// for the largest channel.
const SLACK: usize = 16;

impl Hub {
    pub(super) fn keep_budget(&mut self) {
        if self.history_bytes <= self.history_budget {
            return;
        }
        let level = self.level(self.history_budget - self.history_budget / SLACK);
        let larger = self.channels.iter().filter(|(_, channel)| channel.history.bytes() > level);
        let larger: Vec<u32> = larger.map(|(key, _)| key as u32).collect();
        for key in larger {
            let evicted = self.change_history(key, |channel| channel.history.shrink_to(level));
            self.stats.evicted += evicted as u64;
        }
    }

    /// The weight to which the largest histories must shrink so that all together weigh `bytes`.
    fn level(&self, bytes: usize) -> usize {
        let mut weights: Vec<usize> =
            self.channels.iter().map(|(_, channel)| channel.history.bytes()).collect();
        weights.sort_unstable();
        let mut rest = bytes;
        let mut larger = weights.len();
        for weight in weights {
            if weight * larger > rest {
                return rest / larger;
            }
            rest -= weight;
            larger -= 1;
        }
        usize::MAX
    }
}
