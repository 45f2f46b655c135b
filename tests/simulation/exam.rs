//! Examinations: what a server promises about time, room and rates, to the millisecond and to the one.
//!
//! An examiner comes from an address where nobody else is, and asks in channels of which nobody else knows. So what
//! he must be told does not depend on what happened before, whatever that was.
//!
//! Knows: limits, and what happens at each. Never throws dice but his own.

use std::net::{IpAddr, Ipv6Addr};

use encke::config::Limits;
use encke::engine::Hangup;
use encke::wire::json::Publication;

use super::dice::Dice;
use super::farewell::WIDE;
use super::visitor::{Answer, Question, Stays, text};
use super::wire::Line;
use super::world::World;

/// Connections of an address beyond its most that are let in to hear why they cannot stay.
const ANTEROOM: usize = 4;

/// A page that is longer than what a narrow line takes.
const PAGE: &str = "/style.css";

/// As narrow as a line gets.
const NARROW: usize = 100;

/// Longer than this nobody wants to wait for an examination, in milliseconds.
const PATIENCE_MS: u64 = 5_000;

impl World {
    pub fn examine(&mut self, what: usize, seed: u64) -> Result<(), String> {
        if self.leaving.is_some() {
            return Ok(());
        }
        self.settle()?;
        let dice = &mut Dice::new(seed);
        if self.is_tight() {
            return self.examine_the_budget().map_err(|error| format!("{error}, with little room"));
        }
        // What few worlds bound is looked at more often there.
        let what = match self.settings.limits {
            Limits { publish_rate_max: 1.., .. } if dice.once_in(3) => 4,
            Limits { connections_per_address_max: 1.., .. } if dice.once_in(3) => 5,
            _ => what % 10,
        };
        let examined = match what {
            0 => self.examine_trickling(dice.once_in(2)),
            1 if dice.once_in(2) => self.examine_a_heartbeat(),
            1 => self.examine_idling(),
            2 => self.examine_polls(dice.once_in(2), dice.once_in(2)),
            3 if dice.once_in(2) => self.examine_one_who_stalls(),
            3 => self.examine_a_slow_reader(),
            4 => self.examine_the_rate(),
            5 => self.examine_addresses(),
            6 if dice.once_in(3) => self.examine_the_clock(),
            6 | 7 => self.examine_one_who_does_not_read(),
            8 => self.examine_spaces(),
            _ => self.examine_channels(),
        };
        examined.map_err(|error| format!("examination {what}: {error}"))
    }

    // --- Coming and asking ----------------------------------------------------------------------

    /// Somebody comes from where nobody else is. Nobody, if the server is full: then he hears that.
    pub fn connect_a_stranger(&mut self, capacity: usize) -> Result<Option<Line>, String> {
        let peer = self.new_address();
        self.come(capacity, peer)
    }

    fn come(&mut self, capacity: usize, peer: IpAddr) -> Result<Option<Line>, String> {
        let Some(line) = self.connect_from(capacity, peer) else { return Ok(None) };
        if line.borrow().written == 0 {
            return Ok(Some(line));
        }
        let mut heard = self.read_out(&line)?;
        Question { stays: Stays::No, ..Question::new("", 503) }.check(&mut heard)?;
        line.borrow_mut().half_close();
        self.settle()?;
        Ok(None)
    }

    /// An address of which nobody has heard: the first of a /64.
    fn new_address(&mut self) -> IpAddr {
        self.strangers += 1;
        Ipv6Addr::new(0x2001, 0xdb8, 0, self.strangers, 0, 0, 0, 1).into()
    }

    fn ask_one(&mut self, line: &Line, question: &Question) -> Result<Answer, String> {
        let mut heard = self.converse(line, &question.request, WIDE, false)?;
        let answer = question.check(&mut heard)?;
        if heard.is_empty() { Ok(answer) } else { Err(format!("{:?} behind an answer", text(&heard))) }
    }

    /// An embedder says something in a channel of which no subscriber knows.
    fn say_aside(&mut self, channel: &str, data: &str) -> Result<u64, String> {
        let publication = Publication { channel: channel.to_owned(), event: None, data: data.into() };
        let ids =
            self.engine.publish(&[publication], self.now).map_err(|refusal| refusal.detail.to_string())?;
        self.said_aside += 1;
        Ok(ids[0])
    }

    fn let_go(&mut self, lines: &[Line]) -> Result<(), String> {
        lines.iter().for_each(|line| line.borrow_mut().half_close());
        self.settle()
    }

    // --- Time -----------------------------------------------------------------------------------

    /// Whoever sends his request byte by byte has no longer for it than others.
    fn examine_trickling(&mut self, is_body: bool) -> Result<(), String> {
        let Some(line) = self.connect_a_stranger(WIDE)? else { return Ok(()) };
        let Limits { head_timeout_ms, body_timeout_ms, .. } = self.settings.limits;
        let timeout_ms = if is_body { body_timeout_ms } else { head_timeout_ms };
        let head = "POST /channels/a HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n";
        let begin = if is_body { head } else { "POST /chan" };
        let mut heard = self.converse(&line, begin.as_bytes(), WIDE, false)?;
        for _ in 0..4 {
            self.pass(timeout_ms / 5, false)?;
            heard.extend(self.converse(&line, b"x", WIDE, false)?);
        }
        self.pass(timeout_ms - timeout_ms / 5 * 4 - 1, false)?;
        heard.extend(self.read_out(&line)?);
        if !heard.is_empty() {
            return Err(format!("{:?} before its time", text(&heard)));
        }
        self.pass(1, false)?;
        let mut heard = self.read_out(&line)?;
        Question { stays: Stays::No, ..Question::new(begin, 408) }.check(&mut heard)?;
        self.let_go(&[line])
    }

    /// The time to ask again begins when the last byte of an answer is through, and ends without a word.
    fn examine_idling(&mut self) -> Result<(), String> {
        let idle_ms = self.settings.limits.idle_timeout_ms;
        if idle_ms > PATIENCE_MS {
            return Ok(());
        }
        // There is room for the head, and not for a byte more.
        let Some(line) = self.connect_a_stranger(WIDE)? else { return Ok(()) };
        let head = format!("HEAD {PAGE} HTTP/1.1\r\nHost: x\r\n\r\n");
        let head_bytes = self.converse(&line, head.as_bytes(), WIDE, false)?.len();
        let question = Question::get(PAGE);
        line.borrow_mut().capacity = head_bytes;
        line.borrow_mut().send(&question.request);
        line.borrow_mut().arrive(WIDE);
        self.settle()?;
        self.pass(1_000, false)?;
        let mut heard = self.read_out(&line)?;
        question.check(&mut heard)?;
        self.pass(idle_ms - 1, false)?;
        if line.borrow().is_closed() {
            return Err("a connection was closed before it was idle for long enough".to_owned());
        }
        self.pass(1, false)?;
        let heard = self.read_out(&line)?;
        if !line.borrow().is_closed() || !heard.is_empty() {
            return Err(format!(
                "a connection that is idle for too long hears {:?}, and stays",
                text(&heard)
            ));
        }
        Ok(())
    }

    /// Polls wait for news, or for their time; what is asked behind them waits with them. Each is answered in its manner, also
    /// if its client `closes` his half and reads slowly.
    fn examine_polls(&mut self, comes: bool, closes: bool) -> Result<(), String> {
        let timeout_ms = self.settings.poll_timeout_ms;
        if !comes && timeout_ms > PATIENCE_MS {
            return Ok(());
        }
        let manners = [
            ("1.1", "", Stays::Yes),
            ("1.1", "Connection: close\r\n", Stays::No),
            ("1.0", "", Stays::No),
            ("1.0", "Connection: keep-alive\r\n", Stays::Old),
        ];
        let behind = Question { stays: Stays::Yes, ..Question::get("/healthz") };
        let closes = comes && closes;
        let mut polls = Vec::new();
        for (version, fields, stays) in manners {
            let Some(line) = self.connect_a_stranger(if closes { NARROW } else { WIDE })? else { break };
            let request = format!("GET /channels/quiet?as=poll HTTP/{version}\r\nHost: x\r\n{fields}\r\n");
            let both = [request.as_bytes(), &behind.request].concat();
            let heard = self.converse(&line, &both, 40, false)?;
            if !heard.is_empty() {
                return Err(format!("a poll of a quiet channel hears {:?}", text(&heard)));
            }
            polls.push((line, Question { stays, ..Question::new(request, 200) }));
        }
        if closes {
            polls.iter().for_each(|(line, _)| line.borrow_mut().half_close());
            self.settle()?;
        }
        let id = if comes { Some(self.say_aside("quiet", &"news".repeat(200))?) } else { None };
        if id.is_none() {
            // They came in one moment.
            self.pass(timeout_ms - 1, false)?;
            if polls.iter().any(|(line, _)| !line.borrow_mut().read(1).is_empty()) {
                return Err("a poll was answered before its time".to_owned());
            }
            self.pass(1, false)?;
        }
        for (line, poll) in &polls {
            let mut heard = self.read_out(line)?;
            let answer = poll.check(&mut heard)?;
            let json: serde_json::Value = serde_json::from_slice(&answer.body).map_err(|e| e.to_string())?;
            let ids: Vec<_> =
                json["messages"].as_array().into_iter().flatten().map(|m| m["id"].as_u64()).collect();
            if ids != id.map(Some).into_iter().collect::<Vec<_>>() {
                return Err(format!("a poll was answered {json}, and said was {id:?}"));
            }
            if poll.stays != Stays::No {
                behind.check(&mut heard)?;
            }
            if !heard.is_empty() || line.borrow().is_closed() != (closes || poll.stays == Stays::No) {
                return Err(format!("behind the answer to a poll {:?}, {:?}", text(&heard), poll.stays));
            }
        }
        let lines: Vec<Line> = polls.into_iter().map(|(line, _)| line).collect();
        self.let_go(&lines)
    }

    /// Whoever takes something now and then is not given up, however long it takes.
    fn examine_a_slow_reader(&mut self) -> Result<(), String> {
        let timeout_ms = self.settings.limits.write_timeout_ms;
        if timeout_ms > PATIENCE_MS {
            return Ok(());
        }
        let Some(line) = self.connect_a_stranger(NARROW)? else { return Ok(()) };
        let question = Question::get(PAGE);
        line.borrow_mut().send(&question.request);
        line.borrow_mut().arrive(WIDE);
        self.settle()?;
        let mut heard = Vec::new();
        for _ in 0..4 {
            self.pass(timeout_ms * 2 / 3, false)?;
            heard.extend(line.borrow_mut().read(NARROW));
            self.settle()?;
        }
        heard.extend(self.read_out(&line)?);
        question.check(&mut heard).map_err(|error| format!("a slow reader: {error}"))?;
        self.let_go(&[line])
    }

    /// Whoever takes nothing of what is said is given up, with heartbeats or without.
    fn examine_one_who_stalls(&mut self) -> Result<(), String> {
        let period_ms = self.settings.limits.write_timeout_ms.max(self.settings.heartbeat_ms);
        if period_ms > PATIENCE_MS {
            return Ok(());
        }
        let Some(line) = self.connect_a_stranger(WIDE)? else { return Ok(()) };
        let listen = b"GET /channels/quiet?as=ndjson HTTP/1.1\r\nHost: x\r\n\r\n";
        self.converse(&line, listen, WIDE, false)?;
        line.borrow_mut().capacity = NARROW;
        self.say_aside("quiet", &"news".repeat(200))?;
        self.settle()?;
        self.pass(3 * period_ms, false)?;
        if line.borrow().is_free() { Ok(()) } else { Err("somebody who takes nothing is kept".to_owned()) }
    }

    /// Whoever comes in the middle of a sweep may be given a sign of life before the next one: it must not tell him of more than
    /// he was sent.
    fn examine_a_heartbeat(&mut self) -> Result<(), String> {
        const LISTENERS: usize = 24;
        let is_slow = self.settings.pace.deliveries_per_turn < LISTENERS / 3;
        if !is_slow || !(1..=PATIENCE_MS).contains(&self.settings.heartbeat_ms) {
            return Ok(());
        }
        let mut streams = Vec::new();
        for nth in 0..=LISTENERS {
            let Some(line) = self.connect_a_stranger(WIDE)? else { break };
            if nth == LISTENERS {
                self.say_aside("quiet", "one")?;
                self.turn()?;
            }
            line.borrow_mut().send(b"GET /channels/quiet?as=events HTTP/1.1\r\nHost: x\r\n\r\n");
            line.borrow_mut().arrive(WIDE);
            if nth == LISTENERS {
                self.turn()?;
                self.say_aside("quiet", "two")?;
                self.jump_to(self.now.mono_us + self.settings.heartbeat_ms * 1_000);
                self.has_overslept = true;
            }
            self.turn()?;
            streams.push(line);
        }
        for line in &streams {
            let heard = String::from_utf8_lossy(&self.read_out(line)?).into_owned();
            let mut last = 0;
            for event in heard.split("\n\n").filter_map(|event| event.split_once("id: ")) {
                let (digits, data) = event.1.split_once('\n').unwrap_or((event.1, ""));
                let id: u64 = digits.parse().map_err(|_| format!("an id that is none: {digits}"))?;
                if id < last || id == last && !data.is_empty() {
                    return Err(format!("{id} after {last}, in {heard:?}"));
                }
                last = id;
            }
        }
        self.let_go(&streams)
    }

    /// A beat of the article's clock that comes late says its own second, is not made up for, and makes no other late.
    fn examine_the_clock(&mut self) -> Result<(), String> {
        let Some(line) = self.connect_a_stranger(WIDE)? else { return Ok(()) };
        let began = self.now;
        let tick = |ms: u64| {
            let second = began.unix_us_at(began.mono_ms() + ms) / 1_000_000;
            format!("<script type=\"text/javascript\">comet.printServerTime({second});</script>")
        };
        let heard = self.converse(&line, b"GET /backend.php HTTP/1.1\r\nHost: x\r\n\r\n", WIDE, false)?;
        if !heard.ends_with(tick(0).as_bytes()) {
            return Err(format!("a clock begins with {:?}", text(&heard)));
        }
        for (ms, asleep, expected) in [
            (2_500, true, tick(2_000)),
            (499, false, String::new()),
            (1, false, tick(3_000)),
            (999, false, String::new()),
            (1, false, tick(4_000)),
        ] {
            self.pass(ms, asleep)?;
            let heard = self.read_out(&line)?;
            if heard != expected.as_bytes() {
                return Err(format!("the clock says {:?} and not {expected:?}", text(&heard)));
            }
        }
        line.borrow_mut().reset(true);
        self.settle()
    }

    // --- How much -------------------------------------------------------------------------------

    /// What one address may say is taken, and one message more is not; and a new connection is no way around that.
    fn examine_the_rate(&mut self) -> Result<(), String> {
        let Limits { publish_rate_max: rate, publish_burst_max, .. } = self.settings.limits;
        if rate == 0 {
            return Ok(());
        }
        let burst = if publish_burst_max == 0 { rate } else { publish_burst_max };
        let price_ms = u64::from(1_000 / rate);
        let Some(line) = self.connect_a_stranger(WIDE)? else { return Ok(()) };
        self.say_many(&line, burst + 1, 413)?;
        self.say_many(&line, burst, 201)?;
        self.say_many(&line, 1, 429)?;
        self.let_go(&[line])?;
        // The other half of an IPv6 address is his own to choose.
        let sibling = Ipv6Addr::new(0x2001, 0xdb8, 0, self.strangers, 0, 0, 0, 2);
        let Some(line) = self.come(WIDE, sibling.into())? else { return Ok(()) };
        self.say_many(&line, 1, 429)?;
        if let Some(other) = self.connect_a_stranger(WIDE)? {
            self.say_many(&other, burst, 201).map_err(|error| format!("a neighbour: {error}"))?;
            self.let_go(&[other])?;
        }
        self.pass(price_ms - 1, false)?;
        self.say_many(&line, 1, 429)?;
        self.pass(1, false)?;
        self.say_many(&line, 1, 201)?;
        self.pass(price_ms / 3, false)?;
        let seconds = self.say_many(&line, burst, 429)?;
        self.let_go(&[line])?;
        self.pass(1_000 * seconds, false)?;
        let Some(line) = self.come(WIDE, sibling.into())? else { return Ok(()) };
        self.say_many(&line, burst, 201)
            .map_err(|error| format!("after {seconds} s, as he was told: {error}"))?;
        self.let_go(&[line])
    }

    /// Says many things at once, and expects this status. Returns after how many seconds to try again.
    fn say_many(&mut self, line: &Line, count: u32, status: u16) -> Result<u64, String> {
        let body = "{\"channel\":\"quiet\",\"data\":\"x\"}\n".repeat(count as usize);
        let kind = "Content-Type: application/x-ndjson";
        let length = body.len();
        let request =
            format!("POST /channels HTTP/1.1\r\nHost: x\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{body}");
        let answer = self.ask_one(line, &Question::new(request, status))?;
        self.said_aside += if status == 201 { u64::from(count) } else { 0 };
        let seconds = answer.head.lines().find_map(|line| line.strip_prefix("Retry-After: "));
        Ok(seconds.and_then(|digits| digits.parse().ok()).unwrap_or(0))
    }

    /// From one address so many may come; a few more hear why they may not stay, and others are dropped.
    fn examine_addresses(&mut self) -> Result<(), String> {
        let Limits { connections_per_address_max: most, connections_max, .. } = self.settings.limits;
        let is_room = self.lines.len() + most as usize + ANTEROOM + 2 < connections_max as usize;
        if most == 0 || most > 8 || !is_room {
            return Ok(());
        }
        let home = self.new_address();
        let health = Question::get("/healthz");
        let mut lines = Vec::new();
        for _ in 0..most {
            let line = self.connect_from(WIDE, home).ok_or("there was room, and somebody was dropped")?;
            self.ask_one(&line, &health)?;
            lines.push(line);
        }
        for _ in 0..ANTEROOM {
            let line = self.connect_from(WIDE, home).ok_or("somebody was dropped without a word")?;
            let mut heard = line.borrow_mut().read(WIDE);
            Question { stays: Stays::No, ..Question::new("", 429) }.check(&mut heard)?;
            lines.push(line);
        }
        if self.connect_from(WIDE, home).is_some() {
            return Err("more are let in from one address than are to hear why they cannot stay".to_owned());
        }
        self.let_go(&lines[1..])?;
        let line = self.connect_from(WIDE, home).ok_or("somebody left, and there is no room")?;
        self.ask_one(&line, &health)?;
        self.let_go(&[lines.swap_remove(0), line])
    }

    /// Whoever does not read his answers is not served more; when he does, he gets all of them.
    fn examine_one_who_does_not_read(&mut self) -> Result<(), String> {
        let Some(line) = self.connect_a_stranger(1)? else { return Ok(()) };
        let question = Question::get("/healthz");
        let answer_bytes = 100;
        let most = self.settings.limits.unsent_bytes_max / answer_bytes + 2;
        let asked = most + 20;
        let before = self.engine.stats().requests;
        line.borrow_mut().send(&question.request.repeat(asked));
        line.borrow_mut().arrive(usize::MAX);
        self.settle()?;
        let served = (self.engine.stats().requests - before) as usize;
        if served > most {
            return Err(format!("{served} requests of one who reads nothing were served"));
        }
        line.borrow_mut().capacity = WIDE;
        let mut heard = self.read_out(&line)?;
        for _ in 0..asked {
            question.check(&mut heard)?;
        }
        self.let_go(&[line])
    }

    /// A held poll of the chat is kept alive, and whoever does not read does not find a heap of spaces. Its answer is whole,
    /// whatever was unread before it.
    fn examine_spaces(&mut self) -> Result<(), String> {
        let Limits { poll_space_ms, write_timeout_ms, .. } = self.settings.limits;
        if 4 * poll_space_ms >= write_timeout_ms.min(PATIENCE_MS) {
            return Ok(());
        }
        let Some(line) = self.connect_a_stranger(NARROW)? else { return Ok(()) };
        let page = Question::get(PAGE);
        let directory = format!("/quiet{}/", self.strangers);
        let poll = format!("GET {directory}backend.php?timestamp=0 HTTP/1.1\r\nHost: x\r\n\r\n");
        line.borrow_mut().send(&[page.request.as_slice(), poll.as_bytes()].concat());
        line.borrow_mut().arrive(WIDE);
        self.settle()?;
        self.pass(4 * poll_space_ms - 1, false)?;
        line.borrow_mut().capacity = WIDE;
        let mut heard = self.read_out(&line)?;
        page.check(&mut heard)?;
        let spaces = heard.windows(6).filter(|bytes| bytes == b"1\r\n \r\n").count();
        if spaces > 1 {
            return Err(format!("{spaces} spaces were kept for one who read nothing"));
        }
        self.pass(poll_space_ms, false)?;
        heard.extend(self.read_out(&line)?);
        self.say_aside(&format!("chat:{directory}"), "hello")?;
        heard.extend(self.read_out(&line)?);
        let said = String::from_utf8_lossy(&heard).into_owned();
        let is_whole = said.starts_with("HTTP/1.1 200 OK\r\n")
            && said.contains("\r\nTransfer-Encoding: chunked\r\n")
            && said.contains("{\"msg\":\"hello\",\"timestamp\":");
        if !is_whole || !said.ends_with("\r\n0\r\n\r\n") {
            return Err(format!("a held poll was answered {said:?}"));
        }
        self.let_go(&[line])
    }

    /// Nearly at the budget no body is asked for, and below it each is.
    fn examine_the_budget(&mut self) -> Result<(), String> {
        let Limits { connection_budget_bytes_max: budget, message_bytes_max, .. } = self.settings.limits;
        let head = format!("POST /channels/a HTTP/1.1\r\nHost: x\r\nContent-Length: {message_bytes_max}\r\n");
        let mut lines = Vec::new();
        for _ in 0..8 {
            let Some(line) = self.connect_a_stranger(WIDE)? else { break };
            let (held, shed) =
                (self.engine.holdings().held_bytes, self.engine.stats().hangups(Hangup::OverBudget));
            let asks = format!("{head}Expect: 100-continue\r\n\r\n");
            let mut heard = self.converse(&line, asks.as_bytes(), WIDE, false)?;
            lines.push(line.clone());
            if self.engine.stats().hangups(Hangup::OverBudget) > shed {
                break;
            }
            let is_asked_for = heard == b"HTTP/1.1 100 Continue\r\n\r\n";
            if is_asked_for != (held <= budget / 4 * 3) {
                return Err(format!(
                    "{held} of {budget} bytes are held, and a body is answered {:?}",
                    text(&heard)
                ));
            }
            if is_asked_for {
                self.converse(&line, &vec![b'x'; message_bytes_max - 1], WIDE, false)?;
            } else {
                Question { stays: Stays::No, ..Question::new(head.as_str(), 503) }.check(&mut heard)?;
            }
        }
        self.let_go(&lines)
    }

    /// A message in each of two channels, of which the first, right before `id`, was deleted: a poll is told of that gap,
    /// and comes back with a cursor behind it.
    fn expect_one_gap(&mut self, asker: &Line, names: &str, id: u64, deleted: &Answer) -> Result<(), String> {
        let parse = |answer: &Answer| serde_json::from_slice::<serde_json::Value>(&answer.body);
        let deleted = parse(deleted).map_err(|error| error.to_string())?;
        let answer =
            self.ask_one(asker, &Question::get(&format!("/channels/{names}?as=poll&since={}", id - 2)))?;
        let heard = parse(&answer).map_err(|error| error.to_string())?;
        let is_right = heard["gap"] == serde_json::json!({ "from": id - 2, "to": deleted["id"] })
            && heard["messages"][0]["id"] == id;
        // In pieces, it is told before its last.
        let is_whole = self.settings.pace.answer_bytes_max > 1 << 16;
        if !is_right || is_whole && heard["since"].as_u64() < deleted["id"].as_u64() {
            return Err(format!("behind {} is {heard}, and {deleted} was deleted", id - 2));
        }
        Ok(())
    }

    /// One message for several channels is a message in each; a channel without listeners or history is none.
    fn examine_channels(&mut self) -> Result<(), String> {
        if self.settings.limits.publish_rate_max > 0 {
            return Ok(());
        }
        let Some(asker) = self.connect_a_stranger(WIDE)? else { return Ok(()) };
        let Some(stream) = self.connect_a_stranger(WIDE)? else { return self.let_go(&[asker]) };
        let [one, other] = ["m", "n"].map(|name| format!("{name}{}", self.strangers));
        let listen = format!("GET /channels/{one},{other}?as=ndjson HTTP/1.1\r\nHost: x\r\n\r\n");
        self.converse(&stream, listen.as_bytes(), WIDE, false)?;
        let post = |names: &str| {
            let target = format!("POST /channels/{names}?event=kind HTTP/1.1");
            Question::new(format!("{target}\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"), 201)
        };
        let answer = self.ask_one(&asker, &post(&format!("{one},{other},{one}")))?;
        self.said_aside += 2;
        let json: serde_json::Value = serde_json::from_slice(&answer.body).map_err(|e| e.to_string())?;
        if json["channels"] != serde_json::json!([one, other]) || json["subscribers"] != 2 {
            return Err(format!("a message for two channels, in which one listens, is answered {json}"));
        }
        let id = json["id"].as_u64().unwrap_or(0);
        let said = |id: u64, name: &str| {
            format!("{{\"id\":{id},\"channel\":\"{name}\",\"event\":\"kind\",\"data\":\"hello\"}}\n")
        };
        let heard = self.read_out(&stream)?;
        let expected = [said(id - 1, &one), said(id, &other)].concat();
        if heard != expected.as_bytes() {
            return Err(format!("{:?} is heard and not {expected:?}", text(&heard)));
        }
        let delete = |name: &str, status| {
            Question::new(format!("DELETE /channels/{name} HTTP/1.1\r\nHost: x\r\n\r\n"), status)
        };
        let answer = self.ask_one(&asker, &delete(&one, 200))?;
        self.said_aside += 1;
        self.expect_one_gap(&asker, &format!("{one},{other}"), id, &answer)?;
        if !text(&self.read_out(&stream)?).contains("\"event\":\"deleted\"") {
            return Err("nobody was told that a history was deleted".to_owned());
        }
        stream.borrow_mut().reset(true);
        self.settle()?;
        let stats = |name: &str, status| {
            Question::new(format!("GET /stats/channels/{name} HTTP/1.1\r\nHost: x\r\n\r\n"), status)
        };
        self.ask_one(&asker, &stats(&one, 404))?;
        self.ask_one(&asker, &stats(&other, 200))?;
        self.ask_one(&asker, &delete(&one, 404))?;
        self.let_go(&[asker])
    }
}
