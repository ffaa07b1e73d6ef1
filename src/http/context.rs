use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
};

use super::{
    policy::Policy,
    track::{Recall, Track},
};
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
    policy: RefCell<Rc<Policy>>,
    tracks: RefCell<HashMap<u64, Rc<Track>>>,
    next_id: Cell<u64>,
    closing: Cell<bool>,
}

impl Context {
    /// A context without connections.
    pub fn new(worker: usize, stats: Arc<WorkerStats>, log: Log, policy: Policy) -> Self {
        Self {
            worker,
            stats,
            log,
            policy: RefCell::new(Rc::new(policy)),
            tracks: RefCell::default(),
            next_id: Cell::new(0),
            closing: Cell::new(false),
        }
    }

    /// What holds now.
    pub fn policy(&self) -> Rc<Policy> {
        self.policy.borrow().clone()
    }

    /// From the next step of each connection on, this holds.
    pub fn set_policy(&self, policy: Policy) {
        *self.policy.borrow_mut() = Rc::new(policy);
    }

    /// Asks `count` connections to go to other workers, each as soon as it is idle.
    pub fn move_away(&self, count: usize) {
        let tracks = self.tracks.borrow();
        for track in tracks.values().filter(|track| track.recalled().is_none()).take(count) {
            track.recall(Recall::Move);
        }
    }

    /// Asks every connection, also those that are still to come, to close as soon as it is idle.
    pub fn close_all(&self) {
        self.closing.set(true);
        for track in self.tracks.borrow().values() {
            track.recall(Recall::Close);
        }
    }

    pub(super) fn enter(&self, track: Track) -> Entered<'_> {
        if self.closing.get() {
            track.recall(Recall::Close);
        }
        let id = self.next_id.replace(self.next_id.get() + 1);
        let track = Rc::new(track);
        self.tracks.borrow_mut().insert(id, track.clone());
        Entered { context: self, id, track }
    }
}

/// A connection that is known to its worker, until it ends in whatever way.
pub struct Entered<'c> {
    context: &'c Context,
    id: u64,
    pub track: Rc<Track>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.context.tracks.borrow_mut().remove(&self.id);
    }
}
