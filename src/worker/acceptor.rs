use std::{
    io,
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering::Relaxed},
    },
};

use futures_util::future::join_all;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout},
};
use tokio::{
    io::unix::AsyncFd,
    sync::{Mutex, MutexGuard, Notify},
    task::{coop, yield_now},
    time::sleep,
};

use super::{
    accept_backoff::{AcceptBackoff, RETRY_DELAY},
    thread::Shared,
};
use crate::{
    http::DetachedConnection,
    log::Event,
    net::{Address, Listener},
    stats::WorkerStats,
    sys,
};

/// What accept(2) fails with where a socket does not listen.
const NOT_LISTENING: i32 = Errno::EINVAL as i32;

/// A listener at which all workers accept connections, one worker at a time.
#[derive(Debug)]
pub struct Acceptor {
    listener: Arc<Listener>,
    /// Held by the worker that is accepting; the others skip this listener.
    accept_lock: Mutex<AcceptBackoff>,
    /// Notified when the worker that accepts stops before the backlog is empty.
    released: Notify,
    /// The error with which accepting fails at present, as errno(3) numbers it; 0 for none.
    failure: AtomicI32,
}

impl From<Listener> for Acceptor {
    fn from(listener: Listener) -> Self {
        Self {
            listener: listener.into(),
            accept_lock: Mutex::default(),
            released: Notify::new(),
            failure: AtomicI32::new(0),
        }
    }
}

impl Acceptor {
    /// Where it is.
    pub fn address(&self) -> &Address {
        self.listener.address()
    }

    /// The error with which accepting fails at present, unless descriptors or memory have run out.
    pub fn failure(&self) -> Option<io::Error> {
        let errno = self.failure.load(Relaxed);
        (errno != 0).then(|| io::Error::from_raw_os_error(errno))
    }

    /// It does not listen any more: another process that has it has shut it down.
    fn pause_after_shutdown(&self, shared: &Shared) {
        let is_known = self.failure.swap(NOT_LISTENING, Relaxed) == NOT_LISTENING;
        if !is_known && let Ok(mut backoff) = self.accept_lock.try_lock() {
            let error = io::Error::from_raw_os_error(NOT_LISTENING);
            backoff.pause(shared, || format!("{}: {error}", self.listener));
        }
    }

    /// Accepting works again.
    fn recover(&self, backoff: &mut AcceptBackoff, shared: &Shared) {
        if self.failure.load(Relaxed) != 0 {
            self.failure.store(0, Relaxed);
            if backoff.resume() {
                shared.log.send(Event::AcceptResumed);
            }
        }
    }

    /// Stops accepting. Accepts the backlog of a socket that this process has bound, which would be lost with
    /// it; that of an inherited one is for the next process.
    pub fn close(&self, shared: &Shared) {
        /// As many as a backlog holds (net.core.somaxconn); others may come meanwhile, without end.
        const MAX_BACKLOG: usize = 4096;

        // Its workers may have the socket itself for a moment longer.
        self.listener.remove_file();
        let waiting =
            std::iter::from_fn(|| self.listener.is_own().then(|| self.listener.accept().ok()).flatten());
        for (socket, peer) in waiting.take(MAX_BACKLOG) {
            shared.memory.accept.accepted.add(1);
            shared.dispatcher.dispatch(DetachedConnection::new(socket, peer));
        }
    }

    /// Accepts until the backlog is empty, unless another worker does so.
    async fn accept_all(&self, server: &impl Server, shared: &Shared) {
        let Ok(backoff) = self.accept_lock.try_lock() else { return };
        let mut guard = AcceptGuard { acceptor: self, backoff: Some(backoff) };
        let Some(backoff) = guard.backoff.as_deref_mut() else { return };
        loop {
            if shared.dispatcher.is_full() && self.is_connection_pending() {
                backoff.reduce_to_limit(shared).await;
            }
            match self.listener.accept() {
                Ok((socket, peer)) => {
                    self.recover(backoff, shared);
                    if backoff.resume() {
                        shared.log.send(Event::AcceptResumed);
                    }
                    shared.memory.accept.accepted.add(1);
                    let connection = DetachedConnection::new(socket, peer);
                    if let Some(own) = shared.dispatcher.dispatch_preferring(server.stats(), connection) {
                        server.serve(own);
                    }
                    coop::consume_budget().await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // A Unix socket that is shut down says so, too.
                    if self.failure.load(Relaxed) != NOT_LISTENING {
                        self.recover(backoff, shared);
                    }
                    break;
                }
                Err(error) if AcceptBackoff::is_resource_error(&error) => {
                    backoff.pause(shared, || format!("{}: {error}", self.listener));
                    backoff.relieve(shared).await;
                }
                Err(error) if AcceptBackoff::is_client_error(&error) => yield_now().await,
                Err(error) => {
                    self.failure.store(error.raw_os_error().unwrap_or(Errno::EIO as i32), Relaxed);
                    backoff.pause(shared, || format!("{}: {error}", self.listener));
                    sleep(RETRY_DELAY).await;
                }
            }
        }
        guard.release();
    }

    /// Whether the backlog has a connection: epoll only reports new ones.
    fn is_connection_pending(&self) -> bool {
        let mut poll = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        nix::poll::poll(&mut poll, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }
}

/// The right to accept. If it is dropped early, because a worker exits or panics, another one continues.
struct AcceptGuard<'e> {
    acceptor: &'e Acceptor,
    backoff: Option<MutexGuard<'e, AcceptBackoff>>,
}

impl AcceptGuard<'_> {
    fn release(mut self) {
        self.backoff = None;
    }
}

impl Drop for AcceptGuard<'_> {
    fn drop(&mut self) {
        // The workers that are notified must find the lock free.
        if self.backoff.take().is_some() {
            self.acceptor.released.notify_waiters();
        }
    }
}

/// An acceptor that is registered with the runtime of one worker.
#[derive(Debug)]
pub struct RegisteredAcceptor {
    acceptor: Arc<Acceptor>,
    listener: AsyncFd<Arc<Listener>>,
}

impl RegisteredAcceptor {
    /// Registers the listener with the runtime that is entered.
    ///
    /// # Errors
    /// When epoll takes no more descriptors, or has this one already.
    pub fn new(acceptor: Arc<Acceptor>) -> io::Result<Self> {
        let listener = sys::register_listener(acceptor.listener.clone())?;
        Ok(Self { acceptor, listener })
    }

    /// Whether this is the registration of that acceptor.
    pub fn is_of(&self, acceptor: &Arc<Acceptor>) -> bool {
        Arc::ptr_eq(&self.acceptor, acceptor)
    }

    async fn accept(&self, server: &impl Server, shared: &Shared) {
        loop {
            // From here on it is noticed when another worker gives up.
            let released = self.acceptor.released.notified();
            self.acceptor.accept_all(server, shared).await;
            // A socket that was shut down is always readable, and has no connection.
            coop::consume_budget().await;
            tokio::select! {
                ready = self.listener.readable() => match ready {
                    // Every worker is notified of later connections.
                    Ok(mut ready) => {
                        if ready.ready().is_read_closed() {
                            // It stays ready.
                            self.acceptor.pause_after_shutdown(shared);
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
}

/// The worker that accepts.
pub trait Server {
    /// Where it counts.
    fn stats(&self) -> &Arc<WorkerStats>;
    /// Serves a connection on this thread.
    fn serve(&self, connection: DetachedConnection);
}

/// Accepts at all of them, for this worker first, for as long as this is polled.
pub async fn accept(registered: Vec<Arc<RegisteredAcceptor>>, server: impl Server, shared: Shared) {
    join_all(registered.iter().map(|registered| registered.accept(&server, &shared))).await;
}
