//! encke: a comet server.

pub mod config;
pub mod dialect;
pub mod engine;
pub mod hub;
pub mod kit;
pub mod log;
#[cfg(feature = "shell")]
pub mod shell;
pub mod transport;
pub mod wire;
