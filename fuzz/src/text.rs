//! Text in its costumes. The input is a text, a query and a path at once.
//!
//! What comes out of a costume is what was put in, as readers that nobody here wrote see it:
//! `serde_json` for JSON, `form_urlencoded` for queries, the WHATWG's rules for event streams.
//! Inside a script stands nothing that could end it.

use encke::transport::{Framing, News};
use encke::wire::http::{decode_path, is_plain_path};
use encke::wire::text;

use crate::event_source::EventSource;

pub fn text(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else { return };
    check_json(input);
    check_html(input);
    check_query(input);
    check_path(input);
    check_framings(input);
}

fn check_json(input: &str) {
    for write in [text::json_string, text::json_string_in_script] {
        let mut json = Vec::new();
        write(input, &mut json);
        assert_eq!(serde_json::from_slice::<String>(&json).expect("this is JSON"), input);
        let written = String::from_utf8(json).expect("JSON is text");
        assert!(!written.contains(|c: char| c.is_ascii_control() && c != '\x7f'), "{written:?}");
        assert!(!written.contains(['\u{2028}', '\u{2029}']), "{written:?}");
    }
    let mut script = Vec::new();
    text::json_string_in_script(input, &mut script);
    assert!(!script.iter().any(|byte| b"<>&'".contains(byte)), "{script:?}");
}

fn check_html(input: &str) {
    let mut html = Vec::new();
    text::html(input, &mut html);
    let html = String::from_utf8(html).expect("HTML is text");
    assert!(!html.contains(['<', '>', '"', '\'']), "{html}");
    let read = html.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    assert_eq!(read.replace("&amp;", "&"), input);
}

fn check_query(input: &str) {
    let Ok(pairs) = text::pairs(input).collect::<Result<Vec<_>, _>>() else { return };
    let lenient: Vec<_> = form_urlencoded::parse(input.as_bytes()).collect();
    assert_eq!(pairs, lenient, "what we do not refuse, we read like everybody");
    for (name, value) in &pairs {
        let first = pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value);
        let field = text::field(input, name).expect("all of it was read before");
        assert_eq!(field.as_ref(), first, "{name}={value}");
    }
}

fn check_path(input: &str) {
    let mut path = String::from("left over");
    if decode_path(input, &mut path).is_err() {
        return;
    }
    assert!(!path.contains(|c: char| c.is_ascii_control()), "{path:?}");
    if is_plain_path(&path) {
        let climbs = path.split('/').any(|segment| segment == ".." || segment == ".");
        assert!(path.starts_with('/') && !climbs && !path[1..].contains("//"), "{path}");
    }
}

/// Every framing but the chat's, whose one message is an answer of its own.
fn check_framings(input: &str) {
    let news = News { id: Some(7), channel: "a", event: Some("line"), data: input };
    let written = |framing: Framing| {
        let mut out = Vec::new();
        framing.message(news, &mut out);
        out
    };
    let told = |json: &[u8]| {
        let envelope: serde_json::Value = serde_json::from_slice(json).expect("an envelope is JSON");
        assert_eq!(envelope, serde_json::json!({"id": 7, "channel": "a", "event": "line", "data": input}));
    };
    told(written(Framing::Ndjson).strip_suffix(b"\n").expect("a line"));
    told(written(Framing::Poll).strip_suffix(b",").expect("an element"));
    let script = written(Framing::Iframe("f".into()));
    told(
        script
            .strip_prefix(b"<script>f(")
            .and_then(|rest| rest.strip_suffix(b");</script>\n"))
            .expect("a call"),
    );

    let mut browser = EventSource::default();
    let events = browser.feed(&written(Framing::Events { envelope: true }));
    told(events[0].data.as_bytes());
    let events = browser.feed(&written(Framing::Events { envelope: false }));
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].id.as_str(), events[0].kind.as_str()), ("7", "line"));
    // The one thing that this transport cannot say is how a line ended.
    assert_eq!(events[0].data, input.replace("\r\n", "\n").replace('\r', "\n"));
}
