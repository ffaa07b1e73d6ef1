//! The control sockets on a real host: any Varlink client, and who may do what.

use serde_json::Value;

use crate::harness::{
    Endpoint, Host, Load, Release, Request, Site,
    deployment::{json, stats},
    wait_until,
};

const SOCKET: &str = "/run/pixeld/control.sock";
const ADMIN: &str = "/run/pixeld/admin.sock";

fn boot() -> Site {
    let site = Site::boot();
    site.c5.run("systemctl start pixeld");
    site
}

/// Has systemd's own client call a method.
fn call(host: &Host, socket: &str, method: &str, parameters: &str) -> Value {
    json(host, &format!("varlinkctl call -j {socket} io.pixeld.Control.{method} '{parameters}'"))
}

fn http(host: &Host) -> Endpoint {
    host.unix("/run/pixeld/http.sock")
}

fn connections(host: &Host) -> Vec<u64> {
    let reply = json(host, "pixeldctl workers --json");
    reply["workers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|worker| worker["connections"].as_u64().unwrap())
        .collect()
}

fn is_even(spread: &[u64]) -> bool {
    spread.iter().max().unwrap() - spread.iter().min().unwrap() <= 1
}

#[test]
fn varlinkctl_reads_state_and_streams() {
    let site = boot();
    let info = site.c5.run(&format!("varlinkctl info {SOCKET}")).stdout;
    for part in ["io.pixeld.Control", "io.systemd.service", "org.varlink.service", "Version: "] {
        assert!(info.contains(part), "{info}");
    }
    let reply = call(&site.c5, SOCKET, "GetStats", "{}");
    assert_eq!(reply["stats"]["state"], "serving");
    let reply = call(&site.c5, ADMIN, "SetWorkers", r#"{"count":3}"#);
    assert_eq!(reply["to"], 3);
    // Each reply is a document of its own.
    let watch = format!("varlinkctl call --more -j {SOCKET} io.pixeld.Control.WatchStats");
    let replies = site.c5.try_run(&format!("timeout 3 {watch} '{{\"intervalMs\":200}}'")).stdout;
    let replies = replies.replace('\u{1e}', " ");
    let replies = serde_json::Deserializer::from_str(&replies);
    let uptimes: Vec<_> = replies
        .into_iter::<Value>()
        .map_while(Result::ok)
        .map(|reply| reply["stats"]["process"]["uptimeMs"].as_u64().unwrap())
        .collect();
    assert!(uptimes.len() > 5 && uptimes.is_sorted(), "{uptimes:?}");
}

#[test]
fn every_interface_has_a_description() {
    let site = boot();
    // varlinkctl prints only what it understands, so this shows that it knows every field.
    let shape = |description: &str| -> Vec<String> {
        let lines = description.lines().map(|line| line.split('#').next().unwrap());
        let words = lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join("");
        let keywords = ["interface", "type", "method", "error"];
        let parts = keywords.iter().fold(words, |words, word| words.replace(word, &format!("\n{word} ")));
        let mut parts: Vec<_> = parts.lines().map(String::from).collect();
        parts.sort();
        parts
    };
    let introspect = |interface| site.c5.run(&format!("varlinkctl introspect {SOCKET} {interface}")).stdout;
    for (interface, source) in [
        ("io.pixeld.Control", include_str!("../../crates/pixeld-control/src/io.pixeld.Control.varlink")),
        ("io.systemd.service", include_str!("../../crates/pixeld-control/src/io.systemd.service.varlink")),
    ] {
        let printed = introspect(interface);
        assert_eq!(shape(&printed), shape(source), "{printed}");
    }
    let service = introspect("org.varlink.service");
    for part in ["method GetInfo(", "method GetInterfaceDescription(", "error PermissionDenied("] {
        assert!(service.contains(part), "{service}");
    }
}

#[test]
fn groups_decide_read_and_write_access() {
    let site = boot();
    let c5 = &site.c5;
    c5.run("useradd nobodys && useradd -G pixeld reader && useradd -G pixeld-admin changer");
    c5.run("useradd -G pixeld,pixeld-admin both");
    for (user, stats, workers) in [("nobodys", 77, 77), ("reader", 0, 77), ("changer", 0, 0), ("both", 0, 0)]
    {
        let output = c5.try_run_as(user, "pixeldctl stats");
        assert_eq!(output.status, stats, "{user}: {output}");
        let output = c5.try_run_as(user, "pixeldctl workers 2");
        assert_eq!(output.status, workers, "{user}: {output}");
    }
    let output = c5.try_run_as("both", "pixeldctl --socket /run/pixeld/control.sock workers 2");
    assert_eq!(output.status, 77, "{output}");
    assert!(output.stderr.contains("/run/pixeld/admin.sock"), "{output}");
}

#[test]
fn any_varlink_client_has_the_rights_of_its_user() {
    let site = boot();
    let c5 = &site.c5;
    c5.run("useradd nobodys && useradd -G pixeld reader && useradd -G pixeld-admin changer");
    c5.run("useradd -G pixeld,pixeld-admin both");
    let control = ["SetWorkers", "Reload", "SetLogLevel", "Drain", "Resume"]
        .map(|method| format!("io.pixeld.Control.{method}"));
    let systemd = ["Reload", "SetLogLevel"].map(|method| format!("io.systemd.service.{method}"));
    for method in control.iter().chain(&systemd) {
        for (user, reads, changes) in [
            ("nobodys", false, false),
            ("reader", true, false),
            ("changer", false, true),
            ("both", true, true),
        ] {
            let output = c5.try_run_as(user, &format!("varlinkctl call {ADMIN} {method} '{{}}'"));
            assert_eq!(output.success(), changes, "{user}: {output}");
            assert!(changes || output.stderr.contains("Permission denied"), "{user}: {output}");
            let output = c5.try_run_as(user, &format!("varlinkctl call -j {SOCKET} {method} '{{}}'"));
            assert!(!output.success(), "{user} changed something over {SOCKET}: {output}");
            if !reads {
                assert!(output.stderr.contains("Permission denied"), "{user}: {output}");
            } else if systemd.contains(method) {
                assert!(output.stderr.contains("org.varlink.service.PermissionDenied"), "{output}");
            } else {
                // The daemon's user namespace contains only its own group.
                assert!(output.stderr.contains("io.pixeld.Control.NotPermitted"), "{output}");
                let named: Value = serde_json::from_str(&output.stdout).unwrap();
                assert_eq!(named, serde_json::json!({ "socket": ADMIN, "group": "pixeld-admin" }));
            }
        }
    }
}

#[test]
fn journal_has_the_caller_of_each_change() {
    for release in [Release::Trixie, Release::Bookworm] {
        let c5 = &Host::builder("c5").release(release).with_pixeld().boot();
        c5.run("useradd -u 1234 -G pixeld-admin changer && systemctl start pixeld");
        c5.run("SUDO_USER=anna pixeldctl workers 3 & echo $! > /tmp/root; wait");
        c5.run_as("changer", "pixeldctl drain & echo $! > /tmp/changer; wait");
        let pid = |user: &str| c5.read(&format!("/tmp/{user}")).trim().to_owned();
        let entry = |event: &str| c5.wait_for_entry(&format!("EVENT={event}"));

        let (set, by) = (entry("workersSet"), pid("root"));
        assert_eq!(set["BY"], format!("root (pid {by}, claims to be anna)"));
        assert_eq!(set["CLAIMED_COMMAND"], "pixeldctl workers 3");
        assert_eq!((&set["UID"], &set["PID"]), (&"0".into(), &by.into()));
        assert_eq!(set["MESSAGE_ID"], "958861237bc8445fa16b54bf676220f2");
        assert_eq!(set["CODE_FILE"], "src/daemon/control_service.rs", "{set:#}");

        let (drained, by) = (entry("drained"), pid("changer"));
        assert_eq!(drained["PID"], by);
        // systemd 252 does not know PrivateUsers=identity.
        let sees_users = release != Release::Bookworm;
        let name = if sees_users {
            format!("uid 1234 (pid {by}, claims to be changer)")
        } else {
            format!("pid {by} (claims to be changer)")
        };
        assert_eq!((&drained["BY"], &drained["CLAIMED_USER"]), (&name.clone().into(), &"changer".into()));
        let events = c5.run("pixeldctl events").stdout;
        assert!(events.contains(&format!("drained: Drain switched on by {name}: ")), "{events}");
        c5.run("systemctl restart pixeld");
        assert_eq!(json(c5, "pixeldctl stats --json")["drainedBy"]["by"], name);
        assert_eq!(drained["UID"], if sees_users { "1234".into() } else { Value::Null });
    }
}

#[test]
fn worker_override_ends_with_a_restart() {
    let site = boot();
    let c5 = &site.c5;
    c5.write("/etc/pixeld/pixeld.toml.d/workers.toml", "workers = 2\n");
    c5.run("systemctl reload pixeld && pixeldctl workers 5");
    c5.write("/etc/pixeld/pixeld.toml.d/workers.toml", "workers = 3\n");
    c5.run("systemctl reload pixeld");
    assert_eq!(connections(c5).len(), 5);
    let shown = c5.run("pixeldctl workers").stdout;
    assert!(shown.contains("5 serving, 3 configured, override 5 by root (pid "), "{shown}");
    c5.run("pixeldctl workers auto");
    assert_eq!(connections(c5).len(), 3);
    c5.run("pixeldctl workers 5 && systemctl restart pixeld");
    assert_eq!(connections(c5).len(), 3);
    let shown = c5.run("pixeldctl workers").stdout;
    assert!(shown.contains("3 serving, 3 configured\n"), "{shown}");
}

#[test]
fn worker_changes_under_load_fail_no_request() {
    let site = boot();
    let c5 = &site.c5;
    let load = c5.client().load(Load { connections: 8, rate: 2000, ..Load::on(http(c5)) });
    load.wait_for_answers(100);
    for count in [3, 1, 4, 2, 3] {
        c5.run(&format!("pixeldctl workers {count}"));
        load.wait_for_answers(200);
    }
    wait_until("three workers are left", || connections(c5).len() == 3);
    let report = load.stop();
    report.assert_all_ok();
    assert_eq!(report.connects, 8, "every connection was kept");
}

#[test]
fn keep_alive_connections_spread_evenly() {
    let site = boot();
    let c5 = &site.c5;
    c5.run("pixeldctl workers 2");
    let client = c5.client();
    let mut kept: Vec<_> = (0..64).map(|_| client.connect(http(c5)).unwrap()).collect();
    let pixel = Request::pixel(r#"{"x":1,"y":2,"channel":"B","value":3}"#);
    let mut ask_all = || {
        for connection in &mut kept {
            assert_eq!(connection.send(&pixel).unwrap().status, 200);
        }
    };
    ask_all();
    for count in [2, 3, 5, 2] {
        c5.run(&format!("pixeldctl workers {count}"));
        wait_until("64 connections are spread within one of each other", || {
            let spread = connections(c5);
            spread.len() == count && spread.iter().sum::<u64>() == 64 && is_even(&spread)
        });
        ask_all();
    }
    assert_eq!(stats(c5).total, 5 * 64);
}
