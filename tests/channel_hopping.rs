//! Hopping: what the whole design promises, judged from outside.
//!
//! Subscribers of a few channels each jump between all five transports; their connections are
//! cut at random bytes, by a polite end or by a reset, and some read slowly; meanwhile ten thousand
//! messages are published to twenty channels, in every way there is. In the end everyone has
//! every message of its channels exactly once and in order; where the histories were too short
//! for that, an explicit gap covers whatever is missing.
//!
//! A failure names its seed. `ENCKE_SEED=N cargo test --test channel_hopping` plays it again (as
//! far as threads and the kernel do).
#![cfg(feature = "shell")]

mod common;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::WebSocket;
use common::frames::UPGRADE;
use common::{
    Client, Dice, Hearing, News, Server, Setup, TRANSPORTS, Told, Transport, let_pass, readable, stopwatch,
    unix_s, until,
};

const CHANNELS: usize = 20;
const MESSAGES: usize = 10_000;
const HOPPERS: usize = 24;
const PUBLISHERS: usize = 3;

/// Everybody must have everything by then. Only a failing test ever gets there.
const BOUND: Duration = Duration::from_secs(60);

/// The last word in every channel.
const END: &str = "end";

/// What the threads share.
struct Game {
    server: Server,
    seed: u64,
    /// The position before the first message.
    start: u64,
    began: Instant,
    published: AtomicUsize,
    hops: AtomicUsize,
    /// How many messages may be published for each hop that was made: nobody may be left alone with them.
    messages_per_hop: usize,
    /// Whether some publications go to several channels at once; then not every id is known.
    at_once: bool,
    /// Somebody failed: there is nothing to wait for.
    failed: AtomicBool,
    log: Mutex<Vec<Said>>,
}

/// A message that was published, as its publisher knows it.
struct Said {
    channel: String,
    data: String,
    id: Option<u64>,
}

impl Game {
    fn new(setup: Setup, messages_per_hop: usize, at_once: bool) -> Self {
        let seed = std::env::var("ENCKE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(unix_s);
        println!("ENCKE_SEED={seed}");
        let server = setup.start();
        let first = Client::connect(&server).post("/channels/elsewhere", "start");
        Game {
            start: id_of(first.text()),
            server,
            seed,
            began: stopwatch(),
            published: AtomicUsize::new(0),
            hops: AtomicUsize::new(0),
            messages_per_hop,
            at_once,
            failed: AtomicBool::new(false),
            log: Mutex::default(),
        }
    }

    /// Plays it. Returns the hoppers, and all that was said.
    fn play(self) -> (Vec<Hopper>, Vec<Said>) {
        let hoppers = thread::scope(|scope| {
            let hoppers: Vec<_> = (0..HOPPERS)
                .map(|n| {
                    let game = &self;
                    scope.spawn(move || Hopper::new(game, n).hop(game))
                })
                .collect();
            let publishers: Vec<_> = (0..PUBLISHERS)
                .map(|n| {
                    let game = &self;
                    scope.spawn(move || Publisher::new(game, n).publish_all(game))
                })
                .collect();
            for publisher in publishers {
                if publisher.join().is_err() {
                    self.failed.store(true, Ordering::Relaxed);
                    panic!("a publisher failed: see above");
                }
            }
            let mut client = Client::connect(&self.server);
            for n in 0..CHANNELS {
                let id = id_of(client.post(&format!("/channels/c{n}"), END).text());
                self.note(format!("c{n}"), END.to_owned(), Some(id));
            }
            hoppers.into_iter().map(|hopper| hopper.join().expect("it heard all")).collect()
        });
        println!("{} hops in {:?}", self.hops.load(Ordering::Relaxed), self.began.elapsed());
        (hoppers, self.log.into_inner().expect("all threads ended well"))
    }

    fn note(&self, channel: String, data: String, id: Option<u64>) {
        self.log.lock().expect("nobody panicked").push(Said { channel, data, id });
    }
}

fn id_of(answer: &str) -> u64 {
    let value: serde_json::Value = serde_json::from_str(answer).expect("the answer is JSON");
    value["id"].as_u64().unwrap_or_else(|| panic!("no id in {answer}"))
}

// --- Publishing ---------------------------------------------------------------------------------

struct Publisher {
    number: usize,
    said: usize,
    dice: Dice,
    client: Client,
    socket: WebSocket,
}

impl Publisher {
    fn new(game: &Game, number: usize) -> Self {
        Publisher {
            number,
            said: 0,
            dice: Dice(game.seed ^ (1 << (40 + number))),
            client: Client::connect(&game.server),
            socket: WebSocket::open(&game.server, "/channels/elsewhere?as=websocket", b""),
        }
    }

    fn publish_all(mut self, game: &Game) {
        while game.published.load(Ordering::Relaxed) < MESSAGES {
            let before = self.said;
            match self.dice.below(10) {
                0..=5 => self.post(game),
                6 if game.at_once => self.post_at_once(game),
                6 | 7 => self.post_many(game),
                _ => self.say(game),
            }
            let published = game.published.fetch_add(self.said - before, Ordering::Relaxed);
            until("the hoppers have hopped", || {
                game.hops.load(Ordering::Relaxed) * game.messages_per_hop >= published
            });
        }
    }

    fn channel(&mut self) -> String {
        format!("c{}", self.dice.below(CHANNELS))
    }

    /// `PUBLISHER NUMBER` and some weight.
    fn data(&mut self) -> String {
        self.said += 1;
        let weight = if self.dice.below(50) == 0 { 20_000 } else { 300 };
        format!("{} {} {}", self.number, self.said, "é\n<".repeat(self.dice.below(weight) / 4))
    }

    fn post(&mut self, game: &Game) {
        let (channel, data) = (self.channel(), self.data());
        let id = id_of(self.client.post(&format!("/channels/{channel}"), &data).text());
        game.note(channel, data, Some(id));
    }

    fn post_at_once(&mut self, game: &Game) {
        let channels: BTreeSet<String> = (0..3).map(|_| self.channel()).collect();
        let data = self.data();
        let names: Vec<&str> = channels.iter().map(String::as_str).collect();
        assert_eq!(self.client.post(&format!("/channels/{}", names.join(",")), &data).status(), 201);
        channels.into_iter().for_each(|channel| game.note(channel, data.clone(), None));
    }

    fn post_many(&mut self, game: &Game) {
        let said: Vec<(String, String)> = (0..5).map(|_| (self.channel(), self.data())).collect();
        let line =
            |(channel, data)| serde_json::json!({ "channel": channel, "data": data }).to_string() + "\n";
        let body: String = said.iter().map(|(channel, data)| line((channel, data))).collect();
        let answer = self.client.post_with("/channels", "Content-Type: application/x-ndjson\r\n", body);
        let ids: serde_json::Value = serde_json::from_str(answer.text()).expect("the answer is JSON");
        for (n, (channel, data)) in said.into_iter().enumerate() {
            game.note(channel, data, Some(ids["ids"][n].as_u64().expect("an id for each")));
        }
    }

    fn say(&mut self, game: &Game) {
        let (channel, data) = (self.channel(), self.data());
        let command = serde_json::json!({ "publish": data, "channel": channel, "ref": self.said });
        let reply = self.socket.ask(&command.to_string());
        assert_eq!(reply["ref"], self.said, "{reply}");
        game.note(channel, data, Some(reply["id"].as_u64().expect("an id")));
    }
}

// --- Hopping ------------------------------------------------------------------------------------

struct Hopper {
    names: Vec<String>,
    dice: Dice,
    cursor: u64,
    heard: Vec<(u64, String, String)>,
    gaps: Vec<(u64, u64)>,
    hops: BTreeMap<&'static str, usize>,
    /// Hops in a row that brought nothing. Each makes the next one more patient: clients that give up
    /// before a busy server has come to them would keep it busy for ever.
    in_vain: u32,
    ended: BTreeSet<String>,
}

impl Hopper {
    fn new(game: &Game, number: usize) -> Self {
        let mut dice = Dice(game.seed.wrapping_mul(31).wrapping_add(number as u64));
        // A third have one channel, which is a path of its own through the server.
        let most = if number.is_multiple_of(3) { 1 } else { 1 + dice.below(8) };
        let names: BTreeSet<String> = (0..most).map(|_| format!("c{}", dice.below(CHANNELS))).collect();
        Hopper {
            names: names.into_iter().collect(),
            dice,
            cursor: game.start,
            heard: Vec::new(),
            gaps: Vec::new(),
            hops: BTreeMap::new(),
            in_vain: 0,
            ended: BTreeSet::new(),
        }
    }

    fn hop(mut self, game: &Game) -> Self {
        while self.ended.len() < self.names.len() && !game.failed.load(Ordering::Relaxed) {
            assert!(
                game.began.elapsed() < BOUND,
                "seed {}: after {BOUND:?} {:?} still wait for the end; cursor {}",
                game.seed,
                self.names,
                self.cursor
            );
            let transport = TRANSPORTS[self.dice.below(5)];
            *self.hops.entry(transport.name()).or_default() += 1;
            let before = self.cursor;
            self.listen(game, transport);
            self.in_vain = if self.cursor == before { self.in_vain + 1 } else { 0 };
            game.hops.fetch_add(1, Ordering::Relaxed);
        }
        self
    }

    /// One connection, from its beginning to the moment when it is cut.
    fn listen(&mut self, game: &Game, transport: Transport) {
        let mut stream = TcpStream::connect(game.server.address()).expect("the server listens");
        if self.dice.below(4) == 0 {
            socket2::SockRef::from(&stream).set_recv_buffer_size(4_096).expect("a socket option");
        }
        stream.set_read_timeout(Some(Duration::from_millis(5))).expect("a socket option");
        let mut request = self.request(transport);
        stream.write_all(request.as_bytes()).expect("the server reads");
        let mut received = Vec::new();
        let mut hearing = Hearing::new(transport);
        let mut bytes_left = [200, 3_000, 100_000][self.dice.below(3)];
        bytes_left = self.dice.below(bytes_left);
        let mut pauses_left = self.dice.below(4) << self.in_vain.min(8);
        let mut buffer = [0; 4_096];
        while bytes_left > 0 && self.ended.len() < self.names.len() {
            if self.dice.below(20) == 0 {
                // A slow reader: what is unsent piles up before it, or should not.
                let_pass(Duration::from_millis(3));
            }
            let size = (1 + self.dice.below(buffer.len())).min(bytes_left);
            match stream.read(&mut buffer[..size]) {
                // A poll that is answered may be over, if the server says so; it never does here.
                Ok(0) => panic!("seed {}: {transport:?} was ended by the server", game.seed),
                Ok(read) => {
                    bytes_left -= read;
                    received.extend_from_slice(&buffer[..read]);
                    let told = hearing.feed(&buffer[..read]).and_then(|told| self.take_to_heart(told));
                    let asks_again = told.unwrap_or_else(|e| {
                        let (names, said) = (&self.names, readable(&received));
                        panic!(
                            "seed {}: {names:?} by {transport:?}: {e}\n  C: {request}\n  S: {said}",
                            game.seed
                        )
                    });
                    if asks_again {
                        request = self.request(transport);
                        stream.write_all(request.as_bytes()).expect("the server reads");
                    }
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if pauses_left == 0 {
                        break;
                    }
                    pauses_left -= 1;
                }
                Err(e) => panic!("seed {}: {transport:?} broke: {e}", game.seed),
            }
        }
        if self.dice.below(2) == 0 {
            // A reset, and not an end.
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket option");
        }
    }

    fn request(&mut self, transport: Transport) -> String {
        let (names, cursor) = (self.names.join(","), self.cursor);
        let upgrade = if transport == Transport::Websocket { UPGRADE } else { "" };
        let (query, field) = match self.dice.below(3) {
            0 => (String::new(), format!("Last-Event-ID: {cursor}\r\n")),
            1 => (format!("&last_event_id={cursor}"), String::new()),
            _ => (format!("&since={cursor}&last=1"), String::new()),
        };
        let (name, host) = (transport.name(), "Host: localhost\r\n");
        format!("GET /channels/{names}?as={name}&envelope{query} HTTP/1.1\r\n{host}{field}{upgrade}\r\n")
    }

    /// Notes what it was told. Says whether it was a poll, and is over.
    fn take_to_heart(&mut self, told: Vec<Told>) -> Result<bool, String> {
        let mut asks_again = false;
        for told in told {
            match told {
                Told::Message(News { id: Some(id), channel, data, .. }) if id > self.cursor => {
                    self.cursor = id;
                    if data == END {
                        self.ended.insert(channel.clone());
                    }
                    self.heard.push((id, channel, data));
                }
                Told::Message(news) => return Err(format!("{:?} at {}", news.id, self.cursor)),
                Told::Gap { from, to } if self.cursor <= from && from <= to => self.gaps.push((from, to)),
                Told::Gap { from, to } => {
                    return Err(format!("a gap from {from} to {to} at {}", self.cursor));
                }
                Told::Beat(Some(cursor)) | Told::Since(cursor) if cursor >= self.cursor => {
                    self.cursor = cursor;
                    asks_again |= matches!(told, Told::Since(_));
                }
                Told::Beat(None) => {}
                other => return Err(format!("{other:?} at {}", self.cursor)),
            }
        }
        Ok(asks_again)
    }
}

// --- Judging ------------------------------------------------------------------------------------

/// A short name for a message in a failure's text.
fn brief(data: &str) -> &str {
    &data[..data.char_indices().nth(20).map_or(data.len(), |(at, _)| at)]
}

/// Nobody hears anything twice, out of order, or that was not said, or not there. Returns who hears what.
fn judge_what_was_heard(hopper: &Hopper, said: &[Said], seed: &str) -> BTreeSet<(String, String)> {
    let ids: HashMap<(&str, &str), Option<u64>> =
        said.iter().map(|said| ((said.channel.as_str(), said.data.as_str()), said.id)).collect();
    let mut latest = HashMap::new();
    for (id, channel, data) in &hopper.heard {
        let known = ids.get(&(channel.as_str(), data.as_str()));
        let known = known.unwrap_or_else(|| panic!("{seed}: nobody said {:?} in {channel}", brief(data)));
        assert!(known.is_none_or(|known| known == *id), "{seed}: {id} is not the id of {:?}", brief(data));
        let mut words = data.split(' ');
        let publisher = words.next().unwrap_or_default();
        let number: Option<usize> = words.next().and_then(|number| number.parse().ok());
        // One message to several channels is heard in each.
        let before = latest.insert(publisher, number);
        assert!(before.is_none_or(|before| before <= number), "{seed}: {:?} after {before:?}", brief(data));
    }
    let heard: BTreeSet<_> =
        hopper.heard.iter().map(|(_, channel, data)| (channel.clone(), data.clone())).collect();
    assert_eq!(heard.len(), hopper.heard.len(), "{seed}: something was heard twice");
    heard
}

fn check_that_all_transports_were_used(hoppers: &[Hopper]) {
    for transport in TRANSPORTS {
        let hops: usize = hoppers.iter().filter_map(|hopper| hopper.hops.get(transport.name())).sum();
        assert!(hops > 50, "only {hops} hops to {transport:?}");
    }
}

#[test]
fn hoppers_hear_ten_thousand_messages_exactly_once_and_in_order() {
    let setup = Setup::default()
        .setting("heartbeat", "\"50ms\"")
        .limit("history-messages-max", "20000")
        .limit("history-bytes-max", "\"32MiB\"");
    let game = Game::new(setup, 3, true);
    let seed = format!("seed {}", game.seed);
    let (hoppers, said) = game.play();
    assert!(said.len() >= MESSAGES);
    check_that_all_transports_were_used(&hoppers);
    for hopper in &hoppers {
        let heard = judge_what_was_heard(hopper, &said, &seed);
        let mine = said.iter().filter(|said| hopper.names.contains(&said.channel));
        for said in mine {
            let expected = (said.channel.clone(), said.data.clone());
            assert!(
                heard.contains(&expected),
                "{seed}: {:?} in {} was not heard",
                brief(&said.data),
                said.channel
            );
        }
        assert_eq!(hopper.gaps, [], "{seed}: nothing is gone");
    }
}

#[test]
fn hoppers_are_told_of_everything_that_short_histories_forgot() {
    let setup = Setup::default().setting("heartbeat", "\"50ms\"").limit("history-messages-max", "5");
    let game = Game::new(setup, 20, false);
    let seed = format!("seed {}", game.seed);
    let (hoppers, said) = game.play();
    check_that_all_transports_were_used(&hoppers);
    let mut missing_in_all = 0;
    for hopper in &hoppers {
        let heard = judge_what_was_heard(hopper, &said, &seed);
        let missing: BTreeSet<u64> = said
            .iter()
            .filter(|said| hopper.names.contains(&said.channel))
            .filter(|said| !heard.contains(&(said.channel.clone(), said.data.clone())))
            .map(|said| said.id.expect("known, when nothing is published at once"))
            .collect();
        missing_in_all += missing.len();
        for id in &missing {
            let told = hopper.gaps.iter().any(|&(from, to)| from < *id && *id <= to);
            assert!(told, "{seed}: {id} is missing in {:?}, and nobody said so", hopper.names);
        }
        for &(from, to) in &hopper.gaps {
            let missed = missing.range(from + 1..=to).next().is_some();
            assert!(missed, "{seed}: nothing is missing in the gap from {from} to {to}");
        }
    }
    assert!(missing_in_all > 100, "only {missing_in_all} messages were missed: too few to test anything");
}
