//! The mini-chat: what is said in one window is read in another, once, in order, and as text.

use serde_json::json;

use crate::browser::{BACK_TAB, Browser, ENTER, TAB, Window};
use crate::server::Server;

/// What was said, without the times.
const WORDS: &str = "#log p";

#[test]
fn a_line_typed_in_one_window_appears_in_another() {
    let (server, browser) = (Server::start(), Browser::start());
    let (here, there) = two_windows(&server, &browser, "/chat/");

    browser.turn_to(&here);
    say(&browser, "Is anybody there?");
    browser.turn_to(&there);
    browser.until("the question has arrived", |page| page.texts(WORDS) == ["Is anybody there?"]);
    say(&browser, "Always.");
    browser.turn_to(&here);
    browser.until("the answer has arrived", |page| page.texts(WORDS) == ["Is anybody there?", "Always."]);
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn who_comes_late_reads_what_was_said_before() {
    let (server, browser) = (Server::start(), Browser::start());
    enter(&server, &browser);
    for (number, line) in ["one", "two", "three"].iter().enumerate() {
        say(&browser, line);
        browser.until("the line is in the log", |page| page.texts(WORDS).len() == number + 1);
    }

    browser.open(&server.url("/chat/"));
    browser.until("all three lines are there, in order", |page| page.texts(WORDS) == ["one", "two", "three"]);
}

#[test]
fn a_line_that_the_server_wants_a_token_for_stays_and_the_reason_is_said() {
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/tokens.toml");
    std::fs::write(file, "auth.publish-tokens = [\"0123456789abcdef\"]")
        .expect("the target directory is writable");
    let (server, browser) = (Server::start_with(&["--config", file]), Browser::start());
    for page in ["/chat/", "/article/"] {
        browser.go(&server.url(page));
        browser.until("it is connected", is_connected);
        say(&browser, "May I?");
        browser.until("the reason is told", |page| page.text("#problem").contains("a token"));
        assert_eq!(browser.run("return document.querySelector('#message').value", ""), "May I?", "on {page}");
    }
}

#[test]
fn a_burst_arrives_whole_and_in_order() {
    let (server, browser) = (Server::start(), Browser::start());
    let (here, there) = two_windows(&server, &browser, "/chat/");

    browser.turn_to(&here);
    let all = burst(&browser, 200);
    for window in [here, there] {
        browser.turn_to(&window);
        browser.until("the last line is there", |page| page.texts(WORDS).last() == all.last());
        assert_eq!(browser.texts(WORDS), all);
    }
}

#[test]
fn what_is_said_while_the_network_is_gone_is_read_when_it_is_back() {
    let (server, browser) = (Server::start(), Browser::start());
    enter(&server, &browser);
    server.publish("chat", "before");
    browser.until("the first line is there", |page| page.texts(WORDS) == ["before"]);
    browser.cut_off(true);
    browser.until("the window says that it waits", |page| page.text("#state").contains("Reconnecting"));

    for line in ["one", "two", "three"] {
        server.publish("chat", line);
    }
    assert_eq!(browser.texts(WORDS), ["before"], "it was cut off");
    browser.cut_off(false);
    browser.until("all is read", |page| page.texts(WORDS) == ["before", "one", "two", "three"]);
    assert_eq!(browser.texts(".lost"), [""; 0]);
}

#[test]
fn what_the_server_has_forgotten_is_told_and_not_hidden() {
    let (mut server, browser) = (Server::start(), Browser::start());
    enter(&server, &browser);
    server.publish("chat", "before");
    browser.until("the first line is there", |page| page.texts(WORDS) == ["before"]);

    // What a server keeps in memory is gone with it.
    server.kill();
    server.start_again();
    browser.until("the gap is shown", |page| page.texts(".lost").len() == 1);
    browser.until("it is connected again", is_connected);
    server.publish("chat", "after");
    browser.until("it goes on", |page| page.texts(WORDS) == ["before", "after"]);
    assert!(browser.text("#details").contains("1 gap"));
    assert_eq!(browser.texts(".lost").len(), 1);
}

#[test]
fn every_transport_can_be_chosen_and_none_loses_or_repeats_a_line() {
    let (server, browser) = (Server::start(), Browser::start());
    enter(&server, &browser);
    let lines: Vec<String> = (0..300).map(|n| format!("line {n}")).collect();
    // With the first line comes the first cursor.
    server.publish("chat", &lines[0]);
    browser.until("the first line is there", |page| page.texts(WORDS) == lines[..1]);
    std::thread::scope(|scope| {
        let talker = scope.spawn(|| {
            for line in &lines[1..] {
                server.publish("chat", line);
                std::thread::yield_now();
            }
        });
        for transport in ["poll", "iframe", "ndjson", "events", "websocket", "poll", ""] {
            choose(&browser, transport);
            browser.until("the page says how it is connected", |page| {
                // Left to itself it is back on the best one, whatever was chosen in between.
                let expected = if transport.is_empty() { "websocket" } else { transport };
                is_connected(page) && page.text("#details").starts_with(expected)
            });
        }
        talker.join().expect("everything is said");
    });
    browser.until("the last line is there", |page| page.texts(WORDS).last() == lines.last());
    assert_eq!(browser.texts(WORDS), lines);
    assert_eq!(browser.texts(".lost"), [""; 0]);
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn the_page_keeps_the_newest_500_lines() {
    let (server, browser) = (Server::start(), Browser::start());
    enter(&server, &browser);
    let all = burst(&browser, 501);
    browser.until("the last line is there", |page| page.texts(WORDS).last() == all.last());
    assert_eq!(browser.texts(WORDS), all[1..]);
}

#[test]
fn the_chat_goes_on_after_the_server_was_killed_and_started_again() {
    let (mut server, browser) = (Server::start(), Browser::start());
    let (here, there) = two_windows(&server, &browser, "/chat/");

    server.kill();
    for window in [&there, &here] {
        browser.turn_to(window);
        browser.until("the window says that it waits", |page| page.text("#state").contains("Reconnecting"));
    }
    say(&browser, "Can you hear me?");
    browser.until("it is said that nothing was sent", |page| {
        page.text("#problem").starts_with("Not sent: the server is out of reach.")
    });
    assert_eq!(typed(&browser), "Can you hear me?", "what was typed is kept");

    server.start_again();
    for window in [&there, &here] {
        browser.turn_to(window);
        browser.until("the window is connected again", is_connected);
    }
    browser.press(ENTER);
    for window in [&here, &there] {
        browser.turn_to(window);
        browser.until("the line has arrived", |page| page.texts(WORDS) == ["Can you hear me?"]);
    }
    browser.turn_to(&here);
    browser.until("the message field is empty", |page| typed(page).is_empty());
    assert_eq!(browser.text("#problem"), "");
}

#[test]
fn whatever_people_write_is_text() {
    let hostile = [
        "<script>window.fooled = true</script>",
        "<img src=x onerror='window.fooled = true'>",
        "</script><script>fooled = true</script>",
        r#""quotes" and 'more', \ and \u0041, {"msg":1}"#,
        "a&b=c%41+d;e?f#g &lt;b&gt;",
        "line\u{2028}separator and paragraph\u{2029}separator",
        "\u{1F682} \u{1F469}\u{200D}\u{1F680} e\u{301} \u{202E}backwards",
        "__proto__",
    ];
    let (server, browser) = (Server::start(), Browser::start());
    enter(&server, &browser);
    for (number, line) in hostile.iter().enumerate() {
        put(&browser, line);
        browser.press(ENTER);
        browser.until("the line is in the log", |page| page.texts(WORDS).len() == number + 1);
    }

    assert_eq!(browser.texts(WORDS), hostile);
    assert_eq!(browser.run("return document.querySelectorAll('#log :is(script, img, b)').length", ""), 0);
    assert_eq!(browser.run("return window.fooled ?? false", ""), false);
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn a_line_that_is_too_long_is_refused_in_words_and_kept() {
    let (server, browser) = (Server::start(), Browser::start());
    enter(&server, &browser);
    let long = "long ".repeat(20_000);
    put(&browser, &long);
    browser.press(ENTER);
    browser.until("the page says why", |page| {
        page.text("#problem").starts_with("Not sent: ") && page.text("#problem").contains("still here")
    });
    assert_eq!(typed(&browser), long);

    put(&browser, "short");
    browser.press(ENTER);
    browser.until("a short one is sent", |page| page.texts(WORDS) == ["short"]);
    assert_eq!(browser.text("#problem"), "");
}

#[test]
fn the_keyboard_is_enough() {
    let (server, browser) = (Server::start(), Browser::start());
    enter(&server, &browser);
    assert_eq!(focus(&browser), "message", "one can type at once");

    browser.press(BACK_TAB);
    assert_eq!(focus(&browser), "name");
    browser.press("Ada");
    browser.press(BACK_TAB);
    assert_eq!(focus(&browser), "log", "what was said can be scrolled with the arrow keys");
    browser.press(TAB);
    browser.press(TAB);
    browser.press("hello");
    browser.press(ENTER);
    browser.until("the line has arrived", |page| page.texts(WORDS) == ["Ada hello"]);
    assert_eq!(browser.text("#log .who"), "Ada");
    browser.until("the message field is empty", |page| typed(page).is_empty());
    assert_eq!(focus(&browser), "message", "the next line can be typed at once");

    browser.go(&server.url("/chat/"));
    assert_eq!(browser.run("return document.querySelector('#name').value", ""), "Ada");
}

#[test]
fn who_has_scrolled_up_to_read_is_left_in_peace() {
    let (server, browser) = (Server::start(), Browser::start());
    enter(&server, &browser);
    let at_end = "return log.scrollHeight - log.scrollTop - log.clientHeight < 2";
    put(&browser, &"a long story ".repeat(500));
    browser.press(ENTER);
    browser.until("the story is there", |page| page.texts(WORDS).len() == 1);
    assert_eq!(browser.run(at_end, ""), true, "the newest line is in view");

    browser.run("log.scrollTop = 10", "");
    say(&browser, "news");
    browser.until("the news is there", |page| page.texts(WORDS).len() == 2);
    assert_eq!(browser.run("return log.scrollTop", ""), 10);

    browser.run("log.scrollTop = log.scrollHeight", "");
    say(&browser, "more news");
    browser.until("more news is there", |page| page.texts(WORDS).len() == 3);
    assert_eq!(browser.run(at_end, ""), true);
}

fn enter(server: &Server, browser: &Browser) {
    browser.go(&server.url("/chat/"));
    browser.until("the chat is connected", is_connected);
}

fn two_windows(server: &Server, browser: &Browser, path: &str) -> (Window, Window) {
    enter(server, browser);
    let here = browser.window();
    let there = browser.open(&server.url(path));
    browser.until("the second window is connected", is_connected);
    (here, there)
}

fn is_connected(page: &Browser) -> bool {
    page.text("#state") == "Connected"
}

/// Says many lines from within the page, as fast as they can be sent one by one, and brings back what they are.
fn burst(browser: &Browser, lines: u32) -> Vec<String> {
    let script = "(async () => {
        for (let n = 0; n < arguments[0]; n++) {
            await fetch('/channels/chat', { method: 'POST', body: `line ${n}` });
        }
    })()";
    browser.run(script, lines);
    (0..lines).map(|n| format!("line {n}")).collect()
}

/// Chooses a transport by hand; the empty one is automatic.
fn choose(browser: &Browser, transport: &str) {
    let choose = "const field = document.querySelector('#transport');
        field.value = arguments[0];
        field.dispatchEvent(new Event('change'))";
    browser.run(choose, transport);
}

/// Types a line and sends it.
fn say(browser: &Browser, line: &str) {
    browser.run("document.querySelector('#message').focus()", "");
    browser.press(line);
    browser.press(ENTER);
}

/// Puts a text into the message field without typing: chromedriver has no keys for most of Unicode.
fn put(browser: &Browser, text: &str) {
    let put = "const field = document.querySelector('#message'); field.focus(); field.value = arguments[0]";
    browser.run(put, json!(text));
}

fn typed(page: &Browser) -> String {
    page.run("return document.querySelector('#message').value", "")
        .as_str()
        .expect("a value is text")
        .to_owned()
}

/// The id of the element that has the focus.
fn focus(page: &Browser) -> String {
    page.run("return document.activeElement.id", "").as_str().expect("an id is text").to_owned()
}
