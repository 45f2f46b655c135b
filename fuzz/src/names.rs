//! What a URL means. The first line of the input is a request's target, the others are fields of its head.
//!
//! Whatever the plan is, what it carries is safe: names of channels are of their alphabet and none
//! is there twice, a callback is a JavaScript name, a cursor is a number, a type is one line, and
//! where it leads elsewhere it stays here.

use encke::dialect::gate::Gate;
use encke::dialect::{House, Plan, native, route};
use encke::transport::Framing;
use encke::wire::http::Request;
use encke::wire::text;

use crate::Pages;

const CHANNELS_MAX: usize = 4;

pub fn names(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let (target, fields) = input.split_once('\n').unwrap_or((input, ""));
    let fields: String = fields.lines().map(|line| format!("{line}\r\n")).collect();
    let gate = Gate::new(&["example.org".to_owned()], &["https://friend.example".to_owned()]);
    for method in ["GET", "POST", "DELETE", "OPTIONS"] {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        let Ok(request) = Request::parse(head.as_bytes()) else { return };
        let house =
            House { gate: &gate, shelf: &mut Pages, subscription_channels_max: CHANNELS_MAX, lab: true };
        check(route(&request, house), method);
        let lines = gate.origin_lines(gate.number_of(request.field("Origin")));
        assert!(lines.is_empty() || lines.ends_with(b"\r\n"), "{lines:?}");
    }
    let _ = native::cursor(target);
    if let Some(us) = text::parse_seconds_fraction(target) {
        let mut written = Vec::new();
        text::seconds_fraction(us, &mut written);
        let written = String::from_utf8(written).expect("digits");
        assert_eq!(text::parse_seconds_fraction(&written), Some(us), "a cursor is exact");
    }
}

fn check(plan: Plan, method: &str) {
    match plan {
        Plan::Refuse(refusal) => crate::check_refusal(&refusal),
        Plan::Subscribe { channels, framing, accept, .. } => {
            check_names(&channels);
            assert_eq!(accept.is_some(), framing == Framing::Websocket);
            if let Framing::Iframe(callback) = framing {
                let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"._$".contains(&byte);
                assert!(callback.bytes().all(is_safe) && callback.len() <= 64, "{callback}");
                assert!(!callback.starts_with(|first: char| first.is_ascii_digit()), "{callback}");
            }
        }
        Plan::Publish { channels, event } => {
            check_names(&channels);
            assert!(channels.iter().all(|name| !name.starts_with('$')), "{channels:?}");
            assert!(!event.is_some_and(|event| event.contains(['\r', '\n', '\0']) || event.len() > 128));
            assert_eq!(method, "POST", "only a POST speaks here");
        }
        Plan::Delete { channel } => {
            check_names(std::slice::from_ref(&channel));
            assert_eq!(method, "DELETE");
        }
        Plan::ChannelStats { channel } => check_names(&[channel]),
        Plan::Moved { location } => {
            assert!(
                location.starts_with('/') && !location.starts_with("//"),
                "it leads elsewhere: {location}"
            );
            assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{location}");
        }
        Plan::Say { channel, .. } | Plan::Hear { channel, .. } | Plan::Form { channel } => {
            assert!(channel.starts_with("chat:/") && channel.ends_with('/'), "{channel}");
            assert!(!channel.contains(char::is_control), "{channel:?}");
        }
        _ => {}
    }
}

fn check_names(names: &[String]) {
    assert!(!names.is_empty() && names.len() <= CHANNELS_MAX, "{names:?}");
    for (nth, name) in names.iter().enumerate() {
        assert!((1..=128).contains(&name.len()), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-~:@$".contains(&b)), "{name}");
        assert!(!names[..nth].contains(name), "twice: {name}");
    }
}
