//! The report as a table, for a terminal.
//!
//! Knows: words and columns. Never learns where they are shown.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use super::{Report, Summary, channels};

/// The whole report, as lines.
pub(in super::super) fn render(report: &Report) -> String {
    let mut out = format!(
        "{} {} over {}, {} subscribers in {}\n",
        report.target.preset,
        report.target.address,
        report.target.transport,
        report.connections.listening,
        channels(report.load.channels)
    );
    out.push_str(&format!("{}\n", facts(report)));
    out.push_str(&format!("{}\n", times(report)));
    for warning in &report.warnings {
        out.push_str(&format!("warning: {warning}\n"));
    }
    for (kind, count) in &report.errors {
        out.push_str(&format!("error: {kind}, {count} times\n"));
    }
    out
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table
}

/// Pairs of a name and what was found.
pub(super) fn rows(report: &Report) -> Vec<(&'static str, String)> {
    let connections = &report.connections;
    let mut rows = vec![(
        "connections",
        format!(
            "{} listening after {:.1} s; {} disconnects, {} by churn",
            connections.listening, connections.ramp_s, connections.disconnects, connections.churned
        ),
    )];
    delivery_rows(report, &mut rows);
    clock_and_storm_rows(report, &mut rows);
    server_rows(report, &mut rows);
    let shares: Vec<String> =
        report.client.cpu_shares.iter().map(|share| format!("{:.0} %", share * 100.0)).collect();
    let longest = report.client.longest_turn_us as f64 / 1e3;
    let waited = report.client.waited_for_a_core_s;
    let shares = shares.join(", ");
    rows.push((
        "client",
        format!("{shares} of a core, waited {waited:.1} s for one; longest turn {longest:.1} ms"),
    ));
    rows
}

fn delivery_rows(report: &Report, rows: &mut Vec<(&'static str, String)>) {
    let (deliveries, said) = (&report.deliveries, &report.publications);
    if said.planned > 0 {
        rows.push((
            "published",
            format!(
                "{} of {}, {} accepted, {} unanswered",
                said.said, said.planned, said.accepted, said.unanswered
            ),
        ));
        rows.push((
            "deliveries",
            format!(
                "{} of {} expected, {:.0} a second",
                deliveries.received, deliveries.expected, deliveries.per_s
            ),
        ));
        rows.push((
            "in order",
            format!(
                "{} lost, {} duplicated, {} out of order, {} gaps announced",
                deliveries.lost, deliveries.duplicated, deliveries.out_of_order, deliveries.gaps
            ),
        ));
    }
    if deliveries.overtaken > 0 {
        let overtaken = format!("{} by messages that were under way at the same time", deliveries.overtaken);
        rows.push(("overtaken", overtaken));
    }
    if deliveries.away > 0 {
        rows.push(("while away", format!("{} that nobody could expect, without a cursor", deliveries.away)));
    }
    if deliveries.slow_received > 0 {
        rows.push((
            "slow and stalled",
            format!("{} deliveries, not counted above", deliveries.slow_received),
        ));
    }
}

fn clock_and_storm_rows(report: &Report, rows: &mut Vec<(&'static str, String)>) {
    if let Some(ticks) = &report.ticks {
        rows.push((
            "ticks",
            format!("{}; {} missed, {} repeated", ticks.received, ticks.missed, ticks.repeated),
        ));
        rows.push((
            "drift",
            format!("{:.1} us/s, {:.1} at most", ticks.drift_us_per_s, ticks.drift_us_per_s_max),
        ));
    }
    for storm in &report.storms {
        let cpu =
            storm.server_cpu_us_each.map_or(String::new(), |us| format!("; server CPU {us:.1} us each"));
        rows.push(("storm", format!("{} of {} back in {:.3} s{cpu}", storm.back, storm.cut, storm.seconds)));
    }
}

fn server_rows(report: &Report, rows: &mut Vec<(&'static str, String)>) {
    let Some(server) = &report.server else { return };
    let per = |amount: Option<f64>, unit: &str| {
        amount.map_or("-".to_owned(), |amount| {
            if unit == "bytes" { format!("{amount:.0} B") } else { format!("{amount:.2} {unit}") }
        })
    };
    rows.push((
        "server CPU",
        format!(
            "{:.2} s user, {:.2} s system ({:.0} % of a core); {}",
            server.cpu_user_s,
            server.cpu_system_s,
            server.cpu_share * 100.0,
            per(server.cpu_us_per_delivery, "us a delivery")
        ),
    ));
    rows.push((
        "context switches",
        format!("{} voluntary, {} involuntary", server.voluntary_switches, server.involuntary_switches),
    ));
    rows.push((
        "idle",
        format!(
            "{:.1} wake-ups a second, {:.1} % of a core",
            server.idle_wakeups_per_s,
            server.idle_cpu_share * 100.0
        ),
    ));
    let ends = if report.kernel.both_ends { ", both ends" } else { "" };
    rows.push((
        "memory each",
        format!(
            "{} PSS; kernel: sockets {}, all slab {}, unread {}{ends}",
            per(server.pss_bytes_per_connection, "bytes"),
            per(report.kernel.socket_bytes_per_connection, "bytes"),
            per(report.kernel.slab_bytes_per_connection, "bytes"),
            per(report.kernel.tcp_bytes_per_connection, "bytes")
        ),
    ));
}

fn facts(report: &Report) -> Table {
    let mut table = table();
    for (name, value) in rows(report) {
        table.add_row([name.to_owned(), value]);
    }
    table
}

/// All distributions that have anything in them.
pub(super) fn distributions(report: &Report) -> Vec<(&'static str, &Summary)> {
    let mut all = vec![
        ("connect", &report.connections.connect_us),
        ("first frame", &report.connections.first_frame_us),
        ("planned to received", &report.deliveries.latency_us),
        ("planned to sent", &report.publications.planned_to_sent_us),
        ("planned to answered", &report.publications.planned_to_answered_us),
        ("sent to first receiver", &report.deliveries.sent_to_first_us),
        ("sent to last receiver", &report.deliveries.sent_to_last_us),
    ];
    if let Some(ticks) = &report.ticks {
        all.extend([("tick lateness", &ticks.lateness_us), ("tick jitter", &ticks.jitter_us)]);
    }
    all.extend(report.storms.iter().map(|storm| ("storm to first frame", &storm.back_us)));
    all.retain(|(_, summary)| summary.count > 0);
    all
}

fn times(report: &Report) -> Table {
    let mut table = table();
    table.set_header(["ms", "p50", "p90", "p99", "p99.9", "max", "count"]);
    for (name, summary) in distributions(report) {
        let Summary { p50, p90, p99, p999, max, count, .. } = *summary;
        let mut row = vec![name.to_owned()];
        row.extend([p50, p90, p99, p999, max].map(|us| format!("{:.3}", us as f64 / 1e3)));
        row.push(count.to_string());
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
