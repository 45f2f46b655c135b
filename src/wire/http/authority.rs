//! Which host did the client mean?
//!
//! Knows: the grammar of a host and a port, made narrower than RFC 3986's: what no DNS name and no
//! address contains is refused, for it is either a mistake or an attempt to be read in two ways.
//! Never learns which hosts are ours.

use std::net::Ipv6Addr;

/// The longest name DNS knows is 253 bytes; with brackets, a dot and a port nothing real is longer.
const AUTHORITY_BYTES_MAX: usize = 262;

/// A host and perhaps a port, as in `Host: example.org:8080`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// All of it, as it came.
    pub text: &'a str,
    /// The host alone, as it came: a name in any case, an IPv4 address, or an IPv6 address in its brackets.
    pub name: &'a str,
    /// The port, if one was given.
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads `HOST[:PORT]` (RFC 3986 §3.2 without user information). `None` if it is anything else.
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.len() > AUTHORITY_BYTES_MAX {
            return None;
        }
        let name_bytes = match text.strip_prefix('[') {
            Some(literal) => 1 + literal.find(']')? + 1,
            None => text.find(':').unwrap_or(text.len()),
        };
        let (name, rest) = text.split_at(name_bytes);
        if !is_host(name) {
            return None;
        }
        let port = match rest.strip_prefix(':') {
            Some(digits) => parse_port(digits)?,
            None if rest.is_empty() => None,
            None => return None,
        };
        Some(Authority { text, name, port })
    }
}

fn is_host(name: &str) -> bool {
    match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
        }
    }
}

/// The outer `None` is a malformed port. An empty one is allowed and means the scheme's own (RFC 3986 §3.2.3).
fn parse_port(digits: &str) -> Option<Option<u16>> {
    if digits.is_empty() {
        return Some(None);
    }
    // `u16::from_str` would take a sign.
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok().map(Some) } else { None }
}
