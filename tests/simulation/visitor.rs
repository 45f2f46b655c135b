//! Visitors: people who ask over plain HTTP, and know what each answer must be.
//!
//! A visitor sends a few questions in one piece. They arrive in several, and the answers leave over a line that
//! may take a few bytes at a time. Each must come, in order, framed as it has to be, and say what it has to;
//! and behind one that was the last, nothing may come but the end.
//!
//! Knows: requests and their answers. Never learns what subscribers are told.

use encke::config::Limits;
use encke::dialect::pages::{Embedded, Found, Page, Shelf};

use crate::common::find;

use super::dice::Dice;
use super::record::Log;
use super::script::CHANNELS;
use super::wire::Line;
use super::world::{READINGS_MOST, World};

/// In how many pieces a request arrives at the most: each costs a turn or more.
const PIECES_MOST: usize = 12;

/// A text that nobody may ever hear.
const UNHEARD: &str = "nobody";

/// What is asked, and what it must be answered.
pub struct Question {
    pub request: Vec<u8>,
    pub status: u16,
    /// Other statuses that are right as well: there may be too much of something.
    pub or: &'static [u16],
    pub body: Body,
    /// Lines that must be in the head.
    pub lines: Vec<String>,
    /// What the head must say of the connection.
    pub stays: Stays,
    /// The body was asked for first.
    pub continues: bool,
    /// What is published with it.
    pub text: Option<usize>,
}

/// What follows the head of an answer.
#[derive(Clone)]
pub enum Body {
    /// Something.
    Any,
    /// These bytes.
    Bytes(Vec<u8>),
    /// Nothing, though the length may say what would have followed (to a HEAD), or nothing at all (204, 304).
    Nothing,
}

/// Whether the connection goes on, and how that is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stays {
    /// It goes on, without a word.
    Yes,
    /// It goes on, and an HTTP/1.0 client is told so.
    Old,
    /// It ends, and that is said.
    No,
}

/// An answer, read.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Question {
    pub fn new(request: impl Into<Vec<u8>>, status: u16) -> Self {
        Question {
            request: request.into(),
            status,
            or: &[],
            body: Body::Any,
            lines: Vec::new(),
            stays: Stays::Yes,
            continues: false,
            text: None,
        }
    }

    pub fn get(target: &str) -> Self {
        Question::new(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"), 200)
    }

    fn body(self, body: &[u8]) -> Self {
        Question { body: Body::Bytes(body.to_vec()), ..self }
    }

    fn nothing(self) -> Self {
        Question { body: Body::Nothing, ..self }
    }

    fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    fn stays(self, stays: Stays) -> Self {
        Question { stays, ..self }
    }

    /// Takes its answer off what was heard, and says what is wrong with it.
    pub fn check(&self, heard: &mut Vec<u8>) -> Result<Answer, String> {
        let asked = String::from_utf8_lossy(&self.request[..self.request.len().min(60)]).into_owned();
        if self.continues && heard.starts_with(b"HTTP/1.1 100 ") {
            let end = find(heard, b"\r\n\r\n").ok_or("half an interim answer")?;
            heard.drain(..end + 4);
        } else if self.continues && heard.starts_with(b"HTTP/1.1 201 ") {
            return Err(format!("{asked:?} waits to be asked for its body, and never was"));
        }
        let answer = take(heard, matches!(self.body, Body::Nothing))
            .and_then(|answer| self.judge(&answer).map(|()| answer));
        answer.map_err(|error| format!("{error}, to {asked:?}"))
    }

    fn judge(&self, answer: &Answer) -> Result<(), String> {
        let Answer { status, head, body } = answer;
        if *status != self.status && !self.or.contains(status) {
            return Err(format!("{status} and not {}", self.status));
        }
        if head.lines().filter(|line| line.starts_with("Date: ")).count() != 1 {
            return Err(format!("no date, or two: {head}"));
        }
        if [429, 503].contains(status) != head.contains("\r\nRetry-After: ") {
            return Err(format!("when to try again: {head}"));
        }
        if *status != self.status {
            return Ok(());
        }
        let connection =
            head.lines().filter_map(|line| line.strip_prefix("Connection: ")).collect::<Vec<_>>();
        let expected: &[&str] = match self.stays {
            Stays::Yes => &[],
            Stays::Old => &["keep-alive"],
            Stays::No => &["close"],
        };
        if connection != expected {
            return Err(format!("the connection is said to {connection:?}, and must {expected:?}"));
        }
        if let Some(missing) = self.lines.iter().find(|line| !head.lines().any(|other| other == *line)) {
            return Err(format!("without {missing:?}: {head}"));
        }
        match &self.body {
            Body::Bytes(bytes) if bytes != body => Err(format!("{:?} and not {:?}", text(body), text(bytes))),
            _ => Ok(()),
        }
    }
}

/// Takes one answer off what was heard. One to a HEAD has a length, and `nothing` behind it.
fn take(heard: &mut Vec<u8>, nothing: bool) -> Result<Answer, String> {
    let end = find(heard, b"\r\n\r\n").ok_or_else(|| format!("no answer but {:?}", text(heard)))?;
    let head: Vec<u8> = heard.drain(..end + 4).collect();
    let head = String::from_utf8(head[..end].to_vec()).map_err(|error| error.to_string())?;
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.ok_or_else(|| format!("no status: {head}"))?;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let length = length.map(|digits| digits.parse::<usize>().map_err(|error| error.to_string()));
    let length = match length.transpose()? {
        _ if nothing => 0,
        Some(length) => length,
        None => return Err(format!("no length: {head}")),
    };
    if heard.len() < length {
        return Err(format!("{} of {length} bytes", heard.len()));
    }
    Ok(Answer { status, head, body: heard.drain(..length).collect() })
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned()
}

impl World {
    /// Somebody asks a few things, and gets his answers.
    pub fn visit(&mut self, seed: u64) -> Result<(), String> {
        let mut dice = Dice::new(seed);
        if self.leaving.is_some() || self.is_tight() {
            return Ok(());
        }
        self.settle()?;
        let Some(line) = self.connect_a_stranger(1 + dice.below(4_000))? else { return Ok(()) };
        let mut questions: Vec<Question> = (0..dice.below(5)).map(|_| self.question(&mut dice)).collect();
        questions.push(if dice.once_in(3) {
            self.last_question(&mut dice)
        } else {
            self.question(&mut dice)
        });
        let ends = questions.iter().any(|question| question.stays == Stays::No);
        let mut requests =
            questions.iter().map(|question| question.request.as_slice()).collect::<Vec<_>>().concat();
        if ends {
            // Nobody answers what comes behind the last request.
            requests.extend(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        }
        let closes = dice.once_in(3);
        let mut heard = self.converse(&line, &requests, 1 + dice.below(400), closes)?;
        for question in &questions {
            let answer = question.check(&mut heard)?;
            take_ids(question, &answer, &mut self.log)?;
        }
        if !heard.is_empty() {
            return Err(format!("{:?} behind the last answer", text(&heard)));
        }
        if line.borrow().is_closed() != (ends || closes) {
            return Err(format!(
                "a connection that was to end: {}, has: {}",
                ends || closes,
                !ends && !closes
            ));
        }
        line.borrow_mut().half_close();
        self.settle()
    }

    /// Sends bytes, which arrive in pieces, and reads until nothing more comes. `closes` if the sender's half is closed
    /// behind them.
    pub fn converse(
        &mut self,
        line: &Line,
        bytes: &[u8],
        piece: usize,
        closes: bool,
    ) -> Result<Vec<u8>, String> {
        line.borrow_mut().send(bytes);
        let piece = piece.max(bytes.len() / PIECES_MOST);
        while !line.borrow().has_arrived() {
            line.borrow_mut().arrive(piece);
            self.turn()?;
        }
        if closes {
            line.borrow_mut().half_close();
        }
        self.read_out(line)
    }

    /// Reads until nothing more comes.
    pub fn read_out(&mut self, line: &Line) -> Result<Vec<u8>, String> {
        let mut heard = Vec::new();
        for _ in 0..READINGS_MOST {
            self.settle()?;
            let read = line.borrow_mut().read(usize::MAX);
            if read.is_empty() {
                return Ok(heard);
            }
            heard.extend(read);
        }
        Err("answers without end".to_owned())
    }

    /// Something to ask, behind which the connection goes on.
    fn question(&mut self, dice: &mut Dice) -> Question {
        match dice.below(12) {
            0 => health(dice),
            1..4 => page(dice),
            4 => refused(dice, &self.settings.limits),
            5 => {
                let body =
                    format!("PUT /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n{UNHEARD:.5}");
                Question::new(body, 405).line("Allow: GET, HEAD, OPTIONS")
            }
            6 => Question::new("OPTIONS /channels/a HTTP/1.1\r\nHost: x\r\n\r\n", 204)
                .nothing()
                .line("Allow: GET, HEAD, OPTIONS, POST, DELETE"),
            7 => {
                let target = format!("/demo/backend.php?msg={UNHEARD}");
                Question::new(format!("HEAD {target} HTTP/1.1\r\nHost: x\r\n\r\n"), 200).nothing()
            }
            8 => {
                let request = "GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
                Question::new(format!("\r\n{request}3\r\nGET\r\n0\r\nX: y\r\n\r\n"), 200).body(b"ok\n")
            }
            _ => self.publication(dice),
        }
    }

    /// Something to ask that is the last on its connection.
    fn last_question(&mut self, dice: &mut Dice) -> Question {
        let limits = &self.settings.limits;
        let question = match dice.below(6) {
            0 => Question::new("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200)
                .body(b"ok\n"),
            1 => Question::new("GET /healthz HTTP/1.0\r\n\r\n", 200).body(b"ok\n"),
            2 => Question::new("GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            3 => {
                let length = limits.message_bytes_max + 1;
                let head =
                    format!("POST /channels/a HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
                Question::new(head, 413)
            }
            // The body may come or not.
            4 => Question::new(
                "GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
                200,
            ),
            _ => {
                let fields = limits.fields_max;
                let fields = "A: 1\r\n".repeat(fields);
                Question::new(format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{fields}\r\n"), 431)
            }
        };
        question.stays(Stays::No)
    }

    /// A message for a channel, in a body that comes in one of several ways.
    fn publication(&mut self, dice: &mut Dice) -> Question {
        let channel = dice.below(5);
        let bytes = if dice.once_in(4) { dice.below(3_000) } else { dice.below(40) };
        let number = self.log.text(channel, bytes);
        let data = self.log.data(number);
        let event = self.log.event(number).map_or(String::new(), |event| format!("?event={event}"));
        let expects = dice.once_in(4);
        let expect = if expects { "Expect: 100-continue\r\n" } else { "" };
        let target = format!("POST /channels/{}{event} HTTP/1.1\r\nHost: x\r\n{expect}", CHANNELS[channel]);
        let mut request = target.into_bytes();
        if dice.once_in(2) {
            request.extend(format!("Content-Length: {}\r\n\r\n{data}", data.len()).bytes());
        } else {
            request.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in data.as_bytes().chunks(1 + dice.below(200).max(data.len() / 20)) {
                let extension = if dice.once_in(3) { ";of=a;kind" } else { "" };
                request.extend(format!("{:03x}{extension}\r\n", chunk.len()).bytes());
                request.extend(chunk);
                request.extend(b"\r\n");
            }
            request.extend(b"0\r\nTrailer: dropped\r\n\r\n");
        }
        let or: &[u16] = if self.settings.limits.publish_rate_max > 0 { &[429] } else { &[] };
        Question { or, continues: expects, text: Some(number), ..Question::new(request, 201) }
    }
}

/// What became of a publication.
pub fn take_ids(question: &Question, answer: &Answer, log: &mut Log) -> Result<(), String> {
    let Some(number) = question.text else { return Ok(()) };
    if answer.status != 201 {
        return log.refuse(number);
    }
    let json: serde_json::Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    log.accept(number, json["id"].as_u64().ok_or("a message without id")?)
}

fn health(dice: &mut Dice) -> Question {
    let method = dice.one_of(&["GET", "HEAD"]);
    let is_old = dice.once_in(2);
    let (version, fields) =
        if is_old { ("1.0", "Connection: keep-alive\r\n") } else { ("1.1", "Host: x\r\n") };
    let question = Question::new(format!("{method} /healthz HTTP/{version}\r\n{fields}\r\n"), 200);
    let question = question.line("Content-Length: 3").stays(if is_old { Stays::Old } else { Stays::Yes });
    if method == "HEAD" { question.nothing() } else { question.body(b"ok\n") }
}

/// A page, for one who may have it already.
fn page(dice: &mut Dice) -> Question {
    let path = dice.one_of(&["/style.css", "/index.js", "/clock/"]);
    let Ok(Some(Found::Page(Page { etag, body, .. }))) = Embedded::new().find(path) else {
        unreachable!("these pages are part of the program");
    };
    let method = dice.one_of(&["GET", "GET", "HEAD"]);
    let (tags, is_known) = match dice.below(4) {
        0 => (format!("If-None-Match: \"other\", W/{etag}\r\n"), true),
        1 => ("If-None-Match: \"other\"\r\n".to_owned(), false),
        _ => (String::new(), false),
    };
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{tags}\r\n");
    let question = Question::new(request, if is_known { 304 } else { 200 }).line(format!("ETag: {etag}"));
    match method {
        _ if is_known => question.nothing(),
        "HEAD" => question.nothing().line(format!("Content-Length: {}", body.len())),
        _ => question.body(&body),
    }
}

/// What is refused, and leaves the connection usable.
fn refused(dice: &mut Dice, limits: &Limits) -> Question {
    let post = |target: &str, fields: &str, body: &[u8]| {
        let length = body.len();
        let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    };
    let problem = "Content-Type: application/problem+json";
    match dice.below(5) {
        0 => Question::new("GET /nothing/here HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        1 => Question::new("GET /channels/a?as=pigeon HTTP/1.1\r\nHost: x\r\n\r\n", 400).line(problem),
        2 => Question::new(post("/channels/$clock", "", UNHEARD.as_bytes()), 403).line(problem),
        3 => {
            // All or none.
            let lines = format!("{{\"channel\":\"a\",\"data\":\"{UNHEARD}\"}}\n{{\"channel\":\"a\"}}\n");
            Question::new(post("/channels", "Content-Type: application/x-ndjson\r\n", lines.as_bytes()), 400)
        }
        _ => {
            let names =
                (0..=limits.subscription_channels_max).map(|n| format!("c{n}")).collect::<Vec<_>>().join(",");
            Question::new(format!("GET /channels/{names} HTTP/1.1\r\nHost: x\r\n\r\n"), 400).line(problem)
        }
    }
}
