//! A subscriber: what it has heard, and what the bytes that come mean to it.
//!
//! Knows: answers, stamps, marks, order. Never learns how bytes come or go: it is handed what was
//! read, and says what is to be done.

use super::super::answer::{self, Answer, Heard, Nonsense};
use super::super::marks::{Capture, Mark, Value};
use super::super::order::{self, Verdict};
use super::super::plan::{CursorFrom, Habit, Plan};
use super::super::preset::Transport;
use super::super::stamp::{RUN_BYTES, Stamp, StampScan};
use super::super::tally::Tally;
use super::super::ticks::Ticks;

/// What all subscribers of a worker have in common.
pub(super) struct View {
    pub(super) plan: Plan,
    pub(super) run: [u8; RUN_BYTES],
    cursor: Option<Mark>,
    gaps: Vec<Mark>,
    tick: Option<Mark>,
    /// When the first message is due. Zero before anybody knows.
    pub(super) speak_us: u64,
}

impl View {
    pub(super) fn new(plan: Plan) -> Self {
        let mark = |text: &String| Mark::new(text.as_bytes());
        let cursor = match &plan.ask.cursor {
            CursorFrom::Behind(text) => Some(mark(text)),
            _ => None,
        };
        let gaps = plan.ask.gaps.iter().map(mark).collect();
        let tick = plan.ticks.as_ref().map(|ticks| mark(&ticks.behind));
        View { run: plan.run_bytes(), cursor, gaps, tick, speak_us: 0, plan }
    }

    fn due_us(&self, sequence: u32) -> u64 {
        self.plan.due_us(self.speak_us, sequence)
    }
}

/// What is to be done now that bytes have been heard.
#[derive(Debug, Default)]
pub(super) struct Wish {
    /// The first frame is there.
    pub(super) began: bool,
    /// An answer is over; whether the connection lives on.
    pub(super) over: Option<bool>,
    /// Bytes to send: pongs.
    pub(super) reply: Vec<u8>,
}

/// Why one parts from a server.
#[derive(Debug)]
pub(super) enum Parting {
    /// It was refused, and coming back would be no use.
    Refused(String),
    /// Something broke.
    Broken(String),
}

/// One subscriber, over all its connections.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) number: u32,
    pub(super) room: u32,
    pub(super) habit: Habit,
    answer: Answer,
    stamps: StampScan,
    cursor: Capture,
    gap: [u8; 2],
    /// The last two bytes of the body: where they end a message, one can leave.
    tail: [u8; 2],
    /// The last cursor that was seen, and the one up to which everything is there.
    seen: Option<Value>,
    safe: Option<Value>,
    /// Last-Modified and Etag.
    validators: Option<Box<(Vec<u8>, Vec<u8>)>>,
    heard: order::Heard,
    /// Messages that are due from this moment on can be expected. Zero: it has never listened.
    from_us: u64,
    /// Whether it came without a cursor, and can expect nothing from before it listens.
    anew: bool,
    ticks: Option<Box<(Capture, Ticks)>>,
}

impl Person {
    pub(super) fn new(number: u32, plan: &Plan) -> Self {
        Person {
            number,
            room: plan.room(number),
            habit: plan.habit(number),
            answer: Answer::default(),
            stamps: StampScan::default(),
            cursor: Capture::default(),
            gap: [0; 2],
            tail: [0; 2],
            seen: None,
            safe: None,
            validators: None,
            heard: order::Heard::default(),
            from_us: 0,
            anew: true,
            ticks: plan.ticks.as_ref().map(|_| Box::default()),
        }
    }

    /// Appends the request with which it subscribes, or comes back.
    pub(super) fn request(&self, view: &View, out: &mut Vec<u8>) {
        let cursor = self.safe.as_ref().map_or(&b""[..], Value::as_bytes);
        view.plan.write_subscription(self.number, cursor, out);
        if let Some(validators) = &self.validators {
            out.extend_from_slice(b"If-Modified-Since: ");
            out.extend_from_slice(&validators.0);
            out.extend_from_slice(b"\r\nIf-None-Match: ");
            out.extend_from_slice(&validators.1);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    /// A new connection: nothing of its answer is known, everything heard before stays.
    pub(super) fn connect(&mut self, view: &View) {
        self.answer = Answer::default();
        // There is no cursor on such a server, or nothing has been heard yet that would have had one. Decided
        // here: the first bytes of the answer may bring a new one.
        self.anew = self.safe.is_none() && self.validators.is_none();
        self.begin_body(view);
        if let Some(ticks) = &mut self.ticks {
            ticks.1.restart();
        }
    }

    fn begin_body(&mut self, view: &View) {
        self.stamps = StampScan::default();
        self.gap = [0; 2];
        self.tail = *b"\n\n";
        self.seen = None;
        if let Some(mark) = &view.cursor {
            self.cursor.begin(mark, b"\n");
        }
        if let (Some(ticks), Some(mark)) = (&mut self.ticks, &view.tick) {
            ticks.0.begin(mark, b"\n");
        }
    }

    /// It listens from now on (a poll: it has asked).
    pub(super) fn listens(&mut self, now_us: u64) {
        if std::mem::take(&mut self.anew) {
            self.from_us = now_us;
        }
    }

    pub(super) fn has_listened(&self) -> bool {
        self.from_us != 0
    }

    /// Whether it may leave now and lose nothing by it.
    pub(super) fn is_at_rest(&self, transport: Transport) -> bool {
        match transport {
            Transport::Events => self.tail == *b"\n\n",
            Transport::Websocket => self.answer.is_between_frames(),
            Transport::Ndjson | Transport::Iframe => self.tail[1] == b'\n',
            Transport::Poll | Transport::Chat => self.answer.is_fresh(),
            Transport::Clock => true,
        }
    }

    /// Makes room for the ticks of the time in which they are judged.
    pub(super) fn expect_ticks(&mut self, ticks: usize) {
        if let Some(all) = &mut self.ticks {
            all.1.reserve(ticks);
        }
    }

    /// Takes what was read.
    ///
    /// Hot: runs once per read. Allocates nothing unless a head or a ping came in pieces.
    pub(super) fn hear(
        &mut self,
        mut bytes: &[u8],
        now_us: u64,
        view: &View,
        tally: &mut Tally,
    ) -> Result<Wish, Parting> {
        let mut wish = Wish::default();
        tally.bytes += bytes.len() as u64;
        let mut answer = std::mem::take(&mut self.answer);
        let nonsense = |Nonsense(what)| Parting::Broken(what.to_owned());
        while let Some(news) = answer.next(&mut bytes).map_err(nonsense)? {
            match news {
                Heard::Head { status, fields } => {
                    self.head(status, fields, view)?;
                    wish.began = true;
                }
                Heard::Body(body) => self.body(body, now_us, view, tally),
                Heard::Ping(payload) => pong(payload, &mut wish.reply),
                Heard::Farewell => wish.over = Some(false),
                Heard::End { keep } => wish.over = Some(keep),
            }
        }
        self.answer = answer;
        if self.is_at_rest(view.plan.transport) && self.seen.is_some() {
            self.safe = self.seen;
        }
        Ok(wish)
    }

    fn head(&mut self, status: u16, fields: &[u8], view: &View) -> Result<(), Parting> {
        let is_poll = view.plan.transport.is_poll();
        let expected = match view.plan.transport {
            Transport::Websocket => status == 101,
            // What servers answer to a poll that has waited long enough.
            _ if is_poll => matches!(status, 200 | 204 | 304 | 408),
            _ => status == 200,
        };
        if !expected {
            return Err(Parting::Refused(format!("status {status}")));
        }
        self.begin_body(view);
        if view.plan.ask.cursor == CursorFrom::Validators && status == 200 {
            let value = |name| answer::field(fields, name).unwrap_or_default().to_vec();
            self.validators = Some(Box::new((value("last-modified"), value("etag"))));
        }
        Ok(())
    }

    /// Takes a piece of a body.
    ///
    /// Hot: runs once per delivery.
    fn body(&mut self, body: &[u8], now_us: u64, view: &View, tally: &mut Tally) {
        let mut rest = body;
        while let Some(stamp) = self.stamps.next(&view.run, &mut rest) {
            self.message(stamp, now_us, view, tally);
        }
        if let Some(mark) = &view.cursor {
            let mut rest = body;
            while let Some(value) = self.cursor.next(mark, &mut rest) {
                self.seen = Some(value);
            }
        }
        for (mark, matched) in view.gaps.iter().zip(&mut self.gap) {
            let mut rest = body;
            while mark.find(matched, &mut rest) {
                tally.gaps += 1;
            }
        }
        if let (Some(ticks), Some(mark)) = (&mut self.ticks, &view.tick) {
            let mut rest = body;
            while let Some(value) = ticks.0.next(mark, &mut rest) {
                let shown = std::str::from_utf8(value.as_bytes()).ok().and_then(|text| text.parse().ok());
                let period_us = view.plan.ticks.as_ref().map_or(1, |ticks| ticks.period_us);
                let keep = view.speak_us != 0 && now_us >= view.speak_us;
                match shown.map(|shown: i64| ticks.1.take(shown, now_us, period_us, keep)) {
                    Some(Some(missed)) => {
                        tally.ticks.received += 1;
                        tally.ticks.missed += missed;
                    }
                    Some(None) => tally.ticks.repeated += 1,
                    None => tally.error("a tick that shows no whole seconds"),
                }
            }
        }
        match *body {
            [] => {}
            [one] => self.tail = [self.tail[1], one],
            [.., last_but_one, last] => self.tail = [last_but_one, last],
        }
    }

    /// Takes a message.
    ///
    /// Hot: runs once per delivery.
    fn message(&mut self, stamp: Stamp, now_us: u64, view: &View, tally: &mut Tally) {
        let (room, number) = (stamp.sequence % view.plan.channels, stamp.sequence / view.plan.channels);
        if room != self.room || stamp.sequence as usize >= tally.broadcasts.len() {
            tally.strays += 1;
            return;
        }
        if self.habit != Habit::Regular {
            tally.slow_received += 1;
            return;
        }
        match self.heard.take(number) {
            Verdict::New { skipped } => skipped.for_each(|number| self.missed(number, view, tally)),
            Verdict::OutOfOrder { ahead } => {
                tally.overtaken(stamp.sequence, ahead * view.plan.channels + self.room);
                match view.due_us(stamp.sequence) < self.from_us {
                    true => tally.away = tally.away.saturating_sub(1),
                    false => tally.broadcasts[stamp.sequence as usize].missing -= 1,
                }
            }
            Verdict::Duplicate => {
                tally.duplicated += 1;
                return;
            }
        }
        tally.broadcasts[stamp.sequence as usize].reached(now_us);
        tally.latency_us.record(now_us.saturating_sub(stamp.planned_us));
    }

    fn missed(&self, number: u32, view: &View, tally: &mut Tally) {
        let sequence = number * view.plan.channels + self.room;
        if view.due_us(sequence) < self.from_us {
            tally.away += 1;
        } else if let Some(broadcast) = tally.broadcasts.get_mut(sequence as usize) {
            broadcast.missing += 1;
        }
    }

    /// The end: what it should have heard of the first `said` messages and did not.
    pub(super) fn finish(&mut self, said: u32, view: &View, tally: &mut Tally) {
        if let (Some(ticks), Some(plan)) = (&self.ticks, &view.plan.ticks) {
            ticks.1.judge(plan.period_us, &mut tally.ticks);
        }
        if self.habit != Habit::Regular || self.from_us == 0 {
            return;
        }
        for number in self.heard.finish(view.plan.said_in(self.room, said)) {
            self.missed(number, view, tally);
        }
    }
}

/// A pong with the ping's payload (RFC 6455 section 5.5.3), masked as a client's frames are; a mask of zeros is one.
fn pong(payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x8a, 0x80 | payload.len().min(125) as u8, 0, 0, 0, 0]);
    out.extend_from_slice(payload);
}
