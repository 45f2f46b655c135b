//! Order: whether a message is the next, a late one, or a repeated one.
//!
//! The messages of a channel are numbered without holes, so each subscriber needs to remember how
//! far it is and which of the latest 128 it has seen. What is older than that is judged by whether
//! anything is missing at all.
//!
//! Knows: numbers. Never learns whose they are.

use std::ops::Range;

/// What one subscriber has heard of its channel.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    /// The number after the greatest that came.
    next: u32,
    /// Bit `n`: message `next - 1 - n` came. Of older ones, nothing is known one by one.
    seen: u128,
    /// Of those before `next`, so many did not come yet.
    missing: u32,
}

/// What a message is to one who has heard others.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// New; these before it have not come, or not yet.
    New { skipped: Range<u32> },
    /// New, but others were ahead of it, this one farthest.
    OutOfOrder { ahead: u32 },
    /// It came before.
    Duplicate,
}

impl Heard {
    /// Takes a message's number.
    ///
    /// Hot: runs once per delivery.
    pub(super) fn take(&mut self, number: u32) -> Verdict {
        if number >= self.next {
            let skipped = self.next..number;
            let step = number - self.next + 1;
            self.seen = self.seen.checked_shl(step).unwrap_or(0) | 1;
            self.missing += number - self.next;
            self.next = number + 1;
            return Verdict::New { skipped };
        }
        let back = self.next - 1 - number;
        let is_new = match 1_u128.checked_shl(back) {
            Some(bit) => {
                let new = self.seen & bit == 0;
                self.seen |= bit;
                new
            }
            // Too long ago to know: if nothing is missing, it cannot be new.
            None => self.missing > 0,
        };
        if !is_new {
            return Verdict::Duplicate;
        }
        self.missing = self.missing.saturating_sub(1);
        Verdict::OutOfOrder { ahead: self.next - 1 }
    }

    /// Moves on to `end`, and says what was not heard before it.
    pub(super) fn finish(&mut self, end: u32) -> Range<u32> {
        let rest = self.next..end.max(self.next);
        self.next = rest.end;
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REMEMBERED: u32 = u128::BITS;

    fn new(skipped: Range<u32>) -> Verdict {
        Verdict::New { skipped }
    }

    #[test]
    fn what_comes_in_order_is_new() {
        let mut heard = Heard::default();
        for number in 0..1_000 {
            assert_eq!(heard.take(number), new(number..number));
        }
        assert_eq!(heard.finish(1_002), 1_000..1_002);
    }

    #[test]
    fn late_and_repeated_ones_are_told_apart() {
        let mut heard = Heard::default();
        assert_eq!(heard.take(2), new(0..2));
        assert_eq!(heard.take(0), Verdict::OutOfOrder { ahead: 2 });
        assert_eq!(heard.take(0), Verdict::Duplicate);
        assert_eq!(heard.take(2), Verdict::Duplicate);
        assert_eq!(heard.take(1), Verdict::OutOfOrder { ahead: 2 });
        assert_eq!(heard.take(3), new(3..3));
    }

    #[test]
    fn what_is_older_than_what_is_remembered_is_judged_by_what_is_missing() {
        let mut heard = Heard::default();
        assert_eq!(heard.take(1), new(0..1));
        for number in 2..=REMEMBERED + 1 {
            heard.take(number);
        }
        assert_eq!(heard.take(0), Verdict::OutOfOrder { ahead: REMEMBERED + 1 });
        assert_eq!(heard.take(0), Verdict::Duplicate);
        assert_eq!(heard.take(1_000_000), new(REMEMBERED + 2..1_000_000));
    }
}
