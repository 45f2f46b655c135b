//! The harness: the real binary seen from outside, over raw sockets.
//!
//! Every test that includes this starts its own server, speaks bytes to it and judges what
//! comes back with a parser that forgives nothing. It shares no code with the server, so
//! that both cannot be wrong in the same way.
//!
//! Knows: processes, sockets, `/proc`. Never learns what is inside the server.

// Each test binary includes all of the harness and uses a part of it. A test is outside:
// clocks and threads are its own affair.
#![allow(dead_code, unused_imports, unreachable_pub, clippy::disallowed_methods)]

pub mod answer;
pub mod case;
pub mod chat;
pub mod client;
pub mod damage;
pub mod frames;
pub mod hearing;
pub mod server;
pub mod websocket;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use answer::{Answer, Asked, Framing, Head};
pub use case::{After, Case, case, conform};
pub use client::Client;
pub use hearing::{Hearing, News, TRANSPORTS, Told, Transport};
pub use server::{Server, Setup};
pub use websocket::WebSocket;

/// How long a test waits for what must come. Only a failing test ever waits this long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Tests put this word wherever a request has room for it; no error page may bring it back.
pub const CANARY: &str = "c4naRy";

/// Waits until `condition` holds; panics when it does not within [`PATIENCE`].
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(PATIENCE, condition), "waited {PATIENCE:?} in vain until {what}");
}

/// Whether `condition` comes to hold within `patience`.
pub fn holds_within(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        match start.elapsed() {
            long if long > patience => return false,
            // At first as fast as can be: some tests are about what happens right after a condition holds.
            short if short < Duration::from_millis(10) => thread::yield_now(),
            _ => thread::sleep(Duration::from_millis(1)),
        }
    }
    true
}

/// Lets time pass because the passing of time is what the test is about: a deadline, an idle spell.
pub fn let_pass(time: Duration) {
    thread::sleep(time);
}

/// Begins to measure how long something takes: for bounds that only a broken server reaches.
pub fn stopwatch() -> Instant {
    Instant::now()
}

/// The time as the server should have it, in whole seconds.
pub fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("later than 1970").as_secs()
}

/// Bytes as a person reads them: printable ASCII as it is, the rest escaped, long runs cut in the middle.
pub fn readable(bytes: &[u8]) -> String {
    const SHOWN: usize = 600;
    if bytes.len() <= 2 * SHOWN {
        return bytes.escape_ascii().to_string();
    }
    let (start, end) = (&bytes[..SHOWN], &bytes[bytes.len() - SHOWN..]);
    format!("{} […{} bytes…] {}", start.escape_ascii(), bytes.len() - 2 * SHOWN, end.escape_ascii())
}

/// Where `needle` first occurs in `hay`.
pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|window| window == needle)
}

/// A directory that goes away with the test.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("the target directory is writable");
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file (its directories too) and says where it is.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("a file has a directory")).expect("the scratch is writable");
        fs::write(&path, content).expect("the scratch is writable");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A small seeded generator (splitmix64): the same seed, the same test, on every machine.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.roll() % n.max(1) as u64) as usize
    }
}
