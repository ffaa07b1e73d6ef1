//! What is limited, and what happens there. Each case needs settings of its own.

use std::{io::Read, net::TcpStream, time::Duration};

use super::eviction::without_reading;
use crate::support::{Client, Daemon, ECHO, PATIENCE, PIXEL, Setup, eventually, post};

/// A connection over each kind of socket.
fn both(daemon: &Daemon) -> impl Iterator<Item = Client> {
    [Daemon::client as fn(&Daemon) -> Client, Daemon::unix_client].into_iter().map(|connect| connect(daemon))
}

fn assert_served(client: &mut Client) {
    let answer = client.ask(post(PIXEL));
    assert_eq!((answer.status, answer.body.as_str()), (200, ECHO));
}

/// A client in the middle of a request that has arrived so far, and the rest of it.
fn busy(daemon: &Daemon) -> (Client, &'static str) {
    let mut client = daemon.client();
    let rest = client.begin_request();
    (client, rest)
}

#[test]
fn the_last_request_that_is_allowed_is_answered_with_close() {
    let daemon = Daemon::start("[limits]\nrequests-per-connection = 3");
    for mut client in both(&daemon) {
        for connection in [None, None, Some("close")] {
            let answer = client.ask(post(PIXEL));
            assert_eq!((answer.status, answer.field("connection")), (200, connection));
        }
        client.expect_end();
    }
}

#[test]
fn pipelined_requests_beyond_the_last_one_are_not_answered() {
    let daemon = Daemon::start("[limits]\nrequests-per-connection = 3");
    for mut client in both(&daemon) {
        client.send(post(PIXEL).repeat(5));
        for connection in [None, None, Some("close")] {
            let answer = client.answer();
            assert_eq!((answer.status, answer.field("connection")), (200, connection));
        }
        client.expect_end();
    }
}

#[test]
fn one_request_for_each_connection_is_a_limit_as_well() {
    let daemon = Daemon::start("[limits]\nrequests-per-connection = 1");
    for mut client in both(&daemon) {
        assert_eq!(client.ask(post(PIXEL)).field("connection"), Some("close"));
        client.expect_end();
    }
}

#[test]
fn refused_requests_count_for_a_connection() {
    let daemon = Daemon::start("[limits]\nrequests-per-connection = 2");
    for mut client in both(&daemon) {
        assert_eq!(client.ask("GET /pixel HTTP/1.1\r\nhost: h\r\n\r\n").field("connection"), None);
        let last = client.ask("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
        assert_eq!((last.status, last.field("connection")), (404, Some("close")));
        client.expect_end();
    }
}

#[test]
fn at_the_limit_the_connection_that_is_idle_longest_makes_room() {
    let daemon = Daemon::start("workers = 2\n[limits]\nconnections = 4");
    let mut clients: Vec<_> = (0..4).map(|_| daemon.client()).collect();
    // The second one is idle longest. That its worker, which has two of them, knows that it is idle
    // shows when it has answered another; the others become idle after that, in the second round.
    for nth in [1, 0, 2, 3, 0, 2, 3] {
        assert_served(&mut clients[nth]);
    }
    assert_served(&mut daemon.unix_client());
    clients.remove(1).expect_end();
    // The newcomer has gone, so there is room for the three.
    clients.iter_mut().for_each(assert_served);
}

#[test]
fn at_the_limit_a_connection_that_was_never_used_makes_room_too() {
    let daemon = Daemon::start("[limits]\nconnections = 2");
    let unused = daemon.client();
    eventually("the first connection", || (daemon.stats()["connections"]["accepted"] == 1).then_some(()));
    let (mut busy, rest) = busy(&daemon);
    assert_served(&mut daemon.client());
    unused.expect_end();
    assert_eq!(busy.ask(rest).body, ECHO);
}

#[test]
fn at_the_limit_newcomers_wait_while_every_request_is_complete() {
    let daemon = Daemon::start("[limits]\nconnections = 2");
    let mut unread = [daemon.client(), daemon.client()];
    let sent = unread.each_mut().map(|client| {
        assert_served(client);
        without_reading(&daemon, client)
    });
    let mut waiting = [daemon.client(), daemon.unix_client()];
    for client in &mut waiting {
        client.send(post(PIXEL));
    }
    daemon.wait_for_event("acceptPaused", &[]);
    // A client gets all its responses, and then gives way.
    for _ in 0..sent[0] {
        assert_eq!(unread[0].answer().status, 422);
    }
    for client in &mut waiting {
        assert_eq!(client.answer().body, ECHO);
    }
    daemon.wait_for_event("acceptResumed", &[]);
    for _ in 0..sent[1] {
        assert_eq!(unread[1].answer().status, 422);
    }
}

#[test]
fn at_the_limit_nobody_is_answered_too_early() {
    let daemon = Daemon::start("[limits]\nconnections = 1");
    let address = daemon.address();
    let mut unread = daemon.client();
    assert_served(&mut unread);
    without_reading(&daemon, &mut unread);
    let mut early = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    std::io::Write::write_all(&mut early, post(PIXEL).as_bytes()).unwrap();
    daemon.wait_for_event("acceptPaused", &[]);
    early.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let error = early.read(&mut [0; 1]).expect_err("there is no room yet");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    drop(unread);
    early.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(early.read(&mut [0; 1]).unwrap(), 1);
}

#[test]
fn fd_shortage_evicts_idle_and_keeps_busy_clients() {
    let daemon = Setup::new("workers = 1").before("ulimit -n 96").start();
    let (address, path) = (daemon.address(), daemon.http_socket());
    let (mut busy, rest) = busy(&daemon);
    let mut idle = Vec::new();
    for connect in [&(|| Client::tcp(address)) as &dyn Fn() -> Client, &|| Client::unix(&path)] {
        for _ in 0..60 {
            let mut client = connect();
            assert_served(&mut client);
            idle.push(client);
        }
    }
    // Whoever wants to know why still gets in.
    let connections = &daemon.stats()["connections"];
    assert!(connections["open"].as_u64() < Some(96), "{connections}");
    assert!(connections["evicted"].as_u64() > Some(60), "{connections}");
    daemon.wait_for_event("fdLimitTooLow", &[]);
    assert_eq!(busy.ask(rest).body, ECHO);
}

#[test]
fn white_space_behind_a_chunk_size_has_a_limit() {
    let daemon = Daemon::start("[limits]\nbody = 1024");
    for mut client in both(&daemon) {
        client.send("POST /pixel HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1");
        client.send(" ".repeat(1 << 18));
        assert_eq!(client.answer().status, 400);
        client.expect_end();
    }
}
