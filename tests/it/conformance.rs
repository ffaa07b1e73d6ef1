//! The HTTP side of pixeld cannot be bent: what clients that are broken, careless or mean see, and
//! that others are served all the same. What is expected comes from the contract and from RFC 9110,
//! RFC 9112 and RFC 3986, and not from what the daemon happens to do.

mod eviction;
mod limits;
mod readers;
mod table;
mod timeouts;

use self::table::{Peer, Via, groups, play_all};
use crate::support::Daemon;

#[test]
fn every_case_over_tcp() {
    let daemon = Daemon::start("workers = 2");
    play_all(&Peer::Tcp(daemon.address()), Via::Nothing);
}

#[test]
fn every_case_over_a_unix_socket() {
    let daemon = Daemon::start("workers = 2");
    play_all(&Peer::Unix(daemon.http_socket()), Via::Nothing);
}

#[test]
fn no_case_stands_there_twice() {
    let groups = groups();
    let mut names: Vec<_> =
        groups.iter().flat_map(|(_, cases)| cases).map(|case| case.name.as_str()).collect();
    let count = names.len();
    assert!(count >= 150, "only {count} cases");
    names.sort_unstable();
    let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert!(twice.is_empty(), "{twice:?}");
}
