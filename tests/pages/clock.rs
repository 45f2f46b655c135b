//! The clock: an iframe that never ends, and comes back when it did.

use crate::browser::Browser;
use crate::server::Server;

#[test]
fn the_clocks_text_changes_with_every_tick() {
    let server = Server::start();
    let browser = Browser::start();
    browser.go(&server.url("/clock/"));

    browser.until("the clock is connected", is_connected);
    let mut last = browser.text("#time");
    for _ in 0..3 {
        browser.until("the clock shows another second", |page| page.text("#time") != last);
        let now = browser.text("#time");
        assert!(now > last || last.starts_with("23:59"), "{now} came after {last}");
        last = now;
    }
    assert_eq!(browser.text("#drift"), "agrees", "server and browser run on one machine");
    assert_eq!(browser.text("#connections"), "1");
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn a_tick_leaves_nothing_behind_in_the_iframe() {
    let server = Server::start();
    let browser = Browser::start();
    browser.go(&server.url("/clock/"));

    browser.until("some ticks were heard", |page| ticks(page) >= 3);
    let left = browser.run(
        "const scripts = document.querySelector('iframe').contentDocument.scripts;
         return [...scripts].filter(script => script.text.includes('printServerTime')).length",
        "",
    );
    assert_eq!(left, 0, "scripts that have run are still in the document");
}

#[test]
fn the_clock_goes_on_after_the_server_was_killed_and_started_again() {
    let mut server = Server::start();
    let browser = Browser::start();
    browser.go(&server.url("/clock/"));
    browser.until("the clock is connected", is_connected);

    server.kill();
    browser.until("the clock says that it stopped", is_waiting);
    assert!(browser.text("#state").starts_with("The clock has stopped. Reconnecting"));

    server.start_again();
    browser.until("the clock is connected again", is_connected);
    let before = ticks(&browser);
    browser.until("it ticks", |page| ticks(page) > before);
    assert_eq!(browser.text("#connections"), "2");
    assert_eq!(browser.run("return document.querySelectorAll('iframe').length", ""), 1);
}

#[test]
fn the_clock_notices_a_server_that_falls_silent_without_a_word() {
    let server = Server::start();
    let browser = Browser::start();
    browser.go(&server.url("/clock/"));
    browser.until("the clock is connected", is_connected);

    // No connection is closed, no event fires: like a cable that was pulled out.
    server.freeze();
    browser.until("the clock says that it stopped", is_waiting);

    server.thaw();
    browser.until("the clock is connected again", is_connected);
}

fn ticks(page: &Browser) -> u64 {
    page.text("#ticks").parse().expect("the number of ticks")
}

fn is_connected(page: &Browser) -> bool {
    page.text("#state") == "Connected"
}

fn is_waiting(page: &Browser) -> bool {
    page.text("#state").contains("Reconnecting")
}
