//! The kernel's clocks.

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::kit::clock::Now;

/// This moment. The reactor asks once per turn.
pub(super) fn now() -> Now {
    Now {
        mono_us: micros(clock_gettime(ClockId::Monotonic)),
        unix_us: micros(clock_gettime(ClockId::Realtime)),
    }
}

/// A clock set before 1970 shows zero.
fn micros(time: Timespec) -> u64 {
    u64::try_from(time.tv_sec).map_or(0, |s| s * 1_000_000 + time.tv_nsec as u64 / 1_000)
}
