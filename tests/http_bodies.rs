//! Request bodies: how long they are, what they bring, and that nobody mistakes one for a request.
//!
//! A body whose length has two readings is how requests are smuggled; so every doubtful one
//! ends the connection. The chat's script is the place that takes a body.
#![cfg(feature = "shell")]

mod common;

use common::{After, CANARY, Case, Client, Server, case, conform};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

/// A form posted to a chat of its own, so that what one case says no other case hears.
fn post(fields: &str, body: &str) -> String {
    format!("POST /chat/backend.php HTTP/1.1\r\nHost: localhost\r\n{FORM}{fields}\r\n{body}")
}

fn refused(name: &str, bytes: impl Into<Vec<u8>>) -> Case {
    case(name, bytes, &[400], After::Closes)
}

fn refused_or_unknown(name: &str, bytes: impl Into<Vec<u8>>) -> Case {
    case(name, bytes, &[400, 501], After::Closes)
}

/// The newest message of a chat; `None` when it has none: then the poll is held, and the health
/// check pipelined behind it is not answered before another client speaks.
fn newest(server: &Server, directory: &str) -> String {
    let mut client = Client::connect(server);
    client.get(&format!("{directory}backend.php?timestamp=0")).text().to_owned()
}

#[test]
fn a_length_is_digits_and_said_once() {
    let length =
        |name: &str, fields: &str| refused(name, post(&format!("{fields}\r\nX: {CANARY}\r\n"), "msg=a"));
    conform(
        &Server::start(),
        &[
            case("a length", post("Content-Length: 5\r\n", "msg=a"), &[200], After::Lives),
            case(
                "a length with leading zeros",
                post("Content-Length: 0005\r\n", "msg=a"),
                &[200, 400],
                After::Either,
            ),
            length("a plus sign", "Content-Length: +5"),
            length("a minus sign", "Content-Length: -5"),
            length("hexadecimal", "Content-Length: 0x5"),
            length("a list of the same", "Content-Length: 5,5"),
            length("a list with a space", "Content-Length: 5, 5"),
            length("a space inside", "Content-Length: 5 5"),
            length("empty", "Content-Length:"),
            length("a fraction", "Content-Length: 5.0"),
            length("letters", "Content-Length: five"),
            length("a number beyond 64 bits", "Content-Length: 18446744073709551621"),
            length("a number beyond 128 bits", &format!("Content-Length: {}", "9".repeat(60))),
            length("the same twice", "Content-Length: 5\r\nContent-Length: 5"),
            length("two lengths", "Content-Length: 5\r\ncontent-length: 6"),
            length("two lengths, one empty", "Content-Length: 5\r\nContent-Length:"),
        ],
    );
}

#[test]
fn an_encoding_is_chunked_and_said_once() {
    let body = "5\r\nmsg=a\r\n0\r\n\r\n";
    let encoding = |name: &str, fields: &str| {
        refused_or_unknown(name, post(&format!("{fields}\r\nX: {CANARY}\r\n"), body))
    };
    let old = post("Transfer-Encoding: chunked\r\n", body).replace("HTTP/1.1", "HTTP/1.0");
    conform(
        &Server::start(),
        &[
            case("chunked", post("Transfer-Encoding: chunked\r\n", body), &[200], After::Lives),
            case("chunked in capitals", post("Transfer-Encoding: CHUNKED\r\n", body), &[200], After::Lives),
            encoding("chunked and a length", "Transfer-Encoding: chunked\r\nContent-Length: 5"),
            encoding("a length and chunked", "Content-Length: 5\r\nTransfer-Encoding: chunked"),
            encoding("chunked twice in a line", "Transfer-Encoding: chunked, chunked"),
            encoding("chunked in two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
            encoding("identity", "Transfer-Encoding: identity"),
            encoding("gzip", "Transfer-Encoding: gzip"),
            encoding("gzip before chunked", "Transfer-Encoding: gzip, chunked"),
            encoding("chunked before identity", "Transfer-Encoding: chunked, identity"),
            encoding(
                "identity and chunked in two lines",
                "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
            ),
            encoding("an unknown coding", "Transfer-Encoding: xchunked"),
            encoding("chunked with a parameter", "Transfer-Encoding: chunked;q=1"),
            encoding("chunked in quotes", "Transfer-Encoding: \"chunked\""),
            encoding("chunked with a comma", "Transfer-Encoding: chunked,"),
            encoding("an empty coding", "Transfer-Encoding:"),
            refused_or_unknown("chunked in HTTP/1.0", old),
            refused_or_unknown(
                "chunked and a length on a request that wants no body",
                "GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            ),
        ],
    );
}

#[test]
fn a_chunk_has_one_reading() {
    let chunked = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
    let good = |name: &str, body: &str| case(name, chunked(body), &[200], After::Lives);
    let bad = |name: &str, body: &str| refused(name, chunked(body));
    let long_extension = |length: usize| format!("5;{}\r\nmsg=a\r\n0\r\n\r\n", "x".repeat(length));
    conform(
        &Server::start(),
        &[
            good("two chunks", "2\r\nms\r\n3\r\ng=a\r\n0\r\n\r\n"),
            good("sizes of eight digits", "00000005\r\nmsg=a\r\n00000000\r\n\r\n"),
            good("a size in either case", "A\r\nmsg=aaaaaa\r\na\r\naaaaaaaaaa\r\n0\r\n\r\n"),
            good("an extension", "5;a=b\r\nmsg=a\r\n0;last\r\n\r\n"),
            good("a quoted extension", "5;a=\"b;c\"\r\nmsg=a\r\n0\r\n\r\n"),
            good("a trailer", "5\r\nmsg=a\r\n0\r\nX: y\r\n\r\n"),
            good("a trailer that claims a length", "5\r\nmsg=a\r\n0\r\nContent-Length: 99\r\n\r\n"),
            good("an extension of 4,000 bytes", &long_extension(4_000)),
            bad("an empty size", "\r\nmsg=a\r\n0\r\n\r\n"),
            bad("an empty size with an extension", ";a=b\r\nmsg=a\r\n0\r\n\r\n"),
            bad("a plus sign", "+5\r\nmsg=a\r\n0\r\n\r\n"),
            bad("a minus sign", "-5\r\nmsg=a\r\n0\r\n\r\n"),
            bad("a prefix", "0x5\r\nmsg=a\r\n0\r\n\r\n"),
            bad("a space before the size", " 5\r\nmsg=a\r\n0\r\n\r\n"),
            bad("a space after the size", "5 \r\nmsg=a\r\n0\r\n\r\n"),
            bad("a tab after the size", "5\t\r\nmsg=a\r\n0\r\n\r\n"),
            bad("a letter that is no digit", "5g\r\nmsg=a\r\n0\r\n\r\n"),
            bad("nine digits", "000000005\r\nmsg=a\r\n0\r\n\r\n"),
            bad("a size beyond 64 bits", "10000000000000005\r\nmsg=a\r\n0\r\n\r\n"),
            bad("LF after the size", "5\nmsg=a\r\n0\r\n\r\n"),
            bad("CR alone after the size", "5\rmsg=a\r\n0\r\n\r\n"),
            bad("LF in an extension", "5;a\nb\r\nmsg=a\r\n0\r\n\r\n"),
            bad("CR alone in an extension", "5;a\rb\r\nmsg=a\r\n0\r\n\r\n"),
            bad("data longer than its size", "4\r\nmsg=a\r\n0\r\n\r\n"),
            bad("data followed by LF", "5\r\nmsg=a\n0\r\n\r\n"),
            bad("data followed by nothing", "5\r\nmsg=a0\r\n\r\n"),
            bad("a trailer that ends with LF", "5\r\nmsg=a\r\n0\r\nX: y\n\r\n"),
            bad("a last line that ends with LF", "5\r\nmsg=a\r\n0\r\n\n"),
            bad("an extension of 5,000 bytes", &long_extension(5_000)),
            bad(
                "extensions of 80,000 bytes together",
                &"1;xxxxxxxxxxxxxxxxxxxxxxxxxxx\r\na\r\n".repeat(2_900),
            ),
            case(
                "a trailer that never ends",
                chunked(&format!("5\r\nmsg=a\r\n0\r\n{}", "X: y\r\n".repeat(20_000))),
                &[400, 431],
                After::Closes,
            ),
        ],
    );
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let large = "Content-Length: 100000000\r\n";
    conform(
        &Server::start(),
        &[
            case("a length over the limit, no body yet", post(large, ""), &[413], After::Closes),
            case(
                "the same with Expect",
                post(&format!("{large}Expect: 100-continue\r\n"), ""),
                &[413],
                After::Closes,
            ),
            case(
                "the largest length there is",
                post("Content-Length: 18446744073709551615\r\n", ""),
                &[400, 413],
                After::Closes,
            ),
            case(
                "a chunk over the limit",
                post("Transfer-Encoding: chunked\r\n", "5F5E100\r\n"),
                &[413],
                After::Closes,
            ),
            case(
                "the largest chunk there is",
                post("Transfer-Encoding: chunked\r\n", "FFFFFFFF\r\n"),
                &[413],
                After::Closes,
            ),
            case(
                "chunks that are too much together",
                post(
                    "Transfer-Encoding: chunked\r\n",
                    &format!("4000\r\n{}\r\n", "x".repeat(0x4000)).repeat(200),
                ),
                &[413],
                After::Closes,
            ),
        ],
    );
}

#[test]
fn a_body_that_nobody_wants_is_never_a_request() {
    // What hides in the body would publish if it were taken for a request.
    let hidden = format!("GET /smuggled/backend.php?msg={CANARY} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let length = format!("Content-Length: {}\r\n\r\n{hidden}", hidden.len());
    let chunks = format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    let server = Server::start();
    let mut cases = Vec::new();
    for (line, status) in [
        ("GET /healthz", 200),
        ("GET /clock/", 200),
        ("HEAD /healthz", 200),
        ("HEAD /chat/backend.php?timestamp=0", 200),
        ("GET /nowhere", 404),
        ("POST /nowhere", 404),
        ("DELETE /", 405),
        ("POST /clock/", 405),
    ] {
        for (way, rest) in [("a length", &length), ("chunks", &chunks)] {
            let bytes = format!("{line} HTTP/1.1\r\nHost: localhost\r\n{rest}");
            cases.push(case(format!("{line} with {way}"), bytes, &[status], After::Either));
        }
    }
    for (way, rest) in [("a length", &length), ("chunks", &chunks)] {
        let foreign = format!(
            "POST /chat/backend.php HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n{FORM}{rest}"
        );
        cases.push(case(format!("a cross-site POST with {way}"), foreign, &[403], After::Either));
        let misled = format!("POST /chat/backend.php HTTP/1.1\r\nHost: evil.example\r\n{FORM}{rest}");
        cases.push(case(format!("a POST to another host with {way}"), misled, &[421], After::Either));
    }
    conform(&server, &cases);
    assert_eq!(Client::connect(&server).get("/smuggled/backend.php?msg=first").status(), 200);
    let answer = newest(&server, "/smuggled/");
    assert!(answer.contains("first"), "{answer}");
    // The history's oldest: had a hidden request been heard, it would be it.
    let oldest = Client::connect(&server).get("/smuggled/backend.php?timestamp=1");
    assert!(oldest.text().contains("first"), "a hidden request was heard: {}", oldest.text());
}

#[test]
fn large_bodies_that_nobody_wants_do_not_hide_the_answer() {
    // The client is still sending megabytes when the answer is there; it must be able to read it.
    let server = Server::start();
    for (line, status) in [("POST /nowhere", 404), ("POST /chat/backend.php", 413), ("PUT /clock/", 405)] {
        // Both is true of the first and the last: too large, and not wanted.
        let expected = [status, 413];
        let mut client = Client::connect(&server);
        client.send(format!("{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\n"));
        let _ = client.try_send(&vec![b'x'; 4_000_000]);
        let answer = client.answer();
        assert!(expected.contains(&answer.status()), "{line}: {}", answer.status());
        assert!(answer.closes(), "{line}: eight megabytes are not drained");
        client.ends();
    }
}

#[test]
fn a_truncated_body_is_not_delivered() {
    let server = Server::start();
    let bodies = [
        "Content-Length: 20\r\n\r\nmsg=truncated",
        "Transfer-Encoding: chunked\r\n\r\n14\r\nmsg=truncated",
        "Transfer-Encoding: chunked\r\n\r\nd\r\nmsg=truncated\r\n",
        "Transfer-Encoding: chunked\r\n\r\nd\r\nmsg=truncated\r\n0\r\n",
    ];
    for body in bodies {
        let mut client = Client::connect(&server);
        client.send(format!("POST /cut/backend.php HTTP/1.1\r\nHost: localhost\r\n{FORM}{body}"));
        client.half_close();
        // A 400 would be kind, silence is allowed; a 200 would be a lie.
        let words = client.drain();
        assert!(
            words.is_empty() || words.starts_with(b"HTTP/1.1 4"),
            "{body:?}: {}",
            common::readable(&words)
        );
    }
    assert_eq!(Client::connect(&server).get("/cut/backend.php?msg=whole").status(), 200);
    let oldest = Client::connect(&server).get("/cut/backend.php?timestamp=1");
    assert!(oldest.text().contains("whole"), "{}", oldest.text());
}

#[test]
fn a_client_that_asks_first_is_told_to_continue() {
    let server = Server::start();
    for expectation in ["100-continue", "100-Continue"] {
        for (fields, body) in
            [("Content-Length: 5", "msg=a"), ("Transfer-Encoding: chunked", "5\r\nmsg=a\r\n0\r\n\r\n")]
        {
            let mut client = Client::connect(&server);
            client.send(post(&format!("Expect: {expectation}\r\n{fields}\r\n"), ""));
            assert_eq!(client.answer().status(), 100);
            assert!(!client.has_news(), "a final answer before the body");
            client.send(body);
            assert_eq!(client.answer().status(), 200);
            assert_eq!(client.get("/healthz").status(), 200);
        }
    }
}

#[test]
fn a_client_that_asks_first_is_told_when_its_body_is_not_wanted() {
    let expect = "Host: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n";
    conform(
        &Server::start(),
        &[
            case("POST to nowhere", format!("POST /nowhere HTTP/1.1\r\n{expect}\r\n"), &[404], After::Closes),
            case("POST to a page", format!("POST /clock/ HTTP/1.1\r\n{expect}\r\n"), &[405], After::Closes),
            case("GET", format!("GET /healthz HTTP/1.1\r\n{expect}\r\n"), &[200], After::Closes),
            case(
                "cross-site",
                post(&format!("Origin: null\r\n{}", &expect[17..]), ""),
                &[403],
                After::Closes,
            ),
            case(
                "an expectation nobody knows",
                "GET /healthz HTTP/1.1\r\nHost: localhost\r\nExpect: tea\r\n\r\n",
                &[200, 417],
                After::Either,
            ),
            case(
                "Expect without a body",
                "GET /healthz HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\r\n",
                &[200],
                After::Either,
            ),
        ],
    );
}

#[test]
fn an_old_client_is_never_told_to_continue() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    let head = post("Content-Length: 5\r\nExpect: 100-continue\r\n", "").replace("HTTP/1.1", "HTTP/1.0");
    client.send_pieces(&server, [head.as_bytes(), b"msg=a"]);
    assert_eq!(client.answer_to(common::Asked::GET_10).status(), 200);
    client.ends();
}

#[test]
fn requests_behind_a_body_are_served() {
    let server = Server::start();
    let both = post("Content-Length: 5\r\n", "msg=a") + "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let chunked = post("Transfer-Encoding: chunked\r\n", "5\r\nmsg=b\r\n0\r\nX: y\r\n\r\n");
    let bytes = [both.clone(), chunked, both].concat().into_bytes();
    for step in [bytes.len(), bytes.len() / 2, 7, 1] {
        let mut client = Client::connect(&server);
        client.send_pieces(&server, bytes.chunks(step));
        let statuses: Vec<u16> = (0..5).map(|_| client.answer().status()).collect();
        assert_eq!(statuses, [200; 5], "in pieces of {step}");
        assert!(!client.has_news());
    }
}
