//! encke: a comet server.

pub mod config;
pub mod kit;
pub mod wire;
