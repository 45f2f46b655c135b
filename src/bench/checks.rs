//! Checks before a run: what this machine would stop us at, and how to change that.
//!
//! A load test that fails halfway because of a limit of the client says nothing about the server, and says
//! it in a riddle. So the limits are read first, compared with the plan, and named with their remedy.
//!
//! Knows: limits and numbers. Never learns what is measured.

use std::fs;
use std::thread::available_parallelism;

use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use super::plan::Plan;
use super::server::Server;

/// Descriptors of a worker that are no connections.
const OTHERS: u64 = 32;

/// What TCP may take for a connection with nothing unread, in bytes: both ends, rounded up.
const BYTES_PER_CONNECTION: u64 = 2 * 1_024;

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) verdict: Verdict,
    pub(super) found: String,
    /// What to do; empty when nothing is to be done.
    pub(super) advice: String,
}

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Fine,
    /// The figures may be worse than the server deserves.
    Warning,
    /// The run cannot succeed.
    Fatal,
}

/// What this machine allows.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) cores: u64,
    pub(super) kernel: String,
    /// Descriptors of a process, hard limit.
    pub(super) descriptors: u64,
    /// Descriptors of the server, if it is known.
    pub(super) server_descriptors: Option<u64>,
    pub(super) somaxconn: u64,
    pub(super) ports: (u64, u64),
    /// Pages from which on TCP refuses memory.
    pub(super) tcp_pages: u64,
    /// Connections that the firewall can track, if it does, and those it tracks now.
    pub(super) conntrack: Option<(u64, u64)>,
}

impl Machine {
    pub(super) fn look(server: Option<&Server>) -> Self {
        let read = |path: &str| fs::read_to_string(format!("/proc/sys/{path}")).unwrap_or_default();
        let numbers = |path: &str| -> Vec<u64> {
            read(path).split_whitespace().filter_map(|number| number.parse().ok()).collect()
        };
        let number = |path: &str| numbers(path).first().copied();
        let ports = numbers("net/ipv4/ip_local_port_range");
        Machine {
            cores: available_parallelism().map_or(1, |n| n.get() as u64),
            kernel: read("kernel/osrelease").trim().to_owned(),
            descriptors: getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
            server_descriptors: server.and_then(Server::descriptors),
            somaxconn: number("net/core/somaxconn").unwrap_or(u64::MAX),
            ports: (ports.first().copied().unwrap_or(32_768), ports.get(1).copied().unwrap_or(60_999)),
            tcp_pages: numbers("net/ipv4/tcp_mem").get(2).copied().unwrap_or(u64::MAX),
            conntrack: number("net/netfilter/nf_conntrack_max")
                .zip(number("net/netfilter/nf_conntrack_count")),
        }
    }

    /// Connections that one worker can hold.
    pub(super) fn connections_per_worker(&self) -> u64 {
        self.descriptors.saturating_sub(OTHERS).max(1)
    }

    /// Compares the plan with what there is.
    pub(super) fn check(&self, plan: &Plan, workers: u64, storms: u32) -> Vec<Check> {
        let mut checks = vec![
            self.descriptors(plan, workers),
            self.server(plan),
            self.backlog(plan, storms),
            self.ports(plan),
            self.tcp_memory(plan),
            self.cores(workers + u64::from(plan.say.is_some())),
        ];
        checks.extend(self.conntrack.map(|(most, now)| conntrack(plan, most, now)));
        checks
    }

    fn descriptors(&self, plan: &Plan, workers: u64) -> Check {
        let needed = u64::from(plan.connections).div_ceil(workers.max(1)) + OTHERS;
        let found =
            format!("a process may have {} descriptors; each worker needs {needed}", self.descriptors);
        let advice = format!(
            "raise the hard limit (ulimit -Hn {needed}; for good in /etc/security/limits.conf), or more --workers"
        );
        if needed > self.descriptors {
            return verdict("descriptors", Verdict::Fatal, found, advice);
        }
        verdict("descriptors", Verdict::Fine, found, String::new())
    }

    fn server(&self, plan: &Plan) -> Check {
        let needed = u64::from(plan.connections) + OTHERS;
        // A server that was started from the same shell has no more than we have.
        let (most, whose) = match self.server_descriptors {
            Some(most) => (most, "the server may have"),
            None => (self.descriptors, "a server that is started here may have"),
        };
        let found = format!("{whose} {most} descriptors; in one process it needs {needed}");
        let advice =
            format!("start it where ulimit -Hn says {needed} or more, or let it have several processes");
        let is_short = most < needed && plan.address.ip().is_loopback();
        verdict("server", if is_short { Verdict::Warning } else { Verdict::Fine }, found, advice)
    }

    fn backlog(&self, plan: &Plan, storms: u32) -> Check {
        // A server that looks away for a tenth of a second must not lose anybody, and a storm comes at once.
        let wanted = if storms > 0 { u64::from(plan.connections) } else { (plan.ramp_per_s / 10.0) as u64 };
        let found = format!("net.core.somaxconn is {}; {wanted} may wait to be accepted", self.somaxconn);
        let advice = format!(
            "who finds the queue full asks again after 1, 3, 7 s: sysctl -w net.core.somaxconn={wanted}, and restart \
             the server"
        );
        let is_short = self.somaxconn < wanted && plan.address.ip().is_loopback();
        verdict("somaxconn", if is_short { Verdict::Warning } else { Verdict::Fine }, found, advice)
    }

    fn ports(&self, plan: &Plan) -> Check {
        let ports = (self.ports.1 + 1).saturating_sub(self.ports.0);
        let sources = u64::from(plan.sources.max(1));
        let needed = u64::from(plan.connections).div_ceil(sources);
        let found =
            format!("{ports} ports for each of {sources} source addresses; {needed} connections from each");
        let more = u64::from(plan.connections).div_ceil((ports / 4).max(1));
        match needed {
            _ if needed > ports => {
                let advice =
                    format!("--sources {more}, or sysctl -w net.ipv4.ip_local_port_range='1024 65535'");
                verdict("ports", Verdict::Fatal, found, advice)
            }
            // Whoever leaves keeps its port for a minute.
            _ if needed * 2 > ports => verdict(
                "ports",
                Verdict::Warning,
                found,
                format!("for churn and storms rather --sources {more}"),
            ),
            _ => verdict("ports", Verdict::Fine, found, String::new()),
        }
    }

    fn tcp_memory(&self, plan: &Plan) -> Check {
        let needed = u64::from(plan.connections) * BYTES_PER_CONNECTION / 4_096;
        let found =
            format!("net.ipv4.tcp_mem ends at {} pages; unread data may need {needed}", self.tcp_pages);
        let advice = format!("sysctl -w net.ipv4.tcp_mem='{needed} {} {}'", needed * 2, needed * 4);
        let verdict_ = if needed > self.tcp_pages { Verdict::Warning } else { Verdict::Fine };
        verdict("tcp_mem", verdict_, found, advice)
    }

    fn cores(&self, processes: u64) -> Check {
        let found = format!("{} cores; the load comes from {processes} processes", self.cores);
        let advice =
            "server and client share cores: read latencies as upper bounds, and look at the client's share"
                .to_owned();
        let verdict_ = if self.cores <= processes { Verdict::Warning } else { Verdict::Fine };
        verdict("cores", verdict_, found, advice)
    }
}

fn conntrack(plan: &Plan, most: u64, now: u64) -> Check {
    let needed = now + u64::from(plan.connections) * 2;
    let found =
        format!("the firewall tracks {now} of at most {most} connections; {needed} with those of a run");
    let advice = format!(
        "sysctl -w net.netfilter.nf_conntrack_max={needed}, or do not track loopback \
         (iptables -t raw -A OUTPUT -o lo -j NOTRACK)"
    );
    verdict("conntrack", if needed > most { Verdict::Fatal } else { Verdict::Fine }, found, advice)
}

fn verdict(name: &'static str, verdict: Verdict, found: String, advice: String) -> Check {
    let advice = if verdict == Verdict::Fine { String::new() } else { advice };
    Check { name, verdict, found, advice }
}
