//! Everything that an operator can set: each with its unit, its default and the reason for it.
//!
//! A default suits the visitor who types `encke` and nothing else; a limit is there because
//! something would grow without it. Where the values come from - a file, flags, a test that
//! wants small limits - is a matter of the file's reader and of the command.
//!
//! Knows: values, and which of them make no sense. Never learns who wrote them.

mod auth;
#[cfg(feature = "shell")]
mod file;
mod limits;
mod origin;
mod pace;
mod pattern;
mod rules;
mod ticker;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

pub use auth::Auth;
pub use limits::Limits;
pub use pace::Pace;
pub use pattern::Pattern;
pub use rules::{ChannelLimits, ChannelRule, ChannelRules, Slow};
pub use ticker::{Payload, TickerRule};

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
    /// Whether other servers may listen on the same TCP ports (SO_REUSEPORT); the kernel then spreads connections over
    /// them. Default: false, because each of them has channels and histories of its own, and because a second server on
    /// a port is nearly always a mistake.
    pub reuse_port: bool,
    /// Whether what goes to many subscribers is handed to the kernel 32 at a time (io_uring). Default: false. It is an
    /// experiment, which saves processor time in large channels, and many systems forbid it.
    pub io_uring: bool,
    /// A directory that is laid over the embedded pages: a file in it wins. Default: none. In the file, `""` is none.
    #[cfg_attr(feature = "shell", serde(rename = "static", deserialize_with = "file::directory"))]
    pub static_dir: Option<PathBuf>,
    /// A directory in which the log is kept, so that what was published outlives the process; it is made if it is not
    /// there. Default: none, because without a disk publishing takes no time. In the file, `""` is none.
    #[cfg_attr(feature = "shell", serde(deserialize_with = "file::directory"))]
    pub data: Option<PathBuf>,
    /// Whether everybody who can reach a public address may publish there. Default: false, which
    /// refuses to start on one unless publishing needs a token: an open publisher should be a decision, not an oversight.
    pub open: bool,
    /// Names, besides IP addresses, `localhost` and names without a dot, that a request's Host may
    /// carry; `*` allows all. Default: none, because by a name of his own (DNS rebinding) a stranger's page
    /// could reach a server that listens only on localhost.
    pub hosts: Vec<String>,
    /// Origins whose pages may use the API from a browser (CORS), like `https://example.org`, in a
    /// browser's spelling: they can be compared as bytes. `*` lets every page read, but never with
    /// credentials. Default: none, and so only our own pages.
    pub origins: Vec<String>,
    /// How long a stream may be silent before something is sent that means nothing, in milliseconds, once
    /// more as long at the most; 0: for ever. Default 25 s: below half of the minute after which most proxies
    /// lose patience, and the only way to find a peer that vanished without a word.
    #[cfg_attr(feature = "shell", serde(rename = "heartbeat", deserialize_with = "file::time_ms"))]
    pub heartbeat_ms: u64,
    /// How long a native long poll is held before it is answered with an empty list, in milliseconds.
    /// Default 25 s, for the same proxies.
    #[cfg_attr(feature = "shell", serde(rename = "poll-timeout", deserialize_with = "file::time_ms"))]
    pub poll_timeout_ms: u64,
    /// How long leaving may take when the server is told to stop, in milliseconds. Default 3 s: time for a phone to take
    /// its rest, spread enough for those who come back, and well below the 10 s after which supervisors begin to kill.
    #[cfg_attr(feature = "shell", serde(rename = "drain-time", deserialize_with = "file::time_ms"))]
    pub drain_ms: u64,
    /// Whether `/lab/echo` echoes what a WebSocket says, so that test suites can try ours. Default:
    /// false, because it serves nobody else.
    pub lab: bool,
    /// How much is logged. Default: info, a few lines a day.
    pub log_level: LogLevel,
    /// How a line of the log looks. Default: text, for people.
    pub log_format: LogFormat,
    /// What is needed to publish.
    pub auth: Auth,
    /// What may grow, and how far.
    pub limits: Limits,
    /// Channels that differ from `limits`; the first rule that fits a name counts. Default: none.
    #[cfg_attr(feature = "shell", serde(rename = "channel"))]
    pub channels: Vec<ChannelRule>,
    /// Channels that tick by themselves, besides `$clock`. Default: none.
    #[cfg_attr(feature = "shell", serde(rename = "ticker"))]
    pub tickers: Vec<TickerRule>,
    /// How much is done for one before the others get their turn. Nothing to set: see [`Pace`].
    #[cfg_attr(feature = "shell", serde(skip))]
    pub pace: Pace,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            listen: vec![Address::loopback(8080)],
            reuse_port: false,
            io_uring: false,
            static_dir: None,
            data: None,
            open: false,
            hosts: Vec::new(),
            origins: Vec::new(),
            heartbeat_ms: 25_000,
            poll_timeout_ms: 25_000,
            drain_ms: 3_000,
            lab: false,
            log_level: LogLevel::Info,
            log_format: LogFormat::Text,
            auth: Auth::default(),
            limits: Limits::default(),
            channels: Vec::new(),
            tickers: Vec::new(),
            pace: Pace::default(),
        }
    }
}

impl Settings {
    /// Refuses what makes no sense, and what would be dangerous without having been said.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.listen.is_empty() {
            return Err(ConfigError::new(
                "nowhere to listen; name at least one address, such as 127.0.0.1:8080",
            ));
        }
        let is_guarded = self.open || !self.auth.publish_tokens().is_empty();
        if let Some(public) = self.listen.iter().find(|address| address.is_public() && !is_guarded) {
            return Err(ConfigError::new(format!(
                "{public} can be reached from other machines, and everybody there could publish; \
                 set publish-tokens under [auth] in a file given with --config, so that only whoever knows one \
                 can, or add --open (or open = true) if everybody may; else listen on 127.0.0.1"
            )));
        }
        if let Some(host) = self.hosts.iter().find(|host| !is_host_pattern(host)) {
            return Err(ConfigError::new(format!(
                "hosts: {host:?} is not a host name; write one without scheme and port, such as \
                 comet.example.org, or \"*\" for all"
            )));
        }
        self.origins.iter().try_for_each(|origin| origin::check_origin(origin))?;
        limits::check_time("", "heartbeat", self.heartbeat_ms, 0)?;
        limits::check_time("", "poll-timeout", self.poll_timeout_ms, 1)?;
        limits::check_time("", "drain-time", self.drain_ms, 1)?;
        self.limits.validate()?;
        rules::validate(&self.channels, &self.limits)?;
        ticker::validate(&self.tickers)
    }

    /// What every channel is to go by. Expects valid settings.
    pub fn channel_rules(&self) -> ChannelRules {
        ChannelRules::new(&self.channels, &self.limits)
    }
}

/// Whether a Host header can be compared with this: a name, or `*`.
fn is_host_pattern(host: &str) -> bool {
    host == "*" || is_host_name(host)
}

fn is_host_name(host: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    !host.is_empty() && host.bytes().all(is_name)
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
    fn a_public_address_needs_tokens_or_the_word_open() {
        for address in ["0.0.0.0:80", "[::]:80", "192.168.0.7:80", "[::ffff:10.0.0.1]:80"] {
            let mut settings = listening_on(address);
            let error = settings.validate().unwrap_err().to_string();
            assert!(error.contains("--open") && error.contains("publish-tokens"), "{error}");
            settings.auth = Auth::new(&["a token of nobody".replace(' ', "-")]).unwrap();
            assert_eq!(settings.validate(), Ok(()));
            settings = Settings { open: true, auth: Auth::default(), ..settings };
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

    #[test]
    fn an_origin_is_written_as_browsers_do() {
        let error = complaint(|settings| settings.origins.push("https://example.org/".into()));
        assert!(error.starts_with("origins: \"https://example.org/\" is not an origin"), "{error}");
        let origins = ["*", "https://example.org"].map(String::from).to_vec();
        assert_eq!(Settings { origins, ..Settings::default() }.validate(), Ok(()));
    }

    #[test]
    fn a_server_may_do_without_heartbeats_but_neither_polls_nor_leaving_end_at_once() {
        assert_eq!(Settings { heartbeat_ms: 0, ..Settings::default() }.validate(), Ok(()));
        assert_eq!(
            complaint(|settings| settings.poll_timeout_ms = 0),
            "poll-timeout is 0; it must be at least 1ms"
        );
        assert_eq!(complaint(|settings| settings.drain_ms = 0), "drain-time is 0; it must be at least 1ms");
        for change in
            [(|settings| settings.heartbeat_ms = 25 * 86_400_000) as fn(&mut Settings), |settings| {
                settings.poll_timeout_ms = 25 * 86_400_000
            }]
        {
            assert!(complaint(change).ends_with(" is 25 days; timers reach 24 days ahead at most"));
        }
    }

    #[test]
    fn rules_are_held_against_the_limits() {
        let rule = ChannelRule { history_bytes_max: Some(100_000), ..ChannelRule::new("a".parse().unwrap()) };
        let mut settings = Settings { channels: vec![rule], ..Settings::default() };
        assert_eq!(settings.validate(), Ok(()));
        assert_eq!(settings.channel_rules().limits_for("a").bytes_max, 100_000);
        settings.limits.message_bytes_max = 100_001;
        let error = settings.validate().unwrap_err().to_string();
        assert!(error.starts_with("channel \"a\": history-bytes-max is 100000; "), "{error}");
    }

    #[test]
    fn a_channel_has_one_ticker() {
        let ticker = TickerRule { channel: "time".into(), every_ms: 1_000, payload: Payload::default() };
        let mut settings = Settings { tickers: vec![ticker.clone()], ..Settings::default() };
        assert_eq!(settings.validate(), Ok(()));
        settings.tickers.push(TickerRule { every_ms: 250, ..ticker });
        assert_eq!(
            settings.validate().unwrap_err().to_string(),
            "ticker \"time\": this channel has a ticker already; give this one another channel"
        );
    }
}
