use std::{
    cell::{Cell, Ref, RefCell},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
};

use super::{
    buffers::Buffers, connection_state::ConnectionState, eviction::EvictionQueue, registry::Registry,
};
use crate::{
    http::{HeadWriter, Policy, Response},
    log::{Event, Level, Log},
    pixel::{self, Parse},
    stats::{Outcome, WorkerStats},
};

/// The state that the connections of one worker share. It never leaves the worker's thread.
#[derive(Debug)]
pub struct WorkerContext {
    pub worker: usize,
    pub stats: Arc<WorkerStats>,
    pub log: Log,
    pub connections: Rc<Registry>,
    close_after_response: Cell<bool>,
    pub(super) parse: Parse,
    pub(super) buffers: RefCell<Buffers>,
    pub(super) heads: HeadWriter,
    policy: RefCell<Policy>,
    /// The number of changes of `policy`.
    policy_generation: Cell<usize>,
}

impl WorkerContext {
    /// Creates a context for tests: no connection is ever evicted.
    pub fn new(worker: usize, stats: Arc<WorkerStats>, log: Log, policy: Policy) -> Self {
        Self::with_queue(worker, stats, log, policy, pixel::parse, Arc::default(), |_| ())
    }

    /// Creates a context whose connections `queue` can choose for eviction. `notify` is called on another
    /// thread, and must make this thread call [`Registry::evict`].
    pub fn with_queue(
        worker: usize,
        stats: Arc<WorkerStats>,
        log: Log,
        policy: Policy,
        parse: Parse,
        queue: Arc<EvictionQueue>,
        notify: impl Fn(usize) + Send + 'static,
    ) -> Self {
        let connections = Rc::new(Registry::new(stats.clone(), queue, notify));
        Self {
            worker,
            stats,
            log,
            connections,
            close_after_response: Cell::new(false),
            parse,
            buffers: RefCell::default(),
            heads: HeadWriter::default(),
            policy: RefCell::new(policy),
            policy_generation: Cell::new(0),
        }
    }

    /// Counts a response, and logs a rejection.
    pub(super) fn count(&self, response: &Response, state: &ConnectionState, real_ip: Option<IpAddr>) {
        self.stats.record_outcome(response.outcome);
        if !response.status.is_success() && self.log.wants(Level::Debug) {
            self.log.send(Event::RequestRejected {
                worker: self.worker,
                client: state.client(real_ip),
                status: response.status.as_u16(),
                reason: match response.outcome {
                    Outcome::TimedOut => state.incomplete_reason().into(),
                    _ => response.log_reason(),
                },
            });
        }
    }

    /// Makes each further response the last one on its connection.
    pub fn close_after_response(&self) {
        self.close_after_response.set(true);
    }

    pub fn closes_after_response(&self) -> bool {
        self.close_after_response.get()
    }

    /// Returns the policy in effect. Do not hold it across an `await`.
    pub fn policy(&self) -> Ref<'_, Policy> {
        self.policy.borrow()
    }

    /// Replaces the policy. It also applies to phases that have begun.
    pub fn set_policy(&self, policy: Policy) {
        *self.policy.borrow_mut() = policy;
        self.policy_generation.set(self.policy_generation.get() + 1);
        self.connections.wake_all();
    }

    pub(super) fn policy_generation(&self) -> usize {
        self.policy_generation.get()
    }
}
