//! Speakers: one for each room, and each says in the book what became of every message.
//!
//! Knows: the ways to publish. Never learns who listens.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use super::book::Room;
use super::citizens::asking;
use super::common::chat::encoded;
use super::common::frames::{self, Heard, take};
use super::common::{Asked, Client, Dice, Transport};
use super::site::Site;

/// By what way somebody speaks.
#[derive(Clone, Copy)]
pub enum Way {
    Post,
    Websocket,
    /// As the article's page does.
    Get,
    /// As a form does.
    Form,
}

/// What became of a message.
enum Fate {
    Said(u64),
    /// Said, and nobody says the id.
    Taken,
    Refused,
    /// The line broke: it may have been said or not.
    Unknown,
}

/// Messages on one connection, before the next one is made.
const MESSAGES_PER_LINE: usize = 300;

/// Speaks while there are strangers, and then a last word, which is taken.
pub fn speak(site: &Site, room: &Room, ways: &[Way], number: u8) {
    let from = Ipv4Addr::new(127, 0, 3, number);
    let mut dice = Dice(1_000 + u64::from(number));
    while !site.is_spoilt() {
        let way = ways[dice.below(ways.len())];
        let Ok(mut line) = Client::try_from(&site.server, from) else { continue };
        if matches!(way, Way::Websocket) && !shakes_hands(&mut line, room) {
            continue;
        }
        for _ in 0..MESSAGES_PER_LINE {
            let is_last = site.is_quiet();
            let (number, text) = room.write(is_last);
            let fate = say(&mut line, way, room, &text);
            match fate {
                Fate::Said(id) => room.said(number, id),
                Fate::Taken => room.taken(number),
                Fate::Refused => room.refused(number),
                Fate::Unknown => {}
            }
            match fate {
                Fate::Said(_) | Fate::Taken if is_last => return,
                Fate::Said(_) | Fate::Taken => {}
                Fate::Refused | Fate::Unknown => break,
            }
            if dice.below(4) == 0 {
                thread::sleep(Duration::from_millis(dice.roll() % 200));
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn say(line: &mut Client, way: Way, room: &Room, text: &str) -> Fate {
    let page = "/abuse/backend.php";
    let request = match way {
        Way::Post => post(&format!("/channels/{}", room.channel), "", text).into_bytes(),
        Way::Get => asking(&format!("{page}?msg={}", encoded(text)), Transport::Poll).into_bytes(),
        Way::Form => {
            let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
            post(page, kind, &format!("msg={}", encoded(text))).into_bytes()
        }
        Way::Websocket => {
            let command = serde_json::json!({"publish": text, "channel": room.channel, "ref": 1});
            frames::text(&command.to_string())
        }
    };
    if line.try_send(&request).is_err() {
        return Fate::Unknown;
    }
    if let Way::Websocket = way {
        return reply(line);
    }
    match line.try_answer(Asked::GET) {
        Ok(answer) if answer.status() == 201 => {
            let said: serde_json::Value = serde_json::from_str(answer.text()).expect("JSON");
            Fate::Said(said["id"].as_u64().expect("a 201 has an id"))
        }
        Ok(answer) if answer.status() == 200 => Fate::Taken,
        Ok(answer) if [429, 503].contains(&answer.status()) => Fate::Refused,
        Ok(answer) => panic!("{}: {} {}", room.channel, answer.status(), answer.text()),
        Err(_) => Fate::Unknown,
    }
}

fn shakes_hands(line: &mut Client, room: &Room) -> bool {
    // It has to listen to something; nothing is said in this room.
    let target = format!("/channels/quiet.{}", room.channel);
    line.try_send(asking(&target, Transport::Websocket).as_bytes()).is_ok()
        && line.try_head(Asked::GET).is_ok_and(|head| head.status == 101)
}

/// What a WebSocket hears, up to the answer to its command.
fn reply(line: &mut Client) -> Fate {
    let mut bytes = Vec::new();
    loop {
        match take(&mut bytes).expect("the server's frames are well-formed") {
            Some(Heard::Text(text)) => {
                let reply: serde_json::Value = serde_json::from_str(&text).expect("JSON");
                return reply["id"].as_u64().map_or(Fate::Refused, Fate::Said);
            }
            Some(Heard::Ping(_)) => {}
            Some(_) => return Fate::Unknown,
            None => match line.read(1 << 14) {
                Ok(more) if !more.is_empty() => bytes.extend(more),
                _ => return Fate::Unknown,
            },
        }
    }
}

/// A request with a body, and further lines of its head, each with its CRLF.
pub fn post(target: &str, lines: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{lines}Content-Length: {length}\r\n\r\n{body}")
}
