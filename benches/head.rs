//! What does it cost to read a request head?
//!
//! A small one (curl), sixteen of them in one piece, a large one (a browser with cookies), and 30
//! KB that come one byte at a time: per byte the last must cost little more than in one piece, or
//! somebody can make the server work for nothing.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use encke::wire::http::{HeadLimits, HeadScan, Request};

const CURL: &str =
    "GET /channels/news HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\n\r\n";

const BROWSER: &str = "GET /channels/news,weather?as=events&since=1700000000000123 HTTP/1.1\r\n\
Host: push.example.org\r\n\
Connection: keep-alive\r\n\
sec-ch-ua-platform: \"Linux\"\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n\
sec-ch-ua: \"Chromium\";v=\"142\", \"Google Chrome\";v=\"142\", \"Not_A Brand\";v=\"99\"\r\n\
sec-ch-ua-mobile: ?0\r\n\
Accept: text/event-stream\r\n\
Cache-Control: no-cache\r\n\
Last-Event-ID: 1700000000000123\r\n\
Sec-Fetch-Site: same-origin\r\n\
Sec-Fetch-Mode: cors\r\n\
Sec-Fetch-Dest: empty\r\n\
Referer: https://push.example.org/chat/\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=necessary%2Cstatistics; \
_id=GA1.1.123456789.1700000000; visitor=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\r\n\
\r\n";

/// Requests that came in one piece, one behind the other.
const PIPELINED: usize = 16;

/// A legal head of `bytes` bytes, most of it cookies.
fn crowded_head(bytes: usize) -> String {
    let line = "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=necessary%2Cstatistics; \
                _id=GA1.1.123456789.1700000000; visitor=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08; \
                cart=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n";
    let start = "GET / HTTP/1.1\r\nHost: h\r\n";
    let lines = (bytes - start.len() - 2) / line.len();
    format!("{start}{}\r\n", line.repeat(lines))
}

fn scan(head: &[u8]) -> usize {
    HeadScan::default().scan(head, &HeadLimits::default()).expect("legal").expect("complete")
}

fn scan_in_pieces(head: &[u8], piece_bytes: usize) -> usize {
    let limits = HeadLimits::default();
    let mut scan = HeadScan::default();
    let ends = (piece_bytes..head.len()).step_by(piece_bytes).chain([head.len()]);
    ends.filter_map(|end| scan.scan(black_box(&head[..end]), &limits).expect("legal"))
        .last()
        .expect("complete")
}

fn read(head: &[u8]) {
    let length = scan(head);
    black_box(Request::parse(&head[..length]).expect("legal"));
}

/// Reads requests until there is none left. Their bodies are empty.
fn read_all(mut requests: &[u8]) {
    while !requests.is_empty() {
        let length = scan(requests);
        black_box(Request::parse(&requests[..length]).expect("legal"));
        requests = &requests[length..];
    }
}

fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scan and parse");
    for (name, head) in [("curl", CURL), ("browser", BROWSER)] {
        group.throughput(Throughput::Bytes(head.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| read(black_box(head.as_bytes()))));
        group.bench_function(format!("{name}, scan alone"), |bencher| {
            bencher.iter(|| scan(black_box(head.as_bytes())))
        });
    }
    let pipelined = CURL.repeat(PIPELINED);
    group.throughput(Throughput::Bytes(pipelined.len() as u64));
    group.bench_function("curl, 16 pipelined", |bencher| {
        bencher.iter(|| read_all(black_box(pipelined.as_bytes())))
    });
    group.finish();

    let mut group = criterion.benchmark_group("scan in pieces");
    for bytes in [7_500, 15_000, 30_000] {
        let head = crowded_head(bytes);
        group.throughput(Throughput::Bytes(head.len() as u64));
        for piece_bytes in [1, 1_460, head.len()] {
            group.bench_function(format!("{bytes} bytes by {piece_bytes}"), |bencher| {
                bencher.iter(|| scan_in_pieces(head.as_bytes(), piece_bytes))
            });
        }
    }
    group.finish();
}

criterion_group!(benches, heads);
criterion_main!(benches);
