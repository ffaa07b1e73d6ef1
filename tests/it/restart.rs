//! What clients notice of a restart under a service manager that keeps what it is given: nothing.

mod takeover;

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Client, Daemon, ECHO, PIXEL, Setup, eventually, post, post_in_two};

fn start(settings: &str) -> Daemon {
    Setup::new(settings).keeping_connections().start()
}

/// Stops a daemon and starts another one with what it has left, as systemd does.
fn restart(mut daemon: Daemon, settings: &str) -> Daemon {
    assert!(daemon.stop().success());
    successor(&daemon, settings)
}

/// The daemon that gets what one that has stopped has left.
fn successor(daemon: &Daemon, settings: &str) -> Daemon {
    Setup::new(settings)
        .keeping_connections()
        .socket("counters", daemon.stored("counters"))
        .socket("connections", daemon.stored("connections"))
        .start()
}

fn connections(daemon: &Daemon) -> Value {
    daemon.stats()["connections"].clone()
}

#[test]
fn connections_of_all_kinds_survive_a_restart() {
    let first = start("workers = 3");
    let mut clients: Vec<_> =
        (0..40).map(|i| if i % 2 == 0 { first.client() } else { first.unix_client() }).collect();
    for client in clients.iter_mut().skip(5) {
        assert_eq!(client.ask(post(PIXEL)).body, ECHO);
    }
    eventually("all are there", || (connections(&first)["open"] == 40).then_some(()));
    let second = restart(first, "workers = 2");
    for client in &mut clients {
        assert_eq!(client.ask(post(PIXEL)).body, ECHO);
    }
    let connections = connections(&second);
    assert_eq!((&connections["adopted"], &connections["accepted"]), (&json!(40), &json!(40)));
    let each: Vec<_> = second.ctl_json(&["workers"])["workers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|worker| worker["connections"].as_u64().unwrap())
        .collect();
    assert_eq!(each, [20, 20], "they are spread over the workers");
    assert_eq!(second.stats()["requests"]["ok"], 35 + 40);
    second.wait_for_event("connectionsAdopted", &[("connections", "40")]);
    let _third = restart(second, "workers = 1");
    for client in &mut clients {
        assert_eq!(client.ask(post(PIXEL)).body, ECHO);
    }
}

#[test]
fn request_in_flight_is_answered_before_handoff() {
    let mut first = start_slowly_answered();
    let mut client = first.client();
    let rest = client.begin_request();
    first.signal(Signal::SIGTERM);
    first.wait_for_notice("BARRIER=1");
    client.send(rest);
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("connection")), (200, None));
    assert!(first.wait().success());
    let _second = successor(&first, "");
    assert_eq!(client.ask(post(PIXEL)).body, ECHO);
}

#[test]
fn partial_header_is_completed_after_handoff() {
    let mut first = start("timeouts.header = \"5m\"\ntimeouts.drain = \"5m\"");
    let request = post(PIXEL);
    let (begin, rest) = request.split_at(30);
    let mut clients = [first.client(), first.unix_client()];
    for client in &mut clients {
        assert_eq!(client.ask(post(PIXEL) + begin).status, 200);
    }
    assert!(first.stop().success());
    let _second = successor(&first, "");
    for client in &mut clients {
        assert_eq!(client.ask(rest).body, ECHO);
    }
}

#[test]
fn buffered_partial_request_is_handed_off() {
    let mut first = start_slowly_answered();
    let mut client = first.client();
    let (begin, rest) = post_in_two();
    // The half comes together with a whole one, so it is read with it.
    client.send([post(PIXEL).as_bytes(), begin.as_bytes()].concat());
    assert_eq!(client.answer().status, 200);
    first.signal(Signal::SIGTERM);
    first.wait_for_notice("BARRIER=1");
    client.send(rest);
    assert_eq!(client.answer().body, ECHO);
    assert!(first.wait().success());
    let _second = successor(&first, "");
    assert_eq!(client.ask(post(PIXEL)).body, ECHO);
}

// --- slow clients ---

/// No deadline of the daemon, and no end of its patience, is what ends it.
const PATIENT: &str =
    "workers = 2\ntimeouts = { header = \"5m\", body = \"5m\", write = \"5m\", drain = \"5m\" }";
/// What slow clients may make the end of the daemon last, on a busy machine; it is 1 s and a little.
const BOUND: Duration = Duration::from_secs(5);

/// A daemon that serves for 2 s after SIGTERM.
fn start_slowly_answered() -> Daemon {
    Setup::new("").keeping_connections().slowly_answered(Duration::from_secs(2)).start()
}

/// Waits until so many connections wait for something else than their next request.
fn wait_until_busy(daemon: &Daemon, count: u64) {
    eventually("all have begun", || {
        let connections = connections(daemon);
        let number = |key: &str| connections[key].as_u64().unwrap();
        (number("open") - number("idle") == count).then_some(())
    });
}

fn stop_within_bound(daemon: &mut Daemon) {
    let begun = Instant::now();
    assert!(daemon.stop().success());
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
}

/// A chunked request in pieces: within the header section, a chunk's size and its data.
fn chunked() -> [String; 4] {
    let (begin, rest) = PIXEL.split_at(10);
    let head = "POST /pixel HTTP/1.1\r\nhost: pixeld\r\ncontent-type: application/json\r\ntransfer-enc";
    [
        head.into(),
        format!("oding: chunked\r\n\r\nA;x=y\r\n{begin}\r\n1"),
        format!("F\r\n{}", &rest[..5]),
        format!("{}\r\n0\r\nx: y\r\n\r\n", &rest[5..]),
    ]
}

#[test]
fn slow_requests_are_completed_in_the_next_process() {
    let request = post(PIXEL);
    let body = request.len() - PIXEL.len();
    let other = request.replace("host:", "connection: keep-alive, x\r\nhost:");
    let cases: Vec<Vec<String>> = vec![
        vec![request[..1].into(), request[1..].into()],
        vec![request[..body - 1].into(), request[body - 1..].into()],
        vec![request[..body].into(), request[body..].into()],
        vec![request[..body + 10].into(), request[body + 10..].into()],
        // hyper has answered the first, and has the begin of the second.
        vec![format!("{other}{}", &request[..body + 10]), request[body + 10..].into()],
        chunked()[..1].iter().cloned().chain([chunked()[1..].concat()]).collect(),
        vec![chunked()[..2].concat(), chunked()[2..].concat()],
        vec![chunked()[..3].concat(), chunked()[3..].concat()],
        chunked().into(),
    ];
    let mut daemon = start(PATIENT);
    let mut clients: Vec<_> = cases
        .iter()
        .flat_map(|pieces| [daemon.client(), daemon.unix_client()].map(|client| (client, pieces.iter())))
        .collect();
    // One of them in more pieces than the others, over so many processes.
    for process in 1.. {
        let mut slow = 0;
        for (client, pieces) in &mut clients {
            if let Some(piece) = pieces.next() {
                client.send(piece);
                slow += u64::from(pieces.len() > 0);
            }
        }
        if slow == 0 {
            break;
        }
        wait_until_busy(&daemon, slow);
        stop_within_bound(&mut daemon);
        let stopped = daemon.wait_for_event("stopped", &[("cut_off", "0")]);
        assert!(process > 1 || stopped.field("handed_off") == "18", "{stopped:?}");
        daemon = successor(&daemon, PATIENT);
    }
    for ((client, _), pieces) in clients.iter_mut().zip(cases.iter().flat_map(|pieces| [pieces; 2])) {
        for _ in pieces.concat().matches("POST ") {
            let answer = client.answer();
            assert_eq!((answer.status, answer.body.as_str()), (200, ECHO));
        }
    }
}

#[test]
fn expect_continue_is_repeated_after_handoff() {
    let (head, body) = (post(""), PIXEL);
    let head =
        head.replace("content-length: 0", &format!("content-length: {}\r\nexpect: 100-continue", body.len()));
    let mut first = start(PATIENT);
    let mut clients = [first.client(), first.unix_client(), first.client()];
    for client in &mut clients {
        client.send(&head);
        assert_eq!(client.head().status, 100);
    }
    // One of them has begun to send it.
    clients[2].send(&body[..10]);
    wait_until_busy(&first, 3);
    stop_within_bound(&mut first);
    let _second = successor(&first, PATIENT);
    for (i, client) in clients.iter_mut().enumerate() {
        client.send(&body[if i == 2 { 10 } else { 0 }..]);
        let interim = client.head();
        assert_eq!((interim.status, interim.fields.len()), (100, 0));
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.as_str()), (200, ECHO));
        assert_eq!(client.ask(post(PIXEL)).body, ECHO);
    }
}

#[test]
fn client_that_reads_no_response_delays_no_restart() {
    let mut first = start(PATIENT);
    let mut idle = first.client();
    assert_eq!(idle.ask(post(PIXEL)).body, ECHO);
    let mut unread = first.unix_client();
    unread.send_until_full(post(PIXEL).as_bytes());
    stop_within_bound(&mut first);
    first.wait_for_event("stopped", &[("handed_off", "1"), ("cut_off", "1")]);
    let second = successor(&first, PATIENT);
    assert_eq!(idle.ask(post(PIXEL)).body, ECHO);
    assert_eq!(connections(&second)["writeTimeouts"], 1);
    unread.expect_end_after_responses();
}

#[test]
fn client_that_closes_late_delays_no_restart() {
    let mut first = start(PATIENT);
    let last = post(PIXEL).replace("host:", "connection: close\r\nhost:");
    let mut client = first.client();
    // Something follows, so the daemon waits for the client to close.
    assert_eq!(client.ask(last + "x").body, ECHO);
    stop_within_bound(&mut first);
    first.wait_for_event("stopped", &[("cut_off", "0")]);
}

#[test]
fn request_that_fits_no_handoff_is_cut_alone() {
    let settings = format!("{PATIENT}\nlimits.body = \"1M\"");
    let mut first = start(&settings);
    let mut others = [first.client(), first.client()];
    assert_eq!(others[0].ask(post(PIXEL)).body, ECHO);
    let rest = others[1].begin_request();
    let mut large = first.client();
    large.send(&post(&" ".repeat(200_000))[..100_000]);
    wait_until_busy(&first, 2);
    stop_within_bound(&mut first);
    first.wait_for_event("stopped", &[("handed_off", "2"), ("cut_off", "1")]);
    large.expect_cut();
    let _second = successor(&first, &settings);
    assert_eq!(others[1].ask(rest).body, ECHO);
    assert_eq!(others[0].ask(post(PIXEL)).body, ECHO);
}

#[test]
fn restarts_with_slow_clients_lose_no_request() {
    restart_under_load(5);
}

#[test]
fn restarts_under_load_lose_no_request() {
    restart_under_load(0);
}

/// Restarts again and again while clients send, beside so many that have begun a request and finish it in
/// the next process.
fn restart_under_load(slow: usize) {
    let mut daemon = start(PATIENT);
    let (done, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let clients: Vec<_> = (0..8).map(|_| daemon.client()).collect();
    let mut slow_clients: Vec<_> = (0..slow).map(|_| daemon.client()).collect();
    let (begin, rest) = post_in_two();
    thread::scope(|scope| {
        let _stop = OnDrop(|| done.store(true, Relaxed));
        for mut client in clients {
            let (done, answered) = (&done, &answered);
            scope.spawn(move || {
                while !done.load(Relaxed) {
                    assert_eq!(client.ask(post(PIXEL)).body, ECHO);
                    answered.fetch_add(1, Relaxed);
                }
            });
        }
        for _ in 0..5 {
            for client in &mut slow_clients {
                client.send(&begin);
            }
            stop_within_bound(&mut daemon);
            daemon = successor(&daemon, PATIENT);
            for client in &mut slow_clients {
                assert_eq!(client.ask(rest).body, ECHO);
                answered.fetch_add(1, Relaxed);
            }
            let before = answered.load(Relaxed);
            eventually("requests go on", || (answered.load(Relaxed) > before + 100).then_some(()));
        }
    });
    assert_eq!(daemon.stats()["requests"]["ok"], answered.load(Relaxed), "each is counted, and once");
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn unstored_connections_get_a_last_response() {
    let mut daemon = Daemon::start("");
    let mut clients: Vec<_> = (0..4).map(|_| daemon.client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask(post(PIXEL)).field("connection"), None);
    }
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for_notice("STOPPING=1");
    let answer = clients[0].ask(post(PIXEL));
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    assert!(daemon.wait().success());
    for client in clients {
        client.expect_end();
    }
}

#[test]
fn stop_logs_requests_and_connections() {
    let mut first = start("workers = 1");
    let mut clients: Vec<_> = (0..3).map(|_| first.client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask(post(PIXEL)).status, 200);
    }
    assert!(first.stop().success());
    first.wait_for_event("workerExited", &[("worker", "1"), ("moved", "0"), ("handed_off", "3")]);
    first.wait_for_event("stopped", &[("requests", "3"), ("handed_off", "3"), ("cut_off", "0")]);

    let mut second = successor(&first, "");
    assert_eq!(clients[0].ask(post(PIXEL)).status, 200);
    assert!(second.stop().success());
    second.wait_for_event("stopped", &[("requests", "1"), ("handed_off", "3")]);
}

// --- a service manager that has much to do ---

fn start_with_a_slow_manager(settings: &str, slowness: Duration) -> (Daemon, Vec<Client>) {
    let daemon = Setup::new(settings).keeping_connections().slowly_answered(slowness).start();
    let mut clients: Vec<_> = (0..10).map(|_| daemon.client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask(post(PIXEL)).status, 200);
    }
    (daemon, clients)
}

/// Waits for the end of this daemon, and sees that the next one has its clients.
fn assert_all_go_on(mut daemon: Daemon, clients: Vec<Client>) {
    assert!(daemon.wait().success());
    daemon.wait_for_event("stopped", &[("handed_off", &clients.len().to_string())]);
    let _next = successor(&daemon, "");
    for mut client in clients {
        assert_eq!(client.ask(post(PIXEL)).body, ECHO);
    }
}

#[test]
fn sighup_during_stop_costs_no_connection() {
    let (first, clients) = start_with_a_slow_manager("", Duration::from_millis(500));
    first.signal(Signal::SIGTERM);
    first.wait_for_notice("BARRIER=1");
    first.signal(Signal::SIGHUP);
    assert_all_go_on(first, clients);
}

#[test]
fn slow_manager_is_awaited_while_serving() {
    let (first, mut clients) = start_with_a_slow_manager("", Duration::from_secs(4));
    first.signal(Signal::SIGTERM);
    first.wait_for_notice("BARRIER=1");
    // Also those of new clients.
    clients.push(first.client());
    for client in &mut clients {
        let answer = client.ask(post(PIXEL));
        assert_eq!((answer.status, answer.field("connection")), (200, None));
    }
    assert_all_go_on(first, clients);
}

#[test]
fn silent_manager_fails_the_handoff() {
    let settings = "[timeouts]\ndrain = \"100ms\"";
    let (mut daemon, clients) = start_with_a_slow_manager(settings, Duration::from_secs(60));
    assert!(daemon.stop().success());
    let failed = daemon.wait_for_event("handoffFailed", &[("connections", "10")]);
    assert!(failed.text.contains("no confirmation from systemd within 3 s"), "{failed:?}");
    for client in clients {
        client.expect_end();
    }
}

#[test]
fn second_stop_waits_for_no_manager() {
    let (mut daemon, clients) = start_with_a_slow_manager("", Duration::from_secs(60));
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for_notice("BARRIER=1");
    assert!(daemon.stop().success());
    for client in clients {
        client.expect_end();
    }
}

#[test]
fn unusable_stored_connections_are_reported() {
    let mut first = start("");
    let mut client = first.client();
    assert_eq!(client.ask(post(PIXEL)).status, 200);
    assert!(first.stop().success());
    let garbage = std::fs::File::open("/dev/null").unwrap();
    let second = Setup::new("").socket("connections", garbage).start();
    second.wait_for_event("adoptFailed", &[("connections", "0")]);
    assert_eq!(second.client().ask(post(PIXEL)).body, ECHO);
}
