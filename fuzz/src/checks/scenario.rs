//! A client and a connection, step by step. Time passes only in the steps that say so.

use std::{
    cell::Cell,
    convert::identity,
    future::{Future, poll_fn},
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    pin::pin,
    rc::Rc,
    sync::{Arc, LazyLock},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt::SndBuf};
use pixeld::{
    connection::{self, ConnectionRequest, DetachedConnection, ServeOutcome, WorkerContext},
    http::Policy,
    log::{Level, Log, Sink},
    net::Socket,
    stats::{self, SharedStats, Totals, WorkerStats},
};
use tokio::{
    runtime::Builder,
    task::{LocalSet, spawn_local},
    time::{Instant, advance},
};

/// The shortest time that is distinguished.
pub const TICK: Duration = Duration::from_secs(1);

/// Timers are late by up to a millisecond, and so is a tick.
const LATE: Duration = TICK.saturating_add(Duration::from_millis(2));

/// A difference in time, so that no two steps happen at the same time.
const MOMENT: Duration = Duration::from_nanos(1);

/// The number of ticks after the last byte after which an open connection counts as hanging.
const LONGEST: u32 = 40;

/// A step of the scenario.
#[derive(Debug, Clone, Copy)]
pub enum Step<'s> {
    /// The client sends this.
    Send(&'s [u8]),
    /// This number of ticks passes.
    Wait(u32),
    /// The next bytes arrive at the same time as the last ones.
    Rush,
    /// The client stops reading, or resumes.
    Read,
    /// The connection is asked to another worker.
    Move,
    /// All connections are asked to close.
    Close,
    /// The daemon is drained, or resumed.
    Drain,
    /// The other policy takes effect.
    Adopt,
}

/// One connection from its beginning to its end.
#[derive(Debug)]
pub struct Scenario<'s> {
    /// The first one is in effect at the beginning.
    pub policies: [Policy; 2],
    pub steps: &'s [Step<'s>],
    /// The client says that it has sent all.
    pub half_closes: bool,
    /// The socket takes few answers at a time.
    pub blocks: bool,
}

/// What a client and an operator see of it.
#[derive(Debug)]
pub struct Seen {
    pub answers: Vec<u8>,
    /// How the connection ended, for a client that reads on.
    pub end: Option<ErrorKind>,
    pub took: Duration,
    pub totals: Totals,
    /// Requests whose time was taken.
    pub latencies: u64,
    /// Connections that are idle when it is over.
    pub idle: u64,
}

impl Scenario<'_> {
    /// Plays it.
    pub fn play(&self) -> Seen {
        static LOG: LazyLock<Log> =
            LazyLock::new(|| Log::start(Sink::function(|_| {}), Level::Info).expect("a thread for the log"));

        let memory = Arc::new(SharedStats::create(0).expect("memory for counters"));
        let stats = Arc::new(WorkerStats::new(memory.clone(), 1));
        let context = Rc::new(WorkerContext::new(1, stats.clone(), LOG.clone(), self.policies[0].clone()));
        let runtime =
            Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        let (answers, end, took) = LocalSet::new().block_on(&runtime, self.run(&context, &memory));
        Seen {
            answers,
            end,
            took,
            totals: Totals::sum(memory.workers()),
            latencies: stats::latency(memory.workers()).count(),
            idle: stats.idle(),
        }
    }

    async fn run(
        &self,
        context: &Rc<WorkerContext>,
        memory: &SharedStats,
    ) -> (Vec<u8>, Option<ErrorKind>, Duration) {
        let (server, client) = UnixStream::pair().expect("a pair of sockets");
        server.set_nonblocking(true).expect("a socket that does not block");
        client.set_nonblocking(true).expect("a socket that does not block");
        if self.blocks {
            setsockopt(&server, SndBuf, &1).expect("a small buffer");
        }
        let polls = Rc::new(Cell::new(0));
        let serving = spawn_local(counted(serve(server, context.clone()), polls.clone()));
        let mut client = Client { stream: client, reads: true, answers: Vec::new(), end: None, polls };
        let (begun, mut policy) = (Instant::now(), 0);
        for (nth, step) in self.steps.iter().enumerate() {
            match step {
                Step::Send(piece) => client.send(piece),
                Step::Rush => continue,
                Step::Wait(ticks) => {
                    for _ in 0..*ticks {
                        advance(LATE).await;
                        client.settle().await;
                    }
                }
                Step::Read => client.reads ^= true,
                Step::Move => context.connections.move_away(1),
                Step::Close => context.connections.ask_all(ConnectionRequest::Close),
                Step::Drain => {
                    let by = stats::DrainedBy::new(1, 1, 0, None);
                    memory.set_drained(if memory.is_drained() { None } else { Some(by) });
                }
                Step::Adopt => {
                    policy = 1 - policy;
                    context.set_policy(self.policies[policy].clone());
                }
            }
            if !matches!(self.steps.get(nth + 1), Some(Step::Rush)) {
                client.settle().await;
            }
        }
        client.reads = true;
        if self.half_closes {
            // Fails when the connection is closed already.
            let _ = client.stream.shutdown(Shutdown::Write);
        }
        client.settle().await;
        let mut ticks = 0;
        while !serving.is_finished() {
            assert!(ticks < LONGEST, "the connection hangs");
            ticks += 1;
            advance(LATE).await;
            client.settle().await;
        }
        let took = begun.elapsed();
        client.settle().await;
        serving.await.expect("serving does not panic");
        (client.answers, client.end, took)
    }
}

async fn serve(stream: UnixStream, context: Rc<WorkerContext>) {
    let mut parked = DetachedConnection::new(Socket::adopt(stream.into()).unwrap(), None);
    while let Some(serving) = connection::serve(parked, context.clone(), identity)
        && let ServeOutcome::Detached(again) = serving.await
    {
        parked = again;
    }
}

/// Counts how often it is woken. It is a task of its own, so that a wake-up that it misses is missed.
async fn counted(future: impl Future<Output = ()>, polls: Rc<Cell<usize>>) {
    let mut future = pin!(future);
    poll_fn(|cx| {
        polls.set(polls.get() + 1);
        future.as_mut().poll(cx)
    })
    .await;
}

struct Client {
    stream: UnixStream,
    reads: bool,
    answers: Vec<u8>,
    end: Option<ErrorKind>,
    polls: Rc<Cell<usize>>,
}

impl Client {
    /// A server that has refused what came first need not take the rest.
    fn send(&mut self, piece: &[u8]) {
        if let Err(error) = self.stream.write_all(piece) {
            assert_ne!(error.kind(), ErrorKind::WouldBlock, "the input does not fit into a socket");
        }
    }

    /// Lets the server do all that it can do now, and reads what comes.
    async fn settle(&mut self) {
        let mut quiet = 0;
        while quiet < 3 {
            let before = (self.polls.get(), self.answers.len());
            // This yields, and whenever a task does, the runtime looks at its sockets.
            advance(MOMENT).await;
            if self.reads {
                self.read();
            }
            quiet = if before == (self.polls.get(), self.answers.len()) { quiet + 1 } else { 0 };
        }
    }

    fn read(&mut self) {
        let mut piece = [0; 16 << 10];
        while self.end.is_none() {
            match self.stream.read(&mut piece) {
                Ok(0) => self.end = Some(ErrorKind::UnexpectedEof),
                Ok(length) => self.answers.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => self.end = Some(error.kind()),
            }
        }
    }
}
