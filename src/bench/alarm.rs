//! Wakes a loop at a microsecond.
//!
//! `epoll_wait` sleeps for whole milliseconds, rounded up: every message would be sent a
//! millisecond late by the publisher's own fault. A timerfd is exact.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// One alarm, ready when it goes off.
pub(super) struct Alarm {
    timer: OwnedFd,
    set_for: Option<u64>,
}

impl Alarm {
    /// An alarm that wakes whoever waits at `registry`, as `token`.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Alarm { timer, set_for: None })
    }

    /// Goes off at this moment of the monotonic clock, in microseconds, and at no other.
    pub(super) fn set(&mut self, moment_us: Option<u64>) -> io::Result<()> {
        if moment_us == self.set_for {
            return Ok(());
        }
        // A moment of zero would switch it off.
        let moment = moment_us.map_or(0, |us| us.max(1));
        let it_value =
            Timespec { tv_sec: (moment / 1_000_000) as i64, tv_nsec: (moment % 1_000_000 * 1_000) as i64 };
        let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec)?;
        self.set_for = moment_us;
        Ok(())
    }
}
