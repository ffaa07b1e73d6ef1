use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::{Rc, Weak},
    sync::Arc,
};

use slab::Slab;
use tokio::time::Instant;

use super::{
    eviction::{EvictionQueue, Place},
    track::{Recall, Stage, Track},
};
use crate::stats::WorkerStats;

/// The connections of one worker.
#[derive(Debug)]
pub struct Registry {
    /// The worker's counters.
    pub stats: Arc<WorkerStats>,
    tracks: RefCell<Slab<Rc<Track>>>,
    queue: Arc<EvictionQueue>,
    /// What the queue calls this worker.
    worker: usize,
    /// What every connection is asked for as it comes.
    standing: Cell<Option<Recall>>,
    idle_count: Cell<usize>,
}

impl Registry {
    /// No connections yet, of a worker that counts there. Those that come are chosen from this queue, and
    /// `notify` has [`Self::evict`] called with the number of each.
    pub fn new(
        stats: Arc<WorkerStats>,
        queue: Arc<EvictionQueue>,
        notify: impl Fn(usize) + Send + 'static,
    ) -> Self {
        Self {
            stats,
            tracks: RefCell::default(),
            worker: queue.add_worker(notify),
            queue,
            standing: Cell::new(None),
            idle_count: Cell::new(0),
        }
    }

    /// Takes note of a connection, until what is returned is dropped.
    pub fn enter(
        self: &Rc<Self>,
        peer: Option<SocketAddr>,
        requests: usize,
        place: Option<Place>,
    ) -> Entered {
        let place = place.unwrap_or_else(|| self.queue.add(peer.into(), Instant::now()));
        let mut tracks = self.tracks.borrow_mut();
        let entry = tracks.vacant_entry();
        let id = entry.key();
        let is_chosen = place.attach(self.worker, id);
        let track = Rc::new(Track::new(id, peer, requests, self.clone(), place));
        entry.insert(track.clone());
        drop(tracks);
        if is_chosen {
            track.recall(Recall::Evict);
        }
        if let Some(recall) = self.standing.get() {
            track.recall(recall);
        }
        self.begins_idle();
        Entered { track }
    }

    /// One more connection waits for its next request.
    pub fn begins_idle(&self) {
        self.idle_count.set(self.idle_count.get() + 1);
        self.stats.set_idle(self.idle_count.get());
    }

    /// A connection waits no longer for its next request.
    pub fn ends_idle(&self) {
        self.idle_count.set(self.idle_count.get() - 1);
        self.stats.set_idle(self.idle_count.get());
    }

    /// Closes a connection that was chosen to give way, unless it has ended.
    pub fn evict(&self, id: usize) {
        if let Some(track) = self.tracks.borrow().get(id).filter(|track| track.is_chosen()) {
            track.recall(Recall::Evict);
        }
    }

    /// Asks `count` connections to go to other workers, each as soon as it is idle.
    pub fn move_away(&self, count: usize) {
        let tracks = self.tracks.borrow();
        for (_, track) in tracks.iter().filter(|(_, track)| track.recalled().is_none()).take(count) {
            track.recall(Recall::Move);
        }
    }

    /// Asks every connection, also those that are still to come, as soon as it is idle.
    pub fn recall_all(&self, recall: Recall) {
        self.standing.set(Some(recall));
        for (_, track) in &*self.tracks.borrow() {
            track.recall(recall);
        }
    }

    /// The requests and responses that are incomplete now.
    pub fn incomplete(&self) -> Incomplete {
        let tracks = self.tracks.borrow();
        let incomplete = tracks.iter().filter(|(_, track)| track.is_under_way());
        Incomplete(incomplete.map(|(_, track)| (Rc::downgrade(track), track.begun())).collect())
    }

    /// Whether a connection is left that will yet be handed off.
    pub fn has_more_to_hand_off(&self) -> bool {
        self.tracks.borrow().iter().any(|(_, track)| !track.stays())
    }

    /// Connections whose request or response is cut off when they are closed now: those whose client does
    /// not take its response, and those whose request cannot be handed off.
    pub fn cut_by_closing(&self) -> (usize, usize) {
        let tracks = self.tracks.borrow();
        let cut = || tracks.iter().filter(|(_, track)| track.is_cut_by_closing());
        let unsent = cut().filter(|(_, track)| track.unsent_since().is_some()).count();
        (unsent, cut().count() - unsent)
    }

    /// Has each connection look again at what it waits for.
    pub fn wake_all(&self) {
        for (_, track) in &*self.tracks.borrow() {
            track.wake();
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.queue.remove_worker(self.worker);
    }
}

/// What was incomplete at some moment. Later requests on the same connections do not belong to it.
#[derive(Debug)]
pub struct Incomplete(Vec<(Weak<Track>, Instant)>);

impl Incomplete {
    /// Whether all of it is complete, or its connections have gone.
    pub fn is_over(&mut self) -> bool {
        let is_left = |(track, begun): &(Weak<Track>, Instant)| {
            track.upgrade().is_some_and(|track| track.is_under_way() && track.begun() == *begun)
        };
        self.0.retain(is_left);
        self.0.is_empty()
    }
}

/// A connection that is known to its worker, until it ends in whatever way.
#[derive(Debug)]
pub struct Entered {
    pub track: Rc<Track>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        if self.track.stage() == Stage::Idle {
            self.track.registry.ends_idle();
        }
        self.track.registry.tracks.borrow_mut().remove(self.track.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::SharedStats;

    fn registry(queue: &Arc<EvictionQueue>) -> (Rc<Registry>, std::sync::mpsc::Receiver<usize>) {
        let memory = Arc::new(SharedStats::create(0).unwrap());
        let (notify, chosen) = std::sync::mpsc::channel();
        let notify = move |id| notify.send(id).unwrap();
        (Rc::new(Registry::new(Arc::new(WorkerStats::new(memory, 1)), queue.clone(), notify)), chosen)
    }

    fn work_on(entered: &Entered) {
        entered.track.received();
        entered.track.answer(false);
        entered.track.flushed();
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
        let connections: Vec<_> = (0..5).map(|_| registry.enter(None, 0, None)).collect();
        work_on(&connections[0]);
        connections[3].track.received();
        connections[1].track.received();
        connections[4].track.received();
        connections[4].track.answer(false);
        assert_eq!(registry.stats.idle(), 2);
        let order = std::iter::from_fn(|| evict(&queue, &registry, &chosen)).collect::<Vec<_>>();
        assert_eq!(order, [2, 0, 3, 1], "the last one has a response to send");
        assert!(connections[..4].iter().all(|entered| entered.track.is_evicted()));
        connections[4].track.flushed();
        assert_eq!(evict(&queue, &registry, &chosen), Some(4));
        drop(connections);
        assert_eq!(registry.stats.idle(), 0);
    }

    #[test]
    fn incomplete_requests_are_over_when_done_or_gone() {
        let (registry, _) = registry(&Arc::default());
        let [idle, done, gone] = [(); 3].map(|()| registry.enter(None, 0, None));
        assert!(registry.incomplete().is_over());
        done.track.received();
        gone.track.begin_request();
        let mut incomplete = registry.incomplete();
        // A later request does not count.
        idle.track.received();
        assert!(!incomplete.is_over());
        drop(gone);
        assert!(!incomplete.is_over());
        done.track.begin_request();
        done.track.answer(false);
        assert!(!incomplete.is_over(), "the response is not sent");
        done.track.flushed();
        assert!(incomplete.is_over());
    }

    #[test]
    fn later_request_on_the_same_connection_is_not_waited_for() {
        let (registry, _) = registry(&Arc::default());
        let entered = registry.enter(None, 0, None);
        entered.track.received();
        let mut incomplete = registry.incomplete();
        work_on(&entered);
        std::thread::sleep(std::time::Duration::from_millis(1));
        entered.track.received();
        assert!(incomplete.is_over());
    }

    #[test]
    fn response_being_sent_stays_and_everything_else_is_handed_off() {
        let (registry, _) = registry(&Arc::default());
        let [sending, closing, body] = [(); 3].map(|()| registry.enter(None, 0, None));
        sending.track.answer(false);
        closing.track.close();
        assert!(registry.has_more_to_hand_off());
        body.track.begin_request();
        assert!(registry.has_more_to_hand_off());
        body.track.is_bound_here();
        assert!(!registry.has_more_to_hand_off());
        assert_eq!(registry.cut_by_closing(), (1, 1));
        assert_eq!(registry.stats.idle(), 0);
    }

    #[test]
    fn eviction_of_an_ended_connection_spares_its_successor() {
        let queue = Arc::default();
        let (registry, chosen) = registry(&queue);
        let ended = registry.enter(None, 0, None);
        assert!(queue.evict().is_some());
        drop(ended);
        let successor = registry.enter(None, 0, None);
        let id = chosen.try_recv().unwrap();
        assert_eq!(id, successor.track.id);
        registry.evict(id);
        assert_eq!(successor.track.recalled(), None);
    }

    #[test]
    fn pipelined_request_gives_way_after_the_response_before() {
        let queue = Arc::default();
        let (registry, chosen) = registry(&queue);
        let connection = registry.enter(None, 0, None);
        connection.track.received();
        connection.track.begin_request();
        connection.track.answer(false);
        connection.track.begin_request();
        assert_eq!(evict(&queue, &registry, &chosen), None, "a response is unsent");
        connection.track.flushed();
        assert_eq!(evict(&queue, &registry, &chosen), Some(0));
    }

    #[test]
    fn connections_that_move_away_do_not_give_way() {
        let queue = Arc::default();
        let (registry, chosen) = registry(&queue);
        let connections = [registry.enter(None, 0, None), registry.enter(None, 0, None)];
        registry.move_away(1);
        assert_eq!(evict(&queue, &registry, &chosen), Some(1));
        assert_eq!(evict(&queue, &registry, &chosen), None);
        drop(connections);
    }
}
