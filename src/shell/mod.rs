//! The shell: the only files that touch the kernel.

/// The log.
pub mod logs;

/// Why the server could not start, or had to stop.
#[derive(Debug)]
pub struct ServeError;

impl std::fmt::Display for ServeError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the server is not built yet")
    }
}

impl std::error::Error for ServeError {}

/// Serves until told to stop.
pub fn serve(_settings: crate::config::Settings) -> Result<(), ServeError> {
    Err(ServeError)
}
