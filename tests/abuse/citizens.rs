//! Citizens: those who listen, and notice if anything is missing, twice, or out of order.
//!
//! A citizen may be refused or cut off, because a server that is full has to let somebody go. Then
//! it comes back with its cursor, and its account goes on: each message exactly once, in order, or
//! a gap that says so.
//!
//! Knows: transports, cursors, what the book says. Never learns what the strangers do.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::book::{Account, Room};
use super::common::chat::News;
use super::common::frames::{Heard, UPGRADE, take};
use super::common::hearing::envelope;
use super::common::{
    Asked, Client, Dice, Head, Hearing, TRANSPORTS, Told, Transport, find, readable, unix_s,
};
use super::site::{CHAT_AGE, CHAT_KEEPS, Site};

/// After a refusal, or when the line broke.
const BACK_AFTER: Duration = Duration::from_millis(100);

/// How somebody listens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Stays where it is for as long as it can.
    Steady,
    /// Leaves again and again, in any way, and comes back by another transport.
    Hopping,
    /// Reads a little, and then does something else.
    Slow,
}

/// Somebody who listens to one room or several.
pub struct Citizen<'a> {
    site: &'a Site,
    rooms: Vec<&'a Room>,
    accounts: BTreeMap<&'static str, Account>,
    transport: Transport,
    manner: Manner,
    from: Ipv4Addr,
    dice: Dice,
    /// The position that it hands back.
    cursor: Option<u64>,
    /// Up to here it was told of gaps.
    floor: u64,
}

/// What comes after a piece of listening.
enum Then {
    /// The poll is answered: the next one.
    Ask,
    /// The connection is over: come back.
    Return,
    /// Everything was heard.
    Rest,
}

/// A connection on which the server has begun to speak.
enum Ears {
    Frames(Vec<u8>),
    Other(Hearing),
}

impl<'a> Citizen<'a> {
    pub fn new(site: &'a Site, rooms: Vec<&'a Room>, manner: Manner, number: u8) -> Self {
        let transport = TRANSPORTS[usize::from(number) % TRANSPORTS.len()];
        Citizen {
            site,
            accounts: rooms.iter().map(|room| (room.channel, Account::default())).collect(),
            rooms,
            transport,
            manner,
            from: Ipv4Addr::new(127, 0, 1, number),
            dice: Dice(u64::from(number)),
            cursor: None,
            floor: 0,
        }
    }

    /// Listens until the strangers are gone and everything was heard.
    pub fn listen(mut self) {
        while !self.site.is_spoilt() {
            match self.visit() {
                Ok(Then::Rest) => return,
                Ok(_) => thread::sleep(BACK_AFTER),
                Err(wrong) => {
                    panic!("{} by {:?}, cursor {:?}: {wrong}", self.from, self.transport, self.cursor)
                }
            }
            if self.manner == Manner::Hopping {
                self.transport = TRANSPORTS[self.dice.below(TRANSPORTS.len())];
            }
        }
    }

    fn visit(&mut self) -> Result<Then, String> {
        let client = match self.manner {
            Manner::Slow => Client::try_narrow(&self.site.server, self.from),
            _ => Client::try_from(&self.site.server, self.from),
        };
        let Ok(mut client) = client else { return Ok(Then::Return) };
        let hops_after = self.dice.below(60);
        let mut heard = 0;
        while let Some((ears, bytes)) = self.ask(&mut client)? {
            let then = self.hear_out(&mut client, ears, bytes, &mut heard, hops_after)?;
            match then {
                Then::Ask => {}
                Then::Rest => return Ok(then),
                Then::Return => {
                    part(client, &mut self.dice);
                    return Ok(then);
                }
            }
        }
        Ok(Then::Return)
    }

    /// Asks, and reads at least the head of the answer. None: it was refused, in words, or the line broke.
    fn ask(&mut self, client: &mut Client) -> Result<Option<(Ears, Vec<u8>)>, String> {
        let names: Vec<&str> = self.rooms.iter().map(|room| room.channel).collect();
        let since = self.cursor.map_or("oldest".to_owned(), |cursor| cursor.to_string());
        let target = format!("/channels/{}?since={since}&as={}", names.join(","), self.transport.name());
        if client.try_send(asking(&target, self.transport).as_bytes()).is_err() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = find(&bytes, b"\r\n\r\n") {
                break at + 4;
            }
            match self.read(client)? {
                Some(more) => bytes.extend(more),
                None => return Ok(None),
            }
        };
        match (&bytes[..12], self.transport) {
            (b"HTTP/1.1 503" | b"HTTP/1.1 429", _) => Ok(None),
            (b"HTTP/1.1 101", Transport::Websocket) => {
                Ok(Some((Ears::Frames(Vec::new()), bytes.split_off(end))))
            }
            (b"HTTP/1.1 200", _) => Ok(Some((Ears::Other(Hearing::new(self.transport)), bytes))),
            _ => Err(format!("{target} was answered with {}", readable(&bytes))),
        }
    }

    fn hear_out(
        &mut self,
        client: &mut Client,
        mut ears: Ears,
        mut bytes: Vec<u8>,
        heard: &mut usize,
        hops_after: usize,
    ) -> Result<Then, String> {
        loop {
            let (told, is_closed) = ears.feed(&bytes)?;
            let is_answered = matches!(told.last(), Some(Told::Since(_)));
            *heard += told.len();
            told.into_iter().try_for_each(|told| self.account(told))?;
            let hops = self.manner == Manner::Hopping && *heard > hops_after && !self.site.is_quiet();
            if self.has_heard_all() {
                return Ok(Then::Rest);
            }
            if is_closed || hops || self.site.is_spoilt() {
                return Ok(Then::Return);
            }
            if self.site.is_late() {
                return Err(format!("the last words have not come: {:?}", self.accounts));
            }
            if is_answered {
                return Ok(Then::Ask);
            }
            match self.read(client)? {
                Some(more) => bytes = more,
                None => return Ok(Then::Return),
            }
        }
    }

    /// Reads on. None: the line is closed or broken.
    fn read(&mut self, client: &mut Client) -> Result<Option<Vec<u8>>, String> {
        let mut most = 1 << 14;
        if self.manner == Manner::Slow && !self.site.is_quiet() {
            thread::sleep(Duration::from_millis(self.dice.roll() % 200));
            most = 1_000;
        }
        match client.read(most) {
            Ok(bytes) => Ok(Some(bytes).filter(|bytes| !bytes.is_empty())),
            // There are heartbeats: whoever hears nothing for so long was forgotten.
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err("heard nothing any more".to_owned()),
            Err(_) => Ok(None),
        }
    }

    fn account(&mut self, told: Told) -> Result<(), String> {
        let cursor = match told {
            Told::Message(news) => {
                let room = self.rooms.iter().find(|room| room.channel == news.channel);
                // An event stream of one channel does not name it.
                let room = room.or(self.rooms.first().filter(|_| news.channel.is_empty()));
                let room = *room.ok_or_else(|| format!("news from elsewhere: {news:?}"))?;
                let number = room.hear(&news.data, news.id);
                let account = self.accounts.get_mut(room.channel).expect("one for each room");
                account.hear(room, number, self.floor)?;
                self.site.verified.fetch_add(1, Ordering::Relaxed);
                news.id
            }
            Told::Gap { from, to } if from <= to => {
                self.floor = self.floor.max(to);
                self.site.gaps.fetch_add(1, Ordering::Relaxed);
                None
            }
            Told::Beat(cursor) => cursor,
            Told::Since(cursor) => Some(cursor),
            other => return Err(format!("{other:?} makes no sense here")),
        };
        match (cursor, self.cursor) {
            (Some(now), Some(before)) if now < before => Err(format!("the cursor went back to {now}")),
            (None, _) => Ok(()),
            (now, _) => {
                self.cursor = now;
                Ok(())
            }
        }
    }

    /// The speakers have said their last words, and they have come.
    fn has_heard_all(&self) -> bool {
        self.rooms.iter().all(|room| room.is_over_at(self.accounts[room.channel].next()))
    }
}

impl Ears {
    /// What was said, and whether a WebSocket was closed.
    fn feed(&mut self, bytes: &[u8]) -> Result<(Vec<Told>, bool), String> {
        let frames = match self {
            Ears::Other(hearing) => return Ok((hearing.feed(bytes)?, false)),
            Ears::Frames(frames) => frames,
        };
        frames.extend(bytes);
        let mut told = Vec::new();
        while let Some(heard) = take(frames)? {
            match heard {
                Heard::Text(text) => told.push(envelope(&text)?),
                Heard::Ping(_) => told.push(Told::Beat(None)),
                // There is no room for it, or it held too much.
                Heard::Close(Some(1001 | 1013), _) => return Ok((told, true)),
                other => return Err(format!("{other:?} from a server that has no reason")),
            }
        }
        Ok((told, false))
    }
}

/// A request to listen.
pub fn asking(target: &str, transport: Transport) -> String {
    let upgrade = if transport == Transport::Websocket { UPGRADE } else { "" };
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n")
}

/// The ways to go.
pub fn part(client: Client, dice: &mut Dice) {
    match dice.below(3) {
        0 => client.vanish(),
        1 => client.half_close(),
        _ => {}
    }
}

/// Somebody in the article's chat, whose page knows neither gaps nor transports.
pub fn chat(site: &Site, room: &Room) {
    let mut account = Account::default();
    let mut timestamp = "0".to_owned();
    while !(site.is_spoilt() || room.is_over_at(account.next())) {
        assert!(!site.is_late(), "the chat: the last word has not come: {account:?}");
        let Some(news) = chat_answer(site, &timestamp) else {
            thread::sleep(BACK_AFTER);
            continue;
        };
        let before = account.next();
        let number = room.hear(&news.msg, None);
        account.hear(room, number, 0).unwrap_or_else(|wrong| panic!("the chat: {wrong}"));
        // What is not kept any more is skipped without a word; what is kept is told in order.
        let kept_from = room.written().saturating_sub(CHAT_KEEPS);
        let may_skip = before == 0 || number <= kept_from || room.may_be_forgotten(before..number, CHAT_AGE);
        assert!(may_skip, "the chat: {number} after {before}, of {}", room.written());
        timestamp = news.timestamp;
        site.verified.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a poll of the chat is answered in the end. None: it was refused, or the line broke.
fn chat_answer(site: &Site, timestamp: &str) -> Option<News> {
    let mut client = Client::try_from(&site.server, Ipv4Addr::new(127, 0, 2, 1)).ok()?;
    let request = format!("GET /abuse/backend.php?timestamp={timestamp} HTTP/1.0\r\n\r\n");
    client.try_send(request.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    loop {
        // Spaces come while it waits.
        let more = client.read(1 << 14).ok()?;
        if more.is_empty() || site.is_late() || site.is_spoilt() {
            break;
        }
        bytes.extend(more);
    }
    let end = find(&bytes, b"\r\n\r\n")? + 4;
    let head = Head::read(&bytes[..end], Asked::GET_10).unwrap_or_else(|wrong| panic!("the chat: {wrong}"));
    let body = std::str::from_utf8(&bytes[end..]).expect("the chat is UTF-8");
    (head.status == 200 && body.ends_with('}')).then(|| News::parse(body))
}

/// Somebody who looks at the article's clock.
pub fn clock(site: &Site) {
    let from = Ipv4Addr::new(127, 0, 2, 2);
    let mut last = 0;
    while !site.is_quiet() {
        let Ok(mut client) = Client::try_from(&site.server, from) else { continue };
        let target = "/abuse/backend.php";
        let _ = client.try_send(asking(target, Transport::Poll).as_bytes());
        let mut text = String::new();
        while let Ok(bytes) = client.read(1 << 14) {
            if bytes.is_empty() || site.is_quiet() {
                break;
            }
            text.push_str(std::str::from_utf8(&bytes).expect("the clock is ASCII"));
            while let Some((tick, rest)) = text.split_once(");</script>") {
                if let Some((_, seconds)) = tick.split_once("comet.printServerTime(") {
                    let seconds = seconds.parse().unwrap_or_else(|_| panic!("not a time: {tick}"));
                    assert!((last..=unix_s() + 1).contains(&seconds), "the clock: {seconds} after {last}");
                    last = seconds;
                    site.verified.fetch_add(1, Ordering::Relaxed);
                }
                text = rest.to_owned();
            }
        }
        thread::sleep(BACK_AFTER);
    }
}
