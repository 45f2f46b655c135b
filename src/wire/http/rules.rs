//! The rules for requests, one test each: what a client may send, and what it is told if it sends
//! something else.
//!
//! Every head is scanned in one piece and byte by byte, and must come out the same; then it is parsed.

use proptest::prelude::*;

use super::*;
use crate::wire::refusal::Refusal;

/// Scans and parses a head, as a server would.
fn ask(head: &(impl AsRef<[u8]> + ?Sized)) -> Result<Request<'_>, Refusal> {
    let head = head.as_ref();
    let limits = HeadLimits::default();
    let at_once = HeadScan::default().scan(head, &limits);
    let mut scan = HeadScan::default();
    let mut piecewise = Ok(None);
    for end in 1..=head.len() {
        piecewise = scan.scan(&head[..end], &limits);
        if !matches!(piecewise, Ok(None)) {
            break;
        }
    }
    assert_eq!(at_once, piecewise, "pieces matter: {:?}", String::from_utf8_lossy(head));
    let length = at_once?.expect("the tests hand in complete heads");
    Request::parse(&head[..length])
}

/// A GET for `/` with one more field line.
fn ask_with(field: &str) -> Result<(), Refusal> {
    ask(&format!("GET / HTTP/1.1\r\nHost: h\r\n{field}\r\n\r\n")).map(|_| ())
}

/// A GET for `target`.
fn ask_for(target: &str) -> Result<(), Refusal> {
    ask(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")).map(|_| ())
}

#[track_caller]
fn assert_refused(result: Result<impl std::fmt::Debug, Refusal>, status: u16) {
    let refusal = result.expect_err("this should have been refused");
    assert_eq!(refusal.status, status, "{}", refusal.detail);
    assert!(refusal.close, "no head can be refused and the connection kept: {}", refusal.detail);
    assert!(!refusal.detail.is_empty() && refusal.detail.is_ascii());
}

// --- What is served -----------------------------------------------------------------------------

#[test]
fn a_plain_request_says_what_it_wants() {
    let request =
        ask("GET /channels/news?since=7&x=?y HTTP/1.1\r\nHost: example.org:8080\r\nAccept: */*\r\n\r\n");
    let request = request.unwrap();
    assert_eq!((request.method, request.version), (Method::Get, Version::Http11));
    assert_eq!((request.path, request.query), ("/channels/news", "since=7&x=?y"));
    let host = request.host.unwrap();
    assert_eq!((host.text, host.name, host.port), ("example.org:8080", "example.org", Some(8080)));
    assert_eq!(request.body, BodyFraming::None);
    assert!(request.keep_alive && !request.expect_continue);
}

#[test]
fn a_field_is_found_in_any_case_and_without_the_space_around_it() {
    let request = ask("GET / HTTP/1.1\r\nhOST: h\r\nLast-Event-ID: \t 17 \t\r\nX:\r\nx: 2\r\n\r\n").unwrap();
    assert_eq!(request.field("last-event-id"), Some(&b"17"[..]));
    assert_eq!(request.field("x"), Some(&b""[..]), "the first of two");
    assert_eq!(request.field("Last-Event"), None);
    let names: Vec<_> = request.fields().map(|(name, _)| name).collect();
    assert_eq!(names, [&b"hOST"[..], b"Last-Event-ID", b"X", b"x"]);
}

#[test]
fn a_value_may_hold_colons_tabs_and_bytes_outside_ascii() {
    let head = b"GET / HTTP/1.1\r\nHost: h\r\nOrigin: http://h:1\r\nX: a\tb\xe4\xff\r\n\r\n";
    let request = ask(head).unwrap();
    assert_eq!(request.field("origin"), Some(&b"http://h:1"[..]));
    assert_eq!(request.field("x"), Some(&b"a\tb\xe4\xff"[..]));
}

#[test]
fn every_known_method_is_known_by_its_name() {
    use Method::*;
    for method in [Get, Head, Options, Post, Put, Patch, Delete] {
        let head = format!("{} / HTTP/1.1\r\nHost: h\r\n\r\n", method.name());
        assert_eq!(ask(&head).unwrap().method, method);
    }
}

#[test]
fn up_to_four_empty_lines_before_a_request_are_ignored() {
    let head = |empty| format!("{}GET / HTTP/1.1\r\nHost: h\r\n\r\n", "\r\n".repeat(empty));
    assert_eq!(ask(&head(4)).unwrap().path, "/");
    assert_refused(ask(&head(5)), 400);
}

#[test]
fn http_1_0_needs_no_host_and_ends_unless_asked_to_stay() {
    let request = ask("GET / HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!((request.version, request.host, request.keep_alive), (Version::Http10, None, false));
    assert!(ask("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").unwrap().keep_alive);
    assert!(!ask("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n").unwrap().keep_alive);
}

#[test]
fn http_1_1_stays_unless_it_says_close_in_any_of_its_connection_fields() {
    let stays = |lines: &str| ask(&format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n")).unwrap().keep_alive;
    assert!(stays(""));
    assert!(stays("Connection: closed\r\n"));
    assert!(!stays("Connection: CLOSE\r\n"));
    assert!(!stays("Connection: upgrade ,, close\r\n"));
    assert!(!stays("Connection: keep-alive\r\nConnection: close\r\n"));
}

#[test]
fn an_upgrade_needs_both_fields_and_http_1_1() {
    let offers = |version, lines: &str| {
        ask(&format!("GET / HTTP/{version}\r\nHost: h\r\n{lines}\r\n")).unwrap().upgrades_to("websocket")
    };
    assert!(offers("1.1", "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"));
    assert!(!offers("1.1", "Upgrade: websocket\r\n"));
    assert!(!offers("1.1", "Connection: upgrade\r\nUpgrade: websockets\r\n"));
    assert!(!offers("1.0", "Connection: upgrade\r\nUpgrade: websocket\r\n"));
}

#[test]
fn an_absolute_target_is_served_and_its_authority_wins_over_host() {
    let request = ask("GET HTTP://Real:81/a?b HTTP/1.1\r\nHost: other\r\n\r\n").unwrap();
    assert_eq!((request.path, request.query), ("/a", "b"));
    assert_eq!((request.host.unwrap().name, request.host.unwrap().port), ("Real", Some(81)));
    let request = ask("GET http://h?b HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!((request.path, request.query), ("/", "b"));
    assert_refused(ask("GET http://h/ HTTP/1.1\r\n\r\n"), 400);
    assert_refused(ask("GET http://h/ HTTP/1.1\r\nHost: a b\r\n\r\n"), 400);
}

#[test]
fn the_asterisk_belongs_to_options_alone() {
    assert_eq!(ask("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").unwrap().path, "*");
    assert_eq!(ask("OPTIONS http://h HTTP/1.1\r\nHost: h\r\n\r\n").unwrap().path, "*");
    assert_eq!(ask("OPTIONS http://h/ HTTP/1.1\r\nHost: h\r\n\r\n").unwrap().path, "/");
    assert_refused(ask_for("*"), 400);
    assert_refused(ask("OPTIONS *x HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
}

#[test]
fn what_browsers_leave_unencoded_in_a_query_is_served() {
    let request = ask("GET /?a[]={\\|}^` HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(request.query, "a[]={\\|}^`");
}

// --- The head's lines ---------------------------------------------------------------------------

#[test]
fn a_bare_lf_is_a_400_wherever_it_stands() {
    for head in [
        "\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\n",
        "GET\n/ HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /\nHTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        assert_refused(ask(head), 400);
        assert_refused(Request::parse(head.as_bytes()), 400);
    }
}

#[test]
fn a_bare_cr_is_a_400_wherever_it_stands() {
    for head in [
        "\rGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\rHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX: a\rY: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\rX",
        "GET /\rHTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        assert_refused(ask(head), 400);
        assert_refused(Request::parse(head.as_bytes()), 400);
    }
}

#[test]
fn white_space_after_the_request_line_is_a_400() {
    assert_refused(ask("GET / HTTP/1.1\r\n Host: h\r\n\r\n"), 400);
    assert_refused(ask("GET / HTTP/1.1\r\n\tX: y\r\nHost: h\r\n\r\n"), 400);
}

#[test]
fn a_folded_line_is_a_400() {
    assert_refused(ask_with("X: a\r\n b"), 400);
    assert_refused(ask_with("X: a\r\n\tb: c"), 400);
}

#[test]
fn white_space_before_the_colon_is_a_400() {
    assert_refused(ask_with("Content-Length : 5"), 400);
    assert_refused(ask_with("Transfer-Encoding\t: chunked"), 400);
}

#[test]
fn a_field_without_colon_name_or_token_is_a_400() {
    for field in
        ["nothing", ": value", "na me: v", "n(a)me: v", "na\u{e4}me: v", "\"name\": v", "a\0b: c", "a/b: c"]
    {
        assert_refused(ask_with(field), 400);
    }
}

#[test]
fn a_control_byte_in_a_head_is_a_400() {
    for byte in (0..=255u8).filter(|byte| byte.is_ascii_control() && *byte != b'\t') {
        let mut head = b"GET / HTTP/1.1\r\nHost: h\r\nLong-Enough-Name: a value\r\n\r\n".to_vec();
        for at in [1, 4, 6, 12, 17, 27, 44, 47, 49] {
            let spared = std::mem::replace(&mut head[at], byte);
            assert_refused(ask(&head), 400);
            assert_refused(Request::parse(&head), 400);
            head[at] = spared;
        }
        assert!(ask(&head).is_ok());
    }
}

// --- The request line ---------------------------------------------------------------------------

#[test]
fn extra_spaces_or_tabs_in_a_request_line_are_a_400() {
    for line in [
        " GET / HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET\t/ HTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET /a b HTTP/1.1",
        "\tGET / HTTP/1.1",
        "GET / HTTP/1.1\t",
    ] {
        let head = format!("{line}\r\nHost: h\r\n\r\n");
        assert_refused(ask(&head), 400);
        assert_refused(Request::parse(head.as_bytes()), 400);
    }
}

#[test]
fn http_0_9_is_a_400() {
    for head in ["GET /\r\n\r\n", "GET / \r\n\r\n", "GET\r\n\r\n", "GET \r\n\r\n"] {
        assert_refused(ask(head), 400);
        assert_refused(Request::parse(head.as_bytes()), 400);
    }
}

#[test]
fn a_version_that_is_not_served_is_a_505_and_a_malformed_one_a_400() {
    let ask_in = |version| ask(&format!("GET / {version}\r\nHost: h\r\n\r\n")).map(|_| ());
    for version in ["HTTP/1.2", "HTTP/1.9", "HTTP/2.0", "HTTP/3.0", "HTTP/0.9"] {
        assert_refused(ask_in(version), 505);
    }
    for version in [
        "http/1.1",
        "HTTP/1",
        "HTTP/1.",
        "HTTP/1.10",
        "HTTP/11",
        "HTTP/1,1",
        "HTTP/x.1",
        "ICY/1.10",
        "HTTP/1.1\u{e4}",
    ] {
        assert_refused(ask_in(version), 400);
    }
    assert_refused(ask("PRI * HTTP/2.0\r\n\r\n"), 505);
}

#[test]
fn an_unknown_method_and_those_nobody_should_serve_are_a_501() {
    for method in ["BREW", "get", "Get", "GETT", "GE", "PROPFIND", "TRACE", "CONNECT", "M-SEARCH"] {
        assert_refused(ask(&format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n")), 501);
    }
    assert_refused(ask("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n"), 501);
}

#[test]
fn a_method_that_is_no_token_is_a_400() {
    for method in ["G(T", "\"GET\"", "G\u{e4}T", "GET:", "<GET>"] {
        assert_refused(ask(&format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n")), 400);
    }
}

#[test]
fn a_target_that_is_neither_a_path_nor_an_http_address_is_a_400() {
    for target in [
        "h:80",
        "example.org",
        "a/b",
        "?a",
        "ftp://h/",
        "file:///etc/passwd",
        "http:/h",
        "http://",
        "http:///a",
        "http://u@h/",
        "http://h:99999/",
        "javascript:alert(1)",
    ] {
        assert_refused(ask_for(target), 400);
    }
}

#[test]
fn a_fragment_in_the_target_is_a_400() {
    for target in ["/#", "/a#b", "/a?b#c", "http://h/#a", "http://h#a"] {
        assert_refused(ask_for(target), 400);
    }
}

#[test]
fn bytes_in_a_target_that_must_be_encoded_are_a_400() {
    for target in [
        "/\u{e4}",
        "/?\u{20ac}",
        "/a\\b",
        "/<",
        "/>",
        "/a\"b",
        "/{a}",
        "/a|b",
        "/a^b",
        "/a`b",
        "/?<",
        "/?\"",
        "/?>",
    ] {
        assert_refused(ask_for(target), 400);
    }
    assert_refused(ask(b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
}

// --- Host ---------------------------------------------------------------------------------------

#[test]
fn http_1_1_without_host_or_with_two_is_a_400() {
    assert_refused(ask("GET / HTTP/1.1\r\n\r\n"), 400);
    assert_refused(ask("GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"), 400);
    assert_refused(ask("GET / HTTP/1.0\r\nHost: h\r\nhost: h\r\n\r\n"), 400);
}

#[test]
fn a_malformed_host_is_a_400_even_in_http_1_0() {
    for host in [
        "",
        "a b",
        "a,b",
        "a/b",
        "u@h",
        "h:65536",
        "h:99999999999",
        "h:+80",
        "h:-1",
        "h:8o",
        "h:80:80",
        ":80",
        "[::1",
        "::1",
        "[::1]x",
        "[::1]80",
        "[1.2.3.4]",
        "[g::1]",
        "[fe80::1%25eth0]",
        "h?",
        "h#",
        "http://h",
        "h\\",
        "\u{e4}",
        "h%41",
    ] {
        assert_refused(ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), 400);
        assert_refused(ask(&format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n")), 400);
    }
}

#[test]
fn every_real_host_is_served() {
    for (text, name, port) in [
        ("h", "h", None),
        ("Example.ORG.", "Example.ORG.", None),
        ("a-b_c.d:0", "a-b_c.d", Some(0)),
        ("127.0.0.1:65535", "127.0.0.1", Some(65535)),
        ("[::1]", "[::1]", None),
        ("[2001:db8::7]:8080", "[2001:db8::7]", Some(8080)),
        ("h:", "h", None),
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: {text}\r\n\r\n");
        assert_eq!(ask(&head).unwrap().host, Some(Authority { text, name, port }));
    }
}

#[test]
fn what_decides_who_may_do_what_is_said_once() {
    for name in ["Origin", "Sec-Fetch-Site", "Content-Type", "Authorization", "Last-Event-ID"] {
        let once = format!("POST / HTTP/1.1\r\nHost: h\r\n{name}: a\r\nAccept: a\r\nAccept: b\r\n");
        assert!(ask(&format!("{once}\r\n")).is_ok(), "{name}");
        for again in [name.to_owned(), name.to_lowercase()] {
            let head = format!("{once}{again}: a\r\n\r\n");
            assert_refused(ask(&head), 400);
            assert!(ask(&head).unwrap_err().detail.contains(&format!("two {name} fields")));
        }
    }
}

// --- Framing ------------------------------------------------------------------------------------

fn framing(version: &str, lines: &str) -> Result<BodyFraming, Refusal> {
    ask(&format!("POST / HTTP/{version}\r\nHost: h\r\n{lines}\r\n")).map(|request| request.body)
}

#[test]
fn a_content_length_is_exactly_digits() {
    let length = |value| framing("1.1", &format!("Content-Length: {value}\r\n"));
    assert_eq!(length("0"), Ok(BodyFraming::Length(0)));
    assert_eq!(length("  005\t"), Ok(BodyFraming::Length(5)));
    assert_eq!(length("18446744073709551615"), Ok(BodyFraming::Length(u64::MAX)));
    for value in [
        "",
        "+5",
        "-5",
        "0x5",
        "5,5",
        "5, 5",
        "5 5",
        "5.",
        "5e1",
        "\u{b2}",
        "18446744073709551616",
        "99999999999999999999999",
    ] {
        assert_refused(length(value), 400);
    }
}

#[test]
fn two_content_lengths_are_a_400_even_if_they_agree() {
    assert_refused(framing("1.1", "Content-Length: 5\r\nContent-Length: 5\r\n"), 400);
    assert_refused(framing("1.1", "Content-Length: 5\r\ncontent-length: 6\r\n"), 400);
}

#[test]
fn chunked_alone_in_http_1_1_is_the_only_transfer_encoding() {
    assert_eq!(framing("1.1", "Transfer-Encoding: CHUNKED\r\n"), Ok(BodyFraming::Chunked));
    for coding in [
        "gzip, chunked",
        "chunked, chunked",
        "chunked,",
        "xchunked",
        "chunked;q=1",
        "identity",
        "",
        "\"chunked\"",
    ] {
        assert_refused(framing("1.1", &format!("Transfer-Encoding: {coding}\r\n")), 501);
    }
    assert_refused(framing("1.1", "Transfer-Encoding: \x0bchunked\r\n"), 400);
    assert_refused(framing("1.0", "Transfer-Encoding: chunked\r\n"), 400);
}

#[test]
fn two_transfer_encodings_are_a_400() {
    assert_refused(framing("1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400);
    assert_refused(framing("1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), 400);
}

#[test]
fn a_length_beside_a_transfer_encoding_is_a_400() {
    assert_refused(framing("1.1", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400);
    assert_refused(framing("1.1", "Transfer-Encoding: identity\r\nContent-Length: 0\r\n"), 400);
}

#[test]
fn a_client_may_wait_for_a_100_but_not_expect_anything_else() {
    let head = |version, expectation| {
        format!("POST / HTTP/{version}\r\nHost: h\r\nExpect: {expectation}\r\nContent-Length: 1\r\n\r\n")
    };
    assert!(ask(&head("1.1", "100-Continue")).unwrap().expect_continue);
    assert!(!ask(&head("1.0", "100-continue")).unwrap().expect_continue);
    assert_refused(ask(&head("1.1", "200-ok")), 417);
    let bodiless = ask("GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n").unwrap();
    assert!(!bodiless.expect_continue, "there is nothing to wait with");
}

// --- What nobody would send ---------------------------------------------------------------------

#[test]
fn parsing_is_safe_without_the_scan() {
    for head in [
        "",
        "\r\n",
        "\r\n\r\n",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: h",
        "GET / HTTP/1.1\r\nHost: h\r\n\r\nx",
    ] {
        assert_refused(Request::parse(head.as_bytes()), 400);
    }
    let crowded = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "a: b\r\n".repeat(FIELDS_CEILING as usize));
    assert_refused(Request::parse(crowded.as_bytes()), 431);
}

#[test]
fn what_can_be_told_of_a_refused_head_is_its_path_and_maybe_whose_page_asks() {
    let of = |head: &'static str| Remains::of(head.as_bytes());
    let remains = of("BREW /a?b HTTP/1.1\r\nHost: h\r\norigin: http://o\r\n\r\n");
    assert_eq!(remains, Remains { path: Some("/a"), origin: Some(b"http://o") });
    assert_eq!(of("\r\nGET http://h/a HTTP/9.9\r\n"), Remains { path: Some("/a"), origin: None });
    let twice = "GET /a HTTP/1.1\r\nHost: h\r\nOrigin: http://o\r\nOrigin: http://p\r\n\r\n";
    assert_eq!(of(twice), Remains { path: Some("/a"), origin: None });
    for nothing in ["", "GET /a HTTP/1.1", "GET  /a HTTP/1.1\r\n", "GET a HTTP/1.1\r\n", "\r\n\r\n"] {
        assert_eq!(of(nothing), Remains::default(), "{nothing:?}");
    }
}

#[test]
fn no_refusal_repeats_a_byte_of_the_request() {
    for head in [
        "ZQXJK / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET zqxjk HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / ZQXJ/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: zqxjk zqxjk\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: zqxjk\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: zqxjk\r\n\r\n",
    ] {
        let detail = ask(head).unwrap_err().detail.to_lowercase();
        assert!(!detail.contains("zqxj"), "{detail}");
    }
}

/// A field's name and its value, with all the white space that may stand around one.
fn field() -> impl Strategy<Value = (String, String)> {
    let name = "[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}";
    let value = "[ \t]{0,3}[!-~\u{e4}]{0,8}([ \t]{1,2}[!-~]{1,5})?[ \t]{0,3}";
    (name, value)
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(head in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Request::parse(&head);
        let _ = Remains::of(&head);
    }

    #[test]
    fn nothing_near_a_request_makes_the_parser_panic(
        line in "(GET|POST|OPTIONS)? ?[/*a-z:?#%\\[\\]@]{0,20} ?(HTTP/1\\.[01])?",
        fields in prop::collection::vec("(Host: h|Content-Length|X|Transfer-Encoding)?:?[ -~]{0,12}", 0..5),
    ) {
        let head = format!("{line}\r\n{}\r\n\r\n", fields.join("\r\n"));
        if let Ok(request) = Request::parse(head.as_bytes()) {
            prop_assert!(request.path.starts_with('/') || request.path == "*");
            prop_assert_eq!(request.fields().count(), fields.len());
        }
    }

    #[test]
    fn fields_are_found_later_as_httparse_read_them_first(fields in prop::collection::vec(field(), 0..20)) {
        let lines: String = fields.iter().map(|(name, value)| format!("{name}:{value}\r\n")).collect();
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        let mut table = [httparse::EMPTY_HEADER; 32];
        let mut parsed = httparse::Request::new(&mut table);
        parsed.parse(head.as_bytes()).unwrap();
        if let Ok(request) = Request::parse(head.as_bytes()) {
            let ours: Vec<_> = request.fields().collect();
            let theirs: Vec<_> = parsed.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
            prop_assert_eq!(ours, theirs);
        }
    }
}
