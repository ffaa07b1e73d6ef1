//! What an operator does to a running daemon, and what is left of it over restarts.

mod timeouts;

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    os::fd::OwnedFd,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{
    Client, Daemon, ECHO, PIXEL, PIXELDCTL, Setup, code, eventually, post, post_in_two, stderr, stdout,
};

/// The reply to a method that may be called at any time.
fn call(daemon: &Daemon, method: &str, parameters: &Value) -> Value {
    daemon.varlink().call(&format!("io.pixeld.Control.{method}"), parameters)
}

/// The names of the events so far.
fn events(daemon: &Daemon) -> Vec<String> {
    let reply = daemon.ctl_json(&["events"]);
    let events = reply["events"].as_array().unwrap();
    events.iter().map(|event| event["name"].as_str().unwrap().into()).collect()
}

/// What GetConfig says of a key.
fn setting(daemon: &Daemon, key: &str) -> Value {
    let reply = call(daemon, "GetConfig", &json!({}));
    let settings = reply["parameters"]["settings"].as_array().unwrap();
    settings.iter().find(|setting| setting["key"] == key).unwrap().clone()
}

/// Starts a daemon that gets the counters that this one has stored, as systemd does at a restart.
fn restart(daemon: &Daemon, settings: &str) -> Daemon {
    Setup::new(settings).socket("counters", daemon.stored("counters")).start()
}

// --- drain ---

#[test]
fn drained_daemon_answers_503() {
    let daemon = Daemon::start("workers = 2");
    let mut client = daemon.client();
    assert_eq!(client.ask(post(PIXEL)).status, 200);
    assert!(stdout(&daemon.ctl(&["drain"])).starts_with("Drained: "));

    let answer = client.ask(post(PIXEL));
    assert_eq!((answer.status, answer.body.as_str()), (503, r#"{"detail":"Service Unavailable"}"#));
    assert_eq!([answer.field("retry-after"), answer.field("connection")], [Some("1"), Some("close")]);
    assert_eq!(daemon.unix_client().ask("GET /nothing HTTP/1.1\r\nhost: h\r\n\r\n").status, 503);
    let stats = daemon.stats();
    assert_eq!((&stats["state"], &stats["requests"]["unavailable"]), (&json!("drained"), &json!(2)));
    assert!(stats["drainedBy"]["atUnixMs"].as_u64() > Some(1_600_000_000_000), "{stats}");
    daemon.wait_for_notice_where("the status says so", |notice| notice.contains("STATUS=Drained"));
    for view in ["status", "stats"] {
        assert!(stdout(&daemon.ctl(&[view])).contains("drained by "), "{view}");
    }
    assert_eq!(daemon.ctl_json(&["drain"]), json!({ "already": true }));

    assert_eq!(daemon.ctl_json(&["resume"]), json!({ "already": false }));
    assert_eq!(daemon.client().ask(post(PIXEL)).body, ECHO);
    assert_eq!(daemon.ctl_json(&["resume"]), json!({ "already": true }));
    assert_eq!(daemon.stats()["drainedBy"], Value::Null);
    assert_eq!(events(&daemon)[events(&daemon).len() - 2..], ["drained", "resumed"]);
}

#[test]
fn drain_answers_the_request_in_flight() {
    let daemon = Daemon::start("");
    let mut client = daemon.client();
    let rest = client.begin_request();
    daemon.ctl(&["drain"]);
    client.send(rest);
    assert_eq!(client.answer().status, 200);
}

#[test]
fn drain_waits_for_the_request_in_flight() {
    let daemon = Daemon::start("");
    let mut client = daemon.client();
    let rest = client.begin_request();
    eventually("the request has begun", || {
        let connections = daemon.stats()["connections"].clone();
        (connections["open"] == 1 && connections["idle"] == 0).then_some(())
    });
    let early = daemon.ctl(&["drain", "--wait=200ms"]);
    assert_eq!(code(&early), 75, "{early:?}");
    assert!(stderr(&early).contains("1 request in flight after 200ms"), "{early:?}");
    let early = daemon.ctl(&["drain", "--wait=200ms", "--json"]);
    let state: Value = serde_json::from_str(&stdout(&early)).unwrap();
    assert_eq!((code(&early), state), (75, json!({ "already": true, "inFlight": 1 })));
    let waiting = Command::new(PIXELDCTL)
        .args(["drain", "--wait", "--socket"])
        .arg(daemon.admin_socket())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    client.send(rest);
    assert_eq!(client.answer().status, 200);
    let waited = waiting.wait_with_output().unwrap();
    assert_eq!((code(&waited), stdout(&waited).contains("none is in flight")), (0, true), "{waited:?}");
}

#[test]
fn drain_does_not_wait_for_idle_clients() {
    let daemon = Daemon::start("");
    let _silent = daemon.client();
    let mut lingering = daemon.client();
    let last = post(PIXEL).replacen("\r\n", "\r\nconnection: close\r\n", 1);
    assert_eq!(lingering.ask(last).status, 200);
    assert_eq!(code(&daemon.ctl(&["drain", "--wait=5s"])), 0);
}

#[test]
fn wait_ends_in_time_if_the_daemon_is_stuck() {
    let daemon = Daemon::start("");
    let mut client = daemon.client();
    let _rest = client.begin_request();
    let mut waiting = Command::new(PIXELDCTL)
        .args(["drain", "--wait=2s", "--timeout=1h", "--socket"])
        .arg(daemon.admin_socket())
        .spawn()
        .unwrap();
    daemon.wait_for_event("drained", &[]);
    daemon.signal(Signal::SIGSTOP);
    let ended = eventually("the wait ends", || waiting.try_wait().unwrap());
    daemon.signal(Signal::SIGCONT);
    assert_eq!(ended.code(), Some(75));
}

#[test]
fn only_the_last_events_are_shown() {
    let daemon = Daemon::start("");
    daemon.ctl(&["drain"]);
    daemon.ctl(&["resume"]);
    assert!(events(&daemon).len() > 2);
    let last = daemon.ctl_json(&["events", "-n", "2"]);
    let names: Vec<_> =
        last["events"].as_array().unwrap().iter().map(|event| event["name"].clone()).collect();
    assert_eq!(names, ["drained", "resumed"]);
    assert_eq!(stdout(&daemon.ctl(&["events", "-n", "1"])).lines().count(), 1);
}

#[test]
fn json_of_the_configuration_has_values() {
    let daemon = Daemon::start("workers = 2\n[limits]\nbody = \"4KiB\"");
    daemon.ctl(&["workers", "3"]);
    let reply = daemon.ctl_json(&["config"]);
    let value = |key: &str, field: &str| {
        let settings = reply["settings"].as_array().unwrap();
        settings.iter().find(|setting| setting["key"] == key).unwrap()[field].clone()
    };
    assert_eq!((value("workers", "value"), value("workers", "override")), (json!(2), json!(3)));
    assert_eq!(value("limits.body", "value"), "4KiB");
    assert!(value("listen.http", "value").is_array());
    assert_eq!(daemon.ctl_json(&["log-level"])["value"], "info");
}

// --- what is left over a restart ---

#[test]
fn counters_survive_restart_and_crash() {
    let mut first = Daemon::start("workers = 3");
    for _ in 0..7 {
        assert_eq!(first.unix_client().ask(post(PIXEL)).status, 200);
    }
    let since = first.stats()["countersSinceUnixMs"].clone();
    assert!(first.stop().success());

    let second = restart(&first, "workers = 1");
    assert_eq!(second.client().ask(post(PIXEL)).status, 200);
    let stats = second.stats();
    assert_eq!((&stats["requests"]["ok"], &stats["latency"]["count"]), (&json!(8), &json!(8)));
    assert_eq!((&stats["connections"]["accepted"], &stats["countersSinceUnixMs"]), (&json!(8), &since));
    let worker = &second.ctl_json(&["workers"])["workers"][0];
    assert_eq!(worker["requests"], 1, "a worker counts from its own start");

    second.signal(Signal::SIGKILL);
    let third = restart(&second, "");
    let stats = third.stats();
    assert_eq!((&stats["requests"]["ok"], &stats["process"]["starts"]), (&json!(8), &json!(3)));
    assert_eq!(stats["process"]["pid"], third.pid());
}

#[test]
fn drained_state_survives_a_restart() {
    let first = Daemon::start("");
    first.ctl(&["drain"]);
    let by = first.stats()["drainedBy"].clone();
    let second = restart(&first, "");
    assert!(second.ready.contains("STATUS=Drained"), "{}", second.ready);
    assert_eq!(second.stats()["drainedBy"], by);
    assert_eq!(second.client().ask(post(PIXEL)).status, 503);
    second.wait_for_event("drainedAtStart", &[]);
    second.ctl(&["resume"]);
    assert_eq!(second.client().ask(post(PIXEL)).status, 200);
}

/// A file that no version has counted in.
fn stale() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

#[test]
fn counters_of_another_version_are_reset_once() {
    let first = Setup::new("").socket("counters", stale()).start();
    first.wait_for_event("countersReset", &[]);
    assert_eq!(first.stats()["process"]["starts"], 1);
    assert_eq!(first.unix_client().ask(post(PIXEL)).status, 200);
    first.ctl(&["drain"]);

    let kept = first.all_stored("counters");
    let second = kept.into_iter().fold(Setup::new(""), |setup, file| setup.socket("counters", file)).start();
    second.wait_for_event("drainedAtStart", &[]);
    let stats = second.stats();
    assert_eq!((&stats["requests"]["ok"], &stats["process"]["starts"]), (&json!(1), &json!(2)));
    assert_eq!(second.logged("countersReset").len(), 0, "{}", second.log());
    assert_eq!(second.all_stored("counters").len(), 1, "no room is taken up for nothing");
}

#[test]
fn stale_descriptors_beside_counters_are_removed() {
    let first = Daemon::start("");
    let counters = first.stored("counters");
    drop(first);
    let other = tempfile::tempfile().unwrap();
    let second = Setup::new("")
        .socket("counters", other)
        .socket("counters", counters)
        .socket("counters", stale())
        .start();
    assert_eq!(second.stats()["process"]["starts"], 2);
    assert_eq!(second.logged("countersReset").len(), 0, "{}", second.log());
    assert_eq!(restart(&second, "").stats()["process"]["starts"], 3);
    assert_eq!(second.all_stored("counters").len(), 1);
}

#[test]
fn unusable_counters_are_logged_once() {
    let other = tempfile::tempfile().unwrap();
    let mut daemon = Setup::new("").socket("counters", other).socket("counters", stale()).start();
    assert_eq!(daemon.all_stored("counters").len(), 1);
    assert!(daemon.stop().success());
    assert_eq!(daemon.logged("countersReset").len(), 1, "{}", daemon.log());
}

// --- runtime overrides ---

#[test]
fn worker_override_survives_a_reload() {
    let daemon = Daemon::start("workers = 2");
    daemon.ctl(&["workers", "4"]);
    daemon.configure("workers = 3");
    assert_eq!(code(&daemon.ctl(&["reload"])), 0);
    let workers = daemon.ctl_json(&["workers"]);
    assert_eq!(workers["workers"].as_array().unwrap().len(), 4);
    assert_eq!((&workers["configured"], &workers["override"]), (&json!(3), &json!(4)));
    assert!(stdout(&daemon.ctl(&["workers"])).contains("4 serving, 3 configured, override 4 by "));
    let key = setting(&daemon, "workers");
    assert_eq!((&key["value"], &key["override"]), (&json!("3"), &json!("4")));
    assert!(key["origin"].as_str().unwrap().ends_with("pixeld.toml:1"), "{key}");

    daemon.ctl(&["workers", "auto"]);
    assert_eq!(daemon.stats()["workers"], 3);
    assert_eq!(daemon.ctl_json(&["workers"])["overriddenBy"], Value::Null);
    assert_eq!(setting(&daemon, "workers")["override"], Value::Null);
}

#[test]
fn log_level_override_is_set_and_reset() {
    let daemon = Daemon::start("");
    assert_eq!(daemon.ctl_json(&["log-level", "debug"]), json!({ "from": "info", "to": "debug" }));
    let first = setting(&daemon, "log.level")["overriddenBy"].clone();
    assert_eq!(stdout(&daemon.ctl(&["log-level", "debug"])), "log level: debug -> debug, as before\n");
    assert_eq!(setting(&daemon, "log.level")["overriddenBy"], first, "nothing has changed");
    assert_eq!(events(&daemon).iter().filter(|name| *name == "logLevelSet").count(), 1);
    assert_eq!(daemon.client().ask("GET /no HTTP/1.1\r\nhost: h\r\n\r\n").status, 404);
    daemon.wait_for_event("requestRejected", &[("status", "404")]);
    daemon.configure("[log]\nlevel = \"warn\"");
    daemon.ctl(&["reload"]);
    assert!(stdout(&daemon.ctl(&["log-level"])).starts_with("debug, configured warn\nruntime override by "));
    assert_eq!(daemon.ctl_json(&["log-level", "auto"]), json!({ "from": "debug", "to": "warn" }));
    assert_eq!(stdout(&daemon.ctl(&["log-level"])), "warn\n");
    assert_eq!(code(&daemon.ctl(&["log-level", "loud"])), 64);
}

#[test]
fn inherited_sockets_are_shown_in_config() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let daemon = Setup::new("").socket("http", listener).start();
    let key = setting(&daemon, "listen.http");
    assert_eq!((&key["value"], &key["origin"]), (&json!(format!("[\"{address}\"]")), &json!("systemd")));
    assert!(setting(&daemon, "listen.control")["origin"].as_str().unwrap().contains("pixeld.toml:"));
}

// --- reload ---

#[test]
fn dry_run_lists_changes_and_makes_none() {
    let daemon = Daemon::start("workers = 2");
    daemon.configure("workers = 3\n[log]\ntarget = \"stderr\"");
    let change = |key, from, to, needs_restart| json!({ "key": key, "from": from, "to": to, "needsRestart": needs_restart, "overridden": false });
    let changes = [change("workers", "2", "3", false), change("log.target", "\"auto\"", "\"stderr\"", true)];
    let reply = daemon.ctl_json(&["reload", "--dry-run"]);
    assert_eq!(reply, json!({ "applied": false, "changes": changes, "warnings": [] }));
    assert_eq!(daemon.stats()["workers"], 2);
    assert!(stdout(&daemon.ctl(&["reload", "--dry-run"])).ends_with("this was a dry run.\n"));
    daemon.configure("workers = \"many\"");
    let refused = daemon.ctl(&["reload", "--dry-run"]);
    assert!(code(&refused) == 78 && stderr(&refused).contains("pixeld.toml:1: workers:"), "{refused:?}");
    assert_eq!(daemon.logged("reloaded").len(), 0, "{}", daemon.log());
}

// --- changes that take their time ---

#[test]
fn worker_change_waits_and_counts_moves() {
    let daemon = Daemon::start("workers = 2");
    let mut clients: Vec<_> = (0..8).map(|_| daemon.unix_client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask(post(PIXEL)).status, 200);
    }
    let set = daemon.ctl_json(&["workers", "1"]);
    assert_eq!(set, json!({ "from": 2, "to": 1, "moved": 4, "leaving": 0 }));
    assert_eq!(daemon.ctl_json(&["workers"])["workers"][0]["connections"], 8);
    let set = daemon.ctl_json(&["workers", "4"]);
    assert_eq!(set, json!({ "from": 1, "to": 4, "moved": 6, "leaving": 0 }));
}

#[test]
fn concurrent_worker_change_is_busy() {
    let daemon = Daemon::start("workers = 4\n[timeouts]\ndrain = \"500ms\"\nbody = \"20s\"");
    // Requests in flight everywhere keep those that leave from leaving.
    let mut clients: Vec<_> = (0..4).map(|_| daemon.unix_client()).collect();
    let rests: Vec<_> = clients.iter_mut().map(Client::begin_request).collect();
    let mut first = daemon.varlink();
    first
        .send(r#"{"method":"io.pixeld.Control.SetWorkers","parameters":{"count":1}}"#.to_owned() + "\0")
        .unwrap();
    eventually("it is at it", || (daemon.stats()["workers"] == 1).then_some(()));
    let busy = call(&daemon, "SetWorkers", &json!({ "count": 2 }));
    assert_eq!(busy, json!({ "error": "io.pixeld.Control.Busy", "parameters": { "method": "SetWorkers" } }));
    let set = &first.reply().unwrap()["parameters"];
    assert_eq!((&set["to"], &set["leaving"]), (&json!(1), &json!(3)), "after timeouts.drain it says so");
    for (client, rest) in clients.iter_mut().zip(rests) {
        assert_eq!(client.ask(rest).status, 200);
    }
}

// --- streams ---

#[test]
fn watch_events_streams_new_events() {
    let daemon = Daemon::start("workers = 1");
    let mut stream = daemon.varlink();
    stream.send(r#"{"method":"io.pixeld.Control.WatchEvents","more":true}"#.to_owned() + "\0").unwrap();
    let first = stream.reply().unwrap();
    assert_eq!(first["continues"], true);
    let names: Vec<_> =
        first["parameters"]["events"].as_array().unwrap().iter().map(|event| event["name"].clone()).collect();
    assert_eq!(names, ["configLoaded", "workerStarted", "ready"]);
    daemon.ctl(&["workers", "2"]);
    let mut followed = Vec::new();
    while followed.len() < 2 {
        let reply = stream.reply().unwrap();
        followed.extend(reply["parameters"]["events"].as_array().unwrap().iter().cloned());
    }
    let worker = followed.iter().find(|event| event["name"] == "workerStarted").unwrap();
    assert_eq!((&worker["worker"], &worker["level"]), (&json!(2), &json!("info")));
    assert!(followed.iter().any(|event| event["name"] == "workersSet"));
}

#[test]
fn watch_stats_obeys_the_interval() {
    let daemon = Daemon::start("");
    let mut stream = daemon.varlink();
    let watch = json!({ "method": "io.pixeld.Control.WatchStats", "more": true, "parameters": { "intervalMs": 100 } });
    stream.send(watch.to_string() + "\0").unwrap();
    let uptime = |reply: Value| reply["parameters"]["stats"]["process"]["uptimeMs"].as_u64().unwrap();
    let begin = uptime(stream.reply().unwrap());
    let end = (0..3).map(|_| uptime(stream.reply().unwrap())).last().unwrap();
    assert!(end >= begin + 290, "{begin} to {end}");
    assert_eq!(call(&daemon, "WatchStats", &json!({}))["error"], "org.varlink.service.ExpectedMore");
}

/// A pixeldctl that follows a daemon, and what it prints. It ends with the test.
struct Following(Child, BufReader<ChildStdout>);

impl Following {
    fn start(socket: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(PIXELDCTL);
        command.env_clear().args(arguments).arg("--socket").arg(socket).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self(child, lines)
    }

    /// All lines up to the next one that contains this.
    fn wait_for(&mut self, part: &str) -> String {
        let mut text = String::new();
        while !text.lines().last().is_some_and(|line| line.contains(part)) {
            assert!(self.1.read_line(&mut text).unwrap() > 0, "it ended before {part}: {text}");
        }
        text
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn events_follow_reconnects_after_a_restart() {
    let first = Daemon::start("workers = 1");
    let socket = first.folder().join("link.sock");
    let lead_to = |daemon: &Daemon| {
        let _ = fs::remove_file(&socket);
        std::os::unix::fs::symlink(daemon.control_socket(), &socket).unwrap();
    };
    lead_to(&first);
    let streams = [&["events", "--follow"][..], &["events", "-f", "--json"]];
    let mut following = streams.map(|stream| Following::start(&socket, stream));
    for stream in &mut following {
        stream.wait_for("Ready after");
    }
    first.ctl(&["workers", "2"]);
    for stream in &mut following {
        stream.wait_for("Workers set from 1 to 2");
    }
    let second = Daemon::start("workers = 1");
    lead_to(&second);
    // The connections break, and the daemon has not ended: its events are not repeated.
    first.signal(Signal::SIGTERM);
    for (stream, away) in
        following.iter_mut().zip(["away: ", "{\"away\":\"the daemon closed the connection\"}"])
    {
        let before = stream.wait_for(away);
        assert!(!before.contains('\x1b'), "{before:?}");
        let after = stream.wait_for("Ready after");
        assert!(!after.contains("Workers set"), "{after}");
    }
}

#[test]
fn stats_watch_reconnects_after_a_restart() {
    let mut first = Daemon::start("workers = 1");
    let socket = first.folder().join("link.sock");
    std::os::unix::fs::symlink(first.control_socket(), &socket).unwrap();
    let mut text = Following::start(&socket, &["stats", "--watch", "0.1"]);
    let mut json = Following::start(&socket, &["stats", "--watch", "0.1", "--json"]);
    text.wait_for(":");
    json.wait_for("\"uptimeMs\"");
    first.stop();
    text.wait_for("away: the daemon closed the connection; connecting again");
    json.wait_for("{\"away\":\"the daemon closed the connection\"}");
    let second = Daemon::start("workers = 1");
    fs::remove_file(&socket).unwrap();
    std::os::unix::fs::symlink(second.control_socket(), &socket).unwrap();
    let figures = text.wait_for(":");
    assert!(!figures.contains("away"), "it is said once: {figures}");
    json.wait_for(&format!("\"pid\":{}", second.pid()));
}

#[test]
fn idle_stream_ends_when_its_reader_is_gone() {
    let daemon = Daemon::start("workers = 1");
    let streams = [&["events", "--follow"][..], &["events", "-f", "--json"], &["stats", "--watch", "3600"]];
    for stream in streams {
        let mut command = Command::new(PIXELDCTL);
        command.args(stream).arg("--socket").arg(daemon.control_socket()).stdout(Stdio::piped());
        let mut following = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut reader = BufReader::new(following.stdout.take().unwrap());
        reader.read_line(&mut String::new()).unwrap();
        drop(reader);
        let ended = eventually("the end of pixeldctl", || following.try_wait().unwrap());
        assert_eq!(ended.code(), Some(74), "{stream:?}");
        assert_eq!(std::io::read_to_string(following.stderr.unwrap()).unwrap(), "");
    }
}

// --- times in the output ---

#[test]
fn rates_and_latencies_match_the_requests() {
    let daemon = Daemon::start("workers = 2");
    let mut client = daemon.client();
    for _ in 0..200 {
        assert_eq!(client.ask(post(PIXEL)).status, 200);
    }
    let stats = eventually("a second has gone by", || {
        let stats = daemon.stats();
        (stats["process"]["uptimeMs"].as_u64() > Some(1_000)).then_some(stats)
    });
    let rate = stats["rates"]["lastMinute"].as_f64().unwrap();
    let uptime = stats["process"]["uptimeMs"].as_f64().unwrap() / 1e3;
    assert!((rate - 200.0 / uptime).abs() < 0.2 * rate, "{rate} over {uptime} s");
    assert_eq!((&stats["latency"]["count"], &stats["recentLatency"]["count"]), (&json!(200), &json!(200)));
    let worker_busy: f64 = daemon.ctl_json(&["workers"])["workers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|worker| worker["busy"].as_f64().unwrap())
        .sum();
    assert!(worker_busy > 0.0 && worker_busy <= 2.0, "{worker_busy}");
    let process = &stats["process"];
    assert!(process["memoryBytes"].as_u64() > Some(1 << 20), "{process}");
    assert!(process["descriptorsUsed"].as_u64() < process["descriptorsAllowed"].as_u64(), "{process}");
}

#[test]
fn idle_connections_are_counted() {
    let daemon = Daemon::start("");
    let mut clients: Vec<_> = (0..5).map(|_| daemon.unix_client()).collect();
    let counts = || {
        let connections = &daemon.stats()["connections"];
        (connections["open"].as_u64().unwrap(), connections["idle"].as_u64().unwrap())
    };
    eventually("all are idle", || (counts() == (5, 5)).then_some(()));
    for client in &mut clients[..2] {
        client.send(post_in_two().0);
    }
    eventually("two are busy", || (counts() == (5, 3)).then_some(()));
    for client in &mut clients[..2] {
        client.send(post_in_two().1);
        assert_eq!(client.answer().status, 200);
    }
    drop(clients.split_off(4));
    eventually("one has gone", || (counts() == (4, 4)).then_some(()));
}

#[test]
fn status_fits_one_screen() {
    let daemon = Daemon::start("workers = 2");
    daemon.client().ask(post(PIXEL));
    let text = stdout(&daemon.ctl(&["status"]));
    for part in [
        "pixeld 0.",
        "State: serving",
        "Workers: 2 serving, 2 configured",
        "Requests: 1 (1 ok)",
        "Latency: p50 ",
        "Ready after ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.lines().count() <= 24, "{text}");
    let json = daemon.ctl_json(&["status"]);
    assert_eq!((&json["stats"]["requests"]["ok"], &json["workers"]["configured"]), (&json!(1), &json!(2)));
}

#[test]
fn stats_watch_prints_a_line_each_interval() {
    let daemon = Daemon::start("");
    let output = Command::new("timeout")
        .args(["--preserve-status", "-s", "TERM", "1.5", PIXELDCTL, "stats", "--watch", "0.2", "--socket"])
        .arg(daemon.control_socket())
        .output()
        .unwrap();
    let text = stdout(&output);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines.len() > 2 && lines[0].starts_with("TIME "), "{text}");
    assert!(lines.iter().all(|line| line.len() <= 80 && line.split_whitespace().count() >= 8), "{text}");
}
