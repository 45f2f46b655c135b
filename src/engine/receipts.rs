//! Receipts: what a publisher is told, when the log has its message or when nothing was published.
//!
//! Knows: who asked in which way, ids. Never learns how long it took.

use serde_json::value::RawValue;

use crate::transport::long_poll::{UNCACHED, UNSTORED};
use crate::wire::refusal::Refusal;
use crate::wire::text;

use super::channels::JSON;
use super::conn::Socket;
use super::{Engine, Unstored};

/// How a publisher asked, and so how it is told.
pub(super) enum Receipt {
    /// One text for all these channels.
    One,
    /// Many at once.
    Many,
    /// A line of the article's chat.
    Line,
    /// The last word of a channel.
    LastWord,
    /// A WebSocket's command, with its `ref`.
    Command(Option<Box<RawValue>>),
}

impl<S: Socket> Engine<S> {
    /// Tells a publisher what became of it: it has this id, or its first message has, and the others those that follow.
    pub(super) fn confirm(
        &mut self,
        index: u32,
        receipt: Receipt,
        what: &Unstored,
        published: Result<u64, Refusal>,
    ) {
        let first_id = match (&receipt, published) {
            (Receipt::Command(reference), published) => {
                return self.answer_command(index, reference.as_deref().map(RawValue::get), published);
            }
            (_, Err(refusal)) => return self.refuse(index, refusal),
            (_, Ok(first_id)) => first_id,
        };
        let (status, json) = match receipt {
            Receipt::One => (201, self.receipt_of_one(what, first_id)),
            Receipt::Many => (201, receipt_of_many(what, first_id)),
            Receipt::LastWord => (200, receipt_of_last_word(what, first_id)),
            Receipt::Line | Receipt::Command(_) => return self.answer_line(index),
        };
        let lines = self.gate.origin_lines(self.crowd[index].origin).to_vec();
        self.hand_out(index, status, JSON, [UNSTORED, &lines], &json);
    }

    /// Answers a publisher. Those who listen come first: they wait for news, and he only for a receipt.
    fn hand_out(&mut self, index: u32, status: u16, kind: &str, lines: [&[u8]; 2], body: &[u8]) {
        let framing = self.draft_answer(
            index,
            status,
            |head| head.content_type(kind).lines(lines[0]).lines(lines[1]),
            body,
        );
        self.crowd.send_behind_sweeps(index, &self.draft);
        self.crowd.end_exchange(index, !framing.close);
    }

    /// `{"id":ID,"channels":[NAME,…],"subscribers":N}`
    fn receipt_of_one(&self, what: &Unstored, first_id: u64) -> Vec<u8> {
        let names = || what.publications.iter().map(|publication| publication.channel.as_str());
        let listeners =
            names().filter_map(|name| self.hub.channel_stats(name)).map(|stats| stats.subscribers);
        let mut json = b"{\"id\":".to_vec();
        text::decimal(first_id + what.publications.len() as u64 - 1, &mut json);
        json.extend_from_slice(b",\"channels\":");
        list(names(), text::json_string, &mut json);
        json.extend_from_slice(b",\"subscribers\":");
        text::decimal(listeners.sum::<usize>() as u64, &mut json);
        json.push(b'}');
        json
    }

    /// The script of the article's chat says nothing.
    pub(super) fn answer_line(&mut self, index: u32) {
        self.hand_out(index, 200, "text/html; charset=utf-8", [UNCACHED, b""], b"");
    }
}

/// `{"ids":[ID,…]}`
fn receipt_of_many(what: &Unstored, first_id: u64) -> Vec<u8> {
    let mut json = b"{\"ids\":".to_vec();
    list((first_id..).take(what.publications.len()), text::decimal, &mut json);
    json.push(b'}');
    json
}

/// `{"id":ID,"channel":NAME}`
fn receipt_of_last_word(what: &Unstored, id: u64) -> Vec<u8> {
    let mut json = b"{\"id\":".to_vec();
    text::decimal(id, &mut json);
    json.extend_from_slice(b",\"channel\":");
    what.publications.iter().for_each(|last| text::json_string(&last.channel, &mut json));
    json.push(b'}');
    json
}

/// Appends `[ONE,…]`.
fn list<T>(all: impl Iterator<Item = T>, write: impl Fn(T, &mut Vec<u8>), json: &mut Vec<u8>) {
    json.push(b'[');
    for (nth, one) in all.enumerate() {
        if nth > 0 {
            json.push(b',');
        }
        write(one, json);
    }
    json.push(b']');
}
