//! Publishing: in two steps, because the log may take its time in between.
//!
//! First the channels are *reserved*: opened, if there is room, and kept open. Then the log stores
//! what is to be said, or does not. What it has stored goes into the histories, and is swept from
//! there; what it has not is as if nobody had said it. A log that answers at once has the hub do both
//! steps in one go.
//!
//! Whatever the log has not stored yet has no id. So whoever makes a cursor of the newest id there is
//! cannot pass over it.
//!
//! Knows: channels, messages, ids. Never learns where the log is kept, or who publishes.

use std::rc::Rc;

use crate::kit::clock::Now;
use crate::log::Message;
use crate::wire::json::Publication;
use crate::wire::refusal::Refusal;

use super::Hub;

/// The channels of something that is to be stored, one for each message. They stay open until it is
/// [stored](Hub::store) or [given up](Hub::give_up).
#[must_use = "channels that are reserved stay for ever"]
pub struct Reservation(Vec<u32>);

#[cfg(debug_assertions)]
impl Reservation {
    /// For how many messages.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Hub {
    /// Opens the channels of all of it, or none. Refused when a channel would be one too many.
    pub fn reserve(&mut self, publications: &[Publication]) -> Result<Reservation, Refusal> {
        let mut reservation = Reservation(Vec::with_capacity(publications.len()));
        for publication in publications {
            match self.open(&publication.channel) {
                Ok(key) => {
                    self.channels[key as usize].aside().awaited += 1;
                    reservation.0.push(key);
                }
                Err(refusal) => {
                    self.give_up(reservation);
                    return Err(refusal);
                }
            }
        }
        Ok(reservation)
    }

    /// The id of the next message, if the log is kept here: any other log gives it itself.
    pub fn next_id(&self, now: Now) -> u64 {
        self.log.next(now)
    }

    /// The log has stored this, with this id and those that follow it: it is delivered by the sweeps to come. Takes the
    /// texts.
    pub fn store(
        &mut self,
        reservation: Reservation,
        publications: &mut [Publication],
        first: u64,
        now: Now,
    ) {
        for ((key, publication), id) in reservation.0.into_iter().zip(publications).zip(first..) {
            let event = publication.event.take().map(String::into_boxed_str);
            let message = Message { id, event, data: std::mem::take(&mut publication.data) };
            self.channels[key as usize].aside().awaited -= 1;
            self.append(key, message, now);
        }
    }

    /// The log has stored that a channel's history is forgotten. This is its last word, with this id.
    pub fn delete(&mut self, reservation: Reservation, id: u64, now: Now) {
        for key in reservation.0 {
            self.change_history(key, |channel| channel.history.forget_through(u64::MAX));
            let channel = &mut self.channels[key as usize];
            channel.aside().deleted = id;
            channel.aside().awaited -= 1;
            self.append(key, Message { id, event: Some("deleted".into()), data: "".into() }, now);
        }
    }

    /// The log has not stored it.
    pub fn give_up(&mut self, reservation: Reservation) {
        for key in reservation.0 {
            let channel = &mut self.channels[key as usize];
            channel.aside().awaited -= 1;
            channel.tidy();
            self.forget_if_empty(key);
        }
    }

    /// Whether there is a channel of this name, or something under way to it.
    pub fn has_channel(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    fn append(&mut self, key: u32, message: Message, now: Now) {
        self.log.give(message.id);
        let channel = &mut self.channels[key as usize];
        if channel.at_rest() {
            // Everyone seated here has whatever was said anywhere until now, and heartbeats may have told them so:
            // no cursor ever goes back.
            channel.swept = message.id - 1;
        }
        channel.head = message.id;
        let waiting_us = &mut channel.aside().waiting_us;
        if *waiting_us == 0 {
            *waiting_us = now.mono_us;
        }
        let gather_ms = channel.limits.gather_ms;
        self.change_history(key, |channel| {
            channel.history.push(Rc::new(message), now.mono_ms(), &channel.limits);
        });
        self.stats.messages += 1;
        if gather_ms == 0 || self.hushed {
            self.activate(key);
        } else if !self.channels[key as usize].queued && !self.gathers.is_armed(key) {
            self.gathers.wind(now.mono_ms());
            self.gathers.arm(key, now.mono_ms() + gather_ms);
        }
        self.keep_budget();
        self.watch_age(key, now);
    }
}
