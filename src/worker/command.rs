use tokio::sync::oneshot;

use super::acceptor::RegisteredAcceptor;
use crate::{connection::DetachedConnection, http::Policy};

/// A command to a worker.
#[derive(Debug)]
pub enum Command {
    Serve(DetachedConnection),
    /// Accept connections at these listeners from now on, and at no others; then drop the sender.
    SetAcceptors(Vec<RegisteredAcceptor>, oneshot::Sender<()>),
    /// Treat clients like this from now on.
    SetPolicy(Policy),
    /// Give so many connections to other workers, as they become idle.
    Migrate(usize),
    /// Close this connection, by its number, because another client needs its place.
    Evict(usize),
    /// Give all connections to other workers, as they become idle, and exit.
    MigrateAllAndExit,
    /// Drop the sender when the requests and responses that are incomplete now are complete.
    AwaitIncomplete(oneshot::Sender<()>),
    /// Give all connections to the next process, with what there is of incomplete requests, and exit.
    DetachAllAndExit,
    /// Close each connection after its next response.
    CloseAfterResponse,
    /// Close all connections, as they become idle, and exit.
    CloseIdleAndExit,
    /// Exit now. Requests in flight are cut off.
    Abort,
}
