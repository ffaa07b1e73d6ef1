use std::{
    io,
    rc::Rc,
    time::{Duration, SystemTime},
};

use tokio::{
    task::{spawn_local, yield_now},
    time::{Instant, sleep},
};

use super::{
    control_queue::{ControlQueue, ControlRequest},
    daemon_state::Daemon,
    process_resources,
};
use crate::{
    control::{
        Attribution, Change, Changed, Claim, ConfigReply, ConnectionStats, ControlError, DrainReply,
        LatencyBucket, LatencyStats, PeerCredentials, ProcessInfo, Query, RequestCounts, RequestRates,
        ResumeReply, SetLogLevelReply, SetWorkersReply, Snapshot, Stats, StatsReply, WorkerInfo, WorkerState,
        WorkersReply, unix_ms,
    },
    log::{Caller, Client, Event, Level},
    stats::{DrainedBy, HistogramSnapshot, Totals},
    worker::{Resized, WorkerReport},
};

/// Maximum time that a call waits for workers to exit.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum time that a call waits for connections to migrate, because they may have a request in progress.
const MIGRATE_TIMEOUT: Duration = Duration::from_secs(1);
/// Interval of the checks whether a change is complete.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

impl Daemon {
    /// Serves control clients. Yields after each request, so that signals, the watchdog and exited workers are served
    /// in between.
    pub async fn serve_control(self: Rc<Self>, mut queue: ControlQueue) {
        while let Some(request) = queue.next().await {
            let daemon = self.clone();
            // Each request has its own task, because a change may take long and a panic affects one client only.
            spawn_local(async move { daemon.serve_request(request).await });
            yield_now().await;
        }
    }

    async fn serve_request(&self, request: ControlRequest) {
        match request {
            // A failed send means that the client is disconnected.
            ControlRequest::Read { query, descriptors_used, reply } => {
                drop(reply.send(self.snapshot(query, descriptors_used)));
            }
            ControlRequest::Change { change, caller, mut reply } => tokio::select! {
                changed = self.change(change, &caller) => drop(reply.send(changed)),
                // The client is disconnected.
                () = reply.closed() => {}
            },
        }
    }

    fn snapshot(&self, query: Query, descriptors_used: u64) -> Snapshot {
        match query {
            Query::Stats => Snapshot::Stats(Box::new(StatsReply { stats: self.stats(descriptors_used) })),
            Query::Workers => Snapshot::Workers(self.workers()),
            Query::Config => {
                Snapshot::Config(ConfigReply { settings: self.config.borrow().describe(&self.listeners) })
            }
        }
    }

    async fn change(&self, change: Change, caller: &PeerCredentials) -> Result<Changed, ControlError> {
        match change {
            Change::Workers(count) => self.set_workers(count, caller).await.map(Changed::Workers),
            Change::Reload { dry_run: true } => self.dry_run_reload().await.map(Changed::Reloaded),
            Change::Reload { dry_run: false } => self.reload(&caller.into()).await.map(Changed::Reloaded),
            Change::LogLevel(level) => self.set_log_level(level, caller).map(Changed::LogLevel),
            Change::Drain => self.drain(caller).map(Changed::Drained),
            Change::Resume => self.resume(caller).map(Changed::Resumed),
        }
    }

    fn stats(&self, descriptors_used: u64) -> Stats {
        let (pool, statistics) = (self.pool.borrow(), &self.statistics);
        statistics.flush_lines_dropped(&self.log);
        let (memory, now, rates) = (&statistics.memory, statistics.sample(&pool), statistics.rates.borrow());
        let rate = |seconds| rates.rate(&now, Duration::from_secs(seconds));
        let recent = now.latency.since(&rates.before(now.at, Duration::from_secs(10)).latency);
        let (totals, accept) = (Totals::sum(memory.workers()), &memory.accept);
        let config = self.config.borrow();
        Stats {
            state: self.state(),
            drained_by: memory
                .drained_by()
                .map(|by| Attribution { by: Caller::from(by).to_string(), at_unix_ms: by.unix_ms }),
            process: ProcessInfo {
                version: env!("CARGO_PKG_VERSION").into(),
                pid: std::process::id(),
                started_unix_ms: unix_ms(statistics.started_at),
                uptime_ms: millis(statistics.started.elapsed()),
                starts: memory.starts.get(),
                cpu_ms: millis(process_resources::cpu_time()),
                memory_bytes: measured(process_resources::resident_bytes()),
                descriptors_used: measured(descriptors_used),
                descriptors_allowed: process_resources::descriptors_allowed(),
            },
            counters_since_unix_ms: memory.since_unix_ms(),
            config_loaded_unix_ms: unix_ms(config.loaded_at),
            last_reload_succeeded: config.last_reload_succeeded,
            listeners: self.listeners.addresses(),
            accept_errors: pool.accept_errors(),
            workers: pool.serving() as u64,
            requests: RequestCounts::new(|outcome| totals.outcome(outcome)),
            rates: RequestRates { last_second: rate(1), last_ten_seconds: rate(10), last_minute: rate(60) },
            latency: latency(&now.latency),
            recent_latency: latency(&recent),
            connections: ConnectionStats {
                open: pool.open() as u64,
                idle: pool.reports().iter().map(|report| report.idle).sum(),
                accepted: accept.accepted.get(),
                adopted: accept.adopted.get(),
                limit: config.settings.limits.connections as u64,
                effective_limit: pool.connection_limit() as u64,
                evicted: accept.evicted.get(),
                write_timeouts: totals.write_timeouts,
                accept_pauses: accept.pauses.get(),
            },
            bytes_received: totals.bytes_received,
            bytes_sent: totals.bytes_sent,
            log_lines_dropped: memory.log_lines_dropped.get(),
        }
    }

    fn workers(&self) -> WorkersReply {
        let (now, rates) = (std::time::Instant::now(), self.statistics.rates.borrow());
        let worker = |report: WorkerReport| WorkerInfo {
            number: report.number as u64,
            state: if report.leaving { WorkerState::Leaving } else { WorkerState::Serving },
            requests: report.requests,
            connections: report.open,
            idle_connections: report.idle,
            connections_taken: report.taken,
            cpu_ms: millis(report.cpu),
            busy: rates.busy(now, report.number, report.busy),
            heartbeat_age_ms: millis(report.heartbeat_age),
        };
        let config = self.config.borrow();
        let (count, overridden_by) = config.overrides.workers.clone().unzip();
        WorkersReply {
            configured: config.settings.workers.count() as u64,
            override_count: count.map(|count| count as u64),
            overridden_by,
            workers: self.pool.borrow().reports().into_iter().map(worker).collect(),
        }
    }

    async fn set_workers(
        &self,
        count: Option<usize>,
        caller: &PeerCredentials,
    ) -> Result<SetWorkersReply, ControlError> {
        self.ensure_running()?;
        let busy = |_| ControlError::Busy { method: "SetWorkers".into() };
        let _resizing = self.resizing.try_lock().map_err(busy)?;
        let target = count.unwrap_or_else(|| self.config.borrow().settings.workers.count());
        let moved_before = self.pool.borrow().moved();
        let resized =
            self.pool.borrow_mut().resize(target).map_err(|error| self.log_resize_failure(&error))?;
        self.config.borrow_mut().overrides.workers = count.map(|count| (count, attribution(caller)));
        let Resized { from, to, .. } = resized;
        self.log.send(Event::WorkersSet { from, to, is_override: count.is_some(), by: caller.into() });

        let begun = Instant::now();
        let moved = || self.pool.borrow().moved() - moved_before;
        let has_left =
            || self.pool.borrow().leaving() == 0 || begun.elapsed() >= EXIT_TIMEOUT.min(self.drain_limit());
        let has_moved = || moved() >= resized.moving || begun.elapsed() >= MIGRATE_TIMEOUT;
        while !(has_left() && has_moved()) {
            sleep(POLL_INTERVAL).await;
        }
        Ok(SetWorkersReply {
            from: resized.from as u64,
            to: resized.to as u64,
            moved: moved(),
            leaving: self.pool.borrow().leaving() as u64,
        })
    }

    /// Logs that workers could not be started, and returns the error for the caller.
    pub fn log_resize_failure(&self, error: &io::Error) -> ControlError {
        let reason = format!("Cannot start a worker: {error}");
        self.log.send(Event::OsError { reason: reason.clone() });
        ControlError::Failed { reason }
    }

    fn set_log_level(
        &self,
        level: Option<Level>,
        caller: &PeerCredentials,
    ) -> Result<SetLogLevelReply, ControlError> {
        self.ensure_running()?;
        let (from, to) = (self.log.level(), level.unwrap_or(self.config.borrow().settings.log.level));
        let before = self.config.borrow().overrides.log_level.as_ref().map(|(level, _)| *level);
        // A repeated override keeps the attribution of the first caller.
        if before != level {
            self.config.borrow_mut().overrides.log_level = level.map(|level| (level, attribution(caller)));
            self.log.set_level(from.max(to));
            self.log.send(Event::LogLevelSet { from, to, is_override: level.is_some(), by: caller.into() });
            self.log.set_level(to);
        }
        Ok(SetLogLevelReply { from: from.name().into(), to: to.name().into() })
    }

    fn drain(&self, caller: &PeerCredentials) -> Result<DrainReply, ControlError> {
        self.ensure_running()?;
        let already = self.statistics.memory.is_drained();
        if !already {
            let by = DrainedBy::new(
                unix_ms(SystemTime::now()),
                caller.pid,
                caller.uid,
                caller.claim.user.as_deref(),
            );
            self.statistics.memory.set_drained(Some(by));
            self.log.send(Event::Drained { by: caller.into() });
            self.notify_status();
        }
        Ok(DrainReply { already })
    }

    fn resume(&self, caller: &PeerCredentials) -> Result<ResumeReply, ControlError> {
        self.ensure_running()?;
        let already = !self.statistics.memory.is_drained();
        if !already {
            self.statistics.memory.set_drained(None);
            self.log.send(Event::Resumed { by: caller.into() });
            self.notify_status();
        }
        Ok(ResumeReply { already })
    }
}

fn latency(histogram: &HistogramSnapshot) -> LatencyStats {
    let buckets = histogram.buckets().map(|(below_us, count)| LatencyBucket { below_us, count });
    LatencyStats::new(buckets.collect(), histogram.sum_us(), histogram.max_us())
}

/// Returns `None` for 0, which means that the figure could not be measured.
fn measured(figure: u64) -> Option<u64> {
    (figure > 0).then_some(figure)
}

impl From<&PeerCredentials> for Caller {
    fn from(peer: &PeerCredentials) -> Self {
        let Claim { user, command } = peer.claim.clone();
        Self::Client(Client { pid: peer.pid, uid: peer.uid, claimed_user: user, claimed_command: command })
    }
}

impl From<DrainedBy> for Caller {
    fn from(by: DrainedBy) -> Self {
        let claimed_user = by.claimed_user();
        Self::Client(Client { pid: by.pid, uid: by.uid, claimed_user, ..Client::default() })
    }
}

fn attribution(caller: &PeerCredentials) -> Attribution {
    Attribution { by: Caller::from(caller).to_string(), at_unix_ms: unix_ms(SystemTime::now()) }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
