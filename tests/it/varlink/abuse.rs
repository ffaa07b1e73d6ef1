//! Clients of the control sockets that mean no good, or do no good.

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{Client, Daemon, ECHO, PIXEL, Setup, Varlink, post};

const STALL: &[u8] = b"{\"method\":\"io.pixeld.Control.GetSt";
const GARBAGE: &[u8] = b"\xff\xfe garbage \0 and more of it";
const WATCH: &[u8] =
    b"{\"method\":\"io.pixeld.Control.WatchStats\",\"parameters\":{\"intervalMs\":100},\"more\":true}\0";

/// Somebody who says one thing and then never reads, and comes again when shown the door.
struct Nuisance {
    says: &'static [u8],
    stream: UnixStream,
}

impl Nuisance {
    fn come(socket: &Path, says: &'static [u8]) -> Self {
        let mut stream = UnixStream::connect(socket).unwrap();
        // It may have been shown the door already.
        let _ = stream.write_all(says);
        Self { says, stream }
    }

    fn is_gone(&mut self) -> bool {
        if self.says == WATCH {
            // To look would be to read.
            return self.stream.set_nonblocking(true).is_err() || self.stream.write(b" ").is_err();
        }
        self.stream.set_nonblocking(true).unwrap();
        !matches!(self.stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}

#[test]
fn many_control_clients_delay_no_other() {
    const ROUNDS: usize = 12;
    const PROMPTLY: Duration = Duration::from_secs(3);

    let daemon = Daemon::start("workers = 2");
    let (socket, address) = (daemon.admin_socket(), daemon.http_socket());
    let before = daemon.stats()["process"].clone();
    let mut crowd: Vec<_> = [STALL, GARBAGE, WATCH]
        .into_iter()
        .flat_map(|says| std::iter::repeat_n(says, 100))
        .map(|says| Nuisance::come(&socket, says))
        .collect();
    let mut slowest = Duration::ZERO;
    let mut after = before.clone();
    for _ in 0..ROUNDS {
        for nuisance in crowd.iter_mut().filter_map(|nuisance| nuisance.is_gone().then_some(nuisance)) {
            *nuisance = Nuisance::come(&socket, nuisance.says);
        }
        let begun = Instant::now();
        let mut varlink = Varlink::connect(&socket);
        let reply = varlink.call("io.pixeld.Control.GetStats", &json!({}));
        slowest = slowest.max(begun.elapsed());
        after = reply["parameters"]["stats"]["process"].clone();
        let begun = Instant::now();
        assert_eq!(Client::unix(&address).ask(post(PIXEL)).body, ECHO);
        slowest = slowest.max(begun.elapsed());
        assert!(slowest < PROMPTLY, "somebody waited for {slowest:?}");
    }
    let number = |process: &serde_json::Value, name: &str| process[name].as_u64().unwrap();
    let descriptors = number(&after, "descriptorsUsed") - number(&before, "descriptorsUsed");
    assert!(descriptors <= 70, "{descriptors} more descriptors");
    let memory = number(&after, "memoryBytes").saturating_sub(number(&before, "memoryBytes"));
    assert!(memory < 64 << 20, "{memory} more bytes");
    drop(crowd);
    assert_eq!(daemon.stats()["requests"]["ok"], ROUNDS);
}

#[test]
fn evicted_change_does_not_block_others() {
    let daemon = Daemon::start("workers = 2");
    let mut posting: Vec<_> = (0..4).map(|_| daemon.unix_client()).collect();
    let rests: Vec<_> = posting.iter_mut().map(Client::begin_request).collect();
    // The worker that leaves has requests in flight, which the reply waits for.
    let set = |count| json!({ "method": "io.pixeld.Control.SetWorkers", "parameters": { "count": count } });
    let mut cut_off = daemon.varlink();
    cut_off.send(set(1).to_string() + "\0").unwrap();
    daemon.wait_for_event("workersSet", &[("from", "2"), ("to", "1")]);
    let crowd: Vec<_> = (0..100).map(|_| UnixStream::connect(daemon.admin_socket()).unwrap()).collect();
    assert_eq!(cut_off.reply().expect("a last reply")["error"], "io.pixeld.Control.TooManyClients");
    assert_eq!(cut_off.reply(), None);
    drop(crowd);

    for (client, rest) in posting.iter_mut().zip(rests) {
        assert_eq!(client.ask(rest).body, ECHO);
    }
    let reply = daemon.varlink().call("io.pixeld.Control.SetWorkers", &json!({ "count": 3 }));
    assert_eq!(reply["parameters"]["to"], 3, "{reply}");
}

#[test]
fn silent_control_clients_block_no_other() {
    let daemon = Daemon::start("workers = 2");
    let silent: Vec<_> = (0..100).map(|_| UnixStream::connect(daemon.admin_socket()).unwrap()).collect();
    let mut varlink = daemon.varlink();
    varlink.set_limit(Duration::from_secs(3));
    assert_eq!(varlink.call("io.pixeld.Control.GetStats", &json!({}))["parameters"]["stats"]["workers"], 2);
    drop(silent);
}

#[test]
fn control_clients_do_not_slow_http_down() {
    let daemon = Setup::new("workers = 1").start();
    let mut never_reads = daemon.varlink();
    let call = "{\"method\":\"io.pixeld.Control.GetStats\"}\0".repeat(1000);
    // Its replies fill the socket, and then the daemon would wait for it.
    never_reads.set_limit(Duration::from_millis(200));
    let stuck = (0..100).any(|_| never_reads.send(&call).is_err());
    assert!(stuck, "a client that reads no replies may not ask without end");
    assert_eq!(daemon.unix_client().ask(post(PIXEL)).body, ECHO);
    assert_eq!(daemon.stats()["workers"], 1);
}
