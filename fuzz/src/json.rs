//! What clients say in JSON. The input is a text frame, and the body of a bulk publish.
//!
//! A mistake is told in one printable sentence of bounded length. What was understood is, written
//! down again by a writer that nobody here wrote, understood again; and a handle comes back as it
//! was.

use encke::dialect::native;
use encke::wire::json::{self, Command, Publication, REFERENCE_BYTES_MAX, Start};
use serde_json::value::RawValue;
use serde_json::{Value, json};

pub fn json(input: &[u8]) {
    if let Ok(frame) = std::str::from_utf8(input) {
        check_frame(frame);
    }
    match native::publications(input, 64) {
        Err(refusal) => crate::check_refusal(&refusal),
        Ok(publications) => {
            let lines: String = publications.iter().map(|one| format!("{}\n", publication(one))).collect();
            let again = native::publications(lines.as_bytes(), 64).expect("written down again");
            assert_eq!(again, publications);
            for one in &publications {
                assert!(one.data.len() <= 64 && native::check_name(&one.channel).is_ok(), "{one:?}");
            }
        }
    }
}

fn check_frame(frame: &str) {
    let asked = json::command(frame);
    if let Some(reference) = &asked.reference {
        assert!(reference.get().len() <= REFERENCE_BYTES_MAX);
        // JSON by its grammar; what it means is the client's business, which may like half a surrogate pair.
        let _: &RawValue = serde_json::from_str(reference.get()).expect("a handle is JSON");
        assert!(frame.contains(reference.get()), "a handle is not read, and so cannot change");
    }
    match asked.command {
        Err(refusal) => {
            crate::check_refusal(&refusal);
            assert!(!refusal.close, "a mistake in a frame ends nothing");
        }
        Ok(command) => {
            let again = json::command(&written(&command).to_string()).command;
            assert_eq!(again.expect("written down again"), without_token(command));
        }
    }
}

/// A secret can be compared, but not written down again.
fn without_token(command: Command) -> Command {
    match command {
        Command::Publish { publication, .. } => Command::Publish { publication, token: None },
        other => other,
    }
}

fn written(command: &Command) -> Value {
    match command {
        Command::Publish { publication: Publication { channel, data, event }, .. } => {
            json!({"publish": data, "channel": channel, "event": event})
        }
        Command::Subscribe { names, start } => {
            let since = match start {
                None => Value::Null,
                Some(Start::Oldest) => json!("oldest"),
                Some(Start::After(id)) => json!(id),
            };
            json!({"subscribe": names, "since": since})
        }
        Command::Unsubscribe { names } => json!({"unsubscribe": names}),
    }
}

fn publication(Publication { channel, data, event }: &Publication) -> Value {
    json!({"channel": channel, "data": data, "event": event})
}
