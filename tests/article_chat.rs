//! The mini-chat, as its page uses it: publish with a GET, ask with a cursor, wait for news.
#![cfg(feature = "shell")]

mod common;

use common::chat::{News, ask, ask_on, encoded, poll, say, say_on};
use common::{Asked, CANARY, Client, Server, Setup, let_pass, unix_s, until};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

fn status(server: &Server, request: &str) -> u16 {
    let mut client = Client::connect(server);
    client.send(request);
    client.answer_to(Asked::by(request.as_bytes())).status()
}

fn get_with(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}

fn post(directory: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {directory}backend.php HTTP/1.1\r\nHost: localhost\r\n{FORM}\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    )
}

/// Asserts that a chat has heard nothing so far, by making it hear something and asking for its oldest.
fn has_heard_nothing(server: &Server, directory: &str, why: &str) {
    say(server, directory, "the first");
    assert_eq!(ask(server, directory, "1").msg, "the first", "{why}");
}

/// Waits until the server has read what the clients sent: it has gone to sleep and stays asleep.
fn settle(server: &Server) {
    let mut naps = server.naps();
    until("the server has nothing left to read", || {
        let_pass(std::time::Duration::from_millis(20));
        std::mem::replace(&mut naps, server.naps()) == server.naps()
    });
}

#[test]
fn a_message_is_published_with_a_get() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    let answer = client.get("/chat/backend.php?msg=hello");
    assert_eq!((answer.status(), answer.body.len()), (200, 0));
    assert!(answer.field("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    assert!(!answer.closes());
    assert_eq!(ask_on(&mut client, "/chat/", "0").msg, "hello");
}

#[test]
fn a_message_is_published_with_a_form() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    for (body, text) in [("msg=hello", "hello"), ("_=&msg=a+b%2Bc&x=y", "a b+c"), ("msg=%E2%82%AC", "€")] {
        client.send(post("/chat/", "", body));
        let answer = client.answer();
        assert_eq!((answer.status(), answer.body.len()), (200, 0), "{body}");
        assert_eq!(ask(&server, "/chat/", "0").msg, text);
    }
}

#[test]
fn texts_arrive_as_they_were_sent() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    for text in [
        "plain",
        "a b+c&d=e;f%g#h?i/j",
        "\"quoted\" and \\back\\slashed\\",
        "</script><script>alert(1)</script><!-- & -->",
        "two\r\nlines\nand\ttabs",
        "\u{1}\u{8}\u{b}\u{c}\u{1f}\u{7f}",
        "nul \0 within",
        "\u{2028}\u{2029}\u{feff}\u{200b}",
        "grüße, 你好, 🐈‍⬛, \u{10ffff}",
        "%00 %zz %",
        "{\"msg\":\"nested\",\"timestamp\":1}",
        ",\"timestamp\":1}",
        " ",
        "0",
    ] {
        say_on(&mut client, "/chat/", text);
        let answer = client.get("/chat/backend.php?timestamp=0");
        assert_eq!(News::read(&answer).msg, text, "{}", answer.text());
        assert!(
            answer.body.iter().all(|&b| b >= b' ' && b != 0x7f || text.contains('\u{7f}')),
            "{}",
            answer.text()
        );
    }
}

#[test]
fn a_plus_is_a_space() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    assert_eq!(client.get("/chat/backend.php?msg=a+b%20c%2Bd").status(), 200);
    assert_eq!(ask_on(&mut client, "/chat/", "0").msg, "a b c+d");
}

#[test]
fn a_text_that_is_not_utf8_is_refused() {
    let server = Server::start();
    for text in ["%ff", "a%c3", "%c0%80", "%ed%a0%80", "%f4%90%80%80", "%e9t%e9", "%", "%4", "%zz"] {
        let refused = status(&server, &get_with(&format!("/bad/backend.php?msg={text}"), ""));
        assert_eq!(refused, 400, "GET {text}");
        assert_eq!(status(&server, &post("/bad/", "", &format!("msg={text}"))), 400, "POST {text}");
    }
    let raw = [post("/bad/", "", "msg=abc").trim_end_matches("abc").as_bytes(), b"\xff\xfe\xfd"].concat();
    let mut client = Client::connect(&server);
    client.send(raw);
    assert_eq!(client.answer().status(), 400);
    has_heard_nothing(&server, "/bad/", "a text that is not UTF-8 was published");
}

#[test]
fn a_text_that_is_too_long_is_refused() {
    let server = Server::start();
    let get = status(&server, &get_with(&format!("/long/backend.php?msg={}", "x".repeat(9_000)), ""));
    assert!(matches!(get, 413 | 414), "{get}");
    assert_eq!(status(&server, &post("/long/", "", &format!("msg={}", "x".repeat(200_000)))), 413);
    has_heard_nothing(&server, "/long/", "a text over the limit was published");
    let text = "long ".repeat(12_000);
    assert_eq!(status(&server, &post("/long/", "", &format!("msg={}", text.replace(' ', "+")))), 200);
    assert_eq!(ask(&server, "/long/", "0").msg, text);
}

#[test]
fn the_longest_text_is_64_kib() {
    let server = Server::start();
    let body = |length: usize| format!("msg={}", "x".repeat(length - "msg=".len()));
    assert_eq!(status(&server, &post("/chat/", "", &body(65_536))), 200, "a body of 64 KiB");
    assert_eq!(
        status(&server, &post("/chat/", "", &format!("msg={}", "x".repeat(65_537)))),
        413,
        "a text of a byte more"
    );
    assert_eq!(ask(&server, "/chat/", "0").msg.len(), 65_532);
    let small = Setup::default().limit("message-bytes-max", "100").start();
    assert_eq!(status(&small, &post("/chat/", "", &body(100))), 200);
    assert_eq!(status(&small, &post("/chat/", "", &format!("msg={}", "x".repeat(101)))), 413);
    let target = |length: usize| format!("/chat/backend.php?msg={}", "x".repeat(length));
    assert_eq!(status(&small, &get_with(&target(100), "")), 200);
    assert!(matches!(status(&small, &get_with(&target(101), "")), 413 | 414));
    assert_eq!(ask(&small, "/chat/", "0").msg.len(), 100);
}

#[test]
fn only_the_own_page_may_publish() {
    let server = Server::start();
    for (fields, expected) in [
        ("Sec-Fetch-Site: cross-site\r\n", 403),
        ("Origin: http://evil.example\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Origin: http://localhost.evil.example\r\n", 403),
        ("Origin: http://evil.example/localhost\r\n", 403),
        ("Origin: http://localhost:1\r\n", 403),
        ("Origin: localhost\r\n", 403),
        ("Origin:\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\nOrigin: http://localhost\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n", 403),
        ("Sec-Fetch-Site: same-origin\r\n", 200),
        ("Sec-Fetch-Site: none\r\n", 200),
        ("Origin: http://localhost\r\n", 200),
        ("Origin: http://LOCALHOST\r\n", 200),
        (
            "Sec-Fetch-Site: same-origin\r\nOrigin: http://localhost\r\nReferer: http://localhost/chat/\r\n",
            200,
        ),
        ("", 200),
    ] {
        let directory = "/own/";
        let fields = format!("{fields}X: {CANARY}\r\n");
        let target = format!("{directory}backend.php?msg={CANARY}");
        assert_eq!(status(&server, &get_with(&target, &fields)), expected, "GET with {fields:?}");
        assert_eq!(
            status(&server, &post(directory, &fields, &format!("msg={CANARY}"))),
            expected,
            "POST with {fields:?}"
        );
        if expected == 403 {
            let directory = "/foreign/";
            assert_eq!(status(&server, &get_with(&format!("{directory}backend.php?msg=x"), &fields)), 403);
            assert_eq!(status(&server, &post(directory, &fields, "msg=x")), 403);
        }
    }
    has_heard_nothing(&server, "/foreign/", "a cross-site request was heard");
}

#[test]
fn only_get_and_post_publish() {
    let server = Server::start();
    for method in ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"] {
        status(&server, &get_with("/still/backend.php?msg=x", "").replace("GET", method));
    }
    has_heard_nothing(&server, "/still/", "a method that must not publish did");
}

#[test]
fn an_empty_message_is_none() {
    let server = Server::start();
    let mut waiting = Client::connect(&server);
    waiting.send(get_with("/empty/backend.php?timestamp=0&msg=", ""));
    settle(&server);
    assert!(!waiting.has_news(), "an empty message was published, or taken for a question without a cursor");
    say(&server, "/empty/", "something");
    assert_eq!(News::read(&waiting.answer()).msg, "something");
    assert_eq!(ask(&server, "/empty/", "1").msg, "something", "an empty message was published");
}

#[test]
fn the_first_question_is_answered_with_the_newest() {
    let server = Server::start();
    for text in ["one", "two", "three"] {
        say(&server, "/chat/", text);
    }
    assert_eq!(ask(&server, "/chat/", "0").msg, "three");
}

#[test]
fn without_news_a_question_waits() {
    let server = Server::start();
    let mut first = Client::connect(&server);
    poll(&mut first, "/chat/", "0");
    settle(&server);
    assert!(!first.has_news());
    say(&server, "/chat/", "hello");
    let hello = News::read(&first.answer());
    assert_eq!(hello.msg, "hello");
    poll(&mut first, "/chat/", &hello.echoed());
    settle(&server);
    assert!(!first.has_news(), "one who has the newest waits");
    say(&server, "/chat/", "news");
    assert_eq!(News::read(&first.answer()).msg, "news");
}

#[test]
fn all_who_wait_are_answered() {
    let server = Server::start();
    let mut waiting: Vec<Client> = (0..200).map(|_| Client::connect(&server)).collect();
    for client in &mut waiting {
        poll(client, "/chat/", "0");
    }
    settle(&server);
    say(&server, "/chat/", "to all");
    let first = News::read(&waiting[0].answer());
    for client in &mut waiting[1..] {
        assert_eq!(News::read(&client.answer()), first);
    }
}

#[test]
fn a_cursor_is_the_time_in_seconds_with_its_microseconds() {
    let server = Server::start();
    say(&server, "/chat/", "now");
    let news = ask(&server, "/chat/", "0");
    let (whole, fraction) = news.timestamp.split_once('.').expect("a decimal fraction");
    assert!(fraction.len() == 6 && fraction.bytes().all(|b| b.is_ascii_digit()), "{}", news.timestamp);
    assert!(whole.parse::<u64>().expect("digits").abs_diff(unix_s()) <= 10, "{}", news.timestamp);
}

#[test]
fn a_cursor_leads_to_the_oldest_newer_message() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    say_on(&mut client, "/chat/", "start");
    let mut cursor = ask_on(&mut client, "/chat/", "0");
    for n in 0..50 {
        say_on(&mut client, "/chat/", &format!("message {n}"));
    }
    for n in 0..50 {
        let news = ask_on(&mut client, "/chat/", &cursor.echoed());
        assert_eq!(news.msg, format!("message {n}"));
        assert!(news.timestamp > cursor.timestamp, "{} after {}", news.timestamp, cursor.timestamp);
        cursor = news;
    }
    // As it was written, too: not every client is a browser.
    say_on(&mut client, "/chat/", "last");
    assert_eq!(ask_on(&mut client, "/chat/", &cursor.timestamp).msg, "last");
}

#[test]
fn a_cursor_outside_of_the_history_leads_to_its_oldest_message() {
    let server = Setup::default().limit("history-messages-max", "10").start();
    let mut client = Client::connect(&server);
    let mut cursors = Vec::new();
    for n in 0..25 {
        say_on(&mut client, "/chat/", &format!("message {n}"));
        cursors.push(ask_on(&mut client, "/chat/", "0").timestamp);
    }
    for (name, cursor) in [
        ("before the history", cursors[3].as_str()),
        ("long before", "1"),
        ("long before, with a fraction", "1.5"),
        ("from the future", "32503680000.000001"),
        ("far beyond", "9007199254.740991"),
    ] {
        assert_eq!(ask_on(&mut client, "/chat/", cursor).msg, "message 15", "a cursor {name}");
    }
    assert_eq!(ask_on(&mut client, "/chat/", &cursors[14]).msg, "message 15");
    assert_eq!(ask_on(&mut client, "/chat/", &cursors[15]).msg, "message 16");
    assert_eq!(ask_on(&mut client, "/chat/", &cursors[23]).msg, "message 24");
}

#[test]
fn a_cursor_that_is_no_number_is_refused() {
    let server = Server::start();
    say(&server, "/chat/", "hello");
    for cursor in [
        "abc",
        "-1",
        "NaN",
        "undefined",
        "null",
        "0x10",
        "1.2.3",
        "1,5",
        "1.x",
        "1%00",
        "%ff",
        "+",
        "1%202",
        ".",
    ] {
        let target = format!("/chat/backend.php?timestamp={cursor}");
        assert_eq!(status(&server, &get_with(&target, &format!("X: {CANARY}\r\n"))), 400, "{cursor}");
    }
    for cursor in ["99999999999999999999999999", "18446744073709551615", "18446744073709.551616", "1.0000001"]
    {
        let mut client = Client::connect(&server);
        let answer = client.get(&format!("/chat/backend.php?timestamp={cursor}"));
        assert!(
            answer.status() == 400 || News::read(&answer).msg == "hello",
            "{cursor}: {}",
            answer.status()
        );
    }
}

#[test]
fn each_directory_is_a_chat_of_its_own() {
    let server = Server::start();
    say(&server, "/a/", "in a");
    say(&server, "/b/", "in b");
    say(&server, "/", "in the root");
    say(&server, "/a/a/", "deeper");
    for (directory, text) in [("/a/", "in a"), ("/b/", "in b"), ("/", "in the root"), ("/a/a/", "deeper")] {
        assert_eq!(ask(&server, directory, "0").msg, text);
        assert_eq!(ask(&server, directory, "1").msg, text);
    }
}

#[test]
fn parameters_nobody_knows_are_ignored() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    assert_eq!(client.get("/chat/backend.php?x=y&msg=hello&_=&&z").status(), 200);
    let answer = client.get("/chat/backend.php?_=&a=b&timestamp=0&msg=&c");
    assert_eq!(News::read(&answer).msg, "hello");
}

#[test]
fn a_question_by_head_is_answered_at_once() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    client.send(get_with("/quiet/backend.php?timestamp=0", "").replace("GET", "HEAD"));
    let answer = client.answer_to(Asked::HEAD);
    assert_eq!(answer.status(), 200);
    assert!(answer.field("content-type").is_some_and(|kind| kind.starts_with("application/json")));
}

#[test]
fn an_answer_is_kept_by_nobody() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    say_on(&mut client, "/chat/", "hello");
    for target in ["/chat/backend.php?timestamp=0", "/chat/backend.php?msg=x"] {
        let answer = client.get(target);
        let control = answer.field("cache-control").unwrap_or("");
        assert!(control.contains("no-cache") || control.contains("no-store"), "{target}: {control:?}");
    }
}

#[test]
fn only_a_form_is_taken_for_one() {
    let server = Server::start();
    for kind in ["text/plain", "application/json", "multipart/form-data; boundary=x"] {
        let request = post("/kind/", "", "msg=x").replace(FORM, &format!("Content-Type: {kind}"));
        assert_eq!(status(&server, &request), 415, "{kind}");
    }
    let charset = post("/kind/", "", "msg=x").replace(FORM, &format!("{FORM}; charset=UTF-8"));
    assert_eq!(status(&server, &charset), 200, "as browsers have always sent it");
}

#[test]
fn there_are_so_many_chats_and_no_more() {
    let server = Setup::default().limit("channels-max", "3").start();
    // Who waits in a chat where nobody spoke leaves nothing behind.
    let before = server.descriptors();
    for n in 0..10 {
        let mut client = Client::connect(&server);
        poll(&mut client, &format!("/passing/{n}/"), "0");
        settle(&server);
        client.vanish();
        until("it is forgotten", || server.descriptors() == before);
    }
    for directory in ["/1/", "/2/", "/3/"] {
        say(&server, directory, "hello");
    }
    for target in ["/4/backend.php?msg=hello", "/4/backend.php?timestamp=0"] {
        let refused = status(&server, &get_with(target, ""));
        assert!(matches!(refused, 429 | 503 | 507), "{target}: {refused}");
    }
    say(&server, "/3/", "those that are there go on");
}

#[test]
fn what_is_old_is_forgotten() {
    let server = Setup::default().limit("history-age", "\"1s\"").start();
    say(&server, "/old/", "yesterday's news");
    until("the message is forgotten", || {
        let mut client = Client::connect(&server);
        poll(&mut client, "/old/", "0");
        settle(&server);
        !client.has_news()
    });
}

#[test]
fn a_history_is_bounded_in_bytes() {
    let server = Setup::default()
        .limit("message-bytes-max", "\"2KiB\"")
        .limit("history-bytes-max", "\"10KiB\"")
        .start();
    for n in 0..20 {
        say(&server, "/big/", &format!("{n} {}", "x".repeat(1_000)));
    }
    let oldest = ask(&server, "/big/", "1").msg;
    let n: u32 = oldest.split(' ').next().and_then(|n| n.parse().ok()).expect("it begins with its number");
    assert!((10..20).contains(&n), "the oldest is number {n}");
}

#[test]
fn encoding_is_what_the_page_does() {
    assert_eq!(encoded("a b/é"), "a%20b%2F%C3%A9");
}
