//! The log: every published message, in one order.
//!
//! A log does one thing: it gives a message its id and keeps its word about it. Ids are
//! microseconds since the Unix epoch, strictly increasing over all channels, so a single
//! number is a complete position: a *cursor*. What of the log is still readable is the
//! business of the channels' histories.
//!
//! Knows: time, ids, messages. Never learns who subscribes.

mod ids;
mod message;

pub use ids::Ids;
pub use message::Message;

/// Where a subscriber begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// Only what comes from now on.
    Now,
    /// After this cursor, an id.
    After(u64),
    /// At the oldest message there is.
    Oldest,
    /// So many messages ago.
    Last(u32),
    /// After a cursor that nobody can read: whatever it was, something is missing.
    Lost,
}
