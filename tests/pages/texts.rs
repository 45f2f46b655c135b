//! Whatever is published, a page gets: the same text, over every transport, as a browser reads it.

use serde_json::json;

use crate::browser::Browser;
use crate::server::Server;

/// Texts that would like to be something else.
fn hostile() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "\n",
        "\r",
        "\r\n",
        "\r\r\n\n",
        "a\rb\nc\r\nd",
        "data: x\nid: 8\nevent: gap\nretry: 1\n\n: y",
        "</script><script>parent.fooled = true</script>",
        "</SCRIPT ><img src=x onerror='parent.fooled = true'>",
        "<!--<script>",
        "--><![CDATA[ ]]>",
        "');parent.fooled=true;('",
        "\\u0041 \\\" \\",
        "&lt;&amp;&#39;&quot;",
        "a\u{2028}b\u{2029}c",
        "\u{feff}begins with a mark",
        "\u{0}",
        // What stands on both sides of the surrogates, and the last characters of two and four bytes.
        "\u{7ff}\u{d7ff}\u{e000}\u{fffd}\u{fffe}\u{ffff}\u{10000}\u{10ffff}",
        "\u{1f682}\u{1f469}\u{200d}\u{1f680} e\u{301} \u{202e}backwards",
        r#"{"id":1,"channel":"a","data":"not this"}"#,
        r#"{"gap":{"from":1,"to":2}}"#,
        "__proto__",
    ]
    .map(str::to_owned)
    .into();
    texts.extend((0..=0xff).map(|code| format!("<{}>", char::from(code))));
    texts
}

/// Listens in all ways at once. What each has heard is in `heard`, under its name.
const LISTEN: &str = r#"
    window.heard = { events: [], enveloped: [], ndjson: [], iframe: [], poll: [], websocket: [] };
    const from = '/channels/a?since=oldest&as=';
    const take = (into) => (envelope) => heard[into].push(envelope.data);
    new EventSource(from + 'events').onmessage = take('events');
    new EventSource(from + 'events&envelope').onmessage = ({ data }) => take('enveloped')(JSON.parse(data));
    new WebSocket((from + 'websocket').replace(/^/, location.origin.replace('http', 'ws')))
        .onmessage = ({ data }) => take('websocket')(JSON.parse(data));
    fetch(from + 'poll').then((answer) => answer.json()).then(({ messages }) => messages.forEach(take('poll')));
    window.inFrame = take('iframe');
    const frame = document.createElement('iframe');
    frame.src = from + 'iframe&callback=parent.inFrame';
    document.body.append(frame);
    fetch(from + 'ndjson').then(async ({ body }) => {
        let rest = '';
        const reader = body.pipeThrough(new TextDecoderStream('utf-8', { ignoreBOM: true })).getReader();
        for (;;) {
            const { value, done } = await reader.read();
            if (done) return;
            const lines = (rest + value).split('\n');
            rest = lines.pop();
            lines.filter(Boolean).map(JSON.parse).forEach(take('ndjson'));
        }
    });
"#;

#[test]
fn what_a_page_gets_is_what_was_published_over_every_transport() {
    let (server, browser) = (Server::start(), Browser::start());
    let texts = hostile();
    texts.iter().for_each(|text| server.publish("a", text));
    browser.go(&server.url("/"));
    browser.run(LISTEN, "");
    for way in ["events", "enveloped", "ndjson", "iframe", "poll", "websocket"] {
        let count = |page: &Browser| page.run("return heard[arguments[0]].length", way);
        browser.until(&format!("everything has come over {way}"), |page| count(page) == texts.len());
        let heard: Vec<String> =
            serde_json::from_value(browser.run("return heard[arguments[0]]", way)).expect("texts");
        for (heard, published) in heard.iter().zip(&texts) {
            // How a line ended is the one thing that a plain event stream cannot say.
            let lines = published.replace("\r\n", "\n").replace('\r', "\n");
            assert_eq!(heard, if way == "events" { &lines } else { published }, "over {way}");
        }
    }
    assert_eq!(browser.run("return window.fooled ?? false", ""), json!(false));
    assert_eq!(browser.console(), [""; 0]);
}
