//! What is asked of the kernel: system calls of the binary, counted by strace.
//!
//! Needs the command `strace` (`make tools`) and a kernel that lets one process trace another; where it does
//! not, in some containers, these tests say so and count nothing.
//!
//! Knows: strace's summary. Never learns how long a call takes.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::common::{Client, Scratch, Server, Setup, holds_within, let_pass, until};

const SUBSCRIPTION: &str = "GET /channels/news?as=ndjson HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// How often each system call was made; those that were not are not there.
type Calls = BTreeMap<String, u64>;

/// strace, attached to a server.
struct Strace {
    child: Child,
    summary: PathBuf,
    _scratch: Scratch,
}

impl Strace {
    /// Counts from now on; `None` where that is not allowed.
    fn attach(server: &Server) -> Option<Self> {
        let scratch = Scratch::new();
        let (summary, errors) = (scratch.path().join("summary"), scratch.path().join("errors"));
        let child = Command::new("strace")
            .args(["-c", "-f", "-p", &server.pid().to_string(), "-o"])
            .arg(&summary)
            .stderr(fs::File::create(&errors).expect("the scratch is writable"))
            .stdin(Stdio::null())
            .spawn();
        let mut strace = match child {
            Ok(child) => Strace { child, summary, _scratch: scratch },
            Err(error) => return skip(&format!("strace cannot be started ({error}); try `make tools`")),
        };
        let said = || fs::read_to_string(&errors).expect("stderr was redirected to it");
        until("strace is attached or has given up", || {
            said().contains("attached") || strace.child.try_wait().expect("the child is ours").is_some()
        });
        if said().contains("attached") { Some(strace) } else { skip(&said()) }
    }

    /// Lets go of the server, and says what was counted.
    fn counts(mut self) -> Calls {
        let pid = Pid::from_raw(self.child.id() as i32).expect("a child has an id");
        kill_process(pid, Signal::INT).expect("the child has not been waited for");
        self.child.wait().expect("the child is ours");
        let summary = fs::read_to_string(&self.summary).expect("strace has written its summary");
        summary.lines().filter_map(row).filter(|(name, _)| name != "total").collect()
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `% time, seconds, usecs/call, calls, [errors,] syscall`
fn row(line: &str) -> Option<(String, u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let calls = words.get(3)?.parse().ok()?;
    Some((words.last()?.to_string(), calls))
}

fn skip<T>(why: &str) -> Option<T> {
    eprintln!("not counted: {}", why.trim());
    None
}

fn of(calls: &Calls, name: &str) -> u64 {
    calls.get(name).copied().unwrap_or(0)
}

/// Nothing but a delivery happens in it by itself.
fn quiet() -> Server {
    Setup::default().setting("heartbeat", "\"0s\"").start()
}

fn subscriber(server: &Server) -> Client {
    let mut client = Client::connect(server);
    client.send(SUBSCRIPTION);
    let head = client.take_through(b"\r\n\r\n");
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
    client
}

#[test]
fn a_delivery_is_one_sendto() {
    const SUBSCRIBERS: usize = 20;
    const MESSAGES: usize = 10;
    let server = quiet();
    let mut subscribers: Vec<Client> = (0..SUBSCRIBERS).map(|_| subscriber(&server)).collect();
    let mut publisher = Client::connect(&server);
    let mut publish = || {
        publisher.send("POST /channels/news HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(publisher.answer().status(), 201);
        subscribers.iter_mut().for_each(|subscriber| drop(subscriber.take_through(b"\n")));
    };
    // The first one sets the timer for the history's age.
    publish();
    let Some(strace) = Strace::attach(&server) else { return };
    (0..MESSAGES).for_each(|_| publish());
    let calls = strace.counts();
    let (deliveries, answers) = ((SUBSCRIBERS * MESSAGES) as u64, MESSAGES as u64);
    assert_eq!(of(&calls, "sendto"), deliveries + answers, "{calls:?}");
    for other in ["epoll_ctl", "setsockopt", "accept4", "timerfd_settime", "write", "writev", "sendmsg"] {
        assert_eq!(of(&calls, other), 0, "{other}: {calls:?}");
    }
}

#[test]
fn a_connection_is_accepted_registered_read_answered_and_closed() {
    const CYCLES: u64 = 50;
    let server = quiet();
    let mut witness = Client::connect(&server);
    assert_eq!(witness.get("/healthz").status(), 200);
    let before = server.descriptors();
    let Some(strace) = Strace::attach(&server) else { return };
    let all: Vec<Client> = (0..CYCLES).map(|_| subscriber(&server)).collect();
    all.into_iter().for_each(Client::vanish);
    until("all are closed", || server.descriptors() == before);
    // Only when the server has said something else has strace seen the last `close` return.
    assert_eq!(witness.get("/healthz").status(), 200);
    let calls = strace.counts();
    for (once, times) in [("epoll_ctl", CYCLES), ("close", CYCLES), ("sendto", CYCLES + 1)] {
        assert_eq!(of(&calls, once), times, "{once}: {calls:?}");
    }
    // Those behind the last one are told that there is no other.
    assert!((CYCLES..=2 * CYCLES).contains(&of(&calls, "accept4")), "{calls:?}");
    assert!((CYCLES..=2 * CYCLES + 2).contains(&of(&calls, "recvfrom")), "{calls:?}");
    for never in ["setsockopt", "getsockopt", "ioctl", "shutdown", "timerfd_settime"] {
        assert_eq!(of(&calls, never), 0, "{never}: {calls:?}");
    }
}

#[test]
fn a_message_is_on_the_disk_with_one_sync_and_an_idle_disk_with_none() {
    const MESSAGES: u64 = 10;
    let scratch = Scratch::new();
    let folder = scratch.path().join("data");
    let server = Setup::default().setting("heartbeat", "\"0s\"").data(&folder).start();
    let mut publisher = Client::connect(&server);
    // The first one begins the file beside the file.
    assert_eq!(publisher.post("/channels/news", "hello").status(), 201);
    let Some(strace) = Strace::attach(&server) else { return };
    for _ in 0..MESSAGES {
        assert_eq!(publisher.post("/channels/news", "hello").status(), 201);
    }
    let calls = strace.counts();
    assert_eq!(of(&calls, "fdatasync") + of(&calls, "fsync"), MESSAGES, "{calls:?}");
    let Some(strace) = Strace::attach(&server) else { return };
    let_pass(Duration::from_secs(2));
    let calls = strace.counts();
    assert!(
        calls.keys().all(|name| ["epoll_wait", "futex", "restart_syscall"].contains(&name.as_str())),
        "{calls:?}"
    );
    assert!(calls.values().sum::<u64>() <= 4, "two threads sleep: {calls:?}");
}

#[test]
fn nothing_is_asked_of_the_kernel_while_nothing_is_due() {
    let server = quiet();
    let _subscribers: Vec<Client> = (0..100).map(|_| subscriber(&server)).collect();
    // Until what their coming had left to do is done.
    let naps = server.naps();
    holds_within(Duration::from_secs(1), || server.naps() > naps + 1);
    let Some(strace) = Strace::attach(&server) else { return };
    let_pass(Duration::from_secs(2));
    let calls = strace.counts();
    // The call that strace found it in, and goes back to.
    let asked: Vec<_> = calls
        .iter()
        .filter(|(name, _)| !["epoll_wait", "restart_syscall"].contains(&name.as_str()))
        .collect();
    assert!(asked.is_empty() && calls.values().sum::<u64>() <= 2, "{calls:?}");
}
