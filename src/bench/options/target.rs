//! A server's address, and where on it something is.

use std::net::{SocketAddr, ToSocketAddrs};

/// An `http` URL, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    /// As it stands in the `Host` field.
    pub(super) host: String,
    /// Path and query; a template, so nothing in it is encoded or checked.
    pub(super) path: String,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let Some(rest) = url.strip_prefix("http://") else {
            return Err(format!(
                "\"{url}\" is not a URL to measure; expected http://HOST:PORT (TLS is measured best without us)"
            ));
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let with_port = if has_port { host.to_owned() } else { format!("{host}:80") };
        let found = with_port.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
        match found {
            Some(address) => Ok(Target { address, host: host.to_owned(), path }),
            None => Err(format!(
                "\"{host}\" is no host that can be found; expected a name or an address, and a port"
            )),
        }
    }

    /// Another place: a whole URL, or a path on this server.
    pub(super) fn join(&self, url: &str) -> Result<Self, String> {
        match url {
            _ if url.contains(char::is_whitespace) => {
                Err(format!("\"{url}\" has white space in it; expected it encoded, as %20"))
            }
            _ if url.starts_with('/') => Ok(Target { path: url.to_owned(), ..self.clone() }),
            _ => Target::parse(url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let target = Target::parse("http://127.0.0.1:8081/sub/{channel}?a=b").expect("a URL");
        assert_eq!((target.host.as_str(), target.path.as_str()), ("127.0.0.1:8081", "/sub/{channel}?a=b"));
        assert_eq!(target.join("/pub").expect("a path"), Target { path: "/pub".into(), ..target.clone() });
        assert_eq!(Target::parse("http://[::1]").expect("a URL").address.port(), 80);
        assert_eq!(Target::parse("http://localhost?x").expect("a URL").path, "/?x");
    }

    #[test]
    fn what_is_no_url_is_told_what_one_looks_like() {
        for url in ["127.0.0.1:80", "https://127.0.0.1/", "ftp://x"] {
            assert!(Target::parse(url).is_err_and(|error| error.contains("expected http://HOST:PORT")));
        }
        assert!(Target::parse("http://no.such.host.invalid/").is_err_and(|error| error.contains("no host")));
        let target = Target::parse("http://127.0.0.1").expect("a URL");
        assert!(target.join("/a b").is_err_and(|error| error.contains("white space")));
    }
}
