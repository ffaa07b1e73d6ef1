//! Serves the clients of one control socket in a thread of its own. The thread reads, parses and serializes, so that
//! the messages of a client cost no other thread; no thread waits for it. The [`ControlHandler`] asks the main loop.

use std::{
    cell::Cell,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::{Rc, Weak},
    sync::Arc,
    thread,
    time::Duration,
};

use nix::errno::Errno;
use rustix::net::{SendFlags, send};
use tokio::{
    net::{UnixListener, UnixStream},
    runtime,
    task::{AbortHandle, JoinSet, LocalSet, yield_now},
    time::{Instant, sleep, timeout},
};
use zlink::{Call, Reply};

use super::{
    access::Access,
    framing::{AnyCall, MessageReader, encode, write},
    handler::{ControlHandler, PeerCredentials, ServerFault},
    reply::shorten,
    router::{MethodRouter, Routed},
    subscription::Subscription,
    sys,
    types::ControlError,
};

/// The time after which a silent client is disconnected.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// The time for a client to read a reply.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// The delay before the socket is served again after a panic.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// Starts a thread that serves the clients of a non-blocking socket until the process ends, each in a task. A client
/// over the limit replaces the one that was inactive for longest, which is notified. So silent clients cannot keep
/// others out.
///
/// # Errors
/// If no descriptor or no thread can be created.
pub fn serve<O: ControlHandler + Send + 'static>(
    listener: std::os::unix::net::UnixListener,
    access: Access,
    max_clients: usize,
    handler: O,
) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let listener = {
        let _entered = runtime.enter();
        UnixListener::from_std(listener)?
    };
    let name = format!("pixeld-{}", access.name());
    thread::Builder::new().name(name).spawn(move || {
        let router = Rc::new(MethodRouter { access, handler });
        let serve_all = || LocalSet::new().block_on(&runtime, serve_clients(&listener, max_clients, &router));
        // The panic hook has reported it. A panic in a task of a client does not unwind to here.
        while catch_unwind(AssertUnwindSafe(serve_all)).is_err() {
            thread::sleep(RESTART_DELAY);
        }
    })?;
    Ok(())
}

async fn serve_clients<O: ControlHandler + 'static>(
    listener: &UnixListener,
    max_clients: usize,
    router: &Rc<MethodRouter<O>>,
) {
    let mut clients = Clients { max: max_clients, tasks: JoinSet::new(), known: Vec::new() };
    let mut is_failing = false;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                // Closed if it cannot be protected from passed descriptors.
                Ok((stream, _)) if sys::reject_descriptors(&stream).is_err() => drop(stream),
                Ok((stream, _)) => {
                    is_failing = false;
                    clients.ensure_capacity().await;
                    clients.add(stream, router.clone());
                }
                // Probably out of descriptors. Connected clients are still served.
                Err(error) => {
                    if !is_shortage(&error) && !std::mem::replace(&mut is_failing, true) {
                        let socket = format!("{} socket", router.access.name());
                        router.handler.report(ServerFault::Accept { socket, reason: error.to_string() });
                    }
                    sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = clients.tasks.join_next() => {}
        }
    }
}

/// Whether descriptors or memory have run out, which the HTTP side reports.
fn is_shortage(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM))
}

/// The clients that are served.
struct Clients {
    max: usize,
    tasks: JoinSet<()>,
    /// Tasks and their clients. A connection is closed when its task ends.
    known: Vec<(AbortHandle, Weak<ClientState>)>,
}

/// One client, as its task and the list of clients see it.
struct ClientState {
    stream: Arc<UnixStream>,
    /// The time of its last call, or of the last reply that it read.
    active: Cell<Instant>,
    /// Whether a reply may have been written in part.
    is_writing: Cell<bool>,
}

impl Clients {
    /// Waits until the number of clients is below the limit. No client is accepted meanwhile, because connections may
    /// come faster than tasks end.
    async fn ensure_capacity(&mut self) {
        self.known.retain(|(_, state)| state.strong_count() > 0);
        if self.known.len() >= self.max {
            let clients = self.known.iter().filter_map(|(task, state)| Some((task, state.upgrade()?)));
            if let Some((task, state)) = clients.min_by_key(|(_, state)| state.active.get()) {
                state.dismiss(self.max);
                task.abort();
            }
        }
        while self.tasks.len() >= self.max {
            self.tasks.join_next().await;
        }
    }

    fn add<O: ControlHandler + 'static>(&mut self, stream: UnixStream, router: Rc<MethodRouter<O>>) {
        let state = Rc::new(ClientState {
            stream: Arc::new(stream),
            active: Cell::new(Instant::now()),
            is_writing: Cell::new(false),
        });
        let known = Rc::downgrade(&state);
        self.known.push((self.tasks.spawn_local(ClientSession { router, state }.run()), known));
    }
}

impl ClientState {
    /// Sends the reason before the connection is closed, if that does not block.
    fn dismiss(&self, max: usize) {
        if !self.is_writing.get()
            && let Ok(message) = encode(&ControlError::TooManyClients { limit: max as u64 })
        {
            let _ = send(&*self.stream, &message, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }
}

/// The task of one client.
struct ClientSession<O> {
    router: Rc<MethodRouter<O>>,
    state: Rc<ClientState>,
}

impl<O: ControlHandler> ClientSession<O> {
    async fn run(self) {
        let caller = self.state.stream.peer_cred().map(PeerCredentials::from);
        // As clients of HTTP are named: by listener and peer.
        let client = match &caller {
            Ok(caller) => format!("{}:{}", self.router.access.name(), caller.pid),
            Err(_) => self.router.access.name().into(),
        };
        let served = match caller {
            Ok(caller) => self.serve(caller).await,
            Err(error) => Err(error),
        };
        if let Err(error) = served {
            let is_invalid = error.kind() == io::ErrorKind::InvalidData;
            let reason = format!("{}{error}", if is_invalid { "invalid message: " } else { "" });
            let reason = shorten(&reason).into_owned();
            self.router.handler.report(ServerFault::Client { client, reason });
        }
    }

    async fn serve(&self, mut caller: PeerCredentials) -> io::Result<()> {
        let mut calls = MessageReader::of_calls(self.state.stream.clone());
        loop {
            let received = timeout(IDLE_TIMEOUT, calls.next::<Call<AnyCall>>()).await;
            self.state.active.set(Instant::now());
            let received = received.map_err(|_| timed_out("the client was silent for too long"))?;
            let Some(call) = received? else { return Ok(()) };
            // A client that closed the connection has given up its call.
            if call.oneway() || !calls.is_deserted() {
                match self.router.route(&call, &mut caller).await {
                    // A one-way call gets no reply.
                    _ if call.oneway() => {}
                    Ok(Routed::Stream(subscription)) => {
                        drop(call);
                        return self.stream(subscription, &mut calls).await;
                    }
                    Ok(Routed::Reply(parameters)) => {
                        self.write(encode(&Reply::new(Some(parameters)))?).await?;
                    }
                    Err(fault) => self.write(encode(&fault)?).await?,
                }
            }
            // Calls that arrived together are in the buffer, and reading them never yields.
            yield_now().await;
        }
    }

    /// Sends replies until the client closes the connection, or sends another call, which could never get a reply.
    async fn stream(
        &self,
        mut subscription: Subscription<O::Events>,
        calls: &mut MessageReader,
    ) -> io::Result<()> {
        let hangs_up = calls.next::<Call<AnyCall>>();
        tokio::pin!(hangs_up);
        loop {
            let parameters = tokio::select! {
                _ = &mut hangs_up => return Ok(()),
                parameters = subscription.next(&self.router.handler) => parameters,
            };
            match parameters {
                Ok(parameters) => {
                    let reply = Reply::new(Some(parameters)).set_continues(Some(true));
                    self.write(encode(&reply)?).await?;
                }
                Err(error) => return self.write(encode(&error)?).await,
            }
        }
    }

    async fn write(&self, message: Vec<u8>) -> io::Result<()> {
        self.state.is_writing.set(true);
        timeout(WRITE_TIMEOUT, write(&self.state.stream, &message))
            .await
            .map_err(|_| timed_out("the client did not read a reply in time"))??;
        self.state.is_writing.set(false);
        self.state.active.set(Instant::now());
        Ok(())
    }
}

fn timed_out(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, reason)
}
