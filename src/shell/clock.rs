//! The kernel's clocks.

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::kit::clock::Now;

/// How far the wall clock may be from where the monotonic one has it, in microseconds, before it is believed.
///
/// Both are read one after the other, and the process may be stopped in between. Were the difference taken
/// anew each time, a tick whose phase lies on the turn of a second could say one twice, or skip one.
const DOUBT_US: u64 = 10_000;

/// The two clocks, held together.
pub(super) struct Clock {
    /// What the wall clock showed when the monotonic one showed zero, as far as it has not been set since.
    epoch_us: u64,
    /// When the two were last compared, in microseconds of the monotonic one.
    compared_us: u64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Clock { epoch_us: wall_us().saturating_sub(mono_us()), compared_us: 0 }
    }

    /// This moment. The reactor asks twice a turn: after its sleep, and before the next.
    pub(super) fn now(&mut self) -> Now {
        let mono_us = mono_us();
        // What would not be believed need not be asked for.
        if mono_us - self.compared_us >= DOUBT_US {
            self.compared_us = mono_us;
            let wall_us = wall_us();
            if wall_us.abs_diff(self.epoch_us + mono_us) > DOUBT_US {
                // It was set, or has been slewed by as much.
                self.epoch_us = wall_us.saturating_sub(mono_us);
            }
        }
        Now { mono_us, unix_us: self.epoch_us + mono_us }
    }
}

fn mono_us() -> u64 {
    micros(clock_gettime(ClockId::Monotonic))
}

fn wall_us() -> u64 {
    micros(clock_gettime(ClockId::Realtime))
}

/// A clock set before 1970 shows zero.
fn micros(time: Timespec) -> u64 {
    u64::try_from(time.tv_sec).map_or(0, |s| s * 1_000_000 + time.tv_nsec as u64 / 1_000)
}
