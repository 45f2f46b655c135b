//! The report: what the numbers of a run mean.
//!
//! Field names are what programs read: `docs/bench.md` lists every one, a test compares, and a change of
//! meaning raises [`SCHEMA`].
//!
//! Knows: plan, record, arithmetic. Never learns how anything was measured.

mod charts;
pub(super) mod page;
pub(super) mod table;

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use super::checks::{Check, Machine};
use super::clock::unix_us;
use super::conduct::Record;
use super::plan::Plan;
use super::server::{Server, Usage};
use super::tally::{Broadcast, Distribution, Publication, Tally};
use super::ticks::median;

/// Raised when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;

/// A worker that is busier than this was the bottleneck.
const BUSY: f64 = 0.85;

/// Points of a distribution's curve in a report.
const CURVE: &[f64] = &[
    0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995,
    0.998, 0.999, 0.9995, 0.9999, 0.99999, 1.0,
];

#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) schema: u32,
    pub(super) tool: String,
    /// When it was made, in UTC.
    pub(super) date: String,
    pub(super) command: Vec<String>,
    pub(super) interrupted: bool,
    pub(super) target: TargetReport,
    pub(super) load: LoadReport,
    pub(super) machine: MachineReport,
    pub(super) checks: Vec<Check>,
    pub(super) connections: ConnectionReport,
    pub(super) publications: PublicationReport,
    pub(super) deliveries: DeliveryReport,
    pub(super) ticks: Option<TickReport>,
    pub(super) storms: Vec<StormReport>,
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) server: Option<ServerReport>,
    pub(super) kernel: KernelReport,
    pub(super) client: ClientReport,
    pub(super) samples: Vec<SampleReport>,
    pub(super) warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct TargetReport {
    pub(super) address: String,
    pub(super) preset: String,
    pub(super) transport: &'static str,
    pub(super) subscribe: String,
    pub(super) publish: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct LoadReport {
    pub(super) connections: u32,
    pub(super) channels: u32,
    pub(super) ramp_per_s: f64,
    pub(super) rate_per_s: f64,
    pub(super) duration_s: f64,
    pub(super) payload_bytes: usize,
    pub(super) churn_per_s: f64,
    pub(super) slow_share: f64,
    pub(super) slow_bytes_per_s: u64,
    pub(super) stalled_share: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct MachineReport {
    pub(super) cores: u64,
    pub(super) kernel: String,
}

/// A distribution in a few numbers, and as a curve of `[share, value]`.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) count: u64,
    pub(super) min: u64,
    pub(super) mean: f64,
    pub(super) p50: u64,
    pub(super) p90: u64,
    pub(super) p99: u64,
    pub(super) p999: u64,
    pub(super) max: u64,
    pub(super) curve: Vec<(f64, u64)>,
}

#[derive(Debug, Serialize)]
pub(super) struct ConnectionReport {
    pub(super) established: u64,
    /// Listening when the first message was due.
    pub(super) listening: u64,
    pub(super) ramp_s: f64,
    pub(super) connect_us: Summary,
    pub(super) first_frame_us: Summary,
    pub(super) disconnects: u64,
    pub(super) reconnects: u64,
    pub(super) churned: u64,
    pub(super) server_cpu_us_each: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct PublicationReport {
    pub(super) planned: u32,
    pub(super) said: u32,
    pub(super) sent: u64,
    pub(super) accepted: u64,
    pub(super) unanswered: u64,
    pub(super) planned_to_sent_us: Summary,
    pub(super) planned_to_answered_us: Summary,
}

#[derive(Debug, Serialize)]
pub(super) struct DeliveryReport {
    pub(super) expected: u64,
    pub(super) received: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    /// After a later one, though it had been accepted before that one was sent.
    pub(super) out_of_order: u64,
    /// After a later one that was under way at the same time: nobody can expect an order.
    pub(super) overtaken: u64,
    pub(super) gaps: u64,
    pub(super) away: u64,
    pub(super) strays: u64,
    pub(super) slow_received: u64,
    pub(super) bytes: u64,
    pub(super) per_s: f64,
    pub(super) latency_us: Summary,
    pub(super) sent_to_first_us: Summary,
    pub(super) sent_to_last_us: Summary,
}

#[derive(Debug, Serialize)]
pub(super) struct TickReport {
    pub(super) received: u64,
    pub(super) missed: u64,
    pub(super) repeated: u64,
    pub(super) lateness_us: Summary,
    pub(super) jitter_us: Summary,
    /// The median of all connections' slopes, and the steepest.
    pub(super) drift_us_per_s: f64,
    pub(super) drift_us_per_s_max: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct StormReport {
    pub(super) cut: u64,
    pub(super) back: u64,
    /// Until the last of them had its first frame.
    pub(super) seconds: f64,
    pub(super) back_us: Summary,
    pub(super) server_cpu_us_each: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct ServerReport {
    pub(super) pids: Vec<u32>,
    /// While messages were sent, or a clock was listened to.
    pub(super) cpu_user_s: f64,
    pub(super) cpu_system_s: f64,
    pub(super) cpu_share: f64,
    pub(super) cpu_us_per_delivery: Option<f64>,
    pub(super) voluntary_switches: u64,
    pub(super) involuntary_switches: u64,
    pub(super) waited_for_a_core_s: f64,
    /// While nothing happened, in a second.
    pub(super) idle_wakeups_per_s: f64,
    pub(super) idle_cpu_share: f64,
    pub(super) pss_bytes_before: u64,
    pub(super) pss_bytes_after: u64,
    pub(super) pss_bytes_per_connection: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct KernelReport {
    /// All of the slab's growth: whatever else the machine did meanwhile is in it.
    pub(super) slab_bytes_per_connection: Option<f64>,
    /// The growth of what is a socket's alone; needs root.
    pub(super) socket_bytes_per_connection: Option<f64>,
    pub(super) tcp_bytes_per_connection: Option<f64>,
    /// Whether the client's end of each connection is in these numbers.
    pub(super) both_ends: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct ClientReport {
    pub(super) workers: usize,
    /// What each used of a core while messages were sent; the publisher's is the last, if there is one.
    pub(super) cpu_shares: Vec<f64>,
    pub(super) waited_for_a_core_s: f64,
    pub(super) longest_turn_us: u64,
    pub(super) is_bottleneck: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct SampleReport {
    pub(super) t_s: f64,
    pub(super) listening: u64,
    pub(super) received: u64,
    pub(super) published: u64,
    pub(super) ticks: u64,
    pub(super) server_cpu_s: Option<f64>,
    pub(super) server_pss_bytes: Option<u64>,
}

impl Summary {
    fn of(distribution: &Distribution) -> Self {
        Summary {
            count: distribution.count(),
            min: distribution.min(),
            mean: rounded(distribution.mean()),
            p50: distribution.quantile(0.5),
            p90: distribution.quantile(0.9),
            p99: distribution.quantile(0.99),
            p999: distribution.quantile(0.999),
            max: distribution.max(),
            curve: match distribution.count() {
                0 => Vec::new(),
                _ => CURVE.iter().map(|&share| (share, distribution.quantile(share))).collect(),
            },
        }
    }
}

impl Report {
    pub(super) fn new(
        plan: &Plan,
        record: &Record,
        machine: &Machine,
        checks: Vec<Check>,
        server: Option<&Server>,
        preset: String,
    ) -> Self {
        let tally = &record.tally;
        let watched = server.is_some();
        let mut report = Report {
            schema: SCHEMA,
            tool: format!("encke {}", env!("CARGO_PKG_VERSION")),
            date: humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_micros(unix_us()))
                .to_string(),
            command: std::env::args().collect(),
            interrupted: record.interrupted,
            target: target(plan, preset),
            load: load(plan),
            machine: MachineReport { cores: machine.cores, kernel: machine.kernel.clone() },
            checks,
            connections: connections(record, watched),
            publications: publications(plan, record),
            deliveries: deliveries(record),
            ticks: plan.ticks.as_ref().map(|_| ticks(tally)),
            storms: storms(record, watched),
            errors: tally.errors.clone(),
            server: server.map(|server| server_report(server, record)),
            kernel: kernel(plan, record),
            client: client(record),
            samples: samples(record, watched),
            warnings: Vec::new(),
        };
        report.warnings = warnings(&report);
        report
    }

    /// Whether every delivery came, once, in order.
    pub(super) fn is_exact(&self) -> bool {
        let DeliveryReport { lost, duplicated, out_of_order, .. } = &self.deliveries;
        let ticks = self.ticks.as_ref().map_or(0, |ticks| ticks.missed + ticks.repeated);
        lost + duplicated + out_of_order + ticks == 0
    }

    pub(super) fn why_nobody_listened(&self) -> String {
        let counted: Vec<String> =
            self.errors.iter().map(|(kind, count)| format!("{kind} ({count} times)")).collect();
        let why = if counted.is_empty() { "no answer came".to_owned() } else { counted.join(", ") };
        format!(
            "nobody got through to {}{}: {why}; is --preset {} what runs there, and --transport {} what it offers?",
            self.target.address, self.target.subscribe, self.target.preset, self.target.transport
        )
    }
}

fn target(plan: &Plan, preset: String) -> TargetReport {
    TargetReport {
        address: plan.address.to_string(),
        preset,
        transport: plan.transport.name(),
        subscribe: plan.ask.target.text().to_owned(),
        publish: plan.say.as_ref().map(|say| format!("{} {}", say.method, say.target.text())),
    }
}

fn load(plan: &Plan) -> LoadReport {
    LoadReport {
        connections: plan.connections,
        channels: plan.channels,
        ramp_per_s: plan.ramp_per_s,
        rate_per_s: plan.rate_per_s,
        duration_s: plan.duration_us as f64 / 1e6,
        payload_bytes: plan.say.as_ref().map_or(0, |say| say.payload_bytes),
        churn_per_s: plan.churn_per_s,
        slow_share: plan.slow_share,
        slow_bytes_per_s: plan.slow_bytes_per_s,
        stalled_share: plan.stalled_share,
    }
}

fn connections(record: &Record, watched: bool) -> ConnectionReport {
    let tally = &record.tally;
    ConnectionReport {
        established: tally.connect_us.count(),
        listening: record.listening,
        ramp_s: rounded(record.ramp_s),
        connect_us: Summary::of(&tally.connect_us),
        first_frame_us: Summary::of(&tally.first_frame_us),
        disconnects: tally.disconnects,
        reconnects: tally.reconnects,
        churned: tally.churned,
        server_cpu_us_each: each(record.ramp.cpu_us() as f64, record.listening, watched),
    }
}

fn publications(plan: &Plan, record: &Record) -> PublicationReport {
    let all = &record.tally.publications;
    let spread = |moment: fn(&Publication) -> u64| {
        let mut distribution = Distribution::default();
        let took = all.iter().filter(|it| moment(it) != 0).map(|it| moment(it).saturating_sub(it.planned_us));
        took.for_each(|us| distribution.record(us));
        Summary::of(&distribution)
    };
    PublicationReport {
        planned: plan.messages(),
        said: record.said,
        sent: all.iter().filter(|it| it.sent_us != 0).count() as u64,
        accepted: all.iter().filter(|it| it.accepted).count() as u64,
        unanswered: all.iter().filter(|it| it.answered_us == 0).count() as u64,
        planned_to_sent_us: spread(|it| it.sent_us),
        planned_to_answered_us: spread(|it| it.answered_us),
    }
}

fn deliveries(record: &Record) -> DeliveryReport {
    let tally = &record.tally;
    let (mut received, mut lost) = (0, 0);
    let (mut first, mut last) = (Distribution::default(), Distribution::default());
    for (broadcast, publication) in tally.broadcasts.iter().zip(&tally.publications) {
        received += u64::from(broadcast.received);
        // A message that the server refused, and nobody had, was none.
        if publication.accepted || broadcast.received > 0 {
            lost += u64::try_from(broadcast.missing).unwrap_or(0);
        }
        if broadcast.received > 0 && publication.sent_us != 0 {
            first.record(broadcast.first_us.saturating_sub(publication.sent_us));
            last.record(broadcast.last_us.saturating_sub(publication.sent_us));
        }
    }
    let (out_of_order, overtaken) = order(tally);
    DeliveryReport {
        expected: received + lost,
        received,
        lost,
        duplicated: tally.duplicated,
        out_of_order,
        overtaken,
        gaps: tally.gaps,
        away: tally.away,
        strays: tally.strays,
        slow_received: tally.slow_received,
        bytes: tally.bytes,
        per_s: rounded(received as f64 / speaking_s(&tally.broadcasts, record)),
        latency_us: Summary::of(&tally.latency_us),
        sent_to_first_us: Summary::of(&first),
        sent_to_last_us: Summary::of(&last),
    }
}

/// How many deliveries came in an order that was wrong, and how many in one that was as good as any. Messages that
/// are sent over several connections may be under way together; only an answer says that one was first.
fn order(tally: &Tally) -> (u64, u64) {
    let was_first = |late: u32, ahead: u32| {
        let pair = (tally.publications.get(late as usize), tally.publications.get(ahead as usize));
        let (Some(late), Some(ahead)) = pair else { return false };
        late.answered_us != 0 && late.answered_us <= ahead.sent_us
    };
    let wrong = tally.overtakings.iter().filter(|(late, ahead, _)| was_first(*late, *ahead));
    let wrong: u64 = wrong.map(|(_, _, count)| count).sum();
    let all: u64 = tally.overtakings.iter().map(|(_, _, count)| count).sum();
    // What was not kept counts against the server: so many wrong pairs are no accident.
    (wrong + tally.more_overtakings, all - wrong)
}

/// `1 channel`, `7 channels`
fn channels(count: u32) -> String {
    format!("{count} channel{}", if count == 1 { "" } else { "s" })
}

/// How long deliveries took place, in seconds.
fn speaking_s(broadcasts: &[Broadcast], record: &Record) -> f64 {
    let last_us = broadcasts.iter().map(|broadcast| broadcast.last_us).max().unwrap_or(0);
    let first_us = record.tally.publications.first().map_or(0, |publication| publication.planned_us);
    (last_us.saturating_sub(first_us) as f64 / 1e6).max(record.speak_s).max(0.001)
}

fn ticks(tally: &Tally) -> TickReport {
    let mut slopes: Vec<f64> = tally.ticks.drift_us_per_s.iter().map(|&slope| f64::from(slope)).collect();
    let steepest = slopes.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs()));
    TickReport {
        received: tally.ticks.received,
        missed: tally.ticks.missed,
        repeated: tally.ticks.repeated,
        lateness_us: Summary::of(&tally.ticks.lateness_us),
        jitter_us: Summary::of(&tally.ticks.jitter_us),
        drift_us_per_s: rounded(median(&mut slopes).unwrap_or(0.0)),
        drift_us_per_s_max: rounded(steepest.unwrap_or(0.0)),
    }
}

fn storms(record: &Record, watched: bool) -> Vec<StormReport> {
    let both = record.tally.storms.iter().zip(&record.storms);
    both.map(|(tally, storm)| StormReport {
        cut: tally.cut,
        back: tally.back,
        seconds: rounded(tally.last_us.saturating_sub(tally.begun_us) as f64 / 1e6),
        back_us: Summary::of(&tally.back_us),
        server_cpu_us_each: each(storm.usage.cpu_us() as f64, tally.cut, watched),
    })
    .collect()
}

fn server_report(server: &Server, record: &Record) -> ServerReport {
    let Usage { user_us, system_us, voluntary_switches, involuntary_switches, waited_us } = record.speak;
    let heard: u64 = record.tally.broadcasts.iter().map(|broadcast| u64::from(broadcast.received)).sum();
    let heard = heard + record.tally.ticks.received;
    let growth = record.after.pss as f64 - record.before.pss as f64;
    let idle_s = record.idle_s.max(0.001);
    ServerReport {
        pids: server.pids().to_vec(),
        cpu_user_s: user_us as f64 / 1e6,
        cpu_system_s: system_us as f64 / 1e6,
        cpu_share: rounded((user_us + system_us) as f64 / 1e6 / record.served_s.max(0.001)),
        cpu_us_per_delivery: each((user_us + system_us) as f64, heard, true),
        voluntary_switches,
        involuntary_switches,
        waited_for_a_core_s: waited_us as f64 / 1e6,
        idle_wakeups_per_s: rounded(record.idle.voluntary_switches as f64 / idle_s),
        idle_cpu_share: rounded(record.idle.cpu_us() as f64 / 1e6 / idle_s),
        pss_bytes_before: record.before.pss,
        pss_bytes_after: record.after.pss,
        pss_bytes_per_connection: each(growth, record.listening, true),
    }
}

fn kernel(plan: &Plan, record: &Record) -> KernelReport {
    let growth = |after: u64, before: u64| each(after as f64 - before as f64, record.listening, true);
    KernelReport {
        slab_bytes_per_connection: growth(record.after.slab, record.before.slab),
        socket_bytes_per_connection: growth(record.after.sockets, record.before.sockets)
            .filter(|_| record.after.sockets > 0),
        tcp_bytes_per_connection: growth(record.after.tcp, record.before.tcp),
        both_ends: plan.address.ip().is_loopback(),
    }
}

fn client(record: &Record) -> ClientReport {
    ClientReport {
        workers: record.shares.len(),
        cpu_shares: record.shares.iter().map(|&share| rounded(share)).collect(),
        waited_for_a_core_s: rounded(record.client_waited_s),
        longest_turn_us: record.tally.longest_turn_us,
        is_bottleneck: record.shares.iter().any(|&share| share > BUSY),
    }
}

fn samples(record: &Record, watched: bool) -> Vec<SampleReport> {
    let one = |sample: &super::conduct::Sample| SampleReport {
        t_s: rounded(sample.t_s),
        listening: sample.listening,
        received: sample.received,
        published: sample.said,
        ticks: sample.ticks,
        server_cpu_s: watched.then_some(sample.server_cpu_us as f64 / 1e6),
        server_pss_bytes: (sample.server_pss > 0).then_some(sample.server_pss),
    };
    record.samples.iter().map(one).collect()
}

/// What a reader of the numbers must know before he believes them.
fn warnings(report: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |when: bool, what: String| {
        if when {
            warnings.push(what);
        }
    };
    let shares = &report.client.cpu_shares;
    let busiest = shares.iter().copied().fold(0.0, f64::max);
    warn(
        report.client.is_bottleneck,
        format!(
            "the client is the bottleneck: a worker used {:.0} % of a core; latencies are the client's. \
             More --workers on more cores, or a lower --rate",
            busiest * 100.0
        ),
    );
    let missing = u64::from(report.load.connections).saturating_sub(report.connections.listening);
    warn(missing > 0, format!("{missing} of {} subscribers never listened", report.load.connections));
    let late = &report.publications.planned_to_sent_us;
    warn(
        late.p99 > 10_000,
        format!(
            "1 % of the messages were sent {} ms late or more: the publisher was held up",
            late.p99 / 1_000
        ),
    );
    let missed = u64::from(report.publications.said) - report.publications.accepted;
    warn(
        missed > 0,
        format!("{missed} of {} messages were not accepted by the server", report.publications.said),
    );
    let ours = report.client.waited_for_a_core_s;
    warn(
        ours > 0.1 * report.load.duration_s,
        format!("the client waited {ours:.1} s for a core: latencies contain that; use more cores, or --pin"),
    );
    let waited = report.server.as_ref().map_or(0.0, |server| server.waited_for_a_core_s);
    warn(
        waited > 0.1 * report.load.duration_s,
        format!("the server waited {waited:.1} s for a core: others are busy on this machine"),
    );
    let growth = report.server.as_ref().and_then(|server| server.pss_bytes_per_connection);
    warn(
        growth.is_some_and(|bytes| bytes <= 0.0),
        "the server had room for these connections from before: start it anew to measure its memory".into(),
    );
    warn(report.interrupted, "interrupted: these are the results so far".into());
    warnings
}

fn each(amount: f64, count: u64, known: bool) -> Option<f64> {
    (known && count > 0).then(|| rounded(amount / count as f64))
}

/// To a thousandth: more digits would pretend.
fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_accepted_first_can_be_expected_first() {
        let publication =
            |sent_us, answered_us| Publication { planned_us: 0, sent_us, answered_us, accepted: true };
        let mut tally = Tally {
            publications: vec![publication(1, 5), publication(3, 9), publication(6, 7)],
            ..Tally::default()
        };
        // Message 1 was sent while 0 had no answer yet: whoever hears it first is not wrong.
        tally.overtaken(0, 1);
        assert_eq!(order(&tally), (0, 1));
        // Message 2 was sent when 0 had been accepted.
        tally.overtaken(0, 2);
        tally.overtaken(0, 2);
        assert_eq!(order(&tally), (2, 1));
        // Without an answer nobody knows.
        tally.publications[0].answered_us = 0;
        assert_eq!(order(&tally), (0, 3));
    }
}
