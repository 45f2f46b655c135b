//! Tables: a request, what must come back, and every way to cut the request into pieces.
//!
//! A parser that sees the end of a line only when it comes in one read is a parser with a
//! hole; so each request of a table is sent whole, cut in two at the interesting places, and
//! byte by byte. Failures are collected: one run shows all of them.
//!
//! Knows: cases. Never learns which rule a case is about.

use super::{Answer, Asked, Client, Server};

/// What becomes of the connection after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It serves the next request.
    Lives,
    /// The answer says `close`, and the connection ends.
    Closes,
    /// Either, as long as the answer says which.
    Either,
}

/// One row: a sentence, bytes, and what they are answered with.
pub struct Case {
    pub name: String,
    pub bytes: Vec<u8>,
    pub statuses: Vec<u16>,
    pub after: After,
}

/// A row whose answer has one of `statuses`.
pub fn case(name: impl Into<String>, bytes: impl Into<Vec<u8>>, statuses: &[u16], after: After) -> Case {
    Case { name: name.into(), bytes: bytes.into(), statuses: statuses.to_vec(), after }
}

/// Plays every case in every cut; fails with the list of all that went wrong.
pub fn conform(server: &Server, cases: &[Case]) {
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            // The first failing cut of a case tells the story; its other cuts would only repeat it.
            cuts(&case.bytes).into_iter().find_map(|cut| play(server, case, &cut).err())
        })
        .collect();
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

fn play(server: &Server, case: &Case, cut: &[usize]) -> Result<(), String> {
    let mut client = Client::connect(server);
    let mut from = 0;
    let ends = cut.iter().copied().chain([case.bytes.len()]);
    let pieces = ends.map(|to| &case.bytes[std::mem::replace(&mut from, to)..to]);
    client.send_pieces(server, pieces);
    judge(&mut client, case).map_err(|e| {
        let way = match cut {
            [] => "in one piece".to_owned(),
            [at] => format!("cut at {at}"),
            _ => format!("in {} pieces", cut.len() + 1),
        };
        format!("- {} ({way}): {e}{}", case.name, client.transcript())
    })
}

fn judge(client: &mut Client, case: &Case) -> Result<(), String> {
    let answer: Answer = client.try_answer(Asked::by(&case.bytes))?;
    if !case.statuses.contains(&answer.status()) {
        return Err(format!("answered {}, expected one of {:?}", answer.status(), case.statuses));
    }
    let expected = match case.after {
        After::Either => answer.closes(),
        After::Closes => true,
        After::Lives => false,
    };
    if answer.closes() != expected {
        return Err(format!("the answer says close: {}, expected {expected}", answer.closes()));
    }
    if expected {
        return client.try_end();
    }
    client
        .try_send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .map_err(|e| format!("the next request: {e}"))?;
    let next = client.try_answer(Asked::GET).map_err(|e| format!("the next request: {e}"))?;
    match (next.status(), next.body.trim_ascii_end()) {
        (200, b"ok") => Ok(()),
        (status, _) => Err(format!("the next request was answered {status}")),
    }
}

/// The ways to cut `bytes`: not at all, in two at several places, into single bytes. Long
/// requests are cut into longer pieces, or the test would last for minutes.
fn cuts(bytes: &[u8]) -> Vec<Vec<usize>> {
    let length = bytes.len();
    let mut all = vec![vec![]];
    if length > 2_000 {
        all.extend([vec![length / 2], vec![length - 1], (1..length).step_by(997).collect()]);
        return all;
    }
    // Around every line end at first (they are where parsers differ), then wherever there is room.
    let near_line_end = |&at: &usize| b"\r\n".contains(&bytes[at - 1]) || b"\r\n".contains(&bytes[at]);
    let (near, far): (Vec<usize>, Vec<usize>) = (1..length).partition(near_line_end);
    let spread = |places: &[usize], most: usize| -> Vec<Vec<usize>> {
        let step = places.len().div_ceil(most).max(1);
        places.iter().step_by(step).map(|&at| vec![at]).collect()
    };
    all.extend(spread(&near, 8));
    all.extend(spread(&far, 6));
    all.push((1..length).collect());
    all
}
