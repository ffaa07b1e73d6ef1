use std::{
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use proptest::prelude::*;

use super::*;

fn peer(address: &str) -> Peer {
    Some(SocketAddr::new(address.parse().unwrap(), 1)).into()
}

#[test]
fn addresses_below_one_64_bit_prefix_are_one_peer() {
    assert_eq!(peer("2001:db8:1:2::1"), peer("2001:db8:1:2:ffff::9"));
    assert_ne!(peer("2001:db8:1:2::1"), peer("2001:db8:1:3::1"));
    assert_eq!(peer("2001:db8:1:2:3:4:5:6").to_string(), "2001:db8:1:2::/64");
}

#[test]
fn ipv4_mapped_addresses_are_ipv4_peers() {
    assert_eq!(peer("::ffff:192.0.2.7"), peer("192.0.2.7"));
    assert_ne!(peer("::ffff:192.0.2.7"), peer("::ffff:192.0.2.8"));
    assert_eq!(peer("::ffff:192.0.2.7").to_string(), "192.0.2.7");
    assert_eq!(Peer::from(None), Peer::Unix);
}

struct Scene {
    queue: Arc<EvictionQueue>,
    worker: usize,
    chosen: Receiver<usize>,
    begun: Instant,
}

impl Scene {
    fn new() -> Self {
        let queue = Arc::<EvictionQueue>::default();
        let (notify, chosen) = channel();
        let worker = queue.add_worker(move |id| notify.send(id).unwrap());
        Self { queue, worker, chosen, begun: Instant::now() }
    }

    fn at(&self, second: u64) -> Instant {
        self.begun + Duration::from_secs(second)
    }

    fn add(&self, id: usize, peer: Peer, second: u64) -> EvictionEntry {
        let entry = self.queue.add(peer, self.at(second));
        assert!(!entry.attach(self.worker, id));
        entry
    }

    fn evict(&self) -> Option<(usize, usize)> {
        let evicted = self.queue.evict();
        let chosen = self.chosen.try_recv().ok();
        assert_eq!(evicted.is_some(), chosen.is_some());
        Some((chosen?, evicted?.held))
    }
}

#[test]
fn a_connection_chosen_on_its_way_to_a_worker_learns_it_there() {
    let scene = Scene::new();
    let entry = scene.queue.add(Peer::Unix, scene.at(0));
    assert_eq!(scene.queue.evict(), Some(Evicted { peer: Peer::Unix, held: 1 }));
    assert!(scene.chosen.try_recv().is_err(), "no worker has it");
    assert!(entry.attach(scene.worker, 7));
}

#[test]
fn the_peer_with_most_connections_loses_one() {
    let scene = Scene::new();
    let (many, few) = (peer("192.0.2.1"), peer("192.0.2.2"));
    let _few = [scene.add(0, few, 1), scene.add(1, few, 2)];
    let many = [scene.add(2, many, 4), scene.add(3, many, 3), scene.add(4, many, 5)];
    assert_eq!(scene.evict(), Some((3, 3)));
    // Both have two now, so the longest idle of all goes.
    assert_eq!(scene.evict(), Some((0, 2)));
    assert_eq!(scene.evict(), Some((2, 2)));
    drop(many);
    assert_eq!(scene.evict(), Some((1, 1)));
    assert_eq!(scene.evict(), None);
}

#[test]
fn among_equal_peers_idle_goes_before_incomplete() {
    let scene = Scene::new();
    let (incomplete, idle) = (scene.add(0, peer("192.0.2.1"), 0), scene.add(1, peer("192.0.2.2"), 1));
    incomplete.publish(incomplete.incomplete(scene.at(0)));
    assert_eq!(scene.evict(), Some((1, 1)));
    assert_eq!(scene.evict(), Some((0, 1)));
    drop(idle);
}

#[test]
fn a_peer_whose_requests_are_complete_is_passed_over() {
    let scene = Scene::new();
    let busy: Vec<_> = (0..5).map(|id| scene.add(id, Peer::Unix, 0)).collect();
    let _idle = scene.add(5, peer("192.0.2.1"), 9);
    for entry in &busy {
        entry.publish(Standing::BUSY);
    }
    assert_eq!(scene.evict(), Some((5, 1)));
    assert_eq!(scene.evict(), None);
    busy[3].publish(busy[3].idle(scene.at(20)));
    busy[4].publish(busy[4].incomplete(scene.at(10)));
    assert_eq!(scene.evict(), Some((3, 5)));
    assert_eq!(scene.evict(), Some((4, 4)));
    assert_eq!(scene.evict(), None);
}

#[test]
fn nothing_is_left_of_connections_that_ended() {
    let scene = Scene::new();
    for round in 0..3 {
        let places: Vec<_> =
            (0..50).map(|id| scene.add(id, peer(&format!("192.0.2.{}", id % 7)), id as u64)).collect();
        for _ in 0..20 * round {
            scene.evict();
        }
        drop(places);
        let inner = scene.queue.lock();
        assert!(inner.connections.is_empty() && inner.unfiled.is_empty());
        assert!(inner.peers.is_empty() && inner.order.is_empty());
    }
}

/// The states of a connection, in the order of eviction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Waits {
    Idle(u64),
    Incomplete(u64),
    Busy,
}

impl Waits {
    fn publish(self, scene: &Scene, entry: &EvictionEntry) {
        entry.publish(match self {
            Self::Idle(since) => entry.idle(scene.at(since)),
            Self::Incomplete(begun) => entry.incomplete(scene.at(begun)),
            Self::Busy => Standing::BUSY,
        });
    }
}

#[derive(Debug, Clone)]
enum Step {
    Open(u8),
    Close(usize),
    Change(usize, u8),
    Answer(usize),
    Evict,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..4_u8).prop_map(Step::Open),
        1 => any::<usize>().prop_map(Step::Close),
        4 => (any::<usize>(), 0..3_u8).prop_map(|(which, kind)| Step::Change(which, kind)),
        2 => any::<usize>().prop_map(Step::Answer),
        2 => Just(Step::Evict),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    /// After any steps, the queue chooses the same connection as a search of all connections.
    #[test]
    fn the_queue_chooses_as_a_search_of_all_would(steps in steps()) {
        let scene = Scene::new();
        let mut open: Vec<(usize, Peer, Waits, EvictionEntry)> = Vec::new();
        let mut closing = Vec::new();
        for (step, now) in steps.into_iter().zip(1..) {
            let last = usize::try_from(now).unwrap();
            match step {
                Step::Open(host) => {
                    let peer = Peer::V4([192, 0, 2, host].into());
                    open.push((last, peer, Waits::Idle(now), scene.add(last, peer, now)));
                }
                Step::Close(which) if !open.is_empty() => drop(open.swap_remove(which % open.len())),
                Step::Change(which, kind) if !open.is_empty() => {
                    let which = which % open.len();
                    let (_, _, waits, entry) = &mut open[which];
                    *waits = [Waits::Idle(now), Waits::Incomplete(now), Waits::Busy][usize::from(kind)];
                    waits.publish(&scene, entry);
                }
                Step::Answer(which) if !open.is_empty() => {
                    let which = which % open.len();
                    let (_, _, waits, entry) = &mut open[which];
                    if matches!(waits, Waits::Idle(_)) {
                        *waits = Waits::Idle(now);
                        entry.publish_later(entry.idle(scene.at(now)));
                    }
                }
                Step::Evict => {
                    let held = |peer| open.iter().filter(|(_, of, ..)| *of == peer).count();
                    let expected = open
                        .iter()
                        .filter(|(_, _, waits, _)| *waits != Waits::Busy)
                        .min_by_key(|(_, peer, waits, _)| (Reverse(held(*peer)), *waits))
                        .map(|(id, peer, ..)| (*id, held(*peer)));
                    prop_assert_eq!(scene.evict(), expected);
                    let chosen = open.iter().position(|(id, ..)| Some(*id) == expected.map(|(id, _)| id));
                    // A chosen connection no longer counts, although it has not closed yet.
                    closing.extend(chosen.map(|chosen| open.swap_remove(chosen).3));
                }
                _ => {}
            }
        }
    }
}
