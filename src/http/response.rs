use std::borrow::Cow;

use bytes::{Buf, Bytes};
use hyper::StatusCode;

use super::{buf_list::BufList, policy::Policy, request_head::RequestRejection};
use crate::{
    pixel::{self, BodyRejection},
    stats::Outcome,
};

/// A response without its head.
#[derive(Debug)]
pub struct Response {
    pub outcome: Outcome,
    pub status: StatusCode,
    pub body: BufList,
    /// Whether this response requires that the server closes the connection after it.
    pub closes: bool,
}

impl From<RequestRejection> for Response {
    fn from(rejection: RequestRejection) -> Self {
        Self {
            outcome: rejection.outcome,
            status: StatusCode::from_u16(rejection.status).unwrap_or(StatusCode::BAD_REQUEST),
            body: Bytes::from_static(rejection.body().as_bytes()).into(),
            closes: rejection.closes,
        }
    }
}

impl Response {
    /// Returns the response to a rejected body.
    pub fn for_rejection(rejection: BodyRejection, policy: &Policy) -> Self {
        let fixed = |body: &'static str| Bytes::from_static(body.as_bytes()).into();
        match rejection {
            BodyRejection::OutOfRange => {
                Self::new(Outcome::OutOfRange, policy.range_error_status, fixed(pixel::VALUE_OUT_OF_RANGE))
            }
            BodyRejection::Invalid(detail) => {
                Self::new(Outcome::Invalid, StatusCode::UNPROCESSABLE_ENTITY, detail.into())
            }
            BodyRejection::Unreadable => {
                Self::new(Outcome::Malformed, StatusCode::BAD_REQUEST, fixed(pixel::UNREADABLE_BODY))
            }
        }
    }

    pub(super) fn new(outcome: Outcome, status: StatusCode, body: BufList) -> Self {
        Self { outcome, status, body, closes: false }
    }

    /// Returns the reason for the log. It is not used for [`Outcome::TimedOut`]: the connection knows which timeout
    /// passed.
    pub fn log_reason(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self.outcome {
            Outcome::Ok => "accepted",
            Outcome::Invalid => match self.first_error() {
                Some(FirstError { kind: "json_invalid", location, .. }) => {
                    let offset = location.trim_start_matches("body.");
                    return format!("the body is not JSON (json_invalid at offset {offset})").into();
                }
                Some(FirstError { location, message, .. }) => {
                    return format!("the body is not a pixel ({location}: {message})").into();
                }
                None => "the body is not a pixel",
            },
            Outcome::OutOfRange => "the value is not from 0 to 255",
            Outcome::Malformed if self.status == StatusCode::HTTP_VERSION_NOT_SUPPORTED => {
                "the major version of HTTP is not 1"
            }
            Outcome::HeadTooLarge if self.status == StatusCode::URI_TOO_LONG => {
                "the request line is over limits.header"
            }
            // Invalid HTTP closes the connection, `BodyRejection::Unreadable` does not.
            Outcome::Malformed if self.closes => {
                "the request is not valid HTTP, or the client stopped sending in the middle of it"
            }
            Outcome::Malformed => {
                "the body is not UTF-8, is nested too deep, or has a number that is too long"
            }
            Outcome::NotFound => "no such path",
            Outcome::MethodNotAllowed => "the method is not POST",
            Outcome::TimedOut => "the request did not arrive in time",
            Outcome::TooLarge => "the body is over limits.body",
            Outcome::UnsupportedMediaType => "the body has a content encoding",
            Outcome::HeadTooLarge => "the header section is over limits.header, or has too many fields",
            Outcome::NotImplemented => "the transfer encoding is not chunked",
            Outcome::Unavailable => "the daemon is drained",
            Outcome::Failed => "internal error of the daemon",
        })
    }

    /// Reads type, location and message of the first error from [`Self::body`]. All that is copied from the request
    /// comes after these, so a client cannot forge them.
    fn first_error(&self) -> Option<FirstError<'_>> {
        // {"detail":[{"type":"missing","loc":["body","x"],"msg":"Field required","input":
        let error = self.body.chunk().strip_prefix(br#"{"detail":[{"type":""#)?;
        let end = error.windows(INPUT_NAME.len()).position(|window| window == INPUT_NAME)?;
        let error = std::str::from_utf8(&error[..end]).ok()?;
        let (kind, error) = error.split_once(r#"","loc":["#)?;
        let (location, message) = error.split_once(r#"],"msg":""#)?;
        Some(FirstError { kind, location: location.replace('"', "").replace(',', "."), message })
    }
}

/// The text between the message of an error and its input. Only the input is copied from the request.
const INPUT_NAME: &[u8] = br#"","input":"#;

/// The first error of an invalid body, such as `missing` at `body.x`.
struct FirstError<'r> {
    kind: &'r str,
    location: String,
    message: &'r str,
}
