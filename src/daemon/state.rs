use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use hyper::StatusCode;

use super::{
    config_reader::ConfigReader,
    listeners::Listeners,
    rate_window::{RateSample, RateWindow},
};
use crate::{
    config::{Loaded, Origin, Settings, Sources},
    control::{Attribution, ControlError, ServiceState, unix_ms},
    http::Policy,
    log::{Event, Level, Log, counted},
    stats::{SharedStats, Totals, latency},
    systemd::Notifier,
    worker::Pool,
};

/// The running daemon: what signals and control clients act on. It lives on the main thread.
#[derive(Debug)]
pub struct Daemon {
    pub log: Log,
    pub pool: RefCell<Pool>,
    pub memory: Arc<SharedStats>,
    pub listeners: Listeners,
    pub started: Instant,
    pub started_at: SystemTime,
    /// Requests that previous processes have answered.
    pub answered_before: u64,
    pub stopping: Cell<bool>,
    /// As the configuration says; runtime overrides are kept apart.
    pub settings: RefCell<Settings>,
    pub origins: RefCell<BTreeMap<&'static str, Origin>>,
    pub overrides: RefCell<RuntimeOverrides>,
    pub rates: RefCell<RateWindow>,
    /// Whether a call of SetWorkers is at it.
    pub resizing: Cell<bool>,
    pub sources: Sources,
    pub config_reader: ConfigReader,
    notifier: RefCell<Notifier>,
    notify_failed: Cell<bool>,
    stalled_worker: Cell<Option<usize>>,
    /// When workers were last checked, and whether that was late.
    last_check: Cell<(Instant, bool)>,
    lines_dropped_flushed: Cell<u64>,
}

/// A worker that makes no progress.
#[derive(Debug, Clone, Copy)]
pub struct StalledWorker {
    pub since: Duration,
    /// Whether the previous check found it as well.
    pub is_known: bool,
}

/// Settings that an operator has overridden, until the override is reset or the daemon exits.
#[derive(Debug, Default)]
pub struct RuntimeOverrides {
    pub workers: Option<(usize, Attribution)>,
    pub log_level: Option<(Level, Attribution)>,
}

/// What the daemon consists of once it has started.
#[derive(Debug)]
pub struct DaemonParts {
    pub sources: Sources,
    pub loaded: Loaded,
    pub pool: Pool,
    pub memory: Arc<SharedStats>,
    pub listeners: Listeners,
    pub log: Log,
    pub started: Instant,
    pub answered_before: u64,
}

impl Daemon {
    pub fn new(parts: DaemonParts) -> Self {
        let rates = RateWindow::new(sample(&parts.memory, &parts.pool));
        Self {
            log: parts.log,
            pool: RefCell::new(parts.pool),
            memory: parts.memory,
            listeners: parts.listeners,
            started: parts.started,
            started_at: SystemTime::now() - parts.started.elapsed(),
            answered_before: parts.answered_before,
            stopping: Cell::new(false),
            settings: RefCell::new(parts.loaded.settings),
            origins: RefCell::new(parts.loaded.origins),
            overrides: RefCell::default(),
            rates: RefCell::new(rates),
            resizing: Cell::new(false),
            sources: parts.sources,
            config_reader: ConfigReader::default(),
            notifier: RefCell::new(Notifier::open()),
            notify_failed: Cell::new(false),
            stalled_worker: Cell::new(None),
            last_check: Cell::new((Instant::now(), false)),
            lines_dropped_flushed: Cell::new(0),
        }
    }

    /// What the daemon is doing.
    pub fn state(&self) -> ServiceState {
        if self.stopping.get() {
            ServiceState::Stopping
        } else if self.memory.is_drained() {
            ServiceState::Drained
        } else {
            ServiceState::Serving
        }
    }

    /// Refuses changes once the daemon is stopping.
    pub fn ensure_running(&self) -> Result<(), ControlError> {
        if self.stopping.get() { Err(ControlError::Stopping) } else { Ok(()) }
    }

    /// How long requests may take to finish when the daemon stops.
    pub fn drain_limit(&self) -> Duration {
        self.settings.borrow().timeouts.drain
    }

    /// Notifies the service manager; logs the first failure.
    pub fn notify(&self, tell: impl FnOnce(&mut Notifier) -> io::Result<()>) {
        if let Err(error) = tell(&mut self.notifier.borrow_mut())
            && !self.notify_failed.replace(true)
        {
            self.log.send(Event::NotifyFailed { reason: error.to_string() });
        }
    }

    /// Asks the service manager for something that the daemon can do without.
    pub fn ask<T>(&self, ask: impl FnOnce(&mut Notifier) -> io::Result<T>) -> io::Result<T> {
        ask(&mut self.notifier.borrow_mut())
    }

    /// Rejects changes from now on.
    pub fn begin_shutdown(&self, cause: &'static str) {
        self.stopping.set(true);
        self.log.send(Event::Stopping { cause, open: self.pool.borrow().open() as u64 });
    }

    /// For how long the whole process did not run, if that was longer than `limit`: it was frozen or stopped,
    /// or the host had no CPU time for it. Workers are not to blame then, and need a moment to come round.
    /// Said of two looks in a row, it would be no pause, so it is not.
    pub fn detect_pause(&self, limit: Duration) -> Option<Duration> {
        let now = Instant::now();
        let (before, was_late) = self.last_check.get();
        let since = now - before;
        let is_late = since > limit;
        self.last_check.set((now, is_late));
        (is_late && !was_late).then_some(since)
    }

    /// The worker with the oldest heartbeat, if that is older than `limit`; logged once.
    pub fn detect_stalled_worker(&self, limit: Duration) -> Option<StalledWorker> {
        let reports = self.pool.borrow().reports().into_iter();
        let stuck = reports.filter(|report| report.heartbeat_age > limit);
        let stuck = stuck.max_by_key(|report| report.heartbeat_age);
        let before = self.stalled_worker.replace(stuck.as_ref().map(|report| report.number));
        stuck.map(|report| {
            let (worker, since) = (report.number, report.heartbeat_age);
            let is_known = before == Some(worker);
            if !is_known {
                self.log.send(Event::WorkerStalled { worker, since });
            }
            StalledWorker { since, is_known }
        })
    }

    /// Records the counters, for the rates.
    pub fn record_sample(&self) {
        let mut rates = self.rates.borrow_mut();
        if rates.is_due(Instant::now()) {
            rates.add(self.sample());
        }
        self.flush_lines_dropped();
    }

    /// What is counted by now.
    pub fn sample(&self) -> RateSample {
        sample(&self.memory, &self.pool.borrow())
    }

    /// The log counts for this process; what it counted goes to the counters that outlive it.
    pub fn flush_lines_dropped(&self) {
        let dropped = self.log.dropped();
        self.memory.log_lines_dropped.add(dropped - self.lines_dropped_flushed.replace(dropped));
    }

    /// One line on how it goes.
    pub fn status(&self) -> String {
        let now = self.sample();
        let rate = self.rates.borrow().rate(&now, Duration::from_secs(1));
        let pool = self.pool.borrow();
        let workers = counted(pool.serving(), "worker");
        let connections = counted(pool.open(), "connection");
        let failing = pool.accept_errors();
        let state = match failing.as_slice() {
            [] if self.memory.is_drained() => "Drained (answers 503)".into(),
            [] => "Serving".into(),
            errors => format!("Accepts no connections at {}", errors.join(", ")),
        };
        format!("{state}: {workers}, {connections}, {}, {rate:.0}/s", counted(now.total, "request"))
    }

    pub fn log_resize_failure(&self, error: &io::Error) -> ControlError {
        let reason = format!("cannot start another worker: {error}");
        self.log.send(Event::OsError { reason: reason.clone() });
        ControlError::Failed { reason }
    }
}

fn sample(memory: &SharedStats, pool: &Pool) -> RateSample {
    RateSample {
        at: Instant::now(),
        total: answered(memory),
        latency: latency(memory.workers()),
        busy: pool.reports().iter().map(|report| (report.number, report.busy)).collect(),
    }
}

/// Requests that were answered, by this process or by those before.
pub fn answered(memory: &SharedStats) -> u64 {
    Totals::sum(memory.workers()).outcomes.total()
}

/// Now, as the control interface tells times.
pub fn now_unix_ms() -> u64 {
    unix_ms(SystemTime::now())
}

impl From<&Settings> for Policy {
    fn from(settings: &Settings) -> Self {
        Self {
            body_limit: settings.limits.body,
            head_limit: settings.limits.header,
            requests_limit: settings.limits.requests_per_connection,
            head_timeout: settings.timeouts.header,
            body_timeout: settings.timeouts.body,
            write_timeout: settings.timeouts.write,
            keep_alive_timeout: settings.timeouts.keep_alive,
            range_error_status: StatusCode::from_u16(settings.pixel.range_error_status)
                .unwrap_or(StatusCode::UNPROCESSABLE_ENTITY),
        }
    }
}
