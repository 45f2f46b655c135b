//! May this connection become a WebSocket?
//!
//! The handshake is an HTTP request that only a WebSocket client can have meant: a browser's form or
//! a script's request cannot set these fields. The key is no secret. Hashed and sent back, it proves
//! that the server has understood the question and is not some other service that echoes things.
//!
//! Knows: the fields of RFC 6455 §4. Never learns which paths exist, or who may connect.

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha1::{Digest, Sha1};

use crate::wire::http::{AnswerBody, AnswerHead, BodyFraming, DateLine, Request, Version};
use crate::wire::refusal::Refusal;

/// Fields of every answer with the status 426: what to upgrade to, in which version (RFC 9110 §15.5.22, RFC 6455
/// §4.4).
pub const UPGRADE_LINES: &[u8] =
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";

/// What every server appends to the key (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The bytes that a key stands for.
const KEY_BYTES: usize = 16;

/// Lenient about the four bits that 16 bytes leave over in base64: many a small client takes 22 random letters for
/// a key, and since it is the text that is hashed, the bits cannot be read in two ways.
const KEY_CODE: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// A handshake that may succeed, and the proof that its key was understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept(pub [u8; 28]);

impl Accept {
    /// Writes the whole answer. The very next byte, in either direction, belongs to a frame.
    pub fn answer(&self, date: &DateLine, out: &mut Vec<u8>) {
        AnswerHead::new(101, Version::Http11, true, date, out)
            .field("Upgrade", "websocket")
            .field("Connection", "Upgrade")
            .field("Sec-WebSocket-Accept", self.0)
            .finish(AnswerBody::Length(0));
    }

    fn of(key: &[u8]) -> Self {
        let hash: [u8; 20] = Sha1::new().chain_update(key).chain_update(GUID).finalize().into();
        let mut accept = [0; 28];
        let written = STANDARD.encode_slice(hash, &mut accept);
        debug_assert_eq!(written, Ok(accept.len()), "20 bytes are 28 letters");
        Accept(accept)
    }
}

/// Reads the request for a WebSocket (RFC 6455 §4.2.1). The caller has seen that it is a GET, and judges Host and
/// Origin.
///
/// A refusal with the status 426 must carry [`UPGRADE_LINES`]. Every refusal is fatal: a client that does not wait
/// for the answer has already sent frames, and they must not be read as its next request.
pub fn handshake(request: &Request<'_>) -> Result<Accept, Refusal> {
    if request.version != Version::Http11 {
        return Err(fatal("a WebSocket over HTTP/1.0, which cannot upgrade; use HTTP/1.1"));
    }
    if !request.upgrades_to("websocket") {
        return Err(upgrade_required(
            "no WebSocket handshake; send Connection: Upgrade and Upgrade: websocket (a proxy must pass both on)",
        ));
    }
    // With a body, what follows the head could be read in two ways.
    if !matches!(request.body, BodyFraming::None | BodyFraming::Length(0)) {
        return Err(fatal("a WebSocket handshake with a body; send none"));
    }
    let version =
        only(request, "Sec-WebSocket-Version", "two Sec-WebSocket-Version fields; send one, with 13")?;
    if version != Some(b"13") {
        return Err(upgrade_required("a WebSocket version other than 13; send Sec-WebSocket-Version: 13"));
    }
    let key = only(request, "Sec-WebSocket-Key", "two Sec-WebSocket-Key fields; send one")?;
    let key = key.ok_or_else(|| fatal("no Sec-WebSocket-Key; expected 16 random bytes in base64"))?;
    if !is_key(key) {
        return Err(fatal("a malformed Sec-WebSocket-Key; expected 16 bytes in base64, 24 letters"));
    }
    Ok(Accept::of(key))
}

/// The value of a field that may be there once.
fn only<'a>(request: &Request<'a>, name: &str, twice: &'static str) -> Result<Option<&'a [u8]>, Refusal> {
    let mut values = request.named(name);
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(fatal(twice)),
    }
}

fn is_key(key: &[u8]) -> bool {
    // base64 wants room for 24 letters without padding.
    let mut bytes = [0; KEY_BYTES + 2];
    KEY_CODE.decode_slice(key, &mut bytes) == Ok(KEY_BYTES)
}

fn fatal(detail: &'static str) -> Refusal {
    Refusal::fatal(400, detail)
}

fn upgrade_required(detail: &'static str) -> Refusal {
    Refusal::fatal(426, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
    const UPGRADE: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n";

    fn ask(version: &str, fields: &[&str]) -> Result<Accept, u16> {
        let head = format!("GET /chat HTTP/{version}\r\nHost: h\r\n{}\r\n", fields.concat());
        handshake(&Request::parse(head.as_bytes()).unwrap()).map_err(|refusal| {
            assert!(refusal.close, "frames may follow: {}", refusal.detail);
            refusal.status
        })
    }

    fn ask_with_key(key: &str) -> Result<Accept, u16> {
        ask("1.1", &[UPGRADE, VERSION, &format!("Sec-WebSocket-Key: {key}\r\n")])
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted_as_it_says() {
        let accept = ask("1.1", &[UPGRADE, KEY, VERSION]).unwrap();
        assert_eq!(accept.0, *b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn the_answer_names_nothing_but_what_was_agreed_on() {
        let offers = "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: chat\r\n";
        let accept = ask("1.1", &[UPGRADE, KEY, VERSION, offers]).unwrap();
        let mut out = b"before ".to_vec();
        accept.answer(&DateLine::at(784_111_777), &mut out);
        assert_eq!(
            str::from_utf8(&out).unwrap(),
            "before HTTP/1.1 101 Switching Protocols\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        );
    }

    #[test]
    fn what_does_not_ask_to_upgrade_is_told_how() {
        assert_eq!(ask("1.1", &[KEY, VERSION]), Err(426));
        assert_eq!(ask("1.1", &["Upgrade: websocket\r\n", KEY, VERSION]), Err(426));
        assert_eq!(ask("1.1", &["Connection: Upgrade\r\n", KEY, VERSION]), Err(426));
        assert_eq!(ask("1.1", &["Connection: Upgrade\r\nUpgrade: h2c\r\n", KEY, VERSION]), Err(426));
        assert_eq!(
            ask("1.1", &["Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n", KEY, VERSION]).err(),
            None
        );
    }

    #[test]
    fn http_1_0_cannot_upgrade() {
        assert_eq!(ask("1.0", &[UPGRADE, KEY, VERSION]), Err(400));
    }

    #[test]
    fn every_version_but_13_is_a_426() {
        assert_eq!(ask("1.1", &[UPGRADE, KEY]), Err(426));
        for version in ["", "8", "12", "14", "013", "+13", "13, 8", "13;", "xiii"] {
            let field = format!("Sec-WebSocket-Version: {version}\r\n");
            assert_eq!(ask("1.1", &[UPGRADE, KEY, &field]), Err(426), "{version:?}");
        }
    }

    #[test]
    fn what_is_given_twice_is_a_400_even_if_both_agree() {
        assert_eq!(ask("1.1", &[UPGRADE, VERSION, KEY, KEY]), Err(400));
        assert_eq!(ask("1.1", &[UPGRADE, VERSION, KEY, VERSION]), Err(400));
    }

    #[test]
    fn a_key_is_24_letters_for_16_bytes() {
        assert_eq!(ask("1.1", &[UPGRADE, VERSION]), Err(400));
        assert!(ask_with_key("AAAAAAAAAAAAAAAAAAAAAA==").is_ok());
        assert!(ask_with_key("AAAAAAAAAAAAAAAAAAAAAB==").is_ok(), "bits that stand for nothing");
        for key in [
            "",
            "x",
            "AAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAA=",
            "AAAAAAAAAAAAAAAAAAAAAAA=",
            "AAAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAA==AAAA",
            "AAAAAAAAAA AAAAAAAAAAA==",
            "AAAAAAAAAA-_AAAAAAAAAA==",
            "AAAAAAAAAAAAAAAAAAAAAA==, AAAAAAAAAAAAAAAAAAAAAA==",
        ] {
            assert_eq!(ask_with_key(key), Err(400), "{key:?}");
        }
        assert_eq!(ask_with_key(&"A".repeat(4_096)), Err(400));
    }

    #[test]
    fn a_handshake_with_a_body_is_a_400() {
        assert_eq!(ask("1.1", &[UPGRADE, KEY, VERSION, "Content-Length: 4\r\n"]), Err(400));
        assert_eq!(ask("1.1", &[UPGRADE, KEY, VERSION, "Transfer-Encoding: chunked\r\n"]), Err(400));
        assert!(ask("1.1", &[UPGRADE, KEY, VERSION, "Content-Length: 0\r\n"]).is_ok());
    }
}
