use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use super::{eviction::EvictionQueue, express::Buffers, head::Heads, policy::Policy, registry::Registry};
use crate::{log::Log, stats::WorkerStats};

/// What the connections of one worker share. It never leaves the worker's thread.
#[derive(Debug)]
pub struct Context {
    /// The worker's number.
    pub worker: usize,
    /// The worker's counters.
    pub stats: Arc<WorkerStats>,
    /// Where refusals and broken connections are told.
    pub log: Log,
    /// The worker's connections.
    pub connections: Rc<Registry>,
    /// Whether plain requests are answered the short way, which nobody notices but for the time.
    pub express: bool,
    retiring: Cell<bool>,
    pub(super) buffers: RefCell<Buffers>,
    pub(super) heads: Heads,
    policy: RefCell<Rc<Policy>>,
    adoptions: Cell<usize>,
}

impl Context {
    /// A context without connections, none of which will ever be asked to give way.
    pub fn new(worker: usize, stats: Arc<WorkerStats>, log: Log, policy: Policy) -> Self {
        Self::with_queue(worker, stats, log, policy, Arc::default(), |_| ())
    }

    /// A context without connections. Those that come give way as `queue` chooses; `notify` has
    /// [`Registry::evict`] called.
    pub fn with_queue(
        worker: usize,
        stats: Arc<WorkerStats>,
        log: Log,
        policy: Policy,
        queue: Arc<EvictionQueue>,
        notify: impl Fn(usize) + Send + 'static,
    ) -> Self {
        let connections = Rc::new(Registry::new(stats.clone(), queue, notify));
        Self {
            worker,
            stats,
            log,
            connections,
            express: true,
            retiring: Cell::new(false),
            buffers: RefCell::default(),
            heads: Heads::default(),
            policy: RefCell::new(Rc::new(policy)),
            adoptions: Cell::new(0),
        }
    }

    /// From now on each answer is the last on its connection.
    pub fn retire(&self) {
        self.retiring.set(true);
    }

    /// Whether each answer is the last on its connection.
    pub fn is_retiring(&self) -> bool {
        self.retiring.get()
    }

    /// What holds now.
    pub fn policy(&self) -> Rc<Policy> {
        self.policy.borrow().clone()
    }

    /// From now on this holds, also for what every connection waits for already.
    pub fn set_policy(&self, policy: Policy) {
        *self.policy.borrow_mut() = Rc::new(policy);
        self.adoptions.set(self.adoptions.get() + 1);
        self.connections.wake_all();
    }

    /// How often what holds was changed.
    pub(super) fn adoptions(&self) -> usize {
        self.adoptions.get()
    }
}
