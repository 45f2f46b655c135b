//! A request's body. The first line of the input says how long it is: digits, or anything else for
//! chunks. The rest is what a client sends.
//!
//! What is read, where it ends and what is refused does not depend on the pieces, nor on whether
//! anybody wants it. Data beyond the limit is never handed on. What came in chunks is the same in
//! one chunk.

use encke::wire::http::{BodyFraming, BodyReader, CHUNK_END, LAST_CHUNK, chunk_head};
use encke::wire::refusal::Refusal;

use crate::pieces::cuts;

/// So low that an input of a few lines reaches it; and more than any input has.
const LIMITS: [u64; 2] = [20, 1 << 20];

pub fn body(input: &[u8]) {
    let line = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let digits = std::str::from_utf8(&input[..line]).ok().and_then(|digits| digits.parse().ok());
    let framing = digits.map_or(BodyFraming::Chunked, BodyFraming::Length);
    let sent = input.get(line + 1..).unwrap_or_default();
    for limit in LIMITS {
        let read: Vec<_> = cuts(sent).iter().map(|pieces| read(framing, limit, pieces, true)).collect();
        assert!(read.windows(2).all(|two| two[0] == two[1]), "pieces matter: {read:?}");
        let skipped = self::read(framing, limit, &[sent], false);
        let outcome = |read: &Read| (read.used, read.outcome.clone());
        assert_eq!(outcome(&read[0]), outcome(&skipped), "it matters whether anybody wants it");
        check(framing, limit, sent, &read[0]);
    }
}

#[derive(Debug, PartialEq)]
struct Read {
    data: Vec<u8>,
    used: usize,
    /// Whether all of it has come.
    outcome: Result<bool, Refusal>,
}

fn read(framing: BodyFraming, limit: u64, pieces: &[&[u8]], wanted: bool) -> Read {
    let mut read = Read { data: Vec::new(), used: 0, outcome: Ok(false) };
    let mut reader = match BodyReader::new(framing, limit) {
        Ok(reader) => reader,
        Err(refusal) => return Read { outcome: Err(refusal), ..read },
    };
    read.outcome = Ok(reader.is_done());
    for piece in pieces {
        let progress = if wanted { reader.read(piece, &mut read.data) } else { reader.skip(piece) };
        match progress {
            Ok(progress) => {
                read.used += progress.used;
                read.outcome = Ok(progress.done);
                assert_eq!(progress.done, reader.is_done());
                assert!(
                    progress.done || progress.used == piece.len(),
                    "bytes are left and nothing is missing"
                );
            }
            Err(refusal) => {
                // How far it came before is nobody's business: the connection ends.
                return Read { used: 0, outcome: Err(refusal), ..read };
            }
        }
    }
    read
}

fn check(framing: BodyFraming, limit: u64, sent: &[u8], read: &Read) {
    assert!(read.data.len() as u64 <= limit, "more than is allowed was handed on");
    match &read.outcome {
        Err(refusal) => {
            crate::check_refusal(refusal);
            assert!(refusal.close, "{refusal:?}");
        }
        Ok(done) => match framing {
            BodyFraming::Length(length) => {
                assert_eq!(read.data, sent[..read.used]);
                assert_eq!(*done, read.used as u64 == length);
            }
            BodyFraming::Chunked if *done => check_in_one_chunk(&read.data),
            BodyFraming::Chunked | BodyFraming::None => {}
        },
    }
}

fn check_in_one_chunk(data: &[u8]) {
    let mut sent = Vec::new();
    if !data.is_empty() {
        chunk_head(data.len(), &mut sent);
        sent.extend([data, CHUNK_END].concat());
    }
    sent.extend(LAST_CHUNK);
    let again = read(BodyFraming::Chunked, data.len() as u64, &[&sent], true);
    assert_eq!(again, Read { data: data.to_owned(), used: sent.len(), outcome: Ok(true) });
}
