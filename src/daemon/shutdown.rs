use std::{
    io,
    pin::pin,
    thread::ThreadId,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Interval, interval_at, sleep, timeout_at},
};

use super::{
    handoff::{Handoff, HandoffSender},
    main_loop::{StopSignals, TICK},
    state::{Daemon, answered},
};
use crate::log::{Event, counted};

/// Without a handoff, each connection may get one more response, for so long.
const LAST_RESPONSE_GRACE: Duration = Duration::from_millis(250);
/// Least time that the service manager has to confirm what it has stored.
const MANAGER_TIMEOUT: Duration = Duration::from_secs(3);
/// Requests and responses that are incomplete at the signal have so long to be completed here, while the
/// daemon serves and accepts; then the next process continues the requests.
const COMPLETION_GRACE: Duration = Duration::from_secs(1);
/// If the service manager confirms late, workers have so long to detach their connections, or as long as
/// the limit.
const RELEASE_GRACE: Duration = Duration::from_secs(1);

/// The shutdown sequence.
#[derive(Debug)]
pub struct Shutdown<'a> {
    daemon: &'a Daemon,
    ended_workers: &'a mut UnboundedReceiver<ThreadId>,
    signals: &'a mut StopSignals,
    ticks: Interval,
    begun: Instant,
    limit: Duration,
    until: Instant,
    /// A second signal: do not wait.
    is_urgent: bool,
}

impl<'a> Shutdown<'a> {
    /// Begins to stop; requests may take so long to finish.
    pub fn begin(
        daemon: &'a Daemon,
        ended_workers: &'a mut UnboundedReceiver<ThreadId>,
        signals: &'a mut StopSignals,
        limit: Duration,
    ) -> Self {
        let begun = Instant::now();
        Self {
            daemon,
            ended_workers,
            signals,
            // Told at once when it is settled who gets the connections, which mostly takes less.
            ticks: interval_at((begun + TICK).into(), TICK),
            begun,
            limit,
            until: begun + limit,
            is_urgent: false,
        }
    }

    /// Hands the connections off to the next process if possible, or else lets all requests finish; then lets
    /// all workers exit.
    pub async fn run(mut self, sender: io::Result<Option<HandoffSender>>) {
        if !matches!(sender, Ok(Some(_))) {
            let closed = self.daemon.pool.borrow_mut().close_acceptors();
            closed.await;
        }
        let mut handoff = self.begin_handoff(sender).await;
        // Who does not come to an end in time is cut off.
        let _ = timeout_at(self.until.into(), self.drain(handoff.is_some())).await;
        if let Some(handoff) = &mut handoff {
            self.send_connections(handoff).await;
        }
        let cut = {
            let pool = self.daemon.pool.borrow();
            pool.open() as u64 + pool.cut_off() + handoff.as_ref().map_or(0, Handoff::unsent_incomplete)
        };
        self.daemon.pool.borrow().abort();
        self.daemon.log.send(Event::Stopped {
            requests: answered(&self.daemon.memory) - self.daemon.answered_before,
            handed_over: handoff.map_or(0, |handoff| handoff.sent()),
            cut,
            took: self.begun.elapsed(),
        });
    }

    /// Waits until the service manager confirms that it has stored the handoff socket. It may be slow: workers
    /// serve requests meanwhile, and only the rest of the limit is for detaching connections.
    async fn begin_handoff(&mut self, sender: io::Result<Option<HandoffSender>>) -> Option<Handoff> {
        let daemon = self.daemon;
        let limit = self.limit.saturating_sub(RELEASE_GRACE).max(MANAGER_TIMEOUT);
        let patience = COMPLETION_GRACE.min(self.limit);
        let mut found = pin!(async {
            match sender? {
                Some(sender) => Handoff::begin(daemon, sender, limit, patience).await,
                None => Ok(None),
            }
        });
        let found = loop {
            if self.is_urgent {
                break Ok(None);
            }
            tokio::select! {
                found = &mut found => break found,
                () = self.process_events() => {}
            }
        };
        self.until = self.until.max(Instant::now() + RELEASE_GRACE.min(self.limit));
        found.unwrap_or_else(|error| {
            self.log_handoff_failure(daemon.pool.borrow().open() as u64, &error);
            None
        })
    }

    /// Until all workers have ended. Without an heir each connection may have a last answer before that.
    async fn drain(&mut self, has_handoff: bool) {
        let daemon = self.daemon;
        let last_answers_until = Instant::now() + LAST_RESPONSE_GRACE;
        let mut last_answers = !has_handoff;
        if last_answers {
            // Each worker does one after the other.
            drop(daemon.pool.borrow_mut().close_acceptors());
            daemon.pool.borrow().close_after_response();
        }
        self.notify_status();
        while !self.is_urgent && !daemon.pool.borrow().is_empty() {
            if last_answers && (Instant::now() >= last_answers_until || daemon.pool.borrow().open() == 0) {
                daemon.pool.borrow_mut().drain();
                last_answers = false;
            }
            tokio::select! {
                () = self.process_events() => {}
                () = sleep(LAST_RESPONSE_GRACE / 10), if last_answers => {}
            }
        }
    }

    async fn send_connections(&mut self, handoff: &mut Handoff) {
        let result = {
            let mut left = pin!(handoff.send_connections(self.daemon, MANAGER_TIMEOUT));
            loop {
                tokio::select! {
                    left = &mut left => break left,
                    () = self.process_events() => {}
                }
            }
        };
        if let Err(error) = result {
            self.log_handoff_failure(handoff.unsent(), &error);
        }
    }

    /// Serves worker exits, ticks and signals during the shutdown.
    async fn process_events(&mut self) {
        tokio::select! {
            Some(worker) = self.ended_workers.recv() => self.daemon.pool.borrow_mut().on_worker_exit(worker),
            _ = self.ticks.tick() => self.notify_status(),
            _ = self.signals.recv() => self.is_urgent = true,
        }
    }

    /// What is left to do, and for how long systemd has to wait for it.
    fn notify_status(&self) {
        let left = self.until.saturating_duration_since(Instant::now());
        let open = counted(self.daemon.pool.borrow().open(), "connection");
        let status = format!("Stopping: {open} open, {} s left", left.as_secs());
        self.daemon.notify(|notifier| notifier.stopping(&status, left + TICK * 5));
        self.daemon.notify(|notifier| notifier.alive());
    }

    fn log_handoff_failure(&self, connections: u64, error: &io::Error) {
        if connections > 0 {
            self.daemon.log.send(Event::HandoffFailed { connections, reason: error.to_string() });
        }
    }
}
