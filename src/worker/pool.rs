use std::{
    borrow::Cow,
    io,
    sync::Arc,
    thread::ThreadId,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::join_all};
use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, unbounded_channel},
        oneshot,
    },
    time::timeout,
};

use super::{
    acceptor::Acceptor, command::Command, dispatcher::WorkerHandle, shared_state::SharedState, thread::Worker,
};
use crate::{connection::DetachedConnection, http::Policy, log::Event, net::Listener};

/// The time for all new threads of a change together, because the main thread waits for them.
const START_TIMEOUT: Duration = Duration::from_secs(1);

/// All workers: the serving ones, and the leaving ones, which were asked to exit.
#[derive(Debug)]
pub struct Pool {
    shared: SharedState,
    policy: Policy,
    serving: Vec<Worker>,
    leaving: Vec<Worker>,
    /// The listeners of the serving workers.
    acceptors: Vec<Arc<Acceptor>>,
}

/// The result of a change of the number of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resized {
    /// The previous number of workers.
    pub from: usize,
    pub to: usize,
    /// The number of connections that move to another worker.
    pub moving: u64,
}

/// The present state of a worker.
#[derive(Debug)]
pub struct WorkerReport {
    /// Its number, from 1.
    pub number: usize,
    /// Whether it was asked to exit, and accepts no connections.
    pub leaving: bool,
    pub open: u64,
    /// The open connections without a request in flight.
    pub idle: u64,
    /// The connections that were assigned to it since it started.
    pub taken: u64,
    /// The requests that it responded to.
    pub requests: u64,
    pub cpu: Duration,
    /// The time since the start that it was busy.
    pub busy: Duration,
    /// The time since it last recorded progress.
    pub heartbeat_age: Duration,
}

impl Pool {
    /// Starts `count` workers.
    ///
    /// # Errors
    /// If the operating system has not enough threads or descriptors.
    pub fn start(
        count: usize,
        policy: Policy,
        connection_limit: usize,
        shared: SharedState,
    ) -> io::Result<Self> {
        shared.dispatcher.configure_limit(connection_limit);
        let mut pool =
            Self { shared, policy, serving: Vec::new(), leaving: Vec::new(), acceptors: Vec::new() };
        // The time limit is long, because nothing else waits for the main thread during the start.
        pool.resize_within(Duration::from_secs(60), count, "")?;
        Ok(pool)
    }

    /// Accepts connections on these listeners.
    ///
    /// # Errors
    /// If epoll takes no more descriptors.
    pub fn accept(&mut self, listeners: Vec<Listener>) -> io::Result<()> {
        self.acceptors = listeners.into_iter().map(|listener| Arc::new(Acceptor::from(listener))).collect();
        for worker in &self.serving {
            let registered = worker.register(&self.acceptors)?;
            drop(worker.set_acceptors(registered));
        }
        Ok(())
    }

    /// Stops accepting connections. Completes when all workers have stopped, or after a second.
    pub fn close_acceptors(&mut self) -> impl Future<Output = ()> + use<> {
        const COMMAND_TIMEOUT: Duration = Duration::from_secs(1);

        for acceptor in &std::mem::take(&mut self.acceptors) {
            self.close(acceptor);
        }
        let accepting: Vec<_> = self.serving.iter().map(|worker| worker.set_acceptors(Vec::new())).collect();
        async move {
            let _ = timeout(COMMAND_TIMEOUT, join_all(accepting)).await;
        }
    }

    /// Stops accepting at a listener. Serves the connections of its backlog.
    fn close(&self, acceptor: &Acceptor) {
        for (socket, peer) in acceptor.close() {
            self.shared.memory.accept.accepted.add(1);
            self.shared.dispatcher.dispatch(DetachedConnection::new(socket, peer));
        }
    }

    /// Changes the number of workers. New workers serve when this returns, and get their share of the open
    /// connections. Leaving workers finish their requests, give their connections away, and exit.
    ///
    /// # Errors
    /// If a worker cannot be started. The number of workers then stays as it was.
    pub fn resize(&mut self, count: usize) -> io::Result<Resized> {
        self.resize_within(START_TIMEOUT, count, "number of workers raised")
    }

    /// Changes the number of workers within `limit`; `cause` is the cause that the log gives for new workers.
    fn resize_within(&mut self, limit: Duration, count: usize, cause: &'static str) -> io::Result<Resized> {
        let (from, deadline) = (self.serving.len(), Instant::now() + limit);
        let mut result = Ok(());
        while self.serving.len() < count && result.is_ok() {
            result = self.add(deadline, cause);
        }
        let count = if result.is_ok() { count } else { from };
        let mut leaving = self.serving.split_off(count.min(self.serving.len()));
        let handles = self
            .serving
            .iter()
            .map(|w| WorkerHandle { commands: w.commands.clone(), stats: w.stats.clone() });
        let surplus = self.shared.dispatcher.set_workers(handles.collect());
        let given_away: u64 = leaving.iter().map(|worker| worker.stats.open()).sum();
        for worker in &mut leaving {
            worker.moved_before = worker.stats.connections_migrated.get();
            worker.send(Command::MigrateAllAndExit);
        }
        self.leaving.extend(leaving);
        self.update_limit();
        result.map(|()| Resized { from, to: self.serving.len(), moving: surplus + given_away })
    }

    fn add(&mut self, deadline: Instant, cause: &'static str) -> io::Result<()> {
        let (policy, shared) = (self.policy.clone(), self.shared.clone());
        let worker = Worker::start(self.free_number(), policy, shared, deadline)?;
        self.shared.log.send(Event::WorkerStarted { worker: worker.number, cause });
        match worker.register(&self.acceptors) {
            Ok(registered) => {
                drop(worker.set_acceptors(registered));
                self.serving.push(worker);
                Ok(())
            }
            Err(error) => {
                // The worker keeps its number until it has exited.
                worker.send(Command::MigrateAllAndExit);
                self.leaving.push(worker);
                Err(error)
            }
        }
    }

    fn free_number(&self) -> usize {
        let taken = |number| self.all().any(|worker| worker.number == number);
        (1..=self.all().count()).find(|number| !taken(*number)).unwrap_or(self.all().count() + 1)
    }

    /// Replaces the policy and the connection limit.
    pub fn set_policy(&mut self, policy: &Policy, connection_limit: usize) {
        self.policy = policy.clone();
        self.shared.dispatcher.configure_limit(connection_limit);
        self.update_limit();
        for worker in self.all() {
            worker.send(Command::SetPolicy(policy.clone()));
        }
    }

    fn update_limit(&self) {
        if let Some(event) = self.shared.dispatcher.update_limit() {
            self.shared.log.send(event);
        }
    }

    /// Adopts a connection that a previous process has accepted.
    pub fn adopt_connection(&self, connection: DetachedConnection) {
        self.shared.memory.accept.adopted.add(1);
        self.shared.dispatcher.dispatch(connection);
    }

    /// Completes when the requests and responses that are incomplete now are complete.
    pub fn await_incomplete(&self) -> impl Future<Output = ()> + use<> {
        let ask = |worker: &Worker| {
            let (reply, complete) = oneshot::channel();
            worker.send(Command::AwaitIncomplete(reply));
            complete
        };
        // A worker that has exited drops its sender.
        join_all(self.all().map(ask).collect::<Vec<_>>()).map(drop)
    }

    /// Asks all workers to detach their connections at once, including incomplete requests, and to exit. Returns the
    /// receiver of the connections.
    pub fn detach_all(&mut self) -> UnboundedReceiver<DetachedConnection> {
        let (handoff_tx, connections) = unbounded_channel();
        self.shared.dispatcher.set_handoff(handoff_tx);
        self.leaving.append(&mut self.serving);
        self.send_to_leaving(|| Command::DetachAllAndExit);
        connections
    }

    /// Closes each connection after its next response.
    pub fn close_after_response(&self) {
        for worker in self.all() {
            worker.send(Command::CloseAfterResponse);
        }
    }

    /// Asks all workers to close each connection when it becomes idle, and to exit.
    pub fn drain(&mut self) {
        self.shared.dispatcher.set_workers(Vec::new());
        self.leaving.append(&mut self.serving);
        self.send_to_leaving(|| Command::CloseIdleAndExit);
    }

    /// Asks all workers that have not exited to do so at once. Logs this with the cause, and does not wait for them.
    pub fn abort(&self, cause: &str) {
        for worker in self.all() {
            worker.send(Command::Abort);
            self.log_exit(worker, format!("cut off because {cause}"), false);
        }
    }

    fn send_to_leaving(&self, command: impl Fn() -> Command) {
        for worker in &self.leaving {
            worker.send(command());
        }
    }

    /// Removes a worker that has exited. Replaces one whose thread has panicked.
    ///
    /// The exit is logged here instead of in the worker's thread, so that it follows the event that caused it.
    pub fn on_worker_exit(&mut self, thread: ThreadId) {
        let is_it = |worker: &Worker| worker.thread == thread;
        if let Some(i) = self.leaving.iter().position(is_it) {
            // A worker is serving, except when the daemon stops.
            let is_stopping = self.serving.is_empty();
            let worker = self.leaving.swap_remove(i);
            let cause = if is_stopping { "the daemon is stopping" } else { "no longer needed" };
            self.log_exit(&worker, cause, !is_stopping);
        } else if let Some(i) = self.serving.iter().position(is_it) {
            let count = self.serving.len();
            let worker = self.serving.remove(i);
            self.log_exit(&worker, "internal error; a new worker replaces it", false);
            if let Err(error) = self.resize_within(START_TIMEOUT, count, "replaces a worker that has failed")
            {
                let reason = format!("Cannot replace worker {}: {error}", worker.number);
                self.shared.log.send(Event::OsError { reason });
            }
        }
    }

    fn log_exit(&self, worker: &Worker, cause: impl Into<Cow<'static, str>>, is_resize: bool) {
        let moved = if is_resize { worker.stats.connections_migrated.get() - worker.moved_before } else { 0 };
        self.shared.log.send(Event::WorkerExited {
            worker: worker.number,
            cause: cause.into(),
            moved,
            left: worker.stats.connections_handed_off.get(),
        });
    }

    /// Returns the number of connections whose request or response was cut off because the daemon stops.
    pub fn cut_off(&self) -> u64 {
        self.shared.dispatcher.cut_off()
    }

    pub fn is_empty(&self) -> bool {
        self.serving.is_empty() && self.leaving.is_empty()
    }

    /// Returns the number of workers that accept connections.
    pub fn serving(&self) -> usize {
        self.serving.len()
    }

    pub fn open(&self) -> usize {
        self.shared.dispatcher.open()
    }

    /// Returns the connection limit in effect.
    pub fn connection_limit(&self) -> usize {
        self.shared.dispatcher.limit()
    }

    /// Returns the addresses at which accept(2) fails at present, each with the reason.
    pub fn accept_errors(&self) -> Vec<String> {
        let failing =
            |acceptor: &Arc<Acceptor>| Some(format!("{}: {}", acceptor.address(), acceptor.failure()?));
        self.acceptors.iter().filter_map(failing).collect()
    }

    /// Returns the number of leaving workers.
    pub fn leaving(&self) -> usize {
        self.leaving.len()
    }

    /// Returns the number of connections that moved from one worker to another.
    pub fn moved(&self) -> u64 {
        self.shared.dispatcher.moved()
    }

    /// Returns the state of each worker, ordered by number.
    pub fn reports(&self) -> Vec<WorkerReport> {
        let report = |worker: &Worker, leaving| WorkerReport {
            number: worker.number,
            leaving,
            open: worker.stats.open(),
            idle: worker.stats.idle(),
            taken: worker.stats.connections_assigned.get(),
            requests: worker.stats.requests(),
            cpu: worker.stats.cpu(),
            busy: worker.busy(),
            heartbeat_age: worker.stats.heartbeat_age(),
        };
        let serving = self.serving.iter().map(|worker| report(worker, false));
        let mut reports: Vec<_> = serving.chain(self.leaving.iter().map(|w| report(w, true))).collect();
        reports.sort_by_key(|report| report.number);
        reports
    }

    fn all(&self) -> impl Iterator<Item = &Worker> {
        self.serving.iter().chain(&self.leaving)
    }
}

#[cfg(test)]
mod tests;
