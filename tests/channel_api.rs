//! The table of `wire.md`, row by row: publishing, forgetting, asking how it goes; who may; and
//! limits at n and n+1.
#![cfg(feature = "shell")]

mod common;

use common::frames::UPGRADE;
use common::{Answer, Asked, CANARY, Client, Framing, Server, Setup, until};
use serde_json::{Value, json};

const NDJSON: &str = "Content-Type: application/x-ndjson\r\n";

fn json_of(answer: &Answer) -> Value {
    serde_json::from_str(answer.text()).unwrap_or_else(|e| panic!("{e} in {}", answer.text()))
}

/// Sends a request without a body.
fn ask(server: &Server, line: &str, fields: &str) -> Answer {
    let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    let mut client = Client::connect(server);
    client.send(&request);
    client.answer_to(Asked::by(request.as_bytes()))
}

fn post(server: &Server, target: &str, fields: &str, body: impl AsRef<[u8]>) -> Answer {
    Client::connect(server).post_with(target, fields, body)
}

/// What is retained in a channel: the texts.
fn kept(server: &Server, channel: &str) -> Vec<String> {
    let answer = ask(server, &format!("GET /stats/channels/{channel}"), "");
    if answer.status() == 404 || json_of(&answer)["messages"] == 0 {
        return Vec::new();
    }
    let answer = json_of(&ask(server, &format!("GET /channels/{channel}?since=oldest"), ""));
    let messages = answer["messages"].as_array().expect("a list").clone();
    messages.iter().map(|message| message["data"].as_str().expect("text").to_owned()).collect()
}

/// An error as programs read it (RFC 9457).
fn is_problem(answer: &Answer, status: u16, what: &str) {
    assert_eq!(answer.status(), status, "{what}: {}", answer.text());
    assert_eq!(answer.field("content-type"), Some("application/problem+json"), "{what}");
    let problem = json_of(answer);
    assert_eq!(problem["status"], status, "{what}");
    for key in ["title", "detail"] {
        assert!(problem[key].as_str().is_some_and(|text| !text.is_empty()), "{what}: {problem}");
    }
}

// --- Publishing ---------------------------------------------------------------------------------

#[test]
fn a_message_gets_an_id_and_the_number_of_its_listeners() {
    let server = Server::start();
    let before = common::unix_s() * 1_000_000;
    let answer = post(&server, "/channels/a", "", "hello");
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.field("content-type"), Some("application/json"));
    let first = json_of(&answer);
    let id = first["id"].as_u64().expect("an id");
    assert!(id >= before && id < before + 60_000_000, "microseconds since 1970: {id}");
    assert_eq!(first, json!({ "id": id, "channels": ["a"], "subscribers": 0 }));
    let mut listener = Client::connect(&server);
    listener.send("GET /channels/a?as=ndjson HTTP/1.1\r\nHost: localhost\r\n\r\n");
    listener.head(Asked::GET);
    let second = json_of(&post(&server, "/channels/b,a?event=note", "", "hello"));
    assert_eq!((&second["channels"], &second["subscribers"]), (&json!(["b", "a"]), &json!(1)));
    assert!(second["id"].as_u64() > Some(id));
    let line: Value = serde_json::from_slice(&listener.take_through(b"\n")).expect("JSON");
    assert_eq!((&line["event"], &line["data"]), (&json!("note"), &json!("hello")));
}

#[test]
fn many_messages_are_published_all_or_none() {
    let server = Server::start();
    let lines = "{\"channel\":\"a\",\"data\":\"1\"}\r\n\n{\"data\":\"2\",\"channel\":\"b\",\"event\":\"e\"}";
    let answer = post(&server, "/channels", NDJSON, lines);
    assert_eq!(answer.status(), 201);
    let ids: Vec<u64> =
        json_of(&answer)["ids"].as_array().expect("ids").iter().filter_map(Value::as_u64).collect();
    assert!(ids.len() == 2 && ids[0] < ids[1], "{ids:?}");
    let long = json!({ "channel": "c", "data": "x".repeat(65_537) }).to_string();
    for (bad, status) in [
        ("{\"channel\":\"c\"}", 400),
        ("{\"channel\":\"c c\",\"data\":\"x\"}", 400),
        ("{\"channel\":\"$c\",\"data\":\"x\"}", 403),
        ("{\"channel\":\"c\",\"data\":1}", 400),
        ("{\"channel\":\"c\",\"data\":\"x\",\"event\":\"a\\nb\"}", 400),
        ("{\"channel\":\"c\",\"data\":\"x\",\"colour\":\"red\"}", 400),
        ("[\"c\",\"x\"]", 400),
        ("{\"channel\":\"c\",\"data\":\"x\"", 400),
        ("nonsense", 400),
        ("\u{fffd}{}", 400),
        (&long, 413),
    ] {
        let body = format!("{{\"channel\":\"c\",\"data\":\"good\"}}\n{bad}\n");
        is_problem(&post(&server, "/channels", NDJSON, body), status, &bad[..bad.len().min(60)]);
    }
    is_problem(
        &post(&server, "/channels", NDJSON, b"{\"channel\":\"c\",\"data\":\"\xff\"}"),
        400,
        "not UTF-8",
    );
    is_problem(&post(&server, "/channels", NDJSON, ""), 400, "nothing");
    is_problem(&post(&server, "/channels", "", lines), 415, "no type");
    assert_eq!(kept(&server, "c"), Vec::<String>::new(), "none means none");
}

#[test]
fn names_are_128_bytes_of_a_small_alphabet_and_at_most_64() {
    let server = Server::start();
    for good in ["a", "A-Z.0_9~:@x", &"n".repeat(128), "a%62c", "a:b@c", "-", ".", "..."] {
        assert_eq!(post(&server, &format!("/channels/{good}"), "", "x").status(), 201, "{good}");
    }
    for bad in [
        "",
        "a,",
        ",a",
        "a,,b",
        "a b",
        "a%20b",
        "a/b",
        "a%2Fb",
        "a%2Cb",
        "%C3%A9",
        "a%00",
        "a+b",
        "a*",
        "a%0d%0ab",
        "a'b",
        "a%22b",
        "%",
        "a%zz",
        &"n".repeat(129),
    ] {
        for request in ["POST", "GET", "DELETE"] {
            let answer = ask(&server, &format!("{request} /channels/{bad}"), "Content-Length: 0\r\n");
            assert!([400, 404].contains(&answer.status()), "{request} {bad}: {}", answer.status());
        }
    }
    let names = |count: usize| (0..count).map(|n| format!("n{n}")).collect::<Vec<_>>().join(",");
    assert_eq!(post(&server, &format!("/channels/{}", names(64)), "", "x").status(), 201);
    is_problem(&post(&server, &format!("/channels/{}", names(65)), "", "x"), 400, "65 channels");
    is_problem(&ask(&server, &format!("GET /channels/{}", names(65)), ""), 400, "65 channels");
    let last = json_of(&ask(&server, "GET /channels/n0?since=oldest", ""));
    assert_eq!(last["messages"].as_array().map(Vec::len), Some(1), "of 65 none was published");
}

#[test]
fn channels_of_the_servers_own_cannot_be_published_to() {
    let server = Server::start();
    for line in
        ["POST /channels/$clock", "POST /channels/$x", "POST /channels/a,$x", "DELETE /channels/$clock"]
    {
        is_problem(&ask(&server, line, "Content-Length: 0\r\n"), 403, line);
    }
    assert_eq!(kept(&server, "a"), Vec::<String>::new());
    is_problem(&ask(&server, "GET /channels/$x", ""), 404, "a channel that the server has not");
}

#[test]
fn a_types_name_is_one_line() {
    let server = Server::start();
    for good in ["note", "a%20b", "%C3%A9", "", &"e".repeat(128)] {
        assert_eq!(post(&server, &format!("/channels/a?event={good}"), "", "x").status(), 201, "{good}");
    }
    for bad in ["a%0Ab", "a%0Db", "a%00b", "gap", "deleted", "%FF", &"e".repeat(129)] {
        is_problem(&post(&server, &format!("/channels/a?event={bad}"), "", "x"), 400, bad);
    }
}

#[test]
fn a_message_fits_to_the_byte() {
    let server =
        Setup::default().limit("message-bytes-max", "\"1KiB\"").limit("bulk-bytes-max", "\"4KiB\"").start();
    assert_eq!(post(&server, "/channels/a", "", "x".repeat(1_024)).status(), 201);
    is_problem(&post(&server, "/channels/a", "", "x".repeat(1_025)), 413, "one more");
    let line = |length: usize| json!({ "channel": "b", "data": "x".repeat(length) }).to_string() + "\n";
    assert_eq!(post(&server, "/channels", NDJSON, line(1_024)).status(), 201);
    is_problem(&post(&server, "/channels", NDJSON, line(1_025)), 413, "one more in a line");
    let mut body = line(1_000).repeat(3);
    body += &" ".repeat(4_096 - body.len());
    assert_eq!(post(&server, "/channels", NDJSON, &body).status(), 201);
    is_problem(&post(&server, "/channels", NDJSON, body + " "), 413, "one more in all");
    assert_eq!(kept(&server, "a").len(), 1);
    // Refused from the head alone.
    let mut client = Client::connect(&server);
    client.send("POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1025\r\n\r\n");
    is_problem(&client.answer(), 413, "announced");
}

#[test]
fn a_body_that_is_not_text_or_not_whole_is_never_heard() {
    let server = Server::start();
    for bad in [&b"\xff"[..], b"a\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80"] {
        is_problem(&post(&server, "/channels/a", "", bad), 400, "not UTF-8");
    }
    for body in ["Content-Length: 10\r\n\r\ntrunc", "Transfer-Encoding: chunked\r\n\r\n5\r\ntrunc\r\n"] {
        let mut client = Client::connect(&server);
        client.send(format!("POST /channels/a HTTP/1.1\r\nHost: localhost\r\n{body}"));
        client.half_close();
        let answer = client.try_drain().unwrap_or_default();
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", common::readable(&answer));
    }
    assert_eq!(post(&server, "/channels/a", "", "whole").status(), 201);
    let chunked = "POST /channels/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nch\r\n4\r\nunks\r\n0\r\n\r\n";
    let mut client = Client::connect(&server);
    client.send(chunked);
    assert_eq!(client.answer().status(), 201);
    assert_eq!(kept(&server, "a"), ["whole", "chunks"]);
}

// --- Forgetting, and reports --------------------------------------------------------------------

#[test]
fn a_deleted_channel_forgets_and_tells() {
    let server = Server::start();
    post(&server, "/channels/a", "", "secret");
    let mut listener = Client::connect(&server);
    listener.send("GET /channels/a?as=events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    listener.head(Asked::GET);
    listener.take_through(b"\n\n");
    let answer = ask(&server, "DELETE /channels/a", "");
    assert!([200, 204].contains(&answer.status()), "{}", answer.status());
    let word = String::from_utf8(listener.take_through(b"\n\n")).expect("UTF-8");
    assert!(word.contains("event: deleted\n"), "{word}");
    until("it has forgotten", || kept(&server, "a").is_empty());
    post(&server, "/channels/a", "", "new");
    assert_eq!(kept(&server, "a"), ["new"]);
    is_problem(&ask(&server, "DELETE /channels/never", ""), 404, "no such channel");
    let several = ask(&server, "DELETE /channels/a,b", "");
    is_problem(&several, 400, "several");
    assert!(several.text().contains("DELETE takes one"), "{}", several.text());
}

#[test]
fn reports_are_json_and_metrics_are_prometheus_text() {
    let server = Server::start();
    post(&server, "/channels/a,b", "", "12345");
    let stats = json_of(&ask(&server, "GET /stats", ""));
    assert_eq!(stats["messages"], 2, "{stats}");
    let channels = json_of(&ask(&server, "GET /stats/channels", ""));
    let mut names: Vec<&str> = channels["channels"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|c| c["channel"].as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "b"]);
    let one = json_of(&ask(&server, "GET /stats/channels/a", ""));
    assert_eq!((&one["channel"], &one["messages"], &one["subscribers"]), (&json!("a"), &json!(1), &json!(0)));
    is_problem(&ask(&server, "GET /stats/channels/never", ""), 404, "no such channel");
    let health = ask(&server, "GET /healthz", "");
    assert_eq!((health.status(), health.text().trim_end()), (200, "ok"));
    let metrics = ask(&server, "GET /metrics", "");
    assert!(metrics.field("content-type").is_some_and(|kind| kind.starts_with("text/plain; version=0.0.4")));
    check_prometheus(metrics.text());
}

/// The text format: every sample has a type said before it, once; names, labels and values are well-formed; all
/// samples of a name stand together.
fn check_prometheus(text: &str) {
    assert!(text.ends_with('\n'));
    let name_of = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
    let (mut known, mut samples) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    let mut current = ("", "");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            current = rest.split_once(' ').expect("a name and a type");
            assert!(["counter", "gauge", "histogram", "summary", "untyped"].contains(&current.1), "{line}");
            assert!(known.insert(current.0), "{line} twice");
            assert!(current.1 != "counter" || current.0.ends_with("_total"), "{line}");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect("a name and a value");
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        assert!(name == current.0 || base == Some(current.0), "{line} stands behind {current:?}");
        assert!(name_of(name) && !name.starts_with(|c: char| c.is_ascii_digit()), "{line}");
        assert!(labels.is_empty() || labels.ends_with("\"}"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(samples.insert(sample), "{line} twice");
    }
    assert!(!samples.is_empty());
}

// --- Methods ------------------------------------------------------------------------------------

#[test]
fn other_methods_are_405_with_allow_and_options_names_them() {
    let server = Server::start();
    for (path, allowed) in [
        ("/channels/a", "GET HEAD OPTIONS POST DELETE"),
        ("/channels", "POST OPTIONS"),
        ("/stats", "GET HEAD OPTIONS"),
        ("/stats/channels", "GET HEAD OPTIONS"),
        ("/stats/channels/a", "GET HEAD OPTIONS"),
        ("/metrics", "GET HEAD OPTIONS"),
    ] {
        let expected: std::collections::BTreeSet<&str> = allowed.split(' ').collect();
        for method in ["OPTIONS", "PUT", "PATCH", "DELETE", "POST", "GET"] {
            if method != "OPTIONS" && expected.contains(method) {
                continue;
            }
            let answer =
                ask(&server, &format!("{method} {path}"), &format!("X: {CANARY}\r\nContent-Length: 0\r\n"));
            if method == "OPTIONS" {
                assert_eq!(answer.status(), 204, "{path}");
            } else {
                is_problem(&answer, 405, &format!("{method} {path}"));
            }
            let allow = answer.field("allow").expect("an Allow");
            assert_eq!(
                allow.split(", ").collect::<std::collections::BTreeSet<_>>(),
                expected,
                "{method} {path}"
            );
        }
    }
}

#[test]
fn head_answers_at_once_and_subscribes_nobody() {
    let server = Server::start();
    for target in ["/channels/a", "/channels/a?as=events", "/channels/a?as=ndjson", "/channels/a?as=iframe"] {
        let mut client = Client::connect(&server);
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let head = client.head(Asked::HEAD);
        assert_eq!((head.status, head.framing), (200, Framing::Nothing), "{target}");
        assert!(head.field("content-type").is_some());
        // Nothing that the GET would not say.
        assert_eq!(head.field("transfer-encoding"), None);
        assert_eq!(head.field("x-accel-buffering").is_some(), target.contains("as="), "{target}");
        if head.closes {
            client.ends();
        }
    }
    assert_eq!(json_of(&post(&server, "/channels/a", "", "x"))["subscribers"], 0);
    assert_eq!(ask(&server, "HEAD /channels/a?since=what", "").status(), 400);
}

#[test]
fn an_unknown_transport_is_named_with_those_there_are() {
    let server = Server::start();
    let answer = ask(&server, &format!("GET /channels/a?as={CANARY}"), "");
    is_problem(&answer, 400, "carrier pigeons");
    for name in ["iframe", "poll", "events", "ndjson", "websocket"] {
        assert!(answer.text().contains(name), "{}", answer.text());
    }
}

// --- Other sites --------------------------------------------------------------------------------

#[test]
fn a_page_of_another_site_may_not_publish() {
    let server = Server::start();
    for fields in [
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\nOrigin: http://localhost:1\r\n",
    ] {
        is_problem(&post(&server, "/channels/a", fields, "x"), 403, fields);
        is_problem(&post(&server, "/channels", &format!("{fields}{NDJSON}"), "{}"), 403, fields);
        is_problem(&ask(&server, "DELETE /channels/a", fields), 403, fields);
        let answer = ask(&server, "GET /channels/a", &format!("{fields}{UPGRADE}"));
        assert_eq!(answer.status(), 403, "{fields}");
        let reading = ask(&server, "GET /stats", fields);
        assert_eq!(reading.field("access-control-allow-origin"), None, "{fields}");
    }
    assert_eq!(kept(&server, "a"), Vec::<String>::new());
    assert_eq!(post(&server, "/channels/a", "Origin: http://localhost\r\n", "x").status(), 201);
}

#[test]
fn an_allowed_origin_may_and_is_told_so() {
    let server = Setup::default().setting("origins", "[\"https://app.example\"]").start();
    let origin = "Origin: https://app.example\r\n";
    let allows = |answer: &Answer| {
        assert_eq!(answer.field("access-control-allow-origin"), Some("https://app.example"));
        assert_eq!(answer.field("access-control-allow-credentials"), None);
        assert!(answer.field("vary").is_some_and(|vary| vary.contains("Origin")));
    };
    let answer = post(&server, "/channels/a", &format!("{origin}Sec-Fetch-Site: cross-site\r\n"), "x");
    assert_eq!(answer.status(), 201);
    allows(&answer);
    allows(&ask(&server, "GET /channels/a?since=oldest", origin));
    allows(&ask(&server, "GET /channels/a?since=what", origin));
    let asked = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n";
    let preflight = ask(&server, "OPTIONS /channels/a", &format!("{origin}{asked}"));
    assert_eq!(preflight.status(), 204);
    allows(&preflight);
    assert!(preflight.field("access-control-allow-methods").is_some_and(|methods| methods.contains("POST")));
    let headers = preflight.field("access-control-allow-headers").unwrap_or("").to_ascii_lowercase();
    assert!(headers.contains("content-type") && headers.contains("last-event-id"), "{headers}");
    for stranger in ["https://app.example.evil.example", "http://app.example", "https://evil.example", "null"]
    {
        let answer = ask(&server, "GET /stats", &format!("Origin: {stranger}\r\n"));
        assert_eq!(answer.field("access-control-allow-origin"), None, "{stranger}");
        assert!(
            answer.field("vary").is_some_and(|vary| vary.contains("Origin")),
            "a cache must not mix them up"
        );
        let preflight = ask(&server, "OPTIONS /channels/a", &format!("Origin: {stranger}\r\n{asked}"));
        assert_eq!(preflight.field("access-control-allow-origin"), None, "{stranger}");
    }
    let mut stream = Client::connect(&server);
    stream.send(format!("GET /channels/a?as=events HTTP/1.1\r\nHost: localhost\r\n{origin}\r\n"));
    assert_eq!(stream.head(Asked::GET).field("access-control-allow-origin"), Some("https://app.example"));
}

#[test]
fn whatever_is_wrong_with_a_request_to_the_api_its_program_can_read_why() {
    let server = Setup::default()
        .setting("origins", "[\"https://app.example\"]")
        .limit("head-timeout", "\"300ms\"")
        .limit("fields-max", "10")
        .start();
    let origin = "Host: localhost\r\nOrigin: https://app.example\r\n";
    let many = "A: b\r\n".repeat(11);
    // The last: whether the fields make sense, so that whose page asks is known.
    for (status, line, rest, is_whole) in [
        (400, "GET /channels/a HTTP/1.1", "Content-Length: x\r\n\r\n", true),
        (417, "POST /channels/a HTTP/1.1", "Content-Length: 1\r\nExpect: more\r\n\r\n", true),
        (426, "GET /channels/a?as=websocket HTTP/1.1", "\r\n", true),
        (501, "BREW /channels/a HTTP/1.1", "\r\n", true),
        (501, "POST http://localhost/channels/a HTTP/1.1", "Transfer-Encoding: gzip\r\n\r\n", true),
        (413, "POST /channels/a HTTP/1.1", "Content-Length: 100000\r\n\r\n", true),
        (505, "GET /stats HTTP/2.0", "\r\n", false),
        (400, "GET /channels/a HTTP/1.1", "Bad Name: x\r\n\r\n", false),
        (400, "GET /channels/a HTTP/1.1", "Host: localhost\r\n\r\n", false),
        (431, "GET /metrics HTTP/1.1", &many, false),
        (408, "GET /channels/a HTTP/1.1", "A: ", false),
    ] {
        for pieces in [1, 3, usize::MAX] {
            let mut client = Client::connect(&server);
            let request = format!("{line}\r\n{origin}{rest}");
            client.send_pieces(&server, request.as_bytes().chunks(pieces.min(request.len())));
            let answer = client.answer();
            is_problem(&answer, status, line);
            assert_eq!(answer.field("x-content-type-options"), Some("nosniff"), "{line}");
            let allowed = is_whole.then_some("https://app.example");
            assert_eq!(answer.field("access-control-allow-origin"), allowed, "{line} {rest}");
            assert!(answer.closes(), "{line}");
        }
    }
}

#[test]
fn what_is_wrong_elsewhere_is_said_in_a_sentence() {
    let server = Server::start();
    // One request after another: what is known of the first says nothing about the next.
    for wrong in ["GET /chat/ HTTP/1.1\r\nBad Name: x\r\n\r\n", "GET /channels/a HTTP/1.1 \r\n", "\0"] {
        let mut client = Client::connect(&server);
        client.send(format!("GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n{wrong}"));
        assert_eq!(client.answer().status(), 200);
        let answer = client.answer();
        assert_eq!((answer.status(), answer.closes()), (400, true), "{wrong:?}");
        assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"), "{wrong:?}");
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"), "{wrong:?}");
    }
}

#[test]
fn a_channel_too_many_is_refused_and_the_others_go_on() {
    let server = Setup::default().limit("channels-max", "2").start();
    assert_eq!(post(&server, "/channels/a,b", "", "x").status(), 201);
    let answer = post(&server, "/channels/a,c", "", "y");
    assert!(answer.status() == 503 || answer.status() == 429, "{}", answer.status());
    assert_eq!(kept(&server, "a"), ["x"], "all or none");
    // An EventSource is never told 503: it would not come back.
    let mut stream = Client::connect(&server);
    stream.send("GET /channels/d?as=events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(stream.head(Asked::GET).status, 200);
    assert!(stream.drain().starts_with(b"retry: "));
    assert_eq!(post(&server, "/channels/b", "", "z").status(), 201);
}
