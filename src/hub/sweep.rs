//! The sweep: how a message reaches everyone who waits for it. The heart of the house.
//!
//! Publishing only appends to the history and marks the channel active. A sweep then takes
//! what was published since the last one, encodes it once, and walks the section from the
//! front. It walks in slices, and the slices of all active channels alternate, so that a
//! channel of a million does not stall a channel of ten. What is published meanwhile rides
//! the next sweep, together, like people waiting for a lift.
//!
//! A poll is answered with one message and leaves the section with that; it comes back by
//! itself, with a cursor, and finds the next message in the history.
//!
//! Knows: channels, places, cursors. Never learns sockets: those who own them are `Members`.

use std::rc::Rc;

use crate::log::Message;
use crate::transport::long_poll::Answers;

use super::channel::{Beside, Channel};
use super::{Members, Row, Seat};

/// A walk over a channel's section that has begun and not ended.
pub(super) struct Sweep {
    /// The newest message when the sweep began. Who is behind its position has been offered
    /// everything up to here.
    target: u64,
    /// The section's end when the sweep began: who came later is not swept.
    end: u32,
    /// What the waiting polls are answered with: the oldest message they lack. `None` when it
    /// has left the history already, faster than anybody could be told.
    news: Option<Rc<Message>>,
    /// Its encodings, made once.
    answers: Answers,
}

impl Channel {
    /// Does at most `budget` deliveries of the sweep under way, beginning one if there is news.
    /// Returns how many it did; afterwards the channel is [at rest](Channel::at_rest), or wants more.
    pub(super) fn sweep_slice(&mut self, channel: u32, budget: usize, members: &mut impl Members) -> usize {
        if self.at_rest() {
            return 0;
        }
        let mut sweep = self.sweep.take().unwrap_or_else(|| self.begin_sweep());
        let mut done = 0;
        while let Some(news) = &sweep.news {
            if done == budget {
                self.sweep = Some(sweep);
                return done;
            }
            let Some(member) = self.polls.pop_before(sweep.end) else { break };
            members.answer(member, news, &mut sweep.answers);
            done += 1;
        }
        self.swept = sweep.target;
        done + self.seat_those_beside(channel, members)
    }

    fn begin_sweep(&self) -> Box<Sweep> {
        Box::new(Sweep {
            target: self.head,
            end: self.polls.end(),
            news: self.history.first_after(self.swept).cloned(),
            answers: Answers::default(),
        })
    }

    /// The sweep has ended. Those beside who lack something are answered; those who have
    /// exactly what the section has join it; the others wait for the next sweep.
    fn seat_those_beside(&mut self, channel: u32, members: &mut impl Members) -> usize {
        let mut done = 0;
        for Beside { member, cursor } in std::mem::take(&mut self.beside) {
            let seat = if cursor > self.swept {
                self.beside.push(Beside { member, cursor });
                Seat { channel, place: (self.beside.len() - 1) as u32, row: Row::Beside }
            } else if let Some(news) = self.history.first_after(cursor).filter(|_| cursor < self.swept) {
                members.answer(member, news, &mut Answers::default());
                done += 1;
                continue;
            } else {
                Seat { channel, place: self.polls.join(member), row: Row::Section }
            };
            members.reseat(member, seat);
        }
        done
    }
}
