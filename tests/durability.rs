//! Durability: what was answered 201 is there after a crash, and what is gone is said to be gone.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use common::{Asked, Client, Dice, Scratch, Server, Setup, WebSocket, until};
use rustix::process::Signal;
use serde_json::Value;

fn start(scratch: &Scratch) -> Server {
    Setup::default().data(&scratch.path().join("data")).start()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", common::readable(bytes)))
}

/// Publishes. Returns the id.
fn say(server: &Server, channel: &str, text: &str) -> u64 {
    let answer = Client::connect(server).post(&format!("/channels/{channel}"), text);
    assert_eq!(answer.status(), 201, "{}", answer.text());
    json(&answer.body)["id"].as_u64().expect("an id")
}

/// What a poll is told at once.
fn poll(server: &Server, query: &str) -> Value {
    let answer = Client::connect(server).get(&format!("/channels/{query}"));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    json(&answer.body)
}

fn texts(polled: &Value) -> Vec<&str> {
    let messages = polled["messages"].as_array().expect("messages").iter();
    messages.map(|message| message["data"].as_str().expect("a text")).collect()
}

fn stat(server: &Server, name: &str) -> u64 {
    json(&Client::connect(server).get("/stats").body)[name].as_u64().expect("a number")
}

/// Publishes one text after the other until the server is gone. Returns what was answered 201.
fn publish_to_the_end(address: SocketAddr, name: &str) -> Vec<(u64, String)> {
    let (mut client, mut said) = (Client::to(address), Vec::new());
    for number in 0.. {
        let text = format!("{name}/{number}");
        let length = text.len();
        let request =
            format!("POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{text}");
        let sent = client.try_send(request.as_bytes());
        let answer = sent.ok().and_then(|()| client.try_answer(Asked::by(request.as_bytes())).ok());
        let Some(answer) = answer else { break };
        assert_eq!(answer.status(), 201, "{}", answer.text());
        said.push((json(&answer.body)["id"].as_u64().expect("an id"), text));
    }
    said
}

#[test]
fn everything_that_was_answered_201_is_there_after_a_kill() {
    let scratch = Scratch::new();
    let setup = || Setup::default().data(&scratch.path().join("data"));
    let roomy =
        || setup().limit("history-messages-max", "1_000_000").limit("history-bytes-max", "\"64MiB\"").start();
    let mut all: BTreeMap<u64, String> = BTreeMap::new();
    for round in 0..3 {
        let server = roomy();
        let address = server.address();
        let goal = 40 + Dice(round).below(60) as u64;
        let said = thread::scope(|scope| {
            let publisher = |who| scope.spawn(move || publish_to_the_end(address, &format!("{round}/{who}")));
            let publishers: Vec<_> = (0..8).map(publisher).collect();
            until("enough was published", || stat(&server, "messages") >= goal);
            server.kill();
            publishers.into_iter().flat_map(|one| one.join().expect("a publisher")).collect::<Vec<_>>()
        });
        for (id, text) in said {
            assert_eq!(all.insert(id, text), None, "the id {id} was given twice");
        }
    }
    assert!(all.len() >= 60, "only {} were answered", all.len());
    let server = roomy();
    let head = json(&Client::connect(&server).get("/stats/channels/a").body)["head"].as_u64();
    let (mut there, mut since) = (BTreeMap::new(), "oldest".to_owned());
    while there.keys().next_back() < head.as_ref() {
        let told = poll(&server, &format!("a?since={since}"));
        for message in told["messages"].as_array().expect("messages") {
            let (id, text) = (message["id"].as_u64(), message["data"].as_str());
            there.insert(id.expect("an id"), text.expect("a text").to_owned());
        }
        since = told["since"].to_string();
    }
    for (id, text) in &all {
        assert_eq!(there.get(id), Some(text), "{id} is not there");
    }
    let last = *there.keys().next_back().expect("messages");
    assert!(say(&server, "a", "next") > last, "ids go on behind the newest");
}

#[test]
fn a_stream_and_a_poll_go_on_behind_a_crash_where_they_stopped() {
    let scratch = Scratch::new();
    let server = start(&scratch);
    let mut stream = Client::connect(&server);
    stream.send("GET /channels/a?as=events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let begun = String::from_utf8(stream.take_through(b"\nid: ")).expect("text")
        + &String::from_utf8(stream.take_through(b"\n")).expect("text");
    let cursor: u64 = begun.trim_end().rsplit(' ').next().and_then(|id| id.parse().ok()).expect("a cursor");
    say(&server, "a", "one");
    stream.take_through(b"data: one\n\n");
    say(&server, "a", "two");
    say(&server, "b?event=note", "elsewhere");
    server.kill();

    let server = start(&scratch);
    let told = poll(&server, &format!("a?since={cursor}"));
    assert_eq!((texts(&told), told.get("gap")), (vec!["one", "two"], None));
    let mut stream = Client::connect(&server);
    stream.send(format!("GET /channels/a?as=ndjson&since={cursor} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    stream.take_through(b"\r\n\r\n");
    assert!(String::from_utf8_lossy(&stream.take_through(b"\n")).contains("\"one\""));
    assert!(String::from_utf8_lossy(&stream.take_through(b"\n")).contains("\"two\""));
    say(&server, "a", "three");
    assert!(String::from_utf8_lossy(&stream.take_through(b"\n")).contains("\"three\""));
    let mut socket = WebSocket::open(&server, "/channels/b", b"");
    let answer = socket.ask(r#"{"publish":"four","channel":"a","ref":7}"#);
    assert!(answer["ref"] == 7 && answer["id"].as_u64() > Some(cursor), "{answer}");
    let told = poll(&server, "b?since=oldest");
    assert_eq!((texts(&told), &told["messages"][0]["event"]), (vec!["elsewhere"], &Value::from("note")));
}

#[test]
fn what_fell_out_of_a_history_before_a_crash_is_a_gap_behind_it_and_nothing_else_is() {
    let scratch = Scratch::new();
    let setup = || {
        let rule = "[[channel]]\nmatch = \"short\"\nhistory-messages-max = 2\n";
        Setup::default().data(&scratch.path().join("data")).table(rule)
    };
    let server = setup().start();
    let ids: Vec<u64> = (0..5).map(|nth| say(&server, "short", &nth.to_string())).collect();
    let other = say(&server, "long", "x");
    server.kill();
    let server = setup().start();
    let told = poll(&server, &format!("short?since={}", ids[0]));
    assert_eq!((texts(&told), &told["gap"]["to"]), (vec!["3", "4"], &Value::from(ids[3])));
    for (query, kept) in [(format!("short?since={}", ids[2]), 2), (format!("long?since={}", other - 1), 1)] {
        let told = poll(&server, &query);
        assert_eq!((texts(&told).len(), told.get("gap")), (kept, None), "{query}");
    }
    // Rules of today: what does not fit any more goes.
    server.kill();
    let rule = "[[channel]]\nmatch = \"short\"\nhistory-messages-max = 1\n";
    let server = Setup::default().data(&scratch.path().join("data")).table(rule).start();
    assert_eq!(texts(&poll(&server, "short?since=oldest")), ["4"]);
}

#[test]
fn what_a_history_forgets_goes_from_the_disk() {
    let scratch = Scratch::new();
    let rule = "[[channel]]\nmatch = \"short\"\nhistory-messages-max = 2\n\
        [[channel]]\nmatch = \"brief\"\nhistory-age = \"1s\"\n";
    let mut server = Setup::default().data(&scratch.path().join("data")).table(rule).start();
    for nth in 0..5 {
        say(&server, "short", &nth.to_string());
    }
    let last = say(&server, "brief", "soon gone");
    until("it is too old", || Client::connect(&server).get("/stats/channels/brief").status() == 404);
    server.signal(Signal::TERM);
    server.exit();
    let file =
        rusqlite::Connection::open(scratch.path().join("data/encke.db")).expect("the file is free again");
    let mut rows = file.prepare("SELECT channel || ' ' || data FROM message ORDER BY id").expect("the table");
    let rows: Result<Vec<String>, _> = rows.query_map([], |row| row.get(0)).expect("rows").collect();
    assert_eq!(rows.expect("texts"), ["short 3", "short 4"]);
    let floor =
        file.query_row("SELECT id FROM floor WHERE channel = 'brief'", [], |row| row.get::<_, u64>(0));
    assert_eq!(floor, Ok(last));
}

#[test]
fn what_is_deleted_stays_deleted() {
    let scratch = Scratch::new();
    let server = start(&scratch);
    let before = say(&server, "a", "secret");
    say(&server, "b", "kept");
    let request = "DELETE /channels/a HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut client = Client::connect(&server);
    client.send(request);
    let answer = client.answer_to(Asked::by(request.as_bytes()));
    assert_eq!(answer.status(), 200);
    let last_word = json(&answer.body)["id"].as_u64().expect("an id");
    say(&server, "a", "new");
    server.kill();
    let server = start(&scratch);
    let told = poll(&server, &format!("a?since={}", before - 1));
    assert_eq!((texts(&told), &told["gap"]["to"]), (vec!["new"], &told["messages"][0]["id"]));
    assert_eq!(poll(&server, &format!("a?since={last_word}")).get("gap"), None);
    assert_eq!(texts(&poll(&server, "b?since=oldest")), ["kept"]);
}

#[test]
fn a_second_server_does_not_start_on_the_same_folder_and_the_first_does_not_mind() {
    let scratch = Scratch::new();
    let first = start(&scratch);
    let (code, complaint) = Setup::default().data(&scratch.path().join("data")).fails();
    assert_eq!(code, Some(2));
    assert!(complaint.contains("is in use by another process"), "{complaint}");
    say(&first, "a", "still \0 hère");
    first.kill();
    assert_eq!(texts(&poll(&start(&scratch), "a?since=oldest")), ["still \0 hère"]);
}

#[test]
fn a_folder_that_is_not_ours_is_left_alone() {
    let scratch = Scratch::new();
    scratch.write(
        "data/encke.db",
        "this is a diary, and not a database; it is longer than a head of 100 bytes, \
        so that nobody takes it for an empty file, or for one that is to be.",
    );
    let (code, complaint) = Setup::default().data(&scratch.path().join("data")).fails();
    assert_eq!(code, Some(2));
    assert!(
        complaint.contains("cannot keep the log in ") && complaint.contains("not a database"),
        "{complaint}"
    );
    let (code, complaint) = Setup::default().data(&scratch.path().join("no/such/place")).fails();
    assert_eq!(code, Some(2));
    assert!(complaint.contains("cannot make the data folder "), "{complaint}");
}

#[test]
fn the_folder_is_for_its_user_alone() {
    let scratch = Scratch::new();
    let _server = start(&scratch);
    let mode = fs::metadata(scratch.path().join("data")).expect("it was made").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_full_disk_is_told_to_publishers_and_the_server_lives_on_and_recovers() {
    let scratch = Scratch::new();
    let data = scratch.path().join("data");
    start(&scratch).kill();
    let server = Setup::default().data(&data).soft_file_kib(256).start();
    let mut listener = Client::connect(&server);
    listener.send("GET /channels/a?as=ndjson HTTP/1.1\r\nHost: localhost\r\n\r\n");
    listener.take_through(b"\r\n\r\n");
    let large = "x".repeat(20_000);
    let mut client = Client::connect(&server);
    let mut stored = 0;
    let refusal = loop {
        let answer = client.post("/channels/a", &large);
        match answer.status() {
            201 => stored += 1,
            _ => break answer,
        }
        assert!(stored < 100, "the disk is never full");
    };
    assert_eq!(refusal.status(), 503);
    assert!(refusal.text().contains("nothing was published"), "{}", refusal.text());
    assert_eq!(refusal.field("retry-after"), Some("2"));
    assert!(client.post("/channels/a", &large).status() == 503 && stat(&server, "store_failures") == 2);
    assert_eq!(server.stderr().matches("the disk does not store").count(), 1, "{}", server.stderr());
    assert_eq!(client.get("/healthz").status(), 200);
    server.allow_files();
    assert_eq!(client.post("/channels/a", "after").status(), 201);
    until("the log says so", || server.stderr().contains("the disk stores again"));
    let heard = String::from_utf8(listener.take_through(b"\"after\"}\n")).expect("text");
    assert_eq!(heard.lines().count(), stored + 1, "what was refused was not heard");
    server.kill();
    let server = start(&scratch);
    assert_eq!(texts(&poll(&server, "a?since=oldest")).len(), stored + 1);
}

#[test]
fn a_server_that_is_told_to_stop_keeps_everything_and_its_successor_says_no_gap() {
    let scratch = Scratch::new();
    let mut server = start(&scratch);
    let first = say(&server, "a", "one");
    let mut poll_under_way = Client::connect(&server);
    poll_under_way.send(format!("GET /channels/a?since={first} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    until("the poll waits", || stat(&server, "connections") >= 2);
    server.signal(Signal::TERM);
    assert_eq!(server.exit().code(), Some(0));
    let cursor = json(&poll_under_way.answer().body)["since"].as_u64().expect("a cursor");
    let server = start(&scratch);
    say(&server, "a", "two");
    let told = poll(&server, &format!("a?since={cursor}"));
    assert_eq!((texts(&told), told.get("gap")), (vec!["two"], None));
    assert_eq!(texts(&poll(&server, "a?since=oldest")), ["one", "two"]);
}

#[test]
fn with_nothing_to_store_nothing_wakes() {
    let scratch = Scratch::new();
    let server = start(&scratch);
    say(&server, "a", "x");
    let naps = || {
        let threads = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("the server runs");
        let status = threads.map(|task| fs::read_to_string(task.expect("a thread").path().join("status")));
        let count = |status: String| {
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            line.and_then(|count| count.trim().parse::<u64>().ok()).expect("the kernel counts")
        };
        status.map(|status| count(status.expect("a thread"))).sum::<u64>()
    };
    // What the last connections left to do is done when nothing has happened for a moment.
    let mut before = naps();
    until("the server is idle", || {
        common::let_pass(std::time::Duration::from_millis(1_500));
        std::mem::replace(&mut before, naps()) == naps()
    });
}
