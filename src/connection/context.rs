use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use super::{buffers::Buffers, eviction::EvictionQueue, registry::Registry};
use crate::{
    http::{HeadWriter, Policy, Response},
    log::{Event, Level, Log},
    pixel::{self, Parse},
    stats::WorkerStats,
};

/// What the connections of one worker share. It never leaves the worker's thread.
#[derive(Debug)]
pub struct Context {
    pub worker: usize,
    pub stats: Arc<WorkerStats>,
    /// Where rejected requests and broken connections are logged.
    pub log: Log,
    pub connections: Rc<Registry>,
    close_after_response: Cell<bool>,
    pub(super) parse: Parse,
    pub(super) buffers: RefCell<Buffers>,
    pub(super) heads: HeadWriter,
    policy: RefCell<Rc<Policy>>,
    policy_generation: Cell<usize>,
}

impl Context {
    /// A context without connections, none of which will ever be asked to give way.
    pub fn new(worker: usize, stats: Arc<WorkerStats>, log: Log, policy: Policy) -> Self {
        Self::with_queue(worker, stats, log, policy, pixel::parse, Arc::default(), |_| ())
    }

    /// A context without connections. Those that come give way as `queue` chooses; `notify` has
    /// [`Registry::evict`] called.
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
            policy: RefCell::new(Rc::new(policy)),
            policy_generation: Cell::new(0),
        }
    }

    /// Counts a response, and logs it if it is no accepted one's.
    pub(super) fn count(&self, response: &Response, client: impl FnOnce() -> String) {
        self.stats.record_outcome(response.outcome);
        if !response.status.is_success() && self.log.wants(Level::Debug) {
            self.log.send(Event::RequestRejected {
                worker: self.worker,
                client: client(),
                status: response.status.as_u16(),
                reason: response.reason(),
            });
        }
    }

    /// From now on each answer is the last on its connection.
    pub fn close_after_response(&self) {
        self.close_after_response.set(true);
    }

    /// Whether each answer is the last on its connection.
    pub fn closes_after_response(&self) -> bool {
        self.close_after_response.get()
    }

    /// What holds now.
    pub fn policy(&self) -> Rc<Policy> {
        self.policy.borrow().clone()
    }

    /// From now on this holds, also for what every connection waits for already.
    pub fn set_policy(&self, policy: Policy) {
        *self.policy.borrow_mut() = Rc::new(policy);
        self.policy_generation.set(self.policy_generation.get() + 1);
        self.connections.wake_all();
    }

    /// How often what holds was changed.
    pub(super) fn policy_generation(&self) -> usize {
        self.policy_generation.get()
    }
}
