use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use tokio::{
    sync::{Notify, mpsc::UnboundedSender},
    time::Instant,
};

use super::thread::Order;
use crate::{
    http::{Evicted, EvictionQueue, Parked},
    log::Event,
    net::Files,
    stats::WorkerStats,
};

/// Deals connections, so that each worker has its share.
#[derive(Debug, Default)]
pub struct Deck {
    hands: Mutex<Hands>,
    open: AtomicUsize,
    /// As configured.
    wanted: AtomicUsize,
    /// What holds: as configured, or as many as there are descriptors for.
    limit: AtomicUsize,
    moved: AtomicU64,
    cut: AtomicU64,
    room: Notify,
    evictions: Arc<EvictionQueue>,
}

#[derive(Debug, Default)]
struct Hands {
    workers: Vec<Hand>,
    /// Among equals it goes round.
    next: usize,
    /// Where everything goes when the daemon hands its connections over to the next process.
    outlet: Option<UnboundedSender<Parked>>,
}

/// A worker as the dealer sees it.
#[derive(Debug, Clone)]
pub struct Hand {
    pub number: usize,
    pub orders: UnboundedSender<Order>,
    pub stats: Arc<WorkerStats>,
}

/// Where a connection went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dealt {
    /// To another worker.
    ToWorker,
    /// To whoever keeps it for the next process.
    ToHeir,
    /// Nowhere: it is closed.
    Closed,
}

impl Deck {
    /// Connections of all workers together.
    pub fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// From the next [`Self::refit`] on so many connections may be open.
    pub fn set_limit(&self, wanted: usize) {
        self.wanted.store(wanted, Relaxed);
    }

    /// Lets as many connections be open as are wanted, or as there are descriptors for by now. Returns
    /// what to tell, when that has become too few.
    pub fn refit(&self) -> Option<Event> {
        let (files, wanted) = (Files::allowed(), self.wanted.load(Relaxed));
        let room = files.connections(self.hands().workers.len());
        let before = self.limit.swap(wanted.min(room), Relaxed);
        self.room.notify_one();
        let is_news = room < wanted && room != before;
        is_news.then(|| Event::FdLimitTooLow { files: files.number(), limit: room, wanted })
    }

    /// Whether it is descriptors that limit the connections, and not the configuration.
    pub fn is_short_of_files(&self) -> bool {
        self.limit() < self.wanted.load(Relaxed)
    }

    /// Whether as many connections are open as may be.
    pub fn is_full(&self) -> bool {
        self.open() >= self.limit.load(Relaxed)
    }

    /// Waits until a connection has closed at the limit, or the limit has changed.
    pub async fn room(&self) {
        self.room.notified().await;
    }

    /// Wakes another listener that waits for room, if there is more: the connections that closed first have
    /// woken only one.
    pub fn pass_on_room(&self) {
        if !self.is_full() {
            self.room.notify_one();
        }
    }

    /// The order in which connections give way at the limit.
    pub fn evictions(&self) -> Arc<EvictionQueue> {
        self.evictions.clone()
    }

    /// Has a connection closed for another one: the idle longest, else the incomplete longest, of the peer
    /// that holds most. `None` if every request is complete. It waits for no worker.
    pub fn evict(&self) -> Option<Evicted> {
        self.evictions.evict()
    }

    /// Gives a connection to the worker that has the fewest. Where no worker is left it is closed.
    pub fn deal(&self, connection: Parked) -> Dealt {
        self.deal_to(Hands::fewest, connection)
    }

    /// Gives a connection to the worker that has the fewest; among equals to the one that has accepted
    /// it, for to wake another one costs nearly as much as everything else about a new connection.
    pub fn deal_from(&self, worker: usize, connection: Parked) {
        self.deal_to(|hands| hands.fewest_or(worker), connection);
    }

    fn deal_to(&self, choose: impl Fn(&mut Hands) -> Option<usize>, mut connection: Parked) -> Dealt {
        self.open.fetch_add(1, Relaxed);
        let mut hands = self.hands();
        if let Some(outlet) = &hands.outlet {
            let sent = outlet.send(connection);
            self.closed();
            // One that nobody takes any more is closed.
            return if sent.is_ok() { Dealt::ToHeir } else { Dealt::Closed };
        }
        // It counts for its peer at once, however long its worker takes to serve it.
        connection.place = Some(self.evictions.add(connection.peer.into(), Instant::now()));
        let mut order = Order::Serve(connection);
        while let Some(i) = choose(&mut hands) {
            let hand = &hands.workers[i];
            hand.stats.dealt();
            match hand.orders.send(order) {
                Ok(()) => return Dealt::ToWorker,
                Err(returned) => {
                    // That worker's thread is gone; it is not asked again.
                    hands.workers.remove(i);
                    order = returned.0;
                }
            }
        }
        self.closed();
        Dealt::Closed
    }

    /// Gives a connection that one worker gave away to another one, or keeps it for the next process.
    pub fn deal_on(&self, connection: Parked) -> Dealt {
        let dealt = self.deal(connection);
        if dealt == Dealt::ToWorker {
            self.moved.fetch_add(1, Relaxed);
        }
        dealt
    }

    /// From now on every connection goes there.
    pub fn set_outlet(&self, outlet: UnboundedSender<Parked>) {
        self.hands().outlet = Some(outlet);
    }

    /// Connections that went from one worker to another.
    pub fn moved(&self) -> u64 {
        self.moved.load(Relaxed)
    }

    /// So many connections were closed with an incomplete request or response because the daemon stops.
    pub fn cut(&self, connections: usize) {
        self.cut.fetch_add(connections as u64, Relaxed);
    }

    /// Connections that were closed with an incomplete request or response because the daemon stops.
    pub fn cut_off(&self) -> u64 {
        self.cut.load(Relaxed)
    }

    /// Connections that may be open.
    pub fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    /// A connection is closed for good.
    pub fn closed(&self) {
        let before = self.open.fetch_sub(1, Relaxed);
        if before >= self.limit.load(Relaxed) {
            self.room.notify_one();
        }
    }

    /// Deals to these workers from now on, and asks those that have more than their share to move
    /// the surplus; says how many connections that is.
    pub fn set_workers(&self, workers: Vec<Hand>) -> u64 {
        let mut hands = self.hands();
        let open: Vec<_> =
            workers.iter().map(|hand| usize::try_from(hand.stats.open()).unwrap_or(0)).collect();
        let total: usize = open.iter().sum();
        let mut surplus = 0;
        let (share, mut odd) = (total / workers.len().max(1), total % workers.len().max(1));
        for (hand, open) in workers.iter().zip(open) {
            let mut fair = share;
            if open > share && odd > 0 {
                odd -= 1;
                fair += 1;
            }
            if open > fair {
                // A worker that is gone has nothing to move.
                let _ = hand.orders.send(Order::MoveAway(open - fair));
                surplus += (open - fair) as u64;
            }
        }
        *hands = Hands { workers, next: 0, outlet: hands.outlet.take() };
        surplus
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hands {
    fn fewest(&mut self) -> Option<usize> {
        let count = self.workers.len();
        let i = (0..count)
            .map(|offset| (self.next + offset) % count)
            .min_by_key(|i| self.workers[*i].stats.open())?;
        self.next = (i + 1) % count;
        Some(i)
    }

    /// That worker, if no other has fewer.
    fn fewest_or(&mut self, worker: usize) -> Option<usize> {
        let fewest = self.fewest()?;
        let open = |i: usize| self.workers[i].stats.open();
        let own = self.workers.iter().position(|hand| hand.number == worker);
        Some(own.filter(|own| open(*own) == open(fewest)).unwrap_or(fewest))
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;
    use crate::stats::Memory;

    fn connection() -> Parked {
        let (fd, _) = std::os::unix::net::UnixStream::pair().unwrap();
        Parked::new(crate::net::Socket::adopt(fd.into()).unwrap(), None)
    }

    fn hands<const N: usize>() -> ([Hand; N], [UnboundedReceiver<Order>; N]) {
        let mut receivers = Vec::new();
        let memory = Arc::new(Memory::create(0).unwrap());
        let hands = std::array::from_fn(|i| {
            let (orders, receiver) = unbounded_channel();
            receivers.push(receiver);
            Hand { number: i + 1, orders, stats: Arc::new(WorkerStats::new(memory.clone(), i + 1)) }
        });
        (hands, receivers.try_into().unwrap())
    }

    fn counts(hands: &[Hand]) -> Vec<u64> {
        hands.iter().map(|hand| hand.stats.open()).collect()
    }

    #[test]
    fn connections_go_to_the_least_loaded() {
        let (hands, _receivers) = hands::<3>();
        let deck = Deck::default();
        deck.set_workers(hands.to_vec());
        for _ in 0..64 {
            deck.deal(connection());
        }
        let mut spread = counts(&hands);
        spread.sort_unstable();
        assert_eq!(spread, [21, 21, 22]);
        for _ in 0..10 {
            hands[1].stats.gone();
        }
        for _ in 0..10 {
            deck.deal(connection());
        }
        assert!(counts(&hands).iter().all(|n| (21..=22).contains(n)));
    }

    #[test]
    fn accepting_worker_keeps_its_share() {
        let (hands, _receivers) = hands::<3>();
        let deck = Deck::default();
        deck.set_workers(hands.to_vec());
        for _ in 0..6 {
            deck.deal_from(2, connection());
        }
        assert_eq!(counts(&hands), [2, 2, 2]);
        hands[1].stats.gone();
        deck.deal_from(2, connection());
        deck.deal_from(3, connection());
        assert_eq!(counts(&hands), [2, 2, 3]);
    }

    #[test]
    fn new_worker_gets_its_share() {
        let (hands, mut receivers) = hands::<3>();
        let deck = Deck::default();
        deck.set_workers(hands[..2].to_vec());
        for _ in 0..64 {
            deck.deal(connection());
        }
        deck.set_workers(hands.to_vec());
        let mut moved: Vec<_> = receivers[..2]
            .iter_mut()
            .filter_map(|orders| {
                std::iter::from_fn(|| orders.try_recv().ok()).find_map(|order| match order {
                    Order::MoveAway(count) => Some(count),
                    _ => None,
                })
            })
            .collect();
        moved.sort_unstable();
        assert_eq!(moved, [10, 11]);
    }

    #[test]
    fn exited_worker_is_skipped() {
        let (hands, receivers) = hands::<2>();
        let [first, second] = receivers;
        drop(first);
        let deck = Deck::default();
        deck.set_workers(hands.to_vec());
        for _ in 0..4 {
            deck.deal(connection());
        }
        assert_eq!((second.len(), deck.open()), (4, 4));
        drop(second);
        deck.deal(connection());
        assert_eq!(deck.open(), 4);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn capacity_is_awaited_at_the_limit() {
        let (hands, _receivers) = hands::<1>();
        let deck = Deck::default();
        deck.set_workers(hands.to_vec());
        deck.set_limit(1);
        deck.refit();
        assert!(!deck.is_full());
        deck.deal(connection());
        assert!(deck.is_full());
        tokio::join!(deck.room(), async { deck.closed() });
        assert!(!deck.is_full());
    }
}
