//! Hardly any descriptors, and clients that sit on all they can get: nobody is shut out.

use std::{fs, process::Command};

use crate::support::{self, Client, Daemon, ECHO, PIXEL, Setup, captured, eventually, post};

/// Connects, asks once, and stays.
fn sit_on(daemon: &Daemon, connections: usize) -> Vec<Client> {
    let sit = |_| {
        let mut client = daemon.unix_client();
        assert_eq!(client.ask(post(PIXEL)).body, ECHO);
        client
    };
    (0..connections).map(sit).collect()
}

fn assert_everybody_is_served(daemon: &Daemon) {
    for _ in 0..20 {
        assert_eq!(daemon.unix_client().ask(post(PIXEL)).body, ECHO);
        assert!(daemon.ctl(&["status"]).status.success());
    }
}

#[test]
fn idle_clients_lock_out_no_other_at_fd_limit() {
    let daemon = Setup::new("workers = 2").before("ulimit -n 128").start();
    daemon.wait_for_event("fdLimitTooLow", &[("limit", "72"), ("wanted", "10000")]);
    let _sitting = sit_on(&daemon, 300);
    assert_everybody_is_served(&daemon);

    let connections = daemon.stats()["connections"].clone();
    assert_eq!((&connections["limit"], &connections["effectiveLimit"]), (&10_000.into(), &72.into()));
    assert!(connections["open"].as_u64().unwrap() <= 72, "{connections}");
    assert!(connections["evicted"].as_u64().unwrap() >= 300 - 72, "{connections}");
    let status = support::stdout(&daemon.ctl(&["status"]));
    assert!(status.contains(" of 72 at most"), "{status}");
    daemon.wait_for_event("limitReached", &[("limit", "72")]);
}

#[test]
fn idle_control_clients_lock_out_no_other() {
    let daemon = Setup::new("workers = 2").before("ulimit -n 128").start();
    let _sitting: Vec<_> = (0..200).map(|_| daemon.varlink()).collect();
    let _idle = sit_on(&daemon, 100);
    assert_everybody_is_served(&daemon);
}

#[test]
fn lowered_fd_limit_costs_idle_connections_only() {
    let daemon = Daemon::start("workers = 2");
    let _sitting = sit_on(&daemon, 200);
    let pid = daemon.pid().to_string();
    let lowered = captured(Command::new("prlimit").args(["--pid", &pid, "--nofile=128"]));
    assert!(lowered.status.success(), "{lowered:?}");
    assert_eq!(daemon.unix_client().ask(post(PIXEL)).body, ECHO);
    assert_everybody_is_served(&daemon);
    assert_eq!(daemon.stats()["connections"]["effectiveLimit"], 72);
    daemon.wait_for_event("fdLimitTooLow", &[("limit", "72"), ("wanted", "10000")]);
}

#[test]
fn figures_are_true_without_free_descriptors() {
    let daemon = Daemon::start("workers = 2");
    let _sitting = sit_on(&daemon, 40);
    let mut control = daemon.varlink();
    let mut call = |method| control.call(&format!("io.pixeld.Control.{method}"), &serde_json::json!({}));
    // The client is connected, and no figure has been read yet.
    call("GetWorkers");
    let pid = daemon.pid().to_string();
    let lowered = captured(Command::new("prlimit").args(["--pid", &pid, "--nofile=25"]));
    assert!(lowered.status.success(), "{lowered:?}");
    let process = call("GetStats")["parameters"]["stats"]["process"].clone();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    assert!(open > 40 && process["descriptorsAllowed"] == 25, "{process}");
    // What takes a descriptor to measure is null: before Linux 6.2, that is their number as well.
    let (used, memory) = (&process["descriptorsUsed"], &process["memoryBytes"]);
    assert!(used.is_null() || *used == open, "{process}");
    assert!(memory.is_null() || memory.as_u64() > Some(1 << 20), "{process}");
}

#[test]
fn reserved_descriptors_suffice_for_all_workers() {
    let daemon = Setup::new("workers = 16").before("ulimit -n 256").start();
    let _sitting = sit_on(&daemon, 300);
    let _asking: Vec<_> = (0..40).map(|_| daemon.varlink()).collect();
    assert_everybody_is_served(&daemon);
    let open = eventually("descriptors", || fs::read_dir(format!("/proc/{}/fd", daemon.pid())).ok()).count();
    assert!(open < 256, "{open} descriptors are open");
    assert_eq!(daemon.logged("acceptPaused").len(), 0, "{}", daemon.log());
}
