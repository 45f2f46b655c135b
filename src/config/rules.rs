//! Which limits does a channel have? The first rule that its name fits says so.
//!
//! Channels come into being when somebody names them, so an operator cannot list them; he
//! writes patterns. A rule says what differs, `[limits]` says the rest, and both are put
//! together once, before the first channel is opened.
//!
//! Knows: names, patterns, limits. Never learns what a channel holds.

use std::rc::Rc;

use super::limits::{Limits, check_least, check_size, check_time};
use super::{ConfigError, Pattern};

/// The most rules. A new channel, and strangers open channels, is compared with all of them at worst.
const RULES_MOST: usize = 1_000;

/// A `[[channel]]`: what is different for the channels whose names fit. What is `None` is as in `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Deserialize))]
#[cfg_attr(feature = "shell", serde(deny_unknown_fields, rename_all = "kebab-case"))]
pub struct ChannelRule {
    /// Which channels. Of several rules that fit a name the first counts, and it alone.
    #[cfg_attr(feature = "shell", serde(rename = "match", deserialize_with = "super::file::pattern"))]
    pub pattern: Pattern,
    /// Messages in the history.
    #[cfg_attr(feature = "shell", serde(default))]
    pub history_messages_max: Option<usize>,
    /// All messages in the history together, in bytes.
    #[cfg_attr(feature = "shell", serde(default, deserialize_with = "super::file::some_size"))]
    pub history_bytes_max: Option<usize>,
    /// How long a message stays in the history, in milliseconds.
    #[cfg_attr(
        feature = "shell",
        serde(default, rename = "history-age", deserialize_with = "super::file::some_time_ms")
    )]
    pub history_age_ms: Option<u64>,
    /// How long a message waits for others to share its frame, in milliseconds. Default 0: news is sent
    /// at once.
    #[cfg_attr(
        feature = "shell",
        serde(default, rename = "gather", deserialize_with = "super::file::time_ms")
    )]
    pub gather_ms: u64,
    /// What becomes of a subscriber who falls off the history. Default: gap.
    #[cfg_attr(feature = "shell", serde(default))]
    pub slow: Slow,
}

/// What becomes of a subscriber who reads so slowly that messages are gone before he has had them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Slow {
    /// He is told what is missing and goes on with the oldest message there is: nothing is lost in silence.
    #[default]
    Gap,
    /// His connection is closed. He may come back and begin anew: for channels where a part is worth nothing.
    Disconnect,
    /// He gets the newest message and no word about the others: for prices and positions, where each
    /// message makes the ones before it worthless.
    Latest,
}

/// All that a channel must know about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelLimits {
    /// At most this many messages in the history.
    pub messages_max: usize,
    /// At most this many bytes in the history, all its messages together.
    pub bytes_max: usize,
    /// No message in the history older than this, in milliseconds.
    pub age_ms: u64,
    /// How long a message may wait for others to share its frame, in milliseconds; 0: not at all.
    pub gather_ms: u64,
    /// What becomes of a subscriber who falls off the history.
    pub slow: Slow,
}

impl ChannelRule {
    /// A rule for these channels by which nothing is different yet.
    pub fn new(pattern: Pattern) -> Self {
        ChannelRule {
            pattern,
            history_messages_max: None,
            history_bytes_max: None,
            history_age_ms: None,
            gather_ms: 0,
            slow: Slow::default(),
        }
    }

    fn over(&self, limits: &Limits) -> ChannelLimits {
        ChannelLimits {
            messages_max: self.history_messages_max.unwrap_or(limits.history_messages_max),
            bytes_max: self.history_bytes_max.unwrap_or(limits.history_bytes_max),
            age_ms: self.history_age_ms.unwrap_or(limits.history_age_ms),
            gather_ms: self.gather_ms,
            slow: self.slow,
        }
    }

    fn validate(&self, limits: &Limits) -> Result<(), ConfigError> {
        let place = format!("channel \"{}\": ", self.pattern);
        let settled = self.over(limits);
        check_least(&place, "history-messages-max", settled.messages_max, 1)?;
        check_size(&place, "history-bytes-max", settled.bytes_max, limits.message_bytes_max)?;
        check_time(&place, "history-age", settled.age_ms, 1)?;
        check_time(&place, "gather", settled.gather_ms, 0)?;
        if settled.bytes_max > limits.history_budget_bytes_max {
            return Err(ConfigError::new(format!(
                "{place}history-bytes-max is {}; all histories together may be {}, history-budget-bytes-max, \
                 at most",
                settled.bytes_max, limits.history_budget_bytes_max
            )));
        }
        if settled.gather_ms >= settled.age_ms {
            return Err(ConfigError::new(format!(
                "{place}gather is {}ms; it must be less than {}ms, history-age: else a message could be gone \
                 before it is sent",
                settled.gather_ms, settled.age_ms
            )));
        }
        Ok(())
    }
}

/// Refuses rules that make no sense, and rules that no channel would ever go by. Expects valid `limits`.
pub(super) fn validate(rules: &[ChannelRule], limits: &Limits) -> Result<(), ConfigError> {
    if rules.len() > RULES_MOST {
        return Err(ConfigError::new(format!(
            "{} rules for channels; there may be {RULES_MOST} at most",
            rules.len()
        )));
    }
    for (at, rule) in rules.iter().enumerate() {
        rule.validate(limits)?;
        if let Some(first) = rules[..at].iter().find(|first| first.pattern.covers(&rule.pattern)) {
            return Err(ConfigError::new(format!(
                "channel \"{}\": no channel goes by this rule, because \"{}\" above fits first; put the \
                 narrower pattern first",
                rule.pattern, first.pattern
            )));
        }
    }
    Ok(())
}

/// The rules in the order in which they count, each with its limits made complete.
///
/// The channels of a rule share its limits: a pointer is all that each of a hundred thousand keeps.
#[derive(Clone, Debug)]
pub struct ChannelRules {
    rules: Vec<(Pattern, Rc<ChannelLimits>)>,
    /// Those of a channel that no rule fits.
    otherwise: Rc<ChannelLimits>,
}

impl ChannelRules {
    /// Completes the rules with `limits`. Both are expected to have been validated.
    pub fn new(rules: &[ChannelRule], limits: &Limits) -> Self {
        let otherwise = ChannelLimits {
            messages_max: limits.history_messages_max,
            bytes_max: limits.history_bytes_max,
            age_ms: limits.history_age_ms,
            gather_ms: 0,
            slow: Slow::default(),
        };
        let rules = rules.iter().map(|rule| (rule.pattern.clone(), Rc::new(rule.over(limits)))).collect();
        ChannelRules { rules, otherwise: Rc::new(otherwise) }
    }

    /// The limits of the channel with this name. Linear in the name and in the rules: ask once per channel.
    pub fn limits_for(&self, channel: &str) -> Rc<ChannelLimits> {
        let first = self.rules.iter().find(|(pattern, _)| pattern.matches(channel));
        Rc::clone(first.map_or(&self.otherwise, |(_, limits)| limits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str) -> ChannelRule {
        ChannelRule::new(pattern.parse().unwrap())
    }

    fn complaint(rules: &[ChannelRule]) -> String {
        validate(rules, &Limits::default()).expect_err("nothing was refused").to_string()
    }

    #[test]
    fn without_rules_the_limits_are_everybodys() {
        let limits = Limits { history_messages_max: 7, history_age_ms: 8, ..Limits::default() };
        let expected = ChannelLimits {
            messages_max: 7,
            bytes_max: limits.history_bytes_max,
            age_ms: 8,
            gather_ms: 0,
            slow: Slow::Gap,
        };
        assert_eq!(*ChannelRules::new(&[], &limits).limits_for("any"), expected);
    }

    #[test]
    fn a_rule_changes_what_it_mentions_and_nothing_else() {
        let limits = Limits::default();
        let prices = ChannelRule {
            history_messages_max: Some(1),
            gather_ms: 50,
            slow: Slow::Latest,
            ..rule("price:*")
        };
        let rules = ChannelRules::new(&[prices], &limits);
        let general = rules.limits_for("news");
        assert_eq!(
            *rules.limits_for("price:gold"),
            ChannelLimits { messages_max: 1, gather_ms: 50, slow: Slow::Latest, ..*general }
        );
    }

    #[test]
    fn the_first_rule_that_fits_counts_alone() {
        let vip = ChannelRule { history_messages_max: Some(5), ..rule("chat:vip") };
        let chats = ChannelRule { history_messages_max: Some(9), gather_ms: 20, ..rule("chat:*") };
        let rules = ChannelRules::new(&[vip, chats], &Limits::default());
        assert_eq!(rules.limits_for("chat:vip").messages_max, 5);
        assert_eq!(rules.limits_for("chat:vip").gather_ms, 0);
        assert_eq!(rules.limits_for("chat:/demo/").messages_max, 9);
        assert_eq!(rules.limits_for("news").messages_max, 1_000);
    }

    #[test]
    fn the_channels_of_a_rule_share_its_limits() {
        let rules = ChannelRules::new(&[rule("chat:*")], &Limits::default());
        assert!(Rc::ptr_eq(&rules.limits_for("chat:a"), &rules.limits_for("chat:b")));
        assert!(Rc::ptr_eq(&rules.limits_for("a"), &rules.limits_for("b")));
    }

    #[test]
    fn a_rule_that_no_channel_reaches_is_refused() {
        assert_eq!(
            complaint(&[rule("chat:*"), rule("news"), rule("chat:vip")]),
            "channel \"chat:vip\": no channel goes by this rule, because \"chat:*\" above fits first; \
             put the narrower pattern first"
        );
        assert!(complaint(&[rule("news"), rule("news")]).contains("no channel goes by this rule"));
        let narrow_first = [rule("chat:vip"), rule("chat:*"), rule("*")];
        assert_eq!(validate(&narrow_first, &Limits::default()), Ok(()));
    }

    #[test]
    fn a_rule_is_as_bounded_as_the_limits_are() {
        for (bad, sentence) in [
            (
                ChannelRule { history_messages_max: Some(0), ..rule("a") },
                "channel \"a\": history-messages-max is 0; it must be at least 1",
            ),
            (
                ChannelRule { history_bytes_max: Some(65_535), ..rule("a") },
                "channel \"a\": history-bytes-max is 65535; it must be at least 65536, message-bytes-max: \
                 else a message could be gone before it is sent",
            ),
            (
                ChannelRule { history_bytes_max: Some((256 << 20) + 1), ..rule("a") },
                "channel \"a\": history-bytes-max is 268435457; all histories together may be 268435456, \
                 history-budget-bytes-max, at most",
            ),
            (
                ChannelRule { history_age_ms: Some(0), ..rule("a") },
                "channel \"a\": history-age is 0; it must be at least 1ms",
            ),
            (
                ChannelRule { gather_ms: 25 * 86_400_000, ..rule("a") },
                "channel \"a\": gather is 25 days; timers reach 24 days ahead at most",
            ),
            (
                ChannelRule { history_age_ms: Some(1_000), gather_ms: 1_000, ..rule("a") },
                "channel \"a\": gather is 1000ms; it must be less than 1000ms, history-age: \
                 else a message could be gone before it is sent",
            ),
        ] {
            assert_eq!(complaint(&[bad]), sentence);
        }
        let just = ChannelRule {
            history_messages_max: Some(1),
            history_bytes_max: Some(256 << 20),
            history_age_ms: Some(1_000),
            gather_ms: 999,
            ..rule("a")
        };
        assert_eq!(validate(&[just], &Limits::default()), Ok(()));
    }

    #[test]
    fn there_are_a_thousand_rules_at_most() {
        let mut rules: Vec<_> = (0..1_000).map(|number| rule(&number.to_string())).collect();
        assert_eq!(validate(&rules, &Limits::default()), Ok(()));
        rules.push(rule("last"));
        assert_eq!(complaint(&rules), "1001 rules for channels; there may be 1000 at most");
    }
}
