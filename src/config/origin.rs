//! Whose pages may use the API? An origin, as a browser writes it.
//!
//! A browser names a page's origin in one spelling only: lower case, and no port where the
//! scheme has its own. Here nothing but that spelling is accepted, so that whoever compares
//! origins compares bytes.
//!
//! Knows: the shape of an origin (RFC 6454 §6.2). Never learns which one a request has.

use std::net::Ipv6Addr;

use super::ConfigError;

/// Refuses what no browser would send as `Origin`. `*` is for every page.
pub(super) fn check_origin(text: &str) -> Result<(), ConfigError> {
    if text == "*" {
        return Ok(());
    }
    // Sandboxed frames and files of every kind share this one.
    if text == "null" {
        return Err(ConfigError::new("origins: \"null\" could be any page; write \"*\" if that is meant"));
    }
    let Some(origin) = as_browsers_write(text) else {
        return Err(ConfigError::new(format!(
            "origins: {text:?} is not an origin; write SCHEME://HOST or SCHEME://HOST:PORT without a \
             path, such as https://example.org, or \"*\" for all"
        )));
    };
    if origin != text {
        return Err(ConfigError::new(format!(
            "origins: {text:?} is not how a browser writes it; write {origin:?}"
        )));
    }
    Ok(())
}

/// The one spelling of an origin, if it is one.
fn as_browsers_write(text: &str) -> Option<String> {
    let (scheme, authority) = text.split_once("://")?;
    let host_bytes = match authority.strip_prefix('[') {
        Some(literal) => 1 + literal.find(']')? + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(host_bytes);
    if !is_scheme(scheme) || !is_host(host) {
        return None;
    }
    let port = match port.strip_prefix(':') {
        Some(digits) => Some(port_number(digits)?),
        None if port.is_empty() => None,
        None => return None,
    };
    let origin = format!("{scheme}://{host}").to_ascii_lowercase();
    match (port, scheme.to_ascii_lowercase().as_str()) {
        (None, _) | (Some(80), "http") | (Some(443), "https") => Some(origin),
        (Some(port), _) => Some(format!("{origin}:{port}")),
    }
}

fn is_scheme(text: &str) -> bool {
    let may_follow = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(may_follow)
}

fn is_host(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => super::is_host_name(text),
    }
}

fn port_number(digits: &str) -> Option<u16> {
    // u16's own parser takes a sign.
    digits.parse().ok().filter(|_| !digits.starts_with('+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        check_origin(text).expect_err(text).to_string()
    }

    #[test]
    fn an_origin_is_a_scheme_and_a_host_and_perhaps_a_port() {
        for text in [
            "*",
            "https://example.org",
            "http://localhost:3000",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "https://example.org:80",
            "chrome-extension://abcdefgh",
            "https://xn--bcher-kva.example",
        ] {
            assert_eq!(check_origin(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_origin_is_told_the_shape() {
        for text in [
            "",
            "example.org",
            "https://",
            "https://example.org/",
            "https://example.org/chat",
            "https://example.org?x",
            "https://*.example.org",
            "https://user@example.org",
            "https://example.org:",
            "https://example.org:+80",
            "https://example.org:65536",
            "https://[::1",
            "https://[::1]8080",
            "https://bücher.example",
            "1http://example.org",
            "//example.org",
            "http://a, http://b",
        ] {
            let error = complaint(text);
            assert!(
                error.starts_with(&format!("origins: {text:?} is not an origin; write SCHEME")),
                "{error}"
            );
        }
    }

    #[test]
    fn another_spelling_is_told_the_browsers() {
        for (text, spelling) in [
            ("https://Example.org", "https://example.org"),
            ("HTTPS://example.org:443", "https://example.org"),
            ("http://example.org:80", "http://example.org"),
            ("http://localhost:03000", "http://localhost:3000"),
        ] {
            assert!(complaint(text).ends_with(&format!("; write {spelling:?}")), "{text}");
        }
    }

    #[test]
    fn null_is_nobodys_origin() {
        assert!(complaint("null").contains("could be any page"));
    }
}
