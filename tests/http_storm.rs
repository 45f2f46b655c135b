//! Ten thousand broken requests: the server answers in good form or hangs up, and nothing stays behind.
//!
//! Each request begins as a valid one and is then damaged at random: bytes changed, inserted,
//! doubled, removed, the end cut off, two requests glued together. Nobody says what the
//! answer must be; but *every* answer must be well-formed, and the server must survive.
#![cfg(feature = "shell")]

mod common;

use common::damage::{damaged, good_requests};
use common::{Asked, CANARY, Client, Dice, Framing, Head, Server, find, readable, until};

/// Change this to look elsewhere; a failure names the request, so that it can become a row of a table.
const SEED: u64 = 20_261_122;

const REQUESTS: usize = 10_000;

/// Everything the server said to a client that sent something unknown: a row of well-formed answers.
///
/// Whether an answer belongs to HEAD, or to HTTP/1.0, cannot be known for damaged requests. So a body may be missing
/// where its head announces one, provided that a head or the end follows. The last answer may be `unfinished` where
/// the client did not wait for the end.
fn check(words: &[u8], unfinished: bool) -> Result<(), String> {
    let mut rest = words;
    while !rest.is_empty() {
        let Some(end) = find(rest, b"\r\n\r\n").map(|at| at + 4) else {
            return if unfinished { Ok(()) } else { Err("a head without end".to_owned()) };
        };
        let old = find(&rest[..end], b"onnection: keep-alive").is_some();
        let head = Head::read(&rest[..end], Asked { head: false, old })
            .or_else(|_| Head::read(&rest[..end], Asked::HEAD))?;
        rest = &rest[end..];
        if head.status == 101 {
            // What follows is frames, and other tests' business.
            return Ok(());
        }
        let page = match head.framing {
            Framing::Length(length) => &rest[..rest.len().min(length)],
            _ => b"",
        };
        if head.status >= 400 && find(page, CANARY.as_bytes()).is_some() {
            return Err("an error page reflects the request".to_owned());
        }
        // No page of ours begins like a status line, so this is the next answer, and the last was one to HEAD.
        let bodiless = rest.is_empty() || rest.starts_with(b"HTTP/1.1 ");
        let chunks = find(rest, b"0\r\n\r\n").map(|at| at + 5);
        rest = match (head.framing, chunks) {
            (Framing::Nothing, _) => rest,
            _ if bodiless => rest,
            (Framing::Length(length), _) if rest.len() >= length => &rest[length..],
            (Framing::Chunked, Some(length)) => &rest[length..],
            (Framing::Close, _) => b"",
            _ if unfinished => b"",
            _ => return Err("a body cut off".to_owned()),
        };
    }
    Ok(())
}

#[test]
fn ten_thousand_broken_requests_break_nothing() {
    let server = Server::start();
    let before = server.descriptors();
    let (seeds, mut dice) = (good_requests(), Dice(SEED));
    let mut resident_kib = 0;
    for n in 0..REQUESTS {
        if n == REQUESTS / 5 {
            // By now everything that is kept for good has been made.
            resident_kib = server.resident_kib();
        }
        let bytes = damaged(&seeds, &mut dice);
        let step = if dice.below(4) == 0 { 1 + dice.below(bytes.len()) } else { bytes.len() };
        let mut client = Client::connect(&server);
        let naps = server.naps();
        // A server that has heard enough hangs up in the middle; what it said then counts.
        let _ = bytes.chunks(step.max(1)).try_for_each(|piece| client.try_send(piece));
        // A stream has no end, and a poll none before its news: there the client leaves when it has heard the start.
        let unfinished = ["/backend.php", "/channels"].iter().any(|p| find(&bytes, p.as_bytes()).is_some());
        let words = if unfinished {
            server.rests_after(naps);
            client.overheard()
        } else {
            client.half_close();
            client.try_drain().unwrap_or_else(|e| panic!("request {n}: {e}\n  C: {}", readable(&bytes)))
        };
        if let Err(e) = check(&words, unfinished) {
            panic!("request {n}: {e}\n  C: {}\n  S: {}", readable(&bytes), readable(&words));
        }
        if unfinished {
            client.vanish();
        }
    }
    assert_eq!(Client::connect(&server).get("/healthz").status(), 200);
    until("every descriptor is free again", || server.descriptors() == before);
    // Histories go on filling up to their limit, 1 MiB in each channel that a request happened to name.
    let grown = server.resident_kib().saturating_sub(resident_kib);
    assert!(grown < 4_000, "8,000 broken requests grew the server by {grown} KiB");
}
