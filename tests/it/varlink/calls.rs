//! Calls with parameters and flags of every kind.

use serde_json::{Value, json};

use crate::support::{Daemon, Varlink, eventually};

fn call(daemon: &Daemon, call: &Value) -> Value {
    let mut varlink = daemon.varlink();
    varlink.send(call.to_string() + "\0").unwrap();
    varlink.reply().expect("a reply")
}

#[test]
fn wrong_type_error_names_the_parameter() {
    let daemon = Daemon::start("workers = 2");
    let mut varlink = daemon.varlink();
    for (method, field, right) in [
        ("SetWorkers", "count", &[][..]),
        ("Reload", "dryRun", &[json!(true), json!(false)]),
        ("SetLogLevel", "level", &[json!("info")]),
        ("WatchStats", "intervalMs", &[]),
        ("Identify", "user", &[json!("4")]),
        ("Identify", "command", &[json!("4")]),
    ] {
        let values =
            [json!(-1), json!(2.5), json!(1e300), json!("4"), json!(true), json!([3]), json!({ "a": 1 })];
        for value in values.iter().filter(|value| !right.contains(value)) {
            let method = format!("io.pixeld.Control.{method}");
            let call = json!({ "method": method, "parameters": { field: value }, "more": true });
            varlink.send(call.to_string() + "\0").unwrap();
            let reply = varlink.reply().unwrap();
            assert_eq!(reply["error"], "io.pixeld.Control.InvalidValue", "{call}");
            assert_eq!(reply["parameters"]["field"], field, "{call}");
            let reason = reply["parameters"]["reason"].as_str().unwrap();
            assert!(reason.starts_with(&format!("{value} is not ")), "{reason}");
        }
    }
    for interval in [99, 3_600_001] {
        let parameters = json!({ "intervalMs": interval });
        let call =
            json!({ "method": "io.pixeld.Control.WatchStats", "parameters": parameters, "more": true });
        varlink.send(call.to_string() + "\0").unwrap();
        assert_eq!(varlink.reply().unwrap()["parameters"]["field"], "intervalMs");
    }
    assert_eq!(daemon.stats()["workers"], 2);
}

#[test]
fn claim_of_a_caller_is_logged_escaped_and_cut() {
    let daemon = Daemon::start("");
    let mut varlink = daemon.varlink();
    let claim = json!({ "user": "a\nb\u{1b}[31m", "command": "x".repeat(300) });
    let reply = varlink.call("io.pixeld.Control.Identify", &claim);
    assert_eq!(reply["parameters"], json!({}), "{reply}");
    varlink.call("io.pixeld.Control.Drain", &json!({}));
    let drained = daemon.wait_for_event("drained", &[]);
    let by = daemon.stats()["drainedBy"]["by"].as_str().unwrap().to_owned();
    assert!(by.ends_with(r#"claims to be "a\nb\u{1b}[31m")"#), "{by}");
    assert_eq!(drained.field("claimed_command").chars().count(), 256, "{drained:?}");

    // Another connection of the same process has claimed nothing.
    daemon.varlink().call("io.pixeld.Control.Resume", &json!({}));
    let resumed = daemon.wait_for_event("resumed", &[]);
    assert!(!resumed.text.contains("claim"), "{resumed:?}");
}

#[test]
fn unknown_parameter_is_rejected_by_every_method() {
    let daemon = Daemon::start("");
    let mut varlink = daemon.varlink();
    let control = [
        "GetStats",
        "WatchStats",
        "GetWorkers",
        "SetWorkers",
        "GetConfig",
        "Reload",
        "SetLogLevel",
        "Drain",
        "Resume",
        "Identify",
        "GetEvents",
        "WatchEvents",
    ];
    let control = control.map(|method| format!("io.pixeld.Control.{method}"));
    let systemd = ["Ping", "Reload", "SetLogLevel", "GetEnvironment"]
        .map(|method| format!("io.systemd.service.{method}"));
    for method in control.iter().chain(&systemd) {
        let reply = varlink.call(method, &json!({ "nobodys": null }));
        assert_eq!(reply["error"], "org.varlink.service.InvalidParameter", "{method}");
        assert_eq!(reply["parameters"]["parameter"], "nobodys", "{method}");
    }
    assert_eq!(daemon.stats()["state"], "serving");
}

#[test]
fn non_object_parameters_are_rejected() {
    let daemon = Daemon::start("");
    for parameters in [json!([]), json!("x"), json!(7), json!(true)] {
        let reply = call(&daemon, &json!({ "method": "io.pixeld.Control.Drain", "parameters": parameters }));
        assert_eq!(reply["error"], "org.varlink.service.InvalidParameter", "{parameters}");
        assert_eq!(reply["parameters"]["parameter"], "parameters");
    }
    assert_eq!(daemon.stats()["state"], "serving");
}

#[test]
fn stream_needs_more_and_single_reply_allows_it() {
    let daemon = Daemon::start("");
    for method in ["WatchStats", "WatchEvents"] {
        let reply = call(&daemon, &json!({ "method": format!("io.pixeld.Control.{method}") }));
        assert_eq!(reply["error"], "org.varlink.service.ExpectedMore", "{method}");
    }
    let reply = call(&daemon, &json!({ "method": "io.pixeld.Control.GetStats", "more": true }));
    assert_ne!(reply["continues"], true, "nothing follows");
    assert_eq!(reply["parameters"]["stats"]["state"], "serving");
}

#[test]
fn oneway_call_is_done_without_a_reply() {
    let daemon = Daemon::start("workers = 1");
    let mut varlink = daemon.varlink();
    let oneway = |method: &str, parameters: Value| {
        json!({ "method": method, "parameters": parameters, "oneway": true, "more": true }).to_string() + "\0"
    };
    for (method, parameters) in [
        ("io.pixeld.Control.SetWorkers", json!({ "count": 3 })),
        ("io.pixeld.Control.SetWorkers", json!({ "count": 0 })),
        ("io.pixeld.Control.WatchStats", json!({ "intervalMs": 100 })),
        ("io.pixeld.Control.WatchEvents", json!({})),
        ("org.varlink.service.GetInfo", json!({})),
        ("com.example.Nope", json!({})),
    ] {
        varlink.send(oneway(method, parameters)).unwrap();
    }
    // The first thing that comes back is the reply to the first call that wants one.
    let reply = varlink.call("io.pixeld.Control.GetWorkers", &json!({}));
    assert_eq!(reply["parameters"]["override"], 3);
}

#[test]
fn second_call_during_a_stream_closes_it() {
    let daemon = Daemon::start("");
    let mut varlink = watching(&daemon);
    let first = varlink.reply().unwrap();
    assert_eq!(first["continues"], true);
    varlink.send("{\"method\":\"io.pixeld.Control.GetStats\"}\0").unwrap();
    eventually("the end of the stream", || match varlink.reply() {
        Some(reply) => {
            assert_eq!(reply["continues"], true, "no reply to the second call");
            None
        }
        None => Some(()),
    });
}

#[test]
fn closed_stream_frees_its_place() {
    let daemon = Daemon::start("");
    let descriptors = || daemon.stats()["process"]["descriptorsUsed"].as_u64().unwrap();
    let before = descriptors();
    let mut watching: Vec<_> = (0..20).map(|_| watching(&daemon)).collect();
    for varlink in &mut watching {
        varlink.reply().expect("a first reply");
    }
    assert_eq!(descriptors(), before + 20);
    drop(watching);
    eventually("as many descriptors as before", || (descriptors() == before).then_some(()));
}

fn watching(daemon: &Daemon) -> Varlink {
    let mut varlink = daemon.varlink();
    let call = json!({
        "method": "io.pixeld.Control.WatchStats",
        "parameters": { "intervalMs": 100 },
        "more": true,
    });
    varlink.send(call.to_string() + "\0").unwrap();
    varlink
}
