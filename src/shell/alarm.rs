//! The alarm: wakes the reactor at a microsecond.
//!
//! `epoll_wait` can only sleep for whole milliseconds, rounded up, and so a tick would come up
//! to two of them late. A timerfd is exact, and costs a system call only when the moment changes.
//!
//! Knows: one moment. Never learns what is due then.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// One alarm. Readable, in the sense of epoll, when it goes off.
pub(super) struct Alarm {
    timer: OwnedFd,
    /// When it goes off, in microseconds of the monotonic clock, or when it did.
    set_for: Option<u64>,
}

impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Alarm { timer: timerfd_create(TimerfdClockId::Monotonic, flags)?, set_for: None })
    }

    /// Goes off at this moment (in microseconds of the monotonic clock) and at no other.
    pub(super) fn set(&mut self, deadline_us: Option<u64>) -> io::Result<()> {
        if deadline_us == self.set_for {
            return Ok(());
        }
        // A moment of zero would switch it off; what is due at the very beginning is due a microsecond later.
        let moment = deadline_us.map_or(0, |us| us.max(1));
        let spec = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec {
                tv_sec: (moment / 1_000_000) as i64,
                tv_nsec: (moment % 1_000_000 * 1_000) as i64,
            },
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec)?;
        self.set_for = deadline_us;
        Ok(())
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.timer.as_raw_fd()
    }
}
