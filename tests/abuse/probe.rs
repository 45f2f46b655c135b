//! The probe: somebody who asks all the time whether the server is well, and tells how it goes.
//!
//! Knows: `/healthz`, `/stats`, `/proc`. Never learns who makes it unwell.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::common::{Asked, Client, PATIENCE};
use super::site::{Site, number, stats};

const BETWEEN: Duration = Duration::from_millis(200);
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// What is refused or cut off, and counted.
pub const SHED: [&str; 14] = [
    "turned_away",
    "address_turned_away",
    "starved",
    "refusals",
    "timed_out",
    "rate_limited",
    "uploads_refused",
    "channels_refused",
    "sections_refused",
    "evicted",
    "hangups.idle",
    "hangups.stalled",
    "hangups.reset",
    "hangups.over_budget",
];

/// One who is inside is always answered, and tells how it goes.
pub fn stay(site: &Site) {
    let mut inside = Client::connect_from(&site.server, Ipv4Addr::new(127, 0, 4, 1));
    let mut line = Line::new(site);
    while !site.is_quiet() {
        assert_eq!(inside.get("/healthz").status(), 200, "whoever is inside is served");
        line.tell(site, &mut inside);
        thread::sleep(BETWEEN);
    }
}

/// One who comes anew is answered, too, or told that there is no room.
pub fn knock(site: &Site) {
    let mut answered_at = Instant::now();
    while !site.is_quiet() {
        match answer_at_the_door(site) {
            Some(200) => {
                site.well.fetch_add(1, Ordering::Relaxed);
                answered_at = Instant::now();
            }
            // Far too many are not told anything.
            Some(503) | None => drop(site.full.fetch_add(1, Ordering::Relaxed)),
            Some(status) => panic!("whether it is well, is answered {status}"),
        }
        assert!(answered_at.elapsed() < PATIENCE, "for {PATIENCE:?} nobody new could get in");
        thread::sleep(BETWEEN);
    }
}

/// What a new client is answered, if anything.
fn answer_at_the_door(site: &Site) -> Option<u16> {
    let mut client = Client::try_from(&site.server, Ipv4Addr::new(127, 0, 4, 2)).ok()?;
    client.try_send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let answer = client.try_answer(Asked::GET).ok()?;
    if answer.status() == 503 {
        assert!(answer.text().contains("try again later"), "503 says why: {}", answer.text());
    }
    Some(answer.status())
}

/// The line that is printed every few seconds.
struct Line {
    began: Instant,
    last: Instant,
    ticks: u64,
}

impl Line {
    fn new(site: &Site) -> Self {
        Line { began: Instant::now(), last: Instant::now(), ticks: site.server.cpu_ticks() }
    }

    fn tell(&mut self, site: &Site, inside: &mut Client) {
        let passed = self.last.elapsed();
        if passed < BETWEEN_LINES {
            return;
        }
        let (stats, ticks) = (stats(inside), site.server.cpu_ticks());
        let shed = SHED.map(|name| format!("{name} {}", number(&stats, name)));
        println!(
            "{:5.1} min: {} connections, {} KiB resident, {} descriptors, {:.0} % of a core, \
             {} verified, {} gaps; well {}, full {}; {}",
            self.began.elapsed().as_secs_f64() / 60.0,
            number(&stats, "connections"),
            site.server.resident_kib(),
            site.server.descriptors(),
            // A tick is a hundredth of a second.
            (ticks - self.ticks) as f64 / passed.as_secs_f64(),
            site.verified.load(Ordering::Relaxed),
            site.gaps.load(Ordering::Relaxed),
            site.well.load(Ordering::Relaxed),
            site.full.load(Ordering::Relaxed),
            shed.join(", "),
        );
        (self.last, self.ticks) = (Instant::now(), ticks);
    }
}
