use super::case::{
    BAD, Case, Expect, HOST, JSON, LENGTH, OK, PIXEL, POST, SMUGGLED, Step, all, case, framed, lines, with,
};

const WHY: &str = "RFC 9112 §9.3.2: in order";
const STOP: &str = "RFC 9112 §9.3.2, §9.6: nothing is read behind a refusal that closes";

/// 200 and 404, fifty times.
const PAIRS: [u16; 100] = {
    let mut statuses = [200; 100];
    let mut nth = 1;
    while nth < 100 {
        statuses[nth] = 404;
        nth += 2;
    }
    statuses
};

pub fn cases() -> Vec<Case> {
    [whole(), mixed(), partial()].into_iter().flatten().collect()
}

fn nope() -> Vec<u8> {
    lines(&["POST /nope HTTP/1.1", HOST, JSON, LENGTH], PIXEL)
}

fn whole() -> Vec<Case> {
    let good = with(&[]);
    let ten: Expect = &[&[200; 10]];
    let hundred: Expect = &[&[200; 100]];
    let long: Expect = &[&[200; 500]];
    vec![
        case("2 requests in one piece are answered", WHY, good.repeat(2), &[&[200, 200]]).nginx_too(),
        case("10 requests in one piece are answered", WHY, good.repeat(10), ten).nginx_too(),
        case("100 requests in one piece are answered", WHY, good.repeat(100), hundred).nginx_too(),
        case("500 requests in one piece are answered", WHY, good.repeat(500), long),
        case("10 requests byte by byte are answered", WHY, good.repeat(10), ten).byte_by_byte(),
        case("requests one after the other are answered", WHY, &good, &[&[200, 200, 200]])
            .then(Step::Await)
            .send(&good)
            .then(Step::Await)
            .send(&good)
            .nginx_too(),
        case(
            "an empty line between requests is ignored",
            "RFC 9112 §2.2",
            all(&[&good, b"\r\n", &good]),
            &[&[200, 200]],
        )
        .nginx_too(),
        case("10 requests and the end are answered", "CONTRACT: half-close", good.repeat(10), ten)
            .then(Step::Finish)
            .closed()
            .nginx_too(),
    ]
}

fn mixed() -> Vec<Case> {
    let good = with(&[]);
    let no_host = lines(&[POST, JSON, LENGTH], PIXEL);
    let get = lines(&["GET /pixel HTTP/1.1", HOST], "");
    let head = lines(&["HEAD /pixel HTTP/1.1", HOST], "");
    let coded = with(&["content-encoding: gzip"]);
    let large = framed(&["content-length: 20000"], &" ".repeat(20_000));
    let many = with(&["x: 1\r\n".repeat(200).trim_end()]);
    let mixed = |name: &str, pieces: &[&[u8]], expect| case(name, WHY, all(pieces), expect);
    let stops = |name: &str, pieces: &[&[u8]], expect| case(name, STOP, all(pieces), expect).closed();
    vec![
        mixed("a path that is not there disturbs nobody", &[&good, &nope(), &good], &[&[200, 404, 200]])
            .nginx_too(),
        mixed("a method that is not allowed disturbs nobody", &[&good, &get, &good], &[&[200, 405, 200]]),
        mixed("a coding disturbs nobody", &[&good, &coded, &good], &[&[200, 415, 200], &[200, 415]])
            .closed_if_said()
            .nginx(&[&[200, 415, 200]]),
        mixed(
            "a body that is no pixel disturbs nobody",
            &[&good, &framed(&["content-length: 2"], "{}"), &good],
            &[&[200, 422, 200]],
        )
        .nginx_too(),
        mixed(
            "a body that is no UTF-8 disturbs nobody",
            &[&good, &framed(&["content-length: 2"], ""), b"\"\xff", &good],
            &[&[200, 400, 200]],
        )
        .nginx_too(),
        mixed("50 pairs keep their order", &[&[good.clone(), nope()].concat().repeat(50)], &[&PAIRS])
            .nginx_too(),
        case("HEAD is followed by the next answer", WHY, all(&[&head, &good]), &[&[405, 200]]).head(),
        stops("nothing is answered behind no Host", &[&no_host, &good], BAD).nginx_too(),
        stops("what was before no Host is answered", &[&good, &no_host, &good], &[&[200, 400]]).nginx_too(),
        stops("nothing is answered behind garbage", &[b"\x01\x02\r\n\r\n", &good], BAD),
        stops("what was before garbage is answered", &[&good, b"(\r\n\r\n", &good], &[&[200, 400]])
            .nginx_too(),
        stops(
            "ten before garbage are answered",
            &[&good.repeat(10), b"(\r\n\r\n", &good],
            &[&[200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 400]],
        )
        .nginx_too(),
        stops(
            "what was before an invalid length is answered",
            &[&good, &framed(&["content-length: x"], PIXEL), &good],
            &[&[200, 400]],
        )
        .nginx_too(),
        stops(
            "what was before a coding is answered",
            &[&good, &framed(&["transfer-encoding: gzip, chunked"], SMUGGLED)],
            &[&[200, 501]],
        )
        .nginx_too(),
        stops("what was before too large a body is answered", &[&good, &large, &good], &[&[200, 413]])
            .nginx_too(),
        stops("what was before too many fields is answered", &[&good, &many, &good], &[&[200, 431]]),
        stops(
            "what was before a version is answered",
            &[&good, b"POST /pixel HTTP/2.0\r\n\r\n"],
            &[&[200, 400], &[200, 505]],
        ),
        stops("what was before a NUL is answered", &[&good, &with(&["a\0: b"]), &good], &[&[200, 400]]),
        stops(
            "nothing is answered behind broken chunks",
            &[&good, &framed(&["transfer-encoding: chunked"], "x\r\n"), &good],
            &[&[200, 400]],
        )
        .nginx_too(),
        stops("nothing is answered behind close", &[&with(&["connection: close"]), &good], OK).nginx_too(),
        stops(
            "what was before close is answered",
            &[&good, &with(&["connection: close"]), &good],
            &[&[200, 200]],
        )
        .nginx_too(),
        stops(
            "HTTP/1.0 ends a pipeline",
            &[&good, &lines(&["POST /pixel HTTP/1.0", JSON, LENGTH], PIXEL), &good],
            &[&[200, 200]],
        )
        .nginx_too(),
    ]
}

fn partial() -> Vec<Case> {
    let good = with(&[]);
    let (start, rest) = good.split_at(30);
    let (begin, end) = good.split_at(good.len() - 10);
    let then_ends: Expect = &[&[200], &[200, 400]];
    vec![
        case("a second head that comes in two pieces is answered", WHY, all(&[&good, start]), &[&[200, 200]])
            .then(Step::Await)
            .send(rest)
            .nginx_too(),
        case("a second head of one byte first is answered", WHY, all(&[&good, b"P"]), &[&[200, 200]])
            .then(Step::Await)
            .send(&good[1..])
            .nginx_too(),
        case("a second body that comes in two pieces is answered", WHY, all(&[&good, begin]), &[&[200, 200]])
            .then(Step::Await)
            .send(end)
            .nginx_too(),
        case("the first is answered before the second is whole", WHY, all(&[&good, begin]), &[&[200, 200]])
            .then(Step::Await)
            .send(end)
            .then(Step::Await)
            .then(Step::Finish),
        case("half a second head and the end", "RFC 9112 §8", all(&[&good, start]), then_ends)
            .then(Step::Finish)
            .closed(),
        case("half a second body and the end", "RFC 9112 §8", all(&[&good, begin]), then_ends)
            .then(Step::Finish)
            .closed(),
    ]
}
