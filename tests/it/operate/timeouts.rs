//! What becomes of a call that is not answered in time.

use std::{
    io::Write,
    net::Shutdown,
    process::{Child, Command, Stdio},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Daemon, PIXELDCTL, code, eventually, stderr};

/// Stopped amid its work, as one that is stuck; `call` sees it so.
fn while_stuck<T>(daemon: &Daemon, call: impl FnOnce() -> T) -> T {
    daemon.freeze();
    let called = call();
    daemon.signal(Signal::SIGCONT);
    called
}

fn descriptors(stats: &Value) -> Option<u64> {
    stats["process"]["descriptorsUsed"].as_u64()
}

/// What the daemon says once it has seen all clients go that had come since `before`.
fn stats_after_all_have_gone(daemon: &Daemon, before: &Value) -> Value {
    eventually("the clients have gone", || {
        Some(daemon.stats()).filter(|stats| descriptors(stats) == descriptors(before))
    })
}

#[test]
fn timed_out_change_is_not_made_later() {
    let daemon = Daemon::start("workers = 2");
    let before = daemon.stats();
    daemon.configure("workers = 3");
    while_stuck(&daemon, || {
        for change in [&["workers", "4"][..], &["log-level", "debug"], &["drain"], &["reload"]] {
            let output = daemon.ctl(&[change, &["--timeout", "200ms"]].concat());
            let said = stderr(&output);
            assert_eq!(code(&output), 75, "{said}");
            assert!(
                said.starts_with("pixeldctl: no response within 200ms\nhint: the change may be made "),
                "{said}"
            );
            assert!(said.contains("`pixeldctl status`"), "{said}");
        }
        let output = daemon.ctl(&["reload", "--dry-run", "--timeout", "200ms"]);
        assert_eq!(code(&output), 75, "{output:?}");
        assert!(!stderr(&output).contains("may be made"), "there is nothing to be done: {output:?}");
    });
    let stats = stats_after_all_have_gone(&daemon, &before);
    assert_eq!((&stats["state"], &stats["workers"]), (&json!("serving"), &json!(2)));
    let events = daemon.ctl_json(&["events"]);
    assert_eq!(events["events"].as_array().unwrap().last().unwrap()["name"], "ready", "{events}");
}

fn oneway(method: &str, parameters: &Value) -> String {
    let method = format!("io.pixeld.Control.{method}");
    json!({ "method": method, "parameters": parameters, "oneway": true }).to_string() + "\0"
}

const DRAIN: &str = "{\"method\":\"io.pixeld.Control.Drain\"}\0";

#[test]
fn oneway_change_survives_its_client() {
    let daemon = Daemon::start("workers = 2");
    let before = daemon.stats();
    while_stuck(&daemon, || {
        // Behind a call whose reply nobody waits for any more.
        let mut varlink = daemon.varlink();
        varlink.send(DRAIN.to_owned() + &oneway("SetLogLevel", &json!({ "level": "debug" }))).unwrap();
    });
    assert_eq!(stats_after_all_have_gone(&daemon, &before)["state"], "serving");
    assert_eq!(daemon.ctl_json(&["log-level"])["override"], "debug");
}

#[test]
fn half_closed_client_is_answered() {
    let daemon = Daemon::start("");
    let mut varlink = daemon.varlink();
    while_stuck(&daemon, || {
        varlink.send(DRAIN).unwrap();
        varlink.shutdown(Shutdown::Write);
    });
    assert_eq!(varlink.reply().expect("a reply")["parameters"]["already"], false);
    assert_eq!(daemon.stats()["state"], "drained");
}

#[test]
fn stream_that_never_begins_times_out() {
    let daemon = Daemon::start("");
    while_stuck(&daemon, || {
        for stream in [&["events", "--follow"][..], &["stats", "--watch", "0.1"]] {
            let output = daemon.ctl(&[stream, &["--timeout", "200ms"]].concat());
            assert_eq!(code(&output), 75, "{output:?}");
            assert!(stderr(&output).starts_with("pixeldctl: no response within "), "{output:?}");
        }
    });
}

/// A bridge to the daemon; it ends with the test.
struct Bridge(Child);

impl Drop for Bridge {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn timed_out_remote_change_is_not_made_later() {
    let daemon = Daemon::start("");
    let before = daemon.stats();
    while_stuck(&daemon, || {
        let mut command = Command::new(PIXELDCTL);
        command.args(["bridge", "change", "--timeout", "1h", "--socket"]).arg(daemon.admin_socket());
        let mut bridge = Bridge(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
        bridge.0.stdin.as_mut().unwrap().write_all(DRAIN.as_bytes()).unwrap();
        // What the server of ssh does when its client has been killed.
        drop((bridge.0.stdin.take(), bridge.0.stdout.take()));
        eventually("the end of the bridge", || bridge.0.try_wait().unwrap());
    });
    assert_eq!(stats_after_all_have_gone(&daemon, &before)["state"], "serving");
}
