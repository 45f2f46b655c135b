//! The real server, as a process of its own: started, killed, started again.
//!
//! Knows: how `encke` is called, the first line that it prints, how to publish and to count. Never
//! learns what is on its pages.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A configuration file. Ends when this value does.
pub(crate) struct Config(String);

impl Config {
    pub(crate) fn new(text: &str) -> Config {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (process, nth) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(format!("encke-pages-{process}-{nth}.toml"));
        std::fs::write(&path, text).expect("the folder for temporary files can be written to");
        Config(path.to_str().expect("a plain path").to_owned())
    }

    pub(crate) fn path(&self) -> &str {
        &self.0
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A running `encke`. Ends, by its process id, when this value does.
pub(crate) struct Server {
    child: Child,
    /// Held, so that what the server still prints has somewhere to go.
    _stdout: BufReader<ChildStdout>,
    port: u16,
    more_args: Vec<String>,
}

impl Server {
    /// Starts a server on a free port, with its embedded pages.
    pub(crate) fn start() -> Server {
        Server::start_with(&[])
    }

    /// The same with further arguments, such as `--static DIR`.
    pub(crate) fn start_with(more_args: &[&str]) -> Server {
        Server::on_port(0, more_args.iter().map(|arg| arg.to_string()).collect())
    }

    /// The address of a page: `path` begins with `/`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Where it listens on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Publishes without a browser; returns when the message is in the log.
    pub(crate) fn publish(&self, channel: &str, text: &str) {
        let answer = self.exchange("POST", &format!("/channels/{channel}"), text);
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    }

    /// Forgets what was said in a channel.
    pub(crate) fn forget(&self, channel: &str) {
        let answer = self.exchange("DELETE", &format!("/channels/{channel}"), "");
        assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
    }

    /// How many subscribers the server has by this transport.
    pub(crate) fn subscribers(&self, transport: &str) -> u64 {
        let answer = self.exchange("GET", "/stats", "");
        let json = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let stats: Value = serde_json::from_str(json).expect("the stats are JSON");
        stats["subscribers"][transport].as_u64().expect("the stats count subscribers by transport")
    }

    /// One request on a connection of its own, and all of the answer.
    fn exchange(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the server takes connections");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        )
        .expect("a small request fits the socket");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the answer is text, and ends");
        answer
    }

    /// Ends the server at once (SIGKILL): its sockets are closed by the kernel, nobody says goodbye.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child of ours can be killed");
        self.child.wait().expect("a child of ours can be waited for");
    }

    /// Tells the server to leave (SIGTERM), and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.child.wait().expect("a child of ours can be waited for");
    }

    /// Starts it again after `kill`, on the port that its clients know.
    pub(crate) fn start_again(&mut self) {
        *self = Server::on_port(self.port, std::mem::take(&mut self.more_args));
    }

    /// Stops the process where it stands: its connections stay open, and nothing comes out of them.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen process go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a child of ours can be signalled");
    }

    fn on_port(port: u16, more_args: Vec<String>) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_encke"))
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(&more_args)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary that cargo has just built starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut greeting = String::new();
        stdout.read_line(&mut greeting).expect("the first line is text");
        let port = greeting
            .trim_end()
            .strip_suffix('/')
            .and_then(|line| line.rsplit_once(" listening on http://127.0.0.1:"))
            .and_then(|(_, port)| port.parse().ok());
        match port {
            Some(port) => Server { child, _stdout: stdout, port, more_args },
            None => {
                let _ = child.kill();
                panic!("the server's first line should say where it listens; it is {greeting:?}");
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that it has ended already, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
