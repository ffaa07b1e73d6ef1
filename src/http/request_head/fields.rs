//! The header fields that the daemon evaluates, and their values.

use std::net::Ipv6Addr;

/// A header field that the daemon evaluates. It ignores all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownField {
    Host,
    ContentType,
    ContentLength,
    TransferEncoding,
    ContentEncoding,
    Connection,
    Expect,
    /// `x-real-ip`: the address of the proxy's client.
    RealIp,
}

impl KnownField {
    /// Returns the known field that a line contains, and the length of its name. `line` must contain no control
    /// characters except tabs.
    pub fn of_line(line: &[u8]) -> Option<(Self, usize)> {
        let (field, name): (_, &[u8]) = match line.first()? | 0x20 {
            b'h' if begins(line, b"host:") => (Self::Host, b"host"),
            b'c' if begins(line, b"content-length:") => (Self::ContentLength, b"content-length"),
            b'c' if begins(line, b"content-type:") => (Self::ContentType, b"content-type"),
            b'c' if begins(line, b"connection:") => (Self::Connection, b"connection"),
            b'c' if begins(line, b"content-encoding:") => (Self::ContentEncoding, b"content-encoding"),
            b'x' if begins(line, b"x-real-ip:") => (Self::RealIp, b"x-real-ip"),
            b'e' if begins(line, b"expect:") => (Self::Expect, b"expect"),
            b't' if begins(line, b"transfer-encoding:") => (Self::TransferEncoding, b"transfer-encoding"),
            _ => return None,
        };
        Some((field, name.len()))
    }
}

/// Whether a line begins with `known`, ignoring case. `known` consists of letters, `-` and `:`.
///
/// Compares words of eight bytes, or of four if `known` is shorter than eight. The last word may overlap the previous
/// one. In all bytes, the bit that distinguishes upper from lower case is ignored. Therefore CR counts as `-`, and
/// 0x1A as `:`, but a line contains neither.
fn begins<const N: usize>(line: &[u8], known: &[u8; N]) -> bool {
    const CASE_BITS: u64 = 0x2020_2020_2020_2020;

    let word_length = const {
        assert!(N >= 4);
        if N < 8 { 4 } else { 8 }
    };
    let word = |bytes: &[u8; N], at: usize| {
        let mut word = [0; 8];
        word[..word_length].copy_from_slice(&bytes[at..at + word_length]);
        u64::from_le_bytes(word) | CASE_BITS
    };
    let Some(line) = line.first_chunk::<N>() else { return false };
    let (mut differs, mut at) = (0, 0);
    while at < N {
        let start = at.min(N - word_length);
        differs |= word(line, start) ^ word(known, start);
        at += word_length;
    }
    differs == 0
}

/// Returns the trimmed elements of a comma-separated list, including empty ones (RFC 9110 §5.6.1).
pub fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim)
}

/// Returns a value without the white space around it (RFC 9110 §5.6.3).
pub fn trim(value: &[u8]) -> &[u8] {
    // Usually there is one space before the value, and none after it.
    let value = value.strip_prefix(b" ").unwrap_or(value);
    match value {
        [b' ' | b'\t', ..] | [.., b' ' | b'\t'] => trim_all(value),
        _ => value,
    }
}

#[cold]
fn trim_all(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Parses `1*DIGIT`. A number that does not fit becomes `usize::MAX`, which exceeds any limit.
pub fn parse_digits(value: &[u8]) -> Option<usize> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_usize, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| usize::from(byte - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(digit))
    })
}

/// Whether a value is `application/json` or `application/*+json` (RFC 9110 §8.3.1, RFC 6839 §3.1). Parameters are
/// ignored. FastAPI parses the value with Python's `email`, so the white space of Latin-1 counts, too: 0x85 and 0xA0.
pub fn is_json_type(value: &[u8]) -> bool {
    const WHITE_SPACE: [u8; 4] = [b' ', b'\t', 0x85, 0xA0];
    if value == b"application/json" {
        return true;
    }
    let essence = value.split(|byte| *byte == b';').next().unwrap_or_default();
    let begin = essence.iter().position(|byte| !WHITE_SPACE.contains(byte)).unwrap_or_default();
    let end = essence.iter().rposition(|byte| !WHITE_SPACE.contains(byte)).map_or(begin, |last| last + 1);
    let Some((prefix, subtype)) = essence[begin..end].split_at_checked(b"application/".len()) else {
        return false;
    };
    let has_suffix = subtype.len() >= 5 && subtype[subtype.len() - 5..].eq_ignore_ascii_case(b"+json");
    let is_json = subtype.eq_ignore_ascii_case(b"json") || has_suffix && !subtype.contains(&b'/');
    prefix.eq_ignore_ascii_case(b"application/") && is_json
}

/// Whether a value is `uri-host [":" port]` (RFC 3986 §3.2.2). The host of an http URI is not empty (RFC 9110 §4.2.1).
pub fn is_host(value: &[u8]) -> bool {
    let (is_valid_host, port) = match value {
        [b'[', literal @ ..] => {
            let Some(end) = literal.iter().position(|byte| *byte == b']') else { return false };
            (str::from_utf8(&literal[..end]).is_ok_and(is_ip_literal), &literal[end + 1..])
        }
        name => {
            let end = end_of_name(name);
            (end > 0, &name[end..])
        }
    };
    is_valid_host && (port.is_empty() || port.strip_prefix(b":").is_some_and(is_port))
}

/// Whether `port` is empty or a number up to 65535.
fn is_port(port: &[u8]) -> bool {
    let is_in_range = || parse_digits(port).is_some_and(|number| u16::try_from(number).is_ok());
    port.iter().all(u8::is_ascii_digit) && (port.len() < 5 || is_in_range())
}

/// Whether `text` is the part between the brackets of an `IP-literal`: an IPv6 address or `IPvFuture`.
fn is_ip_literal(text: &str) -> bool {
    let is_ipv_future = |version: &str, address: &str| {
        !version.is_empty()
            && version.bytes().all(|byte| byte.is_ascii_hexdigit())
            && !address.is_empty()
            && address.bytes().all(|byte| byte == b':' || IN_NAMES[usize::from(byte)])
    };
    text.parse::<Ipv6Addr>().is_ok()
        || text
            .strip_prefix(['v', 'V'])
            .and_then(|future| future.split_once('.'))
            .is_some_and(|(version, address)| is_ipv_future(version, address))
}

/// Returns the length of the `reg-name` at the beginning.
fn end_of_name(name: &[u8]) -> usize {
    let mut end = 0;
    loop {
        let rest = &name[end..];
        end += rest.iter().position(|byte| !IN_NAMES[usize::from(*byte)]).unwrap_or(rest.len());
        match &name[end..] {
            [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => end += 3,
            _ => return end,
        }
    }
}

/// `unreserved` (§2.3) and `sub-delims` (§2.2) of RFC 3986.
const IN_NAMES: [bool; 256] = letters_digits_and(b"-._~!$&'()*+,;=");

/// Returns a table in which the ASCII letters, the digits and `marks` are true.
pub const fn letters_digits_and(marks: &[u8]) -> [bool; 256] {
    let (mut set, mut byte, mut i) = ([false; 256], 0_u8, 0);
    while byte < 128 {
        set[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    while i < marks.len() {
        set[marks[i] as usize] = true;
        i += 1;
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_type_is_json_or_not() {
        for (value, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/vnd.api+json", true),
            ("application/json ;x", true),
            ("application/+json", true),
            ("application/a/b+json", false),
            ("text/json", false),
            ("application/jsonx", false),
            ("application/", false),
            ("", false),
        ] {
            assert_eq!(is_json_type(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn field_name_is_known_ignoring_case() {
        for (line, known) in [
            ("HOST: a", Some((KnownField::Host, 4))),
            ("host:", Some((KnownField::Host, 4))),
            ("Content-Length: 1", Some((KnownField::ContentLength, 14))),
            ("transfer-encodinG:", Some((KnownField::TransferEncoding, 17))),
            ("eXpect:x", Some((KnownField::Expect, 6))),
            ("content_length:", None),
            ("content-lengths:", None),
            ("content-length :", None),
            ("x-real-iq:", None),
            ("hos", None),
            ("", None),
        ] {
            assert_eq!(KnownField::of_line(line.as_bytes()), known, "{line}");
        }
    }

    #[test]
    fn number_is_digits_only() {
        for (value, number) in [
            ("0", Some(0)),
            ("0041", Some(41)),
            ("99999999999999999999999", Some(usize::MAX)),
            ("", None),
            ("+1", None),
            ("1 ", None),
            ("0x1", None),
        ] {
            assert_eq!(parse_digits(value.as_bytes()), number, "{value}");
        }
    }

    #[test]
    fn host_is_valid_or_not() {
        for host in [
            "a",
            "example.com",
            "example.com:80",
            "127.0.0.1:8000",
            "[::1]",
            "[::1]:8000",
            "a_b",
            "a:",
            "%41.b",
            "[v1.x:y]",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            " ",
            "a b",
            "a/b",
            "a@b",
            "a:b",
            "a:80:80",
            "a:99999",
            "[::1",
            "::1",
            "[::1]8000",
            "[x]",
            "a,b%2",
            "%4x",
            "é",
            "a?b",
            "a#b",
            "a\\b",
            "[]",
            ":80",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }
}
