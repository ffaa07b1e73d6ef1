use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::{
    config::Settings,
    log::{Level, Log, Sink},
    net::Address,
    stats::SharedStats,
};

fn pool(count: usize) -> (Pool, UnboundedReceiver<ThreadId>) {
    let (ended, ended_workers) = unbounded_channel();
    let shared = SharedState {
        parse: crate::pixel::parse,
        dispatcher: Arc::default(),
        memory: Arc::new(SharedStats::create(0).unwrap()),
        log: Log::start(Sink::function(|_| {}), Level::Info).unwrap(),
        heartbeat: Duration::from_millis(100),
        ended,
    };
    (Pool::start(count, (&Settings::default()).into(), 100, shared).unwrap(), ended_workers)
}

fn numbers(pool: &Pool, leaving: bool) -> Vec<usize> {
    let reports = pool.reports().into_iter().filter(|report| report.leaving == leaving);
    reports.map(|report| report.number).collect()
}

#[test]
fn worker_that_cannot_start_leaves_the_others() {
    let (mut pool, mut ended_workers) = pool(1);
    let listener = Listener::bind(&Address::Tcp(([127, 0, 0, 1], 0).into())).unwrap();
    let acceptor = Arc::new(Acceptor::from(listener));
    // epoll takes no descriptor twice.
    pool.acceptors = vec![acceptor.clone(), acceptor.clone()];
    assert!(pool.resize(2).is_err());
    assert_eq!((numbers(&pool, false), numbers(&pool, true)), (vec![1], vec![2]));

    pool.acceptors = vec![acceptor];
    pool.resize(2).unwrap();
    assert_eq!((numbers(&pool, false), numbers(&pool, true)), (vec![1, 3], vec![2]));
    let ended = ended_workers.blocking_recv().unwrap();
    pool.on_worker_exit(ended);
    assert_eq!((numbers(&pool, false), numbers(&pool, true)), (vec![1, 3], vec![]));

    // Its number is free again, and the worker that gets it is not mistaken for the one that has exited.
    pool.resize(3).unwrap();
    pool.on_worker_exit(ended);
    assert_eq!((numbers(&pool, false), numbers(&pool, true)), (vec![1, 2, 3], vec![]));
    pool.drain();
    while !pool.is_empty() {
        pool.on_worker_exit(ended_workers.blocking_recv().unwrap());
    }
}
