//! What must hold in the hub between any two doors of the engine. Debug builds check all of it.
//!
//! Two books are kept about who sits where: a connection's phase names its seat, and the seat names
//! the connection. Both are read here, entry by entry, and must say the same.
//!
//! Knows: everything in the hub, and the connections' side of the books. Never changes anything.

use std::collections::HashMap;

use super::channel::Channel;
use super::{EXPIRY_GRAIN_MS, Hub, Seat};

/// A connection's side of the books.
#[derive(Clone, Copy)]
pub(crate) struct Sitting {
    /// The connection's slot.
    pub(crate) member: u32,
    /// Where it says it sits.
    pub(crate) seat: Seat,
    /// Whether it is about to be buried.
    pub(crate) is_dying: bool,
}

impl Hub {
    /// How much there is to look at.
    pub(crate) fn size(&self) -> usize {
        self.channels.iter().map(|(_, channel)| 1 + channel.history.len()).sum::<usize>() + self.several.len()
    }

    /// Panics if anything is not as it must be. `sittings` are all connections that say they sit here,
    /// and `awaited` is how many messages the log has yet to store.
    pub(crate) fn check_invariants(&self, sittings: &[Sitting], awaited: usize) {
        let mut behind = HashMap::new();
        let (mut in_rows, mut beside, mut listeners) = (0, 0, 0);
        for &sitting in sittings {
            self.check_seat(sitting);
            match sitting.seat {
                Seat::Section { .. } => in_rows += 1,
                Seat::Beside { .. } => beside += 1,
                Seat::Behind { section, channel, .. } => {
                    *behind.entry((channel, section)).or_insert(0) += 1;
                }
                Seat::Several { .. } => listeners += 1,
                Seat::None => {}
            }
        }
        assert_eq!(listeners, self.several.len(), "listeners to several channels whom no connection knows");
        let channels = || self.channels.iter().map(|(key, channel)| (key as u32, channel));
        let seated = channels().flat_map(|(_, c)| c.sections.iter().map(|s| s.row.len())).sum::<usize>();
        assert_eq!(in_rows, seated, "members of rows whom no connection knows");
        let waiting = channels().filter_map(|(_, c)| Some(c.aside.as_ref()?.beside.len())).sum::<usize>();
        assert_eq!(beside, waiting, "members beside whom no connection knows");
        let chairs = self.several.iter().map(|(_, one)| one.chairs.len()).sum::<usize>();
        let in_rows_of_several = channels().map(|(_, channel)| channel.several().len()).sum::<usize>();
        assert_eq!(chairs, in_rows_of_several, "chairs that are in no row, or the reverse");
        assert_eq!(self.names.len(), self.channels.len(), "channels without a name");
        let reserved = channels().map(|(_, channel)| channel.awaited() as usize).sum::<usize>();
        assert_eq!(
            awaited, reserved,
            "channels are kept open for what the log does not know, or the reverse"
        );
        for (key, channel) in channels() {
            self.check_channel(key, channel);
            self.check_users(key, channel, &behind);
            self.check_queues(key, channel);
        }
        let first_ms = channels().filter_map(|(key, _)| self.ages.due(key)).min();
        let is_awaited = self.ages.deadline().unwrap_or(u64::MAX) <= first_ms.unwrap_or(u64::MAX);
        assert!(is_awaited, "the oldest message of a channel would be forgotten too late");
        let queued = channels().filter(|(_, channel)| channel.queued).count();
        assert_eq!(self.fresh.len() + self.begun.len(), queued, "a channel is queued twice, or is no more");
        let bytes: usize = channels().map(|(_, channel)| channel.history.bytes()).sum();
        assert_eq!(bytes, self.history_bytes, "all histories do not weigh what the hub says");
        let is_at_least = channels().any(|(_, channel)| channel.history.len() == 1);
        assert!(bytes <= self.history_budget || is_at_least, "{bytes} bytes are above the budget");
    }

    /// A connection says that it sits here: so does the seat.
    fn check_seat(&self, Sitting { member, seat, is_dying }: Sitting) {
        let channel_of =
            |key: u32| self.channels.get(key as usize).expect("a seat in a channel that is gone");
        match seat {
            Seat::Section { section, channel, place } => {
                let row = &channel_of(channel).sections[usize::from(section)].row;
                assert_eq!(row.at(place), Some(member), "somebody else sits at the place of {member}");
            }
            Seat::Beside { section, channel, place } => {
                let channel = channel_of(channel);
                let one =
                    &channel.aside.as_ref().expect("a place beside is kept aside").beside[place as usize];
                assert_eq!((one.member, one.section), (member, section), "somebody else waits beside");
                assert!(one.cursor >= channel.swept, "{member} waits beside, and lacks what was swept");
            }
            Seat::Behind { channel, cursor, .. } => {
                channel_of(channel);
                assert!(cursor <= self.log.head(), "{member} is behind, and ahead of the log");
            }
            Seat::Several { key } => {
                let one = self.several.get(key as usize).expect("a listener who is gone");
                assert_eq!(one.member, member, "two connections listen as one");
                assert!(one.chairs.len() >= 2, "several channels are at least two");
                for (nth, chair) in one.chairs.iter().enumerate() {
                    let row = channel_of(chair.channel).several();
                    assert_eq!(row.at(chair.place), Some(key), "somebody else sits on a chair of {member}");
                    let is_double = one.chairs[..nth].iter().any(|other| other.channel == chair.channel);
                    assert!(!is_double, "two chairs in one channel");
                }
                let channels = || one.chairs.iter().map(|chair| channel_of(chair.channel));
                let is_settled = !one.behind && !is_dying && channels().all(Channel::at_rest);
                assert!(
                    !is_settled || channels().all(|channel| channel.head <= one.cursor),
                    "{member} lacks something that nobody will bring"
                );
            }
            Seat::None => {}
        }
    }

    fn check_channel(&self, key: u32, channel: &Channel) {
        let name = &channel.name;
        assert_eq!(self.names.get(name), Some(&key), "{name} is known by another key");
        assert!(channel.swept <= channel.head, "{name} was swept up to what was never said");
        let expires_ms = channel.history.check_invariants(&channel.limits);
        assert!(channel.history.floor() <= channel.head, "{name} forgot what was never said");
        assert!(channel.head <= self.log.head(), "{name} is ahead of the log");
        if let Some(newest) = channel.history.newest() {
            assert_eq!(newest.id, channel.head, "the newest message of {name} is not its head");
        }
        if let Some(expires_ms) = expires_ms {
            let due_ms = self.ages.due(key);
            let is_due = due_ms.is_some_and(|due_ms| due_ms <= expires_ms.next_multiple_of(EXPIRY_GRAIN_MS));
            assert!(is_due, "nobody will forget the oldest message of {name}");
            assert!(
                self.ages.deadline() <= due_ms,
                "the oldest message of {name} would be forgotten too late"
            );
        }
        assert!(!channel.is_forgettable() || self.gathers.is_armed(key), "nobody would miss {name}");
        let Some(aside) = &channel.aside else { return };
        aside.several.check_invariants();
        assert!(aside.deleted <= channel.head, "{name} is to delete what was never said");
        if let Some(sweep) = &aside.sweep {
            sweep.check_invariants(channel);
        }
    }

    /// Who counts on a section is in its row, beside it, or behind.
    fn check_users(&self, key: u32, channel: &Channel, behind: &HashMap<(u32, u8), usize>) {
        for (index, section) in channel.sections.iter().enumerate() {
            section.row.check_invariants();
            let beside = channel.aside.iter().flat_map(|aside| &aside.beside);
            let beside = beside.filter(|one| usize::from(one.section) == index).count();
            let behind = behind.get(&(key, index as u8)).copied().unwrap_or_default();
            let (users, name) = (section.users as usize, &channel.name);
            assert_eq!(users, section.row.len() + beside + behind, "users of section {index} of {name}");
            let is_double = channel.sections[..index]
                .iter()
                .any(|other| other.users > 0 && users > 0 && other.framing == section.framing);
            assert!(!is_double, "two sections of {name} have one framing");
        }
    }

    /// What is to be done will be done.
    fn check_queues(&self, key: u32, channel: &Channel) {
        let (name, aside) = (&channel.name, channel.aside.as_ref());
        let queued =
            [&self.fresh, &self.begun].map(|queue| queue.iter().filter(|&&queued| queued == key).count());
        assert_eq!(queued.iter().sum::<usize>(), usize::from(channel.queued), "{name} in {queued:?}");
        let is_served = channel.queued || self.gathers.is_armed(key);
        assert!(!channel.is_active() || is_served, "what was said in {name} waits for nobody");
        let is_under_way = channel.sweep().is_some();
        assert!(!is_under_way || queued == [0, 1], "the sweep of {name} has stopped");
        let is_awaited = aside.is_some_and(|aside| !aside.beside.is_empty());
        assert!(!is_awaited || channel.is_active(), "some wait beside {name}, and no sweep will end");
        let has_tick = aside.is_some_and(|aside| aside.tick.is_some());
        assert!(
            !has_tick || channel.ticker.is_some() && channel.queued,
            "a tick of {name} that nobody sends"
        );
        if let Some(ticker) = channel.ticker.filter(|_| channel.subscribers() > 0 && !self.hushed) {
            assert!(self.beats.is_armed(u32::from(ticker)), "the ticker of {name} has stopped");
        }
    }
}
