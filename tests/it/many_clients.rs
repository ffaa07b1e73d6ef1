//! Very many clients at once, most of which do nothing and some of which do it slowly.

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::support::{Client, Daemon, ECHO, PIXEL, Setup, eventually, post, request};

/// Descriptors that both sides need for anything but these connections.
const SPARE: u64 = 500;

#[test]
fn idle_and_slow_clients_delay_no_other() {
    let (hard_soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(hard > 2 * SPARE, "this test needs more than {hard_soft} open files");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let crowd = usize::try_from((hard - SPARE).min(12_000)).unwrap();
    let (idle, slow) = (crowd * 10 / 12, crowd * 2 / 12);

    let daemon =
        Setup::new("workers = 2\n[limits]\nconnections = 20000\n[timeouts]\nheader = \"1h\"\n").start();
    let mut normal = daemon.client();
    assert_eq!(normal.ask(post(PIXEL)).body, ECHO);
    let before = resident_kib(&daemon);

    let idle: Vec<_> = (0..idle).map(|_| answered_once(&daemon)).collect();
    let with_idle = resident_kib(&daemon);
    let slow: Vec<_> = (0..slow).map(|_| amid_a_head(&daemon)).collect();
    eventually("all of them are open", || {
        (daemon.stats()["connections"]["open"] == idle.len() + slow.len() + 1).then_some(())
    });
    for _ in 0..200 {
        assert_eq!(normal.ask(post(PIXEL)).body, ECHO);
        assert_eq!(daemon.client().ask(post(PIXEL)).body, ECHO);
    }
    let with_all = resident_kib(&daemon);

    let bytes_of_each = |kib: usize, connections: &[Client]| kib * 1024 / connections.len();
    let each_idle = bytes_of_each(with_idle - before, &idle);
    let each_slow = bytes_of_each(with_all - with_idle, &slow);
    println!("{each_idle} bytes for an idle connection, {each_slow} bytes for one amid a head");
    // An idle one has no buffers at all; hyper has some for the other.
    assert!(each_idle < 2 << 10, "{each_idle} bytes for an idle connection");
    assert!(each_slow < 32 << 10, "{each_slow} bytes for one amid a head");
}

fn answered_once(daemon: &Daemon) -> Client {
    let mut client = daemon.unix_client();
    assert_eq!(client.ask(post(PIXEL)).body, ECHO);
    client
}

fn amid_a_head(daemon: &Daemon) -> Client {
    let mut client = daemon.unix_client();
    client.send("POST /pixel HTTP/1.1\r\nHost: a\r\nContent-Le");
    client
}

#[test]
fn clients_that_read_nothing_cost_bounded_memory() {
    const CLIENTS: usize = 200;

    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    // Nothing of 16 KiB is answered with more: 249 KiB, in which a document of 62 KiB stands four times.
    let whole = post(&format!(r#"{{"a":[{}1e15]}}"#, "1e15,".repeat(3220)));
    let largest = post(&format!(r#"{{"a":[{}1e15]}}"#, "1e15,".repeat(3274)));
    let text = request("POST", "/pixel", "", &"\u{1}".repeat(16 << 10));
    // Over Unix, the kernel takes the beginning of a response to JSON, or a text's whole response (96 KiB), but then
    // nothing of a second one.
    let kinds =
        [("in one read", &whole, 1, 64), ("in several reads", &largest, 1, 64), ("text", &text, 2, 96)];
    for (socket, connect) in [("Unix", Daemon::unix_client as Connect), ("TCP", Daemon::client)] {
        for (what, sent, unix_answers, kept_kib) in kinds {
            let answers = if socket == "Unix" { unix_answers } else { 1 };
            let daemon = Setup::new(
                "workers = 2\n[limits]\nconnections = 20000\n[timeouts]\nwrite = \"1h\"\nkeep-alive = \"1h\"\n",
            )
            .start();
            // What is kept for all of them.
            let warm: Vec<_> = (0..20).map(|_| unread(&daemon, connect, sent)).collect();
            wait_for_answers(&daemon, answers * warm.len());
            let (before, mut clients) = (resident_kib(&daemon), Vec::new());
            while clients.len() < CLIENTS {
                clients.extend((0..50).map(|_| unread(&daemon, connect, sent)));
                wait_for_answers(&daemon, answers * (warm.len() + clients.len()));
            }
            let each = (resident_kib(&daemon) - before) * 1024 / CLIENTS;
            println!("{each} bytes for a client that does not read, {socket}, {what}");
            // The response, and what an idle connection and the allocator take.
            assert!(each < (kept_kib + 12) << 10, "{each} bytes for each client, {socket}, {what}");
        }
    }
}

type Connect = fn(&Daemon) -> Client;

/// Sends a request, and more, and reads nothing.
fn unread(daemon: &Daemon, connect: Connect, sent: &str) -> Client {
    let mut client = connect(daemon);
    client.send(sent.to_owned() + sent + &post("{}").repeat(9));
    client
}

fn wait_for_answers(daemon: &Daemon, count: usize) {
    eventually("each has a response waiting", || {
        (daemon.stats()["requests"]["invalid"].as_u64()? >= count as u64).then_some(())
    });
}

/// VmRSS (proc_pid_status(5)).
fn resident_kib(daemon: &Daemon) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn slow_heads_bodies_and_readers_delay_no_other() {
    const SECONDS: &str = "5";

    let daemon = Daemon::start("[limits]\nconnections = 2000\n[timeouts]\nheader = \"2s\"\nbody = \"2s\"\n");
    let url = format!("http://{}/pixel", daemon.address());
    let mut attackers: Vec<_> = [
        &["-H", "-i", "1"][..],
        &["-B", "-i", "1", "-f", "application/json"],
        &["-X", "-k", "100", "-n", "1", "-t", "POST"],
    ]
    .iter()
    .map(|mode| {
        let load = ["-c", "400", "-r", "400", "-l", SECONDS, "-u", &url];
        let command = Command::new("slowhttptest").args(*mode).args(load).stdout(Stdio::null()).spawn();
        Attacker(command.expect("start slowhttptest, of the Debian package of that name"))
    })
    .collect();
    let mut kept = daemon.client();
    let mut answered = 0;
    while attackers.iter_mut().any(|attacker| attacker.0.try_wait().unwrap().is_none()) {
        assert_eq!(kept.ask(post(PIXEL)).body, ECHO);
        assert_eq!(daemon.client().ask(post(PIXEL)).body, ECHO);
        answered += 2;
    }
    let requests = daemon.stats()["requests"].clone();
    println!("{answered} answers beside {requests}");
    assert_eq!(requests["ok"], answered);
    let timed_out = requests["timedOut"].as_u64().unwrap();
    assert!(timed_out > 100, "the attackers were hardly there: {requests}");
}

/// Ends with the test, also when it fails.
struct Attacker(Child);

impl Drop for Attacker {
    fn drop(&mut self) {
        // It has ended already when all is well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
