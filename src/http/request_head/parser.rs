use std::ops::Range;

use super::{
    Framing, RequestHead, Version,
    fields::{HeaderKind, elements, is_host, is_json_type, length_of, letters_digits_and, trim},
    rules::{HeadError, HeadErrors, RequestRejection},
};
use crate::http::limits::Policy;

/// The most fields of a head.
const MAX_FIELDS: usize = 100;

/// The request line of nearly all requests.
const USUAL_LINE: &[u8] = b"POST /pixel HTTP/1.1\r\n";

/// Parses one head. Each call of [`Self::parse`] gets all bytes of the head that have arrived, and continues at the
/// line where the previous call stopped.
#[allow(clippy::struct_excessive_bools)] // each is a property of its own
#[derive(Debug, Clone, Default)]
pub struct HeadParser {
    /// The position of the next line.
    line: usize,
    /// The position up to which the end of that line was searched for.
    searched: usize,
    /// The number of complete lines.
    lines: usize,
    errors: HeadErrors,
    is_http10: bool,
    /// Whether the method is HEAD.
    is_head: bool,
    /// The number of `host` fields.
    hosts: usize,
    /// The value of `content-length`.
    length: Option<usize>,
    /// The number of `transfer-encoding` fields.
    codings: usize,
    is_chunked: bool,
    /// The number of `content-type` fields.
    types: usize,
    is_json: bool,
    has_close: bool,
    has_keep_alive: bool,
    expects_continue: bool,
    real_ip: Option<Range<usize>>,
}

/// The result of parsing an input.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    Complete(RequestHead),
    /// More input is needed.
    Incomplete,
    /// The head is invalid or too long, whatever follows. The end of the request is unknown.
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
    /// Whether the request line is incomplete.
    pub fn is_at_start(&self) -> bool {
        self.lines == 0
    }

    /// Returns the number of bytes that later calls do not search again.
    pub fn searched(&self) -> usize {
        self.searched
    }

    /// Parses `input`, which must not begin with empty lines ([`skip_empty_lines`]). If `is_drained`, rejects a head
    /// unless it breaks a rule before [`HeadError::Drained`].
    #[inline(never)] // inlined, it would have too few registers
    pub fn parse(&mut self, input: &[u8], policy: &Policy, is_drained: bool) -> Parsed {
        // Bytes after the limit must not have an effect.
        let window = &input[..input.len().min(policy.head_limit)];
        if self.lines == 0 && window.starts_with(USUAL_LINE) {
            (self.line, self.searched, self.lines) = (USUAL_LINE.len(), USUAL_LINE.len(), 1);
        }
        loop {
            if self.read_json_type(window) {
                continue;
            }
            let line = match self.next_line(window) {
                Ok(Some(line)) => line,
                // No request line can begin like this, whatever follows.
                Ok(None) if self.lines == 0 && !can_begin(input) => {
                    return Parsed::Invalid(HeadError::Syntax.rejection());
                }
                Ok(None) if input.len() > window.len() => {
                    let error =
                        if self.lines == 0 { HeadError::TargetTooLong } else { HeadError::HeadTooLarge };
                    return Parsed::Invalid(error.rejection());
                }
                Ok(None) => return Parsed::Incomplete,
                Err(error) => return Parsed::Invalid(error.rejection()),
            };
            let read = match &window[line.clone()] {
                [] if self.lines > 1 => return Parsed::Complete(self.head(policy, is_drained)),
                bytes if self.lines == 1 => self.read_request_line(bytes),
                [] | [b' ' | b'\t', ..] => Err(HeadError::Syntax),
                bytes => self.read_field(bytes, line.start),
            };
            if let Err(error) = read {
                return Parsed::Invalid(error.rejection());
            }
        }
    }

    /// Reads the usual `content-type` line without a search for its end. Returns whether it was there.
    fn read_json_type(&mut self, input: &[u8]) -> bool {
        let is_new_field = self.searched == self.line && (1..=MAX_FIELDS).contains(&self.lines);
        let is_json_type = is_new_field && input.get(self.line..).is_some_and(begins_with_json_type);
        if is_json_type {
            self.line += JSON_TYPE.len();
            self.searched = self.line;
            self.lines += 1;
            self.types += 1;
            self.is_json |= self.types == 1;
        }
        is_json_type
    }

    /// Returns the next complete line without its end, which is CRLF or LF (RFC 9112 §2.2). A tab is the only control
    /// character that a line may contain (RFC 9110 §5.5).
    fn next_line(&mut self, input: &[u8]) -> Result<Option<Range<usize>>, HeadError> {
        // Otherwise a reload has lowered the limit since the last call.
        while self.searched <= input.len() {
            let end = next_control(input, self.searched);
            let next = match &input[end..] {
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
            let line = self.line..end;
            (self.line, self.searched) = (next, next);
            self.lines += 1;
            return Ok(Some(line));
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
        self.is_head = method == b"HEAD";
        self.errors.add_if(method != b"POST", HeadError::Method);
        self.read_target(target)
    }

    /// Reads a target in origin-form or absolute-form (RFC 9112 §3.2). Any other form counts as an unknown path,
    /// and so does a path with a fragment, because a target has none.
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

    /// Reads `field-name ":" OWS field-value OWS` (RFC 9112 §5), a line that begins at `place` of the input.
    fn read_field(&mut self, line: &[u8], place: usize) -> Result<(), HeadError> {
        // One of the lines is the request line.
        if self.lines > MAX_FIELDS + 1 {
            return Err(HeadError::HeadTooLarge);
        }
        let Some((kind, length)) = HeaderKind::of(line) else {
            let colon = line.iter().position(|byte| !is_in_token(*byte)).unwrap_or(0);
            return if colon > 0 && line[colon] == b':' { Ok(()) } else { Err(HeadError::Syntax) };
        };
        let after_colon = &line[length + 1..];
        let value = trim(after_colon);
        match kind {
            HeaderKind::Host => {
                self.hosts += 1;
                self.errors.add_if(!is_host(value), HeadError::Host);
            }
            HeaderKind::ContentType => {
                self.types += 1;
                self.is_json |= self.types == 1 && is_json_type(value);
            }
            HeaderKind::ContentLength => self.read_length(value),
            HeaderKind::TransferEncoding => {
                self.codings += 1;
                self.is_chunked = self.codings == 1 && value.eq_ignore_ascii_case(b"chunked");
            }
            HeaderKind::ContentEncoding => {
                let is_plain = |coding: &[u8]| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity");
                self.errors.add_if(!elements(value).all(is_plain), HeadError::ContentEncoding);
            }
            HeaderKind::Connection => {
                for option in elements(value) {
                    self.has_close |= option.eq_ignore_ascii_case(b"close");
                    self.has_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            HeaderKind::Expect => self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue"),
            HeaderKind::RealIp => {
                let begin = place + line.len() - after_colon.trim_ascii_start().len();
                self.real_ip.get_or_insert(begin..begin + value.len());
            }
        }
        Ok(())
    }

    /// Reads a value of `content-length`. Several equal lengths count as one (RFC 9110 §8.6).
    fn read_length(&mut self, value: &[u8]) {
        if self.length.is_none()
            && let Some(length) = length_of(value)
        {
            self.length = Some(length);
            return;
        }
        for element in elements(value) {
            let length = length_of(element);
            let is_equal = length.is_some_and(|length| self.length.is_none_or(|before| before == length));
            self.errors.add_if(!is_equal, HeadError::InvalidLength);
            self.length = self.length.or(length);
        }
    }

    fn head(&mut self, policy: &Policy, is_drained: bool) -> RequestHead {
        let length = self.length.unwrap_or(0);
        let errors = &mut self.errors;
        if self.codings > 0 {
            errors.add_if(self.is_http10, HeadError::CodingInHttp10);
            errors.add_if(
                self.length.is_some() || errors.has(HeadError::InvalidLength),
                HeadError::LengthAndCoding,
            );
            errors.add_if(!self.is_chunked, HeadError::UnknownCoding);
        }
        errors.add_if(self.hosts > 1 || self.hosts == 0 && !self.is_http10, HeadError::Host);
        errors.add_if(is_drained, HeadError::Drained);
        errors.add_if(length > policy.body_limit, HeadError::BodyTooLarge);
        let expects_continue = self.expects_continue && !self.is_http10 && (length > 0 || self.is_chunked);
        let rejection = errors.rejection().map(|rejection| RequestRejection {
            // A client that waits for `100 Continue` may send its body after the rejection, or not send it.
            closes: rejection.closes || errors.has(HeadError::BodyTooLarge) || expects_continue,
            ..rejection
        });
        RequestHead {
            length: self.line,
            framing: if self.is_chunked { Framing::Chunked } else { Framing::Length(length) },
            version: if self.is_http10 { Version::Http10 } else { Version::Http11 },
            is_head: self.is_head,
            is_json: self.is_json,
            closes: self.has_close || self.is_http10 && !self.has_keep_alive,
            expects_continue,
            rejection,
            real_ip: self.real_ip.take(),
        }
    }
}

/// Returns the position of the first control character from `from` on, or the length of `input`.
///
/// Compares eight bytes at a time. A control character sets the highest bit of its byte in `found`. The borrow of a
/// subtraction may set bits of later bytes, too, so only the lowest set bit is reliable.
fn next_control(input: &[u8], from: usize) -> usize {
    const ONES: u64 = u64::MAX / 0xff;

    let (words, rest) = input[from..].as_chunks();
    for (nth, eight) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*eight);
        let zero_if_del = word ^ (ONES * 0x7f);
        let below_space = word.wrapping_sub(ONES * 0x20);
        let is_del = zero_if_del.wrapping_sub(ONES);
        let found = (below_space | is_del) & !word & (ONES * 0x80);
        if found != 0 {
            return from + 8 * nth + found.trailing_zeros() as usize / 8;
        }
    }
    let is_control = |byte: &u8| *byte < b' ' || *byte == 0x7f;
    input.len() - rest.len() + rest.iter().position(is_control).unwrap_or(rest.len())
}

const JSON_TYPE: [u8; 32] = *b"content-type: application/json\r\n";

/// Whether `input` begins with [`JSON_TYPE`] in upper or lower case. Compares all bytes without a branch.
fn begins_with_json_type(input: &[u8]) -> bool {
    const WITHOUT_CASE: [u8; 32] = {
        let (mut masks, mut i) = ([0xff; 32], 0);
        while i < JSON_TYPE.len() {
            if JSON_TYPE[i].is_ascii_lowercase() {
                masks[i] = !0x20;
            }
            i += 1;
        }
        masks
    };

    let Some(line) = input.first_chunk::<32>() else { return false };
    // Rejects nearly all other lines, because their length differs.
    line[31] == b'\n'
        && (0..32).fold(0, |differs, i| differs | (line[i] ^ JSON_TYPE[i]) & WITHOUT_CASE[i]) == 0
}

/// Whether a request line or an empty line can begin like this.
fn can_begin(input: &[u8]) -> bool {
    input == b"\r" || input.first().is_none_or(|byte| is_in_token(*byte))
}

fn is_in_token(byte: u8) -> bool {
    IN_TOKENS[usize::from(byte)]
}

/// The `tchar` of RFC 9110 §5.6.2.
const IN_TOKENS: [bool; 256] = letters_digits_and(b"!#$%&'*+-.^_`|~");
