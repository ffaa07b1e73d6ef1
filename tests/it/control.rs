//! What pixeldctl sees of a running daemon, and does to it.

mod daemon;
mod library;
mod output;
mod versions;

use std::{
    collections::BTreeMap,
    process::Output,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
};

use serde_json::{Value, json};

use crate::support::{
    Client, Daemon, ECHO, PIXEL, Varlink, code, ctl, eventually, post, post_in_two, request, stderr, stdout,
};

/// Has to fail with this code and say something that contains `part`, on stderr alone.
fn assert_fails(output: &Output, expected: i32, part: &str) {
    assert_eq!(code(output), expected, "{output:?}");
    assert!(stderr(output).contains(part), "{output:?}");
    assert_eq!(stdout(output), "");
}

/// Connections that have each had an answer, and stay open.
fn busy_clients(daemon: &Daemon, count: usize) -> Vec<Client> {
    let mut clients: Vec<_> = (0..count).map(|_| daemon.unix_client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask(post(PIXEL)).body, ECHO);
    }
    clients
}

/// How the daemon calls this user.
fn me() -> String {
    let uid = nix::unistd::getuid();
    if uid.is_root() { "root (pid ".into() } else { format!("uid {uid} (pid ") }
}

/// How many connections each worker has, once no worker is leaving any more.
fn spread(daemon: &Daemon) -> Option<Vec<u64>> {
    let reply = daemon.ctl_json(&["workers"]);
    let workers = reply["workers"].as_array().unwrap();
    let connections =
        |worker: &Value| (worker["state"] == "serving").then(|| worker["connections"].as_u64().unwrap());
    workers.iter().map(connections).collect()
}

fn is_even(spread: &[u64]) -> bool {
    spread.iter().max().unwrap() - spread.iter().min().unwrap() <= 1
}

/// Changes the number of workers over a connection that is already there, which takes no time.
fn set_workers(admin: &mut Varlink, count: u64) {
    let reply = admin.call("io.pixeld.Control.SetWorkers", &json!({ "count": count }));
    assert_eq!(reply["parameters"]["to"], count, "{reply}");
}

// --- pixeldctl stats ---

#[test]
fn stats_count_every_request_by_its_outcome_exactly() {
    let daemon = Daemon::start("workers = 3\n[timeouts]\nheader = \"200ms\"");
    let out_of_range = r#"{"x":1,"y":2,"channel":"R","value":300}"#;
    let head = "POST /pixel HTTP/1.1\r\nhost: h\r\n";
    let not_utf8 =
        [format!("{head}content-type: application/json\r\ncontent-length: 1\r\n\r\n").as_bytes(), b"\xff"]
            .concat();
    let mix: [(&str, u64, u16, Vec<u8>); 8] = [
        ("ok", 11, 200, post(PIXEL).into()),
        ("invalid", 7, 422, post("{}").into()),
        ("outOfRange", 5, 422, post(out_of_range).into()),
        ("malformed", 4, 400, not_utf8),
        ("notFound", 3, 404, request("POST", "/nope", "", "123").into()),
        ("methodNotAllowed", 2, 405, request("GET", "/pixel", "", "").into()),
        ("timedOut", 2, 408, head.into()),
        ("tooLarge", 1, 413, format!("{head}content-length: 99999\r\n\r\n").into()),
    ];
    for (_, count, status, request) in &mix {
        for _ in 0..*count {
            assert_eq!(daemon.unix_client().ask(request).status, *status);
        }
    }
    let mut waiting = daemon.unix_client();
    assert_eq!(waiting.ask(post(PIXEL)).status, 200);

    let stats = eventually("only the last connection is left", || {
        Some(daemon.stats()).filter(|stats| stats["connections"]["open"] == 1)
    });
    let counted: BTreeMap<_, _> = stats["requests"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(outcome, count)| (outcome.as_str(), count.as_u64().unwrap()))
        .filter(|(_, count)| *count > 0)
        .collect();
    let mut expected: BTreeMap<_, _> = mix.iter().map(|(outcome, count, ..)| (*outcome, *count)).collect();
    expected.extend([("ok", 12), ("total", 36)]);
    assert_eq!(counted, expected);
    let connections = &stats["connections"];
    assert_eq!(
        [&connections["accepted"], &connections["limit"], &connections["acceptPauses"]],
        [&json!(36), &json!(10_000), &json!(0)]
    );
    let requests = mix.iter().map(|(_, count, _, request)| *count * request.len() as u64).sum::<u64>();
    assert_eq!(stats["bytesReceived"], requests + post(PIXEL).len() as u64);
    assert!(stats["bytesSent"].as_u64().unwrap() > 12 * ECHO.len() as u64);
    let latency = &stats["latency"];
    let in_buckets: u64 =
        latency["buckets"].as_array().unwrap().iter().map(|bucket| bucket["count"].as_u64().unwrap()).sum();
    assert_eq!((&latency["count"], in_buckets), (&json!(36), 36), "{latency}");
    assert!(latency["p50Us"].as_u64() <= latency["p99Us"].as_u64(), "{latency}");
    assert!(latency["maxUs"].as_u64() >= Some(200_000), "two requests took timeouts.header: {latency}");
    assert_eq!(
        [&stats["state"], &stats["drainedBy"], &stats["workers"], &stats["logLinesDropped"]],
        [&json!("serving"), &Value::Null, &json!(3), &json!(0)],
    );
    let process = &stats["process"];
    assert_eq!(
        [&process["version"], &process["pid"], &process["starts"]],
        [&json!(env!("CARGO_PKG_VERSION")), &json!(daemon.pid()), &json!(1)],
    );
}

#[test]
fn stats_print_labelled_lines() {
    let daemon = Daemon::start("workers = 2");
    daemon.unix_client().ask(post(PIXEL));
    let output = daemon.ctl(&["stats"]);
    let text = stdout(&output);
    assert_eq!(code(&output), 0);
    for part in [
        &format!("(pid {})", daemon.pid()),
        "state: serving",
        &format!("unix:{}", daemon.http_socket().display()),
        "workers: 2",
        "requests: 1 (1 ok)",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('\x1b'), "no colours in a pipe: {text:?}");
}

#[test]
fn stats_can_be_read_while_the_daemon_stops() {
    let daemon = Daemon::start("");
    let mut client = daemon.client();
    client.send(post_in_two().0);
    eventually("the connection is known", || (daemon.stats()["connections"]["open"] == 1).then_some(()));
    let mut admin = daemon.varlink();
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    daemon.wait_for_notice("STOPPING=1");
    assert_eq!(daemon.stats()["state"], "stopping");
    let reply = admin.call("io.pixeld.Control.SetWorkers", &json!({ "count": 3 }));
    assert_eq!(reply["error"], "io.pixeld.Control.Stopping");
    assert_fails(&daemon.ctl(&["reload"]), 75, "stopping");
}

// --- pixeldctl workers ---

#[test]
fn workers_command_lists_each_worker() {
    let daemon = Daemon::start("workers = 3");
    let _clients = busy_clients(&daemon, 6);

    let text = stdout(&daemon.ctl(&["workers"]));
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("WORKER"), "{text}");
    for (line, number) in lines[1..4].iter().zip(1..) {
        let cells: Vec<_> = line.split_whitespace().collect();
        assert_eq!(cells[..6], [&number.to_string(), "serving", "2", "2", "2", "2"], "{text}");
    }
    assert!(text.ends_with("3 serving, 3 configured\n"), "{text}");
    assert!(!text.contains('\x1b'), "{text:?}");

    let reply = daemon.ctl_json(&["workers"]);
    assert_eq!(reply["configured"], 3);
    assert_eq!(spread(&daemon), Some(vec![2, 2, 2]));
}

#[test]
fn worker_count_is_changed_and_reset() {
    let daemon = Daemon::start("workers = 2");
    let output = daemon.ctl(&["workers", "4"]);
    assert_eq!((code(&output), stdout(&output).as_str()), (0, "workers: 2 -> 4\n"));
    assert_eq!(daemon.stats()["workers"], 4);
    assert_eq!(stdout(&daemon.ctl(&["workers", "-1"])), "workers: 4 -> 3\n");
    assert_eq!(stdout(&daemon.ctl(&["workers", "+2"])), "workers: 3 -> 5\n");
    let back = json!({ "from": 5, "to": 2, "moved": 0, "leaving": 0 });
    assert_eq!(daemon.ctl_json(&["workers", "auto"]), back);
    let set = daemon.wait_for_event("workersSet", &[("from", "2"), ("to", "4")]);
    assert!(set.text.contains(&format!(" by {}", me())), "{set:?}");
}

#[test]
fn worker_exit_follows_the_change_that_caused_it() {
    let daemon = Daemon::start("workers = 6");
    daemon.configure("workers = 3");
    daemon.ctl(&["reload"]);
    daemon.wait_for_event("workerExited", &[("worker", "4")]);
    daemon.wait_for_event("workerExited", &[("worker", "5")]);
    daemon.wait_for_event("workerExited", &[("worker", "6")]);
    daemon.ctl(&["workers", "1"]);
    let events: Value = daemon.ctl_json(&["events"]);
    let mut names: Vec<_> =
        events["events"].as_array().unwrap().iter().map(|event| event["name"].as_str().unwrap()).collect();
    names.dedup();
    let expected =
        ["configLoaded", "workerStarted", "ready", "reloaded", "workerExited", "workersSet", "workerExited"];
    assert_eq!(names, expected);
}

#[test]
fn worker_count_changes_fail_no_request() {
    let daemon = Daemon::start("workers = 2");
    let (address, mut admin) = (daemon.address(), daemon.varlink());
    let (done, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::tcp(address);
                while !done.load(Relaxed) {
                    assert_eq!(client.ask(post(PIXEL)).body, ECHO);
                    answered.fetch_add(1, Relaxed);
                }
            });
        }
        // However this ends, the clients end with it, for the scope waits for them.
        let _stop = OnDrop(|| done.store(true, Relaxed));
        for count in [3, 1, 4, 2, 5, 1, 3] {
            set_workers(&mut admin, count);
            let before = answered.load(Relaxed);
            eventually("requests go on", || (answered.load(Relaxed) > before + 200).then_some(()));
        }
    });
    let requests = &daemon.stats()["requests"];
    assert_eq!([&requests["ok"], &requests["total"]], [answered.load(Relaxed); 2]);
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn connections_spread_evenly_over_workers() {
    let daemon = Daemon::start("workers = 3");
    let mut clients = busy_clients(&daemon, 64);
    assert!(is_even(&spread(&daemon).unwrap()));

    for count in ["5", "2", "4"] {
        assert!(daemon.ctl(&["workers", count]).status.success());
        let spread = eventually("connections are spread evenly", || {
            spread(&daemon).filter(|spread| spread.iter().sum::<u64>() == 64 && is_even(spread))
        });
        assert_eq!(spread.len().to_string(), count);
        for client in &mut clients {
            assert_eq!(client.ask(post(PIXEL)).body, ECHO);
        }
    }
}

#[test]
fn leaving_worker_hands_over_new_connections() {
    let daemon = Daemon::start("workers = 4");
    let mut admin = daemon.varlink();
    let mut clients = Vec::new();
    for round in 0..20 {
        // These are just about to reach their workers.
        clients.extend((0..8).map(|_| daemon.unix_client()));
        set_workers(&mut admin, if round % 2 == 0 { 1 } else { 4 });
    }
    set_workers(&mut admin, 1);
    let spread = eventually("all connections are at the last worker", || spread(&daemon));
    assert_eq!(spread, [clients.len() as u64]);
    assert_eq!(clients[0].ask(post(PIXEL)).body, ECHO);
}

#[test]
fn impossible_worker_counts_are_usage_errors() {
    let daemon = Daemon::start("workers = 2");
    for count in ["0", "1025", "abc", "-0", "1.5"] {
        assert_fails(&daemon.ctl(&["workers", count]), 64, count);
    }
    assert_fails(&daemon.ctl(&["workers", "-2"]), 65, "-2 would leave no worker of 2");
    assert_fails(&daemon.ctl(&["walkers"]), 64, "walkers");
    assert_eq!(daemon.stats()["workers"], 2);
}

#[test]
fn control_socket_is_read_only() {
    let daemon = Daemon::start("workers = 2");
    let (control, admin) = (daemon.control_socket(), daemon.admin_socket());
    for reading in ["status", "stats", "workers", "events", "config", "log-level"] {
        assert_eq!(code(&ctl(&control, &[reading])), 0);
    }
    let changing = [
        &["workers", "3"][..],
        &["reload"],
        &["reload", "--dry-run"],
        &["log-level", "debug"],
        &["drain"],
        &["resume"],
    ];
    for changing in changing {
        assert_fails(&ctl(&control, changing), 77, admin.to_str().unwrap());
    }
    let stats = daemon.stats();
    assert_eq!((&stats["workers"], &stats["state"]), (&json!(2), &json!("serving")));
}

// --- pixeldctl reload ---

#[test]
fn reload_prints_changes() {
    let daemon = Daemon::start("workers = 2");
    daemon.configure("workers = 2\n[limits]\nbody = 100\n[log]\ntarget = \"stderr\"");
    let output = daemon.ctl(&["reload"]);
    let expected = "limits.body: \"16KiB\" -> 100\n\
                    log.target: \"auto\" -> \"stderr\" (only a restart applies it)\n";
    assert_eq!((code(&output), stdout(&output).as_str()), (0, expected));
    assert_eq!(
        daemon.ctl_json(&["reload"]),
        json!({
            "applied": true,
            "changes": [{ "key": "log.target", "from": "\"auto\"", "to": "\"stderr\"", "needsRestart": true, "overridden": false }],
            "warnings": [],
        })
    );
}

#[test]
fn reload_of_a_faulty_file_fails_with_errors() {
    let daemon = Daemon::start("workers = 2");
    daemon.configure("workers = 0\nwrokers = 1");
    let output = daemon.ctl(&["reload"]);
    let file = daemon.config_file();
    assert_fails(&output, 78, &format!("{}:1: workers: 0 is not valid", file.display()));
    assert_fails(&output, 78, &format!("{}:2: wrokers: unknown key", file.display()));
    assert_fails(&output, 78, "nothing was changed");
    assert_eq!(daemon.stats()["workers"], 2);
}

#[test]
fn malformed_varlink_is_logged_with_client() {
    let daemon = Daemon::start("[log]\nlevel = \"debug\"");
    for (socket, name) in [(daemon.admin_socket(), "admin"), (daemon.control_socket(), "control")] {
        let mut client = Varlink::connect(&socket);
        client.send("{\"no\":\"call\"}\0").unwrap();
        assert_eq!(client.reply(), None);
        daemon.wait_for_event("controlFailed", &[("client", &format!("{name}:{}", std::process::id()))]);
    }
}
