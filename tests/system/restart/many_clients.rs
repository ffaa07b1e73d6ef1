use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{PIXEL, T2_PIXELD};
use crate::harness::{Connection, Endpoint, Request, Site, deployment::json, wait_until};

/// Connections to t2, half of them over TCP, the others over the Unix socket.
pub fn open(site: &Site, count: usize) -> Vec<Connection> {
    let open = |to: Endpoint| (0..count / 2).map(|_| Connection::open(&to).expect("connect")).collect();
    let mut connections: Vec<_> = site.insider.in_its_network(|| open(T2_PIXELD.into()));
    connections.extend(site.t2.client().in_its_network(|| open(site.t2.unix("/run/pixeld/http.sock"))));
    wait_until("all are accepted", || {
        json(&site.t2, "pixeldctl stats --json")["connections"]["open"] == count
    });
    connections
}

#[track_caller]
pub fn ask_all<'c>(connections: impl Iterator<Item = &'c mut Connection>) {
    for (i, connection) in connections.enumerate() {
        let answer = connection.send(&Request::pixel(PIXEL));
        let answer = answer.unwrap_or_else(|error| panic!("connection {i}: {error}"));
        assert_eq!((answer.status, answer.field("connection")), (200, None));
    }
}

/// This process has the other end of every connection.
pub fn allow_descriptors(count: usize) {
    let count = count as u64;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("ask for the limit of descriptors");
    if soft < count {
        setrlimit(Resource::RLIMIT_NOFILE, count, hard.max(count)).expect("raise the limit of descriptors");
    }
}
