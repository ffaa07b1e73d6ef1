use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
};

use slab::Slab;
use tokio::time::Instant;

use super::{
    connection_state::{ConnectionRequest, ConnectionState},
    eviction::{EvictionEntry, EvictionQueue},
};
use crate::stats::WorkerStats;

/// The connections of one worker.
#[derive(Debug)]
pub struct Registry {
    states: RefCell<Slab<Rc<ConnectionState>>>,
    queue: Arc<EvictionQueue>,
    /// The number of this worker in `queue`.
    worker: usize,
    /// The request that is sent to each new connection.
    pending_request: Cell<Option<ConnectionRequest>>,
    stats: Arc<WorkerStats>,
}

impl Registry {
    /// Creates the registry of a worker. `notify` is called on another thread with the number of a connection that
    /// `queue` has chosen, and must make this thread call [`Self::evict`].
    pub fn new(
        stats: Arc<WorkerStats>,
        queue: Arc<EvictionQueue>,
        notify: impl Fn(usize) + Send + 'static,
    ) -> Self {
        Self {
            states: RefCell::default(),
            worker: queue.add_worker(notify),
            queue,
            pending_request: Cell::new(None),
            stats,
        }
    }

    /// Returns the state of a new connection.
    pub fn new_state(&self, peer: Option<SocketAddr>, requests: usize) -> Rc<ConnectionState> {
        let pending_request = self.pending_request.get();
        Rc::new(ConnectionState::new(peer, requests, self.stats.clone(), pending_request))
    }

    /// Registers a connection until the registration is dropped. From then on the worker can send requests to it, and
    /// it can be evicted.
    pub fn register(
        self: &Rc<Self>,
        state: &Rc<ConnectionState>,
        eviction_entry: Option<EvictionEntry>,
    ) -> Registration {
        let add = || self.queue.add(state.peer.into(), Instant::now());
        let eviction_entry = eviction_entry.unwrap_or_else(add);
        let id = self.states.borrow_mut().insert(state.clone());
        let is_chosen = eviction_entry.attach(self.worker, id);
        state.set_eviction_entry(eviction_entry);
        if is_chosen {
            state.ask(ConnectionRequest::Evict);
        }
        Registration { registry: self.clone(), id }
    }

    pub fn is_empty(&self) -> bool {
        self.states.borrow().is_empty()
    }

    /// Closes the connection that the queue has chosen, unless it has ended and `id` belongs to another one.
    pub fn evict(&self, id: usize) {
        if let Some(state) = self.states.borrow().get(id).filter(|state| state.is_chosen()) {
            state.ask(ConnectionRequest::Evict);
        }
    }

    /// Asks `count` connections to go to other workers ([`ConnectionRequest::Move`]).
    pub fn move_away(&self, count: usize) {
        let states = self.states.borrow();
        for (_, state) in states.iter().filter(|(_, state)| state.pending_request().is_none()).take(count) {
            state.ask(ConnectionRequest::Move);
        }
    }

    /// Sends a request to each connection, and to those that are registered later.
    pub fn ask_all(&self, request: ConnectionRequest) {
        self.pending_request.set(Some(request));
        for (_, state) in &*self.states.borrow() {
            state.ask(request);
        }
    }

    /// Whether a request that began at `time` or earlier, or its response, is incomplete.
    pub fn has_incomplete(&self, time: Instant) -> bool {
        self.states.borrow().iter().any(|(_, state)| state.is_under_way() && state.begun() <= time)
    }

    /// Whether a connection can still be handed off.
    pub fn has_more_to_hand_off(&self) -> bool {
        self.states.borrow().iter().any(|(_, state)| !state.stays())
    }

    /// Counts the connections that closing now would cut off: those with an unsent response, and those with a
    /// request that cannot be handed off.
    pub fn cut_by_closing(&self) -> (usize, usize) {
        let states = self.states.borrow();
        let cut = || states.iter().filter(|(_, state)| state.is_cut_by_closing());
        let unsent = cut().filter(|(_, state)| state.is_unsent()).count();
        (unsent, cut().count() - unsent)
    }

    /// Wakes each connection, so that it applies a new policy.
    pub fn wake_all(&self) {
        for (_, state) in &*self.states.borrow() {
            state.wake();
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.queue.remove_worker(self.worker);
    }
}

/// The entry of a connection in its worker's registry. Removed when dropped.
#[derive(Debug)]
pub struct Registration {
    registry: Rc<Registry>,
    id: usize,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.states.borrow_mut().remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stats::SharedStats;

    fn registry(queue: &Arc<EvictionQueue>) -> (Rc<Registry>, std::sync::mpsc::Receiver<usize>) {
        let memory = Arc::new(SharedStats::create(0).unwrap());
        let (notify, chosen) = std::sync::mpsc::channel();
        let notify = move |id| notify.send(id).unwrap();
        (Rc::new(Registry::new(Arc::new(WorkerStats::new(memory, 1)), queue.clone(), notify)), chosen)
    }

    /// A registered connection.
    struct Registered {
        id: usize,
        state: Rc<ConnectionState>,
        _registration: Registration,
    }

    fn register(registry: &Rc<Registry>) -> Registered {
        let state = registry.new_state(None, 0);
        let registration = registry.register(&state, None);
        Registered { id: registration.id, state, _registration: registration }
    }

    fn work_on(entered: &Registered) {
        entered.state.begin_request(Instant::now());
        entered.state.begin_response(Instant::now(), 1);
        entered.state.end_response();
    }

    /// Evicts one connection; `None` if there is none to evict.
    fn evict(
        queue: &EvictionQueue,
        registry: &Registry,
        chosen: &std::sync::mpsc::Receiver<usize>,
    ) -> Option<usize> {
        queue.evict()?;
        let id = chosen.try_recv().unwrap();
        registry.evict(id);
        Some(id)
    }

    #[test]
    fn idle_longest_then_incomplete_longest_gives_way() {
        let queue = Arc::default();
        let (registry, chosen) = registry(&queue);
        let connections: Vec<_> = (0..5).map(|_| register(&registry)).collect();
        work_on(&connections[0]);
        connections[3].state.begin_request(Instant::now());
        connections[1].state.begin_request(Instant::now());
        connections[4].state.begin_request(Instant::now());
        connections[4].state.begin_response(Instant::now(), 1);
        assert_eq!(registry.stats.idle(), 2);
        let order = std::iter::from_fn(|| evict(&queue, &registry, &chosen)).collect::<Vec<_>>();
        assert_eq!(order, [2, 0, 3, 1], "the last one has an unsent response");
        assert!(connections[..4].iter().all(|entered| entered.state.is_evicted()));
        connections[4].state.end_response();
        assert_eq!(evict(&queue, &registry, &chosen), Some(4));
        drop(connections);
        assert_eq!(registry.stats.idle(), 0);
    }

    #[test]
    fn incomplete_requests_are_over_when_done_or_gone() {
        let (registry, _) = registry(&Arc::default());
        let [idle, done, gone] = [(); 3].map(|()| register(&registry));
        assert!(!registry.has_incomplete(Instant::now()));
        done.state.begin_request(Instant::now());
        gone.state.begin_body();
        let time = Instant::now();
        idle.state.begin_request(time + Duration::from_millis(1));
        assert!(registry.has_incomplete(time));
        drop(gone);
        assert!(registry.has_incomplete(time));
        done.state.begin_body();
        done.state.begin_response(done.state.begun(), 1);
        assert!(registry.has_incomplete(time), "the response is not sent");
        done.state.end_response();
        assert!(!registry.has_incomplete(time));
    }

    #[test]
    fn later_request_on_the_same_connection_is_not_waited_for() {
        let (registry, _) = registry(&Arc::default());
        let entered = register(&registry);
        let time = Instant::now();
        entered.state.begin_request(time);
        assert!(registry.has_incomplete(time));
        work_on(&entered);
        entered.state.begin_request(time + Duration::from_millis(1));
        assert!(!registry.has_incomplete(time));
    }

    #[test]
    fn response_being_sent_stays_and_everything_else_is_handed_off() {
        let (registry, _) = registry(&Arc::default());
        let [sending, closing, body] = [(); 3].map(|()| register(&registry));
        sending.state.begin_response(Instant::now(), 1);
        closing.state.begin_linger();
        assert!(registry.has_more_to_hand_off());
        body.state.begin_body();
        assert!(registry.has_more_to_hand_off());
        body.state.bind_here();
        assert!(!registry.has_more_to_hand_off());
        assert_eq!(registry.cut_by_closing(), (1, 1));
        body.state.begin_response(Instant::now(), 1);
        body.state.end_response();
        assert!(registry.has_more_to_hand_off(), "the next request is not bound");
        assert_eq!(registry.stats.idle(), 2, "a lingering connection has no request");
    }

    #[test]
    fn eviction_of_an_ended_connection_spares_its_successor() {
        let queue = Arc::default();
        let (registry, chosen) = registry(&queue);
        let ended = register(&registry);
        assert!(queue.evict().is_some());
        drop(ended);
        let successor = register(&registry);
        let id = chosen.try_recv().unwrap();
        assert_eq!(id, successor.id);
        registry.evict(id);
        assert_eq!(successor.state.pending_request(), None);
    }

    #[test]
    fn pipelined_request_gives_way_after_the_response_before() {
        let queue = Arc::default();
        let (registry, chosen) = registry(&queue);
        let connection = register(&registry);
        connection.state.begin_request(Instant::now());
        connection.state.begin_body();
        connection.state.begin_response(Instant::now(), 1);
        assert_eq!(evict(&queue, &registry, &chosen), None, "a response is unsent");
        connection.state.end_response();
        connection.state.begin_request(Instant::now());
        assert_eq!(evict(&queue, &registry, &chosen), Some(0));
    }

    #[test]
    fn connections_that_move_away_do_not_give_way() {
        let queue = Arc::default();
        let (registry, chosen) = registry(&queue);
        let connections = [register(&registry), register(&registry)];
        registry.move_away(1);
        assert_eq!(evict(&queue, &registry, &chosen), Some(1));
        assert_eq!(evict(&queue, &registry, &chosen), None);
        drop(connections);
    }
}
