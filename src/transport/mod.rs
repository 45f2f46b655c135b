//! Transports: how news looks on the wire, one file per framing.
//!
//! A transport turns messages into bytes and knows nothing else about the exchange. Whoever
//! sends the bytes asks it for them, once per message and framing, not once per subscriber.
//!
//! Knows: messages and bytes. Never learns who listens, or whether they keep up.

pub mod iframe;
pub mod long_poll;
