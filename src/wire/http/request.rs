//! What does this head ask for?
//!
//! [`Request::parse`] reads a complete head. `httparse` knows the grammar of field lines but forgives
//! much, so the request line and all that decides where the body ends is read here, strictly.
//! The fields are not copied into a table: who wants one looks through the lines again, and most
//! requests are asked for two or three.
//!
//! Knows: methods, versions, targets, and the fields that frame a message. Never learns what a path
//! leads to, or what is done with the other fields.

use std::fmt;
use std::mem::MaybeUninit;

use super::{Authority, BodyFraming, FIELDS_CEILING, is_token_byte};
use crate::wire::refusal::Refusal;

/// A method that some route may allow. All others are refused with a 501.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "RFC 9110 §9.3 and RFC 5789 say it better")]
pub enum Method {
    Get,
    Head,
    Options,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// The method as it is written in a request line and in `Allow`.
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Options => "OPTIONS",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

/// The two versions that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Version {
    Http10,
    Http11,
}

/// A complete request head, read. Borrows from the bytes it was read from.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// What to do.
    pub method: Method,
    /// What the client understands.
    pub version: Version,
    /// The path, still percent-encoded: begins with `/`, or is `*` (only with OPTIONS: the server itself).
    pub path: &'a str,
    /// What follows the first `?`, still encoded; empty if there is none.
    pub query: &'a str,
    /// Whom the client believes to be talking to; `None` only in HTTP/1.0.
    pub host: Option<Authority<'a>>,
    /// How long the body is. A body that nobody wants must still be read to its end, or the connection closed.
    pub body: BodyFraming,
    /// Whether the client means to send another request on this connection.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body. Never true in HTTP/1.0, nor without a
    /// body.
    pub expect_continue: bool,
    fields: Fields<'a>,
    names: NameFilter,
}

impl<'a> Request<'a> {
    /// Reads a complete head, as measured by [`HeadScan`](super::HeadScan): leading empty lines and the last line
    /// end included.
    ///
    /// Strict on any bytes, but it relies on the scan for limits. Every refusal is fatal: without a request nobody
    /// knows where its body ends.
    pub fn parse(head: &'a [u8]) -> Result<Self, Refusal> {
        let head = skip_empty_lines(head);
        let (line, lines) = split_line(head).ok_or_else(|| fatal("a head without a line end"))?;
        let [method, target, version] = split_request_line(line)?;
        let version = parse_version(version)?;
        let method = parse_method(method)?;
        let target = parse_target(method, target)?;
        let fields = Fields { lines };
        let framing = Framing::read(head, fields.clone())?;
        let host = framing.host(version)?;
        let body = framing.body(version)?;
        let bodiless = matches!(body, BodyFraming::None | BodyFraming::Length(0));
        Ok(Request {
            method,
            version,
            path: target.path,
            query: target.query,
            // RFC 9112 §3.2.2: the authority of an absolute target replaces Host.
            host: target.authority.or(host),
            body,
            keep_alive: framing.keep_alive(version),
            expect_continue: framing.expect_continue(version)? && !bodiless,
            fields,
            names: framing.names,
        })
    }

    /// The value of the first field called `name`, in any case, without the white space around it. Of `Origin`,
    /// `Sec-Fetch-Site`, `Content-Type`, `Authorization` and `Last-Event-ID` there is never a second.
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.named(name).next()
    }

    /// The values of all fields called `name`, in any case.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let fields = if self.names.may_hold(name.as_bytes()) { self.fields() } else { Fields { lines: b"" } };
        fields.filter(move |(n, _)| is(n, name)).map(|(_, value)| value)
    }

    /// All fields in the order they came, names in the case they came in.
    pub fn fields(&self) -> Fields<'a> {
        self.fields.clone()
    }

    /// Whether a field called `name` lists `token`, both in any case, in any of its lines (RFC 9110 §5.6.1).
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.named(name).any(|value| tokens(value).any(|t| is(t, token)))
    }

    /// Whether the client offers to speak `protocol` from here on (RFC 9110 §7.8). HTTP/1.0 cannot.
    pub fn upgrades_to(&self, protocol: &str) -> bool {
        self.version == Version::Http11
            && self.lists("connection", "upgrade")
            && self.lists("upgrade", protocol)
    }
}

/// What can be told of a head that is refused, or does not come to its end: enough to know how to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remains<'a> {
    /// The path, still percent-encoded and not checked; `None` if the request line is not there or makes no sense.
    pub path: Option<&'a str>,
    /// The value of `Origin`; `None` unless all fields are there and make sense.
    pub origin: Option<&'a [u8]>,
}

impl<'a> Remains<'a> {
    /// Looks at a complete head that was [refused](Request::parse), or at its [first line](super::HeadScan::request_line).
    pub fn of(head: &'a [u8]) -> Self {
        let head = skip_empty_lines(head);
        let Some((line, lines)) = split_line(head) else { return Remains::default() };
        let path = split_request_line(line).ok().and_then(|[_, target, _]| {
            let target = str::from_utf8(target).ok()?;
            let rest = if target.starts_with('/') { target } else { split_absolute(target)?.1 };
            rest.split('?').next()
        });
        let framing = Framing::read(head, Fields { lines });
        let origin = framing.ok().and_then(|_| Fields { lines }.find(|(name, _)| is(name, "Origin")));
        Remains { path, origin: origin.map(|(_, value)| value) }
    }
}

/// The fields of a head, one `(name, value)` after the other.
#[derive(Clone)]
pub struct Fields<'a> {
    /// Invariant: `httparse` has found nothing wrong with them; ends with the empty line.
    lines: &'a [u8],
}

/// Names only: tokens, cookies and passwords are among the values, and what can be printed is printed one day.
impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone().map(|(name, _)| name.escape_ascii().to_string())).finish()
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (line, rest) = split_line(self.lines)?;
        let colon = memchr::memchr(b':', line)?;
        self.lines = rest;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    }
}

/// Which names the fields of a head may have: most of those that are asked for are not there, and need not be looked
/// for. A Bloom filter of 64 bits and one hash.
#[derive(Clone, Copy, Debug, Default)]
struct NameFilter(u64);

impl NameFilter {
    fn add(&mut self, name: &[u8]) {
        self.0 |= NameFilter::bit(name);
    }

    fn may_hold(self, name: &[u8]) -> bool {
        self.0 & NameFilter::bit(name) != 0
    }

    /// The length and the first letter tell the names of well-known fields apart.
    fn bit(name: &[u8]) -> u64 {
        let first = name.first().map_or(0, u8::to_ascii_lowercase);
        1 << ((4 * name.len() + usize::from(first)) % 64)
    }
}

/// Where the request goes.
struct Target<'a> {
    authority: Option<Authority<'a>>,
    path: &'a str,
    query: &'a str,
}

/// Fields that decide who may do what, or where to begin: with two of one, a proxy could judge by the first and we by
/// the second.
const SINGLE: [&str; 5] = ["Origin", "Sec-Fetch-Site", "Content-Type", "Authorization", "Last-Event-ID"];

/// The fields that say where the message ends and what becomes of the connection.
#[derive(Default)]
struct Framing<'a> {
    host: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    transfer_encoding: Option<&'a [u8]>,
    expect: Option<&'a [u8]>,
    close: bool,
    keep_alive: bool,
    names: NameFilter,
}

impl<'a> Framing<'a> {
    /// Checks all fields of `head` and picks these out. `httparse` says whether they are well-formed.
    fn read(head: &'a [u8], fields: Fields<'a>) -> Result<Self, Refusal> {
        let mut table = [const { MaybeUninit::uninit() }; FIELDS_CEILING as usize];
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(head, &mut table) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => Framing::pick(fields),
            Ok(_) => Err(fatal("a head that does not end with its empty line")),
            Err(httparse::Error::TooManyHeaders) => {
                Err(Refusal::fatal(431, "too many header fields; send fewer"))
            }
            Err(_) => Err(fatal("a malformed header field; expected NAME: VALUE, no space before the colon")),
        }
    }

    fn pick(mut fields: Fields<'a>) -> Result<Self, Refusal> {
        let mut framing = Framing::default();
        let mut seen = [false; SINGLE.len()];
        for (name, value) in fields.by_ref() {
            framing.names.add(name);
            let named = |wanted: &str| is(name, wanted);
            // The length alone tells most fields apart from all of these.
            match name.len() {
                4 if named("host") => once(&mut framing.host, value, "two Host fields; send one")?,
                14 if named("content-length") => {
                    once(&mut framing.content_length, value, "two Content-Length fields; send one")?;
                }
                17 if named("transfer-encoding") => {
                    once(&mut framing.transfer_encoding, value, "two Transfer-Encoding fields; send one")?;
                }
                6 if named("expect") => once(&mut framing.expect, value, "two Expect fields; send one")?,
                10 if named("connection") => {
                    framing.close |= tokens(value).any(|token| is(token, "close"));
                    framing.keep_alive |= tokens(value).any(|token| is(token, "keep-alive"));
                }
                _ => {
                    if let Some(nth) = SINGLE.iter().position(|single| named(single))
                        && std::mem::replace(&mut seen[nth], true)
                    {
                        return Err(Refusal::fatal(400, format!("two {} fields; send one", SINGLE[nth])));
                    }
                }
            }
        }
        // `httparse` takes a bare LF for a line end, and with it whatever hides behind one.
        match fields.lines {
            b"\r\n" => Ok(framing),
            _ => Err(fatal("a line feed without a carriage return; lines end in CR LF")),
        }
    }

    /// RFC 9112 §3.2: exactly one valid Host in HTTP/1.1, even beside an absolute target.
    fn host(&self, version: Version) -> Result<Option<Authority<'a>>, Refusal> {
        let Some(value) = self.host else {
            return match version {
                Version::Http10 => Ok(None),
                Version::Http11 => Err(fatal("no Host field; HTTP/1.1 requires one")),
            };
        };
        let host = str::from_utf8(value).ok().and_then(Authority::parse);
        host.map(Some)
            .ok_or_else(|| fatal("a malformed Host; expected NAME or NAME:PORT, the port at most 65535"))
    }

    /// RFC 9112 §6.3, and stricter: whoever sends two lengths wants them to be read by two readers.
    fn body(&self, version: Version) -> Result<BodyFraming, Refusal> {
        match (self.transfer_encoding, self.content_length) {
            (None, None) => Ok(BodyFraming::None),
            (None, Some(digits)) => parse_length(digits).map(BodyFraming::Length).ok_or_else(|| {
                fatal("a malformed Content-Length; expected digits and nothing else, below 2^64")
            }),
            (Some(_), Some(_)) => Err(fatal("both Content-Length and Transfer-Encoding; send one of them")),
            (Some(_), None) if version == Version::Http10 => {
                Err(fatal("Transfer-Encoding in HTTP/1.0, which has none; send a Content-Length"))
            }
            (Some(coding), None) if is(coding, "chunked") => Ok(BodyFraming::Chunked),
            (Some(_), None) => {
                Err(Refusal::fatal(501, "a transfer coding other than chunked; send chunked alone"))
            }
        }
    }

    /// RFC 9112 §9.3.
    fn keep_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }

    /// RFC 9110 §10.1.1: an HTTP/1.0 client is not answered with a 100 it would not understand.
    fn expect_continue(&self, version: Version) -> Result<bool, Refusal> {
        match self.expect {
            Some(_) if version == Version::Http10 => Ok(false),
            Some(expectation) if is(expectation, "100-continue") => Ok(true),
            Some(_) => {
                Err(Refusal::fatal(417, "an expectation other than 100-continue; none other is known"))
            }
            None => Ok(false),
        }
    }
}

fn once<'a>(slot: &mut Option<&'a [u8]>, value: &'a [u8], twice: &'static str) -> Result<(), Refusal> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(fatal(twice)),
    }
}

fn skip_empty_lines(mut head: &[u8]) -> &[u8] {
    while let Some(rest) = head.strip_prefix(b"\r\n") {
        head = rest;
    }
    head
}

/// The first line without its line end, and what follows. `None` if no line ends here.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let lf = memchr::memchr(b'\n', bytes)?;
    let line = bytes[..lf].strip_suffix(b"\r")?;
    Some((line, &bytes[lf + 1..]))
}

/// RFC 9112 §3: one space between the three parts, and none anywhere else.
fn split_request_line(line: &[u8]) -> Result<[&[u8]; 3], Refusal> {
    let mut parts = line.split(|byte| *byte == b' ');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(method), Some(target), Some(version), None) => Ok([method, target, version]),
        _ => Err(fatal("a malformed request line; expected METHOD TARGET HTTP/1.1, one space between them")),
    }
}

fn parse_version(version: &[u8]) -> Result<Version, Refusal> {
    match version {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Refusal::fatal(505, "a version that is not served; use HTTP/1.1 or HTTP/1.0"))
        }
        _ => Err(fatal("a malformed version; expected HTTP/1.1 or HTTP/1.0")),
    }
}

fn parse_method(method: &[u8]) -> Result<Method, Refusal> {
    match method {
        b"GET" => Ok(Method::Get),
        b"HEAD" => Ok(Method::Head),
        b"OPTIONS" => Ok(Method::Options),
        b"POST" => Ok(Method::Post),
        b"PUT" => Ok(Method::Put),
        b"PATCH" => Ok(Method::Patch),
        b"DELETE" => Ok(Method::Delete),
        // TRACE would send cookies back to a script; what follows CONNECT would not be HTTP.
        _ if !method.is_empty() && method.iter().all(|byte| is_token_byte(*byte)) => Err(Refusal::fatal(
            501,
            "a method that is not implemented; try GET, HEAD, OPTIONS, POST or DELETE",
        )),
        _ => Err(fatal("a malformed method; expected METHOD TARGET HTTP/1.1")),
    }
}

/// RFC 9112 §3.2: origin-form, absolute-form, and the asterisk for OPTIONS.
fn parse_target(method: Method, target: &[u8]) -> Result<Target<'_>, Refusal> {
    let target = str::from_utf8(target).ok().filter(|target| target.is_ascii());
    let target =
        target.ok_or_else(|| fatal("bytes outside ASCII in the request target; percent-encode them"))?;
    let (authority, rest) = match target {
        "*" if method == Method::Options => return Ok(Target { authority: None, path: "*", query: "" }),
        _ if target.starts_with('/') => (None, target),
        _ => {
            let (authority, rest) = split_absolute(target).ok_or_else(|| {
                fatal("a malformed request target; expected a path that begins with / or an http:// address")
            })?;
            (Some(authority), rest)
        }
    };
    let (path, query) = match memchr::memchr(b'?', rest.as_bytes()) {
        Some(mark) => (&rest[..mark], &rest[mark + 1..]),
        None => (rest, ""),
    };
    if !path.bytes().all(is_path_byte) || !query.bytes().all(is_query_byte) {
        return Err(fatal("a character in the request target that must be percent-encoded there"));
    }
    let path = match path {
        // RFC 9112 §3.2.4: what a proxy makes of `OPTIONS http://host` is `OPTIONS *`.
        "" if method == Method::Options && query.is_empty() => "*",
        "" => "/",
        _ => path,
    };
    Ok(Target { authority, path, query })
}

/// `http://HOST[:PORT]` and the rest: empty, or from `/` or `?` on.
fn split_absolute(target: &str) -> Option<(Authority<'_>, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    // https too: a proxy may have taken the encryption off.
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    Some((Authority::parse(authority)?, rest))
}

/// RFC 3986 §3.3, and the brackets that browsers do not encode.
fn is_path_byte(byte: u8) -> bool {
    let marks = matches!(byte, b'!' | b'$'..=b'/' | b':' | b';' | b'=' | b'@' | b'[' | b']' | b'_' | b'~');
    byte.is_ascii_alphanumeric() || marks
}

/// RFC 3986 §3.4, and what browsers leave alone in a query though it should be encoded. None of it has a second
/// reading there: a query is neither a file's name nor split at any of these.
fn is_query_byte(byte: u8) -> bool {
    is_path_byte(byte) || matches!(byte, b'?' | b'\\' | b'^' | b'`' | b'{'..=b'}')
}

/// Exactly digits (RFC 9110 §8.6), below 2^64. `str::parse` would take a sign.
fn parse_length(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |length, digit| match digit {
        b'0'..=b'9' => length.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// The members of a comma-separated list (RFC 9110 §5.6.1), empty ones left out.
fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(|token| token.trim_ascii()).filter(|token| !token.is_empty())
}

fn is(value: &[u8], wanted: &str) -> bool {
    value.eq_ignore_ascii_case(wanted.as_bytes())
}

fn fatal(detail: &'static str) -> Refusal {
    Refusal::fatal(400, detail)
}
