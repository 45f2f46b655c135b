//! An inspection: somebody asks in every way what is in a channel, and compares.
//!
//! It happens between two acts, while nothing else does. So every answer can be told beforehand:
//! from the others, and where nothing was ever dropped, from all that was said.
//!
//! Knows: requests and what they must be answered. Never learns what subscribers were told.

use encke::engine::Hangup;
use serde_json::Value;

use super::bystander::take_answer;
use super::script::{CHANNELS, LATEST};
use super::subscriber::Subscriber;
use super::world::World;

/// Answers of polls that bring a part each, at the most.
const PARTS_MOST: usize = 10_000;

/// A status and a body.
type Answer = (u16, Vec<u8>);

impl World {
    pub fn inspect(&mut self, channel: usize, number: usize) -> Result<(), String> {
        self.settle()?;
        self.publisher.listen(&mut self.log)?;
        self.look(channel, number).map_err(|error| format!("inspecting {}: {error}", CHANNELS[channel]))
    }

    fn look(&mut self, channel: usize, number: usize) -> Result<(), String> {
        let name = CHANNELS[channel];
        let requests = [
            format!("HEAD /channels/{name}?as=poll HTTP/1.1\r\nHost: x\r\n\r\n"),
            format!("GET /stats/channels/{name} HTTP/1.1\r\nHost: x\r\n\r\n"),
            "GET /stats HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            "GET /healthz HTTP/1.0\r\n\r\n".to_owned(),
            "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        ];
        // The one who asks is one of them.
        let there = self.lines.len() as u64 + 1;
        let Some(mut answers) = self.ask_at_once(&requests.concat(), 1)? else { return Ok(()) };
        if answers.len() != 4 {
            return Err(format!("{} answers, and the fourth is the last: {answers:?}", answers.len()));
        }
        if answers[3] != (200, b"ok\n".to_vec()) {
            return Err("the answer to the last request is not about health".to_owned());
        }
        self.compare_stats(&json(&answers[2].1)?, there)?;
        let (status, stats) = answers.swap_remove(1);
        if status == 404 {
            return self.expect_empty(channel);
        }
        let stats = json(&stats)?;
        self.compare_subscribers(channel, &stats, there)?;
        if stats["messages"].as_u64() == Some(0) {
            return self.expect_empty(channel);
        }
        let kept = self.compare_history(channel, &stats)?;
        let floor = stats["floor"].as_u64().unwrap_or_default();
        self.compare_cursors(channel, number, &kept, floor)?;
        self.compare_several(channel, (channel + 1 + number) % LATEST, number, (&kept, floor))
    }

    /// Who asks for two channels is told what is in either, in one order.
    fn compare_several(
        &mut self,
        one: usize,
        other: usize,
        number: usize,
        (kept, floor): (&[u64], u64),
    ) -> Result<(), String> {
        // In pieces, what one of them has lost may be told behind the first.
        let is_whole = self.settings.pace.answer_bytes_max > 1 << 16;
        if one >= LATEST || one == other || kept.is_empty() || !is_whole {
            return Ok(());
        }
        let request = format!("GET /stats/channels/{} HTTP/1.1\r\nHost: x\r\n\r\n", CHANNELS[other]);
        let Some(answers) = self.ask_at_once(&request, 0)? else { return Ok(()) };
        let stats = json(&answers[0].1)?;
        let other_floor = stats["floor"].as_u64().unwrap_or_default();
        let others = match stats["messages"].as_u64() {
            Some(0) => Vec::new(),
            Some(_) => self.compare_history(other, &stats)?,
            None => return Ok(()),
        };
        let is_unclear = others.is_empty() && stats["messages"].as_u64() != Some(0);
        let Some(&last) = kept.last().max(others.last()).filter(|_| !is_unclear) else { return Ok(()) };
        let mut all = [kept, &others].concat();
        all.sort_unstable();
        let names = format!("{},{}", CHANNELS[one], CHANNELS[other]);
        let newest = 1 + number;
        for (start, should) in [
            ("since=oldest".to_owned(), &all[..]),
            (format!("last={newest}"), &all[all.len().saturating_sub(newest)..]),
        ] {
            let heard = self.poll_up_to(&names, &start, last)?;
            if !heard.is_empty() && heard != should {
                return Err(format!("{start} of {names} is {heard:?}, and should be {should:?}"));
            }
        }
        // One of them has lost something behind this cursor. That is told once, and with it all that is there.
        let since = floor.max(other_floor) - 1;
        let Some(polled) = self.poll(&format!("{names}?as=poll&since={since}"))? else { return Ok(()) };
        let should = &all[all.partition_point(|&id| id <= since)..];
        let ends = [kept[0], others.first().copied().unwrap_or(other_floor)];
        let is_told = polled.gap.is_some_and(|(from, to)| from == since && ends.contains(&to));
        if !is_told || polled.ids != should || polled.since < last.max(other_floor) {
            return Err(format!(
                "{:?}, {:?} and {} of {names}, since {since}",
                polled.gap, polled.ids, polled.since
            ));
        }
        Ok(())
    }

    /// Sends requests in one piece and reads all answers, the first `heads` of which have no body. Nothing, if the server is full.
    fn ask_at_once(&mut self, requests: &str, heads: usize) -> Result<Option<Vec<Answer>>, String> {
        let over_budget = self.engine.stats().hangups(Hangup::OverBudget);
        let Some(line) = self.connect(1 << 24) else { return Ok(None) };
        line.borrow_mut().send(requests.as_bytes());
        line.borrow_mut().arrive(usize::MAX);
        self.settle()?;
        let mut bytes = line.borrow_mut().read(usize::MAX);
        self.settle()?;
        bytes.extend(line.borrow_mut().read(usize::MAX));
        line.borrow_mut().half_close();
        self.settle()?;
        let is_refused = bytes.starts_with(b"HTTP/1.1 503 ") || bytes.starts_with(b"HTTP/1.1 429 ");
        if is_refused || over_budget != self.engine.stats().hangups(Hangup::OverBudget) {
            return Ok(None);
        }
        let mut answers = Vec::new();
        for _ in 0..heads {
            let end = crate::common::find(&bytes, b"\r\n\r\n").ok_or("no answer to a HEAD")?;
            bytes.drain(..end + 4);
            answers.push((200, Vec::new()));
        }
        while let Some(answer) = take_answer(&mut bytes)? {
            answers.push(answer);
        }
        if !bytes.is_empty() {
            return Err(format!("half an answer: {:?}", String::from_utf8_lossy(&bytes)));
        }
        Ok(Some(answers))
    }

    /// One poll that must be answered at once: its messages, where it ends, and the gap.
    fn poll(&mut self, query: &str) -> Result<Option<Polled>, String> {
        let request = format!("GET /channels/{query} HTTP/1.1\r\nHost: x\r\n\r\n");
        let Some(answers) = self.ask_at_once(&request, 0)? else { return Ok(None) };
        if answers.is_empty() && self.log.histories_age {
            // The last message was too old, and nobody had looked yet.
            return Ok(None);
        }
        self.polled += 1;
        let [(200, body)] = &answers[..] else {
            return Err(format!("the poll {query} was answered {answers:?}"));
        };
        let json = json(body)?;
        let mut ids = Vec::new();
        for message in json["messages"].as_array().ok_or("no messages")? {
            let id = message["id"].as_u64().ok_or("a message without id")?;
            let text = |key: &str| message[key].as_str();
            let (channel, data) = (text("channel").unwrap_or_default(), text("data").unwrap_or_default());
            self.log.hear(id, channel, text("event"), data)?;
            ids.push(id);
        }
        let gap = json.get("gap").map(|gap| (gap["from"].as_u64(), gap["to"].as_u64()));
        let gap = gap.and_then(|(from, to)| Some((from?, to?)));
        self.gaps_polled += u64::from(gap.is_some());
        Ok(Some(Polled { ids, since: json["since"].as_u64().ok_or("no since")?, gap }))
    }

    /// All that a poll is told, over as many answers as it takes until it has heard `last`.
    fn poll_up_to(&mut self, name: &str, start: &str, last: u64) -> Result<Vec<u64>, String> {
        let mut all: Vec<u64> = Vec::new();
        let mut start = start.to_owned();
        for _ in 0..PARTS_MOST {
            let Some(polled) = self.poll(&format!("{name}?as=poll&{start}"))? else { return Ok(all) };
            if polled.gap.is_some() {
                return Err(format!("a gap {:?} in what is there, from {start}", polled.gap));
            }
            let is_later = polled.ids.first() > all.last() && polled.ids.is_sorted();
            if !is_later || polled.ids.last().is_none_or(|&last| polled.since < last) {
                return Err(format!("{:?} and {} after {all:?}", polled.ids, polled.since));
            }
            all.extend(polled.ids);
            if polled.since >= last {
                return Ok(all);
            }
            start = format!("since={}", polled.since);
        }
        Err("a poll that never comes to an end".to_owned())
    }

    /// `since=oldest` and the statistics tell the same; and where nothing is ever dropped, all there was.
    fn compare_history(&mut self, channel: usize, stats: &Value) -> Result<Vec<u64>, String> {
        let number = |key: &str| stats[key].as_u64().ok_or_else(|| format!("no {key} in {stats}"));
        let (messages, head, floor) = (number("messages")?, number("head")?, number("floor")?);
        let kept = self.poll_up_to(CHANNELS[channel], "since=oldest", head)?;
        if kept.is_empty() {
            return Ok(kept);
        }
        if channel == LATEST {
            return if kept == [head] { Ok(kept) } else { Err(format!("{kept:?} is there, and not {head}")) };
        }
        // What is too old is counted until somebody looks.
        let is_stale = self.log.histories_age && (kept.len() as u64) < messages;
        if kept.len() as u64 != messages && !is_stale || kept.last() != Some(&head) || kept[0] <= floor {
            return Err(format!("{kept:?} is there, and the statistics say {stats}"));
        }
        let said = self.log.said_in(channel);
        let should = if self.is_roomy { 0 } else { said.iter().filter(|&&id| id < kept[0]).count() };
        let is_last_word = |id: &u64| self.log.said.get(id).is_some_and(|(_, text)| text.is_none());
        let is_deleting = self.log.has_unknown_deletes || kept.iter().any(is_last_word);
        if said[should..] != kept && !is_deleting {
            return Err(format!("{kept:?} is there, and {said:?} was said"));
        }
        // Something may have come and gone of which nobody has told us yet.
        let is_known = |id: u64| floor <= id || self.log.open() == 0;
        let dropped = should > 0 && said[should - 1] != floor && is_known(said[should - 1]);
        if dropped && !is_deleting && !is_stale {
            return Err(format!("{} was the last to go, and the floor is {floor}", said[should - 1]));
        }
        Ok(if is_stale { Vec::new() } else { kept })
    }

    /// Every kind of cursor is answered with what is behind it.
    fn compare_cursors(
        &mut self,
        channel: usize,
        number: usize,
        kept: &[u64],
        floor: u64,
    ) -> Result<(), String> {
        let Some(&last) = kept.last().filter(|_| channel != LATEST) else { return Ok(()) };
        let newest = 1 + number;
        let heard = self.poll_up_to(CHANNELS[channel], &format!("last={newest}"), last)?;
        let should = &kept[kept.len().saturating_sub(newest)..];
        if !heard.is_empty() && heard != should {
            return Err(format!("the last {newest} are {heard:?}, and should be {should:?}"));
        }
        let middle = kept[kept.len() * number / 5];
        if middle < last {
            let heard = self.poll_up_to(CHANNELS[channel], &format!("since={middle}"), last)?;
            if !heard.is_empty() && heard[0] != kept[kept.partition_point(|&id| id <= middle)] {
                return Err(format!("{heard:?} is after {middle}, of {kept:?}"));
            }
        }
        // What is gone is a gap that begins where one was, and ends at the oldest message there is.
        for (since, is_gone) in [(floor.saturating_sub(1), true), (floor, false)] {
            let Some(polled) = self.poll(&format!("{}?as=poll&since={since}", CHANNELS[channel]))? else {
                return Ok(());
            };
            let should = is_gone.then_some((since, kept[0]));
            // Of answers that are cut very short, the gap is the first.
            if polled.gap != should || polled.ids.first().is_some_and(|&first| first != kept[0]) {
                return Err(format!("the gap {:?} and {:?}, not {should:?}", polled.gap, polled.ids));
            }
        }
        Ok(())
    }

    /// A channel that is not there has nothing in it, and where nothing is ever dropped, never had.
    fn expect_empty(&self, channel: usize) -> Result<(), String> {
        let said = self.log.said_in(channel);
        if self.is_roomy && !said.is_empty() && !self.log.has_unknown_deletes {
            return Err(format!("{said:?} has gone, where nothing is ever dropped"));
        }
        Ok(())
    }

    /// Where nobody was cut off, and nobody speaks any more, what the server counts is what was heard. Of what somebody
    /// was too slow to take at once, it counts nothing, and there was one message at least.
    pub fn count(&mut self, is_slow: bool) -> Result<(), String> {
        let answers = self.ask_at_once("GET /stats HTTP/1.1\r\nHost: x\r\n\r\n", 0)?;
        let stats = json(&answers.ok_or("nobody is told what was counted")?[0].1)?;
        let heard = |number: fn(&Subscriber) -> u64| self.subscribers.iter().map(number).sum::<u64>();
        let said = (self.log.said.len() + self.log.chatted.len()) as u64;
        for (name, expected) in [
            ("messages", said),
            ("deliveries", heard(|one| one.deliveries) + self.polled),
            ("gaps", heard(|one| one.gaps) + self.gaps_polled),
        ] {
            let counted = stats[name].as_u64().ok_or("a number that is none")?;
            let cut =
                if is_slow && name == "deliveries" { stats["blocked"].as_u64().unwrap_or(0) } else { 0 };
            let is_right = if is_slow { counted + cut <= expected } else { counted == expected };
            if !is_right {
                return Err(format!("{counted} {name} were counted, {cut} cut, and there were {expected}"));
            }
        }
        Ok(())
    }

    fn compare_subscribers(&self, channel: usize, stats: &Value, there: u64) -> Result<(), String> {
        let listens =
            |subscriber: &&Subscriber| subscriber.is_settled() && subscriber.channels & 1 << channel != 0;
        let least = self.subscribers.iter().filter(listens).count() as u64;
        let count = stats["subscribers"].as_u64().unwrap_or_default();
        if count < least || count > there {
            return Err(format!("{count} subscribers are counted, and there are {least} at least"));
        }
        Ok(())
    }

    fn compare_stats(&self, stats: &Value, there: u64) -> Result<(), String> {
        let number = |key: &str| stats[key].as_u64().ok_or_else(|| format!("no {key} in {stats}"));
        let said = (self.log.said.len() + self.log.chatted.len() - self.said_before) as u64 + self.said_aside;
        let (least, most) = (said, said + self.log.open() as u64 + self.publisher.asked.len() as u64);
        let messages = number("messages")?;
        if messages < least || messages > most {
            return Err(format!("{messages} messages were counted, and {least} to {most} said"));
        }
        let (accepted, turned_away) = (number("accepted")?, number("turned_away")?);
        let turned_away = turned_away + number("address_turned_away")?;
        let World { taken, dropped, refused, .. } = self;
        if accepted != *taken || turned_away != dropped + refused {
            return Err(format!(
                "{accepted} were accepted and {turned_away} turned away, of {taken}, {dropped} and {refused}"
            ));
        }
        let connections = number("connections")?;
        // Who closed his half makes room for whoever comes, and is buried when the turn is over.
        let least = there.min(self.settings.limits.connections_max.into());
        if !(least..=there).contains(&connections) {
            return Err(format!("{connections} connections were counted, and there are {there}"));
        }
        if number("head")? < self.log.head() {
            return Err("the head is behind what was said".to_owned());
        }
        Ok(())
    }
}

/// What one poll was answered.
struct Polled {
    ids: Vec<u64>,
    since: u64,
    gap: Option<(u64, u64)>,
}

fn json(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("{error} in {:?}", String::from_utf8_lossy(bytes)))
}
