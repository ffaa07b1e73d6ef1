use std::{io, sync::Arc, thread, time::Duration};

use tokio::{io::unix::AsyncFd, runtime, sync::oneshot, task::JoinSet, time::sleep};

use super::deck::Deck;
use crate::{
    http::Parked,
    log::{Event, Log},
    net::Listener,
    stats::AcceptStats,
    sys,
};

/// The thread that accepts connections and deals them to the workers.
#[derive(Debug)]
pub struct Acceptor {
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

/// What the tasks of the listeners share.
#[derive(Clone)]
struct Shared {
    deck: Arc<Deck>,
    stats: Arc<AcceptStats>,
    log: Log,
}

impl Acceptor {
    /// Starts accepting on all of `listeners`.
    ///
    /// # Errors
    /// When the operating system has no thread or no epoll instance left.
    pub(super) fn start(
        listeners: Vec<Listener>,
        deck: Arc<Deck>,
        stats: Arc<AcceptStats>,
        log: Log,
    ) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (stop, stopped) = oneshot::channel();
        let listeners = {
            let _guard = runtime.enter();
            listeners.into_iter().map(sys::watch).collect::<io::Result<Vec<_>>>()?
        };
        let shared = Shared { deck, stats, log };
        let thread = thread::Builder::new().name("pixeld-accept".into()).spawn(move || {
            runtime.block_on(async {
                let mut tasks: JoinSet<()> =
                    listeners.into_iter().map(|listener| accept_all(listener, shared.clone())).collect();
                // Both an order to stop and a sender that is gone end it.
                let _ = stopped.await;
                tasks.shutdown().await;
            });
        })?;
        Ok(Self { stop, thread })
    }

    /// Accepts nothing more and closes the listeners. Who is in the backlog of an inherited socket
    /// stays there, for the next process.
    pub fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

async fn accept_all(listener: AsyncFd<Listener>, shared: Shared) {
    let mut short_of_resources = false;
    loop {
        shared.deck.wait_for_room(|| shared.paused("limits.connections is reached".into())).await;
        let Ok(mut ready) = listener.readable().await else { return };
        match ready.try_io(|listener| listener.get_ref().accept()) {
            Ok(Ok(socket)) => {
                if std::mem::take(&mut short_of_resources) {
                    shared.log.send(Event::AcceptResumed);
                }
                shared.stats.accepted.add(1);
                shared.deck.deal_new(Parked { socket, unread: bytes::Bytes::new() });
            }
            Ok(Err(error)) if is_shortage(&error) => {
                if !std::mem::replace(&mut short_of_resources, true) {
                    shared.paused(format!("{}: {error}", listener.get_ref()));
                }
                sleep(Duration::from_millis(100)).await;
            }
            // The client has gone before it was accepted, or nobody waits any more.
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

impl Shared {
    fn paused(&self, reason: String) {
        self.stats.pauses.add(1);
        self.log.send(Event::AcceptPaused { reason });
    }
}

/// Descriptors or memory have run out (accept(2)); trying at once would only burn CPU time.
fn is_shortage(error: &io::Error) -> bool {
    use nix::errno::Errno;

    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM))
}
