//! Intake: from readiness to requests.
//!
//! Sockets are edge-triggered: what is not read now is not announced again. So whoever stops
//! reading before the socket is empty leaves a mark ([`Mark::Unread`]) and is looked at again; and
//! whoever must not be read for now (its answers are not taken, or a poll holds it up)
//! keeps the mark until that has changed.
//!
//! Knows: heads, bodies, phases. Never learns what a request means.

use std::io::ErrorKind;

use crate::dialect::{self, House, Plan, native};
use crate::hub::Seat;
use crate::kit::outbox::Sent;
use crate::transport::Framing;
use crate::wire::http::{BodyReader, CONTINUE, HeadLimits, HeadScan, Remains, Request};
use crate::wire::refusal::Refusal;

use super::Engine;
use super::conn::{Exchange, Input, Mark, Phase, Progress, Socket, Upload};
use super::stats::Hangup;

/// Why a body that has not come yet is not waited for.
const HOLDS_TOO_MUCH: &str =
    "this server holds as much as it may for requests and readers that are not done; try again later";

/// What a read brought.
enum Intake {
    Bytes(usize),
    Nothing,
    End,
    Error,
}

impl<S: Socket> Engine<S> {
    /// The socket can take bytes again.
    pub(super) fn flush(&mut self, index: u32) {
        let conn = &self.crowd[index];
        if conn.outbox.is_empty() {
            // What was cut, was cut between two messages.
            if matches!(conn.phase, Phase::Subscribed(Seat::Behind { .. } | Seat::Several { .. })) {
                self.crowd.look_again(index);
            }
            return;
        }
        let is_stream = conn.is_stream();
        let is_idle = matches!(conn.phase, Phase::Head) && conn.input.is_none();
        let is_leaving = matches!(conn.phase, Phase::Leaving);
        match self.crowd.flush(index) {
            Sent::Broken => return self.crowd.hang_up(index, Hangup::Reset),
            Sent::Blocked => {}
            Sent::All if is_leaving => return self.crowd.linger(index),
            Sent::All if is_idle => self.crowd.await_request(index),
            Sent::All if is_stream => self.crowd.look_again(index),
            Sent::All => {}
        }
        if self.crowd[index].has_unserved_input() {
            self.crowd.look_again(index);
        }
    }

    /// Reads what there is, within bounds. `to_the_end` if the peer is known to have closed:
    /// then a socket that gave less than was asked for is not empty yet, it still has an end.
    pub(super) fn read(&mut self, index: u32, to_the_end: bool) {
        for _ in 0..self.pace.reads_per_turn {
            if self.crowd[index].is_dead() || self.crowd[index].marks.has(Mark::PeerClosed) {
                return;
            }
            if !self.wants_input(index) {
                self.crowd[index].marks.set(Mark::Unread);
                return;
            }
            match self.read_once(index) {
                Intake::Bytes(n) => {
                    self.digest_scratch(index, n);
                    if n < self.scratch.len() && !to_the_end {
                        return;
                    }
                }
                Intake::Nothing => return,
                Intake::End => {
                    self.crowd[index].marks.set(Mark::PeerClosed);
                    return self.end_of_input(index);
                }
                Intake::Error => return self.crowd.hang_up(index, Hangup::Reset),
            }
        }
        self.crowd[index].marks.set(Mark::Unread);
        self.crowd.look_again(index);
    }

    /// Goes on with a connection that no readiness will announce.
    pub(super) fn resume(&mut self, index: u32) {
        if let Phase::Subscribed(seat) = self.crowd[index].phase {
            if self.crowd[index].outbox.is_empty() {
                self.hub.catch_up(index, seat, &mut self.crowd);
            }
            if self.crowd[index].is_dead() {
                return;
            }
        }
        self.digest(index, &[]);
        if self.crowd[index].marks.clear(Mark::Unread) {
            self.read(index, true);
        }
        if self.crowd[index].marks.has(Mark::PeerClosed) {
            self.end_of_input(index);
        }
        if self.bids_farewell() && self.crowd[index].is_stream() && !self.crowd.wheel.is_armed(index) {
            self.part(index);
        }
    }

    /// Whether bytes could be served, or kept, if they were read.
    fn wants_input(&self, index: u32) -> bool {
        let conn = &self.crowd[index];
        match conn.phase {
            Phase::Head | Phase::Body(_) | Phase::Echo => !self.is_paused(index),
            Phase::Subscribed(_) if conn.marks.has(Mark::Polls) => {
                conn.input_bytes() < self.crowd.limits.held_input_bytes_max
            }
            Phase::Storing => conn.input_bytes() < self.crowd.limits.held_input_bytes_max,
            Phase::Subscribed(_) => !conn.marks.has(Mark::Websocket) || !self.is_paused(index),
            Phase::Clock { .. } | Phase::Leaving | Phase::Lingering => true,
        }
    }

    /// Whether no further request or frame is served: too many answers are unsent, or the log has to answer first.
    pub(super) fn is_paused(&self, index: u32) -> bool {
        let conn = &self.crowd[index];
        conn.outbox.len() > self.crowd.limits.unsent_bytes_max || conn.marks.has(Mark::Storing)
    }

    fn read_once(&mut self, index: u32) -> Intake {
        loop {
            return match self.crowd[index].socket.read(&mut self.scratch) {
                Ok(0) => Intake::End,
                Ok(n) => Intake::Bytes(n),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => Intake::Nothing,
                Err(_) => Intake::Error,
            };
        }
    }

    fn digest_scratch(&mut self, index: u32, n: usize) {
        let scratch = std::mem::take(&mut self.scratch);
        self.digest(index, &scratch[..n]);
        self.scratch = scratch;
    }

    /// Serves what can be served of the kept and the fresh bytes, and keeps the rest.
    fn digest(&mut self, index: u32, fresh: &[u8]) {
        let Some(mut input) = self.crowd[index].input.take() else {
            let mut progress = Progress::default();
            let used = self.serve(index, fresh, &mut progress);
            if used < fresh.len() || progress.reader.is_some() {
                self.keep(index, Box::new(Input { bytes: fresh[used..].to_vec(), progress }));
            }
            return;
        };
        self.crowd.recount(input.held_bytes(), 0);
        input.bytes.extend_from_slice(fresh);
        let used = self.serve(index, &input.bytes, &mut input.progress);
        input.bytes.drain(..used);
        if input.bytes.is_empty() {
            // A frame may be on its way for long, and does not need the room that a whole read had taken.
            input.bytes = Vec::new();
        }
        if !input.bytes.is_empty() || input.progress.reader.is_some() {
            self.keep(index, input);
        }
    }

    fn keep(&mut self, index: u32, input: Box<Input>) {
        if self.crowd[index].is_dead() {
            return;
        }
        let held_bytes = input.held_bytes();
        self.crowd[index].input = Some(input);
        self.crowd.recount(0, held_bytes);
    }

    /// Serves one thing after the other: heads, bodies, frames, and what is to be dropped. Returns how
    /// many bytes need not be kept.
    fn serve(&mut self, index: u32, bytes: &[u8], progress: &mut Progress) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let paused = self.is_paused(index);
            let conn = &mut self.crowd[index];
            match &mut conn.phase {
                _ if conn.marks.has(Mark::Dead) => at = bytes.len(),
                Phase::Clock { .. } | Phase::Leaving | Phase::Lingering => at = bytes.len(),
                Phase::Subscribed(_) if conn.marks.has(Mark::Polls) => break,
                Phase::Storing => break,
                _ if paused => break,
                Phase::Subscribed(_) if !conn.marks.has(Mark::Websocket) => at = bytes.len(),
                Phase::Subscribed(_) | Phase::Echo => {
                    at += self.serve_frames(index, rest, &mut progress.reader)
                }
                Phase::Head => match self.scan_head(index, rest, &mut progress.scan) {
                    Some(head) => {
                        at += head;
                        progress.scan = HeadScan::default();
                        self.begin_request(index, &rest[..head], rest.len() - head);
                    }
                    None if matches!(self.crowd[index].phase, Phase::Head) => break,
                    None => {}
                },
                Phase::Body(upload) => {
                    let before = upload.held_bytes();
                    match upload.take(rest) {
                        Ok((used, done)) => {
                            at += used;
                            let after = upload.held_bytes();
                            if done {
                                self.end_request(index, before);
                            } else {
                                self.crowd.recount(before, after);
                            }
                        }
                        Err(refusal) => {
                            let after = upload.held_bytes();
                            self.crowd.recount(before, after);
                            self.refuse(index, refusal);
                        }
                    }
                }
            }
        }
        at
    }

    /// The length of the head that `bytes` begins with, if it is complete. One that is not gets a
    /// deadline with its first byte, and no byte after that moves it. One that cannot be right is refused.
    fn scan_head(&mut self, index: u32, bytes: &[u8], scan: &mut HeadScan) -> Option<usize> {
        let limits = &self.crowd.limits;
        let head_limits = HeadLimits {
            target_bytes_max: limits.target_bytes_max as u32,
            head_bytes_max: limits.head_bytes_max as u32,
            fields_max: limits.fields_max as u32,
        };
        let had_started = scan.started();
        match scan.scan(bytes, &head_limits) {
            Ok(Some(head)) => Some(head),
            Ok(None) => {
                if scan.started() && !had_started {
                    self.crowd.arm_in(index, self.crowd.limits.head_timeout_ms);
                }
                None
            }
            Err(refusal) => {
                self.refuse_head(index, scan.request_line(bytes), refusal);
                None
            }
        }
    }

    /// A head is complete, and so many bytes have come with it. Without a body, so is the request.
    fn begin_request(&mut self, index: u32, head: &[u8], behind: usize) {
        let request = match Request::parse(head) {
            Ok(request) => request,
            Err(refusal) => return self.refuse_head(index, head, refusal),
        };
        self.crowd.stats.requests += 1;
        let mut exchange = Exchange::of(&request);
        exchange.keep_alive &= !self.closing;
        let house = House {
            gate: &self.gate,
            shelf: &mut *self.shelf,
            subscription_channels_max: self.crowd.limits.subscription_channels_max,
            lab: self.lab,
        };
        let mut plan = dialect::route(&request, house);
        if plan.wants_body() && !request.body.is_within(behind) && !self.crowd.may_begin() {
            self.crowd.stats.uploads_refused += 1;
            plan = Plan::Refuse(Refusal::new(503, HOLDS_TOO_MUCH));
        }
        if self.crowd[index].is_dead() {
            // It held the most itself.
            return;
        }
        self.crowd[index].origin = self.gate.number_of(request.field("Origin"));
        let may_publish = self.gate.check_token(&request).is_ok();
        self.crowd[index].marks.put(Mark::MayPublish, may_publish);
        self.crowd[index].marks.put(Mark::ForPrograms, native::is_for_programs(request.path));
        let expects = request.expect_continue;
        if expects && !plan.wants_body() {
            // The body may come or not: nobody could tell where the next request begins.
            exchange.keep_alive = false;
        }
        self.crowd[index].begin_exchange(exchange);
        let limits = &self.crowd.limits;
        let body_bytes_max =
            if matches!(plan, Plan::PublishMany) { limits.bulk_bytes_max } else { limits.message_bytes_max };
        match BodyReader::new(request.body, body_bytes_max as u64) {
            Err(refusal) => self.refuse(index, refusal),
            Ok(reader) if reader.is_done() || expects && !plan.wants_body() => {
                self.carry_out(index, plan, &[])
            }
            Ok(reader) => {
                let plan_bytes = plan_bytes(&request);
                let upload = Box::new(Upload { reader, body: Vec::new(), plan, plan_bytes });
                let held_bytes = upload.held_bytes();
                self.crowd[index].phase = Phase::Body(upload);
                self.crowd.recount(0, held_bytes);
                self.crowd.arm_in(index, self.crowd.limits.body_timeout_ms);
                if expects {
                    self.crowd.send(index, CONTINUE);
                }
            }
        }
    }

    /// Refuses a request for its head, or because that does not come to its end. What of it can be read says whether a
    /// program asks, and whose.
    pub(super) fn refuse_head(&mut self, index: u32, head: &[u8], refusal: Refusal) {
        let remains = Remains::of(head);
        let conn = &mut self.crowd[index];
        conn.begin_exchange(Exchange::NONE);
        conn.origin = self.gate.number_of(remains.origin);
        conn.marks.put(Mark::ForPrograms, remains.path.is_some_and(native::is_for_programs));
        self.refuse(index, refusal);
    }

    /// A body is complete, and with it the request. Its upload was counted with so many bytes.
    fn end_request(&mut self, index: u32, counted: usize) {
        self.crowd.recount(counted, 0);
        if let Phase::Body(upload) = std::mem::replace(&mut self.crowd[index].phase, Phase::Head) {
            let Upload { body, plan, .. } = *upload;
            self.carry_out(index, plan, &body);
        }
    }

    /// The peer sends no more. Whether it still reads, only writing can tell.
    fn end_of_input(&mut self, index: u32) {
        let is_paused = self.is_paused(index);
        let conn = &self.crowd[index];
        match conn.phase {
            // Complete requests are waiting behind unsent answers, or will be looked at now that those are sent.
            Phase::Head if is_paused && conn.input.is_some() => {}
            Phase::Head if conn.marks.has(Mark::Queued) && conn.input.is_some() => {}
            Phase::Head if !conn.outbox.is_empty() => self.crowd.leave(index),
            Phase::Head if conn.input.is_some() => self.crowd.hang_up(index, Hangup::Truncated),
            Phase::Head => self.crowd.hang_up(index, Hangup::Left),
            Phase::Body(_) => self.crowd.hang_up(index, Hangup::Truncated),
            // Chats can be asked with a space whether anybody is there.
            Phase::Subscribed(seat) if *self.hub.framing(seat) == Framing::Chat => {
                self.keep_poll_alive(index)
            }
            Phase::Subscribed(_) | Phase::Echo if conn.marks.has(Mark::Websocket) => {
                self.part_from(index, Hangup::Left);
            }
            Phase::Subscribed(_) => self.await_the_other_half(index),
            Phase::Clock { .. } | Phase::Echo | Phase::Storing => {}
            Phase::Leaving if conn.outbox.is_empty() => self.crowd.hang_up(index, Hangup::Done),
            Phase::Leaving => {}
            Phase::Lingering => self.crowd.hang_up(index, Hangup::Done),
        }
    }
}

/// The most that a plan keeps of a request, in bytes: all of the target, and a `String` for each name in it.
fn plan_bytes(request: &Request<'_>) -> u32 {
    let names = 1 + request.path.bytes().filter(|&byte| byte == b',').count();
    (request.path.len() + request.query.len() + names * size_of::<String>()) as u32
}

impl Upload {
    /// Reads on. Returns how many bytes were the body's, and whether it is complete.
    fn take(&mut self, bytes: &[u8]) -> Result<(usize, bool), Refusal> {
        let progress = if self.plan.wants_body() {
            self.reader.read(bytes, &mut self.body)?
        } else {
            self.reader.skip(bytes)?
        };
        Ok((progress.used, progress.done))
    }
}
