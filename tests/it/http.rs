//! What a client of POST /pixel sees, byte for byte.

use crate::support::{Client, Daemon, ECHO, PIXEL, Response, post, post_in_two, request};

const JSON: &str = "content-type: application/json\r\n";
const NOT_FOUND: &str = r#"{"detail":"Not Found"}"#;

fn assert_refused(answer: &Response, status: u16, body: &str) {
    assert_eq!((answer.status, answer.body.as_str()), (status, body));
}

/// What this body is answered with, by a daemon that has nothing configured.
fn answer_to(body: &str) -> Response {
    Daemon::start("").client().ask(post(body))
}

#[test]
fn a_valid_pixel_is_echoed_byte_for_byte_over_tcp_and_unix() {
    let daemon = Daemon::start("");
    for mut client in [daemon.client(), daemon.unix_client()] {
        let answer = client.ask(post(PIXEL));
        assert_eq!((answer.status, answer.body.as_str()), (200, ECHO));
        let mut names: Vec<_> = answer.fields.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "content-type", "date"]);
        assert_eq!(answer.field("content-type"), Some("application/json"));
        assert_eq!(answer.field("content-length"), Some(ECHO.len().to_string().as_str()));
        assert!(answer.field("date").is_some_and(|date| date.ends_with(" GMT")), "{answer:?}");
    }
}

#[test]
fn a_body_in_chunks_is_as_good_as_one_with_a_length() {
    let daemon = Daemon::start("");
    let mut client = daemon.client();
    client.send(format!("POST /pixel HTTP/1.1\r\nhost: h\r\n{JSON}transfer-encoding: chunked\r\n\r\n"));
    for piece in PIXEL.as_bytes().chunks(10) {
        client.send(format!("{:x}\r\n{}\r\n", piece.len(), std::str::from_utf8(piece).unwrap()));
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.answer().body, ECHO);
}

#[test]
fn a_bad_channel_is_refused_with_the_field_and_what_is_expected() {
    let expected = r#"{"detail":[{"type":"literal_error","loc":["body","channel"],"msg":"Input should be 'R', 'G' or 'B'","input":"X","ctx":{"expected":"'R', 'G' or 'B'"}}]}"#;
    assert_refused(&answer_to(r#"{"x":1,"y":2,"channel":"X","value":3}"#), 422, expected);
}

#[test]
fn a_missing_field_is_named() {
    let expected = r#"{"detail":[{"type":"missing","loc":["body","value"],"msg":"Field required","input":{"x":1,"y":2,"channel":"R"}}]}"#;
    assert_refused(&answer_to(r#"{"x":1,"y":2,"channel":"R"}"#), 422, expected);
}

#[test]
fn every_wrong_field_has_its_own_entry() {
    let expected = r#"{"detail":[{"type":"int_parsing","loc":["body","x"],"msg":"Input should be a valid integer, unable to parse string as an integer","input":"a"},{"type":"int_from_float","loc":["body","y"],"msg":"Input should be a valid integer, got a number with a fractional part","input":10.5},{"type":"int_type","loc":["body","value"],"msg":"Input should be a valid integer","input":null}]}"#;
    assert_refused(&answer_to(r#"{"x":"a","y":10.5,"channel":"R","value":null}"#), 422, expected);
}

#[test]
fn a_value_out_of_range_has_the_configured_status() {
    let error = r#"{"error":"value must be between 0 and 255"}"#;
    for (settings, status) in [
        ("", 422),
        ("[pixel]\nrange-error-status = 200", 200),
        ("[pixel]\nrange-error-status = 400", 400),
        ("[pixel]\nrange-error-status = 422", 422),
    ] {
        let daemon = Daemon::start(settings);
        let mut client = daemon.client();
        for value in [-1, 256] {
            let answer = client.ask(post(&format!(r#"{{"x":1,"y":2,"channel":"R","value":{value}}}"#)));
            assert_refused(&answer, status, error);
        }
        for value in [0, 255] {
            let answer = client.ask(post(&format!(r#"{{"x":1,"y":2,"channel":"B","value":{value}}}"#)));
            assert_eq!(answer.status, 200);
        }
    }
}

#[test]
fn invalid_json_and_invalid_pixel_differ_in_status() {
    let daemon = Daemon::start("");
    let mut client = daemon.client();
    let answer = client.ask(post(r#"{"x":1,"#));
    assert_eq!(answer.status, 422);
    let detail: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let entry = &detail["detail"][0];
    assert_eq!((&entry["type"], &entry["msg"]), (&"json_invalid".into(), &"JSON decode error".into()));
    assert_eq!((&entry["loc"][0], entry["input"].to_string().as_str()), (&"body".into(), "{}"));
    assert!(entry["ctx"]["error"].is_string(), "{entry}");

    let answer = client.ask(post("[1]"));
    let expected = r#"{"detail":[{"type":"model_attributes_type","loc":["body"],"msg":"Input should be a valid dictionary or object to extract fields from","input":[1]}]}"#;
    assert_refused(&answer, 422, expected);
}

#[test]
fn an_empty_body_is_a_missing_one() {
    let expected = r#"{"detail":[{"type":"missing","loc":["body"],"msg":"Field required","input":null}]}"#;
    assert_refused(&answer_to(""), 422, expected);
}

#[test]
fn bytes_that_are_no_utf8_are_a_bad_request() {
    let daemon = Daemon::start("");
    let head = format!("POST /pixel HTTP/1.1\r\nhost: h\r\n{JSON}content-length: 3\r\n\r\n");
    let answer = daemon.client().ask([head.as_bytes(), b"\"\xff\""].concat());
    assert_refused(&answer, 400, r#"{"detail":"There was an error parsing the body"}"#);
}

#[test]
fn a_body_that_is_not_said_to_be_json_is_taken_as_text() {
    let daemon = Daemon::start("");
    let mut client = daemon.client();
    let expected = r#"{"detail":[{"type":"model_attributes_type","loc":["body"],"msg":"Input should be a valid dictionary or object to extract fields from","input":"{\"x\":1}"}]}"#;
    for fields in ["", "content-type: text/plain\r\n", "content-type: application/x-www-form-urlencoded\r\n"]
    {
        assert_refused(&client.ask(request("POST", "/pixel", fields, r#"{"x":1}"#)), 422, expected);
    }
    for fields in
        ["content-type: application/json; charset=utf-8\r\n", "content-type: application/x.y+json\r\n"]
    {
        assert_eq!(client.ask(request("POST", "/pixel", fields, PIXEL)).status, 200);
    }
}

#[test]
fn no_other_path_exists_and_the_connection_goes_on() {
    let daemon = Daemon::start("");
    let mut client = daemon.client();
    for path in [
        "/",
        "/docs",
        "/openapi.json",
        "/health",
        "/metrics",
        "/pixel/",
        "/%70ixel",
        "/pixel%2f",
        "//pixel",
        "/PIXEL",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let answer = client.ask(request(method, path, JSON, PIXEL));
            assert_eq!((path, answer.status, answer.body.as_str()), (path, 404, NOT_FOUND));
        }
    }
    assert_eq!(client.ask(request("POST", "/pixel?query=1", JSON, PIXEL)).status, 200);
}

#[test]
fn only_post_is_allowed() {
    let daemon = Daemon::start("");
    let mut client = daemon.client();
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "post"] {
        let answer = client.ask(request(method, "/pixel", "", ""));
        assert_refused(&answer, 405, r#"{"detail":"Method Not Allowed"}"#);
        assert_eq!(answer.field("allow"), Some("POST"));
    }
}

#[test]
fn head_is_answered_without_a_body() {
    let daemon = Daemon::start("");
    let mut client = daemon.client();
    client.send(request("HEAD", "/pixel", "", ""));
    let head = client.head();
    assert_eq!((head.status, head.field("allow")), (405, Some("POST")));
    client.send(request("HEAD", "/", "", ""));
    assert_eq!(client.head().status, 404);
    // Had there been a body, it would stand before this answer.
    assert_eq!(client.ask(post(PIXEL)).body, ECHO);
}

#[test]
fn announced_too_large_body_is_rejected_unsent() {
    let daemon = Daemon::start("");
    let mut client = daemon.client();
    let answer =
        client.ask("POST /pixel HTTP/1.1\r\nhost: h\r\ncontent-length: 16385\r\ncontent-type: a/b\r\n\r\n");
    assert_refused(&answer, 413, r#"{"detail":"Content Too Large"}"#);
    assert_eq!(answer.field("connection"), Some("close"));
    client.expect_end();
}

#[test]
fn a_client_that_sends_too_large_a_body_can_read_its_refusal() {
    let daemon = Daemon::start("");
    for mut client in [daemon.client(), daemon.unix_client()] {
        let answer = client.ask(post(&" ".repeat(200_000)));
        assert_eq!((answer.status, answer.field("connection")), (413, Some("close")));
        client.finish_sending();
        client.expect_end();
    }
}

#[test]
fn a_body_in_chunks_that_becomes_too_large_is_refused() {
    let daemon = Daemon::start("");
    let mut client = daemon.client();
    client.send("POST /pixel HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n");
    let chunk = format!("3e8\r\n{}\r\n", " ".repeat(1000));
    for _ in 0..100 {
        client.send(&chunk);
    }
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("connection")), (413, Some("close")));
    client.finish_sending();
    client.expect_end();
}

#[test]
fn the_largest_body_that_is_allowed_is_read() {
    let daemon = Daemon::start("[limits]\nbody = 64");
    let mut client = daemon.client();
    assert_eq!(client.ask(post(&format!("{PIXEL:<64}"))).status, 200);
    assert_eq!(client.ask(post(&format!("{PIXEL:<65}"))).status, 413);
    client.expect_end();
}

#[test]
fn too_large_a_head_is_refused() {
    let daemon = Daemon::start("");
    for field in [format!("x-long: {}\r\n", "a".repeat(20_000)), "x-many: 1\r\n".repeat(200)] {
        let mut client = daemon.client();
        assert_eq!(client.ask(request("POST", "/pixel", &field, PIXEL)).status, 431);
        client.finish_sending();
        client.expect_end();
    }
}

fn assert_timed_out(mut client: Client) {
    let answer = client.answer();
    assert_refused(&answer, 408, r#"{"detail":"Request Timeout"}"#);
    assert_eq!(answer.field("connection"), Some("close"));
    client.finish_sending();
    client.expect_end();
}

#[test]
fn a_head_that_does_not_come_to_its_end_is_timed_out() {
    let daemon = Daemon::start("[timeouts]\nheader = \"300ms\"");
    let mut client = daemon.client();
    client.send("POST /pixel HTTP/1.1\r\nhost: h\r\n");
    assert_timed_out(client);
}

#[test]
fn a_head_that_comes_byte_by_byte_is_timed_out_all_the_same() {
    let daemon = Daemon::start("[timeouts]\nheader = \"300ms\"");
    let mut client = daemon.client();
    client.send("POST /pixel HTTP/1.1\r\nx: ");
    client.trickle(b'a');
    assert_timed_out(client);
}

#[test]
fn a_head_that_begins_behind_another_request_is_timed_out_too() {
    let daemon = Daemon::start("[timeouts]\nheader = \"300ms\"\nkeep-alive = \"2s\"");
    let mut client = daemon.client();
    assert_eq!(client.ask(post(PIXEL) + "POST /pixel HTTP/1.1\r\n").status, 200);
    assert_timed_out(client);
}

#[test]
fn a_body_that_does_not_come_to_its_end_is_timed_out() {
    let daemon = Daemon::start("[timeouts]\nbody = \"300ms\"");
    let mut silent = daemon.client();
    silent.send(post_in_two().0);
    let mut slow = daemon.client();
    slow.send("POST /pixel HTTP/1.1\r\nhost: h\r\ncontent-length: 10000\r\n\r\n");
    slow.trickle(b' ');
    assert_timed_out(silent);
    assert_timed_out(slow);
}

#[test]
fn a_refused_request_whose_body_does_not_come_is_timed_out() {
    let daemon = Daemon::start("[timeouts]\nbody = \"300ms\"");
    let mut client = daemon.client();
    client.send("POST /nope HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\n");
    assert_timed_out(client);
}

#[test]
fn an_idle_connection_is_closed_after_a_while() {
    let daemon = Daemon::start("[timeouts]\nkeep-alive = \"300ms\"");
    let mut client = daemon.client();
    let never_used = daemon.client();
    assert_eq!(client.ask(post(PIXEL)).status, 200);
    client.expect_end();
    never_used.expect_end();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let daemon = Daemon::start("");
    let mut client = daemon.client();
    let body = |x| format!(r#"{{"x":{x},"y":2,"channel":"G","value":3}}"#);
    let requests: String = (0..50).map(|x| post(&body(x)) + &request("POST", "/nope", JSON, PIXEL)).collect();
    client.send(requests);
    for x in 0..50 {
        assert_eq!(client.answer().body, format!(r#"{{"status":"ok","received":{}}}"#, body(x)));
        assert_eq!(client.answer().body, NOT_FOUND);
    }
}

#[test]
fn pipelined_requests_after_a_long_response_keep_their_order() {
    let daemon = Daemon::start("");
    let long_body = format!(r#"{{"x":"{}"}}"#, "a".repeat(5000));
    for (next, status) in [(post(PIXEL), 200), ("{".to_owned(), 400)] {
        let mut client = daemon.client();
        client.send(post(&long_body) + &next);
        let rejection = client.answer();
        assert_eq!(rejection.status, 422);
        assert!(rejection.body.len() > long_body.len());
        assert_eq!(client.answer().status, status);
    }
}

#[test]
fn a_client_that_has_finished_sending_gets_its_answer() {
    let daemon = Daemon::start("");
    for mut client in [daemon.client(), daemon.unix_client()] {
        client.send(post(PIXEL));
        client.finish_sending();
        assert_eq!(client.answer().body, ECHO);
        client.expect_end();
    }
}

#[test]
fn a_client_that_asks_to_close_is_obeyed() {
    let daemon = Daemon::start("");
    let mut client = daemon.client();
    let answer = client.ask(request("POST", "/pixel", &format!("{JSON}connection: close\r\n"), PIXEL));
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    client.expect_end();
}

#[test]
fn expect_header_gets_100_continue() {
    let daemon = Daemon::start("");
    let mut client = daemon.client();
    let asking = request("POST", "/pixel", &format!("{JSON}expect: 100-continue\r\n"), PIXEL);
    let (head, body) = asking.split_at(asking.len() - PIXEL.len());
    assert_eq!(client.ask(head).status, 100);
    assert_eq!(client.ask(body).body, ECHO);
}

#[test]
fn unwanted_expect_continue_is_rejected_at_once() {
    let daemon = Daemon::start("");
    for (path, length, status) in [("/nope", 10, 404), ("/pixel", 100_000, 413)] {
        let mut client = daemon.client();
        let answer = client.ask(format!(
            "POST {path} HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
        ));
        assert_eq!((path, answer.status), (path, status));
        client.expect_end();
    }
}

#[test]
fn every_answer_says_what_it_is_and_not_what_made_it() {
    let daemon = Daemon::start("[timeouts]\nheader = \"300ms\"");
    let requests = [
        post(PIXEL),
        post("{}"),
        post(r#"{"x":1,"y":2,"channel":"R","value":300}"#),
        request("POST", "/nope", "", ""),
        request("GET", "/pixel", "", ""),
        post(&" ".repeat(20_000)),
        "POST /pixel HTTP/1.1\r\n".into(),
    ];
    for request in requests {
        let mut client = daemon.client();
        let answer = client.ask(&request);
        assert_eq!(answer.field("content-type"), Some("application/json"), "{answer:?}");
        assert!(answer.field("content-length").is_some(), "{answer:?}");
        assert!(answer.field("date").is_some(), "{answer:?}");
        assert_eq!(answer.field("server"), None);
        serde_json::from_str::<serde_json::Value>(&answer.body).expect("the body is JSON");
        // Nothing stands behind the body, so the length is exact.
        client.finish_sending();
        client.expect_end();
    }
}

#[test]
fn what_is_wrong_with_a_request_does_not_depend_on_its_body() {
    let daemon = Daemon::start("");
    let body = "x".repeat(20_000);
    let chunked = format!("4e20\r\n{body}\r\n0\r\n\r\n");
    for (method, path, status) in [("POST", "/other", 404), ("PUT", "/pixel", 405)] {
        let line = format!("{method} {path} HTTP/1.1\r\nhost: h\r\n");
        for request in [
            format!("{line}content-length: 20000\r\n\r\n{body}"),
            format!("{line}transfer-encoding: chunked\r\n\r\n{chunked}"),
        ] {
            assert_eq!(daemon.client().ask(request).status, status, "{method} {path}");
        }
        let mut client = daemon.client();
        client.send(format!("{line}content-length: 10\r\n\r\nx"));
        client.finish_sending();
        assert_eq!(client.answer().status, status, "{method} {path}, broken off");
    }
}

#[test]
fn client_that_ends_within_a_header_gets_400() {
    let daemon = Daemon::start("");
    for (first, status) in [(post(PIXEL), 200), (request("POST", "/other", "", ""), 404)] {
        for mut client in [daemon.client(), daemon.unix_client()] {
            client.send(first.clone() + "POST /pixel HTTP/1.1\r\nho");
            client.finish_sending();
            assert_eq!([client.answer().status, client.answer().status], [status, 400]);
            client.expect_end();
        }
    }
}
