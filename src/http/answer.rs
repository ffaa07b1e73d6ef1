use std::time::SystemTime;

use bytes::{Buf, Bytes};
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};

use super::{buf_list::BufList, policy::Policy};
use crate::{
    pixel::{self, Rejection},
    stats::Outcome,
};

/// What a request is answered with.
#[derive(Debug)]
pub struct Answer {
    pub outcome: Outcome,
    pub status: StatusCode,
    pub body: BufList,
    /// Whether the connection ends with this answer.
    pub close: bool,
}

impl Answer {
    fn new(outcome: Outcome, status: StatusCode, body: BufList) -> Self {
        Self { outcome, status, body, close: false }
    }

    /// The answer to a request whose body is not looked at.
    pub fn refusal(outcome: Outcome) -> Self {
        let (status, body) = match outcome {
            Outcome::NotFound => (StatusCode::NOT_FOUND, r#"{"detail":"Not Found"}"#),
            Outcome::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, r#"{"detail":"Method Not Allowed"}"#)
            }
            Outcome::TimedOut => (StatusCode::REQUEST_TIMEOUT, r#"{"detail":"Request Timeout"}"#),
            Outcome::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, r#"{"detail":"Content Too Large"}"#),
            Outcome::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, r#"{"detail":"Unsupported Media Type"}"#)
            }
            Outcome::HeadTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                r#"{"detail":"Request Header Fields Too Large"}"#,
            ),
            Outcome::NotImplemented => (StatusCode::NOT_IMPLEMENTED, r#"{"detail":"Not Implemented"}"#),
            Outcome::Ok | Outcome::Invalid | Outcome::OutOfRange | Outcome::Malformed => {
                (StatusCode::BAD_REQUEST, r#"{"detail":"Bad Request"}"#)
            }
            Outcome::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, r#"{"detail":"Service Unavailable"}"#),
            Outcome::Failed => (StatusCode::INTERNAL_SERVER_ERROR, r#"{"detail":"Internal Server Error"}"#),
        };
        Self::new(outcome, status, Bytes::from_static(body.as_bytes()).into())
    }

    /// Ends the connection with this answer, for instance because the body is not read to its end.
    pub fn and_close(self) -> Self {
        Self { close: true, ..self }
    }

    /// The answer to a whole body that was sent to /pixel.
    pub fn to_body(body: &[u8], is_json: bool, policy: &Policy) -> Self {
        let judged = if is_json { pixel::parse(body) } else { Err(pixel::reject_text(body)) };
        match judged {
            Ok(accepted) => {
                let mut answer = Vec::with_capacity(body.len() + 64);
                pixel::write_accepted(&accepted, &mut answer);
                Self::new(Outcome::Ok, StatusCode::OK, Bytes::from(answer).into())
            }
            Err(refusal) => Self::to_refused(refusal, policy),
        }
    }

    /// The answer to a body that is no pixel.
    pub fn to_refused(refusal: Rejection, policy: &Policy) -> Self {
        let fixed = |body: &'static str| Bytes::from_static(body.as_bytes()).into();
        match refusal {
            Rejection::OutOfRange => {
                Self::new(Outcome::OutOfRange, policy.range_error_status, fixed(pixel::VALUE_OUT_OF_RANGE))
            }
            Rejection::Invalid(detail) => {
                Self::new(Outcome::Invalid, StatusCode::UNPROCESSABLE_ENTITY, detail.into())
            }
            Rejection::Unreadable => {
                Self::new(Outcome::Malformed, StatusCode::BAD_REQUEST, fixed(pixel::UNREADABLE_BODY))
            }
        }
    }

    /// For the log.
    pub fn reason(&self) -> &'static str {
        match self.outcome {
            Outcome::Ok => "accepted",
            Outcome::Invalid => "the body is no pixel",
            Outcome::OutOfRange => "the value is not in 0..=255",
            Outcome::Malformed => "the request breaks the rules of HTTP or JSON",
            Outcome::NotFound => "no such path",
            Outcome::MethodNotAllowed => "not a POST",
            Outcome::TimedOut => "the request did not arrive in time",
            Outcome::TooLarge => "the body is over limits.body",
            Outcome::UnsupportedMediaType => "the body has a content encoding",
            Outcome::HeadTooLarge => "the head is over limits.header, or has too many fields",
            Outcome::NotImplemented => "the transfer encoding is not chunked",
            Outcome::Unavailable => "the daemon is drained",
            Outcome::Failed => "a fault of the daemon's own",
        }
    }

    /// For hyper, which adds `content-length` and `date`.
    pub fn into_response(self) -> Response<Full<BufList>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.outcome == Outcome::MethodNotAllowed {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        if self.outcome == Outcome::Unavailable {
            // For a proxy that has no other host: this one may be back soon.
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// For a connection that hyper has let go of: the last bytes that are sent on it.
    pub fn into_last_bytes(self) -> Vec<u8> {
        let mut bytes = format!(
            "HTTP/1.1 {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\ndate: {}\r\n\r\n",
            self.status,
            self.body.remaining(),
            super::head::date(SystemTime::now()),
        )
        .into_bytes();
        bytes.extend(self.body.iter().flatten());
        bytes
    }
}
