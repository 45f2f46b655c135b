//! The smallest page: two bare EventSources, which resume by themselves. And what a browser makes
//! of every kind of line that we write to one.

use crate::browser::Browser;
use crate::server::{Config, Server};
use crate::tap::Tap;

const WORDS: &str = "#log p";

#[test]
fn a_bare_event_source_shows_the_time_and_the_chat() {
    let (server, browser) = (Server::start(), Browser::start());
    server.publish("chat", "said before");
    browser.go(&server.url("/events/"));
    browser.until("the history is there", |page| page.texts(WORDS) == ["said before"]);
    browser.until("the clock ticks", |page| page.text("#time").contains(':'));
    server.publish("chat", "two\nlines");
    browser.until("news is there", |page| page.texts(WORDS) == ["said before", "two\nlines"]);
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn a_bare_event_source_is_told_what_a_restarted_server_has_forgotten() {
    let (mut server, browser) = (Server::start(), Browser::start());
    browser.go(&server.url("/events/"));
    browser.until("the clock ticks", |page| page.text("#time").contains(':'));
    server.publish("chat", "before");
    browser.until("the line is there", |page| page.texts(WORDS) == ["before"]);

    server.kill();
    server.start_again();
    browser.until("the gap is told", |page| page.texts(WORDS).len() == 2);
    server.publish("chat", "after");
    browser.until("it goes on", |page| page.texts(WORDS).last().is_some_and(|line| line == "after"));
    assert_eq!(browser.texts(WORDS), ["before", "(Something is missing here.)", "after"]);
}

// --- What a browser does with a stream of ours, byte by byte ------------------------------------

/// Listens, and writes down what happens.
const LISTEN: &str = "
    window.happened = [];
    window.source = new EventSource(arguments[0]);
    const note = ({ type, data, lastEventId }) => happened.push({ type, data, id: lastEventId });
    for (const type of ['open', 'error', 'message', 'gap', 'deleted', 'weather', 'wetter ä']) {
        source.addEventListener(type, note);
    }
";

fn listen(browser: &Browser, url: &str, target: &str) {
    browser.go(url);
    browser.run(LISTEN, target);
}

/// How often something of this type has happened.
fn count(page: &Browser, kind: &str) -> u64 {
    let count = page.run("return happened.filter(({ type }) => type === arguments[0]).length", kind);
    count.as_u64().expect("a number")
}

/// The data of all events of this type.
fn data(page: &Browser, kind: &str) -> Vec<String> {
    let found = "return happened.filter(({ type }) => type === arguments[0]).map(({ data }) => data)";
    serde_json::from_value(page.run(found, kind)).expect("a list of texts")
}

/// The cursor that the last exchange was begun with, if it was.
fn cursor_of((asked, _): &(String, String)) -> Option<String> {
    asked.lines().find_map(|line| Some(line.to_ascii_lowercase().strip_prefix("last-event-id: ")?.to_owned()))
}

/// The last cursor that was told in an exchange.
fn last_id((_, answered): &(String, String)) -> Option<String> {
    answered.lines().rev().find_map(|line| Some(line.strip_prefix("id: ")?.to_owned()))
}

#[test]
fn a_stream_opens_before_anything_is_said() {
    let (server, browser) = (Server::start(), Browser::start());
    listen(&browser, &server.url("/"), "/channels/silent");
    browser.until("it is open", |page| count(page, "open") == 1);
    assert_eq!(browser.run("return happened.length", ""), 1, "and nothing else has happened");
}

#[test]
fn an_event_has_its_type_and_its_lines_however_they_end() {
    let (server, browser) = (Server::start(), Browser::start());
    listen(&browser, &server.url("/"), "/channels/a");
    browser.until("it is open", |page| count(page, "open") == 1);
    for text in ["one", "", "a\nb", "a\r\nb", "a\rb", "ends\n", "\n", " two  spaces ", "ä \u{1f682} \u{0}"] {
        server.publish("a", text);
    }
    server.publish("a?event=weather", "fog");
    server.publish("a?event=wetter%20%C3%A4", "Nebel");
    browser.until("the last is there", |page| count(page, "wetter ä") == 1);
    let expected = ["one", "", "a\nb", "a\nb", "a\nb", "ends\n", "\n", " two  spaces ", "ä \u{1f682} \u{0}"];
    assert_eq!(data(&browser, "message"), expected);
    assert_eq!(data(&browser, "weather"), ["fog"]);
    assert_eq!(data(&browser, "wetter ä"), ["Nebel"]);
}

#[test]
fn a_browser_that_comes_back_says_what_it_had_and_misses_nothing() {
    let (server, browser) = (Server::start(), Browser::start());
    let tap = Tap::on(server.port());
    listen(&browser, &tap.url("/"), "/channels/a");
    browser.until("it is open", |page| count(page, "open") == 1);
    server.publish("a", "one");
    browser.until("it is there", |page| count(page, "message") == 1);
    tap.cut();
    server.publish("a", "two");
    browser.until("what was said meanwhile is there", |page| count(page, "message") == 2);
    assert_eq!(data(&browser, "message"), ["one", "two"]);
    assert_eq!((count(&browser, "open"), count(&browser, "gap")), (2, 0));
    let exchanges = tap.exchanges("/channels/a");
    assert_eq!((exchanges.len(), cursor_of(&exchanges[0])), (2, None));
    assert_eq!(cursor_of(&exchanges[1]), last_id(&exchanges[0]));
}

#[test]
fn a_heartbeat_moves_the_cursor_and_is_no_event() {
    let config = Config::new("heartbeat = \"200ms\"\n");
    let (server, browser) = (Server::start_with(&["--config", config.path()]), Browser::start());
    let tap = Tap::on(server.port());
    listen(&browser, &tap.url("/"), "/channels/a");
    browser.until("it is open", |page| count(page, "open") == 1);
    // Elsewhere much is said, and the log goes on.
    let first = last_id(&tap.exchanges("/channels/a")[0]).expect("a cursor at once");
    server.publish("elsewhere", "x");
    browser.until("a heartbeat has moved the cursor", |_| {
        last_id(&tap.exchanges("/channels/a")[0]).is_some_and(|id| id != first)
    });
    assert_eq!(browser.run("return happened.length", ""), 1, "only the opening has happened");
    tap.cut();
    browser.until("it is back", |page| count(page, "open") == 2);
    let exchanges = tap.exchanges("/channels/a");
    assert_eq!(cursor_of(&exchanges[1]), last_id(&exchanges[0]), "a heartbeat's id is handed back");
    assert_eq!(count(&browser, "gap"), 0);
}

#[test]
fn a_gap_is_an_event_that_says_from_where_to_where() {
    let config = Config::new("[limits]\nhistory-messages-max = 2\n");
    let (server, browser) = (Server::start_with(&["--config", config.path()]), Browser::start());
    let tap = Tap::on(server.port());
    listen(&browser, &tap.url("/"), "/channels/a");
    browser.until("it is open", |page| count(page, "open") == 1);
    server.publish("a", "one");
    browser.until("it is there", |page| count(page, "message") == 1);
    tap.cut();
    ["two", "three", "four"].iter().for_each(|text| server.publish("a", text));
    browser.until("the rest is there", |page| count(page, "message") == 3);
    assert_eq!(data(&browser, "message"), ["one", "three", "four"]);
    let exchanges = tap.exchanges("/channels/a");
    let gap: serde_json::Value = serde_json::from_str(&data(&browser, "gap")[0]).expect("a gap is JSON");
    assert_eq!(Some(gap["from"].to_string()), last_id(&exchanges[0]));
    let oldest = exchanges[1].1.lines().find_map(|line| line.strip_prefix("id: ")).expect("a message");
    assert_eq!(gap["to"].to_string(), oldest);
}

#[test]
fn a_browser_that_finds_no_room_comes_back_until_there_is() {
    let config = Config::new("[limits]\nchannels-max = 1\n");
    let (server, browser) = (Server::start_with(&["--config", config.path()]), Browser::start());
    server.publish("other", "takes the only place");
    listen(&browser, &server.url("/"), "/channels/a");
    browser.until("it was sent away twice", |page| count(page, "error") >= 2);
    assert_ne!(browser.run("return source.readyState", ""), 2, "it has not given up");
    server.forget("other");
    browser.until("it listens", |_| server.subscribers("events") == 1);
    server.publish("a", "there is room");
    browser.until("it hears", |page| data(page, "message") == ["there is room"]);
}

#[test]
fn a_browser_waits_as_long_as_the_stream_has_asked() {
    let (server, browser) = (Server::start(), Browser::start());
    let tap = Tap::on(server.port());
    listen(&browser, &tap.url("/"), "/channels/a");
    browser.until("it is open", |page| count(page, "open") == 1);
    let noted = "for (const type of ['open', 'error']) {
        source.addEventListener(type, () => { window[type + 'At'] = performance.now(); });
    }";
    browser.run(noted, "");
    let (_, answered) = tap.exchanges("/channels/a").remove(0);
    let asked = answered.lines().find_map(|line| line.strip_prefix("retry: ")?.parse::<f64>().ok());
    tap.cut();
    browser.until("it is back", |page| count(page, "open") == 2);
    let waited = browser.run("return openAt - errorAt", "").as_f64().expect("milliseconds");
    // A clock of a browser may round by some.
    assert!(waited + 10.0 >= asked.expect("a time to wait"), "it waited {waited} ms of {asked:?}");
}

#[test]
fn a_deleted_channel_is_an_event_and_the_stream_goes_on() {
    let (server, browser) = (Server::start(), Browser::start());
    listen(&browser, &server.url("/"), "/channels/a");
    browser.until("it is open", |page| count(page, "open") == 1);
    server.publish("a", "before");
    server.forget("a");
    server.publish("a", "after");
    browser.until("it goes on", |page| data(page, "message") == ["before", "after"]);
    assert_eq!((count(&browser, "deleted"), count(&browser, "error")), (1, 0));
}
