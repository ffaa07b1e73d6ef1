use crate::stats::Outcome;

/// Why a head is rejected: a rule that it breaks, or [`Self::Drained`]. The first four end the parsing at once. Of the
/// others, a head may have several: the first in this order decides on the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadError {
    /// A line that is neither a request line nor a field.
    Syntax,
    MajorVersion,
    RequestLineTooLong,
    HeadTooLarge,
    TransferEncodingInHttp10,
    ContentLengthAndTransferEncoding,
    UnknownTransferEncoding,
    InvalidContentLength,
    Host,
    Drained,
    Path,
    Method,
    ContentEncoding,
    BodyTooLarge,
}

/// The response to a request that is rejected without a look at the contents of the request body. The text of the
/// response is constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestRejection {
    pub outcome: Outcome,
    pub status: u16,
    /// Whether the server closes the connection after the response.
    pub closes: bool,
}

/// The rules in the order of [`HeadError`]: the source of each, and the response to a head that breaks it.
///
/// The connection closes if the start of the next request is uncertain, if the body is too long to be read to its end,
/// or if the daemon is drained. It also closes after an invalid `host`, because a proxy may have read that head
/// differently.
const RULES: [(HeadError, &str, RequestRejection); 14] = {
    use Outcome::{
        HeadTooLarge, Malformed, MethodNotAllowed, NotFound, NotImplemented, TooLarge, Unavailable,
        UnsupportedMediaType,
    };
    const fn close(outcome: Outcome, status: u16) -> RequestRejection {
        RequestRejection { outcome, status, closes: true }
    }
    const fn keep(outcome: Outcome, status: u16) -> RequestRejection {
        RequestRejection { outcome, status, closes: false }
    }
    [
        (HeadError::Syntax, "RFC 9112 §2.2, §3, §5; RFC 9110 §5.5", close(Malformed, 400)),
        (HeadError::MajorVersion, "RFC 9110 §15.6.6", close(Malformed, 505)),
        (HeadError::RequestLineTooLong, "RFC 9112 §3", close(HeadTooLarge, 414)),
        (HeadError::HeadTooLarge, "RFC 6585 §5", close(HeadTooLarge, 431)),
        (HeadError::TransferEncodingInHttp10, "RFC 9112 §6.1", close(Malformed, 400)),
        (HeadError::ContentLengthAndTransferEncoding, "RFC 9112 §6.3 (3)", close(Malformed, 400)),
        (HeadError::UnknownTransferEncoding, "RFC 9112 §6.1", close(NotImplemented, 501)),
        (HeadError::InvalidContentLength, "RFC 9112 §6.3 (5)", close(Malformed, 400)),
        (HeadError::Host, "RFC 9112 §3.2; RFC 3986 §3.2.2", close(Malformed, 400)),
        (HeadError::Drained, "RFC 9110 §15.6.4", close(Unavailable, 503)),
        (HeadError::Path, "RFC 9110 §15.5.5", keep(NotFound, 404)),
        (HeadError::Method, "RFC 9110 §15.5.6", keep(MethodNotAllowed, 405)),
        (HeadError::ContentEncoding, "RFC 9110 §8.4, §5.6.1", keep(UnsupportedMediaType, 415)),
        (HeadError::BodyTooLarge, "RFC 9110 §15.5.14", close(TooLarge, 413)),
    ]
};

impl HeadError {
    pub fn rejection(self) -> RequestRejection {
        RULES[self as usize].2
    }
}

impl RequestRejection {
    /// A chunked body that exceeds the limit.
    pub const BODY_TOO_LARGE: Self = RULES[HeadError::BodyTooLarge as usize].2;
    /// Invalid chunks (RFC 9112 §7.1), or a request that is incomplete when the client stops sending (§8).
    pub const MALFORMED: Self = RULES[HeadError::Syntax as usize].2;
    /// A request that did not arrive in time (RFC 9110 §15.5.9).
    pub const TIMED_OUT: Self = Self { outcome: Outcome::TimedOut, status: 408, closes: true };
    /// A bug of the daemon (RFC 9110 §15.6.1).
    pub const FAILED: Self = Self { outcome: Outcome::Failed, status: 500, closes: true };

    /// Returns the body of the response.
    pub fn body(self) -> &'static str {
        match self.status {
            404 => r#"{"detail":"Not Found"}"#,
            405 => r#"{"detail":"Method Not Allowed"}"#,
            408 => r#"{"detail":"Request Timeout"}"#,
            413 => r#"{"detail":"Content Too Large"}"#,
            414 => r#"{"detail":"URI Too Long"}"#,
            415 => r#"{"detail":"Unsupported Media Type"}"#,
            431 => r#"{"detail":"Request Header Fields Too Large"}"#,
            500 => r#"{"detail":"Internal Server Error"}"#,
            501 => r#"{"detail":"Not Implemented"}"#,
            503 => r#"{"detail":"Service Unavailable"}"#,
            505 => r#"{"detail":"HTTP Version Not Supported"}"#,
            _ => r#"{"detail":"Bad Request"}"#,
        }
    }
}

/// The set of the errors of a head.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeadErrors(u16);

impl HeadErrors {
    pub fn add_if(&mut self, is_broken: bool, error: HeadError) {
        self.0 |= u16::from(is_broken) << error as u16;
    }

    pub fn has(self, error: HeadError) -> bool {
        self.0 & (1 << error as u16) != 0
    }

    /// Returns the response to the first error, if there is one.
    pub fn rejection(self) -> Option<RequestRejection> {
        // Without an error, the index is 16, which no rule has.
        let (_, _, rejection) = RULES.get(self.0.trailing_zeros() as usize)?;
        Some(*rejection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_in_the_order_of_errors() {
        for (nth, (error, section, _)) in RULES.iter().enumerate() {
            assert_eq!(*error as usize, nth, "{section}");
        }
    }

    #[test]
    fn status_other_than_400_has_its_own_body() {
        for (_, section, rejection) in RULES {
            let is_bad_request = rejection.body() == RequestRejection::MALFORMED.body();
            assert_eq!(is_bad_request, rejection.status == 400, "{section}");
        }
    }
}
