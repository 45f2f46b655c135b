//! encke, a comet server: very many idle HTTP connections, one thread, and now and then a few
//! bytes to all of them. This page is the tour.
//!
//! # The rooms
//!
//! ```text
//! shell -> engine -> {dialect, hub} -> transport -> {log, wire} -> kit
//! ```
//!
//! | room | is about | never learns |
//! |---|---|---|
//! | `shell` | the kernel: sockets, clocks, signals, files | HTTP |
//! | [`engine`] | connections and what their next bytes mean | epoll, files, what time it is |
//! | [`dialect`] | what a URL means: a [`Plan`](dialect::Plan) | connections, time |
//! | [`hub`] | channels, who waits in them, the sweep | sockets, HTTP |
//! | [`transport`] | how news looks on the wire | who listens |
//! | [`log`](mod@log) | messages, and the order they came in | who subscribes |
//! | [`wire`] | HTTP and text, as pure functions | sockets, routes, channels |
//! | [`kit`] | time, names, frames, the outbox, the timer wheel | what any of it is for |
//!
//! Two stand beside them. [`config`]: every setting and limit, with its unit, default and reason, and in
//! [`Pace`](config::Pace) what is no setting: how much is done for one before the others get their turn. And
//! `bench`: the load generator, which knows any server by its sockets alone.
//!
//! # A way through
//!
//! In an evening, in this order; every file opens with a card that says what it is for.
//!
//! 1. [`kit`]: small things that can be understood alone. [`Outbox`](kit::outbox::Outbox) is
//!    why a connection is small, [`Wheel`](kit::wheel::Wheel) is where all later moments wait, and
//!    [`Secret`](kit::secret::Secret) can be compared and not be shown.
//! 2. [`wire::http`]: three steps from bytes to a [`Request`](wire::http::Request), each a pure function.
//! 3. [`dialect`]: a request comes in, a plan comes out, and nothing happens yet. Who may ask at all,
//!    [`gate`](dialect::gate) says.
//! 4. [`transport::iframe`] and [`transport::long_poll`]: where a tick and an answer are *made*.
//! 5. [`hub`]: a channel's history, its section of those who wait, and the sweep, which is the heart.
//! 6. [`engine`]: `conn` first, then `intake` (bytes to plans), `answers` (plans to bytes) and `timers`;
//!    in `crowd`, everything is *written*; in `storing` publishers wait for a log that takes time. Then what happens when it is too much (`budget`, `addresses`),
//!    when nothing happens (`walk`, `halves`), and when it is over (`drain`).
//! 7. `shell::reactor`: the loop. Seven steps, and after the rest of the house it holds no surprise.
//! 8. `bench`, if you like: the other end of all those connections. `stamp` first, then `order`.
//!
//! # The rules
//!
//! - Arrows point down only; `tests/tidy.rs` sees to it.
//! - Below the shell there is no kernel. Sockets are a trait, time is a number that is handed in.
//! - Nothing is queued per subscriber: who is behind has a cursor, and the backlog lives once.
//! - Everything that a stranger can make larger has a limit with a name.
//! - A panic is a bug of ours.
//!
//! # The server without a kernel
//!
//! All of the engine runs over anything that reads and writes. Here is a whole exchange, in a
//! second that somebody made up:
//!
//! ```
//! use std::{cell::RefCell, io, rc::Rc};
//!
//! use encke::config::{Limits, Settings};
//! use encke::dialect::pages::Embedded;
//! use encke::engine::{Engine, Readiness, Socket};
//! use encke::kit::clock::Now;
//!
//! /// A client that has asked once, and keeps what it hears.
//! struct Client {
//!     question: &'static [u8],
//!     heard: Rc<RefCell<Vec<u8>>>,
//! }
//!
//! impl io::Read for Client {
//!     fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
//!         match self.question.read(bytes)? {
//!             0 => Err(io::ErrorKind::WouldBlock.into()),
//!             some => Ok(some),
//!         }
//!     }
//! }
//!
//! impl io::Write for Client {
//!     fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
//!         self.heard.borrow_mut().write(bytes)
//!     }
//!     fn flush(&mut self) -> io::Result<()> {
//!         Ok(())
//!     }
//! }
//!
//! impl Socket for Client {
//!     fn shutdown_write(&mut self) {}
//! }
//!
//! let at = |ms: u64| Now { mono_us: ms * 1_000, unix_us: 1_700_000_000_000_000 + ms * 1_000 };
//! let limits = Limits { connections_max: 1, ..Limits::default() };
//! let settings = Settings { limits, ..Settings::default() };
//! let mut engine = Engine::new(&settings, Box::new(Embedded::new()), 0, at(0));
//!
//! let heard = Rc::default();
//! let question = b"GET /backend.php HTTP/1.1\r\nHost: localhost\r\n\r\n";
//! let id = engine.next_id();
//! engine.accept(Client { question, heard: Rc::clone(&heard) }, None, at(0));
//! engine.ready(id, Readiness { readable: true, ..Readiness::default() }, at(0));
//!
//! // The first tick came at once. The next is due a second later, in microseconds:
//! assert_eq!(engine.deadline(), Some(1_000_000));
//! engine.advance(at(1_003)); // three milliseconds late
//!
//! let heard = String::from_utf8(heard.take()).unwrap();
//! assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"));
//! assert!(heard.ends_with(
//!     "<script type=\"text/javascript\">comet.printServerTime(1700000000);</script>\
//!      <script type=\"text/javascript\">comet.printServerTime(1700000001);</script>"
//! ));
//! assert_eq!(engine.deadline(), Some(2_000_000)); // and no drift
//! ```

#[cfg(feature = "bench")]
pub mod bench;
pub mod config;
pub mod dialect;
pub mod engine;
pub mod hub;
pub mod kit;
pub mod log;
#[cfg(feature = "shell")]
pub mod shell;
pub mod transport;
pub mod wire;
