//! Pages: the embedded ones, a directory laid over them, and nothing outside of it.
#![cfg(feature = "shell")]

mod common;

use common::{Asked, Client, Scratch, Server, Setup, readable};

const SECRET: &str = "the operator's secret";

fn ask(server: &Server, request: &str) -> common::Answer {
    let mut client = Client::connect(server);
    client.send(request);
    client.answer_to(Asked::by(request.as_bytes()))
}

fn get(server: &Server, target: &str) -> common::Answer {
    Client::connect(server).get(target)
}

#[test]
fn the_embedded_pages_are_there() {
    let server = Server::start();
    for (target, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/clock/", "text/html; charset=utf-8"),
        ("/chat/", "text/html; charset=utf-8"),
    ] {
        let page = get(&server, target);
        assert_eq!(page.status(), 200, "{target}");
        assert_eq!(page.field("content-type"), Some(kind), "{target}");
        assert!(!page.text().is_empty(), "{target} is empty");
        assert!(!page.closes(), "{target} closes");
    }
}

#[test]
fn the_health_check_says_ok() {
    let answer = get(&Server::start(), "/healthz");
    assert_eq!((answer.status(), answer.text().trim_end()), (200, "ok"));
}

#[test]
fn pages_carry_security_headers() {
    let server = Server::start();
    for target in ["/", "/clock/", "/chat/"] {
        let page = get(&server, target);
        assert_eq!(page.field("x-content-type-options"), Some("nosniff"), "{target}");
        assert!(page.field("content-security-policy").is_some(), "{target}");
        assert!(page.field("referrer-policy").is_some(), "{target}");
    }
}

#[test]
fn an_unchanged_page_is_not_sent_again() {
    let server = Server::start();
    for target in ["/", "/clock/", "/chat/"] {
        let page = get(&server, target);
        let etag = page.field("etag").unwrap_or_else(|| panic!("{target} has no ETag"));
        let opaque = etag.strip_prefix("W/").unwrap_or(etag);
        assert!(opaque.len() > 2 && opaque.starts_with('"') && opaque.ends_with('"'), "{target}: {etag}");
        let conditions = [
            (opaque.to_owned(), 304),
            (format!("W/{opaque}"), 304),
            (format!("\"other\", {opaque}"), 304),
            (format!("\"a,b\",W/{opaque}"), 304),
            ("*".to_owned(), 304),
            ("\"other\"".to_owned(), 200),
            (opaque.trim_matches('"').to_owned(), 200),
            (format!("\"x{}", &opaque[1..]), 200),
        ];
        for (tags, status) in conditions {
            for method in ["GET", "HEAD"] {
                let mut client = Client::connect(&server);
                let request =
                    format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {tags}\r\n\r\n");
                client.send(&request);
                let answer = client.answer_to(Asked::by(request.as_bytes()));
                assert_eq!(answer.status(), status, "{method} {target} with {tags}");
                assert_eq!(answer.field("etag"), Some(etag), "{method} {target} with {tags}");
                assert_eq!(client.get("/healthz").status(), 200);
            }
        }
    }
}

/// A directory with pages of many kinds, and a secret beside it.
fn site() -> Scratch {
    let scratch = Scratch::new();
    for (name, content) in [
        ("secret.txt", SECRET),
        ("pages/index.html", "<p>the operator's own page"),
        ("pages/a.css", "p {}"),
        ("pages/a.js", "1"),
        ("pages/a.json", "{}"),
        ("pages/a.txt", "plain"),
        ("pages/a.svg", "<svg/>"),
        ("pages/a.png", "\u{1}PNG"),
        ("pages/a.unheard-of", "?"),
        ("pages/a b.txt", "a space"),
        ("pages/empty.txt", ""),
        ("pages/sub/index.html", "<p>below"),
        ("pages/demo/index.html", "<p>an old demo"),
        ("pages/demo/prototype.js", "var Prototype"),
        ("pages/demo/backend.php", "<?php source(); ?>"),
    ] {
        scratch.write(name, content);
    }
    scratch.write("pages/large.bin", vec![b'x'; 5_000_000]);
    scratch
}

fn site_server(site: &Scratch) -> Server {
    Setup::default().pages(&site.path().join("pages")).start()
}

#[test]
fn a_directory_lies_over_the_embedded_pages() {
    let site = site();
    let server = site_server(&site);
    for (target, kind, body) in [
        ("/", "text/html; charset=utf-8", "<p>the operator's own page"),
        ("/index.html", "text/html; charset=utf-8", "<p>the operator's own page"),
        ("/a.css", "text/css; charset=utf-8", "p {}"),
        ("/a.js", "text/javascript; charset=utf-8", "1"),
        ("/a.json", "application/json", "{}"),
        ("/a.txt", "text/plain; charset=utf-8", "plain"),
        ("/a.svg", "image/svg+xml", "<svg/>"),
        ("/a.png", "image/png", "\u{1}PNG"),
        ("/a.unheard-of", "application/octet-stream", "?"),
        ("/a%20b.txt", "text/plain; charset=utf-8", "a space"),
        ("/empty.txt", "text/plain; charset=utf-8", ""),
        ("/sub/", "text/html; charset=utf-8", "<p>below"),
        ("/a.txt?version=2", "text/plain; charset=utf-8", "plain"),
    ] {
        let page = get(&server, target);
        assert_eq!((page.status(), page.text()), (200, body), "{target}");
        assert_eq!(page.field("content-type"), Some(kind), "{target}");
        assert_eq!(page.field("x-content-type-options"), Some("nosniff"), "{target}");
    }
    assert_eq!(get(&server, "/chat/").status(), 200, "what the directory lacks is still there");
    assert_eq!(get(&server, "/missing.txt").status(), 404);
}

#[test]
fn a_directory_without_its_slash_is_not_a_page() {
    let site = site();
    let server = site_server(&site);
    for target in ["/sub", "/clock"] {
        let answer = get(&server, target);
        match answer.status() {
            404 => {}
            301 | 302 | 307 | 308 => {
                assert_eq!(answer.field("location"), Some(format!("{target}/").as_str()))
            }
            other => panic!("{target} is answered {other}"),
        }
    }
}

#[test]
fn a_changed_file_has_another_etag() {
    let site = site();
    let server = site_server(&site);
    let before = get(&server, "/a.txt");
    site.write("pages/a.txt", "changed, and longer");
    let after = get(&server, "/a.txt");
    assert_eq!(after.text(), "changed, and longer");
    assert_ne!(before.field("etag"), after.field("etag"));
}

#[test]
fn a_script_of_the_old_days_is_never_shown() {
    let site = site();
    let server = site_server(&site);
    assert_eq!(get(&server, "/demo/").text(), "<p>an old demo");
    assert_eq!(get(&server, "/demo/prototype.js").text(), "var Prototype");
    let mut client = Client::connect(&server);
    client.send("GET /demo/backend.php HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.head(Asked::GET);
    let first = client.take_through(b"</script>");
    assert!(!first.starts_with(b"<?php"), "{}", readable(&first));
}

#[test]
fn a_large_page_reaches_a_slow_reader_whole() {
    let site = site();
    let server = site_server(&site);
    let mut client = Client::narrow(&server);
    let page = client.get("/large.bin");
    assert_eq!((page.status(), page.body.len()), (200, 5_000_000));
    assert!(page.body.iter().all(|&b| b == b'x'));
    assert_eq!(client.get("/healthz").status(), 200);
}

#[test]
fn nothing_outside_of_the_directory_is_reachable() {
    let site = site();
    let server = site_server(&site);
    for target in [
        "/../secret.txt",
        "/../../../../../../etc/passwd",
        "/sub/../../secret.txt",
        "/./../secret.txt",
        "/%2e%2e/secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..%2fsecret.txt",
        "/..%5csecret.txt",
        "/..\\secret.txt",
        "/.%2e/secret.txt",
        "/%252e%252e/secret.txt",
        "/%252e%252e%252fsecret.txt",
        "/..;/secret.txt",
        "/..%00/secret.txt",
        "/secret.txt%00.html",
        "/a.txt%00",
        "/%c0%ae%c0%ae/secret.txt",
        "//etc/passwd",
        "///etc/passwd",
        "/%2fetc/passwd",
        "/etc/passwd",
        "/sub/%2e%2e/%2e%2e/secret.txt",
        "/sub/..",
        "/..",
        "/../",
        "/%2e%2e",
        "/demo/../../secret.txt?x",
    ] {
        let mut client = Client::connect(&server);
        client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let answer = client.answer();
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!body.contains(SECRET) && !body.contains("root:"), "{target} is answered {body}");
        // A server may take the dots away as a browser does; then what it serves is a page of its own.
        assert!(
            matches!(answer.status(), 200 | 301 | 308 | 400 | 403 | 404),
            "{target}: {}",
            answer.status()
        );
    }
}

#[test]
fn a_file_of_the_limit_is_served_and_one_byte_more_is_not() {
    let site = Scratch::new();
    site.write("fits.txt", "x".repeat(1_000));
    site.write("large.txt", "x".repeat(1_001));
    let server = Setup::default().pages(site.path()).limit("static-file-bytes-max", "1000").start();
    assert_eq!(get(&server, "/fits.txt").body.len(), 1_000);
    assert_eq!(get(&server, "/large.txt").status(), 404);
}

#[test]
fn what_is_not_a_file_is_not_served() {
    use std::os::unix::fs::symlink;
    let site = site();
    let pages = site.path().join("pages");
    symlink("/dev/zero", pages.join("endless.txt")).expect("the scratch is writable");
    symlink("../secret.txt", pages.join("link.txt")).expect("the scratch is writable");
    let fifo = std::process::Command::new("mkfifo").arg(pages.join("fifo.txt")).status();
    assert!(fifo.is_ok_and(|status| status.success()), "mkfifo is there");
    let server = site_server(&site);
    // A server that opened the pipe or the device would stop here for good.
    for target in ["/endless.txt", "/fifo.txt"] {
        let answer = get(&server, target);
        assert!(matches!(answer.status(), 403 | 404), "{target}: {}", answer.status());
    }
    let linked = get(&server, "/link.txt");
    assert!(!linked.text().contains(SECRET), "a link leads out of the directory");
}

#[test]
fn a_whole_answer_is_sent_to_each_version_of_the_protocol() {
    let server = Server::start();
    let new = get(&server, "/");
    let old = ask(&server, "GET / HTTP/1.0\r\n\r\n");
    assert_eq!(new.body, old.body);
    assert!(old.closes());
}
