//! `encke bench`, against the real server and against one that does everything wrong on purpose.
//!
//! The load generator is judged like any measuring instrument: by things whose size is known. A server in the
//! test drops, repeats, swaps and delays what it is told to, and the figures must say so.
//!
//! Knows: the command, its JSON, sockets. Never learns what is inside.

#[path = "../common/mod.rs"]
mod common;
mod fake;

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Output, Stdio};

use common::{Scratch, Server, holds_within, until};
use fake::{Fake, Mischief};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The command with the arguments of a short run; later ones win.
fn command(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_encke"));
    command.args(["bench", url, "--settle", "200ms", "--json", "-"]).args(arguments);
    command
}

fn output(url: &str, arguments: &[&str]) -> Output {
    command(url, arguments).output().expect("the command can be started")
}

/// What a run that succeeds says.
fn measured(url: &str, arguments: &[&str]) -> Value {
    let output = output(url, arguments);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(output.status.code(), Some(0), "{}", brief(&report));
    report
}

/// A report without its curves and samples: what one wants to see when a number is wrong.
fn brief(report: &Value) -> String {
    let mut report = report.clone();
    prune(&mut report);
    format!("{report:#}")
}

fn prune(value: &mut Value) {
    if let Value::Object(map) = value {
        ["curve", "samples", "checks"].iter().for_each(|name| drop(map.remove(*name)));
        map.values_mut().for_each(prune);
    }
}

/// What it says when it does not measure.
fn complaint(url: &str, arguments: &[&str]) -> String {
    let output = output(url, arguments);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr).expect("sentences")
}

fn url(server: &Server) -> String {
    format!("http://{}", server.address())
}

fn number(report: &Value, path: &str) -> u64 {
    let found = report.pointer(path).and_then(Value::as_u64);
    found.unwrap_or_else(|| panic!("no number at {path} in {}", brief(report)))
}

/// Asserts that all of these numbers are what they should be, and shows everything if not.
fn expect(report: &Value, numbers: &[(&str, u64)]) {
    for (path, expected) in numbers {
        assert_eq!(number(report, path), *expected, "{path} in {}", brief(report));
    }
}

const EXACT: &[(&str, u64)] =
    &[("/deliveries/lost", 0), ("/deliveries/duplicated", 0), ("/deliveries/out_of_order", 0)];

// --- Against encke ------------------------------------------------------------------------------

#[test]
fn every_transport_of_encke_delivers_everything_once_and_in_order() {
    let server = Server::start();
    for transport in ["events", "ndjson", "iframe", "poll", "websocket", "chat"] {
        let report = measured(
            &url(&server),
            &[
                "--transport",
                transport,
                "--connections",
                "20",
                "--rate",
                "40",
                "--duration",
                "500ms",
                "--strict",
            ],
        );
        assert_eq!(report["target"]["transport"], transport);
        expect(&report, EXACT);
        expect(
            &report,
            &[
                ("/connections/listening", 20),
                ("/publications/accepted", 20),
                ("/deliveries/expected", 400),
                ("/deliveries/received", 400),
                ("/deliveries/latency_us/count", 400),
                ("/deliveries/sent_to_last_us/count", 20),
            ],
        );
        assert_eq!(report["errors"], serde_json::json!({}), "{transport}");
    }
}

#[test]
fn rooms_and_workers_share_the_subscribers() {
    let server = Server::start();
    let report = measured(
        &url(&server),
        &["--connections", "30", "--channels", "5", "--workers", "3", "--rate", "50", "--duration", "1s"],
    );
    expect(&report, EXACT);
    // 50 messages, each to one of five rooms of six.
    expect(&report, &[("/deliveries/received", 300), ("/client/workers", 4)]);
}

#[test]
fn who_comes_back_with_a_cursor_misses_nothing() {
    let server = Server::start();
    for transport in ["events", "ndjson", "websocket", "poll"] {
        let report = measured(
            &url(&server),
            &[
                "--transport",
                transport,
                "--connections",
                "20",
                "--rate",
                "50",
                "--duration",
                "1s",
                "--churn",
                "50/s",
                "--storm=2",
                "--strict",
            ],
        );
        expect(&report, EXACT);
        // An event stream tells its cursor at once. With the others, who leaves before the first message has none.
        let away = number(&report, "/deliveries/away");
        assert!(away == 0 || transport != "events" && away < 20, "{transport}: {}", brief(&report));
        expect(&report, &[("/deliveries/received", 1_000 - away)]);
        assert!(number(&report, "/connections/churned") > 10, "{}", brief(&report));
        for storm in ["/storms/0", "/storms/1"] {
            expect(&report, &[(&format!("{storm}/cut"), 20), (&format!("{storm}/back"), 20)]);
        }
    }
}

#[test]
fn slow_and_stalled_readers_are_counted_apart() {
    let server = Server::start();
    let report = measured(
        &url(&server),
        &[
            "--connections",
            "40",
            "--slow",
            "25%",
            "--slow-rate",
            "10KiB/s",
            "--stalled",
            "25%",
            "--rate",
            "40",
            "--duration",
            "500ms",
        ],
    );
    expect(&report, EXACT);
    let received = number(&report, "/deliveries/received");
    assert!((20..800).contains(&received) && received.is_multiple_of(20), "{}", brief(&report));
    assert!(number(&report, "/deliveries/slow_received") > 0, "{}", brief(&report));
}

#[test]
fn ticks_of_the_articles_clock_are_punctual_values() {
    let server = Server::start();
    let report = measured(
        &url(&server),
        &["--transport", "clock", "--connections", "10", "--duration", "3s", "--strict"],
    );
    expect(&report, &[("/ticks/missed", 0), ("/ticks/repeated", 0), ("/publications/planned", 0)]);
    assert!(number(&report, "/ticks/received") >= 30, "{}", brief(&report));
    assert!(number(&report, "/ticks/lateness_us/count") >= 20, "{}", brief(&report));
}

#[test]
fn a_watched_server_is_described() {
    let server = Server::start();
    let pid = server.pid().to_string();
    let report = measured(
        &url(&server),
        &["--connections", "50", "--rate", "100", "--duration", "1s", "--server-pid", &pid, "--pin", "0"],
    );
    expect(&report, &[("/deliveries/received", 5_000)]);
    let server = &report["server"];
    assert!(server["cpu_us_per_delivery"].as_f64() > Some(0.0), "{server:#}");
    assert!(server["pss_bytes_after"].as_u64() > Some(500_000), "{server:#}");
    assert!(report["samples"].as_array().is_some_and(|samples| samples.len() > 2));
}

// --- Against a server that is wrong on purpose --------------------------------------------------

/// Four subscribers of a server that does this, twenty messages.
fn with(mischief: Mischief, more: &[&str]) -> Value {
    let fake = Fake::start(mischief);
    let mut arguments = vec!["--connections", "4", "--rate", "40", "--duration", "500ms"];
    arguments.extend(FOREIGN);
    arguments.extend(more);
    measured(&fake.url(), &arguments)
}

/// How one asks a server that nobody knows.
const FOREIGN: &[&str] = &[
    "--subscribe",
    "/listen/{channel}/{n}",
    "--publish",
    "/say?to={channel}",
    "--method",
    "PUT",
    "--body",
    "{\"text\":\"{payload}\"}",
    "--header",
    "X-Room: {room}",
    "--publish-header",
    "Content-Type: application/json",
];

#[test]
fn a_server_that_nobody_knows_is_measured_by_templates() {
    let report = with(Mischief::None, &["--strict"]);
    expect(&report, EXACT);
    expect(&report, &[("/deliveries/received", 80), ("/publications/accepted", 20)]);
}

#[test]
fn what_is_dropped_is_lost() {
    // Messages 5, 10, 15, and 19, behind which nothing comes that would show it.
    expect(
        &with(Mischief::Drop(&[5, 10, 15, 19]), &[]),
        &[
            ("/deliveries/expected", 80),
            ("/deliveries/received", 64),
            ("/deliveries/lost", 16),
            ("/deliveries/duplicated", 0),
            ("/deliveries/out_of_order", 0),
        ],
    );
}

#[test]
fn a_cursor_that_comes_with_the_first_bytes_hides_no_loss() {
    let cursor = ["--cursor-after", "\\nid: ", "--resume-header", "Last-Event-ID: {cursor}"];
    expect(
        &with(Mischief::Drop(&[0, 10, 19]), &cursor),
        &[("/deliveries/received", 68), ("/deliveries/lost", 12), ("/deliveries/away", 0)],
    );
}

#[test]
fn what_comes_twice_is_a_duplicate() {
    expect(
        &with(Mischief::Repeat(&[0, 7]), &[]),
        &[("/deliveries/received", 80), ("/deliveries/lost", 0), ("/deliveries/duplicated", 8)],
    );
}

#[test]
fn what_is_swapped_is_out_of_order_and_not_lost() {
    expect(
        &with(Mischief::Swap(&[3, 12]), &[]),
        &[
            ("/deliveries/received", 80),
            ("/deliveries/lost", 0),
            ("/deliveries/duplicated", 0),
            ("/deliveries/out_of_order", 8),
        ],
    );
}

#[test]
fn what_the_server_refused_is_not_lost() {
    let report = with(Mischief::Refuse(&[2, 4]), &[]);
    expect(&report, EXACT);
    expect(
        &report,
        &[("/publications/accepted", 18), ("/deliveries/expected", 72), ("/deliveries/received", 72)],
    );
    assert_eq!(report["errors"]["publish: status 503"], 2);
}

#[test]
fn strict_turns_a_loss_into_an_exit_code() {
    let fake = Fake::start(Mischief::Drop(&[1]));
    let mut arguments = vec!["--connections", "2", "--rate", "20", "--duration", "500ms", "--strict"];
    arguments.extend(FOREIGN);
    assert_eq!(output(&fake.url(), &arguments).status.code(), Some(1));
}

#[test]
fn chunks_that_cut_messages_hide_nothing() {
    let report = with(Mischief::Chunks(7), &["--strict"]);
    expect(&report, EXACT);
    expect(&report, &[("/deliveries/received", 80)]);
}

#[test]
fn who_leaves_without_a_cursor_was_away_and_lost_nothing() {
    let report = with(Mischief::None, &["--churn", "20/s", "--storm"]);
    expect(&report, &[("/deliveries/lost", 0), ("/deliveries/duplicated", 0), ("/storms/0/back", 4)]);
    let seen = number(&report, "/deliveries/received") + number(&report, "/deliveries/away");
    assert_eq!(seen, 80, "{}", brief(&report));
}

#[test]
fn a_server_that_stalls_is_charged_for_everybody_who_was_due_meanwhile() {
    // A hundred messages a second; the server does nothing for the 400 ms after message 20.
    let fake = Fake::start(Mischief::Stall { after: 20, ms: 400 });
    let mut arguments = vec!["--connections", "2", "--rate", "100", "--duration", "1s", "--publishers", "1"];
    arguments.extend(FOREIGN);
    let report = measured(&fake.url(), &arguments);
    expect(&report, &[("/deliveries/received", 200), ("/deliveries/lost", 0)]);
    let share_above = |summary: &Value, us: u64| {
        let curve = summary["curve"].as_array().expect("a curve");
        let below = curve.iter().filter(|point| point[1].as_u64() < Some(us));
        1.0 - below.filter_map(|point| point[0].as_f64()).fold(0.0, f64::max)
    };
    // Some forty messages were due meanwhile, thirty of them more than 100 ms before it was over. A
    // generator that waits for answers would have sent one of them.
    let late = share_above(&report["deliveries"]["latency_us"], 100_000);
    assert!(late >= 0.2, "{late}: {}", brief(&report));
    // And the publisher, over its one connection, did not wait.
    assert_eq!(number(&report, "/publications/sent"), 100);
}

#[test]
fn a_server_that_hangs_up_is_counted_and_come_back_to() {
    let report = with(Mischief::HangUp { after: 5 }, &["--duration", "2s", "--rate", "10"]);
    assert!(number(&report, "/connections/disconnects") >= 4, "{}", brief(&report));
    assert!(report["errors"]["the server closed the connection"].as_u64() >= Some(4), "{}", brief(&report));
    assert!(number(&report, "/connections/reconnects") >= 4, "{}", brief(&report));
}

// --- What it says -------------------------------------------------------------------------------

#[test]
fn every_field_of_the_json_is_in_the_documents() {
    let server = Server::start();
    let pid = server.pid().to_string();
    let report = measured(
        &url(&server),
        &[
            "--connections",
            "5",
            "--duration",
            "300ms",
            "--server-pid",
            &pid,
            "--storm",
            "--transport",
            "events",
        ],
    );
    let clock = measured(&url(&server), &["--transport", "clock", "--connections", "2", "--duration", "1s"]);
    let mut fields = BTreeSet::new();
    collect(&report, "", &mut fields);
    collect(&clock["ticks"], "ticks", &mut fields);
    let page = fs::read_to_string("docs/bench.md").expect("the page is there");
    let missing: Vec<&String> = fields.iter().filter(|field| !page.contains(&format!("`{field}`"))).collect();
    assert!(missing.is_empty(), "docs/bench.md does not name {missing:?}");
}

/// The paths of all fields; a distribution and a list of kinds are explained once.
fn collect(value: &Value, path: &str, fields: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) if map.contains_key("curve") => drop(fields.insert(path.to_owned())),
        Value::Object(map) if path != "errors" => {
            for (name, value) in map {
                let joint = if path.is_empty() { "" } else { "." };
                collect(value, &format!("{path}{joint}{name}"), fields);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            collect(&items[0], &format!("{path}[]"), fields)
        }
        _ => drop(fields.insert(path.to_owned())),
    }
}

#[test]
fn every_flag_is_in_the_documents() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_encke")).args(["bench", "--help"]).output().expect("it starts");
    let help = String::from_utf8(output.stdout).expect("text");
    let page = fs::read_to_string("docs/bench.md").expect("the page is there");
    let words = help.split(|c: char| !(c.is_ascii_lowercase() || c == '-'));
    let flags: BTreeSet<&str> = words.filter(|word| word.starts_with("--")).collect();
    assert!(flags.len() > 30, "{flags:?}");
    let missing: Vec<&&str> = flags.iter().filter(|flag| !page.contains(&format!("`{flag}"))).collect();
    assert!(missing.is_empty(), "docs/bench.md does not explain {missing:?}");
}

#[test]
fn the_page_is_one_file_that_needs_no_other() {
    let (server, scratch) = (Server::start(), Scratch::new());
    let (page, json) = (scratch.path().join("report.html"), scratch.path().join("report.json"));
    let [page_flag, json_flag] = [&page, &json].map(|path| path.to_str().expect("a plain path").to_owned());
    let output = Command::new(env!("CARGO_BIN_EXE_encke"))
        .args(["bench", &url(&server), "--connections", "10", "--duration", "1s"])
        .args(["--server-pid", &server.pid().to_string(), "--html", &page_flag, "--json", &json_flag])
        .output()
        .expect("the command can be started");
    let table = String::from_utf8(output.stdout).expect("a table");
    assert!(table.contains("100 of 100 expected") && table.contains("planned to received"), "{table}");
    let html = fs::read_to_string(page).expect("it was written");
    for part in ["<svg", "Latency of messages", "Memory over connections", "Deliveries over time"] {
        assert!(html.contains(part), "{part} is missing");
    }
    for link in ["<script", "<link", "src=", "@import", "url("] {
        assert!(!html.contains(link), "{link} leads out of the page");
    }
    let report: Value =
        serde_json::from_str(&fs::read_to_string(json).expect("it was written")).expect("JSON");
    expect(&report, &[("/schema", 1), ("/deliveries/received", 100)]);
}

#[test]
fn checks_say_what_was_found_and_what_to_do() {
    let nowhere = "http://127.0.0.1:9";
    let checks = output(nowhere, &["--check-only", "--connections", "10"]);
    let text = String::from_utf8(checks.stdout).expect("text");
    assert_eq!(checks.status.code(), Some(0), "{text}");
    for name in ["descriptors", "somaxconn", "ports", "tcp_mem", "cores"] {
        assert!(text.contains(&format!(" {name}: ")), "{text}");
    }
    let ports =
        output(nowhere, &["--check-only", "--connections", "70000", "--sources", "1", "--workers", "200"]);
    let text = String::from_utf8(ports.stdout).expect("text");
    assert_eq!(ports.status.code(), Some(2), "{text}");
    assert!(text.contains("fatal    ports: ") && text.contains("--sources "), "{text}");
    let storm = output(nowhere, &["--check-only", "--connections", "100000", "--workers", "20", "--storm"]);
    let text = String::from_utf8(storm.stdout).expect("text");
    assert!(text.contains(" 100000 may wait to be accepted"), "{text}");
    let few = Command::new("sh")
        .args(["-c", "ulimit -n 64; exec \"$0\" bench --check-only --connections 1000 --workers 2"])
        .arg(env!("CARGO_BIN_EXE_encke"))
        .output()
        .expect("a shell");
    let text = String::from_utf8(few.stdout).expect("text");
    assert_eq!(few.status.code(), Some(2), "{text}");
    assert!(text.contains("fatal    descriptors: ") && text.contains("ulimit -Hn 532"), "{text}");
}

#[test]
fn wrong_use_is_told_the_right_one() {
    let here = "http://127.0.0.1:9";
    let cases: &[(&str, &[&str], &str)] = &[
        ("http://192.0.2.1:80", &[], "needs --remote"),
        ("https://127.0.0.1/", &[], "expected http://HOST:PORT"),
        (here, &[], "nobody answers at 127.0.0.1:9"),
        (here, &["--subscribe", "/s/{chanel}", "--publish", "/p"], "{chanel}"),
        (here, &["--subscribe", "/s"], "add --publish"),
        (here, &["--publish", "/p", "--body", "x"], "{payload}"),
        (here, &["--payload", "10"], "expected at least 36"),
        (here, &["--connections", "0"], "expected 1 to"),
        (here, &["--channels", "2000"], "--channels is 2000"),
        (here, &["--rate", "1e6", "--duration", "1h"], "expected at most 4000000"),
        (here, &["--rate", "fast"], "write 2000/s"),
        (here, &["--slow", "60%", "--stalled", "60%"], "more than all"),
        (here, &["--header", "no colon"], "not a header field"),
        (here, &["--preset", "nchan", "--transport", "ndjson"], "the preset nchan has no transport ndjson"),
        (here, &["--subscribe", "/s", "--publish", "/p", "--cursor-after", "id: "], "add --resume"),
        (here, &["--subscribe", "/s", "--publish", "/p", "--resume", "/s?c={cursor}"], "add --cursor-after"),
        (here, &["--server-pid", "4194305"], "there is no process 4194305"),
    ];
    for (url, arguments, expected) in cases {
        let said = complaint(url, arguments);
        assert!(said.contains(expected), "{arguments:?}: expected {expected:?} in {said:?}");
    }
}

#[test]
fn a_server_with_nothing_at_that_place_is_no_measurement() {
    let server = Server::start();
    let said = complaint(&url(&server), &["--preset", "nchan", "--connections", "3", "--patience", "1s"]);
    assert!(said.contains("nobody got through") && said.contains("status 404 (3 times)"), "{said}");
}

// --- Its end ------------------------------------------------------------------------------------

/// A run that would take a minute.
fn long_run(server: &Server) -> Child {
    let child = command(&url(server), &["--connections", "10", "--duration", "1m", "--workers", "2"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command can be started");
    until("everybody listens", || server.descriptors() > 18);
    child
}

#[test]
fn ctrl_c_ends_it_with_the_results_so_far() {
    let server = Server::start();
    let child = long_run(&server);
    until("something was published", || stats(&server, "messages") > 5);
    signal(child.id(), Signal::INT);
    let output = child.wait_with_output().expect("it is ours");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["interrupted"], true);
    expect(&report, EXACT);
    assert!(number(&report, "/deliveries/received") > 0, "{}", brief(&report));
}

#[test]
fn workers_die_with_their_parent() {
    let server = Server::start();
    let mut child = long_run(&server);
    signal(child.id(), Signal::KILL);
    child.wait().expect("it is ours");
    // Were a worker left, so would be its connections.
    assert!(holds_within(common::PATIENCE, || server.descriptors() < 12), "{}", server.descriptors());
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).expect("a child has an id"), signal).expect("it lives");
}

fn stats(server: &Server, name: &str) -> u64 {
    let answer = common::Client::connect(server).get("/stats");
    let stats: Value = serde_json::from_slice(&answer.body).expect("JSON");
    stats[name].as_u64().unwrap_or_else(|| panic!("no {name} in {stats}"))
}
