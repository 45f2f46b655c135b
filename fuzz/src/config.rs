//! The configuration file. The input is its text.
//!
//! A mistake is one line that says where it is. Settings that were found to make sense can be
//! served with: an engine that is made of them ticks, publishes and forgets without a panic.

use encke::config::Settings;
use encke::engine::Engine;
use encke::kit::clock::Now;
use encke::wire::json::Publication;

use crate::Pages;
use crate::wire::Far;

pub fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Settings::from_toml(text, "encke.toml") {
        Err(error) => check_sentence(&error.to_string(), Some("encke.toml:")),
        Ok(mut settings) => {
            if let Err(error) = settings.validate() {
                check_sentence(&error.to_string(), None);
            } else {
                // As the shell does for the most that the process may have; here there is no need for more.
                settings.limits.connections_max = 4;
                serve(&settings);
            }
        }
    }
}

fn check_sentence(text: &str, begins: Option<&str>) {
    assert!(!text.trim().is_empty(), "{text:?}");
    assert!(!text.contains(['\n', '\r']), "an operator reads one line: {text:?}");
    if let Some(rest) = begins.and_then(|begins| text.strip_prefix(begins)) {
        let line = rest.split(':').next().unwrap_or_default();
        assert!(line.parse::<usize>().is_ok_and(|line| line > 0), "no line is named: {text:?}");
    } else {
        assert!(begins.is_none(), "no file is named: {text:?}");
    }
}

fn serve(settings: &Settings) {
    // The padding of a clock's ticks is kept ready, and an operator may want much of it.
    if settings.limits.padding_max > 1 << 16 {
        return;
    }
    let mut now = Now { mono_us: 5_000_250_000, unix_us: 1_700_000_000_250_000 };
    let mut engine: Engine<Far> = Engine::new(settings, Box::new(Pages), 7, now);
    let said = Publication { channel: "a".to_owned(), data: "x".into(), event: None };
    let _ = engine.publish(std::slice::from_ref(&said), now);
    for _ in 0..20 {
        if let Some(deadline_us) = engine.deadline() {
            let passed_us = deadline_us.saturating_sub(now.mono_us);
            now = Now { mono_us: now.mono_us + passed_us, unix_us: now.unix_us + passed_us };
        }
        engine.advance(now);
    }
}
