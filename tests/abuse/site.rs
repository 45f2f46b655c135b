//! The site: one server with small limits, and what everybody who is there shares.
//!
//! Knows: the server, the time, who has failed. Never learns who does what to it.

use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::common::{Client, Dice, PATIENCE, Server, Setup};

/// Connections at one time: a storm of strangers is more.
pub const CONNECTIONS_MAX: usize = 400;

/// Messages that the chat keeps. They are short, so that the budget of histories never asks for them.
pub const CHAT_KEEPS: usize = 50;

/// And for how long.
pub const CHAT_AGE: Duration = Duration::from_secs(3);

/// How long a stranger waits for an answer before he does something else.
const STRANGERS_PATIENCE: Duration = Duration::from_millis(100);

/// Every limit is so low that strangers reach it.
fn setup() -> Setup {
    Setup::default()
        .arg("--max-connections")
        .arg(CONNECTIONS_MAX.to_string())
        .setting("heartbeat", "\"1s\"")
        .setting("poll-timeout", "\"2s\"")
        .setting("lab", "true")
        .limit("connections-per-address-max", "64")
        .limit("publish-rate-max", "500")
        .limit("connection-budget-bytes-max", "\"2MiB\"")
        .limit("bulk-bytes-max", "\"128KiB\"")
        .limit("head-timeout", "\"1s\"")
        .limit("body-timeout", "\"1s\"")
        .limit("idle-timeout", "\"4s\"")
        .limit("write-timeout", "\"1s\"")
        .limit("linger", "\"200ms\"")
        .limit("poll-space", "\"1s\"")
        .limit("channels-max", "2000")
        .limit("subscription-channels-max", "200")
        .limit("history-messages-max", "100")
        .limit("history-bytes-max", "\"256KiB\"")
        .limit("history-age", "\"2s\"")
        .limit("history-budget-bytes-max", "\"2MiB\"")
        .table("[[channel]]\nmatch = \"room.*\"\nhistory-messages-max = 200\nhistory-age = \"1h\"\n")
        .table("[[channel]]\nmatch = \"attic.*\"\nhistory-messages-max = 5\nhistory-age = \"1h\"\n")
        .table(&format!("[[channel]]\nmatch = \"chat:/abuse/\"\nhistory-messages-max = {CHAT_KEEPS}\n"))
        .table(&format!("history-age = \"{}s\"\n", CHAT_AGE.as_secs()))
}

/// Where it all happens.
pub struct Site {
    pub server: Server,
    /// Messages and ticks that somebody heard as they should be, and gaps that were told.
    pub verified: AtomicU64,
    pub gaps: AtomicU64,
    /// Times that somebody asked whether the server is well and was told yes, or that it is full.
    pub well: AtomicU64,
    pub full: AtomicU64,
    /// Since when the strangers are gone.
    quiet_since: Mutex<Option<Instant>>,
    /// Somebody has failed: the others need not go on.
    is_spoilt: AtomicBool,
    /// Only one at a time may change how many descriptors there are.
    descriptors: Mutex<()>,
}

impl Site {
    pub fn open() -> Self {
        Site {
            server: setup().start(),
            verified: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
            well: AtomicU64::new(0),
            full: AtomicU64::new(0),
            quiet_since: Mutex::new(None),
            is_spoilt: AtomicBool::new(false),
            descriptors: Mutex::new(()),
        }
    }

    pub fn strangers_come(&self) {
        *self.quiet_since() = None;
    }

    pub fn strangers_are_gone(&self) {
        *self.quiet_since() = Some(Instant::now());
    }

    pub fn is_quiet(&self) -> bool {
        self.quiet_since().is_some() || self.is_spoilt()
    }

    /// Whether it has been quiet for so long that nothing will be heard any more.
    pub fn is_late(&self) -> bool {
        self.quiet_since().is_some_and(|since| since.elapsed() > PATIENCE)
    }

    fn quiet_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.quiet_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_spoilt(&self) -> bool {
        self.is_spoilt.load(Ordering::SeqCst)
    }

    /// Does what somebody came for. Should that fail, everybody else goes home.
    pub fn attend<T>(&self, what: impl FnOnce() -> T) -> T {
        struct Alarm<'a>(&'a AtomicBool);
        impl Drop for Alarm<'_> {
            fn drop(&mut self) {
                if thread::panicking() {
                    self.0.store(true, Ordering::SeqCst);
                }
            }
        }
        let _alarm = Alarm(&self.is_spoilt);
        what()
    }

    /// A connection from somewhere: most of 127/8 is strangers.
    pub fn stranger(&self, dice: &mut Dice) -> io::Result<Client> {
        self.go_home_if_spoilt()?;
        Client::try_from(&self.server, somewhere(dice)).map(hasty)
    }

    /// One that can take little at a time.
    pub fn narrow_stranger(&self, dice: &mut Dice) -> io::Result<Client> {
        self.go_home_if_spoilt()?;
        Client::try_narrow(&self.server, somewhere(dice)).map(hasty)
    }

    /// Ends every bout.
    fn go_home_if_spoilt(&self) -> io::Result<()> {
        if self.is_spoilt() { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
    }

    /// So many of them, each from elsewhere.
    pub fn strangers(&self, dice: &mut Dice, count: usize) -> io::Result<Vec<Client>> {
        (0..count).map(|_| self.stranger(dice)).collect()
    }

    /// Meanwhile the server can have one descriptor more than it has, and no others. None: somebody else does this now.
    pub fn without_descriptors<T>(&self, what: impl FnOnce() -> T) -> Option<T> {
        let _alone = self.descriptors.try_lock().ok()?;
        self.server.allow_descriptors(self.server.free_descriptor() + 1);
        let done = what();
        self.server.allow_descriptors(2 * CONNECTIONS_MAX as u64);
        Some(done)
    }
}

/// The numbers of the server.
pub fn stats(client: &mut Client) -> Value {
    serde_json::from_str(client.get("/stats").text()).expect("JSON")
}

/// One of them; `hangups.reset` is in a table.
pub fn number(stats: &Value, name: &str) -> u64 {
    let value = name.split('.').fold(stats, |value, key| &value[key]);
    value.as_u64().unwrap_or_else(|| panic!("no {name} in {stats}"))
}

/// An address that only strangers have: citizens are in 127.0/16.
pub fn somewhere(dice: &mut Dice) -> Ipv4Addr {
    let [a, b, c, ..] = dice.roll().to_be_bytes();
    Ipv4Addr::new(127, 1 + a % 254, b, 1 + c % 254)
}

fn hasty(mut client: Client) -> Client {
    client.give_up_reading_after(STRANGERS_PATIENCE);
    client.give_up_writing_after(STRANGERS_PATIENCE);
    client
}
