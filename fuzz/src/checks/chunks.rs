use super::connection::{BODY_LIMIT, answers};

const HEAD: &str = "POST /pixel HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n";

/// A body in chunks, and what is behind it, are answered as if the body had a length: hyper takes the head that
/// it is given, decodes as a plain decoder does, and gives back the rest.
pub fn chunks(input: &[u8]) {
    let chunked = answers(&[HEAD.as_bytes(), b"transfer-encoding: chunked\r\n\r\n", input].concat());
    match decode(input) {
        Decoded::Complete(body, rest) => {
            let head = format!("{HEAD}content-length: {}\r\n\r\n", body.len());
            let expected = answers(&[head.as_bytes(), &body, rest].concat());
            assert_eq!(chunked, expected, "in chunks (left) and with a length (right)");
        }
        Decoded::TooLarge => assert_last(&chunked, &[413]),
        Decoded::Invalid => assert_last(&chunked, &[400, 413]),
        Decoded::Unusual => {}
    }
}

fn assert_last(answers: &[super::response::Response], statuses: &[u16]) {
    let [only] = answers else { panic!("{answers:?}") };
    assert!(statuses.contains(&only.status) && only.closes, "{only:?}");
}

#[derive(Debug)]
enum Decoded<'i> {
    /// The body, and what is behind it.
    Complete(Vec<u8>, &'i [u8]),
    TooLarge,
    Invalid,
    /// Extensions and trailers with bytes that may be taken or refused, or very many.
    Unusual,
}

/// RFC 9112 §7.1, line by line.
fn decode(input: &[u8]) -> Decoded<'_> {
    let (mut body, mut rest, mut extensions) = (Vec::new(), input, 0);
    loop {
        let Some((line, behind)) = line(rest) else {
            // hyper may refuse what has come before the line is complete, or its size.
            return Decoded::Invalid;
        };
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (size, extension) = line.split_at(digits);
        let size = size.iter().fold(0_usize, |size, digit| {
            let digit = char::from(*digit).to_digit(16).unwrap_or(0) as usize;
            size.saturating_mul(16).saturating_add(digit)
        });
        let blanks = extension.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        if digits == 0 || !matches!(extension[blanks..], [] | [b';', ..]) || extension.contains(&b'\n') {
            return Decoded::Invalid;
        }
        extensions += extension.len();
        if digits > 16 || extensions > 1000 || extension.contains(&b'\r') {
            return Decoded::Unusual;
        }
        rest = behind;
        if size == 0 {
            break;
        }
        if body.len().saturating_add(size) > BODY_LIMIT {
            // All of it need not have come.
            let is_first = body.is_empty();
            return if is_first { Decoded::TooLarge } else { Decoded::Unusual };
        }
        let Some((data, [b'\r', b'\n', behind @ ..])) = rest.split_at_checked(size) else {
            return Decoded::Invalid;
        };
        body.extend_from_slice(data);
        rest = behind;
    }
    let (mut trailers, mut is_unusual) = (0, false);
    loop {
        let Some((line, behind)) = line(rest) else { return Decoded::Invalid };
        rest = behind;
        // Behind an empty line that ends so, a lenient reader would see another request.
        if line.contains(&b'\n') {
            return Decoded::Invalid;
        }
        if line.is_empty() {
            return if is_unusual { Decoded::Unusual } else { Decoded::Complete(body, rest) };
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
        let is_plain = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
        let is_name = line[..colon].iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
        trailers += line.len();
        is_unusual |= colon == 0 || !is_name || !line.iter().all(is_plain) || trailers > 500;
    }
}

/// The first line, which ends with CRLF, and what is behind it.
fn line(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = input.windows(2).position(|two| two == b"\r\n")?;
    Some((&input[..end], &input[end + 2..]))
}
