use std::{
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

use super::{acceptor::Acceptor, command::Command, dispatcher::WorkerHandle, shared::Shared, thread::Worker};
use crate::{connection::DetachedConnection, http::Policy, log::Event, net::Listener};

/// All workers: those that serve, and those that are about to exit.
#[derive(Debug)]
pub struct Pool {
    shared: Shared,
    policy: Policy,
    serving: Vec<Worker>,
    leaving: Vec<Worker>,
    /// Where the serving ones accept connections.
    acceptors: Vec<Arc<Acceptor>>,
}

/// What changing the number of workers did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resized {
    /// Workers before.
    pub from: usize,
    pub to: usize,
    /// Connections that go from one worker to another because of it.
    pub moving: u64,
}

/// One worker, as it is now.
#[derive(Debug)]
pub struct WorkerReport {
    /// Its number, from 1.
    pub number: usize,
    /// Whether it finishes what it has and takes nothing new.
    pub leaving: bool,
    pub open: u64,
    /// Of those, the ones that wait for their next request.
    pub idle: u64,
    /// Connections that it was dealt since it started.
    pub taken: u64,
    /// Requests that it has answered.
    pub requests: u64,
    /// CPU time that it has used.
    pub cpu: Duration,
    /// For how long it has had something to do, since it started.
    pub busy: Duration,
    /// For how long it has not come round.
    pub heartbeat_age: Duration,
}

impl Pool {
    /// Starts `count` workers.
    ///
    /// # Errors
    /// When the operating system has not enough threads or descriptors.
    pub fn start(count: usize, policy: Policy, connection_limit: usize, shared: Shared) -> io::Result<Self> {
        shared.dispatcher.configure_limit(connection_limit);
        let mut pool =
            Self { shared, policy, serving: Vec::new(), leaving: Vec::new(), acceptors: Vec::new() };
        // Nothing else waits for the main thread yet.
        pool.resize_within(Duration::from_secs(60), count)?;
        Ok(pool)
    }

    /// Accepts connections on these listeners.
    ///
    /// # Errors
    /// When epoll takes no more descriptors.
    pub fn accept(&mut self, listeners: Vec<Listener>) -> io::Result<()> {
        self.acceptors = listeners.into_iter().map(|listener| Arc::new(Acceptor::from(listener))).collect();
        for worker in &self.serving {
            let registered = worker.register(&self.acceptors)?;
            drop(worker.set_acceptors(registered));
        }
        Ok(())
    }

    /// Accepts nothing more, as soon as this is done; a worker that is stuck is not waited for.
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

    /// Stops accepting there. What waits to be accepted is served.
    fn close(&self, acceptor: &Acceptor) {
        for (socket, peer) in acceptor.close() {
            self.shared.memory.accept.accepted.add(1);
            self.shared.dispatcher.dispatch(DetachedConnection::new(socket, peer));
        }
    }

    /// Makes it `count` workers. New ones serve when this returns, and take their share of the open
    /// connections; leaving ones finish their requests, give their connections away and end by
    /// themselves.
    ///
    /// # Errors
    /// When a worker cannot be started; then their number stays as it was.
    pub fn resize(&mut self, count: usize) -> io::Result<Resized> {
        /// All new threads together may take so long to begin: the main thread waits for them.
        const START_TIMEOUT: Duration = Duration::from_secs(1);

        self.resize_within(START_TIMEOUT, count)
    }

    fn resize_within(&mut self, limit: Duration, count: usize) -> io::Result<Resized> {
        let (from, deadline) = (self.serving.len(), Instant::now() + limit);
        let mut result = Ok(());
        while self.serving.len() < count && result.is_ok() {
            result = self.add(deadline);
        }
        let count = if result.is_ok() { count } else { from };
        let leaving = self.serving.split_off(count.min(self.serving.len()));
        let hands = self.serving.iter().map(|w| WorkerHandle {
            number: w.number,
            commands: w.commands.clone(),
            stats: w.stats.clone(),
        });
        let surplus = self.shared.dispatcher.set_workers(hands.collect());
        let given_up: u64 = leaving.iter().map(|worker| worker.stats.open()).sum();
        for worker in &leaving {
            worker.send(Command::MigrateAllAndExit);
        }
        self.leaving.extend(leaving);
        self.update_limit();
        result.map(|()| Resized { from, to: self.serving.len(), moving: surplus + given_up })
    }

    fn add(&mut self, deadline: Instant) -> io::Result<()> {
        let (policy, shared) = (self.policy.clone(), self.shared.clone());
        let worker = Worker::start(self.free_number(), policy, shared, deadline)?;
        match worker.register(&self.acceptors) {
            Ok(registered) => {
                drop(worker.set_acceptors(registered));
                self.serving.push(worker);
                Ok(())
            }
            Err(error) => {
                // It has its number until it has ended.
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

    /// Applies this policy to all clients.
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

    /// Returns when the requests and responses that are incomplete now are complete. Later ones are not waited
    /// for.
    pub fn await_incomplete(&self) -> impl Future<Output = ()> + use<> {
        let ask = |worker: &Worker| {
            let (reply, complete) = oneshot::channel();
            worker.send(Command::AwaitIncomplete(reply));
            complete
        };
        // A worker that has ended has none.
        join_all(self.all().map(ask).collect::<Vec<_>>()).map(drop)
    }

    /// Lets all workers detach their connections at once, with what there is of incomplete requests, and exit.
    /// Returns the receiver of the connections.
    pub fn detach_all(&mut self) -> UnboundedReceiver<DetachedConnection> {
        let (outlet, connections) = unbounded_channel();
        self.shared.dispatcher.set_handoff(outlet);
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

    /// Lets all workers close their connections as they become idle, and end.
    pub fn drain(&mut self) {
        self.shared.dispatcher.set_workers(Vec::new());
        self.leaving.append(&mut self.serving);
        self.send_to_leaving(|| Command::CloseIdleAndExit);
    }

    /// Ends all workers that are leaving, whatever they do. They are not waited for.
    pub fn abort(&self) {
        self.send_to_leaving(|| Command::Abort);
    }

    fn send_to_leaving(&self, command: impl Fn() -> Command) {
        for worker in &self.leaving {
            worker.send(command());
        }
    }

    /// Removes a worker that has exited. One that was not asked to, because its thread has panicked, is
    /// replaced.
    pub fn on_worker_exit(&mut self, thread: ThreadId) {
        let is_it = |worker: &Worker| worker.thread == thread;
        if let Some(i) = self.leaving.iter().position(is_it) {
            self.leaving.swap_remove(i);
        } else if let Some(i) = self.serving.iter().position(is_it) {
            let count = self.serving.len();
            let number = self.serving.remove(i).number;
            if let Err(error) = self.resize(count) {
                let reason = format!("cannot replace worker {number}: {error}");
                self.shared.log.send(Event::OsError { reason });
            }
        }
    }

    /// Connections that were closed with an incomplete request or response because the daemon stops.
    pub fn cut_off(&self) -> u64 {
        self.shared.dispatcher.cut_off()
    }

    /// Whether there is no worker left.
    pub fn is_empty(&self) -> bool {
        self.serving.is_empty() && self.leaving.is_empty()
    }

    /// Workers that take connections.
    pub fn serving(&self) -> usize {
        self.serving.len()
    }

    pub fn open(&self) -> usize {
        self.shared.dispatcher.open()
    }

    /// Connections that may be open.
    pub fn connection_limit(&self) -> usize {
        self.shared.dispatcher.limit()
    }

    /// The addresses at which no connection can be accepted at present, each with the reason.
    pub fn accept_errors(&self) -> Vec<String> {
        let failing =
            |acceptor: &Arc<Acceptor>| Some(format!("{}: {}", acceptor.address(), acceptor.failure()?));
        self.acceptors.iter().filter_map(failing).collect()
    }

    /// Workers that finish what they have.
    pub fn leaving(&self) -> usize {
        self.leaving.len()
    }

    /// Connections that went from one worker to another, since the start.
    pub fn moved(&self) -> u64 {
        self.shared.dispatcher.moved()
    }

    /// Each worker as it is now, by number.
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
