//! The report as a page: one file that can be sent to somebody.
//!
//! Knows: HTML, what is worth a picture. Never learns how anything was measured.

use crate::wire::text;

use super::super::checks::Verdict;
use super::charts::{Axes, Curve, chart};
use super::table::{distributions, rows};
use super::{Report, Summary, channels};

/// A chart's curve ends where so many values are left: beyond that it is one value's history.
const VALUES_LEFT: f64 = 1.0;

/// The whole page.
pub(in super::super) fn render(report: &Report) -> String {
    let mut page = Page::default();
    page.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
    page.text(&format!("{} over {}", report.target.preset, report.target.transport));
    page.raw("</title>\n<style>\n").raw(include_str!("page.css")).raw("</style>\n</head>\n<body>\n");
    head(report, &mut page);
    cards(report, &mut page);
    for warning in &report.warnings {
        page.raw("<p class=\"warning\">").text(warning).raw("</p>\n");
    }
    page.raw("<main>\n");
    charts(report, &mut page);
    tables(report, &mut page);
    page.raw("</main>\n<footer><code>").text(&report.command.join(" ")).raw("</code></footer>\n");
    page.raw("</body>\n</html>\n");
    page.html
}

#[derive(Default)]
struct Page {
    html: String,
}

impl Page {
    fn raw(&mut self, html: &str) -> &mut Self {
        self.html.push_str(html);
        self
    }

    /// What came from outside is text, whatever is in it.
    fn text(&mut self, plain: &str) -> &mut Self {
        let mut escaped = Vec::new();
        text::html(plain, &mut escaped);
        self.html.push_str(&String::from_utf8_lossy(&escaped));
        self
    }

    fn cell(&mut self, tag: &str, plain: &str) -> &mut Self {
        self.raw(&format!("<{tag}>")).text(plain).raw(&format!("</{}>", &tag[..2]))
    }

    fn figure(&mut self, title: &str, note: &str, svg: Option<String>) {
        if let Some(svg) = svg {
            self.raw("<figure>\n<figcaption><h2>")
                .text(title)
                .raw("</h2><p>")
                .text(note)
                .raw("</p></figcaption>\n");
            // Without a view box a picture cannot be scaled.
            self.raw(&svg.replacen("<svg ", "<svg preserveAspectRatio=\"xMidYMid meet\" ", 1))
                .raw("</figure>\n");
        }
    }
}

fn head(report: &Report, page: &mut Page) {
    let load = &report.load;
    page.raw("<header>\n<h1>");
    page.text(&format!("{} subscribers, {}", grouped(report.connections.listening), report.target.transport));
    page.raw("</h1>\n<p>");
    page.text(&format!(
        "{} at {}; {} messages a second to {} for {} s, {} bytes each",
        report.target.preset,
        report.target.address,
        load.rate_per_s,
        channels(load.channels),
        load.duration_s,
        load.payload_bytes
    ));
    page.raw("</p>\n<p>");
    page.text(&format!(
        "{}, {} cores, Linux {}, {}",
        report.date, report.machine.cores, report.machine.kernel, report.tool
    ));
    page.raw("</p>\n</header>\n");
}

/// The few numbers that one came for.
fn cards(report: &Report, page: &mut Page) {
    let deliveries = &report.deliveries;
    page.raw("<section class=\"cards\">\n");
    let mut card = |name: &str, value: String, note: String| {
        page.raw("<div class=\"card\"><span>").text(name).raw("</span><strong>").text(&value);
        page.raw("</strong><span>").text(&note).raw("</span></div>\n");
    };
    if deliveries.expected > 0 {
        let share = deliveries.received as f64 * 100.0 / deliveries.expected as f64;
        let note = format!(
            "{} lost, {} duplicated, {} out of order",
            deliveries.lost, deliveries.duplicated, deliveries.out_of_order
        );
        card("delivered", format!("{share:.2} %"), note);
        let latency = &deliveries.latency_us;
        let note = format!("p99 {}, longest {}", time(latency.p99), time(latency.max));
        card("median latency", time(latency.p50), note);
    }
    if let Some(ticks) = &report.ticks {
        let note = format!("p99.9 {}, drift {} us/s", time(ticks.lateness_us.p999), ticks.drift_us_per_s);
        card("median tick lateness", time(ticks.lateness_us.p50), note);
    }
    if let Some(server) = &report.server {
        if let Some(us) = server.cpu_us_per_delivery {
            let note = format!("{:.0} % of a core", server.cpu_share * 100.0);
            card("server CPU a delivery", format!("{us:.2} us"), note);
        }
        if let Some(bytes) = server.pss_bytes_per_connection {
            let kernel = &report.kernel;
            let slab = kernel.socket_bytes_per_connection.or(kernel.slab_bytes_per_connection).unwrap_or(0.0);
            let ends = if report.kernel.both_ends { ", both ends" } else { "" };
            card(
                "memory a connection",
                format!("{bytes:.0} B"),
                format!("and {slab:.0} B in the kernel{ends}"),
            );
        }
    }
    for storm in &report.storms {
        card("storm", format!("{:.2} s", storm.seconds), format!("{} of {} back", storm.back, storm.cut));
    }
    page.raw("</section>\n");
}

fn charts(report: &Report, page: &mut Page) {
    let latency =
        Axes { x: "share of all", y: "milliseconds", x_label: nines, y_label: short, logarithmic: true };
    let pick = |wanted: &[&str]| -> Vec<Curve> {
        let all = distributions(report).into_iter().filter(|(name, _)| wanted.contains(name));
        all.map(|(name, summary)| Curve { name, points: curve(summary), filled: false }).collect()
    };
    let messages =
        pick(&["planned to received", "planned to sent", "sent to first receiver", "sent to last receiver"]);
    page.figure(
        "Latency of messages",
        "Counted from when a message was due, so a server that stalls is charged for all who were due meanwhile.",
        chart(&latency, &messages),
    );
    let ticks = pick(&["tick lateness", "tick jitter"]);
    page.figure("Lateness of ticks", "Against each connection's own earliest tick.", chart(&latency, &ticks));
    page.figure(
        "Deliveries over time",
        "A second, as the subscribers saw them.",
        deliveries_over_time(report),
    );
    page.figure(
        "Memory over connections",
        "The server's proportional set size while connections came in.",
        memory_over_connections(report),
    );
    page.figure("The server's processor over time", "Share of one core.", processor_over_time(report));
    let connects = pick(&["connect", "first frame", "storm to first frame"]);
    page.figure("Connecting", "From the planned moment of each connection.", chart(&latency, &connects));
}

fn deliveries_over_time(report: &Report) -> Option<String> {
    let axes = Axes { x: "seconds", y: "a second", x_label: short, y_label: thousands, logarithmic: false };
    let is_clock = report.ticks.is_some();
    let rate = |pair: &[super::SampleReport]| {
        let amount = |sample: &super::SampleReport| if is_clock { sample.ticks } else { sample.received };
        let dt = pair[1].t_s - pair[0].t_s;
        (dt > 0.0).then(|| (pair[1].t_s, amount(&pair[1]).saturating_sub(amount(&pair[0])) as f64 / dt))
    };
    let points = report.samples.windows(2).filter_map(rate).collect();
    chart(&axes, &[Curve { name: if is_clock { "ticks" } else { "deliveries" }, points, filled: true }])
}

fn memory_over_connections(report: &Report) -> Option<String> {
    let axes = Axes { x: "connections", y: "MiB", x_label: thousands, y_label: short, logarithmic: false };
    let server = report.server.as_ref()?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let measured = report
        .samples
        .iter()
        .filter_map(|sample| Some((sample.listening as f64, mib(sample.server_pss_bytes?))));
    let first = (0.0, mib(server.pss_bytes_before));
    let last = (report.connections.listening as f64, mib(server.pss_bytes_after));
    let points = std::iter::once(first).chain(measured).chain([last]).collect();
    chart(&axes, &[Curve { name: "memory", points, filled: true }])
}

fn processor_over_time(report: &Report) -> Option<String> {
    let axes = Axes { x: "seconds", y: "per cent", x_label: short, y_label: short, logarithmic: false };
    let share = |pair: &[super::SampleReport]| {
        let (before, after) = (pair[0].server_cpu_s?, pair[1].server_cpu_s?);
        let dt = pair[1].t_s - pair[0].t_s;
        (dt > 0.0).then(|| (pair[1].t_s, (after - before) * 100.0 / dt))
    };
    let points = report.samples.windows(2).filter_map(share).collect();
    chart(&axes, &[Curve { name: "processor", points, filled: true }])
}

fn tables(report: &Report, page: &mut Page) {
    page.raw("<section>\n<h2>In numbers</h2>\n<table>\n");
    for (name, value) in rows(report) {
        page.raw("<tr>").cell("th", name).cell("td", &value).raw("</tr>\n");
    }
    page.raw("</table>\n</section>\n<section>\n<h2>Times</h2>\n<table class=\"numbers\">\n<tr>");
    for name in ["", "p50", "p90", "p99", "p99.9", "max", "count"] {
        page.cell("th", name);
    }
    page.raw("</tr>\n");
    for (name, summary) in distributions(report) {
        let Summary { p50, p90, p99, p999, max, count, .. } = *summary;
        page.raw("<tr>").cell("th", name);
        for us in [p50, p90, p99, p999, max] {
            page.cell("td", &time(us));
        }
        page.cell("td", &grouped(count)).raw("</tr>\n");
    }
    page.raw("</table>\n</section>\n");
    if !report.errors.is_empty() {
        page.raw("<section>\n<h2>Errors</h2>\n<table>\n");
        for (kind, count) in &report.errors {
            page.raw("<tr>").cell("th", kind).cell("td", &grouped(*count)).raw("</tr>\n");
        }
        page.raw("</table>\n</section>\n");
    }
    page.raw("<section>\n<h2>This machine</h2>\n<table>\n");
    for check in &report.checks {
        let class = if check.verdict == Verdict::Fine { "" } else { " class=\"warned\"" };
        page.raw(&format!("<tr{class}>")).cell("th", check.name);
        page.cell("td", &check.found).cell("td", &check.advice).raw("</tr>\n");
    }
    page.raw("</table>\n</section>\n");
}

/// A distribution as points: nines of the share, milliseconds.
fn curve(summary: &Summary) -> Vec<(f64, f64)> {
    let most = (summary.count as f64 / VALUES_LEFT).log10();
    let point = |&(share, us): &(f64, u64)| ((-(1.0 - share).log10()).min(most), us.max(1) as f64 / 1e3);
    let mut points: Vec<(f64, f64)> = summary.curve.iter().map(point).collect();
    points.dedup_by(|later, earlier| later.0 <= earlier.0 && later.1 <= earlier.1);
    points
}

/// `2` is 99 %.
fn nines(x: f64) -> String {
    let percent = 100.0 * (1.0 - 10_f64.powf(-x));
    let digits = (x - 2.0).ceil().max(0.0) as usize;
    format!("{percent:.digits$} %")
}

/// Microseconds as a person says them.
fn time(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{} ms", short(us as f64 / 1e3)),
        _ => format!("{} s", short(us as f64 / 1e6)),
    }
}

/// Three digits or so.
fn short(number: f64) -> String {
    let digits = if number >= 100.0 { 0.0 } else { 2.0 - number.max(0.001).log10().floor() };
    let text = format!("{number:.*}", digits.clamp(0.0, 5.0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn thousands(number: f64) -> String {
    if number >= 1e6 { format!("{} M", short(number / 1e6)) } else { grouped(number.round() as u64) }
}

/// `16,000`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(
            (grouped(0), grouped(999), grouped(1_600_000)),
            ("0".into(), "999".into(), "1,600,000".into())
        );
        assert_eq!((nines(0.0), nines(1.0), nines(3.0)), ("0 %".into(), "90 %".into(), "99.9 %".into()));
        assert_eq!(
            (time(999), time(1_500), time(2_500_000)),
            ("999 us".into(), "1.5 ms".into(), "2.5 s".into())
        );
        assert_eq!(
            (short(0.0), short(0.1), short(2.5), short(1_000.0)),
            ("0".into(), "0.1".into(), "2.5".into(), "1000".into())
        );
    }

    #[test]
    fn what_came_from_outside_is_text() {
        let mut page = Page::default();
        page.cell("td", "<script>");
        assert_eq!(page.html, "<td>&lt;script&gt;</td>");
    }
}
