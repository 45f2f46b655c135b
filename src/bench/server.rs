//! The server, seen through `/proc`.
//!
//! Processor time, context switches and memory of a process and all that it has started: a server may be one
//! process, or one for each visitor. What the kernel keeps for sockets is nobody's and is read from the whole
//! machine; with both ends here, it is twice a connection's.
//!
//! Knows: the files of `/proc`. Never learns what the server is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};
use serde::Serialize;

/// What a server has used so far, or holds now.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Usage {
    pub(super) user_us: u64,
    pub(super) system_us: u64,
    pub(super) voluntary_switches: u64,
    pub(super) involuntary_switches: u64,
    /// How long it was ready to run and had no core.
    pub(super) waited_us: u64,
}

impl Usage {
    pub(super) fn cpu_us(&self) -> u64 {
        self.user_us + self.system_us
    }

    pub(super) fn since(&self, before: &Usage) -> Usage {
        Usage {
            user_us: self.user_us.saturating_sub(before.user_us),
            system_us: self.system_us.saturating_sub(before.system_us),
            voluntary_switches: self.voluntary_switches.saturating_sub(before.voluntary_switches),
            involuntary_switches: self.involuntary_switches.saturating_sub(before.involuntary_switches),
            waited_us: self.waited_us.saturating_sub(before.waited_us),
        }
    }
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Memory {
    /// Of the server's processes, shared pages counted in part.
    pub(super) pss: u64,
    /// Of all of the kernel's small objects.
    pub(super) slab: u64,
    /// Of those that are a socket's alone; zero where one may not look (`/proc/slabinfo` is root's).
    pub(super) sockets: u64,
    /// What TCP holds for data that nobody has read yet.
    pub(super) tcp: u64,
}

/// The processes of a server.
pub(super) struct Server {
    roots: Vec<u32>,
}

impl Server {
    /// # Errors
    /// A sentence, if there is no such process.
    pub(super) fn new(roots: &[u32]) -> Result<Self, String> {
        match roots.iter().find(|pid| fs::metadata(format!("/proc/{pid}")).is_err()) {
            Some(pid) => {
                Err(format!("there is no process {pid}; --server-pid takes the id of the server's process"))
            }
            None => Ok(Server { roots: roots.to_vec() }),
        }
    }

    pub(super) fn pids(&self) -> &[u32] {
        &self.roots
    }

    /// The roots and whatever they have started.
    fn family(&self) -> BTreeSet<u32> {
        let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        for pid in all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
            if let Some(parent) = stat_field(pid, PARENT) {
                children.entry(parent as u32).or_default().push(pid);
            }
        }
        let (mut family, mut ahead) = (BTreeSet::new(), self.roots.clone());
        while let Some(pid) = ahead.pop() {
            if family.insert(pid) {
                ahead.extend(children.get(&pid).into_iter().flatten());
            }
        }
        family
    }

    pub(super) fn usage(&self) -> Usage {
        let mut sum = Usage::default();
        for pid in self.family() {
            let tick_us = 1_000_000 / clock_ticks_per_second().max(1);
            let times = [USER, SYSTEM].map(|field| stat_field(pid, field).unwrap_or(0) * tick_us);
            let mut exact_us = 0;
            for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
                sum.voluntary_switches += line(&status, "voluntary_ctxt_switches:");
                sum.involuntary_switches += line(&status, "nonvoluntary_ctxt_switches:");
                let schedule = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                let mut numbers = schedule.split_whitespace().map(|n| n.parse().unwrap_or(0_u64) / 1_000);
                exact_us += numbers.next().unwrap_or(0);
                sum.waited_us += numbers.next().unwrap_or(0);
            }
            // The sum is exact, its parts are counted in ticks: they are scaled to it.
            let [user, system] = times;
            let share = if user + system == 0 { 0.5 } else { user as f64 / (user + system) as f64 };
            let cpu = if exact_us == 0 { user + system } else { exact_us };
            sum.user_us += (cpu as f64 * share) as u64;
            sum.system_us += cpu - (cpu as f64 * share) as u64;
        }
        sum
    }

    pub(super) fn pss(&self) -> u64 {
        let rollup = |pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        self.family().into_iter().map(|pid| line(&rollup(pid), "Pss:") * 1_024).sum()
    }

    /// How many descriptors the most generous of its processes may have.
    pub(super) fn descriptors(&self) -> Option<u64> {
        let limits = |pid| fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
        self.family()
            .into_iter()
            .map(|pid| line(&limits(pid), "Max open files"))
            .max()
            .filter(|most| *most > 0)
    }

    pub(super) fn memory(&self) -> Memory {
        Memory { pss: self.pss(), ..kernel_memory() }
    }
}

/// What one process, of one thread, has used of a core, and how long it waited for one; both in microseconds.
pub(super) fn scheduled_us(pid: u32) -> (u64, u64) {
    let schedule = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    let mut numbers = schedule.split_whitespace().map(|n| n.parse().unwrap_or(0_u64) / 1_000);
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// What the kernel holds, for all of the machine.
pub(super) fn kernel_memory() -> Memory {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let sockets = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let tcp = sockets.lines().find_map(|line| line.strip_prefix("TCP:"));
    let pages = tcp.and_then(|line| line.split_whitespace().skip_while(|word| *word != "mem").nth(1));
    Memory {
        pss: 0,
        sockets: socket_bytes(&fs::read_to_string("/proc/slabinfo").unwrap_or_default()),
        slab: line(&meminfo, "Slab:") * 1_024,
        tcp: pages.and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * page_size() as u64,
    }
}

/// The kernel's caches that grow with each TCP socket and with little else.
const SOCKET_CACHES: [&str; 6] =
    ["TCP", "TCPv6", "sock_inode_cache", "filp", "eventpoll_epi", "eventpoll_pwq"];

/// Bytes in those caches. Directory entries are kept for files, too: of these, each socket has one.
fn socket_bytes(slabinfo: &str) -> u64 {
    let cache = |name: &str| -> (u64, u64) {
        let line = slabinfo.lines().find(|line| line.split_whitespace().next() == Some(name));
        let mut numbers = line.into_iter().flat_map(|line| line.split_whitespace().skip(1));
        let mut number = || numbers.next().and_then(|number| number.parse().ok()).unwrap_or(0);
        let active = number();
        // Objects in all, of which some are free.
        number();
        (active, number())
    };
    let own: u64 = SOCKET_CACHES.iter().map(|name| cache(name)).map(|(active, bytes)| active * bytes).sum();
    own + cache("sock_inode_cache").0 * cache("dentry").1
}

/// Fields of `/proc/PID/stat`, counted behind the command's name.
const PARENT: usize = 1;
const USER: usize = 11;
const SYSTEM: usize = 12;

fn stat_field(pid: u32, field: usize) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything.
    stat.rsplit_once(')')?.1.split_whitespace().nth(field)?.parse().ok()
}

/// The number behind this name, at the start of a line.
pub(super) fn line(text: &str, name: &str) -> u64 {
    let found = text.lines().find_map(|line| line.strip_prefix(name));
    found.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_looked_at() {
        let server = Server::new(&[std::process::id()]).expect("it lives");
        let usage = server.usage();
        assert!(usage.cpu_us() > 0 && usage.voluntary_switches + usage.involuntary_switches > 0, "{usage:?}");
        let memory = server.memory();
        assert!(memory.pss > 100_000 && memory.slab > 100_000, "{memory:?}");
    }

    #[test]
    fn sockets_are_told_from_files() {
        let slabinfo = "slabinfo - version: 2.1\n# name <active_objs> <num_objs> <objsize> …\n\
                        TCP 10 13 2368 13 8 : tunables\nsock_inode_cache 10 19 832 19 4 : tunables\n\
                        dentry 393914 414057 192 21 1 : tunables\n";
        assert_eq!(socket_bytes(slabinfo), 10 * (2_368 + 832 + 192));
        assert_eq!(socket_bytes(""), 0);
    }

    #[test]
    fn a_process_that_is_not_there_is_refused() {
        assert!(
            Server::new(&[u32::MAX]).is_err_and(|error| error.contains("there is no process 4294967295"))
        );
    }
}
