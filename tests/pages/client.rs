//! encke.js: whatever happens to its connection, every message comes once and in order, or a gap is told.

use serde_json::json;

use crate::browser::Browser;
use crate::proxy;
use crate::server::Server;

const TRANSPORTS: [&str; 5] = ["websocket", "events", "ndjson", "iframe", "poll"];

#[test]
fn the_client_fits_its_budget() {
    let client = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/static/encke.js")).expect("it is there");
    assert!(client.len() <= 6 * 1024, "{} bytes", client.len());
}

#[test]
fn every_transport_delivers_and_goes_on_behind_a_gap_when_the_server_was_restarted() {
    let browser = Browser::start();
    for transport in TRANSPORTS {
        let mut server = Server::start();
        browser.go(&server.url("/"));
        listen(&browser, json!({ "transports": [transport], "last": 10 }));
        browser.until("it is connected", is_connected);
        server.publish("news", "before \u{2028} & </script>");
        browser.until("the first has come", |page| heard(page) == ["before \u{2028} & </script>"]);

        server.kill();
        browser.until("it waits", |page| states(page).last().is_some_and(|state| state == "waiting"));
        server.start_again();
        browser.until("it is connected again", is_connected);
        browser.until("the gap is told", |page| gaps(page) == 1);
        server.publish("news", "after");
        browser.until("it goes on", |page| heard(page).len() == 2);
        assert_eq!(heard(&browser)[1], "after", "over {transport}");
        assert_eq!(gaps(&browser), 1, "over {transport}");
    }
}

#[test]
fn a_resumed_subscription_gets_what_it_missed_and_no_gap() {
    let browser = Browser::start();
    for transport in TRANSPORTS {
        let server = Server::start();
        browser.go(&server.url("/"));
        listen(&browser, json!({ "transports": [transport], "last": 10 }));
        browser.until("it is connected", is_connected);
        server.publish("news", "one");
        browser.until("the first has come", |page| heard(page) == ["one"]);

        lose_the_network(&browser);
        for text in ["two", "three", "four"] {
            server.publish("news", text);
        }
        browser.cut_off(false);
        browser.until("all has come", |page| heard(page) == ["one", "two", "three", "four"]);
        assert_eq!(gaps(&browser), 0, "over {transport}");
    }
}

#[test]
fn what_other_channels_said_inside_a_gap_is_heard() {
    let browser = Browser::start();
    for transport in TRANSPORTS {
        let server = Server::start();
        browser.go(&server.url("/"));
        listen_to(&browser, json!(["news", "busy"]), json!({ "transports": [transport], "last": 10 }));
        browser.until("it is connected", is_connected);
        server.publish("news", "one");
        browser.until("the first has come", |page| heard(page) == ["one"]);

        lose_the_network(&browser);
        server.publish("news", "two");
        // One more than a channel keeps.
        for _ in 0..1_001 {
            server.publish("busy", "chatter");
        }
        browser.cut_off(false);
        browser.until("all that is left has come", |page| heard(page).len() == 1_002);
        assert_eq!(heard(&browser)[..2], ["one", "two"], "over {transport}");
        assert_eq!(gaps(&browser), 1, "over {transport}");
    }
}

#[test]
fn a_page_that_closes_in_the_middle_of_an_answer_has_what_it_heard_and_no_more() {
    let (server, browser) = (Server::start(), Browser::start());
    browser.go(&server.url("/"));
    for text in ["one", "two", "three"] {
        server.publish("news", text);
    }
    let script = "return (async () => {
        const { subscribe } = await import('/encke.js');
        Object.assign(window, { heard: [], gaps: [], states: [] });
        const onmessage = (message) => {
            heard.push(message);
            feed.close();
            window.feed = subscribe('news', { ...options, since: feed.cursor });
        };
        const options = { transports: ['poll'], share: false, onmessage };
        window.feed = subscribe('news', { ...options, last: 10 });
    })()";
    browser.run(script, "");
    browser.until("all has come", |page| heard(page).len() == 3);
    assert_eq!(heard(&browser), ["one", "two", "three"]);
}

#[test]
fn several_channels_come_in_one_order_and_ticks_have_no_id() {
    let browser = Browser::start();
    for transport in TRANSPORTS {
        let server = Server::start();
        browser.go(&server.url("/"));
        listen_to(
            &browser,
            json!(["news", "weather", "$clock"]),
            json!({ "transports": [transport], "last": 10 }),
        );
        browser.until("the clock ticks", |page| {
            page.run("return heard.some(({ channel, id }) => channel === '$clock' && id === undefined)", "")
                == true
        });
        for (channel, text) in [("news", "a"), ("weather", "b"), ("news", "c")] {
            server.publish(channel, text);
        }
        let said = "return heard.filter(({ id }) => id).map(({ channel, data }) => channel + ' ' + data)";
        browser.until("all has come", |page| page.run(said, "") == json!(["news a", "weather b", "news c"]));
    }
}

#[test]
fn an_event_type_travels_with_its_message() {
    let browser = Browser::start();
    for transport in TRANSPORTS {
        let server = Server::start();
        browser.go(&server.url("/"));
        listen(&browser, json!({ "transports": [transport], "last": 10 }));
        browser.until("it is connected", is_connected);
        browser.run("return feed.publish('news', 'rain', { event: 'weather' })", "");
        let event = "return heard.map(({ event, data }) => [event, data])";
        browser.until("it has come", |page| page.run(event, "") == json!([["weather", "rain"]]));
    }
}

#[test]
fn the_tabs_of_a_browser_share_one_connection() {
    let (server, browser) = (Server::start(), Browser::start());
    let mut tabs = Vec::new();
    for number in 0..8 {
        tabs.push(if number == 0 { browser.window() } else { browser.open(&server.url("/")) });
        browser.go(&server.url("/"));
        // Streams are what a browser allows six of.
        listen(&browser, json!({ "transports": ["events"], "last": 10 }));
        browser.until("it is connected", is_connected);
        server.publish("news", &format!("with {} tabs", number + 1));
    }
    for tab in &tabs {
        browser.turn_to(tab);
        browser.until("everything has come", |page| heard(page).len() == 8);
        assert_eq!(heard(&browser), (1..=8).map(|tabs| format!("with {tabs} tabs")).collect::<Vec<_>>());
    }
    assert_eq!(server.subscribers("events"), 1);
}

#[test]
fn when_the_tab_that_leads_is_closed_another_goes_on() {
    let (server, browser) = (Server::start(), Browser::start());
    let mut tabs = vec![browser.window()];
    browser.go(&server.url("/"));
    listen(&browser, json!({ "last": 1000 }));
    for _ in 0..3 {
        tabs.push(browser.open(&server.url("/")));
        listen(&browser, json!({ "last": 1000 }));
    }
    for tab in &tabs {
        browser.turn_to(tab);
        browser.until("it is connected", is_connected);
    }

    let all: Vec<String> = (0..400).map(|n| format!("line {n}")).collect();
    std::thread::scope(|scope| {
        let talker = scope.spawn(|| all.iter().for_each(|line| server.publish("news", line)));
        // The first in line leads: the next two take over, and are closed as well.
        for gone in 0..3 {
            browser.turn_to(&tabs[gone]);
            browser.until("it leads", |page| page.run("return leads", "") == true);
            browser.close_and_turn_to(&tabs[3]);
        }
        talker.join().expect("everything is said");
    });
    browser.until("the last line is there", |page| heard(page).last() == all.last());
    assert_eq!(heard(&browser), all);
    assert_eq!(gaps(&browser), 0);
    browser.until("one connection is left", |_| server.subscribers("websocket") == 1);
}

#[test]
fn a_tab_that_sleeps_loses_the_lead() {
    let (server, browser) = (Server::start(), Browser::start());
    browser.go(&server.url("/"));
    let asleep = browser.window();
    // It has the lock, and neither hears the others nor speaks to them.
    browser.run("window.BroadcastChannel = class { postMessage() {} close() {} }", "");
    listen(&browser, json!({ "last": 10 }));
    browser.until("it leads", |page| page.run("return window.leads", "") == true);

    browser.open(&server.url("/"));
    listen(&browser, json!({ "last": 10 }));
    server.publish("news", "good morning");
    browser.until("the other one takes over", |page| heard(page) == ["good morning"]);
    assert_eq!(browser.run("return leads", ""), true);
    browser.until("one connection is left", |_| server.subscribers("websocket") == 1);

    browser.turn_to(&asleep);
    assert_eq!(browser.console(), [""; 0]);
}

#[test]
fn a_tab_that_needs_more_than_the_leader_kept_asks_the_server_itself() {
    let (server, browser) = (Server::start(), Browser::start());
    browser.go(&server.url("/"));
    listen(&browser, json!({}));
    browser.until("it is connected", is_connected);
    let all: Vec<String> = (0..150).map(|n| format!("line {n}")).collect();
    all.iter().for_each(|line| server.publish("news", line));
    browser.until("all has come", |page| heard(page) == all);
    let first = browser.run("return heard[0].id", "");

    browser.open(&server.url("/"));
    listen(&browser, json!({ "since": first }));
    browser.until("all after the first has come", |page| heard(page) == all[1..]);
    assert_eq!(gaps(&browser), 0);
    assert_eq!(server.subscribers("websocket"), 2);
}

#[test]
fn behind_a_proxy_that_keeps_streams_back_it_polls() {
    let (server, browser) = (Server::start(), Browser::start());
    let port = proxy::start(server.port());
    browser.go(&format!("http://127.0.0.1:{port}/"));
    listen(&browser, json!({ "last": 10 }));
    browser.until("it has found a way", is_connected);
    assert_eq!(browser.run("return transport", ""), "poll");
    server.publish("news", "through the proxy");
    browser.until("it has come", |page| heard(page) == ["through the proxy"]);

    // What worked is tried first from now on.
    browser.go(&format!("http://127.0.0.1:{port}/"));
    listen(&browser, json!({}));
    browser.until("it is connected", is_connected);
    assert_eq!(browser.run("return tried", ""), json!(["poll"]));
}

#[test]
fn a_server_that_leaves_says_when_to_come_back() {
    let browser = Browser::start();
    for transport in ["websocket", "events"] {
        let mut server = Server::start();
        browser.go(&server.url("/"));
        listen(&browser, json!({ "transports": [transport], "last": 10 }));
        browser.until("it is connected", is_connected);
        server.publish("news", "the last word");
        server.stop();
        browser.until("it waits", |page| states(page).last().is_some_and(|state| state == "waiting"));
        assert_eq!(heard(&browser), ["the last word"], "over {transport}");
        // By itself it would have chosen less than a second.
        let retry_in = browser.run("return retryIn", "").as_f64().expect("a number");
        assert!((1_000.0..=3_000.0).contains(&retry_in), "{retry_in} ms over {transport}");
        server.start_again();
        browser.until("it is connected again", is_connected);
    }
}

#[test]
fn a_mistake_in_the_page_costs_it_no_message() {
    let browser = Browser::start();
    for transport in TRANSPORTS {
        let server = Server::start();
        browser.go(&server.url("/"));
        listen(&browser, json!({ "transports": [transport], "last": 10 }));
        browser.run("clumsy = true", "");
        browser.until("it is connected", is_connected);
        for text in ["one", "two"] {
            server.publish("news", text);
        }
        browser.until("both have come", |page| heard(page) == ["one", "two"]);
        assert_eq!(browser.run("return connections", ""), 1, "over {transport}");
    }
}

#[test]
fn a_refused_publication_says_why() {
    let (server, browser) = (Server::start(), Browser::start());
    browser.go(&server.url("/"));
    listen(&browser, json!({}));
    let refused = browser.run(
        "return feed.publish('$clock', 'noon').then(() => null, ({ message, cause }) => [message, cause])",
        "",
    );
    assert_eq!(refused[1], 403);
    assert!(refused[0].as_str().is_some_and(|message| message.len() > 10), "{refused}");
}

/// Subscribes the current page to `news`.
fn listen(browser: &Browser, options: serde_json::Value) {
    listen_to(browser, json!("news"), options);
}

/// Subscribes the current page, and has it write down what it is told.
fn listen_to(browser: &Browser, channels: serde_json::Value, options: serde_json::Value) {
    let script = "return (async () => {
        const { subscribe } = await import('/encke.js');
        Object.assign(window, { heard: [], gaps: [], states: [], tried: [], clumsy: false, connections: 0 });
        window.feed = subscribe(arguments[0].channels, {
            ...arguments[0].options,
            onmessage(message) {
                heard.push(message);
                if (clumsy) throw new Error('a mistake in the page');
            },
            ongap: (gap) => gaps.push(gap),
            onstate(state, info) {
                states.push(state);
                if (state === 'waiting') window.retryIn = info.retryIn;
                if (state === 'connecting') tried.push(info.transport);
                if (state === 'connected') connections += 1;
                Object.assign(window, { transport: info.transport, leads: info.leading });
            },
        });
    })()";
    browser.run(script, json!({ "channels": channels, "options": options }));
}

/// Takes the network away, and waits until the page has noticed.
fn lose_the_network(browser: &Browser) {
    browser.cut_off(true);
    browser.until("it knows", |page| states(page).last().is_some_and(|state| state == "offline"));
}

fn is_connected(page: &Browser) -> bool {
    states(page).last().is_some_and(|state| state == "connected")
}

fn states(page: &Browser) -> Vec<String> {
    serde_json::from_value(page.run("return states", "")).expect("a list of states")
}

fn heard(page: &Browser) -> Vec<String> {
    serde_json::from_value(page.run("return heard.map(({ data }) => data)", "")).expect("a list of texts")
}

fn gaps(page: &Browser) -> u64 {
    page.run("return gaps.length", "").as_u64().expect("a number")
}
