use std::{cell::Cell, io, rc::Rc, time::Duration};

use nix::errno::Errno;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::oneshot,
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, timeout},
};
use zlink::{
    Reply,
    connection::{ReadConnection, WriteConnection, socket::Socket},
};

use super::{
    feed::Feed,
    message::{AnyCall, Bounded, BoundedConnection},
    methods::{Access, Answer, Desk},
    operator::{Caller, Operator},
};
use crate::{
    log::{Event, Log},
    sys,
};

/// A client that says nothing for so long is let go.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// A client has so long to take a reply.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

type Read = ReadConnection<<Bounded as Socket>::ReadHalf>;
type Write = WriteConnection<<Bounded as Socket>::WriteHalf>;

/// Serves the clients of one socket, each in a task of its own. When it is `closed`, those that are there
/// are served on, and no others. One more than `most` takes
/// the place of the one that has done nothing for longest, so that nobody can keep others out by
/// neither asking nor reading.
pub async fn serve<O: Operator + 'static>(
    listener: UnixListener,
    access: Access,
    most: usize,
    operator: Rc<O>,
    log: Log,
    mut closed: oneshot::Receiver<()>,
) {
    let mut clients = Clients { most, tasks: JoinSet::new(), known: Vec::new() };
    let mut is_failing = false;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                // One that cannot be set so is closed.
                Ok((stream, _)) if sys::reject_descriptors(&stream).is_err() => drop(stream),
                Ok((stream, _)) => {
                    is_failing = false;
                    clients.make_room().await;
                    let active = Rc::new(Cell::new(Instant::now()));
                    let desk = Desk { access: access.clone(), operator: operator.clone(), log: log.clone() };
                    let session = Session { desk, active: active.clone() };
                    clients.add(active, session.run(stream));
                }
                // Out of descriptors, most likely: the clients that are there are served on.
                Err(error) => {
                    if !is_shortage(&error) && !std::mem::replace(&mut is_failing, true) {
                        log.send(Event::AcceptPaused { reason: format!("{} socket: {error}", access.name()) });
                    }
                    sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = clients.tasks.join_next() => {}
            _ = &mut closed => break,
        }
    }
    drop(listener);
    while clients.tasks.join_next().await.is_some() {}
}

/// Whether descriptors or memory have run out, which HTTP connections report if it lasts.
fn is_shortage(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM))
}

/// The clients that are served.
struct Clients {
    most: usize,
    tasks: JoinSet<()>,
    known: Vec<(AbortHandle, LastActive)>,
}

/// When a client last asked something, or took a reply.
type LastActive = Rc<Cell<Instant>>;

impl Clients {
    /// Waits until there is a place. Meanwhile nobody else is accepted: in a crowd, connections would
    /// come faster than those go that have lost their places.
    async fn make_room(&mut self) {
        self.known.retain(|(task, _)| !task.is_finished());
        if self.known.len() >= self.most
            && let Some((task, _)) = self.known.iter().min_by_key(|(_, active)| active.get())
        {
            task.abort();
        }
        while self.tasks.len() >= self.most {
            self.tasks.join_next().await;
        }
    }

    fn add(&mut self, active: LastActive, session: impl Future<Output = ()> + 'static) {
        self.known.push((self.tasks.spawn_local(session), active));
    }
}

/// One client.
struct Session<O> {
    desk: Desk<O>,
    active: LastActive,
}

impl<O: Operator> Session<O> {
    async fn run(self, stream: UnixStream) {
        let caller = stream.peer_cred().map(Caller::from);
        // As clients of HTTP are named: where they come in, and what tells one from another.
        let client = match &caller {
            Ok(caller) => format!("{}:{}", self.desk.access.name(), caller.pid),
            Err(_) => self.desk.access.name().into(),
        };
        let served = match caller {
            Ok(caller) => self.serve(stream, caller).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = served {
            self.desk.log.send(Event::ControlFailed { client, reason: error.to_string() });
        }
    }

    async fn serve(&self, stream: UnixStream, caller: Caller) -> zlink::Result<()> {
        let (mut read, mut write) = BoundedConnection::new(Bounded(stream.try_into()?)).split();
        loop {
            let received = timeout(IDLE_TIMEOUT, read.receive_call::<AnyCall>()).await;
            self.active.set(Instant::now());
            let call = match received.map_err(|_| timed_out("the client said nothing for too long"))? {
                Ok((call, _)) => call,
                Err(zlink::Error::UnexpectedEof) => return Ok(()),
                Err(error) => return Err(error),
            };
            // What nobody waits for any more was given up: done now, it would come as a surprise.
            if !call.oneway() && read.read_half().is_deserted() {
                continue;
            }
            match self.desk.answer(call.method(), call.more(), caller).await {
                // Whoever wants no reply gets none, however many there would be.
                _ if call.oneway() => {}
                Answer::Feed(feed) => return self.stream(feed, &mut read, &mut write).await,
                answer => self.in_time(send(&mut write, answer)).await?,
            }
        }
    }

    /// Replies until the client hangs up, or calls something else: the replies to that could never
    /// follow.
    async fn stream(&self, mut feed: Feed, read: &mut Read, write: &mut Write) -> zlink::Result<()> {
        let hangs_up = read.receive_call::<AnyCall>();
        tokio::pin!(hangs_up);
        loop {
            let parameters = tokio::select! {
                _ = &mut hangs_up => return Ok(()),
                parameters = feed.next(&*self.desk.operator) => parameters,
            };
            let reply = Reply::new(Some(parameters)).set_continues(Some(true));
            self.in_time(write.send_reply(&reply, vec![])).await?;
        }
    }

    async fn in_time(&self, sending: impl Future<Output = zlink::Result<()>>) -> zlink::Result<()> {
        timeout(WRITE_TIMEOUT, sending)
            .await
            .map_err(|_| timed_out("the client did not take a reply in time"))??;
        self.active.set(Instant::now());
        Ok(())
    }
}

async fn send(write: &mut Write, answer: Answer) -> zlink::Result<()> {
    match answer {
        Answer::Parameters(parameters) => write.send_reply(&Reply::new(Some(parameters)), vec![]).await,
        Answer::Service(reply) => write.send_reply(&Reply::new(Some(reply)), vec![]).await,
        Answer::Error(error) => write.send_error(&error, vec![]).await,
        Answer::ServiceError(error) => write.send_error(&error, vec![]).await,
        Answer::Feed(_) => Ok(()),
    }
}

fn timed_out(reason: &'static str) -> zlink::Error {
    zlink::Error::Io(io::Error::new(io::ErrorKind::TimedOut, reason))
}
