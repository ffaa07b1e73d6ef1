use std::{
    io,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, sync_channel},
    },
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::pending};
use nix::time::{ClockId, clock_gettime};
use tokio::{
    runtime::{self, LocalOptions},
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    acceptor::{Acceptor, RegisteredAcceptor, accept},
    dispatcher::{Dispatched, Dispatcher},
};
use crate::{
    http::{self, Context, Incomplete, Parked, Policy, Recall, Registry},
    log::{Event, Log},
    stats::{Outcome, SharedStats, WorkerStats},
};

/// How often to look whether requests and responses are complete.
const LOOK: Duration = Duration::from_millis(5);

/// What a worker is asked to do.
#[derive(Debug)]
pub enum Order {
    /// Serve this connection.
    Serve(Parked),
    /// Accept connections at these entrances from now on, and at no others; then drop the other end.
    Accept(Vec<Arc<RegisteredAcceptor>>, oneshot::Sender<()>),
    /// Treat clients like this from now on.
    Adopt(Policy),
    /// Give so many connections to other workers, as they become idle.
    MoveAway(usize),
    /// Close this connection, by its number, for another client needs its place.
    Evict(usize),
    /// Give all connections to other workers, as they become idle, and end.
    Leave,
    /// Say when the requests and responses that are incomplete now are complete.
    AwaitIncomplete(oneshot::Sender<()>),
    /// Give all connections to the next process, with what there is of incomplete requests, and end.
    HandOff,
    /// Close each connection with its next answer.
    Retire,
    /// Close all connections, as they become idle, and end.
    Drain,
    /// End now; requests in flight are cut off.
    Abort,
}

/// What all workers have in common.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Where connections come from and go back to.
    pub dispatcher: Arc<Dispatcher>,
    /// Where they count.
    pub memory: Arc<SharedStats>,
    /// Where they tell what happens.
    pub log: Log,
    /// How often each shows that it makes progress.
    pub heartbeat: Duration,
    /// Where each tells that it has ended.
    pub ended: UnboundedSender<ThreadId>,
}

/// Tells that a worker's thread is at its end, also when it has panicked; and which one, by what no other
/// thread will ever have. Another worker may have its number by then.
struct Ended(UnboundedSender<ThreadId>);

impl Drop for Ended {
    fn drop(&mut self) {
        // Nobody waits for this any more when the daemon itself is about to end.
        let _ = self.0.send(thread::current().id());
    }
}

/// A worker, seen from outside.
#[derive(Debug)]
pub struct Worker {
    pub number: usize,
    pub stats: Arc<WorkerStats>,
    pub orders: UnboundedSender<Order>,
    /// Nobody joins the thread: it has told that it has ended, and what it still has to close may take
    /// time.
    pub thread: ThreadId,
    runtime: runtime::Handle,
    /// Where it accepts.
    watched: Vec<Arc<RegisteredAcceptor>>,
}

impl Worker {
    /// Starts the thread; when this returns, it serves. One that has not started by the deadline is given up.
    ///
    /// # Errors
    /// When the operating system has no thread or no epoll instance left.
    pub fn start(number: usize, policy: Policy, shared: Shared, deadline: Instant) -> io::Result<Self> {
        let stats = Arc::new(WorkerStats::new(shared.memory.clone(), number));
        let (orders, received) = unbounded_channel();
        let (ready, is_ready) = sync_channel(1);
        let thread = thread::Builder::new().name(format!("pixeld-{number}")).spawn({
            let stats = stats.clone();
            // One that keeps no orders coming when everybody else has gone.
            let orders = orders.downgrade();
            move || {
                let _ended = Ended(shared.ended.clone());
                let mut builder = runtime::Builder::new_current_thread();
                // A LocalSet on another runtime would be one more queue for each request to go through.
                match builder.enable_io().enable_time().build_local(LocalOptions::default()) {
                    Ok(runtime) => {
                        let (log, queue) = (shared.log.clone(), shared.dispatcher.eviction_queue());
                        let notify = move |connection| {
                            // A worker that is gone has closed it already.
                            let orders: Option<UnboundedSender<Order>> = orders.upgrade();
                            let _ = orders.map(|orders| orders.send(Order::Evict(connection)));
                        };
                        let context = Context::with_queue(number, stats, log, policy, queue, notify);
                        let context = Rc::new(context);
                        let ready = move || drop(ready.send(Ok(runtime::Handle::current())));
                        runtime.block_on(work(received, &context, &shared, ready));
                    }
                    // Whoever started this thread waits for it.
                    Err(error) => drop(ready.send(Err(error))),
                }
            }
        })?;
        // A thread that does not come this far has panicked, which drops its end.
        let runtime = is_ready.recv_timeout(deadline.saturating_duration_since(Instant::now())).map_err(
            |error| match error {
                // Without its orders it ends as soon as it begins.
                RecvTimeoutError::Timeout => {
                    let reason = "the worker's thread did not start in time";
                    io::Error::new(io::ErrorKind::TimedOut, reason)
                }
                RecvTimeoutError::Disconnected => io::Error::other("the worker's thread ended at once"),
            },
        )??;
        Ok(Self { number, stats, orders, thread: thread.thread().id(), runtime, watched: Vec::new() })
    }

    /// Watches these entrances, too, on behalf of its thread; those that it does not watch yet.
    ///
    /// # Errors
    /// When epoll takes no more descriptors; then nothing has changed.
    pub fn watch(&self, acceptors: &[Arc<Acceptor>]) -> io::Result<Vec<Arc<RegisteredAcceptor>>> {
        // epoll is told here, so that nobody has to wait for the thread.
        let _entered = self.runtime.enter();
        let watch =
            |acceptor: &Arc<Acceptor>| match self.watched.iter().find(|watched| watched.is_of(acceptor)) {
                Some(watched) => Ok(watched.clone()),
                None => RegisteredAcceptor::new(acceptor.clone()).map(Arc::new),
            };
        acceptors.iter().map(watch).collect()
    }

    /// Accepts connections at what [`Self::watch`] returned, and nowhere else: from the moment when what
    /// is returned is closed.
    pub fn accept(&mut self, watched: Vec<Arc<RegisteredAcceptor>>) -> oneshot::Receiver<()> {
        let (done, accepts) = oneshot::channel();
        self.watched.clone_from(&watched);
        self.order(Order::Accept(watched, done));
        accepts
    }

    /// For how long it has not waited for something to do, since it started.
    pub fn busy(&self) -> Duration {
        self.runtime.metrics().worker_total_busy_duration(0)
    }

    /// A worker that has ended takes no orders, and needs none.
    pub fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }
}

async fn work(
    mut orders: UnboundedReceiver<Order>,
    context: &Rc<Context>,
    shared: &Shared,
    ready: impl FnOnce(),
) {
    let mut connections = JoinSet::new();
    let mut heartbeat = interval(shared.heartbeat);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut accepting: Pin<Box<dyn Future<Output = ()>>> = Box::pin(pending());
    let mut handing_off: Pin<Box<dyn Future<Output = ()>>> = Box::pin(pending());
    let mut leaving = false;
    context.stats.heartbeat(cpu_time());
    shared.log.send(Event::WorkerStarted { worker: context.worker });
    // Whoever started this thread waits for it.
    ready();

    while !(leaving && connections.is_empty() && orders.is_empty()) {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Serve(connection)) => {
                    context.stats.connections_assigned.add(1);
                    connections.spawn_local(serve(connection, context.clone(), shared.dispatcher.clone()));
                }
                Some(Order::Accept(watched, _done)) => {
                    accepting = Box::pin(accept(watched, context.worker, shared.clone()));
                }
                Some(Order::Adopt(policy)) => context.set_policy(policy),
                Some(Order::MoveAway(count)) => context.connections.move_away(count),
                Some(Order::Evict(connection)) => context.connections.evict(connection),
                Some(Order::Leave) => {
                    leaving = true;
                    accepting = Box::pin(pending());
                    context.connections.recall_all(Recall::Move);
                }
                Some(Order::AwaitIncomplete(reply)) => {
                    let incomplete = context.connections.incomplete();
                    tokio::task::spawn_local(await_complete(incomplete, reply));
                }
                Some(Order::HandOff) => {
                    leaving = true;
                    accepting = Box::pin(pending());
                    context.connections.recall_all(Recall::HandOff);
                    handing_off = Box::pin(hand_off(context.connections.clone()));
                }
                Some(Order::Retire) => context.retire(),
                Some(Order::Drain) => {
                    leaving = true;
                    accepting = Box::pin(pending());
                    context.connections.recall_all(Recall::Close);
                }
                Some(Order::Abort) | None => break,
            },
            Some(ended) = connections.join_next() => {
                // Nothing could be answered; the panic hook has told why.
                if ended.is_err_and(|error| error.is_panic()) {
                    context.stats.record_outcome(Outcome::Failed);
                }
            }
            () = &mut accepting => accepting = Box::pin(pending()),
            () = &mut handing_off => {
                let (unsent, unread) = context.connections.cut_by_closing();
                (0..unsent).for_each(|_| context.stats.write_timed_out());
                shared.dispatcher.count_cut_off(unsent + unread);
                break;
            }
            _ = heartbeat.tick() => context.stats.heartbeat(cpu_time()),
        }
    }
    connections.shutdown().await;
    let (moved, left) =
        (context.stats.connections_migrated.get(), context.stats.connections_handed_off.get());
    shared.log.send(Event::WorkerExited { worker: context.worker, moved, left });
}

/// Replies when these are complete, at once if there are none.
async fn await_complete(mut incomplete: Incomplete, reply: oneshot::Sender<()>) {
    while !incomplete.is_over() && !reply.is_closed() {
        sleep(LOOK).await;
    }
    // The daemon may have stopped waiting.
    let _ = reply.send(());
}

/// Waits until all connections are handed off but those whose clients have not taken a response for a while,
/// and those that cannot be handed off. A worker that is short of CPU time has as long as it needs.
async fn hand_off(connections: Rc<Registry>) {
    /// Responses that are not sent yet have so long.
    const RESPONSE_GRACE: Duration = Duration::from_millis(250);

    sleep(RESPONSE_GRACE).await;
    while connections.has_more_to_hand_off() {
        sleep(LOOK).await;
    }
}

/// What this thread has used.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

fn serve(connection: Parked, context: Rc<Context>, dispatcher: Arc<Dispatcher>) -> impl Future<Output = ()> {
    let open = Open { context: context.clone(), dispatcher: dispatcher.clone() };
    // An async block would have room for what it waits for twice.
    http::serve(connection, context).map(move |ended| {
        if let http::Ended::Parked(connection) = ended {
            let context = open.context.clone();
            drop(open);
            match dispatcher.redispatch(connection) {
                Dispatched::ToWorker => context.stats.connections_migrated.add(1),
                Dispatched::HandedOff => context.stats.connections_handed_off.add(1),
                Dispatched::Closed => {}
            }
        }
    })
}

/// Counts a connection as closed when it ends, also when serving it panics.
struct Open {
    context: Rc<Context>,
    dispatcher: Arc<Dispatcher>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.context.stats.connection_closed();
        self.dispatcher.connection_closed();
    }
}
