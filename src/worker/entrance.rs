use std::{
    io,
    os::fd::AsFd,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use futures_util::future::{join_all, pending};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use tokio::{
    io::unix::AsyncFd,
    runtime,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{sleep, timeout},
};

use super::deck::Deck;
use crate::{
    log::{Event, Log},
    net::{Address, Listener, Socket},
    stats::Memory,
    sys,
};

/// The thread that accepts connections and deals them to the workers.
#[derive(Debug)]
pub struct Acceptor {
    orders: UnboundedSender<Change>,
    thread: thread::JoinHandle<()>,
}

/// Other listeners than before.
#[derive(Debug)]
struct Change {
    added: Vec<Listener>,
    /// The addresses of all that are to be there afterwards.
    wanted: Vec<Address>,
    done: std::sync::mpsc::SyncSender<io::Result<()>>,
}

/// What the tasks of the listeners share.
struct Shared {
    deck: Arc<Deck>,
    memory: Arc<Memory>,
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
        memory: Arc<Memory>,
        log: Log,
    ) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (orders, mut received) = unbounded_channel();
        let mut listeners = {
            let _guard = runtime.enter();
            watch(listeners)?
        };
        let shared = Shared { deck, memory, log };
        let thread = thread::Builder::new().name("pixeld-accept".into()).spawn(move || {
            runtime.block_on(async {
                while let Some(change) = accept_until_ordered(&listeners, &mut received, &shared).await {
                    // Whoever asked for it waits for this.
                    let _ = change.done.send(make(change.added, &change.wanted, &mut listeners, &shared));
                }
            });
            for listener in &listeners {
                accept_the_rest(listener.get_ref(), &shared);
            }
        })?;
        Ok(Self { orders, thread })
    }

    /// Accepts nothing more and closes the listeners. Who is in the backlog of an inherited socket
    /// stays there, for the next process.
    pub fn stop(self) {
        drop(self.orders);
        // A panic was told by the hook.
        let _ = self.thread.join();
    }

    /// Accepts on these, too, and then no more on those whose addresses are not wanted.
    ///
    /// # Errors
    /// When epoll takes no more descriptors; then nothing has changed.
    pub fn change(&self, added: Vec<Listener>, wanted: Vec<Address>) -> io::Result<()> {
        let (done, is_done) = std::sync::mpsc::sync_channel(1);
        let gone = || io::Error::other("the thread that accepts connections is gone");
        self.orders.send(Change { added, wanted, done }).map_err(|_| gone())?;
        is_done.recv().map_err(|_| gone())?
    }
}

/// Accepts until there is an order, or nobody who could give one.
async fn accept_until_ordered(
    listeners: &[AsyncFd<Listener>],
    orders: &mut UnboundedReceiver<Change>,
    shared: &Shared,
) -> Option<Change> {
    let accepting = async {
        join_all(listeners.iter().map(|listener| accept_all(listener, shared))).await;
        pending().await
    };
    tokio::select! {
        order = orders.recv() => order,
        order = accepting => order,
    }
}

fn make(
    added: Vec<Listener>,
    wanted: &[Address],
    listeners: &mut Vec<AsyncFd<Listener>>,
    shared: &Shared,
) -> io::Result<()> {
    listeners.extend(watch(added)?);
    for old in listeners.extract_if(.., |listener| !wanted.contains(listener.get_ref().address())) {
        accept_the_rest(old.get_ref(), shared);
    }
    Ok(())
}

fn watch(listeners: Vec<Listener>) -> io::Result<Vec<AsyncFd<Listener>>> {
    listeners.into_iter().map(sys::watch).collect()
}

async fn accept_all(listener: &AsyncFd<Listener>, shared: &Shared) {
    let mut shortage = Shortage::default();
    loop {
        let Ok(mut ready) = listener.readable().await else { return };
        if shared.deck.is_full() && somebody_waits(listener.get_ref()) {
            shared.make_room(&mut shortage).await;
        }
        match ready.try_io(|listener| listener.get_ref().accept()) {
            Ok(Ok(socket)) => {
                if shortage.ends() {
                    shared.log.send(Event::AcceptResumed);
                }
                shared.take(socket);
            }
            Ok(Err(error)) if is_shortage(&error) => {
                shared.pause(&mut shortage, || format!("{}: {error}", listener.get_ref()));
                shared.make_do(&mut shortage).await;
            }
            // The client has gone before it was accepted, or nobody waits any more.
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

/// Whether descriptors, memory or connections are short. They may be so again and again, whenever a
/// few have been given back; each time is counted, and told only now and then.
#[derive(Debug, Default)]
struct Shortage {
    is_on: bool,
    told: Option<Instant>,
    is_told: bool,
    told_evicting: Option<Instant>,
}

impl Shortage {
    const NOW_AND_THEN: Duration = Duration::from_secs(10);

    /// Whether to tell that one has begun.
    fn is_to_be_told(&mut self) -> bool {
        self.is_told = self.told.is_none_or(|told| told.elapsed() > Self::NOW_AND_THEN);
        if self.is_told {
            self.told = Some(Instant::now());
        }
        self.is_told
    }

    /// Somebody is sent away for somebody else; says whether to tell.
    fn evicts(&mut self) -> bool {
        let is_due = self.told_evicting.is_none_or(|told| told.elapsed() > Self::NOW_AND_THEN);
        if is_due {
            self.told_evicting = Some(Instant::now());
        }
        is_due
    }

    /// Nothing is short any more; says whether to tell.
    fn ends(&mut self) -> bool {
        self.is_on = false;
        std::mem::take(&mut self.is_told)
    }
}

/// Nobody else will accept those who are in the backlog of a socket of our own. That of an inherited
/// one is for the next process.
fn accept_the_rest(listener: &Listener, shared: &Shared) {
    /// As many as a backlog holds (net.core.somaxconn); others may come meanwhile, without end.
    const MOST: usize = 4096;

    let waiting = std::iter::from_fn(|| listener.is_own().then(|| listener.accept().ok()).flatten());
    for socket in waiting.take(MOST) {
        shared.take(socket);
    }
}

/// How long to wait before something is tried again that did not work.
const SHORTLY: Duration = Duration::from_millis(100);

/// epoll only tells when somebody comes, not whether somebody is still there.
fn somebody_waits(listener: &Listener) -> bool {
    let mut poll = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    nix::poll::poll(&mut poll, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

impl Shared {
    fn take(&self, socket: Socket) {
        self.memory.accept.accepted.add(1);
        self.deck.deal(socket.into());
    }

    /// At the limit: closes what is idle longest. While nothing is idle, the backlog holds.
    async fn make_room(&self, shortage: &mut Shortage) {
        /// A connection that was asked to close may have a last request to answer.
        const EVICTION: Duration = Duration::from_secs(1);

        while self.deck.is_full() {
            // More than one where the limit was lowered.
            let surplus = (self.deck.open() + 1).saturating_sub(self.deck.limit());
            let mut evicted = 0;
            while evicted < surplus && self.deck.close_longest_idle().await {
                self.count_evicted(shortage);
                evicted += 1;
            }
            if evicted > 0 {
                // Something else may have closed before that, so what counts is that there is room.
                while self.deck.is_full() && timeout(EVICTION, self.deck.room()).await.is_ok() {}
                continue;
            }
            let reached =
                if self.deck.is_short_of_files() { "the limit of open files" } else { "limits.connections" };
            self.pause(shortage, || format!("{reached} is reached, and no connection is idle"));
            // Something may become idle without anything being closed.
            let _ = timeout(SHORTLY, self.deck.room()).await;
        }
    }

    /// Something is short before the limit: that may have to be lower, for somebody may have lowered the
    /// one of open files. Where it is not, whoever is idle makes room, until better times come.
    async fn make_do(&self, shortage: &mut Shortage) {
        if let Some(event) = self.deck.refit() {
            self.log.send(event);
        }
        if !self.deck.is_full() {
            if self.deck.close_longest_idle().await {
                self.count_evicted(shortage);
            }
            sleep(SHORTLY).await;
        }
    }

    fn count_evicted(&self, shortage: &mut Shortage) {
        if shortage.evicts() {
            let is_short_of_files = self.deck.is_short_of_files();
            self.log.send(Event::LimitReached { limit: self.deck.limit(), is_short_of_files });
        }
        self.memory.accept.evicted.add(1);
    }

    /// Counts each pause once, however often it is tried again meanwhile.
    fn pause(&self, shortage: &mut Shortage, reason: impl FnOnce() -> String) {
        if !std::mem::replace(&mut shortage.is_on, true) {
            self.memory.accept.pauses.add(1);
            if shortage.is_to_be_told() {
                self.log.send(Event::AcceptPaused { reason: reason() });
            }
        }
    }
}

/// Descriptors or memory have run out (accept(2)); trying at once would only burn CPU time.
fn is_shortage(error: &io::Error) -> bool {
    use nix::errno::Errno;

    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Level, Sink};

    #[test]
    fn each_pause_is_counted_once_and_few_are_told() {
        let (lines, told) = std::sync::mpsc::channel();
        let log =
            Log::start(Sink::function(move |event| drop(lines.send(event.clone()))), Level::Info).unwrap();
        let memory = Arc::new(Memory::create(0).unwrap());
        let shared = Shared { deck: Arc::default(), memory, log };
        let mut shortage = Shortage::default();
        for _ in 0..3 {
            shared.pause(&mut shortage, || "none left".into());
            shared.pause(&mut shortage, || "still none left".into());
            shortage.ends();
        }
        assert_eq!(shared.memory.accept.pauses.get(), 3);
        shared.log.flush(Duration::from_secs(10));
        assert!(matches!(told.try_iter().collect::<Vec<_>>()[..], [Event::AcceptPaused { .. }]));
    }
}
