//! The main loop, which runs from the start of the daemon to its shutdown.

use std::{io, rc::Rc, thread::ThreadId};

use tokio::{
    signal::unix::Signal,
    sync::mpsc::UnboundedReceiver,
    task::spawn_local,
    time::{MissedTickBehavior, interval},
};

use super::{
    daemon_state::Daemon, handoff::HandoffSender, shutdown::Shutdown, signals::StopSignals,
    worker_watchdog::WorkerWatchdog,
};
use crate::{exit::Exit, log::Caller};

/// The daemon, and the sources of events for the main loop.
pub struct MainLoop {
    pub daemon: Rc<Daemon>,
    pub watchdog: WorkerWatchdog,
    pub hangup: Signal,
    pub stop_signals: StopSignals,
    pub exited_workers: UnboundedReceiver<ThreadId>,
    pub handoff_sender: io::Result<Option<HandoffSender>>,
}

impl MainLoop {
    /// Runs until a signal or a stalled worker ends it, then shuts the daemon down.
    pub async fn run(self) -> io::Result<Exit> {
        let Self { daemon, mut watchdog, mut hangup, mut stop_signals, mut exited_workers, handoff_sender } =
            self;
        // A separate task, because a reload waits for files.
        let reloader = daemon.clone();
        spawn_local(async move {
            while hangup.recv().await.is_some() {
                // The reload logs its result.
                let _ = reloader.reload(&Caller::Signal("SIGHUP")).await;
            }
        });
        let mut ticks = interval(watchdog.interval());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (cause, limit, exit) = loop {
            tokio::select! {
                cause = stop_signals.recv() => break (cause, daemon.drain_limit(), Exit::Ok),
                Some(worker) = exited_workers.recv() => daemon.pool.borrow_mut().on_worker_exit(worker),
                _ = ticks.tick() => {
                    daemon.statistics.record_sample(&daemon.pool.borrow(), &daemon.log);
                    daemon.notify_status();
                    if let Some(limit) = watchdog.check(&daemon) {
                        break ("a stalled worker", limit.min(daemon.drain_limit()), Exit::Software);
                    }
                }
            }
        };
        daemon.begin_shutdown(cause);
        Shutdown::begin(&daemon, &mut exited_workers, &mut stop_signals, limit).run(handoff_sender).await;
        Ok(exit)
    }
}
