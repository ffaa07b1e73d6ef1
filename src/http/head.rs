use std::{
    cell::{Cell, RefCell},
    time::{Duration, SystemTime},
};

use hyper::StatusCode;
use tokio::time::Instant;

/// Writes the heads of answers, with the time of day as it is (RFC 9110 §6.6.1).
#[derive(Debug)]
pub struct Heads {
    date: RefCell<String>,
    /// When the next second begins.
    ends: Cell<Instant>,
}

impl Default for Heads {
    fn default() -> Self {
        Self { date: RefCell::default(), ends: Cell::new(Instant::now()) }
    }
}

impl Heads {
    /// Appends the head of an answer whose body has `length` bytes.
    pub fn write(&self, now: Instant, status: StatusCode, length: usize, is_last: bool, out: &mut Vec<u8>) {
        if now >= self.ends.get() {
            self.renew(now, SystemTime::now());
        }
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(status.as_str().as_bytes());
        out.extend_from_slice(b" ");
        out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        out.extend_from_slice(b"\r\ncontent-type: application/json\r\n");
        if is_last {
            out.extend_from_slice(b"connection: close\r\n");
        }
        out.extend_from_slice(b"content-length: ");
        out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        out.extend_from_slice(b"\r\ndate: ");
        out.extend_from_slice(self.date.borrow().as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
    }

    /// Holds until the next second begins, by a clock that nobody sets.
    fn renew(&self, now: Instant, time: SystemTime) {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        *self.date.borrow_mut() = date(time);
        self.ends.set(now + Duration::from_secs(1) - Duration::from_nanos(since.subsec_nanos().into()));
    }
}

/// The value of a Date field, which has a year of four digits (RFC 9110 section 5.6.7). A clock beyond that,
/// or before 1970, shows the nearest date that has one.
pub fn date(time: SystemTime) -> String {
    /// 9999-12-31 23:59:59
    const LAST: Duration = Duration::from_secs(253_402_300_799);

    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().min(LAST);
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_outside_four_digit_years_is_the_nearest_inside() {
        let (epoch, far) = (SystemTime::UNIX_EPOCH, Duration::from_secs(1 << 40));
        assert_eq!(date(epoch + far), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(date(epoch - far), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn the_time_of_day_follows_a_clock_that_is_set_back_and_forth() {
        let (heads, hour) = (Heads::default(), Duration::from_secs(3600));
        let (mut now, time) =
            (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_250));
        for (time, text) in [
            (time, "Fri, 15 Jan 2027 08:00:00 GMT"),
            (time - hour, "Fri, 15 Jan 2027 07:00:00 GMT"),
            (time + hour, "Fri, 15 Jan 2027 09:00:00 GMT"),
        ] {
            assert!(now >= heads.ends.get(), "the time of before is still told");
            heads.renew(now, time);
            assert_eq!(*heads.date.borrow(), text);
            now += Duration::from_millis(750);
        }
    }

    #[test]
    fn the_head_has_the_time_of_day() {
        let (heads, mut out) = (Heads::default(), Vec::new());
        heads.write(Instant::now(), StatusCode::OK, 68, false, &mut out);
        let text = String::from_utf8(out).unwrap();
        let (begin, rest) = text.split_once("date: ").unwrap();
        assert_eq!(begin, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 68\r\n");
        let told = httpdate::parse_http_date(rest.strip_suffix("\r\n\r\n").unwrap()).unwrap();
        assert!(told.elapsed().unwrap() < Duration::from_secs(5), "{rest}");
    }
}
