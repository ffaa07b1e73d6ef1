//! The short way from a request to its answer. It takes plain requests and answers them, in the
//! worker's own buffers and with one write, exactly as hyper would have. A connection that waits here
//! has no buffers at all.

use std::{
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context as TaskContext, Poll, ready},
};

use bytes::{Buf, Bytes};
use hyper::StatusCode;
use tokio::{
    io::{AsyncWrite, ReadBuf},
    task::{coop, yield_now},
    time::{Instant, Sleep, sleep},
};

use super::{
    answer::Answer,
    buf_list::BufList,
    context::Context,
    io::Io,
    judge,
    plain::PlainRequest,
    service::{client, tell_refusal},
    track::Track,
};
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

/// A response that is sent without hyper, though hyper has read its request: hyper would keep its buffers
/// until the client has taken it.
#[derive(Debug)]
pub struct LongResponse {
    pub bytes: Box<BufList>,
    /// Nothing is read behind it.
    pub is_last: bool,
}

/// What the connections of a worker use one after the other.
#[derive(Debug)]
pub struct Buffers {
    input: Box<[u8]>,
    output: Output,
}

impl Buffers {
    /// As much as is read at once: some hundred requests. Those that are not answered wait in memory
    /// of their own, so more would be a gift to attackers.
    const INPUT: usize = 16 << 10;
    /// When there are so many bytes of responses, they are sent before there are more. What the client
    /// does not take waits in memory of its own, too, and a refusal may be many times as long as its
    /// request. The responses to as many plain requests as are read at once are fewer.
    const OUTPUT: usize = 32 << 10;
    /// A longer body is answered alone, for the same reason.
    const LONG_BODY: usize = 1 << 10;
}

impl Default for Buffers {
    fn default() -> Self {
        Self { input: vec![0; Self::INPUT].into(), output: Output::default() }
    }
}

/// The responses to the requests that one read has brought.
#[derive(Debug, Default)]
struct Output {
    bytes: Vec<u8>,
    /// Long bodies, each with its place in `bytes`. They are sent from where they are.
    long: Vec<(usize, Bytes)>,
}

impl Output {
    /// A body of so many bytes is copied: sending it from where it is would take longer.
    const SHORT: usize = 4 << 10;

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(2 * Buffers::OUTPUT);
        if !self.long.is_empty() {
            self.long.clear();
        }
    }

    fn len(&self) -> usize {
        self.bytes.len() + self.long.iter().map(|(_, piece)| piece.len()).sum::<usize>()
    }

    fn push_body(&mut self, body: &BufList) {
        if body.remaining() <= Self::SHORT {
            self.bytes.extend(body.iter().flatten());
        } else {
            let place = self.bytes.len();
            self.long.extend(body.iter().map(|piece| (place, piece.clone())));
        }
    }

    fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut slices = Vec::with_capacity(2 * self.long.len() + 1);
        self.each_section(|section, _| slices.push(IoSlice::new(section)));
        slices
    }

    /// What is left behind the first `sent` bytes; the short ones are copied, for the next connection uses
    /// the buffer.
    fn rest(&self, sent: usize) -> BufList {
        let (mut rest, mut passed) = (BufList::default(), sent);
        self.each_section(|section, shared| {
            let begin = passed.min(section.len());
            passed -= begin;
            rest.push(match shared {
                Some(piece) => piece.slice(begin..),
                None => Bytes::copy_from_slice(&section[begin..]),
            });
        });
        rest
    }

    /// In the order in which they are sent.
    fn each_section<'o>(&'o self, mut visit: impl FnMut(&'o [u8], Option<&'o Bytes>)) {
        let mut begin = 0;
        for (place, piece) in &self.long {
            if begin < *place {
                visit(&self.bytes[begin..*place], None);
            }
            visit(piece, Some(piece));
            begin = *place;
        }
        visit(&self.bytes[begin..], None);
    }
}

/// Sends the response that hyper had no part in, if there is one, and serves plain requests until
/// something else is to be done with the connection.
pub async fn run(io: &mut Io, context: &Context, track: &Rc<Track>) -> Leaves {
    let timer = pin!(sleep(context.policy().shortest_timeout()));
    let mut lane = Lane {
        io,
        context,
        track,
        timer,
        unsent: None,
        is_last: false,
        is_armed: false,
        adoptions: context.adoptions(),
        has_more: false,
    };
    if let Some(LongResponse { bytes, is_last }) = track.take_long_response() {
        (lane.unsent, lane.is_last) = (Some(bytes), is_last);
    }
    poll_fn(|cx| lane.poll(cx)).await
}

struct Lane<'c> {
    io: &'c mut Io,
    context: &'c Context,
    track: &'c Rc<Track>,
    timer: Pin<&'c mut Sleep>,
    /// The rest of answers that the socket did not take at once.
    unsent: Option<Box<BufList>>,
    /// Nothing is read behind what is answered.
    is_last: bool,
    /// The timer knows whom to wake.
    is_armed: bool,
    /// The timer is set by the rules that held after so many changes.
    adoptions: usize,
    /// There may be more input than one turn is for.
    has_more: bool,
}

impl Lane<'_> {
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Leaves> {
        self.track.wakes(cx.waker());
        loop {
            let step = if self.unsent.is_some() { self.poll_unsent(cx) } else { self.poll_requests(cx) };
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
        if self.adoptions != self.context.adoptions() {
            self.adoptions = self.context.adoptions();
            self.timer.as_mut().reset(Instant::now());
            self.is_armed = false;
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
        let Batch { rest, answers, last, is_full } = self.answer_all(input.filled(), output, begun);
        self.has_more |= is_full;
        self.io.unread(Bytes::copy_from_slice(rest));
        if answers > 0 {
            let stream = Pin::new(&mut self.io.stream);
            let result = if output.long.is_empty() {
                stream.poll_write(cx, &output.bytes)
            } else {
                stream.poll_write_vectored(cx, &output.slices())
            };
            let sent = match result {
                Poll::Ready(Ok(sent)) => sent,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Leaves::Failed(error))),
                Poll::Pending => 0,
            };
            self.context.stats.sent(sent);
            if sent < output.len() {
                let mut rest = output.rest(sent);
                rest.shrink();
                self.unsent = Some(rest.into());
                output.clear();
                self.is_last = last.is_some();
                self.track.begin_sending(begun, answers, self.is_last);
                return Poll::Ready(Ok(()));
            }
            self.track.answered_at_once(begun, answers);
            if !output.long.is_empty() {
                output.long.clear();
            }
        }
        if let Some(last) = last {
            let is_silent = last == Last::Agreed && !self.io.has_unread() && !self.has_more;
            return Poll::Ready(Err(if is_silent { Leaves::Done } else { Leaves::Last }));
        }
        // What is left of a full buffer may be the begin of a plain request.
        let goes_on = !self.io.has_unread() || self.has_more && answers > 0;
        Poll::Ready(if goes_on { Ok(()) } else { Err(Leaves::Odd) })
    }

    /// Writes the answers to all requests that are plain, or to as many as are sent at once.
    fn answer_all<'i>(&self, input: &'i [u8], output: &mut Output, now: Instant) -> Batch<'i> {
        output.clear();
        let policy = self.context.policy();
        let mut batch = Batch { rest: input, answers: 0, last: None, is_full: false };
        while batch.last.is_none()
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
            let is_long = request.body.len() > Buffers::LONG_BODY;
            if batch.answers > 0 && (is_long || output.len() >= Buffers::OUTPUT) {
                batch.is_full = true;
                break;
            }
            batch.last = request.is_last.then_some(Last::Agreed);
            match judge::guarded(request.body, pixel::parse) {
                Some(Ok(pixel)) => {
                    let length = pixel::accepted_len(&pixel);
                    self.context.heads.write(now, StatusCode::OK, length, request.is_last, &mut output.bytes);
                    pixel::write_accepted(&pixel, &mut output.bytes);
                    self.context.stats.record_outcome(Outcome::Ok);
                }
                Some(Err(refusal)) => {
                    self.refuse(&request, &Answer::to_refused(refusal, &policy), now, output);
                }
                None => {
                    batch.last = Some(Last::Failed);
                    self.refuse(&request, &Answer::refusal(Outcome::Failed).and_close(), now, output);
                }
            }
            batch.answers += 1;
            batch.rest = request.rest;
        }
        batch
    }

    /// Writes the answer to a request that is plain and wrong.
    #[cold]
    fn refuse(&self, request: &PlainRequest<'_>, answer: &Answer, now: Instant, output: &mut Output) {
        let is_last = request.is_last || answer.close;
        self.context.heads.write(now, answer.status, answer.body.remaining(), is_last, &mut output.bytes);
        output.push_body(&answer.body);
        self.context.stats.record_outcome(answer.outcome);
        tell_refusal(self.context, || client(request.real_ip(), self.track), answer);
    }

    /// Goes on with answers that the socket did not take at once.
    fn poll_unsent(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Leaves>> {
        const MOST_SLICES: usize = 64;
        let mut slices = [IoSlice::new(&[]); MOST_SLICES];
        let Some(unsent) = &mut self.unsent else { return Poll::Ready(Ok(())) };
        let filled = unsent.chunks_vectored(&mut slices);
        let stream = Pin::new(&mut self.io.stream);
        let sent = match ready!(stream.poll_write_vectored(cx, &slices[..filled])) {
            Ok(sent) => sent,
            Err(error) => return Poll::Ready(Err(Leaves::Failed(error))),
        };
        self.context.stats.sent(sent);
        unsent.advance(sent);
        if unsent.has_remaining() {
            unsent.shrink();
            return Poll::Ready(Ok(()));
        }
        self.unsent = None;
        self.track.flushed();
        Poll::Ready(match self.is_last {
            true => Err(Leaves::Last),
            false if !self.context.express => Err(Leaves::Idle),
            false => Ok(()),
        })
    }

    /// The timer fires at least as often as anything could be over, and only then is looked whether it
    /// is.
    fn poll_timer(&mut self, cx: &mut TaskContext<'_>) -> Poll<Leaves> {
        loop {
            // Without budget it is not told whom to wake, but then this is polled again at once.
            self.is_armed = coop::has_budget_remaining();
            ready!(self.timer.as_mut().poll(cx));
            let (policy, now) = (self.context.policy(), Instant::now());
            let since = self.track.since();
            let (mut deadline, leaves) = match self.track.unsent_since() {
                Some(since) => (since + policy.write_timeout, Leaves::Stuck),
                None => (since + policy.keep_alive_timeout, Leaves::Idle),
            };
            let is_late = |deadline| deadline <= now;
            // What it has written may be in the kernel still, which is asked only when it matters.
            let write_deadline = since + policy.write_timeout;
            if self.track.unsent_since().is_none()
                && (is_late(write_deadline) || is_late(deadline))
                && self.track.requests() > 0
                && !self.io.stream.is_send_queue_empty()
            {
                if is_late(write_deadline) {
                    return Poll::Ready(Leaves::Stuck);
                }
                deadline = write_deadline;
            }
            if is_late(deadline) {
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
    /// Nothing is answered behind these.
    last: Option<Last>,
    /// Another request is there, and is answered when these are sent.
    is_full: bool,
}

/// Why an answer is the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// The client has said that it sends nothing more.
    Agreed,
    /// Answering has failed.
    Failed,
}
