//! Bytes to values and values to bytes. Pure functions.

pub mod http;
pub mod json;
pub mod refusal;
pub mod text;
pub mod websocket;
