//! Request heads: what is served, what is refused, whatever the pieces they come in.
//!
//! The rows follow RFC 9112 and the published accidents of other servers. The rule behind
//! all of them: what has two readings has none.
#![cfg(feature = "shell")]

mod common;

use common::{After, Asked, CANARY, Case, Client, Server, Setup, case, conform, until};

const HOST: &str = "Host: localhost\r\n";

/// `GET /healthz` with the given field lines.
fn with_fields(fields: &str) -> String {
    format!("GET /healthz HTTP/1.1\r\n{fields}\r\n")
}

fn served(name: &str, bytes: impl Into<Vec<u8>>) -> Case {
    case(name, bytes, &[200], After::Lives)
}

fn refused(name: &str, bytes: impl Into<Vec<u8>>) -> Case {
    case(name, bytes, &[400], After::Closes)
}

#[test]
fn plain_requests_are_served() {
    conform(
        &Server::start(),
        &[
            served("the shortest request", with_fields(HOST)),
            served("no space after the colon", with_fields("Host:localhost\r\n")),
            served("space and tab around a value", with_fields("Host: \t localhost \t \r\n")),
            served("a field name in any case", with_fields("hOST: localhost\r\n")),
            served("an empty value", with_fields(&format!("{HOST}X-Empty:\r\n"))),
            served("a value of high bytes", *b"GET /healthz HTTP/1.1\r\nX: \xe9\xff\r\nHost: a\r\n\r\n"),
            served(
                "every token character in a name",
                with_fields(&format!("{HOST}!#$%&'*+-.^_`|~09az: x\r\n")),
            ),
            served("a query", "GET /healthz?a=b&c HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            served("an escaped letter in the path", "GET /%68ealthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            served("HEAD", "HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            served(
                "keep-alive in 1.1, said needlessly",
                with_fields(&format!("{HOST}Connection: keep-alive\r\n")),
            ),
            case(
                "close asked for",
                with_fields(&format!("{HOST}Connection: close\r\n")),
                &[200],
                After::Closes,
            ),
            case(
                "close in a list",
                with_fields(&format!("{HOST}Connection: x, Close\r\n")),
                &[200],
                After::Closes,
            ),
            case("1.0 without Host", "GET /healthz HTTP/1.0\r\n\r\n", &[200], After::Closes),
            case("1.0 with Host", "GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n", &[200], After::Closes),
            served(
                "1.0 that asks to keep the connection",
                "GET /healthz HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
            ),
        ],
    );
}

#[test]
fn a_line_ends_with_crlf_and_nothing_else_does() {
    conform(
        &Server::start(),
        &[
            // The first ones have no end: they must be refused when the byte is seen, not later.
            refused("LF ends the request line", format!("GET /{CANARY} HTTP/1.1\n")),
            refused("LF ends a field", format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {CANARY}\n")),
            refused("LF ends the head", format!("GET / HTTP/1.1\r\n{HOST}\n")),
            refused("LF in an unfinished field", format!("GET / HTTP/1.1\r\nX: {CANARY}\nY: z")),
            refused("CR alone ends the request line", "GET / HTTP/1.1\rHost: localhost"),
            refused("CR alone in a value", "GET / HTTP/1.1\r\nX: a\rb"),
            refused("CR CR LF", "GET / HTTP/1.1\r\nX: a\r\r\n"),
            refused("CR alone in a field name", "GET / HTTP/1.1\r\nX\rY: a"),
            refused("CR alone in the target", "GET /a\rb"),
            refused("LF in the target", "GET /a\nb"),
            refused("CR alone before the request", "\rGET / HTTP/1.1"),
            refused("LF before the request", "\nGET / HTTP/1.1"),
            refused(
                "LF LF ends the head",
                format!("GET / HTTP/1.1\r\nHost: localhost\n\nGET /{CANARY} HTTP/1.1\r\n\r\n"),
            ),
            refused("a head that ends in CR LF CR and a letter", format!("GET / HTTP/1.1\r\n{HOST}\rX")),
            served("four empty lines before a request", format!("\r\n\r\n\r\n\r\n{}", with_fields(HOST))),
            refused(
                "five empty lines before a request",
                format!("\r\n\r\n\r\n\r\n\r\n{}", with_fields(HOST)),
            ),
        ],
    );
}

#[test]
fn a_request_line_is_method_target_version_and_two_spaces() {
    let line = |line: &str| format!("{line}\r\n{HOST}X: {CANARY}\r\n\r\n");
    let version = |name: &str, version: &str| {
        case(name, line(&format!("GET /healthz {version}")), &[400, 505], After::Closes)
    };
    conform(
        &Server::start(),
        &[
            refused("two spaces after the method", line("GET  /healthz HTTP/1.1")),
            refused("two spaces before the version", line("GET /healthz  HTTP/1.1")),
            refused("a space at the end", line("GET /healthz HTTP/1.1 ")),
            refused("a tab at the end", line("GET /healthz HTTP/1.1\t")),
            refused("a space at the start", line(" GET /healthz HTTP/1.1")),
            refused("a tab instead of a space", line("GET\t/healthz HTTP/1.1")),
            refused("a tab before the version", line("GET /healthz\tHTTP/1.1")),
            refused("a vertical tab", line("GET\x0b/healthz HTTP/1.1")),
            refused("a space in the target", line("GET /health z HTTP/1.1")),
            refused("no method", line("/healthz HTTP/1.1")),
            refused("no target", line("GET HTTP/1.1")),
            refused("no version (HTTP/0.9)", line("GET /healthz")),
            refused("HTTP/0.9 alone", "GET /healthz\r\n"),
            case(
                "a method that is not a token",
                line("G@T /healthz HTTP/1.1"),
                &[400, 405, 501],
                After::Closes,
            ),
            version("a minor version of 2", "HTTP/1.2"),
            version("a minor version of two digits", "HTTP/1.10"),
            version("a lower-case version", "http/1.1"),
            version("a version without a dot", "HTTP/11"),
            version("a version without a minor", "HTTP/1"),
            version("a version with a comma", "HTTP/1,1"),
            version("another protocol", "HTPP/1.1"),
            case("HTTP/2.0", line("GET /healthz HTTP/2.0"), &[505], After::Closes),
            case("HTTP/0.9 spelled out", line("GET /healthz HTTP/0.9"), &[400, 505], After::Closes),
            case("HTTP/3.0", line("GET /healthz HTTP/3.0"), &[505], After::Closes),
            case(
                "the preface of HTTP/2",
                "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                &[400, 405, 501, 505],
                After::Closes,
            ),
            case(
                "a TLS client hello",
                *b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
                &[400],
                After::Closes,
            ),
        ],
    );
}

#[test]
fn a_field_line_has_one_reading() {
    let field =
        |name: &str, line: &str| refused(name, with_fields(&format!("{HOST}{line}\r\nZ: {CANARY}\r\n")));
    let mut cases = vec![
        field("a folded line", "X: a\r\n b"),
        field("a line folded with a tab", "X: a\r\n\tb"),
        refused("a first line that begins with a space", with_fields(&format!(" X: y\r\n{HOST}"))),
        field("a space before the colon", "X : y"),
        field("a tab before the colon", "X\t: y"),
        field("no colon", "X"),
        field("no name", ": y"),
        field("a name with a space", "X Y: z"),
        field("a name in quotes", "\"X\": y"),
        field("a name with a slash", "X/Y: z"),
        field("a name with a parenthesis", "X(: z"),
        field("a space between Transfer-Encoding and its colon", "Transfer-Encoding : chunked"),
        field("a name with a high letter", "Xé: y"),
    ];
    for byte in (0..0x20).chain([0x7f]).filter(|b| !b"\t\r\n".contains(b)) {
        let value =
            [format!("GET /healthz HTTP/1.1\r\n{HOST}X: a").as_bytes(), &[byte], b"b\r\n\r\n"].concat();
        cases.push(refused(&format!("byte {byte:#04x} in a value"), value));
        let name =
            [format!("GET /healthz HTTP/1.1\r\n{HOST}X").as_bytes(), &[byte], b"Y: b\r\n\r\n"].concat();
        cases.push(refused(&format!("byte {byte:#04x} in a name"), name));
    }
    conform(&Server::start(), &cases);
}

#[test]
fn methods_that_do_not_apply_are_told_so() {
    let method = |name: &str, line: &str, statuses: &[u16]| {
        case(name, format!("{line} HTTP/1.1\r\n{HOST}X: {CANARY}\r\n\r\n"), statuses, After::Either)
    };
    conform(
        &Server::start(),
        &[
            method("an unknown method", "BREW /", &[405, 501]),
            method("an unknown method on an unknown path", "BREW /nowhere", &[404, 405, 501]),
            method("a lower-case method", "get /healthz", &[400, 405, 501]),
            method("a long method", &format!("{} /", "M".repeat(100)), &[400, 405, 501]),
            method("DELETE of a page", "DELETE /", &[405]),
            method("PUT of a page", "PUT /clock/", &[405]),
            method("POST to a page", "POST /clock/", &[405]),
            method("POST to the health check", "POST /healthz", &[405]),
            method("DELETE of a script", "DELETE /clock/backend.php", &[405]),
            method("TRACE", "TRACE /", &[405, 501]),
            method("CONNECT", "CONNECT localhost:80", &[400, 405, 501]),
            method("CONNECT to a path", "CONNECT /", &[400, 405, 501]),
            method("OPTIONS of a page", "OPTIONS /", &[200, 204]),
            method("OPTIONS of everything", "OPTIONS *", &[200, 204]),
        ],
    );
}

#[test]
fn options_names_the_methods_of_what_it_asks_about() {
    let server = Server::start();
    for (target, methods) in [
        ("/", &["GET", "HEAD", "OPTIONS"][..]),
        ("/clock/", &["GET", "HEAD", "OPTIONS"]),
        ("/clock/backend.php", &["GET", "HEAD", "OPTIONS"]),
        ("/chat/backend.php", &["GET", "HEAD", "POST", "OPTIONS"]),
        ("/healthz", &["GET", "HEAD", "OPTIONS"]),
    ] {
        let mut client = Client::connect(&server);
        client.send(format!("OPTIONS {target} HTTP/1.1\r\n{HOST}\r\n"));
        let answer = client.answer();
        let allow = answer.field("allow").unwrap_or_else(|| panic!("OPTIONS {target} without Allow"));
        let named: Vec<&str> = allow.split(',').map(str::trim).collect();
        for method in methods {
            assert!(named.contains(method), "OPTIONS {target} allows {allow}, not {method}");
        }
    }
}

#[test]
fn a_target_has_one_form() {
    let target = |name: &str, target: &str, statuses: &[u16], after: After| {
        case(name, format!("GET {target} HTTP/1.1\r\n{HOST}\r\n"), statuses, after)
    };
    let absolute = |name: &str, target: &str, host: &str, status: u16| {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        case(name, bytes, &[status], if status == 200 { After::Lives } else { After::Either })
    };
    let mut cases = vec![
        absolute("absolute form", "http://localhost/healthz", "localhost", 200),
        absolute("absolute form, scheme in capitals", "HTTP://localhost/healthz", "localhost", 200),
        absolute("absolute form with a port", "http://localhost:80/healthz?x", "localhost", 200),
        absolute("the authority of an absolute form wins", "http://localhost/healthz", "evil.example", 200),
        absolute("and wins also when it is the worse one", "http://evil.example/healthz", "localhost", 421),
        target("absolute form without a host", "http:///healthz", &[400], After::Closes),
        target("asterisk with GET", "*", &[400], After::Closes),
        target("authority form with GET", "localhost:80", &[400], After::Closes),
        target("no leading slash", "healthz", &[400], After::Closes),
        target("a fragment", "/healthz#top", &[400], After::Closes),
        target("raw UTF-8", "/é", &[400], After::Closes),
        target("a backslash", "/a\\b", &[400, 404], After::Either),
        target("an escaped NUL", "/%00", &[400, 404], After::Either),
        target("an escaped line end", "/%0d%0aX:%20y", &[400, 404], After::Either),
        target("an escape that is none", "/%zz", &[400, 404], After::Either),
        target("half an escape", "/%4", &[400, 404], After::Either),
        target("an escape cut off", "/%", &[400, 404], After::Either),
        target("a letter escaped twice", "/%2568ealthz", &[400, 404], After::Either),
        target("an unknown path", &format!("/{CANARY}"), &[404], After::Lives),
        target("an unknown path with markup", &format!("/%3Cscript%3E{CANARY}"), &[404], After::Lives),
        target("a query does not excuse the path", "/nowhere?/healthz", &[404], After::Lives),
    ];
    for byte in [1, 8, 0x0b, 0x0c, 0x1f, 0x7f, 0x80, 0xff] {
        let bytes = [b"GET /heal", &[byte][..], b"thz HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat();
        cases.push(refused(&format!("byte {byte:#04x} in the target"), bytes));
    }
    conform(&Server::start(), &cases);
}

#[test]
fn a_request_names_one_host() {
    let hosts = |name: &str, fields: &str, statuses: &[u16], after: After| {
        case(name, with_fields(fields), statuses, after)
    };
    let bad =
        |name: &str, host: &str| refused(name, with_fields(&format!("Host: {host}\r\nX: {CANARY}\r\n")));
    let good = |host: &str| served(&format!("Host: {host}"), with_fields(&format!("Host: {host}\r\n")));
    let wrong = |host: &str| {
        let fields = format!("Host: {host}\r\nX: {CANARY}\r\n");
        case(format!("Host: {host}"), with_fields(&fields), &[421], After::Either)
    };
    conform(
        &Server::start(),
        &[
            hosts("no Host", "", &[400], After::Closes),
            hosts("no Host but another field", "Hostess: localhost\r\n", &[400], After::Closes),
            hosts("the same Host twice", &HOST.repeat(2), &[400], After::Closes),
            hosts("two different Hosts", &format!("{HOST}X: y\r\nhost: a\r\n"), &[400], After::Closes),
            case(
                "two Hosts in 1.0",
                format!("GET /healthz HTTP/1.0\r\n{HOST}{HOST}\r\n"),
                &[400],
                After::Closes,
            ),
            bad("a Host with a space", "local host"),
            bad("a Host with a path", "localhost/x"),
            bad("a Host with a user", "me@localhost"),
            bad("a Host with a query", "localhost?x"),
            bad("a Host that is a list", "localhost, localhost"),
            bad("a port over 65535", "localhost:65536"),
            bad("a port of many digits", "localhost:99999999999999999999"),
            bad("a port with a sign", "localhost:+80"),
            bad("a port with letters", "localhost:http"),
            bad("two ports", "localhost:80:80"),
            bad("an unclosed bracket", "[::1"),
            bad("brackets around nothing", "[]"),
            bad("IPv6 without brackets", "::1"),
            bad("junk behind the bracket", "[::1]x"),
            good("localhost:8080"),
            good("localhost:65535"),
            good("LocalHost"),
            good("127.0.0.1"),
            good("10.1.2.3:80"),
            good("[::1]"),
            good("[2001:db8::1]:8080"),
            good("intranet"),
            wrong("evil.example"),
            wrong("evil.example:80"),
            wrong("127.0.0.1.evil.example"),
            wrong("localhost.evil.example"),
            wrong("1.2.3.4.5"),
        ],
    );
}

#[test]
fn a_configured_host_is_welcome() {
    let server = Setup::default().arg("--host").arg("chat.example").start();
    let host = |host: &str| with_fields(&format!("Host: {host}\r\n"));
    conform(
        &server,
        &[
            served("the name", host("chat.example")),
            served("the name with a port, in capitals", host("CHAT.example:443")),
            case("another name", host("talk.example"), &[421], After::Either),
            case("a name below it", host("a.chat.example"), &[421], After::Either),
            case("a name that ends with it", host("xchat.example"), &[421], After::Either),
        ],
    );
}

#[test]
fn what_is_too_long_is_refused_at_the_byte_that_makes_it_so() {
    let target = |length: usize| {
        let target = format!("/healthz?{}", "x".repeat(length - "/healthz?".len()));
        format!("GET {target} HTTP/1.1\r\n{HOST}\r\n")
    };
    let fields = |count: usize| with_fields(&format!("{HOST}{}", "X: y\r\n".repeat(count - 1)));
    let head = |length: usize| {
        let frame = with_fields(&format!("{HOST}X: \r\n")).len();
        with_fields(&format!("{HOST}X: {}\r\n", "y".repeat(length - frame)))
    };
    conform(
        &Server::start(),
        &[
            served("a target of 8 KiB", target(8192)),
            case("a target of 8 KiB and a byte", target(8193), &[414], After::Closes),
            case(
                "a target that never ends",
                format!("GET /{CANARY}{}", "x".repeat(9_000)),
                &[414],
                After::Closes,
            ),
            served("100 fields", fields(100)),
            case("101 fields", fields(101), &[431], After::Closes),
            case(
                "fields that never end",
                format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(120)),
                &[431],
                After::Closes,
            ),
            served("a head of 32 KiB", head(32_768)),
            case("a head of 32 KiB and a byte", head(32_769), &[431], After::Closes),
            case(
                "a value that never ends",
                format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(33_000)),
                &[431],
                After::Closes,
            ),
            case(
                "a name that never ends",
                format!("GET / HTTP/1.1\r\n{}", "y".repeat(33_000)),
                &[400, 431],
                After::Closes,
            ),
            case("a method that never ends", "M".repeat(33_000), &[400, 414, 431, 501], After::Closes),
        ],
    );
}

#[test]
fn a_head_without_end_does_not_grow_the_server() {
    let server = Server::start();
    let mut clients: Vec<Client> = (0..50).map(|_| Client::connect(&server)).collect();
    let before = server.resident_kib();
    for client in &mut clients {
        // Eight megabytes each; the server hangs up long before.
        let _ = client.try_send(format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(40_000)).as_bytes());
        for _ in 0..100 {
            let _ = client.try_send(&[b'y'; 80_000]);
        }
    }
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 20_000, "400 MB of fields grew the server by {grown} KiB");
    drop(clients);
    assert_eq!(Client::connect(&server).get("/healthz").status(), 200);
}

#[test]
fn a_head_in_single_bytes_costs_no_more_than_its_bytes() {
    // A parser that starts again with every byte reads a head of 32 KiB half a billion times. The bound is so wide
    // that only such a parser misses it: ten seconds of CPU.
    let server = Server::start();
    let mut client = Client::connect(&server);
    let head = with_fields(&format!("{HOST}{}", format!("X: {}\r\n", "y".repeat(320)).repeat(98)));
    for byte in head.as_bytes() {
        client.send([*byte]);
    }
    assert_eq!(client.answer().status(), 200);
    assert!(server.cpu_ticks() < 1_000, "one head took {} ticks of CPU", server.cpu_ticks());
}

#[test]
fn head_is_get_without_the_body() {
    let server = Setup::default().start();
    for target in ["/", "/clock/", "/chat/", "/encke.js", "/healthz", "/nowhere"] {
        let mut client = Client::connect(&server);
        let get = client.get(target);
        client.send(format!("HEAD {target} HTTP/1.1\r\n{HOST}\r\n"));
        let head = client.answer_to(Asked::HEAD);
        let names = |answer: &common::Answer| {
            let all = answer.head.fields.iter().filter(|(name, _)| name != "date");
            all.map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>()
        };
        assert_eq!((get.status(), names(&get)), (head.status(), names(&head)), "{target}");
        assert!(!client.has_news(), "a body behind the answer to HEAD {target}");
    }
}

#[test]
fn nothing_is_left_behind_by_refused_requests() {
    let server = Server::start();
    let before = server.descriptors();
    for _ in 0..200 {
        let mut client = Client::connect(&server);
        client.send("GET /\n");
        assert_eq!(client.answer().status(), 400);
    }
    until("all refused connections are closed", || server.descriptors() == before);
}
