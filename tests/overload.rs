//! Overload: too much of everything at once, and what the server does about it.
//!
//! The order in which it sheds is written down in docs/overload.md, and so is the counter that
//! tells of each kind. Here it is pushed over every edge from outside: those it has taken in are
//! served all the while, and when the pressure is gone it is as it was.
#![cfg(feature = "shell")]

mod common;

use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use common::{Asked, Client, Hearing, Server, Setup, Told, Transport, WebSocket, let_pass, until};

fn stats(server: &Server) -> Value {
    stats_on(&mut Client::connect(server))
}

fn stats_on(client: &mut Client) -> Value {
    serde_json::from_str(client.get("/stats").text()).expect("JSON")
}

fn number(stats: &Value, name: &str) -> u64 {
    stats[name].as_u64().unwrap_or_else(|| panic!("no {name} in {stats}"))
}

fn say(client: &mut Client, channel: &str, text: &str) -> u64 {
    let answer = client.post(&format!("/channels/{channel}"), text);
    assert_eq!(answer.status(), 201, "{}", answer.text());
    let value: Value = serde_json::from_str(answer.text()).expect("JSON");
    value["id"].as_u64().expect("a 201 has an id")
}

fn listen(server: &Server, target: &str) -> Client {
    let mut client = Client::connect(server);
    client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    client
}

/// A subscriber that is seated.
fn seated(server: &Server, channel: &str) -> Client {
    let mut client = listen(server, &format!("/channels/{channel}?as=ndjson"));
    client.head(Asked::GET);
    client
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

// --- Connections --------------------------------------------------------------------------------

#[test]
fn out_of_descriptors_it_waits_for_one_instead_of_asking_for_it() {
    let server = Server::start();
    let mut inside = Client::connect(&server);
    assert_eq!(number(&stats_on(&mut inside), "starved"), 0);
    let mut reader = seated(&server, "a");
    server.allow_descriptors(server.free_descriptor() + 1);
    let mut first = Client::connect(&server);
    assert_eq!(first.get("/healthz").status(), 200, "the last descriptor");
    let mut late: Vec<Client> = (0..50).map(|_| Client::connect(&server)).collect();
    late.iter_mut().for_each(|client| client.send(get("/healthz")));
    until("it has noticed", || number(&stats_on(&mut inside), "starved") > 0);

    // Those inside are served, and each message is another turn in which it could try in vain.
    let before = number(&stats_on(&mut inside), "starved");
    let last = (0..200).map(|n| say(&mut inside, "a", &n.to_string())).last().expect("many");
    reader.take_through(last.to_string().as_bytes());
    let_pass(Duration::from_secs(1));
    let after = number(&stats_on(&mut inside), "starved");
    assert!(after - before < 50, "it tried {} times in vain", after - before);

    // One that leaves lets one in.
    drop(first);
    let mut served = 0;
    until("one of those who wait is served", || {
        served = late.iter_mut().filter_map(|client| client.has_news().then_some(())).count();
        served > 0
    });
    assert_eq!(served, 1);
    // And when there are descriptors again nobody has to leave.
    server.allow_descriptors(500);
    late.iter_mut().for_each(|client| assert_eq!(client.answer().status(), 200));
}

#[test]
fn a_storm_of_new_clients_is_served_and_those_inside_hear_everything() {
    let server = Server::start();
    let mut reader = seated(&server, "a");
    let mut speaker = Client::connect(&server);
    let mut storm: Vec<Client> = Vec::new();
    let mut last = 0;
    for n in 0..600 {
        let mut client = Client::connect(&server);
        client.send(get("/healthz"));
        storm.push(client);
        if n % 20 == 0 {
            last = say(&mut speaker, "a", "in the storm");
        }
    }
    let heard = reader.take_through(last.to_string().as_bytes());
    assert_eq!(heard.split(|&byte| byte == b'\n').count(), 30);
    storm.iter_mut().for_each(|client| assert_eq!(client.answer().status(), 200));
    drop(storm);
    until("all are gone", || number(&stats_on(&mut speaker), "connections") == 2);
    assert_eq!(number(&stats_on(&mut speaker), "turned_away"), 0);
}

#[test]
fn a_storm_beyond_the_limit_is_turned_away_and_counted() {
    let server = Setup::default().arg("--max-connections").arg("20").start();
    let mut reader = seated(&server, "a");
    let mut speaker = Client::connect(&server);
    let mut storm: Vec<Client> = (0..300).map(|_| Client::connect(&server)).collect();
    let last = say(&mut speaker, "a", "in the storm");
    reader.take_through(last.to_string().as_bytes());
    until("all have been looked at", || {
        let stats = stats_on(&mut speaker);
        number(&stats, "turned_away") == 300 - 18
    });
    let mut refused = 0;
    for client in &mut storm[18..] {
        if let Ok(answer) = client.try_answer(Asked::GET) {
            assert_eq!((answer.status(), answer.field("retry-after")), (503, Some("2")));
            refused += 1;
        }
    }
    assert!(refused > 0, "the first of them are told");
    drop(storm);
    until("there is room again", || {
        let mut client = Client::connect(&server);
        client.try_send(get("/healthz").as_bytes()).is_ok()
            && client.try_answer(Asked::GET).is_ok_and(|answer| answer.status() == 200)
    });
}

#[test]
fn one_address_cannot_take_what_others_need() {
    let server = Setup::default().limit("connections-per-address-max", "3").start();
    let (here, there) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2));
    let mut inside: Vec<Client> = (0..3).map(|_| Client::connect_from(&server, here)).collect();
    inside.iter_mut().for_each(|client| assert_eq!(client.get("/healthz").status(), 200));
    let mut extra = Client::connect_from(&server, here);
    let answer = extra.answer();
    assert_eq!((answer.status(), answer.closes()), (429, true));
    assert_eq!(answer.field("retry-after"), Some("2"));
    assert!(answer.text().contains("from this address"), "{}", answer.text());
    extra.ends();
    let mut other = Client::connect_from(&server, there);
    assert_eq!(number(&stats_on(&mut other), "address_turned_away"), 1);
    inside.pop();
    until("the place is given away", || {
        let mut client = Client::connect_from(&server, here);
        client.try_send(get("/healthz").as_bytes()).is_ok()
            && client.try_answer(Asked::GET).is_ok_and(|answer| answer.status() == 200)
    });
}

// --- Publishing ---------------------------------------------------------------------------------

#[test]
fn in_a_flood_of_publications_everybody_hears_everything_and_new_clients_are_served() {
    const EACH: usize = 500;
    // All of the flood may be read in one turn, and a history of 1,000 would forget half of it before anybody is told.
    let server = Setup::default().limit("history-messages-max", "5000").start();
    let mut readers: Vec<Client> = (0..20).map(|_| seated(&server, "a")).collect();
    let mut flood: Vec<Client> = (0..4).map(|_| Client::connect(&server)).collect();
    let request = "POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nflood";
    flood.iter_mut().for_each(|client| client.send(request.repeat(EACH)));
    for _ in 0..20 {
        assert_eq!(Client::connect(&server).get("/healthz").status(), 200);
    }
    for client in &mut flood {
        for _ in 0..EACH {
            assert_eq!(client.answer().status(), 201);
        }
    }
    let last = say(&mut flood[0], "a", "the end");
    for reader in &mut readers {
        let heard = reader.take_through(format!("{last},").as_bytes());
        assert_eq!(heard.iter().filter(|&&byte| byte == b'\n').count(), flood.len() * EACH);
    }
}

#[test]
fn beyond_its_rate_an_address_is_told_when_to_go_on() {
    let server = Setup::default().limit("publish-rate-max", "1").limit("publish-burst-max", "5").start();
    let mut client = Client::connect(&server);
    let mut statuses = Vec::new();
    for _ in 0..9 {
        let answer = client.post("/channels/a", "x");
        if answer.status() == 429 {
            assert_eq!(answer.field("retry-after"), Some("1"));
            assert!(answer.text().contains("try again in 1 s"), "{}", answer.text());
        }
        statuses.push(answer.status());
    }
    assert_eq!(statuses[..5], [201; 5]);
    assert!(statuses[5..].contains(&429), "{statuses:?}");
    let kind = "Content-Type: application/x-ndjson\r\n";
    let many = client.post_with("/channels", kind, "{\"channel\":\"a\",\"data\":\"x\"}\n".repeat(6));
    assert_eq!((many.status(), many.field("retry-after")), (413, None), "no time would help");
    assert!(many.text().contains("send 5 at most"), "{}", many.text());
    let mut socket = WebSocket::open(&server, "/channels/b", b"");
    until("a command is refused", || {
        let reply = socket.ask(r#"{"publish":"x","channel":"a","ref":1}"#);
        reply["error"]["status"] == 429
    });
    // Others are not concerned, and time heals.
    let mut other = Client::connect_from(&server, Ipv4Addr::new(127, 0, 0, 2));
    say(&mut other, "a", "from elsewhere");
    until("it may speak again", || client.post("/channels/a", "x").status() == 201);
    assert!(number(&stats_on(&mut other), "rate_limited") >= 3);
}

// --- Memory -------------------------------------------------------------------------------------

#[test]
fn at_its_budget_it_refuses_uploads_and_then_lives_on() {
    let server = Setup::default()
        .limit("bulk-bytes-max", "\"64KiB\"")
        .limit("connection-budget-bytes-max", "\"2MiB\"")
        .start();
    let mut client = Client::connect(&server);
    let mut reader = seated(&server, "a");
    let head = "POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n";
    let mut uploads = Vec::new();
    until("uploads are refused", || {
        let mut upload = Client::connect(&server);
        upload.send(format!("{head}{}", "x".repeat(40_000)));
        uploads.push(upload);
        number(&stats_on(&mut client), "uploads_refused") >= 3
    });
    let stats = stats_on(&mut client);
    assert!((1_200_000..=2 << 20).contains(&number(&stats, "held_bytes")), "{stats}");
    // Somebody who asks first is told at once, and those who need no room do not notice.
    let mut asking = Client::connect(&server);
    asking.send(head.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n"));
    let answer = asking.answer();
    assert_eq!((answer.status(), answer.field("retry-after")), (503, Some("2")));
    let id = say(&mut client, "a", "a message that comes in one piece");
    reader.take_through(id.to_string().as_bytes());
    // What was begun can be finished.
    uploads[0].send("x".repeat(20_000));
    assert_eq!(uploads[0].answer().status(), 201);
    drop(uploads);
    until("everything is given back", || number(&stats_on(&mut client), "held_bytes") == 0);
    let mut upload = Client::connect(&server);
    upload.send_pieces(&server, [head.as_bytes(), "x".repeat(60_000).as_bytes()]);
    assert_eq!(upload.answer().status(), 201);
}

#[test]
fn whoever_holds_the_most_goes_first_and_the_process_does_not_grow() {
    let server = Setup::default()
        .limit("bulk-bytes-max", "\"1MiB\"")
        .limit("connection-budget-bytes-max", "\"8MiB\"")
        .start();
    let mut client = Client::connect(&server);
    // Texts in pieces, which a WebSocket keeps for as long as the last one does not come.
    let mut sockets: Vec<Client> = (0..80)
        .map(|_| {
            let mut socket = WebSocket::open(&server, "/channels/a", b"");
            socket.send(common::frames::frame(0x01, &[b'x'; 1_000]));
            socket.client
        })
        .collect();
    until("all have begun", || number(&stats_on(&mut client), "held_bytes") >= 80_000);
    let resident = server.resident_kib();
    let more = common::frames::frame(0x00, &vec![b'x'; 300_000]);
    for socket in &mut sockets {
        // Those who have been parted from cannot send any more.
        let _ = socket.try_send(&more);
    }
    until("some had to go", || number(&stats_on(&mut client)["hangups"], "over_budget") >= 40);
    let stats = stats_on(&mut client);
    assert!((1..=8 << 20).contains(&number(&stats, "held_bytes")), "{stats}");
    let grown = server.resident_kib().saturating_sub(resident);
    assert!(grown < 24 << 10, "80 of 300 kB are 24 MB, of which it may hold 8; it grew by {grown} KiB");
    let mut reader = seated(&server, "b");
    let id = say(&mut client, "b", "the others do not notice");
    reader.take_through(id.to_string().as_bytes());
    drop(sockets);
    until("everything is given back", || number(&stats_on(&mut client), "held_bytes") == 0);
}

// --- Coming back --------------------------------------------------------------------------------

#[test]
fn a_herd_that_comes_back_at_once_hears_everything_it_missed() {
    const HERD: usize = 300;
    const MISSED: usize = 50;
    let server = Server::start();
    let mut speaker = Client::connect(&server);
    let cursor = say(&mut speaker, "a", "before");
    let herd: Vec<Client> = (0..HERD).map(|_| seated(&server, "a")).collect();
    drop(herd);
    let missed: Vec<u64> = (0..MISSED).map(|n| say(&mut speaker, "a", &n.to_string())).collect();
    let transports = [Transport::Ndjson, Transport::Events, Transport::Iframe, Transport::Poll];
    let mut back: Vec<(Transport, Client)> = (0..HERD)
        .map(|n| {
            let transport = transports[n % transports.len()];
            let target = format!("/channels/a?since={cursor}&as={}", transport.name());
            (transport, listen(&server, &target))
        })
        .collect();
    for (transport, client) in &mut back {
        let mut hearing = Hearing::new(*transport);
        let mut heard = Vec::new();
        while heard.len() < MISSED {
            let told = hearing.feed(&client.try_some().expect("more")).expect("well-formed");
            heard.extend(told.into_iter().filter_map(|told| match told {
                Told::Message(news) => news.id,
                Told::Gap { .. } => panic!("nothing is gone"),
                _ => None,
            }));
        }
        assert_eq!(heard, missed, "{}", transport.name());
    }
}

// --- Those who are not there --------------------------------------------------------------------

#[test]
fn slow_and_absent_peers_of_every_kind_are_found_and_ended() {
    let server = Setup::default()
        .setting("heartbeat", "\"300ms\"")
        .limit("head-timeout", "\"1s\"")
        .limit("body-timeout", "\"1s\"")
        .limit("idle-timeout", "\"1s\"")
        .limit("write-timeout", "\"1s\"")
        .start();
    let before = server.descriptors();
    let mut kinds: Vec<Client> = Vec::new();
    for _ in 0..20 {
        // Says nothing; half a head; half a body; asks and goes; reads nothing.
        kinds.push(Client::connect(&server));
        let mut head = Client::connect(&server);
        head.send("GET / HTTP/1.1\r\nHost: lo");
        kinds.push(head);
        let mut body = Client::connect(&server);
        body.send("POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx");
        kinds.push(body);
        let half = listen(&server, "/channels/b");
        half.half_close();
        kinds.push(half);
        let mut narrow = Client::narrow(&server);
        narrow.give_up_writing_after(Duration::from_millis(50));
        let _ = narrow.try_send(get("/").repeat(3_000).as_bytes());
        kinds.push(narrow);
    }
    until("all of them are gone", || server.descriptors() <= before);
    let stats = stats(&server);
    assert_eq!(number(&stats, "timed_out"), 40, "{stats}");
    let hangups = |why| number(&stats["hangups"], why);
    assert!(hangups("idle") >= 20 && hangups("left") >= 20, "{stats}");
    // The kernel has the same deadline for a reader that takes nothing, and is sometimes first.
    assert_eq!(hangups("stalled") + hangups("reset"), 20, "{stats}");
}

/// Another machine, as far as the network knows: it has an address of its own, and its cable can be pulled.
struct Elsewhere {
    name: String,
    host: Ipv4Addr,
    child: Option<Child>,
}

impl Elsewhere {
    /// None without the rights to make one.
    fn new() -> Option<Self> {
        let id = std::process::id();
        let name = format!("encke{id}");
        // RFC 2544 keeps these for tests; four addresses for each process.
        let [.., third, fourth] = (id << 2).to_be_bytes();
        let host = Ipv4Addr::new(198, 18, third, fourth | 1);
        let there = Ipv4Addr::new(198, 18, third, fourth | 2);
        let elsewhere = Elsewhere { name: name.clone(), host, child: None };
        let (outer, inner) = (format!("o{name}"), format!("i{name}"));
        let made = ip(&format!("netns add {name}"))
            && ip(&format!("link add {outer} type veth peer name {inner} netns {name}"))
            && ip(&format!("addr add {host}/30 dev {outer}"))
            && ip(&format!("link set {outer} up"))
            && ip(&format!("-n {name} addr add {there}/30 dev {inner}"))
            && ip(&format!("-n {name} link set {inner} up"));
        made.then_some(elsewhere)
    }

    /// Somebody there listens.
    fn listen(&mut self, port: u16) {
        let host = self.host;
        let script = format!(
            "exec 3<>/dev/tcp/{host}/{port}; \
             printf 'GET /channels/a?as=events HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n' >&3; exec cat <&3"
        );
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "bash", "-c", &script]);
        self.child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok();
    }

    /// From now on nothing comes from there: no answer, no reset, no goodbye.
    fn pull_the_cable(&self) {
        assert!(ip(&format!("-n {} route add blackhole {}/32", self.name, self.host)));
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        ip(&format!("netns del {}", self.name));
    }
}

fn ip(arguments: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(arguments.split(' ')).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[test]
fn a_peer_whose_cable_was_pulled_is_given_up_after_the_write_timeout() {
    let Some(mut elsewhere) = Elsewhere::new() else {
        println!("skipped: making a network namespace needs root and iproute2");
        return;
    };
    let server = Setup::default()
        .listen(format!("{}:0", elsewhere.host))
        .listen("127.0.0.1:0")
        .arg("--open")
        .setting("heartbeat", "\"200ms\"")
        .limit("write-timeout", "\"1s\"")
        .start();
    elsewhere.listen(server.address_in(0).port());
    let mut here = Client::to(server.address_in(1));
    until("it listens", || number(&stats_on(&mut here)["subscribers"], "events") == 1);
    elsewhere.pull_the_cable();
    // Its heartbeats fit into the kernel's buffer for hours; but nobody says that they have arrived.
    until("it is given up", || number(&stats_on(&mut here)["subscribers"], "events") == 0);
    assert_eq!(number(&stats_on(&mut here)["hangups"], "reset"), 1);
}
