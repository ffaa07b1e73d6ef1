//! The fast path: reads requests into the buffer of the worker, parses each one there, and sends the responses
//! to all of them with one write.
//!
//! A request whose body is not complete goes to the body decoder ([`NextStep::ReceiveBody`]), and its response
//! is written with [`FastPath::respond`]. So all responses are sent here, except the 408 of an evicted connection.
//!
//! The order of one turn is: send the rest of earlier responses, read once, respond to each complete request. A
//! turn handles the input of one read, so that a client that sends without pause does not keep others waiting.

use std::{
    future::Future,
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use tokio::{task, time::Instant};

use super::{
    body_decoder::ReceivedBody,
    buffers::{Buffers, Output, poll_send_pieces},
    connection_state::{ConnectionState, NextStep, Phase},
    detached_connection::DetachedConnection,
    phase_timer::PhaseTimer,
    registry::Registration,
    worker_context::WorkerContext,
    yield_now::LastCheck,
};
use crate::{
    http::{
        BufList, Response,
        request_head::{
            Framing, HeadParser, Parsed, RequestHead, RequestRejection, Version, skip_empty_lines,
        },
    },
    net::Stream,
    pixel,
    stats::Outcome,
};

/// A request with a longer body begins a new batch, because its response may be many times as long.
const LONG_BODY: usize = 1 << 10;

/// The fast path of one connection.
pub struct FastPath {
    pub stream: Stream,
    /// The bytes that were read and not handled yet.
    pub unread: Vec<u8>,
    pub context: Rc<WorkerContext>,
    pub state: Rc<ConnectionState>,
    /// `None` while the first requests of a new connection are handled.
    pub registration: Option<Registration>,
    /// The parser of the incomplete header section in `unread`.
    parser: Option<Box<HeadParser>>,
    /// Whether `unread` has been parsed, so that more input is needed.
    is_parsed: bool,
    /// The rest of the responses, if the socket did not take all of them at once.
    unsent: Option<Box<BufList>>,
    /// Set if these responses are the last ones.
    last: Option<Last>,
    /// Whether there may be more input than one turn handles.
    has_more: bool,
    last_check: LastCheck,
}

/// Whether input may follow the request of the last response. It would cause a reset if the socket closed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// No: the client asked to close the connection, and has sent nothing after that request.
    Agreed,
    /// Yes: the server ends the connection, or the client has already sent more.
    Announced,
}

impl From<Last> for NextStep {
    fn from(last: Last) -> Self {
        match last {
            Last::Agreed => Self::Close,
            Last::Announced => Self::Linger,
        }
    }
}

/// The result of handling the requests of one read.
struct Batch<'i> {
    /// The input that was not handled.
    rest: &'i [u8],
    responses: usize,
    /// Set if these responses are the last ones.
    last: Option<Last>,
    end: BatchEnd,
}

/// The reason why the rest of the input was not handled.
enum BatchEnd {
    /// The rest is empty, or an incomplete header section.
    Incomplete,
    /// The next request is handled after the responses of this batch are sent.
    Later,
    /// The body of the next request is incomplete.
    Body(Box<RequestHead>),
}

/// `Err` has the step that follows the fast path.
type PollStep = Poll<Result<(), NextStep>>;

impl FastPath {
    pub fn new(
        stream: Stream,
        unread: Vec<u8>,
        context: Rc<WorkerContext>,
        state: Rc<ConnectionState>,
    ) -> Self {
        Self {
            is_parsed: unread.is_empty(),
            stream,
            unread,
            context,
            state,
            registration: None,
            parser: None,
            unsent: None,
            last: None,
            has_more: false,
            last_check: LastCheck::default(),
        }
    }

    /// Handles requests until another step must follow.
    pub fn poll(&mut self, cx: &mut Context<'_>, timer: &mut PhaseTimer<'_>) -> Poll<NextStep> {
        self.state.set_waker(cx.waker());
        loop {
            let step = if self.unsent.is_some() { self.poll_unsent(cx) } else { self.poll_requests(cx) };
            match step {
                Poll::Ready(Ok(())) if std::mem::take(&mut self.has_more) => {
                    // Wakes this task again after epoll has been polled, so that others proceed first.
                    let _ = pin!(task::yield_now()).poll(cx);
                    break;
                }
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(next)) => return Poll::Ready(next),
                Poll::Pending => break,
            }
        }
        loop {
            let is_send_queue_empty = || self.stream.is_send_queue_empty();
            match ready!(timer.poll(cx, &self.context, &self.state, is_send_queue_empty)) {
                Phase::Response | Phase::Linger => return Poll::Ready(NextStep::WriteTimeout),
                // A request that has just arrived gets a response, though it is late.
                Phase::Idle if self.stream.has_input() => {
                    timer.reset(Instant::now() + self.context.policy().shortest_timeout());
                }
                Phase::Idle => return Poll::Ready(NextStep::Linger),
                Phase::Header | Phase::Body => {
                    self.reject_incomplete(RequestRejection::TIMED_OUT);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }

    /// Reads once unless unparsed input is left, and responds to each complete request.
    pub fn poll_requests(&mut self, cx: &mut Context<'_>) -> PollStep {
        let context = self.context.clone();
        if self.state.is_to_detach() && !self.state.stays() {
            if self.unread.len() <= DetachedConnection::MAX_UNREAD {
                return Poll::Ready(Err(NextStep::Detach));
            }
            self.state.bind_here();
        }
        let mut buffers = context.buffers.borrow_mut();
        let Buffers { input, output } = &mut *buffers;
        let mut received = 0;
        if self.is_parsed {
            received = match self.stream.poll_receive(cx, input) {
                Poll::Pending => return self.poll_asked(cx),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(NextStep::Log(error))),
                Poll::Ready(Ok(0)) => {
                    drop(buffers);
                    return self.end_input();
                }
                Poll::Ready(Ok(received)) => received,
            };
            context.stats.received(received);
            // If the buffer is full, there may be more input. Other connections proceed before it is read.
            self.has_more = received == input.len();
        }
        let input = &input[..received];
        let now = Instant::now();
        let begun = if self.state.phase() == Phase::Idle { now } else { self.state.begun() };
        let mut unread = Vec::new();
        let input = if self.unread.is_empty() {
            input
        } else {
            unread = std::mem::take(&mut self.unread);
            unread.extend_from_slice(input);
            &unread
        };
        let Batch { rest, responses, last, end } = self.respond_to_all(input, output, now);
        let is_silent = rest.is_empty() && !self.has_more;
        self.is_parsed = matches!(end, BatchEnd::Incomplete);
        self.has_more |= matches!(end, BatchEnd::Later);
        if last.is_none() && !rest.is_empty() {
            let handled = input.len() - rest.len();
            if unread.is_empty() {
                unread = rest.to_vec();
            } else {
                unread.drain(..handled);
            }
            self.unread = unread;
        }
        self.last = last.map(|last| if is_silent { last } else { Last::Announced });
        if responses > 0 {
            let sent = match output.poll_send(&mut self.stream, cx) {
                Poll::Ready(Ok(sent)) => sent,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(NextStep::Log(error))),
                Poll::Pending => 0,
            };
            context.stats.sent(sent);
            if sent < output.len() {
                self.unsent = Some(output.take_rest(sent).into());
                // The unread input is parsed again after the unsent responses are sent.
                self.is_parsed = self.is_parsed && self.unread.is_empty();
                self.parser = None;
                self.state.begin_response(begun, responses);
                return Poll::Ready(Ok(()));
            }
            self.state.responded(begun, responses);
        }
        if let Some(last) = self.last {
            return Poll::Ready(Err(last.into()));
        }
        self.record_unread(now);
        match end {
            BatchEnd::Body(head) => Poll::Ready(Err(NextStep::ReceiveBody(head))),
            BatchEnd::Incomplete | BatchEnd::Later => Poll::Ready(Ok(())),
        }
    }

    /// Appends the responses to complete requests to `output`, up to the limit of a batch.
    fn respond_to_all<'i>(&mut self, input: &'i [u8], output: &mut Output, now: Instant) -> Batch<'i> {
        output.clear();
        let (is_drained, policy) = (self.context.stats.is_drained(), self.context.policy());
        let is_to_close = self.context.closes_after_response() || self.state.is_to_close();
        let mut batch = Batch { rest: input, responses: 0, last: None, end: BatchEnd::Incomplete };
        while batch.last.is_none() && !batch.rest.is_empty() {
            if output.is_full() {
                batch.end = BatchEnd::Later;
                break;
            }
            let mut new_parser = HeadParser::default();
            let parser = self.parser.as_deref_mut().unwrap_or(&mut new_parser);
            if !parser.has_request_line() {
                let skipped = skip_empty_lines(batch.rest);
                if skipped > 0 {
                    (batch.rest, *parser) = (&batch.rest[skipped..], HeadParser::default());
                }
                if batch.rest.is_empty() {
                    self.parser = None;
                    break;
                }
            }
            let parsed = parser.parse(batch.rest, &policy, is_drained);
            // Borrowed, because a move would copy it.
            let head = match &parsed {
                Parsed::Complete(head) => head,
                Parsed::Incomplete => {
                    self.parser.get_or_insert_with(|| Box::new(new_parser));
                    break;
                }
                Parsed::Invalid(rejection) => {
                    self.write((*rejection).into(), None, None, true, now, output);
                    (batch.responses, batch.last) = (batch.responses + 1, Some(Last::Announced));
                    break;
                }
            };
            let rejection_closes = head.rejection.is_some_and(|rejection| rejection.closes);
            let body = match head.framing {
                _ if rejection_closes => Some((&b""[..], &b""[..])),
                Framing::Length(length) => batch.rest[head.length..].split_at_checked(length),
                Framing::Chunked => None,
            };
            let Some((body, rest)) = body else {
                self.parser = None;
                batch.end = BatchEnd::Body(head.clone().into());
                break;
            };
            if batch.responses > 0 && body.len() > LONG_BODY {
                batch.end = BatchEnd::Later;
                break;
            }
            self.parser = None;
            let is_last = rejection_closes
                || head.asks_to_close
                || is_to_close
                || self.state.requests() + batch.responses + 1 >= policy.requests_limit;
            let rejected = match head.rejection {
                Some(rejection) => Some(rejection.into()),
                None => self.accept(head, body, is_last, now, output).err(),
            };
            let response_closes = rejected.as_ref().is_some_and(|response| response.closes);
            if is_last || response_closes {
                let is_agreed = head.asks_to_close && !response_closes;
                batch.last = Some(if is_agreed { Last::Agreed } else { Last::Announced });
            }
            if let Some(response) = rejected {
                let real_ip = head.real_ip(batch.rest);
                self.write(response, Some(head), real_ip, batch.last.is_some(), now, output);
            }
            batch.responses += 1;
            batch.rest = rest;
        }
        batch
    }

    /// Appends the response to `output` if the body is a pixel. Returns any other response.
    fn accept(
        &self,
        head: &RequestHead,
        body: &[u8],
        is_last: bool,
        now: Instant,
        output: &mut Output,
    ) -> Result<(), Response> {
        let begin = output.bytes.len();
        let accept = || {
            if !head.is_json {
                return Err(pixel::reject_text(body));
            }
            let pixel = (self.context.parse)(body)?;
            let length = pixel::accepted_len(&pixel);
            self.context.heads.write_accepted(now, length, head.version, is_last, &mut output.bytes);
            pixel::write_accepted(&pixel, &mut output.bytes);
            Ok(())
        };
        // A bug fails only this request, not the daemon. The panic hook logs the message.
        match catch_unwind(AssertUnwindSafe(accept)) {
            Ok(Ok(())) => {
                self.context.stats.record_outcome(Outcome::Ok);
                Ok(())
            }
            Ok(Err(rejection)) => Err(Response::for_rejection(rejection, &self.context.policy())),
            Err(_) => {
                output.bytes.truncate(begin);
                Err(RequestRejection::FAILED.into())
            }
        }
    }

    /// Appends a response to `output`, and counts and logs it. `head` is that of the request if it is complete.
    fn write(
        &self,
        response: Response,
        head: Option<&RequestHead>,
        real_ip: Option<IpAddr>,
        is_last: bool,
        now: Instant,
        output: &mut Output,
    ) {
        let is_first = output.bytes.is_empty();
        let version = head.map_or(Version::Http11, |head| head.version);
        self.context.heads.write(now, &response, version, is_last, &mut output.bytes);
        self.context.count(&response, &self.state, real_ip);
        if !head.is_some_and(|head| head.method_is_head) {
            output.push_body(response.body, is_first);
        }
    }

    /// Queues the response to a request whose body the body decoder has received.
    pub fn respond(&mut self, head: &RequestHead, received: &ReceivedBody, real_ip: Option<IpAddr>) {
        let context = self.context.clone();
        let (policy, now) = (context.policy(), Instant::now());
        let output = &mut context.buffers.borrow_mut().output;
        output.clear();
        let mut is_last = received.closes
            || head.asks_to_close
            || context.closes_after_response()
            || self.state.is_to_close()
            || self.state.requests() + 1 >= policy.requests_limit;
        let rejected = match &received.body {
            Ok(body) => self.accept(head, body, is_last, now, output).err(),
            Err(rejection) => Some((*rejection).into()),
        };
        if let Some(response) = rejected {
            is_last |= response.closes;
            self.write(response, Some(head), real_ip, is_last, now, output);
        }
        self.queue(output, is_last);
    }

    /// Queues the last response, to a request that stays incomplete.
    fn reject_incomplete(&mut self, rejection: RequestRejection) {
        let context = self.context.clone();
        let output = &mut context.buffers.borrow_mut().output;
        output.clear();
        self.unread = Vec::new();
        self.write(rejection.into(), None, None, true, Instant::now(), output);
        self.queue(output, true);
    }

    /// Queues one response.
    fn queue(&mut self, output: &mut Output, is_last: bool) {
        self.unsent = Some(output.take_rest(0).into());
        self.last = is_last.then_some(Last::Announced);
        self.is_parsed = self.unread.is_empty();
        self.state.begin_response(self.state.begun(), 1);
    }

    /// Closes the connection if the worker asked for that. Called if there is no input at present.
    fn poll_asked(&mut self, cx: &mut Context<'_>) -> PollStep {
        if !self.state.is_to_close() {
            return Poll::Pending;
        }
        match self.state.phase() {
            // A request that has just arrived gets the last response.
            Phase::Idle if !self.stream.has_input() => Poll::Ready(Err(NextStep::Close)),
            Phase::Header if self.state.is_evicted() => {
                ready!(self.last_check.poll(cx));
                Poll::Ready(Err(NextStep::Evict))
            }
            _ => Poll::Pending,
        }
    }

    /// Handles the end of the input.
    fn end_input(&mut self) -> PollStep {
        if !self.has_request() {
            return Poll::Ready(Err(NextStep::Close));
        }
        self.reject_incomplete(RequestRejection::MALFORMED);
        Poll::Ready(Ok(()))
    }

    /// Records whether the unread bytes, which arrived at `begun`, are the beginning of a request.
    fn record_unread(&self, begun: Instant) {
        if self.has_request() && self.state.phase() == Phase::Idle {
            self.state.begin_request(begun);
        }
    }

    /// Whether the unread bytes are the beginning of a request. A lone CR may belong to an empty line.
    fn has_request(&self) -> bool {
        !matches!(self.unread[..], [] | [b'\r'])
    }

    /// Sends more of the responses that the socket did not take at once.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> PollStep {
        let Some(unsent) = &mut self.unsent else { return Poll::Ready(Ok(())) };
        let sent = match ready!(poll_send_pieces(&mut self.stream, cx, &[], unsent)) {
            Ok(sent) => sent,
            Err(error) => return Poll::Ready(Err(NextStep::Log(error))),
        };
        self.context.stats.sent(sent);
        unsent.advance(sent);
        if unsent.has_remaining() {
            unsent.shrink();
            return Poll::Ready(Ok(()));
        }
        self.unsent = None;
        self.state.end_response();
        if let Some(last) = self.last {
            return Poll::Ready(Err(last.into()));
        }
        self.record_unread(Instant::now());
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
