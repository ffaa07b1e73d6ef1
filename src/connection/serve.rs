//! The life of a connection: a loop of fast path and body decoder.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::{Context as TaskContext, Poll, Waker},
};

use tokio::time::{Instant, sleep_until};

use super::{
    body_decoder,
    closing::{ServeOutcome, close},
    connection_state::NextStep,
    context::Context,
    detached_connection::DetachedConnection,
    eviction::EvictionEntry,
    fast_path::FastPath,
    phase_timer::PhaseTimer,
    yield_now::yield_now,
};

/// Serves one connection until it closes or is detached. The connection is registered with its worker when this
/// function is called, before the first poll of the future.
pub fn serve(connection: DetachedConnection, context: Rc<Context>) -> impl Future<Output = ServeOutcome> {
    let (path, eviction_entry) = attach(connection, context);
    run(register(path, eviction_entry), None, |outcome| outcome)
}

/// Responds to the requests that have arrived on a new connection. Returns `None` if the connection is closed after
/// them, so that a connection with a single request needs no task and is not registered; `end` is then dropped
/// without a call. Otherwise returns a future that serves the connection as [`serve`] does, and then calls `end`.
pub fn begin(
    connection: DetachedConnection,
    context: Rc<Context>,
    end: impl FnOnce(ServeOutcome),
) -> Option<impl Future<Output = ()>> {
    let (mut path, eviction_entry) = attach(connection, context);
    // A waker is not needed: the new task polls the connection once in any case.
    let next = match path.poll_requests(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(Err(NextStep::Close)) => return None,
        Poll::Ready(Err(next)) => Some(next),
        Poll::Ready(Ok(())) | Poll::Pending => None,
    };
    Some(run(register(path, eviction_entry), next, end))
}

/// Attaches a connection to this thread.
fn attach(connection: DetachedConnection, context: Rc<Context>) -> (FastPath, Option<EvictionEntry>) {
    let DetachedConnection { socket, peer, unread, begun, requests, eviction_entry } = connection;
    let state = context.connections.new_state(peer, requests);
    if let Some(begun) = begun {
        state.begin_request(begun);
    }
    (FastPath::new(socket.into_stream(), unread.into(), context, state), eviction_entry)
}

fn register(mut path: FastPath, eviction_entry: Option<EvictionEntry>) -> FastPath {
    let registration = path.context.connections.register(&path.state, eviction_entry);
    path.registration = Some(registration);
    path
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
        let FastPath { stream, unread, context, state, .. } = &mut path;
        // Boxed, because it is large and few connections need it.
        match Box::pin(body_decoder::receive(stream, unread, &head, context, state)).await {
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
    let first_check = {
        let policy = path.context.policy();
        // The phase may have begun on another worker.
        path.state.deadline(&policy).min(Instant::now() + policy.shortest_timeout())
    };
    let sleep = pin!(sleep_until(first_check));
    let mut timer = PhaseTimer::new(sleep, &path.context);
    poll_fn(|cx| path.poll(cx, &mut timer)).await
}
