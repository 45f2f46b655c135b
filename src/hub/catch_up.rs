//! Catching up: from a cursor to where everyone else is.
//!
//! A new subscriber, one that resumes, one that was too slow, and one with several channels are
//! all served like this: read the histories after the cursor, merged by id, send; and when there
//! is nothing more, take a seat. The backlog of the slowest reader lives once, in the
//! history, and costs nothing more however slow he is.
//!
//! Knows: cursors, histories. Never learns sockets.

use crate::config::{Pace, Slow};
use crate::kit::clock::Now;
use crate::log::Since;
use crate::transport::long_poll::Answers;
use crate::transport::{Batch, Framing, Gap, News};
use crate::wire::refusal::Refusal;

use super::channel::Channel;
use super::several::{Chair, Several};
use super::{Hub, Members, Push, Seat};

/// Who wants to listen to what.
pub struct Subscription<'a> {
    /// The connection.
    pub member: u32,
    /// The channels' names.
    pub channels: &'a [String],
    /// How they are to be told.
    pub framing: Framing,
    /// From where on.
    pub since: Since,
}

impl Hub {
    /// Seats a subscriber (which its owner hears through [`Members::reseat`]) and brings it up to
    /// date; or, if it is a poll and there is news, answers it.
    pub fn subscribe(
        &mut self,
        subscription: Subscription<'_>,
        members: &mut impl Members,
        now: Now,
    ) -> Result<(), Refusal> {
        let mut keys = Vec::with_capacity(subscription.channels.len());
        for name in subscription.channels {
            match self.open(name) {
                Ok(key) if keys.contains(&key) => {}
                Ok(key) => keys.push(key),
                Err(refusal) => {
                    keys.iter().for_each(|&key| self.forget_if_empty(key));
                    return Err(refusal);
                }
            }
        }
        for &key in &keys {
            self.expire_one(key, now);
            self.start_ticker(key, now);
        }
        let (cursor, lost) = self.start(&keys, subscription.since);
        match keys[..] {
            [key] => self.subscribe_one(key, cursor, lost, subscription, members),
            _ => {
                self.subscribe_several(&keys, cursor, lost, subscription, members);
                Ok(())
            }
        }
    }

    /// The cursor that `since` means, and the gap that it cannot mean anything else than.
    fn start(&self, keys: &[u32], since: Since) -> (u64, Option<Gap>) {
        let channels = || keys.iter().map(|&key| &self.channels[key as usize]);
        let oldest = || channels().map(|channel| channel.history.floor()).min().unwrap_or(0);
        let lost = |from| {
            let to = channels().filter_map(|channel| channel.history.oldest()).map(|oldest| oldest.id).min();
            Some(Gap { from, to: to.unwrap_or(self.log.head()) })
        };
        match since {
            Since::Now => (self.log.head(), None),
            Since::After(cursor) if cursor > self.log.head() => (oldest(), lost(cursor)),
            Since::After(cursor) => (cursor, None),
            Since::Oldest => (oldest(), None),
            Since::Lost => (oldest(), lost(0)),
            Since::Last(count) => {
                let mut ids: Vec<u64> = channels()
                    .flat_map(|channel| channel.history.ids_backwards().take(count as usize))
                    .collect();
                ids.sort_unstable_by(|a, b| b.cmp(a));
                match ids.get((count as usize).wrapping_sub(1)) {
                    Some(&first) => (first - 1, None),
                    None if count == 0 => (self.log.head(), None),
                    None => (oldest(), None),
                }
            }
        }
    }

    fn subscribe_one(
        &mut self,
        key: u32,
        cursor: u64,
        lost: Option<Gap>,
        subscription: Subscription<'_>,
        members: &mut impl Members,
    ) -> Result<(), Refusal> {
        let Subscription { member, framing, since, .. } = subscription;
        let head = self.log.head();
        let channel = &mut self.channels[key as usize];
        let section = channel.enter(&framing)?;
        let (mut cursor, mut lost) = (cursor, lost);
        if channel.limits.slow == Slow::Latest {
            lost = None;
        } else if channel.limits.slow == Slow::Disconnect && !framing.is_poll() {
            // Only who is too slow is parted from. Who comes back late is told what is gone, or would come back for ever.
            lost = lost.or(channel.gap(cursor));
            cursor = cursor.max(channel.history.floor());
        }
        if framing.is_poll() {
            let mut batch = Batch::default();
            let gap = channel.gather(cursor, head, &framing, self.pace.answer_bytes_max, &mut batch);
            let gap = lost.or(gap.filter(|_| since != Since::Oldest));
            if gap.is_some() || !batch.is_empty() {
                let reached = batch.cursor().unwrap_or(head);
                channel.exit(section);
                members.answer(member, &mut Answers::poll(&batch, reached, gap));
                self.stats.gaps += u64::from(gap.is_some());
                self.forget_if_empty(key);
                return Ok(());
            }
        } else if let Some(gap) = lost {
            let mut batch = Batch::default();
            batch.append(cursor, |out| framing.gap(gap, out));
            self.stats.gaps += 1;
            // Nothing else knows of this gap: it must not be refused because the head is not through yet.
            members.tell(member, &batch.bytes);
        }
        let seat = if cursor >= channel.head {
            channel.join(key, section, member, head.max(cursor))
        } else {
            Seat::Behind { section, channel: key, cursor }
        };
        members.reseat(member, seat);
        self.catch_up(member, seat, members);
        Ok(())
    }

    fn subscribe_several(
        &mut self,
        keys: &[u32],
        cursor: u64,
        lost: Option<Gap>,
        subscription: Subscription<'_>,
        members: &mut impl Members,
    ) {
        let Subscription { member, framing, since, .. } = subscription;
        let one = Several { member, framing, chairs: Box::default(), cursor, lost, behind: false };
        let listener = self.several.insert(one) as u32;
        // What is gone already is known to whoever asks for what is there.
        let knows_gaps = !matches!(since, Since::After(_)) || lost.is_some();
        let chairs = keys.iter().map(|&key| {
            let channel = &mut self.channels[key as usize];
            let told = if knows_gaps { channel.history.floor() } else { cursor };
            Chair { channel: key, place: channel.aside().several.join(listener), told }
        });
        self.several[listener as usize].chairs = chairs.collect();
        members.reseat(member, Seat::Several { key: listener });
        self.catch_up_several(listener, members);
    }

    /// Sends on to a subscriber that is behind, as far as it takes it and others do not have to wait.
    pub fn catch_up(&mut self, member: u32, seat: Seat, members: &mut impl Members) {
        match seat {
            Seat::None | Seat::Section { .. } | Seat::Beside { .. } => {}
            Seat::Behind { section, channel, cursor } => {
                self.catch_up_one(member, section, channel, cursor, members)
            }
            Seat::Several { key } => {
                self.several[key as usize].behind = false;
                self.catch_up_several(key, members);
            }
        }
    }

    fn catch_up_one(
        &mut self,
        member: u32,
        section: u8,
        key: u32,
        mut cursor: u64,
        members: &mut impl Members,
    ) {
        let mut batch = std::mem::take(&mut self.draft);
        let channel = &mut self.channels[key as usize];
        let framing = channel.sections[usize::from(section)].framing.clone();
        let mut pieces = 0;
        let seat = loop {
            if channel.limits.slow == Slow::Disconnect && channel.gap(cursor).is_some() {
                members.part_from_slow(member);
                break None;
            }
            batch.clear();
            let gap = channel.gather(cursor, channel.head, &framing, self.pace.piece_bytes, &mut batch);
            let Some(reached) = batch.cursor() else {
                break Some(channel.join(key, section, member, cursor.max(channel.head)));
            };
            if framing.is_poll() {
                let mut answers = match channel.history.first_after(cursor) {
                    Some(first) if framing == Framing::Chat => Answers::chat(first),
                    _ => {
                        self.stats.gaps += u64::from(gap.is_some());
                        Answers::poll(&batch, reached, gap)
                    }
                };
                channel.exit(section);
                members.answer(member, &mut answers);
                break None;
            }
            if pieces == self.pace.pieces_per_turn {
                members.look_again(member);
                break Some(Seat::Behind { section, channel: key, cursor });
            }
            pieces += 1;
            match members.push(member, &batch) {
                Push::All => cursor = reached,
                Push::Cut(reached) => break Some(Seat::Behind { section, channel: key, cursor: reached }),
                Push::Refused => break Some(Seat::Behind { section, channel: key, cursor }),
                Push::Gone => break None,
            }
            self.stats.gaps += u64::from(gap.is_some());
        };
        match seat {
            Some(seat) => members.reseat(member, seat),
            // It may have been the last, of a channel whose history is empty.
            None => self.forget_if_empty(key),
        }
        self.draft = batch;
    }

    /// The same for one who listens to several channels.
    pub(super) fn catch_up_several(&mut self, listener: u32, members: &mut impl Members) {
        let mut batch = std::mem::take(&mut self.draft);
        let mut pieces = 0;
        loop {
            batch.clear();
            if self.is_too_slow(listener) {
                members.part_from_slow(self.several[listener as usize].member);
                break;
            }
            let gap = self.gather_several(listener, &mut batch);
            let head = self.log.head();
            let one = &mut self.several[listener as usize];
            // A poll's batch does not hold the gap. With nothing left behind that, it has everything: its old
            // cursor would bring it back to the same gap at once, again and again.
            let Some(reached) = batch.cursor().or(gap.map(|_| head)) else {
                one.cursor = head;
                break;
            };
            let member = one.member;
            if one.framing.is_poll() {
                // With its last message as a cursor it would hear of the same gap again.
                let is_whole = batch.bytes.len() < self.pace.answer_bytes_max;
                let reached = if gap.is_some() && is_whole { head } else { reached };
                let mut answers = Answers::poll(&batch, reached, gap);
                self.stats.gaps += u64::from(gap.is_some());
                self.drop_listener(listener);
                members.answer(member, &mut answers);
                break;
            }
            if pieces == self.pace.pieces_per_turn {
                one.behind = true;
                members.look_again(member);
                break;
            }
            pieces += 1;
            let pushed = members.push(member, &batch);
            if gap.is_some() && pushed != Push::Refused {
                self.stats.gaps += 1;
                one.lost = None;
                for chair in &mut one.chairs {
                    chair.told = self.channels[chair.channel as usize].history.floor();
                }
            }
            match pushed {
                Push::All => one.cursor = reached,
                Push::Cut(reached) => {
                    one.cursor = reached;
                    one.behind = true;
                    break;
                }
                Push::Refused => {
                    one.behind = true;
                    break;
                }
                Push::Gone => break,
            }
        }
        self.draft = batch;
    }

    /// The channels of a listener that have lost messages he lacks and was not told about.
    fn lossy(&self, one: &Several) -> impl Iterator<Item = &Channel> {
        let chairs = one.chairs.iter().map(|chair| (&self.channels[chair.channel as usize], chair.told));
        let cursor = one.cursor;
        chairs
            .filter(move |(channel, told)| channel.history.floor() > cursor.max(*told))
            .map(|(channel, _)| channel)
    }

    /// Whether a stream has lost messages of a channel that does not wait.
    fn is_too_slow(&self, listener: u32) -> bool {
        let one = &self.several[listener as usize];
        !one.framing.is_poll() && self.lossy(one).any(|channel| channel.limits.slow == Slow::Disconnect)
    }

    /// Appends what comes next for a listener, over all its channels in the order of the log. Returns the gap, if
    /// something that it was not told about is gone.
    fn gather_several(&self, listener: u32, batch: &mut Batch) -> Option<Gap> {
        let one = &self.several[listener as usize];
        let channels: Vec<&Channel> =
            one.chairs.iter().map(|chair| &self.channels[chair.channel as usize]).collect();
        let gone = self.lossy(one).filter(|channel| channel.limits.slow != Slow::Latest);
        let gone = gone.filter_map(|channel| channel.gap(one.cursor)).max_by_key(|gap| gap.to);
        let gap = match (one.lost, gone) {
            // More has gone since it was found out, and nobody tells of that again.
            (Some(lost), Some(gone)) => Some(Gap { from: lost.from, to: lost.to.max(gone.to) }),
            (lost, gone) => lost.or(gone),
        };
        if let Some(gap) = gap.filter(|_| !one.framing.is_poll()) {
            batch.append(one.cursor, |out| one.framing.gap(gap, out));
        }
        let Pace { answer_bytes_max, piece_bytes, .. } = self.pace;
        let bytes_max = if one.framing.is_poll() { answer_bytes_max } else { piece_bytes };
        merge(&channels, one.cursor, self.log.head(), &one.framing, bytes_max, batch);
        gap
    }

    /// What was said in these channels from `since` up to `until`, for one who listens to others already and
    /// has everything of those up to there. Of what does not fit, the oldest is left out, as a gap.
    pub fn replay(&mut self, names: &[String], since: Since, until: u64, framing: &Framing) -> Batch {
        let keys: Vec<u32> = names.iter().filter_map(|name| self.names.get(&**name).copied()).collect();
        let (cursor, lost) = self.start(&keys, since);
        let channels: Vec<&Channel> = keys.iter().map(|&key| &self.channels[key as usize]).collect();
        let gone = channels.iter().filter_map(|channel| channel.gap(cursor));
        // Of a channel that was forgotten, all is gone.
        let forgotten = names.iter().filter(|name| !self.names.contains_key(&***name));
        let floors = forgotten.map(|name| self.forgotten.floor_of(name)).filter(|&floor| cursor < floor);
        let gone = gone.chain(floors.map(|to| Gap { from: cursor, to }));
        let gone = gone.filter(|_| matches!(since, Since::After(_))).max_by_key(|gap| gap.to);
        let (newest, skipped) =
            merge_backwards(&channels, cursor, until, framing, self.pace.answer_bytes_max);
        let found = lost.or(gone);
        let oldest = newest.last().filter(|_| skipped).map(|(id, _)| *id);
        let found = oldest.map_or(found, |to| Some(Gap { from: found.map_or(cursor, |gap| gap.from), to }));
        let mut batch = Batch::default();
        if let Some(gap) = found {
            batch.append(cursor, |out| framing.gap(gap, out));
        }
        for (id, bytes) in newest.iter().rev() {
            batch.append(*id, |out| out.extend_from_slice(bytes));
        }
        batch
    }

    /// Whoever listened to several channels is gone. Returns what he had.
    ///
    /// Leaves holes: this also happens in the middle of a walk along one of the rows.
    pub(super) fn drop_listener(&mut self, listener: u32) -> u64 {
        let cursor = self.cursor(Seat::Several { key: listener });
        let one = self.several.remove(listener as usize);
        for &Chair { channel: key, place, .. } in &one.chairs {
            self.channels[key as usize].aside().several.leave(place);
            self.forget_if_empty(key);
        }
        cursor
    }

    /// Closes the holes in a channel's row of those with several, unless a sweep is under way.
    pub(super) fn close_several_holes(&mut self, key: u32) {
        let several = &mut self.several;
        let channel = self.channels.get_mut(key as usize).filter(|channel| channel.sweep().is_none());
        if let Some(aside) = channel.and_then(|channel| channel.aside.as_mut()) {
            aside.several.close_holes(self.pace.holes_min, |listener, place| {
                let chairs = several[listener as usize].chairs.iter_mut();
                chairs.filter(|chair| chair.channel == key).for_each(|chair| chair.place = place);
            });
        }
    }
}

/// Appends the messages after `cursor` up to `until`, over all these channels in the order of the log, as
/// long as there are fewer than `bytes_max` bytes.
fn merge(
    channels: &[&Channel],
    cursor: u64,
    until: u64,
    framing: &Framing,
    bytes_max: usize,
    batch: &mut Batch,
) {
    let mut tails: Vec<_> = channels
        .iter()
        .filter(|channel| channel.head > cursor)
        .map(|channel| (channel, channel.history.after(channel.start(cursor)).peekable()))
        .collect();
    loop {
        let next = tails.iter_mut().filter_map(|(channel, tail)| Some((tail.peek()?.id, channel, tail)));
        let Some((id, channel, tail)) = next.min_by_key(|(id, ..)| *id).filter(|(id, ..)| *id <= until)
        else {
            return;
        };
        if batch.bytes.len() >= bytes_max {
            return;
        }
        let message = tail.next().expect("just peeked at");
        batch.append(id, |out| framing.message(News::of(&channel.name, message), out));
    }
}

/// The newest messages after `cursor` up to `until`, over all these channels, each with its bytes, the newest first: as many as
/// make `bytes_max` bytes, and at least one. And whether there were more.
fn merge_backwards(
    channels: &[&Channel],
    cursor: u64,
    until: u64,
    framing: &Framing,
    bytes_max: usize,
) -> (Vec<(u64, Vec<u8>)>, bool) {
    let mut tails: Vec<_> = channels
        .iter()
        .filter(|channel| channel.head > cursor)
        .map(|channel| (channel, channel.history.between(channel.start(cursor), until).rev().peekable()))
        .collect();
    let (mut newest, mut total) = (Vec::new(), 0);
    loop {
        let next = tails.iter_mut().filter_map(|(channel, tail)| Some((tail.peek()?.id, channel, tail)));
        let Some((id, channel, tail)) = next.max_by_key(|(id, ..)| *id) else { return (newest, false) };
        let message = tail.next().expect("just peeked at");
        let mut bytes = Vec::new();
        framing.message(News::of(&channel.name, message), &mut bytes);
        total += bytes.len();
        if total > bytes_max && !newest.is_empty() {
            return (newest, true);
        }
        newest.push((id, bytes));
    }
}
