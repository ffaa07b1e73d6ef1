use super::case::{
    BAD, Case, Expect, HOST, JSON, LENGTH, NOT_FOUND, OK, OK_OR_BAD, PIXEL, POST, SMUGGLED, all, case, lines,
    starting, with,
};

/// A version that is not spoken may be refused as such (RFC 9110 §15.6.6).
const NO_VERSION: Expect = &[&[400], &[505]];
const OTHER_VERSION: Expect = &[&[505]];
/// A target that is no target SHOULD be refused; it may as well be one that is not there.
const NO_TARGET: Expect = &[&[400], &[404]];
const TOO_LONG: Expect = &[&[414]];

pub fn cases() -> Vec<Case> {
    [forms(), versions(), blanks(), characters(), lengths()].into_iter().flatten().collect()
}

fn forms() -> Vec<Case> {
    let form = |name: &str, why, line, expect| case(name, why, starting(line), expect);
    let absolute = "RFC 9112 §3.2.2";
    vec![
        form("origin-form is served", "RFC 9112 §3.2.1", POST, OK).nginx_too(),
        form("absolute-form is served", absolute, "POST http://h/pixel HTTP/1.1", OK).nginx_too(),
        form("absolute-form with a port is served", absolute, "POST http://h:80/pixel HTTP/1.1", OK)
            .nginx_too(),
        form(
            "absolute-form with an IPv6 host is served",
            absolute,
            "POST http://[::1]:8000/pixel HTTP/1.1",
            OK,
        )
        .nginx_too(),
        form("absolute-form with a query is served", absolute, "POST http://h/pixel?a=b HTTP/1.1", OK)
            .nginx_too(),
        form("the scheme's case does not matter", "RFC 3986 §3.1", "POST HTTP://h/pixel HTTP/1.1", OK)
            .nginx_too(),
        form(
            "absolute-form's host counts, not Host's",
            "RFC 9112 §3.2.2: the Host field is ignored",
            "POST http://other.example/pixel HTTP/1.1",
            OK,
        )
        .nginx_too(),
        form(
            "absolute-form with another path is not there",
            absolute,
            "POST http://h/nope HTTP/1.1",
            NOT_FOUND,
        ),
        form("absolute-form without a path is not there", absolute, "POST http://h HTTP/1.1", NOT_FOUND),
        form(
            "absolute-form without a host is refused",
            "RFC 9110 §4.2.1: MUST reject an empty host",
            "POST http:///pixel HTTP/1.1",
            BAD,
        ),
        form(
            "absolute-form with a port but no host is refused",
            "RFC 9110 §4.2.1: MUST reject an empty host",
            "POST http://:80/pixel HTTP/1.1",
            BAD,
        ),
        form(
            "absolute-form with user information may be refused",
            "RFC 9110 §4.2.4: SHOULD be treated as an error",
            "POST http://user@h/pixel HTTP/1.1",
            OK_OR_BAD,
        ),
        form(
            "absolute-form of https may be answered or misdirected",
            "RFC 9110 §7.4",
            "POST https://h/pixel HTTP/1.1",
            &[&[200], &[400], &[404], &[421]],
        ),
        form("authority-form is for CONNECT", "RFC 9112 §3.2.3", "POST h:80 HTTP/1.1", NO_TARGET),
        form("a target without a slash is no path", "RFC 9112 §3.2", "POST pixel HTTP/1.1", NO_TARGET),
        form("asterisk-form is for OPTIONS", "RFC 9112 §3.2.4", "POST * HTTP/1.1", NO_TARGET),
        case(
            "OPTIONS * has nothing to tell",
            "CONTRACT: any other path",
            lines(&["OPTIONS * HTTP/1.1", HOST], ""),
            NOT_FOUND,
        ),
        case(
            "CONNECT makes no tunnel",
            "RFC 9110 §9.3.6; CONTRACT: any other path",
            lines(&["CONNECT h:80 HTTP/1.1", "host: h:80"], ""),
            &[&[404], &[405], &[501]],
        )
        .closed_if_said(),
        case(
            "CONNECT to /pixel makes no tunnel",
            "RFC 9110 §9.3.6",
            lines(&["CONNECT /pixel HTTP/1.1", HOST], ""),
            &[&[400], &[404], &[405]],
        )
        .closed_if_said(),
        form(
            "a fragment is no part of a target",
            "CONTRACT: another path; RFC 9112 §3.2",
            "POST /pixel#x HTTP/1.1",
            NOT_FOUND,
        ),
    ]
}

fn versions() -> Vec<Case> {
    let odd = |name: &str, line, expect| case(name, "RFC 9112 §2.3", starting(line), expect).closed();
    vec![
        odd("HTTP/2.0 is refused", "POST /pixel HTTP/2.0", OTHER_VERSION).nginx_too(),
        odd("HTTP/3.0 is refused", "POST /pixel HTTP/3.0", OTHER_VERSION).nginx_too(),
        odd("HTTP/0.9 with a version is refused", "POST /pixel HTTP/0.9", OTHER_VERSION),
        odd("a version in lower case is refused", "POST /pixel http/1.1", NO_VERSION).nginx(BAD),
        odd("a version without a minor is refused", "POST /pixel HTTP/1", NO_VERSION),
        odd("a version with two digits is refused", "POST /pixel HTTP/1.10", NO_VERSION),
        odd("a version with a leading zero is refused", "POST /pixel HTTP/01.1", NO_VERSION),
        odd("a version of another protocol is refused", "POST /pixel ICY/1.1", NO_VERSION).nginx(BAD),
        odd("a version with something behind it is refused", "POST /pixel HTTP/1.1x", NO_VERSION).nginx(BAD),
        case(
            "a higher minor version is served",
            "RFC 9110 §2.5: SHOULD be served as HTTP/1.1",
            starting("POST /pixel HTTP/1.2"),
            OK,
        )
        .kept(),
        case(
            "a request without a version is refused",
            "RFC 9112 §3: no HTTP/0.9",
            "GET /pixel\r\n\r\n",
            NO_VERSION,
        )
        .closed(),
        case(
            "the preface of HTTP/2 is refused",
            "RFC 9113 §3.4",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            OTHER_VERSION,
        )
        .closed(),
        case(
            "a TLS client is refused, not left waiting",
            "RFC 9112 §3: no request line",
            b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n",
            BAD,
        )
        .closed(),
    ]
}

fn blanks() -> Vec<Case> {
    let request = with(&[]);
    let lenient = "RFC 9112 §3: MAY be parsed leniently";
    let blank = |name: &str, line| case(name, lenient, starting(line), OK_OR_BAD);
    vec![
        case("an empty line before a request is ignored", "RFC 9112 §2.2", all(&[b"\r\n", &request]), OK)
            .nginx_too(),
        case(
            "several empty lines before a request",
            "RFC 9112 §2.2: at least one SHOULD be ignored",
            all(&[b"\r\n\r\n\r\n", &request]),
            OK_OR_BAD,
        ),
        case(
            "bare LFs before a request",
            "RFC 9112 §2.2: MAY be taken for line ends",
            all(&[b"\n\n", &request]),
            OK_OR_BAD,
        ),
        case("a bare CR before a request is refused", "RFC 9112 §2.2", all(&[b"\r", &request]), BAD),
        blank("two spaces behind the method", "POST  /pixel HTTP/1.1"),
        blank("two spaces behind the target", "POST /pixel  HTTP/1.1"),
        blank("a space behind the version", "POST /pixel HTTP/1.1 "),
        blank("a space before the method", " POST /pixel HTTP/1.1"),
        blank("a tab instead of a space", "POST\t/pixel HTTP/1.1"),
        case("a space in the target is refused", "RFC 9112 §3.2", starting("POST /pix el HTTP/1.1"), BAD)
            .nginx_too(),
        case(
            "a bare LF behind the request line",
            "RFC 9112 §2.2: MAY be taken for a line end",
            format!("{POST}\n{HOST}\r\n{JSON}\r\n{LENGTH}\r\n\r\n{PIXEL}"),
            OK_OR_BAD,
        ),
        case(
            "bare LFs behind all lines",
            "RFC 9112 §2.2: MAY be taken for line ends",
            format!("{POST}\n{HOST}\n{JSON}\n{LENGTH}\n\n{PIXEL}"),
            OK_OR_BAD,
        ),
        case(
            "a bare CR is no line end",
            "RFC 9112 §2.2: MUST be invalid",
            format!("{POST}\r{HOST}\r\n{JSON}\r\n{LENGTH}\r\n\r\n{PIXEL}"),
            BAD,
        )
        .closed(),
        case("a method alone is refused", "RFC 9112 §3", format!("POST\r\n\r\n{SMUGGLED}"), BAD).closed(),
        case("no method is refused", "RFC 9112 §3", starting("/pixel HTTP/1.1"), BAD).closed(),
    ]
}

fn characters() -> Vec<Case> {
    let bad = |name: &str, line: &str| case(name, "RFC 3986 §2, RFC 9112 §3.2", starting(line), BAD).closed();
    vec![
        bad("a NUL in the target is refused", "POST /pixel\0 HTTP/1.1").nginx_too(),
        bad("a control character in the target is refused", "POST /pixel?\x01 HTTP/1.1"),
        bad("a DEL in the target is refused", "POST /pixel?\x7f HTTP/1.1"),
        bad("a tab in the target is refused", "POST /pixel?a\tb HTTP/1.1"),
        bad("a bare CR in the target is refused", "POST /pixel?a\rb HTTP/1.1"),
        bad("a NUL in the method is refused", "PO\0ST /pixel HTTP/1.1"),
        bad("a separator in the method is refused", "PO(ST /pixel HTTP/1.1"),
        bad("a colon in the method is refused", "POST: /pixel HTTP/1.1"),
        case(
            "bytes that are no UTF-8 in a query",
            "RFC 3986 §2: SHOULD be refused",
            all(&[b"POST /pixel?\xff HTTP/1.1\r\n", &with(&[])[POST.len() + 2..]]),
            OK_OR_BAD,
        ),
        case(
            "letters beyond ASCII in a query",
            "RFC 3986 §2: SHOULD be refused",
            starting("POST /pixel?é HTTP/1.1"),
            OK_OR_BAD,
        ),
        case(
            "letters beyond ASCII in the path",
            "RFC 3986 §2: SHOULD be refused",
            starting("POST /pixelé HTTP/1.1"),
            NO_TARGET,
        ),
        case(
            "characters in a query that have to be encoded",
            "RFC 3986 §3.4: SHOULD be refused",
            starting("POST /pixel?<>\"{}|^`\\ HTTP/1.1"),
            OK_OR_BAD,
        ),
    ]
}

fn lengths() -> Vec<Case> {
    let query = |length: usize| starting(&format!("POST /pixel?{} HTTP/1.1", "a".repeat(length)));
    vec![
        case("a target of 8000 bytes is served", "RFC 9112 §3: RECOMMENDED at least", query(7_993), OK)
            .nginx_too(),
        case("a target over limits.header is refused", "CONTRACT: 414; RFC 9112 §3", query(20_000), TOO_LONG)
            .closed()
            .nginx(&[&[414]]),
        case("a target of 70 KB is refused", "CONTRACT: 414; RFC 9112 §3", query(70_000), TOO_LONG).closed(),
        case(
            "a path over limits.header is refused",
            "CONTRACT: 414; RFC 9112 §3",
            starting(&format!("POST /{} HTTP/1.1", "a/".repeat(10_000))),
            TOO_LONG,
        )
        .closed(),
        case(
            "an endless request line is refused before it ends",
            "CONTRACT: head over limits.header",
            format!("POST /{}", "a".repeat(100_000)),
            TOO_LONG,
        )
        .closed(),
        case(
            "an endless method is refused before it ends",
            "CONTRACT: head over limits.header",
            "A".repeat(100_000),
            &[&[400], &[414], &[431], &[501]],
        )
        .closed(),
        case(
            "a request that comes byte by byte is served",
            "RFC 9112 §2.2: a stream of bytes",
            with(&[]),
            OK,
        )
        .byte_by_byte()
        .nginx_too(),
    ]
}
