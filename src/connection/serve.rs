//! The life of a connection: a loop of fast path and body decoder.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use tokio::time::{Instant, sleep_until};

use super::{
    body_decoder,
    closing::{ServeOutcome, close},
    connection_state::NextStep,
    detached_connection::DetachedConnection,
    eviction::EvictionEntry,
    fast_path::FastPath,
    phase_timer::PhaseTimer,
    worker_context::WorkerContext,
    yield_now::yield_now,
};

/// Responds to the requests that have arrived on a connection. Returns `None` if it is closed after them, so that a
/// connection with a single request needs no task and is not registered. Otherwise registers it with its worker, and
/// returns a future that serves it until it closes or is detached, and then calls `end`. A combinator around that future
/// would cost more instructions at each wake-up.
pub fn serve<T>(
    connection: DetachedConnection,
    context: Rc<WorkerContext>,
    end: impl FnOnce(ServeOutcome) -> T,
) -> Option<impl Future<Output = T>> {
    let (mut path, eviction_entry) = attach(connection, context);
    // A waker is not needed: the new task polls the connection once in any case.
    let next = match path.poll_requests(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Err(NextStep::Close)) => return None,
        Poll::Ready(Err(next)) => Some(next),
        Poll::Ready(Ok(())) | Poll::Pending => None,
    };
    path.registration = Some(path.context.connections.register(&path.state, eviction_entry));
    Some(run(path, next, end))
}

/// Attaches a connection to this thread.
fn attach(connection: DetachedConnection, context: Rc<WorkerContext>) -> (FastPath, Option<EvictionEntry>) {
    let DetachedConnection { socket, peer, unread, begun, requests, eviction_entry } = connection;
    let state = context.connections.new_state(peer, requests);
    if let Some(begun) = begun {
        state.begin_request(begun);
    }
    (FastPath::new(socket.into_stream(), unread.into(), context, state), eviction_entry)
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
