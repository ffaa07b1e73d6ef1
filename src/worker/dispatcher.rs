use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use tokio::{
    sync::{
        Notify,
        mpsc::{UnboundedSender, error::SendError},
    },
    time::Instant,
};

use super::command::Command;
use crate::{
    connection::{DetachedConnection, Evicted, EvictionQueue},
    log::Event,
    net::FdBudget,
    stats::WorkerStats,
};

/// Assigns each connection to the worker with the fewest, and enforces the connection limit.
#[derive(Debug, Default)]
pub struct Dispatcher {
    set: Mutex<WorkerSet>,
    open: AtomicUsize,
    configured_limit: AtomicUsize,
    /// The configured limit, or a lower one that the open-file limit allows.
    effective_limit: AtomicUsize,
    moved: AtomicU64,
    cut_off: AtomicU64,
    capacity: Notify,
    evictions: Arc<EvictionQueue>,
}

#[derive(Debug, Default)]
struct WorkerSet {
    workers: Vec<WorkerHandle>,
    /// The worker that is preferred among equals. They take turns.
    next: usize,
    /// If set, all connections are handed off to the next process.
    handoff_tx: Option<UnboundedSender<DetachedConnection>>,
}

/// The part of a worker that the dispatcher uses.
#[derive(Debug, Clone)]
pub struct WorkerHandle {
    pub commands: UnboundedSender<Command>,
    pub stats: Arc<WorkerStats>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dispatched {
    /// To another worker.
    ToWorker,
    /// To the next process.
    HandedOff,
    Closed,
}

impl Dispatcher {
    /// Returns the number of open connections of all workers.
    pub fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Sets the configured limit. It takes effect with [`Self::update_limit`].
    pub fn configure_limit(&self, wanted: usize) {
        self.configured_limit.store(wanted, Relaxed);
    }

    /// Sets the effective limit to the configured one, or to a lower one that the open-file limit allows. Returns an
    /// event to log if the open-file limit reduces the effective limit to another number than before.
    pub fn update_limit(&self) -> Option<Event> {
        let (budget, wanted) = (FdBudget::from_rlimit(), self.configured_limit.load(Relaxed));
        let fit = budget.connections(self.lock().workers.len());
        let before = self.effective_limit.swap(wanted.min(fit), Relaxed);
        self.capacity.notify_one();
        let is_news = fit < wanted && fit != before;
        is_news.then(|| Event::FdLimitTooLow { files: budget.limit(), limit: fit, wanted })
    }

    /// Whether the open-file limit reduces the configured limit.
    pub fn is_fd_limited(&self) -> bool {
        self.limit() < self.configured_limit.load(Relaxed)
    }

    pub fn is_full(&self) -> bool {
        self.open() >= self.effective_limit.load(Relaxed)
    }

    /// Waits until a connection closes while the limit is reached, or the limit changes.
    pub async fn wait_for_capacity(&self) {
        self.capacity.notified().await;
    }

    /// Wakes another accept loop that waits at the limit, unless the limit is reached. Several connections that closed
    /// at once may have woken only one of them.
    pub fn wake_if_below_limit(&self) {
        if !self.is_full() {
            self.capacity.notify_one();
        }
    }

    /// Returns the order of eviction of all connections.
    pub fn eviction_queue(&self) -> Arc<EvictionQueue> {
        self.evictions.clone()
    }

    /// Evicts a connection as [`EvictionQueue::evict`] does. Does not wait for its worker.
    pub fn evict(&self) -> Option<Evicted> {
        self.evictions.evict()
    }

    /// Assigns a connection to the worker with the fewest. Closes it if there is no worker.
    pub fn dispatch(&self, connection: DetachedConnection) -> Dispatched {
        // Without an accepting worker, the connection is never returned.
        self.dispatch_with(None, connection).unwrap_or(Dispatched::Closed)
    }

    /// Assigns a connection to the worker with the fewest. Among equals, prefers the accepting worker, because waking
    /// another one nearly doubles the cost of a new connection. Returns the connection if the accepting worker serves
    /// it.
    pub fn dispatch_preferring(
        &self,
        accepting: &Arc<WorkerStats>,
        connection: DetachedConnection,
    ) -> Option<DetachedConnection> {
        self.dispatch_with(Some(accepting), connection).err()
    }

    fn dispatch_with(
        &self,
        accepting: Option<&Arc<WorkerStats>>,
        mut connection: DetachedConnection,
    ) -> Result<Dispatched, DetachedConnection> {
        self.open.fetch_add(1, Relaxed);
        let mut set = self.lock();
        if let Some(handoff) = &set.handoff_tx {
            let sent = handoff.send(connection);
            self.connection_closed();
            // If the handoff has ended, this closes the connection.
            return Ok(if sent.is_ok() { Dispatched::HandedOff } else { Dispatched::Closed });
        }
        while let Some(i) = set.least_loaded_or(accepting) {
            let worker = &set.workers[i];
            worker.stats.connection_assigned();
            if accepting.is_some_and(|accepting| Arc::ptr_eq(accepting, &worker.stats)) {
                return Err(connection);
            }
            // Counts for its peer from now on, although its worker is not serving it yet.
            let add = || self.evictions.add(connection.peer.into(), Instant::now());
            connection.eviction_entry.get_or_insert_with(add);
            match worker.commands.send(Command::Serve(connection)) {
                Ok(()) => return Ok(Dispatched::ToWorker),
                Err(SendError(Command::Serve(returned))) => {
                    // The thread of that worker has ended.
                    set.workers.remove(i);
                    connection = returned;
                }
                Err(_) => break,
            }
        }
        self.connection_closed();
        Ok(Dispatched::Closed)
    }

    /// Assigns a connection that another worker has given away, and counts the move.
    pub fn redispatch(&self, connection: DetachedConnection) -> Dispatched {
        let dispatched = self.dispatch(connection);
        if dispatched == Dispatched::ToWorker {
            self.moved.fetch_add(1, Relaxed);
        }
        dispatched
    }

    /// Hands off all further connections to the next process.
    pub fn set_handoff(&self, handoff: UnboundedSender<DetachedConnection>) {
        self.lock().handoff_tx = Some(handoff);
    }

    /// Returns the number of connections that moved from one worker to another.
    pub fn moved(&self) -> u64 {
        self.moved.load(Relaxed)
    }

    /// Counts connections that were cut off because the daemon stops.
    pub fn count_cut_off(&self, connections: usize) {
        self.cut_off.fetch_add(connections as u64, Relaxed);
    }

    /// Returns the number of connections whose request or response was cut off because the daemon stops.
    pub fn cut_off(&self) -> u64 {
        self.cut_off.load(Relaxed)
    }

    /// Returns the connection limit in effect.
    pub fn limit(&self) -> usize {
        self.effective_limit.load(Relaxed)
    }

    /// Counts a connection as closed.
    pub fn connection_closed(&self) {
        let before = self.open.fetch_sub(1, Relaxed);
        if before >= self.effective_limit.load(Relaxed) {
            self.capacity.notify_one();
        }
    }

    /// Replaces the workers, and asks those with more than their share to move the surplus. Returns the number of
    /// connections that move.
    pub fn set_workers(&self, workers: Vec<WorkerHandle>) -> u64 {
        let mut set = self.lock();
        let open: Vec<_> =
            workers.iter().map(|worker| usize::try_from(worker.stats.open()).unwrap_or(0)).collect();
        let total: usize = open.iter().sum();
        let mut surplus = 0;
        let (share, mut odd) = (total / workers.len().max(1), total % workers.len().max(1));
        for (worker, open) in workers.iter().zip(open) {
            let mut fair = share;
            if open > share && odd > 0 {
                odd -= 1;
                fair += 1;
            }
            if open > fair {
                // A worker that has ended has nothing to move.
                let _ = worker.commands.send(Command::Migrate(open - fair));
                surplus += (open - fair) as u64;
            }
        }
        *set = WorkerSet { workers, next: 0, handoff_tx: set.handoff_tx.take() };
        surplus
    }

    fn lock(&self) -> MutexGuard<'_, WorkerSet> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WorkerSet {
    fn least_loaded(&mut self) -> Option<usize> {
        let count = self.workers.len();
        let i = (0..count)
            .map(|offset| (self.next + offset) % count)
            .min_by_key(|i| self.workers[*i].stats.open())?;
        self.next = (i + 1) % count;
        Some(i)
    }

    /// Returns the worker with these statistics if no other has fewer connections.
    fn least_loaded_or(&mut self, preferred: Option<&Arc<WorkerStats>>) -> Option<usize> {
        let fewest = self.least_loaded()?;
        let open = |i: usize| self.workers[i].stats.open();
        let own =
            preferred.and_then(|stats| self.workers.iter().position(|it| Arc::ptr_eq(stats, &it.stats)));
        Some(own.filter(|own| open(*own) == open(fewest)).unwrap_or(fewest))
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;
    use crate::{connection::Peer, stats::SharedStats};

    fn connection() -> DetachedConnection {
        let (fd, _) = std::os::unix::net::UnixStream::pair().unwrap();
        DetachedConnection::new(crate::net::Socket::adopt(fd.into()).unwrap(), None)
    }

    fn handles<const N: usize>() -> ([WorkerHandle; N], [UnboundedReceiver<Command>; N]) {
        let mut receivers = Vec::new();
        let memory = Arc::new(SharedStats::create(0).unwrap());
        let handles = std::array::from_fn(|i| {
            let (commands, receiver) = unbounded_channel();
            receivers.push(receiver);
            WorkerHandle { commands, stats: Arc::new(WorkerStats::new(memory.clone(), i + 1)) }
        });
        (handles, receivers.try_into().unwrap())
    }

    fn counts(handles: &[WorkerHandle]) -> Vec<u64> {
        handles.iter().map(|worker| worker.stats.open()).collect()
    }

    #[test]
    fn connections_go_to_the_least_loaded() {
        let (handles, _receivers) = handles::<3>();
        let dispatcher = Dispatcher::default();
        dispatcher.set_workers(handles.to_vec());
        for _ in 0..64 {
            dispatcher.dispatch(connection());
        }
        let mut spread = counts(&handles);
        spread.sort_unstable();
        assert_eq!(spread, [21, 21, 22]);
        for _ in 0..10 {
            handles[1].stats.connection_closed();
        }
        for _ in 0..10 {
            dispatcher.dispatch(connection());
        }
        assert!(counts(&handles).iter().all(|n| (21..=22).contains(n)));
    }

    #[test]
    fn accepting_worker_keeps_its_share() {
        let (handles, _receivers) = handles::<3>();
        let dispatcher = Dispatcher::default();
        dispatcher.set_workers(handles.to_vec());
        for _ in 0..6 {
            dispatcher.dispatch_preferring(&handles[1].stats, connection());
        }
        assert_eq!(counts(&handles), [2, 2, 2]);
        handles[1].stats.connection_closed();
        dispatcher.dispatch_preferring(&handles[1].stats, connection());
        dispatcher.dispatch_preferring(&handles[2].stats, connection());
        assert_eq!(counts(&handles), [2, 2, 3]);
    }

    #[test]
    fn connection_that_waits_for_its_worker_can_be_evicted() {
        let (handles, _receivers) = handles::<2>();
        let dispatcher = Dispatcher::default();
        dispatcher.set_workers(handles.to_vec());
        let own = dispatcher.dispatch_preferring(&handles[0].stats, connection());
        assert!(own.is_some() && dispatcher.evict().is_none());
        assert!(dispatcher.dispatch_preferring(&handles[0].stats, connection()).is_none());
        assert_eq!(dispatcher.evict(), Some(Evicted { peer: Peer::Unix, held: 1 }));
    }

    #[test]
    fn new_worker_gets_its_share() {
        let (handles, mut receivers) = handles::<3>();
        let dispatcher = Dispatcher::default();
        dispatcher.set_workers(handles[..2].to_vec());
        for _ in 0..64 {
            dispatcher.dispatch(connection());
        }
        dispatcher.set_workers(handles.to_vec());
        let mut moved: Vec<_> = receivers[..2]
            .iter_mut()
            .filter_map(|commands| {
                std::iter::from_fn(|| commands.try_recv().ok()).find_map(|command| match command {
                    Command::Migrate(count) => Some(count),
                    _ => None,
                })
            })
            .collect();
        moved.sort_unstable();
        assert_eq!(moved, [10, 11]);
    }

    #[test]
    fn exited_worker_is_skipped() {
        let (handles, receivers) = handles::<2>();
        let [first, second] = receivers;
        drop(first);
        let dispatcher = Dispatcher::default();
        dispatcher.set_workers(handles.to_vec());
        for _ in 0..4 {
            dispatcher.dispatch(connection());
        }
        assert_eq!((second.len(), dispatcher.open()), (4, 4));
        drop(second);
        dispatcher.dispatch(connection());
        assert_eq!(dispatcher.open(), 4);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn capacity_is_awaited_at_the_limit() {
        let (handles, _receivers) = handles::<1>();
        let dispatcher = Dispatcher::default();
        dispatcher.set_workers(handles.to_vec());
        dispatcher.configure_limit(1);
        dispatcher.update_limit();
        assert!(!dispatcher.is_full());
        dispatcher.dispatch(connection());
        assert!(dispatcher.is_full());
        tokio::join!(dispatcher.wait_for_capacity(), async { dispatcher.connection_closed() });
        assert!(!dispatcher.is_full());
    }
}
