//! Listening sockets: several processes on one port, and what their connections inherit.

mod common;

use std::fs;
use std::time::Duration;

use common::{Client, Server, Setup, until};
use serde_json::Value;

/// As many connections as make it certain that each of two processes gets some: the kernel deals them by a hash of
/// both addresses, and that all fall to one happens once in 2^63 runs.
const CONNECTIONS: usize = 64;

#[test]
fn two_processes_with_reuse_port_share_the_connections_of_one_port() {
    let one = Setup::default().arg("--reuse-port").start();
    let address = one.address();
    let other = Setup::default().listen(address.to_string()).arg("--reuse-port").start();
    assert_eq!(other.address(), address);
    let before = [&one, &other].map(Server::descriptors);
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| Client::to(address)).collect();
    for client in &mut clients {
        assert_eq!(client.get("/healthz").status(), 200);
    }
    let taken = || [one.descriptors() - before[0], other.descriptors() - before[1]];
    until("each connection is with one of them", || taken().iter().sum::<usize>() == CONNECTIONS);
    assert!(taken().iter().all(|some| *some > 0), "{:?}: one of them got them all", taken());
}

#[test]
fn each_process_has_its_own_channels() {
    let one = Setup::default().arg("--reuse-port").start();
    let _other = Setup::default().listen(one.address().to_string()).arg("--reuse-port").start();
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| Client::to(one.address())).collect();
    assert_eq!(clients[0].post("/channels/news", "hello").status(), 201);
    let knows = |client: &mut Client| {
        let channels: Value = serde_json::from_slice(&client.get("/stats").body).expect("JSON");
        channels["channels"] == 1
    };
    let knowing = clients.iter_mut().map(knows).filter(|knows| *knows).count();
    assert!((1..CONNECTIONS).contains(&knowing), "{knowing} of {CONNECTIONS} connections know the channel");
}

#[test]
fn a_port_is_shared_only_if_both_say_so() {
    let alone = Server::start();
    let setup = Setup::default().listen(alone.address().to_string()).arg("--reuse-port");
    let (code, complaint) = setup.fails();
    assert_eq!(code, Some(2));
    assert!(complaint.contains("the address is in use"), "{complaint}");

    let sharing = Setup::default().setting("reuse-port", "true").start();
    let (code, complaint) = Setup::default().listen(sharing.address().to_string()).fails();
    assert_eq!(code, Some(2));
    assert!(complaint.contains("the address is in use"), "{complaint}");
}

/// The timer that the kernel runs for an idle connection to this port, and when it goes off.
fn kernel_timer(port: u16) -> (u8, Duration) {
    let table = fs::read_to_string("/proc/net/tcp").expect("the kernel tells");
    // sl local remote state queues timer:when ...; a state of 1 is an established connection.
    let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let local = format!(":{port:04X}");
    let row = rows.find(|row| row[1].ends_with(&local) && row[3] == "01").expect("there is a connection");
    let (timer, when) = row[5].split_once(':').expect("a timer and a moment");
    let hundredths = u64::from_str_radix(when, 16).expect("hexadecimal");
    (timer.parse().expect("a digit"), Duration::from_millis(10 * hundredths))
}

#[test]
fn the_kernel_asks_after_silent_peers_only_where_no_heartbeat_does_and_rarely() {
    const NONE: u8 = 0;
    const KEEPALIVE: u8 = 2;
    let subscribe = |server: &Server| {
        let mut client = Client::connect(server);
        client.send("GET /channels/news?as=ndjson HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.take_through(b"\r\n\r\n");
        client
    };
    let server = Server::start();
    let _client = subscribe(&server);
    // The timer of the head's retransmission is stopped by its acknowledgement.
    until("no timer runs", || kernel_timer(server.address().port()).0 == NONE);
    let silent = Setup::default().setting("heartbeat", "\"0s\"").start();
    let _client = subscribe(&silent);
    until("a peer is to be asked", || {
        let (timer, when) = kernel_timer(silent.address().port());
        timer == KEEPALIVE && when > Duration::from_secs(3_000)
    });
}
