//! What was said, and when.

/// One published message. Lives once, however many subscribers it has.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Its place in the log: microseconds since the Unix epoch, strictly increasing.
    pub id: u64,
    /// Its type, for those who listen by type. Holds no CR, LF or NUL.
    pub event: Option<Box<str>>,
    /// What was published.
    pub data: Box<str>,
}

impl Message {
    /// What it counts for in a history's limits, in bytes: the payload and a fixed share for what holds it.
    pub fn weight(&self) -> usize {
        self.data.len() + self.event.as_ref().map_or(0, |event| event.len()) + Self::OVERHEAD
    }

    /// A message's cost beside its payload: its own fields, two counters, a place in a history.
    const OVERHEAD: usize = size_of::<Message>() + 2 * size_of::<usize>() + 16;
}
