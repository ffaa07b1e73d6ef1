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
    shortage::{SHORTLY, Shortage},
    thread::Shared,
};
use crate::{
    http::Parked,
    log::Event,
    net::{Address, Listener},
    sys,
};

/// What accept(2) fails with where a socket does not listen.
const SHUT_DOWN: i32 = Errno::EINVAL as i32;

/// A listener at which all workers accept connections, one worker at a time.
#[derive(Debug)]
pub struct Entrance {
    listener: Arc<Listener>,
    /// Whoever accepts has it, until nobody waits any more. The others need not wait for it.
    turn: Mutex<Shortage>,
    /// Somebody has given it up before that.
    given_up: Notify,
    /// The error with which accepting fails at present, as errno(3) numbers it; 0 for none.
    failure: AtomicI32,
}

impl From<Listener> for Entrance {
    fn from(listener: Listener) -> Self {
        Self {
            listener: listener.into(),
            turn: Mutex::default(),
            given_up: Notify::new(),
            failure: AtomicI32::new(0),
        }
    }
}

impl Entrance {
    /// Where it is.
    pub fn address(&self) -> &Address {
        self.listener.address()
    }

    /// Why no connection can be accepted here at present, for another reason than that something is short.
    pub fn failure(&self) -> Option<io::Error> {
        let errno = self.failure.load(Relaxed);
        (errno != 0).then(|| io::Error::from_raw_os_error(errno))
    }

    /// It does not listen any more: another process that has it has shut it down.
    fn shut_down(&self, shared: &Shared) {
        let is_known = self.failure.swap(SHUT_DOWN, Relaxed) == SHUT_DOWN;
        if !is_known && let Ok(mut shortage) = self.turn.try_lock() {
            let error = io::Error::from_raw_os_error(SHUT_DOWN);
            shortage.pause(shared, || format!("{}: {error}", self.listener));
        }
    }

    /// Accepting works again.
    fn recover(&self, shortage: &mut Shortage, shared: &Shared) {
        if self.failure.load(Relaxed) != 0 {
            self.failure.store(0, Relaxed);
            if shortage.ends() {
                shared.log.send(Event::AcceptResumed);
            }
        }
    }

    /// Nobody accepts here any more. Who is in the backlog of a socket of our own would be lost with it;
    /// that of an inherited one is for the next process.
    pub fn close(&self, shared: &Shared) {
        /// As many as a backlog holds (net.core.somaxconn); others may come meanwhile, without end.
        const MOST: usize = 4096;

        // Its workers may have the socket itself for a moment longer.
        self.listener.remove_file();
        let waiting =
            std::iter::from_fn(|| self.listener.is_own().then(|| self.listener.accept().ok()).flatten());
        for (socket, peer) in waiting.take(MOST) {
            shared.memory.accept.accepted.add(1);
            shared.dispatcher.dispatch(Parked::new(socket, peer));
        }
    }

    /// Accepts until nobody waits, unless another worker does so.
    async fn accept_all(&self, worker: usize, shared: &Shared) {
        let Ok(shortage) = self.turn.try_lock() else { return };
        let mut turn = Turn { entrance: self, shortage: Some(shortage) };
        let Some(shortage) = turn.shortage.as_deref_mut() else { return };
        loop {
            if shared.dispatcher.is_full() && self.somebody_waits() {
                shortage.make_room(shared).await;
            }
            match self.listener.accept() {
                Ok((socket, peer)) => {
                    self.recover(shortage, shared);
                    if shortage.ends() {
                        shared.log.send(Event::AcceptResumed);
                    }
                    shared.memory.accept.accepted.add(1);
                    shared.dispatcher.dispatch_preferring(worker, Parked::new(socket, peer));
                    coop::consume_budget().await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // A Unix socket that is shut down says so, too.
                    if self.failure.load(Relaxed) != SHUT_DOWN {
                        self.recover(shortage, shared);
                    }
                    break;
                }
                Err(error) if Shortage::is(&error) => {
                    shortage.pause(shared, || format!("{}: {error}", self.listener));
                    shortage.make_do(shared).await;
                }
                Err(error) if Shortage::is_of_client(&error) => yield_now().await,
                Err(error) => {
                    self.failure.store(error.raw_os_error().unwrap_or(Errno::EIO as i32), Relaxed);
                    shortage.pause(shared, || format!("{}: {error}", self.listener));
                    sleep(SHORTLY).await;
                }
            }
        }
        turn.ends();
    }

    /// epoll only tells when somebody comes, not whether somebody is still there.
    fn somebody_waits(&self) -> bool {
        let mut poll = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        nix::poll::poll(&mut poll, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }
}

/// The right to accept. Where it is given up early, because a worker leaves or panics, another one goes
/// on.
struct Turn<'e> {
    entrance: &'e Entrance,
    shortage: Option<MutexGuard<'e, Shortage>>,
}

impl Turn<'_> {
    fn ends(mut self) {
        self.shortage = None;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Whoever is told must find it free.
        if self.shortage.take().is_some() {
            self.entrance.given_up.notify_waiters();
        }
    }
}

/// An entrance as one worker watches it.
#[derive(Debug)]
pub struct Watched {
    entrance: Arc<Entrance>,
    listener: AsyncFd<Arc<Listener>>,
}

impl Watched {
    /// Has the runtime that is entered tell when somebody comes.
    ///
    /// # Errors
    /// When epoll takes no more descriptors, or has this one already.
    pub fn new(entrance: Arc<Entrance>) -> io::Result<Self> {
        let listener = sys::watch(entrance.listener.clone())?;
        Ok(Self { entrance, listener })
    }

    /// Whether it is this one that is watched.
    pub fn is_of(&self, entrance: &Arc<Entrance>) -> bool {
        Arc::ptr_eq(&self.entrance, entrance)
    }

    async fn accept(&self, worker: usize, shared: &Shared) {
        loop {
            // From here on it is noticed when another worker gives up.
            let given_up = self.entrance.given_up.notified();
            self.entrance.accept_all(worker, shared).await;
            // A socket that was shut down is always readable, and has no connection.
            coop::consume_budget().await;
            tokio::select! {
                ready = self.listener.readable() => match ready {
                    // Every worker is told of whoever comes from now on.
                    Ok(mut ready) => {
                        if ready.ready().is_read_closed() {
                            // It is ready for ever.
                            self.entrance.shut_down(shared);
                            sleep(SHORTLY).await;
                        }
                        ready.clear_ready();
                    }
                    Err(_) => return,
                },
                () = given_up => {}
            }
        }
    }
}

/// Accepts at all of them, for this worker first, for as long as this is polled.
pub async fn accept(watched: Vec<Arc<Watched>>, worker: usize, shared: Shared) {
    join_all(watched.iter().map(|watched| watched.accept(worker, &shared))).await;
}
