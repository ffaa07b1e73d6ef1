//! What a reload changes: every key, each shown by what it does.

use std::{fs, net::TcpListener, thread};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::signal::Signal,
    unistd::Pid,
};
use pixeld::config::{KEYS, TakesEffect};
use serde_json::{Value, json};

use crate::support::{self, Client, Daemon, PIXEL, Setup, eventually, post, post_in_two, request, stdout};

/// A key, another value than the default one, and how to see that it holds.
type Case = (&'static str, &'static str, fn(Daemon));

const CASES: &[Case] = &[
    ("workers", "3", |daemon| assert_eq!(daemon.stats()["workers"], 3)),
    ("limits.body", "64", |daemon| {
        let answer = daemon.client().ask(post(&format!("{PIXEL:<100}")));
        assert_eq!(answer.status, 413);
    }),
    ("limits.header", "\"8KiB\"", |daemon| {
        let field = format!("a: {}\r\n", "a".repeat(10 << 10));
        assert_eq!(daemon.client().ask(request("POST", "/pixel", &field, "")).status, 431);
    }),
    ("limits.connections", "1", |daemon| {
        let first = is_served(daemon.unix_client());
        is_served(daemon.unix_client());
        first.expect_cut();
    }),
    ("limits.requests-per-connection", "1", |daemon| {
        assert_eq!(daemon.client().ask(post(PIXEL)).field("connection"), Some("close"));
    }),
    ("timeouts.header", "\"100ms\"", |daemon| {
        assert_eq!(daemon.client().ask("POST /pixel HTTP/1.1\r\n").status, 408);
    }),
    ("timeouts.body", "\"100ms\"", |daemon| {
        assert_eq!(daemon.client().ask(post_in_two().0).status, 408);
    }),
    ("timeouts.write", "\"100ms\"", |daemon| {
        let mut client = daemon.unix_client();
        client.send_until_full(post(PIXEL).as_bytes());
        eventually("it is cut off", || (daemon.stats()["connections"]["writeTimeouts"] == 1).then_some(()));
    }),
    ("timeouts.keep-alive", "\"100ms\"", |daemon| daemon.client().expect_end()),
    ("timeouts.drain", "\"100ms\"", |mut daemon| {
        let mut client = daemon.client();
        client.send(post(PIXEL) + &post_in_two().0);
        assert_eq!(client.answer().status, 200);
        assert!(daemon.stop().success());
        daemon.wait_for_event("stopped", &[("cut_off", "1")]);
    }),
    ("pixel.range-error-status", "200", |daemon| {
        assert_eq!(daemon.client().ask(post(&PIXEL.replace("255", "256"))).status, 200);
    }),
    ("log.level", "\"debug\"", |daemon| {
        assert_eq!(daemon.client().ask(request("GET", "/nowhere", "", "")).status, 404);
        daemon.wait_for_event("requestRejected", &[("status", "404")]);
    }),
    ("log.target", "\"journal\"", |daemon| {
        assert_eq!(daemon.ctl_json(&["reload"])["changes"].as_array().unwrap().len(), 1, "it still waits");
    }),
];

fn setting(daemon: &Daemon, key: &str) -> Value {
    let config = daemon.varlink().call("io.pixeld.Control.GetConfig", &json!({}));
    let settings = config["parameters"]["settings"].as_array().unwrap();
    settings.iter().find(|setting| setting["key"] == key).unwrap().clone()
}

#[test]
fn every_key_applies_or_needs_a_restart() {
    for (key, value, assert_holds) in CASES {
        let daemon = Daemon::start("");
        let before = setting(&daemon, key);
        daemon.configure(&format!("{key} = {value}"));
        let waits =
            KEYS.iter().any(|known| known.name == *key && known.takes_effect == TakesEffect::AtRestart);
        let change = json!({ "key": key, "from": before["value"], "to": value, "needsRestart": waits, "overridden": false });
        assert_eq!(
            daemon.ctl_json(&["reload"]),
            json!({ "applied": true, "changes": [change], "warnings": [] })
        );
        let after = setting(&daemon, key);
        assert_eq!(after["value"] == *value, !waits, "{after}");
        assert_eq!((&after["needsRestart"], &before["needsRestart"]), (&waits.into(), &waits.into()));
        println!("{key}");
        assert_holds(daemon);
    }
}

#[test]
fn shorter_timeouts_apply_to_open_connections() {
    let daemon =
        Daemon::start("timeouts = { header = \"1h\", body = \"1h\", write = \"1h\", keep-alive = \"1h\" }");
    let [idle, mut in_head, mut in_body, mut unread] = [(); 4].map(|()| daemon.unix_client());
    assert_eq!(in_head.ask(post(PIXEL) + "POST /pixel HTTP/1.1\r\n").status, 200);
    in_body.begin_request();
    unread.send_until_full(post(PIXEL).as_bytes());
    eventually("three are busy", || {
        let connections = &daemon.stats()["connections"];
        (connections["open"] == 4 && connections["idle"] == 1).then_some(())
    });
    let limit = "100ms";
    daemon.configure(&format!(
        "timeouts = {{ header = {limit:?}, body = {limit:?}, write = {limit:?}, keep-alive = {limit:?} }}"
    ));
    daemon.ctl_json(&["reload"]);
    idle.expect_end();
    assert_eq!(in_head.answer().status, 408);
    assert_eq!(in_body.answer().status, 408);
    eventually("the one that does not read is cut off", || {
        (daemon.stats()["connections"]["writeTimeouts"] == 1).then_some(())
    });
}

#[test]
fn every_key_has_a_case() {
    let elsewhere = ["listen.http", "listen.control", "listen.admin"];
    let looked_at: Vec<_> = CASES.iter().map(|(key, ..)| *key).chain(elsewhere).collect();
    for key in KEYS {
        assert!(looked_at.contains(&key.name), "{} has no case", key.name);
    }
    assert_eq!(looked_at.len(), KEYS.len());
}

#[test]
fn faulty_file_fails_the_reload_command() {
    let daemon = Daemon::start("workers = 2");
    daemon.configure("workers = 3\ntimeouts.head = 10");
    let refused = daemon.ctl(&["reload"]);
    assert_eq!(support::code(&refused), 78);
    assert!(support::stderr(&refused).contains("pixeld.toml:2: timeouts.head: "), "{refused:?}");
    assert_eq!(
        (setting(&daemon, "workers")["value"].clone(), daemon.stats()["workers"].clone()),
        (json!("2"), json!(2))
    );
    assert_eq!(stdout(&refused), "");
}

#[test]
fn sighup_reloads() {
    let daemon = Daemon::start("workers = 1");
    daemon.configure("workers = 2");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_event_with("reloaded", "workers: 1 -> 2");
}

#[test]
fn reload_counts_cpus_again() {
    let all = sched_getaffinity(Pid::this()).unwrap();
    let mut cpus = (0..CpuSet::count()).filter(|cpu| all.is_set(*cpu).unwrap());
    let (first, Some(_)) = (cpus.next().unwrap(), cpus.next()) else {
        eprintln!("skipped: this process may use one CPU only");
        return;
    };
    let daemon = Daemon::start("workers = \"auto\"");
    let before = daemon.stats()["workers"].clone();
    assert_eq!(daemon.ctl_json(&["reload"])["changes"], json!([]));
    let mut one = CpuSet::new();
    one.set(first).unwrap();
    sched_setaffinity(Pid::from_raw(daemon.pid().try_into().unwrap()), &one).unwrap();
    let change = json!({ "key": "workers", "from": before.to_string(), "to": "1", "needsRestart": false, "overridden": false });
    assert_eq!(daemon.ctl_json(&["reload", "--dry-run"])["changes"], json!([change]));
    assert_eq!(daemon.stats()["workers"], before);
    assert_eq!(daemon.ctl_json(&["reload"])["changes"], json!([change]));
    assert_eq!(daemon.stats()["workers"], 1);
    daemon.wait_for_event_with("reloaded", &format!("workers: {before} -> 1"));
}

/// Takes a while to read, and is wrong in each line but the first.
fn large_faulty_file() -> String {
    "workers = 4\n".repeat(40_000)
}

#[test]
fn large_faulty_file_is_reported_in_short() {
    let daemon = Daemon::start("");
    daemon.configure(&large_faulty_file());
    for command in [&["reload", "--dry-run"][..], &["reload"]] {
        let refused = daemon.ctl(command);
        assert_eq!(support::code(&refused), 78, "{refused:?}");
        let report = support::stderr(&refused);
        assert!(report.contains("and 39979 more") && report.len() < 8_000, "{report}");
    }
    daemon.wait_for_event_with("reloadFailed", "and 39979 more");
    assert!(daemon.log().len() < 16_000);
}

#[test]
fn daemon_serves_control_clients_while_it_reads_files() {
    let daemon = Daemon::start("");
    daemon.configure(&large_faulty_file());
    let socket = daemon.admin_socket();
    let reload = thread::spawn(move || support::ctl(&socket, &["reload", "--dry-run"]));
    let mut served = 0;
    while !reload.is_finished() {
        daemon.stats();
        served += usize::from(!reload.is_finished());
    }
    assert_eq!(support::code(&reload.join().unwrap()), 78);
    assert!(served > 0, "no call was answered meanwhile");
}

#[test]
fn signal_during_a_reload_reloads_once_more() {
    let daemon = Daemon::start("workers = 1");
    daemon.configure(&large_faulty_file());
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_notice("RELOADING=1");
    daemon.configure("workers = 2");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_event_with("reloaded", "workers: 1 -> 2");
}

#[test]
fn daemon_stops_while_it_reads_files() {
    let mut daemon = Daemon::start("");
    daemon.configure(&large_faulty_file());
    daemon.signal(Signal::SIGHUP);
    assert!(daemon.stop().success());
    assert_eq!(daemon.logged("reloadFailed").len(), 0, "{}", daemon.log());
}

#[test]
fn changed_addresses_need_a_restart() {
    let own = Daemon::start("");
    let inherited = Setup::new("").socket("http", TcpListener::bind("127.0.0.1:0").unwrap()).start();
    for daemon in [own, inherited] {
        let (listeners, address) = (daemon.stats()["listeners"].clone(), daemon.address());
        let [http, control, admin] = ["h.sock", "c.sock", "a.sock"].map(|name| daemon.folder().join(name));
        let config = format!(
            "workers = 2\n[listen]\nhttp = [\"unix:{}\"]\ncontrol = \"unix:{}\"\nadmin = \"unix:{}\"\n",
            http.display(),
            control.display(),
            admin.display()
        );
        fs::write(daemon.config_file(), config).unwrap();
        let keys = ["listen.http", "listen.control", "listen.admin"];
        for command in [&["reload", "--dry-run"][..], &["reload"], &["reload"]] {
            let reply = daemon.ctl_json(command);
            let changes = reply["changes"].as_array().unwrap().iter();
            let waiting =
                changes.filter(|change| change["needsRestart"] == true).map(|change| &change["key"]);
            assert_eq!(waiting.collect::<Vec<_>>(), keys, "{reply:#}");
        }
        daemon.wait_for_event_with("reloaded", "takes effect only at the next restart: listen.http");
        assert!(keys.iter().all(|key| setting(&daemon, key)["needsRestart"] == true));
        assert_eq!((&daemon.stats()["listeners"], daemon.address()), (&listeners, address));
        is_served(daemon.client());
        assert!(!http.exists() && !control.exists() && !admin.exists());
    }
}

fn is_served(mut client: Client) -> Client {
    assert_eq!(client.ask(post(PIXEL)).status, 200);
    client
}

#[test]
fn old_key_is_warned_of_at_start_and_at_reload() {
    let daemon = Daemon::start("limits.head = \"9KiB\"");
    daemon.wait_for_event_with("configDeprecated", "limits.header");
    daemon.configure("timeouts.head = \"3s\"");
    let reply = daemon.ctl_json(&["reload"]);
    assert!(reply["warnings"][0].as_str().unwrap().contains("timeouts.header"), "{reply:#}");
    daemon.wait_for_event_with("configDeprecated", "timeouts.header");
    assert_eq!(setting(&daemon, "timeouts.header")["value"], "\"3s\"");
}
