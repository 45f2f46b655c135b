//! A subscriber: asks, listens, remembers its cursor, and comes back.
//!
//! Knows: its connection, its record. Never learns what others are told.

use crate::common::frames::{self, UPGRADE};
use crate::common::{Hearing, News, Told, Transport, find};

use super::bystander::is_unknown;
use super::record::{Entry, Log, Record, Set};
use super::script::{Before, CHANNELS, PARTS, Start, Way};
use super::wire::Line;

/// The first byte of a close frame.
const CLOSE: u8 = 0x88;

/// How much later than promised anything may be answered, in microseconds: timers have a grain.
pub const LATE_US: u64 = 1_000_000;

/// How a server may part from a poll that asks again, or from a WebSocket: it leaves, or holds too much.
const PARTINGS: [&str; 3] = ["HTTP/1.1 408", "Close(Some(1001)", "Close(Some(1013)"];

/// As many of the last bytes as a goodbye has.
const TAIL_BYTES: usize = 40;

pub struct Subscriber {
    pub channels: Set,
    pub record: Record,
    /// The last cursor it was told.
    cursor: Option<u64>,
    pub line: Option<Line>,
    pub way: Way,
    hearing: Hearing,
    /// The head of the answer, until it is whole.
    head: Vec<u8>,
    pub is_open: bool,
    /// Of a poll: an answer is owed.
    pub waits: bool,
    /// Of a poll: when it asked, and when that had arrived at the latest, on the monotonic clock.
    asked_us: (u64, Option<u64>),
    /// Of a poll's answer: nothing in it so far.
    is_empty: bool,
    is_old: bool,
    /// What an event stream begins with, while that is still to be looked at.
    greeting: Option<Vec<u8>>,
    /// Messages, gaps and ticks that came over streams, and answers to polls: what the server counts as deliveries.
    pub deliveries: u64,
    /// Texts that it is publishing over its WebSocket, and changes of its subscription, in the order of their answers.
    asked: Vec<Asked>,
    /// Since when it has waited for the first of these answers, on the monotonic clock.
    waits_since: Option<u64>,
    pub bytes_read: usize,
    /// … before the last audit.
    pub bytes_audited: usize,
    /// Gaps that it was told of.
    pub gaps: u64,
    /// The last bytes of its stream.
    tail: Vec<u8>,
    /// How its last stream was ended by the server.
    pub goodbye: Goodbye,
}

/// What a stream is told when it is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goodbye {
    /// It broke off, or goes on.
    Nothing,
    /// That this is the end: there is no word for more.
    End,
    /// To come back after so many milliseconds.
    Retry(u64),
}

enum Asked {
    Text(usize),
    Change(Set),
}

/// The `ref` of a command that changes the subscription.
const CHANGE: &str = "change";

impl Subscriber {
    pub fn new(channels: Set) -> Self {
        Subscriber {
            channels,
            record: Record::new(channels),
            cursor: None,
            line: None,
            way: Way::Ndjson,
            hearing: Hearing::new(Transport::Ndjson),
            head: Vec::new(),
            is_open: false,
            waits: false,
            asked_us: (0, None),
            is_empty: true,
            is_old: false,
            greeting: None,
            deliveries: 0,
            asked: Vec::new(),
            waits_since: None,
            bytes_read: 0,
            bytes_audited: 0,
            gaps: 0,
            tail: Vec::new(),
            goodbye: Goodbye::Nothing,
        }
    }

    fn names(&self) -> String {
        let names: Vec<&str> = (0..CHANNELS.len())
            .filter(|channel| self.channels & 1 << channel != 0)
            .map(|c| CHANNELS[c])
            .collect();
        names.join(",")
    }

    /// Whether it can be given a new connection.
    pub fn is_free(&self) -> bool {
        self.line.is_none()
    }

    /// Asks over a fresh connection.
    pub fn ask(&mut self, line: Line, way: Way, start: Start, is_old: bool, now_us: u64) {
        self.way = way;
        self.is_old = is_old && way != Way::Websocket;
        let transport = match way {
            Way::Events => Transport::Events,
            Way::Ndjson => Transport::Ndjson,
            Way::Iframe => Transport::Iframe,
            Way::Poll => Transport::Poll,
            Way::Websocket => Transport::Websocket,
        };
        self.hearing = Hearing::new(transport);
        self.head.clear();
        self.tail.clear();
        self.goodbye = Goodbye::Nothing;
        self.asked.clear();
        self.is_open = false;
        self.line = Some(line);
        // Without a cursor it is given one, with which it can come back before it has heard anything.
        let is_new = matches!((start, self.cursor), (Start::Cursor, None));
        self.greeting = (way == Way::Events && is_new).then(Vec::new);
        let from = match (start, self.cursor) {
            // What a browser remembers is newer than what its page once began with.
            (Start::Cursor, Some(_)) if way == Way::Events => "&since=1".to_owned(),
            (Start::Cursor, Some(cursor)) => format!("&since={cursor}"),
            (Start::Cursor, None) => String::new(),
            (Start::Oldest, _) => "&since=oldest".to_owned(),
            (Start::Last(n), _) => format!("&last={n}"),
            (Start::Nonsense, _) => "&since=9000000000000000".to_owned(),
        };
        match (start, self.cursor) {
            (Start::Cursor, Some(_)) => {}
            (Start::Oldest, _) => self.record.entries.push(Entry::All),
            _ => self.record.entries.push(Entry::Anew),
        }
        if !matches!(start, Start::Cursor) {
            self.cursor = None;
        }
        self.record.entries.push(Entry::Asks);
        // A channel that it was about to join is its own from its cursor on.
        self.record.entries.push(Entry::Must(self.channels, self.cursor.unwrap_or(0)));
        self.send_request(&from, now_us);
    }

    fn send_request(&mut self, from: &str, now_us: u64) {
        let fields = match (self.way, self.cursor) {
            (Way::Websocket, _) => UPGRADE.to_owned(),
            (Way::Events, Some(cursor)) => format!("Last-Event-ID: {cursor}\r\n"),
            _ => String::new(),
        };
        // The old ones among them are told texts as they are, if they listen to one channel.
        let envelope = if self.way == Way::Events && self.is_old { "" } else { "&envelope" };
        let way = format!("{:?}", self.way).to_lowercase();
        let (names, version) = (self.names(), u8::from(!self.is_old));
        let request = format!(
            "GET /channels/{names}?as={way}{envelope}{from} HTTP/1.{version}\r\nHost: x\r\n{fields}\r\n"
        );
        self.waits = self.way == Way::Poll;
        (self.asked_us, self.is_empty) = ((now_us, None), true);
        if let Some(line) = &self.line {
            line.borrow_mut().send(request.as_bytes());
        }
    }

    /// A poll that was answered asks again.
    pub fn poll_again(&mut self, now_us: u64) {
        let can_ask = self.line.as_ref().is_some_and(|line| !line.borrow().is_closed());
        if self.way == Way::Poll && can_ask && !self.waits && !self.is_old {
            let from = self.cursor.map(|cursor| format!("&since={cursor}")).unwrap_or_default();
            self.send_request(&from, now_us);
        }
    }

    /// All that it sent has arrived by now. Its poll must be answered in time from then on.
    pub fn check_patience(&mut self, now_us: u64, timeout_us: u64) -> Result<(), String> {
        if !(self.waits && self.is_listening()) {
            return Ok(());
        }
        let arrived_us = *self.asked_us.1.get_or_insert(now_us);
        if now_us - arrived_us > timeout_us + LATE_US {
            return Err(format!("a poll was held for {} us", now_us - arrived_us));
        }
        Ok(())
    }

    /// Whether it is owed the answer to a command.
    pub fn has_commanded(&self) -> bool {
        self.is_listening() && !self.asked.is_empty()
    }

    /// It has read all there is. Its commands must be answered in time.
    pub fn check_commands(&mut self, now_us: u64, most_us: u64) -> Result<(), String> {
        if !self.has_commanded() {
            self.waits_since = None;
            return Ok(());
        }
        match now_us - *self.waits_since.get_or_insert(now_us) {
            waited_us if waited_us > most_us => Err(format!("a command was not answered for {waited_us} us")),
            _ => Ok(()),
        }
    }

    /// Whether whatever is said now should reach it.
    pub fn is_listening(&self) -> bool {
        let usable = self.line.as_ref().is_some_and(|line| {
            let line = line.borrow();
            !line.has_vanished() && !line.is_half_closed() && !line.has_ended() && line.has_arrived()
        });
        usable && (self.is_open || self.way == Way::Poll)
    }

    /// Publishes over its WebSocket. Returns whether it can.
    pub fn publish(&mut self, number: usize, log: &Log) -> bool {
        self.command(&log.command(number).to_string(), Asked::Text(number))
    }

    pub fn change(&mut self, channel: usize, joins: bool, since: Option<Before>) {
        let set = if joins { self.channels | 1 << channel } else { self.channels & !(1 << channel) };
        if set == 0 {
            return;
        }
        // What changes nothing asks for the cursor.
        let joins = joins && set != self.channels;
        let names = if set == self.channels { Vec::new() } else { vec![CHANNELS[channel]] };
        let verb = if joins { "subscribe" } else { "unsubscribe" };
        let mut command = serde_json::json!({ verb: names, "ref": CHANGE });
        // One replay at a time: the record tells them apart by nothing.
        let is_first = !self.asked.iter().any(|asked| matches!(asked, Asked::Change(_)));
        let since = since.filter(|_| joins && is_first && self.cursor.is_some());
        let since = since.map(|since| match since {
            Before::Cursor => self.cursor.expect("just seen"),
            Before::Oldest => 0,
        });
        match since {
            Some(0) => command["since"] = "oldest".into(),
            Some(since) => command["since"] = since.into(),
            None => {}
        }
        if self.command(&command.to_string(), Asked::Change(set)) {
            if let Some(since) = since {
                self.record.entries.push(Entry::Replay(channel, since));
            }
            self.record.entries.push(Entry::May(self.channels & set));
            self.record.entries.push(Entry::May(self.channels | set));
            self.channels = set;
        }
    }

    fn command(&mut self, json: &str, asked: Asked) -> bool {
        let is_able = self.way == Way::Websocket && self.is_open && self.is_listening();
        if let (true, Some(line)) = (is_able, &self.line) {
            let mut line = line.borrow_mut();
            line.send(&frames::text(json));
            line.arrive(usize::MAX);
            self.asked.push(asked);
        }
        is_able
    }

    /// Reads so many bytes and takes them to heart.
    pub fn read(&mut self, bytes: usize, log: &mut Log, now_us: u64, timeout_us: u64) -> Result<(), String> {
        let Some(line) = self.line.clone() else { return Ok(()) };
        let read = line.borrow_mut().read(bytes);
        self.bytes_read += read.len();
        self.tail.extend(&read);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL_BYTES));
        if !read.is_empty() {
            let waited = self.waits;
            self.hear(read, log)?;
            let is_early = now_us - self.asked_us.0 < timeout_us && self.is_empty;
            // Who has closed his half is let go earlier.
            let is_whole = self.line.is_some() && !line.borrow().is_half_closed();
            if waited && !self.waits && is_whole && is_early {
                return Err("a poll was answered with nothing, before its time".to_owned());
            }
        }
        if line.borrow().has_ended() {
            if line.borrow().was_parted_from() {
                self.goodbye = self.hear_goodbye();
            }
            self.lose();
        }
        Ok(())
    }

    /// What the last bytes of a stream say.
    fn hear_goodbye(&self) -> Goodbye {
        let number = |before: &[u8], behind: &[u8]| {
            let text = self.tail.strip_suffix(behind)?;
            let digits = text.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
            let (front, digits) = text.split_at(text.len() - digits);
            let digits = front.ends_with(before).then_some(digits)?;
            String::from_utf8_lossy(digits).parse().ok()
        };
        let retry = match self.way {
            Way::Events => number(b"retry: ", b"\n\n"),
            Way::Websocket => number(b"\x03\xe9{\"retry\":", b"}"),
            _ => return Goodbye::End,
        };
        let is_said_twice = self.tail.windows(7).filter(|bytes| bytes == b"retry: ").count() > 1;
        let is_said_twice = is_said_twice && find(&self.tail, b": encke").is_none();
        retry.filter(|_| !is_said_twice).map_or(Goodbye::Nothing, Goodbye::Retry)
    }

    /// Whether it sits in all of its channels, for certain.
    pub fn is_settled(&self) -> bool {
        let is_closed = self.line.as_ref().is_none_or(|line| line.borrow().is_closed());
        !is_closed && self.is_open && self.is_listening() && self.way != Way::Poll && self.asked.is_empty()
    }

    /// How many ticks of a channel it has heard.
    pub fn ticks(&self, channel: usize) -> usize {
        let is_tick = |entry: &&Entry| matches!(entry, Entry::Tick(from, _) if *from == channel);
        self.record.entries.iter().filter(is_tick).count()
    }

    /// What the last tick of a channel said.
    pub fn last_tick(&self, channel: usize) -> Option<u64> {
        self.record.entries.iter().rev().find_map(|entry| match entry {
            Entry::Tick(from, number) if *from == channel => Some(*number),
            _ => None,
        })
    }

    /// Its connection is over.
    pub fn lose(&mut self) {
        self.line = None;
        self.is_open = false;
        if self.asked.iter().any(|asked| matches!(asked, Asked::Change(_))) {
            self.record.entries.push(Entry::May(self.channels));
        }
    }

    fn hear(&mut self, mut bytes: Vec<u8>, log: &mut Log) -> Result<(), String> {
        if !self.is_open {
            self.head.append(&mut bytes);
            let Some(end) = find(&self.head, b"\r\n\r\n") else { return Ok(()) };
            let status = self.head.get(9..12).unwrap_or_default();
            if [b"503", b"408", b"429"].iter().any(|refusal| *refusal == status) {
                self.lose();
                return Ok(());
            }
            if self.way != Way::Poll {
                self.record.entries.push(Entry::Open(log.head(), log.texts()));
            }
            self.is_open = true;
            bytes = std::mem::take(&mut self.head);
            debug_assert!(end < bytes.len());
        }
        if self.way == Way::Websocket && bytes.contains(&CLOSE) && bytes.len() > 1 {
            // A goodbye must not swallow what was said before it.
            return bytes.into_iter().try_for_each(|byte| self.hear(vec![byte], log));
        }
        if self.line.is_none() {
            return Ok(());
        }
        self.check_greeting(&bytes)?;
        let told = match self.hearing.feed(&bytes) {
            Ok(told) => told,
            // A later answer of a poll, or the goodbye of a WebSocket.
            Err(error) if PARTINGS.iter().any(|parting| error.contains(parting)) => {
                // The line has its end, too, and who reads on finds it.
                self.goodbye = self.hear_goodbye();
                self.lose();
                return Ok(());
            }
            Err(error) => return Err(format!("{:?}: {error}", self.way)),
        };
        told.into_iter().try_for_each(|told| self.take(told, log))
    }

    /// The first bytes of an event stream say where it begins, to one who does not know.
    fn check_greeting(&mut self, bytes: &[u8]) -> Result<(), String> {
        const COMMENT: &[u8] = b": encke\n";
        const ID: &[u8] = b"id: ";
        let Some(greeting) = &mut self.greeting else { return Ok(()) };
        greeting.extend(bytes);
        let begin = find(greeting, COMMENT).and_then(|at| greeting.get(at + COMMENT.len()..));
        match begin.filter(|begin| begin.len() >= ID.len()) {
            Some(begin) if !begin.starts_with(ID) => {
                Err("an event stream begins without a cursor".to_owned())
            }
            Some(_) => {
                self.greeting = None;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn take(&mut self, told: Told, log: &mut Log) -> Result<(), String> {
        let told_end = matches!(told, Told::Since(_)).then_some(());
        let entry = match told {
            Told::Message(News { id: Some(id), channel, event, data }) => {
                let channel = match channel.as_str() {
                    "" => log.hear_as(id, &self.names(), event.as_deref(), &data, as_lines)?,
                    name => log.hear(id, name, event.as_deref(), &data)?,
                };
                // What comes first when it joins a channel is older than what it has.
                let joins = self.asked.iter().any(|asked| matches!(asked, Asked::Change(_)));
                self.cursor = if joins { self.cursor.max(Some(id)) } else { Some(id) };
                Entry::Heard(id, channel)
            }
            // A cursor from the future: whatever is older than the oldest message is missing.
            Told::Gap { from, to } if from > to => Entry::Gap(0, to),
            Told::Gap { from, to } => Entry::Gap(from, to),
            Told::Beat(Some(id)) => {
                self.cursor = Some(id);
                Entry::At(id)
            }
            Told::Since(id) => {
                self.waits = false;
                self.cursor = Some(id);
                Entry::At(id)
            }
            Told::Reply(reply) => return self.take_reply(&reply, log),
            Told::Beat(None) => return Ok(()),
            Told::Message(news) => {
                let name = if news.channel.is_empty() { self.names() } else { news.channel.clone() };
                let channel = CHANNELS.iter().position(|known| *known == name);
                let number = news.data.parse().map_err(|_| format!("a tick that is none: {news:?}"))?;
                Entry::Tick(channel.ok_or_else(|| format!("a tick from nowhere: {news:?}"))?, number)
            }
        };
        self.gaps += u64::from(matches!(entry, Entry::Gap(..)));
        let is_news = matches!(entry, Entry::Heard(..) | Entry::Gap(..) | Entry::Tick(..));
        self.is_empty &= !is_news;
        // What one hears who comes too late for a channel that does not wait is part of the answer's beginning.
        let is_greeting = matches!(entry, Entry::Gap(..))
            && matches!(self.record.entries[..], [.., Entry::Must(_, 1..), Entry::Open(..)]);
        let is_greeting = is_greeting && self.channels == 1 << PARTS;
        let is_poll = self.way == Way::Poll;
        let is_delivery = if is_poll { matches!(told_end, Some(())) } else { is_news && !is_greeting };
        self.deliveries += u64::from(is_delivery);
        self.record.entries.push(entry);
        Ok(())
    }

    fn take_reply(&mut self, reply: &serde_json::Value, log: &mut Log) -> Result<(), String> {
        if self.asked.is_empty() {
            return Err(format!("an answer to nothing: {reply}"));
        }
        let asked = self.asked.remove(0);
        self.waits_since = None;
        let is_meant = match asked {
            Asked::Text(number) => reply["ref"] == number,
            Asked::Change(_) => reply["ref"] == CHANGE,
        };
        if !is_meant {
            return Err(format!("an answer out of turn: {reply}"));
        }
        match (asked, reply["id"].as_u64()) {
            (Asked::Text(number), Some(id)) => log.accept(number, id),
            (Asked::Text(_), None) if is_unknown(reply.to_string().as_bytes()) => Ok(()),
            (Asked::Text(number), None) => log.refuse(number),
            (Asked::Change(set), Some(id)) => {
                self.cursor = self.cursor.max(Some(id));
                let still = self.asked.iter().rev().find_map(|asked| match asked {
                    Asked::Change(set) => Some(*set),
                    Asked::Text(_) => None,
                });
                self.record.entries.push(Entry::Changed(id));
                self.record.entries.push(Entry::At(id));
                self.record.entries.push(match still {
                    Some(next) => Entry::May(set & next),
                    None => Entry::Must(set, id),
                });
                Ok(())
            }
            (Asked::Change(_), None) => Err(format!("a change was refused: {reply}")),
        }
    }
}

/// All that an event stream keeps of how lines end.
fn as_lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}
