use std::{io, os::fd::AsFd, sync::Arc};

use futures_util::future::join_all;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use tokio::{
    io::unix::AsyncFd,
    sync::{Mutex, MutexGuard, Notify},
    task::{coop, yield_now},
};

use super::{shortage::Shortage, thread::Shared};
use crate::{
    http::Parked,
    log::Event,
    net::{Address, Listener},
    sys,
};

/// A listener at which all workers accept connections, one worker at a time.
#[derive(Debug)]
pub struct Entrance {
    listener: Arc<Listener>,
    /// Whoever accepts has it, until nobody waits any more. The others need not wait for it.
    turn: Mutex<Shortage>,
    /// Somebody has given it up before that.
    given_up: Notify,
}

impl From<Listener> for Entrance {
    fn from(listener: Listener) -> Self {
        Self { listener: listener.into(), turn: Mutex::default(), given_up: Notify::new() }
    }
}

impl Entrance {
    /// Where it is.
    pub fn address(&self) -> &Address {
        self.listener.address()
    }

    /// Nobody accepts here any more. Who is in the backlog of a socket of our own would be lost with it;
    /// that of an inherited one is for the next process.
    pub fn close(&self, shared: &Shared) {
        /// As many as a backlog holds (net.core.somaxconn); others may come meanwhile, without end.
        const MOST: usize = 4096;

        let waiting =
            std::iter::from_fn(|| self.listener.is_own().then(|| self.listener.accept().ok()).flatten());
        for (socket, peer) in waiting.take(MOST) {
            shared.memory.accept.accepted.add(1);
            shared.deck.deal(Parked::new(socket, peer));
        }
    }

    /// Accepts until nobody waits, unless another worker does so.
    async fn accept_all(&self, worker: usize, shared: &Shared) {
        let Ok(shortage) = self.turn.try_lock() else { return };
        let mut turn = Turn { entrance: self, shortage: Some(shortage) };
        let Some(shortage) = turn.shortage.as_deref_mut() else { return };
        loop {
            if shared.deck.is_full() && self.somebody_waits() {
                shortage.make_room(shared).await;
            }
            match self.listener.accept() {
                Ok((socket, peer)) => {
                    if shortage.ends() {
                        shared.log.send(Event::AcceptResumed);
                    }
                    shared.memory.accept.accepted.add(1);
                    shared.deck.deal_from(worker, Parked::new(socket, peer));
                    coop::consume_budget().await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if Shortage::is(&error) => {
                    shortage.pause(shared, || format!("{}: {error}", self.listener));
                    shortage.make_do(shared).await;
                }
                // The client has gone before it was accepted.
                Err(_) => yield_now().await,
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
    /// Has the runtime of this thread tell when somebody comes.
    ///
    /// # Errors
    /// When epoll takes no more descriptors.
    pub fn new(entrance: Arc<Entrance>) -> io::Result<Self> {
        let listener = sys::watch(entrance.listener.clone())?;
        Ok(Self { entrance, listener })
    }

    async fn accept(&self, worker: usize, shared: &Shared) {
        loop {
            // From here on it is noticed when another worker gives up.
            let given_up = self.entrance.given_up.notified();
            self.entrance.accept_all(worker, shared).await;
            tokio::select! {
                ready = self.listener.readable() => match ready {
                    // Every worker is told of whoever comes from now on.
                    Ok(mut ready) => ready.clear_ready(),
                    Err(_) => return,
                },
                () = given_up => {}
            }
        }
    }
}

/// Accepts at all of them, for this worker first, for as long as this is polled.
pub async fn accept(watched: Vec<Watched>, worker: usize, shared: Shared) {
    join_all(watched.iter().map(|watched| watched.accept(worker, &shared))).await;
}
