//! The article dialect: `…/backend.php`, as the pages of the two famous demos call it.
//!
//! The demos had one script each, in a directory of their own. Here one URL speaks for both,
//! told apart by its parameters, and the directory names the chat: pages written for the
//! scripts work as they are.
//!
//! Knows: the parameters. Never learns how a clock ticks or a chat is kept.

use std::borrow::Cow;

use crate::log::Since;
use crate::wire::http::{Method, Request, is_plain_path};
use crate::wire::refusal::Refusal;
use crate::wire::text;

use super::Plan;
use super::gate::Gate;

/// What the script can be asked.
pub const METHODS: &str = "GET, HEAD, OPTIONS, POST";

const SCRIPT: &str = "backend.php";

/// The directory, slash included, if the path is a script's in this dialect.
pub fn directory(path: &str) -> Option<&str> {
    path.strip_suffix(SCRIPT).filter(|directory| directory.ends_with('/') && is_plain_path(directory))
}

/// What a request to the script in `directory` asks for.
pub fn plan(request: &Request<'_>, directory: &str, gate: &Gate) -> Result<Plan, Refusal> {
    let channel = format!("chat:{directory}");
    match request.method {
        Method::Get | Method::Head => {
            let plan = parameters(channel, request.query)?;
            if matches!(plan, Plan::Say { .. }) {
                gate.check_same_origin(request)?;
            }
            Ok(plan)
        }
        Method::Post => {
            gate.check_same_origin(request)?;
            check_form(request)?;
            Ok(Plan::Form { channel })
        }
        method => Ok(Plan::Methods { allow: METHODS, asked: method == Method::Options }),
    }
}

/// What a form that was posted to the script asks for: the same as in a query, except for the
/// clock, which has no parameters at all.
pub fn form(channel: String, body: &[u8]) -> Result<Plan, Refusal> {
    let body = std::str::from_utf8(body).map_err(|_| Refusal::new(400, "the form is not UTF-8"))?;
    match parameters(channel, body)? {
        Plan::Clock { .. } => Err(Refusal::new(400, "neither msg nor timestamp is in the form")),
        plan => Ok(plan),
    }
}

fn parameters(channel: String, query: &str) -> Result<Plan, Refusal> {
    let message = text::field(query, "msg")?;
    let timestamp = text::field(query, "timestamp")?;
    match (message, timestamp) {
        (Some(text), _) if !text.is_empty() => Ok(Plan::Say { channel, text: text.into_owned() }),
        (_, Some(timestamp)) => Ok(Plan::Hear { channel, since: since(&timestamp)? }),
        (Some(_), None) => Ok(Plan::Say { channel, text: String::new() }),
        (None, None) => Ok(Plan::Clock { padding: padding(text::field(query, "padding")?)? }),
    }
}

/// The cursor is the id of the last message seen, in seconds with a fraction; pages begin with 0.
fn since(timestamp: &str) -> Result<Since, Refusal> {
    match text::parse_seconds_fraction(timestamp) {
        Some(0) => Ok(Since::Last(1)),
        Some(us) => Ok(Since::After(us)),
        None if timestamp.is_empty() => Ok(Since::Last(1)),
        None => Err(Refusal::new(
            400,
            "timestamp is not a number of seconds; begin with 0, then echo the last answer's",
        )),
    }
}

fn padding(asked: Option<Cow<'_, str>>) -> Result<u16, Refusal> {
    let Some(asked) = asked else { return Ok(0) };
    text::digits(&asked)
        .and_then(|spaces| u16::try_from(spaces).ok())
        .ok_or_else(|| Refusal::new(400, "padding is not a number of spaces"))
}

fn check_form(request: &Request<'_>) -> Result<(), Refusal> {
    match super::media_type(request) {
        Some(form) if form.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") => Ok(()),
        _ => Err(Refusal::new(415, "the body is not application/x-www-form-urlencoded, as a form's is")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(line: &str) -> Result<Plan, u16> {
        let head = format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n");
        let request = Request::parse(head.as_bytes()).unwrap();
        plan(&request, directory(request.path).unwrap(), &Gate::new(&[], &[]))
            .map_err(|refusal| refusal.status)
    }

    #[test]
    fn the_script_is_found_in_every_directory_and_only_under_its_name() {
        assert_eq!(directory("/backend.php"), Some("/"));
        assert_eq!(directory("/a/b/backend.php"), Some("/a/b/"));
        for path in ["/mybackend.php", "/backend.php/", "/backend.phps", "/a//backend.php", "/../backend.php"]
        {
            assert_eq!(directory(path), None, "{path}");
        }
    }

    #[test]
    fn without_parameters_it_is_the_clock() {
        assert!(matches!(asks("GET /clock/backend.php"), Ok(Plan::Clock { padding: 0 })));
        assert!(matches!(asks("GET /backend.php?_=17"), Ok(Plan::Clock { padding: 0 })));
        assert!(matches!(asks("GET /backend.php?padding=4096"), Ok(Plan::Clock { padding: 4_096 })));
        for padding in ["-1", "", "65536", "two"] {
            assert!(matches!(asks(&format!("GET /backend.php?padding={padding}")), Err(400)), "{padding}");
        }
    }

    #[test]
    fn the_chat_is_named_after_the_directory() {
        let Ok(Plan::Say { channel, text }) = asks("GET /demo/backend.php?msg=hello+w%C3%B6rld&_=") else {
            panic!()
        };
        assert_eq!((channel.as_str(), text.as_str()), ("chat:/demo/", "hello wörld"));
    }

    #[test]
    fn an_empty_message_is_ignored() {
        assert!(matches!(
            asks("GET /backend.php?msg=&timestamp=1700000000.000123"),
            Ok(Plan::Hear { since: Since::After(1_700_000_000_000_123), .. })
        ));
        assert!(matches!(asks("GET /backend.php?msg="), Ok(Plan::Say { text, .. }) if text.is_empty()));
    }

    #[test]
    fn the_first_cursor_is_zero_and_nonsense_is_none() {
        for first in ["0", "0.0", ""] {
            let line = format!("GET /backend.php?timestamp={first}");
            assert!(matches!(asks(&line), Ok(Plan::Hear { since: Since::Last(1), .. })), "{first:?}");
        }
        for nonsense in ["-1", "1e9", "now", "0x1", "%00", "1.2.3", "NaN"] {
            assert!(
                matches!(asks(&format!("GET /backend.php?timestamp={nonsense}")), Err(400)),
                "{nonsense}"
            );
        }
    }

    #[test]
    fn a_message_that_is_not_text_is_refused() {
        assert!(matches!(asks("GET /backend.php?msg=%FF"), Err(400)));
        assert!(matches!(asks("GET /backend.php?msg=%zz"), Err(400)));
    }

    #[test]
    fn a_form_says_the_same_as_a_query_but_is_never_the_clock() {
        assert!(matches!(form("c".into(), b"msg=a%26b"), Ok(Plan::Say { text, .. }) if text == "a&b"));
        assert!(matches!(form("c".into(), b"timestamp=5"), Ok(Plan::Hear { .. })));
        assert_eq!(form("c".into(), b"").unwrap_err().status, 400);
        assert_eq!(form("c".into(), b"msg=\xff").unwrap_err().status, 400);
    }

    #[test]
    fn only_forms_can_be_posted() {
        let post = |media_type: &str| {
            let head = format!("POST /backend.php HTTP/1.1\r\nHost: x\r\nContent-Type: {media_type}\r\n\r\n");
            plan(&Request::parse(head.as_bytes()).unwrap(), "/", &Gate::new(&[], &[]))
                .map_err(|refusal| refusal.status)
        };
        assert!(matches!(post("application/x-www-form-urlencoded; charset=UTF-8"), Ok(Plan::Form { .. })));
        assert!(matches!(post("text/plain"), Err(415)));
    }
}
