//! Hearing: what each transport says, read the way its clients read it.
//!
//! Five framings, one answer: messages, gaps, and signs of life. Event streams are read as the
//! WHATWG standard says (every line ending, fields, dispatch), not as our server happens to write
//! them; everything else is checked to the byte where `wire.md` promises bytes.
//!
//! Knows: the framings. Never learns who listens.

use serde_json::Value;

use super::frames::{self, Heard};

/// One thing that a subscriber is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Message(News),
    Gap {
        from: u64,
        to: u64,
    },
    /// A sign of life; of an event stream, with the cursor that it sets.
    Beat(Option<u64>),
    /// The end of an answer to a poll: where to go on.
    Since(u64),
    /// An answer to a command.
    Reply(Value),
}

/// A message. Ticks have no id, and a plain event stream does not say the channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    pub id: Option<u64>,
    pub channel: String,
    pub event: Option<String>,
    pub data: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Events,
    Ndjson,
    Iframe,
    Poll,
    Websocket,
}

pub const TRANSPORTS: [Transport; 5] =
    [Transport::Events, Transport::Ndjson, Transport::Iframe, Transport::Poll, Transport::Websocket];

impl Transport {
    /// As `?as=` names it.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Events => "events",
            Transport::Ndjson => "ndjson",
            Transport::Iframe => "iframe",
            Transport::Poll => "poll",
            Transport::Websocket => "websocket",
        }
    }
}

/// Listens to one connection. Bytes go in as they come, in pieces of any size.
pub struct Hearing {
    transport: Transport,
    bytes: Vec<u8>,
    body: Body,
    events: EventSource,
}

/// Where in an answer the next byte is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    Head,
    Stream,
    Rest(usize),
}

impl Hearing {
    /// For a connection that has asked and heard nothing yet, not even the head.
    pub fn new(transport: Transport) -> Self {
        Hearing { transport, bytes: Vec::new(), body: Body::Head, events: EventSource::default() }
    }

    /// Whether everything that came was understood: nothing is cut off.
    pub fn is_idle(&self) -> bool {
        self.bytes.is_empty() && self.events.is_idle()
    }

    /// Hears on.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Told>, String> {
        self.bytes.extend_from_slice(bytes);
        let mut told = Vec::new();
        loop {
            match self.body {
                Body::Head => {
                    let Some(end) = super::find(&self.bytes, b"\r\n\r\n") else { return Ok(told) };
                    let head: Vec<u8> = self.bytes.drain(..end + 4).collect();
                    self.body = self.begin(&head)?;
                }
                Body::Rest(length) if self.bytes.len() < length => return Ok(told),
                Body::Rest(length) => {
                    let answer: Vec<u8> = self.bytes.drain(..length).collect();
                    poll_answer(&answer, &mut told)?;
                    self.body = Body::Head;
                }
                Body::Stream => {
                    self.hear_stream(&mut told)?;
                    return Ok(told);
                }
            }
        }
    }

    fn begin(&self, head: &[u8]) -> Result<Body, String> {
        let head = String::from_utf8_lossy(head);
        let status = if self.transport == Transport::Websocket { "HTTP/1.1 101 " } else { "HTTP/1.1 200 " };
        if !head.starts_with(status) {
            return Err(format!("the head {head:?}"));
        }
        if self.transport != Transport::Poll {
            return Ok(Body::Stream);
        }
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length = length.and_then(|digits| digits.parse().ok());
        length.map(Body::Rest).ok_or_else(|| format!("a poll's head without length {head:?}"))
    }

    fn hear_stream(&mut self, told: &mut Vec<Told>) -> Result<(), String> {
        match self.transport {
            Transport::Poll => unreachable!("its answers have a length"),
            Transport::Events => self.events.feed(&std::mem::take(&mut self.bytes), told),
            Transport::Websocket => {
                while let Some(heard) = frames::take(&mut self.bytes)? {
                    match heard {
                        Heard::Text(text) => told.push(envelope(&text)?),
                        Heard::Ping(_) => told.push(Told::Beat(None)),
                        other => return Err(format!("{other:?} from a server that has no reason")),
                    }
                }
                Ok(())
            }
            Transport::Ndjson | Transport::Iframe => {
                while let Some(end) = self.bytes.iter().position(|&byte| byte == b'\n') {
                    let line: Vec<u8> = self.bytes.drain(..=end).collect();
                    let line = std::str::from_utf8(&line[..end]).map_err(|e| e.to_string())?;
                    match (self.transport, line) {
                        (Transport::Ndjson, "") | (_, " ") => told.push(Told::Beat(None)),
                        (Transport::Ndjson, json) => told.push(envelope(json)?),
                        (_, line) => told.extend(script(line)?),
                    }
                }
                Ok(())
            }
        }
    }
}

/// A line of an iframe's document: a call, or a part of the page before the first one.
fn script(line: &str) -> Result<Option<Told>, String> {
    let Some(call) = line.strip_prefix("<script>") else {
        return if line.contains("script") { Err(format!("{line:?} is no call")) } else { Ok(None) };
    };
    let argument = call.strip_prefix("parent.comet.onmessage(").and_then(|c| c.strip_suffix(");</script>"));
    let argument = argument.ok_or_else(|| format!("{line:?} is no call of the callback"))?;
    if argument.contains(['<', '>', '&', '\'', '\u{2028}', '\u{2029}']) {
        return Err(format!("{argument:?} can leave its script"));
    }
    envelope(argument).map(Some)
}

/// Reads an envelope, or what stands in the place of one.
pub fn envelope(json: &str) -> Result<Told, String> {
    let value: Value = serde_json::from_str(json).map_err(|e| format!("{e} in {json}"))?;
    if let Some(gap) = value.get("gap") {
        return gap_of(gap);
    }
    if value.get("channel").is_none() {
        return Ok(Told::Reply(value));
    }
    let keys: Vec<&str> = value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    let known = ["id", "channel", "event", "data"];
    match (keys.iter().all(|key| known.contains(key)), text("channel"), text("data")) {
        (true, Some(channel), Some(data)) => {
            let id = match value.get("id") {
                None => None,
                Some(id) => Some(id.as_u64().ok_or_else(|| format!("the id in {json}"))?),
            };
            Ok(Told::Message(News { id, channel, event: text("event"), data }))
        }
        _ => Err(format!("not an envelope: {json}")),
    }
}

fn gap_of(gap: &Value) -> Result<Told, String> {
    match (gap["from"].as_u64(), gap["to"].as_u64()) {
        (Some(from), Some(to)) => Ok(Told::Gap { from, to }),
        _ => Err(format!("not a gap: {gap}")),
    }
}

fn poll_answer(json: &[u8], told: &mut Vec<Told>) -> Result<(), String> {
    let value: Value = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    if let Some(gap) = value.get("gap") {
        told.push(gap_of(gap)?);
    }
    for message in value["messages"].as_array().ok_or("a poll's answer without messages")? {
        told.push(envelope(&message.to_string())?);
    }
    told.push(Told::Since(value["since"].as_u64().ok_or("a poll's answer without since")?));
    Ok(())
}

/// An EventSource as the standard describes it (WHATWG HTML §9.2.6).
#[derive(Default)]
struct EventSource {
    line: Vec<u8>,
    after_cr: bool,
    data: Option<String>,
    event: Option<String>,
    last_id: Option<u64>,
    /// An id came and nothing was dispatched yet.
    id_came: bool,
}

impl EventSource {
    fn is_idle(&self) -> bool {
        self.line.is_empty() && self.data.is_none() && !self.id_came
    }

    fn feed(&mut self, bytes: &[u8], told: &mut Vec<Told>) -> Result<(), String> {
        for &byte in bytes {
            let follows_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if follows_cr => {}
                b'\r' | b'\n' => {
                    let line =
                        String::from_utf8(std::mem::take(&mut self.line)).map_err(|e| e.to_string())?;
                    self.hear_line(&line, told)?;
                }
                byte => self.line.push(byte),
            }
        }
        Ok(())
    }

    fn hear_line(&mut self, line: &str, told: &mut Vec<Told>) -> Result<(), String> {
        if line.is_empty() {
            return self.dispatch(told);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => {}
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                none => *none = Some(value.to_owned()),
            },
            "event" => self.event = Some(value.to_owned()),
            "id" => {
                self.last_id = Some(value.parse().map_err(|_| format!("an id that is none: {line:?}"))?);
                self.id_came = true;
            }
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {}
            _ => return Err(format!("the line {line:?} means nothing")),
        }
        Ok(())
    }

    fn dispatch(&mut self, told: &mut Vec<Told>) -> Result<(), String> {
        let (event, id_came) = (self.event.take(), std::mem::take(&mut self.id_came));
        let id = self.last_id.filter(|_| id_came);
        told.push(match (self.data.take(), event) {
            (None, Some(event)) => return Err(format!("an event {event} without data")),
            (None, None) if id_came => Told::Beat(id),
            (None, None) => return Ok(()),
            (Some(data), Some(event)) if event == "gap" => {
                gap_of(&serde_json::from_str(&data).map_err(|e| format!("{e} in {data}"))?)?
            }
            (Some(data), event) => match envelope(&data) {
                Ok(Told::Message(news)) if news.event == event && news.id == id => Told::Message(news),
                _ => Told::Message(News { id, channel: String::new(), event, data }),
            },
        });
        Ok(())
    }
}
