//! Clients that nobody here wrote: `curl`, and Python's `requests`, `sseclient` and `websockets`.
//!
//! A server and a test that were written together may share a misunderstanding. These were
//! written by others, for other servers. `make tools` installs them.
#![cfg(feature = "shell")]

mod common;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use common::{Client, Server};

fn curl(server: &Server, target: &str, args: &[&str]) -> Output {
    Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20"])
        .args(args)
        .arg(format!("http://{}{target}", server.address()))
        .output()
        .expect("curl is missing; run the tests by `make test`, which installs it")
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// Python with the packages of tests/clients/requirements.txt, in the target directory.
fn python() -> PathBuf {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().expect("it has a parent").to_owned();
    let path = target.join("clients/bin/python");
    assert!(
        path.exists(),
        "{} is missing; run the tests by `make test`, which installs the clients they drive",
        path.display()
    );
    path
}

#[test]
fn curl_publishes_and_polls_and_is_told_what_was_wrong() {
    let server = Server::start();
    let said = text(&curl(&server, "/channels/a?event=note", &["--data-binary", "from curl"]));
    assert!(said.starts_with("{\"id\":"), "{said}");
    let heard = text(&curl(&server, "/channels/a?since=oldest", &[]));
    assert!(heard.contains(r#""channel":"a","event":"note","data":"from curl""#), "{heard}");
    let refused = text(&curl(&server, "/channels/a?since=what", &["--write-out", " %{http_code}"]));
    assert!(refused.contains("\"detail\"") && refused.ends_with(" 400"), "{refused}");
}

#[test]
fn curl_follows_a_stream_as_it_comes() {
    let server = Server::start();
    let mut child = Command::new("curl")
        .args(["--silent", "--no-buffer", "--max-time", "20"])
        .arg(format!("http://{}/channels/a?as=ndjson&since=oldest", server.address()))
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl is missing; run the tests by `make test`, which installs it");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    for n in 0..10 {
        assert_eq!(Client::connect(&server).post("/channels/a", n.to_string()).status(), 201);
        let line = lines.next().expect("a line").expect("UTF-8");
        assert!(line.ends_with(&format!("\"data\":\"{n}\"}}")), "{line}");
    }
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
}

#[test]
fn python_clients_subscribe_publish_and_resume() {
    let server = Server::start();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/talk.py");
    let output = Command::new(python()).arg(script).arg(server.address().to_string()).output();
    let output = output.expect("the interpreter was found");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
