use super::case::{
    CHUNKED, CHUNKS, Case, Expect, HOST, JSON, LENGTH, NOT_FOUND, OK, PIXEL, POST, Step, case, chunked,
    framed, lines, with,
};

pub fn cases() -> Vec<Case> {
    [persistence(), old(), half_closed(), gone()].into_iter().flatten().collect()
}

fn persistence() -> Vec<Case> {
    let why = "RFC 9112 §9.3";
    let goes_on = |name: &str, fields: &[&str]| case(name, why, with(fields), OK).nginx_too();
    let closes =
        |name: &str, fields: &[&str]| case(name, "RFC 9112 §9.6", with(fields), OK).closed().nginx_too();
    vec![
        goes_on("a connection is kept", &[]),
        goes_on("keep-alive keeps it as well", &["connection: keep-alive"]),
        goes_on(
            "Keep-Alive's parameters change nothing",
            &["connection: keep-alive", "keep-alive: timeout=1, max=1"],
        ),
        goes_on("an unknown connection option changes nothing", &["connection: x-a"]),
        goes_on("Proxy-Connection means nothing", &["proxy-connection: close"]),
        goes_on("an option that begins like close changes nothing", &["connection: closed"]),
        closes("close closes it", &["connection: close"]),
        closes("CLOSE closes it", &["Connection: CLOSE"]),
        closes("close in a list closes it", &["connection: x-a, close"]),
        closes("close before keep-alive closes it", &["connection: close, keep-alive"]),
        closes("close behind keep-alive closes it", &["connection: keep-alive, close"]),
        // nginx looks at the last line only.
        Case {
            through_nginx: None,
            ..closes("close on one of two lines closes it", &["connection: close", "connection: keep-alive"])
        },
        closes("close on the other of two lines closes it", &["connection: keep-alive", "connection: close"]),
        closes("close without blanks in a list closes it", &["connection: x-a,close,x-b"]),
        case(
            "close closes a refused one",
            "RFC 9112 §9.6",
            lines(&["POST /nope HTTP/1.1", HOST, LENGTH, "connection: close"], PIXEL),
            NOT_FOUND,
        )
        .closed()
        .nginx_too(),
        goes_on(
            "an upgrade to HTTP/2 is not taken up",
            &["connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQAAP__"],
        ),
        goes_on(
            "an upgrade to something unknown is not taken up",
            &["connection: upgrade", "upgrade: cake/1.0"],
        ),
        case(
            "an upgrade to WebSocket is not taken up",
            "RFC 9110 §7.8: MAY be ignored",
            lines(
                &[
                    "GET /pixel HTTP/1.1",
                    HOST,
                    "connection: upgrade",
                    "upgrade: websocket",
                    "sec-websocket-version: 13",
                    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
                ],
                "",
            ),
            &[&[405]],
        ),
        goes_on("TE changes nothing", &["connection: te", "te: trailers"]),
        goes_on("Range changes nothing", &["range: bytes=0-3"]),
        goes_on(
            "conditions change nothing",
            &["if-none-match: *", "if-modified-since: Sat, 01 Jan 2000 00:00:00 GMT"],
        ),
        goes_on("a method in a field changes nothing", &["x-http-method-override: DELETE"]),
        goes_on("another URL in a field changes nothing", &["x-original-url: /nope", "x-rewrite-url: /nope"]),
    ]
}

fn old() -> Vec<Case> {
    let start = "POST /pixel HTTP/1.0";
    let old = |name: &str, fields: &[&str]| {
        case(name, "RFC 9112 §9.3", lines(&[&[start, HOST, JSON, LENGTH], fields].concat(), PIXEL), OK)
    };
    vec![
        old("HTTP/1.0 closes", &[]).closed().nginx_too(),
        old("HTTP/1.0 with close closes", &["connection: close"]).closed().nginx_too(),
        old("HTTP/1.0 with keep-alive and close closes", &["connection: keep-alive, close"]).closed(),
        old("HTTP/1.0 with keep-alive is kept", &["connection: keep-alive"]).nginx_too(),
        old("HTTP/1.0 with Keep-Alive is kept", &["Connection: Keep-Alive"]).nginx_too(),
        case(
            "HTTP/1.0 gets no chunks and no body for GET either",
            "RFC 9112 §6.1",
            lines(&["GET /pixel HTTP/1.0"], ""),
            &[&[405]],
        )
        .closed(),
    ]
}

fn half_closed() -> Vec<Case> {
    let why = "CONTRACT: half-closed client; RFC 9112 §9.6";
    let good = with(&[]);
    let incomplete: Expect = &[&[], &[400]];
    let after =
        |name: &str, bytes: Vec<u8>, expect| case(name, why, bytes, expect).then(Step::Finish).closed();
    let no = Vec::new;
    vec![
        after("who ends before a request sees the end", no(), &[&[]]).nginx_too(),
        after("who ends after one byte sees the end", vec![b'P'], incomplete),
        after("who ends in a request line sees the end", good[..10].to_vec(), incomplete),
        after("who ends in a field sees the end", good[..30].to_vec(), incomplete),
        after(
            "who ends before the empty line sees the end",
            good[..good.len() - PIXEL.len() - 2].to_vec(),
            incomplete,
        ),
        after("who ends after a request is answered", good.clone(), OK).nginx_too(),
        after("who ends after two requests gets two answers", good.repeat(2), &[&[200, 200]]).nginx_too(),
        after("who ends after chunks is answered", chunked(CHUNKS), OK).nginx_too(),
        after(
            "who ends after another path is answered",
            lines(&["POST /nope HTTP/1.1", HOST, LENGTH], PIXEL),
            NOT_FOUND,
        )
        .nginx_too(),
        after("who ends after a refused head is answered", lines(&[POST, JSON, LENGTH], PIXEL), &[&[400]])
            .nginx_too(),
        after("who ends after garbage is answered", b"(\r\n\r\n".to_vec(), &[&[400]]).nginx_too(),
        after("who ends after close is answered", with(&["connection: close"]), OK).nginx_too(),
        after(
            "who ends after HTTP/1.0 is answered",
            lines(&["POST /pixel HTTP/1.0", JSON, LENGTH], PIXEL),
            OK,
        )
        .nginx_too(),
        after(
            "who ends after announcing too much is answered",
            framed(&["content-length: 99999"], ""),
            &[&[413]],
        )
        .nginx_too(),
        after("who ends after a request byte by byte is answered", good.clone(), OK).byte_by_byte(),
        case("who ends after an answer sees the end", why, good, OK)
            .then(Step::Await)
            .then(Step::Finish)
            .closed()
            .nginx_too(),
    ]
}

fn gone() -> Vec<Case> {
    let why = "a client may go at any time";
    let good = with(&[]);
    let gone = |name: &str, bytes: &[u8]| case(name, why, bytes, &[&[]]);
    let mut cases = Vec::new();
    for (how, step) in [("leaves", || Step::Leave), ("resets", || Step::Reset)] as [(&str, fn() -> Step); 2] {
        cases.extend([
            gone(&format!("who connects and {how} harms nobody"), b"").then(step()),
            gone(&format!("who {how} in a head harms nobody"), &good[..30]).then(step()),
            gone(&format!("who {how} in a body harms nobody"), &good[..good.len() - 5]).then(step()),
            gone(&format!("who {how} in a chunk harms nobody"), &framed(&[CHUNKED], &CHUNKS[..6]))
                .then(step()),
            gone(&format!("who {how} before the answer harms nobody"), &good).then(step()),
            gone(&format!("who {how} before 100 answers harms nobody"), &good.repeat(100)).then(step()),
            gone(&format!("who {how} before a refusal harms nobody"), b"(\r\n\r\n").then(step()),
            gone(
                &format!("who {how} amid too large a body harms nobody"),
                &framed(&["content-length: 99999"], &" ".repeat(50_000)),
            )
            .then(step()),
            gone(&format!("who {how} after an answer harms nobody"), &good).then(Step::Await).then(step()),
        ]);
    }
    cases.into_iter().map(Case::nginx_too).collect()
}
