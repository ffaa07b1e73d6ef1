//! What a request's head has to look like before it is looked at as a request. hyper lets these
//! through, and each of them is either a client that is broken or one that means harm.

use std::net::Ipv6Addr;

use hyper::{
    HeaderMap, Uri, Version,
    header::{CONNECTION, CONTENT_ENCODING, HOST, TRANSFER_ENCODING},
};

/// How the end of a body is marked (RFC 9112 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By Content-Length, or there is no body.
    Length,
    /// By chunks.
    Chunked,
    /// By something that is not understood, so that nobody knows where the next request begins.
    Unknown,
}

/// Reads Transfer-Encoding; nothing but `chunked`, once, is understood.
pub fn framing(headers: &HeaderMap) -> Framing {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    match (encodings.next(), encodings.next()) {
        (None, _) => Framing::Length,
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
        _ => Framing::Unknown,
    }
}

/// Whether there is exactly one Host and it can be one, and so can the target's own, if it has one
/// (RFC 9112 §3.2). HTTP/1.0 may do without Host.
pub fn has_valid_host(version: Version, target: &Uri, headers: &HeaderMap) -> bool {
    if target.authority().is_some_and(|authority| !is_host(authority.as_str().as_bytes())) {
        return false;
    }
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => version == Version::HTTP_10,
        (Some(only), None) => is_host(only.as_bytes()),
        (Some(_), Some(_)) => false,
    }
}

/// Whether the body's bytes mean what they say (RFC 9110 §8.4).
pub fn is_plain(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Whether the client sends nothing behind this request (RFC 9112 §9.6).
pub fn requests_close(headers: &HeaderMap) -> bool {
    let options =
        headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    options.map(<[u8]>::trim_ascii).any(|option| option.eq_ignore_ascii_case(b"close"))
}

/// `uri-host [":" port]` (RFC 3986 §3.2.2), and not empty, as an http URI's host never is (RFC 9110
/// §4.2.1).
pub fn is_host(value: &[u8]) -> bool {
    let (is_name, port) = if let Some(literal) = value.strip_prefix(b"[") {
        let Some(end) = literal.iter().position(|byte| *byte == b']') else { return false };
        let address = str::from_utf8(&literal[..end]);
        (address.is_ok_and(is_ip_literal), &literal[end + 1..])
    } else {
        let end = value.iter().position(|byte| *byte == b':').unwrap_or(value.len());
        (is_reg_name(&value[..end]), &value[end..])
    };
    is_name && (port.is_empty() || port.strip_prefix(b":").is_some_and(is_port))
}

fn is_port(digits: &[u8]) -> bool {
    let port = digits.iter().try_fold(0_u16, |port, byte| {
        let digit = byte.is_ascii_digit().then(|| u16::from(byte - b'0'))?;
        port.checked_mul(10)?.checked_add(digit)
    });
    port.is_some()
}

fn is_ip_literal(text: &str) -> bool {
    let is_future = |version: &str, address: &str| {
        !version.is_empty()
            && version.bytes().all(|byte| byte.is_ascii_hexdigit())
            && !address.is_empty()
            && address.bytes().all(|byte| byte == b':' || is_unreserved_or_sub_delim(byte))
    };
    text.parse::<Ipv6Addr>().is_ok()
        || text
            .strip_prefix(['v', 'V'])
            .and_then(|future| future.split_once('.'))
            .is_some_and(|(version, address)| is_future(version, address))
}

fn is_reg_name(name: &[u8]) -> bool {
    let mut rest = name;
    loop {
        rest = match rest {
            [] => return !name.is_empty(),
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            [byte, rest @ ..] if is_unreserved_or_sub_delim(*byte) => rest,
            _ => return false,
        }
    }
}

fn is_unreserved_or_sub_delim(byte: u8) -> bool {
    IN_NAMES[usize::from(byte)]
}

/// `unreserved` and `sub-delims` (RFC 3986 §2.2, §2.3), as a table: each request has a host.
const IN_NAMES: [bool; 256] = {
    const BESIDE_LETTERS_AND_DIGITS: &[u8] = b"-._~!$&'()*+,;=";

    let (mut table, mut byte, mut i) = ([false; 256], 0_u8, 0);
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    while i < BESIDE_LETTERS_AND_DIGITS.len() {
        table[BESIDE_LETTERS_AND_DIGITS[i] as usize] = true;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
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

    fn map(name: &hyper::header::HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn one_host_is_the_right_number() {
        let valid = |version, target: &'static str, hosts: &[&str]| {
            has_valid_host(version, &Uri::from_static(target), &map(&HOST, hosts))
        };
        assert!(valid(Version::HTTP_11, "/pixel", &["a"]));
        assert!(valid(Version::HTTP_10, "/pixel", &[]));
        assert!(!valid(Version::HTTP_11, "/pixel", &[]));
        assert!(!valid(Version::HTTP_11, "/pixel", &["a", "a"]));
        assert!(!valid(Version::HTTP_10, "/pixel", &["a b"]));
        assert!(valid(Version::HTTP_11, "http://b/pixel", &["a"]));
        assert!(!valid(Version::HTTP_11, "http://b/pixel", &[]));
        assert!(!valid(Version::HTTP_11, "http://user@b/pixel", &["b"]));
    }

    #[test]
    fn chunked_once_is_the_only_encoding() {
        for (values, expected) in [
            (&[][..], Framing::Length),
            (&["chunked"], Framing::Chunked),
            (&["Chunked"], Framing::Chunked),
            (&["chunked, chunked"], Framing::Unknown),
            (&["chunked", "chunked"], Framing::Unknown),
            (&["gzip, chunked"], Framing::Unknown),
            (&["identity"], Framing::Unknown),
            (&["xchunked"], Framing::Unknown),
        ] {
            assert_eq!(framing(&map(&TRANSFER_ENCODING, values)), expected, "{values:?}");
        }
    }
}
