//! The end of a connection on its worker.

use std::{future::poll_fn, io, task::Poll, time::Duration};

use futures_util::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

use super::{
    connection_state::{ConnectionState, NextStep, Phase},
    detached_connection::DetachedConnection,
    fast_path::FastPath,
    worker_context::WorkerContext,
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

/// Closes or detaches a connection, as `next` says.
pub async fn close(path: FastPath, next: NextStep) -> ServeOutcome {
    // Variables are dropped in reverse order: the socket closes before the registration ends.
    let FastPath { registration: _registration, context, state, stream, unread, .. } = path;
    let state = &state;
    match next {
        NextStep::Detach => return detach(stream, unread, state),
        NextStep::Linger => linger(stream, state).await,
        NextStep::Evict => evict(stream, &context, state),
        NextStep::Log(error) if is_by_client(&error) => {
            log(&context, state, &format!("the client closed or reset it, {error}"));
        }
        NextStep::Log(error) => log(&context, state, &error.to_string()),
        NextStep::WriteTimeout => {
            context.stats.write_timed_out();
            log(&context, state, "the client did not read its responses within timeouts.write");
        }
        NextStep::Close | NextStep::ReceiveBody(_) => {}
    }
    ServeOutcome::Closed
}

/// Whether the client has reset the connection, or closed it although responses were to follow.
fn is_by_client(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn detach(stream: Stream, unread: Vec<u8>, state: &ConnectionState) -> ServeOutcome {
    match stream.into_socket() {
        Ok(socket) => ServeOutcome::Detached(DetachedConnection {
            unread: unread.into(),
            begun: (state.phase() == Phase::Header).then(|| state.begun()),
            requests: state.requests(),
            ..DetachedConnection::new(socket, state.peer)
        }),
        Err(_) => ServeOutcome::Closed,
    }
}

/// Responds to an incomplete request with 408 if that can be sent at once, and closes. Waits for nothing, because a
/// client that does not read could otherwise keep its connection slot.
fn evict(mut stream: Stream, context: &WorkerContext, state: &ConnectionState) {
    const MAX_DISCARDED: u64 = 64 << 10;

    let (mut bytes, response) = (Vec::new(), Response::from(RequestRejection::TIMED_OUT));
    context.heads.write(Instant::now(), &response, Version::Http11, true, &mut bytes);
    response.body.iter().for_each(|piece| bytes.extend_from_slice(piece));
    context.count(&response, state, None);
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

fn log(context: &WorkerContext, state: &ConnectionState, reason: &str) {
    if context.log.wants(Level::Debug) {
        let client = state.client(None);
        context.log.send(Event::Disconnected { worker: context.worker, client, reason: reason.into() });
    }
}
