//! Questions that wait: for how long, for whom, and that no message is lost on the way.
#![cfg(feature = "shell")]

mod common;

use std::thread;

use common::chat::{News, ask_on, poll, say, say_on};
use common::{Asked, Client, Framing, Server, Setup, until};

/// A server that sends its sign of life to waiting polls soon.
fn lively() -> Server {
    Setup::default().limit("poll-space", "\"1s\"").start()
}

#[test]
fn five_thousand_messages_reach_everyone_in_order_exactly_once() {
    const TALKERS: usize = 5;
    const EACH: usize = 1_000;
    let server = Setup::default()
        .limit("history-messages-max", "10000")
        .limit("history-bytes-max", "\"8MiB\"")
        .start();
    say(&server, "/flow/", "start");
    let heard: Vec<Vec<String>> = thread::scope(|scope| {
        let walkers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::connect(&server);
                    let mut cursor = ask_on(&mut client, "/flow/", "1");
                    assert_eq!(cursor.msg, "start");
                    let mut heard = Vec::new();
                    while heard.len() < TALKERS * EACH {
                        let news = ask_on(&mut client, "/flow/", &cursor.echoed());
                        let (before, after): (f64, f64) = (
                            cursor.timestamp.parse().expect("a number"),
                            news.timestamp.parse().expect("a number"),
                        );
                        assert!(
                            after > before,
                            "{} does not come after {}",
                            news.timestamp,
                            cursor.timestamp
                        );
                        heard.push(news.msg.clone());
                        cursor = news;
                    }
                    heard
                })
            })
            .collect();
        for talker in 0..TALKERS {
            let server = &server;
            scope.spawn(move || {
                let mut client = Client::connect(server);
                for n in 0..EACH {
                    say_on(&mut client, "/flow/", &format!("{talker} {n}"));
                }
            });
        }
        walkers.into_iter().map(|walker| walker.join().expect("it heard all")).collect()
    });
    for other in &heard[1..] {
        assert_eq!(other, &heard[0], "all hear the same");
    }
    for talker in 0..TALKERS {
        let own: Vec<&String> =
            heard[0].iter().filter(|text| text.starts_with(&format!("{talker} "))).collect();
        let said: Vec<String> = (0..EACH).map(|n| format!("{talker} {n}")).collect();
        assert!(
            own.iter().copied().eq(said.iter()),
            "talker {talker} was heard out of order, or not exactly once"
        );
    }
}

#[test]
fn messages_published_in_one_packet_are_all_heard() {
    let server = Server::start();
    say(&server, "/burst/", "start");
    let mut client = Client::connect(&server);
    let burst: String = (0..100)
        .map(|n| format!("GET /burst/backend.php?msg={n} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .collect();
    client.send(burst);
    for _ in 0..100 {
        assert_eq!(client.answer().status(), 200);
    }
    let mut cursor = ask_on(&mut client, "/burst/", "1");
    for n in 0..100 {
        cursor = ask_on(&mut client, "/burst/", &cursor.echoed());
        assert_eq!(cursor.msg, n.to_string());
    }
}

#[test]
fn a_waiting_poll_is_kept_alive_with_spaces() {
    let server = lively();
    let mut client = Client::connect(&server);
    poll(&mut client, "/long/", "0");
    let head = client.head(Asked::GET);
    assert_eq!((head.status, head.framing), (200, Framing::Chunked));
    assert!(head.field("content-type").is_some_and(|kind| kind.starts_with("application/json")));
    for _ in 0..3 {
        assert_eq!(client.chunk().as_deref(), Some(&b" "[..]));
    }
    say(&server, "/long/", "at last");
    let mut body = Vec::new();
    while let Some(chunk) = client.chunk() {
        body.extend(chunk);
    }
    let news = News::parse(std::str::from_utf8(&body).expect("JSON is UTF-8"));
    assert_eq!(news.msg, "at last");
    // The connection goes on, and so does the conversation.
    poll(&mut client, "/long/", &news.echoed());
    client.head(Asked::GET);
    assert_eq!(client.chunk().as_deref(), Some(&b" "[..]));
}

#[test]
fn a_waiting_poll_of_an_old_client_ends_with_its_connection() {
    let server = lively();
    for (directory, fields) in [("/old/", ""), ("/older/", "Connection: keep-alive\r\n")] {
        let mut client = Client::connect(&server);
        client.send(format!("GET {directory}backend.php?timestamp=0 HTTP/1.0\r\n{fields}\r\n"));
        let head = client.head(Asked::GET_10);
        assert_eq!((head.status, head.framing), (200, Framing::Close));
        assert_eq!(client.take(2), b"  ");
        say(&server, directory, "at last");
        let body = String::from_utf8(client.drain()).expect("JSON is UTF-8");
        assert_eq!(News::parse(&body).msg, "at last");
    }
}

#[test]
fn an_old_client_is_answered_at_once_when_there_is_news() {
    let server = Server::start();
    say(&server, "/old/", "hello");
    let mut client = Client::connect(&server);
    client.send("GET /old/backend.php?timestamp=0 HTTP/1.0\r\n\r\n");
    assert_eq!(News::read(&client.answer_to(Asked::GET_10)).msg, "hello");
    client.ends();
}

#[test]
fn a_waiting_client_that_crashed_is_noticed() {
    let server = Server::start();
    let before = server.descriptors();
    let mut waiting: Vec<Client> = (0..50).map(|_| Client::connect(&server)).collect();
    for client in &mut waiting {
        poll(client, "/gone/", "0");
    }
    until("all are seated", || server.descriptors() == before + 50);
    waiting.into_iter().for_each(Client::vanish);
    until("all are forgotten", || server.descriptors() == before);
    say(&server, "/gone/", "to nobody");
}

#[test]
fn a_waiting_client_that_closed_is_noticed() {
    // Closing looks like half-closing until something is sent; the sign of life is that something.
    let server = lively();
    let before = server.descriptors();
    let mut waiting: Vec<Client> = (0..50).map(|_| Client::connect(&server)).collect();
    for client in &mut waiting {
        poll(client, "/gone/", "0");
    }
    until("all are seated", || server.descriptors() == before + 50);
    drop(waiting);
    until("all are forgotten", || server.descriptors() == before);
}

#[test]
fn a_waiting_client_that_has_said_all_is_answered() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    poll(&mut client, "/half/", "0");
    client.half_close();
    say(&server, "/half/", "hello");
    assert_eq!(News::read(&client.answer()).msg, "hello");
    client.ends();
}

#[test]
fn requests_behind_a_waiting_poll_are_answered_after_it() {
    let server = lively();
    let mut client = Client::connect(&server);
    let ask = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.send(
        [ask("/line/backend.php?timestamp=0"), ask("/healthz"), ask("/nowhere"), ask("/clock/")].concat(),
    );
    let head = client.head(Asked::GET);
    assert_eq!(head.framing, Framing::Chunked);
    assert_eq!(client.chunk().as_deref(), Some(&b" "[..]), "nothing but signs of life before the news");
    say(&server, "/line/", "news");
    while client.chunk().is_some() {}
    let statuses = [client.answer().status(), client.answer().status(), client.answer().status()];
    assert_eq!(statuses, [200, 404, 200]);
}

#[test]
fn polls_behind_a_poll_take_their_turn() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    poll(&mut client, "/turn/", "0");
    poll(&mut client, "/turn/", "0");
    poll(&mut client, "/other/", "0");
    say(&server, "/turn/", "one");
    assert_eq!(News::read(&client.answer()).msg, "one");
    assert_eq!(News::read(&client.answer()).msg, "one", "the newest, at once");
    say(&server, "/other/", "two");
    assert_eq!(News::read(&client.answer()).msg, "two");
}

#[test]
fn what_a_client_sends_behind_its_waiting_poll_is_bounded() {
    let server = Server::start();
    let before = server.resident_kib();
    let mut eager: Vec<Client> = (0..20).map(|_| Client::connect(&server)).collect();
    for client in &mut eager {
        client.give_up_writing_after(std::time::Duration::from_millis(200));
        poll(client, "/eager/", "0");
        let _ = client.try_send(&b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200_000));
    }
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 20_000, "requests behind waiting polls grew the server by {grown} KiB");
    assert_eq!(Client::connect(&server).get("/healthz").status(), 200);
}

#[test]
fn a_poll_that_waits_in_one_chat_hears_nothing_of_another() {
    let server = lively();
    let mut client = Client::connect(&server);
    poll(&mut client, "/a/", "0");
    client.head(Asked::GET);
    say(&server, "/b/", "not for a");
    assert_eq!(client.chunk().as_deref(), Some(&b" "[..]));
    assert_eq!(client.chunk().as_deref(), Some(&b" "[..]));
    say(&server, "/a/", "for a");
    let news = News::parse(std::str::from_utf8(&client.chunk().expect("news")).expect("UTF-8"));
    assert_eq!(news.msg, "for a");
}
