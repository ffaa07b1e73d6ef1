//! Accepts connections. All workers do so, but at each listener only one worker at a time. Otherwise all of them
//! would try to accept each connection, and only one would succeed.

use std::{io, rc::Rc, time::Duration};

use futures_util::future::join_all;
use nix::errno::Errno;
use tokio::{
    sync::Notify,
    task::{coop, yield_now},
    time::{sleep, timeout},
};

use super::{
    accept_backoff::AcceptBackoff,
    acceptor::{Acceptor, RegisteredAcceptor},
    connection_server::ConnectionServer,
    shared_state::SharedState,
};
use crate::{
    connection::{DetachedConnection, Evicted},
    log::Event,
};

/// The delay before a failed operation is repeated.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Accepts connections at all `registered` listeners while this future is polled.
pub async fn accept(registered: Vec<RegisteredAcceptor>, server: Rc<ConnectionServer>, shared: SharedState) {
    join_all(registered.iter().map(|registered| accept_at(registered, &server, &shared))).await;
}

async fn accept_at(registered: &RegisteredAcceptor, server: &Rc<ConnectionServer>, shared: &SharedState) {
    let acceptor = &*registered.acceptor;
    loop {
        // Created before the lock is tried, so that no release by another worker is missed.
        let released = acceptor.released.notified();
        accept_backlog(acceptor, server, shared).await;
        // A socket that was shut down is always readable, but has no connection. Without this, the loop would block
        // the worker.
        coop::consume_budget().await;
        tokio::select! {
            ready = registered.listener.readable() => match ready {
                Ok(mut ready) => {
                    if ready.ready().is_read_closed() {
                        pause_after_shutdown(acceptor, shared).await;
                        sleep(RETRY_DELAY).await;
                    }
                    ready.clear_ready();
                }
                Err(_) => return,
            },
            () = released => {}
        }
    }
}

/// Accepts connections until the backlog is empty. Returns at once if another worker is accepting.
async fn accept_backlog(acceptor: &Acceptor, server: &Rc<ConnectionServer>, shared: &SharedState) {
    let Ok(lock) = acceptor.accept_lock.try_lock() else { return };
    let unfinished = NotifyOnDrop(&acceptor.released);
    // Declared last, so that it is unlocked before the other workers are notified.
    let mut backoff = lock;
    loop {
        if shared.dispatcher.is_full() && acceptor.is_connection_pending() {
            reduce_to_limit(&mut backoff, acceptor, shared).await;
        }
        match acceptor.listener.accept() {
            Ok((socket, peer)) => {
                if backoff.is_paused {
                    acceptor.set_failure(None);
                    resume(&mut backoff, acceptor, shared);
                }
                shared.memory.accept.accepted.add(1);
                let connection = DetachedConnection::new(socket, peer);
                let own = shared.dispatcher.dispatch_preferring(&server.context.stats, connection);
                if let Some(own) = own {
                    server.serve(own);
                }
                coop::consume_budget().await;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // A Unix socket that was shut down also fails with this error.
                if !acceptor.fails_with(Acceptor::NOT_LISTENING) && acceptor.set_failure(None) {
                    resume(&mut backoff, acceptor, shared);
                }
                break;
            }
            Err(error) if AcceptBackoff::is_resource_error(&error) => {
                backoff.pause(&shared.memory, &shared.log, &acceptor.listener, || error.to_string());
                relieve(&mut backoff, shared).await;
            }
            Err(error) if AcceptBackoff::is_client_error(&error) => yield_now().await,
            Err(error) => {
                acceptor.set_failure(Some(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)));
                backoff.pause(&shared.memory, &shared.log, &acceptor.listener, || error.to_string());
                sleep(RETRY_DELAY).await;
            }
        }
    }
    // The backlog is empty.
    std::mem::forget(unfinished);
}

/// Lets another worker continue if this one stops before the backlog is empty.
struct NotifyOnDrop<'a>(&'a Notify);

impl Drop for NotifyOnDrop<'_> {
    fn drop(&mut self) {
        self.0.notify_waiters();
    }
}

/// Records that accepting works again.
fn resume(backoff: &mut AcceptBackoff, acceptor: &Acceptor, shared: &SharedState) {
    if backoff.resume() {
        shared.log.send(Event::AcceptResumed { socket: acceptor.listener.to_string() });
    }
}

/// Records that the socket does not listen: another process with the same socket has shut it down.
async fn pause_after_shutdown(acceptor: &Acceptor, shared: &SharedState) {
    let error = Acceptor::NOT_LISTENING;
    let mut backoff = acceptor.accept_lock.lock().await;
    if acceptor.set_failure(Some(error)) {
        let error = io::Error::from(error);
        backoff.pause(&shared.memory, &shared.log, &acceptor.listener, || error.to_string());
    }
}

/// Evicts connections until their number is below the limit. While every request is complete, none can be evicted,
/// and new connections wait in the backlog.
async fn reduce_to_limit(backoff: &mut AcceptBackoff, acceptor: &Acceptor, shared: &SharedState) {
    /// The time for evicted connections to send a last response and close.
    const EVICTION_TIMEOUT: Duration = Duration::from_secs(1);
    /// The most connections that are evicted at once, if earlier ones did not close in time.
    const MAX_EVICTIONS: usize = 64;

    let dispatcher = &shared.dispatcher;
    let mut batch = 1;
    while dispatcher.is_full() {
        // The surplus is more than one if the limit was lowered.
        let surplus = (dispatcher.open() + 1).saturating_sub(dispatcher.limit());
        let mut evicted = 0;
        while evicted < surplus.max(batch) && evict(backoff, shared, Some(dispatcher.limit())) {
            evicted += 1;
        }
        if evicted > 0 {
            // An earlier notification may be left over, so the limit is checked each time.
            while dispatcher.is_full()
                && timeout(EVICTION_TIMEOUT, dispatcher.wait_for_capacity()).await.is_ok()
            {}
            // If too few have closed, all may belong to one stalled worker. Therefore evicts more at the next pass.
            batch = (2 * batch).min(MAX_EVICTIONS);
            continue;
        }
        let reached =
            if dispatcher.is_fd_limited() { "the limit of open files" } else { "limits.connections" };
        let reason = || format!("{reached} is reached, and each connection waits for a response");
        backoff.pause(&shared.memory, &shared.log, &acceptor.listener, reason);
        // When a response is sent, its connection can be evicted, but nothing notifies this task.
        let _ = timeout(RETRY_DELAY, dispatcher.wait_for_capacity()).await;
    }
    dispatcher.wake_if_below_limit();
}

/// Handles a lack of descriptors or memory. Lowers the connection limit if RLIMIT_NOFILE has become lower.
/// If the limit is still not reached, evicts one connection and waits.
async fn relieve(backoff: &mut AcceptBackoff, shared: &SharedState) {
    if let Some(event) = shared.dispatcher.update_limit() {
        shared.log.send(event);
    }
    if !shared.dispatcher.is_full() {
        evict(backoff, shared, None);
        sleep(RETRY_DELAY).await;
    }
}

/// Evicts one connection, because `limit` is reached, or without one because descriptors or memory ran out.
/// Returns false if all connections are busy.
fn evict(backoff: &mut AcceptBackoff, shared: &SharedState, limit: Option<usize>) -> bool {
    let Some(Evicted { peer, held }) = shared.dispatcher.evict() else { return false };
    shared.memory.accept.evicted.add(1);
    if backoff.should_log_eviction() {
        let (peer, is_short_of_files) = (peer.to_string(), shared.dispatcher.is_fd_limited());
        shared.log.send(Event::LimitReached { limit, is_short_of_files, peer, held });
    }
    true
}
