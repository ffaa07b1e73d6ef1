use std::{sync::Arc, thread::ThreadId, time::Duration};

use tokio::sync::mpsc::UnboundedSender;

use super::dispatcher::Dispatcher;
use crate::{log::Log, pixel::Parse, stats::SharedStats};

/// What all workers have in common.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Where connections come from and go back to.
    pub dispatcher: Arc<Dispatcher>,
    /// Where they count.
    pub memory: Arc<SharedStats>,
    /// How they read the body of a request.
    pub parse: Parse,
    pub log: Log,
    /// How often each shows that it makes progress.
    pub heartbeat: Duration,
    /// Where each sends its thread when it exits.
    pub ended: UnboundedSender<ThreadId>,
}
