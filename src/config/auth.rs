//! Who may publish: whoever knows a token.
//!
//! The texts are read once, from the file, and from then on can only be compared. No sentence about a
//! mistake repeats one: the operator's terminal is somebody's log.
//!
//! Knows: which tokens are worth something. Never learns how they are handed in.

use super::ConfigError;
use crate::kit::secret::{self, Secret};

/// A shorter token could be guessed by trying.
const TOKEN_BYTES_MIN: usize = 16;

/// The most tokens: each publish is compared with all of them.
const TOKENS_MOST: usize = 64;

/// `[auth]`: what is needed to publish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Deserialize))]
#[cfg_attr(feature = "shell", serde(default, deny_unknown_fields, rename_all = "kebab-case"))]
pub struct Auth {
    /// Whoever publishes must bring one of these (`Authorization: Bearer TOKEN`); subscribing stays free.
    /// Default: none, and then whoever can reach the server may publish.
    #[cfg_attr(feature = "shell", serde(deserialize_with = "super::file::tokens"))]
    publish_tokens: Vec<Secret>,
}

impl Auth {
    /// Only whoever has one of these tokens may publish; without any, everybody may.
    ///
    /// # Errors
    /// If one is too short to be safe, or could not be sent in a header.
    pub fn new<T: AsRef<str>>(tokens: &[T]) -> Result<Self, ConfigError> {
        if tokens.len() > TOKENS_MOST {
            return Err(ConfigError::new(format!(
                "{} tokens; at most {TOKENS_MOST}, because each publish is compared with all of them",
                tokens.len()
            )));
        }
        let numbered = tokens.iter().zip(1..);
        let tokens = numbered.map(|(text, number)| token(number, text.as_ref())).collect::<Result<_, _>>()?;
        Ok(Auth { publish_tokens: tokens })
    }

    /// What a publisher may bring. Empty: nothing is asked of him.
    pub fn publish_tokens(&self) -> &[Secret] {
        &self.publish_tokens
    }
}

/// Bytes that a token may have in a header (RFC 6750 section 2.1).
fn is_sendable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)
}

fn token(number: usize, text: &str) -> Result<Secret, ConfigError> {
    if text.len() < TOKEN_BYTES_MIN {
        return Err(ConfigError::new(format!(
            "token {number} has {} characters; it needs at least {TOKEN_BYTES_MIN}, or it could be guessed; \
             `openssl rand -hex 32` makes a good one",
            text.len()
        )));
    }
    if !text.bytes().all(is_sendable) {
        return Err(ConfigError::new(format!(
            "token {number} has a character that cannot be sent in a header; use A-Z a-z 0-9 - . _ ~ + / ="
        )));
    }
    Secret::new(text.as_bytes()).ok_or_else(|| {
        let (found, most) = (text.len(), secret::BYTES_MAX);
        ConfigError::new(format!("token {number} has {found} characters; it may have {most} at most"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(tokens: &[&str]) -> String {
        Auth::new(tokens).expect_err("nothing was refused").to_string()
    }

    #[test]
    fn a_token_has_16_to_256_characters_that_fit_into_a_header() {
        let good = "0123456789abcdef";
        assert_eq!(Auth::new(&[good]).unwrap().publish_tokens().len(), 1);
        assert!(Auth::new(&["x".repeat(256)]).is_ok());
        assert!(
            complaint(&[good, "0123456789abcde"])
                .starts_with("token 2 has 15 characters; it needs at least 16")
        );
        assert_eq!(complaint(&[&"x".repeat(257)]), "token 1 has 257 characters; it may have 256 at most");
        assert!(complaint(&["sixteen and more words"]).contains("cannot be sent in a header"));
        assert!(complaint(&["0123456789abcde\n"]).contains("cannot be sent in a header"));
    }

    #[test]
    fn there_are_64_tokens_at_most() {
        let tokens = |count: usize| (0..count).map(|n| format!("{n:032}")).collect::<Vec<_>>();
        assert_eq!(Auth::new(&tokens(64)).unwrap().publish_tokens().len(), 64);
        assert!(Auth::new(&tokens(65)).unwrap_err().to_string().starts_with("65 tokens; at most 64"));
    }

    #[test]
    fn no_token_is_ever_shown() {
        let auth = Auth::new(&["open-sesame-open-sesame"]).unwrap();
        assert!(!format!("{auth:?}").contains("sesame"));
        assert!(!complaint(&["sesame"]).contains("sesame"));
    }
}
