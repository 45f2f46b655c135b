//! Those who take their time: heads, bodies and answers, byte by byte, or not at all.

use std::io;
use std::thread;
use std::time::Duration;

use super::super::common::Dice;
use super::super::common::damage::good_requests;
use super::super::site::Site;
use super::super::speakers::post;
use super::{get, overhear, send_all};

/// Longer than every deadline of the server.
const BEATS: usize = 15;
const BEAT: Duration = Duration::from_millis(100);

pub fn trickle_heads(site: &Site, dice: &mut Dice) -> io::Result<()> {
    let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n", "x".repeat(BEATS));
    trickle(site, dice, request.as_bytes())
}

pub fn trickle_bodies(site: &Site, dice: &mut Dice) -> io::Result<()> {
    let head = "POST /channels/slow HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    trickle(site, dice, format!("{head}ff\r\n{}", "x".repeat(BEATS)).as_bytes())
}

/// All but the last bytes at once, and those one by one.
fn trickle(site: &Site, dice: &mut Dice, request: &[u8]) -> io::Result<()> {
    let mut clients = site.strangers(dice, 40)?;
    let (start, rest) = request.split_at(request.len() - BEATS);
    send_all(&mut clients, start);
    for byte in rest {
        thread::sleep(BEAT);
        send_all(&mut clients, [*byte]);
    }
    overhear(&mut clients);
    Ok(())
}

/// Streams of whose channel there is much to say.
pub fn read_nothing(site: &Site, dice: &mut Dice) -> io::Result<()> {
    let mut clients = Vec::new();
    for transport in ["events", "ndjson", "iframe"] {
        for _ in 0..10 {
            let mut client = site.narrow_stranger(dice)?;
            client.try_send(get(&format!("/channels/unread?as={transport}")).as_bytes())?;
            clients.push(client);
        }
    }
    let text = "x".repeat(60_000);
    for _ in 0..100 {
        let mut speaker = site.stranger(dice)?;
        speaker.try_send(post("/channels/unread", "", &text).as_bytes())?;
        let _ = speaker.read(1 << 14);
    }
    thread::sleep(BEAT * BEATS as u32);
    Ok(())
}

pub fn read_byte_by_byte(site: &Site, dice: &mut Dice) -> io::Result<()> {
    let mut clients = (0..20).map(|_| site.narrow_stranger(dice)).collect::<io::Result<Vec<_>>>()?;
    send_all(&mut clients, get("/").repeat(300));
    for _ in 0..3 {
        thread::sleep(Duration::from_secs(1));
        clients.iter_mut().for_each(|client| drop(client.read(1)));
    }
    Ok(())
}

/// Until nothing more can be sent; then a little is read, and it begins again.
pub fn pipeline_without_reading(site: &Site, dice: &mut Dice) -> io::Result<()> {
    let requests = good_requests();
    let mut clients = (0..10).map(|_| site.narrow_stranger(dice)).collect::<io::Result<Vec<_>>>()?;
    for client in &mut clients {
        client.give_up_writing_after(Duration::from_millis(50));
        let some: Vec<u8> = (0..50).flat_map(|_| requests[dice.below(9)].clone()).collect();
        for _ in 0..20 {
            if client.try_send(&some).is_err() {
                let _ = client.read(1_000);
            }
        }
    }
    thread::sleep(BEAT * BEATS as u32);
    Ok(())
}

/// A history comes faster than it is read, so its readers are told of gaps.
pub fn lag_behind(site: &Site, dice: &mut Dice) -> io::Result<()> {
    let mut clients = (0..10).map(|_| site.narrow_stranger(dice)).collect::<io::Result<Vec<_>>>()?;
    send_all(&mut clients, get("/channels/lag?as=ndjson"));
    let text = "x".repeat(20_000);
    let mut speaker = site.stranger(dice)?;
    for _ in 0..300 {
        speaker.try_send(post("/channels/lag", "", &text).as_bytes())?;
        speaker.read(1 << 14)?;
        let reader = dice.below(clients.len());
        clients[reader].read(5_000)?;
    }
    Ok(())
}
