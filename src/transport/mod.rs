//! Transports: how news looks on the wire, one file per framing.
//!
//! A transport turns messages into bytes and knows nothing else about the exchange. Whoever
//! sends the bytes asks it for them, once per message and framing, not once per subscriber.
//!
//! Knows: messages and bytes. Never learns who listens, or whether they keep up.

mod batch;
mod envelope;
pub mod event_stream;
pub mod iframe;
pub mod long_poll;
pub mod ndjson;
pub mod websocket;

use std::rc::Rc;

use crate::log::Message;

pub use batch::{Batch, Cut};

/// What looks the same to all who share it: subscribers of one framing are served the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framing {
    /// [`event_stream`]
    Events {
        /// Whether the data is the envelope.
        envelope: bool,
    },
    /// [`ndjson`]
    Ndjson,
    /// [`iframe`], with the callback.
    Iframe(Rc<str>),
    /// [`websocket`]
    Websocket,
    /// [`long_poll`]
    Poll,
    /// [`long_poll`], as the pages of the article ask.
    Chat,
}

/// Something to tell: a message of a channel, or (without an id) a tick.
#[derive(Clone, Copy)]
pub struct News<'a> {
    /// Its place in the log. Ticks have none.
    pub id: Option<u64>,
    /// Where it was said.
    pub channel: &'a str,
    /// Its type.
    pub event: Option<&'a str>,
    /// What was said.
    pub data: &'a str,
}

/// Messages that are gone before a subscriber could have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The subscriber's cursor.
    pub from: u64,
    /// The oldest message that is still there (or the newest that is not, if none is).
    pub to: u64,
}

impl<'a> News<'a> {
    /// A message as it is told to the subscribers of `channel`.
    pub fn of(channel: &'a str, message: &'a Message) -> Self {
        News { id: Some(message.id), channel, event: message.event.as_deref(), data: &message.data }
    }
}

impl Framing {
    /// What the framings are called, in reports.
    pub const NAMES: [&str; 6] = ["events", "ndjson", "iframe", "websocket", "poll", "chat"];

    /// The place of this one in [`Framing::NAMES`].
    pub fn kind(&self) -> usize {
        match self {
            Framing::Events { .. } => 0,
            Framing::Ndjson => 1,
            Framing::Iframe(_) => 2,
            Framing::Websocket => 3,
            Framing::Poll => 4,
            Framing::Chat => 5,
        }
    }

    /// Whether one delivery is all that a subscriber gets before it has to ask again.
    pub fn is_poll(&self) -> bool {
        matches!(self, Framing::Poll | Framing::Chat)
    }

    /// Appends a message.
    pub fn message(&self, news: News<'_>, out: &mut Vec<u8>) {
        match self {
            Framing::Events { envelope } => event_stream::message(news, *envelope, out),
            Framing::Ndjson => ndjson::message(news, out),
            Framing::Iframe(callback) => iframe::message(callback, news, out),
            Framing::Websocket => websocket::message(news, out),
            Framing::Poll => long_poll::message(news, out),
            // One message is an answer of its own: see `Answers::chat`.
            Framing::Chat => {}
        }
    }

    /// Appends the word that messages are gone.
    pub fn gap(&self, gap: Gap, out: &mut Vec<u8>) {
        match self {
            Framing::Events { .. } => event_stream::gap(gap, out),
            Framing::Ndjson => ndjson::gap(gap, out),
            Framing::Iframe(callback) => iframe::gap(callback, gap, out),
            Framing::Websocket => websocket::gap(gap, out),
            // A poll says it beside its messages, and the pages of the article do not know the word.
            Framing::Poll | Framing::Chat => {}
        }
    }

    /// Appends a sign of life to a subscriber that has everything up to `cursor`.
    pub fn heartbeat(&self, cursor: u64, out: &mut Vec<u8>) {
        match self {
            Framing::Events { .. } => event_stream::heartbeat(cursor, out),
            Framing::Ndjson => out.extend_from_slice(ndjson::HEARTBEAT),
            Framing::Iframe(_) => out.extend_from_slice(iframe::HEARTBEAT),
            Framing::Websocket => websocket::heartbeat(out),
            Framing::Poll | Framing::Chat => {}
        }
    }
}
