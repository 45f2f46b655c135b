//! A request's head. The input is what a client sends.
//!
//! The verdict does not depend on the pieces. Every refusal closes the connection and says why. What was
//! accepted and is written down again is accepted again, and means the same.

use std::fmt::Write;

use encke::wire::http::{BodyReader, HeadLimits, HeadScan, Request, Version, decode_path};
use encke::wire::refusal::Refusal;
use encke::wire::{text, websocket};

use crate::pieces::cuts;

/// So low that an input of a few lines reaches every one of them.
const LOW: HeadLimits = HeadLimits { target_bytes_max: 40, head_bytes_max: 200, fields_max: 4 };

pub fn head(input: &[u8]) {
    for limits in [LOW, HeadLimits::default()] {
        let verdicts: Vec<_> = cuts(input).iter().map(|pieces| scan(input, pieces, &limits)).collect();
        assert!(verdicts.windows(2).all(|two| two[0] == two[1]), "pieces matter: {verdicts:?}");
        match &verdicts[0] {
            Err(refusal) => check_fatal(refusal),
            Ok(Some(length)) => parse(&input[..*length]),
            Ok(None) => {}
        }
    }
    // Without the scan as well: the parser relies on it for limits, and for nothing else.
    parse(input);
}

fn scan(input: &[u8], pieces: &[&[u8]], limits: &HeadLimits) -> Result<Option<usize>, Refusal> {
    let (mut scan, mut arrived) = (HeadScan::default(), 0);
    for piece in pieces {
        arrived += piece.len();
        if let Some(length) = scan.scan(&input[..arrived], limits)? {
            return Ok(Some(length));
        }
    }
    Ok(None)
}

fn parse(head: &[u8]) {
    let request = match Request::parse(head) {
        Ok(request) => request,
        Err(refusal) => return check_fatal(&refusal),
    };
    let is_asterisk = request.path == "*" && request.method.name() == "OPTIONS";
    assert!(request.path.starts_with('/') || is_asterisk, "{request:?}");
    assert!(request.host.is_some() || request.version == Version::Http10, "{request:?}");
    let _ = websocket::handshake(&request).map_err(|refusal| crate::check_refusal(&refusal));
    let _ = BodyReader::new(request.body, 1 << 16).map_err(|refusal| check_fatal(&refusal));
    let _ = decode_path(request.path, &mut String::new()).map_err(|refusal| crate::check_refusal(&refusal));
    text::pairs(request.query).for_each(drop);
    check_again(&request);
}

/// Written down again, a request is the same request.
fn check_again(request: &Request<'_>) {
    let mut start = format!("{} {}", request.method.name(), request.path);
    if !request.query.is_empty() {
        let _ = write!(start, "?{}", request.query);
    }
    start.push_str(if request.version == Version::Http10 { " HTTP/1.0\r\n" } else { " HTTP/1.1\r\n" });
    let mut head = start.into_bytes();
    for (name, value) in request.fields() {
        head.extend([name, b": ", value, b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    let again = Request::parse(&head).expect("what was accepted is accepted again");
    let facts = |request: &Request<'_>| {
        let lines: Vec<(Vec<u8>, Vec<u8>)> =
            request.fields().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let Request { method, version, body, keep_alive, expect_continue, .. } = *request;
        let (path, query) = (request.path.to_owned(), request.query.to_owned());
        (method, version, path, query, body, keep_alive, expect_continue, lines)
    };
    assert_eq!(facts(request), facts(&again));
}

fn check_fatal(refusal: &Refusal) {
    crate::check_refusal(refusal);
    assert!(refusal.close, "who knows where the next request begins? {refusal:?}");
    assert!(refusal.detail.is_ascii(), "{refusal:?}");
}
