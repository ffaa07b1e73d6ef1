//! Requests and responses as RFC 9112 has them, and nothing laxer: the judge of what a proxy sends to pixeld.

/// A pixel with this x, two digits, in 38 bytes.
pub fn pixel(x: u32) -> String {
    format!(r#"{{"x":{x},"y":2,"channel":"R","value":3}}"#)
}

pub struct Request {
    pub is_head: bool,
    pub body: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// The x of an accepted pixel.
    pub x: Option<u32>,
    pub closes: bool,
}

/// The requests in what was sent, and whether there is something behind them that is no whole request.
pub fn requests(mut bytes: &[u8]) -> (Vec<Request>, bool) {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let Some((body, rest)) = request(bytes) else { return (found, true) };
        found.push(Request { is_head: bytes.starts_with(b"HEAD "), body });
        bytes = rest;
    }
    (found, false)
}

fn request(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (head, rest) = split_at(bytes, b"\r\n\r\n")?;
    let head = str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (_, _, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !matches!(version, "HTTP/1.0" | "HTTP/1.1") {
        return None;
    }
    let (mut lengths, mut codings) = (Vec::new(), Vec::new());
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let is_token = !name.is_empty() && name.bytes().all(is_tchar);
        if !is_token || value.contains(|c: char| c.is_control() && c != '\t') {
            return None;
        }
        match name.to_ascii_lowercase().as_str() {
            "content-length" => lengths.push(value.trim()),
            "transfer-encoding" => codings.push(value.trim()),
            _ => {}
        }
    }
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Some((Vec::new(), rest)),
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            let (body, rest) = rest.split_at_checked(length.parse().ok()?)?;
            Some((body.to_vec(), rest))
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => chunks(rest),
        _ => None,
    }
}

fn chunks(mut bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = Vec::new();
    loop {
        let (line, rest) = split_at(bytes, b"\r\n")?;
        let size = str::from_utf8(line.split(|byte| *byte == b';').next()?).ok()?;
        let is_plain = line.iter().all(|byte| !byte.is_ascii_control());
        if !is_plain || !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return trailers(rest).map(|rest| (body, rest));
        }
        let (data, rest) = rest.split_at_checked(size)?;
        body.extend_from_slice(data);
        bytes = rest.strip_prefix(b"\r\n")?;
    }
}

fn trailers(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (line, rest) = split_at(bytes, b"\r\n")?;
        match line {
            [] => return Some(rest),
            line if line.contains(&b':') => bytes = rest,
            _ => return None,
        }
    }
}

/// The final responses in what was received, and the bytes behind them that are none.
pub fn responses(mut bytes: &[u8], mut is_for_head: impl FnMut(usize) -> bool) -> (Vec<Response>, Vec<u8>) {
    let mut found = Vec::new();
    while let Some((response, rest)) = response(bytes, is_for_head(found.len())) {
        if response.status >= 200 {
            found.push(response);
        }
        bytes = rest;
    }
    (found, bytes.to_vec())
}

fn response(bytes: &[u8], is_for_head: bool) -> Option<(Response, &[u8])> {
    let (head, rest) = split_at(bytes, b"\r\n\r\n")?;
    let head = str::from_utf8(head).ok()?.to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.get(..3)?.parse().ok()?;
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let has_body = status >= 200 && !is_for_head;
    let (body, rest) = match field("content-length:") {
        Some(length) if has_body => {
            let (body, rest) = rest.split_at_checked(length.parse().ok()?)?;
            (body.to_vec(), rest)
        }
        None if has_body && field("transfer-encoding:") == Some("chunked") => chunks(rest)?,
        _ => (Vec::new(), rest),
    };
    let body = String::from_utf8_lossy(&body);
    let x = body.strip_prefix(r#"{"status":"ok","received":{"x":"#);
    let x = x.and_then(|x| x.split(',').next()?.parse().ok());
    Some((Response { status, x, closes: field("connection:") == Some("close") }, rest))
}

fn split_at<'a>(bytes: &'a [u8], end: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(end.len()).position(|some| some == end)?;
    Some((&bytes[..at], &bytes[at + end.len()..]))
}
