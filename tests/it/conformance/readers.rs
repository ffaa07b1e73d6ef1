//! Clients that do not take their answers, or take them late. How many fit into the buffers between
//! is not known, so several numbers are tried.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    os::fd::AsRawFd,
    thread,
    time::Duration,
};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, setsockopt, socket, sockopt,
};

use super::timeouts::{assert_cut, assert_served, raw};
use crate::support::{Daemon, ECHO, PATIENCE, PIXEL, eventually, post, request};

/// How many requests, the answers to most of which do not fit into the buffers of a Unix socket, and
/// in pieces of how many bytes they are sent.
const SENDINGS: [(usize, usize); 8] = [
    (500, 9000),
    (700, 100_000),
    (720, 1000),
    (3000, 100),
    (3000, 1111),
    (3000, 5000),
    (3000, 8191),
    (3000, 500_000),
];

#[test]
fn who_never_reads_the_answers_is_cut() {
    // Only this deadline is short, so it is the one that counts.
    let daemon = Daemon::start("[timeouts]\nwrite = \"300ms\"\nhead = \"60s\"\nbody = \"60s\"");
    // Requests of several lengths, for the one the daemon is stuck at may be whole or not.
    thread::scope(|scope| {
        for blanks in [0, 7, 20] {
            for mut stream in raw(&daemon) {
                let requests = post(&format!("{PIXEL}{}", " ".repeat(blanks))).repeat(50);
                scope.spawn(move || assert_cut(&mut stream, requests.as_bytes(), Duration::ZERO));
            }
        }
    });
    assert_served(&daemon);
}

/// The longest response that a body of 16 KiB can have, but for the spaces: more than the buffers of a
/// connection take.
fn long_response() -> String {
    post(&format!(r#"{{"a":[{}1e15]}}"#, "1e15,".repeat(3220)))
}

#[test]
fn long_response_is_the_last_if_the_client_asks_for_that() {
    let daemon = Daemon::start("");
    let text = "x".repeat(5_000);
    for option in ["close", "x-a, Close"] {
        let fields = format!("connection: {option}\r\ncontent-type: text/plain\r\n");
        for mut client in [daemon.client(), daemon.unix_client()] {
            client.send(request("POST", "/pixel", &fields, &text) + &post(PIXEL));
            let response = client.answer();
            assert_eq!((response.status, response.field("connection")), (422, Some("close")), "{option}");
            client.expect_end();
        }
    }
}

#[test]
fn unread_response_in_the_kernel_is_cut_after_write_timeout() {
    // No other deadline is short; the connection would be idle for an hour.
    let daemon = Daemon::start("[timeouts]\nwrite = \"300ms\"\nkeep-alive = \"1h\"\n");
    // As long as what the kernel takes, and no longer, and the longest.
    let fits = post(&format!(r#"{{"a":[{}1e15]}}"#, "1e15,".repeat(600)));
    for request in [fits, long_response()] {
        let before = daemon.stats()["connections"]["writeTimeouts"].as_u64().unwrap();
        let streams = small(&daemon);
        for stream in &streams {
            (&mut &*stream).write_all(request.as_bytes()).unwrap();
        }
        eventually("both are cut", || {
            (daemon.stats()["connections"]["writeTimeouts"].as_u64()? == before + streams.len() as u64)
                .then_some(())
        });
    }
    assert_served(&daemon);
}

#[test]
fn slow_but_steady_reader_gets_its_whole_response() {
    let daemon = Daemon::start("");
    thread::scope(|scope| {
        for mut stream in raw(&daemon) {
            scope.spawn(move || {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.write_all(long_response().as_bytes()).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                let (mut received, mut piece) = (Vec::new(), [0; 4096]);
                loop {
                    let count = stream.read(&mut piece).unwrap();
                    if count == 0 {
                        break;
                    }
                    received.extend_from_slice(&piece[..count]);
                    thread::sleep(Duration::from_millis(10));
                }
                let received = String::from_utf8(received).unwrap();
                assert_eq!(received.matches("1000000000000000.0").count(), 4 * 3221);
                assert!(received.ends_with("]}}]}"));
            });
        }
    });
}

/// Connections as [`raw`] has them; the TCP client's host takes little of a response.
fn small(daemon: &Daemon) -> [TcpStream; 2] {
    let tcp = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).unwrap();
    setsockopt(&tcp, sockopt::RcvBuf, &4096).unwrap();
    connect(tcp.as_raw_fd(), &SockaddrStorage::from(daemon.address())).unwrap();
    let [_, unix] = raw(daemon);
    [tcp.into(), unix]
}

/// Longer than any deadline of [`SHORT`].
const LATE: Duration = Duration::from_millis(1500);
/// Whatever the client sends is there in time; only its answers have to wait.
const SHORT: &str = "[timeouts]\nhead = \"1s\"\nbody = \"1s\"";

/// Everything that the daemon sends to a client that begins to read late, and how that ended.
fn read_late(mut stream: TcpStream, bytes: &[u8], piece: usize) -> (String, io::Result<usize>) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut sender = stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            // The daemon may have closed before all is sent.
            let sent = bytes.chunks(piece).try_for_each(|piece| sender.write_all(piece));
            let _ = sent.and_then(|()| sender.shutdown(Shutdown::Write));
        });
        thread::sleep(LATE);
        let mut received = Vec::new();
        let end = stream.read_to_end(&mut received);
        (String::from_utf8(received).unwrap(), end)
    })
}

/// Sends so many good requests and what `tail` puts behind them, and lets `judge` say what is wrong
/// with the answers: how many are whole and good, and what comes behind.
fn assert_all_late(settings: &str, tail: &[u8], judge: impl Fn(usize, usize, &[&str]) -> bool + Sync) {
    let daemon = Daemon::start(settings);
    let faults: Vec<String> = thread::scope(|scope| {
        let streams = SENDINGS.iter().flat_map(|sending| raw(&daemon).map(|stream| (*sending, stream)));
        let clients: Vec<_> = streams
            .map(|((count, piece), stream)| {
                let judge = &judge;
                scope.spawn(move || {
                    let bytes = [post(PIXEL).repeat(count).as_bytes(), tail].concat();
                    let (received, end) = read_late(stream, &bytes, piece);
                    let answers: Vec<_> = received.split("HTTP/1.1 ").skip(1).collect();
                    let is_whole =
                        |answer: &&&str| answer.starts_with("200 OK\r\n") && answer.ends_with(ECHO);
                    let whole = answers.iter().take_while(is_whole).count();
                    let is_good = judge(count, whole, &answers[whole..]);
                    (!is_good).then(|| format!("\n{whole} of {count}, then {:?}, {end:?}", &answers[whole..]))
                })
            })
            .collect();
        clients.into_iter().filter_map(|client| client.join().unwrap()).collect()
    });
    assert!(faults.is_empty(), "{}", faults.concat());
    assert_served(&daemon);
}

#[test]
fn who_reads_late_gets_every_answer() {
    assert_all_late(SHORT, b"", |count, whole, behind| whole == count && behind.is_empty());
}

#[test]
fn who_reads_late_gets_every_answer_and_one_refusal() {
    assert_all_late(SHORT, b"(\r\n\r\n", |count, whole, behind| {
        let is_ours = |last: &&str| last.starts_with("400 ") && last.contains("application/json");
        whole == count && behind.len() == 1 && behind.iter().all(is_ours)
    });
}

#[test]
fn a_refusal_stands_neither_inside_an_answer_nor_instead_of_one() {
    let head = "POST /pixel HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\n";
    assert_all_late(SHORT, head.as_bytes(), |count, whole, behind| {
        // The client ends amid a body, so it may be refused or not; all before that is answered.
        let is_refusal = |last: &&str| last.starts_with("408 ") || last.starts_with("400 ");
        whole == count && behind.len() <= 1 && behind.iter().all(is_refusal)
    });
}
