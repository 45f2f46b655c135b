//! What holds for all our pages: they lead somewhere, fit a phone, complain of nothing, and look
//! like their pictures.

use std::path::PathBuf;

use serde_json::json;

use crate::browser::{Browser, ENTER, TAB};
use crate::server::Server;

const OUR_PAGES: [&str; 5] = ["/", "/clock/", "/chat/", "/article/", "/events/"];

#[test]
fn the_first_page_leads_to_both_demos_by_keyboard() {
    let (server, browser) = (Server::start(), Browser::start());
    for (link, place) in [("The clock", "/clock/"), ("The mini-chat", "/chat/")] {
        browser.go(&server.url("/"));
        for _ in 0..10 {
            browser.press(TAB);
            if browser.text(":focus") == link {
                break;
            }
        }
        assert_eq!(
            browser.text(":focus-visible"),
            link,
            "the link can be reached with the Tab key, and shows it"
        );
        browser.press(ENTER);
        browser.until("the demo is connected", |page| page.text("#state") == "Connected");
        assert_eq!(browser.run("return location.pathname", ""), place);
    }
}

#[test]
fn the_commands_on_the_first_page_name_this_very_server() {
    let (server, browser) = (Server::start(), Browser::start());
    browser.go(&server.url("/"));
    let first = format!("curl -N '{}?as=ndjson'", server.url("/channels/news"));
    browser.until("the command can be pasted", |page| page.texts("pre").contains(&first));
}

#[test]
fn nothing_is_missing_forbidden_or_broken_on_any_page() {
    let (server, browser) = (Server::start(), Browser::start());
    for path in OUR_PAGES {
        browser.go(&server.url(path));
        browser
            .until("the page is complete", |page| page.run("return document.readyState", "") == "complete");
        if !browser.text("#state").is_empty() {
            browser.until("the page is connected", |page| page.text("#state") == "Connected");
        }
        let broken = "return [...document.images].filter(image => !image.naturalWidth).length";
        assert_eq!(browser.run(broken, ""), 0, "pictures that did not load on {path}");
        assert_eq!(browser.console(), [""; 0], "on {path}");
    }
}

#[test]
fn no_page_scrolls_sideways_on_a_phone() {
    let (server, browser) = (Server::start(), Browser::start());
    set_screen(&browser, 360, 640, true);
    for path in OUR_PAGES {
        browser.go(&server.url(path));
        if path == "/chat/" || path == "/article/" {
            let word = "document.querySelector('#message').value = 'o'.repeat(500)";
            browser.until("the chat is connected", |page| page.text("#state") == "Connected");
            browser.run(word, "");
            browser.press(ENTER);
            browser.until("an endless word is there", |page| !page.texts("#log p").is_empty());
            let field =
                "return document.querySelector('#form').getBoundingClientRect().bottom <= innerHeight";
            assert_eq!(browser.run(field, ""), true, "one can write without scrolling down first");
        }
        assert_eq!(browser.run("return document.documentElement.scrollWidth", ""), 360, "{path}");
    }
}

/// Also makes the pictures of the documentation: `ENCKE_PICTURES=docs/images cargo test --test pages pictures`
/// (they look best with the fonts Inter and Charis SIL: the Debian packages fonts-inter and fonts-sil-charis).
#[test]
fn the_pages_sit_for_their_pictures() {
    let folder = std::env::var_os("ENCKE_PICTURES").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    let folder = PathBuf::from(folder);
    let (server, browser) = (Server::start(), Browser::start());
    set_screen(&browser, 900, 600, false);
    browser.devtools(
        "Emulation.setEmulatedMedia",
        json!({ "features": [{ "name": "prefers-color-scheme", "value": "light" }] }),
    );

    browser.go(&server.url("/clock/"));
    browser.until("the clock ticks", |page| page.text("#ticks") != "0");
    std::fs::write(folder.join("clock.png"), picture(&browser)).expect("the folder can be written to");

    browser.go(&server.url("/chat/"));
    browser.until("the chat is connected", |page| page.text("#state") == "Connected");
    let talk = [
        "Ada: Is anybody there?",
        "Grace: Always. I have been waiting for you, as it were.",
        "Ada: And the server keeps this request open all the while?",
        "Grace: It does. One thread, and a hundred thousand of us, doing nothing.",
        "Johann: My train went through a tunnel. Everything was still here when I came out.",
        "Ada: That is the cursor. It says what you have seen; the server knows the rest.",
    ];
    for (number, line) in talk.iter().enumerate() {
        browser.press(line);
        browser.press(ENTER);
        browser.until("the line is there", |page| page.texts("#log p").len() == number + 1);
        browser.until("the next can be typed", |page| {
            page.run("return document.querySelector('#message').value", "") == ""
        });
    }
    browser.run("document.querySelector('#name').value = 'Ada'", "");
    std::fs::write(folder.join("chat.png"), picture(&browser)).expect("the folder can be written to");
}

fn set_screen(browser: &Browser, width: u32, height: u32, mobile: bool) {
    let screen = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
    browser.devtools("Emulation.setDeviceMetricsOverride", screen);
}

/// What the window shows, as a PNG fit for a documentation page.
fn picture(browser: &Browser) -> Vec<u8> {
    let shot = browser.devtools("Page.captureScreenshot", json!({ "format": "png" }));
    let png = from_base64(shot["data"].as_str().expect("a picture in base64"));
    assert!(png.starts_with(b"\x89PNG"));
    assert!(png.len() < 100_000, "a picture of {} bytes is too heavy for the docs", png.len());
    png
}

fn from_base64(text: &str) -> Vec<u8> {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let values = text.bytes().filter_map(|byte| digits.iter().position(|&digit| digit == byte));
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_usize, 0);
    for value in values {
        bits = (bits << 6) | value;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count).expect("eight bits"));
            bits &= (1 << count) - 1;
        }
    }
    bytes
}
