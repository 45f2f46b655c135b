//! Ticks: how punctual a clock is, seen from outside.
//!
//! A tick that shows `k` periods more than the first one is due `k` periods after it. How much
//! later than that it arrived is its *offset*. The least offset of a connection is its *phase*:
//! nothing arrives early. What exceeds the phase is *lateness*. If the offsets grow with time, the
//! clock *drifts*: the slope is taken between the medians of some windows (Theil and Sen), so that
//! a few late ticks do not look like drift; what is left when the slope is taken out is *jitter*.
//!
//! Knows: values and arrivals. Never learns what shows the time.

use serde::{Deserialize, Serialize};

use super::tally::Distribution;

/// Windows that a connection's offsets are divided into.
const WINDOWS: usize = 8;

/// Fewer ticks say nothing about a slope.
const TICKS_FOR_DRIFT: usize = 8;

/// What one connection heard of its clock.
#[derive(Debug, Default)]
pub(super) struct Ticks {
    /// The first tick: its value, and when it came, in microseconds.
    first: Option<(i64, u64)>,
    /// The last tick's place, in periods after the first.
    last: i64,
    /// Places and offsets of the ticks since measuring began, in microseconds. Capacity is reserved beforehand.
    offsets: Vec<(i32, i32)>,
}

impl Ticks {
    /// Makes room for so many ticks; what comes beyond that is counted and not judged.
    pub(super) fn reserve(&mut self, ticks: usize) {
        self.offsets.reserve_exact(ticks);
    }

    /// Takes a tick that shows `value` seconds and came at `arrival_us`. Says how many were left out before it, or
    /// `None` if it shows no later time than the one before.
    pub(super) fn take(&mut self, value: i64, arrival_us: u64, period_us: u64, keep: bool) -> Option<u64> {
        let (first, since_us) = *self.first.get_or_insert((value, arrival_us));
        let period = period_us.max(1) as i64;
        let place = (value - first).saturating_mul(1_000_000) / period;
        let offset = arrival_us as i64 - since_us as i64 - place.saturating_mul(period);
        let is_first = value == first && self.last == 0 && self.offsets.is_empty() && arrival_us == since_us;
        if place <= self.last && !is_first {
            return None;
        }
        let missed = if is_first { 0 } else { (place - self.last - 1) as u64 };
        self.last = place;
        if keep && self.offsets.len() < self.offsets.capacity() {
            let clamp = |n: i64| n.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
            self.offsets.push((clamp(place), clamp(offset)));
        }
        Some(missed)
    }

    /// A new connection has a new phase.
    pub(super) fn restart(&mut self) {
        (self.first, self.last) = (None, 0);
        self.offsets.clear();
    }

    /// Judges all that came.
    pub(super) fn judge(&self, period_us: u64, into: &mut TickTally) {
        let Some(phase) = self.offsets.iter().map(|&(_, offset)| offset).min() else { return };
        for &(_, offset) in &self.offsets {
            into.lateness_us.record((i64::from(offset) - i64::from(phase)) as u64);
        }
        let period_s = period_us as f64 / 1e6;
        let Some(slope) = self.slope_us_per_period() else { return };
        let level = |&(place, offset): &(i32, i32)| f64::from(offset) - slope * f64::from(place);
        let least = self.offsets.iter().map(level).fold(f64::INFINITY, f64::min);
        self.offsets.iter().for_each(|tick| into.jitter_us.record((level(tick) - least) as u64));
        into.drift_us_per_s.push((slope / period_s) as f32);
    }

    /// The median of the slopes between any two windows' medians.
    fn slope_us_per_period(&self) -> Option<f64> {
        if self.offsets.len() < TICKS_FOR_DRIFT {
            return None;
        }
        let points: Vec<(f64, f64)> =
            self.offsets.chunks(self.offsets.len().div_ceil(WINDOWS)).map(middle).collect();
        let mut slopes = Vec::new();
        for (at, (x, y)) in points.iter().enumerate() {
            slopes.extend(points[at + 1..].iter().map(|(later, then)| (then - y) / (later - x)));
        }
        median(&mut slopes)
    }
}

/// The medians of a window's places and offsets.
fn middle(window: &[(i32, i32)]) -> (f64, f64) {
    let mut places: Vec<f64> = window.iter().map(|&(place, _)| f64::from(place)).collect();
    let mut offsets: Vec<f64> = window.iter().map(|&(_, offset)| f64::from(offset)).collect();
    (median(&mut places).unwrap_or(0.0), median(&mut offsets).unwrap_or(0.0))
}

/// The middle one of these numbers.
pub(super) fn median(numbers: &mut [f64]) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied()
}

/// What all connections heard of their clocks.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct TickTally {
    pub(super) received: u64,
    /// Values that were left out.
    pub(super) missed: u64,
    /// Ticks that showed no later time than the one before.
    pub(super) repeated: u64,
    pub(super) lateness_us: Distribution,
    pub(super) jitter_us: Distribution,
    /// One for each connection that heard enough ticks.
    pub(super) drift_us_per_s: Vec<f32>,
}

impl TickTally {
    pub(super) fn merge(&mut self, other: TickTally) {
        self.received += other.received;
        self.missed += other.missed;
        self.repeated += other.repeated;
        self.lateness_us.merge(&other.lateness_us);
        self.jitter_us.merge(&other.jitter_us);
        self.drift_us_per_s.extend(other.drift_us_per_s);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    /// The tally of one clock whose tick `k` comes this much later than it should.
    fn judged(ticks: u64, late_us: impl Fn(u64) -> u64) -> TickTally {
        let (mut clock, mut tally) = (Ticks::default(), TickTally::default());
        clock.reserve(ticks as usize);
        for k in 0..ticks {
            assert_eq!(
                clock.take(1_700_000_000 + k as i64, 5_000 + k * SECOND + late_us(k), SECOND, true),
                Some(0)
            );
        }
        clock.judge(SECOND, &mut tally);
        tally
    }

    #[test]
    fn a_punctual_clock_is_neither_late_nor_does_it_drift() {
        let tally = judged(60, |_| 0);
        assert_eq!(tally.lateness_us.max(), 0);
        assert_eq!(tally.drift_us_per_s, [0.0]);
    }

    #[test]
    fn a_late_tick_is_jitter_and_no_drift() {
        let tally = judged(60, |k| if k % 10 == 9 { 3_000 } else { 0 });
        assert_eq!(tally.drift_us_per_s, [0.0]);
        assert_eq!((tally.lateness_us.count_above(2_900), tally.jitter_us.count_above(2_900)), (6, 6));
    }

    #[test]
    fn a_clock_that_is_armed_from_now_drifts_and_does_not_jitter() {
        let tally = judged(60, |k| k * 150);
        assert!((tally.drift_us_per_s[0] - 150.0).abs() < 1.0, "{tally:?}");
        assert!(tally.jitter_us.max() < 10 && tally.lateness_us.max() > 8_000, "{tally:?}");
    }

    #[test]
    fn missed_and_repeated_values_are_counted() {
        let mut clock = Ticks::default();
        assert_eq!(clock.take(10, 0, SECOND, true), Some(0));
        assert_eq!(clock.take(10, 10, SECOND, true), None);
        assert_eq!(clock.take(13, 3 * SECOND, SECOND, true), Some(2));
        assert_eq!(clock.take(12, 3 * SECOND, SECOND, true), None);
    }
}
