//! A WebSocket: a client that has shaken hands.
//!
//! Knows: frames, a socket. Never learns what is said in them.

use super::frames::{ACCEPT, Heard, UPGRADE, take, text};
use super::{Client, Server};

/// A WebSocket after its handshake.
pub struct WebSocket {
    pub client: Client,
    bytes: Vec<u8>,
}

impl WebSocket {
    /// Shakes hands for `target`; `behind` is sent in the same packet.
    pub fn open(server: &Server, target: &str, behind: &[u8]) -> Self {
        Self::over(Client::connect(server), target, behind)
    }

    pub fn over(mut client: Client, target: &str, behind: &[u8]) -> Self {
        let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}\r\n");
        client.send([head.as_bytes(), behind].concat());
        let answer = client.take_through(b"\r\n\r\n");
        let answer = String::from_utf8(answer).expect("a head is text");
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains(ACCEPT), "{answer}");
        WebSocket { client, bytes: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.client.send(bytes);
    }

    /// The next frame, whatever it is.
    pub fn hear(&mut self) -> Heard {
        self.try_hear().unwrap_or_else(|e| panic!("{e}{}", self.client.transcript()))
    }

    pub fn try_hear(&mut self) -> Result<Heard, String> {
        loop {
            if let Some(heard) = take(&mut self.bytes)? {
                return Ok(heard);
            }
            self.bytes.extend(self.client.try_some()?);
        }
    }

    /// The next frame, which is JSON in a text. Pings may come in between; a client need not answer at once.
    pub fn json(&mut self) -> serde_json::Value {
        match self.hear() {
            Heard::Ping(_) => self.json(),
            Heard::Text(text) => serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text}")),
            other => panic!("{other:?} instead of JSON{}", self.client.transcript()),
        }
    }

    /// Sends a command and hears the next frame.
    pub fn ask(&mut self, command: &str) -> serde_json::Value {
        self.send(text(command));
        self.json()
    }

    /// The server closes the TCP connection, and says nothing more.
    pub fn ends(&mut self) {
        assert_eq!(self.bytes, b"", "frames behind the last one");
        self.client.ends();
    }
}
