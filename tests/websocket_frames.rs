//! WebSockets frame by frame: what is answered, what is refused and with which code, and how it ends.
//!
//! Rows of `http-rules.md` and RFC 6455. Every conversation is sent in one piece and byte by byte:
//! a reader must not care where the network cuts.
#![cfg(feature = "shell")]

mod common;

use common::frames::{
    BINARY, CLOSE, CONTINUATION, FIN, Heard, PING, PONG, TEXT, UPGRADE, close, frame, head, text,
};
use common::{Client, Server, Setup, WebSocket, let_pass, stopwatch};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The server closes TCP within 2 s of a close frame. A bound that only one which does not close reaches: the machine
/// may be busy.
const CLOSE_MOST_MS: u128 = 10_000;

fn say(server: &Server, channel: &str, text: &str) {
    assert_eq!(Client::connect(server).post(&format!("/channels/{channel}"), text).status(), 201);
}

/// Sends in one piece, and byte by byte, and behind the handshake; expects a close with this code each time, and then
/// the end of the connection in time.
fn is_closed_with(server: &Server, name: &str, target: &str, bytes: &[u8], code: u16) {
    for way in 0..3 {
        let mut socket = WebSocket::open(server, target, if way == 2 { bytes } else { b"" });
        match way {
            0 => socket.send(bytes),
            1 => socket.client.send_pieces(server, bytes.chunks(bytes.len().div_ceil(300).max(1))),
            _ => {}
        }
        loop {
            match socket.try_hear() {
                Ok(Heard::Close(found, _)) => {
                    assert_eq!(found, Some(code), "{name}, way {way}");
                    break;
                }
                Ok(Heard::Pong(_) | Heard::Text(_) | Heard::Binary(_)) => {}
                other => panic!("{name}, way {way}: {other:?} instead of a close with {code}"),
            }
        }
        let start = stopwatch();
        // The server may reset what it did not read.
        let _ = socket.client.try_drain();
        assert!(start.elapsed().as_millis() < CLOSE_MOST_MS, "{name}: it does not hang up");
    }
}

// --- Handshake ----------------------------------------------------------------------------------

#[test]
fn a_handshake_is_answered_in_full_and_negotiates_nothing() {
    let server = Server::start();
    let offers =
        "Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
    for (target, lines) in [
        ("/channels/a", UPGRADE.to_owned()),
        ("/channels/a?as=websocket", UPGRADE.to_owned() + offers),
        (
            "/channels/a",
            UPGRADE.replace("Upgrade\r\n", "keep-alive, UPGRADE\r\n").replace(": websocket", ": WebSocket"),
        ),
    ] {
        let mut client = Client::connect(&server);
        client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"));
        let answer = String::from_utf8(client.take_through(b"\r\n\r\n")).expect("a head is text");
        let lower = answer.to_ascii_lowercase();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
        assert!(
            lower.contains("\r\nupgrade: websocket\r\n") && lower.contains("\r\nconnection: upgrade\r\n")
        );
        for never in ["content-length", "transfer-encoding", "protocol:", "extensions"] {
            assert!(!lower.contains(never), "{never} in {answer}");
        }
    }
}

#[test]
fn a_wrong_handshake_is_refused() {
    let server = Server::start();
    let whole = format!("Host: localhost\r\n{UPGRADE}");
    let without = |line: &str| whole.replace(line, "");
    let version = "Sec-WebSocket-Version: 13\r\n";
    for (name, method, lines, statuses) in [
        ("no version", "GET", without(version), &[400, 426][..]),
        ("version 8", "GET", whole.replace(": 13", ": 8"), &[426]),
        ("no key", "GET", without(KEY), &[400]),
        ("a short key", "GET", whole.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), &[400]),
        (
            "a key that is no base64",
            "GET",
            whole.replace("dGhlIHNhbXBsZSBub25jZQ==", "!!!!!!!!!!!!!!!!!!!!!!=="),
            &[400],
        ),
        ("two keys", "GET", whole.clone() + KEY, &[400]),
        ("no Host", "GET", UPGRADE.to_owned(), &[400]),
        ("POST", "POST", whole.clone() + "Content-Length: 0\r\n", &[201, 400, 405]),
        ("no Connection", "GET", without("Connection: Upgrade\r\n"), &[400, 426]),
        ("no Upgrade", "GET", without("Upgrade: websocket\r\n"), &[400, 426]),
        ("another site", "GET", whole.clone() + "Origin: http://evil.example\r\n", &[403]),
        ("another site, says the browser", "GET", whole.clone() + "Sec-Fetch-Site: cross-site\r\n", &[403]),
    ] {
        let mut client = Client::connect(&server);
        client.send(format!("{method} /channels/a?as=websocket HTTP/1.1\r\n{lines}\r\n"));
        let answer = client.answer();
        assert!(statuses.contains(&answer.status()), "{name}: {} {}", answer.status(), answer.text());
        if answer.status() == 426 {
            assert_eq!(answer.field("sec-websocket-version"), Some("13"), "{name}");
        }
    }
}

#[test]
fn a_handshake_of_which_a_proxy_has_kept_one_half_is_no_poll() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    let half = UPGRADE.replace("Connection: Upgrade\r\n", "");
    client.send(format!("GET /channels/a HTTP/1.1\r\nHost: localhost\r\n{half}\r\n"));
    let answer = client.answer();
    assert_eq!((answer.status(), answer.closes()), (426, true));
    assert!(answer.text().contains("a proxy must pass both on"), "{}", answer.text());
}

// --- Messages -----------------------------------------------------------------------------------

#[test]
fn the_lab_echoes_messages_of_every_size_and_shape() {
    let server = Setup::default().arg("--lab").start();
    let mut socket = WebSocket::open(&server, "/lab/echo", &text("right behind"));
    assert_eq!(socket.hear(), Heard::Text("right behind".into()));
    for length in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20] {
        let payload = "x".repeat(length);
        socket.send(text(&payload));
        assert_eq!(socket.hear(), Heard::Text(payload));
        let bytes: Vec<u8> = (0..length).map(|n| n as u8).collect();
        socket.send(frame(FIN | BINARY, &bytes));
        assert_eq!(socket.hear(), Heard::Binary(bytes));
    }
    // Cut in the middle of a character, with a ping in between.
    let (first, second) = "h\u{e9}llo".as_bytes().split_at(2);
    socket.send([frame(TEXT, first), frame(FIN | PING, b"?"), frame(FIN | CONTINUATION, second)].concat());
    assert_eq!(socket.hear(), Heard::Pong(b"?".to_vec()));
    assert_eq!(socket.hear(), Heard::Text("h\u{e9}llo".into()));
    socket.send(frame(FIN | PONG, b"unasked"));
    socket.send(frame(FIN | PING, &[0; 125]));
    assert_eq!(socket.hear(), Heard::Pong(vec![0; 125]));
}

#[test]
fn without_lab_there_is_no_echo() {
    let server = Server::start();
    let mut client = Client::connect(&server);
    client.send(format!("GET /lab/echo HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}\r\n"));
    assert_eq!(client.answer().status(), 404);
}

#[test]
fn what_breaks_the_protocol_is_closed_with_1002() {
    let server = Setup::default().arg("--lab").start();
    let unmasked = |first: u8, payload: &[u8]| [&[first, payload.len() as u8], payload].concat();
    let mask = [0; 4];
    let long = |first: u8, second: u8, length: &[u8], payload: usize| {
        [&[first, second][..], length, &mask, &vec![b'x'; payload]].concat()
    };
    let mut rows: Vec<(String, Vec<u8>)> = [
        ("an unmasked frame", unmasked(FIN | TEXT, b"x")),
        ("an unmasked close", unmasked(FIN | CLOSE, &[3, 232])),
        ("a continuation of nothing", frame(FIN | CONTINUATION, b"x")),
        ("a text within a text", [frame(TEXT, b"x"), frame(FIN | TEXT, b"y")].concat()),
        ("a binary within a text", [frame(TEXT, b"x"), frame(BINARY, b"y")].concat()),
        ("a ping in fragments", frame(PING, b"x")),
        ("a close in fragments", frame(CLOSE, b"")),
        ("a ping of 126 bytes", frame(FIN | PING, &[0; 126])),
        ("a close of 126 bytes", frame(FIN | CLOSE, &[3, 232].repeat(63))),
        ("a close of one byte", frame(FIN | CLOSE, &[3])),
        ("a length of 125 in two bytes", long(FIN | TEXT, 0xfe, &[0, 125], 125)),
        ("a length of 0 in two bytes", long(FIN | TEXT, 0xfe, &[0, 0], 0)),
        ("a length of 65535 in eight bytes", long(FIN | TEXT, 0xff, &65_535u64.to_be_bytes(), 65_535)),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .to_vec();
    for bits in [0x40, 0x20, 0x10, 0x70] {
        rows.push((format!("reserved bits {bits:#x}"), frame(FIN | bits | TEXT, b"x")));
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        rows.push((format!("opcode {opcode}"), frame(FIN | opcode, b"x")));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        rows.push((format!("close code {code}"), close(code)));
    }
    for (name, bytes) in rows {
        for target in ["/lab/echo", "/channels/a"] {
            is_closed_with(&server, &name, target, &bytes, 1002);
        }
    }
}

#[test]
fn text_that_is_not_utf8_is_closed_with_1007_as_soon_as_it_is_certain() {
    let server = Setup::default().arg("--lab").start();
    let half = "\u{e9}".as_bytes()[..1].to_vec();
    for (name, bytes) in [
        ("a lone continuation byte", frame(FIN | TEXT, b"\x80")),
        ("an overlong slash", frame(FIN | TEXT, b"\xc0\xaf")),
        ("a surrogate", frame(FIN | TEXT, b"\xed\xa0\x80")),
        ("beyond Unicode", frame(FIN | TEXT, b"\xf4\x90\x80\x80")),
        ("a message that ends within a character", frame(FIN | TEXT, &half)),
        ("the same, in fragments", [frame(TEXT, b"x"), frame(FIN | CONTINUATION, &half)].concat()),
        (
            "a wrong second half in the next fragment",
            [frame(TEXT, &half), frame(CONTINUATION, b"x")].concat(),
        ),
        ("in the first of many fragments", frame(TEXT, b"abc\xff")),
        (
            "in a frame that is not complete",
            [head(FIN | TEXT, 1_000), vec![0; 4], b"abc\xff".to_vec()].concat(),
        ),
        ("in the reason of a close", frame(FIN | CLOSE, b"\x03\xe8\xff")),
    ] {
        for target in ["/lab/echo", "/channels/a"] {
            is_closed_with(&server, name, target, &bytes, 1007);
        }
    }
}

#[test]
fn what_is_too_long_is_closed_with_1009_from_the_head_alone() {
    let server = Setup::default().arg("--lab").start();
    let before = server.resident_kib();
    for (name, target, bytes) in [
        ("16 MiB and one", "/lab/echo", head(FIN | BINARY, (16 << 20) + 1)),
        ("4 EiB", "/lab/echo", head(FIN | BINARY, 1 << 62)),
        ("a command of 1 MiB", "/channels/a", head(FIN | TEXT, 1 << 20)),
        ("4 EiB as a command", "/channels/a", head(FIN | TEXT, 1 << 62)),
        (
            "fragments that add up",
            "/channels/a",
            [frame(TEXT, &[b' '; 250_000]), frame(CONTINUATION, &[b' '; 250_000])].concat(),
        ),
    ] {
        is_closed_with(&server, name, target, &[bytes, vec![0; 4]].concat(), 1009);
    }
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 8_192, "grown by {grown} KiB for messages that were refused");
}

#[test]
fn endless_fragments_are_bounded() {
    let server = Server::start();
    let mut socket = WebSocket::open(&server, "/channels/a", b"");
    socket.send(frame(TEXT, b" "));
    let flood = frame(CONTINUATION, b"").repeat(10_000);
    for _ in 0..100 {
        // A million empty fragments; a server that has heard enough makes this fail.
        if socket.client.try_send(&flood).is_err() {
            break;
        }
    }
    assert!(matches!(socket.try_hear(), Ok(Heard::Close(Some(1002 | 1008 | 1009), _)) | Err(_)));
}

#[test]
fn binary_messages_mean_nothing_in_a_channel() {
    let server = Server::start();
    is_closed_with(&server, "binary", "/channels/a", &frame(FIN | BINARY, b"x"), 1003);
    is_closed_with(&server, "the first piece of a binary", "/channels/a", &frame(BINARY, b"x"), 1003);
}

// --- The end ------------------------------------------------------------------------------------

#[test]
fn a_close_is_answered_once_and_nothing_behind_it_is_heard() {
    let server = Setup::default().arg("--lab").start();
    for code in [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999] {
        let mut socket = WebSocket::open(&server, "/lab/echo", b"");
        socket.send([close(code), text("too late"), frame(FIN | PING, b"too late")].concat());
        assert_eq!(socket.hear(), Heard::Close(Some(code), String::new()));
        let start = stopwatch();
        socket.ends();
        assert!(start.elapsed().as_millis() < CLOSE_MOST_MS, "it does not hang up after {code}");
    }
    let mut socket = WebSocket::open(&server, "/channels/a", &frame(FIN | CLOSE, b""));
    assert!(matches!(socket.hear(), Heard::Close(None | Some(1000), _)));
    socket.ends();
    // A publication behind a close is never heard.
    let mut listener = WebSocket::open(&server, "/channels/b", b"");
    let mut socket = WebSocket::open(&server, "/channels/a", b"");
    socket.send([close(1000), text(r#"{"publish":"late","channel":"b"}"#)].concat());
    assert_eq!(socket.hear(), Heard::Close(Some(1000), String::new()));
    say(&server, "b", "first");
    assert_eq!(listener.json()["data"], "first");
}

#[test]
fn a_server_that_ends_says_1001_and_when_to_come_back() {
    let mut server = Server::start();
    let mut socket = WebSocket::open(&server, "/channels/a", b"");
    server.signal(rustix::process::Signal::TERM);
    match socket.hear() {
        Heard::Close(Some(1001), reason) => assert!(reason.contains("retry"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert!(server.exit().success());
}

#[test]
fn pushes_go_out_between_the_fragments_of_what_the_peer_says() {
    let server = Server::start();
    let mut socket = WebSocket::open(&server, "/channels/a", b"");
    let command = br#"{"publish":"mine","channel":"a","ref":1}"#;
    let (first, second) = command.split_at(10);
    let whole = frame(FIN | CONTINUATION, second);
    socket.send([frame(TEXT, first), whole[..5].to_vec()].concat());
    say(&server, "a", "theirs");
    assert_eq!(socket.json()["data"], "theirs");
    socket.send(&whole[5..]);
    let (one, two) = (socket.json(), socket.json());
    let (reply, news) = if one.get("ref").is_some() { (one, two) } else { (two, one) };
    assert_eq!(news["data"], "mine");
    assert_eq!(reply["id"], news["id"]);
}

#[test]
fn a_flood_of_pings_that_are_never_read_costs_no_memory() {
    let server = Server::start();
    let before = server.resident_kib();
    let mut socket = WebSocket::over(Client::narrow(&server), "/channels/a", b"");
    socket.client.give_up_writing_after(std::time::Duration::from_millis(300));
    let pings = frame(FIN | PING, &[b'x'; 125]).repeat(1_000);
    while socket.client.try_send(&pings).is_ok() {}
    let_pass(std::time::Duration::from_millis(50));
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 4_096, "grown by {grown} KiB");
    assert_eq!(Client::connect(&server).get("/healthz").status(), 200);
}
