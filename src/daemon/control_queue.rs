//! Queues from the threads of the control sockets to the main loop: two bounded channels, of which that of the
//! admin socket comes first. The read-only socket has no channel for changes.

use std::{rc::Rc, sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, mpsc, oneshot},
    task::{spawn_local, yield_now},
    time::{Instant, sleep_until},
};

use super::{
    control_events::{self, EventReceiver},
    process,
    state::Daemon,
};
use crate::{
    control::{
        Change, Changed, ControlError, ControlHandler, EventInfo, PeerCredentials, Query, ServerFault,
        Snapshot,
    },
    log::Log,
};

/// Requests of one socket that wait for the main loop. A client has one at a time.
const CAPACITY: usize = 16;

/// The sending ends.
#[derive(Debug, Clone)]
pub struct ControlHandle {
    queries: mpsc::Sender<PendingQuery>,
    requests: mpsc::Sender<AdminRequest>,
}

/// The receiving ends.
#[derive(Debug)]
pub struct ControlQueue {
    queries: mpsc::Receiver<PendingQuery>,
    requests: mpsc::Receiver<AdminRequest>,
}

/// A query, and where its reply goes.
#[derive(Debug)]
struct PendingQuery {
    query: Query,
    /// Counting them may take long, so it is not for the main loop.
    descriptors_used: u64,
    reply: oneshot::Sender<Snapshot>,
}

/// A request of a client of the admin socket.
#[derive(Debug)]
enum AdminRequest {
    Read(PendingQuery),
    Change { change: Change, caller: PeerCredentials, reply: oneshot::Sender<Result<Changed, ControlError>> },
}

/// A queue with no request in it.
pub fn channel() -> (ControlHandle, ControlQueue) {
    let (queries, queries_rx) = mpsc::channel(CAPACITY);
    let (requests, requests_rx) = mpsc::channel(CAPACITY);
    (ControlHandle { queries, requests }, ControlQueue { queries: queries_rx, requests: requests_rx })
}

impl ControlQueue {
    /// Serves requests. Yields after each, so that signals, the watchdog and exited workers are served in
    /// between.
    pub async fn serve(mut self, daemon: Rc<Daemon>) {
        loop {
            // A task each: a panic affects one client only, and a change may take long.
            let daemon = daemon.clone();
            tokio::select! {
                biased;
                Some(request) = self.requests.recv() => match request {
                    AdminRequest::Read(query) => drop(spawn_local(async move { daemon.answer(query) })),
                    AdminRequest::Change { change, caller, mut reply } => drop(spawn_local(async move {
                        tokio::select! {
                            changed = daemon.change(change, caller) => drop(reply.send(changed)),
                            // The client has gone, or has lost its place.
                            () = reply.closed() => {}
                        }
                    })),
                },
                Some(query) = self.queries.recv() => drop(spawn_local(async move { daemon.answer(query) })),
                else => return,
            }
            yield_now().await;
        }
    }
}

impl Daemon {
    fn answer(&self, pending: PendingQuery) {
        let snapshot = self.snapshot(pending.query, pending.descriptors_used);
        // The client may have gone.
        let _ = pending.reply.send(snapshot);
    }
}

/// The handler of the read-only socket.
#[derive(Debug)]
pub struct ReadOnlyHandler {
    queries: mpsc::Sender<PendingQuery>,
    throttle: QueryThrottle,
    log: Log,
    /// The reply to a change.
    refusal: ControlError,
}

/// The handler of the admin socket.
#[derive(Debug)]
pub struct ReadWriteHandler {
    requests: mpsc::Sender<AdminRequest>,
    throttle: QueryThrottle,
    log: Log,
}

impl ControlHandle {
    /// For a socket whose clients only read; `refusal` names the other one.
    pub fn read_only(&self, log: Log, refusal: ControlError) -> ReadOnlyHandler {
        ReadOnlyHandler { queries: self.queries.clone(), throttle: QueryThrottle::default(), log, refusal }
    }

    /// For a socket whose clients may change something.
    pub fn read_write(&self, log: Log) -> ReadWriteHandler {
        ReadWriteHandler { requests: self.requests.clone(), throttle: QueryThrottle::default(), log }
    }
}

impl ControlHandler for ReadOnlyHandler {
    type Events = EventReceiver;

    async fn read(&self, query: Query) -> Result<Arc<Snapshot>, ControlError> {
        self.throttle.read(query, |query| self.queries.send(query)).await
    }

    async fn change(&self, _: Change, _: PeerCredentials) -> Result<Changed, ControlError> {
        Err(self.refusal.clone())
    }

    fn events(&self) -> (Vec<EventInfo>, EventReceiver) {
        control_events::subscribe(&self.log)
    }

    fn report(&self, fault: ServerFault) {
        control_events::log_fault(&self.log, fault);
    }
}

impl ControlHandler for ReadWriteHandler {
    type Events = EventReceiver;

    async fn read(&self, query: Query) -> Result<Arc<Snapshot>, ControlError> {
        self.throttle.read(query, |query| self.requests.send(AdminRequest::Read(query))).await
    }

    async fn change(&self, change: Change, caller: PeerCredentials) -> Result<Changed, ControlError> {
        let (reply, changed) = oneshot::channel();
        let sent = self.requests.send(AdminRequest::Change { change, caller, reply }).await;
        sent.map_err(|_| ControlError::Stopping)?;
        changed.await.map_err(|_| unanswered())?
    }

    fn events(&self) -> (Vec<EventInfo>, EventReceiver) {
        control_events::subscribe(&self.log)
    }

    fn report(&self, fault: ServerFault) {
        control_events::log_fault(&self.log, fault);
    }
}

fn unanswered() -> ControlError {
    ControlError::Failed { reason: "the main thread of the daemon did not answer".into() }
}

/// Limits the rate of queries of one socket: one at a time, each after a pause that is a multiple of what the
/// previous one took. So a flood of them takes at most a fifth of the main thread's time, as long as a snapshot
/// takes less than 10 ms. All clients that wait when a query is sent share its answer.
#[derive(Debug, Default)]
struct QueryThrottle(Mutex<ThrottleState>);

#[derive(Debug, Default)]
struct ThrottleState {
    /// When the next query may be sent; none was, at first.
    next: Option<Instant>,
    /// The last answer to each query, and when the query was sent.
    answers: Vec<(Query, Instant, Arc<Snapshot>)>,
}

impl QueryThrottle {
    const FACTOR: u32 = 4;
    const MIN_PAUSE: Duration = Duration::from_millis(1);
    /// So long where the main thread was busy with something else.
    const MAX_PAUSE: Duration = Duration::from_millis(50);

    async fn read<E>(
        &self,
        query: Query,
        send: impl AsyncFnOnce(PendingQuery) -> Result<(), E>,
    ) -> Result<Arc<Snapshot>, ControlError> {
        let begun = Instant::now();
        let mut state = self.0.lock().await;
        // Nothing older than the call: what a client has changed, it sees.
        let is_fresh = |(of, sent, _): &&(Query, Instant, _)| *of == query && *sent > begun;
        if let Some((_, _, snapshot)) = state.answers.iter().find(is_fresh) {
            return Ok(snapshot.clone());
        }
        if let Some(next) = state.next {
            sleep_until(next).await;
        }
        let descriptors_used = if query == Query::Stats { process::descriptors_used() } else { 0 };
        let (reply, snapshot) = oneshot::channel();
        let sent = Instant::now();
        // Also if the client loses its place before the answer.
        state.next = Some(sent + Self::MIN_PAUSE);
        send(PendingQuery { query, descriptors_used, reply }).await.map_err(|_| ControlError::Stopping)?;
        let snapshot = Arc::new(snapshot.await.map_err(|_| unanswered())?);
        let pause = (sent.elapsed() * Self::FACTOR).clamp(Self::MIN_PAUSE, Self::MAX_PAUSE);
        state.next = Some(Instant::now() + pause);
        state.answers.retain(|(of, ..)| *of != query);
        state.answers.push((query, sent, snapshot.clone()));
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::future::join_all;

    use super::*;
    use crate::control::{ConfigReply, WorkersReply};

    /// Answers at once, and counts.
    async fn ask(throttle: &QueryThrottle, query: Query, sent: &Cell<u32>) -> Arc<Snapshot> {
        let send = async |pending: PendingQuery| {
            sent.set(sent.get() + 1);
            let snapshot = match pending.query {
                Query::Workers => Snapshot::Workers(WorkersReply {
                    configured: 1,
                    override_count: None,
                    overridden_by: None,
                    workers: vec![],
                }),
                _ => Snapshot::Config(ConfigReply { settings: vec![] }),
            };
            pending.reply.send(snapshot)
        };
        throttle.read(query, send).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_clients_share_a_reply() {
        let (throttle, sent) = (QueryThrottle::default(), Cell::new(0));
        // The first one is asked at once, the others wait for the pause after it.
        let all = (0..64).map(|_| ask(&throttle, Query::Workers, &sent));
        let begun = Instant::now();
        join_all(all).await;
        assert!(sent.get() <= 2, "{} queries", sent.get());
        assert!(begun.elapsed() < QueryThrottle::MAX_PAUSE * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn each_query_gets_a_fresh_reply() {
        let (throttle, sent, begun) = (QueryThrottle::default(), Cell::new(0), Instant::now());
        for number in 1..=10 {
            assert!(matches!(*ask(&throttle, Query::Workers, &sent).await, Snapshot::Workers(_)));
            assert!(matches!(*ask(&throttle, Query::Config, &sent).await, Snapshot::Config(_)));
            assert_eq!(sent.get(), 2 * number);
        }
        assert!(begun.elapsed() >= QueryThrottle::MIN_PAUSE * 19);
    }
}
