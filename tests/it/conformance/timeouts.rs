//! How long things may take. Each case has a deadline of 300 ms where the daemon has to keep it.

use std::{
    io::{ErrorKind, Write},
    net::TcpStream,
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use crate::support::{Client, Daemon, ECHO, PATIENCE, PIXEL, post};

const LIMIT: Duration = Duration::from_millis(300);
/// Far less than it would take if each byte had its own deadline, for the clients go on until it ends.
const LATEST: Duration = Duration::from_secs(5);

const CHUNKED: &str = "POST /pixel HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";

fn both(daemon: &Daemon) -> impl Iterator<Item = Client> {
    [Daemon::client as fn(&Daemon) -> Client, Daemon::unix_client].into_iter().map(|connect| connect(daemon))
}

pub fn assert_served(daemon: &Daemon) {
    assert_eq!(daemon.client().ask(post(PIXEL)).body, ECHO, "others are served meanwhile");
}

/// Starts a request, goes on with it byte by byte, and is told after the deadline that it is too late.
fn assert_timed_out(settings: &str, start: &str, byte: u8) {
    let daemon = Daemon::start(settings);
    for mut client in both(&daemon) {
        let begin = Instant::now();
        client.send(start);
        assert_served(&daemon);
        client.trickle(byte);
        let took = begin.elapsed();
        assert!((LIMIT..LATEST).contains(&took), "{took:?}");
        let answer = client.answer();
        assert_eq!((answer.status, answer.field("connection")), (408, Some("close")));
        assert_eq!(answer.body, r#"{"detail":"Request Timeout"}"#);
        client.finish_sending();
        client.expect_end();
        assert_served(&daemon);
    }
}

fn assert_head_timed_out(start: &str, byte: u8) {
    assert_timed_out("[timeouts]\nheader = \"300ms\"", start, byte);
}

fn assert_body_timed_out(start: &str, byte: u8) {
    assert_timed_out("[timeouts]\nbody = \"300ms\"", start, byte);
}

#[test]
fn a_slow_request_line_has_one_deadline() {
    assert_head_timed_out("POST /", b'a');
}

#[test]
fn a_slow_field_has_one_deadline() {
    assert_head_timed_out("POST /pixel HTTP/1.1\r\nhost: h\r\nx: ", b'a');
}

#[test]
fn pipelined_slow_header_has_one_deadline() {
    let daemon = Daemon::start("[timeouts]\nheader = \"300ms\"");
    for (first, status) in [(post(PIXEL), 200), (post(PIXEL).replace("/pixel", "/nope"), 404)] {
        for mut client in both(&daemon) {
            let begin = Instant::now();
            client.send(first.clone() + "POST /pixel HTTP/1.1\r\nho");
            assert_eq!(client.answer().status, status);
            client.trickle(b'a');
            let took = begin.elapsed();
            assert!((LIMIT..LATEST).contains(&took), "{took:?}");
            assert_eq!(client.answer().status, 408);
            client.expect_end();
        }
    }
}

#[test]
fn a_slow_body_has_one_deadline() {
    assert_body_timed_out("POST /pixel HTTP/1.1\r\nhost: h\r\ncontent-length: 16000\r\n\r\n", b' ');
}

#[test]
fn a_slow_body_that_is_refused_anyway_has_one_deadline() {
    assert_body_timed_out("POST /nope HTTP/1.1\r\nhost: h\r\ncontent-length: 16000\r\n\r\n", b' ');
}

#[test]
fn a_slow_chunk_has_one_deadline() {
    assert_body_timed_out(&format!("{CHUNKED}3e80\r\n"), b' ');
}

#[test]
fn a_slow_extension_has_one_deadline() {
    assert_body_timed_out(&format!("{CHUNKED}1;"), b'a');
}

#[test]
fn a_slow_trailer_has_one_deadline() {
    assert_body_timed_out(&format!("{CHUNKED}0\r\nx: "), b'a');
}

#[test]
fn a_chunk_of_2_to_63_bytes_is_not_waited_for() {
    let daemon = Daemon::start("[timeouts]\nbody = \"300ms\"");
    for mut client in both(&daemon) {
        client.send(format!("{CHUNKED}8000000000000000\r\n{PIXEL}"));
        let answer = client.answer();
        assert!(matches!(answer.status, 400 | 408 | 413), "{answer:?}");
        assert_eq!(answer.field("connection"), Some("close"));
        client.expect_end();
    }
}

#[test]
fn a_body_that_is_asked_for_and_does_not_come_is_not_waited_for() {
    let daemon = Daemon::start("[timeouts]\nbody = \"300ms\"");
    for mut client in both(&daemon) {
        client.send("POST /pixel HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 41\r\n\r\n");
        let statuses = [client.answer(), client.answer()].map(|answer| answer.status);
        assert_eq!(statuses, [100, 408]);
        client.expect_end();
    }
}

#[test]
fn an_empty_line_between_requests_means_nothing() {
    let mut daemon = Daemon::start("[timeouts]\nheader = \"60s\"\ndrain = \"60s\"");
    let mut clients: Vec<_> = both(&daemon).collect();
    for client in &mut clients {
        client.send("\r\n");
        for request in [post(PIXEL), post(PIXEL) + "\r\n", post(PIXEL).repeat(2) + "\r\n"] {
            assert_eq!(client.ask(request).body, ECHO);
        }
        assert_eq!(client.answer().body, ECHO);
        client.send("\r\n");
    }
    // They are idle, so nobody waits for them.
    assert!(daemon.stop().success());
}

#[test]
fn an_empty_line_keeps_nothing_open() {
    let daemon = Daemon::start("[timeouts]\nheader = \"60s\"\nkeep-alive = \"300ms\"");
    for mut client in both(&daemon) {
        client.send("\r\n");
        client.expect_end();
    }
}

#[test]
fn what_is_idle_is_closed_without_a_word() {
    let daemon = Daemon::start("[timeouts]\nkeep-alive = \"300ms\"");
    for client in both(&daemon) {
        client.expect_end();
    }
    for mut client in both(&daemon) {
        assert_eq!(client.ask(post(PIXEL)).body, ECHO);
        client.expect_end();
    }
}

#[test]
fn a_request_keeps_a_connection_from_being_idle() {
    let daemon = Daemon::start("[timeouts]\nkeep-alive = \"300ms\"\nheader = \"60s\"\nbody = \"60s\"");
    for mut client in both(&daemon) {
        let watch = daemon.client();
        client.send("POST /pixel HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n");
        // It came later than the request and is idle, so when it is closed the time has passed.
        watch.expect_end();
        let again = daemon.client();
        client.send("content-length: 41\r\n\r\n");
        again.expect_end();
        assert_eq!(client.ask(PIXEL).body, ECHO);
    }
}

/// Sends until that fails, which it does when the daemon has closed. Before that, megabytes may fit into
/// the buffers between.
pub fn assert_cut(stream: &mut TcpStream, bytes: &[u8], pause: Duration) {
    const BUFFERS_FILLED: Duration = Duration::from_secs(60);

    let deadline = Instant::now() + BUFFERS_FILLED;
    stream.set_write_timeout(Some(LATEST)).unwrap();
    let error = loop {
        if let Err(error) = stream.write_all(bytes) {
            break error;
        }
        assert!(Instant::now() < deadline, "a client that goes on for ever is never cut");
        std::thread::sleep(pause);
    };
    assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
}

/// A connection over each kind of socket; both take plain socket calls.
pub fn raw(daemon: &Daemon) -> [TcpStream; 2] {
    let tcp = TcpStream::connect_timeout(&daemon.address(), PATIENCE).unwrap();
    let unix = UnixStream::connect(daemon.http_socket()).unwrap();
    [tcp, OwnedFd::from(unix).into()]
}

#[test]
fn who_goes_on_sending_after_a_refusal_is_cut() {
    let daemon = Daemon::start("");
    for mut stream in raw(&daemon) {
        stream.write_all(b"POST /pixel HTTP/1.1\r\nhost: h\r\ncontent-length: 99999999\r\n\r\n").unwrap();
        assert_cut(&mut stream, b"          ", Duration::from_millis(20));
        assert_served(&daemon);
    }
}

#[test]
fn who_floods_after_a_refusal_is_cut() {
    let daemon = Daemon::start("");
    for mut stream in raw(&daemon) {
        stream.write_all(b"POST /pixel HTTP/1.1\r\nhost: h\r\ncontent-length: 99999999\r\n\r\n").unwrap();
        assert_cut(&mut stream, &[b' '; 10_000], Duration::ZERO);
        assert_served(&daemon);
    }
}
