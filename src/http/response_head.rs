use std::{
    cell::{Cell, RefCell},
    time::{Duration, SystemTime},
};

use bytes::Buf;
use tokio::time::Instant;

use super::{request_head::Version, response::Response};
use crate::stats::Outcome;

/// Writes the heads of responses. Formats the `date` field (RFC 9110 §6.6.1) once a second.
///
/// The argument `is_last` of the methods is true if the server closes the connection after the response, because of
/// [`Response::closes`] or for another reason. The field `connection` depends on it and on the version.
#[derive(Debug)]
pub struct HeadWriter {
    /// For each [`Self::variant`], the head of the response to an accepted request, up to `content-length: `.
    accepted: RefCell<[Vec<u8>; 4]>,
    /// The part that all responses have: from the CRLF before `content-type` up to `content-length: `.
    common: RefCell<[Vec<u8>; 4]>,
    /// When the date in both is no longer right.
    expires: Cell<Instant>,
}

impl Default for HeadWriter {
    fn default() -> Self {
        Self { accepted: RefCell::default(), common: RefCell::default(), expires: Cell::new(Instant::now()) }
    }
}

impl HeadWriter {
    /// Appends the head of the response to an accepted request, faster than [`Self::write`]. `length` is that of the
    /// body.
    pub fn write_accepted(
        &self,
        now: Instant,
        length: usize,
        version: Version,
        is_last: bool,
        out: &mut Vec<u8>,
    ) {
        self.refresh_if_expired(now);
        out.extend_from_slice(&self.accepted.borrow()[Self::variant(version, is_last)]);
        Self::write_length(length, out);
    }

    /// Appends the head of a response.
    pub fn write(
        &self,
        now: Instant,
        response: &Response,
        version: Version,
        is_last: bool,
        out: &mut Vec<u8>,
    ) {
        self.refresh_if_expired(now);
        let protocol = if version == Version::Http10 { "HTTP/1.0" } else { "HTTP/1.1" };
        let field = match response.outcome {
            Outcome::MethodNotAllowed => "\r\nallow: POST",
            // For clients. nginx ignores it, and sends the request to another host at once.
            Outcome::Unavailable => "\r\nretry-after: 1",
            _ => "",
        };
        let reason = response.status.canonical_reason().unwrap_or_default();
        for part in [protocol, " ", response.status.as_str(), " ", reason, field] {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(&self.common.borrow()[Self::variant(version, is_last)]);
        Self::write_length(response.body.remaining(), out);
    }

    /// Returns the index in `accepted` and `common`.
    fn variant(version: Version, is_last: bool) -> usize {
        2 * usize::from(version == Version::Http10) + usize::from(is_last)
    }

    fn write_length(length: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
    }

    fn refresh_if_expired(&self, now: Instant) {
        if now >= self.expires.get() {
            self.refresh(now, SystemTime::now());
        }
    }

    /// Writes all variants with a new date, which expires by the monotonic clock. If the system clock is set, the date
    /// is therefore wrong for at most one second.
    #[cold]
    fn refresh(&self, now: Instant, time: SystemTime) {
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let date = date(time);
        let (mut accepted, mut common) = (self.accepted.borrow_mut(), self.common.borrow_mut());
        // The default of `connection` depends on the version (RFC 9112 §9.3).
        for (version, is_last, start, connection) in [
            (Version::Http11, false, "HTTP/1.1 200 OK", ""),
            (Version::Http11, true, "HTTP/1.1 200 OK", "connection: close\r\n"),
            (Version::Http10, false, "HTTP/1.0 200 OK", "connection: keep-alive\r\n"),
            (Version::Http10, true, "HTTP/1.0 200 OK", ""),
        ] {
            let fields =
                format!("\r\ncontent-type: application/json\r\ndate: {date}\r\n{connection}content-length: ");
            let variant = Self::variant(version, is_last);
            accepted[variant] = [start, &fields].concat().into();
            common[variant] = fields.into();
        }
        // Until the next second of the system clock begins.
        self.expires
            .set(now + Duration::from_secs(1) - Duration::from_nanos(since_epoch.subsec_nanos().into()));
    }
}

/// Returns the value of a `date` field. A time before 1970 becomes the beginning of 1970. A time after 9999 becomes the
/// end of 9999, because the year has four digits (RFC 9110 §5.6.7).
fn date(time: SystemTime) -> String {
    /// From 1970 to 9999-12-31 23:59:59.
    const MAX: Duration = Duration::from_secs(253_402_300_799);

    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().min(MAX);
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since_epoch)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::StatusCode;

    use super::*;
    use crate::http::request_head::RequestRejection;

    #[test]
    fn date_outside_1970_to_9999_is_the_nearest_inside() {
        let (epoch, ten_thousand_years) =
            (SystemTime::UNIX_EPOCH, Duration::from_secs(10_000 * 366 * 86_400));
        assert_eq!(date(epoch + ten_thousand_years), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(date(epoch - ten_thousand_years), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn date_follows_a_clock_that_is_set_back_and_forth() {
        let (heads, hour) = (HeadWriter::default(), Duration::from_secs(3600));
        // A quarter of a second after 08:00:00, so that the next second begins after three quarters.
        let (mut now, time) =
            (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_250));
        for (time, text) in [
            (time, "Fri, 15 Jan 2027 08:00:00 GMT"),
            (time - hour, "Fri, 15 Jan 2027 07:00:00 GMT"),
            (time + hour, "Fri, 15 Jan 2027 09:00:00 GMT"),
        ] {
            assert!(now >= heads.expires.get(), "the previous date is still in effect");
            heads.refresh(now, time);
            assert!(String::from_utf8_lossy(&heads.accepted.borrow()[0]).contains(text));
            now += Duration::from_millis(750);
        }
    }

    #[test]
    fn accepted_head_equals_that_of_write() {
        let (heads, now) = (HeadWriter::default(), Instant::now());
        for version in [Version::Http10, Version::Http11] {
            for is_last in [false, true] {
                let body = Bytes::from_static(b"{}").into();
                let (mut accepted, mut any) = (Vec::new(), Vec::new());
                heads.write_accepted(now, 2, version, is_last, &mut accepted);
                let response = Response::new(Outcome::Ok, StatusCode::OK, body);
                heads.write(now, &response, version, is_last, &mut any);
                assert_eq!(accepted, any);
            }
        }
    }

    #[test]
    fn head_has_the_date_and_the_length() {
        let (heads, mut out) = (HeadWriter::default(), Vec::new());
        heads.write_accepted(Instant::now(), 68, Version::Http11, false, &mut out);
        let text = String::from_utf8(out).unwrap();
        let (begin, rest) = text.split_once("date: ").unwrap();
        assert_eq!(begin, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n");
        let date = rest.strip_suffix("\r\ncontent-length: 68\r\n\r\n").unwrap();
        let date = httpdate::parse_http_date(date).unwrap();
        assert!(date.elapsed().unwrap() < Duration::from_secs(5), "{rest}");
    }

    #[test]
    fn head_of_last_response_closes_the_connection() {
        let heads = HeadWriter::default();
        let head = |version, is_last| {
            let (mut out, response) = (Vec::new(), Response::from(RequestRejection::FAILED));
            heads.write(Instant::now(), &response, version, is_last, &mut out);
            String::from_utf8(out).unwrap()
        };
        let closes = head(Version::Http11, true);
        assert!(closes.starts_with("HTTP/1.1 500 Internal Server Error\r\n"), "{closes}");
        assert!(closes.contains("\r\nconnection: close\r\ncontent-length: 34\r\n\r\n"), "{closes}");
        assert!(head(Version::Http10, false).contains("\r\nconnection: keep-alive\r\n"));
        for (version, is_last) in [(Version::Http11, false), (Version::Http10, true)] {
            assert!(!head(version, is_last).contains("connection"), "{version:?}");
        }
    }
}
