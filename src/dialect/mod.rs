//! Dialects: what a request means, one file per scheme of URLs.
//!
//! A dialect reads a request and says what is to be done, as a [`Plan`]. It does nothing
//! itself: so what a URL means can be read, and tested, without a connection.
//!
//! Knows: requests and plans. Never learns connections, channels' contents, or time.

pub mod article;
pub mod gate;
pub mod pages;

use crate::hub::Since;
use crate::wire::http::{Method, Request, decode_path, is_plain_path};
use crate::wire::refusal::Refusal;

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
    /// The same two, when the parameters are in the body: see [`article::form`].
    Form {
        /// The channel's name.
        channel: String,
    },
}

impl Plan {
    /// Whether the request's body matters.
    pub fn wants_body(&self) -> bool {
        matches!(self, Plan::Form { .. })
    }
}

/// Methods of whatever only can be looked at.
const LOOK: &str = "GET, HEAD, OPTIONS";

/// What the request asks for.
pub fn route(request: &Request<'_>, gate: &Gate, shelf: &mut dyn Shelf) -> Plan {
    plan(request, gate, shelf).unwrap_or_else(Plan::Refuse)
}

fn plan(request: &Request<'_>, gate: &Gate, shelf: &mut dyn Shelf) -> Result<Plan, Refusal> {
    gate.check_host(request.host)?;
    if request.path == "*" {
        return Ok(Plan::Methods { allow: article::METHODS, asked: true });
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
