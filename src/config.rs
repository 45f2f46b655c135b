//! Everything that an operator can set: each with its unit, its default and the reason for it.
//!
//! A default suits the visitor who types `encke` and nothing else; a limit is there because
//! something would grow without it. Where the values come from - a file, flags, a test that
//! wants small limits - is a matter of the file's reader and of the command.
//!
//! Knows: values, and which of them make no sense. Never learns who wrote them.

#[cfg(feature = "shell")]
mod file;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use crate::kit::wheel;

/// The whole configuration file, commented; every setting in it is the default.
#[cfg(feature = "shell")]
pub const DEFAULT_FILE: &str = include_str!("config.default.toml");

/// What one server is told. `Settings::default()` is what `encke` alone runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Deserialize))]
#[cfg_attr(feature = "shell", serde(default, deny_unknown_fields, rename_all = "kebab-case"))]
pub struct Settings {
    /// Where to listen. Default: 127.0.0.1:8080, so that nobody is surprised to be on the net.
    pub listen: Vec<Address>,
    /// A directory that is laid over the embedded pages: a file in it wins. Default: none. In the file, `""` is none.
    #[cfg_attr(feature = "shell", serde(rename = "static", deserialize_with = "file::directory"))]
    pub static_dir: Option<PathBuf>,
    /// Whether everybody who can reach a public address may publish there. Default: false, which
    /// refuses to start on one: an open publisher should be a decision, not an oversight.
    pub open: bool,
    /// Names, besides IP addresses, `localhost` and names without a dot, that a request's Host may
    /// carry; `*` allows all. Default: none, because by a name of his own (DNS rebinding) a stranger's page
    /// could reach a server that listens only on localhost.
    pub hosts: Vec<String>,
    /// How much is logged. Default: info, a few lines a day.
    pub log_level: LogLevel,
    /// How a line of the log looks. Default: text, for people.
    pub log_format: LogFormat,
    /// What may grow, and how far.
    pub limits: Limits,
}

/// Every bound on time and memory. Times in milliseconds, sizes in bytes, unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Deserialize))]
#[cfg_attr(feature = "shell", serde(default, deny_unknown_fields, rename_all = "kebab-case"))]
pub struct Limits {
    /// Connections at one time; the next is answered 503. Default 0: as many as the process may have
    /// descriptors, because an idle one costs next to nothing.
    pub connections_max: u32,
    /// A request's target, in bytes; a longer one is a 414. Default 8 KiB, what RFC 9112 §3 asks for.
    #[cfg_attr(feature = "shell", serde(deserialize_with = "file::size"))]
    pub target_bytes_max: usize,
    /// A request's whole head, in bytes; a longer one is a 431. Default 32 KiB: room for fat cookies.
    #[cfg_attr(feature = "shell", serde(deserialize_with = "file::size"))]
    pub head_bytes_max: usize,
    /// Header fields of a request; more are a 431. Default 100, which is also the most there is room for.
    pub fields_max: usize,
    /// A message, and so the body that publishes it, in bytes; a longer one is a 413. Default 64 KiB:
    /// pushes are news, not files, and each waits in a history.
    #[cfg_attr(feature = "shell", serde(deserialize_with = "file::size"))]
    pub message_bytes_max: usize,
    /// From the first byte of a request to the end of its head, and not prolonged by trickling.
    /// Default 10 s: slow phones manage, slow attackers do not.
    #[cfg_attr(feature = "shell", serde(rename = "head-timeout", deserialize_with = "file::time_ms"))]
    pub head_timeout_ms: u64,
    /// From the end of a head to the end of its body. Default 30 s, for 64 KiB over a bad line.
    #[cfg_attr(feature = "shell", serde(rename = "body-timeout", deserialize_with = "file::time_ms"))]
    pub body_timeout_ms: u64,
    /// Between two requests of a connection, which is then closed without a word. Default 75 s: longer
    /// than the minute for which proxies like to keep a connection that they mean to use again.
    #[cfg_attr(feature = "shell", serde(rename = "idle-timeout", deserialize_with = "file::time_ms"))]
    pub idle_timeout_ms: u64,
    /// How long a write may make no progress. Default 60 s: a phone in a tunnel comes back, a dead peer does not.
    #[cfg_attr(feature = "shell", serde(rename = "write-timeout", deserialize_with = "file::time_ms"))]
    pub write_timeout_ms: u64,
    /// After an error, how long to read and drop what still comes, so that the client can read the
    /// answer before the connection is reset. Default 1 s; 0 closes at once.
    #[cfg_attr(feature = "shell", serde(rename = "linger", deserialize_with = "file::time_ms"))]
    pub linger_ms: u64,
    /// Between the spaces that keep a held poll of the article's chat alive. Default 20 s: below
    /// the 30 s after which the first proxies lose patience.
    #[cfg_attr(feature = "shell", serde(rename = "poll-space", deserialize_with = "file::time_ms"))]
    pub poll_space_ms: u64,
    /// Unsent answers of a connection, in bytes, above which its pipelined requests wait. Default 64 KiB: who does
    /// not read is not served more.
    #[cfg_attr(feature = "shell", serde(deserialize_with = "file::size"))]
    pub unsent_bytes_max: usize,
    /// Requests kept behind a held poll, in bytes; what is more waits in the kernel. Default 32 KiB: one whole head.
    #[cfg_attr(feature = "shell", serde(deserialize_with = "file::size"))]
    pub held_input_bytes_max: usize,
    /// The most spaces that the clock's `?padding=` may ask for before each tick. Default 4,096: the
    /// most that any browser buffered; each tick of each such connection pays for them.
    pub padding_max: usize,
    /// A file that is served from `static`, in bytes; a larger one is refused. Default 16 MiB: it is
    /// read in one piece, by the thread that does everything else.
    #[cfg_attr(feature = "shell", serde(deserialize_with = "file::size"))]
    pub static_file_bytes_max: usize,
    /// Channels at one time; publishing or subscribing to one more is refused. Default 100,000: their
    /// names come from strangers.
    pub channels_max: usize,
    /// Messages in a channel's history. Default 1,000, or fewer if one of the next two is reached.
    pub history_messages_max: usize,
    /// All messages in a channel's history together, in bytes. Default 1 MiB.
    #[cfg_attr(feature = "shell", serde(deserialize_with = "file::size"))]
    pub history_bytes_max: usize,
    /// How long a message stays in its channel's history. Default 1 h: whoever was away for longer
    /// wants today's news, and is told about the gap.
    #[cfg_attr(feature = "shell", serde(rename = "history-age", deserialize_with = "file::time_ms"))]
    pub history_age_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            listen: vec![Address::loopback(8080)],
            static_dir: None,
            open: false,
            hosts: Vec::new(),
            log_level: LogLevel::Info,
            log_format: LogFormat::Text,
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections_max: 0,
            target_bytes_max: 8 << 10,
            head_bytes_max: 32 << 10,
            fields_max: FIELDS_MOST,
            message_bytes_max: 64 << 10,
            head_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            idle_timeout_ms: 75_000,
            write_timeout_ms: 60_000,
            linger_ms: 1_000,
            poll_space_ms: 20_000,
            unsent_bytes_max: 64 << 10,
            held_input_bytes_max: 32 << 10,
            padding_max: 4_096,
            static_file_bytes_max: 16 << 20,
            channels_max: 100_000,
            history_messages_max: 1_000,
            history_bytes_max: 1 << 20,
            history_age_ms: 3_600_000,
        }
    }
}

/// The parser's table of header fields has this many rows.
const FIELDS_MOST: usize = 100;

/// No size may exceed this: lengths and offsets are kept in 32 bits.
const BYTES_MOST: usize = 1 << 30;

impl Settings {
    /// Refuses what makes no sense, and what would be dangerous without having been said.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.listen.is_empty() {
            return Err(ConfigError::new(
                "nowhere to listen; name at least one address, such as 127.0.0.1:8080",
            ));
        }
        if let Some(public) = self.listen.iter().find(|address| address.is_public() && !self.open) {
            return Err(ConfigError::new(format!(
                "{public} can be reached from other machines, and everybody there could publish; \
                 add --open (or open = true) if that is meant, else listen on 127.0.0.1"
            )));
        }
        if let Some(host) = self.hosts.iter().find(|host| !is_host_pattern(host)) {
            return Err(ConfigError::new(format!(
                "hosts: {host:?} is not a host name; write one without scheme and port, such as \
                 comet.example.org, or \"*\" for all"
            )));
        }
        self.limits.validate()
    }
}

impl Limits {
    /// Refuses limits with which nothing would work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_times()?;
        self.validate_sizes()?;
        for (key, count) in [
            ("fields-max", self.fields_max),
            ("channels-max", self.channels_max),
            ("history-messages-max", self.history_messages_max),
        ] {
            if count == 0 {
                return Err(ConfigError::new(format!("limits: {key} is 0; it must be at least 1")));
            }
        }
        if self.fields_max > FIELDS_MOST {
            let found = self.fields_max;
            return Err(ConfigError::new(format!(
                "limits: fields-max is {found}; there is room for {FIELDS_MOST} at most"
            )));
        }
        Ok(())
    }

    fn validate_times(&self) -> Result<(), ConfigError> {
        for (key, time_ms, may_be_zero) in [
            ("head-timeout", self.head_timeout_ms, false),
            ("body-timeout", self.body_timeout_ms, false),
            ("idle-timeout", self.idle_timeout_ms, false),
            ("write-timeout", self.write_timeout_ms, false),
            ("linger", self.linger_ms, true),
            ("poll-space", self.poll_space_ms, false),
            ("history-age", self.history_age_ms, false),
        ] {
            if time_ms == 0 && !may_be_zero {
                return Err(ConfigError::new(format!("limits: {key} is 0; it must be at least 1ms")));
            }
            if time_ms > wheel::HORIZON_MS {
                return Err(ConfigError::new(format!(
                    "limits: {key} is {} days; timers reach 24 days ahead at most",
                    time_ms / 86_400_000
                )));
            }
        }
        Ok(())
    }

    fn validate_sizes(&self) -> Result<(), ConfigError> {
        for (key, bytes, least) in [
            ("target-bytes-max", self.target_bytes_max, 1),
            ("head-bytes-max", self.head_bytes_max, self.target_bytes_max),
            ("message-bytes-max", self.message_bytes_max, 1),
            ("unsent-bytes-max", self.unsent_bytes_max, 1),
            ("held-input-bytes-max", self.held_input_bytes_max, 0),
            ("padding-max", self.padding_max, 0),
            ("static-file-bytes-max", self.static_file_bytes_max, 1),
            ("history-bytes-max", self.history_bytes_max, self.message_bytes_max),
        ] {
            if bytes < least {
                let reason = match key {
                    "head-bytes-max" => ", target-bytes-max: the target is part of the head",
                    "history-bytes-max" => {
                        ", message-bytes-max: else a message could be gone before it is sent"
                    }
                    _ => "",
                };
                return Err(ConfigError::new(format!(
                    "limits: {key} is {bytes}; it must be at least {least}{reason}"
                )));
            }
            if bytes > BYTES_MOST {
                return Err(ConfigError::new(format!(
                    "limits: {key} is {bytes}; it may be 1GiB ({BYTES_MOST}) at most"
                )));
            }
        }
        Ok(())
    }
}

/// Whether a Host header can be compared with this: a name, or `*`.
fn is_host_pattern(host: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    host == "*" || (!host.is_empty() && host.bytes().all(is_name))
}

/// A place to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address and a port; port 0 lets the kernel choose one.
    Tcp(SocketAddr),
    /// A Unix domain socket at this path.
    Unix(PathBuf),
}

impl Address {
    /// A port that only this machine can reach.
    pub fn loopback(port: u16) -> Self {
        Address::Tcp((Ipv4Addr::LOCALHOST, port).into())
    }

    /// Whether other machines may be able to connect. The file system guards a Unix socket.
    pub fn is_public(&self) -> bool {
        match self {
            Address::Tcp(address) => !address.ip().to_canonical().is_loopback(),
            Address::Unix(_) => false,
        }
    }
}

impl FromStr for Address {
    type Err = ConfigError;

    /// Reads `127.0.0.1:8080`, `[::1]:8080`, `8080` and `localhost:8080` (both loopback), `unix:PATH`.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Address::Unix(path.into()));
        }
        let port = text.strip_prefix("localhost:").unwrap_or(text);
        // u16's own parser takes a sign.
        if let Some(port) = port.parse().ok().filter(|_| !port.starts_with('+')) {
            return Ok(Address::loopback(port));
        }
        text.parse().map(Address::Tcp).map_err(|_| {
            ConfigError::new(format!(
                "{text:?} is not an address to listen on; write 127.0.0.1:8080, [::1]:8080, \
                 8080, localhost:8080 or unix:PATH"
            ))
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(out),
            Address::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

/// The least important thing that is still logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Deserialize, clap::ValueEnum), serde(rename_all = "kebab-case"))]
pub enum LogLevel {
    /// Something that somebody has to repair.
    Error,
    /// Something that somebody should look at.
    Warn,
    /// The server's own life: started, reloaded, stopped.
    Info,
    /// Each connection's life.
    Debug,
    /// Each turn of the loop.
    Trace,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Deserialize, clap::ValueEnum), serde(rename_all = "kebab-case"))]
pub enum LogFormat {
    /// `2026-11-22T21:00:00Z INFO message key=value`
    Text,
    /// One JSON object a line.
    Json,
}

/// The operator asked for something that cannot be: one line that says what was found, what was
/// expected and what to do. The command ends with exit code 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    sentence: String,
}

impl ConfigError {
    fn new(sentence: impl Into<String>) -> Self {
        ConfigError { sentence: sentence.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.sentence)
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = Settings::default();
        change(&mut settings);
        settings.validate().expect_err("nothing was refused").to_string()
    }

    fn listening_on(address: &str) -> Settings {
        Settings { listen: vec![address.parse().unwrap()], ..Settings::default() }
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Settings::default().validate(), Ok(()));
    }

    #[test]
    fn addresses_are_read_in_five_spellings() {
        for (written, meant) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:8080", "[::1]:8080"),
            ("8080", "127.0.0.1:8080"),
            ("localhost:0", "127.0.0.1:0"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("unix:/run/encke.sock", "unix:/run/encke.sock"),
        ] {
            assert_eq!(written.parse::<Address>().unwrap().to_string(), meant);
        }
    }

    #[test]
    fn what_is_not_an_address_is_told_the_spellings() {
        for text in
            ["", "here", ":8080", "65536", "+80", "-1", "::1:8080", "127.0.0.1", "unix:", "example.org:80"]
        {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{text:?} is not an address to listen on; write")), "{error}");
        }
    }

    #[test]
    fn a_public_address_needs_the_word_open() {
        for address in ["0.0.0.0:80", "[::]:80", "192.168.0.7:80", "[::ffff:10.0.0.1]:80"] {
            let mut settings = listening_on(address);
            let error = settings.validate().unwrap_err().to_string();
            assert!(error.contains("--open"), "{error}");
            settings.open = true;
            assert_eq!(settings.validate(), Ok(()));
        }
        for address in ["127.0.0.1:80", "127.8.9.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80", "unix:/tmp/x"] {
            assert_eq!(listening_on(address).validate(), Ok(()), "{address}");
        }
    }

    #[test]
    fn a_server_listens_somewhere() {
        assert!(complaint(|settings| settings.listen.clear()).starts_with("nowhere to listen"));
    }

    #[test]
    fn a_host_is_a_name_without_scheme_or_port() {
        for host in ["", "http://a.example", "a.example:80", "*.a.example", "a b"] {
            let error = complaint(|settings| settings.hosts.push(host.into()));
            assert!(error.contains("is not a host name"), "{error}");
        }
        let hosts = ["*", "comet.example.org"].map(String::from).to_vec();
        assert_eq!(Settings { hosts, ..Settings::default() }.validate(), Ok(()));
    }

    type Zero = fn(&mut Limits);

    #[test]
    fn zero_is_refused_where_it_makes_no_sense() {
        let orders: [(&str, Zero); 15] = [
            ("target-bytes-max", |limits| limits.target_bytes_max = 0),
            ("head-bytes-max", |limits| limits.head_bytes_max = 0),
            ("fields-max", |limits| limits.fields_max = 0),
            ("message-bytes-max", |limits| limits.message_bytes_max = 0),
            ("head-timeout", |limits| limits.head_timeout_ms = 0),
            ("body-timeout", |limits| limits.body_timeout_ms = 0),
            ("idle-timeout", |limits| limits.idle_timeout_ms = 0),
            ("write-timeout", |limits| limits.write_timeout_ms = 0),
            ("poll-space", |limits| limits.poll_space_ms = 0),
            ("unsent-bytes-max", |limits| limits.unsent_bytes_max = 0),
            ("static-file-bytes-max", |limits| limits.static_file_bytes_max = 0),
            ("channels-max", |limits| limits.channels_max = 0),
            ("history-messages-max", |limits| limits.history_messages_max = 0),
            ("history-bytes-max", |limits| limits.history_bytes_max = 0),
            ("history-age", |limits| limits.history_age_ms = 0),
        ];
        for (key, zero) in orders {
            let error = complaint(|settings| zero(&mut settings.limits));
            assert!(error.starts_with(&format!("limits: {key} is 0; it must be at least ")), "{error}");
        }
    }

    #[test]
    fn zero_is_a_value_where_it_means_something() {
        let limits = Limits {
            connections_max: 0,
            linger_ms: 0,
            held_input_bytes_max: 0,
            padding_max: 0,
            ..Limits::default()
        };
        assert_eq!(limits.validate(), Ok(()));
    }

    #[test]
    fn limits_have_limits() {
        assert_eq!(
            complaint(|settings| settings.limits.fields_max = 101),
            "limits: fields-max is 101; there is room for 100 at most"
        );
        assert_eq!(
            complaint(|settings| settings.limits.history_age_ms = 25 * 86_400_000),
            "limits: history-age is 25 days; timers reach 24 days ahead at most"
        );
        assert!(complaint(|settings| settings.limits.message_bytes_max = (1 << 30) + 1).contains("1GiB"));
        assert!(complaint(|settings| settings.limits.head_bytes_max = 8_191).contains("part of the head"));
        assert!(complaint(|settings| settings.limits.history_bytes_max = 65_535).contains("at least 65536"));
    }
}
