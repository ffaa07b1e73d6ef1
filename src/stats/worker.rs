use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{
    counter::{self, Counter},
    histogram::HistogramSnapshot,
    memory_layout::WorkerCounters,
    shared_stats::SharedStats,
};
use crate::control::Outcome;

/// The counters and the state of one worker. Its own thread writes, any thread reads.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerStats {
    memory: Arc<SharedStats>,
    number: usize,
    /// Requests that were counted under this number before this worker started.
    requests_before: u64,
    /// Connections that this worker was assigned, including those of other workers.
    pub connections_assigned: Counter,
    /// Connections that this worker gave to another one.
    pub connections_migrated: Counter,
    /// Connections that this worker handed off to the next process.
    pub connections_handed_off: Counter,
    open: AtomicI64,
    idle: AtomicU64,
    cpu_us: AtomicU64,
    started: Instant,
    last_heartbeat: AtomicU64,
}

impl WorkerStats {
    /// Returns the counters of a worker, by its number from 1. They continue those of an earlier worker with this
    /// number.
    pub fn new(memory: Arc<SharedStats>, number: usize) -> Self {
        memory.register_worker(number);
        Self {
            requests_before: requests(memory.worker(number)),
            memory,
            number,
            connections_assigned: Counter::default(),
            connections_migrated: Counter::default(),
            connections_handed_off: Counter::default(),
            open: AtomicI64::new(0),
            idle: AtomicU64::new(0),
            cpu_us: AtomicU64::new(0),
            started: Instant::now(),
            last_heartbeat: AtomicU64::new(0),
        }
    }

    fn counters(&self) -> &WorkerCounters {
        self.memory.worker(self.number)
    }

    /// Counts one answered request. This and what follows is to be called by the worker's own thread
    /// only.
    pub fn record_outcome(&self, outcome: Outcome) {
        self.counters().outcomes[outcome as usize].add(1);
    }

    /// Counts `times` requests that were answered to the last byte, and took so long each.
    pub fn record_latency(&self, time: Duration, times: u64) {
        self.counters().latency.record(time, times);
    }

    pub fn received(&self, bytes: usize) {
        self.counters().bytes_received.add(bytes as u64);
    }

    pub fn sent(&self, bytes: usize) {
        self.counters().bytes_sent.add(bytes as u64);
    }

    /// Counts a connection that was cut off because its client did not take its answers in time.
    pub fn write_timed_out(&self) {
        self.counters().write_timeouts.add(1);
    }

    /// One connection more waits for its next request.
    pub fn became_idle(&self) {
        self.idle.store(self.idle() + 1, Relaxed);
    }

    /// One connection fewer waits for its next request.
    pub fn became_busy(&self) {
        self.idle.store(self.idle().saturating_sub(1), Relaxed);
    }

    /// The worker's runtime has come round once more, and its thread has used so much CPU time.
    pub fn heartbeat(&self, cpu: Duration) {
        self.cpu_us.store(cpu.as_micros().try_into().unwrap_or(u64::MAX), Relaxed);
        self.last_heartbeat.store(millis(self.started.elapsed()), Relaxed);
    }

    /// A connection was sent to this worker; from any thread.
    pub fn connection_assigned(&self) {
        self.open.fetch_add(1, Relaxed);
    }

    /// A connection of this worker ended or moved away; from any thread.
    pub fn connection_closed(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    /// Whether requests are to be answered with 503.
    pub fn is_drained(&self) -> bool {
        self.memory.is_drained()
    }

    /// Connections that are open, or on their way to this worker.
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed).try_into().unwrap_or(0)
    }

    /// Connections that wait for their next request.
    pub fn idle(&self) -> u64 {
        self.idle.load(Relaxed)
    }

    /// CPU time that the worker had used when it last came round.
    pub fn cpu(&self) -> Duration {
        Duration::from_micros(self.cpu_us.load(Relaxed))
    }

    /// For how long the worker's runtime has not come round.
    pub fn heartbeat_age(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.last_heartbeat.load(Relaxed)))
    }

    pub fn requests(&self) -> u64 {
        requests(self.counters()).saturating_sub(self.requests_before)
    }
}

/// The sums of the workers' counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// In the order of [`Outcome::ALL`].
    pub outcomes: [u64; Outcome::ALL.len()],
    pub bytes_received: u64,
    pub bytes_sent: u64,
    /// Connections that were cut off because their client did not take its responses in time.
    pub write_timeouts: u64,
}

impl Totals {
    /// Adds up what workers have counted, those included that have exited.
    pub fn sum(workers: &[WorkerCounters]) -> Self {
        let sum = |count: &dyn Fn(&WorkerCounters) -> &Counter| {
            counter::sum(workers.iter().map(|worker| count(worker).get()))
        };
        Self {
            outcomes: std::array::from_fn(|outcome| sum(&|worker| &worker.outcomes[outcome])),
            bytes_received: sum(&|worker| &worker.bytes_received),
            bytes_sent: sum(&|worker| &worker.bytes_sent),
            write_timeouts: sum(&|worker| &worker.write_timeouts),
        }
    }

    /// Returns the requests with this outcome.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Returns all requests that were answered.
    pub fn requests(&self) -> u64 {
        counter::sum(self.outcomes)
    }
}

/// How long the requests of all workers took, those included that have ended.
pub fn latency(workers: &[WorkerCounters]) -> HistogramSnapshot {
    let mut sum = HistogramSnapshot::default();
    for worker in workers {
        worker.latency.add_to(&mut sum);
    }
    sum
}

/// Returns the requests that were counted in one slot.
fn requests(counters: &WorkerCounters) -> u64 {
    counter::sum(counters.outcomes.iter().map(Counter::get))
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_include_exited_workers() {
        let memory = Arc::new(SharedStats::create(0).unwrap());
        let worker = |number| WorkerStats::new(memory.clone(), number);
        let (one, two) = (worker(1), worker(2));
        one.record_outcome(Outcome::Ok);
        one.record_outcome(Outcome::Invalid);
        one.sent(180);
        two.record_outcome(Outcome::Ok);
        two.record_latency(Duration::from_micros(30), 1);
        drop(two);
        let again = worker(2);
        again.record_outcome(Outcome::Ok);
        assert_eq!((one.requests(), again.requests()), (2, 1));
        let sum = Totals::sum(memory.workers());
        assert_eq!((sum.outcome(Outcome::Ok), sum.outcome(Outcome::Invalid)), (3, 1));
        assert_eq!((sum.requests(), sum.bytes_sent, latency(memory.workers()).count()), (4, 180, 1));
    }
}
