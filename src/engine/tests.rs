//! The engine over sockets that are not there, in a time that stands still.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;

use crate::config::Limits;
use crate::dialect::gate::Gate;
use crate::dialect::pages::Embedded;
use crate::kit::clock::Now;
use crate::kit::id::ConnId;

use super::{Engine, Hangup, LOUNGE, Readiness, Socket};

/// Both ends of a connection without a kernel between them.
#[derive(Default)]
struct Line {
    /// What the client has sent and the server has not read.
    up: VecDeque<u8>,
    /// What the server has written and the client has not read.
    down: Vec<u8>,
    /// How many more bytes the server may write before it would block.
    room: usize,
    client_closed: bool,
    server_closed: bool,
    dropped: bool,
}

/// The server's end.
struct Fake(Rc<RefCell<Line>>);

impl Read for Fake {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut line = self.0.borrow_mut();
        match line.up.len() {
            0 if line.client_closed => Ok(0),
            0 => Err(ErrorKind::WouldBlock.into()),
            waiting => {
                let n = waiting.min(bytes.len());
                for (byte, sent) in bytes.iter_mut().zip(line.up.drain(..n)) {
                    *byte = sent;
                }
                Ok(n)
            }
        }
    }
}

impl Write for Fake {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut line = self.0.borrow_mut();
        let n = bytes.len().min(line.room);
        if n == 0 && !bytes.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        line.room -= n;
        line.down.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.write(&pieces.iter().flat_map(|piece| piece.iter().copied()).collect::<Vec<u8>>())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Fake {
    fn shutdown_write(&mut self) {
        self.0.borrow_mut().server_closed = true;
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.0.borrow_mut().dropped = true;
    }
}

/// The client's end.
struct Client {
    id: ConnId,
    line: Rc<RefCell<Line>>,
}

impl Client {
    /// What has arrived since the last call.
    fn read(&self) -> String {
        let bytes = std::mem::take(&mut self.line.borrow_mut().down);
        String::from_utf8(bytes).expect("the server writes text")
    }

    fn is_gone(&self) -> bool {
        self.line.borrow().dropped
    }

    fn has_ended(&self) -> bool {
        self.line.borrow().server_closed || self.is_gone()
    }
}

/// A server, and the time it is told.
struct World {
    engine: Engine<Fake>,
    now: Now,
}

/// A Tuesday, at 250 ms past the second.
const START: Now = Now { mono_us: 5_000_250_000, unix_us: 1_700_000_000_250_000 };

impl World {
    fn new(limits: Limits) -> Self {
        let limits = Limits { connections_max: limits.connections_max.max(1), ..limits };
        let engine = Engine::new(limits, Gate::default(), Box::new(Embedded::new()), START);
        World { engine, now: START }
    }

    fn roomy() -> Self {
        World::new(Limits { connections_max: 1_000, ..Limits::default() })
    }

    fn connect(&mut self) -> Client {
        let line = Rc::new(RefCell::new(Line { room: usize::MAX, ..Line::default() }));
        let id = self.engine.next_id();
        self.engine.accept(Fake(Rc::clone(&line)), None, self.now);
        Client { id, line }
    }

    fn send(&mut self, client: &Client, bytes: &str) {
        client.line.borrow_mut().up.extend(bytes.as_bytes());
        self.tell(client, Readiness { readable: true, ..Readiness::default() });
    }

    fn close(&mut self, client: &Client) {
        client.line.borrow_mut().client_closed = true;
        self.tell(client, Readiness { readable: true, read_closed: true, writable: false });
    }

    /// The client reads, and so makes room.
    fn make_room(&mut self, client: &Client, bytes: usize) {
        client.line.borrow_mut().room += bytes;
        self.tell(client, Readiness { writable: true, ..Readiness::default() });
    }

    fn tell(&mut self, client: &Client, readiness: Readiness) {
        self.engine.ready(client.id, readiness, self.now);
        self.settle();
    }

    /// Turns until there is nothing left to do now.
    fn settle(&mut self) {
        loop {
            self.engine.advance(self.now);
            if self.engine.deadline().is_none_or(|deadline_us| deadline_us > self.now.mono_us) {
                return;
            }
        }
    }

    /// Lets time pass, waking at every deadline as the reactor would. Returns how often it woke.
    fn pass_ms(&mut self, ms: u64) -> usize {
        let end_us = self.now.mono_us + ms * 1_000;
        let mut wakes = 0;
        while let Some(deadline_us) = self.engine.deadline().filter(|&deadline_us| deadline_us <= end_us) {
            self.jump_to(deadline_us);
            self.settle();
            wakes += 1;
        }
        self.jump_to(end_us);
        wakes
    }

    fn jump_to(&mut self, mono_us: u64) {
        self.now.unix_us += mono_us - self.now.mono_us;
        self.now.mono_us = mono_us;
    }

    fn ask(&mut self, request: &str) -> Client {
        let client = self.connect();
        self.send(&client, request);
        client
    }
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

fn tick(unix_s: u64) -> String {
    format!(r#"<script type="text/javascript">comet.printServerTime({unix_s});</script>"#)
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("an answer has a head").1
}

// --- The clock ---------------------------------------------------------------------------------

#[test]
fn a_clock_ticks_at_once_and_then_once_per_second_of_its_own() {
    let mut world = World::roomy();
    let clock = world.ask(&get("/clock/backend.php"));
    assert!(clock.read().ends_with(&format!("<body>\n{}", tick(1_700_000_000))));
    assert_eq!(world.pass_ms(999), 0, "nothing is due in between");
    assert_eq!(clock.read(), "");
    assert_eq!(world.pass_ms(1), 1);
    assert_eq!(clock.read(), tick(1_700_000_001));
    world.pass_ms(3_000);
    assert_eq!(clock.read(), [2, 3, 4].map(|s| tick(1_700_000_000 + s)).concat());
}

#[test]
fn a_late_turn_makes_no_later_tick_late() {
    let mut world = World::roomy();
    let clock = world.ask(&get("/backend.php"));
    clock.read();
    world.jump_to(world.now.mono_us + 1_400_000);
    world.settle();
    assert_eq!(clock.read(), tick(1_700_000_001));
    world.pass_ms(600);
    assert_eq!(clock.read(), tick(1_700_000_002));
}

#[test]
fn beats_missed_while_asleep_are_skipped_and_not_bunched() {
    let mut world = World::roomy();
    let clock = world.ask(&get("/backend.php"));
    clock.read();
    world.jump_to(world.now.mono_us + 60_500_000);
    world.settle();
    assert_eq!(clock.read(), tick(1_700_000_060));
    world.pass_ms(500);
    assert_eq!(clock.read(), tick(1_700_000_061));
}

#[test]
fn no_second_is_skipped_or_said_twice_however_late_the_turns_are() {
    let mut world = World::roomy();
    // A phase just before the second's end, where a millisecond more or less is another second.
    world.jump_to(world.now.mono_us + 749_700);
    let clock = world.ask(&get("/backend.php"));
    let mut said = clock.read();
    for late_us in [0, 900, 0, 300, 999, 1, 500] {
        let due_us = world.engine.deadline().expect("the next tick is due");
        world.jump_to(due_us + late_us);
        world.settle();
        said += &clock.read();
    }
    let expected: String = (0..=7).map(|s| tick(1_700_000_000 + s)).collect();
    assert!(said.ends_with(&expected), "{said}");
}

#[test]
fn a_reader_that_stalls_costs_the_rest_of_one_tick_and_then_hears_the_newest() {
    let mut world = World::roomy();
    let clock = world.ask(&get("/backend.php"));
    clock.read();
    clock.line.borrow_mut().room = 10;
    world.pass_ms(5_000);
    world.make_room(&clock, usize::MAX / 2);
    assert_eq!(clock.read(), tick(1_700_000_001), "the one that was begun is finished");
    assert_eq!(world.engine.stats().ticks_skipped, 4);
    world.pass_ms(1_000);
    assert_eq!(clock.read(), tick(1_700_000_006));
}

#[test]
fn a_reader_that_never_reads_is_parted_from() {
    let mut world = World::roomy();
    let clock = world.ask(&get("/backend.php"));
    clock.line.borrow_mut().room = 0;
    world.pass_ms(Limits::default().write_timeout_ms + 2_000);
    assert!(clock.is_gone());
    assert_eq!(world.engine.stats().hangups(Hangup::Stalled), 1);
}

#[test]
fn padding_is_limited_by_the_setting() {
    let mut world = World::new(Limits { padding_max: 10, connections_max: 2, ..Limits::default() });
    let fits = world.ask(&get("/backend.php?padding=10"));
    assert!(fits.read().ends_with(&format!("<body>\n{}{}", " ".repeat(10), tick(1_700_000_000))));
    let exceeds = world.ask(&get("/backend.php?padding=11"));
    assert!(exceeds.read().starts_with("HTTP/1.1 400 "));
}

// --- The chat ----------------------------------------------------------------------------------

#[test]
fn everybody_who_waits_hears_the_news_at_once() {
    let mut world = World::roomy();
    let polls: Vec<Client> = (0..600).map(|_| world.ask(&get("/chat/backend.php?timestamp=0"))).collect();
    let other = world.ask(&get("/elsewhere/backend.php?timestamp=0"));
    world.ask(&get("/chat/backend.php?msg=hello"));
    for poll in &polls {
        assert_eq!(body(&poll.read()), r#"{"msg":"hello","timestamp":1700000000.250001}"#);
    }
    assert_eq!(other.read(), "", "another directory is another chat");
}

#[test]
fn messages_of_one_instant_are_walked_one_by_one() {
    let mut world = World::roomy();
    for i in 0..5 {
        world.ask(&get(&format!("/backend.php?msg=m{i}")));
    }
    let mut cursor = String::from("1");
    for i in 0..5 {
        let poll = world.ask(&get(&format!("/backend.php?timestamp={cursor}")));
        let answer = poll.read();
        let json = body(&answer);
        assert!(json.starts_with(&format!(r#"{{"msg":"m{i}","#)), "{json}");
        cursor = json.rsplit_once(':').unwrap().1.trim_end_matches('}').to_owned();
    }
    let poll = world.ask(&get(&format!("/backend.php?timestamp={cursor}")));
    assert_eq!(poll.read(), "", "it has everything, and waits");
}

#[test]
fn a_poller_that_comes_back_between_two_messages_of_a_burst_misses_none() {
    let mut world = World::roomy();
    let poll = world.ask(&get("/backend.php?timestamp=0"));
    let say = |world: &mut World, text: &str| world.engine.publish("chat:/", text, world.now).unwrap();
    say(&mut world, "one");
    say(&mut world, "two");
    // It is answered in the middle of a turn and asks again before the next one.
    world.engine.advance(world.now);
    let first = poll.read();
    assert!(body(&first).starts_with(r#"{"msg":"one""#));
    world.send(&poll, &get("/backend.php?timestamp=1700000000.250001"));
    assert!(body(&poll.read()).starts_with(r#"{"msg":"two""#));
}

#[test]
fn zero_is_answered_with_the_newest_message() {
    let mut world = World::roomy();
    world.ask(&get("/backend.php?msg=old"));
    world.ask(&get("/backend.php?msg=new"));
    assert!(body(&world.ask(&get("/backend.php?timestamp=0")).read()).starts_with(r#"{"msg":"new""#));
}

#[test]
fn a_cursor_from_the_future_is_answered_with_the_oldest_message() {
    let mut world = World::roomy();
    world.ask(&get("/backend.php?msg=old"));
    world.ask(&get("/backend.php?msg=new"));
    let poll = world.ask(&get("/backend.php?timestamp=1800000000"));
    assert!(body(&poll.read()).starts_with(r#"{"msg":"old""#));
}

#[test]
fn a_held_poll_gets_a_space_now_and_then_and_its_answer_behind_them() {
    let mut world = World::roomy();
    let poll = world.ask(&get("/backend.php?timestamp=0"));
    assert_eq!(world.pass_ms(19_999), 0, "no wake-up between the spaces");
    assert_eq!(world.pass_ms(20_001), 2);
    let begun = poll.read();
    assert!(begun.contains("\r\nTransfer-Encoding: chunked\r\n"));
    assert!(begun.ends_with("\r\n\r\n1\r\n \r\n1\r\n \r\n"));
    world.ask(&get("/backend.php?msg=x"));
    assert_eq!(poll.read(), "29\r\n{\"msg\":\"x\",\"timestamp\":1700000040.250000}\r\n0\r\n\r\n");
    assert!(!poll.has_ended());
}

#[test]
fn a_poller_that_closes_its_half_is_still_answered() {
    let mut world = World::roomy();
    let poll = world.ask(&get("/backend.php?timestamp=0"));
    world.close(&poll);
    world.ask(&get("/backend.php?msg=x"));
    assert!(poll.read().contains(r#"{"msg":"x","#));
    assert!(poll.is_gone());
}

#[test]
fn requests_behind_a_held_poll_wait_for_it() {
    let mut world = World::roomy();
    let client = world.connect();
    world.send(&client, &(get("/backend.php?timestamp=0") + &get("/healthz") + &get("/nowhere")));
    assert_eq!(client.read(), "");
    world.ask(&get("/backend.php?msg=x"));
    let answers = client.read();
    let order = ["\"msg\":\"x\"", "ok\n", "HTTP/1.1 404"].map(|part| answers.find(part).expect(part));
    assert!(order.is_sorted());
}

#[test]
fn a_flood_behind_a_held_poll_stays_with_the_sender() {
    let mut world = World::roomy();
    let client = world.ask(&get("/backend.php?timestamp=0"));
    let flood = get("/healthz").repeat(40_000);
    world.send(&client, &flood);
    let kept = Limits::default().held_input_bytes_max + super::SCRATCH_BYTES;
    assert!(client.line.borrow().up.len() >= flood.len() - kept, "the rest is left in the socket");
    world.ask(&get("/backend.php?msg=x"));
    assert_eq!(client.read().matches("ok\n").count(), 40_000, "and it is served, once the poll is over");
}

#[test]
fn pollers_that_leave_free_their_seats() {
    let mut world = World::roomy();
    for _ in 0..500 {
        let poll = world.ask(&get("/backend.php?timestamp=0"));
        world.close(&poll);
        // The space that asks whether it is still there finds nobody.
        world.engine.crowd.hang_up(poll.id.index, Hangup::Reset);
        world.settle();
        assert!(poll.is_gone());
    }
    assert_eq!(world.engine.connections(), 0);
    assert_eq!(world.engine.hub.channels(), 0);
    assert_eq!(world.engine.deadline(), None);
}

#[test]
fn channels_beyond_the_most_are_refused_and_come_back_when_others_go() {
    let mut world = World::new(Limits { channels_max: 2, connections_max: 10, ..Limits::default() });
    let polls = ["/a/", "/b/"].map(|path| world.ask(&get(&format!("{path}backend.php?timestamp=0"))));
    let refused = world.ask(&get("/c/backend.php?timestamp=0"));
    assert!(refused.read().starts_with("HTTP/1.1 503 "));
    world.engine.crowd.hang_up(polls[0].id.index, Hangup::Reset);
    world.settle();
    assert_eq!(world.ask(&get("/c/backend.php?timestamp=0")).read(), "");
}

#[test]
fn old_messages_are_forgotten_and_with_them_their_channel() {
    let mut world = World::roomy();
    let speaker = world.ask(&get("/backend.php?msg=x"));
    world.close(&speaker);
    let age_ms = Limits::default().history_age_ms;
    assert!(world.pass_ms(age_ms + 1_000) <= 2);
    assert_eq!(world.engine.hub.channels(), 0);
    assert_eq!(world.engine.deadline(), None, "nothing is due any more");
}

// --- Requests ----------------------------------------------------------------------------------

#[test]
fn answers_come_in_the_order_of_the_requests_in_whatever_pieces_they_arrive() {
    let form = "POST /backend.php HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let chunked = format!("{form}Transfer-Encoding: chunked\r\n\r\n5\r\nmsg=a\r\n1\r\nb\r\n0\r\n\r\n");
    let counted = format!("{form}Content-Length: 6\r\n\r\nmsg=cd");
    let requests =
        get("/healthz") + &chunked + &counted + &get("/nowhere") + &get("/backend.php?timestamp=1");
    let whole = World::roomy().ask(&requests).read();
    assert_eq!(whole.matches("HTTP/1.1 200 OK\r\n").count(), 4);
    assert!(whole.ends_with(r#"{"msg":"ab","timestamp":1700000000.250001}"#));
    for step in [1, 2, 3, 7, 50] {
        let mut world = World::roomy();
        let client = world.connect();
        for piece in requests.as_bytes().chunks(step) {
            world.send(&client, std::str::from_utf8(piece).unwrap());
        }
        assert_eq!(client.read(), whole, "{step} bytes at a time");
    }
}

#[test]
fn whoever_does_not_read_is_not_served_more() {
    let mut world = World::roomy();
    let client = world.connect();
    client.line.borrow_mut().room = 0;
    world.send(&client, &get("/style.css").repeat(1_000));
    let unsent = world.engine.crowd[client.id.index].outbox.len();
    assert!(unsent < 2 * Limits::default().unsent_bytes_max, "{unsent} bytes");
    world.make_room(&client, usize::MAX);
    assert_eq!(client.read().matches("HTTP/1.1 200 OK").count(), 1_000);
}

#[test]
fn a_head_has_a_deadline_that_no_byte_moves() {
    let mut world = World::roomy();
    let client = world.connect();
    world.pass_ms(5_000);
    for byte in "GET / HTTP".chars() {
        world.send(&client, &byte.to_string());
        world.pass_ms(999);
        assert!(!client.has_ended());
    }
    world.pass_ms(20);
    assert!(client.read().starts_with("HTTP/1.1 408 "));
    assert!(client.has_ended() && !client.is_gone());
    world.pass_ms(1_000);
    assert!(client.is_gone(), "after a moment to read the answer");
}

#[test]
fn a_body_has_a_deadline_that_no_byte_moves() {
    let mut world = World::roomy();
    let head = "POST /backend.php HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let client = world.ask(&format!("{head}Content-Length: 100\r\n\r\n"));
    for _ in 0..30 {
        world.send(&client, "x");
        world.pass_ms(999);
    }
    world.pass_ms(31);
    assert!(client.read().starts_with("HTTP/1.1 408 "));
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let mut world = World::roomy();
    let client = world.ask(&get("/healthz"));
    client.read();
    assert_eq!(world.pass_ms(74_999), 0);
    world.pass_ms(1);
    assert!(client.is_gone());
    assert_eq!(client.read(), "");
}

#[test]
fn empty_lines_do_not_prolong_a_deadline() {
    let mut world = World::roomy();
    let client = world.connect();
    for _ in 0..3 {
        world.pass_ms(3_000);
        world.send(&client, "\r\n");
    }
    world.pass_ms(1_000);
    assert!(client.is_gone());
}

#[test]
fn a_truncated_body_is_never_published() {
    let mut world = World::roomy();
    let head = "POST /backend.php HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let client = world.ask(&format!("{head}Content-Length: 100\r\n\r\nmsg=abc"));
    world.close(&client);
    assert!(client.is_gone());
    assert_eq!(client.read(), "");
    assert_eq!(world.engine.stats().messages, 0);
}

#[test]
fn nothing_behind_an_error_is_served() {
    let mut world = World::roomy();
    let client =
        world.ask(&format!("GET / HTTP/1.1\r\nHost: x\r\nBad Name: 1\r\n\r\n{}", get("/backend.php?msg=x")));
    let answer = client.read();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\r\nConnection: close\r\n"));
    assert_eq!(answer.matches("HTTP/1.1").count(), 1);
    assert_eq!(world.engine.stats().messages, 0);
}

#[test]
fn one_too_many_hears_that_the_server_is_full() {
    let mut world = World::new(Limits { connections_max: 2, ..Limits::default() });
    let seated = [world.connect(), world.connect()];
    let extra = world.connect();
    assert!(extra.read().starts_with("HTTP/1.1 503 "));
    assert!(extra.has_ended());
    for _ in 1..LOUNGE {
        assert!(!world.connect().is_gone());
    }
    assert!(world.connect().is_gone(), "beyond the lounge it is dropped");
    world.pass_ms(1_000);
    assert_eq!(world.engine.connections(), 2);
    world.close(&seated[0]);
    world.send(&seated[1], &get("/healthz"));
    assert!(seated[1].read().ends_with("ok\n"));
    assert_eq!(world.ask(&get("/healthz")).read().matches("ok\n").count(), 1);
}

#[test]
fn an_event_for_a_tenant_that_moved_out_finds_nobody() {
    let mut world = World::roomy();
    let old = world.connect();
    world.close(&old);
    let new = world.connect();
    assert_eq!(old.id.index, new.id.index);
    world.engine.ready(old.id, Readiness { readable: true, writable: true, read_closed: true }, world.now);
    world.settle();
    assert!(!new.is_gone());
}

#[test]
fn an_ending_server_finishes_what_it_began() {
    let mut world = World::roomy();
    let idle = world.connect();
    let poll = world.ask(&get("/backend.php?timestamp=0"));
    let clock = world.ask(&get("/backend.php"));
    let slow = world.connect();
    slow.line.borrow_mut().room = 100;
    world.send(&slow, &get("/style.css"));
    world.engine.shut_down(world.now);
    assert!(idle.is_gone() && poll.is_gone() && clock.has_ended() && !slow.has_ended());
    world.make_room(&slow, usize::MAX / 2);
    assert!(slow.has_ended());
    assert!(slow.read().contains("\r\n\r\n"));
    world.pass_ms(1_000);
    assert_eq!(world.engine.connections(), 0);
}
