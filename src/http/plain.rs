//! The one shape of request that nearly all are sent in, read where it lies.

use std::net::IpAddr;

use super::{check, policy::Policy, service::is_json_type};

/// A whole request for `POST /pixel` with nothing about it that asks for more than reading its body
/// as JSON: HTTP/1.1, one Host, one Content-Length, a JSON type, no coding, no expectation.
#[derive(Debug)]
pub struct PlainRequest<'i> {
    pub body: &'i [u8],
    /// What follows it.
    pub rest: &'i [u8],
    /// Whether its client sends nothing behind it (`Connection: close`).
    pub is_last: bool,
    real_ip: Option<&'i [u8]>,
}

/// How every one begins.
const BEGIN: &[u8] = b"POST /pixel HTTP/1.1\r\n";
/// A head that is longer is looked at by hyper.
const LONGEST_HEAD: usize = 4096;
/// And so is one with more fields.
const MOST_FIELDS: usize = 32;

impl<'i> PlainRequest<'i> {
    /// Reads the first request in `input`. `None` says nothing about it, but that it is not plain, or
    /// not whole.
    pub fn parse(input: &'i [u8], policy: &Policy) -> Option<Self> {
        let fields = input.strip_prefix(BEGIN)?;
        let mut places = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let Ok(httparse::Status::Complete((length, fields))) = httparse::parse_headers(fields, &mut places)
        else {
            return None;
        };
        let head = BEGIN.len() + length;
        if head > LONGEST_HEAD.min(policy.head_limit) {
            return None;
        }
        let (mut has_host, mut has_type, mut is_last) = (false, false, false);
        let (mut body_length, mut real_ip) = (None, None);
        for field in fields {
            match Meaning::of(field.name) {
                Meaning::None => {}
                Meaning::RealIp => real_ip = real_ip.or(Some(field.value)),
                Meaning::Host if !has_host && check::is_host(field.value) => has_host = true,
                Meaning::Type if !has_type && is_json_type(field.value) => has_type = true,
                Meaning::Length if body_length.is_none() => body_length = Some(length_of(field.value)?),
                Meaning::Connection if field.value.eq_ignore_ascii_case(b"keep-alive") => {}
                Meaning::Connection if field.value.eq_ignore_ascii_case(b"close") => is_last = true,
                _ => return None,
            }
        }
        let length = body_length.filter(|length| *length <= policy.body_limit && has_host && has_type)?;
        let (body, rest) = input[head..].split_at_checked(length)?;
        Some(Self { body, rest, is_last, real_ip })
    }

    /// What the proxy in front says of its client.
    pub fn real_ip(&self) -> Option<IpAddr> {
        str::from_utf8(self.real_ip?).ok()?.parse().ok()
    }
}

/// What a field is about.
enum Meaning {
    Host,
    Type,
    Length,
    Connection,
    /// Who the client of a proxy is.
    RealIp,
    /// Something that changes how the request is to be read or answered.
    Other,
    /// Nothing that concerns the answer.
    None,
}

impl Meaning {
    fn of(name: &str) -> Self {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            4 if is("host") => Self::Host,
            6 if is("expect") => Self::Other,
            7 if is("upgrade") => Self::Other,
            9 if is("x-real-ip") => Self::RealIp,
            10 if is("connection") => Self::Connection,
            12 if is("content-type") => Self::Type,
            14 if is("content-length") => Self::Length,
            16 if is("content-encoding") => Self::Other,
            17 if is("transfer-encoding") => Self::Other,
            _ => Self::None,
        }
    }
}

/// A Content-Length as everybody writes it.
pub(super) fn length_of(value: &[u8]) -> Option<usize> {
    let is_canonical = matches!(value, [b'0'] | [b'1'..=b'9', ..]) && value.len() <= 9;
    is_canonical.then_some(())?;
    value
        .iter()
        .try_fold(0, |length, digit| digit.is_ascii_digit().then(|| length * 10 + usize::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::StatusCode;

    use super::*;

    fn policy() -> Policy {
        let second = Duration::from_secs(1);
        Policy {
            body_limit: 100,
            head_limit: 8192,
            requests_limit: 10,
            head_timeout: second,
            body_timeout: second,
            write_timeout: second,
            keep_alive_timeout: second,
            range_error_status: StatusCode::UNPROCESSABLE_ENTITY,
        }
    }

    fn body_of(request: &str) -> Option<&str> {
        PlainRequest::parse(request.as_bytes(), &policy()).map(|plain| str::from_utf8(plain.body).unwrap())
    }

    fn with(fields: &str) -> String {
        format!("POST /pixel HTTP/1.1\r\n{fields}\r\n{{}}")
    }

    const JSON: &str = "content-type: application/json\r\n";

    #[test]
    fn what_clients_send_is_plain() {
        for fields in [
            format!("Host: h\r\nContent-Length: 2\r\n{JSON}"),
            format!("{JSON}host: [::1]:8000\r\nuser-agent: curl/8\r\naccept: */*\r\ncontent-length: 2\r\n"),
            format!("host: h\r\nConnection: Keep-Alive\r\nX-Real-IP: 1.2.3.4\r\ncontent-length: 2\r\n{JSON}"),
        ] {
            assert_eq!(body_of(&with(&fields)), Some("{}"), "{fields}");
        }
        let two = with(&format!("host: h\r\ncontent-length: 2\r\n{JSON}")).repeat(2);
        let first = PlainRequest::parse(two.as_bytes(), &policy()).unwrap();
        assert_eq!((first.body, first.rest), (&b"{}"[..], &two.as_bytes()[two.len() / 2..]));
    }

    #[test]
    fn a_proxy_says_who_its_client_is() {
        let real_ip = |fields: &str| {
            let request = with(&format!("host: h\r\n{fields}content-length: 2\r\n{JSON}"));
            PlainRequest::parse(request.as_bytes(), &policy()).unwrap().real_ip()
        };
        assert_eq!(real_ip("X-Real-IP: 192.0.2.7\r\n"), Some([192, 0, 2, 7].into()));
        assert_eq!(real_ip("x-real-ip: 192.0.2.7\r\nx-real-ip: 192.0.2.8\r\n"), Some([192, 0, 2, 7].into()));
        assert_eq!(real_ip("x-real-ip: nobody\r\n"), None);
        assert_eq!(real_ip(""), None);
    }

    #[test]
    fn a_client_says_that_nothing_follows() {
        let is_last = |fields: &str| {
            let request = with(&format!("host: h\r\ncontent-length: 2\r\n{JSON}{fields}"));
            PlainRequest::parse(request.as_bytes(), &policy()).map(|plain| plain.is_last)
        };
        assert_eq!(is_last(""), Some(false));
        assert_eq!(is_last("Connection: Close\r\n"), Some(true));
        assert_eq!(is_last("connection: close\r\nconnection: keep-alive\r\n"), Some(true));
    }

    #[test]
    fn everything_else_is_left_to_hyper() {
        let whole = with(&format!("host: h\r\ncontent-length: 2\r\n{JSON}"));
        for end in 0..whole.len() {
            assert_eq!(body_of(&whole[..end]), None, "{end}");
        }
        for other in [
            whole.replace("POST", "PUT"),
            whole.replace("/pixel", "/pixel?"),
            whole.replace("HTTP/1.1", "HTTP/1.0"),
            whole.replace("POST /pixel", "POST  /pixel"),
            format!("\r\n{whole}"),
        ] {
            assert_eq!(body_of(&other), None, "{other}");
        }
        for fields in [
            format!("content-length: 2\r\n{JSON}"),
            format!("host: h\r\nhost: h\r\ncontent-length: 2\r\n{JSON}"),
            format!("host: a b\r\ncontent-length: 2\r\n{JSON}"),
            format!("host: h\r\n{JSON}"),
            "host: h\r\ncontent-length: 2\r\n".into(),
            "host: h\r\ncontent-length: 2\r\ncontent-type: text/plain\r\n".into(),
            format!("host: h\r\ncontent-length: 2\r\ncontent-length: 2\r\n{JSON}"),
            format!("host: h\r\ncontent-length: 2\r\n{JSON}{JSON}"),
            format!("host: h\r\ncontent-length: +2\r\n{JSON}"),
            format!("host: h\r\ncontent-length: 02\r\n{JSON}"),
            format!("host: h\r\ncontent-length: 2, 2\r\n{JSON}"),
            format!("host: h\r\ncontent-length: 101\r\n{JSON}"),
            format!("host: h\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n{JSON}"),
            format!("host: h\r\ncontent-length: 2\r\ncontent-encoding: identity\r\n{JSON}"),
            format!("host: h\r\ncontent-length: 2\r\nexpect: 100-continue\r\n{JSON}"),
            format!("host: h\r\ncontent-length: 2\r\nconnection: close, x\r\n{JSON}"),
            format!("host: h\r\ncontent-length: 2\r\nupgrade: h2c\r\n{JSON}"),
            format!("host: h\r\ncontent-length: 2\r\n bad: folded\r\n{JSON}"),
            format!("host: h\r\ncontent-length: 2\r\n{JSON}{}", "x: y\r\n".repeat(40)),
            format!("host: h\r\ncontent-length: 2\r\n{JSON}x: {}\r\n", "y".repeat(4100)),
        ] {
            assert_eq!(body_of(&with(&fields)), None, "{fields:.300}");
        }
    }
}
