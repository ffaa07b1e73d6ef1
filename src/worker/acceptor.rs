use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering::Relaxed},
    },
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout},
};
use tokio::{
    io::unix::AsyncFd,
    sync::{Mutex, Notify},
};

use super::accept_backoff::AcceptBackoff;
use crate::{
    net::{Address, Listener, Socket},
    sys,
};

/// A listener that all workers share. One worker at a time accepts connections.
#[derive(Debug)]
pub struct Acceptor {
    pub listener: Listener,
    /// Held by the worker that is accepting; the others skip this listener.
    pub accept_lock: Mutex<AcceptBackoff>,
    /// Notified if the worker that accepts stops before the backlog is empty.
    pub released: Notify,
    /// The errno(3) with which accept(2) fails at present, or 0.
    failure: AtomicI32,
}

impl From<Listener> for Acceptor {
    fn from(listener: Listener) -> Self {
        Self { listener, accept_lock: Mutex::default(), released: Notify::new(), failure: AtomicI32::new(0) }
    }
}

impl Acceptor {
    /// The error of accept(2) if a socket does not listen.
    pub const NOT_LISTENING: Errno = Errno::EINVAL;

    pub fn address(&self) -> &Address {
        self.listener.address()
    }

    /// Returns the error with which accept(2) fails at present, except a lack of descriptors or memory.
    pub fn failure(&self) -> Option<io::Error> {
        let errno = self.failure.load(Relaxed);
        (errno != 0).then(|| io::Error::from_raw_os_error(errno))
    }

    pub fn fails_with(&self, error: Errno) -> bool {
        self.failure.load(Relaxed) == error as i32
    }

    /// Records the error with which accept(2) fails, or its success. Returns whether that has changed.
    pub fn set_failure(&self, error: Option<Errno>) -> bool {
        let errno = error.map_or(0, |error| error as i32);
        self.failure.load(Relaxed) != errno && self.failure.swap(errno, Relaxed) != errno
    }

    /// Whether the backlog has a connection. epoll reports only new ones.
    pub fn is_connection_pending(&self) -> bool {
        let mut poll = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        nix::poll::poll(&mut poll, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Removes the file of a socket that this process has bound, and accepts its backlog, which would otherwise be
    /// lost. The backlog of an inherited socket stays for the next process.
    pub fn close(&self) -> impl Iterator<Item = (Socket, Option<SocketAddr>)> {
        /// The largest backlog (net.core.somaxconn). Clients that continue to connect must not delay the exit.
        const MAX_BACKLOG: usize = 4096;

        // Without the file, no client can connect, although the workers may keep the socket open for a moment.
        self.listener.remove_file();
        std::iter::from_fn(|| self.listener.is_own().then(|| self.listener.accept().ok()).flatten())
            .take(MAX_BACKLOG)
    }
}

/// An acceptor registered with the runtime of one worker.
#[derive(Debug)]
pub struct RegisteredAcceptor {
    pub acceptor: Arc<Acceptor>,
    pub listener: AsyncFd<Arc<OwnedFd>>,
}

impl RegisteredAcceptor {
    /// Registers the listener with the present runtime.
    ///
    /// # Errors
    /// If epoll takes no more descriptors, or has this one already.
    pub fn new(acceptor: Arc<Acceptor>) -> io::Result<Self> {
        let listener = sys::register_listener(acceptor.listener.shared_fd())?;
        Ok(Self { acceptor, listener })
    }
}
