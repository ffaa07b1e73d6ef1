//! The short way from a request to its answer. It takes plain requests and answers them, in the
//! worker's own buffers and with one write, exactly as hyper would have. A connection that waits here
//! has no buffers at all.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context as TaskContext, Poll, ready},
};

use bytes::Bytes;
use hyper::StatusCode;
use tokio::{
    io::{AsyncWrite, ReadBuf},
    task::{coop, yield_now},
    time::{Instant, Sleep, sleep},
};

use super::{
    answer::Answer,
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

/// What the connections of a worker use one after the other.
#[derive(Debug)]
pub struct Buffers {
    input: Box<[u8]>,
    output: Vec<u8>,
}

impl Buffers {
    /// As much as is read at once: some hundred requests. Those that are not answered wait in memory
    /// of their own, so more would be a gift to attackers.
    const INPUT: usize = 16 << 10;
    /// When there are so many bytes of answers, they are sent before there are more. What nobody takes
    /// waits in memory of its own, too, and a refusal may be many times as long as its request.
    const OUTPUT: usize = 64 << 10;
}

impl Default for Buffers {
    fn default() -> Self {
        Self { input: vec![0; Self::INPUT].into(), output: Vec::new() }
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
        adoptions: context.adoptions(),
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
    /// The timer is set by the rules that held after so many changes.
    adoptions: usize,
    /// There may be more input than one turn is for.
    has_more: bool,
}

impl Lane<'_> {
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Leaves> {
        self.track.wakes(cx.waker());
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
        let Batch { rest, answers, last } = self.answer_all(input.filled(), output, begun);
        self.has_more |= output.len() >= Buffers::OUTPUT;
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
                self.is_last = last.is_some();
                self.track.begin_sending(begun, answers, self.is_last);
                return Poll::Ready(Ok(()));
            }
            self.track.answered_at_once(begun, answers);
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
    fn answer_all<'i>(&self, input: &'i [u8], output: &mut Vec<u8>, now: Instant) -> Batch<'i> {
        output.clear();
        output.shrink_to(2 * Buffers::OUTPUT);
        let policy = self.context.policy();
        let mut batch = Batch { rest: input, answers: 0, last: None };
        while batch.last.is_none()
            && output.len() < Buffers::OUTPUT
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
            batch.last = request.is_last.then_some(Last::Agreed);
            match judge::guarded(request.body, pixel::judge) {
                Some(Ok(pixel)) => {
                    let length = pixel::accepted_length(&pixel);
                    self.context.heads.write(now, StatusCode::OK, length, request.is_last, output);
                    pixel::write_accepted(&pixel, output);
                    self.context.stats.answered(Outcome::Ok);
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
    fn refuse(&self, request: &PlainRequest<'_>, answer: &Answer, now: Instant, output: &mut Vec<u8>) {
        let is_last = request.is_last || answer.close;
        self.context.heads.write(now, answer.status, answer.body.len(), is_last, output);
        output.extend_from_slice(&answer.body);
        self.context.stats.answered(answer.outcome);
        tell_refusal(self.context, || client(request.real_ip(), self.track), answer);
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
    /// Nothing is answered behind these.
    last: Option<Last>,
}

/// Why an answer is the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// The client has said that it sends nothing more.
    Agreed,
    /// Answering has failed.
    Failed,
}
