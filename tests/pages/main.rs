//! The pages, as people meet them: a real server, a real browser, keys pressed, text read.
//!
//! Every test has a server and a browser of its own. Nothing here waits for a time to pass: each test
//! waits for what it wants to see, and fails when it has not come after a minute.
//!
//! Knows: what is on our pages, and on the two of 2007. Never learns how the server makes them.

#![cfg(feature = "shell")]
#![allow(clippy::disallowed_methods, reason = "deadlines of tests run on the real clock")]

mod article;
mod browser;
mod chat;
mod client;
mod clock;
mod events;
mod looks;
mod original;
mod proxy;
mod server;
mod tap;
mod texts;
