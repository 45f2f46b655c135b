//! The alarm: wakes the reactor at a microsecond.
//!
//! `epoll_wait` can only sleep for whole milliseconds, rounded up, and so a tick would come up to
//! two of them late. A timerfd is exact, and costs a system call when the moment changes. Deadlines
//! that are far off change with every connection that comes or goes, and nearly all of them are
//! called off before their moment: so as long as a moment is far, epoll may sleep by itself, and
//! only what is left of the way is timed exactly.
//!
//! Knows: one moment. Never learns what is due then.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// From here on a moment is far, in microseconds: beyond the beats of clocks and tickers, and within all
/// timeouts of connections.
const FAR_US: u64 = 2_000_000;

/// How long before a far moment epoll is to wake up, in microseconds: more than it may be late, which is up to
/// 100 ms after a long sleep.
const EARLY_US: u64 = 150_000;

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

    /// To be called before each sleep, with the next moment at which something is due and the present one, in
    /// microseconds of the monotonic clock. Returns how long epoll may sleep at most.
    ///
    /// Goes off at `deadline_us` if that is near. If it is far, epoll's own timeout ends the sleep in time to come back.
    pub(super) fn before_sleep(
        &mut self,
        deadline_us: Option<u64>,
        now_us: u64,
    ) -> io::Result<Option<Duration>> {
        let left_us = deadline_us.map(|deadline_us| deadline_us.saturating_sub(now_us));
        match left_us {
            Some(0) => Ok(Some(Duration::ZERO)),
            // What it was set for has gone off, or will within two seconds, once and for nothing.
            Some(left_us) if left_us >= FAR_US => Ok(Some(Duration::from_micros(left_us - EARLY_US))),
            _ => self.set(deadline_us).map(|()| None),
        }
    }

    /// Goes off at this moment and at no other.
    fn set(&mut self, deadline_us: Option<u64>) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_far_moment_is_left_to_epoll_until_it_is_near() {
        let mut alarm = Alarm::new().unwrap();
        let far = alarm.before_sleep(Some(12_000_000), 2_000_000).unwrap();
        assert_eq!((far, alarm.set_for), (Some(Duration::from_micros(9_850_000)), None));
        let near = alarm.before_sleep(Some(12_000_000), 11_850_000).unwrap();
        assert_eq!((near, alarm.set_for), (None, Some(12_000_000)));
        assert_eq!(alarm.before_sleep(Some(12_000_000), 12_000_001).unwrap(), Some(Duration::ZERO));
    }

    #[test]
    fn without_a_moment_nothing_goes_off() {
        let mut alarm = Alarm::new().unwrap();
        assert_eq!(alarm.before_sleep(Some(1_500_000), 1_000_000).unwrap(), None);
        assert_eq!((alarm.before_sleep(None, 1_000_000).unwrap(), alarm.set_for), (None, None));
    }
}
