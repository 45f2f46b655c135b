//! Recalling: what a log that is kept elsewhere still has from before the server began.
//!
//! Every message goes into its channel's history by the rules of today. What falls out of a history is no more
//! to be kept anywhere: the log is told by the floors that have risen. So it keeps what the histories keep,
//! and never has to know their rules.
//!
//! Knows: channels, floors, ids. Never learns where the log is kept.

use std::collections::HashMap;
use std::rc::Rc;

use crate::kit::clock::Now;
use crate::log::Message;
use crate::wire::json::Publication;

use super::Hub;
use super::forgotten::Forgotten;

impl Hub {
    /// The log is kept elsewhere. It has given ids up to `head`; what it has forgotten is at most as new as `floor`,
    /// or as its channel's [own](Hub::recall_floor).
    pub fn log_elsewhere(&mut self, head: u64, floor: u64) {
        if head > self.log.head() {
            self.log.give(head);
        }
        self.forgotten = Forgotten::new(floor);
        self.risen = Some(HashMap::new());
    }

    /// Of this channel the log has forgotten everything up to here. To be said before any of its messages.
    pub fn recall_floor(&mut self, channel: &str, floor: u64) {
        self.forgotten.add(channel.into(), floor);
    }

    /// The log has this message; none that came before is recalled after it.
    pub fn recall(&mut self, publication: Publication, id: u64, now: Now) {
        let Publication { channel: name, event, data } = publication;
        if self.channels.len() >= self.channels_max && !self.has_channel(&name) {
            // Whoever asks for it is told of a gap.
            self.forgotten.add(name.into(), id);
            return;
        }
        let is_new = !self.has_channel(&name);
        let Ok(key) = self.open(&name) else { return };
        let channel = &mut self.channels[key as usize];
        if is_new {
            // Floors of many channels may have become one, which is higher than each; what is still there is not gone.
            channel.begin_at(channel.head.min(id - 1));
        }
        (channel.head, channel.swept) = (id, id);
        let message = Rc::new(Message { id, event: event.map(String::into_boxed_str), data });
        let age_ms = now.unix_us.saturating_sub(id) / 1_000;
        self.change_history(key, |channel| {
            channel.history.push_aged(message, age_ms, now.mono_ms(), &channel.limits);
        });
        self.keep_budget();
        self.watch_age(key, now);
        self.forget_if_empty(key);
    }

    /// Takes what a log elsewhere need not keep any longer: of each of these channels everything up to the id beside it.
    pub fn outdated(&mut self) -> impl Iterator<Item = (String, u64)> {
        self.risen.iter_mut().flat_map(HashMap::drain).map(|(name, floor)| (name.to_string(), floor))
    }
}
