//! What does it cost to put a message into bytes, and to read what a client says in JSON?
//!
//! It is done once per message and framing, however many listen: next to the sends it should not show.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use encke::transport::{Framing, News};
use encke::wire::{json, text};

/// A line of some chat.
const LINE: &str = "forty characters are a line of some chat";

/// What has to be escaped everywhere: quotes, markup, line ends, and a separator that ends a line in old scripts.
const HOSTILE: &str = "</script><b>\"it's\"</b>\r\n\\ & \u{2028} und Umlaute: äöü";

/// Longer texts are made of these, repeated.
const LONG: usize = 100;

fn framings() -> [Framing; 6] {
    [
        Framing::Events { envelope: false },
        Framing::Events { envelope: true },
        Framing::Ndjson,
        Framing::Iframe("parent.comet.onmessage".into()),
        Framing::Websocket,
        Framing::Poll,
    ]
}

fn transports(criterion: &mut Criterion) {
    for (name, data) in [("a line", LINE.to_owned()), ("4 KB of lines", LINE.repeat(LONG))] {
        let mut group = criterion.benchmark_group(format!("a message: {name}"));
        group.throughput(Throughput::Bytes(data.len() as u64));
        let news = News { id: Some(1_700_000_000_123_456), channel: "news", event: None, data: &data };
        for framing in framings() {
            let mut out = Vec::with_capacity(8 * data.len());
            let name = match framing {
                Framing::Events { envelope: true } => "events, envelope",
                _ => Framing::NAMES[framing.kind()],
            };
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    out.clear();
                    framing.message(black_box(news), &mut out);
                    black_box(&out);
                })
            });
        }
        group.finish();
    }
}

fn escaping(criterion: &mut Criterion) {
    type Escape = fn(&str, &mut Vec<u8>);
    let mut group = criterion.benchmark_group("escaping");
    for (name, text) in [("plain", LINE.repeat(LONG)), ("hostile", HOSTILE.repeat(LONG))] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        let ways: [(&str, Escape); 3] =
            [("JSON", text::json_string), ("in a script", text::json_string_in_script), ("HTML", text::html)];
        for (way, escape) in ways {
            let mut out = Vec::with_capacity(8 * text.len());
            group.bench_function(format!("{name}, {way}"), |bencher| {
                bencher.iter(|| {
                    out.clear();
                    escape(black_box(&text), &mut out);
                    black_box(&out);
                })
            });
        }
    }
    group.finish();
}

fn commands(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commands in JSON");
    let publish = format!(r#"{{"publish":"{LINE}","channel":"news","ref":17}}"#);
    let subscribe = r#"{"subscribe":["news","weather","chat:lobby"],"since":1700000000123456,"ref":"a"}"#;
    for (name, frame) in
        [("publish", publish.as_str()), ("subscribe", subscribe), ("a mistake", r#"{"chanel":1}"#)]
    {
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| json::command(black_box(frame))));
    }
    let bulk = format!("{{\"channel\":\"news\",\"data\":\"{LINE}\"}}\n").repeat(LONG);
    group.throughput(Throughput::Bytes(bulk.len() as u64));
    group.bench_function("100 publications in one body", |bencher| {
        bencher.iter(|| json::publications(black_box(bulk.as_bytes())).filter(Result::is_ok).count())
    });
    group.finish();
}

criterion_group!(benches, transports, escaping, commands);
criterion_main!(benches);
