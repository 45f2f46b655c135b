//! Storing: publishers that wait for a log that takes time.
//!
//! A log on a disk must not stop the loop. So it lives somewhere else, takes what is to be stored from
//! [`unstored`](Engine::unstored), and answers through [`stored`](Engine::stored), in the same order. Until then
//! nobody hears the message and its publisher waits, with whatever it has sent behind it: whoever is answered
//! 201 has a message that is in the log.
//!
//! Nobody waits for ever. After `store-timeout` a publisher is told that nobody knows what will become of its
//! message; if it is stored later, it is heard like any other. And when more waits than `unstored-bytes-max`,
//! the next one is refused at once.
//!
//! Knows: what waits, and for whom. Never learns what the log is.

use std::collections::VecDeque;

use crate::config::Limits;
use crate::dialect::native;
use crate::hub::Reservation;
use crate::kit::clock::Now;
use crate::kit::id::ConnId;
use crate::wire::json::Publication;
use crate::wire::refusal::Refusal;

use super::Engine;
use super::conn::{Mark, Phase, Socket};
use super::receipts::Receipt;

/// What wants to be in the log: all of it or nothing.
#[derive(Debug, PartialEq, Eq)]
pub struct Unstored {
    /// The messages, in their order.
    pub publications: Vec<Publication>,
    /// Whether their channels forget what was said before.
    pub deletes: bool,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Stored {
    /// What it was.
    pub what: Unstored,
    /// The id of its first message, greater than all before; those of the others follow it one by one. `None`: the log
    /// could not store it, and has nothing of it.
    pub first_id: Option<u64>,
}

/// Something that the log has not answered for.
struct Waiting {
    /// Who hears of it: nobody any more if he was told that it takes too long.
    publisher: Option<(ConnId, Receipt)>,
    reservation: Reservation,
    weight: usize,
    /// When its publisher has waited for long enough, in milliseconds of the monotonic clock.
    due_ms: u64,
}

/// All that is on its way to the log and back.
pub(super) struct Storing {
    /// What the log has not taken yet.
    queue: Vec<Unstored>,
    /// Invariant: one for each that has no answer yet, in the order in which they were said; so the moments in it
    /// never go back.
    waiting: VecDeque<Waiting>,
    /// So many of them, the first, wait for nobody any more.
    overdue: usize,
    weight: usize,
    weight_max: usize,
    timeout_ms: u64,
}

impl Storing {
    fn new(limits: &Limits) -> Self {
        Storing {
            queue: Vec::new(),
            waiting: VecDeque::new(),
            overdue: 0,
            weight: 0,
            weight_max: limits.unstored_bytes_max,
            timeout_ms: limits.store_timeout_ms,
        }
    }

    /// Whether there is room for it. There always is for one alone, or the largest could never be said.
    fn has_room_for(&self, what: &Unstored) -> bool {
        self.waiting.is_empty() || self.weight + what.weight() <= self.weight_max
    }

    /// Takes one from the front: the log has answered for it.
    fn pop(&mut self) -> Waiting {
        let waiting = self.waiting.pop_front().expect("a log answers for what it was given, and once");
        self.weight -= waiting.weight;
        self.overdue = self.overdue.saturating_sub(1);
        waiting
    }

    /// Whoever has waited since before `now_ms` for longer than anybody should.
    fn pop_overdue(&mut self, now_ms: u64) -> Option<(ConnId, Receipt)> {
        while let Some(waiting) = self.waiting.get_mut(self.overdue).filter(|one| one.due_ms <= now_ms) {
            self.overdue += 1;
            if let Some(publisher) = waiting.publisher.take() {
                return Some(publisher);
            }
        }
        None
    }
}

impl Unstored {
    /// What it counts for while it waits, in bytes: what is in it, and a fixed share for what holds it.
    fn weight(&self) -> usize {
        let event = |one: &Publication| one.event.as_ref().map_or(0, String::len);
        let texts = |one: &Publication| one.channel.len() + one.data.len() + event(one);
        let each = |one| size_of::<Publication>() + size_of::<u32>() + texts(one);
        size_of::<Unstored>() + size_of::<Waiting>() + self.publications.iter().map(each).sum::<usize>()
    }
}

impl<S: Socket> Engine<S> {
    /// From now on the log is kept by somebody else, who asks for what is [unstored](Engine::unstored) and says what is
    /// [stored](Engine::stored). It has given ids up to `head`; what it has forgotten is at most as new as `floor`.
    pub fn log_elsewhere(&mut self, head: u64, floor: u64) {
        self.storing = Some(Box::new(Storing::new(&self.crowd.limits)));
        self.hub.log_elsewhere(head, floor);
    }

    /// Of this channel the log has forgotten everything up to here. To be said before any of its messages.
    pub fn recall_floor(&mut self, channel: &str, floor: u64) {
        self.hub.recall_floor(channel, floor);
    }

    /// The log has this message from before; none that is older follows. `id` is at least 1.
    pub fn recall(&mut self, publication: Publication, id: u64, now: Now) {
        self.hub.recall(publication, id, now);
    }

    /// Takes what the log need not keep any longer: of each of these channels everything up to the id beside it.
    pub fn outdated(&mut self) -> impl Iterator<Item = (String, u64)> {
        self.hub.outdated()
    }

    /// Takes what the log is to store next. To be asked for at the end of every turn.
    pub fn unstored(&mut self) -> impl Iterator<Item = Unstored> {
        self.storing.iter_mut().flat_map(|storing| storing.queue.drain(..))
    }

    /// The log has answered for what came out of [`unstored`](Engine::unstored), in the same order.
    pub fn stored(&mut self, results: impl IntoIterator<Item = Stored>, now: Now) {
        self.crowd.tell_time(now);
        for Stored { mut what, first_id } in results {
            let storing = self.storing.as_mut().expect("a log is kept elsewhere");
            let Waiting { publisher, reservation, .. } = storing.pop();
            let outcome = match first_id {
                // Who still listens has been bidden farewell, and hears of it from whoever comes after us.
                Some(_) if self.check_not_deaf().is_err() => {
                    self.hub.give_up(reservation);
                    continue;
                }
                Some(id) => {
                    self.append(&mut what, reservation, id);
                    Ok(id)
                }
                None => {
                    self.hub.give_up(reservation);
                    self.crowd.stats.store_failures += 1;
                    Err(Refusal::new(503, NOT_STORED))
                }
            };
            if let Some((publisher, receipt)) = publisher {
                self.tell(publisher, receipt, &what, outcome);
            }
        }
        self.check_invariants();
    }

    /// Publishes for a peer, whose address may say so much and no more. It is told by its receipt: now, or when the log
    /// has stored it.
    pub(super) fn publish_for(&mut self, index: u32, what: Unstored, receipt: Receipt) {
        let (now, messages) = (self.crowd.now, what.publications.len());
        let reserved = match self.crowd.addresses.may_publish(index, messages, now) {
            Ok(()) => self.reserve(&what),
            Err(refusal) => {
                self.crowd.stats.rate_limited += 1;
                Err(refusal)
            }
        };
        let reservation = match reserved {
            Ok(reservation) => reservation,
            Err(refusal) => return self.confirm(index, receipt, &what, Err(refusal)),
        };
        self.crowd.addresses.has_published(index, messages, now);
        if self.storing.is_none() {
            let mut what = what;
            let first_id = self.hub.next_id(now);
            self.append(&mut what, reservation, first_id);
            return self.confirm(index, receipt, &what, Ok(first_id));
        }
        if matches!(receipt, Receipt::Command(_)) {
            self.crowd[index].marks.set(Mark::Storing);
        } else {
            self.crowd[index].phase = Phase::Storing;
            self.crowd.arm_in(index, self.crowd.limits.write_timeout_ms);
        }
        let publisher = self.crowd.id(index);
        self.queue(what, reservation, Some((publisher, receipt)));
    }

    /// Publishes for an embedder. Returns the ids, if the log is kept here.
    pub(super) fn publish_inside(&mut self, publications: Vec<Publication>) -> Result<Vec<u64>, Refusal> {
        let mut what = Unstored { publications, deletes: false };
        let reservation = self.reserve(&what)?;
        if self.storing.is_some() {
            self.queue(what, reservation, None);
            return Ok(Vec::new());
        }
        let first_id = self.hub.next_id(self.crowd.now);
        self.append(&mut what, reservation, first_id);
        Ok((first_id..).take(what.publications.len()).collect())
    }

    /// Whether it may be said, and room for it.
    fn reserve(&mut self, what: &Unstored) -> Result<Reservation, Refusal> {
        self.check_not_deaf()?;
        let longest = what.publications.iter().map(|publication| publication.data.len()).max();
        let bytes_max = self.crowd.limits.message_bytes_max;
        if longest > Some(bytes_max) {
            return Err(native::too_long(bytes_max));
        }
        if what.deletes && !what.publications.iter().all(|last| self.hub.has_channel(&last.channel)) {
            return Err(Refusal::new(404, "there is no such channel: nobody listens and nothing is kept"));
        }
        if self.storing.as_ref().is_some_and(|storing| !storing.has_room_for(what)) {
            self.crowd.stats.store_refusals += 1;
            return Err(Refusal::new(503, TOO_FAR_BEHIND));
        }
        self.hub.reserve(&what.publications)
    }

    fn queue(&mut self, what: Unstored, reservation: Reservation, publisher: Option<(ConnId, Receipt)>) {
        let storing = self.storing.as_mut().expect("a log that is kept here has no queue");
        let weight = what.weight();
        let due_ms = self.crowd.now.mono_ms() + storing.timeout_ms;
        storing.weight += weight;
        storing.waiting.push_back(Waiting { publisher, reservation, weight, due_ms });
        storing.queue.push(what);
    }

    /// It is in the log, and so may be heard. Takes its texts.
    fn append(&mut self, what: &mut Unstored, reservation: Reservation, first_id: u64) {
        let now = self.crowd.now;
        if what.deletes {
            self.hub.delete(reservation, first_id, now);
        } else {
            self.hub.store(reservation, &mut what.publications, first_id, now);
        }
    }

    /// Tells a publisher that has waited, if it is still there, and goes on with what it has sent meanwhile.
    fn tell(&mut self, publisher: ConnId, receipt: Receipt, what: &Unstored, outcome: Result<u64, Refusal>) {
        let Some(index) = self.crowd.find(publisher) else { return };
        self.crowd[index].marks.clear(Mark::Storing);
        let has_more = self.crowd[index].has_unserved_input();
        self.confirm(index, receipt, what, outcome);
        if has_more {
            self.crowd.look_again(index);
        }
    }

    /// Whoever has waited for too long is told so.
    pub(super) fn tell_the_overdue(&mut self) {
        for _ in 0..self.pace.fired_per_turn {
            let now_ms = self.crowd.now.mono_ms();
            let Some(storing) = &mut self.storing else { return };
            let Some((publisher, receipt)) = storing.pop_overdue(now_ms) else { return };
            self.tell_unknown(publisher, receipt);
        }
    }

    /// Nobody waits any more.
    pub(super) fn tell_all_who_wait(&mut self) {
        while let Some(storing) = &mut self.storing
            && let Some((publisher, receipt)) = storing.pop_overdue(u64::MAX)
        {
            self.tell_unknown(publisher, receipt);
        }
    }

    fn tell_unknown(&mut self, publisher: ConnId, receipt: Receipt) {
        self.crowd.stats.store_timeouts += 1;
        let nothing = Unstored { publications: Vec::new(), deletes: false };
        self.tell(publisher, receipt, &nothing, Err(Refusal::new(503, UNKNOWN)));
    }

    /// When the next publisher has waited for too long, in milliseconds of the monotonic clock.
    pub(super) fn storing_deadline_ms(&self) -> Option<u64> {
        let storing = self.storing.as_ref()?;
        storing.waiting.get(storing.overdue).map(|waiting| waiting.due_ms)
    }

    /// Whether the log has yet to answer for something.
    pub(super) fn is_storing(&self) -> bool {
        self.storing.as_ref().is_some_and(|storing| !storing.waiting.is_empty())
    }

    /// How many messages the log has to answer for.
    #[cfg(debug_assertions)]
    pub(super) fn check_storing(&self) -> usize {
        let Some(storing) = &self.storing else { return 0 };
        let Storing { waiting, overdue, .. } = &**storing;
        assert!(storing.queue.len() <= waiting.len(), "the log was given what nobody waits for");
        assert!(waiting.iter().is_sorted_by_key(|one| one.due_ms), "who came later is told earlier");
        assert!(waiting.iter().take(*overdue).all(|one| one.publisher.is_none()), "somebody is told twice");
        let weight: usize = waiting.iter().map(|one| one.weight).sum();
        assert_eq!(weight, storing.weight, "what waits for the log does not weigh what it says");
        let publishers = waiting.iter().filter_map(|one| self.crowd.find(one.publisher.as_ref()?.0));
        let waits = |index: &u32| {
            matches!(self.crowd[*index].phase, Phase::Storing) || self.crowd[*index].marks.has(Mark::Storing)
        };
        let mut awaited: Vec<u32> = publishers.collect();
        let expected =
            self.crowd.indices().into_iter().filter(|&index| !self.crowd[index].is_dead()).filter(waits);
        awaited.sort_unstable();
        assert!(expected.eq(awaited), "somebody waits for the log in vain, or twice");
        waiting.iter().map(|one| one.reservation.len()).sum()
    }

    /// What waits for the log, in bytes.
    pub(super) fn unstored_bytes(&self) -> usize {
        self.storing.as_ref().map_or(0, |storing| storing.weight)
    }
}

/// Why nothing more is taken for the log.
const TOO_FAR_BEHIND: &str =
    "as much waits for the log as this server allows; nothing was published; try again later";

/// What has failed, without a doubt.
const NOT_STORED: &str = "the log could not store it; nothing was published; try again later, or ask the operator to look at the disk";

/// What nobody can know.
const UNKNOWN: &str =
    "the log does not answer; it may or may not be published yet; look before you try again";
