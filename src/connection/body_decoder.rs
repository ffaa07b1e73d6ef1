//! Receives a body that is chunked, late, or announced with `Expect: 100-continue`. hyper decodes it.
//!
//! hyper does not get the client's own header section, but a minimal one that says only how to decode the body.
//! The service takes the body and never responds, because after a response hyper would read the next request. The
//! path of the bytes:
//!
//! ```text
//! socket ──► Source ──► hyper ──► BodyBuffer ──► ReceivedBody
//!              │
//!              └─ Tap: the bytes as they came, for a handoff; limits; the bytes that follow the body
//! ```

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::{Future, pending, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{
    Request, Response as HyperResponse,
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::sleep,
};

use super::{
    connection_state::{ConnectionRequest, ConnectionState, NextStep},
    detached_connection::DetachedConnection,
    phase_timer::PhaseTimer,
    worker_context::WorkerContext,
    yield_now::LastCheck,
};
use crate::{
    http::{
        Policy,
        request_head::{Framing, RequestHead, RequestRejection},
    },
    net::Stream,
};

/// A body that was received, or the reason for its rejection.
pub struct ReceivedBody {
    pub body: Result<Vec<u8>, RequestRejection>,
    /// Whether no further request is read.
    pub closes: bool,
}

/// Receives the body of the request at the start of the unread bytes. Afterwards these begin with the next request.
pub async fn receive(
    stream: &mut Stream,
    unread: &mut Vec<u8>,
    head: &RequestHead,
    context: &WorkerContext,
    state: &ConnectionState,
) -> Result<ReceivedBody, NextStep> {
    let policy = context.policy().clone();
    let tap = Tap::new(std::mem::take(unread), head, &policy);
    let source = Source { stream, context, tap: &tap, head: head.for_hyper().into() };
    let incoming = Cell::new(None);
    let service = service_fn(|request: Request<Incoming>| {
        incoming.set(Some(request.into_body()));
        // A response would make hyper read the next request.
        pending::<Result<HyperResponse<Empty<Bytes>>, Infallible>>()
    });
    let mut http = http1::Builder::new()
        .half_close(true)
        .max_header_size(policy.head_limit)
        .max_buf_size(policy.head_limit.max(policy.body_limit))
        .serve_connection(TokioIo::new(source), service);
    let sleep = pin!(sleep(policy.shortest_timeout()));
    let mut timer = PhaseTimer::new(sleep, context);
    let (mut last_check, mut is_broken) = (LastCheck::default(), false);
    let mut body = BodyBuffer::new(head.rejection.is_none(), &policy);

    state.begin_body();
    let end = poll_fn(|cx| {
        state.set_waker(cx.waker());
        loop {
            // hyper ends before its service has responded only if the socket or the framing fails.
            is_broken = is_broken || Pin::new(&mut http).poll(cx).is_ready();
            body.incoming = body.incoming.take().or_else(|| incoming.take());
            let length = body.length;
            match body.poll(cx, &tap) {
                Poll::Ready(Ok(())) if tap.is_flushed.get() => return Poll::Ready(Ok(())),
                Poll::Ready(Err(rejection)) => return Poll::Ready(Err(BodyError::Rejected(rejection))),
                Poll::Pending if body.length > length => {}
                _ if is_broken => {
                    return Poll::Ready(Err(BodyError::Rejected(RequestRejection::MALFORMED)));
                }
                _ => break,
            }
        }
        if state.is_evicted() && last_check.poll(cx).is_ready() {
            return Poll::Ready(Err(BodyError::Interrupted(NextStep::Evict)));
        }
        if state.pending_request() == Some(ConnectionRequest::HandOff) && !state.stays() {
            if tap.can_hand_off() {
                return Poll::Ready(Err(BodyError::Interrupted(NextStep::Detach)));
            }
            state.bind_here();
        }
        ready!(timer.poll(cx, context, state, || true));
        Poll::Ready(Err(BodyError::Rejected(RequestRejection::TIMED_OUT)))
    })
    .await;
    // hyper may have read bytes that follow the body.
    let excess = http.into_parts().read_buf;
    match end {
        Ok(()) => {
            let is_clean = !body.has_trailers || tap.has_clean_trailers(excess.len());
            // Copied, because a slice would keep the memory of the body.
            *unread = [&excess[..], &tap.rest()].concat();
            let closes = !is_clean || body.has_trailers && tap.is_over_limit.get();
            let rejection = head.rejection.or((!is_clean).then_some(RequestRejection::MALFORMED));
            Ok(ReceivedBody { body: rejection.map_or(Ok(body.bytes), Err), closes })
        }
        Err(BodyError::Interrupted(NextStep::Detach)) => {
            *unread = tap.input.take();
            Err(NextStep::Detach)
        }
        // No response can be sent, because it would begin inside `100 Continue`.
        Err(_) if tap.is_inside_interim() => Err(NextStep::WriteTimeout),
        Err(BodyError::Interrupted(next)) => Err(next),
        Err(BodyError::Rejected(rejection)) => {
            // An error in the header section is reported first, unless the body is late.
            let before = head.rejection.filter(|_| rejection != RequestRejection::TIMED_OUT);
            Ok(ReceivedBody { body: Err(before.unwrap_or(rejection)), closes: true })
        }
    }
}

/// The reason why a body is not complete.
enum BodyError {
    Rejected(RequestRejection),
    /// The worker asked the connection to leave or close.
    Interrupted(NextStep),
}

/// The length of `100 Continue`, the only response that hyper writes here.
const INTERIM: usize = b"HTTP/1.1 100 Continue\r\n\r\n".len();

/// The part of a body that has arrived.
#[derive(Debug)]
struct BodyBuffer {
    incoming: Option<Incoming>,
    bytes: Vec<u8>,
    /// The number of bytes of the body that have arrived, whether they are kept or not.
    length: usize,
    is_kept: bool,
    limit: usize,
    /// The most bytes that may arrive in addition to the body: chunk sizes and trailers.
    overhead_limit: usize,
    has_trailers: bool,
    is_complete: bool,
}

impl BodyBuffer {
    /// The most bytes of chunk sizes and line ends for each byte of the body. A chunk of one byte needs five of them.
    /// White space after a chunk size has no other limit.
    const MAX_OVERHEAD: usize = 16;

    fn new(is_kept: bool, policy: &Policy) -> Self {
        Self {
            incoming: None,
            bytes: Vec::new(),
            length: 0,
            is_kept,
            limit: policy.body_limit,
            overhead_limit: policy
                .body_limit
                .saturating_mul(Self::MAX_OVERHEAD)
                .saturating_add(policy.head_limit),
            has_trailers: false,
            is_complete: false,
        }
    }

    /// Takes the body from hyper. Completes when the body is complete, or the request is rejected.
    fn poll(&mut self, cx: &mut Context<'_>, tap: &Tap) -> Poll<Result<(), RequestRejection>> {
        if tap.is_too_large.get() {
            return Poll::Ready(Err(RequestRejection::BODY_TOO_LARGE));
        }
        while let Some(incoming) = &mut self.incoming
            && !self.is_complete
        {
            match Pin::new(incoming).poll_frame(cx) {
                Poll::Pending if tap.received.get() - self.length > self.overhead_limit => {
                    return Poll::Ready(Err(RequestRejection::MALFORMED));
                }
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => self.is_complete = true,
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(RequestRejection::MALFORMED)),
                Poll::Ready(Some(Ok(frame))) => {
                    self.has_trailers |= frame.is_trailers();
                    // Trailers are ignored (RFC 9112 §7.1.2).
                    self.append(&frame.into_data().unwrap_or_default());
                    if self.length > self.limit {
                        return Poll::Ready(Err(RequestRejection::BODY_TOO_LARGE));
                    }
                }
            }
        }
        if self.is_complete { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn append(&mut self, data: &[u8]) {
        self.length += data.len();
        if self.is_kept {
            self.bytes.extend_from_slice(data);
        }
    }
}

/// A record of the bytes between the socket and hyper. [`Source`] writes it, and [`receive`] reads it.
#[derive(Debug)]
struct Tap {
    /// The request as it arrived, for a handoff. Empty if it is too long for one.
    input: RefCell<Vec<u8>>,
    head_length: usize,
    /// The number of bytes of `input` that hyper has read. The header section counts, although hyper gets the minimal
    /// one instead.
    given: Cell<usize>,
    /// The most bytes of `input`.
    limit: usize,
    is_over_limit: Cell<bool>,
    /// The number of bytes after the header section that hyper has read.
    received: Cell<usize>,
    /// The number of bytes that are missing from a body with `content-length`. hyper does not get the bytes after it.
    left: Cell<Option<usize>>,
    /// The size of the first chunk, from the digits that have arrived. `None` after its last digit.
    chunk_size: Cell<Option<usize>>,
    body_limit: usize,
    /// Whether the first chunk size exceeds the limit of the body.
    is_too_large: Cell<bool>,
    /// The number of bytes of `100 Continue` that were sent.
    interim: Cell<usize>,
    /// Whether hyper has nothing more to write.
    is_flushed: Cell<bool>,
}

impl Tap {
    fn new(input: Vec<u8>, head: &RequestHead, policy: &Policy) -> Self {
        let (left, chunk_size) = match head.framing {
            Framing::Length(length) => (Some(length), None),
            Framing::Chunked => (None, Some(0)),
        };
        Self {
            head_length: head.length,
            given: Cell::new(head.length),
            input: RefCell::new(input),
            limit: DetachedConnection::MAX_UNREAD.min(policy.head_limit.saturating_add(policy.body_limit)),
            is_over_limit: Cell::new(false),
            received: Cell::new(0),
            left: Cell::new(left),
            chunk_size: Cell::new(chunk_size),
            body_limit: policy.body_limit,
            is_too_large: Cell::new(false),
            interim: Cell::new(0),
            is_flushed: Cell::new(false),
        }
    }

    /// Gives hyper bytes of `input`. Returns whether there were any.
    fn give(&self, buf: &mut ReadBuf<'_>) -> bool {
        let input = self.input.borrow();
        let rest = &input[self.given.get()..];
        let length = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..length]);
        self.given.set(self.given.get() + length);
        self.pass(&rest[..length]);
        length > 0
    }

    /// Records bytes that were read from the socket for hyper.
    fn record(&self, bytes: &[u8]) {
        let mut input = self.input.borrow_mut();
        if self.is_over_limit.get() || input.len() + bytes.len() > self.limit {
            self.is_over_limit.set(true);
            *input = Vec::new();
        } else {
            input.extend_from_slice(bytes);
        }
        self.given.set(input.len());
        self.pass(bytes);
    }

    /// Counts bytes that hyper reads, and parses the first chunk size, so that a large one is rejected at once.
    fn pass(&self, bytes: &[u8]) {
        self.received.set(self.received.get() + bytes.len());
        self.left.set(self.left.get().map(|left| left - bytes.len()));
        let mut bytes = bytes.iter();
        while let Some(size) = self.chunk_size.get()
            && let Some(byte) = bytes.next()
        {
            let digit = char::from(*byte).to_digit(16);
            let size = digit.map(|digit| size.saturating_mul(16).saturating_add(digit as usize));
            self.is_too_large.set(size.is_some_and(|size| size > self.body_limit) || self.is_too_large.get());
            self.chunk_size.set(size);
        }
    }

    /// Whether the next process can receive the request from its first byte on. It cannot if only a part of
    /// `100 Continue` was sent, because it would send that from its first byte.
    fn can_hand_off(&self) -> bool {
        // A long header section may exceed the limit before any byte is recorded.
        let fits = self.input.borrow().len() <= DetachedConnection::MAX_UNREAD;
        fits && !self.is_over_limit.get() && !self.is_inside_interim()
    }

    /// Whether only a part of `100 Continue` was sent.
    fn is_inside_interim(&self) -> bool {
        !matches!(self.interim.get(), 0 | INTERIM)
    }

    /// Whether each trailer line ends with CRLF. hyper accepts a bare LF, but may then disagree with a proxy about
    /// the end of the request. The last `excess` bytes that hyper has read follow the request. If the request is
    /// too long to be kept, returns true without a check; the connection closes.
    fn has_clean_trailers(&self, excess: usize) -> bool {
        let input = self.input.borrow();
        if self.is_over_limit.get() {
            return true;
        }
        let body = input.get(self.head_length..self.given.get().saturating_sub(excess));
        let lines = body.and_then(trailers).map(|trailers| trailers.split_inclusive(|byte| *byte == b'\n'));
        lines.is_some_and(|mut lines| lines.all(|line| line.ends_with(b"\r\n")))
    }

    /// Returns the bytes that hyper has not read.
    fn rest(&self) -> Vec<u8> {
        self.input.borrow()[self.given.get()..].to_vec()
    }
}

/// Returns the bytes after the line of the last chunk size (RFC 9112 §7.1). hyper has decoded the body.
fn trailers(mut body: &[u8]) -> Option<&[u8]> {
    loop {
        let line = body.iter().position(|byte| *byte == b'\n')?;
        let digits = body.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size = usize::from_str_radix(str::from_utf8(&body[..digits]).ok()?, 16).ok()?;
        let after_line = &body[line + 1..];
        if size == 0 {
            return Some(after_line);
        }
        body = after_line.get(size.checked_add(b"\r\n".len())?..)?;
    }
}

/// The stream that hyper reads from: the minimal header section, then the body from the socket.
struct Source<'c> {
    stream: &'c mut Stream,
    context: &'c WorkerContext,
    tap: &'c Tap,
    /// The part of the minimal header section that hyper has not read.
    head: Bytes,
}

impl AsyncRead for Source<'_> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, context, tap, head } = self.get_mut();
        // hyper may write after each read.
        tap.is_flushed.set(false);
        if !head.is_empty() {
            let part = head.split_to(head.len().min(buf.remaining()));
            buf.put_slice(&part);
            return Poll::Ready(Ok(()));
        }
        let room = tap.left.get().map_or(buf.remaining(), |left| left.min(buf.remaining()));
        let mut body = ReadBuf::new(buf.initialize_unfilled_to(room));
        if !tap.give(&mut body) {
            ready!(Pin::new(stream).poll_read(cx, &mut body))?;
            context.stats.received(body.filled().len());
            tap.record(body.filled());
        }
        let length = body.filled().len();
        buf.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Source<'_> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let sent = ready!(Pin::new(&mut this.stream).poll_write(cx, buf))?;
        this.context.stats.sent(sent);
        this.tap.interim.set(this.tap.interim.get() + sent);
        Poll::Ready(Ok(sent))
    }

    /// hyper calls this only when its own buffer is empty.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tap.is_flushed.set(true);
        Poll::Ready(Ok(()))
    }

    /// Does nothing, because hyper must not close the connection.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Settings,
        http::request_head::{HeadParser, Parsed},
    };

    #[test]
    fn long_head_is_not_handed_off() {
        let policy = Policy { head_limit: 1 << 20, ..(&Settings::default()).into() };
        for (length, can_hand_off) in [(1, true), (DetachedConnection::MAX_UNREAD, false)] {
            let field = "x".repeat(length);
            let input = format!("POST /pixel HTTP/1.1\r\nhost: h\r\nx: {field}\r\ncontent-length: 9\r\n\r\n");
            let Parsed::Complete(head) = HeadParser::default().parse(input.as_bytes(), &policy, false) else {
                panic!("{length} bytes are no head");
            };
            assert_eq!(Tap::new(input.into(), &head, &policy).can_hand_off(), can_hand_off, "{length}");
        }
    }

    #[test]
    fn body_of_a_rejected_request_is_not_kept() {
        let mut body = BodyBuffer::new(false, &(&Settings::default()).into());
        body.append(b"12");
        assert_eq!((body.length, body.bytes.len()), (2, 0));
    }
}
