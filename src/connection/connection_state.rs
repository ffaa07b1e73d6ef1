use std::{
    cell::{Cell, OnceCell, RefCell},
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

/// The phase of a connection, named after the event that it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The first byte of a request.
    Idle,
    /// The rest of a header section.
    Header,
    /// The rest of a body.
    Body,
    /// The receipt of a response by the client.
    Response,
    /// The end of the input, after the last response.
    Linger,
}

impl Phase {
    /// Whether a request is in flight; a connection without one counts as idle.
    fn has_request(self) -> bool {
        !matches!(self, Self::Idle | Self::Linger)
    }

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

/// A request of the worker to a connection (not an HTTP request). A later one replaces an earlier one if it is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConnectionRequest {
    /// Go to another worker as soon as no body is being received, and no response is being sent.
    Move,
    /// Go to the next process, together with an incomplete request, as soon as no response is being sent.
    HandOff,
    /// Close as soon as it is idle.
    Close,
    /// Close even if a request is incomplete, because another client needs the connection slot.
    Evict,
}

/// The step that follows the fast path. Its caller performs it.
#[derive(Debug)]
pub enum NextStep {
    /// Receive the body of the request with this header section, which is at the start of the unread bytes.
    ReceiveBody(Box<RequestHead>),
    /// Give the connection to another worker or process.
    Detach,
    /// Close after the client has had time to read the last response.
    Linger,
    /// Close at once. No unread input can cause a reset that overtakes the last response.
    Close,
    /// Respond to an incomplete request with 408 and close at once.
    Evict,
    /// Close, because the client did not take its responses in time.
    WriteTimeout,
    /// Close and log, because the socket failed.
    Log(io::Error),
}

/// The state of a connection, shared by its task and the registry. Both are on one thread.
#[derive(Debug)]
pub struct ConnectionState {
    pub peer: Option<SocketAddr>,
    stats: Arc<WorkerStats>,
    /// The number of HTTP requests that got a response.
    requests: Cell<usize>,
    phase: Cell<Phase>,
    since: Cell<Instant>,
    pending_request: Cell<Option<ConnectionRequest>>,
    /// When the first byte of the present request arrived.
    begun: Cell<Instant>,
    /// The number of responses that are being sent.
    unsent: Cell<usize>,
    /// Set when the connection is registered.
    eviction_entry: OnceCell<EvictionEntry>,
    /// Whether the incomplete request cannot be handed off.
    is_bound_here: Cell<bool>,
    waker: RefCell<Waker>,
}

impl ConnectionState {
    pub fn new(
        peer: Option<SocketAddr>,
        requests: usize,
        stats: Arc<WorkerStats>,
        pending_request: Option<ConnectionRequest>,
    ) -> Self {
        let now = Instant::now();
        stats.became_idle();
        Self {
            peer,
            stats,
            requests: Cell::new(requests),
            phase: Cell::new(Phase::Idle),
            since: Cell::new(now),
            pending_request: Cell::new(pending_request),
            begun: Cell::new(now),
            unsent: Cell::new(0),
            eviction_entry: OnceCell::new(),
            is_bound_here: Cell::new(false),
            waker: RefCell::new(Waker::noop().clone()),
        }
    }

    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// When the phase began, or the last response was sent.
    pub fn since(&self) -> Instant {
        self.since.get()
    }

    /// Returns the time at which the phase times out.
    pub fn deadline(&self, policy: &Policy) -> Instant {
        self.since.get() + self.phase.get().timeout(policy)
    }

    /// When the first byte of the present request arrived. Several requests of one read have the same time.
    pub fn begun(&self) -> Instant {
        self.begun.get()
    }

    pub fn requests(&self) -> usize {
        self.requests.get()
    }

    fn enter(&self, phase: Phase, now: Instant) {
        let before = self.phase.replace(phase);
        self.since.set(now);
        if phase == Phase::Idle {
            self.is_bound_here.set(false);
        }
        self.publish();
        // Counted last: a client that has just read these statistics must find that eviction agrees with them.
        match (before.has_request(), phase.has_request()) {
            (false, true) => self.stats.became_busy(),
            (true, false) => self.stats.became_idle(),
            _ => {}
        }
    }

    /// Adds the connection to the order of eviction.
    pub fn set_eviction_entry(&self, entry: EvictionEntry) {
        // Set only once, because a connection is registered only once.
        let _ = self.eviction_entry.set(entry);
        self.publish();
    }

    /// Publishes the place of the connection in the order of eviction.
    fn publish(&self) {
        let Some(entry) = self.eviction_entry.get() else { return };
        let standing = match self.phase.get() {
            // The connection is about to close or leave without an eviction.
            Phase::Idle | Phase::Header if self.pending_request.get().is_some() => Standing::BUSY,
            Phase::Idle | Phase::Linger => entry.idle(self.since.get()),
            Phase::Header | Phase::Body => entry.incomplete(self.begun.get()),
            Phase::Response => Standing::BUSY,
        };
        entry.publish(standing);
    }

    /// Records that the first bytes of a request arrived at `begun`.
    pub fn begin_request(&self, begun: Instant) {
        self.begun.set(begun);
        self.enter(Phase::Header, begun);
    }

    pub fn begin_body(&self) {
        self.enter(Phase::Body, Instant::now());
    }

    /// Records that `responses` requests arrived at `begun`, and that their responses were sent at once.
    pub fn responded(&self, begun: Instant, responses: usize) {
        let now = Instant::now();
        self.requests.set(self.requests.get() + responses);
        self.stats.record_latency(now - begun, responses as u64);
        if self.phase.get() == Phase::Idle {
            self.since.set(now);
            if let Some(entry) = self.eviction_entry.get() {
                entry.publish_later(entry.idle(now));
            }
        } else {
            self.enter(Phase::Idle, now);
        }
    }

    /// Records that `responses` requests arrived at `begun`, and that their responses are being sent.
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

    pub fn begin_linger(&self) {
        self.enter(Phase::Linger, Instant::now());
    }

    pub fn pending_request(&self) -> Option<ConnectionRequest> {
        self.pending_request.get()
    }

    /// Whether the next response is the last one.
    pub fn is_to_close(&self) -> bool {
        self.pending_request.get() >= Some(ConnectionRequest::Close)
    }

    pub fn is_evicted(&self) -> bool {
        self.pending_request.get() == Some(ConnectionRequest::Evict)
    }

    pub fn is_to_detach(&self) -> bool {
        matches!(self.pending_request.get(), Some(ConnectionRequest::Move | ConnectionRequest::HandOff))
    }

    /// Whether the queue has chosen this connection, rather than an earlier one with the same number.
    pub fn is_chosen(&self) -> bool {
        self.eviction_entry.get().is_some_and(EvictionEntry::is_chosen)
    }

    /// Whether a request or response is incomplete.
    pub fn is_under_way(&self) -> bool {
        self.phase.get().has_request()
    }

    /// Records that the present request cannot be handed off.
    pub fn bind_here(&self) {
        self.is_bound_here.set(true);
    }

    /// Whether the connection cannot be handed off now.
    pub fn stays(&self) -> bool {
        matches!(self.phase.get(), Phase::Response | Phase::Linger) || self.is_bound_here.get()
    }

    /// Whether closing now would cut off a response.
    pub fn is_unsent(&self) -> bool {
        self.phase.get() == Phase::Response
    }

    /// Whether closing now would cut off a response, or a request that cannot be handed off.
    pub fn is_cut_by_closing(&self) -> bool {
        self.is_unsent() || self.is_bound_here.get()
    }

    /// Sends a request to the connection. It has no effect if a greater one is pending.
    pub fn ask(&self, request: ConnectionRequest) {
        if self.pending_request.get() < Some(request) {
            self.pending_request.set(Some(request));
            self.publish();
            self.wake();
        }
    }

    /// Sets the waker that [`Self::ask`] calls.
    pub fn set_waker(&self, waker: &Waker) {
        self.waker.borrow_mut().clone_from(waker);
    }

    pub fn wake(&self) {
        self.waker.borrow().wake_by_ref();
    }

    /// Returns why a request that is incomplete now is rejected.
    pub fn incomplete_reason(&self) -> &'static str {
        if self.is_evicted() {
            "the request was incomplete when its connection was closed for a new one (evicted)"
        } else if self.phase.get() == Phase::Body {
            "the body did not arrive within timeouts.body"
        } else {
            "the header section did not arrive within timeouts.header"
        }
    }

    /// Returns the client for the log: the address that the proxy sent (`real_ip`), or else the peer.
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
        if !self.phase.get().has_request() {
            // A closed connection no longer counts as idle.
            self.stats.became_busy();
        }
    }
}
