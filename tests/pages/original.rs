//! Pages that were written for the PHP scripts, with the library of their time, from `--static`.

use crate::browser::{Browser, ENTER};
use crate::server::Server;

const ORIGINAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/original");

#[test]
fn a_clock_of_2007_ticks_unchanged() {
    let (server, browser) = (Server::start_with(&["--static", ORIGINAL]), Browser::start());
    browser.go(&server.url("/demo/clock.html"));

    let mut last = 0;
    for _ in 0..3 {
        browser.until("a later second is shown", |page| {
            page.text("#content").parse().is_ok_and(|now: u64| now > last)
        });
        last = browser.text("#content").parse().expect("seconds");
    }
    assert_eq!(complaints(&browser), [""; 0]);
}

#[test]
fn a_chat_of_2007_talks_unchanged() {
    let (server, browser) = (Server::start_with(&["--static", ORIGINAL]), Browser::start());
    browser.go(&server.url("/demo/chat.html"));
    let here = browser.window();
    let there = browser.open(&server.url("/demo/chat.html"));

    // Such a page begins with the newest line, so it is sure of those that come once it has one.
    say(&browser, "first");
    for window in [&here, &there] {
        browser.turn_to(window);
        browser.until("the first line is there", |page| page.texts("#content div") == ["first"]);
    }
    browser.turn_to(&here);
    say(&browser, "2 < 3 & \u{fc}ml\u{e4}ut");
    say(&browser, "third");
    for window in [&here, &there] {
        browser.turn_to(window);
        browser.until("three lines are there", |page| {
            page.texts("#content div") == ["first", "2 < 3 & \u{fc}ml\u{e4}ut", "third"]
        });
    }
    assert_eq!(complaints(&browser), [""; 0]);
}

#[test]
fn our_own_pages_are_still_there_beneath_a_directory() {
    let (server, browser) = (Server::start_with(&["--static", ORIGINAL]), Browser::start());
    browser.go(&server.url("/clock/"));
    browser.until("our clock is connected", |page| page.text("#state") == "Connected");
}

/// The console, but for the icon: pages of 2007 name none, and then a browser asks for `/favicon.ico` on its own.
fn complaints(browser: &Browser) -> Vec<String> {
    browser.console().into_iter().filter(|line| !line.contains("/favicon.ico")).collect()
}

fn say(browser: &Browser, line: &str) {
    browser.run("document.getElementById('word').focus()", "");
    browser.press(line);
    browser.press(ENTER);
}
