//! A secret: a text that can be compared, and not be shown.
//!
//! Whoever may guess as often as he likes must not learn from the time that an answer takes how much of
//! his guess was right, nor how long the secret is. So all secrets are kept equally long, and a guess is
//! compared with all of them, to the last byte.
//!
//! Knows: bytes. Never learns what a secret opens.

use std::fmt;

use subtle::{Choice, ConstantTimeEq};

/// The longest secret, in bytes: each is kept, and compared, as if it had this length.
pub const BYTES_MAX: usize = 256;

/// A text of at most [`BYTES_MAX`] bytes. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Secret(Box<Padded>);

#[derive(Clone)]
struct Padded {
    bytes: [u8; BYTES_MAX],
    length: u64,
}

impl Secret {
    /// A secret, or `None` if the text is too long to be one.
    pub fn new(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; BYTES_MAX];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(Secret(Box::new(Padded { bytes, length: text.len() as u64 })))
    }

    /// Whether it is one of these. Takes the same time whichever it is, and however little it differs.
    pub fn is_among(&self, secrets: &[Secret]) -> bool {
        secrets.iter().fold(Choice::from(0), |found, secret| found | self.ct_eq(secret)).into()
    }
}

impl ConstantTimeEq for Secret {
    fn ct_eq(&self, other: &Secret) -> Choice {
        self.0.bytes.ct_eq(&other.0.bytes) & self.0.length.ct_eq(&other.0.length)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes()).expect("it is short")
    }

    #[test]
    fn a_secret_is_found_among_others_only_if_it_is_the_same() {
        let kept = [secret("first"), secret("second"), secret("")];
        for same in ["first", "second", ""] {
            assert!(secret(same).is_among(&kept), "{same:?}");
        }
        for other in ["firs", "first\0", "firsT", "third", "\0"] {
            assert!(!secret(other).is_among(&kept), "{other:?}");
        }
        assert!(!secret("first").is_among(&[]));
    }

    #[test]
    fn a_secret_has_at_most_256_bytes() {
        assert!(Secret::new(&[b'x'; 256]).is_some());
        assert!(Secret::new(&[b'x'; 257]).is_none());
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", [secret("hush")]), "[(secret)]");
    }
}
