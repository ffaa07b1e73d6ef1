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

/// The counters and the heartbeat of a worker. Its own thread writes, any thread reads.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerStats {
    memory: Arc<SharedStats>,
    number: usize,
    /// Requests of earlier workers with this number.
    requests_before: u64,
    /// Connections assigned to this worker, including migrated ones.
    pub connections_assigned: Counter,
    /// Connections migrated to other workers.
    pub connections_migrated: Counter,
    /// Connections detached for the next process.
    pub connections_handed_off: Counter,
    open: AtomicI64,
    idle: AtomicU64,
    cpu_us: AtomicU64,
    started: Instant,
    last_heartbeat: AtomicU64,
}

impl WorkerStats {
    /// Creates the statistics of the worker with this number, from 1. They continue the counters of an earlier worker
    /// with the same number.
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

    /// Counts a served request. Only the worker's own thread may call this and the methods below, unless they allow
    /// any thread.
    pub fn record_outcome(&self, outcome: Outcome) {
        self.counters().outcomes[outcome as usize].add(1);
    }

    /// Counts `times` requests whose responses were sent completely after this time.
    pub fn record_latency(&self, time: Duration, times: u64) {
        self.counters().latency.record(time, times);
    }

    pub fn received(&self, bytes: usize) {
        self.counters().bytes_received.add(bytes as u64);
    }

    pub fn sent(&self, bytes: usize) {
        self.counters().bytes_sent.add(bytes as u64);
    }

    /// Counts a connection closed because the client did not take its responses in time.
    pub fn write_timed_out(&self) {
        self.counters().write_timeouts.add(1);
    }

    pub fn became_idle(&self) {
        self.idle.store(self.idle() + 1, Relaxed);
    }

    pub fn became_busy(&self) {
        self.idle.store(self.idle().saturating_sub(1), Relaxed);
    }

    /// Records that the worker makes progress, and the CPU time of its thread.
    pub fn heartbeat(&self, cpu: Duration) {
        self.cpu_us.store(cpu.as_micros().try_into().unwrap_or(u64::MAX), Relaxed);
        self.last_heartbeat.store(millis(self.started.elapsed()), Relaxed);
    }

    /// Counts a connection that was sent to this worker; from any thread.
    pub fn connection_assigned(&self) {
        self.open.fetch_add(1, Relaxed);
    }

    /// Counts a connection that was closed or left this worker; from any thread.
    pub fn connection_closed(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    /// Whether requests get status 503.
    pub fn is_drained(&self) -> bool {
        self.memory.is_drained()
    }

    /// Returns the connections that are open or assigned to this worker.
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed).try_into().unwrap_or(0)
    }

    /// Returns the number of connections without a request in progress.
    pub fn idle(&self) -> u64 {
        self.idle.load(Relaxed)
    }

    /// Returns the CPU time of the worker at its last heartbeat.
    pub fn cpu(&self) -> Duration {
        Duration::from_micros(self.cpu_us.load(Relaxed))
    }

    /// Returns the time since the last heartbeat.
    pub fn heartbeat_age(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.last_heartbeat.load(Relaxed)))
    }

    pub fn requests(&self) -> u64 {
        requests(self.counters()).saturating_sub(self.requests_before)
    }
}

/// The sums of all workers' counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// In the order of [`Outcome::ALL`].
    pub outcomes: [u64; Outcome::ALL.len()],
    pub bytes_received: u64,
    pub bytes_sent: u64,
    /// Connections closed because the client did not take its responses in time.
    pub write_timeouts: u64,
}

impl Totals {
    /// Sums the counters of all workers, including those that have exited.
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

    /// Returns the number of served requests.
    pub fn requests(&self) -> u64 {
        counter::sum(self.outcomes)
    }
}

/// Returns the latency of all workers' requests, including workers that have exited.
pub fn latency(workers: &[WorkerCounters]) -> HistogramSnapshot {
    let mut sum = HistogramSnapshot::default();
    for worker in workers {
        worker.latency.add_to(&mut sum);
    }
    sum
}

/// Returns the number of requests in one slot.
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
