//! Bystanders: the article's chat and its clock, publishers, and people who babble.
//!
//! Knows: one connection each. Never learns what channels are.

use std::collections::VecDeque;

use crate::common::find;

use super::record::Log;
use super::script::CHANNELS;
use super::wire::Line;

/// Somebody who asks over one connection and reads every answer.
#[derive(Default)]
pub struct Asker {
    pub line: Option<Line>,
    bytes: Vec<u8>,
    pub asked: VecDeque<Asked>,
    /// Since when it has waited for the first answer, in microseconds of the monotonic clock.
    pub waits_since: Option<u64>,
    /// The last id it was told: the next is greater, whatever the channel.
    last: u64,
}

/// What an answer will be to.
#[derive(Debug)]
pub enum Asked {
    /// A publication of these texts.
    Texts(Vec<usize>),
    /// A publication that must be refused.
    Forbidden(usize),
    Delete(usize),
}

impl Asker {
    pub fn ask(&mut self, request: &[u8], asked: Asked) {
        if let Some(line) = &self.line {
            let mut line = line.borrow_mut();
            line.send(request);
            line.arrive(usize::MAX);
            self.asked.push_back(asked);
        }
    }

    /// Reads what has come. What was asked and not answered when the connection ends may have happened or not.
    pub fn listen(&mut self, log: &mut Log) -> Result<(), String> {
        let Some(line) = self.line.clone() else { return Ok(()) };
        let read = line.borrow_mut().read(usize::MAX);
        self.bytes.extend(read);
        while let Some((status, body)) = take_answer(&mut self.bytes)? {
            self.waits_since = None;
            let Some(asked) = self.asked.pop_front() else {
                // The server is full, or has waited for too long.
                break;
            };
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            match (asked, status) {
                (Asked::Texts(texts), 201) => {
                    let ids = json["ids"].as_array().cloned().unwrap_or_else(|| vec![json["id"].clone()]);
                    if ids.len() != texts.len() {
                        return Err(format!("{} ids for {} texts", ids.len(), texts.len()));
                    }
                    if json["subscribers"].as_u64().is_some_and(|count| count > log.most_lines as u64) {
                        return Err(format!("more subscribers than connections: {json}"));
                    }
                    for (text, id) in texts.into_iter().zip(ids) {
                        self.accept(text, id.as_u64().ok_or("an id that is none")?, log)?;
                    }
                }
                (Asked::Forbidden(text), 403) => log.refuse(text)?,
                // Nothing is too long, or too much, where there are no bounds but the usual.
                (Asked::Texts(texts), status) if is_too_much(status, log) => {
                    texts.into_iter().try_for_each(|text| log.refuse(text))?;
                }
                // Nobody knows yet, and the log will tell.
                (_, 503) if is_unknown(&body) => {}
                (Asked::Texts(texts), 503) => texts.into_iter().try_for_each(|text| log.refuse(text))?,
                (Asked::Delete(channel), 200) => {
                    log.deleted(channel, json["id"].as_u64().ok_or("a last word without id")?)?;
                }
                (Asked::Delete(_), 404) | (_, 408 | 503) => {}
                (_, status) if is_too_much(status, log) => {}
                (asked, status) => return Err(format!("{asked:?} was answered {status}")),
            }
        }
        if line.borrow().has_ended() {
            log.has_unknown_deletes |= self.asked.iter().any(|asked| matches!(asked, Asked::Delete(_)));
            *self = Asker::default();
        }
        Ok(())
    }

    /// Whether it is owed an answer.
    pub fn waits(&self) -> bool {
        self.line.as_ref().is_some_and(|line| !line.borrow().is_closed()) && !self.asked.is_empty()
    }

    /// The server has read all that it has asked.
    pub fn note_the_time(&mut self, now_us: u64) {
        let since = self.waits_since.unwrap_or(now_us);
        self.waits_since = self.waits().then_some(since);
    }

    /// By when the server has to wake up for it, at the latest.
    pub fn due_us(&self, most_us: u64) -> Option<u64> {
        let has_news = self.line.as_ref().is_some_and(|line| line.borrow().has_news());
        self.waits_since.filter(|_| self.waits() && !has_news).map(|since_us| since_us + most_us)
    }

    /// It must be answered in time.
    pub fn check_patience(&self, now_us: u64, most_us: u64) -> Result<(), String> {
        match self.waits_since.filter(|_| self.waits()).map(|since_us| now_us - since_us) {
            Some(waited_us) if waited_us > most_us => {
                Err(format!("{:?} was not answered for {waited_us} us", self.asked.front()))
            }
            _ => Ok(()),
        }
    }

    fn accept(&mut self, text: usize, id: u64, log: &mut Log) -> Result<(), String> {
        if id <= self.last {
            return Err(format!("text {text} got the id {id} after {}", self.last));
        }
        self.last = id;
        log.accept(text, id)
    }
}

/// Whether an answer says that the log has not answered in time.
pub fn is_unknown(body: &[u8]) -> bool {
    find(body, b"may or may not").is_some()
}

/// Whether something may be refused with this status, because of how much it is.
fn is_too_much(status: u16, log: &Log) -> bool {
    status == 413 && log.is_bound || status == 429 && log.has_addresses
}

/// One answer with a length.
pub fn take_answer(bytes: &mut Vec<u8>) -> Result<Option<(u16, Vec<u8>)>, String> {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8(bytes[..end].to_vec()).map_err(|error| error.to_string())?;
    let status =
        head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(|| format!("no status: {head}"))?;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let length: usize =
        length.and_then(|length| length.parse().ok()).ok_or_else(|| format!("no length: {head}"))?;
    if bytes.len() < end + 4 + length {
        return Ok(None);
    }
    let answer = bytes.drain(..end + 4 + length).skip(end + 4).collect();
    Ok(Some((status, answer)))
}

pub fn post(log: &Log, number: usize, channel: usize, chunked: bool) -> Vec<u8> {
    let (name, data) = (CHANNELS[channel], log.data(number));
    let event = log.event(number).map_or(String::new(), |event| format!("?event={event}"));
    let (length, begin, end) = match chunked {
        true => ("Transfer-Encoding: chunked".to_owned(), format!("{:x}\r\n", data.len()), "\r\n0\r\n\r\n"),
        false => (format!("Content-Length: {}", data.len()), String::new(), ""),
    };
    format!("POST /channels/{name}{event} HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n{begin}{data}{end}")
        .into_bytes()
}

pub fn bulk(log: &Log, texts: &[(usize, usize)]) -> Vec<u8> {
    let line = |&(number, channel): &(usize, usize)| {
        let event = log.event(number);
        serde_json::json!({ "channel": CHANNELS[channel], "data": log.data(number), "event": event })
            .to_string()
            + "\n"
    };
    let body: String = texts.iter().map(line).collect();
    let length = body.len();
    let kind = "application/x-ndjson";
    format!(
        "POST /channels HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A page of the article's chat: polls, one message an answer, and speaks over a connection of its own.
#[derive(Default)]
pub struct Chatter {
    pub line: Option<Line>,
    bytes: Vec<u8>,
    timestamp: Option<String>,
    waits: bool,
    pub heard: Vec<(String, String)>,
    /// How many of what was said it has heard, or passed over when it asked for the first time.
    at: Option<usize>,
}

impl Chatter {
    pub fn poll(&mut self) {
        if let (Some(line), false) = (&self.line, self.waits) {
            let timestamp = self.timestamp.as_deref().unwrap_or("0");
            let request = format!("GET /demo/backend.php?timestamp={timestamp} HTTP/1.1\r\nHost: x\r\n\r\n");
            let mut line = line.borrow_mut();
            line.send(request.as_bytes());
            line.arrive(usize::MAX);
            self.waits = true;
        }
    }

    /// Reads on. Each message must be newer than the one before.
    pub fn listen(&mut self, log: &Log, is_roomy: bool) -> Result<(), String> {
        let Some(line) = self.line.clone() else { return Ok(()) };
        let read = line.borrow_mut().read(usize::MAX);
        self.bytes.extend(read);
        while let Some(json) = self.take_json()? {
            let json: serde_json::Value =
                serde_json::from_str(json.trim()).map_err(|error| format!("{error} in {json:?}"))?;
            let (message, timestamp) = (json["msg"].as_str().unwrap_or("?"), json["timestamp"].to_string());
            if self.heard.last().is_some_and(|(_, last)| !is_later(&timestamp, last)) {
                return Err(format!("the chat said {timestamp} after {:?}", self.heard.last()));
            }
            let at = log.chatted.iter().position(|said| said == message);
            let at = at.ok_or_else(|| format!("the chat says what nobody said: {message:?}"))?;
            if is_roomy && self.at.is_some_and(|before| at != before + 1) {
                return Err(format!("{message:?} is the {at}th, after the {:?}th", self.at));
            }
            self.at = Some(at);
            self.heard.push((message.to_owned(), timestamp.clone()));
            self.timestamp = Some(timestamp);
            self.waits = false;
        }
        if line.borrow().has_ended() {
            self.part();
        }
        Ok(())
    }

    /// Whether it has heard the last word, if it is there to hear it.
    pub fn is_current(&self, log: &Log) -> bool {
        self.line.is_none() || !self.waits || self.at.is_none_or(|at| at + 1 == log.chatted.len())
    }

    pub fn part(&mut self) {
        self.line = None;
        self.bytes.clear();
        self.waits = false;
    }

    /// The body of one answer, with a length or in chunks.
    fn take_json(&mut self) -> Result<Option<String>, String> {
        let Some(end) = find(&self.bytes, b"\r\n\r\n") else { return Ok(None) };
        let head = String::from_utf8_lossy(&self.bytes[..end]).into_owned();
        if !head.starts_with("HTTP/1.1 200 ") {
            self.part();
            return Ok(None);
        }
        if !head.contains("Transfer-Encoding: chunked") {
            return Ok(
                take_answer(&mut self.bytes)?.map(|(_, body)| String::from_utf8_lossy(&body).into_owned())
            );
        }
        let Some(last) = find(&self.bytes, b"\r\n0\r\n\r\n") else { return Ok(None) };
        let chunks: Vec<u8> = self.bytes.drain(..last + 7).skip(end + 4).collect();
        let text = String::from_utf8(chunks).map_err(|error| error.to_string())?;
        let mut rest = text.as_str();
        let mut body = String::new();
        while let Some((size, data)) = rest.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).map_err(|error| format!("{error}: {text:?}"))?;
            body.push_str(data.get(..size).ok_or("a chunk that is too short")?);
            rest = data[size..].strip_prefix("\r\n").unwrap_or_default();
        }
        Ok(Some(body))
    }
}

fn is_later(one: &str, other: &str) -> bool {
    let parse = |text: &str| text.trim_matches('"').parse::<f64>().unwrap_or(f64::NAN);
    parse(one) > parse(other)
}

/// Somebody who looks at the article's clock.
#[derive(Default)]
pub struct Watcher {
    pub line: Option<Line>,
    bytes: Vec<u8>,
    pub has_head: bool,
    last: Option<u64>,
}

impl Watcher {
    pub fn look(&mut self) {
        if let Some(line) = &self.line {
            let mut line = line.borrow_mut();
            line.send(b"GET /backend.php HTTP/1.1\r\nHost: x\r\n\r\n");
            line.arrive(usize::MAX);
            (self.has_head, self.last) = (false, None);
            self.bytes.clear();
        }
    }

    /// Reads the ticks that have come: each says a later second than the one before, unless the clock was set.
    pub fn listen(&mut self, clock_was_set: bool, is_exact: bool) -> Result<usize, String> {
        const BEFORE: &str = "<script type=\"text/javascript\">comet.printServerTime(";
        const BEHIND: &str = ");</script>";
        let Some(line) = self.line.clone() else { return Ok(0) };
        let read = line.borrow_mut().read(usize::MAX);
        let heard = read.len();
        self.bytes.extend(read);
        if !self.has_head {
            // The page's own script is behind the head.
            let Some(body) = find(&self.bytes, BEFORE.as_bytes()) else {
                self.end(&line);
                return Ok(heard);
            };
            if !self.bytes.starts_with(b"HTTP/1.1 200 ") {
                return Err(format!("a clock that says {:?}", String::from_utf8_lossy(&self.bytes)));
            }
            self.bytes.drain(..body);
            self.has_head = true;
        }
        while let Some(end) = find(&self.bytes, BEHIND.as_bytes()) {
            let tick: Vec<u8> = self.bytes.drain(..end + BEHIND.len()).collect();
            let text = String::from_utf8_lossy(&tick).into_owned();
            let second =
                text.strip_prefix(BEFORE).and_then(|rest| rest.strip_suffix(BEHIND)?.parse::<u64>().ok());
            let second = second.ok_or_else(|| format!("a tick that is none: {text:?}"))?;
            if self.last.is_some_and(|last| second <= last) && !clock_was_set {
                return Err(format!("the clock said {second} after {:?}", self.last));
            }
            if is_exact && self.last.is_some_and(|last| second != last + 1) {
                return Err(format!("the clock said {second} after {:?}, and was never late", self.last));
            }
            self.last = Some(second);
        }
        self.end(&line);
        Ok(heard)
    }

    fn end(&mut self, line: &Line) {
        if line.borrow().has_ended() {
            self.line = None;
        }
    }
}
