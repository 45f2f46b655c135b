//! What the other tables leave out: rules that are about several of them at once.
//!
//! `docs/conformance.md` is the list of all rules, with the tests of each.
#![cfg(feature = "shell")]

mod common;

use std::fs;

use common::frames::UPGRADE;
use common::{Asked, CANARY, Client, Hearing, Server, Setup, TRANSPORTS, Told, Transport, until};

const HOST: &str = "Host: localhost\r\n";

/// The streams that are no WebSocket: whatever a client sends behind its request means nothing.
const STREAMS: [Transport; 3] = [Transport::Events, Transport::Ndjson, Transport::Iframe];

/// Subscribes to `channel`, and waits until the server knows.
fn listen(server: &Server, transport: Transport, channel: &str) -> Client {
    let upgrade = if transport == Transport::Websocket { UPGRADE } else { "" };
    let target = format!("/channels/{channel}?as={}", transport.name());
    let mut client = Client::connect(server);
    client.send(format!("GET {target} HTTP/1.1\r\n{HOST}{upgrade}\r\n"));
    until("it is subscribed", || subscribers(server, channel) > 0);
    client
}

/// Those who listen to a channel.
fn subscribers(server: &Server, channel: &str) -> u64 {
    let answer = Client::connect(server).get(&format!("/stats/channels/{channel}"));
    let stats: serde_json::Value = serde_json::from_str(answer.text()).expect("JSON");
    stats["subscribers"].as_u64().unwrap_or(0)
}

/// The texts that a channel keeps.
fn kept(server: &Server, channel: &str) -> Vec<String> {
    let answer = Client::connect(server).get(&format!("/channels/{channel}?since=oldest"));
    let told: serde_json::Value = serde_json::from_str(answer.text()).expect("JSON");
    let messages = told["messages"].as_array().expect("a poll is answered with messages");
    messages.iter().map(|message| message["data"].as_str().expect("a text").to_owned()).collect()
}

fn publish(server: &Server, channel: &str, text: &str) {
    assert_eq!(Client::connect(server).post(&format!("/channels/{channel}"), text).status(), 201);
}

fn forget(server: &Server, channel: &str) {
    let mut client = Client::connect(server);
    client.send(format!("DELETE /channels/{channel} HTTP/1.1\r\n{HOST}\r\n"));
    assert_eq!(client.answer().status(), 200);
}

/// A request that publishes, if it is taken for one.
fn hidden(channel: &str) -> String {
    format!("POST /channels/{channel} HTTP/1.1\r\n{HOST}Content-Length: 6\r\n\r\nhidden")
}

/// Hears until a message comes that says `text`, and nothing else is said before.
fn hears(client: &mut Client, transport: Transport, text: &str) {
    let mut hearing = Hearing::new(transport);
    loop {
        let bytes = client.try_some().unwrap_or_else(|e| panic!("{transport:?}: {e}"));
        for told in hearing.feed(&bytes).unwrap_or_else(|e| panic!("{transport:?}: {e}")) {
            match told {
                Told::Message(news) => return assert_eq!(news.data, text, "{transport:?}"),
                Told::Beat(_) => {}
                other => panic!("{transport:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_body_behind_a_refused_upgrade_is_never_a_request() {
    let server = Server::start();
    let smuggled = hidden("smuggled");
    let length = format!("Content-Length: {}\r\n\r\n{smuggled}", smuggled.len());
    let chunks = format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len());
    for (name, upgrade) in [
        ("a body", UPGRADE.to_owned()),
        ("another version", UPGRADE.replace(": 13", ": 8")),
        ("no key", UPGRADE.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "")),
        ("another site", format!("{UPGRADE}Origin: http://evil.example\r\n")),
        ("no upgrade at all", "Connection: Upgrade\r\n".to_owned()),
    ] {
        for body in [&length, &chunks] {
            let mut client = Client::connect(&server);
            client.send(format!("GET /channels/a?as=websocket HTTP/1.1\r\n{HOST}{upgrade}{body}"));
            client.half_close();
            let words = String::from_utf8(client.drain()).expect("answers are text");
            assert!(words.starts_with("HTTP/1.1 4"), "{name}: {words}");
            assert_eq!(words.matches("HTTP/1.1 ").count(), 1, "{name}: the body was taken for a request");
        }
    }
    publish(&server, "smuggled", "first");
    assert_eq!(kept(&server, "smuggled"), ["first"]);
}

#[test]
fn what_is_sent_behind_a_stream_is_not_heard() {
    let server = Server::start();
    for transport in STREAMS {
        let mut client = Client::connect(&server);
        let target = format!("/channels/a?as={}", transport.name());
        // Right behind the request, and again when the stream has begun.
        client.send(format!("GET {target} HTTP/1.1\r\n{HOST}\r\n{}", hidden("behind")));
        until("it is subscribed", || subscribers(&server, "a") > 0);
        let naps = server.naps();
        client.send(hidden("behind").repeat(100));
        server.rests_after(naps);
        publish(&server, "a", "news");
        hears(&mut client, transport, "news");
        drop(client);
        until("it has left", || subscribers(&server, "a") == 0);
        // The channel is the same for the next one, and empty.
        forget(&server, "a");
    }
    publish(&server, "behind", "first");
    assert_eq!(kept(&server, "behind"), ["first"]);
}

#[test]
fn a_subscriber_that_has_said_all_still_hears() {
    let server = Server::start();
    for (nth, transport) in STREAMS.into_iter().enumerate() {
        let channel = format!("c{nth}");
        let mut client = listen(&server, transport, &channel);
        client.half_close();
        publish(&server, &channel, "news");
        hears(&mut client, transport, "news");
    }
    let mut client = listen(&server, Transport::Poll, "poll");
    client.half_close();
    publish(&server, "poll", "news");
    assert!(client.answer().text().contains("\"data\":\"news\""));
    client.ends();
}

#[test]
fn subscribers_that_leave_give_everything_back_whichever_way_they_go() {
    let server = Server::start();
    let before = server.descriptors();
    for transport in TRANSPORTS {
        let clients: Vec<Client> = (0..20).map(|_| listen(&server, transport, "a")).collect();
        for (nth, client) in clients.into_iter().enumerate() {
            match nth % 3 {
                0 => drop(client),
                1 => client.vanish(),
                _ => client.half_close(),
            }
        }
        until("all are gone", || server.descriptors() == before);
        publish(&server, "a", "to nobody");
        assert_eq!(subscribers(&server, "a"), 0, "{transport:?}");
        forget(&server, "a");
        until("the last question is over, too", || server.descriptors() == before);
    }
}

#[test]
fn only_a_post_publishes() {
    let server = Server::start();
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "PATCH"] {
        for target in ["/channels/a?as=ndjson", "/channels/a?as=events&event=x", "/channels"] {
            let mut client = Client::connect(&server);
            let body = r#"{"channel":"a","data":"hidden"}"#;
            let kind = format!("Content-Type: application/x-ndjson\r\nContent-Length: {}\r\n", body.len());
            client.send(format!("{method} {target} HTTP/1.1\r\n{HOST}{kind}\r\n{body}"));
            let head = client.head(Asked { head: method == "HEAD", old: false });
            assert_ne!(head.status, 201, "{method} {target}");
            client.vanish();
        }
    }
    publish(&server, "a", "first");
    assert_eq!(kept(&server, "a"), ["first"]);
}

#[test]
fn the_soft_limit_on_descriptors_is_raised_to_the_hard_one() {
    let server = Setup::default().soft_descriptors(100).start();
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).expect("it runs");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("there is a limit");
    let [.., soft, hard, _unit] = line.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{line}");
    };
    assert_ne!(soft, "100");
    assert_eq!(soft, hard);
}

#[test]
fn no_error_repeats_what_was_asked() {
    let server = Server::start();
    for (line, fields, body) in [
        (format!("GET /channels/{CANARY}%20"), String::new(), ""),
        (format!("GET /channels/a?since={CANARY}"), String::new(), ""),
        (format!("GET /channels/a?as={CANARY}"), String::new(), ""),
        (format!("GET /channels/a?as=iframe&callback={CANARY}("), String::new(), ""),
        (format!("GET /stats/channels/{CANARY}"), String::new(), ""),
        (format!("POST /channels/a?event={CANARY}%0a"), String::new(), ""),
        ("POST /channels".to_owned(), format!("Content-Type: text/{CANARY}\r\n"), ""),
        ("DELETE /channels/a".to_owned(), format!("Origin: http://{CANARY}.example\r\n"), ""),
        ("POST /channels".to_owned(), "Content-Type: application/x-ndjson\r\n".to_owned(), "[\"c4naRy\"]"),
        (format!("GET /a/{CANARY}"), format!("Host: {CANARY}.example\r\n"), ""),
    ] {
        let host = if fields.starts_with("Host") { "" } else { HOST };
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let mut client = Client::connect(&server);
        client.send(format!("{line} HTTP/1.1\r\n{host}{fields}{length}\r\n{body}"));
        // Reading an answer checks it: see `Answer::check`.
        assert!(client.answer().status() >= 400, "{line}");
    }
}
