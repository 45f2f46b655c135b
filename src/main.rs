//! The command: flags, a file, and a server.
//!
//! Knows: what people type. Never learns how anything is served.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Args, Parser, Subcommand};
use encke::config::{Address, ConfigError, DEFAULT_FILE, LogFormat, LogLevel, Settings};
use encke::shell;

#[derive(Parser)]
#[command(version, about = ABOUT, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
#[command(disable_help_flag = true, disable_help_subcommand = true)]
struct Command {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    flags: Flags,
    // One help for both flags, short enough to be read.
    /// Print this help
    #[arg(short, long, global = true, action = ArgAction::HelpShort)]
    help: Option<bool>,
}

const ABOUT: &str = "\
Encke holds very many idle HTTP connections and pushes to them: a comet server, in one thread.
Browsers subscribe by iframe, long poll, EventSource or WebSocket; whoever can POST, publishes.";

const EXAMPLES: &str = "\
Examples:
  encke                                   serve the demos on http://127.0.0.1:8080/
  encke --static ./www --listen 9000      my own pages, on another port
  encke --listen 0.0.0.0:80 --open        for everybody, who may all publish
  encke config > encke.toml               every setting and limit, explained
  encke --config encke.toml

Subscribe and publish:
  curl -N 'http://127.0.0.1:8080/channels/news?as=events'
  curl -d 'hello' http://127.0.0.1:8080/channels/news";

#[derive(Subcommand)]
enum Action {
    /// Serve until told to stop (the same as no command)
    Serve(Flags),
    /// Print the default configuration file, with every setting explained
    Config,
    /// Measure a comet server: this one, or any other
    #[cfg(feature = "bench")]
    Bench(Box<encke::bench::Options>),
}

/// What may be said on the command line; it wins over the file.
#[derive(Args)]
struct Flags {
    /// Listen here, not on 127.0.0.1:8080: [::1]:80, 8080, unix:PATH; repeatable
    #[arg(long, value_name = "ADDR", help_heading = "Serving")]
    listen: Vec<Address>,

    /// Share the TCP ports with other processes that say so; each has its own channels
    #[arg(long, help_heading = "Serving")]
    reuse_port: bool,

    /// Hand messages for many to the kernel at once, by io_uring (an experiment)
    #[arg(long, help_heading = "Running")]
    io_uring: bool,

    /// Serve the files of this directory, before the embedded pages
    #[arg(long = "static", value_name = "DIR", help_heading = "Serving")]
    static_dir: Option<PathBuf>,

    /// Keep messages in this directory, so that they outlive the process
    #[arg(long, value_name = "DIR", help_heading = "Running")]
    data: Option<PathBuf>,

    /// A name by which browsers may reach this server; "*" for any; repeatable
    #[arg(long = "host", value_name = "NAME", help_heading = "Serving")]
    hosts: Vec<String>,

    /// Let everybody who can reach a public address publish there
    #[arg(long, help_heading = "Serving")]
    open: bool,

    /// Echo at /lab/echo what a WebSocket says, for test suites
    #[arg(long, help_heading = "Serving")]
    lab: bool,

    /// Read settings from this file
    #[arg(long, value_name = "FILE", help_heading = "Running")]
    config: Option<PathBuf>,

    /// Hold at most this many connections; 0: what the descriptor limit allows
    #[arg(long, value_name = "N", help_heading = "Running")]
    max_connections: Option<u32>,

    /// Log this and what is worse: error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL", hide_possible_values = true, help_heading = "Running")]
    log_level: Option<LogLevel>,

    /// Log text for people, or json for programs
    #[arg(long, value_name = "FORMAT", hide_possible_values = true, help_heading = "Running")]
    log_format: Option<LogFormat>,
}

fn main() -> ExitCode {
    let command = Command::parse();
    match command.action {
        Some(Action::Config) => print(DEFAULT_FILE),
        #[cfg(feature = "bench")]
        Some(Action::Bench(options)) => encke::bench::run(&options),
        Some(Action::Serve(flags)) => serve(flags),
        None => serve(command.flags),
    }
}

fn serve(flags: Flags) -> ExitCode {
    let settings = match flags.settle() {
        Ok(settings) => settings,
        Err(error) => return fail(error),
    };
    shell::logs::install(settings.log_level, settings.log_format);
    match shell::serve(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error),
    }
}

impl Flags {
    /// The file's settings, or the defaults, with the flags laid over them.
    fn settle(self) -> Result<Settings, ConfigError> {
        let mut settings = match &self.config {
            Some(path) => Settings::load(path)?,
            None => Settings::default(),
        };
        if !self.listen.is_empty() {
            settings.listen = self.listen;
        }
        if !self.hosts.is_empty() {
            settings.hosts = self.hosts;
        }
        settings.reuse_port |= self.reuse_port;
        settings.io_uring |= self.io_uring;
        settings.open |= self.open;
        settings.lab |= self.lab;
        settings.data = self.data.or(settings.data);
        settings.static_dir = self.static_dir.or(settings.static_dir);
        settings.limits.connections_max = self.max_connections.unwrap_or(settings.limits.connections_max);
        settings.log_level = self.log_level.unwrap_or(settings.log_level);
        settings.log_format = self.log_format.unwrap_or(settings.log_format);
        settings.validate()?;
        Ok(settings)
    }
}

fn fail(error: impl Display) -> ExitCode {
    // Nobody may be listening; the exit code says it as well.
    let _ = writeln!(io::stderr(), "encke: {error}");
    ExitCode::from(2)
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        // `encke config | head` has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(error),
        _ => ExitCode::SUCCESS,
    }
}
