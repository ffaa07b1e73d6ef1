use super::case::{
    BAD, Case, Expect, HOST, JSON, LENGTH, OK, OK_OR_BAD, PIXEL, POST, SMUGGLED, Step, TOO_LARGE, case,
    framed, lines, with,
};

const INVALID: &str = "RFC 9112 §6.3 (5): MUST be 400 and close";
const EQUAL: &str = "RFC 9110 §8.6: refused or taken once";
/// Refused, or seen to be larger than anything that is read.
const HUGE: Expect = &[&[400], &[413]];
const HUGE_OR_HEAD: Expect = &[&[400], &[413], &[431]];
/// A request that ends too early may still be told so (RFC 9112 §8).
const CUT: Expect = &[&[400], &[]];

pub fn cases() -> Vec<Case> {
    [invalid(), repeated(), sizes(), wrong()].into_iter().flatten().collect()
}

fn of(name: &str, why: &'static str, fields: &[&str], expect: Expect) -> Case {
    case(name, why, framed(fields, PIXEL), expect)
}

fn invalid() -> Vec<Case> {
    let values: &[(&str, &str)] = &[
        ("negative", "-41"),
        ("with a plus sign", "+41"),
        ("hexadecimal", "0x29"),
        ("with hexadecimal digits", "2a"),
        ("fractional", "41.0"),
        ("with an exponent", "4e1"),
        ("with a blank inside", "4 1"),
        ("with an underscore", "4_1"),
        ("a word", "many"),
        ("empty", ""),
        ("quoted", "\"41\""),
        ("with something behind it", "41;"),
        ("in digits beyond ASCII", "４１"),
        ("with a NUL", "41\0"),
        ("a list that differs", "41, 42"),
        ("a list with a blank entry of another length", "41, , 42"),
        ("a list with a word", "41, x"),
    ];
    let of = |(name, value): &(&str, &str)| {
        of(
            &format!("a Content-Length that is {name} is refused"),
            INVALID,
            &[&format!("content-length: {value}")],
            BAD,
        )
        .send(SMUGGLED)
        .closed()
        .nginx_too()
    };
    values.iter().map(of).collect()
}

fn repeated() -> Vec<Case> {
    let refused =
        |name: &str, fields: &[&str]| of(name, INVALID, fields, BAD).send(SMUGGLED).closed().nginx_too();
    let equal = |name: &str, fields: &[&str]| of(name, EQUAL, fields, OK_OR_BAD).nginx(OK_OR_BAD);
    vec![
        refused("two lengths that differ are refused", &[LENGTH, "content-length: 42"]),
        refused("two lengths that differ are refused in any order", &["content-length: 42", LENGTH]),
        refused("a length and none are refused", &[LENGTH, "content-length: 0"]),
        refused("none and a length are refused", &["content-length: 0", LENGTH]),
        refused("a length and a word are refused", &[LENGTH, "content-length: x"]),
        refused("the last of three lengths is looked at", &[LENGTH, LENGTH, "content-length: 3"]),
        equal("the same length on two lines", &[LENGTH, LENGTH]),
        equal("the same length with a leading zero", &[LENGTH, "content-length: 041"]),
        equal("the same length in a list", &["content-length: 41, 41"]),
        equal("the same length in a list without blanks", &["content-length: 41,41"]),
    ]
}

fn sizes() -> Vec<Case> {
    let good = |name: &str, fields: &[&str]| of(name, "RFC 9110 §8.6: 1*DIGIT", fields, OK).nginx_too();
    let huge = |name: &str, value: &str| {
        let why = "RFC 9110 §8.6: no overflow";
        of(name, why, &[&format!("content-length: {value}")], HUGE).send(SMUGGLED).closed().nginx_too()
    };
    let spaces = |length| " ".repeat(length);
    let padded = |length: usize| {
        let fields = [&*format!("content-length: {length}")];
        framed(&fields, &format!("{PIXEL}{}", spaces(length - PIXEL.len())))
    };
    let announced = |length: usize| framed(&[&format!("content-length: {length}")], "");
    vec![
        good("leading zeros count for nothing", &["content-length: 0041"]),
        good("many leading zeros count for nothing", &["content-length: 000000000000000000000000000000041"]),
        good("spaces around a length are no part of it", &["content-length:   41  "]),
        good("tabs around a length are no part of it", &["content-length: \t 41 \t"]).nginx(OK_OR_BAD),
        huge("a length of 2^63 is refused", "9223372036854775808"),
        huge("a length of 2^64 - 3 is refused", "18446744073709551613"),
        // hyper keeps these two for itself, and calls the head too large.
        Case { expect: HUGE_OR_HEAD, ..huge("a length of 2^64 - 2 is refused", "18446744073709551614") },
        Case { expect: HUGE_OR_HEAD, ..huge("a length of 2^64 - 1 is refused", "18446744073709551615") },
        huge("a length of 2^64 is refused", "18446744073709551616"),
        huge("a length of 2^64 + 41 is refused", "18446744073709551657"),
        huge("a length of 60 digits is refused", &"1".repeat(60)),
        case("a body of exactly limits.body is served", "CONTRACT: limits.body", padded(16_384), OK)
            .nginx_too(),
        case(
            "a body one byte over limits.body is refused",
            "CONTRACT: limits.body",
            padded(16_385),
            TOO_LARGE,
        )
        .closed()
        .nginx_too(),
        case(
            "a body over the limit is refused before it is sent",
            "CONTRACT: 413",
            announced(16_385),
            TOO_LARGE,
        )
        .closed()
        .nginx_too(),
        case(
            "who sends 200 KB all the same can read the refusal",
            "CONTRACT: no reset",
            padded(200_000),
            TOO_LARGE,
        )
        .closed()
        .nginx_too(),
        case("who then stops sending sees the end", "CONTRACT: no reset", padded(200_000), TOO_LARGE)
            .then(Step::Finish)
            .closed(),
        case(
            "another path refuses a body over the limit, too",
            "CONTRACT: 404, or 413 before it is read",
            lines(&["POST /nope HTTP/1.1", HOST, "content-length: 1000000"], ""),
            &[&[404], &[413]],
        )
        .closed(),
        case(
            "another method refuses a body over the limit, too",
            "CONTRACT: 405, or 413 before it is read",
            lines(&["PUT /pixel HTTP/1.1", HOST, "content-length: 1000000"], ""),
            &[&[405], &[413]],
        )
        .closed(),
    ]
}

fn wrong() -> Vec<Case> {
    let no_length = "RFC 9112 §6.3 (7): there is no body";
    let cut = |name: &str, bytes: Vec<u8>| case(name, "RFC 9112 §8", bytes, CUT).then(Step::Finish).closed();
    let (head, body) = (with(&[]), PIXEL.len());
    let head = head[..head.len() - body].to_vec();
    vec![
        case("a body without a length is none", no_length, framed(&[], PIXEL), &[&[422, 400], &[411]])
            .closed()
            .nginx(&[&[422, 400]]),
        case("a request without a length has an empty body", no_length, framed(&[], ""), &[&[422], &[411]])
            .closed_if_said()
            .nginx(&[&[422]]),
        case(
            "an empty body is missing",
            "CONTRACT: empty body",
            framed(&["content-length: 0"], ""),
            &[&[422]],
        )
        .nginx_too(),
        case(
            "what stands behind a length is the next request",
            "RFC 9112 §6.3 (6)",
            [framed(&["content-length: 2"], "{}"), with(&[])].concat(),
            &[&[422, 200]],
        )
        .nginx_too(),
        case(
            "a length that is too short leaves a broken request behind",
            "RFC 9112 §6.3 (6)",
            framed(&["content-length: 40"], PIXEL),
            &[&[422, 400], &[422]],
        )
        .then(Step::Finish)
        .closed(),
        case(
            "a body that looks like a request is a body",
            "RFC 9112 §6.3 (6)",
            framed(&[&format!("content-length: {}", SMUGGLED.len())], SMUGGLED),
            &[&[422]],
        )
        .nginx_too(),
        cut("a client that sends no body and ends", head.clone()),
        cut("a client that sends half a body and ends", [&head, &PIXEL.as_bytes()[..20]].concat()),
        cut("a client that sends all but the last byte and ends", [&head, &PIXEL.as_bytes()[..40]].concat()),
        case(
            "GET with a body is refused and the next request served",
            "RFC 9110 §9.3.1; RFC 9112 §6.3",
            [lines(&["GET /pixel HTTP/1.1", HOST, JSON, LENGTH], PIXEL), with(&[])].concat(),
            &[&[405, 200]],
        ),
        case("a body in two pieces is served", "RFC 9112 §6", head, OK)
            .send(&PIXEL[..10])
            .send(&PIXEL[10..])
            .nginx_too(),
        case(
            "a GET with an invalid length is refused",
            INVALID,
            lines(&["GET /pixel HTTP/1.1", HOST, "content-length: -1"], SMUGGLED),
            BAD,
        )
        .closed()
        .nginx_too(),
        case(
            "HTTP/1.0 with a length is served",
            "RFC 9112 §6.3",
            lines(&[&POST.replace("1.1", "1.0"), JSON, LENGTH], PIXEL),
            OK,
        )
        .closed()
        .nginx_too(),
    ]
}
