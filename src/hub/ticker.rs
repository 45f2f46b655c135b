//! Tickers: channels that say the time.
//!
//! A tick is not a message: it has no id and no history, and who cannot take it gets the next
//! one instead. A ticker without listeners does not tick.
//!
//! Knows: when a beat is due. Never learns who listens.

use std::rc::Rc;

use crate::config::TickerRule;
use crate::kit::clock::Now;

use super::Hub;

/// The server's own: the Unix time, each second on the second.
const CLOCK: &str = "$clock";

/// One ticker.
pub(super) struct Ticker {
    pub(super) channel: Rc<str>,
    beat: Beat,
}

enum Beat {
    /// Each second, on the second of the wall clock.
    Seconds,
    /// As configured, counted from the moment the server began.
    Every { rule: TickerRule, began_ms: u64 },
}

impl Ticker {
    /// The clock, and those that are configured.
    pub(super) fn all(rules: &[TickerRule], now: Now) -> Vec<Ticker> {
        let configured = rules.iter().map(|rule| Ticker {
            channel: rule.channel.as_str().into(),
            beat: Beat::Every { rule: rule.clone(), began_ms: now.mono_ms() },
        });
        std::iter::once(Ticker { channel: CLOCK.into(), beat: Beat::Seconds }).chain(configured).collect()
    }

    /// When the next beat after now is due, in milliseconds of the monotonic clock.
    fn next_ms(&self, now: Now) -> u64 {
        match &self.beat {
            // Asked of the wall clock each time: it may be set, and seconds begin where it says. Rounded up: the two clocks
            // begin their milliseconds at different moments, and a beat that came before its second would come twice.
            Beat::Seconds => (now.mono_us + 1_000_000 - now.unix_us % 1_000_000).div_ceil(1_000),
            Beat::Every { rule, began_ms } => {
                let beats = (now.mono_ms() - began_ms) / rule.every_ms + 1;
                began_ms + beats * rule.every_ms
            }
        }
    }

    /// What the beat that was due at `due_ms` says.
    fn text(&self, due_ms: u64, now: Now) -> String {
        let unix_ms = now.unix_us_at(due_ms) / 1_000;
        match &self.beat {
            // The alarm may be a hair early against a wall clock that is being slewed.
            Beat::Seconds => ((unix_ms + 500) / 1_000).to_string(),
            Beat::Every { rule, began_ms } => {
                let mut text = Vec::new();
                rule.payload.render(unix_ms, (due_ms - began_ms) / rule.every_ms, &mut text);
                String::from_utf8(text).expect("a payload is text, and so are numbers")
            }
        }
    }
}

impl Hub {
    /// Whether a ticker speaks in this channel.
    pub fn has_ticker(&self, name: &str) -> bool {
        self.tickers.iter().any(|ticker| &*ticker.channel == name)
    }

    /// Somebody listens to the channel: if it has a ticker, it ticks.
    pub(super) fn start_ticker(&mut self, key: u32, now: Now) {
        let Some(ticker) = self.channels[key as usize].ticker.map(u32::from) else { return };
        if !self.hushed && !self.beats.is_armed(ticker) {
            self.beats.wind(now.mono_ms());
            self.beats.arm(ticker, self.tickers[ticker as usize].next_ms(now));
        }
    }

    pub(super) fn stop_tickers(&mut self) {
        for ticker in 0..self.tickers.len() as u32 {
            self.beats.cancel(ticker);
        }
    }

    pub(super) fn tick(&mut self, now: Now) {
        while let Some((index, due_ms)) = self.beats.pop(now.mono_ms()) {
            let ticker = &self.tickers[index as usize];
            let Some(&key) = self.names.get(&ticker.channel) else { continue };
            if self.channels[key as usize].subscribers() == 0 {
                continue;
            }
            let (text, next_ms) = (ticker.text(due_ms, now), ticker.next_ms(now));
            self.channels[key as usize].aside().tick = Some(text.into());
            self.activate(key);
            self.beats.arm(index, next_ms);
        }
    }
}
