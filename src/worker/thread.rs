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

use futures_util::future::pending;
use nix::time::{ClockId, clock_gettime};
use tokio::{
    runtime::{self, LocalOptions},
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    time::{self, MissedTickBehavior, interval, sleep},
};

use super::{
    accept_loop::accept,
    acceptor::{Acceptor, RegisteredAcceptor},
    command::Command,
    connection_server::ConnectionServer,
    shared_state::SharedState,
};
use crate::{
    connection::{ConnectionRequest, Registry, WorkerContext},
    http::Policy,
    stats::WorkerStats,
};

/// The interval at which a worker checks whether requests and responses are complete.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Sends the id of the thread of a worker when it exits, also after a panic. The id is unique in the process, but
/// a later worker may have the same number.
struct ExitNotifier(UnboundedSender<ThreadId>);

impl Drop for ExitNotifier {
    fn drop(&mut self) {
        // This fails if the main loop has ended.
        let _ = self.0.send(thread::current().id());
    }
}

/// The handle of a worker.
#[derive(Debug)]
pub struct Worker {
    pub number: usize,
    pub stats: Arc<WorkerStats>,
    pub commands: UnboundedSender<Command>,
    /// The id of the thread, which is not joined, because closing its connections may take time.
    pub thread: ThreadId,
    /// The connections that moved to other workers before it was asked to exit.
    pub moved_before: u64,
    runtime: runtime::Handle,
}

impl Worker {
    /// Starts the thread, and returns when it serves.
    ///
    /// # Errors
    /// If the operating system has no thread or epoll instance left, or the deadline has passed.
    pub fn start(number: usize, policy: Policy, shared: SharedState, deadline: Instant) -> io::Result<Self> {
        let stats = Arc::new(WorkerStats::new(shared.memory.clone(), number));
        let (commands, received) = unbounded_channel();
        let (ready, is_ready) = sync_channel(1);
        let thread = thread::Builder::new().name(format!("pixeld-{number}")).spawn({
            let stats = stats.clone();
            // Weak, because a sender in the thread would keep its own channel open.
            let commands = commands.downgrade();
            move || {
                let _ended = ExitNotifier(shared.ended.clone());
                let mut builder = runtime::Builder::new_current_thread();
                // A LocalSet would put a second task queue in the path of each request.
                match builder.enable_io().enable_time().build_local(LocalOptions::default()) {
                    Ok(runtime) => {
                        let (log, queue) = (shared.log.clone(), shared.dispatcher.eviction_queue());
                        let notify = move |connection| {
                            // If the worker has ended, the connection is closed already.
                            let commands: Option<UnboundedSender<Command>> = commands.upgrade();
                            let _ = commands.map(|commands| commands.send(Command::Evict(connection)));
                        };
                        let context = WorkerContext::with_queue(
                            number,
                            stats,
                            log,
                            policy,
                            shared.parse,
                            queue,
                            notify,
                        );
                        let context = Rc::new(context);
                        let ready = move || drop(ready.send(Ok(runtime::Handle::current())));
                        runtime.block_on(run(received, &context, &shared, ready));
                    }
                    Err(error) => drop(ready.send(Err(error))),
                }
            }
        })?;
        // If the thread panics before it is ready, it drops its sender.
        let runtime = is_ready.recv_timeout(deadline.saturating_duration_since(Instant::now())).map_err(
            |error| match error {
                // The channel of its commands closes, so the thread exits as soon as it has started.
                RecvTimeoutError::Timeout => {
                    let reason = "the worker's thread did not start in time";
                    io::Error::new(io::ErrorKind::TimedOut, reason)
                }
                RecvTimeoutError::Disconnected => io::Error::other("the worker's thread ended at once"),
            },
        )??;
        Ok(Self { number, stats, commands, thread: thread.thread().id(), moved_before: 0, runtime })
    }

    /// Registers these listeners with the runtime of the thread.
    ///
    /// # Errors
    /// If epoll takes no more descriptors.
    pub fn register(&self, acceptors: &[Arc<Acceptor>]) -> io::Result<Vec<RegisteredAcceptor>> {
        // Done on the thread of the caller, so that it does not wait for the worker.
        let _entered = self.runtime.enter();
        acceptors.iter().cloned().map(RegisteredAcceptor::new).collect()
    }

    /// Accepts connections only at the listeners that [`Self::register`] returned. The receiver closes when that is
    /// in effect.
    pub fn set_acceptors(&self, registered: Vec<RegisteredAcceptor>) -> oneshot::Receiver<()> {
        let (done, accepts) = oneshot::channel();
        self.send(Command::SetAcceptors(registered, done));
        accepts
    }

    /// Returns the time since the start that the worker was busy.
    pub fn busy(&self) -> Duration {
        self.runtime.metrics().worker_total_busy_duration(0)
    }

    /// Sends a command. Has no effect if the worker has exited.
    pub fn send(&self, command: Command) {
        let _ = self.commands.send(command);
    }
}

async fn run(
    mut commands: UnboundedReceiver<Command>,
    context: &Rc<WorkerContext>,
    shared: &SharedState,
    ready: impl FnOnce(),
) {
    let server = Rc::new(ConnectionServer::new(context.clone(), shared));
    let mut heartbeat = interval(shared.heartbeat);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut accepting: Pin<Box<dyn Future<Output = ()>>> = Box::pin(pending());
    let mut detaching: Pin<Box<dyn Future<Output = ()>>> = Box::pin(pending());
    let mut leaving = false;
    context.stats.heartbeat(cpu_time());
    ready();

    while !(leaving && context.connections.is_empty() && commands.is_empty()) {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Serve(connection)) => server.serve(connection),
                Some(Command::SetAcceptors(registered, _done)) => {
                    accepting = Box::pin(accept(registered, server.clone(), shared.clone()));
                }
                Some(Command::SetPolicy(policy)) => context.set_policy(policy),
                Some(Command::Migrate(count)) => context.connections.move_away(count),
                Some(Command::Evict(connection)) => context.connections.evict(connection),
                Some(Command::MigrateAllAndExit) => {
                    leaving = true;
                    accepting = Box::pin(pending());
                    context.connections.ask_all(ConnectionRequest::Move);
                }
                Some(Command::AwaitIncomplete(reply)) => {
                    let (connections, now) = (context.connections.clone(), time::Instant::now());
                    tokio::task::spawn_local(await_complete(connections, now, reply));
                }
                Some(Command::DetachAllAndExit) => {
                    leaving = true;
                    accepting = Box::pin(pending());
                    context.connections.ask_all(ConnectionRequest::HandOff);
                    detaching = Box::pin(await_detached(context.connections.clone()));
                }
                Some(Command::CloseAfterResponse) => context.close_after_response(),
                Some(Command::CloseIdleAndExit) => {
                    leaving = true;
                    accepting = Box::pin(pending());
                    context.connections.ask_all(ConnectionRequest::Close);
                }
                Some(Command::Abort) | None => break,
            },
            () = server.connection_closed(), if leaving => {}
            () = &mut accepting => accepting = Box::pin(pending()),
            () = &mut detaching => {
                let (unsent, unread) = context.connections.cut_by_closing();
                (0..unsent).for_each(|_| context.stats.write_timed_out());
                shared.dispatcher.count_cut_off(unsent + unread);
                break;
            }
            _ = heartbeat.tick() => context.stats.heartbeat(cpu_time()),
        }
    }
}

/// Replies when the requests that began before `time` and their responses are complete.
async fn await_complete(connections: Rc<Registry>, time: time::Instant, reply: oneshot::Sender<()>) {
    while connections.has_incomplete(time) && !reply.is_closed() {
        sleep(POLL_INTERVAL).await;
    }
    // This fails if the daemon has stopped waiting.
    let _ = reply.send(());
}

/// Waits until each connection is handed off, or cannot be: its client does not take a response, or a request is
/// bound to this process. There is no other time limit, because a worker may be short of CPU time.
async fn await_detached(connections: Rc<Registry>) {
    /// The time that clients have to take their responses.
    const RESPONSE_GRACE: Duration = Duration::from_millis(250);

    sleep(RESPONSE_GRACE).await;
    while connections.has_more_to_hand_off() {
        sleep(POLL_INTERVAL).await;
    }
}

/// Returns the CPU time of this thread.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
