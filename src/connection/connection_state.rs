use std::{
    cell::{Cell, RefCell},
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::Waker,
    time::Duration,
};

use tokio::time::Instant;

use super::eviction::{EvictionEntry, Standing};
use crate::{
    http::{Policy, request_head::RequestHead},
    stats::WorkerStats,
};

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The first byte of a request.
    Idle,
    /// The rest of a head.
    Header,
    /// The rest of a body.
    Body,
    /// The client to take a response.
    Response,
    /// The client to close, after the last response.
    Linger,
}

impl Phase {
    /// How long the phase may last.
    pub fn timeout(self, policy: &Policy) -> Duration {
        match self {
            Self::Idle => policy.keep_alive_timeout,
            Self::Header => policy.head_timeout,
            Self::Body => policy.body_timeout,
            Self::Response | Self::Linger => policy.write_timeout,
        }
    }
}

/// What a worker wants of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConnectionRequest {
    /// Go to another worker, unless a body is being read.
    Move,
    /// Go to the next process, also with an incomplete request, which that process reads from its begin.
    HandOff,
    /// Close as soon as it is idle.
    Close,
    /// Close, also if a request is incomplete: another client needs the place.
    Evict,
}

/// What is to be done with a connection, instead of answering what is there.
#[derive(Debug)]
pub enum NextStep {
    /// Receive the body of the request with this head, which is first in the unread input.
    ReceiveBody(Box<RequestHead>),
    /// Give it to another worker or process.
    Detach,
    /// Close it, and see that what was sent arrives.
    Linger,
    /// Close it at once: everything that was sent has arrived, or nothing comes that could overtake it.
    Close,
    /// Answer an incomplete request with 408 and close at once: another client needs the place.
    Evict,
    /// Close it, because its client does not take its responses.
    WriteTimeout,
    /// Close it, because it has broken.
    Log(io::Error),
}

/// The state of a connection. Its task and its worker share this; both are on one thread.
#[derive(Debug)]
pub struct ConnectionState {
    pub id: usize,
    pub peer: Option<SocketAddr>,
    stats: Arc<WorkerStats>,
    requests: Cell<usize>,
    phase: Cell<Phase>,
    since: Cell<Instant>,
    request: Cell<Option<ConnectionRequest>>,
    /// When the first byte of the request under way came in.
    begun: Cell<Instant>,
    /// Responses that are being sent.
    unsent: Cell<usize>,
    eviction_entry: EvictionEntry,
    /// Its incomplete request cannot be handed off.
    is_bound_here: Cell<bool>,
    waker: RefCell<Waker>,
}

impl ConnectionState {
    pub fn new(
        id: usize,
        peer: Option<SocketAddr>,
        requests: usize,
        stats: Arc<WorkerStats>,
        eviction_entry: EvictionEntry,
    ) -> Self {
        let now = Instant::now();
        stats.became_idle();
        Self {
            id,
            peer,
            stats,
            requests: Cell::new(requests),
            phase: Cell::new(Phase::Idle),
            since: Cell::new(now),
            request: Cell::new(None),
            begun: Cell::new(now),
            unsent: Cell::new(0),
            eviction_entry,
            is_bound_here: Cell::new(false),
            waker: RefCell::new(Waker::noop().clone()),
        }
    }

    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// When the phase began. The last response may have been sent later.
    pub fn since(&self) -> Instant {
        self.since.get()
    }

    /// When the first byte of the request under way came in; of several that came together, the
    /// first.
    pub fn begun(&self) -> Instant {
        self.begun.get()
    }

    pub fn requests(&self) -> usize {
        self.requests.get()
    }

    fn enter(&self, phase: Phase, now: Instant) {
        let before = self.phase.replace(phase);
        self.since.set(now);
        self.publish();
        // Counted last: the connection gives way as the statistics say, also to a client that has just read them.
        match (before, phase) {
            (Phase::Idle, Phase::Idle) => {}
            (Phase::Idle, _) => self.stats.became_busy(),
            (_, Phase::Idle) => self.stats.became_idle(),
            _ => {}
        }
    }

    /// Publishes whether the connection may be chosen to give way.
    fn publish(&self) {
        let standing = match self.phase.get() {
            // It goes by itself.
            Phase::Idle | Phase::Header if self.request.get().is_some() => Standing::BUSY,
            Phase::Idle | Phase::Linger => self.eviction_entry.idle(self.since.get()),
            Phase::Header | Phase::Body => self.eviction_entry.incomplete(self.begun.get()),
            Phase::Response => Standing::BUSY,
        };
        self.eviction_entry.publish(standing);
    }

    /// A request began to come in at `begun`, and is not complete.
    pub fn begin_request(&self, begun: Instant) {
        self.begun.set(begun);
        self.enter(Phase::Header, begun);
    }

    pub fn begin_body(&self) {
        self.enter(Phase::Body, Instant::now());
    }

    /// So many requests came in at `begun`, and their responses are sent already.
    pub fn answered(&self, begun: Instant, responses: usize) {
        let now = Instant::now();
        self.requests.set(self.requests.get() + responses);
        self.stats.record_latency(now - begun, responses as u64);
        if self.phase.get() == Phase::Idle {
            self.since.set(now);
            self.eviction_entry.publish_later(self.eviction_entry.idle(now));
        } else {
            self.enter(Phase::Idle, now);
        }
    }

    /// So many requests came in at `begun`, and their responses wait to be sent.
    pub fn begin_response(&self, begun: Instant, responses: usize) {
        self.requests.set(self.requests.get() + responses);
        self.begun.set(begun);
        self.unsent.set(responses);
        self.enter(Phase::Response, Instant::now());
    }

    pub fn end_response(&self) {
        let now = Instant::now();
        self.stats.record_latency(now - self.begun.get(), self.unsent.take() as u64);
        self.enter(Phase::Idle, now);
    }

    /// Nothing more is answered, and the client is waited for to close.
    pub fn linger(&self) {
        self.enter(Phase::Linger, Instant::now());
    }

    pub fn request(&self) -> Option<ConnectionRequest> {
        self.request.get()
    }

    /// Whether the connection closes with the response that comes next.
    pub fn is_to_close(&self) -> bool {
        self.request.get() >= Some(ConnectionRequest::Close)
    }

    /// Whether the connection was chosen to give way to another one.
    pub fn is_evicted(&self) -> bool {
        self.request.get() == Some(ConnectionRequest::Evict)
    }

    /// Whether the connection goes to another worker or process.
    pub fn is_to_detach(&self) -> bool {
        matches!(self.request.get(), Some(ConnectionRequest::Move | ConnectionRequest::HandOff))
    }

    /// Whether the queue means this connection, and not one that had its number before.
    pub fn is_chosen(&self) -> bool {
        self.eviction_entry.is_chosen()
    }

    /// Whether a request is not here whole, or a response is not sent whole.
    pub fn is_under_way(&self) -> bool {
        !matches!(self.phase.get(), Phase::Idle | Phase::Linger)
    }

    /// The request under way cannot be handed off.
    pub fn bind_here(&self) {
        self.is_bound_here.set(true);
    }

    /// Whether the connection will not be handed off before its response is sent, or at all.
    pub fn stays(&self) -> bool {
        matches!(self.phase.get(), Phase::Response | Phase::Linger) || self.is_bound_here.get()
    }

    /// Whether a response would be cut off now.
    pub fn is_unsent(&self) -> bool {
        self.phase.get() == Phase::Response
    }

    /// Whether a request or response would be cut off now.
    pub fn is_cut_by_closing(&self) -> bool {
        self.is_unsent() || self.is_bound_here.get()
    }

    /// Asks something of the connection. One that is to close is not asked to move.
    pub fn ask(&self, request: ConnectionRequest) {
        if self.request.get() < Some(request) {
            self.request.set(Some(request));
            self.publish();
            self.wake();
        }
    }

    /// Wakes this when something is asked of the connection.
    pub fn set_waker(&self, waker: &Waker) {
        self.waker.borrow_mut().clone_from(waker);
    }

    pub fn wake(&self) {
        self.waker.borrow().wake_by_ref();
    }

    /// The client, for the log; a proxy in front may name its own.
    pub fn client(&self, real_ip: Option<IpAddr>) -> String {
        match (real_ip, self.peer) {
            (Some(ip), _) => ip.to_string(),
            (None, Some(peer)) => peer.to_string(),
            (None, None) => "unix".into(),
        }
    }
}

impl Drop for ConnectionState {
    fn drop(&mut self) {
        if self.phase.get() == Phase::Idle {
            self.stats.became_busy();
        }
    }
}
