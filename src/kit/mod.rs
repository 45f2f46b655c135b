//! The kit: clock, frame, outbox, timer wheel. Standard library only.

pub mod clock;
pub mod wheel;
