//! The process that is measured: encke, or the floor.
//!
//! Knows: how to start it, `/proc`. Never learns what it sends.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// The server's core. The listeners have the other one.
const CORE: &str = "0";

/// What encke runs with: nothing that a measurement of something else would meet by accident.
const SETTINGS: &str = "heartbeat = \"0s\"\n[limits]\nbulk-bytes-max = \"4MiB\"\n";

/// A running server. Ends when this is dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// Opened when it is first needed: a server parts from who connects and says nothing.
    publisher: Option<TcpStream>,
}

impl Server {
    /// The binary that was just built.
    pub fn encke() -> Self {
        let settings = directory().join("encke-of-fanout.toml");
        fs::write(&settings, SETTINGS).expect("the target directory can be written to");
        let settings = settings.to_str().expect("a path of ours");
        let arguments = ["--listen", "127.0.0.1:0", "--log-level", "error", "--config", settings];
        Server::start(env!("CARGO_BIN_EXE_encke"), &arguments)
    }

    /// The C program in benches/floor, compiled now.
    pub fn floor() -> Self {
        let binary = directory().join("floor-of-fanout");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/floor/floor.c");
        let compiled = Command::new("cc").args(["-O2", "-o"]).arg(&binary).arg(source).status();
        assert!(compiled.is_ok_and(|status| status.success()), "the floor needs a C compiler");
        Server::start(binary.to_str().expect("a path of ours"), &[])
    }

    fn start(binary: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new("taskset")
            .args(["-c", CORE, binary])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("taskset is part of util-linux");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        let address =
            line.trim().rsplit_once("http://").and_then(|(_, rest)| rest.trim_end_matches('/').parse().ok());
        let address = address.unwrap_or_else(|| panic!("not an announcement: {line:?}"));
        Server { child, address, publisher: None }
    }

    /// Asks for something with a body. Whoever asks reads the [`answer`](Server::answer) before he asks again.
    pub fn ask(&mut self, method: &str, target: &str, kind: &str, body: &[u8]) {
        let length = body.len();
        let mut request = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.publisher().write_all(&request).expect("it reads");
    }

    fn publisher(&mut self) -> &mut TcpStream {
        self.publisher.get_or_insert_with(|| {
            let publisher = TcpStream::connect(self.address).expect("it listens");
            publisher.set_nodelay(true).expect("it is TCP");
            publisher
        })
    }

    /// Waits for the answer; all of them are short enough to come in one piece or two.
    pub fn answer(&mut self) -> String {
        let mut answer = Vec::new();
        let mut scratch = vec![0; 1 << 16];
        loop {
            let n = self.publisher().read(&mut scratch).expect("it answers");
            assert!(n > 0, "the server closed the publisher's connection");
            answer.extend_from_slice(&scratch[..n]);
            let text = String::from_utf8_lossy(&answer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            if body.len() >= length.and_then(|length| length.trim().parse().ok()).unwrap_or(0) {
                return text.into_owned();
            }
        }
    }

    /// Its share of physical memory: what it shares with other processes counts in part.
    pub fn pss_bytes(&self) -> i64 {
        let rollup = self.proc("smaps_rollup");
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).expect("the kernel tells");
        first_number(line) * 1024
    }

    /// CPU time of its one thread, in nanoseconds, once it has nothing more to do.
    pub fn cpu_ns(&self) -> i64 {
        let mut before = -1;
        loop {
            let now = first_number(&self.proc("schedstat"));
            if now == before {
                return now;
            }
            before = now;
            thread::sleep(Duration::from_millis(3));
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.id())).expect("it lives")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn first_number(text: &str) -> i64 {
    text.split_whitespace().next().and_then(|number| number.parse().ok()).expect("the kernel counts")
}

/// Where what is built for a measurement goes.
fn directory() -> PathBuf {
    let own = std::env::current_exe().expect("it runs");
    own.parent().expect("it lies in a directory").to_owned()
}
