//! The time, as a value that is handed in.
//!
//! The reactor reads the kernel's clocks once per turn and passes what it read to every
//! door of the engine. Nothing in the core ever asks what time it is: so a test, or the
//! simulator, can make any moment happen.
//!
//! Knows: microseconds. Never learns where they come from.

/// One moment, on both clocks. Read once per turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Microseconds on a clock that never jumps and never goes back. Its zero means nothing. Deadlines live here.
    pub mono_us: u64,
    /// Microseconds since the Unix epoch. May jump either way. Only for what people read, and for message ids.
    pub unix_us: u64,
}

impl Now {
    /// Whole milliseconds on the monotonic clock, rounded down: the wheel's unit.
    pub fn mono_ms(self) -> u64 {
        self.mono_us / 1_000
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub fn unix_s(self) -> u64 {
        self.unix_us / 1_000_000
    }

    /// What the wall clock showed (or will show) at `mono_ms`, in microseconds, if it does not jump in between.
    pub fn unix_us_at(self, mono_ms: u64) -> u64 {
        (self.unix_us + mono_ms * 1_000).saturating_sub(self.mono_us)
    }
}
