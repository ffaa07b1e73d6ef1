//! Hands connections off to the next process, through sockets in the service manager's descriptor store, and
//! adopts those of the previous one.

mod codec;

use std::{
    io::{self, ErrorKind},
    iter::from_fn,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{timeout, timeout_at},
};

pub use self::codec::HandoffSender;
use self::codec::{ReceivedConnections, socket_pair};
use super::daemon_state::Daemon;
use crate::{
    connection::DetachedConnection,
    log::{Event, Log},
    net::FdBudget,
    systemd,
    worker::Pool,
};

/// A handoff in progress.
#[derive(Debug)]
pub struct Handoff {
    sender: HandoffSender,
    detached: UnboundedReceiver<DetachedConnection>,
    /// Detached by their workers, and not yet sent.
    connections: Vec<DetachedConnection>,
    sent: u64,
}

/// Opens a sender, and has systemd store its other end; `None` without systemd. If systemd stores nothing
/// (FileDescriptorStoreMax=0), it closes that end some time later, perhaps even after it has confirmed. The daemon
/// therefore opens the sender at its start, and checks it at its shutdown.
pub fn open_sender(daemon: &Daemon) -> io::Result<Option<HandoffSender>> {
    if !systemd::is_managed() {
        return Ok(None);
    }
    let (sender, far) = socket_pair()?;
    daemon.notifier.borrow().store(systemd::CONNECTIONS, &far).map_err(not_notified)?;
    Ok(Some(sender))
}

/// Waits until systemd has processed all notifications, and returns whether it has stored the other end.
///
/// # Errors
/// When systemd cannot be notified, or does not confirm within `limit`.
async fn is_stored(daemon: &Daemon, sender: &HandoffSender, limit: Duration) -> io::Result<bool> {
    let barrier = daemon.notifier.borrow().barrier().map_err(not_notified)?;
    let passed = timeout(limit, barrier.passed()).await;
    passed.map_err(|_| {
        let reason = format!("no confirmation from systemd within {} s", limit.as_secs());
        io::Error::new(ErrorKind::TimedOut, reason)
    })??;
    Ok(sender.is_stored())
}

#[allow(clippy::needless_pass_by_value)] // the form of map_err
fn not_notified(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("systemd not reachable, {error}"))
}

impl Handoff {
    /// Lets the workers detach all connections, after two conditions: systemd has confirmed that it has stored the
    /// sender's other end, and requests in progress are complete or `patience` has passed. Until then the workers
    /// serve and accept. Returns `None` if systemd stores nothing.
    ///
    /// # Errors
    /// When systemd cannot be notified, or does not confirm within `limit`.
    pub async fn begin(
        daemon: &Daemon,
        sender: HandoffSender,
        limit: Duration,
        patience: Duration,
    ) -> io::Result<Option<Self>> {
        let begun = tokio::time::Instant::now();
        let complete = daemon.pool.borrow().await_incomplete();
        if !is_stored(daemon, &sender, limit).await? {
            return Ok(None);
        }
        // A request that is still incomplete is handed off with its connection.
        let _ = timeout_at(begun + patience, complete).await;
        let mut pool = daemon.pool.borrow_mut();
        // A worker executes its commands in order, so the result is not awaited.
        drop(pool.close_acceptors());
        let detached = pool.detach_all();
        Ok(Some(Self { sender, detached, connections: Vec::new(), sent: 0 }))
    }

    /// Sends all detached connections at once, because a message with one connection takes nearly as much of the
    /// socket's buffer as one with hundreds, and systemd stores few sockets.
    ///
    /// # Errors
    /// When connections are left over: the store of systemd is full, or systemd does not confirm within `limit`.
    pub async fn send_connections(&mut self, daemon: &Daemon, limit: Duration) -> io::Result<()> {
        let begun = Instant::now();
        self.connections.extend(from_fn(|| self.detached.try_recv().ok()));
        // The store is bounded, so idle connections come before those with large incomplete requests.
        self.connections.sort_by_key(|connection| connection.unread.len());
        let count = self.connections.len() as u64;
        let result = loop {
            match self.sender.send(&mut self.connections) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => break result,
            }
            // The socket is full.
            if let Err(error) = self.open_next_sender(daemon, limit.saturating_sub(begun.elapsed())).await {
                break Err(error);
            }
        };
        self.sent += count - self.connections.len() as u64;
        result
    }

    async fn open_next_sender(&mut self, daemon: &Daemon, limit: Duration) -> io::Result<()> {
        let is_full =
            || io::Error::other("descriptor store of systemd is full; raise FileDescriptorStoreMax=");
        let sender = open_sender(daemon)?.ok_or_else(is_full)?;
        if !is_stored(daemon, &sender, limit).await? {
            return Err(is_full());
        }
        self.sender = sender;
        Ok(())
    }

    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Connections that were detached and could not be sent.
    pub fn unsent(&self) -> u64 {
        self.connections.len() as u64
    }

    /// Unsent connections with an incomplete request.
    pub fn unsent_incomplete(&self) -> u64 {
        self.connections.iter().filter(|connection| !connection.unread.is_empty()).count() as u64
    }
}

/// Adopts the connections of the previous process, as many as the descriptor budget allows. Closes the stored
/// sockets, and with them all other connections.
pub fn adopt_connections(pool: &Pool, stored: Vec<OwnedFd>, log: &Log) {
    let mut adopted = 0;
    for socket in stored {
        let capacity = FdBudget::from_rlimit().connections(pool.serving()).saturating_sub(pool.open());
        let ReceivedConnections { connections, closed } = codec::receive(&socket, capacity);
        adopted += connections.len() as u64;
        for connection in connections {
            pool.adopt_connection(connection);
        }
        for (reason, connections) in closed {
            log.send(Event::AdoptFailed { connections, reason });
        }
    }
    if adopted > 0 {
        log.send(Event::ConnectionsAdopted { connections: adopted });
    }
}
