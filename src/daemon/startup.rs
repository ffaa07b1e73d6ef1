//! The start of the daemon, as a list of steps.

use std::{
    cell::{Cell, RefCell},
    io,
    mem::take,
    os::fd::OwnedFd,
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use tokio::{
    runtime,
    sync::mpsc::unbounded_channel,
    task::{LocalSet, spawn_local},
};

use super::{
    active_config::ActiveConfig,
    args::DaemonArgs,
    config_reader::ConfigReader,
    control_queue::ControlQueue,
    counter_adoption,
    daemon_state::Daemon,
    handoff::{self},
    listeners::{Listeners, Sockets},
    main_loop::MainLoop,
    panic_hook, process_resources,
    signals::{self, StopSignals},
    statistics::Statistics,
    worker_watchdog::WorkerWatchdog,
};
use crate::{
    config::{Loaded, Sources},
    exit::Exit,
    log::{Event, Log},
    net::FdBudget,
    pixel,
    systemd::{self, Inherited, Notifier},
    worker::{Pool, SharedState},
};

/// Runs the daemon until a signal stops it, or until it cannot start.
pub fn run(
    args: &DaemonArgs,
    mut inherited: Inherited,
    sources: Sources,
    loaded: Loaded,
    log: &Log,
    started: Instant,
) -> Exit {
    // The counters and connections that the previous process has stored.
    let previous = PreviousState {
        counters: take(&mut inherited.counters),
        connections: take(&mut inherited.connections),
    };
    // The listening sockets.
    let sockets = match Sockets::acquire(inherited, args.sockets, &loaded.settings.listen, log) {
        Ok(sockets) => sockets,
        Err(exit) => return exit,
    };
    // From here on, a panic is logged instead of printed.
    panic_hook::install(log.clone());
    // The descriptor limit, with a check that the start has enough.
    process_resources::raise_descriptor_limit();
    if let Err(error) =
        process_resources::ensure_descriptors(FdBudget::for_start(loaded.settings.workers.count()))
    {
        return cannot_start(log, &error);
    }
    // The configuration files, and their old key names.
    if !loaded.files.is_empty() {
        log.send(Event::ConfigLoaded { files: loaded.file_names() });
    }
    if !loaded.warnings.is_empty() {
        log.send(Event::ConfigDeprecated { warnings: loaded.warnings.lines() });
    }
    // The runtime of the main thread, for signals, the watchdog and control requests.
    match runtime::Builder::new_current_thread().enable_io().enable_time().build() {
        Ok(runtime) => LocalSet::new()
            .block_on(&runtime, async {
                start(sources, loaded, sockets, previous, log, started)?.run().await
            })
            .unwrap_or_else(|error| cannot_start(log, &error)),
        Err(error) => cannot_start(log, &error),
    }
}

fn cannot_start(log: &Log, error: &io::Error) -> Exit {
    log.send(Event::OsError { reason: format!("Cannot start: {error}") });
    Exit::OsErr
}

/// Descriptors that the previous process has stored in systemd.
struct PreviousState {
    counters: Vec<OwnedFd>,
    connections: Vec<OwnedFd>,
}

fn start(
    sources: Sources,
    loaded: Loaded,
    sockets: Sockets,
    previous: PreviousState,
    log: &Log,
    started: Instant,
) -> io::Result<MainLoop> {
    let Loaded { settings, origins, .. } = loaded;
    let watchdog = WorkerWatchdog::new();
    // Signals, from here on queued until the main loop runs.
    let (hangup, stop_signals) = (signals::hangup()?, StopSignals::new()?);
    // The counters of the previous process, or new ones.
    let counters = counter_adoption::open(previous.counters, log)?;
    let statistics = Statistics::new(counters.memory.clone(), started);
    // The worker threads.
    let (ended, exited_workers) = unbounded_channel();
    let shared = SharedState {
        parse: pixel::parse,
        dispatcher: Arc::default(),
        memory: counters.memory.clone(),
        log: log.clone(),
        heartbeat: watchdog.interval(),
        ended,
    };
    let (count, limit) = (settings.workers.count(), settings.limits.connections);
    let mut pool = Pool::start(count, (&settings).into(), limit, shared)?;
    // The connections of the previous process, before new ones are accepted.
    handoff::adopt_connections(&pool, previous.connections, log);
    // HTTP and control clients. Control requests are queued until the main loop runs.
    let queue = ControlQueue::new();
    let listeners = Listeners::open(sockets, &mut pool, &queue, log)?;
    let daemon = Rc::new(Daemon {
        log: log.clone(),
        notifier: RefCell::new(Notifier::open()),
        has_notify_failed: Cell::new(false),
        listeners,
        pool: RefCell::new(pool),
        resizing: tokio::sync::Mutex::default(),
        config: RefCell::new(ActiveConfig::new(settings, origins)),
        config_reader: ConfigReader::new(sources),
        statistics,
        is_stopping: Cell::new(false),
    });
    spawn_local(daemon.clone().serve_control(queue));
    // The counters and a socket for connections, stored for the next process. The shutdown logs a failure of the
    // latter if connections are lost.
    daemon.notify(|notifier| counters.store(notifier));
    daemon.notify(|notifier| notifier.remove_stored(systemd::CONNECTIONS));
    let handoff_sender = handoff::open_sender(&daemon);
    // Ready: systemd starts the units that wait for this one.
    daemon.log.send(Event::Ready {
        listeners: daemon.listeners.addresses(),
        workers: count,
        takes_changes: daemon.listeners.has_admin(),
        took: started.elapsed(),
    });
    let status = daemon.status();
    daemon.notify(|notifier| notifier.ready(&status));
    Ok(MainLoop { daemon, watchdog, hangup, stop_signals, exited_workers, handoff_sender })
}
