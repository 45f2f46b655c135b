//! Reports: how the server fares, for programs.
//!
//! Knows: counters and two formats. Never learns who asks.

use std::fmt::Write;

use crate::hub::ChannelStats;
use crate::kit::histogram::Histogram;
use crate::transport::Framing;
use crate::wire::refusal::Refusal;
use crate::wire::text;

use super::Engine;
use super::conn::{Phase, Socket};

/// Connections by what they do, in the order of [`PHASES`].
type Census = [u64; PHASES.len()];

const PHASES: [&str; 6] = ["request", "clock", "subscribed", "storing", "lab", "leaving"];

/// Subscribers by how they are told, in the order of [`Framing::NAMES`].
type Listeners = [u64; Framing::NAMES.len()];

/// The shares of values whose bound `/stats` tells.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("max", 1.0)];

impl<S: Socket> Engine<S> {
    /// `/stats`.
    pub(super) fn stats_json(&self) -> Vec<u8> {
        let (census, listeners) = self.census();
        let mut json = String::from("{");
        for (name, _, value) in self.numbers() {
            let _ = write!(json, "\"{name}\":{value},");
        }
        object("phases", PHASES.into_iter().zip(census), &mut json);
        object("subscribers", Framing::NAMES.into_iter().zip(listeners), &mut json);
        object("hangups", self.crowd.stats.all_hangups(), &mut json);
        let mut quantiles = |name: &str, histogram: &Histogram| {
            object(
                name,
                QUANTILES.into_iter().map(|(name, share)| (name, histogram.quantile(share))),
                &mut json,
            );
        };
        quantiles("turn_us", &self.crowd.stats.turns_us);
        quantiles("sweep_deliveries", &self.hub.stats().sweeps);
        for (name, histogram) in Framing::NAMES.into_iter().zip(&self.crowd.stats.latency_us) {
            quantiles(&format!("latency_{name}_us"), histogram);
        }
        json.pop();
        json.push('}');
        json.into_bytes()
    }

    /// `/metrics`, in the text format of Prometheus.
    pub(super) fn metrics(&self) -> Vec<u8> {
        let (census, listeners) = self.census();
        let mut out = String::new();
        for (name, kind, value) in self.numbers() {
            let total = if kind == "counter" { "_total" } else { "" };
            let _ = writeln!(out, "# TYPE encke_{name}{total} {kind}\nencke_{name}{total} {value}");
        }
        labelled("phase_connections", "gauge", "phase", PHASES.into_iter().zip(census), &mut out);
        labelled("subscribers", "gauge", "transport", Framing::NAMES.into_iter().zip(listeners), &mut out);
        labelled("hangups_total", "counter", "reason", self.crowd.stats.all_hangups(), &mut out);
        let _ = writeln!(out, "# TYPE encke_turn_seconds histogram");
        histogram("turn_seconds", "", &self.crowd.stats.turns_us, 1e6, &mut out);
        let _ = writeln!(out, "# TYPE encke_sweep_deliveries histogram");
        histogram("sweep_deliveries", "", &self.hub.stats().sweeps, 1.0, &mut out);
        let _ = writeln!(out, "# TYPE encke_latency_seconds histogram");
        for (name, latency) in Framing::NAMES.into_iter().zip(&self.crowd.stats.latency_us) {
            histogram("latency_seconds", &format!("transport=\"{name}\""), latency, 1e6, &mut out);
        }
        out.into_bytes()
    }

    /// `/stats/channels`.
    pub(super) fn channels_json(&self) -> Vec<u8> {
        let mut json = b"{\"channels\":[".to_vec();
        for (i, stats) in self.hub.all_channel_stats().enumerate() {
            if i > 0 {
                json.push(b',');
            }
            write_channel(&stats, &mut json);
        }
        json.extend_from_slice(b"]}");
        json
    }

    /// `/stats/channels/NAME`.
    pub(super) fn channel_json(&mut self, index: u32, name: &str) {
        match self.hub.channel_stats(name) {
            Some(stats) => {
                let mut json = Vec::new();
                write_channel(&stats, &mut json);
                self.answer_json(index, 200, &json);
            }
            None => self.refuse(
                index,
                Refusal::new(404, "there is no such channel: nobody listens and nothing is kept"),
            ),
        }
    }

    /// Name, kind and value of everything that is one number.
    fn numbers(&self) -> [(&'static str, &'static str, u64); 31] {
        let (stats, hub) = (&self.crowd.stats, self.hub.stats());
        [
            ("uptime_seconds", "gauge", (self.crowd.now.mono_us - self.began.mono_us) / 1_000_000),
            ("connections", "gauge", self.crowd.len() as u64),
            ("connections_max", "gauge", u64::from(self.crowd.limits.connections_max)),
            ("channels", "gauge", self.hub.channels() as u64),
            ("history_bytes", "gauge", self.hub.history_bytes() as u64),
            ("held_bytes", "gauge", self.crowd.budget.held_bytes() as u64),
            ("unstored_bytes", "gauge", self.unstored_bytes() as u64),
            ("head", "gauge", self.hub.head()),
            ("accepted", "counter", stats.accepted),
            ("turned_away", "counter", stats.turned_away),
            ("address_turned_away", "counter", stats.address_turned_away),
            ("starved", "counter", stats.starved),
            ("requests", "counter", stats.requests),
            ("refusals", "counter", stats.refusals),
            ("timed_out", "counter", stats.timed_out),
            ("rate_limited", "counter", stats.rate_limited),
            ("uploads_refused", "counter", stats.uploads_refused),
            ("store_refusals", "counter", stats.store_refusals),
            ("store_failures", "counter", stats.store_failures),
            ("store_timeouts", "counter", stats.store_timeouts),
            ("channels_refused", "counter", hub.channels_refused),
            ("sections_refused", "counter", hub.sections_refused),
            ("messages", "counter", hub.messages),
            ("deliveries", "counter", stats.deliveries),
            ("sends", "counter", stats.sends),
            ("bytes", "counter", stats.bytes),
            ("blocked", "counter", stats.blocked),
            ("ticks", "counter", stats.ticks),
            ("ticks_skipped", "counter", stats.ticks_skipped),
            ("gaps", "counter", hub.gaps),
            ("evicted", "counter", hub.evicted),
        ]
    }

    fn census(&self) -> (Census, Listeners) {
        let (mut census, mut listeners) = (Census::default(), Listeners::default());
        for conn in self.crowd.iter() {
            let phase = match conn.phase {
                Phase::Head | Phase::Body(_) => 0,
                Phase::Clock { .. } => 1,
                Phase::Subscribed(seat) => {
                    listeners[self.hub.framing(seat).kind()] += 1;
                    2
                }
                Phase::Storing => 3,
                Phase::Echo => 4,
                Phase::Leaving | Phase::Lingering => 5,
            };
            census[phase] += 1;
        }
        (census, listeners)
    }
}

/// Appends `"NAME":{…},`.
fn object(name: &str, fields: impl Iterator<Item = (&'static str, u64)>, json: &mut String) {
    let _ = write!(json, "\"{name}\":{{");
    for (i, (name, value)) in fields.enumerate() {
        let comma = if i > 0 { "," } else { "" };
        let _ = write!(json, "{comma}\"{name}\":{value}");
    }
    json.push_str("},");
}

/// Appends a metric with a line per value of a label.
fn labelled(
    name: &str,
    kind: &str,
    label: &str,
    values: impl Iterator<Item = (&'static str, u64)>,
    out: &mut String,
) {
    let _ = writeln!(out, "# TYPE encke_{name} {kind}");
    for (value, count) in values {
        let _ = writeln!(out, "encke_{name}{{{label}=\"{value}\"}} {count}");
    }
}

/// Appends the series of a histogram, of which `per_unit` make one of Prometheus's.
fn histogram(name: &str, label: &str, histogram: &Histogram, per_unit: f64, out: &mut String) {
    let comma = if label.is_empty() { "" } else { "," };
    for (value, so_far) in histogram.cumulative() {
        let _ =
            writeln!(out, "encke_{name}_bucket{{{label}{comma}le=\"{}\"}} {so_far}", value as f64 / per_unit);
    }
    let total = histogram.total();
    let braces = if label.is_empty() { String::new() } else { format!("{{{label}}}") };
    let _ = writeln!(out, "encke_{name}_bucket{{{label}{comma}le=\"+Inf\"}} {total}");
    let _ = writeln!(out, "encke_{name}_sum{braces} {}", histogram.sum() as f64 / per_unit);
    let _ = writeln!(out, "encke_{name}_count{braces} {total}");
}

fn write_channel(stats: &ChannelStats, json: &mut Vec<u8>) {
    json.extend_from_slice(b"{\"channel\":");
    text::json_string(&stats.name, json);
    let numbers = [
        ("subscribers", stats.subscribers as u64),
        ("messages", stats.messages as u64),
        ("bytes", stats.bytes as u64),
        ("head", stats.head),
        ("floor", stats.floor),
    ];
    for (name, number) in numbers {
        json.extend_from_slice(format!(",\"{name}\":{number}").as_bytes());
    }
    json.push(b'}');
}
