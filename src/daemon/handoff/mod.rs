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
use super::state::Daemon;
use crate::{
    connection::DetachedConnection,
    log::{Event, Log},
    net::FdBudget,
    systemd,
    worker::Pool,
};

/// A handoff that has begun: the next process gets the connections.
#[derive(Debug)]
pub struct Handoff {
    sender: HandoffSender,
    detached: UnboundedReceiver<DetachedConnection>,
    /// Detached by their workers, and not sent yet.
    connections: Vec<DetachedConnection>,
    sent: u64,
}

/// A socket whose other end the service manager is asked to keep; `None` where there is none. One that
/// keeps nothing (FileDescriptorStoreMax=0) closes that end when it finds the time, even after it has
/// said that it is done. So this is for the start of the daemon: when it stops, it shows.
///
/// # Errors
/// When descriptors are short, or the service manager cannot be asked.
pub fn open_sender(daemon: &Daemon) -> io::Result<Option<HandoffSender>> {
    if !systemd::is_managed() {
        return Ok(None);
    }
    let (sender, far) = socket_pair()?;
    daemon.manager.ask(|notifier| notifier.store(systemd::CONNECTIONS, &far))?;
    Ok(Some(sender))
}

/// Whether the service manager, once it has dealt with everything that it was told, has the other end.
///
/// # Errors
/// When it cannot be asked, or has not answered within `limit`.
async fn is_stored(daemon: &Daemon, sender: &HandoffSender, limit: Duration) -> io::Result<bool> {
    let barrier = daemon.manager.ask(|notifier| notifier.barrier())?;
    let passed = timeout(limit, barrier.passed()).await;
    passed.map_err(|_| {
        let reason = format!("no confirmation from systemd within {} s", limit.as_secs());
        io::Error::new(ErrorKind::TimedOut, reason)
    })??;
    Ok(sender.is_stored())
}

impl Handoff {
    /// Lets the workers detach all connections, once the service manager has confirmed that it has the sender's
    /// other end, and the requests and responses that are incomplete now are complete or `patience` has passed;
    /// until then the workers serve and accept. `None` if the service manager stores nothing.
    ///
    /// # Errors
    /// When the service manager cannot be asked, or has not answered within `limit`.
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
        // What is incomplete then goes along.
        let _ = timeout_at(begun + patience, complete).await;
        let mut pool = daemon.pool.borrow_mut();
        // Each worker does one after the other.
        drop(pool.close_acceptors());
        let detached = pool.detach_all();
        Ok(Some(Self { sender, detached, connections: Vec::new(), sent: 0 }))
    }

    /// Sends every connection that was detached. All at once: a message takes nearly as much of the socket's
    /// buffer with one connection as with hundreds, and the service manager stores few sockets.
    ///
    /// # Errors
    /// When something is left over: the service manager keeps no more, or has not answered within `limit`.
    pub async fn send_connections(&mut self, daemon: &Daemon, limit: Duration) -> io::Result<()> {
        let begun = Instant::now();
        self.connections.extend(from_fn(|| self.detached.try_recv().ok()));
        // What the service manager keeps has a bound: clients that have sent much of a request and not all
        // of it take nothing from those that wait for their next one.
        self.connections.sort_by_key(|connection| connection.unread.len());
        let count = self.connections.len() as u64;
        let result = loop {
            match self.sender.send(&mut self.connections) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => break result,
            }
            // It is full.
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

    /// Those of them that have an incomplete request.
    pub fn unsent_incomplete(&self) -> u64 {
        self.connections.iter().filter(|connection| !connection.unread.is_empty()).count() as u64
    }
}

/// Adopts the connections of the previous process, as many as there are descriptors for. Closes the sockets
/// that held them, and what is still inside.
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
