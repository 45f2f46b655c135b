//! Connections: order, endings, deadlines, crowds.
//!
//! Deadlines are short here through the configuration; no test depends on how short exactly.
#![cfg(feature = "shell")]

mod common;

use std::time::Duration;

use common::{Asked, Client, Server, Setup, let_pass, readable, until};

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// Sends `bytes` one after the other, each a little later than the one before, until the server
/// ends the connection, and returns all it said. Nothing but a deadline of the server ends this.
fn trickle(client: &mut Client, bytes: impl Iterator<Item = u8>) -> Vec<u8> {
    for byte in bytes {
        if client.try_send(&[byte]).is_err() || client.has_news() {
            break;
        }
        let_pass(Duration::from_millis(50));
    }
    client.try_drain().unwrap_or_default()
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start();
    let targets = ["/healthz", "/", "/nowhere", "/clock/", "/healthz", "/encke.js"];
    let apart: Vec<(u16, Vec<u8>)> = targets
        .iter()
        .map(|target| {
            let answer = Client::connect(&server).get(target);
            (answer.status(), answer.body)
        })
        .collect();
    let all: String = targets.iter().map(|target| get(target)).collect();
    for step in [all.len(), 100, 7, 1] {
        let mut client = Client::connect(&server);
        client.send_pieces(&server, all.as_bytes().chunks(step));
        for (target, (status, body)) in targets.iter().zip(&apart) {
            let answer = client.answer();
            assert_eq!((answer.status(), &answer.body), (*status, body), "{target} in pieces of {step}");
        }
        assert!(!client.has_news());
    }
}

#[test]
fn a_thousand_pipelined_requests_are_all_answered() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    client.send(get("/healthz").repeat(1_000));
    client.half_close();
    for n in 0..1_000 {
        assert_eq!(client.answer().status(), 200, "request {n}");
    }
    client.ends();
}

#[test]
fn a_client_that_asks_much_and_reads_nothing_costs_little() {
    let server = Server::start();
    let before = server.resident_kib();
    let mut greedy: Vec<Client> = (0..20).map(|_| Client::narrow(&server)).collect();
    std::thread::scope(|scope| {
        for client in &mut greedy {
            // 200,000 requests would be answered with hundreds of megabytes. The sender is stopped by the server's
            // not reading on: that is the point.
            scope.spawn(|| {
                client.give_up_writing_after(Duration::from_millis(500));
                client.try_send(get("/").repeat(200_000).as_bytes())
            });
        }
    });
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 20_000, "unread answers grew the server by {grown} KiB");
    assert_eq!(Client::connect(&server).get("/healthz").status(), 200);
}

#[test]
fn nothing_is_served_behind_an_error_or_a_close() {
    let server = Server::start();
    for (first, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\n", 400),
        ("GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200),
        ("GET /healthz HTTP/1.0\r\n\r\n", 200),
    ] {
        let mut client = Client::connect(&server);
        client.send(format!("{first}{}", get("/behind/backend.php?msg=heard")));
        let answer = client.answer_to(Asked::by(first.as_bytes()));
        assert_eq!((answer.status(), answer.closes()), (status, true), "{first:?}");
        client.ends();
    }
    assert_eq!(Client::connect(&server).get("/behind/backend.php?msg=first").status(), 200);
    let oldest = Client::connect(&server).get("/behind/backend.php?timestamp=1");
    assert!(oldest.text().contains("first"), "a request behind an end was heard: {}", oldest.text());
}

#[test]
fn a_client_that_has_said_all_is_answered() {
    let server = Server::start();
    for request in [get("/healthz"), get("/healthz").repeat(3), get("/")] {
        let mut client = Client::connect(&server);
        client.send(&request);
        client.half_close();
        for _ in 0..request.matches("GET").count() {
            assert_eq!(client.answer().status(), 200);
        }
        client.ends();
    }
}

#[test]
fn a_client_that_leaves_before_or_in_a_request_is_forgotten() {
    let server = Server::start();
    let before = server.descriptors();
    for part in [
        "",
        "G",
        "GET / HTTP/1.1\r\nHost: loc",
        "POST /a/backend.php HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nmsg",
    ] {
        let mut client = Client::connect(&server);
        client.send(part);
        client.half_close();
        client.drain();
        let mut client = Client::connect(&server);
        client.send(part);
        client.vanish();
    }
    until("all are forgotten", || server.descriptors() == before);
}

#[test]
fn an_answer_survives_megabytes_still_on_their_way() {
    // Closing with unread input makes a kernel send a reset, and a reset destroys an answer that was not read yet.
    let server = Server::start();
    for _ in 0..20 {
        let mut client = Client::connect(&server);
        let _ = client.try_send(b"GET / HTTP/1.1\nHost: localhost\r\n");
        let _ = client.try_send(&vec![b'x'; 3_000_000]);
        assert_eq!(client.answer().status(), 400);
        client.ends();
    }
}

#[test]
fn lingering_ends() {
    let server = Server::start();
    let before = server.descriptors();
    let mut client = Client::connect(&server);
    client.send("GET / HTTP/1.1\n");
    assert_eq!(client.answer().status(), 400);
    client.ends();
    // The client keeps its side open and goes on sending; it is hung up nevertheless.
    until("the server has had enough", || {
        let _ = client.try_send(b"x");
        server.descriptors() == before
    });
}

#[test]
fn an_old_client_may_keep_its_connection_when_it_asks() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    for _ in 0..3 {
        client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let answer = client.answer_to(Asked::GET_10);
        assert_eq!(answer.status(), 200);
        let connection = answer.field("connection").unwrap_or("").to_ascii_lowercase();
        assert_eq!(connection, "keep-alive", "keeping must be said");
    }
    client.send("GET /nowhere HTTP/1.0\r\n\r\n");
    assert!(client.answer_to(Asked::GET_10).closes());
    client.ends();
}

#[test]
fn a_slow_head_meets_its_deadline() {
    let server = Setup::default().limit("head-timeout", "\"1s\"").limit("idle-timeout", "\"60s\"").start();
    let slow = [
        ("nothing after the first half", "GET / HTTP/1.1\r\nHost: localhost\r\n", ""),
        ("one byte at a time", "", "GET / HTTP/1.1\r\nHost: localhost\r\nX: "),
        ("one field at a time", "GET / HTTP/1.1\r\nHost: localhost\r\n", "X: y\r\nX: y\r\n"),
    ];
    std::thread::scope(|scope| {
        for (name, start, rest) in slow {
            let server = &server;
            scope.spawn(move || {
                let mut client = Client::connect(server);
                client.send(start);
                // Two minutes of single bytes: only the server's deadline can end this.
                let said =
                    trickle(&mut client, rest.bytes().cycle().take(if rest.is_empty() { 0 } else { 2_400 }));
                assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 408 "), "{name}: {}", readable(&said));
            });
        }
        scope.spawn(|| {
            let mut client = Client::connect(&server);
            let said =
                trickle(&mut client, "\r\n".bytes().cycle().take(8).chain(std::iter::repeat_n(b'G', 2_400)));
            assert!(
                said.is_empty() || said.starts_with(b"HTTP/1.1 4"),
                "empty lines extend no deadline: {}",
                readable(&said)
            );
        });
    });
}

#[test]
fn the_deadline_of_a_second_head_starts_with_it() {
    let server = Setup::default().limit("head-timeout", "\"1s\"").limit("idle-timeout", "\"60s\"").start();
    let mut client = Client::connect(&server);
    assert_eq!(client.get("/healthz").status(), 200);
    let_pass(Duration::from_millis(1_500));
    assert_eq!(client.get("/healthz").status(), 200, "an idle spell is no slow head");
    client.send("GET /healthz HTT");
    let said = client.drain();
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 408 "), "{}", readable(&said));
}

#[test]
fn a_slow_body_meets_its_deadline() {
    let server = Setup::default().limit("body-timeout", "\"1s\"").limit("idle-timeout", "\"60s\"").start();
    for (name, fields, rest) in [
        ("a length", "Content-Length: 10000", "msg=aaaaaaaa"),
        ("chunks", "Transfer-Encoding: chunked", "1\r\na\r\n"),
    ] {
        let mut client = Client::connect(&server);
        let form = "Content-Type: application/x-www-form-urlencoded";
        client.send(format!(
            "POST /slow/backend.php HTTP/1.1\r\nHost: localhost\r\n{form}\r\n{fields}\r\n\r\n"
        ));
        let said = trickle(&mut client, rest.bytes().cycle().take(2_400));
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 408 "), "{name}: {}", readable(&said));
    }
}

#[test]
fn an_idle_connection_is_closed_silently() {
    let server = Setup::default().limit("idle-timeout", "\"1s\"").start();
    let mut client = Client::connect(&server);
    assert_eq!(client.get("/healthz").status(), 200);
    client.ends();
}

#[test]
fn a_connection_that_never_says_anything_is_closed() {
    let server = Setup::default().limit("head-timeout", "\"1s\"").limit("idle-timeout", "\"1s\"").start();
    let mut client = Client::connect(&server);
    let said = client.drain();
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 408 "), "{}", readable(&said));
}

#[test]
fn a_reader_that_makes_no_progress_is_hung_up() {
    let server = Setup::default().limit("write-timeout", "\"1s\"").start();
    let before = server.descriptors();
    let mut client = Client::narrow(&server);
    client.give_up_writing_after(Duration::from_millis(200));
    let _ = client.try_send(get("/").repeat(20_000).as_bytes());
    until("the server gives up on it", || server.descriptors() == before);
}

#[test]
fn beyond_the_limit_a_new_client_gets_503() {
    let server = Setup::default().arg("--max-connections").arg("10").start();
    let mut seated: Vec<Client> = (0..10).map(|_| Client::connect(&server)).collect();
    for client in &mut seated {
        assert_eq!(client.get("/healthz").status(), 200);
    }
    for _ in 0..5 {
        let mut late = Client::connect(&server);
        let answer = late.answer();
        assert_eq!((answer.status(), answer.closes()), (503, true));
        late.ends();
    }
    // One that sends its request at once must be able to read the refusal as well.
    let mut eager = Client::connect(&server);
    let _ = eager.try_send(get("/healthz").as_bytes());
    assert_eq!(eager.answer().status(), 503);
    for client in &mut seated {
        assert_eq!(client.get("/healthz").status(), 200, "those inside are served");
    }
    seated.pop();
    until("the free seat is given away", || {
        let mut client = Client::connect(&server);
        client.try_send(get("/healthz").as_bytes()).is_ok()
            && client.try_answer(Asked::GET).is_ok_and(|answer| answer.status() == 200)
    });
}

#[test]
fn a_crowd_beyond_the_limit_costs_no_descriptors() {
    let server = Setup::default().arg("--max-connections").arg("10").start();
    let before = server.descriptors();
    // These never read their 503 and never leave on their own.
    let crowd: Vec<Client> = (0..200).map(|_| Client::connect(&server)).collect();
    until("only those with a seat remain", || server.descriptors() <= before + 10);
    drop(crowd);
    until("all are gone", || server.descriptors() == before);
}

#[test]
fn a_server_with_few_descriptors_turns_the_rest_away() {
    let server = Setup::default().descriptors(200).start();
    let mut clients: Vec<Client> = (0..120).map(|_| Client::connect(&server)).collect();
    let mut statuses = Vec::new();
    for client in &mut clients {
        // One that was turned away already cannot send any more; its answer is there.
        let _ = client.try_send(get("/healthz").as_bytes());
        statuses.push(client.answer().status());
    }
    assert!(statuses.iter().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
    assert_eq!((statuses[0], statuses[119]), (200, 503), "those who came first are inside");
}

#[test]
fn out_of_descriptors_those_inside_are_served_and_the_rest_wait() {
    let server = Server::start();
    let mut inside: Vec<Client> = (0..10).map(|_| Client::connect(&server)).collect();
    for client in &mut inside {
        assert_eq!(client.get("/healthz").status(), 200);
    }
    // The server reckons with its limit when it starts; so the limit falls behind its back.
    server.allow_descriptors(server.free_descriptor() + 5);
    let mut waiting: Vec<Client> = (0..50).map(|_| Client::connect(&server)).collect();
    for client in &mut waiting {
        client.send(get("/healthz"));
    }
    assert_eq!(inside[0].get("/healthz").status(), 200, "those inside are served");

    // A server that cannot accept and does not pause wakes up a hundred thousand times a second.
    let (cpu, naps) = (server.cpu_ticks(), server.naps());
    let_pass(Duration::from_secs(2));
    let (cpu, naps) = (server.cpu_ticks() - cpu, server.naps() - naps);
    assert!(cpu < 100 && naps < 2_000, "out of descriptors it used {cpu} ticks of CPU and woke {naps} times");

    // Those who leave make room: everyone gets in at last, one after the other.
    drop(inside);
    for mut client in waiting {
        assert_eq!(client.answer().status(), 200);
    }
    assert_eq!(Client::connect(&server).get("/healthz").status(), 200);
}

#[test]
fn accepting_resumes_when_the_limit_is_lifted() {
    // Nobody leaves here, so no end of a connection reminds the server of those who wait.
    let server = Server::start();
    server.allow_descriptors(server.free_descriptor());
    let mut client = Client::connect(&server);
    client.send(get("/healthz"));
    let_pass(Duration::from_millis(300));
    assert!(!client.has_news(), "it was served without a descriptor");
    server.allow_descriptors(200);
    assert_eq!(client.answer().status(), 200);
}
