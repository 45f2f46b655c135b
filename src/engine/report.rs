//! Reports: how the server fares, for programs.
//!
//! Knows: counters and two formats. Never learns who asks.

use std::fmt::Write;

use crate::hub::ChannelStats;
use crate::wire::refusal::Refusal;
use crate::wire::text;

use super::Engine;
use super::conn::{Mark, Phase, Socket};

/// Connections by what they do.
#[derive(Default)]
struct Census {
    requests: u64,
    clocks: u64,
    polls: u64,
    streams: u64,
    sockets: u64,
    leaving: u64,
}

impl<S: Socket> Engine<S> {
    /// `/stats`.
    pub(super) fn stats_json(&self) -> Vec<u8> {
        let mut json = String::from("{");
        for (name, _, value) in self.numbers() {
            let _ = write!(json, "\"{name}\":{value},");
        }
        json.push_str("\"connections_by\":{");
        let by = self.census().named().map(|(name, count)| format!("\"{name}\":{count}"));
        json.push_str(&by.join(","));
        json.push_str("},\"hangups\":{");
        let hangups: Vec<String> =
            self.crowd.stats.all_hangups().map(|(name, count)| format!("\"{name}\":{count}")).collect();
        json.push_str(&hangups.join(","));
        json.push_str("}}");
        json.into_bytes()
    }

    /// `/metrics`, in the text format of Prometheus.
    pub(super) fn metrics(&self) -> Vec<u8> {
        let mut out = String::new();
        for (name, kind, value) in self.numbers() {
            let total = if kind == "counter" { "_total" } else { "" };
            let _ = writeln!(out, "# TYPE encke_{name}{total} {kind}\nencke_{name}{total} {value}");
        }
        out.push_str("# TYPE encke_connections_by gauge\n");
        for (name, count) in self.census().named() {
            let _ = writeln!(out, "encke_connections_by{{phase=\"{name}\"}} {count}");
        }
        out.push_str("# TYPE encke_hangups_total counter\n");
        for (name, count) in self.crowd.stats.all_hangups() {
            let _ = writeln!(out, "encke_hangups_total{{reason=\"{name}\"}} {count}");
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
    fn numbers(&self) -> [(&'static str, &'static str, u64); 18] {
        let (stats, hub) = (&self.crowd.stats, self.hub.stats());
        [
            ("uptime_seconds", "gauge", (self.crowd.now.mono_us - self.began.mono_us) / 1_000_000),
            ("connections", "gauge", self.crowd.len() as u64),
            ("connections_max", "gauge", u64::from(self.crowd.limits.connections_max)),
            ("channels", "gauge", self.hub.channels() as u64),
            ("history_bytes", "gauge", self.hub.history_bytes() as u64),
            ("head", "gauge", self.hub.head()),
            ("accepted", "counter", stats.accepted),
            ("turned_away", "counter", stats.turned_away),
            ("requests", "counter", stats.requests),
            ("refusals", "counter", stats.refusals),
            ("messages", "counter", hub.messages),
            ("deliveries", "counter", stats.deliveries),
            ("sends", "counter", stats.sends),
            ("bytes", "counter", stats.bytes),
            ("blocked", "counter", stats.blocked),
            ("ticks", "counter", stats.ticks),
            ("gaps", "counter", hub.gaps),
            ("evicted", "counter", hub.evicted),
        ]
    }

    fn census(&self) -> Census {
        let mut census = Census::default();
        for conn in self.crowd.iter() {
            let count = match conn.phase {
                Phase::Head | Phase::Body(_) => &mut census.requests,
                Phase::Clock { .. } => &mut census.clocks,
                Phase::Subscribed(_) if conn.marks.has(Mark::Polls) => &mut census.polls,
                Phase::Subscribed(_) | Phase::Echo if conn.marks.has(Mark::Websocket) => &mut census.sockets,
                Phase::Subscribed(_) | Phase::Echo => &mut census.streams,
                Phase::Leaving | Phase::Lingering => &mut census.leaving,
            };
            *count += 1;
        }
        census
    }
}

impl Census {
    fn named(&self) -> [(&'static str, u64); 6] {
        [
            ("requests", self.requests),
            ("clocks", self.clocks),
            ("polls", self.polls),
            ("streams", self.streams),
            ("websockets", self.sockets),
            ("leaving", self.leaving),
        ]
    }
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
