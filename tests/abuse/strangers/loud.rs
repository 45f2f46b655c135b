//! Those who say too much: floods by every way, channels without number, uploads, pings.

use std::io;
use std::thread;
use std::time::Duration;

use super::super::citizens::{asking, part};
use super::super::common::frames::{FIN, PING, frame, text};
use super::super::common::{Client, Dice, Transport};
use super::super::site::{Site, somewhere};
use super::super::speakers::post;
use super::{get, overhear, send_all};

const NDJSON: &str = "Content-Type: application/x-ndjson\r\n";

pub fn flood_by_post(site: &Site, dice: &mut Dice) -> io::Result<()> {
    let text = "flood".repeat(dice.below(500));
    flood(site, dice, &post("/channels/flood", "", &text))
}

pub fn flood_by_form(site: &Site, dice: &mut Dice) -> io::Result<()> {
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    flood(site, dice, &post("/flood/backend.php", kind, "msg=a+flood"))
}

/// Many at once on each line.
fn flood(site: &Site, dice: &mut Dice, request: &str) -> io::Result<()> {
    for _ in 0..10 {
        let mut clients = site.strangers(dice, 5)?;
        send_all(&mut clients, request.repeat(50));
        clients.iter_mut().for_each(|client| drop(client.read(1 << 16)));
    }
    Ok(())
}

pub fn flood_by_bulk(site: &Site, dice: &mut Dice) -> io::Result<()> {
    for n in 0..30 {
        let line = format!("{{\"channel\":\"flood.{n}\",\"data\":\"{}\"}}\n", "x".repeat(dice.below(1_000)));
        let lines = (100_000 / line.len()).min(400);
        let mut client = site.stranger(dice)?;
        let _ = client.try_send(post("/channels", NDJSON, &line.repeat(lines)).as_bytes());
        let _ = client.read(1 << 16);
    }
    Ok(())
}

pub fn flood_by_websocket(site: &Site, dice: &mut Dice) -> io::Result<()> {
    let command = text(r#"{"publish":"a flood","channel":"flood","ref":"x"}"#);
    for _ in 0..10 {
        let mut client = site.stranger(dice)?;
        client.try_send(asking("/channels/flood", Transport::Websocket).as_bytes())?;
        let _ = client.try_send(&command.repeat(200));
        let _ = client.read(1 << 16);
        part(client, dice);
    }
    Ok(())
}

pub fn exceed_the_rate(site: &Site, dice: &mut Dice) -> io::Result<()> {
    let from = somewhere(dice);
    let mut clients = (0..4).map(|_| Client::try_from(&site.server, from)).collect::<io::Result<Vec<_>>>()?;
    for _ in 0..10 {
        send_all(&mut clients, post("/channels/rate", "", "x").repeat(100));
        thread::sleep(Duration::from_millis(50));
        overhear(&mut clients);
    }
    Ok(())
}

pub fn make_and_delete_channels(site: &Site, dice: &mut Dice) -> io::Result<()> {
    let tag = dice.roll();
    let mut client = site.stranger(dice)?;
    for n in 0..200 {
        let target = format!("/channels/deleted.{tag:x}.{n}");
        client.try_send(post(&target, "", "x").as_bytes())?;
        client.read(1 << 14)?;
        let mut listener = site.stranger(dice)?;
        listener.try_send(get(&format!("{target}?as=events&since=oldest")).as_bytes())?;
        client.try_send(format!("DELETE {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
        client.read(1 << 14)?;
        part(listener, dice);
    }
    Ok(())
}

/// Long names, each used once: more than the server remembers of channels that are gone.
pub fn make_channels_for_a_moment(site: &Site, dice: &mut Dice) -> io::Result<()> {
    for _ in 0..30 {
        let names = long_names(dice);
        let mut client = site.stranger(dice)?;
        client.try_send(bulk(&names).as_bytes())?;
        for name in &names {
            let last = if name == &names[names.len() - 1] { "Connection: close\r\n" } else { "" };
            let delete = format!("DELETE /channels/{name} HTTP/1.1\r\nHost: localhost\r\n{last}\r\n");
            client.try_send(delete.as_bytes())?;
        }
        while client.read(1 << 16).is_ok_and(|bytes| !bytes.is_empty()) {}
    }
    Ok(())
}

/// More than there may be. Time takes them away.
pub fn make_too_many_channels(site: &Site, dice: &mut Dice) -> io::Result<()> {
    for _ in 0..8 {
        let mut client = site.stranger(dice)?;
        client.try_send(bulk(&long_names(dice)).as_bytes())?;
        let _ = client.read(1 << 16);
    }
    Ok(())
}

fn long_names(dice: &mut Dice) -> Vec<String> {
    let tag = dice.roll();
    (0..400).map(|n| format!("{:x<100}.{tag:x}.{n}", "moment")).collect()
}

fn bulk(names: &[String]) -> String {
    let lines = names.iter().map(|name| format!("{{\"channel\":\"{name}\",\"data\":\"x\"}}\n"));
    post("/channels", NDJSON, &lines.collect::<String>())
}

pub fn listen_to_200_channels(site: &Site, dice: &mut Dice) -> io::Result<()> {
    let names: Vec<String> = (0..200).map(|n| format!("many.{n}")).collect();
    let target = format!("/channels/{}", names.join(","));
    let mut clients = Vec::new();
    for n in 0..20 {
        let mut client = site.stranger(dice)?;
        let transport = ["events", "ndjson", "iframe", "poll"][n % 4];
        client.try_send(get(&format!("{target}?as={transport}&since=oldest")).as_bytes())?;
        clients.push(client);
    }
    for _ in 0..3 {
        let mut speaker = site.stranger(dice)?;
        speaker.try_send(post(&target, "", "for everybody").as_bytes())?;
        let _ = speaker.read(1 << 16);
        overhear(&mut clients);
    }
    clients.into_iter().for_each(|client| part(client, dice));
    Ok(())
}

/// More than one channel can have: every callback needs an encoding of its own.
pub fn listen_by_many_callbacks(site: &Site, dice: &mut Dice) -> io::Result<()> {
    let mut clients = site.strangers(dice, 280)?;
    for (n, client) in clients.iter_mut().enumerate() {
        let _ = client.try_send(get(&format!("/channels/frames?as=iframe&callback=f{n}")).as_bytes());
        let _ = client.read(1 << 14);
    }
    clients.into_iter().for_each(|client| part(client, dice));
    Ok(())
}

/// More than all together may hold, and then nothing.
pub fn upload_and_wait(site: &Site, dice: &mut Dice) -> io::Result<()> {
    let request = post("/channels/upload", "", &"x".repeat(60_000));
    let mut clients = site.strangers(dice, 60)?;
    send_all(&mut clients, &request[..50_000]);
    thread::sleep(Duration::from_millis(500));
    send_all(&mut clients[..20], &request[50_000..]);
    overhear(&mut clients);
    clients.into_iter().for_each(|client| part(client, dice));
    Ok(())
}

/// Whose answers nobody reads.
pub fn ping_and_echo(site: &Site, dice: &mut Dice) -> io::Result<()> {
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = site.narrow_stranger(dice)?;
        client.try_send(asking("/lab/echo", Transport::Websocket).as_bytes())?;
        let _ = client.try_send(&frame(FIN | PING, &[b'x'; 125]).repeat(2_000));
        let _ = client.try_send(&text(&"x".repeat(300_000)));
        clients.push(client);
    }
    thread::sleep(Duration::from_millis(1_500));
    Ok(())
}
