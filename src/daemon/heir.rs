//! The next process, as far as it can be reached: through sockets that the service manager keeps for it.

use std::{
    io::{self, ErrorKind},
    iter::from_fn,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{timeout, timeout_at},
};

use super::house::House;
use crate::{
    http::Parked,
    systemd,
    worker::{Outbox, pair},
};

/// Who gets the connections.
#[derive(Debug)]
pub struct Heir {
    outbox: Outbox,
    given_up: UnboundedReceiver<Parked>,
    /// Given up, and not left yet.
    connections: Vec<Parked>,
    left: u64,
}

/// A socket whose other end the service manager is asked to keep; `None` where there is none. One that
/// keeps nothing (FileDescriptorStoreMax=0) closes that end when it finds the time, even after it has
/// said that it is done. So this is for the start of the daemon: when it stops, it shows.
///
/// # Errors
/// When descriptors are short, or the service manager cannot be asked.
pub fn open_outbox(house: &House) -> io::Result<Option<Outbox>> {
    if !systemd::is_managed() {
        return Ok(None);
    }
    let (outbox, far) = pair()?;
    house.ask(|notifier| notifier.store(systemd::CONNECTIONS, &far))?;
    Ok(Some(outbox))
}

/// Whether the service manager, once it has dealt with everything that it was told, has the other end.
///
/// # Errors
/// When it cannot be asked, or has not answered within `limit`.
async fn is_kept(house: &House, outbox: &Outbox, limit: Duration) -> io::Result<bool> {
    let barrier = house.ask(|notifier| notifier.barrier())?;
    let passed = timeout(limit, barrier.passed()).await;
    passed.map_err(|_| {
        let reason = format!("the service manager has not answered for {} s", limit.as_secs());
        io::Error::new(ErrorKind::TimedOut, reason)
    })??;
    Ok(outbox.is_kept())
}

impl Heir {
    /// Has the workers give everything up for it, as soon as it is certain that it will get that, and the
    /// requests and responses that are incomplete now are complete, or `patience` has passed; until then the
    /// workers serve and accept. `None` where nobody keeps anything.
    ///
    /// # Errors
    /// When the service manager cannot be asked, or has not answered within `limit`.
    pub async fn find(
        house: &House,
        outbox: Outbox,
        limit: Duration,
        patience: Duration,
    ) -> io::Result<Option<Self>> {
        let begun = tokio::time::Instant::now();
        let complete = house.pool.borrow().await_incomplete();
        if !is_kept(house, &outbox, limit).await? {
            return Ok(None);
        }
        // What is incomplete then goes along.
        let _ = timeout_at(begun + patience, complete).await;
        let mut pool = house.pool.borrow_mut();
        // Each worker does one after the other.
        drop(pool.close_acceptors());
        let given_up = pool.hand_over();
        Ok(Some(Self { outbox, given_up, connections: Vec::new(), left: 0 }))
    }

    /// Leaves everything that was given up. All at once: a message takes nearly as much room with one
    /// connection as with hundreds, and the service manager keeps few sockets.
    ///
    /// # Errors
    /// When something is left over: the service manager keeps no more, or has not answered within `limit`.
    pub async fn leave(&mut self, house: &House, limit: Duration) -> io::Result<()> {
        let begun = Instant::now();
        self.connections.extend(from_fn(|| self.given_up.try_recv().ok()));
        // What the service manager keeps has a bound: clients that have sent much of a request and not all
        // of it take nothing from those that wait for their next one.
        self.connections.sort_by_key(|connection| connection.unread.len());
        let count = self.connections.len() as u64;
        let result = loop {
            match self.outbox.send(&mut self.connections) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => break result,
            }
            // It is full.
            if let Err(error) = self.take_another_outbox(house, limit.saturating_sub(begun.elapsed())).await {
                break Err(error);
            }
        };
        self.left += count - self.connections.len() as u64;
        result
    }

    async fn take_another_outbox(&mut self, house: &House, limit: Duration) -> io::Result<()> {
        let is_full = || io::Error::other("the service manager keeps no more (FileDescriptorStoreMax=)");
        let outbox = open_outbox(house)?.ok_or_else(is_full)?;
        if !is_kept(house, &outbox, limit).await? {
            return Err(is_full());
        }
        self.outbox = outbox;
        Ok(())
    }

    /// Connections that were left.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Connections that were given up and could not be left.
    pub fn left_over(&self) -> u64 {
        self.connections.len() as u64
    }

    /// Those of them that have an incomplete request.
    pub fn cut_off(&self) -> u64 {
        self.connections.iter().filter(|connection| !connection.unread.is_empty()).count() as u64
    }
}
