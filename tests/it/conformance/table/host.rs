use super::case::{BAD, Case, Expect, JSON, LENGTH, OK, OK_OR_BAD, PIXEL, POST, SMUGGLED, case, lines};

const RULE: &str = "RFC 9112 §3.2: MUST be 400";
const GRAMMAR: &str = "RFC 9110 §7.2, RFC 3986 §3.2.2";

pub fn cases() -> Vec<Case> {
    [numbers(), valid(), invalid(), old()].into_iter().flatten().collect()
}

/// A good request but for its Host lines; should it be taken for two, the second one is answered too.
fn hosts(start: &str, hosts: &[&str]) -> Vec<u8> {
    lines(&[&[start], hosts, &[JSON, LENGTH]].concat(), PIXEL)
}

fn refused(name: &str, why: &'static str, start: &str, lines: &[&str]) -> Case {
    case(name, why, hosts(start, lines), BAD).send(SMUGGLED).closed()
}

fn numbers() -> Vec<Case> {
    let absolute = "POST http://h/pixel HTTP/1.1";
    vec![
        refused("no Host is refused", RULE, POST, &[]).nginx_too(),
        refused("two Hosts are refused", RULE, POST, &["host: a", "host: b"]).nginx_too(),
        refused("the same Host twice is refused", RULE, POST, &["host: a", "host: a"]).nginx_too(),
        refused("two Hosts in different case are refused", RULE, POST, &["Host: a", "hOST: a"]).nginx_too(),
        refused("a Host beside an empty one is refused", RULE, POST, &["host: a", "host:"]).nginx_too(),
        refused("three Hosts are refused", RULE, POST, &["host: a", "host: a", "host: a"]).nginx_too(),
        refused("absolute-form without Host is refused", RULE, absolute, &[]),
        refused("absolute-form with two Hosts is refused", RULE, absolute, &["host: h", "host: h"])
            .nginx_too(),
        refused("absolute-form with an invalid Host is refused", RULE, absolute, &["host: a b"]),
        case(
            "absolute-form with the same Host is served",
            "RFC 9112 §3.2.2",
            hosts(absolute, &["host: h"]),
            OK,
        )
        .nginx_too(),
        case(
            "absolute-form with another Host is served",
            "RFC 9112 §3.2.2",
            hosts(absolute, &["host: x"]),
            OK,
        )
        .nginx_too(),
        refused("no Host is refused on any path", RULE, "POST /nope HTTP/1.1", &[]).nginx_too(),
        refused("no Host is refused with any method", RULE, "PUT /pixel HTTP/1.1", &[]).nginx_too(),
        case("GET without Host is refused", RULE, lines(&["GET /pixel HTTP/1.1"], SMUGGLED), BAD)
            .closed()
            .nginx_too(),
    ]
}

fn valid() -> Vec<Case> {
    let strict: &[(&str, &str)] = &[
        ("a name", "host: example.com"),
        ("a name with a port", "host: example.com:8000"),
        ("a name with a colon and no port", "host: example.com:"),
        ("a name that ends with a dot", "host: example.com."),
        ("a name in upper case", "host: EXAMPLE.COM"),
        ("a name with an underscore", "host: a_b"),
        ("an IPv4 address", "host: 127.0.0.1"),
        ("an IPv4 address with a port", "host: 127.0.0.1:8000"),
        ("an IPv6 address", "host: [::1]"),
        ("an IPv6 address with a port", "host: [2001:db8::1]:8000"),
        ("an IPv6 address with an IPv4 tail", "host: [::ffff:127.0.0.1]"),
        ("a Host with spaces around it", "host:   h  "),
        ("a Host without a blank before it", "host:h"),
    ];
    // Valid, but nobody needs them, and a server may refuse what it takes for an attack.
    let odd: &[(&str, &str)] = &[
        ("an empty Host", "host:"),
        ("a name with an encoded letter", "host: ex%61mple.com"),
        ("a name with commas", "host: a,b"),
        ("a name of all marks", "host: -._~!$&'()*+,;="),
        ("an address of the future", "host: [v1.x:y]"),
        ("an IPv6 address with a zone", "host: [fe80::1%25eth0]"),
        ("a port beyond 65535", "host: h:99999"),
        ("a very long port", "host: h:00000000000000000000080"),
        (
            "a very long name",
            "host: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b",
        ),
    ];
    let cases = |list: &[(&str, &str)], verb: &str, expect: Expect| -> Vec<Case> {
        list.iter()
            .map(|(name, line)| case(format!("{name} {verb}"), GRAMMAR, hosts(POST, &[line]), expect))
            .collect()
    };
    let strict = cases(strict, "is served", OK).into_iter().map(Case::nginx_too);
    let tabs =
        case("a Host with tabs around it is served", "RFC 9112 §5.1", hosts(POST, &["host: \t h \t"]), OK);
    strict.chain([tabs]).chain(cases(odd, "is served or refused", OK_OR_BAD)).collect()
}

fn invalid() -> Vec<Case> {
    let of = |(name, value): &(&str, &str)| {
        refused(&format!("a Host with {name} is refused"), RULE, POST, &[&format!("host: {value}")])
    };
    let both: &[(&str, &str)] = &[("a slash", "a/b"), ("a NUL", "a\0b")];
    let direct: &[(&str, &str)] = &[
        ("a space", "a b"),
        ("two names", "a, b"),
        ("user information", "user@h"),
        ("a password", "user:secret@h"),
        ("a scheme", "http://h"),
        ("a path", "h/pixel"),
        ("a query", "h?a"),
        ("a fragment", "h#a"),
        ("a backslash", "a\\b"),
        ("a quote", "\"h\""),
        ("letters beyond ASCII", "é"),
        ("a control character", "a\x01b"),
        ("a tab", "a\tb"),
        ("a port that is no number", "h:http"),
        ("a negative port", "h:-1"),
        ("a port with a sign", "h:+80"),
        ("two ports", "h:80:80"),
        ("a port but no name", ":80"),
        ("a bare IPv6 address", "::1"),
        ("an open bracket", "[::1"),
        ("a closing bracket only", "::1]"),
        ("a port right behind a bracket", "[::1]80"),
        ("something before a bracket", "a[::1]"),
        ("empty brackets", "[]"),
        ("a name in brackets", "[h]"),
        ("an IPv4 address in brackets", "[127.0.0.1]"),
        ("an IPv6 address that is too long", "[1:2:3:4:5:6:7:8:9]"),
        ("a percent sign", "a%"),
        ("half an encoded letter", "a%4"),
        ("a letter encoded wrongly", "a%zz"),
        ("angle brackets", "<h>"),
        ("braces", "{h}"),
        ("a bar", "a|b"),
        ("a caret", "a^b"),
    ];
    both.iter().map(|pair| of(pair).nginx_too()).chain(direct.iter().map(of)).collect()
}

fn old() -> Vec<Case> {
    let start = "POST /pixel HTTP/1.0";
    let rule = "RFC 9112 §3.2: any request message";
    vec![
        case("HTTP/1.0 without Host is served", "RFC 9112 §3.2: HTTP/1.1 only", hosts(start, &[]), OK)
            .closed()
            .nginx_too(),
        case("HTTP/1.0 with Host is served", "RFC 9112 §3.2", hosts(start, &["host: h"]), OK)
            .closed()
            .nginx_too(),
        refused("HTTP/1.0 with two Hosts is refused", rule, start, &["host: a", "host: b"]).nginx_too(),
        refused("HTTP/1.0 with an invalid Host is refused", rule, start, &["host: a b"]),
    ]
}
