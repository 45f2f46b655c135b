//! Channels: what a plan of the native dialect comes to.
//!
//! Knows: plans, the hub, heads of streams. Never learns how a sweep goes.

use crate::dialect::native;
use crate::hub::Subscription;
use crate::log::Since;
use crate::transport::long_poll::{Answers, UNSTORED};
use crate::transport::{Batch, Framing, event_stream, iframe, ndjson};
use crate::wire::http::AnswerBody;
use crate::wire::json::Publication;
use crate::wire::refusal::Refusal;
use crate::wire::websocket;

use super::conn::{Mark, Phase, Socket};
use super::receipts::Receipt;
use super::sockets::RETRY;
use super::{Engine, Unstored};

pub(super) const JSON: &str = "application/json";

/// On the head of every stream, beside what keeps it out of caches: proxies must pass on what they have.
const UNBUFFERED: &[u8] = b"X-Accel-Buffering: no\r\n";

/// When a browser whose event stream ends may come back, in milliseconds: 1 to 3 s, so that those
/// who were cut off together do not come back together.
const RETRY_MS: (u64, u64) = (1_000, 2_000);

/// Who wants to listen, and how.
pub(super) struct Listener {
    pub(super) channels: Vec<String>,
    pub(super) framing: Framing,
    pub(super) accept: Option<websocket::Accept>,
    pub(super) since: Since,
}

impl<S: Socket> Engine<S> {
    /// Begins a subscription: the head of its answer at once, then whatever it lacks, then a seat.
    pub(super) fn subscribe(&mut self, index: u32, listener: Listener) {
        let missing = |name: &&String| name.starts_with('$') && !self.hub.has_ticker(name);
        if listener.channels.iter().any(|name| missing(&name)) {
            return self.refuse(
                index,
                Refusal::new(
                    404,
                    "channels whose names begin with $ are the server's own, and it has none of this name",
                ),
            );
        }
        let framing = listener.framing.clone();
        if self.crowd[index].exchange().head_only {
            return self.answer_head_only(index, &framing);
        }
        if let Err(refusal) = self.hub.check_room(&listener.channels, &framing) {
            return self.turn_away(index, &listener, refusal);
        }
        if framing.is_poll() {
            self.crowd[index].marks.set(Mark::Polls);
        } else {
            self.begin_stream(index, &listener);
        }
        let subscription = Subscription {
            member: index,
            channels: &listener.channels,
            framing: framing.clone(),
            since: listener.since,
        };
        let now = self.crowd.now;
        match self.hub.subscribe(subscription, &mut self.crowd, now) {
            // A poll that was answered at once sits nowhere.
            Ok(()) if framing.is_poll() => {
                if matches!(self.crowd[index].phase, Phase::Subscribed(_)) {
                    self.crowd.arm_in(index, self.poll_timeout_ms);
                }
            }
            Ok(()) => self.crowd.join_streams(index),
            Err(refusal) if framing.is_poll() => self.refuse(index, refusal),
            Err(_) => self.crowd.leave(index),
        }
    }

    /// There is no room for this subscription. Browsers give up an event stream for good at any status but 200, and
    /// show a page neither the status nor the text of a handshake that failed: these two are let in, to be told
    /// when to come back.
    fn turn_away(&mut self, index: u32, listener: &Listener, refusal: Refusal) {
        match listener.framing {
            Framing::Events { .. } => {
                self.begin_stream(index, listener);
                self.crowd.leave(index);
            }
            Framing::Websocket => {
                self.begin_stream(index, listener);
                self.close_socket(index, websocket::CloseCode::GOING_AWAY, RETRY);
            }
            _ => self.refuse(index, refusal),
        }
    }

    /// Sends the head of a stream, and the first bytes of what stands before any message.
    fn begin_stream(&mut self, index: u32, listener: &Listener) {
        self.draft.clear();
        if let Some(accept) = &listener.accept {
            accept.answer(&self.crowd.date, &mut self.draft);
            self.crowd[index].marks.set(Mark::Websocket);
        } else {
            self.draft_stream_head(index, &listener.framing);
            match &listener.framing {
                Framing::Events { .. } => {
                    let retry_ms = RETRY_MS.0 + self.crowd.dice(RETRY_MS.1);
                    // Cut off before its first message, a browser must be able to say where it was.
                    let cursor = self.begins_unknown(listener).then(|| self.hub.head());
                    event_stream::begin(retry_ms, cursor, &mut self.draft);
                }
                Framing::Iframe(_) => iframe::begin(&mut self.draft),
                _ => {}
            }
        }
        self.crowd.send(index, &self.draft);
    }

    /// Whether a subscriber neither has a cursor nor gets one at once, with a message.
    fn begins_unknown(&self, listener: &Listener) -> bool {
        let remembers = |name: &String| self.hub.channel_stats(name).is_some_and(|stats| stats.messages > 0);
        match listener.since {
            Since::Now => true,
            Since::Last(_) | Since::Oldest => !listener.channels.iter().any(remembers),
            Since::After(_) | Since::Lost => false,
        }
    }

    fn draft_stream_head(&mut self, index: u32, framing: &Framing) {
        let (kind, body) = match framing {
            Framing::Events { .. } => (event_stream::CONTENT_TYPE, AnswerBody::UntilClose),
            Framing::Iframe(_) => ("text/html; charset=utf-8", AnswerBody::UntilClose),
            Framing::Ndjson => (ndjson::CONTENT_TYPE, AnswerBody::UntilClose),
            Framing::Poll | Framing::Chat | Framing::Websocket => (JSON, AnswerBody::Unknown),
        };
        let lines = self.gate.origin_lines(self.crowd[index].origin).to_vec();
        self.draft_head(index, 200, |head| {
            head.content_type(kind).lines(UNSTORED).lines(UNBUFFERED).lines(&lines).finish(body)
        });
    }

    fn answer_head_only(&mut self, index: u32, framing: &Framing) {
        if framing.is_poll() {
            let lines = self.gate.origin_lines(self.crowd[index].origin).to_vec();
            self.draft_head(index, 200, |head| {
                head.content_type(JSON).lines(UNSTORED).lines(&lines).finish(AnswerBody::Unsaid)
            });
        } else {
            self.draft_stream_head(index, framing);
        }
        self.crowd.send(index, &self.draft);
        let goes_on = framing.is_poll() && self.crowd[index].exchange().keep_alive;
        self.crowd.end_exchange(index, goes_on);
    }

    /// A poll that heard nothing for long enough is told so, and where to go on.
    pub(super) fn end_poll(&mut self, index: u32) {
        let Phase::Subscribed(seat) = self.crowd[index].phase else { return };
        let since = self.hub.leave(seat, &mut self.crowd);
        self.crowd[index].phase = Phase::Head;
        let mut answers = Answers::poll(&Batch::default(), since, None);
        crate::hub::Members::answer(&mut self.crowd, index, &mut answers);
    }

    pub(super) fn publish_one(
        &mut self,
        index: u32,
        channels: Vec<String>,
        event: Option<String>,
        body: &[u8],
    ) {
        let Ok(data) = std::str::from_utf8(body) else {
            return self.refuse(index, Refusal::new(400, "the message is not UTF-8"));
        };
        let publications = channels.into_iter().map(|channel| Publication {
            channel,
            event: event.clone(),
            data: data.into(),
        });
        let what = Unstored { publications: publications.collect(), deletes: false };
        self.publish_for(index, what, Receipt::One);
    }

    pub(super) fn publish_many(&mut self, index: u32, body: &[u8]) {
        match native::publications(body, self.crowd.limits.message_bytes_max) {
            Ok(publications) => {
                self.publish_for(index, Unstored { publications, deletes: false }, Receipt::Many)
            }
            Err(refusal) => self.refuse(index, refusal),
        }
    }

    pub(super) fn delete(&mut self, index: u32, channel: String) {
        // The last word in a channel is a message like any other.
        let last_word = Publication { channel, event: None, data: "".into() };
        let what = Unstored { publications: vec![last_word], deletes: true };
        self.publish_for(index, what, Receipt::LastWord);
    }

    /// Answers a program, with JSON.
    pub(super) fn answer_json(&mut self, index: u32, status: u16, json: &[u8]) {
        let lines = self.gate.origin_lines(self.crowd[index].origin).to_vec();
        self.answer(index, status, |head| head.content_type(JSON).lines(UNSTORED).lines(&lines), json);
    }
}
