//! The mini-chat of the article: one held request, asked again after every message.

use crate::browser::{Browser, ENTER};
use crate::server::Server;

const WORDS: &str = "#log p";

#[test]
fn a_line_typed_in_one_window_is_polled_by_another() {
    let (server, browser) = (Server::start(), Browser::start());
    enter(&server, &browser);
    let here = browser.window();
    let there = browser.open(&server.url("/article/"));
    browser.until("the second window is connected", is_connected);

    browser.turn_to(&here);
    say(&browser, "Is anybody there?");
    browser.turn_to(&there);
    browser.until("the question has arrived", |page| page.texts(WORDS) == ["Is anybody there?"]);
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn who_comes_late_is_told_of_the_last_hour() {
    let (server, browser) = (Server::start(), Browser::start());
    enter(&server, &browser);
    for (number, line) in ["one", "two", "three"].iter().enumerate() {
        say(&browser, line);
        browser.until("the line is in the log", |page| page.texts(WORDS).len() == number + 1);
    }
    browser.open(&server.url("/article/"));
    browser.until("all three lines are there, in order", |page| page.texts(WORDS) == ["one", "two", "three"]);
}

#[test]
fn what_is_said_while_a_window_is_cut_off_is_polled_when_it_is_back() {
    let (server, browser) = (Server::start(), Browser::start());
    enter(&server, &browser);
    let here = browser.window();
    let there = browser.open(&server.url("/article/"));
    browser.until("the second window is connected", is_connected);
    browser.cut_off(true);
    browser.until("the window says that it waits", |page| page.text("#state").contains("Reconnecting"));

    browser.turn_to(&here);
    say(&browser, "Can you hear me?");
    browser.until("it is said", |page| page.texts(WORDS).len() == 1);
    browser.turn_to(&there);
    assert_eq!(browser.texts(WORDS), [""; 0], "it was cut off");
    browser.cut_off(false);
    browser.until("it is read", |page| page.texts(WORDS) == ["Can you hear me?"]);
}

fn enter(server: &Server, browser: &Browser) {
    browser.go(&server.url("/article/"));
    browser.until("the chat is connected", is_connected);
}

fn is_connected(page: &Browser) -> bool {
    page.text("#state") == "Connected"
}

fn say(browser: &Browser, line: &str) {
    browser.run("document.querySelector('#message').focus()", "");
    browser.press(line);
    browser.press(ENTER);
    browser.until("it can be typed on", |page| {
        page.run("return document.querySelector('#message').value", "") == ""
    });
}
