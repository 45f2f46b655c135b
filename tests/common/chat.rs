//! The mini-chat's side of a conversation: how its page publishes, asks, and reads an answer.
//!
//! Knows: the article dialect of wire.md. Never learns how the server keeps its messages.

use serde_json::Value;

use super::{Answer, Client, Server};

/// One answer to a poll.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    pub msg: String,
    /// The cursor exactly as it was written.
    pub timestamp: String,
}

impl News {
    /// Reads `{"msg":TEXT,"timestamp":T}`, in which only leading spaces may precede the object.
    pub fn read(answer: &Answer) -> News {
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let kind = answer.field("content-type").expect("an answer has a type");
        assert!(
            kind.starts_with("application/json"),
            "{kind}: Prototype evaluates anything that says JavaScript"
        );
        Self::parse(answer.text())
    }

    pub fn parse(body: &str) -> News {
        let json = body.trim_start_matches(' ');
        let value: Value = serde_json::from_str(json).unwrap_or_else(|e| panic!("{e} in {body:?}"));
        let msg = value["msg"].as_str().unwrap_or_else(|| panic!("no msg in {body}")).to_owned();
        assert!(value["timestamp"].is_number() && value.as_object().is_some_and(|o| o.len() == 2), "{body}");
        // Taken from the text: what a float would make of it is another matter.
        let (start, timestamp) = json
            .strip_suffix('}')
            .and_then(|json| json.rsplit_once(",\"timestamp\":"))
            .unwrap_or_else(|| panic!("not in the promised form: {body}"));
        assert!(start.starts_with("{\"msg\":\""), "not in the promised form: {body}");
        News { msg, timestamp: timestamp.to_owned() }
    }

    /// The cursor as a page hands it back: through JavaScript's one kind of number.
    pub fn echoed(&self) -> String {
        let number: f64 = self.timestamp.parse().expect("JSON says it is a number");
        number.to_string()
    }
}

/// A text as `encodeURIComponent` writes it.
pub fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Publishes on a connection of its own.
pub fn say(server: &Server, directory: &str, text: &str) {
    say_on(&mut Client::connect(server), directory, text);
}

/// Publishes as the page does: with a GET, its nonce behind the message.
pub fn say_on(client: &mut Client, directory: &str, text: &str) {
    let answer = client.get(&format!("{directory}backend.php?msg={}&_=", encoded(text)));
    assert_eq!((answer.status(), answer.body.len()), (200, 0), "{text}: {}", answer.text());
}

/// Asks on a connection of its own and waits for the answer.
pub fn ask(server: &Server, directory: &str, timestamp: &str) -> News {
    ask_on(&mut Client::connect(server), directory, timestamp)
}

pub fn ask_on(client: &mut Client, directory: &str, timestamp: &str) -> News {
    News::read(&client.get(&format!("{directory}backend.php?timestamp={timestamp}&_=")))
}

/// Asks and does not wait.
pub fn poll(client: &mut Client, directory: &str, timestamp: &str) {
    client.send(format!(
        "GET {directory}backend.php?timestamp={timestamp} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    ));
}
