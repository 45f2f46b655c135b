//! encke: a comet server.

pub mod config;
pub mod kit;
#[cfg(feature = "shell")]
pub mod shell;
pub mod wire;
