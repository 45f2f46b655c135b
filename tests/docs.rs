//! The documents tell the truth: what they show is played against the real binary.
//!
//! There are two kinds of example. *Transcripts* are conversations byte for byte, kept in
//! `tests/transcripts/` (whose README says how to read them), played over a raw socket, and quoted
//! literally by the pages in `docs/transports/`. *Consoles* are commands and what they print; those of
//! `docs/api.md` are carried out by a shell, in order, against one fresh server.
//!
//! Three things differ from run to run, and nothing else may: ids, dates, and how long a
//! browser is told to wait before it comes back.
//!
//! Knows: documents, sockets, a shell. Never learns what is inside the server.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Client, Scratch, Server, Setup, readable, until};
use serde_json::Value;

/// The transports, by the names of their pages and transcripts.
const TRANSPORTS: &[&str] = &["event-stream", "iframe", "long-poll", "ndjson", "websocket"];

/// Digits of an id, from 2001 to 2286.
const ID_DIGITS: usize = 16;

/// What a `Date` line says.
const DATE_BYTES: usize = "Sun, 22 Nov 2026 22:08:43 GMT".len();

// --- Transcripts --------------------------------------------------------------------------------

#[test]
fn the_event_stream_speaks_as_its_transcript_says() {
    play("event-stream");
}

#[test]
fn the_iframe_speaks_as_its_transcript_says() {
    play("iframe");
}

#[test]
fn the_long_poll_speaks_as_its_transcript_says() {
    play("long-poll");
}

#[test]
fn ndjson_speaks_as_its_transcript_says() {
    play("ndjson");
}

#[test]
fn the_websocket_speaks_as_its_transcript_says() {
    play("websocket");
}

#[test]
fn pages_quote_their_transcripts_literally() {
    for name in TRANSPORTS {
        let page = read(&format!("docs/transports/{name}.md"));
        for scene in scenes(&read(&format!("tests/transcripts/{name}.txt"))) {
            let quote = format!("```text\n{}\n```\n", scene.text);
            assert!(
                page.contains(&quote),
                "docs/transports/{name}.md: expected in a fence, word for word:\n{quote}"
            );
        }
    }
}

// --- Rules --------------------------------------------------------------------------------------

/// A row names tests as `FILE.rs`: `NAME`, `NAME`; `FILE.rs`: `NAME`.
#[test]
fn every_rule_of_the_conformance_page_has_tests_that_exist() {
    let page = read("docs/conformance.md");
    let mut offences = Vec::new();
    for row in page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| rule |")) {
        let mut columns = row.trim_matches('|').rsplitn(2, '|');
        let (tests, rule) = (columns.next().unwrap_or_default(), columns.next().unwrap_or_default());
        let (mut path, mut text, mut named) = ("", String::new(), 0);
        for name in tests.split('`').skip(1).step_by(2) {
            if name.ends_with(".rs") {
                (path, text) = (name, read(name));
            } else if text.contains(&format!("fn {name}(")) {
                named += 1;
            } else {
                offences.push(format!("{rule}: there is no test {name} in {path}"));
            }
        }
        if named == 0 {
            offences.push(format!("{rule}: no test is named"));
        }
    }
    assert!(page.matches("| rule |").count() >= 5, "the page has lost its tables");
    assert!(offences.is_empty(), "docs/conformance.md:\n  {}", offences.join("\n  "));
}

/// One connection from its beginning to its end.
struct Scene {
    text: String,
    /// Lines of a configuration file; a scene that has any is played on a server of its own.
    settings: String,
    steps: Vec<Step>,
}

enum Step {
    /// The client sends this.
    Client(Vec<u8>),
    /// The server sends exactly this.
    Server(Vec<u8>),
    /// Somebody else asks for this, in a request of his own: method, target, body.
    Publisher(String, String, String),
    /// The server ends the connection.
    End,
}

fn play(name: &str) {
    let path = format!("tests/transcripts/{name}.txt");
    let server = Server::start();
    let mut likeness = Likeness::default();
    for scene in scenes(&read(&path)) {
        let played = if scene.settings.is_empty() {
            perform(&server, &scene, &mut likeness)
        } else {
            let scratch = Scratch::new();
            let config = scratch.write("encke.toml", &scene.settings);
            let server = Setup::default().arg("--config").arg(config.to_str().expect("a plain path")).start();
            perform(&server, &scene, &mut Likeness::default())
        };
        played.unwrap_or_else(|difference| panic!("{path}: {difference}\nin the scene\n{}", scene.text));
    }
}

fn perform(server: &Server, scene: &Scene, likeness: &mut Likeness) -> Result<(), String> {
    let mut client = Client::connect(server);
    let mut asked = false;
    for step in &scene.steps {
        match step {
            Step::Client(bytes) => client.send(likeness.actual(bytes)),
            Step::Server(expected) => likeness.compare(expected, &client.take(expected.len()))?,
            Step::Publisher(method, target, body) => {
                if asked {
                    until("the poll is held", || held_polls(server) > 0);
                }
                let length = body.len();
                let mut publisher = Client::connect(server);
                publisher.send(format!(
                    "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
                ));
                let answer = publisher.answer();
                assert!(answer.status() < 300, "{}", answer.text());
            }
            Step::End => client.ends(),
        }
        asked = matches!(step, Step::Client(_));
    }
    if scene.settings.is_empty() && client.has_news() {
        return Err(format!("more than was expected: {}", readable(&client.overheard())));
    }
    Ok(())
}

fn held_polls(server: &Server) -> u64 {
    let stats: Value = serde_json::from_slice(&Client::connect(server).get("/stats").body).expect("JSON");
    stats["subscribers"]["poll"].as_u64().expect("a number")
}

/// The scenes of a transcript: what is between its empty lines.
fn scenes(transcript: &str) -> Vec<Scene> {
    transcript.trim_end().split("\n\n").map(scene).collect()
}

fn scene(text: &str) -> Scene {
    let mut scene = Scene { text: text.to_owned(), settings: String::new(), steps: Vec::new() };
    let (mut client_head, mut server_head) = (false, false);
    for line in text.lines() {
        let Some((who, said)) = line.split_at_checked(2) else {
            panic!("not a line of a transcript: {line}")
        };
        let said = said.strip_prefix(' ').unwrap_or(said);
        match who {
            "# " => {
                scene.settings.extend(said.strip_prefix("with ").map(|setting| format!("{setting}\n")));
            }
            "C:" => match scene.steps.last_mut() {
                Some(Step::Client(bytes)) => bytes.extend(bytes_of(said, &mut client_head)),
                _ => scene.steps.push(Step::Client(bytes_of(said, &mut client_head))),
            },
            "S:" => match scene.steps.last_mut() {
                Some(Step::Server(bytes)) => bytes.extend(bytes_of(said, &mut server_head)),
                _ => scene.steps.push(Step::Server(bytes_of(said, &mut server_head))),
            },
            "P:" => {
                let mut words = said.splitn(3, ' ').map(str::to_owned);
                let mut word = || words.next().unwrap_or_default();
                scene.steps.push(Step::Publisher(word(), word(), word()));
            }
            "S." => scene.steps.push(Step::End),
            _ => panic!("not a line of a transcript: {line}"),
        }
    }
    scene
}

/// The bytes that a line stands for. Lines of a head end with CRLF; elsewhere everything is written out.
fn bytes_of(said: &str, in_head: &mut bool) -> Vec<u8> {
    *in_head |= said.starts_with("HTTP/1.1 ") || said.ends_with(" HTTP/1.1");
    if *in_head {
        *in_head = !said.is_empty();
        return format!("{said}\r\n").into_bytes();
    }
    let mut bytes = Vec::new();
    let mut rest = said;
    while let Some(at) = rest.find(['⏎', '‹']) {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        if let Some(behind) = rest[at..].strip_prefix('⏎') {
            bytes.push(b'\n');
            rest = behind;
        } else {
            let (inside, behind) = rest[at + '‹'.len_utf8()..].split_once('›').expect("a bracket closes");
            bytes.extend(bytes_in_brackets(inside));
            rest = behind;
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// `81 2d`, or `20 × 1000` for a byte many times.
fn bytes_in_brackets(inside: &str) -> Vec<u8> {
    let byte = |digits: &str| u8::from_str_radix(digits, 16).expect("two hexadecimal digits");
    match inside.split_once(" × ") {
        Some((digits, times)) => vec![byte(digits); times.parse().expect("a number of times")],
        None => inside.split(' ').map(byte).collect(),
    }
}

// --- Consoles -----------------------------------------------------------------------------------

#[test]
fn the_commands_of_the_api_page_print_what_it_shows() {
    let server = Server::start();
    let mut likeness = Likeness::default();
    let mut count = 0;
    for (command, printed) in commands(&read("docs/api.md")) {
        let carried_out = carry_out(&server, &command, &printed, &mut likeness);
        carried_out.unwrap_or_else(|difference| panic!("docs/api.md: $ {command}\n{difference}"));
        count += 1;
    }
    assert!(count > 10, "the page has lost its examples: {count} are left");
}

/// All commands of a page's consoles, each with what it prints.
fn commands(page: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    let mut in_console = false;
    for line in page.lines() {
        if line.starts_with("```") {
            in_console = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| in_console) {
            commands.push((command.to_owned(), String::new()));
        } else if in_console {
            let (command, printed) = commands.last_mut().expect("a console begins with a command");
            if command.ends_with('\\') {
                command.push_str(&format!("\n{line}"));
            } else {
                printed.push_str(&format!("{line}\n"));
            }
        }
    }
    commands
}

/// A command that does not end by itself is shown with `^C` at its end, and is ended once it has printed
/// what it should.
fn carry_out(server: &Server, command: &str, printed: &str, likeness: &mut Likeness) -> Result<(), String> {
    let scratch = Scratch::new();
    let out = scratch.path().join("stdout");
    let command = command.replace("127.0.0.1:8080", &server.address().to_string());
    let command = String::from_utf8(likeness.actual(command.as_bytes())).expect("it was text before");
    let mut shell = Command::new("sh")
        .arg("-c")
        // Without a shell between us and a command that has to be ended from outside.
        .arg(if printed.ends_with("^C\n") { format!("exec {command}") } else { command.clone() })
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .stdout(File::create(&out).expect("the scratch is writable"))
        .spawn()
        .expect("there is a shell");
    let so_far = || fs::read_to_string(&out).expect("what is printed is text").replace("\r\n", "\n");
    let (expected, actual) = match printed.strip_suffix("^C\n") {
        None => {
            let status = shell.wait().expect("the child is ours");
            assert!(status.code() != Some(127), "this test needs a command that is not there: {command}");
            (printed.trim_end(), so_far().trim_end().to_owned())
        }
        Some(expected) => {
            until("the command has printed enough", || so_far().len() >= expected.len());
            shell.kill().expect("the child is ours");
            shell.wait().expect("the child is ours");
            (expected, so_far()[..expected.len()].to_owned())
        }
    };
    likeness.compare(expected.as_bytes(), actual.as_bytes())
}

// --- Tables -------------------------------------------------------------------------------------

#[test]
fn every_number_has_a_row_in_the_metrics_page() {
    let server = Server::start();
    let metrics = Client::connect(&server).get("/metrics");
    let mut told: BTreeSet<String> = metrics
        .text()
        .lines()
        // Of a histogram's many lines, one.
        .filter(|line| !line.starts_with('#') && !line.contains("_bucket{") && !line.contains("_sum"))
        .map(|line| line.rsplit_once(' ').expect("a name and a value").0.replace("_count", ""))
        .collect();
    let stats: Value = serde_json::from_slice(&Client::connect(&server).get("/stats").body).expect("JSON");
    for (key, value) in stats.as_object().expect("an object") {
        match value.as_object().filter(|parts| !parts.contains_key("p50")) {
            Some(parts) => told.extend(parts.keys().map(|part| format!("{key}.{part}"))),
            None => drop(told.insert(key.clone())),
        }
    }
    let page = read("docs/metrics.md");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let explained: BTreeSet<String> = rows
        .flat_map(|row| row.split(" | ").take(2))
        .map(|cell| cell.trim_matches(['|', ' ', '`']).to_owned())
        .collect();
    assert_eq!(explained, told, "left: docs/metrics.md; right: the server");
}

#[test]
fn every_limit_is_in_the_limits_page() {
    let page = read("docs/limits.md");
    let config = Command::new(env!("CARGO_BIN_EXE_encke")).arg("config").output().expect("the binary runs");
    let config = String::from_utf8(config.stdout).expect("text");
    let (_, limits) = config.split_once("[limits]").expect("there are limits");
    let keys =
        limits.lines().filter_map(|line| line.strip_prefix('#')?.split_once(" = ")).map(|(key, _)| key);
    let missing: Vec<&str> =
        keys.filter(|key| key.contains('-') && !page.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "docs/limits.md does not name {missing:?}");
}

#[test]
fn what_documents_call_by_name_has_that_name() {
    let sources: String = files("src").iter().map(|path| read(path)).collect();
    let words: BTreeSet<&str> = sources.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
    let mut missing = Vec::new();
    for path in files("docs").into_iter().filter(|path| path.ends_with(".md")) {
        let page = read(&path);
        for name in page.lines().flat_map(|line| line.split('`').skip(1).step_by(2)) {
            let is_constant = name.contains('_') && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
            let parts: Vec<&str> =
                name.split("::").map(|part| part.split('(').next().expect("one")).collect();
            let is_path = parts.len() > 1 && parts.iter().all(|part| is_identifier(part));
            if (is_constant || is_path) && !parts.iter().all(|part| words.contains(part)) {
                missing.push(format!("{path}: {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "not in src/:\n  {}", missing.join("\n  "));
}

#[test]
fn the_tests_that_the_security_page_names_are_there() {
    let tests: Vec<String> =
        ["src", "tests"].iter().flat_map(|folder| files(folder)).map(|path| read(&path)).collect();
    let page = read("docs/security.md");
    let names = page.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let named: BTreeSet<&str> = names
        .filter(|name| name.matches('_').count() > 2 && is_identifier(name) && name.to_lowercase() == *name)
        .collect();
    assert!(named.len() > 20, "the page names its tests: {named:?}");
    let is_there = |name: &&str| tests.iter().any(|text| text.contains(&format!("fn {name}()")));
    let missing: Vec<&str> = named.into_iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "docs/security.md names tests that are not there: {missing:?}");
}

fn is_identifier(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

// --- Likeness -----------------------------------------------------------------------------------

/// What stands for what: the ids of the example, and those of this run, which come in the same order.
#[derive(Default)]
struct Likeness {
    ids: BTreeMap<u64, u64>,
}

impl Likeness {
    /// An example, as it has to be said in this run. An id that the server never gave is said as it is.
    fn actual(&mut self, example: &[u8]) -> Vec<u8> {
        let mut said = example.to_vec();
        for at in (0..example.len()).filter(|&at| id_at(example, at).is_some()) {
            let id = id_at(example, at).expect("filtered by it");
            let actual = self.ids.entry(id).or_insert(id);
            said[at..at + ID_DIGITS].copy_from_slice(actual.to_string().as_bytes());
        }
        said
    }

    /// Whether `actual` is what `expected` shows, but for what differs from run to run.
    fn compare(&mut self, expected: &[u8], actual: &[u8]) -> Result<(), String> {
        let difference = |at: usize, what: &str| {
            let from = |bytes: &[u8]| readable(&bytes[at.min(bytes.len())..]);
            format!("{what}\n  expected … {}\n  found    … {}", from(expected), from(actual))
        };
        let mut at = 0;
        while at < expected.len() {
            let rest = actual.get(at..).unwrap_or_default();
            at += if let Some(example) = id_at(expected, at) {
                let id = id_at(actual, at).ok_or_else(|| difference(at, "not an id"))?;
                if *self.ids.entry(example).or_insert(id) != id {
                    return Err(difference(at, "another id"));
                }
                ID_DIGITS
            } else if expected[at..].starts_with(b"Date: ") && rest.starts_with(b"Date: ") {
                "Date: ".len() + DATE_BYTES
            } else if expected[at..].starts_with(b"retry: ") && rest.starts_with(b"retry: ") {
                "retry: 1234".len()
            } else if rest.first() == Some(&expected[at]) {
                1
            } else {
                return Err(difference(at, "a difference"));
            };
        }
        if actual.len() > expected.len() {
            return Err(difference(expected.len(), "more than was expected"));
        }
        if !self.ids.values().is_sorted_by(|one, next| one < next) {
            return Err(format!("ids in another order than in the example: {:?}", self.ids));
        }
        Ok(())
    }
}

/// The id that stands there, and nothing but it.
fn id_at(bytes: &[u8], at: usize) -> Option<u64> {
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let alone = (at == 0 || !is_digit(at - 1)) && !is_digit(at + ID_DIGITS);
    let digits = bytes.get(at..at + ID_DIGITS).filter(|_| alone)?;
    let all = digits.iter().all(u8::is_ascii_digit);
    all.then(|| digits.iter().fold(0, |id, digit| id * 10 + u64::from(digit - b'0')))
}

fn read(path: &str) -> String {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(full).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files under a folder.
fn files(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).expect("a folder");
    let mut found = Vec::new();
    for entry in entries.map(|entry| entry.expect("a folder can be listed")) {
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.retain(|path| path.ends_with(".rs") || path.ends_with(".md"));
    found
}
