//! The strict reader: what an HTTP/1.1 answer may look like, and nothing else.
//!
//! Every rule that holds for *all* answers is checked here, once, for every answer that any
//! test ever reads: framing, `Date`, `Allow`, what an error page may contain.
//!
//! Knows: RFC 9110 and 9112 from the client's side. Never learns about sockets.

use std::time::{Duration, SystemTime};

use super::{CANARY, find, readable};

/// What the answer's form depends on in the request it answers.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// HEAD: there is no body, whatever the head says.
    pub head: bool,
    /// HTTP/1.0: no chunks, and the connection ends unless the answer says otherwise.
    pub old: bool,
}

impl Asked {
    pub const GET: Asked = Asked { head: false, old: false };
    pub const HEAD: Asked = Asked { head: true, old: false };
    pub const GET_10: Asked = Asked { head: false, old: true };

    /// Reads it off the bytes of a request.
    pub fn by(request: &[u8]) -> Self {
        let start = request.iter().position(|b| !b"\r\n".contains(b)).unwrap_or(0);
        let line = request[start..].split(|&b| b == b'\n').next().unwrap_or_default();
        Asked { head: line.starts_with(b"HEAD "), old: find(line, b"HTTP/1.0").is_some() }
    }
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none: HEAD, 1xx, 204, 304.
    Nothing,
    /// `Content-Length`.
    Length(usize),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// It ends with the connection.
    Close,
}

/// Status line and fields.
#[derive(Clone, Debug)]
pub struct Head {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub framing: Framing,
    /// Whether the connection ends with this answer.
    pub closes: bool,
}

impl Head {
    /// The value of a field (name in lower case), if it is there.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Reads a head, empty line included, and checks it against everything that holds for all answers.
    pub fn read(bytes: &[u8], asked: Asked) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "a head that is not text".to_owned())?;
        let lines: Vec<&str> =
            text.strip_suffix("\r\n\r\n").ok_or("a head without end")?.split("\r\n").collect();
        let status = status_of(lines[0])?;
        let fields = lines[1..].iter().map(|line| field_of(line)).collect::<Result<Vec<_>, _>>()?;
        let mut head = Head { status, fields, framing: Framing::Nothing, closes: false };
        head.check_fields()?;
        head.closes = head.closing(asked);
        head.framing = head.framing_for(asked)?;
        Ok(head)
    }

    fn check_fields(&self) -> Result<(), String> {
        for name in [
            "allow",
            "cache-control",
            "content-length",
            "content-type",
            "date",
            "etag",
            "expires",
            "location",
            "server",
            "transfer-encoding",
        ] {
            if self.fields.iter().filter(|(n, _)| n == name).count() > 1 {
                return Err(format!("{name} twice"));
            }
        }
        if self.status >= 200 {
            let date = self.field("date").ok_or("no Date")?;
            let time = httpdate::parse_http_date(date).map_err(|_| format!("Date is {date}"))?;
            if httpdate::fmt_http_date(time) != date {
                return Err(format!("Date is not an IMF-fixdate: {date}"));
            }
            let now = SystemTime::now();
            let off = now.duration_since(time).or_else(|_| time.duration_since(now)).unwrap_or_default();
            if off > Duration::from_secs(10) {
                return Err(format!("Date is {off:?} off: {date}"));
            }
        }
        if self.status == 405 && self.field("allow").is_none() {
            return Err("405 without Allow".to_owned());
        }
        Ok(())
    }

    fn closing(&self, asked: Asked) -> bool {
        // A list, which may stand in several lines (RFC 9110 §5.3).
        let lines = self.fields.iter().filter(|(name, _)| name == "connection");
        let options: Vec<String> = lines.map(|(_, value)| value.to_ascii_lowercase()).collect();
        let mut options = options.iter().flat_map(|line| line.split(',')).map(str::trim);
        if asked.old { !options.any(|o| o == "keep-alive") } else { options.any(|o| o == "close") }
    }

    fn framing_for(&self, asked: Asked) -> Result<Framing, String> {
        let length = self.field("content-length");
        let encoding = self.field("transfer-encoding");
        if length.is_some() && encoding.is_some() {
            return Err("both Content-Length and Transfer-Encoding".to_owned());
        }
        if (self.status < 200 || self.status == 204) && (length.is_some() || encoding.is_some()) {
            return Err(format!("a {} with length or encoding", self.status));
        }
        if asked.old && encoding.is_some() {
            return Err("Transfer-Encoding to an HTTP/1.0 client".to_owned());
        }
        let length = match length {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse::<usize>().map_err(|_| format!("Content-Length: {digits}"))?)
            }
            Some(other) => return Err(format!("Content-Length: {other}")),
            None => None,
        };
        if encoding.is_some_and(|e| e != "chunked") {
            return Err(format!("Transfer-Encoding: {encoding:?}"));
        }
        if asked.head || self.status < 200 || self.status == 204 || self.status == 304 {
            return Ok(Framing::Nothing);
        }
        match (length, encoding) {
            (Some(n), _) => Ok(Framing::Length(n)),
            (None, Some(_)) => Ok(Framing::Chunked),
            (None, None) if self.closes => Ok(Framing::Close),
            (None, None) => {
                Err("a body without length, and the connection is not announced to close".to_owned())
            }
        }
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub head: Head,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.status
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    pub fn closes(&self) -> bool {
        self.head.closes
    }

    /// The body, which must be UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_else(|_| panic!("not text: {}", readable(&self.body)))
    }

    /// What holds for every error page: nothing of the request comes back.
    pub fn check(&self) -> Result<(), String> {
        let reflects = |bytes: &[u8]| {
            find(&bytes.to_ascii_lowercase(), CANARY.to_ascii_lowercase().as_bytes()).is_some()
        };
        if self.status() >= 400 {
            if reflects(&self.body)
                || self.head.fields.iter().any(|(n, v)| reflects(n.as_bytes()) || reflects(v.as_bytes()))
            {
                return Err("the error page reflects bytes of the request".to_owned());
            }
            if !self.body.is_empty() && self.field("content-type").is_none() {
                return Err("an error page without Content-Type".to_owned());
            }
        }
        Ok(())
    }
}

fn status_of(line: &str) -> Result<u16, String> {
    let bad = || format!("status line: {line:?}");
    let rest = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 ")).ok_or_else(bad)?;
    let (digits, reason) = rest.split_once(' ').ok_or_else(bad)?;
    let good = digits.len() == 3
        && digits.bytes().all(|b| b.is_ascii_digit())
        && reason.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    if good { digits.parse().map_err(|_| bad()) } else { Err(bad()) }
}

fn field_of(line: &str) -> Result<(String, String), String> {
    let bad = || format!("field line: {line:?}");
    let (name, value) = line.split_once(':').ok_or_else(bad)?;
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let good = !name.is_empty()
        && name.bytes().all(token)
        && value.bytes().all(|b| b == b'\t' || (32..127).contains(&b));
    if good {
        Ok((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
    } else {
        Err(bad())
    }
}
