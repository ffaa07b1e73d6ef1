use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::sys::shareable;

shareable!(Counter(count));
shareable!(SharedCounter(count));

/// A count that only one thread writes, so adding is a plain load and store and never waits for
/// another core. Any thread of any process that maps it may read it.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Two threads that add at the same time would lose a count. At 2^64 it begins at 0 again, which takes
    /// longer than any machine lasts.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Raises it to `n`, if it is less. Single writer, as [`Self::add`].
    pub fn raise(&self, n: u64) {
        if self.0.load(Relaxed) < n {
            self.0.store(n, Relaxed);
        }
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Adds up counts. A sum that is too large for 64 bits is [`u64::MAX`]: it never becomes smaller when a count grows.
pub fn sum(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

/// A count that several threads write, each now and then.
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
