//! Those who come and go: in storms, without a word, in the middle of a sentence, in every way.

use std::io;
use std::thread;
use std::time::Duration;

use super::super::citizens::{asking, part};
use super::super::common::damage::good_requests;
use super::super::common::{Client, Dice, TRANSPORTS};
use super::super::site::{CONNECTIONS_MAX, Site, somewhere};
use super::{get, overhear, send_all};

pub fn come_back_at_once(site: &Site, dice: &mut Dice) -> io::Result<()> {
    for _ in 0..60 {
        let mut client = site.stranger(dice)?;
        let transport = TRANSPORTS[dice.below(TRANSPORTS.len())];
        let target = format!("/channels/room.post?as={}&last=3", transport.name());
        let _ = client.try_send(asking(&target, transport).as_bytes());
        if dice.below(2) == 0 {
            let _ = client.read(1 << 14);
        }
        part(client, dice);
    }
    Ok(())
}

pub fn vanish(site: &Site, dice: &mut Dice) -> io::Result<()> {
    for _ in 0..200 {
        part(site.stranger(dice)?, dice);
    }
    Ok(())
}

/// Until they are shown out.
pub fn say_nothing(site: &Site, dice: &mut Dice) -> io::Result<()> {
    let mut silent = site.strangers(dice, 30)?;
    silent.iter_mut().for_each(|client| client.give_up_reading_after(Duration::from_secs(6)));
    silent.iter_mut().for_each(|client| drop(client.read(1)));
    Ok(())
}

pub fn quit_anywhere(site: &Site, dice: &mut Dice) -> io::Result<()> {
    let requests = good_requests();
    let mut undecided = Vec::new();
    for _ in 0..100 {
        let request = &requests[dice.below(requests.len())];
        let mut client = site.stranger(dice)?;
        let _ = client.try_send(&request[..dice.below(request.len() + 1)]);
        match dice.below(4) {
            0 => undecided.push(client),
            1 => {
                client.half_close();
                undecided.push(client);
            }
            2 => {
                let _ = client.read(1 + dice.below(300));
                part(client, dice);
            }
            _ => part(client, dice),
        }
    }
    thread::sleep(Duration::from_millis(500));
    overhear(&mut undecided);
    undecided.into_iter().for_each(|client| part(client, dice));
    Ok(())
}

/// More than there is room for.
pub fn come_from_everywhere(site: &Site, dice: &mut Dice) -> io::Result<()> {
    let mut crowd = site.strangers(dice, CONNECTIONS_MAX + 100)?;
    send_all(&mut crowd, get("/healthz"));
    thread::sleep(Duration::from_millis(300));
    overhear(&mut crowd);
    crowd.into_iter().for_each(|client| part(client, dice));
    Ok(())
}

pub fn come_from_one_address(site: &Site, dice: &mut Dice) -> io::Result<()> {
    let from = somewhere(dice);
    let crowd: io::Result<Vec<Client>> = (0..120).map(|_| Client::try_from(&site.server, from)).collect();
    let mut crowd = crowd?;
    send_all(&mut crowd, get("/stats"));
    thread::sleep(Duration::from_millis(300));
    overhear(&mut crowd);
    Ok(())
}

pub fn take_all_descriptors(site: &Site, dice: &mut Dice) -> io::Result<()> {
    site.without_descriptors(|| {
        let mut crowd = site.strangers(dice, 60)?;
        send_all(&mut crowd, get("/channels/room.post?as=events"));
        thread::sleep(Duration::from_secs(1));
        overhear(&mut crowd);
        Ok(())
    })
    .unwrap_or(Ok(()))
}
