//! Security, from outside: what a stranger's page, a stranger's client and a neighbour may not do.
//!
//! `docs/security.md` says what is defended and against whom; its tables name these tests. What belongs to
//! one of the other suites is there: request smuggling in `http_heads` and `http_bodies`, slow clients in
//! `http_connections` and `channel_slow`, paths out of the directory in `http_pages`.
#![cfg(feature = "shell")]

mod common;

use std::fs;
use std::os::unix::fs::symlink;

use common::frames::{Heard, UPGRADE, text};
use common::{Answer, Asked, CANARY, Client, Scratch, Server, Setup, WebSocket, readable};
use serde_json::json;

const TOKEN: &str = "0123456789abcdef-0123456789abcdef";
const OTHER_TOKEN: &str = "fedcba9876543210-fedcba9876543210";
const NDJSON: &str = "Content-Type: application/x-ndjson\r\n";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
const LINE: &str = "{\"channel\":\"a\",\"data\":\"x\"}\n";

/// One request on a connection of its own.
fn ask(server: &Server, request: &str) -> Answer {
    let mut client = Client::connect(server);
    client.send(request);
    client.answer_to(Asked::by(request.as_bytes()))
}

/// `METHOD TARGET` with these header lines and this body.
fn request(line: &str, fields: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{line} HTTP/1.1\r\nHost: localhost\r\n{fields}{length}\r\n{body}")
}

/// Every way to publish over HTTP: what it is called, the request line, its own header lines, its body.
const DOORS: &[(&str, &str, &str, &str)] = &[
    ("a POST", "POST /channels/a", "", "x"),
    ("a POST to several", "POST /channels/a,b", "", "x"),
    ("a bulk", "POST /channels", NDJSON, LINE),
    ("a DELETE", "DELETE /channels/a", "", ""),
    ("a line of the chat", "GET /backend.php?msg=x", "", ""),
    ("a form", "POST /backend.php", FORM, "msg=x"),
];

/// How many messages the server has taken.
fn messages(server: &Server) -> u64 {
    let stats = Client::connect(server).get("/stats");
    let stats: serde_json::Value = serde_json::from_str(stats.text()).expect("JSON");
    stats["messages"].as_u64().expect("a number")
}

// --- DNS rebinding ------------------------------------------------------------------------------

#[test]
fn a_name_of_a_strangers_is_not_served_however_it_is_written() {
    let server = Setup::default().arg("--host").arg("comet.example").start();
    let port = server.address().port();
    let host = |host: &str| format!("GET /stats HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let absolute = |host: &str| format!("GET http://{host}/stats HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for evil in [
        "evil.example",
        "EVIL.example",
        "evil.example.",
        &format!("evil.example:{port}"),
        "comet.example.evil.example",
        "evil-comet.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "xn--comet-example.evil",
        "comet.example..",
    ] {
        for request in [host(evil), absolute(evil)] {
            let answer = ask(&server, &request);
            assert!(matches!(answer.status(), 421 | 400), "{request} is answered {}", answer.status());
        }
    }
    for ours in
        ["comet.example", "Comet.EXAMPLE", "comet.example.", "comet.example:1", "localhost", "127.0.0.1"]
    {
        for request in [host(ours), absolute(ours)] {
            assert_eq!(ask(&server, &request).status(), 200, "{request}");
        }
    }
    // Raw UTF-8 in a name has two readings.
    assert_eq!(ask(&server, &host("com\u{e9}t.example")).status(), 400);
}

#[test]
fn no_door_opens_for_a_strangers_name() {
    let server = Server::start();
    for (what, line, fields, body) in DOORS {
        let request = request(line, fields, body).replace("Host: localhost", "Host: evil.example");
        assert_eq!(ask(&server, &request).status(), 421, "{what}");
    }
    let handshake = format!("GET /channels/a HTTP/1.1\r\nHost: evil.example\r\n{UPGRADE}\r\n");
    let answer = ask(&server, &handshake);
    assert_eq!(answer.status(), 421);
    assert!(answer.closes(), "frames that were sent without waiting must not be read as a request");
    assert_eq!(messages(&server), 0);
}

// --- Cross-site requests ------------------------------------------------------------------------

#[test]
fn a_page_of_another_site_publishes_through_no_door() {
    let server = Server::start();
    for (what, line, fields, body) in DOORS {
        for foreign in [
            "Origin: http://evil.example\r\n",
            "Origin: null\r\n",
            "Origin: http://localhost.evil.example\r\n",
            "Origin: http://localhost:1\r\n",
            "Sec-Fetch-Site: cross-site\r\n",
            "Sec-Fetch-Site: cross-site\r\nOrigin: http://localhost\r\n",
            // An image of a neighbour's: another port, or another name under the same domain.
            "Sec-Fetch-Site: same-site\r\n",
        ] {
            let answer = ask(&server, &request(line, &format!("{fields}{foreign}"), body));
            assert_eq!(answer.status(), 403, "{what} with {foreign}");
        }
    }
    assert_eq!(messages(&server), 0);
}

#[test]
fn a_page_of_another_site_opens_no_websocket_and_no_iframe() {
    let server = Server::start();
    for foreign in
        ["Origin: http://evil.example\r\n", "Sec-Fetch-Site: cross-site\r\n", "Sec-Fetch-Site: same-site\r\n"]
    {
        let handshake = request("GET /channels/a", &format!("{UPGRADE}{foreign}"), "");
        let answer = ask(&server, &handshake);
        assert_eq!(answer.status(), 403, "{foreign}");
        assert!(answer.closes());
    }
    // The document would call whatever it is told to, in our origin's name.
    let frame = request(
        "GET /channels/a?as=iframe&callback=opener.form.submit",
        "Sec-Fetch-Site: cross-site\r\n",
        "",
    );
    assert_eq!(ask(&server, &frame).status(), 403);
}

#[test]
fn what_looks_like_a_form_needs_no_preflight_and_is_refused_all_the_same() {
    let server = Server::start();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let fields = format!("Content-Type: {kind}\r\nOrigin: http://evil.example\r\n");
        assert_eq!(ask(&server, &request("POST /channels/a", &fields, "x")).status(), 403, "{kind}");
    }
    assert_eq!(messages(&server), 0);
}

// --- Tokens -------------------------------------------------------------------------------------

fn locked() -> Setup {
    Setup::default().setting("auth.publish-tokens", &format!("[\"{TOKEN}\", \"{OTHER_TOKEN}\"]"))
}

#[test]
fn with_tokens_every_door_needs_one() {
    let server = locked().start();
    for (what, line, fields, body) in DOORS {
        for wrong in [
            "",
            "Authorization: Bearer wrong\r\n",
            &format!("Authorization: Bearer {}\r\n", &TOKEN[..32]),
            &format!("Authorization: Bearer {TOKEN}0\r\n"),
            &format!("Authorization: Basic {TOKEN}\r\n"),
            &format!("Authorization: {TOKEN}\r\n"),
        ] {
            let answer = ask(&server, &request(line, &format!("{fields}{wrong}"), body));
            assert_eq!(answer.status(), 401, "{what} with {wrong}");
            assert_eq!(answer.field("www-authenticate"), Some("Bearer realm=\"encke\""), "{what}");
            assert!(!answer.text().contains("0123"), "{}", answer.text());
            assert!(!answer.text().contains("WebSocket"), "{what}: {}", answer.text());
        }
    }
    assert_eq!(messages(&server), 0);
    for token in [TOKEN, OTHER_TOKEN] {
        for (what, line, fields, body) in DOORS {
            let answer =
                ask(&server, &request(line, &format!("{fields}Authorization: Bearer {token}\r\n"), body));
            assert!(matches!(answer.status(), 200 | 201), "{what} is answered {}", answer.status());
        }
    }
}

#[test]
fn listening_stays_free() {
    let server = locked().start();
    for target in ["/channels/a?as=poll&since=oldest&last=0", "/stats", "/metrics", "/healthz", "/", "/chat/"]
    {
        let answer = ask(&server, &request(&format!("HEAD {target}"), "", ""));
        assert_eq!(answer.status(), 200, "{target}");
    }
    let polled = ask(&server, &request("GET /backend.php?msg=", "", ""));
    assert_eq!(polled.status(), 200, "an empty line says nothing");
    let mut socket = WebSocket::open(&server, "/channels/a", b"");
    let said = ask(&server, &request("POST /channels/a", &format!("Authorization: Bearer {TOKEN}\r\n"), "x"));
    assert_eq!(said.status(), 201);
    assert_eq!(socket.json()["data"], "x");
}

#[test]
fn a_websocket_brings_its_token_with_the_handshake_or_with_each_command() {
    let server = locked().start();
    let mut socket = WebSocket::open(&server, "/channels/b", b"");
    let publish = json!({ "publish": "x", "channel": "a", "ref": 1 });
    let refused = socket.ask(&publish.to_string());
    assert_eq!(refused["error"]["status"], 401);
    assert!(
        refused["error"]["detail"].as_str().is_some_and(|detail| detail.contains("\"token\":TOKEN")),
        "{refused}"
    );
    let with = |token: &str| json!({ "publish": "x", "channel": "a", "ref": 1, "token": token }).to_string();
    for wrong in ["", "wrong", &TOKEN[..32], &format!("{TOKEN}0"), &"x".repeat(300)] {
        let reply = socket.ask(&with(wrong));
        assert!(matches!(reply["error"]["status"].as_u64(), Some(401 | 400)), "{reply}");
    }
    assert!(socket.ask(&with(TOKEN))["id"].is_u64());
    assert_eq!(
        socket.ask(&publish.to_string())["error"]["status"],
        401,
        "a command's token is for that command"
    );

    let mut client = Client::connect(&server);
    let authorization = format!("Authorization: Bearer {OTHER_TOKEN}\r\n");
    client.send(request("GET /channels/b", &format!("{UPGRADE}{authorization}"), ""));
    assert!(client.take_through(b"\r\n\r\n").starts_with(b"HTTP/1.1 101 "));
    client.send(text(&publish.to_string()));
    let reply = client.take_through(b"}");
    assert!(common::find(&reply, b"\"id\":").is_some(), "{}", readable(&reply));

    let wrong =
        ask(&server, &request("GET /channels/b", &format!("{UPGRADE}Authorization: Bearer no\r\n"), ""));
    assert_eq!((wrong.status(), wrong.closes()), (401, true));
    // A proxy's own password is none of ours.
    let mut client = Client::connect(&server);
    client.send(request("GET /channels/b", &format!("{UPGRADE}Authorization: Basic eDp5\r\n"), ""));
    assert!(client.take_through(b"\r\n\r\n").starts_with(b"HTTP/1.1 101 "));
}

#[test]
fn a_request_that_brought_a_token_says_nothing_about_the_next_one() {
    let server = locked().start();
    let mut client = Client::connect(&server);
    let with = client.post_with("/channels/a", &format!("Authorization: Bearer {TOKEN}\r\n"), "x");
    assert_eq!(with.status(), 201);
    assert_eq!(client.post("/channels/a", "x").status(), 401);
    assert_eq!(client.post_with("/backend.php", FORM, "msg=x").status(), 401);
    assert_eq!(messages(&server), 1);
}

#[test]
fn a_body_without_a_token_is_not_asked_for() {
    let server = locked().start();
    let mut client = Client::connect(&server);
    client.send(
        "POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(client.answer().status(), 401);
}

#[test]
fn another_origins_page_may_ask_whether_it_may_send_a_token() {
    let server = locked().setting("origins", "[\"https://app.example\"]").start();
    let fields = "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n\
        Access-Control-Request-Headers: authorization\r\n";
    let answer = ask(&server, &request("OPTIONS /channels/a", fields, ""));
    let allowed = answer.field("access-control-allow-headers").unwrap_or_default().to_ascii_lowercase();
    assert!(allowed.split(", ").any(|name| name == "authorization"), "{allowed}");
    let fields = format!("Origin: https://app.example\r\nAuthorization: Bearer {TOKEN}\r\n");
    assert_eq!(ask(&server, &request("POST /channels/a", &fields, "x")).status(), 201);
    let refused = ask(&server, &request("POST /channels/a", "Origin: https://app.example\r\n", "x"));
    assert_eq!(refused.status(), 401);
    assert_eq!(
        refused.field("access-control-allow-origin"),
        Some("https://app.example"),
        "its page may read why"
    );
}

#[test]
fn on_a_public_address_it_wants_tokens_or_the_word_open() {
    let (code, said) = Setup::default().listen("0.0.0.0:0").fails();
    assert_eq!(code, Some(2));
    assert!(said.contains("publish-tokens") && said.contains("--open"), "{said}");
    let server = locked().listen("0.0.0.0:0").start();
    let mut client = Client::to(([127, 0, 0, 1], server.address().port()).into());
    assert_eq!(client.post("/channels/a", "x").status(), 401);
}

#[test]
fn no_token_is_logged_or_printed() {
    let server = locked().arg("--log-level").arg("trace").start();
    for token in [TOKEN, "a-guess-of-somebody-else"] {
        let fields = format!("Authorization: Bearer {token}\r\n");
        ask(&server, &request("POST /channels/a", &fields, "x"));
        let mut socket = WebSocket::open(&server, "/channels/a", b"");
        socket.ask(&json!({ "publish": "x", "channel": "b", "ref": 1, "token": token }).to_string());
    }
    let said = format!("{}{}", server.stdout(), server.stderr());
    assert!(said.contains("accepted"), "it does log: {said}");
    assert!(!said.contains("0123456789") && !said.contains("guess"), "{said}");
    for (tokens, secret) in
        [("[\"sesame\"]", "sesame"), ("\"sesame-sesame-sesame\"", "sesame"), ("[4242]", "4242")]
    {
        let (code, said) = Setup::default().setting("auth.publish-tokens", tokens).fails();
        assert_eq!(code, Some(2));
        assert!(said.contains("publish-tokens") && !said.contains(secret), "{said}");
    }
}

// --- Injection ----------------------------------------------------------------------------------

#[test]
fn a_callback_is_a_name_and_nothing_else() {
    let server = Server::start();
    for callback in [
        "alert(1)//",
        "a;b",
        "a%20b",
        "a%0ab",
        "%3C/script%3E",
        "a%5B0%5D",
        "a..b",
        ".a",
        "a.",
        "1a",
        "a%2f%2f",
        "%E2%80%A8",
        "a%3D1",
        "a%60b%60",
        &"a".repeat(65),
    ] {
        let answer = Client::connect(&server).get(&format!("/channels/a?as=iframe&callback={callback}"));
        assert_eq!(answer.status(), 400, "{callback}");
    }
}

#[test]
fn nothing_in_a_message_leaves_its_script() {
    let server = Server::start();
    let mut frame = Client::connect(&server);
    frame.send(request("GET /channels/a?as=iframe", "", ""));
    frame.head(Asked::GET);
    let evil = "</script><script>alert(1)</script><!--\u{2028}\u{2029}'\"\\";
    assert_eq!(Client::connect(&server).post("/channels/a", evil).status(), 201);
    let told = String::from_utf8(frame.take_through(b");</script>\n")).expect("text");
    let inside = told.rsplit_once("<script>").expect("one").1.strip_suffix(";</script>\n").expect("its end");
    assert!(!inside.contains(['<', '>', '&', '\u{2028}', '\u{2029}']), "{inside}");
}

#[test]
fn a_channels_name_holds_nothing_that_means_something_elsewhere() {
    let server = Server::start();
    for name in [
        "a%0d%0aX:1",
        "a%00",
        "%3Cscript%3E",
        "a%22b",
        "a'b",
        "a%2fb",
        "a%5cb",
        "a%20b",
        "%C3%A4",
        "",
        "a%2c",
    ] {
        let answer = ask(&server, &request(&format!("POST /channels/{name}"), "", "x"));
        assert!(matches!(answer.status(), 400 | 404), "{name} is answered {}", answer.status());
    }
    assert_eq!(messages(&server), 0);
}

#[test]
fn a_type_cannot_begin_a_line_of_its_own() {
    let server = Server::start();
    for event in ["a%0ddata:%20x", "a%0adata:%20x", "a%0d%0a%0d%0a", "a%00", "gap", "deleted"] {
        let answer = ask(&server, &request(&format!("POST /channels/a?event={event}"), "", "x"));
        assert_eq!(answer.status(), 400, "{event}");
        let line = json!({ "channel": "a", "data": "x", "event": event.replace("%0d", "\r").replace("%0a", "\n").replace("%00", "\0") });
        let answer = ask(&server, &request("POST /channels", NDJSON, &format!("{line}\n")));
        assert_eq!(answer.status(), 400, "{line}");
    }
    assert_eq!(messages(&server), 0);
}

#[test]
fn a_redirect_leads_nowhere_else() {
    let scratch = Scratch::new();
    for folder in ["sub", "evil.example", "sub/evil.example"] {
        scratch.write(&format!("{folder}/index.html"), "<p>a folder");
    }
    let server = Setup::default().pages(scratch.path()).start();
    for target in [
        "//evil.example",
        "///evil.example",
        "/%2fevil.example",
        "/%2F%2fevil.example",
        "/%5cevil.example",
        "/\\evil.example",
        "/.//evil.example",
        "/sub//evil.example",
        "/sub%2f..%2f%2fevil.example",
        "/%0d%0aLocation:%20http://evil.example/sub",
        "/sub%0d%0aX-Evil:%201",
    ] {
        for request in [
            request(&format!("GET {target}"), "", ""),
            format!("GET http://localhost{target} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ] {
            let answer = ask(&server, &request);
            assert!(matches!(answer.status(), 400 | 404), "{target} is answered {}", answer.status());
            assert_eq!(answer.field("location"), None, "{target}");
        }
    }
    for (target, location) in [
        ("/sub", "/sub/"),
        ("/evil.example", "/evil.example/"),
        ("/sub?next=//evil.example", "/sub/?next=//evil.example"),
    ] {
        let answer = Client::connect(&server).get(target);
        assert_eq!((answer.status(), answer.field("location")), (301, Some(location)), "{target}");
    }
}

#[test]
fn an_error_page_brings_nothing_of_the_request_back() {
    let server = locked().start();
    // The strict reader compares every error page with the canary.
    for (line, fields, body) in [
        (format!("GET /{CANARY}"), format!("X-{CANARY}: {CANARY}\r\n"), ""),
        (format!("GET /channels/{CANARY}!"), String::new(), ""),
        (format!("GET /channels/a?as={CANARY}"), String::new(), ""),
        (format!("GET /channels/a?since={CANARY}"), format!("Last-Event-Id-{CANARY}: {CANARY}\r\n"), ""),
        (format!("POST /channels/a?event={CANARY}"), format!("Authorization: Bearer {CANARY}\r\n"), CANARY),
        (format!("POST /channels/${CANARY}"), format!("Authorization: Bearer {TOKEN}\r\n"), CANARY),
        (format!("PUT /channels/{CANARY}"), String::new(), CANARY),
        (format!("GET /stats/channels/{CANARY}"), String::new(), ""),
        (format!("POST /{CANARY}/backend.php"), format!("Content-Type: {CANARY}/{CANARY}\r\n"), CANARY),
    ] {
        let answer = ask(&server, &request(&line, &fields, body));
        assert!(answer.status() >= 400, "{line} is answered {}", answer.status());
    }
}

// --- Files --------------------------------------------------------------------------------------

#[test]
fn a_link_does_not_lead_out_of_the_directory_even_if_it_is_turned_round_later() {
    let scratch = Scratch::new();
    scratch.write("secret.txt", "the operator's secret");
    scratch.write("pages/a.txt", "public");
    let pages = scratch.path().join("pages");
    symlink("a.txt", pages.join("link.txt")).expect("the scratch is writable");
    symlink("..", pages.join("up")).expect("the scratch is writable");
    symlink(scratch.path().join("secret.txt"), pages.join("absolute.txt")).expect("the scratch is writable");
    let server = Setup::default().pages(&pages).start();
    assert_eq!(Client::connect(&server).get("/link.txt").text(), "public");
    fs::remove_file(pages.join("link.txt")).expect("it is there");
    symlink("../secret.txt", pages.join("link.txt")).expect("the scratch is writable");
    for target in ["/link.txt", "/absolute.txt", "/up/secret.txt", "/up/pages/a.txt"] {
        assert_eq!(Client::connect(&server).get(target).status(), 404, "{target}");
    }
}

#[test]
fn a_pipe_or_a_socket_in_the_directory_stops_nobody() {
    let scratch = Scratch::new();
    let made = std::process::Command::new("mkfifo").arg(scratch.path().join("pipe")).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo is there");
    let _socket = std::os::unix::net::UnixListener::bind(scratch.path().join("s")).expect("a short path");
    let server = Setup::default().pages(scratch.path()).start();
    let descriptors = server.descriptors();
    for _ in 0..3 {
        for target in ["/pipe", "/s", "/pipe/", "/s/x"] {
            assert_eq!(Client::connect(&server).get(target).status(), 404, "{target}");
        }
    }
    common::until("every descriptor is closed again", || server.descriptors() <= descriptors);
}

#[test]
fn what_was_read_from_files_does_not_pile_up() {
    let scratch = Scratch::new();
    for n in 0..64 {
        scratch.write(&format!("{n}.bin"), vec![b'x'; 1 << 20]);
    }
    let server = Setup::default().pages(scratch.path()).limit("static-file-bytes-max", "\"1MiB\"").start();
    let before = server.resident_kib();
    for n in 0..64 {
        let page = Client::connect(&server).get(&format!("/{n}.bin"));
        assert_eq!((page.status(), page.body.len()), (200, 1 << 20));
    }
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 24 << 10, "{grown} KiB more, for 64 MiB of files of which four may be kept");
}

// --- Pages --------------------------------------------------------------------------------------

#[test]
fn our_own_pages_are_shut_tight() {
    let server = Server::start();
    for target in ["/", "/clock/", "/chat/", "/article/", "/events/", "/encke.js"] {
        let page = Client::connect(&server).get(target);
        let policy = page.field("content-security-policy").unwrap_or_default();
        for part in ["default-src 'self'", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'self'"] {
            assert!(policy.contains(part), "{target}: {policy} lacks {part}");
        }
        assert!(!policy.contains("unsafe"), "{target}: {policy}");
        // The clock's demo shows its own document in a hidden iframe, and so not DENY.
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("x-frame-options", "SAMEORIGIN"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(page.field(name), Some(value), "{target}");
        }
        assert!(
            page.field("permissions-policy").is_some_and(|policy| policy.contains("camera=()")),
            "{target}"
        );
    }
}

#[test]
fn an_operators_pages_are_his_own_but_their_type_is_what_it_says() {
    let scratch = Scratch::new();
    scratch.write("page.html", "<script>1</script>");
    let server = Setup::default().pages(scratch.path()).start();
    let page = Client::connect(&server).get("/page.html");
    assert_eq!(page.field("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.field("referrer-policy"), Some("same-origin"));
    assert_eq!(page.field("content-security-policy"), None, "only he knows what his pages need");
}

#[test]
fn what_is_no_page_is_not_taken_for_one() {
    let server = Server::start();
    Client::connect(&server).post("/channels/a", "<script>alert(1)</script>");
    for target in
        ["/channels/a?since=oldest", "/stats", "/stats/channels", "/metrics", "/nothing", "/channels/!"]
    {
        let answer = Client::connect(&server).get(target);
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"), "{target}");
        assert!(!answer.field("content-type").unwrap_or_default().contains("html"), "{target}");
    }
}

// --- Floods -------------------------------------------------------------------------------------

#[test]
fn names_that_are_alike_cost_no_more_than_others() {
    // Keys come from strangers. If their hash could be foreseen, so could their collisions; here only
    // that very many of a kind go through in one breath. `tests/tidy.rs` sees to the hash.
    let server = Server::start();
    let lines: String =
        (0..8_000).map(|n| format!("{{\"channel\":\"k{:0>40b}\",\"data\":\"\"}}\n", n)).collect();
    let answer = ask(&server, &request("POST /channels", NDJSON, &lines));
    assert_eq!(answer.status(), 201, "{}", answer.text());
    assert_eq!(messages(&server), 8_000);
    let mut socket = WebSocket::open(&server, "/channels/a", b"");
    socket.send(text(r#"{"unsubscribe":[],"ref":1}"#));
    assert!(matches!(socket.hear(), Heard::Text(_)));
}
