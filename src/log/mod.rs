//! The log: every published message, in one order.
//!
//! A log does one thing: it gives a message its id and keeps its word about it. Ids are
//! microseconds since the Unix epoch, strictly increasing over all channels, so a single
//! number is a complete position: a *cursor*. What of the log is still readable is the
//! business of the channels' histories.
//!
//! Knows: time, ids, messages. Never learns who subscribes.

mod memory;
mod message;

pub use memory::MemoryLog;
pub use message::Message;
