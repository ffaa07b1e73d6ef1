use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use hyper::StatusCode;

use super::trend::{Sample, Trend};
use crate::{
    config::{self, Applies, Key, Loaded, Origin, Settings, Sources},
    control::{Act, ControlError, Reloaded, ServiceState, SettingChange, unix_ms},
    http::Policy,
    log::{Event, Level, Log, counted},
    stats::{Memory, Totals, latency},
    systemd::Notifier,
    worker::Pool,
};

/// The running daemon: what signals and control clients act on. It lives on the main thread.
#[derive(Debug)]
pub struct House {
    pub log: Log,
    pub pool: RefCell<Pool>,
    pub memory: Arc<Memory>,
    pub listeners: Vec<String>,
    pub started: Instant,
    pub started_at: SystemTime,
    pub stopping: Cell<bool>,
    /// As the configuration says; what was set by hand is kept apart.
    pub settings: RefCell<Settings>,
    pub origins: RefCell<BTreeMap<&'static str, Origin>>,
    pub by_hand: RefCell<ByHand>,
    pub trend: RefCell<Trend>,
    /// Whether a call of SetWorkers is at it.
    pub resizing: Cell<bool>,
    sources: Sources,
    notifier: RefCell<Notifier>,
    notify_failed: Cell<bool>,
    stuck_worker: Cell<Option<usize>>,
    lines_dropped_told: Cell<u64>,
}

/// What was set by hand and holds in place of the configuration, until it is taken back or the daemon
/// ends.
#[derive(Debug, Default)]
pub struct ByHand {
    pub workers: Option<(usize, Act)>,
    pub log_level: Option<(Level, Act)>,
}

/// What the daemon consists of once it has started.
#[derive(Debug)]
pub struct Parts {
    pub sources: Sources,
    pub loaded: Loaded,
    pub pool: Pool,
    pub memory: Arc<Memory>,
    pub listeners: Vec<String>,
    pub log: Log,
    pub started: Instant,
}

impl House {
    pub fn new(parts: Parts) -> Self {
        let trend = Trend::new(sample(&parts.memory, &parts.pool));
        Self {
            log: parts.log,
            pool: RefCell::new(parts.pool),
            memory: parts.memory,
            listeners: parts.listeners,
            started: parts.started,
            started_at: SystemTime::now() - parts.started.elapsed(),
            stopping: Cell::new(false),
            settings: RefCell::new(parts.loaded.settings),
            origins: RefCell::new(parts.loaded.origins),
            by_hand: RefCell::default(),
            trend: RefCell::new(trend),
            resizing: Cell::new(false),
            sources: parts.sources,
            notifier: RefCell::default(),
            notify_failed: Cell::new(false),
            stuck_worker: Cell::new(None),
            lines_dropped_told: Cell::new(0),
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
    pub fn is_to_change(&self) -> Result<(), ControlError> {
        if self.stopping.get() { Err(ControlError::Stopping) } else { Ok(()) }
    }

    /// How long requests may take to finish when the daemon stops.
    pub fn drain_limit(&self) -> Duration {
        self.settings.borrow().timeouts.drain
    }

    /// Tells the service manager something, and the log once when that fails.
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

    /// Answers no more changes.
    pub fn begin_to_stop(&self, cause: &'static str) {
        self.stopping.set(true);
        self.log.send(Event::Stopping { cause, open: self.pool.borrow().open() as u64 });
    }

    /// Whether every worker has come round within `limit`; the log is told of one that has not, once.
    pub fn all_workers_progress(&self, limit: Duration) -> bool {
        let reports = self.pool.borrow().reports();
        let stuck = reports.into_iter().find(|report| report.since_progress > limit);
        let before = self.stuck_worker.replace(stuck.as_ref().map(|report| report.number));
        match stuck {
            Some(report) if before != Some(report.number) => {
                self.log.send(Event::WorkerStuck { worker: report.number, since: report.since_progress });
                false
            }
            stuck => stuck.is_none(),
        }
    }

    /// Takes note of what is counted by now, for the rates.
    pub fn remember(&self) {
        let mut trend = self.trend.borrow_mut();
        if trend.is_due(Instant::now()) {
            trend.add(self.sample());
        }
        self.keep_lines_dropped();
    }

    /// What is counted by now.
    pub fn sample(&self) -> Sample {
        sample(&self.memory, &self.pool.borrow())
    }

    /// The log counts for this process; what it counted goes to the counters that outlive it.
    pub fn keep_lines_dropped(&self) {
        let dropped = self.log.dropped();
        self.memory.log_lines_dropped.add(dropped - self.lines_dropped_told.replace(dropped));
    }

    /// One line on how it goes.
    pub fn status(&self) -> String {
        let now = self.sample();
        let rate = self.trend.borrow().rate(&now, Duration::from_secs(1));
        let pool = self.pool.borrow();
        let workers = counted(pool.serving(), "worker");
        let connections = counted(pool.open(), "connection");
        let state = if self.memory.is_drained() { "Drained (answers 503)" } else { "Serving" };
        format!("{state}: {workers}, {connections}, {}, {rate:.0}/s", counted(now.total, "request"))
    }

    /// Reads the configuration again. Either all of it holds afterwards or nothing has changed.
    ///
    /// # Errors
    /// Every fault of every file.
    pub fn reload(&self, by: &str) -> Result<Reloaded, ControlError> {
        self.is_to_change()?;
        self.notify(|notifier| notifier.reloading());
        let loaded = self.sources.load().map_err(|faults| {
            let faults = faults.lines();
            self.log.send(Event::ReloadRefused { faults: faults.clone(), by: by.into() });
            ControlError::InvalidConfiguration { faults }
        });
        let result = loaded.and_then(|loaded| self.apply(loaded, by));
        let status = self.status();
        self.notify(|notifier| notifier.ready(&status));
        result
    }

    /// What a reload would do.
    ///
    /// # Errors
    /// Every fault of every file.
    pub fn try_reload(&self) -> Result<Reloaded, ControlError> {
        let refused = |faults: config::Faults| ControlError::InvalidConfiguration { faults: faults.lines() };
        let loaded = self.sources.load().map_err(refused)?;
        let settings = self.settings.borrow();
        Ok(Reloaded { applied: false, changes: changes(&settings, &loaded.settings, &self.by_hand.borrow()) })
    }

    fn apply(&self, loaded: Loaded, by: &str) -> Result<Reloaded, ControlError> {
        let mut settings = self.settings.borrow_mut();
        let Loaded { settings: mut next, origins: mut next_origins, .. } = loaded;
        let by_hand = self.by_hand.borrow();
        let changes = changes(&settings, &next, &by_hand);
        let mut pool = self.pool.borrow_mut();
        if settings.workers != next.workers && by_hand.workers.is_none() {
            pool.resize(next.workers.count()).map_err(|error| self.no_workers(&error))?;
        }
        pool.adopt(&policy(&next), next.limits.connections);
        if by_hand.log_level.is_none() {
            self.log.set_level(next.log.level);
        }
        // What waits for a restart is reported as changed again by the next reload.
        next.listen = settings.listen.clone();
        next.log.target = settings.log.target;
        let mut origins = self.origins.borrow_mut();
        for key in config::KEYS.iter().filter(|key| key.applies == Applies::AtRestart) {
            match origins.remove(key.name) {
                Some(origin) => next_origins.insert(key.name, origin),
                None => next_origins.remove(key.name),
            };
        }
        *settings = next;
        *origins = next_origins;
        let (later, now): (Vec<_>, Vec<_>) = changes.iter().partition(|change| change.needs_restart);
        let line = |change: &&SettingChange| format!("{}: {} -> {}", change.key, change.from, change.to);
        self.log.send(Event::Reloaded {
            changed: now.iter().map(line).collect(),
            needs_restart: later.iter().map(|change| change.key.clone()).collect(),
            by: by.into(),
        });
        Ok(Reloaded { applied: true, changes })
    }

    pub fn no_workers(&self, error: &io::Error) -> ControlError {
        let reason = format!("cannot start another worker: {error}");
        self.log.send(Event::SystemRefused { reason: reason.clone() });
        ControlError::Failed { reason }
    }
}

fn sample(memory: &Memory, pool: &Pool) -> Sample {
    Sample {
        at: Instant::now(),
        total: Totals::sum(memory.workers()).outcomes.total(),
        latency: latency(memory.workers()),
        busy: pool.reports().iter().map(|report| (report.number, report.busy)).collect(),
    }
}

fn changes(from: &Settings, to: &Settings, by_hand: &ByHand) -> Vec<SettingChange> {
    let is_set_by_hand = |key| match key {
        "workers" => by_hand.workers.is_some(),
        "log.level" => by_hand.log_level.is_some(),
        _ => false,
    };
    let change = |key: &Key| SettingChange {
        key: key.name.into(),
        from: (key.show)(from),
        to: (key.show)(to),
        needs_restart: key.applies == Applies::AtRestart,
        set_by_hand: is_set_by_hand(key.name),
    };
    config::changes(from, to).into_iter().map(change).collect()
}

/// Now, as the control interface tells times.
pub fn now_unix_ms() -> u64 {
    unix_ms(SystemTime::now())
}

/// What the settings mean for clients.
pub fn policy(settings: &Settings) -> Policy {
    Policy {
        body_limit: settings.limits.body,
        head_limit: settings.limits.head,
        requests_limit: settings.limits.requests_per_connection,
        head_timeout: settings.timeouts.head,
        body_timeout: settings.timeouts.body,
        write_timeout: settings.timeouts.write,
        keep_alive_timeout: settings.timeouts.keep_alive,
        range_error_status: StatusCode::from_u16(settings.pixel.range_error_status)
            .unwrap_or(StatusCode::UNPROCESSABLE_ENTITY),
    }
}
