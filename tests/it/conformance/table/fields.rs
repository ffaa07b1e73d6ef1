use super::case::{
    BAD, Case, Expect, HOST, JSON, LENGTH, OK, OK_OR_BAD, PIXEL, POST, SMUGGLED, all, case, lines, with,
};

const TOO_MUCH: Expect = &[&[431]];

pub fn cases() -> Vec<Case> {
    [names(), values(), folds(), sizes()].into_iter().flatten().collect()
}

fn bad(name: &str, why: &'static str, line: &str) -> Case {
    case(name, why, with(&[line]), BAD).send(SMUGGLED).closed()
}

fn names() -> Vec<Case> {
    let token = "RFC 9110 §5.1: a token";
    let good = |name: &str, line| case(name, token, with(&[line]), OK).nginx_too();
    let mut cases: Vec<_> =
        ["\"", "(", ")", ",", "/", ";", "<", "=", ">", "?", "@", "[", "\\", "]", "{", "}"]
            .iter()
            .map(|mark| bad(&format!("a name with {mark} is refused"), token, &format!("x{mark}y: 1")))
            .collect();
    cases.extend([
        bad("a blank before a colon is refused", "RFC 9112 §5.1: MUST be 400", "x : 1"),
        bad("a tab before a colon is refused", "RFC 9112 §5.1: MUST be 400", "x\t: 1"),
        bad(
            "a blank before the colon of Content-Length is refused",
            "RFC 9112 §5.1: MUST be 400",
            "content-length : 3",
        ),
        bad("a blank before the colon of Host is refused", "RFC 9112 §5.1: MUST be 400", "host : h"),
        bad("a name with a blank is refused", token, "x y: 1"),
        bad("an empty name is refused", token, ": 1"),
        bad("a lone colon is refused", token, ":"),
        bad("a line without a colon is refused", "RFC 9112 §5", "something"),
        bad("a name with a NUL is refused", token, "x\0y: 1"),
        bad("a name with a control character is refused", token, "x\x01y: 1"),
        bad("a name with a bare CR is refused", token, "x\ry: 1"),
        bad("a name with letters beyond ASCII is refused", token, "é: 1"),
        good("a name of all marks is served", "!#$%&'*+-.^_`|~: 1"),
        good("a name of one digit is served", "0: 1"),
        good("names in any case are served", "X-Some-THING: 1"),
        case(
            "the first line may be any field",
            "RFC 9110 §5.3: no order",
            lines(&[POST, LENGTH, JSON, HOST], PIXEL),
            OK,
        )
        .nginx_too(),
        case(
            "names in upper case are the same",
            "RFC 9110 §5.1: case-insensitive",
            lines(&[POST, "HOST: h", "CONTENT-TYPE: APPLICATION/JSON", "CONTENT-LENGTH: 41"], PIXEL),
            OK,
        )
        .nginx_too(),
    ]);
    cases
}

fn values() -> Vec<Case> {
    let good = |name: &str, line| case(name, "RFC 9110 §5.5", with(&[line]), OK).nginx_too();
    let either = |name: &str, line: &[u8]| {
        let request = all(&[
            format!("{POST}\r\n{HOST}\r\n{JSON}\r\n{LENGTH}\r\n").as_bytes(),
            line,
            b"\r\n\r\n",
            PIXEL.as_bytes(),
        ]);
        case(name, "RFC 9110 §5.5: refused, or replaced or kept", request, OK_OR_BAD)
    };
    vec![
        good("an empty value is served", "x:"),
        good("a value of blanks is served", "x: \t \t"),
        good("a value with blanks inside is served", "x: a b\tc"),
        good("a value with a colon is served", "x: a:b"),
        good("a value with all marks is served", "x: !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
        good("a value beyond ASCII is served", "x: é"),
        case(
            "a value that is no UTF-8 is served",
            "RFC 9110 §5.5: obs-text",
            all(&[
                format!("{POST}\r\n{HOST}\r\n{JSON}\r\n{LENGTH}\r\nx: ").as_bytes(),
                b"\xff\x80\xfe\r\n\r\n",
                PIXEL.as_bytes(),
            ]),
            OK,
        )
        .nginx_too(),
        either("a NUL in a value", b"x: a\0b"),
        either("a bare CR in a value", b"x: a\rb"),
        either("a bare CR before a name", b"x: a\rhost: b"),
        either("a CR before the end of a line", b"x: a\r"),
        either("a bare LF between fields", b"x: a\ny: b"),
        either("a vertical tab in a value", b"x: a\x0bb"),
        either("an escape in a value", b"x: \x1b[0m"),
        bad("a DEL in a value is refused", "CONTRACT: 400; RFC 9110 §5.5", "x: a\x7fb"),
        good("a field on several lines is served", "x: a\r\nx: b\r\nX: c"),
    ]
}

fn folds() -> Vec<Case> {
    let why = "RFC 9112 §5.2: 400, or taken for a blank";
    vec![
        case("a folded value", why, with(&["x: a", " b"]), OK_OR_BAD),
        case("a value folded with a tab", why, with(&["x: a", "\tb"]), OK_OR_BAD),
        case("a value folded in the last line", why, with(&["x: a", " "]), OK_OR_BAD),
        case(
            "a folded Content-Length is not read in part",
            why,
            lines(&[POST, HOST, JSON, "content-length: 4", " 1"], PIXEL),
            BAD,
        )
        .send(SMUGGLED)
        .closed(),
        case("a folded Host is refused", why, lines(&[POST, "host: a", " b", JSON, LENGTH], PIXEL), BAD)
            .closed(),
        case(
            "a blank before the first field",
            "RFC 9112 §2.2: refused, or the line ignored",
            lines(&[POST, " x: a", HOST, JSON, LENGTH], PIXEL),
            OK_OR_BAD,
        ),
        case(
            "a blank before Host is no Host",
            "RFC 9112 §2.2: refused, or the line ignored",
            lines(&[POST, " host: h", JSON, LENGTH], PIXEL),
            BAD,
        )
        .closed(),
        case(
            "a blank line instead of a field",
            "RFC 9112 §2.2: refused, or the line ignored",
            lines(&[POST, "  ", HOST, JSON, LENGTH], PIXEL),
            OK_OR_BAD,
        ),
    ]
}

fn sizes() -> Vec<Case> {
    let why = "CONTRACT: head over limits.header, or too many fields";
    let many = |count: usize| {
        let fields: String = (0..count).map(|nth| format!("x-{nth}: 1\r\n")).collect();
        with(&[fields.trim_end()])
    };
    let long = |length: usize| with(&[&format!("x: {}", "a".repeat(length))]);
    vec![
        case("50 fields are served", why, many(50), OK).nginx_too(),
        case("90 fields are served", why, many(90), OK),
        case("200 fields are too many", why, many(200), TOO_MUCH).closed(),
        case("1000 fields are too many", why, many(1000), TOO_MUCH).closed(),
        case("20000 fields are too many", why, many(20_000), TOO_MUCH).closed(),
        case(
            "the same field 1000 times is too much",
            why,
            with(&["x: 1\r\n".repeat(1000).trim_end()]),
            TOO_MUCH,
        )
        .closed(),
        case("a field of 7 KB is served", why, long(7_000), OK).nginx_too(),
        case("a field of 15 KB is served", why, long(15_000), OK).nginx_too(),
        case("a field of 17 KB is too long", why, long(17_000), TOO_MUCH).closed().nginx_too(),
        case("a field of 100 KB is too long", why, long(100_000), TOO_MUCH).closed().nginx_too(),
        case("a name of 20 KB is too long", why, with(&[&format!("{}: a", "x".repeat(20_000))]), TOO_MUCH)
            .closed(),
        case(
            "an endless field is refused before it ends",
            why,
            format!("{POST}\r\n{HOST}\r\nx: {}", "a".repeat(60_000)),
            TOO_MUCH,
        )
        .closed(),
        case(
            "endless fields are refused before they end",
            why,
            format!("{POST}\r\n{HOST}\r\n{}", "x: a\r\n".repeat(10_000)),
            TOO_MUCH,
        )
        .closed(),
        case(
            "many short lines over limits.header are too much",
            why,
            with(&[(0..80)
                .map(|nth| format!("x-{nth}: {}", "a".repeat(250)))
                .collect::<Vec<_>>()
                .join("\r\n")
                .as_str()]),
            TOO_MUCH,
        )
        .closed(),
        case(
            "empty lines without end are no head",
            "CONTRACT: limits.header",
            "\r\n".repeat(50_000),
            &[&[400], &[431], &[]],
        )
        .then(super::case::Step::Finish)
        .closed(),
    ]
}
