//! The shell: the only files that touch the kernel.
//!
//! Sockets, clocks, signals, files and standard output are here, and nothing that a comet
//! server is about. [`serve`] puts the pieces together and runs them until it is told to stop.
//!
//! Knows: mio, socket2, the operating system. Never learns HTTP.

mod alarm;
mod clock;
mod descriptors;
mod disk;
mod folder;
mod listener;
pub mod logs;
mod reactor;
mod ring;
mod sqlite;
mod stream;

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use crate::config::Settings;
use crate::dialect::pages::{Embedded, Shelf};
use crate::engine::Engine;

use clock::Clock;
use folder::Folder;
use listener::{Listener, Manner};
use reactor::Reactor;
use ring::Ring;
use sqlite::Sqlite;

/// Why the server cannot serve. One line, for the operator.
#[derive(Debug)]
pub struct ServeError(String);

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ServeError {}

/// Serves until SIGINT or SIGTERM.
///
/// # Errors
/// If it cannot begin (an address is taken, the directory is not there), or the kernel refuses
/// what every server needs.
pub fn serve(mut settings: Settings) -> Result<(), ServeError> {
    settings.limits.connections_max = descriptors::connections_max(settings.limits.connections_max)?;
    let mut shelf: Box<dyn Shelf> = Box::new(Embedded::new());
    if let Some(directory) = &settings.static_dir {
        shelf = Box::new(Folder::new(directory, settings.limits.static_file_bytes_max, shelf)?);
    }
    let manner = Manner {
        reuse_port: settings.reuse_port,
        has_heartbeats: settings.heartbeat_ms > 0,
        write_timeout: Duration::from_millis(settings.limits.write_timeout_ms),
    };
    let listeners = settings.listen.iter().map(|address| Listener::bind(address, manner));
    let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
    let urls: Vec<String> = listeners.iter().map(Listener::url).collect();
    let mut clock = Clock::new();
    let now = clock.now();
    let mut engine = Engine::new(&settings, shelf, now.unix_us ^ u64::from(std::process::id()) << 32, now);
    if settings.io_uring {
        let ring = Ring::new().map_err(|error| {
            ServeError(format!("cannot use io_uring: {error}; allow it (sysctl kernel.io_uring_disabled=0), or leave out --io-uring"))
        })?;
        engine.employ(Box::new(ring));
    }
    let kernel = |error: io::Error| ServeError(format!("the kernel refuses what a server needs: {error}"));
    let mut log = settings.data.as_deref().map(|folder| Sqlite::open(folder, now)).transpose()?;
    if let Some(log) = &mut log {
        log.recall(&mut engine, now)?;
    }
    let reactor = Reactor::new(engine, listeners, clock, log).map_err(kernel)?;
    // Only now: whoever reads this may connect, or send a signal, at once.
    urls.iter().for_each(|url| announce(url));
    reactor.run().map_err(kernel)
}

/// Says where it listens, on standard output: for a person, who clicks on it, and for a script,
/// which reads the port from it. Whether anybody reads it is not our business.
fn announce(url: &str) {
    let mut out = io::stdout().lock();
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(out, "encke {version} listening on {url}").and_then(|()| out.flush());
}
