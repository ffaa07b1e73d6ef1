use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    rc::{Rc, Weak},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use hyper::StatusCode;

use super::{
    config_reader::ConfigReader,
    control_queue::{self, ControlHandle},
    doors::Doors,
    trend::{Sample, Trend},
};
use crate::{
    config::{Loaded, Origin, Settings, Sources},
    control::{Attribution, ControlError, ServiceState, unix_ms},
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
    pub doors: RefCell<Doors>,
    pub started: Instant,
    pub started_at: SystemTime,
    /// Requests that processes before have answered.
    pub answered_before: u64,
    pub stopping: Cell<bool>,
    /// As the configuration says; what was set by hand is kept apart.
    pub settings: RefCell<Settings>,
    pub origins: RefCell<BTreeMap<&'static str, Origin>>,
    pub by_hand: RefCell<ByHand>,
    pub trend: RefCell<Trend>,
    /// Whether a call of SetWorkers is at it.
    pub resizing: Cell<bool>,
    pub sources: Sources,
    pub config_reader: ConfigReader,
    /// Where the threads of the control sockets ask.
    pub control: ControlHandle,
    me: Weak<Self>,
    notifier: RefCell<Notifier>,
    notify_failed: Cell<bool>,
    stuck_worker: Cell<Option<usize>>,
    /// When workers were last looked at, and whether that was late.
    last_look: Cell<(Instant, bool)>,
    lines_dropped_told: Cell<u64>,
}

/// A worker that makes no progress.
#[derive(Debug, Clone, Copy)]
pub struct Stuck {
    pub since: Duration,
    /// Whether it was already when somebody looked before.
    pub is_known: bool,
}

/// What was set by hand and holds in place of the configuration, until it is taken back or the daemon
/// ends.
#[derive(Debug, Default)]
pub struct ByHand {
    pub workers: Option<(usize, Attribution)>,
    pub log_level: Option<(Level, Attribution)>,
}

/// What the daemon consists of once it has started.
#[derive(Debug)]
pub struct Parts {
    pub sources: Sources,
    pub loaded: Loaded,
    pub pool: Pool,
    pub memory: Arc<Memory>,
    pub doors: Doors,
    pub log: Log,
    pub started: Instant,
    pub answered_before: u64,
}

impl House {
    /// Receives control clients from now on.
    ///
    /// # Errors
    /// When there is no descriptor or no thread left.
    pub fn open(parts: Parts) -> io::Result<Rc<Self>> {
        let (control, queue) = control_queue::channel();
        let house = Rc::new_cyclic(|me| Self::new(parts, control, me));
        house.doors.borrow_mut().receive(&house)?;
        tokio::task::spawn_local(queue.serve(house.clone()));
        Ok(house)
    }

    fn new(parts: Parts, control: ControlHandle, me: &Weak<Self>) -> Self {
        let trend = Trend::new(sample(&parts.memory, &parts.pool));
        Self {
            log: parts.log,
            pool: RefCell::new(parts.pool),
            memory: parts.memory,
            doors: RefCell::new(parts.doors),
            started: parts.started,
            started_at: SystemTime::now() - parts.started.elapsed(),
            answered_before: parts.answered_before,
            stopping: Cell::new(false),
            settings: RefCell::new(parts.loaded.settings),
            origins: RefCell::new(parts.loaded.origins),
            by_hand: RefCell::default(),
            trend: RefCell::new(trend),
            resizing: Cell::new(false),
            sources: parts.sources,
            config_reader: ConfigReader::default(),
            control,
            me: me.clone(),
            notifier: RefCell::new(Notifier::open()),
            notify_failed: Cell::new(false),
            stuck_worker: Cell::new(None),
            last_look: Cell::new((Instant::now(), false)),
            lines_dropped_told: Cell::new(0),
        }
    }

    /// As those have it who act on it for longer than a call.
    pub fn shared(&self) -> Option<Rc<Self>> {
        self.me.upgrade()
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

    /// For how long the whole process did not run, if that was longer than `limit`: it was frozen or stopped,
    /// or the host had no CPU time for it. Workers are not to blame then, and need a moment to come round.
    /// Said of two looks in a row, it would be no pause, so it is not.
    pub fn find_pause(&self, limit: Duration) -> Option<Duration> {
        let now = Instant::now();
        let (before, was_late) = self.last_look.get();
        let since = now - before;
        let is_late = since > limit;
        self.last_look.set((now, is_late));
        (is_late && !was_late).then_some(since)
    }

    /// The worker that has not come round for longest, where that is longer than `limit`; the log is told
    /// of it, once.
    pub fn find_stuck(&self, limit: Duration) -> Option<Stuck> {
        let reports = self.pool.borrow().reports().into_iter();
        let stuck = reports.filter(|report| report.since_progress > limit);
        let stuck = stuck.max_by_key(|report| report.since_progress);
        let before = self.stuck_worker.replace(stuck.as_ref().map(|report| report.number));
        stuck.map(|report| {
            let (worker, since) = (report.number, report.since_progress);
            let is_known = before == Some(worker);
            if !is_known {
                self.log.send(Event::WorkerStalled { worker, since });
            }
            Stuck { since, is_known }
        })
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
        let failing = pool.accept_errors();
        let state = match failing.as_slice() {
            [] if self.memory.is_drained() => "Drained (answers 503)".into(),
            [] => "Serving".into(),
            errors => format!("Accepts no connections at {}", errors.join(", ")),
        };
        format!("{state}: {workers}, {connections}, {}, {rate:.0}/s", counted(now.total, "request"))
    }

    pub fn no_workers(&self, error: &io::Error) -> ControlError {
        let reason = format!("cannot start another worker: {error}");
        self.log.send(Event::OsError { reason: reason.clone() });
        ControlError::Failed { reason }
    }
}

fn sample(memory: &Memory, pool: &Pool) -> Sample {
    Sample {
        at: Instant::now(),
        total: answered(memory),
        latency: latency(memory.workers()),
        busy: pool.reports().iter().map(|report| (report.number, report.busy)).collect(),
    }
}

/// Requests that were answered, by this process or by those before.
pub fn answered(memory: &Memory) -> u64 {
    Totals::sum(memory.workers()).outcomes.total()
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
