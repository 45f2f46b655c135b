//! A batch: several messages in one framing, in one piece.
//!
//! Everyone in a section is sent the same bytes with one call. If a kernel takes only some of
//! them, the cuts say which message was the last to be begun.
//!
//! Knows: bytes and where messages end in them. Never learns what they say.

/// Messages, encoded one behind the other.
#[derive(Debug, Default)]
pub struct Batch {
    /// What is sent.
    pub bytes: Vec<u8>,
    /// Where each message ends, in order.
    ///
    /// Invariant: the last one ends where `bytes` does.
    cuts: Vec<Cut>,
}

/// The end of a message in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Behind its last byte.
    pub end: usize,
    /// The cursor of whoever has it: its id.
    pub cursor: u64,
}

impl Batch {
    /// Forgets everything, and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.cuts.clear();
    }

    /// Appends what `write` writes, as one message that moves a cursor to `cursor`.
    pub fn append(&mut self, cursor: u64, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.cuts.push(Cut { end: self.bytes.len(), cursor });
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.cuts.is_empty()
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.cuts.len()
    }

    /// The cursor of whoever has it all.
    pub fn cursor(&self) -> Option<u64> {
        self.cuts.last().map(|cut| cut.cursor)
    }

    /// The message that was begun last when only `sent` bytes were taken; the first, if none were.
    pub fn cut_at(&self, sent: usize) -> Cut {
        let begun = self.cuts.partition_point(|cut| cut.end < sent.max(1));
        self.cuts[begun.min(self.cuts.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_the_end_of_the_message_that_was_begun() {
        let mut batch = Batch::default();
        for (cursor, text) in [(10, "aaa"), (20, "bb"), (30, "c")] {
            batch.append(cursor, |out| out.extend_from_slice(text.as_bytes()));
        }
        let cursors: Vec<u64> = (0..=6).map(|sent| batch.cut_at(sent).cursor).collect();
        assert_eq!(cursors, [10, 10, 10, 10, 20, 20, 30]);
        assert_eq!(batch.cut_at(4).end, 5);
    }
}
