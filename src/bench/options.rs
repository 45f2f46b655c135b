//! Options: what people type, and the plan that follows from it.
//!
//! Knows: flags, presets, units. Never learns what is done with a plan.

mod target;
mod units;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::clock::{mono_us, unix_us};
use super::plan::{Ask, CONNECTIONS_MAX, CursorFrom, MESSAGES_MAX, PER_SOURCE, Plan, Say, TickPlan};
use super::preset::{Filled, Preset, Transport};
use super::stamp::STAMP_BYTES;
use super::template::{Hole, Template};

use target::Target;

/// The options of `encke bench`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES, args_override_self = true)]
pub struct Options {
    /// The server
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:8080")]
    server: String,

    /// Ask as this server wants to be asked: encke, nchan, push-stream, php
    #[arg(
        long,
        value_name = "NAME",
        default_value_t,
        hide_possible_values = true,
        help_heading = "What is asked"
    )]
    preset: Preset,
    /// events, ndjson, iframe, poll, websocket; clock and chat are the article's
    #[arg(long, value_name = "NAME", hide_possible_values = true, help_heading = "What is asked")]
    transport: Option<Transport>,
    /// Subscribe here; {channel}, {room} and the subscriber's number, an n in braces, are filled in
    #[arg(long, value_name = "URL", help_heading = "What is asked")]
    subscribe: Option<String>,
    /// A header of each subscription; repeatable
    #[arg(long = "header", value_name = "FIELD", help_heading = "What is asked")]
    headers: Vec<String>,
    /// Come back here; {cursor} is filled in
    #[arg(long, value_name = "URL", help_heading = "What is asked")]
    resume: Option<String>,
    /// A header of one who comes back, with {cursor}; repeatable
    #[arg(long = "resume-header", value_name = "FIELD", help_heading = "What is asked")]
    resume_headers: Vec<String>,
    /// The text before a cursor in a stream, such as '"id":' (\n: a line's end)
    #[arg(long, value_name = "TEXT", help_heading = "What is asked")]
    cursor_after: Option<String>,
    /// A text by which the server announces a gap (\n: a line's end)
    #[arg(long, value_name = "TEXT", help_heading = "What is asked")]
    gap_mark: Option<String>,
    /// The text before the seconds in a tick (\n: a line's end)
    #[arg(long, value_name = "TEXT", help_heading = "What is asked")]
    tick_after: Option<String>,
    /// How often the clock ticks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::time, help_heading = "What is asked")]
    tick_every: Duration,
    /// Publish here; {channel} and {payload} are filled in
    #[arg(long, value_name = "URL", help_heading = "What is asked")]
    publish: Option<String>,
    /// Publish with this method
    #[arg(long, value_name = "METHOD", help_heading = "What is asked")]
    method: Option<String>,
    /// Publish this body; {payload} is filled in
    #[arg(long, value_name = "TEXT", help_heading = "What is asked")]
    body: Option<String>,
    /// A header of each publication; repeatable
    #[arg(long = "publish-header", value_name = "FIELD", help_heading = "What is asked")]
    publish_headers: Vec<String>,
    /// Allow a server on another machine
    #[arg(long, help_heading = "What is asked")]
    remote: bool,

    /// Subscribers
    #[arg(long, value_name = "N", default_value_t = 1_000, help_heading = "Load")]
    connections: u32,
    /// Rooms of equal size that they are in, a channel each
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Load")]
    channels: u32,
    /// New connections
    #[arg(long, value_name = "N/s", default_value = "2000/s", value_parser = units::rate, help_heading = "Load")]
    ramp: f64,
    /// Messages, to all rooms in turn [default: 10/s; a clock: none]
    #[arg(long, value_name = "N/s", value_parser = units::rate, help_heading = "Load")]
    rate: Option<f64>,
    /// How long messages are sent, or a clock is listened to
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::time, help_heading = "Load")]
    duration: Duration,
    /// Bytes of a message
    #[arg(long, value_name = "BYTES", default_value = "100", value_parser = units::bytes, help_heading = "Load")]
    payload: u64,
    /// Subscribers who leave and come back
    #[arg(long, value_name = "N/s", default_value = "0", value_parser = units::rate, help_heading = "Load")]
    churn: f64,
    /// At the end cut all at once, and see them come back; N times
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1",
          default_value_t = 0, help_heading = "Load")]
    storm: u32,
    /// Subscribers who read slowly
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = units::share, help_heading = "Load")]
    slow: f64,
    /// How fast those read
    #[arg(long, value_name = "BYTES/s", default_value = "1KiB/s", value_parser = units::byte_rate, help_heading = "Load")]
    slow_rate: u64,
    /// Subscribers who read their first frame and never again
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = units::share, help_heading = "Load")]
    stalled: f64,
    /// How long nothing happens before the first message
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::time, help_heading = "Load")]
    pub(super) settle: Duration,
    /// How long to wait for connections and deliveries that do not come
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::time, help_heading = "Load")]
    pub(super) patience: Duration,

    /// Processes that subscribers are spread over [default: as few as hold them]
    #[arg(long, value_name = "N", help_heading = "This machine")]
    pub(super) workers: Option<u32>,
    /// Addresses of 127.0.0.0/8 that connections come from [default: one for each 7,000]
    #[arg(long, value_name = "N", help_heading = "This machine")]
    sources: Option<u32>,
    /// Bind workers to these cores, in turn: 1,2
    #[arg(long, value_name = "CORES", value_delimiter = ',', help_heading = "This machine")]
    pin: Vec<usize>,
    /// Connections to publish over, at most
    #[arg(long, value_name = "N", default_value_t = 64, help_heading = "This machine")]
    publishers: usize,
    /// Wait for an answer before sending the next message over a connection
    #[arg(long, help_heading = "This machine")]
    no_pipeline: bool,
    /// Watch this process, and those it has started; repeatable
    #[arg(long = "server-pid", value_name = "PID", help_heading = "This machine")]
    pub(super) server_pids: Vec<u32>,
    /// Check what stands in the way, and end
    #[arg(long, help_heading = "This machine")]
    pub(super) check_only: bool,

    /// Write the results as JSON; "-" for standard output, instead of the table
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub(super) json: Option<PathBuf>,
    /// Write a page with charts
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub(super) html: Option<PathBuf>,
    /// End with exit code 1 if anything was lost, repeated or out of order
    #[arg(long, help_heading = "Results")]
    pub(super) strict: bool,

    /// Be a worker of another process
    #[arg(long, hide = true)]
    pub(super) worker: bool,
}

const EXAMPLES: &str = "\
Examples:
  encke bench                                          1,000 subscribers of a server on 127.0.0.1:8080
  encke bench --connections 16000 --server-pid $(pidof encke) --html report.html
  encke bench --transport clock --duration 60s         how punctual are its ticks?
  encke bench --churn 100/s --slow 5% --storm          a bad day
  encke bench --preset nchan http://127.0.0.1:8081 --json -
  encke bench http://127.0.0.1:3000 --subscribe '/sse?room={channel}' --publish '/say?room={channel}'

Units: 10s, 200ms; 2000/s; 5%; 64KiB. Exit code: 0 measured, 1 something was lost (with --strict), 2 not measured.";

impl Options {
    /// The plan that follows from the options.
    ///
    /// # Errors
    /// A sentence that says what was found, what is expected and what to do.
    pub(super) fn plan(&self) -> Result<Plan, String> {
        let transport = self.transport.unwrap_or(self.preset.transport());
        let by_hand = self.subscribe.is_some();
        let mut filled = match self.preset.fill(transport) {
            Err(_) if by_hand => Filled { method: "POST", ..Filled::default() },
            filled => filled?,
        };
        if by_hand {
            // What the preset knows of cursors belongs to its own targets.
            (filled.resume, filled.cursor, filled.gaps) = (None, CursorFrom::Nowhere, Vec::new());
            filled.resume_headers.clear();
        }
        let server = Target::parse(&self.server)?;
        let subscribe = server.join(self.subscribe.as_deref().unwrap_or(&filled.subscribe))?;
        let is_local = subscribe.address.ip().is_loopback();
        if !is_local && !self.remote {
            return Err(format!(
                "{} is another machine; a load generator can take a server down, so this needs --remote, \
                 and the consent of whoever runs it",
                subscribe.address
            ));
        }
        let ticks = self.ticks(&filled);
        let rate_per_s = self.rate.unwrap_or(if ticks.is_some() { 0.0 } else { 10.0 });
        let say = if rate_per_s > 0.0 { Some(self.say(&server, &subscribe, &filled)?) } else { None };
        let plan = Plan {
            run: format!(
                "{:08x}",
                (unix_us() ^ mono_us() << 20 ^ u64::from(std::process::id()) << 13) as u32
            ),
            address: subscribe.address,
            host: subscribe.host.clone(),
            connections: self.connections,
            channels: self.channels,
            ramp_per_s: self.ramp,
            sources: match self.sources {
                Some(sources) => sources,
                None if is_local && subscribe.address.is_ipv4() => self.connections.div_ceil(PER_SOURCE),
                None => 0,
            },
            transport,
            ask: self.ask(&server, &subscribe, filled)?,
            say,
            rate_per_s,
            duration_us: self.duration.as_micros() as u64,
            churn_per_s: self.churn,
            slow_share: self.slow,
            slow_bytes_per_s: self.slow_rate,
            stalled_share: self.stalled,
            ticks,
            pin: self.pin.clone(),
        };
        bounded(&plan, self)?;
        Ok(plan)
    }

    fn ask(&self, server: &Target, subscribe: &Target, filled: Filled) -> Result<Ask, String> {
        let resume = match self.resume.as_deref().or(filled.resume.as_deref()) {
            Some(text) => Some(template(&server.join(text)?.path)?),
            None => None,
        };
        let headers = filled.headers.iter().filter(|known| !is_overridden(known, &self.headers));
        let cursor = match &self.cursor_after {
            Some(text) => CursorFrom::Behind(mark("--cursor-after", text)?),
            None => filled.cursor,
        };
        let resume_headers =
            if self.resume_headers.is_empty() { &filled.resume_headers } else { &self.resume_headers };
        let ask = Ask {
            target: template(&subscribe.path)?,
            headers: fields(headers.chain(&self.headers))?,
            resume,
            resume_headers: fields(resume_headers.iter())?,
            cursor,
            gaps: match &self.gap_mark {
                Some(text) => vec![mark("--gap-mark", text)?],
                None => filled.gaps,
            },
        };
        let hands_back =
            ask.resume.iter().chain(&ask.resume_headers).any(|template| template.has(Hole::Cursor));
        match &ask.cursor {
            CursorFrom::Behind(_) if !hands_back => Err(
                "--cursor-after finds a cursor, and nothing hands it back; add --resume or --resume-header \
                     with {cursor}"
                    .into(),
            ),
            CursorFrom::Nowhere if hands_back => {
                Err("{cursor} is to be handed back, and nothing says where it is; add --cursor-after".into())
            }
            _ => Ok(ask),
        }
    }

    fn say(&self, server: &Target, subscribe: &Target, filled: &Filled) -> Result<Say, String> {
        let publish = self.publish.as_deref().unwrap_or(&filled.publish);
        if publish.is_empty() || (self.subscribe.is_some() && self.publish.is_none()) {
            return Err(
                "--subscribe says where to listen, and nothing says where to publish; add --publish, \
                        or --rate 0 to publish nothing"
                    .into(),
            );
        }
        let target = server.join(publish)?;
        if target.address != subscribe.address {
            return Err(format!(
                "publishing goes to {}, subscribing to {}; expected one address for both",
                target.address, subscribe.address
            ));
        }
        let method = self.method.as_deref().unwrap_or(filled.method).to_ascii_uppercase();
        let body = match &self.body {
            Some(body) => body.as_str(),
            None if method == "GET" => "",
            None => "{payload}",
        };
        let (target, body) = (template(&target.path)?, template(body)?);
        if !target.has(Hole::Payload) && !body.has(Hole::Payload) {
            return Err(
                "neither --publish nor --body has {payload}; without it no delivery could be recognised"
                    .into(),
            );
        }
        let mut headers = self.publish_headers.clone();
        if method != "GET" && !is_overridden("Content-Type: ", &headers) {
            headers.insert(0, "Content-Type: text/plain; charset=utf-8".into());
        }
        Ok(Say {
            method,
            target,
            headers: fields(headers.iter())?,
            body,
            payload_bytes: self.payload as usize,
            lines_max: self.publishers.max(1),
            pipeline: !self.no_pipeline,
        })
    }

    fn ticks(&self, filled: &Filled) -> Option<TickPlan> {
        let behind = match &self.tick_after {
            Some(text) => text.replace("\\n", "\n"),
            None if self.subscribe.is_some() && filled.tick.is_none() => return None,
            None => filled.tick?.to_owned(),
        };
        (!behind.is_empty())
            .then(|| TickPlan { behind, period_us: self.tick_every.as_micros().max(1) as u64 })
    }

    /// Whose manners were assumed.
    pub(super) fn preset_name(&self) -> String {
        self.preset.to_string()
    }

    /// How many storms there are to be.
    pub(super) fn storms(&self) -> u32 {
        self.storm
    }
}

/// Whatever could grow has a bound.
fn bounded(plan: &Plan, options: &Options) -> Result<(), String> {
    let messages = plan.rate_per_s * plan.duration_us as f64 / 1e6;
    let complaint = match plan {
        _ if plan.connections == 0 || plan.connections > CONNECTIONS_MAX => {
            format!("--connections is {}; expected 1 to {CONNECTIONS_MAX}", plan.connections)
        }
        _ if plan.channels == 0 || plan.channels > plan.connections => {
            format!("--channels is {}; expected 1 to {}, a subscriber each", plan.channels, plan.connections)
        }
        _ if plan.ramp_per_s <= 0.0 => "--ramp is 0; expected connections per second, such as 2000/s".into(),
        _ if messages > MESSAGES_MAX as f64 => {
            format!("--rate and --duration make {messages:.0} messages; expected at most {MESSAGES_MAX}")
        }
        _ if plan.say.is_some() && options.payload < STAMP_BYTES as u64 => format!(
            "--payload is {}; expected at least {STAMP_BYTES}: that much it takes to know a message again",
            options.payload
        ),
        _ if options.payload > 16 << 20 => {
            format!("--payload is {}; expected at most 16MiB", options.payload)
        }
        _ if plan.slow_share + plan.stalled_share > 1.0 => {
            "--slow and --stalled together are more than all subscribers".into()
        }
        _ if options.storm > 100 => format!("--storm is {}; expected at most 100", options.storm),
        _ if plan.duration_us == 0 => "--duration is 0; expected a time, such as 10s".into(),
        _ if plan.pin.iter().any(|core| *core >= rustix::thread::CpuSet::MAX_CPU) => {
            format!("--pin takes numbers of cores, below {}", rustix::thread::CpuSet::MAX_CPU)
        }
        _ => return Ok(()),
    };
    Err(complaint)
}

fn template(text: &str) -> Result<Template, String> {
    Template::parse(text)
}

/// Header lines, checked: a line's end in one would make two.
fn fields<'a>(lines: impl Iterator<Item = &'a String>) -> Result<Vec<Template>, String> {
    lines
        .map(|line| match line.split_once(':') {
            Some((name, _)) if !name.is_empty() && !line.contains(['\r', '\n']) => template(line),
            _ => Err(format!("{line:?} is not a header field; expected 'Name: value'")),
        })
        .collect()
}

fn is_overridden(known: &str, by: &[String]) -> bool {
    let name = |line: &str| line.split(':').next().unwrap_or_default().to_ascii_lowercase();
    by.iter().any(|line| name(line) == name(known))
}

fn mark(flag: &str, text: &str) -> Result<String, String> {
    let text = text.replace("\\n", "\n");
    match text.len() {
        1..=200 => Ok(text),
        length => Err(format!("{flag} has {length} bytes; expected 1 to 200")),
    }
}
