//! The life of a connection: a loop of fast path and body decoder, and the ways to close it.

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
    detached_connection::DetachedConnection,
    fast_path::FastPath,
    phase_timer::PhaseTimer,
    yield_now::yield_now,
};
use crate::{
    http::{
        Response,
        request_head::{RequestRejection, Version},
    },
    log::{Event, Level},
    net::Stream,
};

/// How serving a connection ended.
#[derive(Debug)]
pub enum ServeOutcome {
    Closed,
    /// The worker asked the connection to leave.
    Detached(DetachedConnection),
}

/// Serves one connection until it closes or is detached. The connection is registered with its worker when this
/// function is called, before the first poll of the future.
pub fn serve(connection: DetachedConnection, context: Rc<Context>) -> impl Future<Output = ServeOutcome> {
    run(register(connection, context), None, |outcome| outcome)
}

/// Responds to the requests that have arrived on a new connection. Returns `None` if the connection is closed after
/// them, so that a connection with a single request needs no task; `end` is then dropped without a call. Otherwise
/// returns a future that serves the connection as [`serve`] does, and then calls `end`.
pub fn begin(
    connection: DetachedConnection,
    context: Rc<Context>,
    end: impl FnOnce(ServeOutcome),
) -> Option<impl Future<Output = ()>> {
    let mut path = register(connection, context);
    // A waker is not needed: the new task polls the connection once in any case.
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
    FastPath::new(socket.into_stream(), unread.into(), context, registration)
}

/// Serves the connection from step `next` on, or from the fast path. Returns the result of `end`.
async fn run<T>(mut path: FastPath, mut next: Option<NextStep>, end: impl FnOnce(ServeOutcome) -> T) -> T {
    let next = loop {
        let next = match next.take() {
            Some(next) => next,
            None => run_fast_path(&mut path).await,
        };
        let NextStep::ReceiveBody(head) = next else { break next };
        let real_ip = head.real_ip(&path.unread);
        let FastPath { stream, unread, context, registration, .. } = &mut path;
        // Boxed, because it is large and few connections need it.
        match Box::pin(body_decoder::receive(stream, unread, &head, context, &registration.state)).await {
            Ok(received) => {
                // A client that pipelines requests must not keep other connections waiting.
                yield_now().await;
                path.respond(&head, &received, real_ip);
            }
            Err(next) => break next,
        }
    };
    // Boxed, because otherwise the task of each connection would be larger.
    end(Box::pin(close(path, next)).await)
}

async fn run_fast_path(path: &mut FastPath) -> NextStep {
    let shortest = path.context.policy().shortest_timeout();
    let sleep = pin!(sleep(shortest));
    let mut timer = PhaseTimer::new(sleep, &path.context);
    poll_fn(|cx| path.poll(cx, &mut timer)).await
}

fn detach(stream: Stream, unread: Vec<u8>, state: &ConnectionState) -> ServeOutcome {
    match stream.into_socket() {
        Ok(socket) => ServeOutcome::Detached(DetachedConnection {
            unread: unread.into(),
            requests: state.requests(),
            ..DetachedConnection::new(socket, state.peer)
        }),
        Err(_) => ServeOutcome::Closed,
    }
}

async fn close(path: FastPath, next: NextStep) -> ServeOutcome {
    // Variables are dropped in reverse order: the socket closes before the registration ends.
    let FastPath { registration, context, stream, unread, .. } = path;
    let state = &registration.state;
    match next {
        NextStep::Detach => return detach(stream, unread, state),
        NextStep::Linger => linger(stream, state).await,
        NextStep::Evict => evict(stream, &context, state),
        NextStep::Log(error) => log(&context, state, &error.to_string()),
        NextStep::WriteTimeout => {
            context.stats.write_timed_out();
            log(&context, state, "the client did not read its responses within timeouts.write");
        }
        NextStep::Close | NextStep::ReceiveBody(_) => {}
    }
    ServeOutcome::Closed
}

/// Responds to an incomplete request with 408 if that can be sent at once, and closes. Waits for nothing, because a
/// client that does not read could otherwise keep its connection slot.
fn evict(mut stream: Stream, context: &Context, state: &ConnectionState) {
    const MAX_DISCARDED: u64 = 64 << 10;

    let (mut bytes, response) = (Vec::new(), Response::from(RequestRejection::TIMED_OUT));
    context.heads.write(Instant::now(), &response, Version::Http11, true, &mut bytes);
    response.body.iter().for_each(|piece| bytes.extend_from_slice(piece));
    context.count(&response, || state.client(None));
    if let Some(Ok(sent)) = stream.write(&bytes).now_or_never() {
        context.stats.sent(sent);
        context.stats.record_latency(state.begun().elapsed(), 1);
    }
    // A socket that is closed with unread input sends a reset, which may overtake the response.
    let mut sink = tokio::io::sink();
    let _ = tokio::io::copy(&mut stream.take(MAX_DISCARDED), &mut sink).now_or_never();
}

/// Closes the connection so that the last response is not lost: a socket that is closed with unread input sends a
/// reset, which may overtake the response. Therefore shuts down the sending side, and then discards input for up to
/// a second.
async fn linger(mut stream: Stream, state: &ConnectionState) {
    const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
    const MAX_DISCARDED: u64 = 1 << 20;

    state.begin_linger();
    if stream.shutdown().await.is_err() {
        return;
    }
    let discard = async {
        let mut sink = tokio::io::sink();
        tokio::io::copy(&mut stream.take(MAX_DISCARDED), &mut sink).await
    };
    let evicted = poll_fn(|cx| {
        state.set_waker(cx.waker());
        if state.is_evicted() { Poll::Ready(()) } else { Poll::Pending }
    });
    // Biased, so that all input is read before an eviction ends the wait.
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
