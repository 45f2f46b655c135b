//! What each transport says, to the byte; and where a subscription begins, however that is asked for.
//!
//! The bytes are those of `wire.md`. What is said between them (ids, the time) is read off the
//! publisher's answers.
#![cfg(feature = "shell")]

mod common;

use common::frames::{Heard, UPGRADE};
use common::{
    Asked, Client, Framing, Hearing, News, Scratch, Server, Setup, TRANSPORTS, Told, Transport, WebSocket,
};

/// Publishes, and returns the id.
fn say(server: &Server, channel: &str, text: &str) -> u64 {
    say_on(&mut Client::connect(server), channel, text)
}

fn say_on(client: &mut Client, channel: &str, text: &str) -> u64 {
    let answer = client.post(&format!("/channels/{channel}"), text);
    assert_eq!(answer.status(), 201, "{}", answer.text());
    let value: serde_json::Value = serde_json::from_str(answer.text()).expect("JSON");
    value["id"].as_u64().expect("a 201 has an id")
}

/// Asks for a stream and reads its head.
fn listen(server: &Server, target: &str) -> Client {
    listen_with(server, target, "")
}

fn listen_with(server: &Server, target: &str, lines: &str) -> Client {
    let mut client = Client::connect(server);
    client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"));
    let head = client.head(Asked::GET);
    assert_eq!((head.status, head.framing), (200, Framing::Close), "{target}");
    assert_eq!(head.field("cache-control"), Some("no-cache, no-store"));
    assert_eq!(head.field("x-accel-buffering"), Some("no"));
    client
}

/// Listens by a transport until it has heard `enough` messages, gaps or answers.
fn hear(server: &Server, transport: Transport, query: &str, lines: &str, enough: usize) -> Vec<Told> {
    let mut client = Client::connect(server);
    let (name, upgrade) = (transport.name(), if transport == Transport::Websocket { UPGRADE } else { "" });
    let (path, query) = query.split_once('?').unwrap_or((query, ""));
    let target = format!("/channels/{path}?as={name}&envelope&{query}");
    client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{lines}{upgrade}\r\n"));
    let (mut hearing, mut all) = (Hearing::new(transport), Vec::new());
    while all.len() < enough {
        let bytes = client.try_some().unwrap_or_else(|e| panic!("{target}: {e}; heard {all:?}"));
        all.extend(hearing.feed(&bytes).unwrap_or_else(|e| panic!("{target}: {e}")));
    }
    assert!(hearing.is_idle(), "{target}: something was begun and not ended");
    all.retain(|told| !matches!(told, Told::Since(_)));
    all
}

fn texts(told: &[Told]) -> Vec<String> {
    let text = |told: &Told| match told {
        Told::Message(news) => news.data.clone(),
        Told::Gap { .. } => "(gap)".to_owned(),
        other => format!("{other:?}"),
    };
    told.iter().map(text).collect()
}

// --- Bytes --------------------------------------------------------------------------------------

#[test]
fn an_event_stream_opens_at_once_and_speaks_in_lines() {
    let server = Server::start();
    let mut plain = listen_with(&server, "/channels/a", "Accept: text/event-stream\r\n");
    let mut wrapped = listen(&server, "/channels/a?as=events&envelope");
    let mut several = listen(&server, "/channels/a,b?as=events");
    for client in [&mut plain, &mut wrapped, &mut several] {
        let first = String::from_utf8(client.take_through(b"\n\n")).expect("UTF-8");
        let (retry, comment) = first.split_once('\n').expect("two lines");
        let ms: u32 = retry.strip_prefix("retry: ").and_then(|ms| ms.parse().ok()).expect("a retry");
        assert!((1_000..=3_000).contains(&ms), "{ms}");
        assert!(comment.starts_with(':'), "{comment}");
    }
    let id = say(&server, "a?event=note", "one\r\ntwo\rthree\n");
    let data = "data: one\ndata: two\ndata: three\ndata: \n";
    assert_eq!(plain.take_through(b"\n\n"), format!("id: {id}\nevent: note\n{data}\n").as_bytes());
    let json = format!(r#"{{"id":{id},"channel":"a","event":"note","data":"one\r\ntwo\rthree\n"}}"#);
    for client in [&mut wrapped, &mut several] {
        let expected = format!("id: {id}\nevent: note\ndata: {json}\n\n");
        assert_eq!(String::from_utf8(client.take_through(b"\n\n")), Ok(expected));
    }
}

#[test]
fn a_browser_that_is_cut_off_before_its_first_message_can_say_where_it_was() {
    let server = Server::start();
    for (channel, query) in [("a", ""), ("b", "&last=3"), ("c", "&since=oldest")] {
        let target = &format!("/channels/{channel},other?as=events{query}");
        let first = String::from_utf8(listen(&server, target).take_through(b"\n\n")).expect("UTF-8");
        let id = first.lines().find_map(|line| line.strip_prefix("id: ")).expect("a cursor");
        let missed = say(&server, channel, "missed");
        let mut again = listen_with(&server, target, &format!("Last-Event-ID: {id}\r\n"));
        again.take_through(b"\n\n");
        let news = String::from_utf8(again.take_through(b"\n\n")).expect("UTF-8");
        assert!(news.starts_with(&format!("id: {missed}\n")), "{target}: {news}");
    }
}

#[test]
fn ndjson_is_an_envelope_a_line() {
    let server = Server::start();
    for (target, lines) in
        [("/channels/a?as=ndjson", ""), ("/channels/a", "Accept: application/x-ndjson\r\n")]
    {
        let mut client = listen_with(&server, target, lines);
        let id = say(&server, "a", "x");
        assert_eq!(
            client.take_through(b"\n"),
            format!("{{\"id\":{id},\"channel\":\"a\",\"data\":\"x\"}}\n").as_bytes()
        );
    }
}

#[test]
fn what_a_client_says_it_cannot_read_is_not_what_it_gets() {
    let server = Server::start();
    say(&server, "a", "x");
    let kind = |accept: &str| {
        let mut client = Client::connect(&server);
        let target = "/channels/a?since=oldest";
        client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n"));
        client.head(Asked::GET).field("content-type").map(String::from)
    };
    for accept in ["text/event-stream;q=0", "text/event-stream ; Q=0.000", "*/*", "text/*"] {
        assert_eq!(kind(accept).as_deref(), Some("application/json"), "{accept}");
    }
    for accept in ["text/event-stream;q=0.1", "text/event-stream;charset=utf-8", "a/b;q=0, text/event-stream"]
    {
        assert_eq!(kind(accept).as_deref(), Some("text/event-stream; charset=utf-8"), "{accept}");
    }
    assert_eq!(kind("text/event-stream;q=0, application/x-ndjson").as_deref(), Some("application/x-ndjson"));
}

#[test]
fn an_iframe_gets_a_padded_head_and_then_calls() {
    let server = Server::start();
    let mut client = listen(&server, "/channels/a?as=iframe");
    let head = client.take(1_025);
    assert!(head.starts_with(b"<!DOCTYPE html>"), "{}", common::readable(&head));
    assert!(common::find(&head, b"<body>").is_some(), "the head is complete within its padding");
    let id = say(&server, "a", "x</script>'&\u{2028}");
    let rest = client.take_through(b"</script>\n");
    let call = String::from_utf8(rest.trim_ascii_start().to_vec()).expect("UTF-8");
    let json = r#""channel":"a","data":"x\u003c/script\u003e\u0027\u0026\u2028"}"#;
    assert_eq!(call, format!("<script>parent.comet.onmessage({{\"id\":{id},{json});</script>\n"));
    let mut other = listen(&server, "/channels/a?as=iframe&callback=top.$a_1.b&since=oldest");
    let call = other.take_through(b"</script>\n");
    assert!(common::find(&call, b"<script>top.$a_1.b({\"id\":").is_some(), "{}", common::readable(&call));
}

#[test]
fn a_poll_is_one_answer_with_a_length_and_the_connection_goes_on() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    let id = say(&server, "a", "x");
    let message = format!(r#"{{"id":{id},"channel":"a","data":"x"}}"#);
    let answer = client.get("/channels/a?since=oldest");
    assert_eq!(answer.text(), format!(r#"{{"messages":[{message}],"since":{id}}}"#));
    assert!(matches!(answer.head.framing, Framing::Length(_)));
    assert_eq!(answer.field("content-type"), Some("application/json"));
    let mut since = id;
    for n in 0..3 {
        client.send(format!("GET /channels/a?as=poll&since={since} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        since = say(&server, "a", &n.to_string());
        let message = format!(r#"{{"id":{since},"channel":"a","data":"{n}"}}"#);
        let answer = client.answer();
        assert_eq!(answer.text(), format!(r#"{{"messages":[{message}],"since":{since}}}"#));
        assert!(!answer.closes());
    }
}

#[test]
fn a_websocket_hears_an_envelope_a_frame() {
    let server = Server::start();
    let mut socket = WebSocket::open(&server, "/channels/a", b"");
    for text in ["x".to_owned(), "y".repeat(200), "z".repeat(65_536)] {
        let id = say(&server, "a", &text);
        assert_eq!(socket.hear(), Heard::Text(format!(r#"{{"id":{id},"channel":"a","data":"{text}"}}"#)));
    }
}

#[test]
fn silent_streams_are_sent_signs_of_life() {
    let server = Setup::default().setting("heartbeat", "\"100ms\"").start();
    let id = say(&server, "elsewhere", "x");
    let mut events = listen(&server, "/channels/a?as=events");
    events.take_through(b"\n\n");
    let mut ndjson = listen(&server, "/channels/a?as=ndjson");
    let mut iframe = listen(&server, "/channels/a?as=iframe");
    iframe.take_through(b"<body>");
    let mut socket = WebSocket::open(&server, "/channels/a", b"");
    for _ in 0..3 {
        assert_eq!(String::from_utf8(events.take_through(b"\n\n")), Ok(format!("id: {id}\n\n")));
        assert_eq!(ndjson.take(1), b"\n");
        assert_eq!(socket.hear(), Heard::Ping(Vec::new()));
    }
    assert!(iframe.take_through(b" \n \n").iter().all(|byte| byte.is_ascii_whitespace()));
}

#[test]
fn a_gap_is_told_in_each_transports_words() {
    let server = Setup::default().limit("history-messages-max", "2").start();
    let ids: Vec<u64> = ["1", "2", "3", "4"].iter().map(|text| say(&server, "a", text)).collect();
    let (from, to) = (ids[0], ids[2]);
    let gap = format!(r#"{{"from":{from},"to":{to}}}"#);
    let target = |name: &str| format!("/channels/a?as={name}&since={from}");
    let mut events = listen(&server, &target("events"));
    events.take_through(b"\n\n");
    let expected = format!("event: gap\ndata: {gap}\n\nid: {to}\ndata: 3\n\n");
    assert_eq!(String::from_utf8(events.take(expected.len())), Ok(expected));
    let line = listen(&server, &target("ndjson")).take_through(b"\n");
    assert_eq!(String::from_utf8(line), Ok(format!("{{\"gap\":{gap}}}\n")));
    let mut iframe = listen(&server, &target("iframe"));
    iframe.take_through(b"<script>");
    let call = format!("parent.comet.onmessage({{\"gap\":{gap}}});</script>\n");
    assert_eq!(String::from_utf8(iframe.take(call.len())), Ok(call));
    let answer = Client::connect(&server).get(&target("poll"));
    assert!(answer.text().ends_with(&format!(r#"],"since":{},"gap":{gap}}}"#, ids[3])), "{}", answer.text());
    let mut socket = WebSocket::open(&server, &target("websocket"), b"");
    assert_eq!(socket.hear(), Heard::Text(format!(r#"{{"gap":{gap}}}"#)));
    for transport in TRANSPORTS {
        let told = hear(&server, transport, &format!("a?since={from}"), "", 3);
        assert_eq!(told[0], Told::Gap { from, to }, "{transport:?}");
        assert_eq!(texts(&told[1..]), ["3", "4"], "{transport:?}");
    }
}

// --- Cursors ------------------------------------------------------------------------------------

#[test]
fn a_cursor_can_be_spelled_in_every_way_and_the_first_one_counts() {
    let server = Server::start();
    let ids: Vec<u64> = ["1", "2", "3", "4"].iter().map(|text| say(&server, "a", text)).collect();
    let (one, two, three) = (ids[0], ids[1], ids[2]);
    let header = |id: u64| format!("Last-Event-ID: {id}\r\n");
    for (lines, query, expected) in [
        (header(two), String::new(), &["3", "4"][..]),
        (String::new(), format!("since={two}"), &["3", "4"]),
        (String::new(), format!("last_event_id={two}"), &["3", "4"]),
        (String::new(), format!("lastEventId={two}"), &["3", "4"]),
        (String::new(), "since=oldest".to_owned(), &["1", "2", "3", "4"]),
        (String::new(), "last=1".to_owned(), &["4"]),
        (String::new(), "last=4".to_owned(), &["1", "2", "3", "4"]),
        (String::new(), "last=4294967297".to_owned(), &["1", "2", "3", "4"]),
        (String::new(), format!("since={}", two + 1), &["3", "4"]),
        (header(three), format!("since={one}&last=2"), &["4"]),
        (header(three), "since=oldest".to_owned(), &["4"]),
        (String::new(), format!("last=2&since={three}"), &["4"]),
        (String::new(), format!("lastEventId={one}&since={three}"), &["4"]),
        (String::new(), format!("last=1&lastEventId={two}"), &["3", "4"]),
        // What stands behind the one that counts is not even read.
        (header(three), "since=nonsense".to_owned(), &["4"]),
    ] {
        for transport in TRANSPORTS {
            let told = hear(&server, transport, &format!("a?{query}"), &lines, expected.len());
            assert_eq!(texts(&told), expected, "{transport:?} {query} {lines}");
        }
    }
}

#[test]
fn nothing_said_of_a_cursor_means_from_now_on() {
    let server = Server::start();
    say(&server, "a", "before");
    for query in ["", "&last=0"] {
        let mut client = listen(&server, &format!("/channels/a?as=ndjson{query}"));
        let id = say(&server, "a", "after");
        let line = String::from_utf8(client.take_through(b"\n")).expect("UTF-8");
        assert!(line.starts_with(&format!("{{\"id\":{id},")), "{line}");
    }
}

#[test]
fn an_unreadable_cursor_is_a_400_in_the_query_and_a_gap_in_the_header() {
    let server = Server::start();
    say(&server, "a", "1");
    for bad in
        ["", "-1", "+1", "abc", "1.5", "0x10", "99999999999999999999", "newest", "1%202", "%F0%9F%98%80"]
    {
        for spelling in ["since", "last_event_id", "lastEventId", "last"] {
            for name in ["events", "ndjson", "iframe", "poll"] {
                let answer = Client::connect(&server).get(&format!("/channels/a?as={name}&{spelling}={bad}"));
                assert_eq!(answer.status(), 400, "{spelling}={bad}");
                assert_eq!(answer.field("content-type"), Some("application/problem+json"));
            }
        }
    }
    for bad in ["-1", "abc", "1.5", "99999999999999999999", "oldest", "\u{1F600}", "1, 2"] {
        for transport in TRANSPORTS {
            let told = hear(&server, transport, "a", &format!("Last-Event-ID: {bad}\r\n"), 2);
            assert!(matches!(told[0], Told::Gap { from: 0, .. }), "{bad}: {told:?}");
            assert_eq!(texts(&told), ["(gap)", "1"], "{bad}");
        }
    }
}

#[test]
fn a_cursor_from_the_future_is_a_gap() {
    let server = Server::start();
    let id = say(&server, "a", "1");
    for ahead in [id + 1, 9_007_199_254_740_991, u64::MAX] {
        for transport in TRANSPORTS {
            let told = hear(&server, transport, &format!("a?since={ahead}"), "", 2);
            assert_eq!(told[0], Told::Gap { from: ahead, to: id }, "{transport:?}");
            assert_eq!(texts(&told), ["(gap)", "1"]);
        }
    }
}

#[test]
fn several_channels_have_one_cursor() {
    let server = Server::start();
    let ids: Vec<u64> = ["a", "b", "c", "a", "b", "c"]
        .iter()
        .enumerate()
        .map(|(n, channel)| say(&server, channel, &n.to_string()))
        .collect();
    for transport in TRANSPORTS {
        let told = hear(&server, transport, &format!("a,b?since={}", ids[0]), "", 3);
        let channel = |told: &Told| match told {
            Told::Message(news) => (news.id.unwrap_or(0), news.channel.clone()),
            other => panic!("{other:?}"),
        };
        let heard: Vec<(u64, String)> = told.iter().map(channel).collect();
        assert_eq!(heard, [(ids[1], "b".into()), (ids[3], "a".into()), (ids[4], "b".into())]);
        assert_eq!(texts(&hear(&server, transport, "c,a,b?last=2", "", 2)), ["4", "5"]);
        assert_eq!(texts(&hear(&server, transport, "c,a?since=oldest", "", 4)), ["0", "2", "3", "5"]);
        assert_eq!(texts(&hear(&server, transport, "a,a,a?since=oldest", "", 2)), ["0", "3"], "named thrice");
    }
}

#[test]
fn a_poll_of_several_channels_never_goes_in_circles_at_a_gap() {
    let server = Setup::default().limit("history-age", "\"1s\"").start();
    let mut client = Client::connect(&server);
    let first = say_on(&mut client, "a", "1");
    let second = say_on(&mut client, "a", "2");
    common::until("the history has forgotten", || {
        let stats = client.get("/stats/channels/a");
        stats.status() == 404 || stats.text().contains("\"messages\":0")
    });
    for names in ["a", "a,b"] {
        let answer = client.get(&format!("/channels/{names}?since={first}"));
        let value: serde_json::Value = serde_json::from_str(answer.text()).expect("JSON");
        assert!(value["gap"].is_object(), "{names}: {}", answer.text());
        let since = value["since"].as_u64().expect("a cursor");
        assert!(since >= second, "{names}: told of a gap, and sent back before it: {}", answer.text());
    }
}

// --- Hostile texts ------------------------------------------------------------------------------

#[test]
fn every_transport_brings_every_text_unharmed() {
    let server = Server::start();
    let hostile = [
        "",
        "\n",
        "\r",
        "\r\n",
        "\n\r",
        "\r\r\n\n",
        "a\rb\nc\r\nd",
        "data: x\nevent: gap\nid: 5\nretry: 1\n\nid: 7",
        ":comment\n\n\n",
        " leading",
        "</script><script>alert(1)</script>",
        "<!--<script>",
        "]]>&amp;&#39;'\"\\",
        "\u{2028}\u{2029}\u{feff}\u{0}\u{1}\u{7f}\u{85}",
        "\u{1F600}\u{10FFFF}é",
        r#"{"gap":{"from":1,"to":2}}"#,
        "\u{feff}data",
    ];
    let mut client = Client::connect(&server);
    let ids: Vec<u64> = hostile.iter().map(|text| say_on(&mut client, "a", text)).collect();
    for transport in TRANSPORTS {
        let told = hear(&server, transport, "a?since=oldest", "", hostile.len());
        for ((told, text), id) in told.iter().zip(hostile).zip(&ids) {
            let news = News { id: Some(*id), channel: "a".into(), event: None, data: text.into() };
            assert_eq!(*told, Told::Message(news), "{transport:?}");
        }
    }
    // Without an envelope the kind of line end is lost, as the standard has it, and nothing else.
    let mut client = listen(&server, "/channels/a?as=events&since=oldest");
    let mut hearing = Hearing::new(Transport::Events);
    let mut told = hearing.feed(b"HTTP/1.1 200 OK\r\n\r\n").expect("a head");
    while told.len() < hostile.len() {
        told.extend(hearing.feed(&client.try_some().expect("more")).expect("an event stream"));
    }
    let expected: Vec<String> =
        hostile.iter().map(|text| text.replace("\r\n", "\n").replace('\r', "\n")).collect();
    assert_eq!(texts(&told), expected);
}

#[test]
fn only_the_name_of_a_function_is_a_callback() {
    let server = Server::start();
    let long = format!("{}a", "a.".repeat(32));
    for bad in [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "1a",
        "a.1",
        "a-b",
        "a(",
        "alert(1)//",
        "a%3Bb",
        "a%20b",
        "a%00",
        "%3Cscript%3E",
        "a%0Ab",
        "a%E2%80%A8",
        "a%5B0%5D",
        "a%22",
        "a%27",
        &long,
    ] {
        let answer = Client::connect(&server).get(&format!("/channels/a?as=iframe&callback={bad}"));
        assert_eq!(answer.status(), 400, "{bad}");
        assert_eq!(answer.field("content-type"), Some("application/problem+json"));
        assert!(!answer.text().contains(['<', '(']), "{}", answer.text());
    }
    let just = format!("{}ab", "a.".repeat(31));
    listen(&server, &format!("/channels/a?as=iframe&callback={just}"));
}

// --- Other clients ------------------------------------------------------------------------------

#[test]
fn an_http_10_client_is_served_by_every_transport_but_websocket() {
    let server = Server::start();
    let id = say(&server, "a", "1");
    for (name, start) in [("events", "retry: "), ("ndjson", "{\"id\":"), ("iframe", "<!DOCTYPE html>")] {
        let mut client = Client::connect(&server);
        client.send(format!("GET /channels/a?as={name}&since=oldest HTTP/1.0\r\n\r\n"));
        let head = client.head(Asked::GET_10);
        assert_eq!((head.status, head.framing), (200, Framing::Close));
        assert_eq!(client.take(start.len()), start.as_bytes());
        client.take_through(id.to_string().as_bytes());
    }
    let mut client = Client::connect(&server);
    client.send("GET /channels/a?since=oldest HTTP/1.0\r\n\r\n");
    assert!(client.answer_to(Asked::GET_10).text().contains(&id.to_string()));
    client.ends();
    let mut client = Client::connect(&server);
    client.send(format!("GET /channels/a?as=websocket HTTP/1.0\r\nHost: localhost\r\n{UPGRADE}\r\n"));
    assert_eq!(client.answer_to(Asked::GET_10).status(), 400);
}

#[test]
fn channels_work_over_a_unix_socket() {
    let scratch = Scratch::new();
    let path = scratch.path().join("sock");
    let server = Setup::default().listen("127.0.0.1:0").listen(format!("unix:{}", path.display())).start();
    let mut listener = Client::to_unix(&path);
    listener.send("GET /channels/a?as=ndjson HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(listener.head(Asked::GET).status, 200);
    let mut socket = WebSocket::over(Client::to_unix(&path), "/channels/a", b"");
    let id = say_on(&mut Client::to_unix(&path), "a", "x");
    let expected = format!(r#"{{"id":{id},"channel":"a","data":"x"}}"#);
    assert_eq!(String::from_utf8(listener.take_through(b"\n")), Ok(expected.clone() + "\n"));
    assert_eq!(socket.hear(), Heard::Text(expected));
    drop(server);
}

#[test]
fn a_poll_without_news_ends_with_an_empty_list_in_time() {
    let server = Setup::default().setting("poll-timeout", "\"200ms\"").start();
    let id = say(&server, "a", "1");
    let mut client = Client::connect(&server);
    for names in ["a", "a,b", "empty"] {
        for _ in 0..2 {
            let answer = client.get(&format!("/channels/{names}"));
            assert_eq!(answer.text(), format!(r#"{{"messages":[],"since":{id}}}"#));
            assert!(!answer.closes());
        }
    }
}
