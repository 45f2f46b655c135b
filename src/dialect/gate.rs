//! Who may ask: the checks that hold for every URL.
//!
//! A browser carries out requests for whichever page it shows. Two tricks turn a visitor's
//! browser against a server that trusts its neighbours. *DNS rebinding*: a name of the
//! attacker's suddenly points to the server, and his page is "same origin". The name gives him
//! away: it stands in Host. *Cross-site requests*: his page simply names our URL. The browser
//! says so, in `Sec-Fetch-Site` or in `Origin`.
//!
//! Against strangers who need no browser there are tokens: whoever publishes must bring one.
//!
//! Knows: what a request says of its origin. Never learns what it asks for.

use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;

use crate::kit::secret::Secret;
use crate::wire::http::{Authority, Request};
use crate::wire::refusal::Refusal;

/// The names this server answers to.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Names besides those that are always allowed, in any case; `*` allows all.
    names: Vec<String>,
    /// Origins whose pages may use the channels.
    origins: Vec<String>,
    /// What whoever publishes has to bring one of. Empty: nothing.
    tokens: Vec<Secret>,
    /// Header lines for each, by its number; the first are those for nobody's.
    lines: Rc<[Vec<u8>]>,
}

/// What a page of another origin may read of an answer's head, beside what every page may.
const EXPOSED: &str = "Access-Control-Expose-Headers: Retry-After\r\n";

/// How a token is brought with a request.
pub const IN_THE_HEAD: &str = "publishing needs a token here; send Authorization: Bearer TOKEN";

/// How it is brought over a WebSocket.
pub const IN_A_COMMAND: &str = "publishing needs a token here; send \"token\":TOKEN beside the message, or Authorization: \
    Bearer TOKEN with the handshake";

/// For how long a browser may remember what it was allowed, in seconds.
const PREFLIGHT_S: u32 = 600;

impl Gate {
    /// A gate for these names and the ones that are always allowed, and for these origins.
    pub fn new(names: &[String], origins: &[String]) -> Self {
        let mut lines = vec![if origins.is_empty() { Vec::new() } else { b"Vary: Origin\r\n".to_vec() }];
        lines.extend(origins.iter().map(|origin| {
            let vary = if origin == "*" { "" } else { "Vary: Origin\r\n" };
            format!("Access-Control-Allow-Origin: {origin}\r\n{vary}{EXPOSED}").into_bytes()
        }));
        Gate { names: names.to_vec(), origins: origins.to_vec(), tokens: Vec::new(), lines: lines.into() }
    }

    /// The same gate, through which only those publish who have one of these tokens.
    pub fn locked(mut self, tokens: &[Secret]) -> Self {
        self.tokens = tokens.to_vec();
        self
    }

    /// The number of the configured origin that `Origin` names; 0 if it is none of them.
    pub fn number_of(&self, origin: Option<&[u8]>) -> u8 {
        let Some(origin) = origin else { return 0 };
        let found = self.origins.iter().position(|allowed| allowed.as_bytes().eq_ignore_ascii_case(origin));
        let found = found.or_else(|| self.origins.iter().position(|allowed| allowed == "*"));
        found.and_then(|index| u8::try_from(index + 1).ok()).unwrap_or(0)
    }

    /// What an answer says to the page of that origin (Fetch standard, CORS protocol). Never an origin that
    /// only the request named, and never with credentials.
    pub fn origin_lines(&self, origin: u8) -> &[u8] {
        &self.lines[usize::from(origin)]
    }

    /// The same for all origins.
    pub fn all_origin_lines(&self) -> Rc<[Vec<u8>]> {
        Rc::clone(&self.lines)
    }

    /// What the answer to a browser says that asks beforehand.
    pub fn preflight_lines(&self, origin: u8, methods: &str) -> Vec<u8> {
        let mut lines = self.origin_lines(origin).to_vec();
        if origin != 0 {
            let allowed = format!(
                "Access-Control-Allow-Methods: {methods}\r\n\
                 Access-Control-Allow-Headers: Authorization, Content-Type, Last-Event-ID\r\n\
                 Access-Control-Max-Age: {PREFLIGHT_S}\r\n"
            );
            lines.extend_from_slice(allowed.as_bytes());
        }
        lines
    }

    /// Refuses (421) a Host that is not ours.
    ///
    /// Allowed are the configured names; IP addresses, which nobody can rebind; `localhost` and
    /// what is under it; and names without a dot, which nobody outside can register.
    pub fn check_host(&self, host: Option<Authority<'_>>) -> Result<(), Refusal> {
        let Some(host) = host else { return Ok(()) };
        let name = host.name.strip_suffix('.').unwrap_or(host.name);
        let ours = !name.contains('.')
            || is_address(name)
            || is_under_localhost(name)
            || self.names.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(name));
        if ours {
            return Ok(());
        }
        Err(Refusal::new(
            421,
            "this server does not go by the name in Host; its operator can allow it with --host NAME",
        ))
    }

    /// Refuses (401) a request that brings no token, or a wrong one, if one is needed to publish.
    pub fn check_token(&self, request: &Request<'_>) -> Result<(), Refusal> {
        if self.tokens.is_empty() {
            return Ok(());
        }
        self.check_secret(bearer(request).flatten().as_ref(), IN_THE_HEAD)
    }

    /// The same for a token that came in some other way. `how` tells whoever has none how to bring one.
    pub fn check_secret(&self, given: Option<&Secret>, how: &'static str) -> Result<(), Refusal> {
        match given {
            _ if self.tokens.is_empty() => Ok(()),
            Some(secret) if secret.is_among(&self.tokens) => Ok(()),
            Some(_) => Err(Refusal::new(401, "this token is none of those that may publish here")),
            None => Err(Refusal::new(401, how)),
        }
    }

    /// Refuses (401) a wrong token where none would do as well.
    pub fn check_offered_token(&self, request: &Request<'_>) -> Result<(), Refusal> {
        if bearer(request).is_some() { self.check_token(request) } else { Ok(()) }
    }

    /// Refuses (403) a request that changes something on behalf of another origin's page.
    pub fn check_same_origin(&self, request: &Request<'_>) -> Result<(), Refusal> {
        let is_configured = |origin: &[u8]| {
            self.origins
                .iter()
                .any(|allowed| allowed != "*" && allowed.as_bytes().eq_ignore_ascii_case(origin))
        };
        if request.field("Origin").is_some_and(is_configured) {
            return Ok(());
        }
        let allowed = match request.field("Sec-Fetch-Site") {
            Some(b"same-origin" | b"none") => true,
            // A neighbour (`same-site`: another port or subdomain) is another origin, too.
            Some(_) => false,
            None => request.field("Origin").is_none_or(|origin| is_origin_of(origin, request.host)),
        };
        if allowed {
            Ok(())
        } else {
            Err(Refusal::new(
                403,
                "a page of another origin may not do this here; see origins in the configuration",
            ))
        }
    }
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750 §2.1): `None` if nothing of the kind is there, `Some(None)` if it
/// cannot be one.
fn bearer(request: &Request<'_>) -> Option<Option<Secret>> {
    let (scheme, token) = request.field("Authorization")?.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| Secret::new(token.trim_ascii_start()))
}

fn is_under_localhost(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, top)| top.eq_ignore_ascii_case("localhost"))
}

fn is_address(name: &str) -> bool {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    bare.map_or(name, |bare| bare).parse::<IpAddr>().is_ok()
        || bare.is_some_and(|b| b.parse::<Ipv6Addr>().is_ok())
}

/// Whether `Origin: SCHEME://HOST[:PORT]` names the server that the request was sent to (RFC 6454 §4).
///
/// Not compared: the scheme, which a TLS proxy in front of us changes.
fn is_origin_of(origin: &[u8], host: Option<Authority<'_>>) -> bool {
    let Some(origin) = std::str::from_utf8(origin).ok() else { return false };
    let (Some((scheme, authority)), Some(host)) = (origin.split_once("://"), host) else { return false };
    let Some(origin) = Authority::parse(authority) else { return false };
    let default_port = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
    origin.name.eq_ignore_ascii_case(host.name)
        && origin.port.unwrap_or(default_port) == host.port.unwrap_or(default_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_is_allowed(gate: &Gate, host: &str) -> bool {
        gate.check_host(Authority::parse(host)).is_ok()
    }

    #[test]
    fn names_that_nobody_outside_can_claim_are_ours() {
        let gate = Gate::new(&[], &[]);
        for host in
            ["127.0.0.1:8080", "[::1]:8080", "10.1.2.3", "localhost", "LOCALHOST:1", "a.localhost", "nas"]
        {
            assert!(host_is_allowed(&gate, host), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example:8080", "localhost.evil.example", "evil.example."]
        {
            assert!(!host_is_allowed(&gate, host), "{host}");
        }
        assert!(gate.check_host(None).is_ok(), "HTTP/1.0 may leave it out");
    }

    #[test]
    fn configured_names_are_ours() {
        let gate = Gate::new(&["Chat.Example.org".into()], &[]);
        assert!(host_is_allowed(&gate, "chat.example.org:8080"));
        assert!(!host_is_allowed(&gate, "example.org"));
        assert!(host_is_allowed(&Gate::new(&["*".into()], &[]), "any.example"));
    }

    fn may_publish(fields: &str) -> bool {
        let head = format!("GET /backend.php?msg=x HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n{fields}\r\n");
        Gate::new(&[], &[]).check_same_origin(&Request::parse(head.as_bytes()).unwrap()).is_ok()
    }

    fn status_with(fields: &str) -> Option<u16> {
        let tokens =
            ["0123456789abcdef", "fedcba9876543210"].map(|text| Secret::new(text.as_bytes()).unwrap());
        let head = format!("POST /channels/a HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        let gate = Gate::new(&[], &[]).locked(&tokens);
        gate.check_token(&Request::parse(head.as_bytes()).unwrap()).err().map(|refusal| refusal.status)
    }

    #[test]
    fn whoever_has_a_token_may_publish() {
        for fields in [
            "Authorization: Bearer 0123456789abcdef\r\n",
            "authorization: bearer fedcba9876543210\r\n",
            "AUTHORIZATION: BEARER   0123456789abcdef \r\n",
        ] {
            assert_eq!(status_with(fields), None, "{fields}");
        }
    }

    #[test]
    fn whoever_has_none_may_not() {
        for fields in [
            "",
            "Authorization: 0123456789abcdef\r\n",
            "Authorization: Basic 0123456789abcdef\r\n",
            "Authorization: Bearer\r\n",
            "Authorization: Bearer 0123456789abcde\r\n",
            "Authorization: Bearer 0123456789abcdef0\r\n",
            "Authorization: Bearer 0123456789ABCDEF\r\n",
            "Authorization: Bearer 0123456789abcdef, Bearer fedcba9876543210\r\n",
            &format!("Authorization: Bearer {}\r\n", "0123456789abcdef".repeat(100)),
        ] {
            assert_eq!(status_with(fields), Some(401), "{fields}");
        }
    }

    #[test]
    fn a_token_is_shown_neither_by_the_gate_nor_by_a_request() {
        let head =
            b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer open-sesame\r\nCookie: sesame\r\n\r\n";
        let request = format!("{:?}", Request::parse(head).unwrap());
        assert!(request.contains("Cookie") && !request.contains("sesame"), "{request}");
        let gate = Gate::new(&[], &[]).locked(&[Secret::new(b"open-sesame-open-sesame").unwrap()]);
        assert!(!format!("{gate:?}").contains("sesame"));
    }

    #[test]
    fn only_pages_of_this_server_and_programs_may_publish() {
        for fields in [
            "",
            "Sec-Fetch-Site: same-origin\r\n",
            "Sec-Fetch-Site: none\r\n",
            "Origin: http://127.0.0.1:8080\r\n",
            "Origin: https://127.0.0.1:8080\r\n",
        ] {
            assert!(may_publish(fields), "{fields}");
        }
        for fields in [
            "Sec-Fetch-Site: cross-site\r\n",
            "Sec-Fetch-Site: cross-site\r\nOrigin: http://127.0.0.1:8080\r\n",
            "Origin: null\r\n",
            "Origin: http://127.0.0.1\r\n",
            "Origin: http://evil.example\r\n",
            "Origin: http://127.0.0.1:8080.evil.example\r\n",
            "Sec-Fetch-Site: same-site\r\nOrigin: http://127.0.0.1:3000\r\n",
            "Sec-Fetch-Site: same-site\r\n",
            "Sec-Fetch-Site: from afar\r\n",
        ] {
            assert!(!may_publish(fields), "{fields}");
        }
    }
}
