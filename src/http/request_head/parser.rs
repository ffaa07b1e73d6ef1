use std::ops::Range;

use super::{
    Framing, RequestHead, Version,
    fields::{KnownField, elements, is_host, is_json_type, letters_digits_and, parse_digits, trim},
    rules::{HeadError, HeadErrors, RequestRejection},
};
use crate::http::policy::Policy;

/// The maximum number of fields in a head.
pub const MAX_FIELDS: usize = 100;
/// The maximum number of lines: the request line and the fields.
const MAX_LINES: usize = 1 + MAX_FIELDS;

/// The request line of nearly all requests.
const USUAL_REQUEST_LINE: &[u8] = b"POST /pixel HTTP/1.1\r\n";

/// Parses one head. Each call of [`Self::parse`] gets all bytes of the head that have arrived, and continues at the
/// line where the previous call stopped.
#[allow(clippy::struct_excessive_bools)] // each is a property of its own
#[derive(Debug, Clone, Default)]
pub struct HeadParser {
    next_line_at: usize,
    /// The position where the search for the end of the next line continues.
    searched: usize,
    /// The number of complete lines, including the request line.
    line_count: usize,
    errors: HeadErrors,
    is_http10: bool,
    method_is_head: bool,
    /// The number of `host` fields.
    hosts: usize,
    content_length: Option<usize>,
    /// The number of `transfer-encoding` fields.
    transfer_encodings: usize,
    is_chunked: bool,
    /// The number of `content-type` fields.
    content_types: usize,
    is_json: bool,
    has_close: bool,
    has_keep_alive: bool,
    expects_continue: bool,
    real_ip: Option<Range<usize>>,
}

/// The result of parsing the bytes that have arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The whole head has arrived. It may still break a rule ([`RequestHead::rejection`]).
    Complete(RequestHead),
    /// More input is needed.
    Incomplete,
    /// More input cannot make the head valid. The connection must close, because the end of the request is unknown.
    Invalid(RequestRejection),
}

/// Returns the length of the empty lines at the beginning, which a server ignores (RFC 9112 §2.2).
pub fn skip_empty_lines(input: &[u8]) -> usize {
    let mut rest = input;
    while let [b'\r', b'\n', after @ ..] | [b'\n', after @ ..] = rest {
        rest = after;
    }
    input.len() - rest.len()
}

impl HeadParser {
    /// Whether the request line is complete.
    pub fn has_request_line(&self) -> bool {
        self.line_count > 0
    }

    /// Returns the number of bytes that later calls do not search again.
    pub fn searched(&self) -> usize {
        self.searched
    }

    /// Parses `input`, which must not begin with empty lines ([`skip_empty_lines`]). If `is_drained`, a head
    /// gets 503, unless it breaks a rule before [`HeadError::Drained`] in the order of [`HeadError`].
    #[inline(never)] // slower if inlined: its caller leaves it too few registers
    pub fn parse(&mut self, input: &[u8], policy: &Policy, is_drained: bool) -> Parsed {
        // Bytes after the limit must not have an effect.
        let window = &input[..input.len().min(policy.head_limit)];
        // This line needs no parsing: it breaks no rule, and all properties keep their defaults.
        if self.line_count == 0 && window.starts_with(USUAL_REQUEST_LINE) {
            (self.next_line_at, self.searched, self.line_count) =
                (USUAL_REQUEST_LINE.len(), USUAL_REQUEST_LINE.len(), 1);
        }
        loop {
            if self.read_json_type_line(window) {
                continue;
            }
            let range = match self.next_line(window) {
                Ok(Some(range)) => range,
                // No request line can begin like this, whatever follows.
                Ok(None) if self.line_count == 0 && !can_begin(window) => {
                    return Parsed::Invalid(HeadError::Syntax.rejection());
                }
                Ok(None) if input.len() > window.len() => {
                    let error = if self.line_count == 0 {
                        HeadError::RequestLineTooLong
                    } else {
                        HeadError::HeadTooLarge
                    };
                    return Parsed::Invalid(error.rejection());
                }
                Ok(None) => return Parsed::Incomplete,
                Err(error) => return Parsed::Invalid(error.rejection()),
            };
            // `next_line` has counted this line, so the request line is number 1.
            let read = match &window[range.clone()] {
                bytes if self.line_count == 1 => self.read_request_line(bytes),
                [] => return Parsed::Complete(self.head(policy, is_drained)),
                // A server may reject a value that continues on another line (obs-fold, RFC 9112 §5.2).
                [b' ' | b'\t', ..] => Err(HeadError::Syntax),
                bytes => self.read_field(bytes, range.start),
            };
            if let Err(error) = read {
                return Parsed::Invalid(error.rejection());
            }
        }
    }

    /// Reads the next line if it is the usual `content-type`, without a search for its end. Returns whether it is.
    fn read_json_type_line(&mut self, window: &[u8]) -> bool {
        // The caller handles the request line, a line that was searched in part, and one beyond MAX_LINES.
        let may_be_field = self.searched == self.next_line_at && (1..MAX_LINES).contains(&self.line_count);
        let is_json_type =
            may_be_field && window.get(self.next_line_at..).is_some_and(begins_with_json_type_line);
        if is_json_type {
            self.next_line_at += JSON_TYPE_LINE.len();
            self.searched = self.next_line_at;
            self.line_count += 1;
            self.content_types += 1;
            self.is_json |= self.content_types == 1;
        }
        is_json_type
    }

    /// Returns the range of the next complete line without its end, which is CRLF or LF (RFC 9112 §2.2). A tab is the
    /// only control character that a line may contain (RFC 9110 §5.5).
    fn next_line(&mut self, window: &[u8]) -> Result<Option<Range<usize>>, HeadError> {
        // If a reload has lowered the limit, earlier calls may have searched beyond the window.
        while self.searched <= window.len() {
            let end = next_control(window, self.searched);
            let next = match &window[end..] {
                [b'\t', ..] => {
                    self.searched = end + 1;
                    continue;
                }
                [b'\r', b'\n', ..] => end + 2,
                [b'\n', ..] => end + 1,
                [] | [b'\r'] => {
                    self.searched = end;
                    return Ok(None);
                }
                _ => return Err(HeadError::Syntax),
            };
            let range = self.next_line_at..end;
            (self.next_line_at, self.searched) = (next, next);
            self.line_count += 1;
            return Ok(Some(range));
        }
        Ok(None)
    }

    /// Reads `method SP request-target SP HTTP-version` (RFC 9112 §3).
    fn read_request_line(&mut self, line: &[u8]) -> Result<(), HeadError> {
        let mut parts = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(HeadError::Syntax);
        };
        if method.is_empty() || !method.iter().all(|byte| is_in_token(*byte)) {
            return Err(HeadError::Syntax);
        }
        match version {
            b"HTTP/1.0" => self.is_http10 = true,
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => {}
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
                return Err(HeadError::MajorVersion);
            }
            _ => return Err(HeadError::Syntax),
        }
        self.method_is_head = method == b"HEAD";
        self.errors.add_if(method != b"POST", HeadError::Method);
        self.read_target(target)
    }

    /// Reads a target in origin-form or absolute-form (RFC 9112 §3.2). A target in another form, or with a `#` directly
    /// after the path, counts as an unknown path.
    fn read_target(&mut self, target: &[u8]) -> Result<(), HeadError> {
        if target.is_empty() || target.contains(&b'\t') {
            return Err(HeadError::Syntax);
        }
        let absolute = |scheme: &[u8]| {
            let (begin, rest) = target.split_at_checked(scheme.len())?;
            begin.eq_ignore_ascii_case(scheme).then_some(rest)
        };
        let path = match absolute(b"http://").or_else(|| absolute(b"https://")) {
            Some(rest) => {
                let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
                let (authority, path) = rest.split_at(end.unwrap_or(rest.len()));
                self.errors.add_if(!is_host(authority), HeadError::Host);
                path
            }
            None => target,
        };
        let is_known = path.strip_prefix(b"/pixel").is_some_and(|rest| matches!(rest, [] | [b'?', ..]));
        self.errors.add_if(!is_known, HeadError::Path);
        Ok(())
    }

    /// Reads `field-name ":" OWS field-value OWS` (RFC 9112 §5), a line that begins at `line_at` of the input.
    fn read_field(&mut self, line: &[u8], line_at: usize) -> Result<(), HeadError> {
        if self.line_count > MAX_LINES {
            return Err(HeadError::HeadTooLarge);
        }
        let Some((field, name_length)) = KnownField::of_line(line) else {
            let name_end = line.iter().position(|byte| !is_in_token(*byte));
            let is_field = name_end.is_some_and(|end| end > 0 && line[end] == b':');
            return if is_field { Ok(()) } else { Err(HeadError::Syntax) };
        };
        let after_colon = &line[name_length + 1..];
        let value = trim(after_colon);
        match field {
            KnownField::Host => {
                self.hosts += 1;
                self.errors.add_if(!is_host(value), HeadError::Host);
            }
            KnownField::ContentType => {
                self.content_types += 1;
                self.is_json |= self.content_types == 1 && is_json_type(value);
            }
            KnownField::ContentLength => self.read_content_length(value),
            KnownField::TransferEncoding => {
                self.transfer_encodings += 1;
                self.is_chunked = self.transfer_encodings == 1 && value.eq_ignore_ascii_case(b"chunked");
            }
            KnownField::ContentEncoding => {
                let is_plain = |coding: &[u8]| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity");
                self.errors.add_if(!elements(value).all(is_plain), HeadError::ContentEncoding);
            }
            KnownField::Connection => {
                for option in elements(value) {
                    self.has_close |= option.eq_ignore_ascii_case(b"close");
                    self.has_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            KnownField::Expect => self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue"),
            KnownField::RealIp => {
                let spaces = after_colon.len() - after_colon.trim_ascii_start().len();
                let begin = line_at + name_length + 1 + spaces;
                self.real_ip.get_or_insert(begin..begin + value.len());
            }
        }
        Ok(())
    }

    /// Reads a value of `content-length`. Several equal lengths count as one (RFC 9110 §8.6).
    fn read_content_length(&mut self, value: &[u8]) {
        if self.content_length.is_none()
            && let Some(length) = parse_digits(value)
        {
            self.content_length = Some(length);
            return;
        }
        // A list, a further field or an invalid value.
        for element in elements(value) {
            let length = parse_digits(element);
            let is_consistent =
                length.is_some_and(|length| self.content_length.is_none_or(|first| first == length));
            self.errors.add_if(!is_consistent, HeadError::InvalidContentLength);
            self.content_length = self.content_length.or(length);
        }
    }

    fn head(&mut self, policy: &Policy, is_drained: bool) -> RequestHead {
        let length = self.content_length.unwrap_or(0);
        let errors = &mut self.errors;
        if self.transfer_encodings > 0 {
            errors.add_if(self.is_http10, HeadError::TransferEncodingInHttp10);
            let has_content_length =
                self.content_length.is_some() || errors.has(HeadError::InvalidContentLength);
            errors.add_if(has_content_length, HeadError::ContentLengthAndTransferEncoding);
            errors.add_if(!self.is_chunked, HeadError::UnknownTransferEncoding);
        }
        errors.add_if(self.hosts > 1 || self.hosts == 0 && !self.is_http10, HeadError::Host);
        errors.add_if(is_drained, HeadError::Drained);
        errors.add_if(length > policy.body_limit, HeadError::BodyTooLarge);
        let expects_continue = self.expects_continue && !self.is_http10 && (length > 0 || self.is_chunked);
        let rejection = errors.rejection().map(|rejection| RequestRejection {
            // A client that waits for `100 Continue` sends its body or its next request: the server cannot know which.
            closes: rejection.closes || errors.has(HeadError::BodyTooLarge) || expects_continue,
            ..rejection
        });
        RequestHead {
            length: self.next_line_at,
            framing: if self.is_chunked { Framing::Chunked } else { Framing::Length(length) },
            version: if self.is_http10 { Version::Http10 } else { Version::Http11 },
            method_is_head: self.method_is_head,
            is_json: self.is_json,
            asks_to_close: self.has_close || self.is_http10 && !self.has_keep_alive,
            expects_continue,
            rejection,
            real_ip: self.real_ip.take(),
        }
    }
}

/// Returns the position of the first control character from `from` on, or the length of `input`.
///
/// Checks eight bytes at a time. Subtracting 0x20 from a control character sets the highest bit of its byte. For a DEL,
/// XOR with 0x7f gives 0, and subtracting 1 from that sets the bit as well. `!word` excludes bytes of 0x80 or more,
/// whose highest bit was set before. The subtraction at a control character or a DEL borrows from the next byte, so
/// only the lowest bit that is set is reliable.
fn next_control(input: &[u8], from: usize) -> usize {
    const ONES: u64 = u64::MAX / 0xff;

    let (words, rest) = input[from..].as_chunks::<8>();
    for (nth, eight) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*eight);
        let below_space_bits = word.wrapping_sub(ONES * 0x20);
        let zero_if_del = word ^ (ONES * 0x7f);
        let del_bits = zero_if_del.wrapping_sub(ONES);
        let found = (below_space_bits | del_bits) & !word & (ONES * 0x80);
        if found != 0 {
            return from + 8 * nth + found.trailing_zeros() as usize / 8;
        }
    }
    let is_control = |byte: &u8| *byte < b' ' || *byte == 0x7f;
    input.len() - rest.len() + rest.iter().position(is_control).unwrap_or(rest.len())
}

/// The usual line of the field `content-type`.
const JSON_TYPE_LINE: [u8; 32] = *b"content-type: application/json\r\n";

/// Whether `input` begins with [`JSON_TYPE_LINE`]. Unlike [`KnownField::of_line`], ignores the case bit only in
/// letters: `input` may contain control characters, and a CR would equal `-`.
fn begins_with_json_type_line(input: &[u8]) -> bool {
    const CASE_MASKS: [u8; 32] = {
        let (mut masks, mut i) = ([0xff; 32], 0);
        while i < JSON_TYPE_LINE.len() {
            if JSON_TYPE_LINE[i].is_ascii_lowercase() {
                masks[i] = !0x20;
            }
            i += 1;
        }
        masks
    };

    let Some(line) = input.first_chunk::<32>() else { return false };
    // Excludes nearly all lines that differ. Then all bytes are compared without a branch.
    line[31] == b'\n'
        && (0..32).fold(0, |differs, i| differs | (line[i] ^ JSON_TYPE_LINE[i]) & CASE_MASKS[i]) == 0
}

/// Whether `input` can be the beginning of a request line or an empty line.
fn can_begin(input: &[u8]) -> bool {
    input == b"\r" || input.first().is_none_or(|byte| is_in_token(*byte))
}

fn is_in_token(byte: u8) -> bool {
    IN_TOKENS[usize::from(byte)]
}

/// The `tchar` of RFC 9110 §5.6.2.
const IN_TOKENS: [bool; 256] = letters_digits_and(b"!#$%&'*+-.^_`|~");
