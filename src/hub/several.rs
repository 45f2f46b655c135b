//! Subscribers of several channels: still one cursor, because the order is global.
//!
//! They sit in a row of every channel they listen to. A sweep of any of these brings them
//! what is new in all of them, merged by id; the sweep of the next finds that they have it.
//!
//! Knows: channels, cursors. Never learns sockets.

use crate::transport::{Framing, Gap};

/// One who listens to several channels.
pub(super) struct Several {
    pub(super) member: u32,
    pub(super) framing: Framing,
    /// Invariant: at least two, of different channels.
    pub(super) chairs: Box<[Chair]>,
    /// Has everything up to here, in all of them.
    pub(super) cursor: u64,
    /// What to tell before anything else.
    pub(super) lost: Option<Gap>,
    /// Cannot take more for now: reads from the histories when it can, not when a sweep comes by.
    pub(super) behind: bool,
}

/// A place in the row of one of the channels.
pub(super) struct Chair {
    pub(super) channel: u32,
    pub(super) place: u32,
    /// Has been told of every message of this channel that is gone up to here.
    pub(super) told: u64,
}
