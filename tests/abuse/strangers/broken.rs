//! Those who speak badly: damaged requests and frames, heads without end, names and cursors from nowhere.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::super::citizens::{asking, part};
use super::super::common::damage::{damaged, good_requests};
use super::super::common::frames::{CONTINUATION, FIN, PING, TEXT, close, frame, text};
use super::super::common::{Client, Dice, TRANSPORTS, Transport};
use super::super::site::Site;
use super::{get, overhear, send_all};

pub fn damage_requests(site: &Site, dice: &mut Dice) -> io::Result<()> {
    let requests = good_requests();
    for _ in 0..200 {
        let bytes = damaged(&requests, dice);
        let mut client = site.stranger(dice)?;
        let step = 1 + dice.below(bytes.len());
        let _ = bytes.chunks(step).try_for_each(|piece| client.try_send(piece));
        drop(client.overheard());
        part(client, dice);
    }
    Ok(())
}

pub fn damage_frames(site: &Site, dice: &mut Dice) -> io::Result<()> {
    let frames = vec![
        text(r#"{"publish":"x","channel":"frames","ref":1}"#),
        text(r#"{"subscribe":["frames","b"],"since":17}"#),
        text(r#"{"unsubscribe":["frames"]}"#),
        [frame(TEXT, b"{\"publish\":\"x\","), frame(FIN | CONTINUATION, b"\"channel\":\"frames\"}")].concat(),
        frame(FIN | PING, b"ping"),
        close(1000),
    ];
    for _ in 0..100 {
        let mut client = shaken(site, dice, "/channels/frames")?;
        for _ in 0..5 {
            let _ = client.try_send(&damaged(&frames, dice));
        }
        drop(client.overheard());
        part(client, dice);
    }
    Ok(())
}

/// What the fuzzer keeps, as it is.
pub fn play_the_corpus(site: &Site, dice: &mut Dice) -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for folder in ["head", "connection", "frames"] {
        for entry in fs::read_dir(corpus.join(folder))? {
            let bytes = fs::read(entry?.path())?;
            let mut client =
                if folder == "frames" { shaken(site, dice, "/lab/echo")? } else { site.stranger(dice)? };
            let _ = client.try_send(&bytes);
            drop(client.overheard());
            part(client, dice);
        }
    }
    Ok(())
}

/// Messages in pieces, of which the last never comes: more than all together may hold.
pub fn never_end_a_message(site: &Site, dice: &mut Dice) -> io::Result<()> {
    let mut clients = Vec::new();
    for _ in 0..30 {
        let mut client = shaken(site, dice, "/channels/frames")?;
        let _ = client.try_send(&frame(TEXT, &[b'x'; 1_000]));
        clients.push(client);
    }
    for _ in 0..100 {
        send_all(&mut clients, frame(CONTINUATION, &[b'x'; 2_000]));
    }
    overhear(&mut clients);
    clients.into_iter().for_each(|client| part(client, dice));
    Ok(())
}

pub fn send_huge_heads(site: &Site, dice: &mut Dice) -> io::Result<()> {
    for huge in [
        format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000)),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n", "x".repeat(100_000)),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}", "X: y\r\n".repeat(9_000)),
        format!("{} / HTTP/1.1\r\n", "X".repeat(50_000)),
        format!("POST /channels/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", u64::MAX),
        "\r\n".repeat(10_000),
    ] {
        let mut clients = site.strangers(dice, 10)?;
        send_all(&mut clients, huge);
        overhear(&mut clients);
        clients.into_iter().for_each(|client| part(client, dice));
    }
    Ok(())
}

pub fn name_channels_badly(site: &Site, dice: &mut Dice) -> io::Result<()> {
    const PARTS: [&str; 12] =
        ["$clock", "$", "a", ",", "..", "%2f", "%00", "%0d%0a", "%ff", "%F0%9F%98%80", "<script>", "\u{e9}"];
    let mut client = site.stranger(dice)?;
    for _ in 0..200 {
        let name: String = (0..1 + dice.below(40)).map(|_| PARTS[dice.below(PARTS.len())]).collect();
        let method = ["GET", "POST", "DELETE", "HEAD"][dice.below(4)];
        let request =
            format!("{method} /channels/{name} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        if client.try_send(request.as_bytes()).is_err() || client.read(1 << 14).map_or(true, |b| b.is_empty())
        {
            client = site.stranger(dice)?;
        }
    }
    Ok(())
}

pub fn come_with_wrong_cursors(site: &Site, dice: &mut Dice) -> io::Result<()> {
    for _ in 0..100 {
        let id = dice.roll() >> dice.below(64);
        let cursor = match dice.below(5) {
            0 => format!("last={id}"),
            1 => "since=oldest".to_owned(),
            2 => format!("since=-{id}"),
            3 => "since=nonsense".to_owned(),
            _ => format!("since={id}"),
        };
        let transport = TRANSPORTS[dice.below(TRANSPORTS.len())];
        let target = match dice.below(4) {
            0 => format!("/abuse/backend.php?timestamp={id}.{id}"),
            _ => format!("/channels/room.post,attic.post?{cursor}&as={}", transport.name()),
        };
        let mut client = site.stranger(dice)?;
        client.give_up_reading_after(Duration::from_millis(20));
        let _ = client.try_send(asking(&target, transport).as_bytes());
        let _ = client.read(1 << 14);
        part(client, dice);
    }
    let mut client = site.stranger(dice)?;
    let head = get("/channels/room.post?as=events").replace("\r\n\r\n", "\r\nLast-Event-ID: \u{0}\r\n\r\n");
    client.try_send(head.as_bytes())
}

/// A WebSocket, its answer unread.
fn shaken(site: &Site, dice: &mut Dice, target: &str) -> io::Result<Client> {
    let mut client = site.stranger(dice)?;
    client.try_send(asking(target, Transport::Websocket).as_bytes())?;
    let _ = client.read(1 << 14);
    Ok(client)
}
