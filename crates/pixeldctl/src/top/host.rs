use std::collections::BTreeMap;

use pixeld_control::WorkerInfo;

use super::history::History;
use crate::{
    stats_format::{Rates, elapsed_ms, per_second},
    status::Status,
};

/// The known state of a daemon.
#[derive(Debug, Default)]
pub struct HostState {
    pub name: String,
    /// Stays while the daemon is away, as the base of the next differences.
    pub last: Option<Status>,
    pub rates: Option<Rates>,
    /// Requests per second, by worker number.
    pub worker_rates: BTreeMap<u64, f64>,
    /// Why it cannot be queried now.
    pub unreachable: Option<String>,
    /// In tenths of a request per second.
    pub requests: History,
    /// In microseconds.
    pub p99: History,
}

impl HostState {
    pub fn new(name: String) -> Self {
        Self { name, ..Self::default() }
    }

    pub fn add_sample(&mut self, sample: Status) {
        let before = self.last.as_ref();
        let rates = before.and_then(|before| Rates::between(&before.stats, &sample.stats));
        self.worker_rates = before.map(|before| worker_rates(before, &sample)).unwrap_or_default();
        if self.unreachable.take().is_some() {
            self.requests.push(None);
            self.p99.push(None);
        }
        if let Some(rates) = rates {
            self.requests.push(Some(tenths(rates.requests)));
            let latency = &sample.stats.recent_latency;
            self.p99.push(Some(if latency.count > 0 { latency.p99_us } else { 0 }));
        }
        self.rates = rates;
        self.last = Some(sample);
    }

    /// Returns its workers; none while it is away.
    pub fn workers(&self) -> impl Iterator<Item = &WorkerInfo> {
        let here = self.last.as_ref().filter(|_| self.unreachable.is_none());
        here.into_iter().flat_map(|sample| &sample.workers.workers)
    }

    /// Returns the request rate of a worker; `None` if it is new.
    pub fn worker_rate(&self, number: u64) -> Option<f64> {
        self.worker_rates.get(&number).copied()
    }
}

fn worker_rates(before: &Status, now: &Status) -> BTreeMap<u64, f64> {
    let Some(ms) = elapsed_ms(&before.stats, &now.stats) else { return BTreeMap::new() };
    let counts: BTreeMap<_, _> =
        before.workers.workers.iter().map(|worker| (worker.number, worker.requests)).collect();
    let workers = now.workers.workers.iter();
    let answered = |worker: &WorkerInfo| worker.requests.checked_sub(*counts.get(&worker.number)?);
    workers.filter_map(|worker| Some((worker.number, per_second(answered(worker)?, ms)))).collect()
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it is never negative
fn tenths(rate: f64) -> u64 {
    (rate * 10.0).round() as u64
}
