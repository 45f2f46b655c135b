//! Damage: valid bytes that something has happened to.
//!
//! Bytes are changed, inserted, doubled, removed, the end is cut off, two are glued together.
//!
//! Knows: what valid requests look like. Never learns what the answers must be.

use super::frames::UPGRADE;
use super::{CANARY, Dice};

/// One of each kind of request; the canary is wherever there is room for it.
pub fn good_requests() -> Vec<Vec<u8>> {
    let head = format!("Host: localhost\r\nX: {CANARY}\r\n");
    [
        format!("GET /healthz HTTP/1.1\r\n{head}\r\n"),
        format!("GET / HTTP/1.0\r\nConnection: keep-alive\r\n{head}\r\n"),
        format!("HEAD /clock/ HTTP/1.1\r\n{head}If-None-Match: \"a\", W/\"b\"\r\n\r\n"),
        format!("OPTIONS * HTTP/1.1\r\n{head}\r\n"),
        format!("GET http://localhost:80/chat/?a=b%20c HTTP/1.1\r\n{head}Connection: close\r\n\r\n"),
        format!("GET /storm/backend.php?msg=h%C3%A9llo+{CANARY}&_= HTTP/1.1\r\n{head}Sec-Fetch-Site: same-origin\r\n\r\n"),
        format!("GET /storm/backend.php?timestamp=1700000000.123456 HTTP/1.1\r\n{head}\r\n"),
        format!("HEAD /storm/backend.php?padding=10 HTTP/1.1\r\n{head}\r\n"),
        form("Content-Length: 9\r\n", "msg=a%20bc"),
        form("Transfer-Encoding: chunked\r\n", "3;x=y\r\nmsg\r\n2\r\n=a\r\n0\r\nT: z\r\n\r\n"),
        form("Expect: 100-continue\r\nContent-Length: 5\r\n", "msg=a"),
        form("Content-Length: 5\r\nOrigin: http://localhost\r\n", "msg=a"),
        format!("POST /channels/storm?event=gale HTTP/1.1\r\n{head}Content-Length: 5\r\n\r\nhello"),
        format!("POST /channels HTTP/1.1\r\n{head}Content-Type: application/x-ndjson\r\nContent-Length: 30\r\n\r\n\
                 {{\"channel\":\"storm\",\"data\":\"x\"}}"),
        format!("DELETE /channels/storm HTTP/1.1\r\n{head}\r\n"),
        format!("GET /channels/storm?since=oldest HTTP/1.1\r\n{head}\r\n"),
        format!("GET /channels/storm,b?as=ndjson&last=3 HTTP/1.1\r\n{head}\r\n"),
        format!("GET /channels/storm HTTP/1.1\r\n{head}Accept: text/event-stream\r\nLast-Event-ID: 17\r\n\r\n"),
        format!("GET /channels/storm?as=iframe&callback=parent.f HTTP/1.1\r\n{head}\r\n"),
        format!("GET /channels/storm HTTP/1.1\r\n{head}{UPGRADE}\r\n"),
        format!("GET /stats/channels/storm HTTP/1.1\r\n{head}\r\n"),
    ]
    .map(String::into_bytes)
    .to_vec()
}

fn form(fields: &str, body: &str) -> String {
    let kind = "Content-Type: application/x-www-form-urlencoded";
    format!("POST /storm/backend.php HTTP/1.1\r\nHost: localhost\r\n{kind}\r\n{fields}\r\n{body}")
}

/// One of `seeds`, with up to four accidents.
pub fn damaged(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    const SPICE: &[u8] = b"\r\n\0 \t:;,/%?#=&+-0159aAfFxX\"\\\x7f\x80\xc3\xff*.[]@";
    let mut bytes = seeds[dice.below(seeds.len())].clone();
    for _ in 0..dice.below(5) {
        let at = dice.below(bytes.len());
        let spice = SPICE[dice.below(SPICE.len())];
        match dice.below(9) {
            0 if !bytes.is_empty() => bytes[at] = dice.roll() as u8,
            1 | 2 if !bytes.is_empty() => bytes[at] = spice,
            3 => bytes.insert(at, spice),
            4 if !bytes.is_empty() => drop(bytes.remove(at)),
            5 => bytes.truncate(at),
            6 => {
                let line = bytes[at..].iter().position(|&b| b == b'\n').map_or(bytes.len(), |n| at + n + 1);
                let copy = bytes[at..line].to_vec();
                bytes.splice(at..at, copy);
            }
            7 => bytes.extend(&seeds[dice.below(seeds.len())]),
            _ => bytes.splice(at..at, vec![spice; dice.below(3_000)]).for_each(drop),
        }
    }
    bytes
}
