use std::{
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::{Context as TaskContext, Poll, Waker},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep, timeout},
};

use super::{
    body_decoder,
    connection_state::{ConnectionState, NextStep},
    context::Context,
    fast_path::FastPath,
    io::{DetachedConnection, Io},
    phase_timer::PhaseTimer,
    yield_now::yield_now,
};
use crate::{
    http::{ReplyTo, Response, request_head::RequestRejection},
    log::{Event, Level},
};

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
    run(register(connection, context), None, |outcome| outcome)
}

/// Answers at once what a connection has sent. Returns the future that serves it from then on, as [`serve`] does,
/// and calls `end`, unless it has closed: a connection for one request needs no task.
pub fn begin(
    connection: DetachedConnection,
    context: Rc<Context>,
    end: impl FnOnce(ServeOutcome),
) -> Option<impl Future<Output = ()>> {
    let mut path = register(connection, context);
    // The task that is to poll it again polls it once in any case.
    let next = match path.poll_requests(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(Err(NextStep::Close)) => return None,
        Poll::Ready(Err(next)) => Some(next),
        Poll::Ready(Ok(())) | Poll::Pending => None,
    };
    Some(run(path, next, end))
}

fn register(connection: DetachedConnection, context: Rc<Context>) -> FastPath {
    let DetachedConnection { socket, peer, unread, requests, eviction_entry } = connection;
    let registration = context.connections.register(peer, requests, eviction_entry);
    FastPath::new(Io { stream: socket.into_stream(), unread: unread.into() }, context, registration)
}

/// Serves the connection, beginning with this step, and returns what `end` does.
async fn run<T>(mut path: FastPath, mut next: Option<NextStep>, end: impl FnOnce(ServeOutcome) -> T) -> T {
    let next = loop {
        let next = match next.take() {
            Some(next) => next,
            None => answer(&mut path).await,
        };
        let NextStep::ReceiveBody(head) = next else { break next };
        let real_ip = head.real_ip(&path.io.unread);
        let FastPath { io, context, registration, .. } = &mut path;
        match body_decoder::receive(io, &head, context, &registration.state).await {
            Ok(response) => {
                // A client that has sent the next request already takes turns with the others.
                yield_now().await;
                path.queue(response, (&*head).into(), real_ip);
            }
            Err(next) => break next,
        }
    };
    // Boxed, or every connection would have room for it all the time.
    end(Box::pin(close(path, next)).await)
}

async fn answer(path: &mut FastPath) -> NextStep {
    let sleep = pin!(sleep(path.context.policy().shortest_timeout()));
    let mut timer = PhaseTimer::new(sleep, &path.context);
    poll_fn(|cx| path.poll(cx, &mut timer)).await
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

async fn close(path: FastPath, next: NextStep) -> ServeOutcome {
    // Dropped from the right: the socket is closed before the worker forgets the connection.
    let FastPath { registration, context, io, .. } = path;
    let state = &registration.state;
    match next {
        NextStep::Detach => return detach(io, state),
        NextStep::Linger => linger(io, state).await,
        NextStep::Evict => evict(io, &context, state),
        NextStep::Log(error) => log(&context, state, &error.to_string()),
        NextStep::WriteTimeout => {
            context.stats.write_timed_out();
            log(&context, state, "the client did not take its responses in time");
        }
        NextStep::Close | NextStep::ReceiveBody(_) => {}
    }
    ServeOutcome::Closed
}

/// Answers an incomplete request with 408, if that can be sent at once, and closes without waiting for the
/// client: it could keep its place that way.
fn evict(mut io: Io, context: &Context, state: &ConnectionState) {
    const MAX_DISCARDED: u64 = 64 << 10;

    let (mut bytes, response) = (Vec::new(), Response::from(RequestRejection::TIMED_OUT));
    context.heads.write(Instant::now(), &response, ReplyTo::UNREADABLE, true, &mut bytes);
    response.body.iter().for_each(|piece| bytes.extend_from_slice(piece));
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
async fn linger(mut io: Io, state: &ConnectionState) {
    const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
    const MAX_DISCARDED: u64 = 1 << 20;

    state.linger();
    if io.stream.shutdown().await.is_err() {
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
