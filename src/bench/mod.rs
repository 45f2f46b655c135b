//! The load generator, `encke bench`: what a comet server does when very many listen.
//!
//! It asks any server over HTTP and shares nothing with ours but the kit and the wire. A message is
//! known again by the stamp that the publisher put into it, so every framing will do. Everything
//! that is due is worked out beforehand (`plan`), and latencies count from when something was
//! *due*, not from when we got round to it: a server that stalls for a second has made everybody
//! wait who was due in that second.
//!
//! In this order it makes sense: `stamp` and `answer`, what is sent and what comes back; `order`,
//! what counts as lost; `worker::person`, one subscriber; `worker::crowd` and `worker::speaker`,
//! all of them and the publisher; `conduct`, the phases of a run; `report`, what comes out.
//!
//! Knows: mio, `/proc`, other servers' manners. Never learns how ours works.

mod alarm;
mod answer;
mod checks;
mod clock;
mod conduct;
mod fleet;
mod marks;
mod meter;
mod options;
mod order;
mod orders;
mod plan;
mod preset;
mod report;
mod server;
mod source;
mod stamp;
mod tally;
mod template;
mod ticks;
mod warm_up;
mod worker;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use checks::{Check, Machine, Verdict};
use conduct::Manner;
use plan::Plan;
use report::Report;
use server::Server;

pub use options::Options;

/// Measures, and says how it went: 0 measured, 1 something was lost and `--strict` was given, 2 not measured.
pub fn run(options: &Options) -> ExitCode {
    if options.worker {
        return worker::run();
    }
    match measure(options) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "encke bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn measure(options: &Options) -> Result<ExitCode, String> {
    let plan = options.plan()?;
    let server = match options.server_pids.as_slice() {
        [] => None,
        pids => Some(Server::new(pids)?),
    };
    let machine = Machine::look(server.as_ref());
    let workers = workers(options, &plan, &machine)?;
    let checks = machine.check(&plan, workers.into(), options.storms());
    let is_fatal = checks.iter().any(|check| check.verdict == Verdict::Fatal);
    if options.check_only {
        let all: String = checks.iter().map(sentence).collect();
        write(Path::new("-"), &all)?;
        return Ok(ExitCode::from(if is_fatal { 2 } else { 0 }));
    }
    for check in checks.iter().filter(|check| check.verdict != Verdict::Fine) {
        let _ = io::stderr().write_all(sentence(check).as_bytes());
    }
    if is_fatal {
        return Err("this machine is not ready for the run; see above".into());
    }
    warm_up::run(&plan)?;
    let manner =
        Manner { workers, storms: options.storms(), settle: options.settle, patience: options.patience };
    let record = conduct::run(&plan, manner, server.as_ref()).map_err(|error| error.to_string())?;
    let report = Report::new(&plan, &record, &machine, checks, server.as_ref(), options.preset_name());
    if record.listening == 0 && !record.interrupted {
        return Err(report.why_nobody_listened());
    }
    deliver(options, &report)?;
    Ok(ExitCode::from(u8::from(options.strict && !report.is_exact())))
}

/// As few workers as hold the connections, or as many as were asked for.
fn workers(options: &Options, plan: &Plan, machine: &Machine) -> Result<u32, String> {
    const MOST: u32 = 256;
    let needed = u64::from(plan.connections).div_ceil(machine.connections_per_worker());
    let workers = options.workers.map_or(needed, u64::from);
    match u32::try_from(workers) {
        Ok(workers @ 1..=MOST) => Ok(workers.min(plan.connections)),
        _ => Err(format!("{workers} workers; expected 1 to {MOST}. Raise ulimit -n, or change --workers")),
    }
}

fn sentence(check: &Check) -> String {
    let Check { name, verdict, found, advice } = check;
    match verdict {
        Verdict::Fine => format!("fine     {name}: {found}\n"),
        Verdict::Warning => format!("warning  {name}: {found}\n         {advice}\n"),
        Verdict::Fatal => format!("fatal    {name}: {found}\n         {advice}\n"),
    }
}

/// Hands out the results in every form that was asked for.
fn deliver(options: &Options, report: &Report) -> Result<(), String> {
    let json_to_stdout = options.json.as_deref() == Some(Path::new("-"));
    if !json_to_stdout {
        write(Path::new("-"), &report::table::render(report))?;
    }
    if let Some(path) = &options.json {
        let mut text = serde_json::to_string_pretty(report).map_err(|error| error.to_string())?;
        text.push('\n');
        write(path, &text)?;
    }
    if let Some(path) = &options.html {
        write(path, &report::page::render(report))?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let written = match path {
        path if path == Path::new("-") => io::stdout().write_all(text.as_bytes()),
        path => fs::write(path, text),
    };
    written.map_err(|error| format!("cannot write {}: {error}", path.display()))
}
