//! The comparison with other servers runs, small, with those of them that need nothing installed.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::Scratch;
use serde_json::Value;

fn compare(arguments: &[&str]) -> (Option<i32>, String, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("python3")
        .arg(root.join("benches/compare/run"))
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python3 is among the tools of the tests");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn encke_and_the_floor_are_measured_in_turn_and_nothing_is_lost() {
    let scratch = Scratch::new();
    let out = scratch.path().to_str().expect("a plain path");
    let (code, table, errors) = compare(&[
        "--peers",
        "floor,encke",
        "--connections",
        "20",
        "--rounds",
        "2",
        "--duration",
        "1",
        "--settle",
        "0",
        // All on one core: some machines have no other, and nothing is concluded from the times.
        "--client-core",
        "0",
        "--encke",
        env!("CARGO_BIN_EXE_encke"),
        "--out",
        out,
    ]);
    assert_eq!(code, Some(0), "{errors}");
    for peer in ["floor", "encke"] {
        let row = table.lines().find(|line| line.starts_with(&format!("| {peer} | 20 |")));
        let row = row.unwrap_or_else(|| panic!("no row for 20 connections to {peer} in\n{table}"));
        assert!(row.ends_with("| 0, 0 |"), "nothing lost, nothing twice: {row}");
    }
    let results = fs::read_to_string(scratch.path().join("results.json")).expect("it was written");
    let results: Value = serde_json::from_str(&results).expect("JSON");
    let order: Vec<&str> =
        results["rounds"].as_array().expect("a list").iter().filter_map(|run| run["peer"].as_str()).collect();
    assert_eq!(order, ["floor", "encke", "floor", "encke"]);
}

#[test]
fn an_unknown_peer_is_told_the_known_ones() {
    let (code, _, complaint) = compare(&["--peers", "carrier-pigeon"]);
    assert_eq!(code, Some(2));
    assert!(
        complaint.contains("no peer is called 'carrier-pigeon'; there are floor, encke, nchan"),
        "{complaint}"
    );
}
