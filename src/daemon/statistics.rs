use std::{
    cell::RefCell,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::rate_window::{RateSample, RateWindow};
use crate::{
    log::Log,
    stats::{SharedStats, Totals, latency},
    worker::Pool,
};

/// The counters, which outlive the process, and the rates that are computed from them.
#[derive(Debug)]
pub struct Statistics {
    pub memory: Arc<SharedStats>,
    pub started: Instant,
    pub started_at: SystemTime,
    pub rates: RefCell<RateWindow>,
    /// Requests that previous processes have answered.
    answered_before: u64,
    /// Log lines that previous processes have dropped.
    lines_dropped_before: u64,
}

impl Statistics {
    /// Has to be created before workers count in `memory`.
    pub fn new(memory: Arc<SharedStats>, started: Instant) -> Self {
        let answered_before = answered(&memory);
        let first = RateSample {
            at: Instant::now(),
            total: answered_before,
            latency: latency(memory.workers()),
            busy: Vec::new(),
        };
        Self {
            started,
            started_at: SystemTime::now() - started.elapsed(),
            rates: RefCell::new(RateWindow::new(first)),
            answered_before,
            lines_dropped_before: memory.log_lines_dropped.get(),
            memory,
        }
    }

    /// Returns the requests that this process has answered.
    pub fn answered(&self) -> u64 {
        answered(&self.memory) - self.answered_before
    }

    pub fn sample(&self, pool: &Pool) -> RateSample {
        RateSample {
            at: Instant::now(),
            total: answered(&self.memory),
            latency: latency(self.memory.workers()),
            busy: pool.reports().iter().map(|report| (report.number, report.busy)).collect(),
        }
    }

    /// Adds a sample to the rates, if one is due.
    pub fn record_sample(&self, pool: &Pool, log: &Log) {
        let mut rates = self.rates.borrow_mut();
        if rates.is_due(Instant::now()) {
            rates.add(self.sample(pool));
        }
        self.flush_lines_dropped(log);
    }

    /// Updates the number of dropped log lines. The log counts those of this process only.
    pub fn flush_lines_dropped(&self, log: &Log) {
        self.memory.log_lines_dropped.raise(self.lines_dropped_before + log.dropped());
    }

    /// Returns the requests of all processes, and those of the last second.
    pub fn requests_and_rate(&self, pool: &Pool) -> (u64, f64) {
        let now = self.sample(pool);
        (now.total, self.rates.borrow().rate(&now, Duration::from_secs(1)))
    }
}

/// Requests that were answered, by this process or by previous ones.
fn answered(memory: &SharedStats) -> u64 {
    Totals::sum(memory.workers()).requests()
}
