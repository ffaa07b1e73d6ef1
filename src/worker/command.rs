use tokio::sync::oneshot;

use super::acceptor::RegisteredAcceptor;
use crate::{connection::DetachedConnection, http::Policy};

/// A command to a worker.
#[derive(Debug)]
pub enum Command {
    Serve(DetachedConnection),
    /// Accept connections at these listeners only. The sender is dropped when that is in effect.
    SetAcceptors(Vec<RegisteredAcceptor>, oneshot::Sender<()>),
    SetPolicy(Policy),
    /// Give this number of connections to other workers, each after its request in progress.
    Migrate(usize),
    /// Close the connection with this number, because another client needs its slot.
    Evict(usize),
    /// Give all connections to other workers, each after its request in progress, and exit.
    MigrateAllAndExit,
    /// Reply when the requests and responses that are incomplete now are complete.
    AwaitIncomplete(oneshot::Sender<()>),
    /// Give all connections to the next process, including incomplete requests, and exit.
    DetachAllAndExit,
    /// Close each connection after its next response.
    CloseAfterResponse,
    /// Close all connections, each when it becomes idle, and exit.
    CloseIdleAndExit,
    /// Exit at once. Requests in flight are cut off.
    Abort,
}
