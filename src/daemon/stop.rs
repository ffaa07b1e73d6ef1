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
    heir::Heir,
    house::{House, answered},
    run::{StopSignals, TICK},
};
use crate::{
    log::{Event, counted},
    worker::Outbox,
};

/// Without a service manager that keeps connections, each may have one more answer, for so long.
const LAST_ANSWERS: Duration = Duration::from_millis(250);
/// The service manager may take so long for an answer, however short the limit is.
const PATIENCE: Duration = Duration::from_secs(3);
/// Requests and responses that are incomplete at the signal have so long to be completed here, while the
/// daemon serves and accepts; then the next process goes on with the requests.
const COMPLETION: Duration = Duration::from_secs(1);
/// When it has answered late, workers have so long to give up what they have, or as long as the limit.
const GIVING_UP: Duration = Duration::from_secs(1);

/// The end of the daemon, and what it has to heed meanwhile.
#[derive(Debug)]
pub struct Stop<'a> {
    house: &'a House,
    ended_workers: &'a mut UnboundedReceiver<ThreadId>,
    signals: &'a mut StopSignals,
    ticks: Interval,
    begun: Instant,
    limit: Duration,
    until: Instant,
    /// Told twice: whoever does that does not want to wait.
    is_urgent: bool,
}

impl<'a> Stop<'a> {
    /// Begins to stop; requests may take so long to finish.
    pub fn begin(
        house: &'a House,
        ended_workers: &'a mut UnboundedReceiver<ThreadId>,
        signals: &'a mut StopSignals,
        limit: Duration,
    ) -> Self {
        let begun = Instant::now();
        Self {
            house,
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

    /// Leaves the connections for the next process where that is possible, or else lets all requests finish;
    /// and lets all workers end.
    pub async fn run(mut self, outbox: io::Result<Option<Outbox>>) {
        if !matches!(outbox, Ok(Some(_))) {
            let closed = self.house.pool.borrow_mut().close_acceptors();
            closed.await;
        }
        let mut heir = self.find_heir(outbox).await;
        // Who does not come to an end in time is cut off.
        let _ = timeout_at(self.until.into(), self.drain(heir.is_some())).await;
        if let Some(heir) = &mut heir {
            self.leave_to(heir).await;
        }
        let cut = {
            let pool = self.house.pool.borrow();
            pool.open() as u64 + pool.cut_off() + heir.as_ref().map_or(0, Heir::cut_off)
        };
        self.house.pool.borrow().abort();
        self.house.log.send(Event::Stopped {
            requests: answered(&self.house.memory) - self.house.answered_before,
            handed_over: heir.map_or(0, |heir| heir.left()),
            cut,
            took: self.begun.elapsed(),
        });
    }

    /// Waits for the service manager to say that it keeps connections. It may be slow, for a host that
    /// starts or is short of CPU has much to do: until then requests are answered as ever, and only what
    /// is left of the limit afterwards is for giving up connections, so there is no need to hurry it.
    async fn find_heir(&mut self, outbox: io::Result<Option<Outbox>>) -> Option<Heir> {
        let house = self.house;
        let limit = self.limit.saturating_sub(GIVING_UP).max(PATIENCE);
        let patience = COMPLETION.min(self.limit);
        let mut found = pin!(async {
            match outbox? {
                Some(outbox) => Heir::find(house, outbox, limit, patience).await,
                None => Ok(None),
            }
        });
        let found = loop {
            if self.is_urgent {
                break Ok(None);
            }
            tokio::select! {
                found = &mut found => break found,
                () = self.go_on() => {}
            }
        };
        self.until = self.until.max(Instant::now() + GIVING_UP.min(self.limit));
        found.unwrap_or_else(|error| {
            self.tell_lost(house.pool.borrow().open() as u64, &error);
            None
        })
    }

    /// Until all workers have ended. Without an heir each connection may have a last answer before that.
    async fn drain(&mut self, has_heir: bool) {
        let house = self.house;
        let last_answers_until = Instant::now() + LAST_ANSWERS;
        let mut last_answers = !has_heir;
        if last_answers {
            // Each worker does one after the other.
            drop(house.pool.borrow_mut().close_acceptors());
            house.pool.borrow().retire();
        }
        self.tell();
        while !self.is_urgent && !house.pool.borrow().is_empty() {
            if last_answers && (Instant::now() >= last_answers_until || house.pool.borrow().open() == 0) {
                house.pool.borrow_mut().drain();
                last_answers = false;
            }
            tokio::select! {
                () = self.go_on() => {}
                () = sleep(LAST_ANSWERS / 10), if last_answers => {}
            }
        }
    }

    async fn leave_to(&mut self, heir: &mut Heir) {
        let result = {
            let mut left = pin!(heir.leave(self.house, PATIENCE));
            loop {
                tokio::select! {
                    left = &mut left => break left,
                    () = self.go_on() => {}
                }
            }
        };
        if let Err(error) = result {
            self.tell_lost(heir.left_over(), &error);
        }
    }

    /// What goes on all the time.
    async fn go_on(&mut self) {
        tokio::select! {
            Some(worker) = self.ended_workers.recv() => self.house.pool.borrow_mut().ended(worker),
            _ = self.ticks.tick() => self.tell(),
            _ = self.signals.recv() => self.is_urgent = true,
        }
    }

    /// What is left to do, and for how long systemd has to wait for it.
    fn tell(&self) {
        let left = self.until.saturating_duration_since(Instant::now());
        let open = counted(self.house.pool.borrow().open(), "connection");
        let status = format!("Stopping: {open} open, {} s left", left.as_secs());
        self.house.notify(|notifier| notifier.stopping(&status, left + TICK * 5));
        self.house.notify(|notifier| notifier.alive());
    }

    fn tell_lost(&self, connections: u64, error: &io::Error) {
        if connections > 0 {
            self.house.log.send(Event::HandoffFailed { connections, reason: error.to_string() });
        }
    }
}
