//! What a client says over a WebSocket: publish, subscribe, unsubscribe; and what it is answered.
#![cfg(feature = "shell")]

mod common;

use common::frames::{Heard, text};
use common::{Client, Server, Setup, WebSocket};
use serde_json::{Value, json};

fn say(server: &Server, channel: &str, text: &str) -> u64 {
    let answer = Client::connect(server).post(&format!("/channels/{channel}"), text);
    let value: Value = serde_json::from_str(answer.text()).expect("JSON");
    value["id"].as_u64().expect("a 201 has an id")
}

#[test]
fn a_publication_is_answered_with_its_id_under_its_ref() {
    let server = Server::start();
    let mut listener = WebSocket::open(&server, "/channels/b", b"");
    let mut socket = WebSocket::open(&server, "/channels/a", b"");
    for reference in [json!(1), json!("x"), json!(null), json!([1, {"a": "b"}]), json!(true), json!(1.5)] {
        let command = json!({ "publish": "hi\n", "channel": "b", "event": "note", "ref": reference });
        let news = if reference.is_null() {
            socket.send(text(&command.to_string()));
            listener.json()
        } else {
            let reply = socket.ask(&command.to_string());
            assert_eq!(reply["ref"], reference);
            let news = listener.json();
            assert_eq!(reply["id"], news["id"]);
            news
        };
        assert_eq!(
            (&news["channel"], &news["event"], &news["data"]),
            (&json!("b"), &json!("note"), &json!("hi\n"))
        );
        if reference.is_null() {
            // Whether null is a ref is for the server to say; but it must not be heard as an error.
            socket.send(text(r#"{"publish":"x","channel":"c","ref":"sync"}"#));
            while socket.json()["ref"] != "sync" {}
        }
    }
}

#[test]
fn a_mistake_is_answered_with_a_problem_and_the_connection_goes_on() {
    let server = Server::start();
    let mut socket = WebSocket::open(&server, "/channels/a", b"");
    let long = "x".repeat(65_537);
    let too_long = json!({ "publish": long, "channel": "a", "ref": 7 }).to_string();
    let names: Vec<String> = (0..65).map(|n| format!("n{n}")).collect();
    let too_many = json!({ "subscribe": names, "ref": 7 }).to_string();
    for (command, status) in [
        (r#"{"ref":7}"#, 400),
        (r#"{"publish":"x","ref":7}"#, 400),
        (r#"{"publish":"x","channel":"no spaces","ref":7}"#, 400),
        (r#"{"publish":"x","channel":"$clock","ref":7}"#, 403),
        (r#"{"publish":"x","channel":"a","event":"a\nb","ref":7}"#, 400),
        (r#"{"publish":5,"channel":"a","ref":7}"#, 400),
        (r#"{"publish":"x","channel":"a","colour":"red","ref":7}"#, 400),
        (r#"{"subscribe":[],"ref":7}"#, 400),
        (r#"{"subscribe":"a","ref":7}"#, 400),
        (r#"{"subscribe":["a b"],"ref":7}"#, 400),
        (r#"{"subscribe":["b"],"since":"what","ref":7}"#, 400),
        (r#"{"subscribe":["$nothing"],"ref":7}"#, 404),
        (&too_long, 413),
        (&too_many, 400),
    ] {
        let reply = socket.ask(command);
        let shown = &command[..command.len().min(80)];
        assert_eq!(reply["ref"], 7, "{shown}: {reply}");
        assert_eq!(reply["error"]["status"], status, "{shown}: {reply}");
        assert!(reply["error"]["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{reply}");
        assert!(reply.get("id").is_none(), "{reply}");
    }
    for nonsense in ["", "x", "[]", "{", "null", r#"{"a":{"a":{"a":1}}}"#, &"[".repeat(100_000)] {
        let reply = socket.ask(nonsense);
        assert_eq!(reply["error"]["status"], 400, "{reply}");
    }
    say(&server, "a", "still here");
    assert_eq!(socket.json()["data"], "still here");
}

#[test]
fn the_longest_message_can_be_published_whatever_is_in_it() {
    let server = Server::start();
    let mut socket = WebSocket::open(&server, "/channels/elsewhere", b"");
    for character in ["x", "\n", "\"", "\u{1}"] {
        let data = character.repeat(65_536);
        let reply = socket.ask(&json!({ "publish": data, "channel": "a", "ref": 1 }).to_string());
        assert!(reply["id"].is_u64(), "{character:?}: {reply}");
    }
}

#[test]
fn a_subscription_changes_while_it_goes_on() {
    let server = Server::start();
    let ids: Vec<u64> = (0..4).map(|n| say(&server, "b", &n.to_string())).collect();
    let mut socket = WebSocket::open(&server, "/channels/a", b"");
    let reply = socket.ask(r#"{"subscribe":["b"],"ref":"s"}"#);
    assert_eq!(reply["ref"], "s");
    say(&server, "b", "five");
    assert_eq!(socket.json()["data"], "five", "from now on");
    say(&server, "a", "six");
    assert_eq!(socket.json()["data"], "six", "the first channel goes on");
    socket.ask(r#"{"unsubscribe":["b"],"ref":"u"}"#);
    say(&server, "b", "unheard");
    say(&server, "a", "seven");
    assert_eq!(socket.json()["data"], "seven");
    socket.ask(r#"{"unsubscribe":["a"],"ref":"u"}"#);
    say(&server, "a", "unheard");
    let command = format!(r#"{{"subscribe":["b"],"since":{},"ref":"s"}}"#, ids[1]);
    socket.send(text(&command));
    let mut heard = Vec::new();
    while heard.len() < 4 {
        let told = socket.json();
        if told.get("ref").is_none() {
            heard.push(told["data"].as_str().expect("text").to_owned());
        }
    }
    assert_eq!(heard, ["2", "3", "five", "unheard"]);
}

#[test]
fn what_was_said_before_a_channel_is_left_is_heard() {
    let server = Server::start();
    let mut socket = WebSocket::open(&server, "/channels/a,b", b"");
    let last_word = [
        text(r#"{"publish":"last","channel":"a","ref":1}"#),
        text(r#"{"publish":"word","channel":"b","ref":2}"#),
        text(r#"{"unsubscribe":["a"],"ref":3}"#),
    ];
    socket.send(last_word.concat());
    let mut told = Vec::new();
    while told.last().is_none_or(|last: &Value| last["ref"] != 3) {
        told.push(socket.json());
    }
    let cursor = told.last().and_then(|answer| answer["id"].as_u64()).expect("a cursor");
    let heard: Vec<_> = told.iter().filter(|told| !told["data"].is_null()).collect();
    assert_eq!(heard.iter().map(|news| &news["data"]).collect::<Vec<_>>(), ["last", "word"]);
    assert!(heard.iter().all(|news| news["id"].as_u64() <= Some(cursor)), "{told:?}");
}

#[test]
fn of_a_past_that_is_too_long_the_newest_is_told_behind_a_gap() {
    let server = Server::start();
    let ids: Vec<u64> = (0..9).map(|n| say(&server, "b", &n.to_string().repeat(60_000))).collect();
    let mut socket = WebSocket::open(&server, "/channels/a", b"");
    socket.send(text(&format!(r#"{{"subscribe":["b"],"since":{},"ref":1}}"#, ids[0])));
    assert_eq!(socket.json(), json!({ "gap": { "from": ids[0], "to": ids[5] } }), "256 KiB are four of them");
    for id in &ids[5..] {
        assert_eq!(socket.json()["id"].as_u64(), Some(*id));
    }
    assert_eq!(socket.json(), json!({ "ref": 1, "id": ids[8] }));
}

#[test]
fn a_since_for_a_new_channel_repeats_nothing_of_the_others() {
    let server = Server::start();
    let start = say(&server, "b", "0");
    let mut socket = WebSocket::open(&server, "/channels/a", b"");
    say(&server, "a", "one");
    assert_eq!(socket.json()["data"], "one");
    say(&server, "b", "two");
    socket.send(text(&format!(r#"{{"subscribe":["b"],"since":{start}}}"#)));
    let first = socket.json();
    assert_eq!(first["data"], "two", "the subscriber has heard {first} before");
}

#[test]
fn unsubscribing_from_what_was_never_heard_changes_nothing() {
    let server = Server::start();
    let mut socket = WebSocket::open(&server, "/channels/a,b", b"");
    assert_eq!(socket.ask(r#"{"unsubscribe":["c"],"ref":1}"#)["ref"], 1);
    assert_eq!(socket.ask(r#"{"subscribe":["a"],"ref":2}"#)["ref"], 2);
    say(&server, "a", "once");
    assert_eq!(socket.json()["data"], "once");
    say(&server, "b", "next");
    assert_eq!(socket.json()["data"], "next", "nobody is subscribed twice");
}

#[test]
fn a_channel_too_many_is_an_error_and_a_close_that_says_to_come_back() {
    let server = Setup::default().limit("channels-max", "2").start();
    let mut socket = WebSocket::open(&server, "/channels/a", b"");
    say(&server, "b", "x");
    let reply = socket.ask(r#"{"publish":"x","channel":"c","ref":1}"#);
    assert!(reply["error"]["status"].as_u64().is_some_and(|status| status >= 429), "{reply}");
    let reply = socket.ask(r#"{"subscribe":["c"],"ref":2}"#);
    assert!(reply["error"]["status"].as_u64().is_some_and(|status| status >= 429), "{reply}");
    say(&server, "a", "still here");
    assert_eq!(socket.json()["data"], "still here", "what it had, it keeps");
    let mut late = WebSocket::open(&server, "/channels/d", b"");
    assert!(matches!(late.try_hear(), Ok(Heard::Close(Some(1001 | 1013), _))), "no close frame");
}

#[test]
fn whoever_unsubscribes_from_nothing_hears_his_cursor() {
    let server = Server::start();
    let before = say(&server, "a", "before");
    let mut socket = WebSocket::open(&server, "/channels/a", b"");
    let cursor = socket.ask(r#"{"unsubscribe":[],"ref":1}"#)["id"].as_u64().expect("a cursor");
    assert!(cursor >= before);
    drop(socket);
    let missed = say(&server, "a", "missed");
    let mut again = WebSocket::open(&server, &format!("/channels/a?since={cursor}"), b"");
    assert_eq!(again.json()["id"].as_u64(), Some(missed));
    assert_eq!(again.ask(r#"{"unsubscribe":[],"ref":2}"#)["id"].as_u64(), Some(missed));
}
