//! The settings as TOML: what an operator writes, and what he reads when he has mistyped.
//!
//! Times are written with their unit (`"10s"`), sizes as bytes or with a binary one (`"64KiB"`).
//! An unknown key is an error, with its line: a limit with a typing error in its name would
//! otherwise be no limit, and nobody would know.
//!
//! Knows: TOML, and how times and sizes are written. Never learns what a setting does.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::{self, Deserialize, Deserializer, Visitor};

use super::{Address, Auth, ConfigError, Pattern, Payload, Settings, ticker};
use crate::kit::secret::Secret;

impl Settings {
    /// Reads a configuration file. What it does not mention keeps its default. Not yet validated: flags may follow.
    pub fn load(path: &Path) -> Result<Settings, ConfigError> {
        let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        Settings::from_toml(&text, &path.display().to_string())
    }

    /// Reads the text of a configuration file; errors call it `name`.
    pub fn from_toml(text: &str, name: &str) -> Result<Settings, ConfigError> {
        toml::from_str(text).map_err(|error| mistake(text, name, error))
    }
}

fn unreadable(path: &Path, error: &io::Error) -> ConfigError {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "no such file; `encke config` prints one to start from".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::InvalidData => "it is not UTF-8 text".into(),
        _ => error.to_string(),
    };
    ConfigError::new(format!("cannot read {}: {reason}", path.display()))
}

/// One line: `encke.toml:3: what is wrong`.
fn mistake(text: &str, name: &str, mut error: toml::de::Error) -> ConfigError {
    let line = error.span().map_or(1, |span| line_number(text, span.start));
    // Without its input the error prints the path of the key instead of a picture of the line.
    error.set_input(None);
    let printed = error.to_string();
    let path = printed.lines().last().and_then(|last| last.strip_prefix("in `")?.strip_suffix('`'));
    let message = error.message().trim_end().replace('\n', "; ");
    ConfigError::new(format!("{name}:{line}: {}", in_an_operators_words(&message, path)))
}

/// Says in an operator's words what serde says in a programmer's. `path` leads to the table or the value.
fn in_an_operators_words(message: &str, path: Option<&str>) -> String {
    let table =
        path.map(|path| if is_list_of_tables(path) { format!("[[{path}]]") } else { format!("[{path}]") });
    if let Some(unknown) = message.strip_prefix("unknown field ") {
        return unknown_key(unknown, table);
    }
    if let (Some(missing), Some(table)) = (message.strip_prefix("missing field "), &table) {
        return format!("{table} has no \"{}\"; it needs one", missing.replace('`', ""));
    }
    match path {
        Some(path) if is_list_of_tables(path) && message.starts_with("invalid type: map,") => {
            format!("[{path}] is one of a list; write it [[{path}]]")
        }
        Some(path) => format!("{path}: {}", in_plain_types(message)),
        None => message.to_owned(),
    }
}

/// The tables of which there may be many.
fn is_list_of_tables(path: &str) -> bool {
    ["channel", "ticker"].contains(&path)
}

/// From "`lisen`, expected one of `listen`, ...".
fn unknown_key(unknown: &str, table: Option<String>) -> String {
    let unquoted = unknown.replace('`', "");
    let cut = unquoted.split_once(", expected one of ").or_else(|| unquoted.split_once(", expected "));
    let (key, expected) = cut.unwrap_or((&unquoted, "nothing"));
    let place = table.map(|table| format!(" in {table}")).unwrap_or_default();
    format!("unknown key \"{key}\"{place}; expected one of {expected}")
}

fn in_plain_types(message: &str) -> String {
    let (found, expected) = message.rsplit_once(", expected ").unwrap_or((message, ""));
    match expected {
        "usize" | "u32" => format!("{found}, expected a whole number from 0"),
        "a sequence" => format!("{found}, expected a list"),
        "a boolean" => format!("{found}, expected true or false"),
        _ => message.to_owned(),
    }
}

fn line_number(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expecting = r#"an address, such as "127.0.0.1:8080""#;
        from.deserialize_str(Text { expecting, read: str::parse })
    }
}

/// `match = "chat:*"`.
pub(super) fn pattern<'de, D: Deserializer<'de>>(from: D) -> Result<Pattern, D::Error> {
    from.deserialize_str(Text { expecting: r#"a pattern, such as "chat:*""#, read: str::parse })
}

/// `payload = "{unix}"`.
pub(super) fn payload<'de, D: Deserializer<'de>>(from: D) -> Result<Payload, D::Error> {
    from.deserialize_str(Text { expecting: r#"a text, such as "{unix}""#, read: str::parse })
}

/// `channel = "$time"`.
pub(super) fn ticker_channel<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let read = |name: &str| ticker::check_channel(name).map(|()| name.to_owned());
    from.deserialize_str(Text { expecting: r#"a channel's name, such as "$time""#, read })
}

/// `static = "DIR"`, or `""` for none: a file cannot say "nothing" in any other way.
pub(super) fn directory<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(from)?;
    Ok(Some(path).filter(|path| !path.as_os_str().is_empty()))
}

/// `publish-tokens = ["…"]`. Whatever stands there instead is not repeated: it may be a token all the same.
pub(super) fn tokens<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Secret>, D::Error> {
    from.deserialize_any(Tokens)
}

/// `"10s"`, in milliseconds.
pub(super) fn time_ms<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    from.deserialize_str(Time)
}

/// `"64KiB"` or `65536`, in bytes.
pub(super) fn size<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    from.deserialize_any(Size)
}

/// A time that may be left out.
pub(super) fn some_time_ms<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    time_ms(from).map(Some)
}

/// A size that may be left out.
pub(super) fn some_size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<usize>, D::Error> {
    size(from).map(Some)
}

// These are visitors, not conversions of a string that was read before: an error inside the
// reader carries its line, one after it only that of the whole list.

/// A text that says what it must be when it cannot be read.
struct Text<T> {
    expecting: &'static str,
    read: fn(&str) -> Result<T, ConfigError>,
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.expecting)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).map_err(E::custom)
    }
}

struct Tokens;

impl<'de> Visitor<'de> for Tokens {
    type Value = Vec<Secret>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(r#"a list of texts, such as ["0c8d27f1e2b94a6d"]"#)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Vec<Secret>, E> {
        Err(E::custom("found one text; expected a list of them: put it into [ ]"))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Vec<Secret>, E> {
        Err(E::custom("found a number; expected a list of texts"))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Secret>, A::Error> {
        let mut texts = Vec::new();
        while let Some(TokenText(text)) = list.next_element()? {
            texts.push(text);
        }
        Ok(Auth::new(&texts).map_err(de::Error::custom)?.publish_tokens().to_vec())
    }
}

struct TokenText(String);

impl<'de> Deserialize<'de> for TokenText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(from)? {
            toml::Value::String(text) => Ok(TokenText(text)),
            other => {
                Err(de::Error::custom(format!("found a {}; expected a text in quotes", other.type_str())))
            }
        }
    }
}

struct Time;

impl Visitor<'_> for Time {
    type Value = u64;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(r#"a time with its unit, such as "500ms", "10s" or "25m""#)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        let wrong = || E::invalid_value(de::Unexpected::Str(text), &self);
        let time = humantime::parse_duration(text).map_err(|_| wrong())?;
        if !time.subsec_nanos().is_multiple_of(1_000_000) {
            return Err(E::custom(format!("\"{text}\" is finer than a millisecond, which nothing here is")));
        }
        u64::try_from(time.as_millis()).map_err(|_| wrong())
    }
}

struct Size;

impl Visitor<'_> for Size {
    type Value = usize;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(r#"a size in bytes, such as 65536, "64KiB" or "1MiB""#)
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<usize, E> {
        usize::try_from(bytes).map_err(|_| E::invalid_value(de::Unexpected::Signed(bytes), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<usize, E> {
        bytes(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

/// Only binary units: KB means a thousand to some and 1,024 to others.
fn bytes(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let scale: usize = match unit.trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(scale)
}

#[cfg(test)]
mod tests {
    use super::super::{ChannelRule, DEFAULT_FILE, Limits, LogFormat, LogLevel, Slow, TickerRule};
    use super::*;

    fn read(text: &str) -> Settings {
        Settings::from_toml(text, "encke.toml").unwrap()
    }

    fn complaint(text: &str) -> String {
        let error = Settings::from_toml(text, "encke.toml").unwrap_err().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    }

    /// In the default file prose begins with `# `, a setting with `#` alone.
    fn uncommented() -> String {
        let is_setting =
            |rest: &&str| rest.starts_with(|first: char| first.is_ascii_alphabetic() || first == '[');
        let line = |line: &'static str| line.strip_prefix('#').filter(is_setting).unwrap_or(line);
        DEFAULT_FILE.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn an_empty_file_and_the_default_file_change_nothing() {
        assert_eq!(read(""), Settings::default());
        assert_eq!(read(DEFAULT_FILE), Settings::default());
    }

    #[test]
    fn uncommenting_every_setting_gives_the_defaults() {
        let settings = read(&uncommented());
        assert_eq!(settings.validate(), Ok(()));
        // A list is empty by default; what is shown of it is one example.
        let without_examples = Settings { channels: vec![], tickers: vec![], ..settings };
        assert_eq!(without_examples, Settings::default());
    }

    #[test]
    fn the_examples_in_the_default_file_show_the_defaults() {
        let settings = read(&uncommented());
        let rules = settings.channel_rules();
        assert!(settings.channels[0].pattern.matches("chat:/demo/"));
        assert_eq!(rules.limits_for("chat:/demo/"), rules.limits_for("news"));
        assert_eq!(settings.tickers[0].payload, Payload::default());
    }

    #[test]
    fn no_setting_is_missing_in_the_default_file() {
        let file: toml::Table = uncommented().parse().unwrap();
        let limits = file["limits"].as_table().unwrap();
        let (channel, ticker) =
            (file["channel"][0].as_table().unwrap(), file["ticker"][0].as_table().unwrap());
        let auth = file["auth"].as_table().unwrap();
        for (table, stranger) in [
            (&file, "stranger = 1"),
            (auth, "[auth]\nstranger = 1"),
            (limits, "[limits]\nstranger = 1"),
            (channel, "[[channel]]\nstranger = 1"),
            (ticker, "[[ticker]]\nstranger = 1"),
        ] {
            // The reader itself says which keys there are.
            let error = complaint(stranger);
            let (_, known) = error.split_once("; expected one of ").unwrap();
            let mut known: Vec<&str> = known.split(", ").collect();
            known.sort_unstable();
            assert_eq!(known, table.keys().collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_setting_can_be_written() {
        let settings = read(
            r#"
            listen = ["8080", "unix:/run/encke.sock"]
            reuse-port = true
            io-uring = true
            static = "/srv/www"
            data = "/var/lib/encke"
            open = true
            hosts = ["comet.example.org"]
            origins = ["https://example.org"]
            heartbeat = "0s"
            poll-timeout = "1m"
            drain-time = "9s"
            lab = true
            log-level = "debug"
            log-format = "json"
            [auth]
            publish-tokens = ["0123456789abcdef"]
            "#,
        );
        let expected = Settings {
            listen: vec![Address::loopback(8080), Address::Unix("/run/encke.sock".into())],
            reuse_port: true,
            io_uring: true,
            static_dir: Some("/srv/www".into()),
            data: Some("/var/lib/encke".into()),
            open: true,
            hosts: vec!["comet.example.org".into()],
            origins: vec!["https://example.org".into()],
            heartbeat_ms: 0,
            poll_timeout_ms: 60_000,
            drain_ms: 9_000,
            lab: true,
            log_level: LogLevel::Debug,
            log_format: LogFormat::Json,
            auth: Auth::new(&["0123456789abcdef"]).unwrap(),
            ..Settings::default()
        };
        assert_eq!(settings.validate(), Ok(()));
        assert_eq!(settings, expected);
    }

    #[test]
    fn limits_can_be_written() {
        let settings = read(
            r#"
            [limits]
            connections-max = 5
            message-bytes-max = 1000
            head-bytes-max = "64 KiB"
            history-age = "1h 30m"
            linger = "0s"
            subscription-channels-max = 3
            bulk-bytes-max = "2MiB"
            history-budget-bytes-max = "4GiB"
            connections-per-address-max = 50
            publish-rate-max = 10
            publish-burst-max = 100
            connection-budget-bytes-max = "1GiB"
            unstored-bytes-max = "1MiB"
            store-timeout = "3s"
            "#,
        );
        let expected = Limits {
            connections_max: 5,
            message_bytes_max: 1_000,
            head_bytes_max: 65_536,
            history_age_ms: 5_400_000,
            linger_ms: 0,
            subscription_channels_max: 3,
            bulk_bytes_max: 2 << 20,
            history_budget_bytes_max: 4 << 30,
            connections_per_address_max: 50,
            publish_rate_max: 10,
            publish_burst_max: 100,
            connection_budget_bytes_max: 1 << 30,
            unstored_bytes_max: 1 << 20,
            store_timeout_ms: 3_000,
            ..Limits::default()
        };
        assert_eq!(settings.validate(), Ok(()));
        assert_eq!(settings.limits, expected);
    }

    #[test]
    fn rules_and_tickers_can_be_written() {
        let settings = read(
            r#"
            [[channel]]
            match = "price:*"
            history-messages-max = 1
            history-bytes-max = "64KiB"
            history-age = "1m"
            gather = "50ms"
            slow = "latest"
            [[channel]]
            match = "*"
            slow = "disconnect"
            [[ticker]]
            channel = "$time"
            every = "250ms"
            payload = '{"now":{unix_ms}}'
            [[ticker]]
            channel = "hourly"
            every = "1h"
            "#,
        );
        let channels = vec![
            ChannelRule {
                history_messages_max: Some(1),
                history_bytes_max: Some(65_536),
                history_age_ms: Some(60_000),
                gather_ms: 50,
                slow: Slow::Latest,
                ..ChannelRule::new("price:*".parse().unwrap())
            },
            ChannelRule { slow: Slow::Disconnect, ..ChannelRule::new("*".parse().unwrap()) },
        ];
        let tickers = vec![
            TickerRule {
                channel: "$time".into(),
                every_ms: 250,
                payload: r#"{"now":{unix_ms}}"#.parse().unwrap(),
            },
            TickerRule { channel: "hourly".into(), every_ms: 3_600_000, payload: Payload::default() },
        ];
        assert_eq!(settings, Settings { channels, tickers, ..Settings::default() });
        assert_eq!(settings.validate(), Ok(()));
    }

    #[test]
    fn a_mistake_in_a_token_is_told_without_the_token() {
        for (written, words) in [
            (r#"["sesame"]"#, "1: auth.publish-tokens: token 1 has 6 characters; it needs at least 16"),
            (r#""sesame-sesame-sesame""#, "found one text; expected a list of them"),
            (
                r#"["0123456789abcdef", "sesame sesame sesame"]"#,
                "token 2 has a character that cannot be sent",
            ),
            ("4242424242424242", "found a number; expected a list of texts"),
            ("[4242424242424242]", "found a integer; expected a text in quotes"),
            ("true", "expected a list of texts"),
        ] {
            let error = complaint(&format!("auth.publish-tokens = {written}"));
            assert!(error.contains(words), "{error}");
            assert!(!error.contains("sesame") && !error.contains("4242"), "{error}");
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_table() {
        let error = complaint("open = false\n\nlisen = []\n");
        assert!(
            error.starts_with(r#"encke.toml:3: unknown key "lisen"; expected one of listen, "#),
            "{error}"
        );
        let error = complaint("[limits]\nhead-timeout = \"1s\"\nlisen = 1\n");
        assert!(
            error.starts_with(r#"encke.toml:3: unknown key "lisen" in [limits]; expected one of "#),
            "{error}"
        );
        let error = complaint("\nlimits.lisen = 1\n");
        assert!(
            error.starts_with(r#"encke.toml:2: unknown key "lisen" in [limits]; expected one of "#),
            "{error}"
        );
        let error = complaint("[limit]\nlisen = 1\n");
        assert!(error.starts_with(r#"encke.toml:1: unknown key "limit"; expected one of "#), "{error}");
    }

    #[test]
    fn a_time_without_a_unit_is_refused() {
        let expected = r#"expected a time with its unit, such as "500ms", "10s" or "25m""#;
        assert_eq!(
            complaint("[limits]\nhead-timeout = 10"),
            format!("encke.toml:2: limits.head-timeout: invalid type: integer `10`, {expected}")
        );
        for wrong in ["10", "ten seconds", "-1s", "", "1x"] {
            let error = complaint(&format!("[limits]\nlinger = \"{wrong}\""));
            assert!(error.contains(expected), "{error}");
        }
        assert!(complaint("[limits]\nlinger = \"10us\"").contains("finer than a millisecond"));
    }

    #[test]
    fn a_size_with_a_decimal_unit_is_refused() {
        for wrong in ["\"64KB\"", "\"64k\"", "-1", "1.5", "\"KiB\"", "\"\"", "\"99999999999GiB\"", "\"+1\""] {
            let error = complaint(&format!("[limits]\nhead-bytes-max = {wrong}"));
            assert!(error.starts_with("encke.toml:2: limits.head-bytes-max: invalid "), "{error}");
            assert!(
                error.ends_with(r#"expected a size in bytes, such as 65536, "64KiB" or "1MiB""#),
                "{error}"
            );
        }
    }

    #[test]
    fn an_address_in_the_file_is_refused_with_the_spellings() {
        let error = complaint("listen = [\n  \"8080\",\n  \"here\",\n]");
        assert!(error.starts_with("encke.toml:3: listen"), "{error}");
        assert!(error.contains(r#""here" is not an address to listen on; write 127.0.0.1:8080"#), "{error}");
    }

    #[test]
    fn a_mistake_in_a_rule_is_named_with_its_own_line() {
        let second = "[[channel]]\nmatch = \"a\"\n[[channel]]\n";
        for (rest, sentence) in [
            (
                "match = \"a b\"",
                "4: channel.match: \"a b\" is not a pattern for channels; write 1 to 128 of ",
            ),
            (
                "match = 5",
                "4: channel.match: invalid type: integer `5`, expected a pattern, such as \"chat:*\"",
            ),
            ("slow = \"gap\"", "3: [[channel]] has no \"match\"; it needs one"),
            ("slow = \"stop\"", "4: channel.slow: unknown variant `stop`, expected one of `gap`, "),
            (
                "history-age = \"1\"",
                "4: channel.history-age: invalid value: string \"1\", expected a time with ",
            ),
            (
                "history-bytes-max = -1",
                "4: channel.history-bytes-max: invalid value: integer `-1`, expected a size ",
            ),
            ("lisen = 1", "4: unknown key \"lisen\" in [[channel]]; expected one of match, "),
        ] {
            let error = complaint(&format!("{second}{rest}\n"));
            assert!(error.starts_with(&format!("encke.toml:{sentence}")), "{error}");
        }
    }

    #[test]
    fn a_mistake_in_a_ticker_is_named_with_its_line() {
        for (rest, sentence) in [
            ("channel = \"$clock\"", "2: ticker.channel: \"$clock\" is built in, one tick a second; give "),
            ("channel = \"a/b\"", "2: ticker.channel: \"a/b\" is not a channel's name; write 1 to 128 of "),
            ("channel = \"c\"", "1: [[ticker]] has no \"every\"; it needs one"),
            (
                "every = 1",
                "2: ticker.every: invalid type: integer `1`, expected a time with its unit, such as ",
            ),
            (
                "payload = \"{now}\"",
                "2: ticker.payload: no placeholder named {now}; try {unix}, {unix_ms} or ",
            ),
        ] {
            let error = complaint(&format!("[[ticker]]\n{rest}\n"));
            assert!(error.starts_with(&format!("encke.toml:{sentence}")), "{error}");
        }
    }

    #[test]
    fn a_list_of_tables_needs_two_brackets() {
        let expected = "encke.toml:1: [ticker] is one of a list; write it [[ticker]]";
        assert_eq!(complaint("[ticker]\nchannel = \"c\""), expected);
    }

    #[test]
    fn a_wrong_type_is_told_the_right_one() {
        for (text, sentence) in [
            (
                "limits.fields-max = -1",
                "limits.fields-max: invalid value: integer `-1`, expected a whole number from 0",
            ),
            ("origins = \"*\"", "origins: invalid type: string \"*\", expected a list"),
            ("lab = 1", "lab: invalid type: integer `1`, expected true or false"),
        ] {
            assert_eq!(complaint(text), format!("encke.toml:1: {sentence}"));
        }
    }

    #[test]
    fn what_is_not_toml_is_refused_in_one_line() {
        for text in
            ["open", "open = maybe", "listen = [\"8080\"", "open = true\nopen = true", "[limits", "\u{0}"]
        {
            assert!(complaint(text).starts_with("encke.toml:"), "{text}");
        }
    }
}
