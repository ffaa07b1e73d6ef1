use std::{
    future::pending,
    io,
    mem::take,
    os::fd::OwnedFd,
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
    args::Args,
    counters,
    doors::Doors,
    heir,
    house::{House, Parts, answered, policy},
    panics, process,
    sockets::{Sockets, gather},
    stop::Stop,
};
use crate::{
    config::{Loaded, Sources},
    exit::Exit,
    log::{Event, Log},
    net::Files,
    systemd::{self, Inherited},
    worker::{self, Pool, Received, Shared},
};

/// How often the status is told and everything is looked after.
pub const TICK: Duration = Duration::from_secs(1);

/// A worker that has not come round for so long is stuck, where no watchdog says how long that is.
const STUCK: Duration = Duration::from_secs(5);

/// Runs the daemon until it is told to stop, or until it cannot start.
pub fn run(args: &Args, mut inherited: Inherited, sources: Sources, loaded: Loaded, log: &Log) -> Exit {
    let started = Instant::now();
    let left =
        Left { counters: take(&mut inherited.counters), connections: take(&mut inherited.connections) };
    let sockets = match gather(inherited, args.sockets, &loaded.settings.listen, log) {
        Ok(sockets) => sockets,
        Err(exit) => return exit,
    };
    panics::tell_log(log.clone());
    process::raise_descriptor_limit();
    let workers = loaded.settings.workers.count();
    if let Err(error) = process::ensure_descriptors(Files::for_start(workers)) {
        return cannot_start(log, error.to_string());
    }
    process::open_figures();
    if !loaded.files.is_empty() {
        log.send(Event::ConfigLoaded { files: loaded.file_names() });
    }
    match runtime::Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => {
            let life = live(sources, loaded, sockets, left, log, started);
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

/// What the process before has left in the hands of the service manager.
struct Left {
    counters: Vec<OwnedFd>,
    connections: Vec<OwnedFd>,
}

async fn live(
    sources: Sources,
    loaded: Loaded,
    sockets: Sockets,
    left: Left,
    log: &Log,
    started: Instant,
) -> io::Result<Exit> {
    let settings = &loaded.settings;
    let watchdog = systemd::watchdog_timeout();
    let tick = watchdog.map_or(TICK, |timeout| TICK.min(timeout / 4));
    let mut hangup = signal(SignalKind::hangup())?;
    let mut stop_signals = StopSignals::new()?;
    let (ended, mut ended_workers) = unbounded_channel();

    let counters = counters::open(left.counters, log)?;
    let memory = counters.memory.clone();
    let answered_before = answered(&memory);
    let shared = Shared {
        dispatcher: Arc::default(),
        memory: memory.clone(),
        log: log.clone(),
        heartbeat: tick,
        ended,
    };
    let mut pool =
        Pool::start(settings.workers.count(), policy(settings), settings.limits.connections, shared)?;
    restore(&pool, left.connections, log);
    let doors = Doors::open(sockets, &settings.listen, &mut pool)?;
    let log = log.clone();
    let house = House::open(Parts { sources, loaded, pool, memory, doors, log, started, answered_before })?;
    house.notify(|notifier| counters.keep(notifier));
    house.notify(|notifier| notifier.remove_stored(systemd::CONNECTIONS));
    // What goes wrong is told if connections are lost by it.
    let outbox = heir::open_outbox(&house);

    house.log.send(Event::Ready {
        listeners: house.doors.borrow().addresses(),
        workers: house.pool.borrow().serving(),
        takes_changes: house.doors.borrow().take_changes(),
        took: started.elapsed(),
    });
    let status = house.status();
    house.notify(|notifier| notifier.ready(&status));

    let reloader = house.clone();
    spawn_local(async move {
        while hangup.recv().await.is_some() {
            // The log has the result.
            let _ = reloader.reload("SIGHUP").await;
        }
    });
    let mut ticks = interval(tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (cause, limit, exit) = loop {
        tokio::select! {
            cause = stop_signals.recv() => break (cause, house.drain_limit(), Exit::Ok),
            Some(worker) = ended_workers.recv() => house.pool.borrow_mut().ended(worker),
            _ = ticks.tick() => if let Some(limit) = look_after(&house, watchdog, tick) {
                break ("a worker stands still", limit.min(house.drain_limit()), Exit::Software);
            }
        }
    };
    house.begin_to_stop(cause);
    Stop::begin(&house, &mut ended_workers, &mut stop_signals, limit).run(outbox).await;
    Ok(exit)
}

/// Goes on with the connections of the process before, as many as there are descriptors for. The sockets that
/// they were left in are closed then, and with them whatever is still inside.
fn restore(pool: &Pool, left: Vec<OwnedFd>, log: &Log) {
    let mut restored = 0;
    for socket in left {
        let capacity = Files::allowed().connections(pool.serving()).saturating_sub(pool.open());
        let Received { connections, closed } = worker::receive(&socket, capacity);
        restored += connections.len() as u64;
        for connection in connections {
            pool.restore(connection);
        }
        for (reason, connections) in closed {
            log.send(Event::AdoptFailed { connections, reason });
        }
    }
    if restored > 0 {
        log.send(Event::ConnectionsAdopted { connections: restored });
    }
}

/// Keeps the status current, and feeds the watchdog while every worker makes progress. When one has made
/// none for as long as the watchdog waits, it would bite soon, and all connections would be lost: returns
/// how long stopping may take instead, which leaves those of the other workers for the next process.
fn look_after(house: &House, watchdog: Option<Duration>, tick: Duration) -> Option<Duration> {
    house.remember();
    let status = house.status();
    house.notify(|notifier| notifier.status(&status));
    let limit = watchdog.map_or(STUCK, |timeout| timeout / 2);
    // Half of the limit, so that workers have the rest of it to come round; and never just a late tick.
    if let Some(since) = house.find_pause((limit / 2).max(tick * 3 / 2)) {
        house.log.send(Event::ProcessPaused { since });
        if watchdog.is_some() {
            house.notify(|notifier| notifier.alive());
        }
        return None;
    }
    let stuck = house.find_stuck(limit);
    let timeout = watchdog?;
    // Known: where the whole process stood still, no worker has had time to come round yet.
    let is_hopeless = stuck.is_some_and(|stuck| stuck.is_known && stuck.since > timeout);
    if is_hopeless || stuck.is_none() {
        house.notify(|notifier| notifier.alive());
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
