//! The book: what was said in each room, and what became of it.
//!
//! Every message begins with its number in its room, and what follows can be told from the number.
//! So whoever hears one knows what it must be, and which others should have come before it.
//!
//! Knows: numbers, ids, texts. Never learns how either travelled.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It was sent, and nobody has said yet whether it was taken; if the connection broke, nobody ever will.
    Open,
    /// It has this id.
    Said(u64),
    /// It was taken, and the article's dialect says no ids.
    Taken,
    /// It must never be heard.
    Refused,
}

/// A room, and what was said there, by one speaker.
pub struct Room {
    pub channel: &'static str,
    /// The longest text.
    pub bytes_max: usize,
    /// By number: what became of it, and when it was written.
    fates: Mutex<Vec<(Fate, Instant)>>,
    /// The last word was written.
    is_closing: AtomicBool,
}

impl Room {
    pub fn new(channel: &'static str, bytes_max: usize) -> Self {
        Room { channel, bytes_max, fates: Mutex::new(Vec::new()), is_closing: AtomicBool::new(false) }
    }

    /// A new text, and its number. After the last one there is another only if that one is not taken.
    pub fn write(&self, is_last: bool) -> (usize, String) {
        let mut fates = self.fates();
        fates.push((Fate::Open, Instant::now()));
        self.is_closing.fetch_or(is_last, Ordering::SeqCst);
        (fates.len() - 1, self.text(fates.len() - 1))
    }

    /// Whether somebody for whom `next` comes next has heard the last word.
    pub fn is_over_at(&self, next: usize) -> bool {
        let fates = self.fates();
        self.is_closing.load(Ordering::SeqCst) && next == fates.len()
    }

    /// So many texts were written.
    pub fn written(&self) -> usize {
        self.fates().len()
    }

    pub fn said(&self, number: usize, id: u64) {
        self.settle(number, Fate::Said(id));
    }

    pub fn taken(&self, number: usize) {
        self.settle(number, Fate::Taken);
    }

    pub fn refused(&self, number: usize) {
        self.settle(number, Fate::Refused);
    }

    /// Somebody heard this; returns its number.
    pub fn hear(&self, text: &str, id: Option<u64>) -> usize {
        let number = text.split(' ').next().and_then(|digits| digits.parse().ok());
        let number: usize = number.unwrap_or_else(|| panic!("{}: nobody said {text:?}", self.channel));
        assert!(number < self.written(), "{}: nobody has yet said {text:?}", self.channel);
        assert_eq!(text, self.text(number), "{}: changed on its way", self.channel);
        match id {
            Some(id) => self.said(number, id),
            None => self.taken(number),
        }
        number
    }

    /// Fails if one of these messages has an id above `floor`: it should have been heard, or a gap told.
    pub fn may_be_missing(&self, numbers: Range<usize>, floor: u64) -> Result<(), String> {
        let fates = self.fates();
        for number in numbers {
            match fates[number].0 {
                Fate::Said(id) if id > floor => {
                    return Err(format!(
                        "{}: message {number} with the id {id} never came, and gaps were told up to {floor} only",
                        self.channel
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether each of these messages was never said, or is older than `age`.
    pub fn may_be_forgotten(&self, numbers: Range<usize>, age: Duration) -> bool {
        let is_lost = |fate| matches!(fate, Fate::Open | Fate::Refused);
        self.fates()[numbers].iter().all(|(fate, written)| is_lost(*fate) || written.elapsed() >= age)
    }

    fn settle(&self, number: usize, fate: Fate) {
        let mut fates = self.fates();
        match (fates[number].0, fate) {
            (Fate::Open, _) => fates[number].0 = fate,
            (before, after) => assert_eq!(before, after, "{}: message {number}", self.channel),
        }
    }

    fn text(&self, number: usize) -> String {
        let stuff = ["x", "two\nlines ", "é", "</script>", "\"\\\u{2028}", ""][number % 6];
        format!("{number} {}", stuff.repeat(number * 7_919 % self.bytes_max / 9))
    }

    fn fates(&self) -> MutexGuard<'_, Vec<(Fate, Instant)>> {
        self.fates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one listener knows about a room.
#[derive(Debug, Default)]
pub struct Account {
    /// What has to come next.
    next: usize,
    /// Whether anything was heard: until then it may begin anywhere.
    has_begun: bool,
}

impl Account {
    /// This came, and gaps have been told up to `floor`.
    pub fn hear(&mut self, room: &Room, number: usize, floor: u64) -> Result<(), String> {
        if self.has_begun && number < self.next {
            return Err(format!("{}: message {number} again, or too late, for {}", room.channel, self.next));
        }
        if self.has_begun {
            room.may_be_missing(self.next..number, floor)?;
        }
        (self.next, self.has_begun) = (number + 1, true);
        Ok(())
    }

    /// Of what was written, this comes next.
    pub fn next(&self) -> usize {
        self.next
    }
}
