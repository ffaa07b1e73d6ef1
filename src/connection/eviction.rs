//! Which connection is closed when another client comes at the connection limit, or when descriptors run
//! out: of the peer that holds most connections, the one that is idle longest, else the one whose request
//! has been incomplete longest. A connection whose request is complete is never chosen.
//!
//! All workers share one [`EvictionQueue`]. Its lock is taken when a connection begins, ends, or is chosen,
//! and never by a request on the fast path: there a connection only publishes since when it is idle, with one
//! atomic store. So the queue may have filed a connection too early, but never too late, and corrects that
//! when such an entry comes to the front. A correction needs a request since the last one, so an eviction
//! costs O(log n) on average, however many connections there are.

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

/// A client, as far as the connection limit tells clients apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// Everything that connects to a Unix socket.
    Unix,
    V4(Ipv4Addr),
    /// The first 64 bits of an IPv6 address: one client usually has all addresses below them (RFC 6177).
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

/// What a connection waits for, and since when, in the order in which connections give way: a kind in the
/// two highest bits, nanoseconds below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Standing(u64);

impl Standing {
    const KIND: u32 = 62;
    /// A request is complete and its response not yet sent, or the connection is about to end.
    pub const BUSY: Self = Self(2 << Self::KIND);

    fn new(kind: u64, nanos: u64) -> Self {
        Self(kind << Self::KIND | nanos & (u64::MAX >> 2))
    }
}

/// What a connection and the queue share.
#[derive(Debug)]
struct Seat {
    /// As the connection's own thread last published it.
    standing: AtomicU64,
    /// Where the queue has filed it; written under the queue's lock only. Never later than `standing`,
    /// except while [`EvictionQueue::move_forward`] is on its way.
    filed: AtomicU64,
}

/// The place of one connection in the queue. It belongs to the connection's thread and leaves the queue
/// when it is dropped.
#[derive(Debug)]
pub struct EvictionEntry {
    queue: Arc<EvictionQueue>,
    key: usize,
    seat: Arc<Seat>,
}

impl EvictionEntry {
    /// An idle connection since `since`.
    pub fn idle(&self, since: Instant) -> Standing {
        Standing::new(0, self.queue.nanos(since))
    }

    /// An incomplete request that began at `begun`.
    pub fn incomplete(&self, begun: Instant) -> Standing {
        Standing::new(1, self.queue.nanos(begun))
    }

    /// Publishes a new standing.
    pub fn publish(&self, standing: Standing) {
        // Both sequentially consistent, as in `Inner::settle`: either this sees what the queue has filed, or
        // the queue sees this.
        self.seat.standing.store(standing.0, SeqCst);
        if self.seat.filed.load(SeqCst) > standing.0 {
            self.queue.move_forward(self.key);
        }
    }

    /// Publishes that a connection which has been idle is idle since later.
    pub fn publish_later(&self, standing: Standing) {
        self.seat.standing.store(standing.0, Relaxed);
    }

    /// Notes which worker serves the connection from now on, and under which number. Returns whether the queue
    /// has chosen it on its way there; from now on it notifies the worker.
    pub fn attach(&self, worker: usize, id: usize) -> bool {
        let connection = &mut self.queue.lock().connections[self.key];
        connection.owner = Some((worker, id));
        connection.state == State::Chosen
    }

    /// Whether the queue has chosen this connection to give way.
    pub fn is_chosen(&self) -> bool {
        self.queue.lock().connections[self.key].state == State::Chosen
    }
}

impl Drop for EvictionEntry {
    fn drop(&mut self) {
        self.queue.lock().leave(self.key);
    }
}

/// Whose connection was chosen, and how many connections that peer had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evicted {
    /// The peer that held most connections.
    pub peer: Peer,
    /// Its connections, with the one that was chosen.
    pub held: usize,
}

/// The connections of all workers, in the order in which they give way.
pub struct EvictionQueue {
    epoch: Instant,
    inner: Mutex<Inner>,
}

/// Has a worker close one of its connections, by its number in the worker's registry.
type Notify = Box<dyn Fn(usize) + Send>;

#[derive(Default)]
struct Inner {
    workers: Slab<Notify>,
    connections: Slab<Connection>,
    /// Connections that came since the last eviction. Below the limit, none is ever filed: that is dearer
    /// than everything else about a short connection.
    unfiled: Vec<usize>,
    /// The filed connections of each peer, those first that give way first.
    peers: HashMap<Peer, Filed>,
    /// Peers in the order in which they lose connections.
    order: BTreeSet<Rank>,
}

/// Standings and keys.
type Filed = BTreeSet<(u64, usize)>;

struct Connection {
    peer: Peer,
    seat: Arc<Seat>,
    /// The worker that serves it, and its number there.
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

/// The order of peers: first those with a connection that may be closed, the most connections first; among
/// equals, as the first connection of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_busy: bool,
    count: Reverse<usize>,
    first: u64,
    peer: Peer,
}

impl Rank {
    /// `None` for a peer without connections.
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
    /// Adds a worker; `notify` is called, under the lock, with the registry's number of a chosen connection.
    pub fn add_worker(&self, notify: impl Fn(usize) + Send + 'static) -> usize {
        self.lock().workers.insert(Box::new(notify))
    }

    /// Removes a worker, whose connections have all ended.
    pub fn remove_worker(&self, worker: usize) {
        self.lock().workers.try_remove(worker);
    }

    /// Adds an idle connection, which counts for its peer from now on.
    pub fn add(self: &Arc<Self>, peer: Peer, now: Instant) -> EvictionEntry {
        let standing = Standing::new(0, self.nanos(now)).0;
        let seat = Arc::new(Seat { standing: AtomicU64::new(standing), filed: AtomicU64::new(0) });
        let mut inner = self.lock();
        let state = State::Unfiled(inner.unfiled.len());
        let key = inner.connections.insert(Connection { peer, seat: seat.clone(), owner: None, state });
        inner.unfiled.push(key);
        drop(inner);
        EvictionEntry { queue: self.clone(), key, seat }
    }

    /// Chooses a connection and notifies its worker; `None` when every request is complete.
    pub fn evict(&self) -> Option<Evicted> {
        self.lock().evict()
    }

    /// Files a connection again that gives way earlier than it is filed.
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
            if chosen.seat.standing.load(SeqCst) != filed {
                self.refile(key);
                continue;
            }
            chosen.state = State::Chosen;
            chosen.seat.filed.store(0, SeqCst);
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

    /// Files the connections that came since the last time.
    fn file_all(&mut self) {
        let mut unfiled = std::mem::take(&mut self.unfiled);
        unfiled.sort_unstable_by_key(|key| self.connections[*key].peer);
        // One after the other for each peer, because to move a peer takes longer than to file a connection.
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
        settle(&connection.seat)
    }

    fn refile(&mut self, key: usize) {
        let Some(connection) = self.connections.get(key).filter(|it| it.state == State::Filed) else {
            return;
        };
        let before = connection.seat.filed.load(Relaxed);
        let now = settle(&connection.seat);
        if now != before {
            let peer = connection.peer;
            self.change(peer, |filed| {
                filed.remove(&(before, key));
                filed.insert((now, key));
            });
        }
    }

    fn leave(&mut self, key: usize) {
        let Connection { peer, seat, state, .. } = self.connections.remove(key);
        match state {
            State::Unfiled(at) => {
                self.unfiled.swap_remove(at);
                if let Some(moved) = self.unfiled.get(at) {
                    self.connections[*moved].state = State::Unfiled(at);
                }
            }
            State::Filed => self.change(peer, |filed| {
                filed.remove(&(seat.filed.load(Relaxed), key));
            }),
            State::Chosen => {}
        }
    }

    /// Changes the filed connections of a peer, and puts the peer where it belongs then.
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

/// Takes over as filed what the connection has published.
fn settle(seat: &Seat) -> u64 {
    loop {
        let standing = seat.standing.load(SeqCst);
        seat.filed.store(standing, SeqCst);
        // An earlier one may have been published meanwhile, by a thread that saw what was filed before.
        if seat.standing.load(SeqCst) >= standing {
            return standing;
        }
    }
}

#[cfg(test)]
mod tests;
