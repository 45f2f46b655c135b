//! The sweep: how a message reaches everyone who waits for it. The heart of the house.
//!
//! Publishing only appends to the history and marks the channel active. A sweep then takes
//! what was published since the last one, encodes it once per section into one piece, and
//! walks the section from the front: one `send` per subscriber. It walks in slices, and the slices
//! of all active channels alternate, so that a channel of a million does not stall a channel
//! of ten. What is published meanwhile rides the next sweep, together, like people waiting
//! for a lift.
//!
//! Whoever cannot take it all leaves the section, with a cursor. A poll is answered, and leaves
//! with that; it comes back by itself.
//!
//! Knows: channels, places, cursors. Never learns sockets: those who own them are `Members`.

use crate::config::Slow;
use crate::transport::long_poll::Answers;
use crate::transport::{Batch, Framing, Gap, News};

use super::channel::{Beside, Channel};
use super::several::Several;
use super::{Hub, Members, Push, Seat};

/// Members that are handed over at a time.
const HANDFUL: usize = 32;

/// A walk over a channel's subscribers that has begun and not ended.
pub(super) struct Sweep {
    /// Who is behind its position has been offered everything up to here.
    pub(super) target: u64,
    what: What,
    /// Where each section ended when the sweep began, and then the row of those with several
    /// channels: who came later is not swept.
    ends: Vec<u32>,
    /// Which of them is being walked.
    section: usize,
    /// The place that is next in it.
    place: u32,
    load: Load,
    /// When the oldest message it carries was published, in microseconds of the monotonic clock; 0 for a tick.
    since_us: u64,
    /// The kinds of framing, a bit each, whose last member was served since somebody asked.
    served: u8,
    /// Deliveries so far, and how many of them told of a gap.
    deliveries: u64,
    gaps: u64,
    /// Who among those that are sent to did not take it all. Empty in between, and kept for its memory.
    late: Vec<(usize, Push)>,
    /// Which framing the load is in, among those with several channels: they come in any order.
    framing: Option<Framing>,
}

/// What a sweep brings.
enum What {
    /// The messages up to the target.
    Messages,
    /// A tick: no id, no history. Who cannot take it waits for the next.
    Tick(Box<str>),
}

/// The same, encoded for the section that is being walked.
#[derive(Default)]
struct Load {
    batch: Batch,
    gap: Option<Gap>,
    answers: Option<Answers>,
}

impl Sweep {
    /// Whether it has a goal that lies ahead, and a place in the rows.
    #[cfg(debug_assertions)]
    pub(super) fn check_invariants(&self, channel: &Channel) {
        assert!(channel.swept <= self.target && self.target <= channel.head, "a sweep goes astray");
        assert!(self.ends.len() <= channel.sections.len() + 1, "a section was given away under a sweep");
        let rows = channel.sections.iter().map(|section| &section.row).take(self.ends.len() - 1);
        for (row, &end) in rows.chain([channel.several()]).zip(&self.ends) {
            assert!(row.end().wrapping_sub(end) as i32 >= 0, "a sweep ends behind the row's own end");
        }
        let row = channel.sections.get(self.section).filter(|_| self.section + 1 < self.ends.len());
        let row = row.map_or(channel.several(), |section| &section.row);
        let (place, end) = (self.place, self.ends[self.section]);
        assert!(end.wrapping_sub(place) as i32 >= 0, "a sweep has passed its end");
        assert!(place.wrapping_sub(row.start()) as i32 >= 0, "a sweep stands before the row's first place");
    }

    /// Whether a place has had its turn.
    pub(super) fn has_passed(&self, section: u8, place: u32) -> bool {
        let section = usize::from(section);
        // Places wrap; two of one row are never further apart than a row is long.
        section < self.section || section == self.section && (place.wrapping_sub(self.place) as i32) < 0
    }
}

impl Channel {
    /// Whether there is something to sweep.
    pub(super) fn is_active(&self) -> bool {
        !self.at_rest() || self.aside.as_ref().is_some_and(|aside| aside.tick.is_some())
    }

    fn begin_sweep(&mut self, batch_bytes_max: usize) -> Box<Sweep> {
        let mut ends: Vec<u32> = self.sections.iter().map(|section| section.row.end()).collect();
        ends.push(self.several().end());
        let what =
            match self.aside.as_mut().filter(|_| self.swept == self.head).and_then(|aside| aside.tick.take())
            {
                Some(tick) => What::Tick(tick),
                None => What::Messages,
            };
        let target = self.target(batch_bytes_max);
        let mut sweep = Box::new(Sweep {
            target,
            what,
            ends,
            section: 0,
            place: 0,
            load: Load::default(),
            since_us: 0,
            served: 0,
            deliveries: 0,
            gaps: 0,
            late: Vec::new(),
            framing: None,
        });
        if matches!(sweep.what, What::Messages) {
            sweep.since_us = std::mem::take(&mut self.aside().waiting_us);
        }
        self.begin_section(&mut sweep);
        sweep
    }

    /// How far this sweep goes: as far as fits into one piece.
    fn target(&self, batch_bytes_max: usize) -> u64 {
        let mut bytes = 0;
        let fitting = self.history.after(self.swept).take_while(|message| {
            bytes += message.weight();
            bytes <= batch_bytes_max
        });
        match (fitting.last(), self.history.first_after(self.swept)) {
            (Some(last), _) => last.id,
            (None, Some(large)) => large.id,
            (None, None) => self.head,
        }
    }

    /// Encodes what the section that comes next is to get.
    fn begin_section(&self, sweep: &mut Sweep) {
        sweep.load = Load::default();
        let Some(section) = self.sections.get(sweep.section).filter(|_| sweep.section + 1 < sweep.ends.len())
        else {
            sweep.place = self.several().start();
            return;
        };
        sweep.place = section.row.start();
        if section.row.len() > 0 {
            sweep.load = self.load(&sweep.what, sweep.target, &section.framing);
        }
    }

    fn load(&self, what: &What, target: u64, framing: &Framing) -> Load {
        let mut load = Load::default();
        match what {
            What::Tick(tick) => {
                let news = News { id: None, channel: &self.name, event: None, data: tick };
                load.batch.append(self.swept, |out| framing.message(news, out));
            }
            What::Messages => {
                load.gap = self.gather(self.swept, target, framing, usize::MAX, &mut load.batch);
            }
        }
        load.answers = match framing {
            // What was deleted in the meantime is no reason to wake anybody.
            Framing::Poll if load.batch.is_empty() => None,
            Framing::Poll => Some(Answers::poll(&load.batch, target, load.gap)),
            Framing::Chat => self.history.first_after(self.swept).map(|first| Answers::chat(first)),
            _ => None,
        };
        load
    }

    /// Walks the sections, one delivery per member. Returns how many it did: fewer than `budget` if it came to
    /// the row of those with several channels.
    fn walk_sections(
        &mut self,
        sweep: &mut Sweep,
        channel: u32,
        budget: usize,
        members: &mut impl Members,
    ) -> usize {
        let mut done = 0;
        while sweep.section + 1 < sweep.ends.len() {
            let end = sweep.ends[sweep.section];
            let index = sweep.section as u8;
            let before = done;
            if let Some(answers) = &mut sweep.load.answers {
                while done < budget {
                    let section = &mut self.sections[sweep.section];
                    let Some(member) = section.row.pop_before(end) else { break };
                    sweep.place = section.row.start();
                    members.answer(member, answers);
                    self.exit(index);
                    done += 1;
                }
            } else if !sweep.load.batch.is_empty() {
                done += self.walk_streams(sweep, channel, budget - done, members);
            }
            if sweep.load.gap.is_some() {
                sweep.gaps += (done - before) as u64;
            }
            if done >= budget {
                return done;
            }
            if !sweep.load.batch.is_empty() {
                sweep.served |= 1 << self.sections[sweep.section].framing.kind();
            }
            sweep.section += 1;
            self.begin_section(sweep);
        }
        done
    }

    /// Hot: the loop that brings a message to a section.
    fn walk_streams(
        &mut self,
        sweep: &mut Sweep,
        channel: u32,
        budget: usize,
        members: &mut impl Members,
    ) -> usize {
        let row = &mut self.sections[sweep.section].row;
        let end = sweep.ends[sweep.section];
        let section = sweep.section as u8;
        let (mut places, mut handful) = ([0; HANDFUL], [0; HANDFUL]);
        let mut done = 0;
        while sweep.place != end && done < budget {
            let mut count = 0;
            while sweep.place != end && count < HANDFUL.min(budget - done) {
                let place = sweep.place;
                sweep.place = place.wrapping_add(1);
                if let Some(member) = row.at(place) {
                    (places[count], handful[count]) = (place, member);
                    count += 1;
                }
            }
            done += count;
            members.push_each(&handful[..count], &sweep.load.batch, &mut sweep.late);
            for (nth, became) in sweep.late.drain(..) {
                let is_tick = matches!(sweep.what, What::Tick(_));
                let cursor = match became {
                    Push::All | Push::Gone => continue,
                    Push::Refused | Push::Cut(_) if is_tick => continue,
                    Push::Refused => self.swept,
                    Push::Cut(cursor) => cursor,
                };
                row.leave(places[nth]);
                members.reseat(handful[nth], Seat::Behind { section, channel, cursor });
            }
        }
        done
    }

    /// The sweep has ended. Those beside who have exactly what the sections have join them; those who
    /// lack something read on from the history; the others wait for the next sweep.
    fn end_sweep(&mut self, target: u64, channel: u32, holes_min: usize, members: &mut impl Members) {
        self.swept = target;
        let deleted = self.aside().deleted;
        if deleted != 0 && deleted <= target {
            self.history.forget_through(deleted);
            self.aside().deleted = 0;
        }
        for (section, seats) in self.sections.iter_mut().enumerate() {
            let section = section as u8;
            seats.row.close_holes(holes_min, |member, place| {
                members.reseat(member, Seat::Section { section, channel, place })
            });
        }
        let next = self.history.first_after(target).map(|next| next.id);
        for Beside { member, section, cursor } in std::mem::take(&mut self.aside().beside) {
            let seat = if cursor < target {
                members.look_again(member);
                Seat::Behind { section, channel, cursor }
            } else if next.is_none_or(|next| cursor < next) {
                let place = self.sections[usize::from(section)].row.join(member);
                Seat::Section { section, channel, place }
            } else {
                self.wait_beside(channel, Beside { member, section, cursor })
            };
            members.reseat(member, seat);
        }
    }
}

impl Hub {
    /// Does at most `budget` deliveries of the sweep under way in a channel, beginning one if there is news.
    /// Returns how many it did.
    pub(super) fn sweep_slice(&mut self, key: u32, budget: usize, members: &mut impl Members) -> usize {
        let channel = &mut self.channels[key as usize];
        if !channel.is_active() {
            return 0;
        }
        let mut sweep =
            channel.aside().sweep.take().unwrap_or_else(|| channel.begin_sweep(self.pace.batch_bytes_max));
        let mut done = channel.walk_sections(&mut sweep, key, budget, members);
        let several = sweep.ends.len() - 1;
        while sweep.section == several && sweep.place != sweep.ends[several] && done < budget {
            let place = sweep.place;
            sweep.place = place.wrapping_add(1);
            if let Some(listener) = self.channels[key as usize].several().at(place) {
                self.bring(&mut sweep, key, listener, members);
                done += 1;
            }
        }
        sweep.deliveries += done as u64;
        let served = std::mem::take(&mut sweep.served);
        if sweep.since_us > 0 {
            let kinds = (0..Framing::NAMES.len()).filter(|kind| served & 1 << kind != 0);
            self.served.extend(kinds.map(|kind| (kind, sweep.since_us)));
        }
        let channel = &mut self.channels[key as usize];
        if sweep.section < several || sweep.place != sweep.ends[several] {
            channel.aside().sweep = Some(sweep);
        } else {
            let holes_min = self.pace.holes_min;
            self.change_history(key, |channel| channel.end_sweep(sweep.target, key, holes_min, members));
            self.stats.gaps += sweep.gaps;
            self.stats.sweeps.count(sweep.deliveries);
            self.close_several_holes(key);
            if let Some(channel) = self.channels.get_mut(key as usize) {
                channel.tidy();
            }
        }
        done
    }

    /// Brings what a sweep carries to one who listens to several channels.
    fn bring(&mut self, sweep: &mut Sweep, key: u32, listener: u32, members: &mut impl Members) {
        let one = &self.several[listener as usize];
        if one.behind {
            return;
        }
        let channel = &self.channels[key as usize];
        match &sweep.what {
            What::Tick(_) => {
                let load = channel.load(&sweep.what, sweep.target, &one.framing);
                if one.framing.is_poll() {
                    let mut answers = Answers::poll(&load.batch, one.cursor, None);
                    let member = one.member;
                    self.drop_listener(listener);
                    members.answer(member, &mut answers);
                } else {
                    members.push(one.member, &load.batch);
                }
            }
            What::Messages if sweep.target <= one.cursor => {}
            What::Messages if self.lacks_only(one, key) => {
                if sweep.framing.as_ref() != Some(&one.framing) {
                    sweep.load = channel.load(&sweep.what, sweep.target, &one.framing);
                    sweep.framing = Some(one.framing.clone());
                }
                self.hand_over(sweep, listener, members);
            }
            What::Messages => self.catch_up_several(listener, members),
        }
    }

    /// Whether this channel's sweep carries exactly what is new for a listener: nothing was said in his other channels,
    /// and there is no gap to tell. That is how it nearly always is, and then nothing has to be merged.
    ///
    /// Hot: runs once per delivery.
    fn lacks_only(&self, one: &Several, key: u32) -> bool {
        let channel = &self.channels[key as usize];
        let first_after = |cursor| channel.history.first_after(cursor).map(|first| first.id);
        let knows_the_rest = || {
            one.chairs.iter().filter(|chair| chair.channel != key).all(|chair| {
                let other = &self.channels[chair.channel as usize];
                other.head <= one.cursor && other.history.floor() <= one.cursor.max(chair.told)
            })
        };
        !one.framing.is_poll()
            && one.lost.is_none()
            && channel.limits.slow != Slow::Latest
            && channel.history.floor() <= channel.swept
            && first_after(channel.swept).is_some()
            && first_after(channel.swept) == first_after(one.cursor)
            && knows_the_rest()
    }

    /// Hot: runs once per delivery. One `send`, and no allocation as long as the kernel takes it all.
    fn hand_over(&mut self, sweep: &Sweep, listener: u32, members: &mut impl Members) {
        let one = &mut self.several[listener as usize];
        match members.push(one.member, &sweep.load.batch) {
            Push::All => one.cursor = sweep.target,
            Push::Cut(cursor) => {
                one.cursor = cursor;
                one.behind = true;
            }
            Push::Refused => one.behind = true,
            Push::Gone => {}
        }
    }
}
