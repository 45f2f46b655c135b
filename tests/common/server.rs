//! The server as a process: started, watched through `/proc`, ended by its id.
//!
//! Knows: the command line, the listening lines, `/proc/PID`. Never learns HTTP.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use super::{Scratch, holds_within, until};

/// How a server is to be started. `Setup::default().start()` is `encke --listen 127.0.0.1:0`.
#[derive(Default)]
pub struct Setup {
    listen: Vec<String>,
    args: Vec<String>,
    settings: String,
    limits: String,
    tables: String,
    /// An option of `ulimit`, and its value.
    ulimit: Option<(&'static str, u32)>,
}

impl Setup {
    /// Another listener than the default one; may be repeated.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen.push(address.into());
        self
    }

    /// A further argument as it is.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// A line at the top of the configuration file. `value` is TOML: strings bring their quotes.
    pub fn setting(mut self, key: &str, value: &str) -> Self {
        self.settings.push_str(&format!("{key} = {value}\n"));
        self
    }

    /// A line under `[limits]` in the configuration file.
    pub fn limit(mut self, key: &str, value: &str) -> Self {
        self.limits.push_str(&format!("{key} = {value}\n"));
        self
    }

    /// Lines at the end of the configuration file: a `[[channel]]`, a `[[ticker]]`.
    pub fn table(mut self, lines: &str) -> Self {
        self.tables.push_str(lines);
        self
    }

    /// Lays the directory over the embedded pages.
    pub fn pages(self, directory: &Path) -> Self {
        self.arg("--static").arg(directory.to_str().expect("scratch paths are plain"))
    }

    /// Keeps the log in a directory.
    pub fn data(self, directory: &Path) -> Self {
        self.arg("--data").arg(directory.to_str().expect("scratch paths are plain"))
    }

    /// How many descriptors the process may have (soft and hard limit).
    pub fn descriptors(mut self, most: u32) -> Self {
        self.ulimit = Some(("-n", most));
        self
    }

    /// How many it may have at first; it may raise that itself.
    pub fn soft_descriptors(mut self, at_first: u32) -> Self {
        self.ulimit = Some(("-Sn", at_first));
        self
    }

    /// How large its files may become, in KiB: a disk that is soon full. Writing more fails.
    pub fn soft_file_kib(mut self, most: u32) -> Self {
        self.ulimit = Some(("-Sf", 2 * most));
        self
    }

    /// Starts the server and waits until it listens.
    pub fn start(self) -> Server {
        let listeners = self.listen.len().max(1);
        let mut server = self.launch();
        until("the server has announced its listeners", || {
            if let Some(status) = server.child.try_wait().expect("the child is ours") {
                panic!("the server ended with {status} at start: {}", server.stderr());
            }
            server.stdout().matches('\n').count() >= listeners
        });
        server.lines = server.stdout().lines().map(str::to_owned).collect();
        server
    }

    /// Starts a server that is expected to give up, and returns its exit code and what it said on stderr.
    pub fn fails(self) -> (Option<i32>, String) {
        let mut server = self.launch();
        let status = server.exit();
        (status.code(), server.stderr())
    }

    fn launch(self) -> Server {
        let scratch = Scratch::new();
        let binary = env!("CARGO_BIN_EXE_encke");
        let mut command = match self.ulimit {
            None => Command::new(binary),
            Some((option, most)) => {
                let mut shell = Command::new("sh");
                // A file that is too large is to be an error, and not the end.
                let script = format!("trap '' XFSZ; ulimit {option} {most}; exec \"$0\" \"$@\"");
                shell.arg("-c").arg(script).arg(binary);
                shell
            }
        };
        let listen = if self.listen.is_empty() { vec!["127.0.0.1:0".to_owned()] } else { self.listen };
        for address in listen {
            command.arg("--listen").arg(address);
        }
        let config = format!("{}[limits]\n{}{}", self.settings, self.limits, self.tables);
        if config != "[limits]\n" {
            command.arg("--config").arg(scratch.write("encke.toml", config));
        }
        let (out, err) = (scratch.path().join("stdout"), scratch.path().join("stderr"));
        let child = command
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(File::create(&out).expect("the scratch is writable"))
            .stderr(File::create(&err).expect("the scratch is writable"))
            .spawn()
            .expect("the binary was built");
        Server { child, lines: Vec::new(), out, err, ended: false, _scratch: scratch }
    }
}

/// A running server. Dropping it kills it, and fails the test if it had died before.
pub struct Server {
    child: Child,
    /// The announcements, one for each listener.
    pub lines: Vec<String>,
    out: PathBuf,
    err: PathBuf,
    ended: bool,
    _scratch: Scratch,
}

impl Server {
    /// With every default.
    pub fn start() -> Self {
        Setup::default().start()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The address of the first TCP listener, as announced.
    pub fn address(&self) -> SocketAddr {
        self.address_in(0)
    }

    /// The address in the `n`th announcement: `encke VERSION listening on http://ADDRESS/`.
    pub fn address_in(&self, n: usize) -> SocketAddr {
        let line = &self.lines[n];
        let address = line
            .split_once(" listening on http://")
            .and_then(|(_, rest)| rest.strip_suffix('/'))
            .unwrap_or_else(|| panic!("not an announcement: {line}"));
        address.parse().unwrap_or_else(|_| panic!("not an address: {line}"))
    }

    pub fn stdout(&self) -> String {
        fs::read_to_string(&self.out).expect("stdout was redirected to it")
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.err).expect("stderr was redirected to it")
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.process(), signal).expect("the child has not been waited for");
    }

    /// Changes how many descriptors the running process may have.
    pub fn allow_descriptors(&self, most: u64) {
        // The hard limit stays, or it could not be lifted again.
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit { current: Some(most), maximum };
        prlimit(Some(self.process()), Resource::Nofile, limit).expect("the child is ours");
    }

    /// The disk is large again.
    pub fn allow_files(&self) {
        let maximum = getrlimit(Resource::Fsize).maximum;
        let limit = Rlimit { current: maximum, maximum };
        prlimit(Some(self.process()), Resource::Fsize, limit).expect("the child is ours");
    }

    fn process(&self) -> Pid {
        Pid::from_raw(self.pid() as i32).expect("a child has an id")
    }

    /// Ends it at once: nothing is said, and nothing more is written.
    pub fn kill(mut self) {
        self.signal(Signal::KILL);
        self.exit();
    }

    /// Waits for the end of the process.
    pub fn exit(&mut self) -> ExitStatus {
        self.ended = true;
        let mut status = None;
        until("the server exits", || {
            status = self.child.try_wait().expect("the child is ours");
            status.is_some()
        });
        status.expect("until() waited for it")
    }

    /// Whether the process is gone already.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the child is ours").is_some()
    }

    /// How many descriptors the process has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).map(Iterator::count).unwrap_or(0)
    }

    /// The number its next descriptor will have. It counts, not their number: some are inherited, and lie far out.
    pub fn free_descriptor(&self) -> u64 {
        let taken = |n: &u64| fs::symlink_metadata(format!("/proc/{}/fd/{n}", self.pid())).is_ok();
        (0..).find(|n| !taken(n)).expect("numbers do not end")
    }

    /// How often the process went to sleep because it had nothing to do.
    pub fn naps(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }

    /// Threads of the process.
    pub fn threads(&self) -> u64 {
        fs::read_dir(format!("/proc/{}/task", self.pid())).map_or(0, |tasks| tasks.count() as u64)
    }

    /// CPU time used so far, user and system, in clock ticks (100 a second).
    pub fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        // The command's name is in parentheses and may hold anything; utime and stime are the
        // 12th and 13th fields behind it.
        let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        behind_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum()
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|size| size.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    }

    /// Memory in KiB, shared pages counted in part: what the process really costs.
    pub fn proportional_kib(&self) -> u64 {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid())).unwrap_or_default();
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        line.and_then(|size| size.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    }

    /// Waits until the server has slept again since it had slept `naps` times: it has then read
    /// what was sent in between. Only a pacing aid, so it gives up quietly: a server that was
    /// awake when the bytes came needs no further nap to read them.
    pub fn rests_after(&self, naps: u64) {
        holds_within(Duration::from_millis(20), || self.naps() != naps);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let died = !self.ended && self.has_ended();
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server's last words:\n{}", self.stderr());
        } else {
            assert!(!died, "the server died during the test: {}", self.stderr());
        }
    }
}
