//! The tally: everything that one worker counted, in a form that can be added to another's.
//!
//! Knows: histograms and counters. Never learns where they came from.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use serde::{Deserialize, Serialize};

use super::ticks::TickTally;

/// Microseconds that a histogram covers: an hour. What is more counts as an hour.
const GREATEST_US: u64 = 3_600_000_000;

/// Digits of a value that a histogram keeps.
const DIGITS: u8 = 3;

/// Pairs of messages in the wrong order that are kept, and how many of the latest are searched for one.
const PAIRS_MAX: usize = 100_000;
const RECENT_PAIRS: usize = 64;

/// How often which value came, exact to a thousandth. Travels as HdrHistogram V2 in base64.
#[derive(Clone, Debug)]
pub(super) struct Distribution(Histogram<u64>);

impl Default for Distribution {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, GREATEST_US, DIGITS);
        Distribution(histogram.expect("bounds and digits are within the crate's"))
    }
}

impl Distribution {
    /// Hot: runs once per delivery. No allocation.
    pub(super) fn record(&mut self, value: u64) {
        self.0.saturating_record(value);
    }

    pub(super) fn merge(&mut self, other: &Distribution) {
        // Both have the same bounds: it cannot fail.
        let _ = self.0.add(&other.0);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    pub(super) fn min(&self) -> u64 {
        self.0.min()
    }

    pub(super) fn mean(&self) -> f64 {
        self.0.mean()
    }

    pub(super) fn max(&self) -> u64 {
        self.0.max()
    }

    /// The value that this share (0 to 1) of all does not exceed.
    pub(super) fn quantile(&self, share: f64) -> u64 {
        self.0.value_at_quantile(share)
    }

    /// How many exceed `value`.
    #[cfg(test)]
    pub(super) fn count_above(&self, value: u64) -> u64 {
        self.0.len() - self.0.count_between(0, value)
    }
}

impl Serialize for Distribution {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&self.0, &mut bytes).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&STANDARD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Distribution {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let bytes = STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
        let read = Deserializer::new().deserialize(&mut bytes.as_slice());
        read.map(Distribution).map_err(|error| D::Error::custom(format!("{error:?}")))
    }
}

/// What became of one published message, as far as one worker's subscribers can tell.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(from = "(u64, u64, u32, i32)", into = "(u64, u64, u32, i32)")]
pub(super) struct Broadcast {
    /// When the first receiver had it, in microseconds; 0 if nobody did.
    pub(super) first_us: u64,
    pub(super) last_us: u64,
    /// So many had it, each counted once.
    pub(super) received: u32,
    /// So many who should have had it never did.
    pub(super) missing: i32,
}

impl Broadcast {
    /// Hot: runs once per delivery.
    pub(super) fn reached(&mut self, arrival_us: u64) {
        if self.received == 0 {
            self.first_us = arrival_us;
        }
        self.last_us = arrival_us;
        self.received += 1;
    }

    pub(super) fn merge(&mut self, other: &Broadcast) {
        if other.received > 0 {
            let first = if self.received == 0 { u64::MAX } else { self.first_us };
            self.first_us = first.min(other.first_us);
            self.last_us = self.last_us.max(other.last_us);
        }
        self.received += other.received;
        self.missing += other.missing;
    }
}

impl From<(u64, u64, u32, i32)> for Broadcast {
    fn from((first_us, last_us, received, missing): (u64, u64, u32, i32)) -> Self {
        Broadcast { first_us, last_us, received, missing }
    }
}

impl From<Broadcast> for (u64, u64, u32, i32) {
    fn from(it: Broadcast) -> Self {
        (it.first_us, it.last_us, it.received, it.missing)
    }
}

/// One reconnect storm.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct StormTally {
    /// When it began, in microseconds: with the first worker.
    pub(super) begun_us: u64,
    /// So many were cut.
    pub(super) cut: u64,
    /// So many were there again, with their first frame.
    pub(super) back: u64,
    /// When the last of them was, in microseconds.
    pub(super) last_us: u64,
    /// From the moment of the storm to each one's first frame.
    pub(super) back_us: Distribution,
}

impl StormTally {
    fn merge(&mut self, other: &StormTally) {
        self.begun_us = if self.cut == 0 { other.begun_us } else { self.begun_us.min(other.begun_us) };
        self.cut += other.cut;
        self.back += other.back;
        self.last_us = self.last_us.max(other.last_us);
        self.back_us.merge(&other.back_us);
    }
}

/// What became of one message on its way to the server. Times in microseconds, 0 for never.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(from = "(u64, u64, u64, bool)", into = "(u64, u64, u64, bool)")]
pub(super) struct Publication {
    pub(super) planned_us: u64,
    /// When the kernel had taken the whole request.
    pub(super) sent_us: u64,
    /// When the head of the answer was there.
    pub(super) answered_us: u64,
    /// Whether the answer was a good one (2xx).
    pub(super) accepted: bool,
}

impl From<(u64, u64, u64, bool)> for Publication {
    fn from((planned_us, sent_us, answered_us, accepted): (u64, u64, u64, bool)) -> Self {
        Publication { planned_us, sent_us, answered_us, accepted }
    }
}

impl From<Publication> for (u64, u64, u64, bool) {
    fn from(it: Publication) -> Self {
        (it.planned_us, it.sent_us, it.answered_us, it.accepted)
    }
}

/// Everything that one worker counted.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Tally {
    /// From the planned moment to an established connection.
    pub(super) connect_us: Distribution,
    /// From the planned moment to the first frame.
    pub(super) first_frame_us: Distribution,
    /// From a message's planned moment to each delivery.
    pub(super) latency_us: Distribution,
    /// One for each message, by its number.
    pub(super) broadcasts: Vec<Broadcast>,
    /// By number, too; only a publisher has any.
    pub(super) publications: Vec<Publication>,
    pub(super) duplicated: u64,
    /// How often a message came after a later one: its number, the other's, how often. Whether that was wrong only
    /// the publisher's times can tell.
    pub(super) overtakings: Vec<(u32, u32, u64)>,
    /// How often it happened beyond what is kept one by one.
    pub(super) more_overtakings: u64,
    /// Gaps that the server announced.
    pub(super) gaps: u64,
    /// Messages that nobody could expect: the subscriber was not there, and has no cursor.
    pub(super) away: u64,
    /// Messages of channels that the subscriber did not ask for.
    pub(super) strays: u64,
    /// Deliveries to those who read slowly on purpose.
    pub(super) slow_received: u64,
    pub(super) bytes: u64,
    /// Comings back by churn.
    pub(super) churned: u64,
    /// Connections that the server ended, or the network.
    pub(super) disconnects: u64,
    pub(super) reconnects: u64,
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) storms: Vec<StormTally>,
    pub(super) ticks: TickTally,
    /// The longest time between two waits, in microseconds: what is late by as much may be our fault.
    pub(super) longest_turn_us: u64,
}

impl Tally {
    pub(super) fn error(&mut self, kind: impl Into<String>) {
        *self.errors.entry(kind.into()).or_default() += 1;
    }

    /// A message came after a later one.
    pub(super) fn overtaken(&mut self, late: u32, ahead: u32) {
        self.count_overtaking(late, ahead, 1);
    }

    /// All who hear a channel mostly hear it in one order: the pair was there a moment ago, or is new.
    fn count_overtaking(&mut self, late: u32, ahead: u32, count: u64) {
        let recent = self.overtakings.len().saturating_sub(RECENT_PAIRS);
        let known = self.overtakings[recent..].iter().rposition(|pair| (pair.0, pair.1) == (late, ahead));
        match known {
            Some(at) => self.overtakings[recent + at].2 += count,
            None if self.overtakings.len() < PAIRS_MAX => self.overtakings.push((late, ahead, count)),
            None => self.more_overtakings += count,
        }
    }

    /// Adds what another worker counted.
    pub(super) fn merge(&mut self, other: Tally) {
        self.connect_us.merge(&other.connect_us);
        self.first_frame_us.merge(&other.first_frame_us);
        self.latency_us.merge(&other.latency_us);
        if self.broadcasts.len() < other.broadcasts.len() {
            self.broadcasts.resize(other.broadcasts.len(), Broadcast::default());
        }
        self.broadcasts.iter_mut().zip(&other.broadcasts).for_each(|(mine, theirs)| mine.merge(theirs));
        self.publications.extend(other.publications);
        self.duplicated += other.duplicated;
        for (late, ahead, count) in other.overtakings {
            self.count_overtaking(late, ahead, count);
        }
        self.more_overtakings += other.more_overtakings;
        self.gaps += other.gaps;
        self.away += other.away;
        self.strays += other.strays;
        self.slow_received += other.slow_received;
        self.bytes += other.bytes;
        self.churned += other.churned;
        self.disconnects += other.disconnects;
        self.reconnects += other.reconnects;
        for (kind, count) in other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
        if self.storms.len() < other.storms.len() {
            self.storms.resize_with(other.storms.len(), StormTally::default);
        }
        self.storms.iter_mut().zip(&other.storms).for_each(|(mine, theirs)| mine.merge(theirs));
        self.ticks.merge(other.ticks);
        self.longest_turn_us = self.longest_turn_us.max(other.longest_turn_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_survive_the_pipe_and_add_up() {
        let mut one = Tally::default();
        (1..=1_000).for_each(|us| one.latency_us.record(us));
        one.broadcasts = vec![Broadcast { first_us: 5, last_us: 9, received: 3, missing: 0 }];
        one.error("connection refused");
        let mut other = Tally::default();
        (1_001..=2_000).for_each(|us| other.latency_us.record(us));
        other.broadcasts = vec![
            Broadcast { first_us: 4, last_us: 6, received: 2, missing: 1 },
            Broadcast { first_us: 7, last_us: 7, received: 1, missing: 0 },
        ];
        other.error("connection refused");
        let line = serde_json::to_string(&other).expect("numbers and names");
        one.merge(serde_json::from_str(&line).expect("the same shape"));
        assert_eq!(one.latency_us.count(), 2_000);
        assert!(one.latency_us.quantile(0.5).abs_diff(1_000) <= 1);
        assert_eq!((one.latency_us.min(), one.latency_us.quantile(1.0) / 10), (1, 200));
        assert_eq!(one.broadcasts[0], Broadcast { first_us: 4, last_us: 9, received: 5, missing: 1 });
        assert_eq!(one.broadcasts[1], other.broadcasts[1]);
        assert_eq!(one.errors["connection refused"], 2);
    }

    #[test]
    fn nothing_is_too_long_for_a_distribution() {
        let mut distribution = Distribution::default();
        distribution.record(u64::MAX);
        assert!(distribution.max() >= GREATEST_US);
    }
}
