//! The kit: what every room needs and no comet server is about.
//!
//! Time as a value, names for connections, shared bytes, secrets, the unsent rest of a write, and
//! the timer wheel. Everything here can be understood without the rest of the house.
//!
//! Knows: the standard library. Never learns what HTTP, a channel or a socket is.

pub mod clock;
pub mod frame;
pub mod histogram;
pub mod id;
pub mod outbox;
pub mod secret;
pub mod wheel;
