//! At the connection limit, the peer that holds most connections gives way, and no other.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use crate::support::{Client, Daemon, ECHO, PIXEL, eventually, post};

/// The attacker's address; the other clients over TCP have 127.0.0.1.
const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

fn attacker(address: SocketAddr) -> Client {
    Client::tcp_from(ATTACKER, address)
}

/// A client that has had a response and keeps its connection.
fn served(mut client: Client) -> Client {
    assert_served(&mut client);
    client
}

fn assert_served(client: &mut Client) {
    assert_eq!(client.ask(post(PIXEL)).body, ECHO);
}

fn wait_for(daemon: &Daemon, open: usize, idle: usize) {
    eventually(&format!("{open} connections, {idle} of them idle"), || {
        let connections = &daemon.stats()["connections"];
        (connections["open"] == open && connections["idle"] == idle).then_some(())
    });
}

/// Has a client send requests whose responses fill every buffer on the way, until the daemon has to keep one.
/// Returns their number.
pub fn without_reading(daemon: &Daemon, client: &mut Client) -> usize {
    let idle_before = daemon.stats()["connections"]["idle"].as_u64().unwrap();
    // Rejected, with a response of some 100 KB.
    let request = post(&format!(r#"{{"a":[{}1]}}"#, "1,".repeat(8_000)));
    for sent in 1..1000 {
        client.send(&request);
        // A connection is busy for a moment with each response, and stays busy with one that finds no space.
        let mut busy_since = None;
        let is_kept = eventually("the request is answered, or its response kept", || {
            let stats = daemon.stats();
            if stats["connections"]["idle"].as_u64().unwrap() < idle_before {
                let since = busy_since.get_or_insert_with(Instant::now);
                return (since.elapsed() > Duration::from_millis(500)).then_some(true);
            }
            busy_since = None;
            (stats["requests"]["invalid"].as_u64().unwrap() >= sent as u64).then_some(false)
        });
        if is_kept {
            return sent;
        }
    }
    panic!("a client that reads nothing has room for every response");
}

#[test]
fn one_byte_connections_evict_only_their_own_peer() {
    let daemon = Daemon::start("workers = 2\n[limits]\nconnections = 24");
    let address = daemon.address();
    let mut others: Vec<_> = (0..4).map(|_| served(daemon.client())).collect();
    others.extend((0..4).map(|_| served(daemon.unix_client())));
    let attackers: Vec<_> = (0..60)
        .map(|_| {
            let mut attacker = attacker(address);
            attacker.send("P");
            attacker
        })
        .collect();
    eventually("all are accepted", || (daemon.stats()["connections"]["accepted"] == 68).then_some(()));
    // New clients find a place, and those that were there have kept theirs.
    for connect in [Daemon::client as fn(&Daemon) -> Client, Daemon::unix_client] {
        others.push(served(connect(&daemon)));
    }
    others.iter_mut().for_each(assert_served);
    let stats = daemon.stats();
    assert_eq!(stats["connections"]["evicted"], 60 + 10 - 24, "{stats}");
    assert_eq!(stats["requests"]["timedOut"], 60 + 10 - 24, "{stats}");
    daemon.wait_for_event("limitReached", &[("client", "127.0.0.2")]);
    drop(attackers);
}

#[test]
fn without_an_idle_one_the_longest_incomplete_request_gets_408() {
    let daemon = Daemon::start("workers = 2\n[limits]\nconnections = 4");
    let address = daemon.address();
    let mut kept = served(daemon.unix_client());
    let mut attackers = Vec::new();
    for (nth, begin) in ["P", "POST /pixel HTTP/1.1\r\nhost: a\r\n", ""].into_iter().enumerate() {
        let mut client = attacker(address);
        if begin.is_empty() {
            client.begin_request();
        } else {
            client.send(begin);
        }
        // One after the other, so that it is known which one is incomplete longest.
        wait_for(&daemon, nth + 2, 1);
        attackers.push(client);
    }
    let mut replacements = Vec::new();
    for mut client in attackers {
        assert_served(&mut daemon.client());
        let answer = client.answer();
        assert_eq!((answer.status, answer.field("connection")), (408, Some("close")));
        client.expect_end();
        // The place that it had, for the next round.
        wait_for(&daemon, 3, 1);
        let mut next = attacker(address);
        next.begin_request();
        wait_for(&daemon, 4, 1);
        replacements.push(next);
    }
    assert_served(&mut kept);
}

#[test]
fn an_idle_one_of_the_top_peer_goes_before_its_incomplete_ones() {
    let daemon = Daemon::start("[limits]\nconnections = 4");
    let address = daemon.address();
    let mut other = served(daemon.client());
    let mut incomplete = [attacker(address), attacker(address)];
    let rests = incomplete.each_mut().map(Client::begin_request);
    // A worker writes a response before it notes that the next request has begun.
    wait_for(&daemon, 3, 1);
    let idle = served(attacker(address));
    assert_served(&mut daemon.unix_client());
    idle.expect_end();
    for (client, rest) in incomplete.iter_mut().zip(rests) {
        assert_eq!(client.ask(rest).body, ECHO);
    }
    assert_served(&mut other);
}

#[test]
fn among_peers_with_equally_many_the_longest_idle_goes() {
    let daemon = Daemon::start("workers = 2\n[limits]\nconnections = 3");
    let mut tcp = served(daemon.client());
    let mut unix = served(daemon.unix_client());
    let other = served(attacker(daemon.address()));
    // Their workers have noted that the first responses are sent when the second ones come.
    for _ in 0..2 {
        assert_served(&mut tcp);
        assert_served(&mut unix);
    }
    let newcomer = served(Client::tcp_from(Ipv4Addr::new(127, 0, 0, 3).into(), daemon.address()));
    other.expect_end();
    for client in [&mut tcp, &mut unix] {
        assert_served(client);
    }
    drop(newcomer);
}

#[test]
fn a_complete_request_is_never_cut() {
    let daemon = Daemon::start("[limits]\nconnections = 2\n[timeouts]\nwrite = \"1h\"");
    let address = daemon.address();
    let mut unread = [attacker(address), attacker(address)];
    let sent = unread.each_mut().map(|client| {
        assert_served(client);
        without_reading(&daemon, client)
    });
    let mut waiting = daemon.client();
    waiting.send(post(PIXEL));
    daemon.wait_for_event("acceptPaused", &[]);
    assert_eq!(daemon.stats()["connections"]["evicted"], 0);
    let [first, second] = &mut unread;
    for _ in 0..sent[0] {
        assert_eq!(first.answer().status, 422);
    }
    // It has all its responses, so it is idle and gives way.
    assert_eq!(waiting.answer().body, ECHO);
    for _ in 0..sent[1] {
        assert_eq!(second.answer().status, 422);
    }
}

#[test]
fn a_top_peer_with_complete_requests_only_is_passed_over() {
    let daemon = Daemon::start("[limits]\nconnections = 3\n[timeouts]\nwrite = \"1h\"");
    let address = daemon.address();
    let mut unread = [attacker(address), attacker(address)];
    let sent = unread.each_mut().map(|client| {
        assert_served(client);
        without_reading(&daemon, client)
    });
    let idle = served(daemon.unix_client());
    assert_served(&mut daemon.client());
    idle.expect_end();
    for (client, sent) in unread.iter_mut().zip(sent) {
        for _ in 0..sent {
            assert_eq!(client.answer().status, 422);
        }
    }
}

#[test]
fn a_request_that_came_before_its_eviction_is_answered() {
    let daemon = Daemon::start("workers = 2\n[limits]\nconnections = 8");
    let address = daemon.address();
    for _ in 0..20 {
        wait_for(&daemon, 0, 0);
        let mut crowd: Vec<_> = (0..8).map(|_| attacker(address)).collect();
        let rests: Vec<_> = crowd.iter_mut().map(Client::begin_request).collect();
        for (client, rest) in crowd.iter_mut().zip(&rests) {
            client.send(rest);
        }
        for _ in 0..4 {
            assert_served(&mut daemon.unix_client());
        }
        for client in &mut crowd {
            assert_eq!(client.answer().body, ECHO);
        }
    }
    assert_eq!(daemon.stats()["requests"]["timedOut"], 0);
}

#[test]
fn a_client_that_lingers_gives_way() {
    let daemon = Daemon::start("[limits]\nconnections = 4");
    let address = daemon.address();
    for _ in 0..10 {
        wait_for(&daemon, 0, 0);
        // Refused, and then waited for to close, which it does not.
        let mut lingering: Vec<_> = (0..4).map(|_| attacker(address)).collect();
        for client in &mut lingering {
            assert_eq!(client.ask("(\r\n\r\n").status, 400);
        }
        assert_served(&mut daemon.client());
    }
    let connections = daemon.stats()["connections"].clone();
    assert!(connections["evicted"].as_u64() >= Some(10), "{connections}");
}
