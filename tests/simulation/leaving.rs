//! Leaving: the server is told to stop, in the end or in the middle of everything.
//!
//! What was said until that very moment, in whatever way, must reach everybody who reads; and nobody is bidden
//! farewell who lacks anything.
//!
//! Knows: who listened when it began. Never throws dice.

use encke::engine::Hangup;

use super::farewell::WIDE;
use super::script::{BEATS, CHANNELS, CLOCK, Mouth, Script, Way};
use super::subscriber::Goodbye;
use super::visitor::{Question, Stays, take_ids, text};
use super::wire::Line;
use super::world::{Summary, World};

/// Steps in which the drain time passes.
const STEPS: u64 = 12;

/// After so many of them the last part of a request comes: nobody waits for it any more.
const LATE: u64 = 9;

/// So many more than a turn serves listen to the last words.
const LISTENERS: usize = 9;

/// What is said by whoever still can, in bytes.
const LAST_WORDS: usize = 30;

/// Who was there when the server was told to stop, and has not been cut off since.
pub struct Leaving {
    /// When that was, in microseconds of the monotonic clock.
    pub since_us: u64,
    /// Those who listened.
    listeners: Vec<usize>,
    /// Polls that were owed an answer.
    polls: Vec<usize>,
    /// Some of them could take much, and nothing kept them from it: these must be parted from in words.
    wide: Vec<usize>,
    /// How many had been given up by then because they took nothing.
    stalled: u64,
    /// What these listeners were saying over their WebSockets.
    last_words: Vec<(usize, usize)>,
    /// Those who had asked.
    askers: Vec<Asker>,
}

/// Somebody who asks in the last moment.
struct Asker {
    line: Line,
    question: Question,
    /// What comes when it is too late.
    rest: Vec<u8>,
    heard: Vec<u8>,
}

impl Leaving {
    /// Nothing can be said any more about what this one is told.
    pub fn forget(&mut self, who: usize) {
        for list in [&mut self.listeners, &mut self.polls, &mut self.wide] {
            list.retain(|&other| other != who);
        }
    }
}

impl World {
    /// The server is told to stop. In the same moment everybody says something.
    pub fn stop(&mut self) -> Result<(), String> {
        if self.leaving.is_some() {
            return Ok(());
        }
        let askers = self.ask_last()?;
        for channel in 0..3 {
            self.publish(channel, LAST_WORDS, Mouth::Inside)?;
        }
        self.publish(3, LAST_WORDS, Mouth::Post)?;
        let first = self.log.texts();
        for who in 0..self.subscribers.len() {
            self.publish(who % 5, LAST_WORDS, Mouth::Websocket(who))?;
        }
        let last_words = (0..self.subscribers.len()).map(|who| (who, first + who)).collect();
        let listens = |who: &usize| {
            let one = &self.subscribers[*who];
            one.is_listening() && one.line.as_ref().is_some_and(|line| !line.borrow().is_closed())
        };
        let there: Vec<usize> = (0..self.subscribers.len()).filter(listens).collect();
        let is_poll = |who: &usize| self.subscribers[*who].way == Way::Poll;
        let wide = self.streams();
        let (polls, listeners): (Vec<usize>, Vec<usize>) = there.into_iter().partition(is_poll);
        let polls = polls.into_iter().filter(|&who| self.is_owed_an_answer(who)).collect();
        let stalled = self.engine.stats().hangups(Hangup::Stalled);
        self.leaving =
            Some(Leaving { since_us: self.now.mono_us, listeners, polls, wide, stalled, last_words, askers });
        self.engine.shut_down(self.now);
        Ok(())
    }

    /// Some ask in the very last moment: the server has not been told of it yet, or only of a part.
    fn ask_last(&mut self) -> Result<Vec<Asker>, String> {
        let number = self.log.text(0, LAST_WORDS);
        let data = self.log.data(number);
        let post = format!(
            "POST /channels/{} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{data}",
            CHANNELS[0],
            data.len()
        );
        let event = self.log.event(number).map_or(String::new(), |event| format!("?event={event}"));
        let post = post.replacen(" HTTP", &format!("{event} HTTP"), 1);
        let last = |request: &str, status| Question { stays: Stays::No, ..Question::new(request, status) };
        let questions = [
            // How much of it has been read before, how much comes when it is too late, over how wide a line.
            (Question { text: Some(number), ..last(&post, 201) }, post.len() - 3, 0, WIDE),
            (last("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200), 0, 0, WIDE),
            (Question::get("/style.css"), usize::MAX, 0, 1_000),
            (last("DELETE /channels/a HTTP/1.1\r\nHost: x\r\n\r\n", 503), 10, 4, WIDE),
            (last("GET /channels/a?as=events HTTP/1.1\r\nHost: x\r\n\r\n", 200), 10, 4, WIDE),
            (last("GET /channels/a?as=events&since=oldest HTTP/1.1\r\nHost: x\r\n\r\n", 200), 0, 0, 300),
            (last("GET /channels/a?as=ndjson&since=oldest HTTP/1.1\r\nHost: x\r\n\r\n", 200), 0, 0, 300),
        ];
        let listens = "GET /channels/a?as=events HTTP/1.1\r\nHost: x\r\n\r\n";
        let listeners = (0..LISTENERS).map(|_| (last(listens, 200), usize::MAX, 0, WIDE));
        let mut askers = Vec::new();
        for (question, before, late, capacity) in questions.into_iter().chain(listeners) {
            // Whoever is late keeps the farewells waiting, and some worlds are to see them come at once.
            if late > 0 && number.is_multiple_of(2) {
                continue;
            }
            let is_told_at_once = !self.is_bound && self.disk.is_none();
            let line = if is_told_at_once { self.connect_a_stranger(capacity)? } else { None };
            let Some(line) = line else {
                question.text.map_or(Ok(()), |number| self.log.refuse(number))?;
                continue;
            };
            let (comes, rest) = question.request.split_at(question.request.len() - late);
            line.borrow_mut().send(comes);
            line.borrow_mut().arrive(before);
            let rest = rest.to_vec();
            askers.push(Asker { line, question, rest, heard: Vec::new() });
        }
        self.settle()?;
        // Nobody turns from here on until the server is told to stop.
        askers.iter().for_each(|asker| asker.line.borrow_mut().arrive(usize::MAX));
        Ok(askers)
    }

    /// Whether a poll has asked, and was not turned away at the door.
    fn is_owed_an_answer(&self, who: usize) -> bool {
        let line = self.subscribers[who].line.as_ref().map(|line| line.borrow());
        let can_hear = line.is_some_and(|line| line.capacity >= WIDE && !line.is_closed());
        self.subscribers[who].waits && can_hear
    }

    /// Whether nothing may be accepted any more, because nobody would be left to hear it.
    pub fn is_deaf(&self) -> bool {
        let waits_us = self.settings.drain_ms * 1_000 * 2 / 3 + 1_000;
        self.leaving.as_ref().is_some_and(|leaving| self.now.mono_us > leaving.since_us + waits_us)
    }

    /// Whether what the disk has stored now goes to the listeners for certain.
    pub fn hears_the_disk(&self) -> bool {
        let waits_ms = self.settings.drain_ms * 2 / 3;
        self.leaving
            .as_ref()
            .is_none_or(|leaving| self.now.mono_us / 1_000 < leaving.since_us / 1_000 + waits_ms)
    }

    /// Everybody reads to the end. Then nobody is left, and all who were told to go had heard everything.
    pub fn leave(&mut self, script: &Script) -> Result<Summary, String> {
        let drain_ms = self.settings.drain_ms;
        // Whoever reads from the first moment on hears all and his farewell, however little he takes at a time.
        let is_fresh = self.leaving.as_ref().is_some_and(|leaving| leaving.since_us == self.now.mono_us);
        let overslept = std::mem::take(&mut self.has_overslept);
        let mut ticks = None;
        for step in 0..=STEPS {
            self.read_all()?;
            ticks.get_or_insert(self.ticks_heard());
            self.publisher.listen(&mut self.log)?;
            self.hear_askers(step == LATE)?;
            self.pass(drain_ms / STEPS, false)?;
        }
        self.read_all()?;
        self.publish(script.seed as usize % 3, LAST_WORDS, Mouth::Inside)?;
        if self.connect(WIDE).is_some() {
            return Err("a server that ends takes a connection".to_owned());
        }
        if is_fresh && ticks != Some(self.ticks_heard()) {
            return Err("a server that leaves goes on ticking".to_owned());
        }
        let held = self.engine.holdings();
        if (held.connections, held.streams, held.seats, held.again, held.held_bytes) != (0, 0, 0, 0, 0) {
            return Err(format!("the server has ended, and holds {held:?}"));
        }
        let mut leaving = self.leaving.take().expect("it was told to stop");
        self.check_askers(&mut leaving, is_fresh && !overslept)?;
        // Whoever had taken nothing for too long may not have been waited for.
        let is_given_up = self.engine.stats().hangups(Hangup::Stalled) > leaving.stalled;
        for &who in &leaving.listeners {
            let is_bidden = is_fresh || leaving.wide.contains(&who);
            let is_bidden = is_bidden && !self.is_bound && !overslept && self.is_roomy && !is_given_up;
            self.check_farewell(who, is_bidden)
                .map_err(|error| format!("subscriber {who}, when the server left: {error}"))?;
        }
        let owed = leaving.polls.iter().find(|&&who| self.subscribers[who].waits);
        if let Some(who) = owed.filter(|_| !self.is_bound && !overslept) {
            return Err(format!("the poll of subscriber {who} was never answered"));
        }
        Ok(self.summary())
    }

    fn ticks_heard(&self) -> usize {
        self.subscribers.iter().flat_map(|one| [BEATS, CLOCK].map(|channel| one.ticks(channel))).sum()
    }

    /// Those who had asked read on. `late`: the rest of their requests comes.
    fn hear_askers(&mut self, late: bool) -> Result<(), String> {
        let Some(mut leaving) = self.leaving.take() else { return Ok(()) };
        for Asker { line, rest, heard, .. } in &mut leaving.askers {
            if late {
                line.borrow_mut().send(rest);
                line.borrow_mut().arrive(usize::MAX);
            }
            heard.extend(self.read_out(line)?);
        }
        self.leaving = Some(leaving);
        Ok(())
    }

    /// What had been asked before the server was told to stop is answered; what was said, accepted. For what came too
    /// late there is a word as well.
    fn check_askers(&mut self, leaving: &mut Leaving, is_exact: bool) -> Result<(), String> {
        let is_kept = self.is_roomy && !self.log.has_deletes();
        let said = &if is_kept { self.log.said_in(0) } else { Vec::new() };
        for Asker { line, question, heard, .. } in &mut leaving.askers {
            heard.extend(line.borrow_mut().read(usize::MAX));
            if !is_exact {
                continue;
            }
            if question.request.starts_with(b"GET /channels/") {
                check_last_stream(&question.request, heard, said)?;
                continue;
            }
            let answer = question.check(heard).map_err(|error| format!("{error}, in the last moment"))?;
            take_ids(question, &answer, &mut self.log)?;
        }
        let is_heard = |who: &usize| leaving.wide.contains(who) && leaving.listeners.contains(who);
        let lost = leaving.last_words.iter().find(|(who, number)| {
            is_heard(who) && self.subscribers[*who].way == Way::Websocket && !self.log.is_said(*number)
        });
        match lost.filter(|_| is_exact && !self.is_bound && self.disk.is_none()) {
            Some((who, number)) => {
                Err(format!("text {number}, of subscriber {who}, was not accepted in the last moment"))
            }
            None => Ok(()),
        }
    }

    /// Whoever is parted from in words has heard everything; of what others heard nothing is missing in between.
    fn check_farewell(&self, who: usize, is_bidden: bool) -> Result<(), String> {
        let drain_ms = self.settings.drain_ms;
        let subscriber = &self.subscribers[who];
        match subscriber.goodbye {
            Goodbye::Nothing if is_bidden => {
                return Err(format!("{:?}: it was never told to go", subscriber.way));
            }
            Goodbye::Retry(ms) if !(drain_ms / 3..=drain_ms).contains(&ms) => {
                return Err(format!("it is to come back after {ms} ms, of {drain_ms}"));
            }
            Goodbye::Retry(_) | Goodbye::End | Goodbye::Nothing => {}
        }
        let whole = subscriber.goodbye != Goodbye::Nothing;
        subscriber.record.check(&self.log, whole, self.is_roomy)
    }
}

/// A stream that begins when the server is about to leave hears all that it asked for, and is bidden farewell.
fn check_last_stream(request: &[u8], heard: &[u8], said: &[u64]) -> Result<(), String> {
    let (request, heard) = (String::from_utf8_lossy(request), String::from_utf8_lossy(heard));
    let is_event_stream = request.contains("as=events");
    let is_bidden = heard.matches("retry: ").count() == 2 && heard.ends_with("\n\n");
    if is_event_stream && !is_bidden {
        return Err(format!(
            "{request:?}, in the last moment, and no farewell: {:?}",
            text(heard.as_bytes())
        ));
    }
    let name = |id: u64| if is_event_stream { format!("id: {id}\n") } else { format!("\"id\":{id},") };
    match said.iter().find(|&&id| request.contains("since=oldest") && !heard.contains(&name(id))) {
        Some(id) => Err(format!("{request:?}, in the last moment, lacks {id}")),
        None => Ok(()),
    }
}
