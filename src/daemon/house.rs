use std::{
    cell::{Cell, RefCell},
    io,
    time::{Duration, Instant},
};

use hyper::StatusCode;

use crate::{
    config::{self, Applies, Loaded, Settings, Sources},
    control::{
        Caller, Connections, ControlError, Operator, Reloaded, Requests, ServiceState, Stats, Worker,
        WorkerState, Workers, WorkersSet,
    },
    http::Policy,
    log::{Event, Log, counted},
    stats::Outcome,
    systemd::Notifier,
    worker::{Pool, WorkerReport},
};

/// The running daemon: what signals and control clients act on. It lives on the main thread.
#[derive(Debug)]
pub struct House {
    pub log: Log,
    pub pool: RefCell<Pool>,
    pub listeners: Vec<String>,
    pub started: Instant,
    pub state: Cell<ServiceState>,
    sources: Sources,
    settings: RefCell<Settings>,
    notifier: RefCell<Notifier>,
    notify_failed: Cell<bool>,
    stuck_worker: Cell<Option<usize>>,
    last_total: Cell<(Instant, u64)>,
}

impl House {
    pub fn new(
        sources: Sources,
        settings: Settings,
        pool: Pool,
        listeners: Vec<String>,
        log: Log,
        started: Instant,
    ) -> Self {
        Self {
            log,
            pool: RefCell::new(pool),
            listeners,
            started,
            state: Cell::new(ServiceState::Serving),
            sources,
            settings: RefCell::new(settings),
            notifier: RefCell::default(),
            notify_failed: Cell::new(false),
            stuck_worker: Cell::new(None),
            last_total: Cell::new((started, 0)),
        }
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

    /// One line on how it goes, with the rate since it was last asked for.
    pub fn status(&self) -> String {
        let pool = self.pool.borrow();
        let (now, total) = (Instant::now(), pool.totals().outcomes.total());
        let (before, last) = self.last_total.replace((now, total));
        let seconds = (now - before).as_secs_f64().max(0.001);
        #[allow(clippy::cast_precision_loss)] // a rate, to be read by people
        let rate = (total - last) as f64 / seconds;
        let workers = counted(pool.serving(), "worker");
        let connections = counted(pool.open(), "connection");
        format!("Serving: {workers}, {connections}, {}, {rate:.0}/s", counted(total, "request"))
    }

    /// Reads the configuration again. Either all of it holds afterwards or nothing has changed.
    ///
    /// # Errors
    /// Every fault of every file.
    pub fn reload(&self) -> Result<Reloaded, ControlError> {
        if self.state.get() == ServiceState::Stopping {
            return Err(ControlError::Stopping);
        }
        self.notify(|notifier| notifier.reloading());
        let result = self.sources.load().map_err(|faults| {
            let faults = faults.lines();
            self.log.send(Event::ReloadRefused { faults: faults.clone() });
            ControlError::InvalidConfiguration { faults }
        });
        let result = result.and_then(|loaded| self.apply(loaded));
        let status = self.status();
        self.notify(|notifier| notifier.ready(&status));
        result
    }

    fn apply(&self, loaded: Loaded) -> Result<Reloaded, ControlError> {
        let mut settings = self.settings.borrow_mut();
        let changed = config::changes(&settings, &loaded.settings);
        let mut next = loaded.settings;
        let reloaded = Reloaded {
            changed: changed
                .iter()
                .filter(|key| key.applies == Applies::Live)
                .map(|key| format!("{}: {} -> {}", key.name, (key.show)(&settings), (key.show)(&next)))
                .collect(),
            needs_restart: changed
                .iter()
                .filter(|key| key.applies == Applies::AtRestart)
                .map(|key| key.name.into())
                .collect(),
        };
        let mut pool = self.pool.borrow_mut();
        if settings.workers != next.workers {
            pool.resize(next.workers.count()).map_err(|error| self.no_workers(&error))?;
        }
        pool.adopt(&policy(&next), next.limits.connections);
        self.log.set_level(next.log.level);
        // What waits for a restart is reported as changed again by the next reload.
        next.listen = settings.listen.clone();
        next.log.target = settings.log.target;
        *settings = next;
        self.log.send(Event::Reloaded {
            changed: reloaded.changed.clone(),
            needs_restart: reloaded.needs_restart.clone(),
        });
        Ok(reloaded)
    }

    fn no_workers(&self, error: &io::Error) -> ControlError {
        let reason = format!("cannot start another worker: {error}");
        self.log.send(Event::SystemRefused { reason: reason.clone() });
        ControlError::Failed { reason }
    }
}

impl Operator for House {
    fn stats(&self) -> Stats {
        let pool = self.pool.borrow();
        let totals = pool.totals();
        let accepting = pool.accept_stats();
        Stats {
            state: self.state.get(),
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_ms: self.started.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
            listeners: self.listeners.clone(),
            workers: pool.serving() as u64,
            requests: Requests {
                total: totals.outcomes.total(),
                ok: totals.outcomes.get(Outcome::Ok),
                invalid: totals.outcomes.get(Outcome::Invalid),
                out_of_range: totals.outcomes.get(Outcome::OutOfRange),
                malformed: totals.outcomes.get(Outcome::Malformed),
                not_found: totals.outcomes.get(Outcome::NotFound),
                method_not_allowed: totals.outcomes.get(Outcome::MethodNotAllowed),
                timed_out: totals.outcomes.get(Outcome::TimedOut),
                too_large: totals.outcomes.get(Outcome::TooLarge),
                unsupported_media_type: totals.outcomes.get(Outcome::UnsupportedMediaType),
                head_too_large: totals.outcomes.get(Outcome::HeadTooLarge),
                not_implemented: totals.outcomes.get(Outcome::NotImplemented),
                failed: totals.outcomes.get(Outcome::Failed),
            },
            connections: Connections {
                open: pool.open() as u64,
                accepted: accepting.accepted.get(),
                limit: self.settings.borrow().limits.connections as u64,
                evicted: accepting.evicted.get(),
                cut: totals.connections_cut,
                pauses: accepting.pauses.get(),
            },
            bytes_received: totals.bytes_received,
            bytes_sent: totals.bytes_sent,
            log_lines_dropped: self.log.dropped(),
        }
    }

    fn workers(&self) -> Workers {
        let worker = |report: WorkerReport| Worker {
            number: report.number as u64,
            state: if report.leaving { WorkerState::Leaving } else { WorkerState::Serving },
            requests: report.totals.outcomes.total(),
            connections: report.open,
            connections_taken: report.taken,
            progress_age_ms: report.since_progress.as_millis().try_into().unwrap_or(u64::MAX),
        };
        Workers {
            configured: self.settings.borrow().workers.count() as u64,
            workers: self.pool.borrow().reports().into_iter().map(worker).collect(),
        }
    }

    fn set_workers(&self, count: Option<usize>, caller: &Caller) -> Result<WorkersSet, ControlError> {
        if self.state.get() == ServiceState::Stopping {
            return Err(ControlError::Stopping);
        }
        let count = count.unwrap_or_else(|| self.settings.borrow().workers.count());
        let resized = self.pool.borrow_mut().resize(count).map_err(|error| self.no_workers(&error))?;
        self.log.send(Event::WorkersSet { from: resized.from, to: resized.to, by: caller.to_string() });
        Ok(WorkersSet { from: resized.from as u64, to: resized.to as u64 })
    }

    fn reload(&self, _: &Caller) -> Result<Reloaded, ControlError> {
        House::reload(self)
    }
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
