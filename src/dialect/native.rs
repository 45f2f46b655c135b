//! The native dialect: channels and what is said in them.
//!
//! `GET /channels/NAMES` listens, `POST` speaks, `DELETE` forgets; `/stats` and `/metrics` tell how
//! it goes. How a listener is told follows from `?as=`, or else from what the request
//! says it can read.
//!
//! Knows: names, transports, cursors as they are written. Never learns what is in a channel.

use std::rc::Rc;

use crate::log::Since;
use crate::transport::{Framing, iframe};
use crate::wire::http::{Method, Request, Version, decode_path};
use crate::wire::json::{self, Publication};
use crate::wire::refusal::Refusal;
use crate::wire::{text, websocket};

use super::gate::Gate;
use super::{Plan, look};

/// What a channel can be asked.
const METHODS: &str = "GET, HEAD, OPTIONS, POST, DELETE";

/// The longest name of a channel, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// The longest type of a message, in bytes.
pub const EVENT_BYTES_MAX: usize = 128;

/// What a request under `/channels`, `/stats` or `/metrics` asks for; `None` if it is somewhere else.
pub fn plan(
    request: &Request<'_>,
    gate: &Gate,
    channels_max: usize,
    lab: bool,
) -> Option<Result<Plan, Refusal>> {
    Some(match request.path {
        "/channels" => bulk(request, gate),
        "/stats" => Ok(look(request).unwrap_or(Plan::Stats)),
        "/stats/channels" => Ok(look(request).unwrap_or(Plan::ChannelsStats)),
        "/metrics" => Ok(look(request).unwrap_or(Plan::Metrics)),
        "/lab/echo" if lab => look(request).map_or_else(|| echo(request), Ok),
        path => {
            if let Some(names) = path.strip_prefix("/channels/") {
                channels(request, names, gate, channels_max)
            } else {
                let name = path.strip_prefix("/stats/channels/")?;
                one_name(name).map(|channel| look(request).unwrap_or(Plan::ChannelStats { channel }))
            }
        }
    })
}

/// Whether errors on this path are for programs.
pub fn is_for_programs(path: &str) -> bool {
    ["/channels", "/stats", "/metrics"].iter().any(|prefix| path.starts_with(prefix))
}

fn channels(request: &Request<'_>, raw: &str, gate: &Gate, channels_max: usize) -> Result<Plan, Refusal> {
    match request.method {
        Method::Get | Method::Head => {
            let channels = names(raw, channels_max)?;
            let (framing, accept) = framing(request, channels.len())?;
            match framing {
                // Browsers let every page open WebSockets, and ask nobody whether it may.
                Framing::Websocket => {
                    gate.check_same_origin(request)?;
                    gate.check_offered_token(request)?;
                }
                // The callback is called in our origin's name, wherever the document is shown.
                Framing::Iframe(_) => gate.check_same_origin(request)?,
                _ => {}
            }
            Ok(Plan::Subscribe { channels, framing, accept, since: since(request)? })
        }
        Method::Post => {
            gate.check_same_origin(request)?;
            let channels = names(raw, channels_max)?;
            check_publishable(&channels)?;
            Ok(Plan::Publish { channels, event: event(request)? })
        }
        Method::Delete => {
            gate.check_same_origin(request)?;
            if raw.contains(',') {
                return Err(Refusal::new(400, "several channels; DELETE takes one, send a request for each"));
            }
            let channel = one_name(raw)?;
            check_publishable(std::slice::from_ref(&channel))?;
            Ok(Plan::Delete { channel })
        }
        method => Ok(Plan::Methods { allow: METHODS, asked: method == Method::Options }),
    }
}

fn bulk(request: &Request<'_>, gate: &Gate) -> Result<Plan, Refusal> {
    if request.method != Method::Post {
        return Ok(Plan::Methods { allow: "OPTIONS, POST", asked: request.method == Method::Options });
    }
    gate.check_same_origin(request)?;
    match super::media_type(request) {
        Some(kind) if kind.eq_ignore_ascii_case(b"application/x-ndjson") => Ok(Plan::PublishMany),
        _ => Err(Refusal::new(
            415,
            "many messages at once are expected as application/x-ndjson, one JSON object a line",
        )),
    }
}

fn echo(request: &Request<'_>) -> Result<Plan, Refusal> {
    Ok(Plan::Echo { accept: websocket::handshake(request)? })
}

/// What the body of a bulk publish says, line by line.
pub fn publications(body: &[u8], message_bytes_max: usize) -> Result<Vec<Publication>, Refusal> {
    let publications: Vec<Publication> = json::publications(body)
        .enumerate()
        .map(|(i, asked)| {
            let asked = asked?;
            check_publication(&asked, message_bytes_max).map_err(|refusal| {
                Refusal::new(refusal.status, format!("message {}: {}", i + 1, refusal.detail))
            })?;
            Ok(asked)
        })
        .collect::<Result<_, Refusal>>()?;
    if publications.is_empty() {
        return Err(Refusal::new(400, "no message in the body; expected one JSON object a line"));
    }
    Ok(publications)
}

/// Checks what somebody wants to publish, in whatever way it came.
pub fn check_publication(publication: &Publication, bytes_max: usize) -> Result<(), Refusal> {
    check_name(&publication.channel)?;
    check_publishable(std::slice::from_ref(&publication.channel))?;
    publication.event.as_deref().map_or(Ok(()), check_event)?;
    if publication.data.len() > bytes_max {
        return Err(too_long(bytes_max));
    }
    Ok(())
}

/// Why a message of more than so many bytes is not published.
pub fn too_long(bytes_max: usize) -> Refusal {
    Refusal::new(413, format!("a message of more than {bytes_max} bytes; send less at a time"))
}

/// `a,b,c`: split first, then decoded.
fn names(raw: &str, channels_max: usize) -> Result<Vec<String>, Refusal> {
    let mut names = Vec::new();
    for raw in raw.split(',') {
        let name = one_name(raw)?;
        if !names.contains(&name) {
            names.push(name);
        }
        if names.len() > channels_max {
            return Err(Refusal::new(400, format!("more than {channels_max} channels at once")));
        }
    }
    Ok(names)
}

fn one_name(raw: &str) -> Result<String, Refusal> {
    let mut name = String::new();
    decode_path(raw, &mut name)?;
    check_name(&name)?;
    Ok(name)
}

/// Whether it may be a channel's name.
pub fn check_name(name: &str) -> Result<(), Refusal> {
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
    if fits && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-~:@$".contains(&byte)) {
        return Ok(());
    }
    Err(Refusal::new(400, "a channel's name is 1 to 128 characters of A-Z a-z 0-9 . _ - ~ : @ $"))
}

fn check_publishable(names: &[impl AsRef<str>]) -> Result<(), Refusal> {
    if names.iter().any(|name| name.as_ref().starts_with('$')) {
        return Err(Refusal::new(403, "channels whose names begin with $ are the server's own"));
    }
    Ok(())
}

fn event(request: &Request<'_>) -> Result<Option<String>, Refusal> {
    let event = text::field(request.query, "event")?.filter(|event| !event.is_empty());
    event.as_deref().map_or(Ok(()), check_event)?;
    Ok(event.map(|event| event.into_owned()))
}

fn check_event(event: &str) -> Result<(), Refusal> {
    if event.len() > EVENT_BYTES_MAX || event.contains(['\r', '\n', '\0']) {
        return Err(Refusal::new(400, "a message's type is one line of at most 128 bytes"));
    }
    if ["gap", "deleted"].contains(&event) {
        return Err(Refusal::new(400, "the types gap and deleted are the server's own"));
    }
    Ok(())
}

/// How the listener is told, and the answer to its handshake if that is WebSocket.
fn framing(request: &Request<'_>, channels: usize) -> Result<(Framing, Option<websocket::Accept>), Refusal> {
    let events = || -> Result<Framing, Refusal> {
        Ok(Framing::Events { envelope: channels > 1 || text::field(request.query, "envelope")?.is_some() })
    };
    // A proxy that passes on one of the two fields of a handshake makes no poll of it.
    let upgrades = request.version == Version::Http11 && request.lists("Upgrade", "websocket");
    let framing = match text::field(request.query, "as")?.as_deref() {
        Some("events") => events()?,
        Some("ndjson") => Framing::Ndjson,
        Some("poll") => Framing::Poll,
        Some("iframe") => Framing::Iframe(callback(request)?),
        Some("websocket") => Framing::Websocket,
        Some(_) => {
            return Err(Refusal::new(
                400,
                "no transport of this name; try iframe, poll, events, ndjson or websocket",
            ));
        }
        None if upgrades => Framing::Websocket,
        None if accepts(request, "text/event-stream") => events()?,
        None if accepts(request, "application/x-ndjson") => Framing::Ndjson,
        None => Framing::Poll,
    };
    let accept = if framing == Framing::Websocket { Some(websocket::handshake(request)?) } else { None };
    Ok((framing, accept))
}

/// `Accept` lists media ranges with parameters. Only what is asked for by name counts, and not what is ruled out by a
/// weight of 0 (RFC 9110 §12.4.2).
fn accepts(request: &Request<'_>, kind: &str) -> bool {
    request.named("Accept").flat_map(|value| value.split(|&byte| byte == b',')).any(|range| {
        let mut parts = range.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        parts.next().is_some_and(|range| range.eq_ignore_ascii_case(kind.as_bytes()))
            && !parts.any(is_weight_of_zero)
    })
}

/// `q=0`, with up to three more zeros behind a point.
fn is_weight_of_zero(parameter: &[u8]) -> bool {
    matches!(parameter, [b'q' | b'Q', b'=', b'0', zeros @ ..] if zeros.iter().all(|byte| b".0".contains(byte)))
}

fn callback(request: &Request<'_>) -> Result<Rc<str>, Refusal> {
    let callback = text::field(request.query, "callback")?.unwrap_or(iframe::CALLBACK.into());
    if !text::is_callback(&callback) {
        return Err(Refusal::new(
            400,
            "a callback is JavaScript names joined by dots, at most 64 characters",
        ));
    }
    Ok(callback.as_ref().into())
}

/// Where to start: the first of the spellings that is there.
fn since(request: &Request<'_>) -> Result<Since, Refusal> {
    if let Some(last) = request.field("Last-Event-ID") {
        // A browser cannot correct what it was once told; so nonsense is a gap and not an error.
        let id = std::str::from_utf8(last).ok().and_then(text::digits);
        return Ok(id.map_or(Since::Lost, Since::After));
    }
    let [since, last_event_id, camel_case, last] =
        text::fields(request.query, ["since", "last_event_id", "lastEventId", "last"])?;
    match (since.or(last_event_id).or(camel_case), last) {
        (Some(since), _) => cursor(&text::decode_form(since)?),
        (None, Some(count)) => text::digits(&text::decode_form(count)?)
            .map(|count| Since::Last(u32::try_from(count).unwrap_or(u32::MAX)))
            .ok_or_else(|| Refusal::new(400, "last is not a number of messages")),
        (None, None) => Ok(Since::Now),
    }
}

/// A cursor as clients write it.
pub fn cursor(text: &str) -> Result<Since, Refusal> {
    match text {
        "oldest" => Ok(Since::Oldest),
        id => text::digits(id)
            .map(Since::After)
            .ok_or_else(|| Refusal::new(400, "since is neither a message's id nor oldest")),
    }
}
