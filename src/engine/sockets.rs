//! WebSockets: what their clients say.
//!
//! Text frames are commands, in JSON; what is said in channels goes the other way, like on
//! every other transport. In the lab, messages go back as they came.
//!
//! Knows: events of the reader, commands. Never learns masks or fragments.

use serde_json::value::RawValue;

use crate::dialect::{gate, native};
use crate::hub::{Seat, Subscription};
use crate::kit::secret::Secret;
use crate::log::Since;
use crate::transport::Framing;
use crate::wire::json::{self, Asked, Command, Publication, Start};
use crate::wire::refusal::Refusal;
use crate::wire::text;
use crate::wire::websocket::{self, Accept, CloseCode, Event, Limits, Opcode, Reader, Violation};

use super::answers::problem;
use super::conn::{Mark, Phase, Socket};
use super::receipts::Receipt;
use super::stats::Hangup;
use super::{Engine, Unstored};

/// What `/lab/echo` takes: the largest message of the test suites it is there for.
const LAB_LIMITS: Limits = Limits { message_bytes_max: 16 << 20, fragments_max: 1 << 20, takes_binary: true };

impl<S: Socket> Engine<S> {
    pub(super) fn begin_echo(&mut self, index: u32, accept: Accept) {
        self.draft.clear();
        accept.answer(&self.crowd.date, &mut self.draft);
        self.crowd.send(index, &self.draft);
        self.crowd[index].marks.set(Mark::Websocket);
        self.crowd[index].phase = Phase::Echo;
        self.crowd.arm_in(index, self.crowd.limits.idle_timeout_ms);
    }

    /// Reads frames and does what they say. Returns how many bytes were used.
    pub(super) fn serve_frames(&mut self, index: u32, bytes: &[u8], kept: &mut Option<Box<Reader>>) -> usize {
        let limits = match self.crowd[index].phase {
            Phase::Echo => LAB_LIMITS,
            _ => Limits { message_bytes_max: self.crowd.limits.command_bytes_max(), ..Limits::default() },
        };
        let mut reader = kept.take().unwrap_or_default();
        let is_new = reader.held_bytes() == 0;
        let mut at = 0;
        while at < bytes.len() {
            if !matches!(self.crowd[index].phase, Phase::Subscribed(_) | Phase::Echo)
                || self.crowd[index].is_dead()
            {
                return bytes.len();
            }
            if self.is_paused(index) {
                break;
            }
            match reader.next(&bytes[at..], &limits) {
                Ok((used, event)) => {
                    at += used;
                    match event {
                        Some(event) => self.hear_event(index, event),
                        None => break,
                    }
                }
                Err(Violation { code, reason }) => {
                    self.close_socket(index, code, reason);
                    return bytes.len();
                }
            }
        }
        if is_new && reader.held_bytes() > 0 && !reader.is_idle() && !self.crowd.may_begin() {
            self.crowd.stats.uploads_refused += 1;
            self.close_socket(index, CloseCode::TRY_AGAIN, RETRY);
            return bytes.len();
        }
        if !reader.is_idle() {
            *kept = Some(reader);
        }
        at
    }

    fn hear_event(&mut self, index: u32, event: Event<'_>) {
        let echoes = matches!(self.crowd[index].phase, Phase::Echo);
        if echoes {
            self.crowd.arm_in(index, self.crowd.limits.idle_timeout_ms);
        }
        match event {
            Event::Text(text) if echoes => self.send_frame(index, Opcode::Text, text.as_bytes()),
            Event::Text(text) => self.obey(index, text),
            // Only the lab takes them.
            Event::Binary(bytes) => self.send_frame(index, Opcode::Binary, bytes),
            Event::Ping(payload) => self.send_frame(index, Opcode::Pong, payload),
            Event::Pong => {}
            Event::Close(code) => {
                self.draft.clear();
                websocket::close_answer(code, &mut self.draft);
                self.say_last(index);
            }
        }
    }

    fn send_frame(&mut self, index: u32, opcode: Opcode, payload: &[u8]) {
        self.draft.clear();
        websocket::frame(opcode, payload, &mut self.draft);
        self.crowd.send(index, &self.draft);
    }

    /// Says why, and parts.
    pub(super) fn close_socket(&mut self, index: u32, code: CloseCode, reason: &str) {
        self.draft.clear();
        websocket::close(code, reason, &mut self.draft);
        self.say_last(index);
    }

    /// Sends the draft, and parts.
    pub(super) fn say_last(&mut self, index: u32) {
        if let Phase::Subscribed(seat) = self.crowd[index].phase {
            self.hub.leave(seat, &mut self.crowd);
            // If the peer is gone the farewell finds nobody, and whoever buries the connection must not give the
            // seat back again.
            self.crowd[index].phase = Phase::Subscribed(Seat::None);
        }
        if !self.draft.is_empty() {
            self.crowd.send(index, &self.draft);
        }
        self.crowd.leave(index);
    }

    /// Parts from a subscriber, whose seat is given back when it is buried.
    pub(super) fn part_from(&mut self, index: u32, why: Hangup) {
        self.crowd.hang_up(index, why);
    }

    fn obey(&mut self, index: u32, text: &str) {
        let Asked { reference, command } = json::command(text);
        let done = match command {
            Err(refusal) => Err(refusal),
            Ok(Command::Publish { publication, token }) => {
                let checked = self.check_speech(index, &publication, token.as_ref());
                let Err(refusal) = checked else {
                    let what = Unstored { publications: vec![publication], deletes: false };
                    return self.publish_for(index, what, Receipt::Command(reference));
                };
                Err(refusal)
            }
            Ok(Command::Subscribe { names, start }) => {
                let since = start.map(|start| match start {
                    Start::After(id) => Since::After(id),
                    Start::Oldest => Since::Oldest,
                });
                self.change_subscription(index, |now| now.extend(names), since)
            }
            Ok(Command::Unsubscribe { names }) => {
                self.change_subscription(index, |now| now.retain(|name| !names.contains(name)), None)
            }
        };
        self.answer_command(index, reference.as_deref().map(RawValue::get), done);
    }

    /// Whether this may be published over a WebSocket, now and by whoever is there.
    fn check_speech(
        &self,
        index: u32,
        publication: &Publication,
        token: Option<&Secret>,
    ) -> Result<(), Refusal> {
        self.check_had_begun(index)?;
        if !self.crowd[index].marks.has(Mark::MayPublish) {
            self.gate.check_secret(token, gate::IN_A_COMMAND)?;
        }
        native::check_publication(publication, self.crowd.limits.message_bytes_max)
    }

    /// Leaves all seats and takes new ones, at the same cursor or at the one that the client names. Returns the cursor:
    /// everything up to there has been sent.
    fn change_subscription(
        &mut self,
        index: u32,
        change: impl FnOnce(&mut Vec<String>),
        since: Option<Since>,
    ) -> Result<u64, Refusal> {
        let Phase::Subscribed(seat) = self.crowd[index].phase else { return Ok(self.hub.head()) };
        let before = self.hub.channels_of(seat);
        let mut channels = before.clone();
        change(&mut channels);
        channels.sort_unstable();
        channels.dedup();
        channels.iter().try_for_each(|name| native::check_name(name))?;
        if channels.len() > self.crowd.limits.subscription_channels_max {
            return Err(Refusal::new(400, "more channels than one subscription may have"));
        }
        if channels.iter().any(|name| name.starts_with('$') && !self.hub.has_ticker(name)) {
            return Err(Refusal::new(404, "the server has no channel of its own of this name"));
        }
        if channels.len() == before.len() {
            // Nothing new, nothing gone: whoever asks like this wants to know his cursor.
            return Ok(self.hub.cursor(seat));
        }
        // What was said before in a channel that is left now is still sent, if the peer takes it.
        self.hub.catch_up(index, seat, &mut self.crowd);
        let Phase::Subscribed(seat) = self.crowd[index].phase else { return Ok(self.hub.head()) };
        let cursor = self.hub.leave(seat, &mut self.crowd);
        self.crowd[index].phase = Phase::Subscribed(Seat::None);
        if channels.is_empty() {
            return Ok(cursor);
        }
        let since = match since {
            Some(since) if before.is_empty() => since,
            Some(since) => {
                // The others have been heard up to the cursor, and are not to be repeated.
                let new: Vec<String> =
                    channels.iter().filter(|name| !before.contains(name)).cloned().collect();
                let batch = self.hub.replay(&new, since, cursor, &Framing::Websocket);
                self.crowd.send(index, &batch.bytes);
                Since::After(cursor)
            }
            None => Since::After(cursor),
        };
        let done = self.take_seats(index, &channels, since);
        if done.is_err() && !before.is_empty() {
            // A mistake changes nothing. If there is no room even for what was there, nothing is left to hold on to.
            if self.take_seats(index, &before, Since::After(cursor)).is_err() {
                self.close_socket(index, CloseCode::GOING_AWAY, RETRY);
            }
        }
        done.map(|()| match self.crowd[index].phase {
            // Its new seat knows nothing of what it may lack of the channels that it left.
            Phase::Subscribed(seat) if channels.len() > before.len() => self.hub.cursor(seat),
            _ => cursor,
        })
    }

    fn take_seats(&mut self, index: u32, channels: &[String], since: Since) -> Result<(), Refusal> {
        let subscription = Subscription { member: index, channels, framing: Framing::Websocket, since };
        let now = self.crowd.now;
        self.hub.subscribe(subscription, &mut self.crowd, now)
    }

    /// `{"ref":ANY,"id":ID}`, with the message's id or the subscription's cursor, or `{"ref":ANY,"error":{…}}`.
    /// What asks for no answer and went well gets none.
    pub(super) fn answer_command(&mut self, index: u32, reference: Option<&str>, done: Result<u64, Refusal>) {
        let has_left = !matches!(self.crowd[index].phase, Phase::Subscribed(_));
        if has_left || reference.is_none() && done.is_ok() {
            return;
        }
        let mut json = b"{".to_vec();
        if let Some(reference) = reference {
            json.extend_from_slice(b"\"ref\":");
            json.extend_from_slice(reference.as_bytes());
            json.push(b',');
        }
        match done {
            Ok(id) => {
                json.extend_from_slice(b"\"id\":");
                text::decimal(id, &mut json);
            }
            Err(refusal) => {
                json.extend_from_slice(b"\"error\":");
                json.extend_from_slice(&problem(&refusal));
            }
        }
        json.push(b'}');
        self.send_frame(index, Opcode::Text, &json);
    }
}

/// The reason of a close that is no goodbye: when to come back, in milliseconds.
pub(super) const RETRY: &str = "{\"retry\":2000}";
