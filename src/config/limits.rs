//! How far anything may grow, and how long anybody may take.
//!
//! A limit is there because something would grow without it, and what grows here comes from
//! strangers. Each has a default with its reason; what makes no sense is refused before the
//! server starts, because a limit that cannot hold is no limit.
//!
//! Knows: numbers, and which of them contradict each other. Never learns what is done when one is reached.

use super::ConfigError;
use crate::kit::wheel;

/// Every bound on time and memory. Times in milliseconds, sizes in bytes, unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Deserialize))]
#[cfg_attr(feature = "shell", serde(default, deny_unknown_fields, rename_all = "kebab-case"))]
pub struct Limits {
    /// Connections at one time; the next is answered 503. Default 0: as many as the process may have
    /// descriptors, because an idle one costs next to nothing.
    pub connections_max: u32,
    /// Connections at one time from one address (of IPv6: from one /64); the next is answered 429. Default 0: no limit,
    /// because behind a proxy, or from one office, everybody comes from the same address.
    pub connections_per_address_max: u32,
    /// Messages a second that one address (of IPv6: one /64) may publish; what is more is answered 429, all or
    /// nothing. Default 0: no limit, for the same reason, and because those who publish most are servers.
    pub publish_rate_max: u32,
    /// Messages that such an address may publish at once when it has been quiet, and so the most that one request may
    /// bring. Default 0: as many as in a second.
    pub publish_burst_max: u32,
    /// What all connections together may hold of requests that are not complete and of answers that are not read, in
    /// bytes. At three quarters of it no more bodies are waited for (503), at all of it those that hold the most are
    /// parted from. Default 256 MiB: what connections may hold one by one would be gigabytes together.
    #[cfg_attr(feature = "shell", serde(deserialize_with = "super::file::size"))]
    pub connection_budget_bytes_max: usize,
    /// A request's target, in bytes; a longer one is a 414. Default 8 KiB, what RFC 9112 §3 asks for.
    #[cfg_attr(feature = "shell", serde(deserialize_with = "super::file::size"))]
    pub target_bytes_max: usize,
    /// A request's whole head, in bytes; a longer one is a 431. Default 32 KiB: room for fat cookies.
    #[cfg_attr(feature = "shell", serde(deserialize_with = "super::file::size"))]
    pub head_bytes_max: usize,
    /// Header fields of a request; more are a 431. Default 100, which is also the most there is room for.
    pub fields_max: usize,
    /// A message, and so the body that publishes it, in bytes; a longer one is a 413. Default 64 KiB:
    /// pushes are news, not files, and each waits in a history.
    #[cfg_attr(feature = "shell", serde(deserialize_with = "super::file::size"))]
    pub message_bytes_max: usize,
    /// The body of a bulk publish, many messages in one request, in bytes; a longer one is a 413. Default
    /// 1 MiB: it is all or nothing, so all of it waits in memory for its last line.
    #[cfg_attr(feature = "shell", serde(deserialize_with = "super::file::size"))]
    pub bulk_bytes_max: usize,
    /// From the first byte of a request to the end of its head, and not prolonged by trickling.
    /// Default 10 s: slow phones manage, slow attackers do not.
    #[cfg_attr(feature = "shell", serde(rename = "head-timeout", deserialize_with = "super::file::time_ms"))]
    pub head_timeout_ms: u64,
    /// From the end of a head to the end of its body. Default 30 s, for 64 KiB over a bad line.
    #[cfg_attr(feature = "shell", serde(rename = "body-timeout", deserialize_with = "super::file::time_ms"))]
    pub body_timeout_ms: u64,
    /// Between two requests of a connection, which is then closed without a word. Default 75 s: longer
    /// than the minute for which proxies like to keep a connection that they mean to use again.
    #[cfg_attr(feature = "shell", serde(rename = "idle-timeout", deserialize_with = "super::file::time_ms"))]
    pub idle_timeout_ms: u64,
    /// How long a write may make no progress. Default 60 s: a phone in a tunnel comes back, a dead peer does not.
    #[cfg_attr(
        feature = "shell",
        serde(rename = "write-timeout", deserialize_with = "super::file::time_ms")
    )]
    pub write_timeout_ms: u64,
    /// After an error, how long to read and drop what still comes, so that the client can read the
    /// answer before the connection is reset. Default 1 s; 0 closes at once.
    #[cfg_attr(feature = "shell", serde(rename = "linger", deserialize_with = "super::file::time_ms"))]
    pub linger_ms: u64,
    /// Between the spaces that keep a held poll of the article's chat alive. Default 20 s: below
    /// the 30 s after which the first proxies lose patience.
    #[cfg_attr(feature = "shell", serde(rename = "poll-space", deserialize_with = "super::file::time_ms"))]
    pub poll_space_ms: u64,
    /// Unsent answers of a connection, in bytes, above which its pipelined requests wait. Default 64 KiB: who does
    /// not read is not served more.
    #[cfg_attr(feature = "shell", serde(deserialize_with = "super::file::size"))]
    pub unsent_bytes_max: usize,
    /// Requests kept behind a held poll, in bytes; what is more waits in the kernel. Default 32 KiB: one whole head.
    #[cfg_attr(feature = "shell", serde(deserialize_with = "super::file::size"))]
    pub held_input_bytes_max: usize,
    /// The most spaces that the clock's `?padding=` may ask for before each tick. Default 4,096: the
    /// most that any browser buffered; each tick of each such connection pays for them.
    pub padding_max: usize,
    /// A file that is served from `static`, in bytes; a larger one is refused. Default 16 MiB: it is
    /// read in one piece, by the thread that does everything else.
    #[cfg_attr(feature = "shell", serde(deserialize_with = "super::file::size"))]
    pub static_file_bytes_max: usize,
    /// Channels at one time; publishing or subscribing to one more is refused. Default 100,000: their
    /// names come from strangers.
    pub channels_max: usize,
    /// Channels of one subscription; more are refused. Default 64: each costs its subscriber a place in
    /// a section.
    pub subscription_channels_max: usize,
    /// Messages in a channel's history. Default 1,000, or fewer if one of the next two is reached.
    pub history_messages_max: usize,
    /// All messages in a channel's history together, in bytes. Default 1 MiB.
    #[cfg_attr(feature = "shell", serde(deserialize_with = "super::file::size"))]
    pub history_bytes_max: usize,
    /// How long a message stays in its channel's history. Default 1 h: whoever was away for longer
    /// wants today's news, and is told about the gap.
    #[cfg_attr(feature = "shell", serde(rename = "history-age", deserialize_with = "super::file::time_ms"))]
    pub history_age_ms: u64,
    /// The histories of all channels together, in bytes. Default 256 MiB: a full history in each of the
    /// channels that strangers may open would be 100 GB, and no machine has that.
    #[cfg_attr(feature = "shell", serde(deserialize_with = "super::file::size"))]
    pub history_budget_bytes_max: usize,
    /// What may wait for a log that takes time, in bytes; publishing more is answered 503. Default 16 MiB: a disk stores that
    /// in a second, and if it does not, publishers should hear of it.
    #[cfg_attr(feature = "shell", serde(deserialize_with = "super::file::size"))]
    pub unstored_bytes_max: usize,
    /// How long a publisher waits for such a log before it is told (503) that nobody knows whether its message will be
    /// published. Default 10 s: a busy disk answers within one, and clients give up after thirty.
    #[cfg_attr(
        feature = "shell",
        serde(rename = "store-timeout", deserialize_with = "super::file::time_ms")
    )]
    pub store_timeout_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections_max: 0,
            connections_per_address_max: 0,
            publish_rate_max: 0,
            publish_burst_max: 0,
            connection_budget_bytes_max: 256 << 20,
            target_bytes_max: 8 << 10,
            head_bytes_max: 32 << 10,
            fields_max: FIELDS_MOST,
            message_bytes_max: 64 << 10,
            bulk_bytes_max: 1 << 20,
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
            subscription_channels_max: 64,
            history_messages_max: 1_000,
            history_bytes_max: 1 << 20,
            history_age_ms: 3_600_000,
            history_budget_bytes_max: 256 << 20,
            unstored_bytes_max: 16 << 20,
            store_timeout_ms: 10_000,
        }
    }
}

/// The parser's table of header fields has this many rows.
const FIELDS_MOST: usize = 100;

/// So many of the largest thing that a client may send must fit into what connections may hold: a buffer that
/// grows has up to twice the size of what is in it, and is not to exceed the budget all alone.
const BUDGETED_MIN: usize = 4;

/// No size may exceed this: lengths and offsets are kept in 32 bits.
const BYTES_MOST: usize = 1 << 30;

/// How much longer a text can be in JSON: each byte as `\u001f`. So the longest message fits, whatever is in it.
const ESCAPED: usize = 6;

/// What a WebSocket's command may have beside the message's text: names, a type, a ref.
const COMMAND_BYTES: usize = 16 << 10;

impl Limits {
    /// The longest command that a WebSocket may send, in bytes.
    pub fn command_bytes_max(&self) -> usize {
        ESCAPED * self.message_bytes_max + COMMAND_BYTES
    }

    /// Refuses limits with which nothing would work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_times()?;
        self.validate_sizes()?;
        for (key, count) in [
            ("fields-max", self.fields_max),
            ("channels-max", self.channels_max),
            ("subscription-channels-max", self.subscription_channels_max),
            ("history-messages-max", self.history_messages_max),
        ] {
            check_least("limits: ", key, count, 1)?;
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
        for (key, time_ms, least_ms) in [
            ("head-timeout", self.head_timeout_ms, 1),
            ("body-timeout", self.body_timeout_ms, 1),
            ("idle-timeout", self.idle_timeout_ms, 1),
            ("write-timeout", self.write_timeout_ms, 1),
            ("linger", self.linger_ms, 0),
            ("poll-space", self.poll_space_ms, 1),
            ("history-age", self.history_age_ms, 1),
            ("store-timeout", self.store_timeout_ms, 1),
        ] {
            check_time("limits: ", key, time_ms, least_ms)?;
        }
        Ok(())
    }

    fn validate_sizes(&self) -> Result<(), ConfigError> {
        for (key, bytes, least) in [
            ("target-bytes-max", self.target_bytes_max, 1),
            ("head-bytes-max", self.head_bytes_max, self.target_bytes_max),
            ("message-bytes-max", self.message_bytes_max, 1),
            ("bulk-bytes-max", self.bulk_bytes_max, 1),
            ("unsent-bytes-max", self.unsent_bytes_max, 1),
            ("held-input-bytes-max", self.held_input_bytes_max, 0),
            ("padding-max", self.padding_max, 0),
            ("static-file-bytes-max", self.static_file_bytes_max, 1),
            ("history-bytes-max", self.history_bytes_max, self.message_bytes_max),
            ("unstored-bytes-max", self.unstored_bytes_max, 1),
        ] {
            check_size("limits: ", key, bytes, least)?;
        }
        // Sums of many lengths, each of which has 32 bits: these two have no upper bound.
        let largest = self.head_bytes_max.max(self.command_bytes_max()).max(self.bulk_bytes_max);
        check_least(
            "limits: ",
            "connection-budget-bytes-max",
            self.connection_budget_bytes_max,
            BUDGETED_MIN * largest,
        )?;
        check_least(
            "limits: ",
            "history-budget-bytes-max",
            self.history_budget_bytes_max,
            self.history_bytes_max,
        )
    }
}

/// Refuses a time of less than `least_ms` or farther ahead than timers reach. `place` says where `key`
/// stands, with its colon.
pub(super) fn check_time(place: &str, key: &str, time_ms: u64, least_ms: u64) -> Result<(), ConfigError> {
    if time_ms < least_ms {
        let found = if time_ms == 0 { "0".to_owned() } else { format!("{time_ms}ms") };
        return Err(ConfigError::new(format!("{place}{key} is {found}; it must be at least {least_ms}ms")));
    }
    if time_ms > wheel::HORIZON_MS {
        return Err(ConfigError::new(format!(
            "{place}{key} is {} days; timers reach 24 days ahead at most",
            time_ms / 86_400_000
        )));
    }
    Ok(())
}

/// Refuses a size that is smaller than `least` or too large for a length. `place` says where `key`
/// stands, with its colon.
pub(super) fn check_size(place: &str, key: &str, bytes: usize, least: usize) -> Result<(), ConfigError> {
    check_least(place, key, bytes, least)?;
    if bytes > BYTES_MOST {
        return Err(ConfigError::new(format!(
            "{place}{key} is {bytes}; it may be 1GiB ({BYTES_MOST}) at most"
        )));
    }
    Ok(())
}

/// Refuses a number below `least`. `place` says where `key` stands, with its colon.
pub(super) fn check_least(place: &str, key: &str, found: usize, least: usize) -> Result<(), ConfigError> {
    if found >= least {
        return Ok(());
    }
    let reason = match key {
        "head-bytes-max" => ", target-bytes-max: the target is part of the head",
        "history-bytes-max" => ", message-bytes-max: else a message could be gone before it is sent",
        "connection-budget-bytes-max" => {
            ", 4 times the largest of a head, a bulk and a WebSocket's command (6 times message-bytes-max): \
             else one of them alone could be too much"
        }
        "history-budget-bytes-max" => ", history-bytes-max: else no channel could fill its own history",
        _ => "",
    };
    Err(ConfigError::new(format!("{place}{key} is {found}; it must be at least {least}{reason}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(change: impl FnOnce(&mut Limits)) -> String {
        let mut limits = Limits::default();
        change(&mut limits);
        limits.validate().expect_err("nothing was refused").to_string()
    }

    type Zero = fn(&mut Limits);

    #[test]
    fn zero_is_refused_where_it_makes_no_sense() {
        let orders: [(&str, Zero); 21] = [
            ("connection-budget-bytes-max", |limits| limits.connection_budget_bytes_max = 0),
            ("target-bytes-max", |limits| limits.target_bytes_max = 0),
            ("head-bytes-max", |limits| limits.head_bytes_max = 0),
            ("fields-max", |limits| limits.fields_max = 0),
            ("message-bytes-max", |limits| limits.message_bytes_max = 0),
            ("bulk-bytes-max", |limits| limits.bulk_bytes_max = 0),
            ("head-timeout", |limits| limits.head_timeout_ms = 0),
            ("body-timeout", |limits| limits.body_timeout_ms = 0),
            ("idle-timeout", |limits| limits.idle_timeout_ms = 0),
            ("write-timeout", |limits| limits.write_timeout_ms = 0),
            ("poll-space", |limits| limits.poll_space_ms = 0),
            ("unsent-bytes-max", |limits| limits.unsent_bytes_max = 0),
            ("static-file-bytes-max", |limits| limits.static_file_bytes_max = 0),
            ("channels-max", |limits| limits.channels_max = 0),
            ("subscription-channels-max", |limits| limits.subscription_channels_max = 0),
            ("history-messages-max", |limits| limits.history_messages_max = 0),
            ("history-bytes-max", |limits| limits.history_bytes_max = 0),
            ("history-age", |limits| limits.history_age_ms = 0),
            ("history-budget-bytes-max", |limits| limits.history_budget_bytes_max = 0),
            ("unstored-bytes-max", |limits| limits.unstored_bytes_max = 0),
            ("store-timeout", |limits| limits.store_timeout_ms = 0),
        ];
        for (key, zero) in orders {
            let error = complaint(zero);
            assert!(error.starts_with(&format!("limits: {key} is 0; it must be at least ")), "{error}");
        }
    }

    #[test]
    fn zero_is_a_value_where_it_means_something() {
        let limits = Limits {
            connections_max: 0,
            connections_per_address_max: 0,
            publish_rate_max: 0,
            publish_burst_max: 0,
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
            complaint(|limits| limits.fields_max = 101),
            "limits: fields-max is 101; there is room for 100 at most"
        );
        assert_eq!(
            complaint(|limits| limits.history_age_ms = 25 * 86_400_000),
            "limits: history-age is 25 days; timers reach 24 days ahead at most"
        );
        assert!(complaint(|limits| limits.message_bytes_max = (1 << 30) + 1).contains("1GiB"));
        assert!(complaint(|limits| limits.head_bytes_max = 8_191).contains("part of the head"));
        assert!(complaint(|limits| limits.history_bytes_max = 65_535).contains("at least 65536"));
        assert_eq!(
            complaint(|limits| limits.history_budget_bytes_max = (1 << 20) - 1),
            "limits: history-budget-bytes-max is 1048575; it must be at least 1048576, history-bytes-max: \
             else no channel could fill its own history"
        );
        assert_eq!(
            complaint(|limits| limits.connection_budget_bytes_max = (4 << 20) - 1),
            "limits: connection-budget-bytes-max is 4194303; it must be at least 4194304, 4 times the largest \
             of a head, a bulk and a WebSocket's command (6 times message-bytes-max): else one of them alone \
             could be too much"
        );
        let roomy = Limits {
            history_budget_bytes_max: 64 << 30,
            connection_budget_bytes_max: 64 << 30,
            ..Limits::default()
        };
        assert_eq!(roomy.validate(), Ok(()));
    }
}
