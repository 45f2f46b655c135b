//! The server-time demo, byte for byte: what the pages of the old days have always been sent.
#![cfg(feature = "shell")]

mod common;

use common::{Asked, Client, Head, Server, find, readable, unix_s};

const CALL: &str = "<script type=\"text/javascript\">comet.printServerTime(";
const END: &str = ");</script>";

/// Opens a clock and takes its answer's head.
fn open(server: &Server, target: &str, version: &str) -> (Client, Head) {
    let mut client = Client::connect(server);
    client.send(format!("GET {target} HTTP/{version}\r\nHost: localhost\r\n\r\n"));
    let head = client.head(if version == "1.0" { Asked::GET_10 } else { Asked::GET });
    (client, head)
}

/// All that comes before the first tick, and that tick's time.
fn prelude(client: &mut Client) -> (String, u64) {
    let prelude = client.take_through(CALL.as_bytes());
    let prelude = String::from_utf8(prelude).expect("the page is UTF-8");
    (prelude.strip_suffix(CALL).expect("taken through it").to_owned(), time(client))
}

/// The number of a tick whose beginning has been taken already.
fn time(client: &mut Client) -> u64 {
    let rest = client.take_through(END.as_bytes());
    let digits = std::str::from_utf8(&rest[..rest.len() - END.len()]).unwrap_or("");
    let plain = digits.len() == 10 && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| plain).unwrap_or_else(|| panic!("not a Unix time: {}", readable(&rest)))
}

#[test]
fn the_answer_is_a_page_that_nobody_keeps() {
    let server = Server::start();
    for version in ["1.1", "1.0"] {
        let (_client, head) = open(&server, "/clock/backend.php", version);
        assert_eq!(head.status, 200);
        assert_eq!(head.field("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(head.field("cache-control"), Some("no-cache, must-revalidate"));
        assert_eq!(head.field("expires"), Some("Mon, 26 Jul 1997 05:00:00 GMT"));
        assert_eq!(head.field("connection").map(str::to_ascii_lowercase).as_deref(), Some("close"));
        assert_eq!(head.field("content-length"), None);
        assert_eq!(head.field("transfer-encoding"), None);
    }
}

#[test]
fn any_directory_has_a_clock() {
    let server = Server::start();
    for target in [
        "/backend.php",
        "/clock/backend.php",
        "/a/b/c/backend.php",
        "/clock/backend.php?",
        "/clock/backend.php?_=1",
    ] {
        let (mut client, head) = open(&server, target, "1.1");
        assert_eq!(head.status, 200, "{target}");
        prelude(&mut client);
    }
}

#[test]
fn the_page_begins_with_a_complete_head_that_finds_its_parent() {
    let server = Server::start();
    let (mut client, _) = open(&server, "/clock/backend.php", "1.1");
    let (page, _) = prelude(&mut client);
    for part in [
        "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0",
        "<html xmlns=\"http://www.w3.org/1999/xhtml\"",
        "<title>",
        "<script type=\"text/javascript\">",
        "KHTML",
        "prototype.js",
        "<body>",
    ] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    assert!(page.starts_with("<!DOCTYPE"), "{page}");
    assert!(page.find("</head>") < page.find("<body>"), "{page}");
    assert!(page.find("<head>") < page.find("window.parent.comet"), "{page}");
    assert!(page.find("window.parent.comet") < page.find("</head>"), "{page}");
    assert!(page.contains("var comet = window.parent.comet"), "{page}");
    for (opened, closed) in [("<head>", "</head>"), ("<script", "</script>"), ("<title>", "</title>")] {
        assert_eq!(page.matches(opened).count(), page.matches(closed).count(), "{opened} in {page}");
    }
}

#[test]
fn a_tick_is_a_script_and_not_a_byte_more() {
    let server = Server::start();
    let (mut client, _) = open(&server, "/clock/backend.php", "1.1");
    let (_, first) = prelude(&mut client);
    assert!(first.abs_diff(unix_s()) <= 5, "{first} is not the time");
    let length = CALL.len() + 10 + END.len();
    for n in 1..=5 {
        let tick = client.take(length);
        assert_eq!(tick, format!("{CALL}{}{END}", first + n).as_bytes(), "tick {n}: {}", readable(&tick));
    }
}

#[test]
fn seconds_are_counted_one_by_one_in_every_phase() {
    // Twenty clocks, opened all over a second: one that computes its number at the moment of sending is bound to repeat or to
    // skip one where its phase meets the turn of the second.
    let server = Server::start();
    let mut clocks: Vec<(Client, u64)> = Vec::new();
    for _ in 0..20 {
        let (mut client, _) = open(&server, "/clock/backend.php", "1.1");
        let (_, first) = prelude(&mut client);
        clocks.push((client, first));
        common::let_pass(std::time::Duration::from_millis(50));
    }
    for n in 1..=5 {
        for (i, (client, first)) in clocks.iter_mut().enumerate() {
            client.take_through(CALL.as_bytes());
            assert_eq!(time(client), *first + n, "tick {n} of clock {i}");
        }
    }
}

#[test]
fn each_connection_has_its_own_phase() {
    // A first tick comes at once, not at the next beat of a common clock: of clocks opened one after the other each has
    // its first before any clock has its second.
    let server = Server::start();
    let mut clocks: Vec<Client> = Vec::new();
    for n in 0..4 {
        let (mut client, _) = open(&server, "/clock/backend.php", "1.1");
        prelude(&mut client);
        let early = clocks.iter_mut().filter_map(|clock| clock.has_news().then_some(())).count();
        assert_eq!(early, 0, "clock {n} had to wait for the others' beat");
        clocks.push(client);
        common::let_pass(std::time::Duration::from_millis(200));
    }
}

#[test]
fn padding_comes_before_each_tick() {
    let server = Server::start();
    for padding in [0, 1, 256, 4096] {
        let (mut client, _) = open(&server, &format!("/clock/backend.php?padding={padding}"), "1.1");
        let spaces = " ".repeat(padding);
        let (page, first) = prelude(&mut client);
        assert!(page.ends_with(&spaces), "padding {padding}: {page:?}");
        assert!(!page.ends_with(&format!("{spaces} ")), "padding {padding}: too much");
        for n in 1..=2 {
            let tick = client.take(padding + CALL.len() + 10 + END.len());
            assert_eq!(tick, format!("{spaces}{CALL}{}{END}", first + n).as_bytes(), "{}", readable(&tick));
        }
    }
}

#[test]
fn padding_that_is_no_number_or_too_large_is_refused() {
    let server = Server::start();
    for padding in ["-1", "x", "1e3", "99999999999999999999", "1000000000", "4097"] {
        let mut client = Client::connect(&server);
        assert_eq!(client.get(&format!("/clock/backend.php?padding={padding}")).status(), 400, "{padding}");
    }
}

#[test]
fn head_gets_the_head_at_once() {
    let server = Server::start();
    for target in ["/clock/backend.php", "/clock/backend.php?padding=3"] {
        let mut client = Client::connect(&server);
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let answer = client.answer_to(Asked::HEAD);
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.field("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(answer.field("expires"), Some("Mon, 26 Jul 1997 05:00:00 GMT"));
        if answer.closes() {
            client.ends();
        } else {
            assert_eq!(client.get("/healthz").status(), 200);
        }
    }
}

#[test]
fn what_is_sent_behind_a_clock_is_not_heard() {
    let server = Server::start();
    let (mut client, _) = open(&server, "/clock/backend.php", "1.1");
    client.send("GET /behind/backend.php?msg=heard HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (_, first) = prelude(&mut client);
    let words = client.take(2 * (CALL.len() + 10 + END.len()));
    assert!(find(&words, b"HTTP/").is_none(), "{}", readable(&words));
    assert!(find(&words, (first + 2).to_string().as_bytes()).is_some(), "{}", readable(&words));
    assert_eq!(Client::connect(&server).get("/behind/backend.php?msg=first").status(), 200);
    let oldest = Client::connect(&server).get("/behind/backend.php?timestamp=1");
    assert!(oldest.text().contains("first"), "{}", oldest.text());
}

#[test]
fn clocks_whose_clients_left_are_let_go() {
    let server = Server::start();
    let before = server.descriptors();
    for n in 0..50 {
        let (mut client, _) = open(&server, "/clock/backend.php", "1.1");
        prelude(&mut client);
        if n % 2 == 0 {
            client.vanish();
        }
    }
    common::until("all descriptors are free again", || server.descriptors() == before);
}
