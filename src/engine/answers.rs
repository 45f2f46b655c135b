//! Answers: what a plan comes to.
//!
//! Knows: plans, the hub, how an answer is framed. Never learns how a request was read.

use crate::dialect::pages::Page;
use crate::dialect::{Plan, article, gate};
use crate::hub::{Members, Poll};
use crate::log::Since;
use crate::transport::iframe::CLOCK_DOCUMENT;
use crate::transport::long_poll::{Answers, UNCACHED};
use crate::wire::http::{AnswerBody, AnswerFraming, AnswerHead, reason};
use crate::wire::json::Publication;
use crate::wire::refusal::Refusal;
use crate::wire::{text, websocket};

use super::channels::Listener;
use super::conn::{Mark, Phase, Socket};
use super::receipts::Receipt;
use super::{Engine, Unstored};

const TEXT: &str = "text/plain; charset=utf-8";

/// RFC 9457.
const PROBLEM: &str = "application/problem+json";

/// The text format of Prometheus.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// On everything that is not a page of an operator's own.
const NOSNIFF: &[u8] = b"X-Content-Type-Options: nosniff\r\n";

/// On every 401 (RFC 6750 §3).
const CHALLENGE: &[u8] = b"WWW-Authenticate: Bearer realm=\"encke\"\r\n";

/// On every page: revalidate, and take the type as it is said.
const PAGE: &[u8] = b"Cache-Control: no-cache\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Referrer-Policy: same-origin\r\n";

/// On our own pages: nothing but what this server serves, in nobody else's frame (but in each other's: a demo
/// hides one), no window of another site at hand, and no camera.
const STRICT: &[u8] = b"Content-Security-Policy: default-src 'self'; object-src 'none'; base-uri 'none'; \
    form-action 'self'; frame-ancestors 'self'\r\n\
    X-Frame-Options: SAMEORIGIN\r\n\
    Cross-Origin-Opener-Policy: same-origin\r\n\
    Permissions-Policy: camera=(), geolocation=(), microphone=(), payment=()\r\n";

/// On the clock's document, beside [`UNCACHED`]: proxies must pass on what they have.
const UNBUFFERED: &[u8] = b"X-Accel-Buffering: no\r\n";

impl<S: Socket> Engine<S> {
    /// Does what the request asks for. Its body is complete.
    pub(super) fn carry_out(&mut self, index: u32, plan: Plan, body: &[u8]) {
        match plan {
            Plan::Refuse(refusal) => self.refuse(index, refusal),
            Plan::Methods { allow, asked } => self.name_methods(index, allow, asked),
            Plan::Health => self.answer(index, 200, |head| head.content_type(TEXT).lines(NOSNIFF), b"ok\n"),
            Plan::Page { page, known } => self.show_page(index, &page, known),
            Plan::Moved { location } => {
                self.answer(index, 301, |head| head.field("Location", &location), b"")
            }
            Plan::Clock { padding } => self.start_clock(index, padding),
            Plan::Say { channel, text } => self.say(index, &channel, &text),
            Plan::Hear { channel, since } => self.hear(index, &channel, since),
            Plan::Subscribe { channels, framing, accept, since } => {
                self.subscribe(index, Listener { channels, framing, accept, since });
            }
            Plan::Publish { channels, event } => self.publish_one(index, channels, event, body),
            Plan::PublishMany => self.publish_many(index, body),
            Plan::Delete { channel } => self.delete(index, channel),
            Plan::Stats => self.answer_json(index, 200, &self.stats_json()),
            Plan::ChannelsStats => self.answer_json(index, 200, &self.channels_json()),
            Plan::ChannelStats { channel } => self.channel_json(index, &channel),
            Plan::Metrics => {
                self.answer(index, 200, |head| head.content_type(METRICS).lines(NOSNIFF), &self.metrics())
            }
            Plan::Echo { accept } => self.begin_echo(index, accept),
            Plan::Form { channel } => {
                let plan = article::form(channel, body).and_then(|plan| {
                    if plan.publishes() && !self.crowd[index].marks.has(Mark::MayPublish) {
                        self.gate.check_secret(None, gate::IN_THE_HEAD)?;
                    }
                    Ok(plan)
                });
                self.carry_out(index, plan.unwrap_or_else(Plan::Refuse), &[]);
            }
        }
        if self.bids_farewell() {
            self.part(index);
        }
    }

    /// Answers with a refusal; a fatal one is the last answer on this connection.
    pub(super) fn refuse(&mut self, index: u32, refusal: Refusal) {
        if refusal.close {
            self.crowd[index].marks.clear(Mark::KeepAlive);
        }
        let lines = match refusal.status {
            401 => CHALLENGE,
            426 => websocket::UPGRADE_LINES,
            _ => b"",
        };
        self.explain(index, &refusal, lines);
    }

    fn name_methods(&mut self, index: u32, allow: &'static str, asked: bool) {
        if asked {
            let origin = self.crowd[index].origin;
            let lines = self.gate.preflight_lines(origin, allow);
            return self.answer(index, 204, |head| head.field("Allow", allow).lines(&lines), b"");
        }
        let refusal = Refusal::new(405, format!("this method does not work here; try one of {allow}"));
        self.explain(index, &refusal, format!("Allow: {allow}\r\n").as_bytes());
    }

    /// Says why not: to a program as a problem that it can read, wherever it comes from; to people in a sentence.
    fn explain(&mut self, index: u32, refusal: &Refusal, lines: &[u8]) {
        self.crowd.stats.refusals += 1;
        let (kind, body, origin_lines) = if self.crowd[index].marks.has(Mark::ForPrograms) {
            (PROBLEM, problem(refusal), self.gate.origin_lines(self.crowd[index].origin).to_vec())
        } else {
            (TEXT, format!("{}\n", refusal.detail).into_bytes(), Vec::new())
        };
        self.answer(
            index,
            refusal.status,
            |head| {
                let head = head.content_type(kind).lines(NOSNIFF).lines(lines).lines(&origin_lines);
                match refusal.retry_after_s {
                    0 => head,
                    seconds => head.number("Retry-After", u64::from(seconds)),
                }
            },
            &body,
        );
    }

    fn show_page(&mut self, index: u32, page: &Page, known: bool) {
        let length = AnswerBody::Length(page.body.len() as u64);
        let status = if known { 304 } else { 200 };
        let strict = if page.strict { STRICT } else { b"" };
        let fields = |head: AnswerHead<'_>| {
            let head = head.field("ETag", &page.etag).lines(PAGE).lines(strict);
            if known { head.finish(length) } else { head.content_type(page.media_type).finish(length) }
        };
        let framing = self.draft_head(index, status, fields);
        if known || self.crowd[index].exchange().head_only {
            self.crowd.send(index, &self.draft);
        } else {
            self.crowd.send_frame(index, &self.draft, &page.body);
        }
        self.crowd.end_exchange(index, !framing.close);
    }

    /// Begins a clock: the document and the first tick at once, the next ones from the wheel.
    fn start_clock(&mut self, index: u32, padding: u16) {
        if usize::from(padding) > self.crowd.limits.padding_max {
            return self.refuse(index, Refusal::new(400, "padding is more than this server allows"));
        }
        let framing = self.draft_head(index, 200, |head| {
            let head = head.content_type("text/html; charset=utf-8").lines(UNCACHED).lines(UNBUFFERED);
            head.finish(AnswerBody::UntilClose)
        });
        if self.crowd[index].exchange().head_only {
            self.crowd.send(index, &self.draft);
            return self.crowd.end_exchange(index, !framing.close);
        }
        self.draft.extend_from_slice(CLOCK_DOCUMENT);
        self.crowd[index].phase = Phase::Clock { padding };
        let due_ms = self.crowd.now.mono_ms();
        let unix_s = self.second_of(due_ms);
        self.draft.extend_from_slice(self.tick.bytes(unix_s, usize::from(padding)));
        self.crowd.stats.ticks += 1;
        self.crowd.send(index, &self.draft);
        self.arm_next_tick(index, due_ms);
    }

    fn say(&mut self, index: u32, channel: &str, text: &str) {
        // A HEAD asks what a GET would answer, and must not change anything (RFC 9110 §9.3.2).
        if !text.is_empty() && !self.crowd[index].exchange().head_only {
            let line = Publication { channel: channel.to_owned(), event: None, data: text.into() };
            let what = Unstored { publications: vec![line], deletes: false };
            return self.publish_for(index, what, Receipt::Line);
        }
        self.answer_line(index);
    }

    fn hear(&mut self, index: u32, channel: &str, since: Since) {
        if self.crowd[index].exchange().head_only {
            let framing = self.draft_head(index, 200, |head| {
                head.content_type("application/json").lines(UNCACHED).finish(AnswerBody::Unknown)
            });
            self.crowd.send(index, &self.draft);
            return self.crowd.end_exchange(index, !framing.close);
        }
        match self.hub.poll_chat(channel, since, index, self.crowd.now) {
            Ok(Poll::News(news)) => self.crowd.answer(index, &mut Answers::chat(&news)),
            Ok(Poll::Held(seat)) => {
                self.crowd[index].marks.set(Mark::Polls);
                self.crowd[index].phase = Phase::Subscribed(seat);
                self.crowd.arm_in(index, self.crowd.limits.poll_space_ms);
            }
            Err(refusal) => self.refuse(index, refusal),
        }
    }

    /// Answers with a body that is already there.
    pub(super) fn answer(
        &mut self,
        index: u32,
        status: u16,
        fields: impl FnOnce(AnswerHead<'_>) -> AnswerHead<'_>,
        body: &[u8],
    ) {
        let framing = self.draft_answer(index, status, fields, body);
        self.crowd.send(index, &self.draft);
        self.crowd.end_exchange(index, !framing.close);
    }

    /// Writes an answer into the draft.
    pub(super) fn draft_answer(
        &mut self,
        index: u32,
        status: u16,
        fields: impl FnOnce(AnswerHead<'_>) -> AnswerHead<'_>,
        body: &[u8],
    ) -> AnswerFraming {
        let length = AnswerBody::Length(body.len() as u64);
        let framing = self.draft_head(index, status, |head| fields(head).finish(length));
        if !self.crowd[index].exchange().head_only {
            self.draft.extend_from_slice(body);
        }
        framing
    }

    /// Writes the head of an answer into the draft.
    pub(super) fn draft_head(
        &mut self,
        index: u32,
        status: u16,
        finish: impl FnOnce(AnswerHead<'_>) -> AnswerFraming,
    ) -> AnswerFraming {
        let exchange = self.crowd[index].exchange();
        self.draft.clear();
        finish(AnswerHead::new(
            status,
            exchange.version,
            exchange.keep_alive,
            &self.crowd.date,
            &mut self.draft,
        ))
    }
}

/// A refusal for a program (RFC 9457).
pub(super) fn problem(refusal: &Refusal) -> Vec<u8> {
    let mut json = b"{\"title\":".to_vec();
    text::json_string(reason(refusal.status), &mut json);
    json.extend_from_slice(b",\"status\":");
    text::decimal(u64::from(refusal.status), &mut json);
    json.extend_from_slice(b",\"detail\":");
    text::json_string(&refusal.detail, &mut json);
    json.push(b'}');
    json
}
