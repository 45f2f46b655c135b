//! Which channels a rule is for: a name, or a name with `*` in it.
//!
//! `*` stands for any text, the empty one too, and there is nothing else to learn: no `?`, no
//! classes, no escape. That is enough for `chat:*`, and it can be matched in time linear in the
//! name, whatever a stranger calls his channel.
//!
//! Knows: the bytes of a name. Never learns what a rule does.

use std::fmt;
use std::str::FromStr;

use super::ConfigError;

/// The longest name of a channel, and so the longest pattern, in bytes.
const NAME_BYTES_MOST: usize = 128;

/// A pattern for names of channels: 1 to 128 bytes of `A-Z a-z 0-9 . _ - ~ : @ $ /` and `*`.
///
/// The native names have no `/`; those of the article's chats have (`chat:/demo/`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
}

impl Pattern {
    /// Whether all of `name` fits: bytes are compared as they are. Takes time linear in the name.
    pub fn matches(&self, name: &str) -> bool {
        let Some((head, behind)) = self.text.split_once('*') else { return self.text == name };
        let (middle, tail) = behind.rsplit_once('*').unwrap_or(("", behind));
        let Some(mut rest) = name.strip_prefix(head).and_then(|rest| rest.strip_suffix(tail)) else {
            return false;
        };
        // The first place where a piece fits leaves the most to the pieces behind it, so no choice is ever
        // taken back. The library's search is linear even for `aaa…` in `aaa…b`.
        for piece in middle.split('*') {
            let Some(at) = rest.find(piece) else { return false };
            rest = &rest[at + piece.len()..];
        }
        true
    }

    /// Whether no name can fit `other` without fitting this pattern as well.
    pub fn covers(&self, other: &Pattern) -> bool {
        // As a name, `other` has stars, which only our own stars can take: then they take as well
        // whatever those stars stand for.
        self.matches(&other.text)
    }
}

impl FromStr for Pattern {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let may_appear = |byte: u8| is_native(byte) || byte == b'*' || byte == b'/';
        if has_a_names_length(text) && text.bytes().all(may_appear) {
            return Ok(Pattern { text: text.to_owned() });
        }
        Err(ConfigError::new(format!(
            "{text:?} is not a pattern for channels; write 1 to {NAME_BYTES_MOST} of A-Z a-z 0-9 . _ - ~ : @ \
             $ / and * for any text, such as \"chat:*\""
        )))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// Whether the native URLs can name this channel: 1 to 128 bytes of `A-Z a-z 0-9 . _ - ~ : @ $`.
pub(super) fn is_native_name(name: &str) -> bool {
    has_a_names_length(name) && name.bytes().all(is_native)
}

fn has_a_names_length(text: &str) -> bool {
    (1..=NAME_BYTES_MOST).contains(&text.len())
}

fn is_native(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-~:@$".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_star_stands_for_any_text_and_nothing_else_does() {
        for (text, fitting, other) in [
            ("news", &["news"][..], &["", "new", "news1", "News"][..]),
            ("chat:*", &["chat:", "chat:/demo/", "chat:*"], &["chat", "my-chat:x"]),
            ("*:log", &[":log", "a:log", "a:log:log"], &["log", "a:logs"]),
            ("a*z", &["az", "abz", "azz"], &["a", "z", "azb"]),
            ("aa*aa", &["aaaa", "aaxaa"], &["aa", "aaa"]),
            ("a*b*c", &["abc", "abbc", "axbxbxc"], &["ac", "acb", "abcd"]),
            ("*a*a*", &["aa", "xaxax"], &["a", ""]),
            ("*", &["", "a", "käse/%", "$clock"], &[]),
            ("a.c", &["a.c"], &["abc"]),
        ] {
            for name in fitting {
                assert!(pattern(text).matches(name), "{text} {name}");
            }
            for name in other {
                assert!(!pattern(text).matches(name), "{text} {name}");
            }
        }
    }

    #[test]
    fn a_pattern_is_made_of_a_names_bytes() {
        for text in ["", "a b", "a,b", "a?", "[ab]", "käse", "a\\*"] {
            let error = text.parse::<Pattern>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{text:?} is not a pattern for channels; write 1")),
                "{error}"
            );
        }
        assert_eq!(pattern("AZaz09._-~:@$/*").to_string(), "AZaz09._-~:@$/*");
    }

    #[test]
    fn a_pattern_is_as_long_as_a_name_at_most() {
        assert!("a".repeat(128).parse::<Pattern>().is_ok());
        assert!("a".repeat(129).parse::<Pattern>().is_err());
        assert!(is_native_name(&"a".repeat(128)));
        assert!(!is_native_name(&"a".repeat(129)));
        assert!(!is_native_name(""));
    }

    #[test]
    fn a_wider_pattern_covers_a_narrower_one() {
        for (wide, narrow) in
            [("chat:*", "chat:vip"), ("chat:*", "chat:*:log"), ("*", "*"), ("*", "a"), ("a", "a")]
        {
            assert!(pattern(wide).covers(&pattern(narrow)), "{wide} {narrow}");
        }
        for (one, other) in [("chat:vip", "chat:*"), ("chat:*:log", "chat:*"), ("a*", "*a"), ("a", "b")] {
            assert!(!pattern(one).covers(&pattern(other)), "{one} {other}");
        }
    }

    /// The definition itself: it tries every length that a star can take.
    fn fits(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', behind)) => (0..=name.len()).any(|taken| fits(behind, &name[taken..])),
            Some((byte, behind)) => name.first() == Some(byte) && fits(behind, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_trying_everything(text in "[ab*]{1,8}", name in "[ab]{0,10}") {
            prop_assert_eq!(pattern(&text).matches(&name), fits(text.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn what_fits_a_covered_pattern_fits_the_covering_one(
            wide in "[ab*]{1,5}", narrow in "[ab*]{1,6}", name in "[ab]{0,8}",
        ) {
            let (wide, narrow) = (pattern(&wide), pattern(&narrow));
            prop_assert!(!wide.covers(&narrow) || !narrow.matches(&name) || wide.matches(&name));
        }
    }
}
