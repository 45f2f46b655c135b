//! The record: what was said, what each subscriber was told, and whether that is right.
//!
//! What must hold: every subscriber hears each message of its channels behind its cursor exactly
//! once, in the order of the ids, or is told of a gap that covers it; and where nothing is ever
//! dropped or deleted, no gap is told. The record is read when an audit comes, with everything
//! known that was published by then.
//!
//! Knows: ids, texts, channels. Never learns how either travelled.

use std::collections::{BTreeMap, BTreeSet};

use super::script::{BEATS, CHANNELS, CLOCK, LATEST, PUBLIC};

/// The channels of one subscription, a bit each.
pub type Set = u8;

/// What texts are made of: whatever one of the framings has to write in another way, and what it must not.
const UNITS: [&str; 11] =
    ["x", "\n", "é", "</script>", "\"", "\r\n", "\r", "'&", "\\", "\u{2028}\u{1}\t", "😀"];

/// All that was ever said.
#[derive(Default)]
pub struct Log {
    /// Messages that have their id: where, and their text's number (none: the server's own last word).
    pub said: BTreeMap<u64, (usize, Option<usize>)>,
    pub texts: Vec<Text>,
    /// As many connections as there ever were at a time: nobody has more subscribers.
    pub most_lines: usize,
    /// Messages that were said in the article's chat, in order.
    pub chatted: Vec<String>,
    /// Whether the wall clock was ever set: ticks may then say anything.
    pub clock_was_set: bool,
    /// Whether something may have been deleted of which nobody heard.
    pub has_unknown_deletes: bool,
    /// Something may be refused because somebody holds or says too much.
    pub is_bound: bool,
    /// … or because of where somebody comes from.
    pub has_addresses: bool,
    /// Whether a history can become empty, other than by a delete.
    pub histories_age: bool,
    /// The log is on a disk, and tells us itself what it has.
    pub is_on_disk: bool,
    /// Lines that were written for the article's chat, whether or not they were said.
    pub lines: usize,
}

pub struct Text {
    channel: usize,
    /// Its type.
    event: Option<&'static str>,
    data: String,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Asked for, and not answered yet.
    Open,
    /// Its place in the log.
    Said(u64),
    /// It must never be heard.
    Refused,
}

impl Log {
    /// A new text, of about so many bytes, that is on its way to a channel. Returns its number.
    pub fn text(&mut self, channel: usize, bytes: usize) -> usize {
        let number = self.texts.len();
        let unit = UNITS[number % UNITS.len()];
        let data = format!("{number}:{}", unit.repeat(bytes / unit.len()));
        let event = [None, None, Some("news"), Some("x-Y_z")][number % 4];
        self.texts.push(Text { channel, event, data, fate: Fate::Open });
        number
    }

    /// The type of a text, if it has one.
    pub fn event(&self, number: usize) -> Option<&'static str> {
        self.texts[number].event
    }

    /// The publication of a text, as one says it over a WebSocket.
    pub fn command(&self, number: usize) -> serde_json::Value {
        let Text { channel, event, data, .. } = &self.texts[number];
        serde_json::json!({ "publish": data, "channel": CHANNELS[*channel], "event": event, "ref": number })
    }

    /// Whether the server has said which id a text has.
    pub fn is_said(&self, number: usize) -> bool {
        matches!(self.texts[number].fate, Fate::Said(_))
    }

    pub fn data(&self, number: usize) -> &str {
        &self.texts[number].data
    }

    /// The server has said which id a text has, to its publisher or to a subscriber.
    pub fn accept(&mut self, number: usize, id: u64) -> Result<(), String> {
        if self.is_on_disk && self.texts[number].fate == Fate::Open {
            return Err(format!("text {number} was told, with the id {id}, before the log had it"));
        }
        self.store(number, id)
    }

    /// The text is in the log.
    pub fn store(&mut self, number: usize, id: u64) -> Result<(), String> {
        let text = &mut self.texts[number];
        match text.fate {
            Fate::Open => {
                text.fate = Fate::Said(id);
                match self.said.insert(id, (text.channel, Some(number))) {
                    None => Ok(()),
                    Some(other) => Err(format!("the id {id} was given to {other:?} and to text {number}")),
                }
            }
            Fate::Said(before) if before == id => Ok(()),
            fate => Err(format!("text {number} has the id {id}, and was {fate:?}")),
        }
    }

    /// Whoever asked for it was refused, or never got to the end of his sentence.
    pub fn refuse(&mut self, number: usize) -> Result<(), String> {
        match self.texts[number].fate {
            Fate::Said(id) => Err(format!("text {number} was refused and said, with the id {id}")),
            _ => {
                self.texts[number].fate = Fate::Refused;
                Ok(())
            }
        }
    }

    /// The last word of a channel whose history was deleted.
    pub fn deleted(&mut self, channel: usize, id: u64) -> Result<(), String> {
        match self.said.insert(id, (channel, None)) {
            None | Some((_, None)) => Ok(()),
            Some(other) => Err(format!("the id {id} was given to {other:?} and to a last word")),
        }
    }

    /// Somebody heard this. It may be news to us, too.
    pub fn hear(&mut self, id: u64, channel: &str, event: Option<&str>, data: &str) -> Result<usize, String> {
        self.hear_as(id, channel, event, data, str::to_owned)
    }

    /// The same over a transport that changes texts in a known way.
    pub fn hear_as(
        &mut self,
        id: u64,
        channel: &str,
        event: Option<&str>,
        data: &str,
        change: impl FnOnce(&str) -> String,
    ) -> Result<usize, String> {
        let known = CHANNELS[..PUBLIC].iter().position(|name| *name == channel);
        let channel = known.ok_or_else(|| format!("a message of a channel {channel:?}"))?;
        if event == Some("deleted") {
            self.deleted(channel, id)?;
            return Ok(channel);
        }
        let number = data.split(':').next().and_then(|digits| digits.parse::<usize>().ok());
        let number = number.filter(|&number| number < self.texts.len());
        let number = number.ok_or_else(|| format!("a message that nobody wrote: {data:?}"))?;
        let text = &self.texts[number];
        if (text.channel, text.event, change(&text.data).as_str()) != (channel, event, data) {
            return Err(format!(
                "text {number} was changed on its way, or heard elsewhere: {event:?} {data:?}"
            ));
        }
        self.accept(number, id)?;
        Ok(channel)
    }

    /// Texts of which nobody has said yet what became of them.
    pub fn open(&self) -> usize {
        self.texts.iter().filter(|text| text.fate == Fate::Open).count()
    }

    /// All that we know was said in a channel since its history was last deleted.
    pub fn said_in(&self, channel: usize) -> Vec<u64> {
        let all = self.said.iter().filter(|(_, (said_in, _))| *said_in == channel);
        let mut ids: Vec<u64> = Vec::new();
        for (&id, (_, text)) in all {
            match text {
                Some(_) => ids.push(id),
                None => ids.clear(),
            }
        }
        ids
    }

    /// Whether anybody ever deleted anything.
    pub fn has_deletes(&self) -> bool {
        self.has_unknown_deletes || self.said.values().any(|(_, text)| text.is_none())
    }

    /// Whether each history has at least its newest message, for ever.
    fn keeps_newest(&self) -> bool {
        !self.histories_age && !self.has_deletes()
    }

    /// How many texts have been written.
    pub fn texts(&self) -> usize {
        self.texts.len()
    }

    /// The newest id that we know.
    pub fn head(&self) -> u64 {
        self.said.keys().next_back().copied().unwrap_or(0)
    }
}

/// One thing that happened to a subscriber.
#[derive(Clone, Copy, Debug)]
pub enum Entry {
    /// It asks without a cursor that means anything: what it hears first is where its account begins.
    Anew,
    /// It asks over a new connection. Whatever was under way over the last one is void.
    Asks,
    /// It asks for all there is.
    All,
    /// It joins a channel and asks for what was said there after this id, which comes first, and out of turn.
    Replay(usize, u64),
    /// A tick of a channel.
    Tick(usize, u64),
    /// Its stream has begun, when this was the newest id that we knew and so many texts had been written. What is
    /// written from then on is for it.
    Open(u64, usize),
    /// Another subscription, which holds from here on; it may already have been served by it.
    May(Set),
    /// … and must be, from this id on.
    Must(Set, u64),
    /// It has joined or left, and has everything up to here of what it listened to before.
    Changed(u64),
    Heard(u64, usize),
    Gap(u64, u64),
    /// It is told that it has everything up to here.
    At(u64),
}

/// What a subscriber has been told so far.
pub struct Record {
    first: Set,
    pub entries: Vec<Entry>,
}

/// Reads a record.
struct Reader<'a> {
    log: &'a Log,
    /// What it may hear, and from which id on it must.
    may: Set,
    must: [Option<u64>; CHANNELS.len()],
    /// Everything up to here has been accounted for.
    at: Option<u64>,
    /// Texts before this one may have been said before it came.
    from_text: usize,
    /// The last it heard, while that says more than `at`.
    last: u64,
    gaps: Vec<(u64, u64)>,
    heard: BTreeSet<u64>,
    /// The channel that it joined and is told of, from where on, and how far that is.
    replay: Option<(usize, u64, u64)>,
    /// Channels that it asked to leave: when it does, it has all that it was owed of them from here on.
    leaving: [Option<u64>; CHANNELS.len()],
    /// The last gap of which it was told over this connection, since it had everything.
    last_gap: Option<(u64, u64)>,
    /// The last tick of each channel.
    ticks: [Option<u64>; CHANNELS.len()],
    is_roomy: bool,
    /// Gaps that were told to somebody whose cursor was good.
    well_founded: Vec<(u64, u64)>,
}

impl Record {
    pub fn new(channels: Set) -> Self {
        Record { first: channels, entries: Vec::new() }
    }

    /// Whether all of it is right. With `whole`, everything said by now must have been heard.
    pub fn check(&self, log: &Log, whole: bool, is_roomy: bool) -> Result<(), String> {
        let mut reader = Reader {
            log,
            may: self.first,
            must: std::array::from_fn(|channel| (self.first & 1 << channel != 0).then_some(0)),
            at: None,
            from_text: 0,
            last: 0,
            gaps: Vec::new(),
            heard: BTreeSet::new(),
            replay: None,
            leaving: [None; CHANNELS.len()],
            ticks: [None; CHANNELS.len()],
            last_gap: None,
            is_roomy,
            well_founded: Vec::new(),
        };
        for entry in &self.entries {
            reader.read(*entry).map_err(|error| format!("{error}\n    its record: {:?}", self.tail()))?;
        }
        if whole {
            let end = log.head();
            reader.check_latest(is_roomy)?;
            reader
                .account(end, true)
                .map_err(|error| format!("{error} at the end\n    its record: {:?}", self.tail()))?;
        }
        if is_roomy { reader.check_gaps() } else { Ok(()) }
    }

    fn tail(&self) -> &[Entry] {
        &self.entries[self.entries.len().saturating_sub(12)..]
    }
}

impl Reader<'_> {
    fn read(&mut self, entry: Entry) -> Result<(), String> {
        match entry {
            Entry::Anew => {
                self.at = None;
                self.from_text = 0;
                self.last = 0;
            }
            Entry::All => {
                // Of a history that never forgot anything, that is everything.
                self.at = (self.is_roomy && !self.log.has_deletes()).then_some(0);
                self.from_text = 0;
                self.last = 0;
            }
            Entry::Replay(channel, since) => self.replay = Some((channel, since, since)),
            Entry::Tick(channel, number) => self.tick(channel, number)?,
            Entry::Open(head, texts) => {
                if self.at.is_none() {
                    self.at = Some(head);
                    self.from_text = texts;
                }
            }
            Entry::Asks => {
                (self.replay, self.last_gap) = (None, None);
                (self.leaving, self.ticks) = ([None; CHANNELS.len()], [None; CHANNELS.len()]);
            }
            Entry::May(set) => {
                self.may |= set;
                for channel in (0..CHANNELS.len()).filter(|channel| set & 1 << channel == 0) {
                    let owed = self.must[channel].take().zip(self.at).map(|(from, at)| from.max(at));
                    self.leaving[channel] = self.leaving[channel].or(owed);
                }
            }
            Entry::Changed(id) => self.end_leaving(id)?,
            Entry::Must(set, id) => {
                self.end_replay(id)?;
                self.may = set;
                for channel in 0..CHANNELS.len() {
                    self.must[channel] = (set & 1 << channel != 0).then(|| self.must[channel].unwrap_or(id));
                }
            }
            Entry::Gap(from, to) => self.gap(from, to)?,
            Entry::At(id) => {
                self.last_gap = None;
                if self.at.is_none() {
                    self.at = Some(id);
                }
                self.account(id, true)?;
                self.from_text = 0;
            }
            Entry::Heard(id, channel) => self.hear(id, channel)?,
        }
        Ok(())
    }

    fn gap(&mut self, from: u64, to: u64) -> Result<(), String> {
        if from > 0 && from < self.last && self.replay.is_none() {
            return Err(format!("a gap from {from} to {to}, to one who had heard {}", self.last));
        }
        // A gap ends at a message that is there. If more has gone since, it ends at another.
        let is_again = self.last_gap.replace((from, to)) == Some((from, to)) && self.replay.is_none();
        if is_again && self.log.keeps_newest() {
            return Err(format!("a gap from {from} to {to} was told twice"));
        }
        // Its cursor meant nothing, and it begins at the oldest message there is. Of several channels that is the
        // oldest of all, and the others may lack more, up to where it came.
        let is_lost = from == 0 && self.last == 0;
        if is_lost && self.may.is_power_of_two() {
            (self.at, self.from_text) = (Some(to), 0);
        }
        self.gaps.push((from, if is_lost { to.max(self.at.unwrap_or(0)) } else { to }));
        if self.replay.is_none() && from > 0 && self.at.is_some_and(|at| from >= at) {
            self.well_founded.push((from, to));
        }
        Ok(())
    }

    fn hear(&mut self, id: u64, channel: usize) -> Result<(), String> {
        if self.may & 1 << channel == 0 {
            return Err(format!("{id} of {}, which it does not listen to", CHANNELS[channel]));
        }
        if let Some((joined, since, last)) = self.replay.filter(|(joined, ..)| *joined == channel) {
            if id <= last {
                return Err(format!("{id} of a channel it joined, after {last}"));
            }
            self.replay = Some((joined, since, id));
            self.heard.insert(id);
            self.last = self.last.max(id);
            return Ok(());
        }
        if id <= self.last {
            return Err(format!("{id} after {}: again, or out of order", self.last));
        }
        // Before there is an account, it hears old messages that it asked for in another way than by a cursor: what is
        // there, whatever is missing.
        if let Some(at) = self.at.filter(|&at| id > at) {
            self.account(id, false)?;
            self.at = Some(id.max(at));
        }
        self.last = id;
        self.heard.insert(id);
        Ok(())
    }

    /// Everything up to `until` must have been heard, or lie in a gap.
    fn account(&mut self, until: u64, inclusive: bool) -> Result<(), String> {
        let Some(at) = self.at else { return Ok(()) };
        let end = if inclusive { until } else { until - 1 };
        if end <= at {
            return Ok(());
        }
        for (&id, &(channel, text)) in self.log.said.range(at + 1..=end) {
            let is_due = self.must[channel].is_some_and(|from| id > from) && channel != LATEST;
            let is_due = is_due && (self.from_text == 0 || text.is_some_and(|text| text >= self.from_text));
            let told = self.is_told(id);
            if is_due && !told && !self.heard.contains(&id) {
                return Err(format!("{id} (text {text:?} in {}) was lost without a word", CHANNELS[channel]));
            }
        }
        self.at = Some(end);
        Ok(())
    }

    /// Whether a gap was told in which this message lies. Where histories never become empty, a gap ends at a message that
    /// is still there, and is told.
    fn is_told(&self, id: u64) -> bool {
        let keeps_newest = self.log.keeps_newest();
        self.gaps.iter().any(|&(from, to)| from < id && (id < to || id == to && !keeps_newest))
    }

    /// What it asked for when it joined a channel has come, up to its cursor.
    fn end_replay(&mut self, until: u64) -> Result<(), String> {
        let Some((channel, since, _)) = self.replay.take() else { return Ok(()) };
        if channel == LATEST || since == 0 && (!self.is_roomy || self.log.has_deletes()) {
            return Ok(());
        }
        for (&id, &(said_in, _)) in self.log.said.range(since + 1..=until.max(since + 1)) {
            if said_in == channel && id <= until && !self.heard.contains(&id) && !self.is_told(id) {
                return Err(format!("{id} of {}, joined from {since} on, has not come", CHANNELS[channel]));
            }
        }
        Ok(())
    }

    /// It may have left, and has everything up to its cursor.
    fn end_leaving(&mut self, until: u64) -> Result<(), String> {
        let leaving = std::mem::replace(&mut self.leaving, [None; CHANNELS.len()]);
        for (&id, &(channel, text)) in self.log.said.range(..=until) {
            let is_owed = leaving[channel].is_some_and(|from| id > from) && channel != LATEST;
            let is_owed = is_owed && (self.from_text == 0 || text.is_some_and(|text| text >= self.from_text));
            if is_owed && !self.heard.contains(&id) && !self.is_told(id) {
                return Err(format!("{id} of {}, left at {until}, has not come", CHANNELS[channel]));
            }
        }
        Ok(())
    }

    /// The latest wins: a tick is newer than the one before.
    fn tick(&mut self, channel: usize, number: u64) -> Result<(), String> {
        if self.may & 1 << channel == 0 || channel < BEATS {
            return Err(format!("a tick of {}", CHANNELS[channel]));
        }
        let is_clear = channel != CLOCK || !self.log.clock_was_set;
        match self.ticks[channel].replace(number) {
            Some(before) if is_clear && number <= before => {
                Err(format!("the tick {number} of {} after {before}", CHANNELS[channel]))
            }
            _ => Ok(()),
        }
    }

    /// Who wants only the newest message has that one.
    fn check_latest(&self, is_exact: bool) -> Result<(), String> {
        let Some(from) = self.must[LATEST].filter(|_| self.last > 0) else { return Ok(()) };
        let newest = self.log.said.iter().rev().find(|(_, (channel, _))| *channel == LATEST);
        match newest {
            Some((&id, (_, Some(_))))
                if is_exact && id > from && id > self.last && self.at.is_some_and(|at| id > at) =>
            {
                Err(format!("{id}, the newest of its channel, has not come"))
            }
            _ => Ok(()),
        }
    }

    /// Where nothing is ever dropped, no gap may be told.
    fn check_gaps(&self) -> Result<(), String> {
        // What somebody deleted is gone, and may be told in both ways.
        if self.log.has_deletes() {
            return Ok(());
        }
        match self.well_founded.first() {
            Some((from, to)) => {
                Err(format!("a gap from {from} to {to} was told, where nothing is ever dropped"))
            }
            None => Ok(()),
        }
    }
}
