//! The short way from a request to its answer. It takes what is plain and asks for an accepted pixel,
//! and answers it, in the worker's own buffers and with one write, exactly as hyper would have. A
//! connection that waits here has no buffers at all.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context as TaskContext, Poll, ready},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncWrite, ReadBuf},
    task::{coop, yield_now},
    time::{Instant, Sleep, sleep},
};

use super::{context::Context, io::Io, judge, plain::PlainRequest, track::Track};
use crate::{pixel, stats::Outcome};

/// Why a connection leaves the short way.
#[derive(Debug)]
pub enum Leaves {
    /// Its next request is not plain, or not whole; the bytes are given back to the [`Io`].
    Odd,
    /// It is idle, and was asked back or has been idle for long enough.
    Idle,
    /// Its last request is answered.
    Last,
    /// The same, and its client, who has said so, has sent nothing behind it.
    Done,
    /// Its client has hung up.
    Ended,
    /// Its client does not take its answers.
    Stuck,
    /// It has broken.
    Failed(io::Error),
}

/// What the connections of a worker use one after the other.
#[derive(Debug)]
pub struct Buffers {
    input: Box<[u8]>,
    output: Vec<u8>,
}

impl Default for Buffers {
    fn default() -> Self {
        /// As much as is read at once: some hundred requests. Those that are not answered wait in memory
        /// of their own, and so do answers that nobody takes, so more would be a gift to attackers.
        const INPUT: usize = 16 << 10;

        Self { input: vec![0; INPUT].into(), output: Vec::new() }
    }
}

/// Serves plain requests until something else is to be done with the connection.
pub async fn run(io: &mut Io, context: &Context, track: &Rc<Track>) -> Leaves {
    let timer = pin!(sleep(context.policy().shortest_timeout()));
    let mut lane = Lane {
        io,
        context,
        track,
        timer,
        unsent: Vec::new(),
        is_last: false,
        is_armed: false,
        has_more: false,
    };
    poll_fn(|cx| lane.poll(cx)).await
}

struct Lane<'c> {
    io: &'c mut Io,
    context: &'c Context,
    track: &'c Rc<Track>,
    timer: Pin<&'c mut Sleep>,
    /// The rest of answers that the socket did not take at once.
    unsent: Vec<u8>,
    /// Nothing is read behind what is answered.
    is_last: bool,
    /// The timer knows whom to wake.
    is_armed: bool,
    /// There may be more input than one turn is for.
    has_more: bool,
}

impl Lane<'_> {
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Leaves> {
        self.track.wake(cx.waker());
        loop {
            let step = if self.unsent.is_empty() { self.poll_requests(cx) } else { self.poll_unsent(cx) };
            match step {
                Poll::Ready(Ok(())) if std::mem::take(&mut self.has_more) => {
                    // Wakes this again, but not before the others' sockets are looked at, too.
                    let _ = pin!(yield_now()).poll(cx);
                    break;
                }
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(leaves)) => return Poll::Ready(leaves),
                Poll::Pending => break,
            }
        }
        // It may have fired while there was something to do as well.
        if self.is_armed && !self.timer.is_elapsed() { Poll::Pending } else { self.poll_timer(cx) }
    }

    /// Reads once and answers every plain request that is there.
    fn poll_requests(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Leaves>> {
        if self.track.recalled().is_some() {
            return Poll::Ready(Err(Leaves::Idle));
        }
        let mut buffers = self.context.buffers.borrow_mut();
        let Buffers { input, output } = &mut *buffers;
        let mut input = ReadBuf::new(input);
        match ready!(self.io.poll_all_input(cx, &mut input)) {
            Ok(()) if input.filled().is_empty() => return Poll::Ready(Err(Leaves::Ended)),
            Ok(()) => {}
            Err(error) => return Poll::Ready(Err(Leaves::Failed(error))),
        }
        // Who goes on sending takes turns with the others.
        self.has_more = input.remaining() == 0;
        let begun = Instant::now();
        let Batch { rest, answers, is_last } = self.answer_all(input.filled(), output, begun);
        self.io.unread(Bytes::copy_from_slice(rest));
        if answers > 0 {
            let sent = match Pin::new(&mut self.io.stream).poll_write(cx, output) {
                Poll::Ready(Ok(sent)) => sent,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Leaves::Failed(error))),
                Poll::Pending => 0,
            };
            self.context.stats.sent(sent);
            if sent < output.len() {
                self.unsent = output[sent..].to_vec();
                self.is_last = is_last;
                self.track.begin_sending(begun, answers, is_last);
                return Poll::Ready(Ok(()));
            }
            self.track.answered_at_once(begun, answers);
        }
        if is_last {
            let is_silent = rest.is_empty() && !self.has_more;
            return Poll::Ready(Err(if is_silent { Leaves::Done } else { Leaves::Last }));
        }
        // What is left of a full buffer may be the begin of a plain request.
        let goes_on = rest.is_empty() || self.has_more && answers > 0;
        Poll::Ready(if goes_on { Ok(()) } else { Err(Leaves::Odd) })
    }

    /// Writes the answers to all requests that are plain and right.
    fn answer_all<'i>(&self, input: &'i [u8], output: &mut Vec<u8>, now: Instant) -> Batch<'i> {
        output.clear();
        let policy = self.context.policy();
        let mut batch = Batch { rest: input, answers: 0, is_last: false };
        while !batch.is_last
            && let Some(request) = PlainRequest::parse(batch.rest, &policy)
        {
            // The last request on a connection says so in its answer, and a drained daemon has
            // another one.
            if self.track.requests() + batch.answers + 1 >= policy.requests_limit
                || self.context.stats.is_drained()
                || self.context.is_retiring()
            {
                break;
            }
            let end = request.body.end;
            // Where this panics, the long way finds out once more, and has an answer for it.
            let decoded = judge::guarded(&batch.rest[request.body], pixel::decode).flatten();
            let Some(Ok(pixel)) = decoded else { break };
            batch.is_last = request.is_last;
            self.context.date.write_head(now, pixel::accepted_length(&pixel), batch.is_last, output);
            pixel::write_accepted(&pixel, output);
            self.context.stats.answered(Outcome::Ok);
            batch.answers += 1;
            batch.rest = &batch.rest[end..];
        }
        batch
    }

    /// Goes on with answers that the socket did not take at once.
    fn poll_unsent(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Leaves>> {
        let sent = match ready!(Pin::new(&mut self.io.stream).poll_write(cx, &self.unsent)) {
            Ok(sent) => sent,
            Err(error) => return Poll::Ready(Err(Leaves::Failed(error))),
        };
        self.context.stats.sent(sent);
        self.unsent.drain(..sent);
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
            self.track.flushed();
            if self.is_last {
                return Poll::Ready(Err(Leaves::Last));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The timer fires at least as often as anything could be over, and only then is looked whether it
    /// is.
    fn poll_timer(&mut self, cx: &mut TaskContext<'_>) -> Poll<Leaves> {
        loop {
            // Without budget it is not told whom to wake, but then this is polled again at once.
            self.is_armed = coop::has_budget_remaining();
            ready!(self.timer.as_mut().poll(cx));
            let (policy, now) = (self.context.policy(), Instant::now());
            let (deadline, leaves) = match self.track.unsent_since() {
                Some(since) => (since + policy.write_timeout, Leaves::Stuck),
                None => (self.track.since() + policy.keep_alive_timeout, Leaves::Idle),
            };
            if deadline <= now {
                return Poll::Ready(leaves);
            }
            self.timer.as_mut().reset(deadline.min(now + policy.shortest_timeout()));
        }
    }
}

/// What became of the requests that one read has brought.
struct Batch<'i> {
    /// What is left of the input.
    rest: &'i [u8],
    answers: usize,
    /// The client sends nothing behind the last one that was answered.
    is_last: bool,
}

/// The head of an answer to an accepted pixel, with the time of day as it is.
#[derive(Debug)]
pub struct Date {
    text: RefCell<String>,
    /// When the next second begins.
    ends: Cell<Instant>,
}

impl Default for Date {
    fn default() -> Self {
        Self { text: RefCell::default(), ends: Cell::new(Instant::now()) }
    }
}

impl Date {
    /// Appends the head of an answer whose body has `length` bytes.
    fn write_head(&self, now: Instant, length: usize, is_last: bool, out: &mut Vec<u8>) {
        if now >= self.ends.get() {
            self.renew(now, SystemTime::now());
        }
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n");
        if is_last {
            out.extend_from_slice(b"connection: close\r\n");
        }
        out.extend_from_slice(b"content-length: ");
        out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        out.extend_from_slice(b"\r\ndate: ");
        out.extend_from_slice(self.text.borrow().as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
    }

    /// Holds until the next second begins, by a clock that nobody sets.
    fn renew(&self, now: Instant, time: SystemTime) {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        *self.text.borrow_mut() = httpdate::fmt_http_date(time);
        self.ends.set(now + Duration::from_secs(1) - Duration::from_nanos(since.subsec_nanos().into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day_follows_a_clock_that_is_set_back_and_forth() {
        let (date, hour) = (Date::default(), Duration::from_secs(3600));
        let (mut now, time) =
            (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_250));
        for (time, text) in [
            (time, "Fri, 15 Jan 2027 08:00:00 GMT"),
            (time - hour, "Fri, 15 Jan 2027 07:00:00 GMT"),
            (time + hour, "Fri, 15 Jan 2027 09:00:00 GMT"),
        ] {
            assert!(now >= date.ends.get(), "the time of before is still told");
            date.renew(now, time);
            assert_eq!(*date.text.borrow(), text);
            now += Duration::from_millis(750);
        }
    }

    #[test]
    fn the_head_has_the_time_of_day() {
        let (date, mut out) = (Date::default(), Vec::new());
        date.write_head(Instant::now(), 68, false, &mut out);
        let text = String::from_utf8(out).unwrap();
        let (begin, rest) = text.split_once("date: ").unwrap();
        assert_eq!(begin, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 68\r\n");
        let told = httpdate::parse_http_date(rest.strip_suffix("\r\n\r\n").unwrap()).unwrap();
        assert!(told.elapsed().unwrap() < Duration::from_secs(5), "{rest}");
    }
}
