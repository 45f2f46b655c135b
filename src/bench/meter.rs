//! The progress bar. Only on a terminal, and only for people: nothing is decided by it.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::clock::mono_us;
use super::orders::Progress;

/// What is shown while it works.
pub(super) struct Meter {
    bar: ProgressBar,
    phase: &'static str,
    since_us: u64,
}

impl Meter {
    pub(super) fn new() -> Self {
        // Hidden by itself where standard error is no terminal.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        Meter { bar, phase: "", since_us: 0 }
    }

    /// A new phase; `length` is what a full bar means, connections or milliseconds. Zero: there is none.
    pub(super) fn phase(&mut self, name: &'static str, length: u64) {
        (self.phase, self.since_us) = (name, mono_us());
        let template =
            if length > 0 { "{spinner} {prefix:<12} {bar:30} {msg}" } else { "{spinner} {prefix:<12} {msg}" };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bar.set_style(style);
        self.bar.set_prefix(name);
        self.bar.set_length(length);
        self.bar.set_position(0);
        self.bar.enable_steady_tick(Duration::from_millis(100));
    }

    pub(super) fn show(&self, progress: &Progress, now_us: u64) {
        let Progress { listening, received, ticks, errors, .. } = progress;
        let position = match self.phase {
            "connecting" => *listening,
            "storm" => listening.saturating_sub(progress.storming),
            _ => now_us.saturating_sub(self.since_us) / 1_000,
        };
        self.bar.set_position(position);
        let heard = if *ticks > 0 { format!("{ticks} ticks") } else { format!("{received} deliveries") };
        let trouble = match &progress.last_error {
            Some(error) => format!(", {errors} errors ({error})"),
            None => String::new(),
        };
        self.bar.set_message(format!("{listening} listen, {heard}{trouble}"));
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
