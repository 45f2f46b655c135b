//! The tail of a channel's part of the log.
//!
//! Bounded by count, bytes and age, whichever is reached first. What falls out raises the
//! *floor*: whoever asks for something below it is told that messages are gone, never
//! silently given the rest.
//!
//! Knows: messages and their limits. Never learns who reads them.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::config::ChannelLimits;
use crate::log::Message;

/// A channel's retained messages, oldest first.
#[derive(Debug)]
pub struct History {
    /// Nothing in most channels there are: nothing was said there lately.
    tail: Option<Box<Tail>>,
    /// Every message of this channel with a greater id is in the tail.
    floor: u64,
}

/// Invariant: ids strictly increase from front to back, and all are above the floor. Not empty.
#[derive(Debug)]
struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
}

const _: () = assert!(size_of::<History>() == 16);

/// The entries of a history that has none.
const NO_ENTRIES: &VecDeque<Entry> = &VecDeque::new();

#[derive(Debug)]
struct Entry {
    message: Rc<Message>,
    /// When it came, on the monotonic clock: before zero, if the machine has been started since.
    stored_ms: i64,
}

impl Entry {
    fn expires_ms(&self, limits: &ChannelLimits) -> u64 {
        u64::try_from(self.stored_ms.saturating_add_unsigned(limits.age_ms)).unwrap_or(0)
    }
}

impl History {
    /// An empty history that answers for everything after `floor`.
    pub fn new(floor: u64) -> Self {
        History { tail: None, floor }
    }

    /// Appends, and drops from the front whatever no longer fits. The newest message always
    /// fits, however large: those who wait for it have not read it yet.
    pub fn push(&mut self, message: Rc<Message>, now_ms: u64, limits: &ChannelLimits) {
        self.push_aged(message, 0, now_ms, limits);
    }

    /// The same with a message that came so many milliseconds ago, before this server began.
    pub fn push_aged(&mut self, message: Rc<Message>, age_ms: u64, now_ms: u64, limits: &ChannelLimits) {
        debug_assert!(message.id > self.newest().map_or(self.floor, |newest| newest.id));
        let tail = self.tail.get_or_insert_with(|| Box::new(Tail { entries: VecDeque::new(), bytes: 0 }));
        tail.bytes += message.weight();
        tail.entries.push_back(Entry { message, stored_ms: now_ms as i64 - age_ms as i64 });
        while self.len() > limits.messages_max || self.bytes() > limits.bytes_max && self.len() > 1 {
            self.drop_oldest();
        }
        self.expire(now_ms, limits);
    }

    /// Drops what is too old. Returns when to look again, in milliseconds of the monotonic clock.
    pub fn expire(&mut self, now_ms: u64, limits: &ChannelLimits) -> Option<u64> {
        while let Some(oldest) = self.entries().front() {
            let expires_ms = oldest.expires_ms(limits);
            if expires_ms > now_ms {
                return Some(expires_ms);
            }
            self.drop_oldest();
        }
        None
    }

    /// The oldest retained message after `cursor`.
    pub fn first_after(&self, cursor: u64) -> Option<&Rc<Message>> {
        self.after(cursor).next()
    }

    /// The retained messages after `cursor`, oldest first.
    pub fn after(&self, cursor: u64) -> impl Iterator<Item = &Rc<Message>> {
        let entries = self.entries();
        // Nearly always only the last one is asked for, or nothing: that needs no search.
        let position = match entries.len().checked_sub(2).map(|i| entries[i].message.id) {
            Some(last_but_one) if last_but_one <= cursor => {
                entries.len() - usize::from(entries[entries.len() - 1].message.id > cursor)
            }
            _ => entries.partition_point(|entry| entry.message.id <= cursor),
        };
        entries.range(position..).map(|entry| &entry.message)
    }

    /// The retained messages after `cursor`, up to `until`, oldest first.
    pub fn between(&self, cursor: u64, until: u64) -> impl DoubleEndedIterator<Item = &Rc<Message>> {
        let entries = self.entries();
        let end = entries.partition_point(|entry| entry.message.id <= until);
        let start = entries.partition_point(|entry| entry.message.id <= cursor).min(end);
        entries.range(start..end).map(|entry| &entry.message)
    }

    /// The ids of the retained messages, newest first.
    pub fn ids_backwards(&self) -> impl Iterator<Item = u64> {
        self.entries().iter().rev().map(|entry| entry.message.id)
    }

    /// The position below which messages may be missing.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// What the retained messages weigh, in bytes.
    pub fn bytes(&self) -> usize {
        self.tail.as_ref().map_or(0, |tail| tail.bytes)
    }

    /// How many messages are retained.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Drops everything up to the message `id`, that one included.
    pub fn forget_through(&mut self, id: u64) {
        while self.oldest().is_some_and(|oldest| oldest.id <= id) {
            self.drop_oldest();
        }
    }

    /// Drops messages from the front until at most `bytes` are left, but never the newest: those
    /// who wait for it have not read it yet. Returns how many went.
    pub fn shrink_to(&mut self, bytes: usize) -> usize {
        let before = self.len();
        while self.bytes() > bytes && self.len() > 1 {
            self.drop_oldest();
        }
        before - self.len()
    }

    /// The oldest retained message.
    pub fn oldest(&self) -> Option<&Rc<Message>> {
        self.entries().front().map(|entry| &entry.message)
    }

    /// The newest retained message.
    pub fn newest(&self) -> Option<&Rc<Message>> {
        self.entries().back().map(|entry| &entry.message)
    }

    /// Whether no message is retained.
    pub fn is_empty(&self) -> bool {
        self.tail.is_none()
    }

    /// Whether the order is strict, the sum is right, and the limits are kept. Returns when the oldest message expires.
    #[cfg(debug_assertions)]
    pub fn check_invariants(&self, limits: &ChannelLimits) -> Option<u64> {
        let (mut last, mut bytes) = (self.floor, 0);
        for Entry { message, .. } in self.entries() {
            assert!(message.id > last, "{} comes after {last} in a history", message.id);
            last = message.id;
            bytes += message.weight();
        }
        assert_eq!(bytes, self.bytes(), "a history does not weigh what it says");
        assert!(self.len() <= limits.messages_max, "{} messages in a history", self.len());
        assert!(self.len() <= 1 || bytes <= limits.bytes_max, "{bytes} bytes in a history");
        self.entries().front().map(|oldest| oldest.expires_ms(limits))
    }

    fn entries(&self) -> &VecDeque<Entry> {
        self.tail.as_ref().map_or(NO_ENTRIES, |tail| &tail.entries)
    }

    fn drop_oldest(&mut self) {
        let tail = self.tail.as_mut();
        let Tail { entries, bytes } = &mut **tail.expect("only a history over its limits is asked to drop");
        let oldest = entries.pop_front().expect("a tail is not empty");
        *bytes -= oldest.message.weight();
        self.floor = oldest.message.id;
        if entries.is_empty() {
            self.tail = None;
        } else if entries.len() * 4 < entries.capacity() && entries.capacity() > 8 {
            // A burst must not leave its high-water mark allocated in every channel it touched.
            entries.shrink_to(entries.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Slow;

    const LIMITS: &ChannelLimits =
        &ChannelLimits { messages_max: 3, bytes_max: 10_000, age_ms: 1_000, gather_ms: 0, slow: Slow::Gap };

    fn message(id: u64, data: &str) -> Rc<Message> {
        Rc::new(Message { id, event: None, data: data.into() })
    }

    fn ids(history: &History) -> Vec<u64> {
        history.entries().iter().map(|entry| entry.message.id).collect()
    }

    #[test]
    fn the_count_limit_keeps_the_newest_and_raises_the_floor() {
        let mut history = History::new(5);
        for id in 11..=14 {
            assert_eq!(history.floor, 5, "three messages fit");
            history.push(message(id, "x"), 0, LIMITS);
        }
        assert_eq!(ids(&history), [12, 13, 14]);
        assert_eq!(history.floor, 11);
    }

    #[test]
    fn the_byte_limit_holds_exactly() {
        let one = message(1, "12345").weight();
        let limits = &ChannelLimits { bytes_max: 2 * one, ..*LIMITS };
        let mut history = History::new(0);
        history.push(message(1, "12345"), 0, limits);
        history.push(message(2, "12345"), 0, limits);
        assert_eq!(ids(&history), [1, 2]);
        history.push(message(3, "123456"), 0, limits);
        assert_eq!(ids(&history), [3]);
    }

    #[test]
    fn a_message_is_readable_until_its_age_and_not_after() {
        let mut history = History::new(0);
        history.push(message(1, "x"), 100, LIMITS);
        history.push(message(2, "x"), 600, LIMITS);
        assert_eq!(history.expire(1_099, LIMITS), Some(1_100));
        assert_eq!(history.expire(1_100, LIMITS), Some(1_600));
        assert_eq!(ids(&history), [2]);
        assert_eq!(history.expire(1_600, LIMITS), None);
        assert_eq!((history.is_empty(), history.floor), (true, 2));
    }

    #[test]
    fn a_message_that_is_older_than_the_machine_is_up_expires_in_its_time() {
        let mut history = History::new(0);
        history.push_aged(message(1, "x"), 1_000, 100, LIMITS);
        assert!(history.is_empty() && history.floor == 1, "it was too old when it came");
        history.push_aged(message(2, "x"), 900, 100, LIMITS);
        history.push_aged(message(3, "x"), 20, 100, LIMITS);
        assert_eq!(history.expire(199, LIMITS), Some(200));
        assert_eq!(history.expire(200, LIMITS), Some(1_080));
    }

    #[test]
    fn a_reader_finds_the_oldest_message_it_lacks() {
        let mut history = History::new(0);
        for id in [10, 20, 30] {
            history.push(message(id, "x"), 0, LIMITS);
        }
        let after = |cursor| history.first_after(cursor).map(|message| message.id);
        assert_eq!([after(0), after(10), after(19), after(29)], [Some(10), Some(20), Some(20), Some(30)]);
        assert_eq!(after(30), None);
    }

    /// A history as one would write it down without thinking of speed.
    struct Naive {
        /// Id, weight, and when it came.
        kept: Vec<(u64, usize, u64)>,
        /// The newest that was ever dropped, or where everything began.
        floor: u64,
    }

    impl Naive {
        /// Drops from the front while `too_much` says so.
        fn drop_while(&mut self, too_much: impl Fn(&[(u64, usize, u64)]) -> bool) {
            while !self.kept.is_empty() && too_much(&self.kept) {
                self.floor = self.kept.remove(0).0;
            }
        }

        fn bytes(kept: &[(u64, usize, u64)]) -> usize {
            kept.iter().map(|(_, weight, _)| weight).sum()
        }
    }

    #[derive(Clone, Debug)]
    enum Act {
        Push(usize),
        Expire,
        ShrinkTo(usize),
        ForgetThrough(u64),
    }

    fn act() -> impl Strategy<Value = (Act, u64)> {
        let act = prop_oneof![
            4 => (0..200_usize).prop_map(Act::Push),
            1 => Just(Act::Expire),
            1 => (0..500_usize).prop_map(Act::ShrinkTo),
            1 => (0..200_u64).prop_map(Act::ForgetThrough),
        ];
        (act, 0..300_u64)
    }

    proptest! {
        #[test]
        fn a_history_keeps_what_a_naive_list_keeps(
            acts in prop::collection::vec(act(), 0..60),
            (messages_max, bytes_max, age_ms) in (1..8_usize, 1..1_000_usize, 1..1_000_u64),
        ) {
            let limits = &ChannelLimits { messages_max, bytes_max, age_ms, ..*LIMITS };
            let (mut history, mut naive) = (History::new(5), Naive { kept: Vec::new(), floor: 5 });
            let (mut now_ms, mut id) = (0, 5);
            for (act, later_ms) in acts {
                now_ms += later_ms;
                let is_old = |kept: &[(u64, usize, u64)]| kept[0].2 + age_ms <= now_ms;
                match act {
                    Act::Push(length) => {
                        id += 1 + later_ms % 7;
                        let said = message(id, &"x".repeat(length));
                        naive.kept.push((id, said.weight(), now_ms));
                        history.push(said, now_ms, limits);
                        naive.drop_while(|kept| {
                            kept.len() > messages_max || kept.len() > 1 && Naive::bytes(kept) > bytes_max
                        });
                        naive.drop_while(is_old);
                    }
                    Act::Expire => {
                        naive.drop_while(is_old);
                        let next = naive.kept.first().map(|(_, _, stored_ms)| stored_ms + age_ms);
                        prop_assert_eq!(history.expire(now_ms, limits), next);
                    }
                    Act::ShrinkTo(bytes) => {
                        let before = naive.kept.len();
                        naive.drop_while(|kept| kept.len() > 1 && Naive::bytes(kept) > bytes);
                        prop_assert_eq!(history.shrink_to(bytes), before - naive.kept.len());
                    }
                    Act::ForgetThrough(through) => {
                        naive.drop_while(|kept| kept[0].0 <= through);
                        history.forget_through(through);
                    }
                }
                let kept: Vec<u64> = naive.kept.iter().map(|(id, _, _)| *id).collect();
                prop_assert_eq!(ids(&history), kept.clone());
                prop_assert_eq!((history.floor(), history.len()), (naive.floor, kept.len()));
                prop_assert_eq!(history.bytes(), Naive::bytes(&naive.kept));
                prop_assert_eq!(history.is_empty(), kept.is_empty());
                // Every cursor there could be: before, at, between and behind the messages.
                for cursor in kept.iter().flat_map(|id| [id - 1, *id, id + 1]).chain([0, naive.floor, u64::MAX]) {
                    let after: Vec<u64> = history.after(cursor).map(|message| message.id).collect();
                    let expected: Vec<u64> = kept.iter().copied().filter(|id| *id > cursor).collect();
                    prop_assert_eq!(after, expected, "after {}", cursor);
                }
                // Whoever has the floor or more lacks nothing that was said since and is not kept.
                prop_assert!(kept.iter().all(|id| *id > history.floor()));
            }
        }
    }
}
