//! The clocks of a measurement.
//!
//! All processes of a run read the same monotonic clock, so a moment planned in one can be
//! compared with an arrival in another.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Microseconds of the monotonic clock.
pub(super) fn mono_us() -> u64 {
    micros(clock_gettime(ClockId::Monotonic))
}

/// Microseconds since 1970.
pub(super) fn unix_us() -> u64 {
    micros(clock_gettime(ClockId::Realtime))
}

fn micros(time: Timespec) -> u64 {
    u64::try_from(time.tv_sec).map_or(0, |s| s * 1_000_000 + time.tv_nsec as u64 / 1_000)
}
