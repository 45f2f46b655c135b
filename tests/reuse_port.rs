//! Several processes on one port.

mod common;

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
