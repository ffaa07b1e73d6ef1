//! What is counted. One worker writes its own [`WorkerStats`]; anybody may read them at any time,
//! so a snapshot of several counters is only as exact as they are together at that moment.

mod counter;
mod outcome;

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

pub use counter::Counter;
pub use outcome::{Outcome, Outcomes};

/// The counters of one worker, on cache lines that no other worker writes to.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerStats {
    outcomes: [Counter; Outcome::ALL.len()],
    /// Bytes of request bodies that were read.
    pub bytes_received: Counter,
    /// Bytes of answer bodies that were written.
    pub bytes_sent: Counter,
    /// Connections that were cut off because their client did not take its answers in time.
    pub connections_cut: Counter,
    /// Connections that were dealt to this worker, moved ones included.
    pub connections_taken: Counter,
    /// Connections that this worker gave to another one.
    pub connections_moved: Counter,
    open: AtomicI64,
    born: Instant,
    last_progress: AtomicU64,
}

impl Default for WorkerStats {
    fn default() -> Self {
        Self {
            outcomes: Default::default(),
            bytes_received: Counter::default(),
            bytes_sent: Counter::default(),
            connections_cut: Counter::default(),
            connections_taken: Counter::default(),
            connections_moved: Counter::default(),
            open: AtomicI64::new(0),
            born: Instant::now(),
            last_progress: AtomicU64::new(0),
        }
    }
}

impl WorkerStats {
    /// Counts one answered request. To be called by the worker's own thread only.
    pub fn answered(&self, outcome: Outcome, bytes_received: usize, bytes_sent: usize) {
        self.outcomes[outcome as usize].add(1);
        self.bytes_received.add(bytes_received as u64);
        self.bytes_sent.add(bytes_sent as u64);
    }

    /// Connections that are open, or on their way to this worker.
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed).try_into().unwrap_or(0)
    }

    /// A connection was sent to this worker; from any thread.
    pub fn dealt(&self) {
        self.open.fetch_add(1, Relaxed);
    }

    /// A connection of this worker ended or moved away; from any thread.
    pub fn gone(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    /// The worker's runtime has come round once more.
    pub fn progressed(&self) {
        self.last_progress.store(millis(self.born.elapsed()), Relaxed);
    }

    /// For how long the worker's runtime has not come round.
    pub fn since_progress(&self) -> Duration {
        self.born.elapsed().saturating_sub(Duration::from_millis(self.last_progress.load(Relaxed)))
    }

    /// The counters as they are now.
    pub fn totals(&self) -> Totals {
        Totals {
            outcomes: Outcomes::new(|outcome| self.outcomes[outcome as usize].get()),
            bytes_received: self.bytes_received.get(),
            bytes_sent: self.bytes_sent.get(),
            connections_cut: self.connections_cut.get(),
        }
    }
}

/// What one worker, or all of them together, have counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Answered requests by their outcome.
    pub outcomes: Outcomes,
    /// Bytes of request bodies that were read.
    pub bytes_received: u64,
    /// Bytes of answer bodies that were written.
    pub bytes_sent: u64,
    /// Connections that were cut off because their client did not take its answers in time.
    pub connections_cut: u64,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.outcomes += other.outcomes;
        self.bytes_received += other.bytes_received;
        self.bytes_sent += other.bytes_sent;
        self.connections_cut += other.connections_cut;
    }
}

/// Connections of the whole daemon, counted where they are accepted.
#[derive(Debug, Default)]
pub struct AcceptStats {
    /// Connections accepted since the start.
    pub accepted: Counter,
    /// Idle connections that were asked to close at the limit.
    pub evicted: Counter,
    /// Times that accepting stopped at the connection limit, or for want of descriptors or memory.
    pub pauses: Counter,
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up() {
        let (one, two) = (WorkerStats::default(), WorkerStats::default());
        one.answered(Outcome::Ok, 39, 80);
        one.answered(Outcome::Invalid, 2, 100);
        two.answered(Outcome::Ok, 39, 80);
        let mut sum = one.totals();
        sum += two.totals();
        assert_eq!((sum.outcomes.get(Outcome::Ok), sum.outcomes.get(Outcome::Invalid)), (2, 1));
        assert_eq!((sum.outcomes.total(), sum.bytes_received, sum.bytes_sent), (3, 80, 260));
    }
}
