//! The order of eviction: which connection is closed if a client connects at the connection limit, or if
//! descriptors run out. Of the peer with most connections, it is the one that has been idle longest, else the one
//! whose request has been incomplete longest. A connection whose request is complete is never chosen.
//!
//! All workers share one [`EvictionQueue`]. Its lock is taken when a connection begins, ends, or is chosen. A
//! request on the fast path takes no lock: it publishes the time of its response with one atomic store. Therefore
//! the queue may have filed a connection too early, but never too late. If such a connection comes to the front, the
//! queue files it again. That happens at most once for each request, so an eviction takes O(log n) amortized time.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
    },
};

use slab::Slab;
use tokio::time::Instant;

/// A client, as far as eviction distinguishes clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// All clients of a Unix socket.
    Unix,
    V4(Ipv4Addr),
    /// The first 64 bits of an IPv6 address. One client usually has all addresses of that prefix (RFC 6177).
    V6([u8; 8]),
}

impl From<Option<SocketAddr>> for Peer {
    fn from(address: Option<SocketAddr>) -> Self {
        match address.map(|address| address.ip().to_canonical()) {
            None => Self::Unix,
            Some(IpAddr::V4(address)) => Self::V4(address),
            Some(IpAddr::V6(address)) => {
                let mut prefix = [0; 8];
                prefix.copy_from_slice(&address.octets()[..8]);
                Self::V6(prefix)
            }
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix => f.write_str("unix"),
            Self::V4(address) => address.fmt(f),
            Self::V6(prefix) => {
                let mut octets = [0; 16];
                octets[..8].copy_from_slice(prefix);
                write!(f, "{}/64", Ipv6Addr::from(octets))
            }
        }
    }
}

/// The place of a connection in the order of eviction, the lowest first. The two highest bits are 0 for an idle
/// connection, 1 for an incomplete request, and 2 for a busy connection. The others say since when, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Standing(u64);

impl Standing {
    const KIND_SHIFT: u32 = 62;
    /// The request is complete and the response not sent, or the connection is about to end.
    pub const BUSY: Self = Self(2 << Self::KIND_SHIFT);

    fn new(kind: u64, nanos: u64) -> Self {
        Self(kind << Self::KIND_SHIFT | nanos & (u64::MAX >> 2))
    }
}

/// The standing of a connection, shared by its thread and the queue.
#[derive(Debug)]
struct SharedStanding {
    /// The standing that the thread of the connection published last.
    published: AtomicU64,
    /// The standing under which the queue has filed it. Written only under the queue's lock. Never later than
    /// `published`, except until [`EvictionQueue::move_forward`] has finished.
    filed: AtomicU64,
}

/// The entry of a connection in the queue. Removed when dropped.
#[derive(Debug)]
pub struct EvictionEntry {
    queue: Arc<EvictionQueue>,
    key: usize,
    standing: Arc<SharedStanding>,
}

impl EvictionEntry {
    /// Returns the standing of a connection that has been idle since `since`.
    pub fn idle(&self, since: Instant) -> Standing {
        Standing::new(0, self.queue.nanos(since))
    }

    /// Returns the standing of a connection whose incomplete request began at `begun`.
    pub fn incomplete(&self, begun: Instant) -> Standing {
        Standing::new(1, self.queue.nanos(begun))
    }

    /// Publishes a new standing, which may be lower than the previous one.
    pub fn publish(&self, standing: Standing) {
        // Store and load are sequentially consistent, as in `file_published`: either this thread sees the filed
        // standing, or the queue sees the published one.
        self.standing.published.store(standing.0, SeqCst);
        if self.standing.filed.load(SeqCst) > standing.0 {
            self.queue.move_forward(self.key);
        }
    }

    /// Publishes a standing that is higher than the previous one.
    pub fn publish_later(&self, standing: Standing) {
        self.standing.published.store(standing.0, Relaxed);
    }

    /// Sets the worker that serves the connection, and its number there. Returns whether the queue has chosen the
    /// connection already, before it had a worker to notify.
    pub fn attach(&self, worker: usize, id: usize) -> bool {
        let connection = &mut self.queue.lock().connections[self.key];
        connection.owner = Some((worker, id));
        connection.state == State::Chosen
    }

    pub fn is_chosen(&self) -> bool {
        self.queue.lock().connections[self.key].state == State::Chosen
    }
}

impl Drop for EvictionEntry {
    fn drop(&mut self) {
        self.queue.lock().remove(self.key);
    }
}

/// An eviction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evicted {
    /// The peer that held most connections.
    pub peer: Peer,
    /// The number of its connections, including the chosen one.
    pub held: usize,
}

/// The connections of all workers in the order of eviction.
pub struct EvictionQueue {
    epoch: Instant,
    inner: Mutex<Inner>,
}

/// Asks a worker to close one of its connections, by its number in the registry.
type Notify = Box<dyn Fn(usize) + Send>;

#[derive(Default)]
struct Inner {
    workers: Slab<Notify>,
    connections: Slab<Connection>,
    /// The connections that were added since the last eviction. They are filed only for an eviction, because filing
    /// costs more than all other work on a short connection.
    unfiled: Vec<usize>,
    /// The filed connections of each peer, in the order of eviction.
    peers: HashMap<Peer, Filed>,
    /// The peers, in the order in which they lose connections.
    order: BTreeSet<Rank>,
}

/// Standings and keys.
type Filed = BTreeSet<(u64, usize)>;

struct Connection {
    peer: Peer,
    standing: Arc<SharedStanding>,
    /// The worker that serves it, and its number in that worker's registry.
    owner: Option<(usize, usize)>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At this index of `unfiled`.
    Unfiled(usize),
    Filed,
    /// Its worker closes it. It no longer counts for its peer.
    Chosen,
}

/// The order of peers. Peers with a connection that may be closed come first, and of those the ones with most
/// connections. Among equals, the first peer is that with the lowest standing of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_busy: bool,
    count: Reverse<usize>,
    first: u64,
    peer: Peer,
}

impl Rank {
    /// Returns `None` for a peer without filed connections.
    fn of(peer: Peer, filed: &Filed) -> Option<Self> {
        let (first, _) = *filed.first()?;
        Some(Self { is_busy: first >= Standing::BUSY.0, count: Reverse(filed.len()), first, peer })
    }
}

impl Default for EvictionQueue {
    fn default() -> Self {
        Self { epoch: Instant::now(), inner: Mutex::default() }
    }
}

impl fmt::Debug for EvictionQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvictionQueue").finish_non_exhaustive()
    }
}

impl EvictionQueue {
    /// Adds a worker. `notify` is called under the lock with the number of a chosen connection.
    pub fn add_worker(&self, notify: impl Fn(usize) + Send + 'static) -> usize {
        self.lock().workers.insert(Box::new(notify))
    }

    /// Removes a worker. All its connections have ended.
    pub fn remove_worker(&self, worker: usize) {
        self.lock().workers.try_remove(worker);
    }

    /// Adds an idle connection. It counts for its peer at once.
    pub fn add(self: &Arc<Self>, peer: Peer, now: Instant) -> EvictionEntry {
        let standing = Standing::new(0, self.nanos(now)).0;
        let standing = SharedStanding { published: AtomicU64::new(standing), filed: AtomicU64::new(0) };
        let standing = Arc::new(standing);
        let mut inner = self.lock();
        let state = State::Unfiled(inner.unfiled.len());
        let key =
            inner.connections.insert(Connection { peer, standing: standing.clone(), owner: None, state });
        inner.unfiled.push(key);
        drop(inner);
        EvictionEntry { queue: self.clone(), key, standing }
    }

    /// Chooses a connection and notifies its worker. Returns `None` if all connections are busy.
    pub fn evict(&self) -> Option<Evicted> {
        self.lock().evict()
    }

    /// Files a connection again that has published a standing lower than the filed one.
    #[cold]
    fn move_forward(&self, key: usize) {
        self.lock().refile(key);
    }

    fn nanos(&self, time: Instant) -> u64 {
        let since = time.duration_since(self.epoch);
        since.as_secs() * 1_000_000_000 + u64::from(since.subsec_nanos())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn evict(&mut self) -> Option<Evicted> {
        self.file_all();
        loop {
            let Rank { peer, count: Reverse(held), .. } = *self.order.first().filter(|rank| !rank.is_busy)?;
            let (filed, key) = *self.peers.get(&peer)?.first()?;
            let chosen = &mut self.connections[key];
            if chosen.standing.published.load(SeqCst) != filed {
                self.refile(key);
                continue;
            }
            chosen.state = State::Chosen;
            // No standing is lower, so the connection no longer asks to be filed again.
            chosen.standing.filed.store(0, SeqCst);
            if let Some((worker, id)) = chosen.owner
                && let Some(notify) = self.workers.get(worker)
            {
                notify(id);
            }
            self.change(peer, |of_peer| {
                of_peer.remove(&(filed, key));
            });
            return Some(Evicted { peer, held });
        }
    }

    /// Files the connections that were added since the last eviction.
    fn file_all(&mut self) {
        let mut unfiled = std::mem::take(&mut self.unfiled);
        unfiled.sort_unstable_by_key(|key| self.connections[*key].peer);
        // Grouped by peer, because moving a peer takes longer than filing a connection.
        while let Some(last) = unfiled.last() {
            let peer = self.connections[*last].peer;
            let begin = unfiled.partition_point(|key| self.connections[*key].peer < peer);
            let keys = unfiled.drain(begin..);
            let filed: Vec<_> = keys.map(|key| (self.file(key), key)).collect();
            self.change(peer, |of_peer| of_peer.extend(filed));
        }
        self.unfiled = unfiled;
    }

    fn file(&mut self, key: usize) -> u64 {
        let connection = &mut self.connections[key];
        connection.state = State::Filed;
        file_published(&connection.standing)
    }

    fn refile(&mut self, key: usize) {
        let Some(connection) = self.connections.get(key).filter(|it| it.state == State::Filed) else {
            return;
        };
        let before = connection.standing.filed.load(Relaxed);
        let now = file_published(&connection.standing);
        if now != before {
            let peer = connection.peer;
            self.change(peer, |filed| {
                filed.remove(&(before, key));
                filed.insert((now, key));
            });
        }
    }

    fn remove(&mut self, key: usize) {
        let Connection { peer, standing, state, .. } = self.connections.remove(key);
        match state {
            State::Unfiled(at) => {
                self.unfiled.swap_remove(at);
                if let Some(moved) = self.unfiled.get(at) {
                    self.connections[*moved].state = State::Unfiled(at);
                }
            }
            State::Filed => self.change(peer, |filed| {
                filed.remove(&(standing.filed.load(Relaxed), key));
            }),
            State::Chosen => {}
        }
    }

    /// Changes the filed connections of a peer, and moves the peer in the order.
    fn change(&mut self, peer: Peer, change: impl FnOnce(&mut Filed)) {
        let filed = self.peers.entry(peer).or_default();
        if let Some(rank) = Rank::of(peer, filed) {
            self.order.remove(&rank);
        }
        change(filed);
        match Rank::of(peer, filed) {
            Some(rank) => drop(self.order.insert(rank)),
            None => drop(self.peers.remove(&peer)),
        }
    }
}

/// Makes the published standing the filed one, and returns it.
fn file_published(shared: &SharedStanding) -> u64 {
    loop {
        let standing = shared.published.load(SeqCst);
        shared.filed.store(standing, SeqCst);
        // Meanwhile a thread that saw the previous filed standing may have published a lower one.
        if shared.published.load(SeqCst) >= standing {
            return standing;
        }
    }
}

#[cfg(test)]
mod tests;
