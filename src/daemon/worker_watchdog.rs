use std::time::{Duration, Instant};

use super::daemon_state::Daemon;
use crate::{log::Event, systemd};

/// Interval of the status, the watchdog and the check for stalled workers.
pub const TICK: Duration = Duration::from_secs(1);

/// Age of a heartbeat from which a worker is stalled, if systemd's watchdog sets no timeout.
const STALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Checks that the workers make progress, and feeds systemd's watchdog (`WatchdogSec=`) while they do.
#[derive(Debug)]
pub struct WorkerWatchdog {
    /// `WatchdogSec=` of systemd.
    timeout: Option<Duration>,
    /// The number of the worker that the last check found stalled.
    stalled_worker: Option<usize>,
    last_check: Instant,
    was_late: bool,
}

impl WorkerWatchdog {
    pub fn new() -> Self {
        Self {
            timeout: systemd::watchdog_timeout(),
            stalled_worker: None,
            last_check: Instant::now(),
            was_late: false,
        }
    }

    pub fn interval(&self) -> Duration {
        self.timeout.map_or(TICK, |timeout| TICK.min(timeout / 4))
    }

    /// Notifies systemd's watchdog if no worker is stalled. If a worker was stalled for the whole timeout, returns the
    /// time limit of a shutdown, which hands off the connections of the other workers. Otherwise systemd would kill
    /// the process with all connections.
    pub fn check(&mut self, daemon: &Daemon) -> Option<Duration> {
        let limit = self.timeout.map_or(STALL_TIMEOUT, |timeout| timeout / 2);
        // Half of the limit leaves the workers time to continue. A single late tick is no pause.
        if let Some(since) = self.detect_pause((limit / 2).max(self.interval() * 3 / 2)) {
            daemon.log.send(Event::ProcessPaused { since });
            if self.timeout.is_some() {
                daemon.notify(|notifier| notifier.alive());
            }
            return None;
        }
        let stalled = self.detect_stalled_worker(daemon, limit);
        let timeout = self.timeout?;
        // Two checks in a row, because after a pause of the process no worker had time to continue.
        let is_hopeless = stalled.is_some_and(|(since, is_known)| is_known && since > timeout);
        if is_hopeless || stalled.is_none() {
            daemon.notify(|notifier| notifier.alive());
        }
        is_hopeless.then_some(timeout / 4)
    }

    /// Returns the duration of a pause of the whole process if it was longer than `limit`: the process was frozen or
    /// stopped, or got no CPU time. A second late check in a row is no pause.
    fn detect_pause(&mut self, limit: Duration) -> Option<Duration> {
        let since = self.last_check.elapsed();
        let is_late = since > limit;
        let is_pause = is_late && !self.was_late;
        (self.last_check, self.was_late) = (Instant::now(), is_late);
        is_pause.then_some(since)
    }

    /// Returns the age of the oldest heartbeat of a worker, if that is over `limit`, and whether the last check
    /// found the same worker stalled. Logs it once.
    fn detect_stalled_worker(&mut self, daemon: &Daemon, limit: Duration) -> Option<(Duration, bool)> {
        let reports = daemon.pool.borrow().reports().into_iter();
        let stalled = reports.filter(|report| report.heartbeat_age > limit);
        let stalled = stalled.max_by_key(|report| report.heartbeat_age);
        let worker = stalled.as_ref().map(|report| report.number);
        let before = std::mem::replace(&mut self.stalled_worker, worker);
        stalled.map(|report| {
            let (worker, since) = (report.number, report.heartbeat_age);
            let is_known = before == Some(worker);
            if !is_known {
                daemon.log.send(Event::WorkerStalled { worker, since });
            }
            (since, is_known)
        })
    }
}
