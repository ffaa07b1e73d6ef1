//! The control sockets on a real host: any Varlink client, and who may do what.

use crate::harness::{
    Endpoint, Host, Load, Request, Site,
    deployment::{json, stats},
    wait_until,
};

const SOCKET: &str = "/run/pixeld/control.sock";

fn boot() -> Site {
    let site = Site::boot();
    site.c5.run("systemctl start pixeld");
    site
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
fn any_varlink_client_can_look_inside() {
    let site = boot();
    let info = site.c5.run(&format!("varlinkctl info {SOCKET}")).stdout;
    assert!(info.contains("io.pixeld.Control") && info.contains("Version: "), "{info}");
    let interface = site.c5.run(&format!("varlinkctl introspect {SOCKET} io.pixeld.Control")).stdout;
    assert!(interface.contains("method SetWorkers"), "{interface}");
    let reply = json(&site.c5, &format!("varlinkctl call -j {SOCKET} io.pixeld.Control.GetStats '{{}}'"));
    assert_eq!(reply["stats"]["state"], "serving");
    let refused =
        site.c5.try_run(&format!("varlinkctl call {SOCKET} io.pixeld.Control.SetWorkers '{{\"count\":3}}'"));
    assert!(!refused.success() && refused.stderr.contains("NotPermitted"), "{refused}");
    let admin = SOCKET.replace("control", "admin");
    let reply =
        json(&site.c5, &format!("varlinkctl call -j {admin} io.pixeld.Control.SetWorkers '{{\"count\":3}}'"));
    assert_eq!(reply["to"], 3);
}

#[test]
fn the_groups_decide_who_may_read_and_who_may_change() {
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
    let journal = c5.run("journalctl -u pixeld -o cat").stdout;
    assert!(journal.contains("Workers set from"), "{journal}");
}

#[test]
fn the_number_of_workers_changes_while_requests_flow() {
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
