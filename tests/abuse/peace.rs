//! Peace: how the server is when nobody is there.
//!
//! Knows: `/proc`, `/stats`. Never learns what happened before.

use std::time::Duration;

use super::common::{Client, Server, holds_within, let_pass};
use super::site::{number, stats};

/// How long the server may take to find out that everybody is gone. Only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// So long the server must not do anything at all.
const SLEEP: Duration = Duration::from_secs(1);

/// What must be as it was before.
#[derive(Debug)]
pub struct Peace {
    descriptors: usize,
    threads: u64,
    resident_kib: u64,
    proportional_kib: u64,
}

impl Peace {
    /// Waits until nothing is left of anybody, and the server sleeps.
    pub fn of(server: &Server) -> Self {
        let mut client = Client::connect(server);
        let mut last = stats(&mut client);
        let is_empty = holds_within(PATIENCE, || {
            let_pass(Duration::from_millis(100));
            last = stats(&mut client);
            number(&last, "connections") == 1
                && ["channels", "history_bytes", "held_bytes"].iter().all(|name| number(&last, name) == 0)
        });
        assert!(
            is_empty,
            "{PATIENCE:?} after everybody has gone there is still somebody or something: {last}"
        );
        drop(client);
        let sleeps = holds_within(PATIENCE, || {
            let before = (server.naps(), server.cpu_ticks());
            let_pass(SLEEP);
            before == (server.naps(), server.cpu_ticks())
        });
        assert!(sleeps, "nobody is there, and the server does not sleep");
        Peace {
            descriptors: server.descriptors(),
            threads: server.threads(),
            resident_kib: server.resident_kib(),
            proportional_kib: server.proportional_kib(),
        }
    }

    /// Descriptors and threads to the last one. Of memory a tenth and so many KiB more may be resident, because it
    /// is scattered over the heap differently.
    pub fn is_as(&self, before: &Peace, scattered_kib: u64) {
        assert_eq!(
            (self.descriptors, self.threads),
            (before.descriptors, before.threads),
            "descriptors and threads"
        );
        for (what, now, before) in [
            ("resident", self.resident_kib, before.resident_kib),
            ("proportional", self.proportional_kib, before.proportional_kib),
        ] {
            let most = before + before / 10 + scattered_kib;
            assert!(now <= most, "{now} KiB are {what}; before it were {before}, and {most} would do");
        }
    }
}
