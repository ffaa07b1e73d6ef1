use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
};

use slab::Slab;
use tokio::time::Instant;

use super::track::{Recall, Stage, Track};
use crate::stats::WorkerStats;

/// The connections of one worker, and in which order they became idle.
#[derive(Debug)]
pub struct Registry {
    /// The worker's counters.
    pub stats: Arc<WorkerStats>,
    tracks: RefCell<Slab<Rc<Track>>>,
    /// Idle connections, the longest first. Those that are busy again, or gone, are left in and
    /// passed over: taking them out at once would cost every request more than it costs to skip
    /// them here.
    idle: RefCell<VecDeque<(usize, Instant)>>,
    /// What every connection is asked for as it comes.
    standing: Cell<Option<Recall>>,
    idle_count: Cell<usize>,
}

impl Registry {
    /// No connections yet, of a worker that counts there.
    pub fn new(stats: Arc<WorkerStats>) -> Self {
        Self {
            stats,
            tracks: RefCell::default(),
            idle: RefCell::default(),
            standing: Cell::new(None),
            idle_count: Cell::new(0),
        }
    }

    /// Takes note of a connection, until what is returned is dropped.
    pub fn enter(self: &Rc<Self>, peer: Option<std::net::SocketAddr>, requests: usize) -> Entered {
        let mut tracks = self.tracks.borrow_mut();
        let entry = tracks.vacant_entry();
        let track = Rc::new(Track::new(entry.key(), peer, requests, self.clone()));
        entry.insert(track.clone());
        drop(tracks);
        if let Some(recall) = self.standing.get() {
            track.recall(recall);
        }
        self.begins_idle();
        self.became_idle(&track);
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

    /// Takes note that a connection waits for its next request.
    pub fn became_idle(&self, track: &Track) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() > 64 + 2 * self.tracks.borrow().len() {
            idle.retain(|entry| self.is_idle_since(*entry));
        }
        idle.push_back((track.id, track.since()));
    }

    /// Since when the connection that is idle longest is, if one is.
    pub fn longest_idle_since(&self) -> Option<Instant> {
        let mut idle = self.idle.borrow_mut();
        while let Some(entry) = idle.front() {
            if self.is_idle_since(*entry) {
                return Some(entry.1);
            }
            idle.pop_front();
        }
        None
    }

    /// Asks the connection that is idle longest to close; `false` when none is idle.
    pub fn close_longest_idle(&self) -> bool {
        if self.longest_idle_since().is_none() {
            return false;
        }
        let longest = self.idle.borrow_mut().pop_front();
        let tracks = self.tracks.borrow();
        longest.and_then(|(id, _)| tracks.get(id)).inspect(|track| track.recall(Recall::Close)).is_some()
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

    /// Has each connection look again at what it waits for.
    pub fn wake_all(&self) {
        for (_, track) in &*self.tracks.borrow() {
            track.wake();
        }
    }

    fn is_idle_since(&self, (id, since): (usize, Instant)) -> bool {
        let tracks = self.tracks.borrow();
        let is_idle = |track: &Rc<Track>| {
            track.stage() == Stage::Idle && track.since() == since && track.recalled().is_none()
        };
        tracks.get(id).is_some_and(is_idle)
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
    use crate::stats::Memory;

    fn registry() -> Rc<Registry> {
        let memory = Arc::new(Memory::create(0).unwrap());
        Rc::new(Registry::new(Arc::new(WorkerStats::new(memory, 1))))
    }

    fn work_on(entered: &Entered) {
        entered.track.received();
        entered.track.answer(false);
        entered.track.flushed();
    }

    #[test]
    fn the_connection_that_is_idle_longest_is_closed() {
        let registry = registry();
        let connections: Vec<_> = (0..3).map(|_| registry.enter(None, 0)).collect();
        work_on(&connections[0]);
        connections[1].track.received();
        assert_eq!(registry.stats.idle(), 2);
        assert!(registry.close_longest_idle());
        assert_eq!(connections[2].track.recalled(), Some(Recall::Close));
        assert!(registry.close_longest_idle());
        assert_eq!(connections[0].track.recalled(), Some(Recall::Close));
        assert!(!registry.close_longest_idle(), "the other one is busy");
    }

    #[test]
    fn what_is_gone_or_busy_is_forgotten_in_time() {
        let registry = registry();
        let first = registry.enter(None, 0);
        for _ in 0..10_000 {
            work_on(&first);
        }
        assert!(registry.idle.borrow().len() < 100);
        drop(first);
        assert_eq!(registry.longest_idle_since(), None);
        assert_eq!(registry.stats.idle(), 0);
    }
}
