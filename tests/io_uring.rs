//! With `--io-uring`, everybody hears the same as without: those who read, those who are slow, and those who are gone.

mod common;

use common::{Client, Hearing, Server, Setup, Told, Transport};

/// More than the kernel is handed at once.
const READERS: usize = 300;

/// Together more than the narrow buffers of one who does not read, and less than a history.
const MESSAGES: usize = 200;
const BYTES: usize = 4_000;

/// Nothing where the kernel has no io_uring: encke says so and does not start.
fn start() -> Option<Server> {
    let setup = || Setup::default().arg("--io-uring").limit("history-bytes-max", "\"64MiB\"");
    let forbidden = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    if forbidden.is_ok_and(|value| value.trim() == "0") {
        return Some(setup().start());
    }
    let (code, complaint) = setup().fails();
    assert_eq!(code, Some(2), "{complaint}");
    assert!(complaint.contains("cannot use io_uring"), "{complaint}");
    println!("skipped: this kernel lets nobody use io_uring");
    None
}

fn listen(mut client: Client) -> Client {
    client.send("GET /channels/a?as=ndjson HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client
}

/// The numbers in front of what was heard, up to the last message.
fn heard(client: &mut Client) -> Vec<usize> {
    let mut hearing = Hearing::new(Transport::Ndjson);
    let mut numbers = Vec::new();
    while numbers.last() != Some(&(MESSAGES - 1)) {
        let bytes = client.try_some().expect("it goes on");
        for told in hearing.feed(&bytes).expect("it is ndjson") {
            let Told::Message(message) = told else { panic!("{told:?} among the messages") };
            let (number, _) = message.data.split_once(' ').expect("a number comes first");
            numbers.push(number.parse().expect("it is one"));
        }
    }
    numbers
}

#[test]
fn everybody_hears_every_message_once_and_in_order() {
    let Some(server) = start() else { return };
    let mut readers: Vec<Client> = (0..READERS).map(|_| listen(Client::connect(&server))).collect();
    let mut slow = listen(Client::narrow(&server));
    (0..20).for_each(|_| listen(Client::connect(&server)).vanish());
    let mut publisher = Client::connect(&server);
    let filler = "x".repeat(BYTES);
    for number in 0..MESSAGES {
        assert_eq!(publisher.post("/channels/a", format!("{number} {filler}")).status(), 201);
        if number % 50 == 49 {
            // Nobody but the slow one falls behind for long.
            readers.iter_mut().for_each(|reader| {
                reader.take_through(format!("\"data\":\"{number} ").as_bytes());
            });
        }
    }
    assert_eq!(heard(&mut slow), (0..MESSAGES).collect::<Vec<_>>());
    let last = publisher.post("/channels/a", "the last");
    assert_eq!(last.status(), 201);
    readers.iter_mut().for_each(|reader| {
        reader.take_through(b"the last");
    });
}
