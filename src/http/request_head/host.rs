use std::net::Ipv6Addr;

/// `uri-host [":" port]` (RFC 3986 §3.2.2), and not empty, as an http URI's host never is (RFC 9110 §4.2.1).
pub fn is_host(value: &[u8]) -> bool {
    let (is_name, port) = match value {
        [b'[', literal @ ..] => {
            let Some(end) = literal.iter().position(|byte| *byte == b']') else { return false };
            (str::from_utf8(&literal[..end]).is_ok_and(is_ip_literal), &literal[end + 1..])
        }
        name => {
            let end = end_of_name(name);
            (end > 0, &name[end..])
        }
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
            && address.bytes().all(|byte| byte == b':' || IN_NAMES[usize::from(byte)])
    };
    text.parse::<Ipv6Addr>().is_ok()
        || text
            .strip_prefix(['v', 'V'])
            .and_then(|future| future.split_once('.'))
            .is_some_and(|(version, address)| is_future(version, address))
}

/// The length of the `reg-name` at the beginning.
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

/// `unreserved` and `sub-delims` (RFC 3986 §2.2, §2.3).
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
}
