//! The timer wheel: a hundred thousand deadlines in one array.
//!
//! A comet server arms far more timers than it lets fire: nearly every one is pushed back by
//! activity before its moment comes. So arming and cancelling are O(1), and a timer costs
//! twelve bytes, in a node that belongs to its key for good: nothing is allocated to arm one.
//!
//! ```text
//! level 0   64 slots of    1 ms      due within  64 ms
//! level 1   64 slots of   64 ms                 4.1 s
//! level 2   64 slots of  4.1 s                  4.4 min
//! level 3   64 slots of  4.4 min                4.7 h      and whatever is due still later
//! ```
//!
//! A slot is a list of timers. In the textbook a slot is opened when the hand reaches its *start*,
//! to spread its timers over the level below: a wake-up in which nothing fires. Here every slot
//! knows the earliest moment for which something waits in it, and is opened only then. With no
//! timer due there is no wake-up at all.
//!
//! The price: a timer may stay in a slot after the hand has moved into it, beside timers that
//! were put there for the hand's next revolution. Only the slot under the hand can be such a
//! mixture; every slot ahead of it is of one revolution. So the earliest moment of a level is
//! that of the slot under the hand or that of the first occupied slot ahead, and two instructions
//! on a bitmap find the latter.
//!
//! The doors, by kind. Orders: [`arm`](Wheel::arm), [`cancel`](Wheel::cancel). Time:
//! [`pop`](Wheel::pop), [`wind`](Wheel::wind). Questions: [`deadline`](Wheel::deadline) and the rest.
//!
//! Knows: milliseconds, slots, keys. Never learns what a timer is *for*.

use std::mem::size_of;

const LEVELS: usize = 4;
const SLOTS: usize = 64;

/// A slot's number has this many bits; a level's slots are this many powers of two wider than the last one's.
const SLOT_BITS: u32 = SLOTS.trailing_zeros();

/// What the hands cover: 64^4 ms, 4.7 h. Whatever is due later waits in the farthest slot and is looked at again.
const SPAN_MS: u64 = 1 << (SLOT_BITS * LEVELS as u32);

/// How far from the wheel's time a deadline may lie, both ways: 2^31 - 1 ms, 24.8 days, because a
/// node keeps 32 bits of it. One that is further ahead fires early, at the horizon: who arms such
/// looks at his own clock and arms again.
pub const HORIZON_MS: u64 = i32::MAX as u64;

/// The list of what is due, behind those of the slots.
const DUE: usize = LEVELS * SLOTS;

/// Node of key 0. Those before are the lists' own.
const FIRST: usize = DUE + 1;

/// In `next`: this node is in no list.
const NOWHERE: u32 = u32::MAX;

/// A timer, or the two ends of a list of timers.
///
/// Invariant: every list is a circle through its own node. So unlinking asks no questions, and
/// who finds the same node before and behind himself leaves a list empty, and knows which.
#[derive(Clone, Copy)]
struct Node {
    prev: u32,
    next: u32,
    /// The low 32 bits of the absolute due time in ms; the wheel's own time supplies the rest.
    due: u32,
}

/// A timer costs this and nothing else.
const _: () = assert!(size_of::<Node>() == 12);

impl Node {
    const UNARMED: Node = Node { prev: NOWHERE, next: NOWHERE, due: 0 };
}

/// Deadlines in milliseconds, at most one for each key.
///
/// Keys are small dense numbers of the owner's choice, such as slab indices: the table grows to
/// the largest key ever armed, 12 bytes each, and never shrinks. Time is an absolute `u64` in
/// milliseconds that the owner hands in.
pub struct Wheel {
    nodes: Vec<Node>,
    /// For each slot of all levels, a moment not after any that something in it waits for.
    /// Too early only after a cancel or a re-arm, which leave it alone: at most one idle wake-up.
    ///
    /// Invariant: of an occupied slot, not before `now_ms`. Of an empty one, without meaning.
    earliest_ms: [u64; LEVELS * SLOTS],
    /// Which slots hold something: a bit each, a word for each level.
    occupied: [u64; LEVELS],
    /// Where the hand stands: up to here everything has been found due.
    ///
    /// Invariant: does not move while anything is in the due list, so all dues are within the horizon.
    now_ms: u64,
    len: usize,
}

impl Wheel {
    /// A wheel with nothing armed.
    pub fn new(now_ms: u64) -> Self {
        let nodes = (0..FIRST as u32).map(|own| Node { prev: own, next: own, due: 0 }).collect();
        Wheel { nodes, earliest_ms: [0; LEVELS * SLOTS], occupied: [0; LEVELS], now_ms, len: 0 }
    }

    /// Arms the timer of `key`, or moves it if it was armed. A due time in the past is popped next
    /// time, behind what is due already. See [`HORIZON_MS`] for the far future.
    ///
    /// Hot: runs for every request and every tick.
    pub fn arm(&mut self, key: u32, due_ms: u64) {
        let at = index(key);
        if at >= self.nodes.len() {
            assert!(at < NOWHERE as usize, "keys are dense and small");
            self.nodes.resize(at + 1, Node::UNARMED);
        }
        if self.nodes[at].next == NOWHERE {
            self.len += 1;
        } else {
            self.unlink(at);
        }
        let oldest_ms = self.now_ms.saturating_sub(HORIZON_MS);
        self.insert(at, due_ms.clamp(oldest_ms, self.now_ms.saturating_add(HORIZON_MS)));
    }

    /// Disarms the timer of `key`; whether it was armed. Also takes it back when it is due but not popped.
    pub fn cancel(&mut self, key: u32) -> bool {
        let armed = self.is_armed(key);
        if armed {
            self.unlink(index(key));
            self.nodes[index(key)] = Node::UNARMED;
            self.len -= 1;
        }
        armed
    }

    /// Moves the time on to `now_ms`, as far as nothing is due on the way: else disarms one due
    /// timer and returns its key and the very time it was armed for, from which it can be armed
    /// again without drifting. The owner calls until `None`, or stops earlier and goes on in its
    /// next turn; between two calls it may arm and cancel whatever it likes.
    ///
    /// Timers come in the order of their due times; equal ones mostly in the order in which they
    /// were armed. A time before one already handed in counts as that one.
    ///
    /// One call opens one slot after another until something is due. Opening one moves all of its
    /// timers, but none is moved more often than twice a level in all its life, and once every
    /// 4.7 hours while it is still further away.
    pub fn pop(&mut self, now_ms: u64) -> Option<(u32, u64)> {
        loop {
            let first = self.nodes[DUE].next as usize;
            if first != DUE {
                let due_ms = self.due_at(first);
                let key = (first - FIRST) as u32;
                self.cancel(key);
                return Some((key, due_ms));
            }
            match self.next_opening() {
                // One moment after the other, however late we are: so dues come in order, and
                // none is ever further behind the hand than the horizon.
                Some((moment_ms, slot)) if moment_ms <= now_ms => {
                    self.now_ms = moment_ms;
                    self.open(slot);
                }
                _ => {
                    self.now_ms = self.now_ms.max(now_ms);
                    return None;
                }
            }
        }
    }

    /// Tells the time to an empty wheel; does nothing to any other. For an owner who arms before it pops: a wheel
    /// that was empty for so long that nobody had to pop would take its stale time for the present,
    /// and a deadline in ten seconds for one beyond the horizon.
    pub fn wind(&mut self, now_ms: u64) {
        if self.is_empty() {
            self.now_ms = self.now_ms.max(now_ms);
        }
    }

    /// When [`pop`](Self::pop) must run again, in ms: the earliest due time; `None` if nothing is armed.
    /// Never too late. Too early after a cancel or a re-arm, at most once for each slot they left,
    /// and every 4.7 hours for what is due still later.
    pub fn deadline(&self) -> Option<u64> {
        let first = self.nodes[DUE].next as usize;
        if first != DUE {
            return Some(self.due_at(first));
        }
        self.next_opening().map(|(moment_ms, _)| moment_ms)
    }

    /// What `key` is armed for, in ms.
    pub fn due(&self, key: u32) -> Option<u64> {
        self.is_armed(key).then(|| self.due_at(index(key)))
    }

    /// Whether `key` has a timer that was not popped yet.
    pub fn is_armed(&self, key: u32) -> bool {
        self.nodes.get(index(key)).is_some_and(|node| node.next != NOWHERE)
    }

    /// How many timers are armed.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no timer is armed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The moment at which the next slot has to be opened, and that slot.
    fn next_opening(&self) -> Option<(u64, usize)> {
        let mut next: Option<(u64, usize)> = None;
        // From the outermost level in: of two with the same moment, what was armed further ahead goes first.
        for level in (0..LEVELS).rev() {
            let hand = slot_number(self.now_ms, level);
            let from_hand = self.occupied[level].rotate_right(hand as u32);
            let ahead = from_hand & !1;
            let under_hand = (from_hand & 1 != 0).then_some(0);
            let first_ahead = (ahead != 0).then(|| ahead.trailing_zeros() as usize);
            for distance in under_hand.into_iter().chain(first_ahead) {
                let slot = level * SLOTS + (hand + distance) % SLOTS;
                let moment_ms = self.earliest_ms[slot];
                if next.is_none_or(|(earliest_ms, _)| moment_ms < earliest_ms) {
                    next = Some((moment_ms, slot));
                }
            }
        }
        next
    }

    /// Sorts a slot's timers in anew: what is due into the due list, the rest by the time that is left.
    fn open(&mut self, slot: usize) {
        let mut at = self.nodes[slot].next as usize;
        // Emptied first: a timer of the next revolution comes back into this very slot.
        self.nodes[slot].prev = slot as u32;
        self.nodes[slot].next = slot as u32;
        self.occupied[slot / SLOTS] &= !(1 << (slot % SLOTS));
        while at != slot {
            let next = self.nodes[at].next as usize;
            self.insert(at, self.due_at(at));
            at = next;
        }
    }

    /// Puts an unlinked node into the list that `due_ms` belongs in.
    fn insert(&mut self, at: usize, due_ms: u64) {
        self.nodes[at].due = due_ms as u32;
        if due_ms <= self.now_ms {
            return self.link_last(at, DUE);
        }
        let moment_ms = due_ms.min(self.now_ms.saturating_add(SPAN_MS - 1));
        let level = ((moment_ms - self.now_ms).ilog2() / SLOT_BITS) as usize;
        let number = slot_number(moment_ms, level);
        let slot = level * SLOTS + number;
        let bit = 1 << number;
        if self.occupied[level] & bit == 0 {
            self.occupied[level] |= bit;
            self.earliest_ms[slot] = moment_ms;
        } else if moment_ms < self.earliest_ms[slot] {
            self.earliest_ms[slot] = moment_ms;
        }
        self.link_last(at, slot);
    }

    fn link_last(&mut self, at: usize, list: usize) {
        let last = self.nodes[list].prev;
        self.nodes[at].prev = last;
        self.nodes[at].next = list as u32;
        self.nodes[last as usize].next = at as u32;
        self.nodes[list].prev = at as u32;
    }

    /// Takes a node out of its list, whichever that is.
    fn unlink(&mut self, at: usize) {
        let Node { prev, next, .. } = self.nodes[at];
        self.nodes[prev as usize].next = next;
        self.nodes[next as usize].prev = prev;
        let list = prev as usize;
        if prev == next && list < DUE {
            self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
        }
    }

    /// The due time of a linked node: the one within the horizon that has these low 32 bits.
    fn due_at(&self, at: usize) -> u64 {
        let from_now = self.nodes[at].due.wrapping_sub(self.now_ms as u32) as i32;
        self.now_ms.wrapping_add_signed(i64::from(from_now))
    }
}

fn index(key: u32) -> usize {
    FIRST + key as usize
}

/// Which slot of a level a moment belongs to.
fn slot_number(moment_ms: u64, level: usize) -> usize {
    (moment_ms >> (SLOT_BITS * level as u32)) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const SECOND: u64 = 1_000;
    const HOUR: u64 = 3_600 * SECOND;
    const DAY: u64 = 24 * HOUR;

    /// Everything due by `now_ms`, in the order it comes.
    fn pop_all(wheel: &mut Wheel, now_ms: u64) -> Vec<(u32, u64)> {
        std::iter::from_fn(|| wheel.pop(now_ms)).collect()
    }

    #[test]
    fn a_timer_fires_when_it_is_due_and_not_before() {
        for distance in
            [1, 2, 63, 64, 65, 4_095, 4_096, 4_097, 262_143, 262_144, SPAN_MS - 1, SPAN_MS, 5 * DAY]
        {
            for start in [0, 1, 63, 64, 1_000_003, (1 << 32) - 7, (1 << 40) + 5] {
                let mut wheel = Wheel::new(start);
                let due = start + distance;
                wheel.arm(7, due);
                assert_eq!(wheel.due(7), Some(due));
                assert_eq!(wheel.pop(due - 1), None, "start {start}, distance {distance}");
                assert_eq!(wheel.pop(due), Some((7, due)));
                assert_eq!(wheel.pop(due), None);
                assert!(wheel.is_empty() && !wheel.is_armed(7));
            }
        }
    }

    #[test]
    fn one_far_timer_costs_no_wake_up_before_it_is_due() {
        for distance in [1, 64, 4_096, 262_144, SPAN_MS - 1] {
            let mut wheel = Wheel::new(12_345);
            wheel.arm(0, 12_345 + distance);
            assert_eq!(wheel.deadline(), Some(12_345 + distance));
        }
    }

    #[test]
    fn an_empty_wheel_has_no_deadline() {
        let mut wheel = Wheel::new(5);
        assert_eq!(wheel.deadline(), None);
        wheel.arm(3, 100);
        assert!(wheel.cancel(3));
        assert_eq!(wheel.deadline(), None);
        assert_eq!(wheel.pop(u64::MAX), None);
    }

    #[test]
    fn a_due_time_in_the_past_is_popped_next_and_keeps_its_value() {
        let mut wheel = Wheel::new(10 * HOUR);
        wheel.arm(1, 9 * HOUR);
        wheel.arm(2, 0);
        assert_eq!(wheel.deadline(), Some(9 * HOUR));
        assert_eq!(pop_all(&mut wheel, 10 * HOUR), [(1, 9 * HOUR), (2, 0)]);
    }

    #[test]
    fn timers_come_in_order_even_after_oversleeping() {
        let mut wheel = Wheel::new(0);
        for key in 0..1_000 {
            wheel.arm(key, 1 + u64::from(key * 7_919 % 1_000) * 977);
        }
        let dues: Vec<u64> = pop_all(&mut wheel, 40 * DAY).into_iter().map(|(_, due)| due).collect();
        assert_eq!(dues.len(), 1_000);
        assert!(dues.is_sorted());
    }

    #[test]
    fn equal_dues_armed_together_come_in_the_order_of_arming() {
        let mut wheel = Wheel::new(0);
        for key in [5, 3, 9, 1] {
            wheel.arm(key, 300_000);
        }
        let keys: Vec<u32> = pop_all(&mut wheel, 300_000).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, [5, 3, 9, 1]);
    }

    #[test]
    fn arming_again_moves_the_timer() {
        let mut wheel = Wheel::new(0);
        wheel.arm(4, 50);
        wheel.arm(4, 5_000);
        assert_eq!(wheel.len(), 1);
        assert_eq!(wheel.pop(4_999), None);
        assert_eq!(wheel.pop(5_000), Some((4, 5_000)));
    }

    #[test]
    fn a_timer_that_is_due_can_still_be_taken_back_or_moved() {
        let mut wheel = Wheel::new(0);
        for key in 0..4 {
            wheel.arm(key, 10);
        }
        assert_eq!(wheel.pop(10), Some((0, 10)));
        assert!(wheel.cancel(1));
        assert!(!wheel.cancel(1));
        wheel.arm(2, 20);
        assert_eq!(pop_all(&mut wheel, 10), [(3, 10)]);
        assert_eq!(pop_all(&mut wheel, 20), [(2, 20)]);
    }

    #[test]
    fn a_tick_armed_again_from_its_due_time_does_not_drift() {
        let mut wheel = Wheel::new(0);
        wheel.arm(0, 1_000);
        let mut ticks = Vec::new();
        for turn in 1..=100 {
            // Every turn is late by another amount.
            while let Some((key, due)) = wheel.pop(turn * 1_000 + turn * 37 % 400) {
                ticks.push(due);
                wheel.arm(key, due + 1_000);
            }
        }
        assert_eq!(ticks, (1..=100).map(|n| n * 1_000).collect::<Vec<_>>());
    }

    #[test]
    fn time_that_goes_back_has_not_moved() {
        let mut wheel = Wheel::new(1_000);
        assert_eq!(wheel.pop(500), None);
        wheel.arm(0, 1_000);
        wheel.arm(1, 1_001);
        assert_eq!(wheel.pop(3), Some((0, 1_000)));
        assert_eq!(wheel.pop(3), None);
        assert_eq!(wheel.pop(1_001), Some((1, 1_001)));
    }

    #[test]
    fn a_deadline_beyond_the_horizon_fires_at_the_horizon() {
        let mut wheel = Wheel::new(77);
        wheel.arm(0, 77 + HORIZON_MS + 1);
        wheel.arm(1, 77 + HORIZON_MS);
        wheel.arm(2, u64::MAX);
        assert_eq!(wheel.pop(77 + HORIZON_MS - 1), None);
        let horizon = 77 + HORIZON_MS;
        assert_eq!(pop_all(&mut wheel, horizon), [(0, horizon), (1, horizon), (2, horizon)]);
    }

    #[test]
    fn a_wheel_that_was_empty_for_a_month_is_wound_before_arming() {
        let mut wheel = Wheel::new(0);
        wheel.wind(30 * DAY);
        wheel.arm(0, 30 * DAY + 10 * SECOND);
        assert_eq!(wheel.pop(30 * DAY), None);
        assert_eq!(wheel.deadline(), Some(30 * DAY + 10 * SECOND));
        wheel.wind(40 * DAY);
        assert_eq!(wheel.pop(30 * DAY + 10 * SECOND), Some((0, 30 * DAY + 10 * SECOND)));
    }

    #[test]
    fn a_cancelled_timer_costs_at_most_one_idle_wake_up_per_slot() {
        let mut wheel = Wheel::new(0);
        // The same slot of level 1, so that the earlier one's moment is remembered.
        wheel.arm(0, 640);
        wheel.arm(1, 700);
        wheel.cancel(0);
        assert_eq!(wheel.deadline(), Some(640));
        assert_eq!(wheel.pop(640), None);
        assert_eq!(wheel.deadline(), Some(700));
    }

    #[test]
    fn a_key_costs_twelve_bytes() {
        let mut wheel = Wheel::new(0);
        wheel.arm(99_999, 1);
        assert_eq!(wheel.nodes.len() - FIRST, 100_000);
        assert_eq!(size_of_val(&wheel.nodes[FIRST..]), 1_200_000);
    }

    /// Random orders to a wheel and to a model of it: a sorted map.
    struct Trial {
        wheel: Wheel,
        armed: BTreeMap<u32, u64>,
        by_due: BTreeSet<(u64, u32)>,
        now_ms: u64,
        random: u64,
        /// Whether an idle wake-up is allowed: after a cancel, or a deadline past the span.
        lenient: bool,
    }

    /// What a trial does, in parts per hundred (the rest pops), and how far it reaches.
    struct Mix {
        start_ms: u64,
        keys: u32,
        arm: u64,
        cancel: u64,
        /// Whether an armed key may be armed again.
        rearm: bool,
        /// Dues lie within 2^0 to 2^this ms.
        reach_bits: u64,
        /// Sleeps take 2^0 to 2^this ms.
        sleep_bits: u64,
        /// One due in so many lies in the past; 0: none.
        past: u64,
    }

    impl Trial {
        fn new(mix: &Mix, seed: u64) -> Self {
            Trial {
                wheel: Wheel::new(mix.start_ms),
                armed: BTreeMap::new(),
                by_due: BTreeSet::new(),
                now_ms: mix.start_ms,
                random: seed,
                lenient: mix.cancel > 0 || mix.rearm || mix.reach_bits >= 24 || mix.past > 0,
            }
        }

        /// SplitMix64.
        fn roll(&mut self, below: u64) -> u64 {
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.random;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (word ^ (word >> 31)) % below
        }

        /// Small numbers as often as large ones.
        fn roll_bits(&mut self, bits: u64) -> u64 {
            let bits = self.roll(bits + 1);
            self.roll(1 << bits)
        }

        fn run(&mut self, mix: &Mix, steps: u32) {
            for step in 0..steps {
                let choice = self.roll(100);
                let key = self.roll(u64::from(mix.keys)) as u32;
                if choice < mix.arm {
                    self.arm(key, mix);
                } else if choice < mix.arm + mix.cancel {
                    let due = self.armed.remove(&key);
                    assert_eq!(self.wheel.cancel(key), due.is_some());
                    due.map(|due| self.by_due.remove(&(due, key)));
                } else {
                    self.sleep(mix);
                    // Who sleeps for hours has popped everything first: see the horizon.
                    let most = if mix.sleep_bits > 24 { u64::MAX } else { self.roll(20) };
                    self.pop(most);
                }
                self.compare(key);
                if step % 4_096 == 0 {
                    self.wheel.check_invariants();
                }
            }
            self.now_ms += 2 * HORIZON_MS;
            self.pop(u64::MAX);
            assert!(self.armed.is_empty() && self.wheel.is_empty());
        }

        fn arm(&mut self, key: u32, mix: &Mix) {
            if self.armed.contains_key(&key) && !mix.rearm {
                return;
            }
            let past = mix.past > 0 && self.roll(mix.past) == 0;
            let away = self.roll_bits(mix.reach_bits);
            let due = if past { self.now_ms.saturating_sub(away) } else { self.now_ms + 1 + away };
            self.wheel.arm(key, due);
            if let Some(before) = self.armed.insert(key, due) {
                self.by_due.remove(&(before, key));
            }
            self.by_due.insert((due, key));
        }

        /// For some time, or exactly until the next deadline, or just short of it.
        fn sleep(&mut self, mix: &Mix) {
            let until = match (self.roll(4), self.wheel.deadline()) {
                (0, Some(deadline)) => deadline,
                (1, Some(deadline)) => deadline.saturating_sub(1),
                _ => self.now_ms + self.roll_bits(mix.sleep_bits),
            };
            self.now_ms = self.now_ms.max(until);
        }

        fn pop(&mut self, most: u64) {
            for _ in 0..most {
                let earliest = self.by_due.first().copied();
                match self.wheel.pop(self.now_ms) {
                    Some((key, due)) => {
                        assert_eq!(self.armed.remove(&key), Some(due), "the popped due is the armed due");
                        assert!(due <= self.now_ms, "popped early");
                        assert!(self.lenient || Some(due) == earliest.map(|(due, _)| due), "out of order");
                        self.by_due.remove(&(due, key));
                    }
                    None => {
                        assert!(earliest.is_none_or(|(due, _)| due > self.now_ms), "popped late");
                        break;
                    }
                }
            }
        }

        fn compare(&self, key: u32) {
            assert_eq!(self.wheel.len(), self.armed.len());
            assert_eq!(self.wheel.due(key), self.armed.get(&key).copied());
            let earliest = self.by_due.first().map(|(due, _)| *due);
            let deadline = self.wheel.deadline();
            assert_eq!(deadline.is_some(), earliest.is_some());
            if self.lenient {
                // Of several that are overdue any may come first: what counts is that we do not sleep.
                assert!(deadline <= earliest.map(|due| due.max(self.now_ms)), "deadline too late");
            } else {
                assert_eq!(deadline, earliest);
            }
        }
    }

    impl Wheel {
        fn check_invariants(&self) {
            let mut linked = 0;
            for list in 0..FIRST {
                let (mut at, mut before) = (self.nodes[list].next as usize, list);
                let empty = at == list;
                while at != list {
                    assert_eq!(self.nodes[at].prev as usize, before, "a list is a circle");
                    if list < DUE {
                        assert!(
                            self.earliest_ms[list] <= self.due_at(at),
                            "the earliest moment is a lower bound"
                        );
                    }
                    linked += 1;
                    (before, at) = (at, self.nodes[at].next as usize);
                }
                assert_eq!(self.nodes[list].prev as usize, before);
                if list < DUE {
                    let bit = self.occupied[list / SLOTS] >> (list % SLOTS) & 1;
                    assert_eq!(bit == 0, empty, "the bitmap knows which lists are empty");
                    assert!(empty || self.earliest_ms[list] >= self.now_ms, "nothing behind the hand");
                }
            }
            assert_eq!(linked, self.len);
        }
    }

    const PLAIN: Mix = Mix {
        start_ms: 0,
        keys: 2_000,
        arm: 70,
        cancel: 0,
        rearm: false,
        reach_bits: 16,
        sleep_bits: 8,
        past: 0,
    };

    fn try_all(mixes: &[Mix]) {
        for (seed, mix) in mixes.iter().enumerate() {
            Trial::new(mix, seed as u64).run(mix, 250_000);
        }
    }

    #[test]
    fn a_wheel_does_exactly_what_a_sorted_map_does_while_nothing_is_cancelled() {
        try_all(&[
            PLAIN,
            Mix { start_ms: (1 << 32) - 50_000, keys: 50, arm: 40, ..PLAIN },
            Mix { start_ms: 1_699_999_999_999, reach_bits: 23, sleep_bits: 20, ..PLAIN },
            Mix { reach_bits: 6, sleep_bits: 3, keys: 200, ..PLAIN },
            Mix { reach_bits: 13, sleep_bits: 12, keys: 8, arm: 50, ..PLAIN },
        ]);
    }

    #[test]
    fn a_wheel_is_never_late_whatever_is_cancelled_moved_or_overslept() {
        try_all(&[
            Mix { start_ms: (1 << 32) - 500, cancel: 10, rearm: true, past: 10, ..PLAIN },
            Mix { arm: 48, cancel: 48, rearm: true, reach_bits: 20, ..PLAIN },
            Mix { arm: 85, rearm: true, reach_bits: 17, keys: 300, ..PLAIN },
            // Past the span of the hands, and sleeping longer than it.
            Mix { reach_bits: 30, sleep_bits: 28, keys: 100, arm: 40, cancel: 5, ..PLAIN },
            Mix { start_ms: 7, reach_bits: 30, sleep_bits: 32, rearm: true, past: 4, ..PLAIN },
        ]);
    }
}
