use super::oracle;

/// One final answer, as a client reads it.
#[derive(Debug, PartialEq)]
pub struct Response {
    pub status: u16,
    pub body: String,
    /// It says that it is the last one.
    pub closes: bool,
}

/// Reads everything that came back for `sent`. Panics at the first byte that is out of place.
pub fn read_all(mut bytes: &[u8], sent: &[u8]) -> Vec<Response> {
    let mut responses = Vec::new();
    let mut closing = false;
    while !bytes.is_empty() {
        assert!(!closing, "something follows the last answer");
        let (head, rest) = split_head(bytes);
        if head.status == 100 {
            assert!(head.fields.is_empty(), "{head:?}");
            bytes = rest;
            continue;
        }
        let length = check_fields(&head);
        // The answer to a HEAD has no body, and every body is an object.
        let has_body = rest.starts_with(b"{") || !contains(sent, b"HEAD ");
        let (body, rest) = rest.split_at_checked(if has_body { length } else { 0 }).expect("cut off");
        let body = String::from_utf8(body.to_vec()).expect("a body is UTF-8");
        check_body(&head, &body, has_body);
        closing = head.values("connection").any(|value| value == "close");
        responses.push(Response { status: head.status, body, closes: closing });
        bytes = rest;
    }
    responses
}

#[derive(Debug)]
struct Head<'a> {
    status: u16,
    fields: Vec<(&'a str, &'a str)>,
}

impl<'a> Head<'a> {
    fn values(&self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn only_value(&self, name: &'a str) -> Option<&'a str> {
        let mut values = self.values(name);
        values.next().filter(|_| values.next().is_none())
    }
}

fn split_head(bytes: &[u8]) -> (Head<'_>, &[u8]) {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head without an end");
    let head = std::str::from_utf8(&bytes[..end]).expect("a head is ASCII");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(status).unwrap_or_else(|| panic!("no status line: {head}"));
    let fields =
        lines.map(|line| field(line).unwrap_or_else(|| panic!("no field: {line:?} in {head}"))).collect();
    (Head { status, fields }, &bytes[end + 4..])
}

fn status(line: &str) -> Option<u16> {
    let rest = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "))?;
    let (code, reason) = rest.split_once(' ')?;
    let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
    let is_reason = reason.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    (is_code && is_reason).then(|| code.parse().ok())?
}

fn field(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(": ")?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let is_value = value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    (is_name && is_value).then_some((name, value))
}

/// Returns the length of the body.
fn check_fields(head: &Head<'_>) -> usize {
    assert!((200..600).contains(&head.status), "{head:?}");
    assert_ne!(head.status, 500, "a panic was caught");
    assert!(head.only_value("date").is_some_and(|date| date.ends_with(" GMT")), "{head:?}");
    assert!(head.values("server").next().is_none(), "{head:?}");
    assert!(head.values("transfer-encoding").next().is_none(), "{head:?}");
    let length = head.only_value("content-length").and_then(|length| length.parse().ok());
    length.unwrap_or_else(|| panic!("no length: {head:?}"))
}

fn check_body(head: &Head<'_>, body: &str, is_expected: bool) {
    assert_eq!(head.only_value("content-type"), Some("application/json"), "{head:?}");
    if is_expected {
        assert!(oracle::strict_json(body).is_some(), "no JSON: {body:?}");
    }
}

pub fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
