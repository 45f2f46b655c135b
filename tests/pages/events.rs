//! The smallest page: two bare EventSources, which resume by themselves.

use crate::browser::Browser;
use crate::server::Server;

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
