use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::sys::shareable;

shareable!(Counter(count));
shareable!(SharedCounter(count));

/// A counter with a single writer, so that adding is a plain load and store without contention. Any thread of any
/// process that maps it may read it.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Two threads that add at the same time would lose a count.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Raises it to `n`, if it is less. Only one thread may write, as in [`Self::add`].
    pub fn raise(&self, n: u64) {
        if self.0.load(Relaxed) < n {
            self.0.store(n, Relaxed);
        }
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Returns the sum, saturated at [`u64::MAX`], so that it never decreases when a count grows.
pub fn sum(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

/// A counter that several threads write occasionally.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct SharedCounter(AtomicU64);

impl SharedCounter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
