use super::{parser::MAX_FIELDS, *};
use crate::{config::Settings, http::policy::Policy};

fn policy() -> Policy {
    Policy { body_limit: 100, head_limit: 8192, ..(&Settings::default()).into() }
}

fn parse(input: &[u8]) -> Parsed {
    HeadParser::default().parse(input, &policy(), false)
}

fn head(input: &str) -> RequestHead {
    match parse(input.as_bytes()) {
        Parsed::Complete(head) => head,
        other => panic!("{other:?}: {input}"),
    }
}

/// Returns a head with this request line and two valid fields.
fn starting(line: &str) -> String {
    format!("{line}\r\nhost: h\r\ncontent-length: 2\r\n\r\n")
}

/// Returns a head with these lines and two valid fields.
fn with(lines: &str) -> String {
    format!("POST /pixel HTTP/1.1\r\n{lines}host: h\r\ncontent-length: 2\r\n\r\n")
}

/// Returns the status of the rejection, or 0 if there is none, and whether the connection closes.
fn rejected(input: &str) -> (u16, bool) {
    let rejection = match parse(input.as_bytes()) {
        Parsed::Complete(head) => head.rejection,
        Parsed::Incomplete => panic!("incomplete: {input}"),
        Parsed::Invalid(rejection) => Some(rejection),
    };
    rejection.map_or((0, false), |rejection| (rejection.status, rejection.closes))
}

#[test]
fn json_type_is_recognized_ignoring_case() {
    for (line, is_json) in [
        ("content-type: application/json", true),
        ("Content-Type: Application/JSON", true),
        ("CONTENT-TYPE: APPLICATION/JSON", true),
        ("content-type: application_json", false),
        // A dot differs from n in another bit than the case bit.
        ("content-type: application/jso.", false),
    ] {
        assert_eq!(head(&with(&format!("{line}\r\n"))).is_json, is_json, "{line}");
    }
    let twice = "content-type: text/plain\r\ncontent-type: application/json\r\n";
    assert!(!head(&with(twice)).is_json, "the first one is in effect");
    // Each control character replaces a space, `/` or `:`, and differs from it only in the case bit.
    for line in [
        "content-type:\0application/json",
        "content-type: application\x0fjson",
        "content-type\x1a application/json",
    ] {
        assert_eq!(rejected(&with(&format!("{line}\r\n"))), (400, true), "{line:?}");
    }
    let many = "content-type: application/json\r\n";
    assert_eq!(rejected(&with(&many.repeat(MAX_FIELDS - 2))).0, 0);
    assert_eq!(rejected(&with(&many.repeat(MAX_FIELDS - 1))), (431, true));
}

#[test]
fn usual_head_is_parsed() {
    let text =
        "POST /pixel HTTP/1.1\r\nHost: h:80\r\nContent-Type: application/json\r\nContent-Length: 41\r\n\r\n";
    assert_eq!(
        head(&format!("{text}behind")),
        RequestHead {
            length: text.len(),
            framing: Framing::Length(41),
            version: Version::Http11,
            method_is_head: false,
            is_json: true,
            asks_to_close: false,
            expects_continue: false,
            rejection: None,
            real_ip: None,
        }
    );
}

#[test]
fn request_line_gets_its_status() {
    for (line, expected) in [
        ("POST /pixel?a HTTP/1.1", (0, false)),
        ("POST /pixel HTTP/1.2", (0, false)),
        ("POST HTTPS://h:1/pixel?a HTTP/1.1", (0, false)),
        ("POST /pixel#x HTTP/1.1", (404, false)),
        ("POST /pixel/ HTTP/1.1", (404, false)),
        ("POST http://h HTTP/1.1", (404, false)),
        ("OPTIONS * HTTP/1.1", (404, false)),
        ("GET /pixel HTTP/1.1", (405, false)),
        ("post /pixel HTTP/1.1", (405, false)),
        ("POST http://u@h/pixel HTTP/1.1", (400, true)),
        ("POST /pixel HTTP/2.0", (505, true)),
        ("POST /pixel HTTP/0.9", (505, true)),
        ("POST /pixel HTTP/1.10", (400, true)),
        ("POST /pixel http/1.1", (400, true)),
        ("POST /pixel", (400, true)),
        ("POST  /pixel HTTP/1.1", (400, true)),
        ("POST /pixel?\t HTTP/1.1", (400, true)),
        ("POST /pixel?\x7f HTTP/1.1", (400, true)),
        ("P(ST /pixel HTTP/1.1", (400, true)),
        (" /pixel HTTP/1.1", (400, true)),
    ] {
        assert_eq!(rejected(&starting(line)), expected, "{line}");
    }
    assert_eq!(rejected(&starting(&format!("POST /{} HTTP/1.1", "a".repeat(9000)))), (414, true));
    assert_eq!(rejected(&"a".repeat(8193)), (414, true));
}

#[test]
fn field_gets_its_status() {
    for (lines, expected) in [
        ("x: a\tb \u{e9}\r\n", (0, false)),
        ("x:\r\n", (0, false)),
        ("content-length: 02, 2\r\n", (0, false)),
        ("content-encoding: identity, Identity ,\r\ncontent-encoding:\r\n", (0, false)),
        ("x: a\x7f\r\n", (400, true)),
        ("x: a\rb\r\n", (400, true)),
        ("x : a\r\n", (400, true)),
        (": a\r\n", (400, true)),
        ("x\r\n", (400, true)),
        ("x: a\r\n b\r\n", (400, true)),
        ("host: h\r\n", (400, true)),
        ("content-length: 3\r\n", (400, true)),
        ("content-length: 2, x\r\n", (400, true)),
        ("content-length:\r\n", (400, true)),
        ("transfer-encoding: chunked\r\n", (400, true)),
        ("transfer-encoding: gzip\r\n", (400, true)),
        ("content-encoding: identity, gzip\r\n", (415, false)),
    ] {
        assert_eq!(rejected(&with(lines)), expected, "{lines}");
    }
    for (lines, expected) in [
        ("", (0, false)),
        ("transfer-encoding: Chunked\r\n", (0, false)),
        ("transfer-encoding: chunked, chunked\r\n", (501, true)),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", (501, true)),
        ("transfer-encoding:\r\n", (501, true)),
        ("content-length: 101\r\n", (413, true)),
        ("content-length: 99999999999999999999\r\n", (413, true)),
    ] {
        let text = format!("POST /pixel HTTP/1.1\r\nhost: h\r\n{lines}\r\n");
        assert_eq!(rejected(&text), expected, "{lines}");
    }
    assert_eq!(rejected(&with(&"x: y\r\n".repeat(MAX_FIELDS - 2))), (0, false));
    assert_eq!(rejected(&with(&"x: y\r\n".repeat(MAX_FIELDS - 1))), (431, true));
    assert_eq!(rejected(&with(&format!("x: {}\r\n", "y".repeat(8192)))), (431, true));
}

#[test]
fn rejection_closes_if_the_request_body_is_not_read() {
    for (fields, expected) in [
        ("content-length: 2", (404, false)),
        ("content-length: 101", (404, true)),
        ("content-length: 2\r\nexpect: 100-continue", (404, true)),
        ("content-length: 0\r\nexpect: 100-continue", (404, false)),
    ] {
        let text = format!("POST / HTTP/1.1\r\nhost: h\r\n{fields}\r\n\r\n");
        assert_eq!(rejected(&text), expected, "{fields}");
    }
}

#[test]
fn drained_daemon_rejects_valid_heads_with_503() {
    let status = |input: &str| match HeadParser::default().parse(input.as_bytes(), &policy(), true) {
        Parsed::Complete(head) => head.rejection.map(|rejection| rejection.status),
        other => panic!("{other:?}"),
    };
    assert_eq!(status(&with("")), Some(503));
    assert_eq!(status(&starting("GET /nope HTTP/1.1")), Some(503));
    assert_eq!(status(&with("host: h\r\n")), Some(400));
}

#[test]
fn client_asks_to_close_or_keeps_the_connection() {
    for (version, fields, asks_to_close) in [
        ("1.1", "", false),
        ("1.1", "connection: x, Close\r\n", true),
        ("1.1", "connection: closed\r\n", false),
        ("1.1", "connection: close\r\nconnection: keep-alive\r\n", true),
        ("1.0", "", true),
        ("1.0", "connection: Keep-Alive\r\n", false),
        ("1.0", "connection: keep-alive, close\r\n", true),
    ] {
        let text = format!("POST /pixel HTTP/{version}\r\n{fields}host: h\r\n\r\n");
        assert_eq!(head(&text).asks_to_close, asks_to_close, "{version} {fields}");
    }
}

#[test]
fn http_10_needs_no_host_and_allows_no_transfer_encoding() {
    assert_eq!(rejected("POST /pixel HTTP/1.0\r\n\r\n"), (0, false));
    assert_eq!(rejected("POST /pixel HTTP/1.0\r\nhost: a b\r\n\r\n"), (400, true));
    assert_eq!(rejected("POST /pixel HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n"), (400, true));
    let expecting = "POST /pixel HTTP/1.0\r\ncontent-length: 1\r\nexpect: 100-continue\r\n\r\n";
    assert!(!head(expecting).expects_continue);
}

#[test]
fn real_ip_is_the_first_that_the_proxy_sends() {
    for (fields, expected) in [
        ("X-Real-IP: 192.0.2.7\r\n", Some([192, 0, 2, 7].into())),
        ("x-real-ip: \t192.0.2.7 \r\nx-real-ip: 192.0.2.8\r\n", Some([192, 0, 2, 7].into())),
        ("x-real-ip: unknown\r\n", None),
        ("", None),
    ] {
        let text = with(fields);
        assert_eq!(head(&text).real_ip(text.as_bytes()), expected, "{fields}");
    }
}

#[test]
fn head_in_pieces_has_the_same_result_as_in_one() {
    // The byte after `POST {long}` is the last one within the limit.
    let long = "a".repeat(8192 - 1 - "POST ".len());
    for text in [
        with("x: y\r\n"),
        with("x: y\n"),
        with("x\r\n"),
        with("x: \x7f\r\n"),
        starting("GET / HTTP/2.0"),
        with(&format!("x: {long}\r\n")),
        starting(&format!("POST {long}\0 HTTP/1.1")),
        starting(&format!("POST {long}a\0 HTTP/1.1")),
        "\x16\x03\x01".into(),
        "\r".to_owned() + "POST",
        "{".into(),
        format!("{{{long}{long}\r\n"),
    ] {
        let whole = parse(text.as_bytes());
        assert_ne!(whole, Parsed::Incomplete, "{text:.99}");
        let mut parser = HeadParser::default();
        let in_pieces = (1..=text.len())
            .map(|end| parser.parse(&text.as_bytes()[..end], &policy(), false))
            .find(|parsed| *parsed != Parsed::Incomplete);
        assert_eq!(in_pieces, Some(whole), "{text:.99}");
    }
}

/// If an attacker sends single bytes, the parser searches no byte twice, except a CR.
#[test]
fn search_continues_where_it_stopped() {
    let (text, mut parser) = (with(&format!("x: {}\r\n", "a".repeat(4000))), HeadParser::default());
    for end in 1..text.len() {
        assert_eq!(parser.parse(&text.as_bytes()[..end], &policy(), false), Parsed::Incomplete);
        assert!(parser.searched() + 1 >= end, "at {end}");
    }
}

#[test]
fn lowered_limit_applies_to_a_head_that_has_begun() {
    let (text, mut parser) = (format!("POST / HTTP/1.1\r\nx: {}", "a".repeat(4000)), HeadParser::default());
    assert_eq!(parser.parse(text.as_bytes(), &policy(), false), Parsed::Incomplete);
    let policy = Policy { head_limit: 1000, ..policy() };
    assert!(matches!(parser.parse(text.as_bytes(), &policy, false), Parsed::Invalid(_)));
}

#[test]
fn empty_lines_are_skipped() {
    for (input, skipped) in [("\r\n\n\r\nPOST", 5), ("\rPOST", 0), ("\r", 0), ("", 0), ("\n", 1)] {
        assert_eq!(skip_empty_lines(input.as_bytes()), skipped, "{input:?}");
    }
}

#[test]
fn head_for_hyper_has_only_framing_and_expect() {
    let chunked =
        head("POST /pixel HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n");
    let expected: &[u8] = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n";
    assert_eq!(chunked.for_hyper(), expected);
    assert_eq!(head(&with("")).for_hyper(), b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n");
}
