//! One channel: what was said in it lately, and who waits for more.
//!
//! Subscribers sit in a section and have everything up to `swept`; whoever comes while a
//! sweep is under way waits beside the section with a cursor of their own, until the sweep
//! ends and the two agree again.
//!
//! Knows: its history, its members. Never learns their sockets.

use std::rc::Rc;

use super::history::History;
use super::section::Section;
use super::sweep::Sweep;
use super::{Members, Row, Seat};

/// A channel. Exists while it has a history or a subscriber.
pub(super) struct Channel {
    pub(super) name: Rc<str>,
    pub(super) history: History,
    /// The id of the newest message ever published here (or the floor it began with).
    pub(super) head: u64,
    /// Invariant: every member of `polls` has, or was offered, everything up to here, and
    /// nothing after it. `swept <= head`; they differ only while the channel is active.
    pub(super) swept: u64,
    /// Held polls.
    pub(super) polls: Section,
    /// Who came while the channel was active: they have everything up to a cursor of their own.
    pub(super) beside: Vec<Beside>,
    /// The sweep under way.
    pub(super) sweep: Option<Box<Sweep>>,
    /// Whether the hub's queue of active channels holds this one.
    pub(super) queued: bool,
}

/// A subscriber that waits for the sweep to end.
pub(super) struct Beside {
    pub(super) member: u32,
    pub(super) cursor: u64,
}

impl Channel {
    pub(super) fn new(name: Rc<str>, floor: u64) -> Self {
        Channel {
            name,
            history: History::new(floor),
            head: floor,
            swept: floor,
            polls: Section::default(),
            beside: Vec::new(),
            sweep: None,
            queued: false,
        }
    }

    /// Whether every member of the section has everything.
    pub(super) fn at_rest(&self) -> bool {
        self.sweep.is_none() && self.swept == self.head
    }

    /// Seats a poll that has everything up to `cursor`.
    pub(super) fn join(&mut self, channel: u32, member: u32, cursor: u64) -> Seat {
        if self.at_rest() {
            debug_assert_eq!(cursor, self.head);
            Seat { channel, place: self.polls.join(member), row: Row::Section }
        } else {
            self.beside.push(Beside { member, cursor });
            Seat { channel, place: (self.beside.len() - 1) as u32, row: Row::Beside }
        }
    }

    /// Frees a seat. Whoever has to move hears of it through `members`.
    pub(super) fn leave(&mut self, seat: Seat, members: &mut impl Members) {
        match seat.row {
            Row::Section => {
                self.polls.leave(seat.place);
                if self.sweep.is_none() {
                    self.polls.close_holes(|member, place| members.reseat(member, Seat { place, ..seat }));
                }
            }
            Row::Beside => {
                self.beside.swap_remove(seat.place as usize);
                if let Some(moved) = self.beside.get(seat.place as usize) {
                    members.reseat(moved.member, seat);
                }
            }
        }
    }

    /// How many subscribers there are.
    pub(super) fn subscribers(&self) -> usize {
        self.polls.len() + self.beside.len()
    }

    /// Whether nobody would miss it.
    pub(super) fn is_forgettable(&self) -> bool {
        self.subscribers() == 0 && self.history.is_empty() && !self.queued
    }
}
