//! Dialects: what a request means, one file per scheme of URLs.
//!
//! A dialect reads a request and says what is to be done, as a [`Plan`]. It does nothing
//! itself: so what a URL means can be read, and tested, without a connection.
//!
//! Knows: requests and plans. Never learns connections, channels' contents, or time.

pub mod article;
pub mod gate;
pub mod native;
pub mod pages;

use crate::log::Since;
use crate::transport::Framing;
use crate::wire::http::{Method, Request, decode_path, is_plain_path};
use crate::wire::refusal::Refusal;
use crate::wire::websocket;

use gate::Gate;
use pages::{Found, Page, Shelf};

/// What a request asks for. Owns what it needs: its body may still be on its way.
#[derive(Debug)]
pub enum Plan {
    /// Nothing, with a reason.
    Refuse(Refusal),
    /// What it may ask for: the methods, as in `Allow`. Refused with a 405, or answered if that was the question.
    Methods {
        /// The methods, separated by comma and space.
        allow: &'static str,
        /// Whether it asked (OPTIONS) or tried.
        asked: bool,
    },
    /// Whether the server can serve.
    Health,
    /// A page.
    Page {
        /// What is on it.
        page: Page,
        /// Whether the client has this very version already.
        known: bool,
    },
    /// The same under another path.
    Moved {
        /// The path, percent-encoded.
        location: String,
    },
    /// The clock of the article: a tick per second for as long as the client stays.
    Clock {
        /// Spaces before each tick.
        padding: u16,
    },
    /// A line for the article's chat.
    Say {
        /// The channel's name.
        channel: String,
        /// The line. Nothing is published if it is empty.
        text: String,
    },
    /// A poll of the article's chat.
    Hear {
        /// The channel's name.
        channel: String,
        /// What the client has already.
        since: Since,
    },
    /// To listen to channels.
    Subscribe {
        /// Their names: at least one, none twice.
        channels: Vec<String>,
        /// How to tell.
        framing: Framing,
        /// The answer to a WebSocket's handshake.
        accept: Option<websocket::Accept>,
        /// What the client has already.
        since: Since,
    },
    /// To say in channels what is in the body.
    Publish {
        /// Their names.
        channels: Vec<String>,
        /// The message's type.
        event: Option<String>,
    },
    /// To publish what the body says, line by line: see [`native::publications`].
    PublishMany,
    /// To forget what was said in a channel.
    Delete {
        /// Its name.
        channel: String,
    },
    /// How the server fares, as JSON.
    Stats,
    /// How its channels fare.
    ChannelsStats,
    /// How one channel fares.
    ChannelStats {
        /// Its name.
        channel: String,
    },
    /// How the server fares, as Prometheus reads it.
    Metrics,
    /// A WebSocket that sends back what it gets.
    Echo {
        /// The answer to its handshake.
        accept: websocket::Accept,
    },
    /// [`Say`](Plan::Say) or [`Hear`](Plan::Hear), whichever the parameters in the body ask for: see
    /// [`article::form`].
    Form {
        /// The channel's name.
        channel: String,
    },
}

impl Plan {
    /// Whether the request's body matters.
    pub fn wants_body(&self) -> bool {
        matches!(self, Plan::Form { .. } | Plan::Publish { .. } | Plan::PublishMany)
    }

    /// Whether it changes what others hear, and so is for those who may publish. Of a form only its body can tell.
    pub fn publishes(&self) -> bool {
        match self {
            Plan::Publish { .. } | Plan::PublishMany | Plan::Delete { .. } => true,
            Plan::Say { text, .. } => !text.is_empty(),
            _ => false,
        }
    }
}

/// What the router has to know beside the request.
pub struct House<'a> {
    /// Who may ask.
    pub gate: &'a Gate,
    /// Where pages are.
    pub shelf: &'a mut dyn Shelf,
    /// The most channels that one subscription may name.
    pub subscription_channels_max: usize,
    /// Whether `/lab/` is there.
    pub lab: bool,
}

/// Methods of whatever only can be looked at.
const LOOK: &str = "GET, HEAD, OPTIONS";

/// What the request asks for.
pub fn route(request: &Request<'_>, house: House<'_>) -> Plan {
    let gate = house.gate;
    let allowed = plan(request, house).and_then(|plan| {
        if plan.publishes() {
            gate.check_token(request)?;
        }
        Ok(plan)
    });
    allowed.unwrap_or_else(|refusal| {
        // Whoever does not wait for the answer to a handshake has sent frames, and they are no request.
        let close = refusal.close || request.upgrades_to("websocket");
        Plan::Refuse(Refusal { close, ..refusal })
    })
}

fn plan(request: &Request<'_>, house: House<'_>) -> Result<Plan, Refusal> {
    let House { gate, shelf, subscription_channels_max, lab } = house;
    gate.check_host(request.host)?;
    if request.path == "*" {
        return Ok(Plan::Methods { allow: article::METHODS, asked: true });
    }
    if let Some(plan) = native::plan(request, gate, subscription_channels_max, lab) {
        return plan;
    }
    let mut path = String::new();
    decode_path(request.path, &mut path)?;
    if let Some(directory) = article::directory(&path) {
        return article::plan(request, directory, gate);
    }
    if path == "/healthz" {
        return Ok(look(request).unwrap_or(Plan::Health));
    }
    let found = if is_plain_path(&path) { shelf.find(&path)? } else { None };
    match found {
        Some(Found::Page(page)) => Ok(look(request).unwrap_or_else(|| {
            let known = request.field("If-None-Match").is_some_and(|tags| page.is_among(tags));
            Plan::Page { page, known }
        })),
        Some(Found::Folder) => Ok(look(request).unwrap_or_else(|| Plan::Moved { location: moved(request) })),
        None => Err(Refusal::new(404, "nothing is here; / says what this server has")),
    }
}

/// What to do if the request does not simply want to look.
fn look(request: &Request<'_>) -> Option<Plan> {
    match request.method {
        Method::Get | Method::Head => None,
        method => Some(Plan::Methods { allow: LOOK, asked: method == Method::Options }),
    }
}

/// A folder's path with the slash that relative links on its page need.
fn moved(request: &Request<'_>) -> String {
    match request.query {
        "" => format!("{}/", request.path),
        query => format!("{}/?{query}", request.path),
    }
}

/// The media type of a request's body, without parameters.
fn media_type<'a>(request: &Request<'a>) -> Option<&'a [u8]> {
    let value = request.field("Content-Type")?;
    value.split(|&byte| byte == b';').next().map(<[u8]>::trim_ascii)
}
