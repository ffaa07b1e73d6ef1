use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A count that only one thread writes, so adding is a plain load and store and never waits for
/// another core; any thread may read it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Two threads that add at the same time would lose a count.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
