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
    daemon_state::Daemon,
    handoff::{Handoff, HandoffSender},
    signals::StopSignals,
    worker_watchdog::TICK,
};
use crate::log::{Event, counted};

/// Without a handoff, the time in which each connection may get one more response.
const LAST_RESPONSE_GRACE: Duration = Duration::from_millis(250);
/// Minimum time that systemd has to confirm the stored descriptors.
const MANAGER_TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum time to complete requests that are incomplete at the signal, while the daemon serves and accepts. The next
/// process continues the others.
const COMPLETION_GRACE: Duration = Duration::from_secs(1);
/// Minimum time for workers to detach their connections if systemd confirms late, within the limit.
const RELEASE_GRACE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Shutdown<'a> {
    daemon: &'a Daemon,
    exited_workers: &'a mut UnboundedReceiver<ThreadId>,
    signals: &'a mut StopSignals,
    ticks: Interval,
    begun: Instant,
    limit: Duration,
    until: Instant,
    /// Whether a second signal arrived, so that nothing is awaited.
    is_urgent: bool,
}

impl<'a> Shutdown<'a> {
    /// Begins the shutdown; `limit` is the maximum time for requests in progress.
    pub fn begin(
        daemon: &'a Daemon,
        exited_workers: &'a mut UnboundedReceiver<ThreadId>,
        signals: &'a mut StopSignals,
        limit: Duration,
    ) -> Self {
        let begun = Instant::now();
        Self {
            daemon,
            exited_workers,
            signals,
            // The first status is sent when the handoff target is known, usually before the first tick.
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
        let pool = &self.daemon.pool;
        // Without a handoff, stop accepting: new clients wait for the next process.
        if !matches!(sender, Ok(Some(_))) {
            let closed = pool.borrow_mut().close_acceptors();
            closed.await;
        }
        // With a handoff, serve until systemd has stored the socket for the connections.
        let mut handoff = self.begin_handoff(sender).await;
        // Wait until workers have completed requests or detached their connections, and exited.
        let _ = timeout_at(self.until.into(), self.drain(handoff.is_some())).await;
        // Send the connections to the next process.
        if let Some(handoff) = &mut handoff {
            self.send_connections(handoff).await;
        }
        // Cut off requests that are still incomplete.
        let unsent = handoff.as_ref().map_or(0, Handoff::unsent_incomplete);
        let cut_off = pool.borrow().open() as u64 + pool.borrow().cut_off() + unsent;
        let cut_off_because = self.cut_off_because();
        pool.borrow().abort(&cut_off_because);
        self.daemon.log.send(Event::Stopped {
            requests: self.daemon.statistics.answered(),
            handed_over: handoff.map_or(0, |handoff| handoff.sent()),
            cut_off,
            cut_off_because,
            took: self.begun.elapsed(),
        });
    }

    /// Returns the reason for cutting off connections at the end.
    fn cut_off_because(&self) -> String {
        if self.is_urgent {
            "a second stop signal arrived".into()
        } else if self.daemon.pool.borrow().is_empty() {
            "they could not be handed off".into()
        } else if self.limit == self.daemon.drain_limit() {
            format!("requests were still in progress after timeouts.drain ({:?})", self.limit)
        } else {
            format!("a worker was still stalled after {:?}", self.limit)
        }
    }

    /// Waits until systemd confirms that it has stored the handoff socket. Workers serve requests meanwhile, so only
    /// the rest of the limit is left for detaching connections.
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
            self.log_handoff_failure(daemon.pool.borrow().open() as u64, false, &error);
            None
        })
    }

    /// Waits until all workers have exited. Without a handoff, each connection may have one more response before.
    async fn drain(&mut self, has_handoff: bool) {
        let daemon = self.daemon;
        let last_responses_until = Instant::now() + LAST_RESPONSE_GRACE;
        let mut last_responses = !has_handoff;
        if last_responses {
            // A worker executes its commands in order, so the result is not awaited.
            drop(daemon.pool.borrow_mut().close_acceptors());
            daemon.pool.borrow().close_after_response();
        }
        self.notify_status();
        while !self.is_urgent && !daemon.pool.borrow().is_empty() {
            if last_responses && (Instant::now() >= last_responses_until || daemon.pool.borrow().open() == 0)
            {
                daemon.pool.borrow_mut().drain();
                last_responses = false;
            }
            tokio::select! {
                () = self.process_events() => {}
                () = sleep(LAST_RESPONSE_GRACE / 10), if last_responses => {}
            }
        }
    }

    async fn send_connections(&mut self, handoff: &mut Handoff) {
        let result = {
            let mut sent = pin!(handoff.send_connections(self.daemon, MANAGER_TIMEOUT));
            loop {
                tokio::select! {
                    sent = &mut sent => break sent,
                    () = self.process_events() => {}
                }
            }
        };
        if let Err(error) = result {
            self.log_handoff_failure(handoff.unsent(), true, &error);
        }
    }

    /// Serves worker exits, ticks and signals during the shutdown.
    async fn process_events(&mut self) {
        tokio::select! {
            Some(worker) = self.exited_workers.recv() => self.daemon.pool.borrow_mut().on_worker_exit(worker),
            _ = self.ticks.tick() => self.notify_status(),
            _ = self.signals.recv() => self.is_urgent = true,
        }
    }

    /// Notifies systemd of the open connections and the time that is left.
    fn notify_status(&self) {
        let left = self.until.saturating_duration_since(Instant::now());
        let open = counted(self.daemon.pool.borrow().open(), "connection");
        let status = format!("Stopping: {open} open, {} s left", left.as_secs());
        self.daemon.notify(|notifier| notifier.stopping(&status, left + TICK * 5));
        self.daemon.notify(|notifier| notifier.alive());
    }

    fn log_handoff_failure(&self, connections: u64, is_at_once: bool, error: &io::Error) {
        if connections > 0 {
            let reason = error.to_string();
            self.daemon.log.send(Event::HandoffFailed { connections, is_at_once, reason });
        }
    }
}
