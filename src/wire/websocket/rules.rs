//! The rules for frames, one test each: what a client may send, and what it is told if it sends
//! something else.
//!
//! Whatever is read here is read in one piece and byte by byte, and must come out the same.

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { message_bytes_max: 256 * 1024, fragments_max: 64, takes_binary: true };

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// An event that outlives the reader.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

impl From<Event<'_>> for Heard {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Heard::Text(text.into()),
            Event::Binary(bytes) => Heard::Binary(bytes.into()),
            Event::Ping(payload) => Heard::Ping(payload.into()),
            Event::Pong => Heard::Pong,
            Event::Close(code) => Heard::Close(code.map(|code| code.0)),
        }
    }
}

fn text(text: &str) -> Heard {
    Heard::Text(text.into())
}

/// Reads these pieces one after the other as an engine would, dropping the reader whenever that is allowed.
fn listen<'i>(
    pieces: impl IntoIterator<Item = &'i [u8]>,
    limits: &Limits,
) -> (Vec<Heard>, Option<Violation>) {
    let mut heard = Vec::new();
    let mut reader = Reader::default();
    for mut piece in pieces {
        while !piece.is_empty() {
            match reader.next(piece, limits) {
                Ok((used, event)) => {
                    assert!(used > 0, "a reader that does not move");
                    assert!(event.is_some() || used == piece.len(), "it stopped for no reason");
                    heard.extend(event.map(Heard::from));
                    piece = &piece[used..];
                }
                Err(violation) => {
                    assert!(violation.code.is_sendable() && violation.reason.len() <= REASON_BYTES_MAX);
                    assert_eq!(reader.next(b"\x81\x80....", limits), Ok((6, None)), "it has ended");
                    return (heard, Some(violation));
                }
            }
            if reader.is_idle() {
                reader = Reader::default();
            }
        }
    }
    (heard, None)
}

/// What is heard, however the bytes are cut, or the code of the close frame that they earn.
#[track_caller]
fn hear(bytes: impl AsRef<[u8]>) -> Result<Vec<Heard>, u16> {
    hear_within(bytes, &LIMITS)
}

#[track_caller]
fn hear_within(bytes: impl AsRef<[u8]>, limits: &Limits) -> Result<Vec<Heard>, u16> {
    let bytes = bytes.as_ref();
    let at_once = listen([bytes], limits);
    assert_eq!(at_once, listen(bytes.chunks(1), limits), "pieces matter: {}", bytes.escape_ascii());
    match at_once {
        (heard, None) => Ok(heard),
        (_, Some(violation)) => Err(violation.code.0),
    }
}

/// A client's frame: its first byte as it is, then the length in as few bytes as it fits, masked.
fn masked(first: u8, payload: impl AsRef<[u8]>, mask: [u8; 4]) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut out = Vec::new();
    frame(Opcode::Text, payload, &mut out);
    let head_bytes = out.len() - payload.len();
    out[0] = first;
    out[1] |= MASKED;
    out.splice(head_bytes.., mask);
    // Byte by byte, as the RFC says it: the reader has a faster way.
    out.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
    out
}

/// A final frame.
fn whole(opcode: Opcode, payload: impl AsRef<[u8]>) -> Vec<u8> {
    masked(FINAL | opcode as u8, payload, MASK)
}

/// A frame with more to come.
fn part(opcode: Opcode, payload: impl AsRef<[u8]>) -> Vec<u8> {
    masked(opcode as u8, payload, MASK)
}

fn close_with(code: u16, reason: &[u8]) -> Vec<u8> {
    whole(Opcode::Close, [&code.to_be_bytes(), reason].concat())
}

// --- What is heard ------------------------------------------------------------------------------

#[test]
fn the_examples_of_the_rfc_are_heard_as_it_says() {
    assert_eq!(hear(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), Ok(vec![text("Hello")]));
    assert_eq!(hear(b"\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), Ok(vec![Heard::Ping(b"Hello".into())]));
    assert_eq!(hear(b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), Ok(vec![Heard::Pong]));
}

#[test]
fn a_message_of_every_kind_of_length_is_heard_whole() {
    for length in [0, 1, 7, 8, 9, 125, 126, 127, 128, 65_535, 65_536, 65_537] {
        let payload: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        let heard = hear(whole(Opcode::Binary, &payload)).unwrap();
        assert_eq!(heard, [Heard::Binary(payload)], "{length}");
        let letters = "x".repeat(length);
        assert_eq!(hear(whole(Opcode::Text, &letters)), Ok(vec![text(&letters)]), "{length}");
    }
}

#[test]
fn every_mask_comes_off_at_every_offset() {
    let payload: Vec<u8> = (0..=255).collect();
    let masks = [[0; 4], [255; 4], [1, 2, 3, 4], [0, 0, 0, 1], [0x80, 0, 0, 0], MASK];
    for (mask, length) in masks.into_iter().flat_map(|mask| (0..40).map(move |length| (mask, length))) {
        let bytes = masked(FINAL | Opcode::Binary as u8, &payload[..length], mask);
        for pieces in 1..12 {
            let heard = listen(bytes.chunks(pieces), &LIMITS);
            assert_eq!(heard, (vec![Heard::Binary(payload[..length].into())], None), "{mask:?} {pieces}");
        }
    }
}

#[test]
fn fragments_are_put_together() {
    let bytes = [
        part(Opcode::Text, "all "),
        part(Opcode::Continuation, ""),
        part(Opcode::Continuation, "in "),
        whole(Opcode::Continuation, "one"),
    ];
    assert_eq!(hear(bytes.concat()), Ok(vec![text("all in one")]));
    let empty = [part(Opcode::Binary, ""), whole(Opcode::Continuation, "")];
    assert_eq!(hear(empty.concat()), Ok(vec![Heard::Binary(vec![])]));
}

#[test]
fn control_frames_are_heard_between_fragments_and_disturb_nothing() {
    let bytes = [
        part(Opcode::Text, "one "),
        whole(Opcode::Ping, "still there?"),
        part(Opcode::Continuation, "and "),
        whole(Opcode::Pong, "yes"),
        whole(Opcode::Ping, [7; 125]),
        whole(Opcode::Continuation, "two"),
        whole(Opcode::Text, "three"),
    ];
    let heard = vec![
        Heard::Ping(b"still there?".into()),
        Heard::Pong,
        Heard::Ping(vec![7; 125]),
        text("one and two"),
        text("three"),
    ];
    assert_eq!(hear(bytes.concat()), Ok(heard));
}

#[test]
fn the_caller_may_stop_after_any_event_and_go_on_later() {
    let bytes = [whole(Opcode::Text, "one"), whole(Opcode::Ping, "p"), whole(Opcode::Text, "two")].concat();
    let mut reader = Reader::default();
    let mut at = 0;
    for expected in [Event::Text("one"), Event::Ping(b"p"), Event::Text("two")] {
        let (used, event) = reader.next(&bytes[at..], &LIMITS).unwrap();
        assert_eq!(event, Some(expected));
        at += used;
    }
    assert_eq!(at, bytes.len());
    assert_eq!(reader.next(b"", &LIMITS), Ok((0, None)));
}

#[test]
fn nothing_is_heard_after_a_close() {
    let bytes = [close_with(1000, b"bye"), whole(Opcode::Text, "wait"), b"\xff\xff\xff".into()].concat();
    assert_eq!(hear(bytes), Ok(vec![Heard::Close(Some(1000))]));
}

#[test]
fn a_reader_is_idle_between_messages_and_only_there() {
    let mut reader = Reader::default();
    let bytes =
        [part(Opcode::Text, "ab"), whole(Opcode::Ping, "p"), whole(Opcode::Continuation, "c")].concat();
    for (at, byte) in bytes.iter().enumerate() {
        assert_eq!(reader.is_idle(), at == 0, "after {at} bytes");
        reader.next(&[*byte], &LIMITS).unwrap();
    }
    assert!(reader.is_idle(), "the message was handed out");
    reader.next(&whole(Opcode::Ping, ""), &LIMITS).unwrap();
    assert_eq!(reader.held_bytes(), 0, "and has gone");
    reader.next(&close_with(1000, b""), &LIMITS).unwrap();
    assert!(!reader.is_idle(), "a new one would not know that the peer has closed");
}

// --- 1002: heads that cannot be right -----------------------------------------------------------

#[test]
fn an_unmasked_frame_is_a_1002_before_its_length_is_known() {
    assert_eq!(hear(b"\x81\x00"), Err(1002));
    assert_eq!(hear(b"\x89\x05Hello"), Err(1002));
    assert_eq!(hear(b"\x82\x7f"), Err(1002));
}

#[test]
fn reserved_bits_and_opcodes_are_a_1002_at_the_first_byte() {
    for bits in 1..8u8 {
        for opcode in [Opcode::Text, Opcode::Binary, Opcode::Ping, Opcode::Pong, Opcode::Close] {
            assert_eq!(hear([FINAL | bits << 4 | opcode as u8]), Err(1002), "{bits} {opcode:?}");
        }
    }
    for opcode in (3..8).chain(11..16) {
        assert_eq!(hear([FINAL | opcode]), Err(1002), "{opcode}");
        assert_eq!(hear([opcode]), Err(1002), "{opcode}, not final");
    }
}

#[test]
fn a_fragmented_or_long_control_frame_is_a_1002() {
    for opcode in [Opcode::Ping, Opcode::Pong, Opcode::Close] {
        assert_eq!(hear(&part(opcode, "")[..1]), Err(1002), "{opcode:?}");
        assert_eq!(hear(&whole(opcode, [b'x'; 126])[..2]), Err(1002), "{opcode:?}");
        assert_eq!(hear(&whole(opcode, [b'x'; 65_536])[..2]), Err(1002), "{opcode:?}");
    }
    assert_eq!(hear(whole(Opcode::Pong, [b'x'; 125])), Ok(vec![Heard::Pong]));
}

#[test]
fn fragments_out_of_order_are_a_1002() {
    assert_eq!(hear(whole(Opcode::Continuation, "x")), Err(1002));
    assert_eq!(hear(part(Opcode::Continuation, "x")), Err(1002));
    for inner in [Opcode::Text, Opcode::Binary] {
        assert_eq!(hear([part(Opcode::Text, "x"), whole(inner, "y")].concat()), Err(1002));
        assert_eq!(hear([part(Opcode::Binary, "x"), part(inner, "y")].concat()), Err(1002));
    }
    assert_eq!(hear([whole(Opcode::Text, "x"), whole(Opcode::Continuation, "y")].concat()), Err(1002));
}

#[test]
fn a_length_in_more_bytes_than_it_needs_is_a_1002() {
    for length in [0u16, 1, 125] {
        assert_eq!(hear([&b"\x82\xfe"[..], &length.to_be_bytes()].concat()), Err(1002), "{length}");
    }
    for length in [0u64, 125, 126, 65_535] {
        assert_eq!(hear([&b"\x82\xff"[..], &length.to_be_bytes()].concat()), Err(1002), "{length}");
    }
}

#[test]
fn a_length_with_its_highest_bit_set_is_a_1002() {
    for length in [1 << 63, u64::MAX] {
        assert_eq!(hear([&b"\x82\xff"[..], &length.to_be_bytes()].concat()), Err(1002), "{length:#x}");
    }
}

// --- Close --------------------------------------------------------------------------------------

#[test]
fn a_close_may_have_no_body_or_a_code_and_a_reason() {
    assert_eq!(hear(whole(Opcode::Close, "")), Ok(vec![Heard::Close(None)]));
    assert_eq!(hear(close_with(1001, b"")), Ok(vec![Heard::Close(Some(1001))]));
    let reason = "ä".repeat(61) + "x";
    assert_eq!(hear(close_with(1000, reason.as_bytes())), Ok(vec![Heard::Close(Some(1000))]));
    assert_eq!(hear(whole(Opcode::Close, [3])), Err(1002), "half a code");
}

#[test]
fn every_close_code_is_taken_or_refused_as_the_registry_says() {
    for code in 0..=u16::MAX {
        let valid = match code {
            0..=999 | 1004..=1006 | 1015..=2999 | 5000.. => false,
            1000..=1003 | 1007..=1014 | 3000..=4999 => true,
        };
        let (heard, violation) = listen([&close_with(code, b"")[..]], &LIMITS);
        if valid {
            assert_eq!((heard, violation), (vec![Heard::Close(Some(code))], None));
        } else {
            assert_eq!((heard, violation.map(|violation| violation.code.0)), (vec![], Some(1002)), "{code}");
        }
    }
}

#[test]
fn a_reason_that_is_not_utf_8_is_a_1007() {
    assert_eq!(hear(close_with(1000, b"\xce\xba\xff")), Err(1007));
    assert_eq!(hear(close_with(1000, b"\xce")), Err(1007), "a character cut short");
    assert_eq!(hear(close_with(999, b"\xff")), Err(1002), "the code comes first");
}

// --- 1007: text that is none --------------------------------------------------------------------

/// Sequences that are not UTF-8, and after how many of their bytes that is certain; 0 if only the end shows it.
const NOT_UTF_8: &[(&[u8], usize)] = &[
    (b"\x80", 1),
    (b"\xbf", 1),
    (b"\xc0\xaf", 1),
    (b"\xc1\xbf", 1),
    (b"\xe0\x80\xaf", 2),
    (b"\xe0\x9f\xbf", 2),
    (b"\xf0\x80\x80\xaf", 2),
    (b"\xf0\x8f\xbf\xbf", 2),
    (b"\xed\xa0\x80", 2),
    (b"\xed\xbf\xbf", 2),
    (b"\xf4\x90\x80\x80", 2),
    (b"\xf5\x80\x80\x80", 1),
    (b"\xf8\x88\x80\x80\x80", 1),
    (b"\xfc\x84\x80\x80\x80\x80", 1),
    (b"\xfe", 1),
    (b"\xff", 1),
    (b"\xc3x", 2),
    (b"\xe2\x82x", 3),
    (b"\xf0\x9f\x98x", 4),
    (b"\xc3", 0),
    (b"\xe2\x82", 0),
    (b"\xf0\x9f\x98", 0),
];

#[test]
fn a_text_that_is_not_utf_8_is_a_1007_wherever_it_goes_wrong() {
    for (wrong, _) in NOT_UTF_8 {
        for before in ["", "x", "κόσμε", "a text long enough to be checked in strides of sixteen bytes: "]
        {
            let payload = [before.as_bytes(), wrong].concat();
            assert_eq!(hear(whole(Opcode::Text, &payload)), Err(1007), "{}", payload.escape_ascii());
            for cut in 0..payload.len() {
                let (first, second) = payload.split_at(cut);
                let fragments = [part(Opcode::Text, first), whole(Opcode::Continuation, second)].concat();
                assert_eq!(hear(fragments), Err(1007), "{} cut at {cut}", payload.escape_ascii());
            }
        }
    }
}

#[test]
fn a_wrong_text_is_refused_at_the_byte_that_makes_it_certain() {
    for (wrong, certain_after) in NOT_UTF_8.iter().filter(|(_, certain_after)| *certain_after > 0) {
        let payload = ["κό".as_bytes(), wrong, b"never looked at"].concat();
        let bytes = whole(Opcode::Text, &payload);
        let last = bytes.len() - payload.len() + "κό".len() + certain_after;
        for split in [1, last - 1] {
            let pieces = [&bytes[..split], &bytes[split..last - 1]];
            assert_eq!(listen(pieces, &LIMITS), (vec![], None), "{} is too early", wrong.escape_ascii());
            let (_, violation) = listen([&bytes[..split], &bytes[split..last]], &LIMITS);
            assert_eq!(violation.map(|violation| violation.code.0), Some(1007), "{}", wrong.escape_ascii());
        }
    }
}

#[test]
fn a_character_may_be_cut_by_fragments_and_by_what_comes_between_them() {
    let payload = "κόσμε\u{10ffff}\u{0}\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}€";
    let mut bytes = part(Opcode::Text, "");
    for byte in payload.as_bytes() {
        bytes.extend(part(Opcode::Continuation, [*byte]));
        bytes.extend(whole(Opcode::Pong, [0xff]));
    }
    bytes.extend(whole(Opcode::Continuation, ""));
    let heard = hear(bytes).unwrap();
    assert_eq!(heard.last(), Some(&text(payload)));
    assert_eq!(heard.len(), payload.len() + 1);
}

#[test]
fn a_binary_message_may_hold_any_bytes() {
    let bytes = [part(Opcode::Binary, b"\xff\xfe"), whole(Opcode::Continuation, b"\x80")].concat();
    assert_eq!(hear(bytes), Ok(vec![Heard::Binary(b"\xff\xfe\x80".into())]));
}

#[test]
fn where_only_text_is_taken_a_binary_message_is_a_1003_at_its_first_head() {
    let limits = Limits { takes_binary: false, ..LIMITS };
    for begun in [part(Opcode::Binary, "x"), whole(Opcode::Binary, "x"), whole(Opcode::Binary, "")] {
        let head = &begun[..2 + MASK.len()];
        assert_eq!(hear_within(&head[..head.len() - 1], &limits), Ok(vec![]));
        assert_eq!(hear_within(head, &limits), Err(1003));
    }
    assert_eq!(hear_within(b"\x82\x01x", &limits), Err(1002), "unmasked");
    let texts = [part(Opcode::Text, "x"), whole(Opcode::Continuation, "y"), whole(Opcode::Ping, "")];
    assert_eq!(hear_within(texts.concat(), &limits), Ok(vec![text("xy"), Heard::Ping(vec![])]));
}

// --- Limits -------------------------------------------------------------------------------------

#[test]
fn a_message_beyond_the_limit_is_a_1009_before_its_mask_has_arrived() {
    for limit in [0, 1, 125, 126, 65_535, 65_536] {
        let limits = Limits { message_bytes_max: limit, ..LIMITS };
        let payload = vec![b'x'; limit + 1];
        assert!(hear_within(whole(Opcode::Text, &payload[..limit]), &limits).is_ok(), "{limit}");
        let bytes = whole(Opcode::Text, &payload);
        let head_bytes = bytes.len() - payload.len() - MASK.len();
        assert_eq!(hear_within(&bytes[..head_bytes - 1], &limits), Ok(vec![]), "{limit}");
        assert_eq!(hear_within(&bytes[..head_bytes], &limits), Err(1009), "{limit}");
    }
    assert_eq!(hear([&b"\x82\xff"[..], &(u64::MAX >> 1).to_be_bytes()].concat()), Err(1009));
}

#[test]
fn the_limit_holds_for_all_fragments_together() {
    let limits = Limits { message_bytes_max: 10, ..LIMITS };
    let begun = [part(Opcode::Text, "12345"), whole(Opcode::Ping, [0; 125])].concat();
    let most = [&begun[..], &whole(Opcode::Continuation, "67890")].concat();
    assert_eq!(hear_within(most, &limits).unwrap().last(), Some(&text("1234567890")));
    let more = [&begun[..], &whole(Opcode::Continuation, "67890x")[..2]].concat();
    assert_eq!(hear_within(more, &limits), Err(1009));
    // A sum that overflows is not a small one.
    let huge = [&begun[..], b"\x80\xff", &(u64::MAX >> 1).to_be_bytes()].concat();
    assert_eq!(hear_within(huge, &limits), Err(1009));
}

#[test]
fn a_message_of_too_many_fragments_is_a_1008() {
    let limits = Limits { fragments_max: 3, ..LIMITS };
    let begun = [part(Opcode::Text, ""), whole(Opcode::Pong, ""), part(Opcode::Continuation, "")].concat();
    let most = [&begun[..], &whole(Opcode::Continuation, "x"), &begun, &whole(Opcode::Continuation, "y")];
    let heard = hear_within(most.concat(), &limits).unwrap();
    assert_eq!(heard, [Heard::Pong, text("x"), Heard::Pong, text("y")], "each message counts its own");
    let more = [&begun[..], &part(Opcode::Continuation, ""), &part(Opcode::Continuation, "")[..1]];
    assert_eq!(hear_within(more.concat(), &limits), Err(1008));
}

#[test]
fn what_is_announced_takes_no_memory_until_it_arrives() {
    let bytes = whole(Opcode::Text, "x".repeat(200_000));
    let mut reader = Reader::default();
    let mut arrived = 0;
    for piece in bytes.chunks(777) {
        assert!(reader.held_bytes() <= 2 * arrived.max(8), "{} for {arrived}", reader.held_bytes());
        reader.next(piece, &LIMITS).unwrap();
        arrived += piece.len();
    }
    assert!(reader.held_bytes() >= 200_000);
}

// --- Any bytes, any pieces ----------------------------------------------------------------------

/// Frames of a client that mostly keeps the rules.
fn client_bytes() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![
        4 => Just(Opcode::Text),
        4 => Just(Opcode::Continuation),
        2 => Just(Opcode::Binary),
        1 => Just(Opcode::Ping),
        1 => Just(Opcode::Pong),
        1 => Just(Opcode::Close),
    ];
    let payload = prop_oneof![
        4 => "\\PC{0,60}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..200),
        1 => (990u16..1020, "\\PC{0,9}").prop_map(|(code, why)| [&code.to_be_bytes(), why.as_bytes()].concat()),
    ];
    let frame =
        (opcode, any::<bool>(), payload, any::<[u8; 4]>()).prop_map(|(opcode, is_final, payload, mask)| {
            let is_final = is_final || opcode.is_control();
            masked(if is_final { FINAL } else { 0 } | opcode as u8, payload, mask)
        });
    prop::collection::vec(frame, 0..12).prop_map(|frames| frames.concat())
}

/// `bytes` cut at these places.
fn cut<'b>(bytes: &'b [u8], places: &[prop::sample::Index]) -> Vec<&'b [u8]> {
    let mut places: Vec<_> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    let ends = places.iter().copied().chain([bytes.len()]);
    let starts = [0].into_iter().chain(places.iter().copied());
    starts.zip(ends).map(|(start, end)| &bytes[start..end]).collect()
}

proptest! {
    #[test]
    fn no_cut_changes_what_is_heard(
        bytes in client_bytes(),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let at_once = listen([&bytes[..]], &LIMITS);
        prop_assert_eq!(&at_once, &listen(cut(&bytes, &places), &LIMITS));
        prop_assert_eq!(&at_once, &listen(bytes.chunks(1), &LIMITS));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        prop_assert_eq!(listen([&bytes[..]], &LIMITS), listen(cut(&bytes, &places), &LIMITS));
    }

    #[test]
    fn one_wrong_bit_makes_no_piece_matter(bytes in client_bytes(), bit in any::<prop::sample::Index>()) {
        let mut bytes = bytes;
        if !bytes.is_empty() {
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        prop_assert_eq!(listen([&bytes[..]], &LIMITS), listen(bytes.chunks(1), &LIMITS));
    }

    #[test]
    fn what_is_fragmented_at_random_is_heard_as_it_was_said(
        said in "\\PC{0,200}",
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let pieces = cut(said.as_bytes(), &places);
        let last = pieces.len() - 1;
        let fragment = |(i, piece): (usize, &&[u8])| {
            let opcode = if i == 0 { Opcode::Text } else { Opcode::Continuation };
            if i == last { whole(opcode, piece) } else { part(opcode, piece) }
        };
        let bytes = pieces.iter().enumerate().map(fragment).collect::<Vec<_>>().concat();
        prop_assert_eq!(listen([&bytes[..]], &LIMITS), (vec![text(&said)], None));
    }
}
