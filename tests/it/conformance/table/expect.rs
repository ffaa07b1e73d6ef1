use super::case::{
    CHUNKED, CHUNKS, Case, Expect, HOST, JSON, LENGTH, NOT_ALLOWED, NOT_FOUND, PIXEL, POST, SMUGGLED, Step,
    TOO_LARGE, case, lines,
};

const EXPECT: &str = "expect: 100-continue";
const CONTINUED: Expect = &[&[100, 200]];
/// A server MAY omit the 100 when the body is there already.
const OR_NOT: Expect = &[&[100, 200], &[200]];

pub fn cases() -> Vec<Case> {
    [accepted(), refused(), others()].into_iter().flatten().collect()
}

fn head(fields: &[&str]) -> Vec<u8> {
    lines(&[&[POST, HOST, JSON], fields].concat(), "")
}

fn accepted() -> Vec<Case> {
    let why = "RFC 9110 §10.1.1; CONTRACT: 100 when the body will be read";
    let asked = |name: &str, fields: &[&str]| case(name, why, head(fields), CONTINUED).then(Step::Await);
    vec![
        asked("100 Continue is sent before the body", &[LENGTH, EXPECT]).send(PIXEL).nginx_too(),
        asked("the case of the expectation does not matter", &[LENGTH, "Expect: 100-Continue"])
            .send(PIXEL)
            .nginx_too(),
        asked("100 Continue is sent before chunks", &[CHUNKED, EXPECT])
            .send(CHUNKS)
            .closed_if_said()
            .nginx_too(),
        asked("who asks and then sends slowly is served", &[LENGTH, EXPECT])
            .send(PIXEL)
            .byte_by_byte()
            .nginx_too(),
        case(
            "who asks and does not wait is served",
            why,
            [&head(&[LENGTH, EXPECT]), PIXEL.as_bytes()].concat(),
            OR_NOT,
        )
        .nginx(OR_NOT),
        case(
            "who asks twice on a connection is served twice",
            why,
            head(&[LENGTH, EXPECT]),
            &[&[100, 200, 100, 200]],
        )
        .then(Step::Await)
        .send(PIXEL)
        .then(Step::Await)
        .send(head(&[LENGTH, EXPECT]))
        .then(Step::Await)
        .send(PIXEL)
        .nginx_too(),
        case(
            "who asks and sends chunks over the limit is refused",
            "CONTRACT: 413",
            head(&[CHUNKED, EXPECT]),
            &[&[100, 413]],
        )
        .then(Step::Await)
        .send(format!("3e8\r\n{}\r\n", " ".repeat(1000)).repeat(20))
        .closed(),
        case(
            "who asks and then sends no pixel is refused",
            why,
            head(&["content-length: 2", EXPECT]),
            &[&[100, 422]],
        )
        .then(Step::Await)
        .send("{}")
        .nginx_too(),
        case("who asks and then ends", "RFC 9112 §8", head(&[LENGTH, EXPECT]), &[&[100, 400], &[100]])
            .then(Step::Await)
            .then(Step::Finish)
            .closed(),
    ]
}

fn refused() -> Vec<Case> {
    let why = "CONTRACT: a refused one gets its refusal at once";
    let asked =
        |name: &str, request: &[&str], expect| case(name, why, lines(request, ""), expect).closed_if_said();
    let large = "content-length: 16385";
    vec![
        asked(
            "who asks elsewhere is refused at once",
            &["POST /nope HTTP/1.1", HOST, LENGTH, EXPECT],
            NOT_FOUND,
        ),
        asked(
            "who asks with PUT is refused at once",
            &["PUT /pixel HTTP/1.1", HOST, LENGTH, EXPECT],
            NOT_ALLOWED,
        ),
        asked(
            "who asks with GET is refused at once",
            &["GET /pixel HTTP/1.1", HOST, LENGTH, EXPECT],
            NOT_ALLOWED,
        ),
        asked(
            "who asks with too large a body is refused at once",
            &[POST, HOST, JSON, large, EXPECT],
            TOO_LARGE,
        )
        .closed()
        .nginx_too(),
        asked(
            "who asks with a coding is refused at once",
            &[POST, HOST, JSON, LENGTH, "content-encoding: gzip", EXPECT],
            &[&[415]],
        ),
        asked("who asks without Host is refused at once", &[POST, JSON, LENGTH, EXPECT], &[&[400]])
            .closed()
            .nginx_too(),
        asked(
            "who asks with an invalid length is refused at once",
            &[POST, HOST, "content-length: x", EXPECT],
            &[&[400]],
        )
        .closed()
        .nginx_too(),
        asked(
            "who asks with a transfer coding is refused at once",
            &[POST, HOST, "transfer-encoding: gzip, chunked", EXPECT],
            &[&[501]],
        )
        .closed()
        .nginx_too(),
        asked(
            "who asks elsewhere with chunks is refused at once",
            &["POST /nope HTTP/1.1", HOST, CHUNKED, EXPECT],
            NOT_FOUND,
        ),
        case(
            "the body behind such a refusal is not a request",
            why,
            lines(&["POST /nope HTTP/1.1", HOST, &format!("content-length: {}", SMUGGLED.len()), EXPECT], ""),
            NOT_FOUND,
        )
        .then(Step::Await)
        .send(SMUGGLED)
        .closed_if_said(),
        case(
            "the chunks behind such a refusal are no request",
            why,
            lines(&["POST /nope HTTP/1.1", HOST, CHUNKED, EXPECT], &format!("0\r\n\r\n{SMUGGLED}")),
            &[&[404], &[404, 404]],
        )
        .closed_if_said(),
    ]
}

fn others() -> Vec<Case> {
    let unknown: Expect = &[&[200], &[417]];
    let listed: Expect = &[&[200], &[100, 200], &[417]];
    let whole = |fields: &[&str]| lines(&[&[POST, HOST, JSON, LENGTH], fields].concat(), PIXEL);
    let why = "RFC 9110 §10.1.1: MAY be 417";
    vec![
        case("an unknown expectation", why, whole(&["expect: cake"]), unknown)
            .closed_if_said()
            .nginx(unknown),
        case(
            "an unknown expectation beside a known one",
            why,
            whole(&["expect: 100-continue, cake"]),
            listed,
        )
        .closed_if_said(),
        case("expectations on two lines", why, whole(&["expect: cake", EXPECT]), listed).closed_if_said(),
        case("an empty expectation", why, whole(&["expect:"]), unknown).closed_if_said(),
        case(
            "HTTP/1.0 gets no 100",
            "RFC 9110 §10.1.1: MUST be ignored",
            lines(&["POST /pixel HTTP/1.0", HOST, JSON, LENGTH, EXPECT], PIXEL),
            &[&[200]],
        )
        .closed()
        .nginx_too(),
        case(
            "an expectation without a body",
            "RFC 9110 §10.1.1",
            lines(&["GET /pixel HTTP/1.1", HOST, EXPECT], ""),
            &[&[405]],
        )
        .closed_if_said(),
        case(
            "an expectation of an empty body",
            "RFC 9110 §10.1.1",
            head(&["content-length: 0", EXPECT]),
            &[&[422], &[100, 422]],
        )
        .closed_if_said(),
    ]
}
