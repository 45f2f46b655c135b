//! The daemon: how it starts, listens, rests and ends.
#![cfg(feature = "shell")]
#![allow(
    clippy::disallowed_methods,
    reason = "clients that publish and listen at the same time need threads"
)]

mod common;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use common::frames::Heard;
use common::{Asked, Client, Scratch, Server, Setup, WebSocket, let_pass, until};

fn healthy(client: &mut Client) -> bool {
    client.get("/healthz").status() == 200
}

#[test]
fn it_says_where_it_listens() {
    let server = Server::start();
    let expected = format!("encke {} listening on http://{}/", env!("CARGO_PKG_VERSION"), server.address());
    assert_eq!(server.lines, [expected]);
}

#[test]
fn it_listens_on_every_address_it_is_told() {
    let scratch = Scratch::new();
    let path = scratch.path().join("sock");
    let unix = format!("unix:{}", path.display());
    let server = Setup::default().listen("127.0.0.1:0").listen("[::1]:0").listen(unix.as_str()).start();
    assert_eq!(server.lines.len(), 3);
    assert!(server.address_in(1).is_ipv6());
    assert!(server.lines[2].ends_with(&format!(" listening on {unix}")), "{}", server.lines[2]);
    assert!(healthy(&mut Client::to(server.address_in(0))));
    assert!(healthy(&mut Client::to(server.address_in(1))));
    let mut client = Client::to_unix(&path);
    assert!(healthy(&mut client));
    // All listeners lead to the same chat.
    assert_eq!(client.get("/chat/backend.php?msg=hello").status(), 200);
    assert!(Client::to(server.address_in(1)).get("/chat/backend.php?timestamp=0").text().contains("hello"));
}

#[test]
fn a_unix_socket_left_behind_by_a_killed_server_is_taken_over() {
    let scratch = Scratch::new();
    let path = scratch.path().join("sock");
    let unix = format!("unix:{}", path.display());
    let mut first = Setup::default().listen(unix.as_str()).start();
    first.signal(Signal::KILL);
    first.exit();
    let _second = Setup::default().listen(unix.as_str()).start();
    assert!(healthy(&mut Client::to_unix(&path)));
}

#[test]
fn a_unix_socket_of_a_living_server_is_not_taken() {
    let scratch = Scratch::new();
    let path = scratch.path().join("sock");
    let unix = format!("unix:{}", path.display());
    let _first = Setup::default().listen(unix.as_str()).start();
    let (code, said) = Setup::default().listen(unix.as_str()).fails();
    assert!(code.is_some_and(|code| code != 0), "{said}");
    assert!(healthy(&mut Client::to_unix(&path)));
}

#[test]
fn a_file_in_the_place_of_a_unix_socket_is_not_removed() {
    let scratch = Scratch::new();
    let path = scratch.write("precious", "do not delete");
    let (code, said) = Setup::default().listen(format!("unix:{}", path.display())).fails();
    assert!(code.is_some_and(|code| code != 0), "{said}");
    assert_eq!(std::fs::read(path).expect("it is still there"), b"do not delete");
}

#[test]
fn a_taken_port_is_an_error_that_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let (code, said) = Setup::default().listen(address.as_str()).fails();
    assert!(code.is_some_and(|code| code != 0), "{said}");
    assert!(said.contains(&address) && said.to_lowercase().contains("in use"), "{said}");
}

#[test]
fn unknown_settings_are_errors_of_the_operator() {
    for setup in [
        Setup::default().arg("--no-such-flag"),
        Setup::default().arg("no-such-command"),
        Setup::default().limit("no-such-limit", "1"),
        Setup::default().limit("head-timeout", "\"a while\""),
        Setup::default().limit("head-timeout", "-1"),
        Setup::default().arg("--config").arg("/nowhere/encke.toml"),
        Setup::default().arg("--static").arg("/nowhere"),
        Setup::default().arg("--max-connections").arg("many"),
        Setup::default().listen("here"),
    ] {
        let (code, said) = setup.fails();
        assert_eq!(code, Some(2), "{said}");
        assert!(!said.trim().is_empty() && !said.contains("panicked"), "{said}");
    }
}

#[test]
fn it_does_not_serve_strangers_unless_told_to() {
    let (code, said) = Setup::default().listen("0.0.0.0:0").fails();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--open"), "{said}");
    let server = Setup::default().listen("0.0.0.0:0").arg("--open").start();
    let port = server.address().port();
    assert!(healthy(&mut Client::to(([127, 0, 0, 1], port).into())));
}

#[test]
fn it_sleeps_when_there_is_nothing_to_do() {
    let server = Server::start();
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(&server)).collect();
    // Some have not asked yet, some have been answered, some wait for news.
    for client in &mut clients[5..10] {
        assert!(healthy(client));
    }
    for client in &mut clients[10..] {
        client.send("GET /quiet/backend.php?timestamp=0 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    let_pass(Duration::from_secs(1));
    let (naps, cpu) = (server.naps(), server.cpu_ticks());
    let_pass(Duration::from_secs(4));
    assert_eq!(server.naps(), naps, "it woke up for nothing");
    assert_eq!(server.cpu_ticks(), cpu, "it used the CPU for nothing");
    assert_eq!(Client::connect(&server).get("/quiet/backend.php?msg=wake").status(), 200);
    for client in &mut clients[10..] {
        assert!(client.answer().text().contains("wake"), "those who waited are still there");
    }
}

#[test]
fn told_to_stop_it_ends_well_and_frees_its_port() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start();
        let address = server.address();
        let mut idle = Client::connect(&server);
        assert!(healthy(&mut idle));
        let mut polling = Client::connect(&server);
        polling.send("GET /chat/backend.php?timestamp=0 HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let mut ticking = Client::connect(&server);
        ticking.send("GET /clock/backend.php HTTP/1.1\r\nHost: localhost\r\n\r\n");
        ticking.head(Asked::GET);
        let mut half = Client::connect(&server);
        half.send("GET / HTTP/1.1\r\nHost:");
        server.signal(signal);
        assert_eq!(server.exit().code(), Some(0), "{}", server.stderr());
        // A stream ends between two ticks, not within one.
        let ticks = ticking.drain();
        assert!(ticks.ends_with(b"</script>"), "{}", common::readable(&ticks));
        drop((idle, polling, half));
        // At once, although the old connections linger in the kernel.
        let again = Setup::default().listen(address.to_string()).start();
        assert!(healthy(&mut Client::connect(&again)));
    }
}

#[test]
fn it_obeys_from_the_moment_it_says_that_it_listens() {
    // A server that announces itself before it has learnt to listen to signals dies of an early one.
    for _ in 0..40 {
        let mut server = Server::start();
        server.signal(Signal::TERM);
        assert_eq!(server.exit().code(), Some(0), "killed by the signal, not told to stop");
    }
}

#[test]
fn killed_it_frees_its_port_as_well() {
    let mut server = Server::start();
    let address = server.address();
    let mut client = Client::connect(&server);
    assert!(healthy(&mut client));
    server.signal(Signal::KILL);
    server.exit();
    let again = Setup::default().listen(address.to_string()).start();
    assert!(healthy(&mut Client::connect(&again)));
}

#[test]
fn an_answer_that_is_on_its_way_is_finished_before_it_stops() {
    let scratch = Scratch::new();
    scratch.write("large.bin", vec![b'x'; 3_000_000]);
    let mut server = Setup::default().pages(scratch.path()).start();
    let mut client = Client::narrow(&server);
    client.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.head(Asked::GET);
    server.signal(Signal::TERM);
    assert_eq!(client.take(3_000_000).len(), 3_000_000);
    client.ends();
    assert_eq!(server.exit().code(), Some(0));
}

#[test]
fn it_stops_in_time_even_when_a_reader_does_not_read() {
    let scratch = Scratch::new();
    scratch.write("large.bin", vec![b'x'; 15_000_000]);
    let mut server = Setup::default().pages(scratch.path()).start();
    let mut client = Client::narrow(&server);
    client.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.head(Asked::GET);
    server.signal(Signal::TERM);
    assert_eq!(server.exit().code(), Some(0));
}

#[test]
fn a_second_signal_means_now() {
    let scratch = Scratch::new();
    scratch.write("large.bin", vec![b'x'; 15_000_000]);
    let mut server = Setup::default().pages(scratch.path()).start();
    let mut client = Client::narrow(&server);
    client.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.head(Asked::GET);
    server.signal(Signal::TERM);
    until("it no longer accepts", || server.has_ended() || Client::try_to(server.address()).is_err());
    if !server.has_ended() {
        server.signal(Signal::TERM);
    }
    server.exit();
}

#[test]
fn a_server_that_is_told_to_stop_takes_no_new_clients() {
    let mut server = Server::start();
    let address = server.address();
    server.signal(Signal::TERM);
    server.exit();
    assert!(Client::try_to(address).is_err());
}

fn listen(server: &Server, target: &str) -> Client {
    let mut client = Client::connect(server);
    client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    client.head(Asked::GET);
    client
}

#[test]
fn whoever_listens_is_told_when_to_come_back() {
    let mut server = Server::start();
    let mut events = listen(&server, "/channels/a?as=events");
    let mut ndjson = listen(&server, "/channels/a?as=ndjson");
    let mut socket = WebSocket::open(&server, "/channels/a", b"");
    let mut poll = Client::connect(&server);
    poll.send("GET /channels/b?as=poll HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(Client::connect(&server).post("/channels/a", "the last word").status(), 201);
    server.signal(Signal::TERM);
    assert_eq!(server.exit().code(), Some(0), "{}", server.stderr());

    let told = String::from_utf8(events.drain()).expect("text");
    let (before, retry) = told.trim_end().rsplit_once("retry: ").expect("a last line");
    assert!(before.ends_with("data: the last word\n\n"), "{told}");
    assert!(retry.parse().is_ok_and(|ms: u64| (1_000..=3_000).contains(&ms)), "{told}");
    assert_eq!(socket.json()["data"], "the last word");
    let Heard::Close(Some(1001), reason) = socket.hear() else { panic!("a close with 1001 comes next") };
    let reason: serde_json::Value = serde_json::from_str(&reason).expect("JSON");
    assert!(reason["retry"].as_u64().is_some_and(|ms| (1_000..=3_000).contains(&ms)), "{reason}");
    socket.ends();
    assert!(String::from_utf8(ndjson.drain()).expect("text").ends_with("\"the last word\"}\n"));
    let answer = poll.answer();
    assert!(answer.closes() && answer.text().starts_with("{\"messages\":[],\"since\":"), "{}", answer.text());
    poll.ends();
}

/// The ids in what an event stream, or one of lines, was sent.
fn ids(told: &[u8]) -> BTreeSet<u64> {
    let text = std::str::from_utf8(told).expect("text");
    let behind = |mark| text.split(mark).skip(1);
    let digits = |rest: &str| rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|id| id.parse().ok());
    behind("id: ").chain(behind("{\"id\":")).filter_map(digits).collect()
}

/// Publishes until the server takes no more. Returns the ids that it was answered.
fn publish_to_the_end(address: std::net::SocketAddr) -> Vec<u64> {
    let mut published = Vec::new();
    while let Ok(mut client) = Client::try_to(address) {
        loop {
            let request = b"POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx";
            let Ok(answer) = client
                .try_send(request)
                .map_err(|e| e.to_string())
                .and_then(|()| client.try_answer(Asked::GET))
            else {
                break;
            };
            assert!(matches!(answer.status(), 201 | 503), "{}", answer.text());
            if answer.status() == 201 {
                published.extend(ids(answer.text().as_bytes()));
            }
            if answer.closes() {
                break;
            }
        }
    }
    published
}

#[test]
fn told_to_stop_under_load_it_delivers_all_that_it_has_answered_with_a_201() {
    let mut server = Server::start();
    let address = server.address();
    let listeners: Vec<_> = (0..40)
        .map(|n| listen(&server, ["/channels/a?as=events", "/channels/a,b?as=ndjson"][n % 2]))
        .map(|mut client| thread::spawn(move || client.drain()))
        .collect();
    let publishers: Vec<_> = (0..4).map(|_| thread::spawn(move || publish_to_the_end(address))).collect();
    until("there is load", || {
        Client::connect(&server).get("/stats/channels/a").text().contains("\"messages\":1000,")
    });
    server.signal(Signal::TERM);
    let published: BTreeSet<u64> =
        publishers.into_iter().flat_map(|thread| thread.join().expect("no assertion failed")).collect();
    assert_eq!(server.exit().code(), Some(0), "{}", server.stderr());
    assert!(published.len() >= 1_000);
    for listener in listeners {
        let heard = ids(&listener.join().expect("an orderly end"));
        let lost: Vec<_> = published.difference(&heard).collect();
        assert!(lost.is_empty(), "{} of {} were answered 201 and never came", lost.len(), published.len());
    }
}

#[test]
fn a_successor_listens_while_the_old_server_still_says_goodbye() {
    let mut server = Setup::default().setting("drain-time", "\"15s\"").start();
    let address = server.address();
    let mut upload = Client::connect(&server);
    upload.send("POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nx");
    let mut listener = listen(&server, "/channels/a?as=events");
    server.signal(Signal::TERM);
    until("the port is free", || Client::try_to(address).is_err());
    let successor = Setup::default().listen(address.to_string()).start();
    assert!(healthy(&mut Client::connect(&successor)));
    assert!(!server.has_ended());
    upload.send("y");
    let answer = upload.answer();
    assert_eq!((answer.status(), answer.closes()), (201, true));
    let told = listener.drain();
    assert!(common::find(&told, b"data: xy\n\nretry: ").is_some(), "{}", common::readable(&told));
    assert_eq!(server.exit().code(), Some(0));
}
