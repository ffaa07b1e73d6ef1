//! Queues from the threads of the control sockets to the main loop, one bounded channel for each socket.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::{Instant, sleep_until},
};

use super::{
    process_resources,
    watch_events::{self, EventReceiver},
};
use crate::{
    control::{
        Access, Change, Changed, ControlError, ControlHandler, EventInfo, PeerCredentials, Query,
        ServerFault, Snapshot,
    },
    log::{Event, Log},
};

/// Maximum number of requests of one socket that wait for the main loop. A client has one at a time.
const CAPACITY: usize = 16;

/// A request of a control client, and where its reply goes.
#[derive(Debug)]
pub enum ControlRequest {
    Read {
        query: Query,
        /// Counted before, because counting may take long for the main loop.
        descriptors_used: u64,
        reply: oneshot::Sender<Snapshot>,
    },
    Change {
        change: Change,
        caller: PeerCredentials,
        reply: oneshot::Sender<Result<Changed, ControlError>>,
    },
}

/// The requests that wait for the main loop.
#[derive(Debug)]
pub struct ControlQueue {
    read_only: RequestChannel,
    admin: RequestChannel,
}

type RequestChannel = (mpsc::Sender<ControlRequest>, mpsc::Receiver<ControlRequest>);

impl ControlQueue {
    pub fn new() -> Self {
        Self { read_only: mpsc::channel(CAPACITY), admin: mpsc::channel(CAPACITY) }
    }

    /// Waits for the next request; those of the admin socket come first.
    pub async fn next(&mut self) -> Option<ControlRequest> {
        tokio::select! {
            biased;
            request = self.admin.1.recv() => request,
            request = self.read_only.1.recv() => request,
        }
    }

    /// Creates the handler of a socket.
    pub fn handler(&self, access: &Access, log: Log) -> QueueHandler {
        let refusal = access.refusal();
        let (requests, _) = if refusal.is_some() { &self.read_only } else { &self.admin };
        QueueHandler { requests: requests.clone(), throttle: QueryThrottle::default(), log, refusal }
    }
}

/// The handler of one socket, in the thread that serves its clients.
#[derive(Debug)]
pub struct QueueHandler {
    requests: mpsc::Sender<ControlRequest>,
    throttle: QueryThrottle,
    log: Log,
    /// The reply to a change, if the socket is read-only.
    refusal: Option<ControlError>,
}

impl ControlHandler for QueueHandler {
    type Events = EventReceiver;

    async fn read(&self, query: Query) -> Result<Arc<Snapshot>, ControlError> {
        self.throttle.read(query, &self.requests).await
    }

    async fn change(&self, change: Change, caller: PeerCredentials) -> Result<Changed, ControlError> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        let (reply, changed) = oneshot::channel();
        let sent = self.requests.send(ControlRequest::Change { change, caller, reply }).await;
        sent.map_err(|_| ControlError::Stopping)?;
        changed.await.map_err(|_| unanswered())?
    }

    fn events(&self) -> (Vec<EventInfo>, EventReceiver) {
        watch_events::subscribe(&self.log)
    }

    fn report(&self, fault: ServerFault) {
        self.log.send(match fault {
            ServerFault::Client { client, reason } => Event::ControlFailed { client, reason },
            ServerFault::Accept { socket, reason } => Event::AcceptPaused { socket, reason },
        });
    }
}

fn unanswered() -> ControlError {
    ControlError::Failed { reason: "no reply from the main thread".into() }
}

/// Limits the rate of queries of one socket. They are sent one at a time, with a pause of [`Self::FACTOR`] times the
/// duration of the previous one. A flood of queries therefore uses at most a fifth of the main thread's time, if a
/// snapshot takes less than 10 ms. Clients that wait when a query is sent share its reply.
#[derive(Debug, Default)]
struct QueryThrottle(Mutex<ThrottleState>);

#[derive(Debug, Default)]
struct ThrottleState {
    /// When the next query may be sent; `None` before the first.
    next: Option<Instant>,
    /// The last reply to each query, and when the query was sent.
    replies: Vec<(Query, Instant, Arc<Snapshot>)>,
}

impl QueryThrottle {
    const FACTOR: u32 = 4;
    const MIN_PAUSE: Duration = Duration::from_millis(1);
    /// Upper bound, because the main thread may have been busy with other work.
    const MAX_PAUSE: Duration = Duration::from_millis(50);

    async fn read(
        &self,
        query: Query,
        requests: &mpsc::Sender<ControlRequest>,
    ) -> Result<Arc<Snapshot>, ControlError> {
        let begun = Instant::now();
        let mut state = self.0.lock().await;
        // A reply is not older than the call, so that a client sees its own changes.
        let is_fresh = |(of, sent, _): &&(Query, Instant, _)| *of == query && *sent > begun;
        if let Some((_, _, snapshot)) = state.replies.iter().find(is_fresh) {
            return Ok(snapshot.clone());
        }
        if let Some(next) = state.next {
            sleep_until(next).await;
        }
        let sent = Instant::now();
        let descriptors_used = if query == Query::Stats { process_resources::descriptors_used() } else { 0 };
        let (reply, snapshot) = oneshot::channel();
        // Set first, because the client may be disconnected before the reply.
        state.next = Some(sent + Self::MIN_PAUSE);
        let request = ControlRequest::Read { query, descriptors_used, reply };
        requests.send(request).await.map_err(|_| ControlError::Stopping)?;
        let snapshot = Arc::new(snapshot.await.map_err(|_| unanswered())?);
        let pause = (sent.elapsed() * Self::FACTOR).clamp(Self::MIN_PAUSE, Self::MAX_PAUSE);
        state.next = Some(Instant::now() + pause);
        state.replies.retain(|(of, ..)| *of != query);
        state.replies.push((query, sent, snapshot.clone()));
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use futures_util::future::join_all;

    use super::*;
    use crate::control::{ConfigReply, WorkersReply};

    /// Creates a queue with a task that replies at once and counts the requests.
    fn counting_queue() -> (mpsc::Sender<ControlRequest>, Arc<AtomicU32>) {
        let (requests, mut received) = mpsc::channel(CAPACITY);
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        tokio::spawn(async move {
            while let Some(ControlRequest::Read { query, reply, .. }) = received.recv().await {
                counted.fetch_add(1, Relaxed);
                let snapshot = match query {
                    Query::Workers => Snapshot::Workers(WorkersReply {
                        configured: 1,
                        override_count: None,
                        overridden_by: None,
                        workers: vec![],
                    }),
                    _ => Snapshot::Config(ConfigReply { settings: vec![] }),
                };
                drop(reply.send(snapshot));
            }
        });
        (requests, count)
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_clients_share_a_reply() {
        let (throttle, (requests, sent)) = (QueryThrottle::default(), counting_queue());
        // The first query is sent at once; the others wait for the pause after it.
        let all = (0..64).map(|_| throttle.read(Query::Workers, &requests));
        let begun = Instant::now();
        assert!(join_all(all).await.iter().all(Result::is_ok));
        assert!(sent.load(Relaxed) <= 2, "{sent:?} queries");
        assert!(begun.elapsed() < QueryThrottle::MAX_PAUSE * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn each_query_gets_a_fresh_reply() {
        let (throttle, (requests, sent)) = (QueryThrottle::default(), counting_queue());
        let begun = Instant::now();
        for number in 1..=10 {
            let reply = throttle.read(Query::Workers, &requests).await.unwrap();
            assert!(matches!(*reply, Snapshot::Workers(_)));
            let reply = throttle.read(Query::Config, &requests).await.unwrap();
            assert!(matches!(*reply, Snapshot::Config(_)));
            assert_eq!(sent.load(Relaxed), 2 * number);
        }
        assert!(begun.elapsed() >= QueryThrottle::MIN_PAUSE * 19);
    }
}
