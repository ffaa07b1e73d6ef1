use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    task::Waker,
};

use tokio::time::Instant;

use super::{
    eviction::{Place, Standing},
    express::LongResponse,
    policy::Policy,
    registry::Registry,
};

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The first byte of a request.
    Idle,
    /// The rest of a head.
    Head,
    /// The rest of a body.
    Body,
    /// The client to take its answer.
    Answer,
}

/// What a worker wants of a connection, as soon as it is idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recall {
    /// Go to another worker.
    Move,
    /// Go to the next process, also with an incomplete request, which that process reads from its begin.
    HandOff,
    /// Close.
    Close,
    /// Close, also if a request is incomplete: another client needs the place.
    Evict,
}

/// Where a connection stands. Its socket, its service and its worker share this; all live on one
/// thread.
#[derive(Debug)]
pub struct Track {
    pub id: usize,
    pub peer: Option<SocketAddr>,
    pub registry: Rc<Registry>,
    requests: Cell<usize>,
    stage: Cell<Stage>,
    since: Cell<Instant>,
    recall: Cell<Option<Recall>>,
    last_answer: Cell<bool>,
    /// When the first byte of the request under way came in.
    begun: Cell<Instant>,
    /// Answers that wait to be sent whole.
    answers: Cell<usize>,
    /// Since when an answer waits to be sent whole.
    unsent: Cell<Option<Instant>>,
    /// Whether to look at the input when they are sent.
    is_input_held: Cell<bool>,
    own_refusal_dropped: Cell<bool>,
    ended_by_peer: Cell<bool>,
    /// Everything is sent, and the client is waited for to close.
    lingering: Cell<bool>,
    place: Place,
    /// Its incomplete request cannot be handed off.
    bound_here: Cell<bool>,
    waker: RefCell<Waker>,
    /// How many bytes of the body have yet to come, where that is known.
    body_left: Cell<Option<usize>>,
    /// A response that waits to be sent without hyper, and whether hyper has sent everything before it.
    long_response: RefCell<Option<LongResponse>>,
    is_hyper_flushed: Cell<bool>,
}

impl Track {
    pub fn new(
        id: usize,
        peer: Option<SocketAddr>,
        requests: usize,
        registry: Rc<Registry>,
        place: Place,
    ) -> Self {
        let now = Instant::now();
        Self {
            id,
            peer,
            registry,
            requests: Cell::new(requests),
            stage: Cell::new(Stage::Idle),
            since: Cell::new(now),
            recall: Cell::new(None),
            last_answer: Cell::new(false),
            begun: Cell::new(now),
            answers: Cell::new(0),
            unsent: Cell::new(None),
            is_input_held: Cell::new(false),
            own_refusal_dropped: Cell::new(false),
            ended_by_peer: Cell::new(false),
            lingering: Cell::new(false),
            place,
            bound_here: Cell::new(false),
            waker: RefCell::new(Waker::noop().clone()),
            body_left: Cell::new(None),
            long_response: RefCell::default(),
            is_hyper_flushed: Cell::new(false),
        }
    }

    pub fn stage(&self) -> Stage {
        self.stage.get()
    }

    pub fn since(&self) -> Instant {
        self.since.get()
    }

    fn enter(&self, stage: Stage) {
        self.enter_at(stage, Instant::now());
    }

    fn enter_at(&self, stage: Stage, now: Instant) {
        match (self.stage.replace(stage), stage) {
            (Stage::Idle, Stage::Idle) => {}
            (Stage::Idle, _) => {
                self.begun.set(now);
                self.registry.ends_idle();
            }
            (_, Stage::Idle) => self.registry.begins_idle(),
            _ => {}
        }
        self.since.set(now);
        self.publish();
    }

    /// Publishes whether the connection may be chosen to give way.
    fn publish(&self) {
        let standing = match self.stage.get() {
            // It goes by itself.
            Stage::Idle | Stage::Head if self.recall.get().is_some() => Standing::BUSY,
            Stage::Idle => self.place.idle(self.since.get()),
            Stage::Head | Stage::Body if self.unsent.get().is_none() => {
                self.place.incomplete(self.begun.get())
            }
            Stage::Answer if self.lingering.get() => self.place.idle(self.since.get()),
            _ => Standing::BUSY,
        };
        self.place.publish(standing);
    }

    /// Whether a request is under way of which a part has yet to come, and no response before it has.
    pub fn is_incomplete(&self) -> bool {
        matches!(self.stage.get(), Stage::Head | Stage::Body) && self.unsent.get().is_none()
    }

    /// When the first byte of the request under way came in; of several that came together, the
    /// first.
    pub fn begun(&self) -> Instant {
        self.begun.get()
    }

    /// Bytes of a request came in.
    pub fn received(&self) {
        if self.stage.get() == Stage::Idle {
            self.enter(Stage::Head);
        }
    }

    /// An answer is about to be sent; behind the last one the connection is never idle again.
    pub fn answer(&self, last: bool) {
        self.last_answer.set(last);
        self.enter(Stage::Answer);
        self.answers.set(self.answers.get() + 1);
        if self.unsent.get().is_none() {
            self.unsent.set(Some(self.since.get()));
        }
    }

    /// The last response is about to be sent, and is no request's.
    pub fn refuse(&self) {
        self.last_answer.set(true);
        self.enter(Stage::Answer);
    }

    /// Nothing more will be answered; it is only waited for its client to close.
    pub fn close(&self) {
        self.lingering.set(true);
        self.refuse();
    }

    /// Since when an answer, or several, wait to be sent whole.
    pub fn unsent_since(&self) -> Option<Instant> {
        self.unsent.get()
    }

    /// hyper's own refusal was not sent, so that ours can be.
    pub fn drop_own_refusal(&self) {
        self.own_refusal_dropped.set(true);
    }

    pub fn is_own_refusal_dropped(&self) -> bool {
        self.own_refusal_dropped.get()
    }

    /// Input is not looked at before everything is sent.
    pub fn wakes_when_flushed(&self) {
        self.is_input_held.set(true);
    }

    /// This response is to be sent without hyper, as soon as hyper has sent what is before it.
    pub fn send_without_hyper(&self, response: LongResponse) {
        self.answer(response.is_last);
        self.long_response.replace(Some(response));
        self.is_hyper_flushed.set(false);
    }

    /// Whether there is a response to send without hyper, and it is its turn.
    pub fn is_long_response_due(&self) -> bool {
        self.is_hyper_flushed.get() && self.long_response.borrow().is_some()
    }

    /// The response to send without hyper.
    pub fn take_long_response(&self) -> Option<LongResponse> {
        self.long_response.take()
    }

    /// Nothing is answered behind the response that is being sent.
    pub fn is_last_answer(&self) -> bool {
        self.last_answer.get()
    }

    /// hyper has sent everything that it has.
    pub fn hyper_flushed(&self) {
        if self.long_response.borrow().is_some() {
            self.is_hyper_flushed.set(true);
        } else {
            self.flushed();
        }
    }

    /// Everything that was to be sent is sent.
    pub fn flushed(&self) {
        let answers = self.answers.take();
        if answers == 0 {
            return;
        }
        let now = Instant::now();
        self.registry.stats.record_latency(now - self.begun.get(), answers as u64);
        self.begun.set(now);
        self.unsent.set(None);
        if self.is_input_held.take() {
            self.wake();
        }
        if self.stage.get() == Stage::Answer && !self.last_answer.get() {
            self.enter_at(Stage::Idle, now);
        } else {
            // Its input was not read before.
            self.since.set(now);
            self.publish();
        }
    }

    /// So many requests came in at `begun`, and their answers are sent already.
    pub fn answered_at_once(&self, begun: Instant, answers: usize) {
        let now = Instant::now();
        self.requests.set(self.requests.get() + answers);
        self.registry.stats.record_latency(now - begun, answers as u64);
        self.since.set(now);
        self.place.publish_later(self.place.idle(now));
    }

    /// So many requests came in at `begun`, and their answers wait to be sent whole.
    pub fn begin_sending(&self, begun: Instant, answers: usize, last: bool) {
        self.requests.set(self.requests.get() + answers);
        self.answer(last);
        self.begun.set(begun);
        self.answers.set(answers);
    }

    /// So much of the body has yet to come, if that is known.
    pub fn set_body_left(&self, bytes: Option<u64>) {
        self.body_left.set(bytes.and_then(|bytes| bytes.try_into().ok()));
    }

    /// How much there is to read of a body, if that is known.
    pub fn body_left(&self) -> Option<usize> {
        self.body_left.get().filter(|left| *left > 0 && self.stage.get() == Stage::Body)
    }

    /// The head of one more request is here; says how many there were on this connection.
    pub fn begin_request(&self) -> usize {
        self.enter(Stage::Body);
        self.body_left.set(None);
        self.requests.set(self.requests.get() + 1);
        self.requests.get()
    }

    pub fn requests(&self) -> usize {
        self.requests.get()
    }

    /// Whether it has been idle for as long as it may be.
    pub fn is_expired(&self, policy: &Policy) -> bool {
        self.stage.get() == Stage::Idle && self.since.get() + policy.keep_alive_timeout <= Instant::now()
    }

    /// Whether the peer has ended amid a head, with nothing else under way, when it has ended amid
    /// something. A head that came together with the request before it has not begun, as far as this
    /// knows.
    pub fn is_broken_off(&self) -> bool {
        let is_before_body = matches!(self.stage.get(), Stage::Idle | Stage::Head);
        is_before_body && self.ended_by_peer.get() && self.unsent.get().is_none()
    }

    /// The peer has shut down its sending side.
    pub fn peer_ended(&self) {
        self.ended_by_peer.set(true);
    }

    pub fn is_ended_by_peer(&self) -> bool {
        self.ended_by_peer.get()
    }

    pub fn recalled(&self) -> Option<Recall> {
        self.recall.get()
    }

    /// Whether the connection is to close after the response that comes next.
    pub fn is_to_close(&self) -> bool {
        self.recall.get() >= Some(Recall::Close)
    }

    /// Whether the connection was chosen to give way to another one.
    pub fn is_evicted(&self) -> bool {
        self.recall.get() == Some(Recall::Evict)
    }

    /// Whether the queue means this connection, and not one that had its number before.
    pub fn is_chosen(&self) -> bool {
        self.place.is_chosen()
    }

    /// Whether a request is not here whole, or a response is not sent whole.
    pub fn is_under_way(&self) -> bool {
        self.stage.get() != Stage::Idle && !self.lingering.get()
    }

    /// The request under way goes to the next process, which counts it.
    pub fn give_back_request(&self) {
        self.requests.set(self.requests.get() - 1);
    }

    /// The request under way cannot be handed off.
    pub fn is_bound_here(&self) {
        self.bound_here.set(true);
    }

    /// Whether the connection will not be handed off before its response is sent, or at all.
    pub fn stays(&self) -> bool {
        self.stage.get() == Stage::Answer || self.unsent.get().is_some() || self.bound_here.get()
    }

    /// Whether a request or response would be cut off now.
    pub fn is_cut_by_closing(&self) -> bool {
        self.bound_here.get() || self.stays() && !self.lingering.get()
    }

    /// Asks the connection back; a wish to close is not taken back by one to move.
    pub fn recall(&self, recall: Recall) {
        if self.recall.get() < Some(recall) {
            self.recall.set(Some(recall));
            self.publish();
            self.wake();
        }
    }

    /// Whom to wake when something else is wanted of the connection.
    pub fn wakes(&self, waker: &Waker) {
        self.waker.borrow_mut().clone_from(waker);
    }

    pub fn wake(&self) {
        self.waker.borrow().wake_by_ref();
    }
}
