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
    pub(super) sections: Vec<Section>,
    /// Keys of those who listen to other channels as well.
    pub(super) several: Row,
    /// Who came while a sweep was under way.
    pub(super) beside: Vec<Beside>,
    pub(super) sweep: Option<Box<Sweep>>,
    /// A tick that was not swept yet. A newer one replaces it.
    pub(super) tick: Option<Box<str>>,
    /// Which ticker ticks here.
    pub(super) ticker: Option<u16>,
    /// Whether the hub's queue of active channels holds this one.
    pub(super) queued: bool,
    /// Everything up to here was deleted, as soon as it is swept.
    pub(super) deleted: u64,
}

/// Subscribers that are sent the same bytes.
pub(super) struct Section {
    pub(super) framing: Framing,
    pub(super) row: Row,
    /// How many count on this section: in its row, beside it, and behind. Without any it may be given away.
    users: u32,
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
            sections: Vec::new(),
            several: Row::default(),
            beside: Vec::new(),
            sweep: None,
            tick: None,
            ticker,
            queued: false,
            deleted: 0,
        }
    }

    /// Whether every member of a section has everything.
    pub(super) fn at_rest(&self) -> bool {
        self.sweep.is_none() && self.swept == self.head
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

    fn add_section(&mut self, framing: &Framing) -> Result<usize, Refusal> {
        let section = Section { framing: framing.clone(), row: Row::default(), users: 0 };
        // A sweep under way counts sections; so none is given away before it ends.
        let free =
            self.sections.iter().position(|section| section.users == 0).filter(|_| self.sweep.is_none());
        if let Some(index) = free {
            self.sections[index] = section;
            return Ok(index);
        }
        if self.sections.len() > usize::from(u8::MAX) {
            return Err(Refusal::new(
                503,
                "too many different callbacks listen to this channel; try again later",
            ));
        }
        self.sections.reserve_exact(1);
        self.sections.push(section);
        Ok(self.sections.len() - 1)
    }

    /// Seats a subscriber that has everything up to `cursor`, and so everything there is.
    pub(super) fn join(&mut self, channel: u32, section: u8, member: u32, cursor: u64) -> Seat {
        if self.at_rest() {
            let place = self.sections[usize::from(section)].row.join(member);
            Seat::Section { section, channel, place }
        } else {
            self.beside.push(Beside { member, section, cursor });
            Seat::Beside { section, channel, place: (self.beside.len() - 1) as u32 }
        }
    }

    /// Frees the place, if the seat is one; the subscriber stays in the section's count. Returns its cursor.
    pub(super) fn stand_up(&mut self, seat: Seat, members: &mut impl Members) -> u64 {
        let cursor = self.cursor_of(seat);
        match seat {
            Seat::Section { section, channel, place } => {
                let idle = self.sweep.is_none();
                let row = &mut self.sections[usize::from(section)].row;
                row.leave(place);
                if idle {
                    row.close_holes(|member, place| {
                        members.reseat(member, Seat::Section { section, channel, place })
                    });
                }
            }
            Seat::Beside { channel, place, .. } => {
                self.beside.swap_remove(place as usize);
                if let Some(moved) = self.beside.get(place as usize) {
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
            Seat::Section { section, place, .. } => match &self.sweep {
                Some(sweep) if sweep.has_passed(section, place) => sweep.target,
                _ => self.swept,
            },
            Seat::Beside { place, .. } => self.beside[place as usize].cursor,
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

    /// From where on messages are of interest to one who has everything up to `cursor`: where only the latest
    /// counts, it alone.
    pub(super) fn worthwhile(&self, cursor: u64) -> u64 {
        match self.history.newest() {
            Some(newest) if self.limits.slow == Slow::Latest => cursor.max(newest.id - 1),
            _ => cursor,
        }
    }

    /// Appends the messages after `cursor` up to `target` that fit into `bytes_max`, but at least
    /// one; and before them, if some are gone, the word about it. Returns the gap.
    pub(super) fn gather(
        &self,
        mut cursor: u64,
        target: u64,
        framing: &Framing,
        bytes_max: usize,
        batch: &mut Batch,
    ) -> Option<Gap> {
        let mut gap = None;
        if self.limits.slow == Slow::Latest {
            // Whatever lies between is of no interest here; nothing of interest is missing.
            cursor =
                self.history.ids_backwards().find(|&id| id <= target).map_or(cursor, |id| cursor.max(id - 1));
        } else if let Some(found) = self.gap(cursor) {
            cursor = self.history.floor();
            batch.append(cursor, |out| framing.gap(found, out));
            gap = Some(found);
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
        self.sections.iter().map(|section| section.users as usize).sum::<usize>() + self.several.len()
    }

    /// Whether nobody would miss it.
    pub(super) fn is_forgettable(&self) -> bool {
        self.history.is_empty() && !self.queued && self.subscribers() == 0
    }
}
