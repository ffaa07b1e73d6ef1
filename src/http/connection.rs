use std::{
    future::{Future, poll_fn},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

use super::{
    body_decoder::{self, BodyEnd},
    connection_state::ConnectionState,
    context::Context,
    detached::DetachedConnection,
    fast_path::{self, FastPathExit, Reply},
    io::Io,
    request_head::{RequestHead, RequestRejection},
    response::{ReplyTo, Response},
    yield_now::yield_now,
};
use crate::log::{Event, Level};

/// How serving a connection ended.
#[derive(Debug)]
pub enum ServeOutcome {
    Closed,
    /// It was asked to go elsewhere.
    Detached(DetachedConnection),
}

/// Serves one connection until it closes, times out, or is asked back. Its worker knows of it from
/// this call on, not only when the future is polled.
pub fn serve(connection: DetachedConnection, context: Rc<Context>) -> impl Future<Output = ServeOutcome> {
    let DetachedConnection { socket, peer, unread, requests, eviction_entry } = connection;
    let registration = context.connections.register(peer, requests, eviction_entry);
    let io = Io { stream: socket.into_stream(), unread: unread.into() };
    async move { serve_io(io, &context, &registration.state).await }
}

async fn serve_io(mut io: Io, context: &Context, state: &ConnectionState) -> ServeOutcome {
    let mut reply = None;
    let next = loop {
        match fast_path::run(&mut io, context, state, reply.take()).await {
            FastPathExit::NeedsHyper(head) => match receive(&mut io, &head, context, state).await {
                Ok(response) => reply = Some(response),
                Err(next) => break next,
            },
            FastPathExit::Detached => break NextStep::Detach,
            FastPathExit::Closed | FastPathExit::FinalResponseSent { is_silent: true } => {
                break NextStep::Drop;
            }
            FastPathExit::Idle
            | FastPathExit::PeerClosed
            | FastPathExit::FinalResponseSent { is_silent: false } => break NextStep::Close,
            FastPathExit::Evicted => break NextStep::Evict,
            FastPathExit::WriteTimedOut => break NextStep::WriteTimeout,
            FastPathExit::Io(error) => break NextStep::Log(error.to_string()),
        }
    };
    match next {
        NextStep::Detach => return detach(io, state),
        // Boxed, or every connection would have room for it all the time.
        NextStep::Close => Box::pin(close(io, state)).await,
        NextStep::Evict => evict(io, context, state),
        NextStep::Drop => {}
        NextStep::Log(reason) => log(context, state, &reason),
        NextStep::WriteTimeout => {
            context.stats.write_timed_out();
            log(context, state, "the client did not take its answers in time");
        }
    }
    ServeOutcome::Closed
}

/// What to do with a connection that is no longer served.
enum NextStep {
    /// Give it to another worker or process.
    Detach,
    /// Close it, and see that what was sent arrives.
    Close,
    /// Answer an incomplete request with 408 and close at once: another client needs the place.
    Evict,
    /// Close it at once: everything that was sent has arrived long ago, or nothing comes that could
    /// overtake it.
    Drop,
    /// Close it, for its client does not take its responses.
    WriteTimeout,
    /// Close it, for it has broken off.
    Log(String),
}

/// Receives a body, and returns the response to its request.
async fn receive(
    io: &mut Io,
    head: &RequestHead,
    context: &Context,
    state: &ConnectionState,
) -> Result<Box<Reply>, NextStep> {
    let real_ip = head.real_ip(&io.unread);
    // Boxed, for it is large, and few connections are there at a time; and gone before a large response is made.
    let end = Box::pin(body_decoder::receive(io, head, context, state)).await;
    let response = match end {
        BodyEnd::Complete { body, closes } => {
            let response = Response::to_body(&body, head.is_json, context.parse, &context.policy());
            Response { closes: response.closes || closes, ..response }
        }
        BodyEnd::Rejected(rejection) => rejection.into(),
        BodyEnd::HandedOff => return Err(NextStep::Detach),
        BodyEnd::Evicted => return Err(NextStep::Evict),
        BodyEnd::WriteTimedOut => return Err(NextStep::WriteTimeout),
    };
    // A client that has sent the next request already takes turns with the others.
    yield_now().await;
    Ok(Box::new(Reply { response, to: head.into(), real_ip }))
}

fn detach(io: Io, state: &ConnectionState) -> ServeOutcome {
    match io.stream.into_socket() {
        Ok(socket) => ServeOutcome::Detached(DetachedConnection {
            unread: io.unread.into(),
            requests: state.requests(),
            ..DetachedConnection::new(socket, state.peer)
        }),
        Err(_) => ServeOutcome::Closed,
    }
}

/// Answers an incomplete request with 408, if that can be sent at once, and closes without waiting for the
/// client: it could keep its place that way.
fn evict(mut io: Io, context: &Context, state: &ConnectionState) {
    const MAX_DISCARDED: u64 = 64 << 10;

    let (mut bytes, response) = (Vec::new(), Response::from(RequestRejection::TIMED_OUT));
    context.heads.write(Instant::now(), &response, ReplyTo::UNREADABLE, true, &mut bytes);
    bytes.extend(response.body.iter().flatten());
    context.count(&response, || state.client(None));
    if let Some(Ok(sent)) = io.stream.write(&bytes).now_or_never() {
        context.stats.sent(sent);
        context.stats.record_latency(state.begun().elapsed(), 1);
    }
    // What is left unread would become a reset, which may overtake the response.
    let mut sink = tokio::io::sink();
    let _ = tokio::io::copy(&mut io.stream.take(MAX_DISCARDED), &mut sink).now_or_never();
}

/// Closes so that the last response is not lost: a socket that is closed with unread input sends a
/// reset, which may overtake it. So: say that nothing follows, and read on for a while.
async fn close(mut io: Io, state: &ConnectionState) {
    const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
    const MAX_DISCARDED: u64 = 1 << 20;

    state.linger();
    if state.is_ended_by_peer() || io.stream.shutdown().await.is_err() {
        return;
    }
    let discard = async {
        let mut sink = tokio::io::sink();
        tokio::io::copy(&mut io.stream.take(MAX_DISCARDED), &mut sink).await
    };
    let evicted = poll_fn(|cx| {
        state.set_waker(cx.waker());
        if state.is_evicted() { Poll::Ready(()) } else { Poll::Pending }
    });
    // In this order, so that nothing that has come is left unread.
    let end = async {
        tokio::select! { biased; _ = discard => {}, () = evicted => {} }
    };
    let _ = timeout(LINGER_TIMEOUT, end).await;
}

fn log(context: &Context, state: &ConnectionState, reason: &str) {
    if context.log.wants(Level::Debug) {
        let client = state.client(None);
        context.log.send(Event::Disconnected { worker: context.worker, client, reason: reason.into() });
    }
}
