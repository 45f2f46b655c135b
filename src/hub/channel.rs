//! One channel: what was said in it lately, and who waits for more.
//!
//! Subscribers of one framing share a section and have everything up to `swept`; whoever
//! comes while a sweep is under way waits beside the sections with a cursor of their own,
//! until the sweep ends and the two agree again. Who cannot keep up is behind, with a cursor,
//! and reads from the history at his own pace. Who listens to several channels sits in a row
//! of his own kind: see [`several`](super::several).
//!
//! Knows: its history, its members. Never learns their sockets.

use std::rc::Rc;

use crate::config::{ChannelLimits, Slow};
use crate::transport::{Batch, Framing, Gap, News};
use crate::wire::refusal::Refusal;

use super::history::History;
use super::row::Row;
use super::sweep::Sweep;
use super::{Members, Seat};

/// A channel. Exists while it has a history or a subscriber.
pub(super) struct Channel {
    pub(super) name: Rc<str>,
    pub(super) limits: Rc<ChannelLimits>,
    pub(super) history: History,
    /// The id of the newest message ever published here (or the floor it began with).
    pub(super) head: u64,
    /// Invariant: every member of a section has, or was offered, everything up to here, and
    /// nothing after it. `swept <= head`; they differ only while the channel is active.
    pub(super) swept: u64,
    /// Nearly always one.
    pub(super) sections: Box<[Section]>,
    pub(super) aside: Option<Box<Aside>>,
    /// Which ticker ticks here.
    pub(super) ticker: Option<u16>,
    /// Whether the hub's queue of active channels holds this one.
    pub(super) queued: bool,
}

/// A private channel for each user is common, and idle: its size is a product, too.
const _: () = assert!(size_of::<Channel>() <= 88 && size_of::<Section>() <= 56);

/// What most channels have no use for while they are idle.
#[derive(Default)]
pub(super) struct Aside {
    /// When the oldest message was published that no sweep has taken yet, in microseconds of the monotonic
    /// clock; 0 if there is none.
    pub(super) waiting_us: u64,
    /// Keys of those who listen to other channels as well.
    pub(super) several: Row,
    /// Who came while a sweep was under way.
    pub(super) beside: Vec<Beside>,
    pub(super) sweep: Option<Box<Sweep>>,
    /// A tick that was not swept yet. A newer one replaces it.
    pub(super) tick: Option<Box<str>>,
    /// Everything up to here was deleted, as soon as it is swept.
    pub(super) deleted: u64,
    /// Messages for this channel that the log has not stored yet.
    pub(super) awaited: u32,
}

/// The row of those with several channels, where there are none.
const NOBODY: &Row = &Row::EMPTY;

/// Different framings in one channel: callbacks of iframes come from strangers, and seats name a section in one byte.
pub(super) const SECTIONS_MAX: usize = 256;

/// Subscribers that are sent the same bytes.
pub(super) struct Section {
    pub(super) framing: Framing,
    pub(super) row: Row,
    /// How many count on this section: in its row, beside it, and behind. Without any it may be given away.
    pub(super) users: u32,
}

/// A subscriber that waits for the sweep to end.
pub(super) struct Beside {
    pub(super) member: u32,
    pub(super) section: u8,
    pub(super) cursor: u64,
}

impl Channel {
    pub(super) fn new(name: Rc<str>, limits: Rc<ChannelLimits>, floor: u64, ticker: Option<u16>) -> Self {
        Channel {
            name,
            limits,
            history: History::new(floor),
            head: floor,
            swept: floor,
            sections: Box::default(),
            aside: None,
            ticker,
            queued: false,
        }
    }

    /// Nothing was said here yet after this id.
    pub(super) fn begin_at(&mut self, floor: u64) {
        self.history = History::new(floor);
        (self.head, self.swept) = (floor, floor);
    }

    /// Whether every member of a section has everything.
    pub(super) fn at_rest(&self) -> bool {
        self.swept == self.head && self.sweep().is_none()
    }

    /// What is kept aside, and room for it if there was none.
    pub(super) fn aside(&mut self) -> &mut Aside {
        self.aside.get_or_insert_default()
    }

    /// The sweep under way.
    pub(super) fn sweep(&self) -> Option<&Sweep> {
        self.aside.as_ref()?.sweep.as_deref()
    }

    /// The row of those who listen to other channels as well.
    pub(super) fn several(&self) -> &Row {
        self.aside.as_ref().map_or(NOBODY, |aside| &aside.several)
    }

    /// How many messages for it the log has not stored yet.
    pub(super) fn awaited(&self) -> u32 {
        self.aside.as_ref().map_or(0, |aside| aside.awaited)
    }

    /// Gives back the room for what is not there any more.
    pub(super) fn tidy(&mut self) {
        self.aside.take_if(|aside| {
            aside.several.len() == 0
                && aside.beside.is_empty()
                && aside.sweep.is_none()
                && aside.tick.is_none()
                && aside.deleted == 0
                && aside.waiting_us == 0
                && aside.awaited == 0
        });
    }

    /// Makes room for one more subscriber of this framing. Returns its section.
    pub(super) fn enter(&mut self, framing: &Framing) -> Result<u8, Refusal> {
        let same = self.sections.iter().position(|section| section.framing == *framing);
        let index = match same {
            Some(index) => index,
            None => self.add_section(framing)?,
        };
        self.sections[index].users += 1;
        Ok(index as u8)
    }

    /// Whether there is room for one more subscriber of this framing.
    pub(super) fn check_section(&self, framing: &Framing) -> Result<(), Refusal> {
        let is_there = self.sections.iter().any(|section| section.framing == *framing);
        if is_there || self.free_section().is_some() || self.sections.len() < SECTIONS_MAX {
            return Ok(());
        }
        Err(Refusal::new(503, "too many different callbacks listen to this channel; try again later"))
    }

    fn free_section(&self) -> Option<usize> {
        // A sweep under way counts sections; so none is given away before it ends.
        self.sections.iter().position(|section| section.users == 0).filter(|_| self.sweep().is_none())
    }

    fn add_section(&mut self, framing: &Framing) -> Result<usize, Refusal> {
        self.check_section(framing)?;
        let section = Section { framing: framing.clone(), row: Row::default(), users: 0 };
        if let Some(index) = self.free_section() {
            self.sections[index] = section;
            return Ok(index);
        }
        let before = std::mem::take(&mut self.sections);
        self.sections = before.into_iter().chain([section]).collect();
        Ok(self.sections.len() - 1)
    }

    /// Seats a subscriber that has everything up to `cursor`, and so everything there is.
    pub(super) fn join(&mut self, channel: u32, section: u8, member: u32, cursor: u64) -> Seat {
        if self.at_rest() {
            let place = self.sections[usize::from(section)].row.join(member);
            Seat::Section { section, channel, place }
        } else {
            self.wait_beside(channel, Beside { member, section, cursor })
        }
    }

    /// Seats somebody until the sweep under way has ended.
    pub(super) fn wait_beside(&mut self, channel: u32, one: Beside) -> Seat {
        let (section, beside) = (one.section, &mut self.aside().beside);
        beside.push(one);
        Seat::Beside { section, channel, place: (beside.len() - 1) as u32 }
    }

    /// Frees the place, if the seat is one; the subscriber stays in the section's count. Returns its cursor.
    pub(super) fn stand_up(&mut self, seat: Seat, holes_min: usize, members: &mut impl Members) -> u64 {
        let cursor = self.cursor_of(seat);
        match seat {
            Seat::Section { section, channel, place } => {
                let idle = self.sweep().is_none();
                let row = &mut self.sections[usize::from(section)].row;
                row.leave(place);
                if idle {
                    row.close_holes(holes_min, |member, place| {
                        members.reseat(member, Seat::Section { section, channel, place })
                    });
                }
            }
            Seat::Beside { channel, place, .. } => {
                let beside = &mut self.aside().beside;
                beside.swap_remove(place as usize);
                if let Some(moved) = beside.get(place as usize) {
                    members.reseat(moved.member, Seat::Beside { section: moved.section, channel, place });
                }
            }
            Seat::None | Seat::Behind { .. } | Seat::Several { .. } => {}
        }
        cursor
    }

    /// One subscriber less in this section.
    pub(super) fn exit(&mut self, section: u8) {
        self.sections[usize::from(section)].users -= 1;
    }

    /// What the subscriber in a seat has.
    pub(super) fn cursor_of(&self, seat: Seat) -> u64 {
        match seat {
            Seat::Section { section, place, .. } => match self.sweep() {
                Some(sweep) if sweep.has_passed(section, place) => sweep.target,
                _ => self.swept,
            },
            Seat::Beside { place, .. } => {
                let aside = self.aside.as_ref().expect("a place beside is kept aside");
                aside.beside[place as usize].cursor
            }
            Seat::Behind { cursor, .. } => cursor,
            Seat::None | Seat::Several { .. } => unreachable!("this seat is in no single channel"),
        }
    }

    /// What is missing between `cursor` and the history.
    pub(super) fn gap(&self, cursor: u64) -> Option<Gap> {
        let floor = self.history.floor();
        let to = self.history.oldest().map_or(floor, |oldest| oldest.id);
        (cursor < floor).then_some(Gap { from: cursor, to })
    }

    /// Where one who has everything up to `cursor` reads on.
    pub(super) fn start(&self, cursor: u64) -> u64 {
        // Where only the latest message is of interest, nothing of interest lies before it.
        let latest = self.history.newest().filter(|_| self.limits.slow == Slow::Latest);
        latest.map_or(0, |latest| latest.id - 1).max(self.history.floor()).max(cursor)
    }

    /// Appends the messages after `cursor` up to `target` that fit into `bytes_max`, but at least
    /// one; and before them, if some are gone, the word about it. Returns the gap.
    pub(super) fn gather(
        &self,
        cursor: u64,
        target: u64,
        framing: &Framing,
        bytes_max: usize,
        batch: &mut Batch,
    ) -> Option<Gap> {
        let gap = self.gap(cursor).filter(|_| self.limits.slow != Slow::Latest);
        let cursor = self.start(cursor);
        if let Some(gap) = gap {
            batch.append(cursor, |out| framing.gap(gap, out));
        }
        for message in self.history.after(cursor).take_while(|message| message.id <= target) {
            if batch.bytes.len() + message.data.len() > bytes_max && !batch.is_empty() {
                break;
            }
            batch.append(message.id, |out| framing.message(News::of(&self.name, message), out));
        }
        gap
    }

    /// How many subscribers there are.
    pub(super) fn subscribers(&self) -> usize {
        self.sections.iter().map(|section| section.users as usize).sum::<usize>() + self.several().len()
    }

    /// Whether nobody would miss it.
    pub(super) fn is_forgettable(&self) -> bool {
        self.history.is_empty() && !self.queued && self.subscribers() == 0 && self.awaited() == 0
    }
}
