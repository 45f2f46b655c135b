//! Presets: how known servers want to be asked.
//!
//! A comparison should be one command. What a preset fills in are the same templates that flags fill in, and
//! flags win over it.
//!
//! Knows: other servers' URLs, as their manuals have them. Never learns whether one is there.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::plan::CursorFrom;

/// How a subscriber listens.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// An event stream, as EventSource reads it.
    Events,
    /// A line of JSON for each message.
    Ndjson,
    /// A document without end.
    Iframe,
    /// A request that is answered when there is news.
    Poll,
    /// WebSocket, RFC 6455.
    Websocket,
    /// The article's clock: an iframe with a tick each second.
    Clock,
    /// The article's chat: a poll with a timestamp.
    Chat,
}

impl Transport {
    /// Whether each piece of news is an answer, and has to be asked for.
    pub(super) fn is_poll(self) -> bool {
        matches!(self, Transport::Poll | Transport::Chat)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Transport::Events => "events",
            Transport::Ndjson => "ndjson",
            Transport::Iframe => "iframe",
            Transport::Poll => "poll",
            Transport::Websocket => "websocket",
            Transport::Clock => "clock",
            Transport::Chat => "chat",
        }
    }
}

/// A server that is known.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// This server.
    #[default]
    Encke,
    /// nginx with nchan: locations /sub/CHANNEL and /pub/CHANNEL.
    Nchan,
    /// nginx with push-stream: /ev/, /sub/, /lp/, /ws/CHANNEL and /pub?id=CHANNEL.
    PushStream,
    /// The article's scripts: /backend.php, in a directory for each demo.
    Php,
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Preset::Encke => "encke",
            Preset::Nchan => "nchan",
            Preset::PushStream => "push-stream",
            Preset::Php => "php",
        })
    }
}

impl FromStr for Preset {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        <Preset as ValueEnum>::from_str(name, false)
    }
}

/// What a preset fills in. Targets are paths; the server's address comes before them.
#[derive(Debug, Default)]
pub(super) struct Filled {
    pub(super) subscribe: String,
    /// The target for one who comes back with a cursor, if it is another.
    pub(super) resume: Option<String>,
    pub(super) headers: Vec<String>,
    pub(super) resume_headers: Vec<String>,
    pub(super) cursor: CursorFrom,
    /// What announces a gap.
    pub(super) gaps: Vec<String>,
    pub(super) method: &'static str,
    pub(super) publish: String,
    /// What stands before the time in a tick.
    pub(super) tick: Option<&'static str>,
}

impl Preset {
    /// The transport that a comparison with this server is about.
    pub(super) fn transport(self) -> Transport {
        match self {
            Preset::Php => Transport::Chat,
            _ => Transport::Events,
        }
    }

    /// The templates for this server and transport.
    pub(super) fn fill(self, transport: Transport) -> Result<Filled, String> {
        let mut filled = match (self, transport) {
            (Preset::Encke | Preset::Php, Transport::Clock) => clock(),
            (Preset::Encke, Transport::Chat) => chat("/{channel}/backend.php"),
            (Preset::Encke, _) => encke(transport),
            (Preset::Nchan, Transport::Events | Transport::Websocket | Transport::Poll) => nchan(transport),
            (
                Preset::PushStream,
                Transport::Events | Transport::Websocket | Transport::Poll | Transport::Iframe,
            ) => push_stream(transport),
            // The article's chat has one file, and so one channel.
            (Preset::Php, Transport::Chat) => chat("/chat/backend.php"),
            _ => {
                return Err(format!(
                    "the preset {self} has no transport {}; write --subscribe and --publish, or try {}",
                    transport.name(),
                    self.transport().name()
                ));
            }
        };
        match transport {
            Transport::Events => filled.headers.push("Accept: text/event-stream".into()),
            Transport::Websocket => filled.headers.extend(
                ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", WEBSOCKET_KEY]
                    .map(String::from),
            ),
            _ => {}
        }
        Ok(filled)
    }
}

/// Sixteen bytes, as RFC 6455 wants them. They protect proxies from pages; here is neither.
const WEBSOCKET_KEY: &str = "Sec-WebSocket-Key: ZW5ja2UgYmVuY2ggLi4uLg==";

fn encke(transport: Transport) -> Filled {
    let subscribe = match transport {
        Transport::Websocket => "/channels/{channel}".to_owned(),
        _ => format!("/channels/{{channel}}?as={}", transport.name()),
    };
    let joint = if subscribe.contains('?') { '&' } else { '?' };
    let (cursor, gap) = match transport {
        Transport::Events => ("\nid: ", "\nevent: gap\n"),
        Transport::Poll => ("\"since\":", "\"gap\":"),
        _ => ("\"id\":", "\"gap\":"),
    };
    Filled {
        resume: Some(format!("{subscribe}{joint}since={{cursor}}")),
        subscribe,
        cursor: CursorFrom::Behind(cursor.into()),
        gaps: vec![gap.into()],
        method: "POST",
        publish: "/channels/{channel}".into(),
        ..Filled::default()
    }
}

fn nchan(transport: Transport) -> Filled {
    let mut filled = Filled {
        subscribe: "/sub/{channel}".into(),
        method: "POST",
        publish: "/pub/{channel}".into(),
        ..Filled::default()
    };
    with_last_event_id_or_validators(transport, &mut filled);
    filled
}

fn push_stream(transport: Transport) -> Filled {
    let location = match transport {
        Transport::Events => "ev",
        Transport::Poll => "lp",
        Transport::Websocket => "ws",
        _ => "sub",
    };
    let mut filled = Filled {
        subscribe: format!("/{location}/{{channel}}"),
        method: "POST",
        publish: "/pub?id={channel}".into(),
        ..Filled::default()
    };
    with_last_event_id_or_validators(transport, &mut filled);
    filled
}

/// Both nginx modules take the cursor of an event stream as EventSource hands it back, and that of a poll
/// as the validators of the last answer.
fn with_last_event_id_or_validators(transport: Transport, filled: &mut Filled) {
    match transport {
        Transport::Events => {
            filled.cursor = CursorFrom::Behind("\nid: ".into());
            filled.resume_headers = vec!["Last-Event-ID: {cursor}".into()];
        }
        Transport::Poll => filled.cursor = CursorFrom::Validators,
        _ => {}
    }
}

fn clock() -> Filled {
    Filled {
        subscribe: "/clock/backend.php".into(),
        method: "POST",
        tick: Some("printServerTime("),
        ..Filled::default()
    }
}

fn chat(script: &str) -> Filled {
    Filled {
        subscribe: format!("{script}?timestamp=0"),
        resume: Some(format!("{script}?timestamp={{cursor}}")),
        cursor: CursorFrom::Behind("\"timestamp\":".into()),
        method: "GET",
        publish: format!("{script}?msg={{payload}}"),
        ..Filled::default()
    }
}
