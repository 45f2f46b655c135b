//! Histograms: how often how much.
//!
//! Buckets double in width, so that one array covers a microsecond and an hour, and counting is
//! an addition. Cheap enough to stay on.
//!
//! Knows: numbers. Never learns what they count.

/// Buckets: the last one is for everything from 2^30 on.
const BUCKETS: usize = 32;

/// How often values of each magnitude came.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// Bucket 0 counts zeros; bucket `n` values from `2^(n-1)` to `2^n - 1`.
    counts: [u64; BUCKETS],
    sum: u64,
}

impl Histogram {
    /// Counts one value.
    pub fn count(&mut self, value: u64) {
        let bucket = (u64::BITS - value.leading_zeros()) as usize;
        self.counts[bucket.min(BUCKETS - 1)] += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// How many values there were.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Pairs of a value and how many were at most that, up to the greatest that occurred.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let used = self.counts.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1);
        let mut so_far = 0;
        self.counts[..used].iter().enumerate().map(move |(bucket, count)| {
            so_far += count;
            ((1 << bucket) - 1, so_far)
        })
    }

    /// A value that at least this share (0 to 1) of the values does not exceed; exact to a factor of two.
    pub fn quantile(&self, share: f64) -> u64 {
        let wanted = (self.total() as f64 * share).ceil() as u64;
        self.cumulative().find(|&(_, so_far)| so_far >= wanted).map_or(0, |(value, _)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_again_to_a_factor_of_two() {
        let mut histogram = Histogram::default();
        (0..100).for_each(|_| histogram.count(5));
        histogram.count(1_000);
        histogram.count(0);
        assert_eq!((histogram.total(), histogram.sum()), (102, 1_500));
        assert_eq!((histogram.quantile(0.5), histogram.quantile(1.0)), (7, 1_023));
        let all: Vec<(u64, u64)> = histogram.cumulative().collect();
        assert_eq!(all[..4], [(0, 1), (1, 1), (3, 1), (7, 101)]);
        assert_eq!(all.last(), Some(&(1_023, 102)));
    }

    #[test]
    fn nothing_is_too_large() {
        let mut histogram = Histogram::default();
        histogram.count(u64::MAX);
        assert_eq!((histogram.total(), histogram.sum()), (1, u64::MAX));
        assert_eq!(Histogram::default().quantile(0.99), 0);
    }
}
