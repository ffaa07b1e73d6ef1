use std::{sync::Arc, thread::ThreadId, time::Duration};

use tokio::sync::mpsc::UnboundedSender;

use super::dispatcher::Dispatcher;
use crate::{log::Log, pixel::Parse, stats::SharedStats};

/// The state that all workers share.
#[derive(Debug, Clone)]
pub struct SharedState {
    pub dispatcher: Arc<Dispatcher>,
    /// The counters of all workers, in memory that outlives the process.
    pub memory: Arc<SharedStats>,
    /// The function that parses a body. Tests replace it.
    pub parse: Parse,
    pub log: Log,
    /// The interval at which each worker records that it makes progress.
    pub heartbeat: Duration,
    /// Receives the id of the thread of each worker that exits.
    pub ended: UnboundedSender<ThreadId>,
}
