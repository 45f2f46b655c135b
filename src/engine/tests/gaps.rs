//! Gaps that grow, or that nobody is left to tell of.

use super::*;
use crate::config::ChannelRule;
use crate::wire::json::Publication;

const HANDSHAKE: &str = "GET /channels/a?as=websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn say(world: &mut World, channel: &str) -> u64 {
    let publication = Publication { channel: channel.to_owned(), event: None, data: "x".into() };
    let ids = world.engine.publish(&[publication], world.now).expect("there is room for a channel");
    world.settle();
    ids[0]
}

#[test]
fn what_goes_while_a_lost_cursor_waits_for_its_gap_is_in_that_gap() {
    let limits = Limits { history_messages_max: 1, connections_max: 10, ..Limits::default() };
    let mut world = World::new(limits);
    say(&mut world, "a");
    let client = world.connect();
    client.line.borrow_mut().room = 10;
    // A cursor that this server never gave; and not even the head of the answer goes through.
    world.send(&client, &get("/channels/a,b?as=ndjson&since=9000000000000000"));
    let (_, gone, kept) = (say(&mut world, "a"), say(&mut world, "a"), say(&mut world, "a"));
    world.make_room(&client, 100_000);
    let heard = client.read();
    assert!(heard.contains(&format!("\"to\":{kept}}}")), "{gone} lies in no gap: {heard}");
}

#[test]
fn whoever_joins_a_forgotten_channel_is_told_what_it_forgot() {
    let limits = Limits { history_age_ms: 2_000, connections_max: 10, ..Limits::default() };
    let mut world = World::new(limits);
    let client = world.ask(HANDSHAKE);
    let before = say(&mut world, "a");
    let gone = say(&mut world, "b");
    world.pass_ms(10_000);
    say(&mut world, "a");
    client.line.borrow_mut().down.clear();
    let command = format!("{{\"subscribe\":[\"b\"],\"since\":{before},\"ref\":1}}");
    // A mask of zeros leaves the text as it is.
    let mut frame = vec![0x81, 0x80 | command.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(command.as_bytes());
    client.line.borrow_mut().up.extend(frame);
    world.tell(&client, Readiness { readable: true, ..Readiness::default() });
    let heard = String::from_utf8_lossy(&std::mem::take(&mut client.line.borrow_mut().down)).into_owned();
    assert!(heard.contains(&format!("{{\"gap\":{{\"from\":{before},\"to\":{gone}}}}}")), "{heard}");
}

#[test]
fn a_deleted_channel_goes_with_the_last_poll_that_was_told_of_it() {
    let mut rule = ChannelRule::new("a".parse().unwrap());
    rule.gather_ms = 40;
    let mut world = World::with(Settings { channels: vec![rule], ..Settings::default() });
    say(&mut world, "a");
    let poll = world.ask(&get("/channels/a?as=poll"));
    world.ask("DELETE /channels/a HTTP/1.1\r\nHost: x\r\n\r\n");
    world.pass_ms(100);
    assert!(poll.read().contains("\"since\""));
    assert_eq!(world.engine.holdings().channels, 0);
}

#[test]
fn a_gap_that_a_poll_is_told_behind_a_sweep_is_counted() {
    let mut rule = ChannelRule::new("a".parse().unwrap());
    rule.gather_ms = 40;
    let limits = Limits { history_messages_max: 1, ..Limits::default() };
    let mut world = World::with(Settings { channels: vec![rule], limits, ..Settings::default() });
    say(&mut world, "a");
    let poll = world.ask(&get("/channels/a?as=poll"));
    let (_, kept) = (say(&mut world, "a"), say(&mut world, "a"));
    world.pass_ms(100);
    let heard = poll.read();
    assert!(heard.contains(&format!("\"to\":{kept}}}")), "{heard}");
    assert_eq!(world.engine.hub.stats().gaps, 1);
}
