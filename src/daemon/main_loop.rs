use std::{
    future::pending,
    io,
    mem::take,
    os::fd::OwnedFd,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::unbounded_channel,
    task::{LocalSet, spawn_local},
    time::{MissedTickBehavior, interval},
};

use super::{
    args::DaemonArgs,
    control_queue, handoff,
    listeners::Listeners,
    panic_hook, process,
    shutdown::Shutdown,
    startup_sockets::{Sockets, acquire},
    state::{Daemon, DaemonParts, answered},
    stats_adoption,
};
use crate::{
    config::{Loaded, Sources},
    exit::Exit,
    log::{Caller, Event, Log},
    net::FdBudget,
    pixel,
    systemd::{self, Inherited},
    worker::{Pool, Shared},
};

/// Interval of the status, the watchdog and the check for stalled workers.
pub const TICK: Duration = Duration::from_secs(1);

/// A worker whose heartbeat is older is stalled, if no watchdog sets a timeout.
const STALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs the daemon until it is told to stop, or until it cannot start.
pub fn run(args: &DaemonArgs, mut inherited: Inherited, sources: Sources, loaded: Loaded, log: &Log) -> Exit {
    let started = Instant::now();
    let left = PreviousState {
        counters: take(&mut inherited.counters),
        connections: take(&mut inherited.connections),
    };
    let sockets = match acquire(inherited, args.sockets, &loaded.settings.listen, log) {
        Ok(sockets) => sockets,
        Err(exit) => return exit,
    };
    panic_hook::install(log.clone());
    process::raise_descriptor_limit();
    let workers = loaded.settings.workers.count();
    if let Err(error) = process::ensure_descriptors(FdBudget::for_start(workers)) {
        return cannot_start(log, error.to_string());
    }
    process::open_proc_files();
    if !loaded.files.is_empty() {
        log.send(Event::ConfigLoaded { files: loaded.file_names() });
    }
    if !loaded.warnings.is_empty() {
        log.send(Event::ConfigDeprecated { warnings: loaded.warnings.lines() });
    }
    match runtime::Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => {
            let life = main_loop(sources, loaded, sockets, left, log, started);
            LocalSet::new()
                .block_on(&runtime, life)
                .unwrap_or_else(|error| cannot_start(log, format!("The daemon cannot start: {error}")))
        }
        Err(error) => cannot_start(log, format!("The main thread has no runtime: {error}")),
    }
}

fn cannot_start(log: &Log, reason: String) -> Exit {
    log.send(Event::OsError { reason });
    Exit::OsErr
}

/// What the previous process has stored with the service manager.
struct PreviousState {
    counters: Vec<OwnedFd>,
    connections: Vec<OwnedFd>,
}

async fn main_loop(
    sources: Sources,
    loaded: Loaded,
    sockets: Sockets,
    left: PreviousState,
    log: &Log,
    started: Instant,
) -> io::Result<Exit> {
    let settings = &loaded.settings;
    let watchdog = systemd::watchdog_timeout();
    let tick = watchdog.map_or(TICK, |timeout| TICK.min(timeout / 4));
    let mut hangup = signal(SignalKind::hangup())?;
    let mut stop_signals = StopSignals::new()?;
    let (ended, mut ended_workers) = unbounded_channel();

    let counters = stats_adoption::open(left.counters, log)?;
    let memory = counters.memory.clone();
    let answered_before = answered(&memory);
    let shared = Shared {
        parse: pixel::parse,
        dispatcher: Arc::default(),
        memory: memory.clone(),
        log: log.clone(),
        heartbeat: tick,
        ended,
    };
    let mut pool =
        Pool::start(settings.workers.count(), settings.into(), settings.limits.connections, shared)?;
    handoff::adopt_connections(&pool, left.connections, log);
    let (control, queue) = control_queue::channel();
    let listeners = Listeners::open(sockets, &mut pool, &control, log)?;
    let log = log.clone();
    let daemon = Rc::new(Daemon::new(DaemonParts {
        sources,
        loaded,
        pool,
        memory,
        listeners,
        log,
        started,
        answered_before,
    }));
    spawn_local(queue.serve(daemon.clone()));
    daemon.notify(|notifier| counters.store(notifier));
    daemon.notify(|notifier| notifier.remove_stored(systemd::CONNECTIONS));
    // What goes wrong is told if connections are lost by it.
    let sender = handoff::open_sender(&daemon);

    daemon.log.send(Event::Ready {
        listeners: daemon.listeners.addresses(),
        workers: daemon.pool.borrow().serving(),
        takes_changes: daemon.listeners.has_admin(),
        took: started.elapsed(),
    });
    let status = daemon.status();
    daemon.notify(|notifier| notifier.ready(&status));

    let reloader = daemon.clone();
    spawn_local(async move {
        while hangup.recv().await.is_some() {
            // The log has the result.
            let _ = reloader.reload(&Caller::Signal("SIGHUP")).await;
        }
    });
    let mut ticks = interval(tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (cause, limit, exit) = loop {
        tokio::select! {
            cause = stop_signals.recv() => break (cause, daemon.drain_limit(), Exit::Ok),
            Some(worker) = ended_workers.recv() => daemon.pool.borrow_mut().on_worker_exit(worker),
            _ = ticks.tick() => if let Some(limit) = on_tick(&daemon, watchdog, tick) {
                break ("a worker stands still", limit.min(daemon.drain_limit()), Exit::Software);
            }
        }
    };
    daemon.begin_shutdown(cause);
    Shutdown::begin(&daemon, &mut ended_workers, &mut stop_signals, limit).run(sender).await;
    Ok(exit)
}

/// Keeps the status current, and feeds the watchdog while every worker makes progress. When one has made
/// none for as long as the watchdog waits, systemd would kill the process, and all connections would be lost:
/// returns how long a shutdown may take instead, which hands off the connections of the other workers.
fn on_tick(daemon: &Daemon, watchdog: Option<Duration>, tick: Duration) -> Option<Duration> {
    daemon.record_sample();
    let status = daemon.status();
    daemon.notify(|notifier| notifier.status(&status));
    let limit = watchdog.map_or(STALL_TIMEOUT, |timeout| timeout / 2);
    // Half of the limit, so that workers have the rest of it to come round; and never just a late tick.
    if let Some(since) = daemon.detect_pause((limit / 2).max(tick * 3 / 2)) {
        daemon.log.send(Event::ProcessPaused { since });
        if watchdog.is_some() {
            daemon.notify(|notifier| notifier.alive());
        }
        return None;
    }
    let stuck = daemon.detect_stalled_worker(limit);
    let timeout = watchdog?;
    // Known: where the whole process stood still, no worker has had time to come round yet.
    let is_hopeless = stuck.is_some_and(|stuck| stuck.is_known && stuck.since > timeout);
    if is_hopeless || stuck.is_none() {
        daemon.notify(|notifier| notifier.alive());
    }
    is_hopeless.then_some(timeout / 4)
}

/// The signals that stop the daemon.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    pub async fn recv(&mut self) -> &'static str {
        tokio::select! {
            Some(()) = self.terminate.recv() => "SIGTERM",
            Some(()) = self.interrupt.recv() => "SIGINT",
            else => pending().await,
        }
    }
}
