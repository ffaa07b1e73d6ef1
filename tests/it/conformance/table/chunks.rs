use super::case::{
    BAD, CHUNKED, CHUNKS, Case, Expect, HOST, JSON, LENGTH, OK, OK_OR_BAD, PIXEL, POST, SMUGGLED, Step,
    TOO_LARGE, case, chunked, framed, lines, with,
};

const CODING: &str = "CONTRACT: 501 and close; RFC 9112 §6.1";
/// The contract's 501; where `chunked` is not the last coding, RFC 9112 §6.3 (4) has 400.
const UNKNOWN: Expect = &[&[501]];
const NOT_LAST: Expect = &[&[501], &[400]];
const SIZE: &str = "RFC 9112 §7.1: chunk-size = 1*HEXDIG";
/// A request behind it is served, or not read.
const IGNORED_OR_BAD: Expect = &[&[200, 404], &[400]];
const CUT: Expect = &[&[400], &[]];

pub fn cases() -> Vec<Case> {
    let groups = [good(), codings(), both(), sizes(), data(), trailers(), ends()];
    groups.into_iter().flatten().collect()
}

/// Refused, and what stands behind is not answered.
fn refused(name: &str, why: &'static str, bytes: Vec<u8>) -> Case {
    case(name, why, bytes, BAD).send(SMUGGLED).closed()
}

/// One chunk that holds the whole pixel, with this line before it.
fn sized(line: &str) -> Vec<u8> {
    chunked(&format!("{line}\r\n{PIXEL}\r\n0\r\n\r\n"))
}

fn good() -> Vec<Case> {
    let good = |name: &str, bytes| case(name, "RFC 9112 §7.1", bytes, OK).kept().nginx_too();
    let single: String = PIXEL.chars().map(|byte| format!("1\r\n{byte}\r\n")).collect();
    vec![
        good("a body in chunks is served", chunked(CHUNKS)),
        good("a body in chunks that come byte by byte is served", chunked(CHUNKS)).byte_by_byte(),
        good("chunks of one byte are served", chunked(&format!("{single}0\r\n\r\n"))),
        good("the coding's case does not matter", framed(&["Transfer-Encoding: Chunked"], CHUNKS)),
        good("the coding's case does not matter at all", framed(&["TRANSFER-ENCODING: CHUNKED"], CHUNKS)),
        good(
            "blanks around the coding are no part of it",
            framed(&["transfer-encoding: \t chunked \t"], CHUNKS),
        )
        .nginx(&[&[200], &[501]]),
        good("a size with leading zeros is served", sized("0000029")),
        good(
            "a size in upper case is served",
            chunked(&format!("29\r\n{PIXEL}\r\nA\r\n          \r\n0\r\n\r\n")),
        ),
        good("several zeros end a body", chunked(&format!("29\r\n{PIXEL}\r\n000\r\n\r\n"))),
        good("an extension is ignored", sized("29;a=b")),
        good("an extension without a value is ignored", sized("29;a")),
        good("a quoted extension is ignored", sized("29;a=\"b;c\"")),
        good(
            "an extension of the last chunk is ignored",
            chunked(&format!("29\r\n{PIXEL}\r\n0;a=b\r\n\r\n")),
        ),
        case("a request behind chunks is served", "RFC 9112 §7.1, §9.3.2", chunked(CHUNKS), &[&[200, 404]])
            .send(SMUGGLED)
            .kept()
            .nginx_too(),
        good("a request behind a length and one behind chunks are served", with(&[]))
            .send(chunked(CHUNKS))
            .send(with(&[]))
            .expect(&[&[200, 200, 200]])
            .nginx_too(),
        good("10 requests in chunks in one piece are served", chunked(CHUNKS).repeat(10))
            .expect(&[&[200; 10]])
            .nginx_too(),
        good("10 requests in chunks byte by byte are served", chunked(CHUNKS).repeat(10))
            .expect(&[&[200; 10]])
            .byte_by_byte()
            .nginx_too(),
        good(
            "a request behind extensions and trailers is served",
            chunked(&format!("29;a=b\r\n{PIXEL}\r\n0;c\r\nx: y\r\n\r\n")),
        )
        .send(with(&[]))
        .expect(&[&[200, 200]])
        .nginx(&[&[200, 200]]),
        good("a client that closes behind chunks is obeyed", framed(&[CHUNKED, "connection: close"], CHUNKS))
            .closed(),
        case("no chunks are an empty body", "CONTRACT: empty body", chunked("0\r\n\r\n"), &[&[422]])
            .kept()
            .nginx_too(),
        case(
            "chunks of another method are read",
            "RFC 9110 §9.3",
            lines(&["PUT /pixel HTTP/1.1", HOST, CHUNKED], CHUNKS),
            &[&[405]],
        )
        .kept(),
        case(
            "chunks for another path are read",
            "CONTRACT: 404",
            lines(&["POST /nope HTTP/1.1", HOST, CHUNKED], CHUNKS),
            &[&[404]],
        )
        .kept()
        .nginx_too(),
    ]
}

fn codings() -> Vec<Case> {
    let coded = |name: &str, fields: &[&str], expect| {
        case(name, CODING, framed(fields, CHUNKS), expect).send(SMUGGLED).closed()
    };
    let lenient: Expect = &[&[200], &[400], &[501]];
    vec![
        coded("chunked twice on a line is refused", &["transfer-encoding: chunked, chunked"], UNKNOWN),
        coded("chunked twice on two lines is refused", &[CHUNKED, CHUNKED], UNKNOWN).nginx(NOT_LAST),
        coded("gzip before chunked is refused", &["transfer-encoding: gzip, chunked"], UNKNOWN)
            .nginx(UNKNOWN),
        coded("gzip and chunked on two lines are refused", &["transfer-encoding: gzip", CHUNKED], UNKNOWN)
            .nginx(NOT_LAST),
        coded("identity before chunked is refused", &["transfer-encoding: identity, chunked"], UNKNOWN)
            .nginx(UNKNOWN),
        coded("chunked before gzip is refused", &["transfer-encoding: chunked, gzip"], NOT_LAST)
            .nginx(UNKNOWN),
        coded("chunked and gzip on two lines are refused", &[CHUNKED, "transfer-encoding: gzip"], NOT_LAST)
            .nginx(NOT_LAST),
        coded(
            "chunked and identity on two lines are refused",
            &[CHUNKED, "transfer-encoding: identity"],
            NOT_LAST,
        )
        .nginx(NOT_LAST),
        coded("gzip alone is refused", &["transfer-encoding: gzip"], NOT_LAST).nginx(UNKNOWN),
        coded("identity alone is refused", &["transfer-encoding: identity"], NOT_LAST).nginx(NOT_LAST),
        coded("an unknown transfer coding is refused", &["transfer-encoding: xchunked"], NOT_LAST)
            .nginx(UNKNOWN),
        coded(
            "a coding that only begins like chunked is refused",
            &["transfer-encoding: chunkedx"],
            NOT_LAST,
        )
        .nginx(UNKNOWN),
        coded("chunked in quotes is refused", &["transfer-encoding: \"chunked\""], NOT_LAST).nginx(UNKNOWN),
        coded("chunked with a parameter is refused", &["transfer-encoding: chunked;q=1"], NOT_LAST)
            .nginx(UNKNOWN),
        coded("chunked behind a vertical tab is refused", &["transfer-encoding: \x0bchunked"], NOT_LAST)
            .nginx(UNKNOWN),
        coded("chunked behind a blank name is refused", &["transfer-encoding : chunked"], BAD)
            .nginx(NOT_LAST),
        coded("chunked on a folded line", &["transfer-encoding:", " chunked"], lenient),
        coded("an empty entry behind chunked", &["transfer-encoding: chunked,"], lenient),
        coded("an empty entry before chunked", &["transfer-encoding: , chunked"], lenient),
        coded("an empty line before chunked", &["transfer-encoding:", CHUNKED], lenient),
        coded("an empty coding is not chunked", &["transfer-encoding:"], NOT_LAST),
        case(
            "a coding is refused on any path",
            CODING,
            lines(&["POST /nope HTTP/1.1", HOST, "transfer-encoding: gzip"], SMUGGLED),
            NOT_LAST,
        )
        .closed()
        .nginx(UNKNOWN),
    ]
}

/// Content-Length and Transfer-Encoding: never two requests out of one (RFC 9112 §6.1, §6.3).
fn both() -> Vec<Case> {
    let why = "RFC 9112 §6.3 (3): 400, or chunked and then closed";
    let both = |name: &str, fields: &[&str], body: &str, expect| {
        case(name, why, framed(fields, body), expect).closed()
    };
    let behind = |chunks: &str| format!("{chunks}{SMUGGLED}");
    let whole = |body: &str| format!("content-length: {}", body.len());
    let empty = behind("0\r\n\r\n");
    let chunks = behind(CHUNKS);
    let empty_or_bad: Expect = &[&[400], &[422]];
    vec![
        both("a length before chunked hides no request", &[&whole(&chunks), CHUNKED], &chunks, OK_OR_BAD)
            .nginx(BAD),
        both("a length behind chunked hides no request", &[CHUNKED, &whole(&chunks)], &chunks, OK_OR_BAD)
            .nginx(BAD),
        both("no chunks but a length hide no request", &[&whole(&empty), CHUNKED], &empty, empty_or_bad)
            .nginx(BAD),
        both(
            "no chunks and then a length hide none either",
            &[CHUNKED, &whole(&empty)],
            &empty,
            empty_or_bad,
        )
        .nginx(BAD),
        both(
            "a short length hides no request in a chunk",
            &["content-length: 4", CHUNKED],
            &chunks,
            OK_OR_BAD,
        )
        .nginx(BAD),
        both("a length of 0 hides no request", &["content-length: 0", CHUNKED], &chunks, OK_OR_BAD)
            .nginx(BAD),
        both(
            "chunked and then a length of 0 hide no request",
            &[CHUNKED, "content-length: 0"],
            &chunks,
            OK_OR_BAD,
        )
        .nginx(BAD),
        both("an invalid length beside chunked hides none", &["content-length: x", CHUNKED], &chunks, BAD)
            .nginx(BAD),
        both(
            "an invalid length behind chunked hides none",
            &[CHUNKED, "content-length: x"],
            &chunks,
            OK_OR_BAD,
        )
        .nginx(BAD),
        both(
            "two lengths that differ beside chunked hide none",
            &[LENGTH, CHUNKED, "content-length: 4"],
            &chunks,
            OK_OR_BAD,
        )
        .nginx(BAD),
        both(
            "a length beside gzip hides none",
            &[LENGTH, "transfer-encoding: gzip"],
            &behind(PIXEL),
            NOT_LAST,
        )
        .nginx(NOT_LAST),
        both(
            "a length beside identity hides none",
            &[LENGTH, "transfer-encoding: identity"],
            &behind(PIXEL),
            NOT_LAST,
        )
        .nginx(NOT_LAST),
        both(
            "a length beside an empty coding hides none",
            &[LENGTH, "transfer-encoding:"],
            &behind(PIXEL),
            NOT_LAST,
        ),
        case(
            "keep-alive does not keep such a connection",
            why,
            framed(&["connection: keep-alive", LENGTH, CHUNKED], &chunks),
            OK_OR_BAD,
        )
        .closed()
        .nginx(BAD),
        case(
            "HTTP/1.0 with chunks is closed",
            "RFC 9112 §6.1: MUST be treated as faulty",
            lines(&["POST /pixel HTTP/1.0", HOST, JSON, "connection: keep-alive", CHUNKED], &chunks),
            BAD,
        )
        .closed(),
        case(
            "HTTP/1.0 with chunks and a length is closed",
            "RFC 9112 §6.1: MUST be treated as faulty",
            lines(&["POST /pixel HTTP/1.0", HOST, JSON, "connection: keep-alive", LENGTH, CHUNKED], &chunks),
            BAD,
        )
        .closed(),
    ]
}

fn sizes() -> Vec<Case> {
    let bad = |name: &str, line: &str| refused(name, SIZE, sized(line));
    let huge = |name: &str, line: &str| {
        // Who announces so much may be refused at once, or when it ends or its time is over.
        case(name, "RFC 9112 §7.1: no overflow", sized(line), &[&[400], &[413], &[]])
            .then(Step::Finish)
            .closed()
    };
    let lenient =
        |name: &str, line: &str| case(name, "RFC 9112 §7.1.1: BWS", sized(line), OK_OR_BAD).closed_if_said();
    vec![
        bad("a size that is no number is refused", "xyz").nginx_too(),
        bad("a negative size is refused", "-29").nginx_too(),
        bad("a size with a plus sign is refused", "+29").nginx_too(),
        bad("a size with 0x is refused", "0x29").nginx_too(),
        bad("a fractional size is refused", "29.0").nginx_too(),
        bad("a size with an underscore is refused", "2_9").nginx_too(),
        bad("an empty size is refused", "").nginx_too(),
        bad("an extension without a size is refused", ";a=b").nginx_too(),
        bad("a NUL in a size is refused", "29\0"),
        bad("a blank before a size is refused", " 29").nginx_too(),
        bad("a blank inside a size is refused", "2 9"),
        bad("a bare CR in an extension is refused", "29;a\rb"),
        bad("a bare LF in an extension is refused", "29;a\nb"),
        lenient("a blank behind a size", "29 "),
        lenient("a blank before an extension", "29 ;a=b"),
        lenient("a tab before an extension", "29\t;a=b"),
        huge("a chunk of 2^63 bytes is refused", "8000000000000000"),
        huge("a chunk of 2^64 - 1 bytes is refused", "ffffffffffffffff"),
        huge("a chunk of 2^64 bytes is refused", "10000000000000000"),
        huge("a chunk of 2^64 + 41 bytes is refused", "10000000000000029"),
        case("a size with 100 leading zeros", SIZE, sized(&format!("{}29", "0".repeat(100))), OK_OR_BAD)
            .closed_if_said(),
        case(
            "a very long extension",
            "RFC 9112 §7.1.1: a limit",
            sized(&format!("29;{}", "a".repeat(50_000))),
            &[&[400], &[413], &[431]],
        )
        .closed(),
        case(
            "extensions that are longer than their chunks",
            "RFC 9112 §7.1.1: a limit",
            chunked(&format!("1;{}\r\n \r\n", "a".repeat(1000)).repeat(50)),
            &[&[400], &[413], &[431]],
        )
        .closed(),
    ]
}

fn data() -> Vec<Case> {
    let why = "RFC 9112 §7.1: CRLF; the LF of §2.2 is for head lines";
    let size = "CONTRACT: limits.body";
    let blanks = |length: usize| " ".repeat(length);
    let padded = |length: usize| {
        let rest = length - PIXEL.len();
        chunked(&format!("29\r\n{PIXEL}\r\n{rest:x}\r\n{}\r\n0\r\n\r\n", blanks(rest)))
    };
    let small = format!("3e8\r\n{}\r\n", blanks(1000));
    vec![
        refused("a bare LF behind a size is refused", why, chunked(&format!("29\n{PIXEL}\r\n0\r\n\r\n"))),
        refused("a bare CR behind a size is refused", why, chunked(&format!("29\r{PIXEL}\r\n0\r\n\r\n"))),
        refused("a bare LF behind data is refused", why, chunked(&format!("29\r\n{PIXEL}\n0\r\n\r\n"))),
        refused("nothing behind data is refused", why, chunked(&format!("29\r\n{PIXEL}0\r\n\r\n")))
            .nginx_too(),
        refused("data longer than its size is refused", why, chunked(&format!("28\r\n{PIXEL}\r\n0\r\n\r\n")))
            .nginx_too(),
        refused(
            "data shorter than its size is refused",
            why,
            chunked(&format!("2a\r\n{PIXEL}\r\n0\r\n\r\n")),
        ),
        refused("a body that is not chunked at all is refused", why, chunked(PIXEL)).nginx_too(),
        refused(
            "a bare LF behind the last size is refused",
            why,
            chunked(&format!("29\r\n{PIXEL}\r\n0\n\r\n")),
        ),
        case(
            "a bare LF at the very end hides no request",
            why,
            chunked(&format!("29\r\n{PIXEL}\r\n0\r\n\n")),
            BAD,
        )
        .send(SMUGGLED)
        .closed(),
        case("chunks of exactly limits.body are served", size, padded(16_384), OK)
            .closed_if_said()
            .nginx_too(),
        case("chunks one byte over limits.body are refused", size, padded(16_385), TOO_LARGE)
            .closed()
            .nginx_too(),
        case("chunks of 100 KB are refused, readably", size, chunked(&small.repeat(100)), TOO_LARGE).closed(),
        case(
            "one announced chunk over the limit is refused",
            size,
            chunked(&format!("4001\r\n{}", blanks(16_385))),
            TOO_LARGE,
        )
        .closed(),
        case(
            "chunks of another path are refused over the limit",
            size,
            lines(&["POST /nope HTTP/1.1", HOST, CHUNKED], &small.repeat(100)),
            &[&[404], &[413]],
        )
        .closed(),
    ]
}

fn trailers() -> Vec<Case> {
    let why = "RFC 9112 §7.1.2: SHOULD be ignored";
    let trailed = |trailer: &str| chunked(&format!("29\r\n{PIXEL}\r\n0\r\n{trailer}\r\n"));
    let good = |name: &str, trailer: &str| case(name, why, trailed(trailer), OK).kept();
    let either = |name: &str, trailer: &str| {
        case(name, "RFC 9110 §6.5.1: no framing in trailers", trailed(trailer), IGNORED_OR_BAD)
            .send(SMUGGLED)
            .closed_if_said()
    };
    vec![
        good("a trailer is ignored", "x-a: b\r\n"),
        good("several trailers are ignored", "x-a: b\r\nx-b: c\r\n"),
        good("a trailer's Content-Type does not count", "content-type: text/plain\r\n"),
        either("a trailer's length hides no request", "content-length: 100\r\n"),
        either("a trailer's coding hides no request", "transfer-encoding: gzip\r\n"),
        either("a trailer's Host does not count", "host: a\r\nhost: b\r\n"),
        either("a trailer with a blank before its colon", "x : b\r\n"),
        either("a trailer that is folded", "x: a\r\n b\r\n"),
        refused("a bare LF behind a trailer is refused", why, trailed("x: a\n")),
        refused("an empty line with a bare LF in trailers is refused", why, trailed("x: a\r\n\n")),
        refused("a bare LF in front of a trailer like a chunk is refused", why, trailed("x: a\r\n\n0;\r\n")),
        case(
            "a trailer that is a request is none",
            why,
            trailed("GET /smuggled HTTP/1.1\r\nhost: h\r\n"),
            BAD,
        )
        .closed(),
        case(
            "trailers over limits.header are refused or ignored",
            "CONTRACT: limits",
            trailed(&format!("x: {}\r\n", "a".repeat(40_000))),
            &[&[200], &[400], &[413], &[431]],
        )
        .closed(),
        case(
            "very many trailers are refused or ignored",
            "CONTRACT: limits",
            trailed(&"x: a\r\n".repeat(1000)),
            &[&[200], &[400], &[413], &[431]],
        )
        .closed(),
    ]
}

fn ends() -> Vec<Case> {
    let cut = |name: &str, chunks: &str| {
        case(name, "RFC 9112 §8: incomplete", chunked(chunks), CUT).then(Step::Finish).closed()
    };
    vec![
        cut("a client that ends before the first chunk", ""),
        cut("a client that ends in a size", "2"),
        cut("a client that ends behind a size", "29\r\n"),
        cut("a client that ends in a chunk", &CHUNKS[..8]),
        cut("a client that ends behind a chunk", &format!("29\r\n{PIXEL}\r\n")),
        cut("a client that ends behind the last size", &format!("29\r\n{PIXEL}\r\n0")),
        cut("a client that ends before the last CRLF", &format!("29\r\n{PIXEL}\r\n0\r\n")),
        cut("a client that ends in a trailer", &format!("29\r\n{PIXEL}\r\n0\r\nx: a")),
        case("a client that ends behind its chunks is answered", "CONTRACT: half-close", chunked(CHUNKS), OK)
            .then(Step::Finish)
            .closed(),
        case(
            "the length of a chunked request is not guessed",
            "RFC 9112 §6.3",
            lines(&[POST, HOST, JSON, CHUNKED, "connection: close"], CHUNKS),
            OK,
        )
        .closed()
        .nginx_too(),
    ]
}
