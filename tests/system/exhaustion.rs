//! The worst night: descriptors, disks, networks and hosts that fail, and more clients than can be
//! served.

use std::time::Duration;

use crate::harness::{
    C5_OUTSIDE, Connection, Host, Load, PIXEL, Request, Site,
    deployment::{self, json, stats},
    wait_until,
};

fn post(host: &Host) -> std::io::Result<u16> {
    let answer = host.client().send(host.unix("/run/pixeld/http.sock"), &Request::pixel(PIXEL));
    answer.map(|response| response.status)
}

#[test]
fn idle_clients_lock_out_no_other_on_a_host() {
    let site = Site::boot();
    let c5 = &site.c5;
    c5.write("/etc/systemd/system/pixeld.service.d/few.conf", "[Service]\nLimitNOFILE=128\n");
    c5.write("/etc/pixeld/pixeld.toml", "workers = 2\n");
    c5.run("systemctl daemon-reload && systemctl start pixeld");
    let sit = || -> Connection { c5.client().connect(c5.unix("/run/pixeld/http.sock")).unwrap() };
    let _sitting: Vec<_> = (0..300).map(|_| sit()).collect();
    for _ in 0..10 {
        assert_eq!(post(c5).unwrap(), 200);
        c5.run("pixeldctl stats >/dev/null && pixeldctl workers 2 >/dev/null");
    }
    let status = c5.run("pixeldctl status").stdout;
    assert!(status.contains(" of 72 at most"), "{status}");
    c5.wait_for_entry("EVENT=fdLimitTooLow LIMIT=72");
    c5.run("systemctl reload pixeld && systemctl restart pixeld");
    assert_eq!(post(c5).unwrap(), 200);
}

#[test]
fn full_disks_stop_no_request() {
    let site = Site::boot();
    let c5 = &site.c5;
    c5.run("systemctl start pixeld");
    // With nothing in it that could be written over.
    c5.run("mount -t tmpfs -o size=64k tmpfs /var/log && dd if=/dev/zero of=/var/log/full bs=1k || :");
    c5.run("systemctl restart systemd-journald");
    c5.run("mount -o remount,size=$(($(df --output=used -k /run | tail -1) + 512))k /run");
    c5.run("cat /dev/zero > /run/full || :");
    assert!(!c5.try_run("head -c 1M /dev/zero > /run/still-more").success(), "/run is not full");
    assert_eq!(post(c5).unwrap(), 200);
    c5.write("/etc/pixeld/pixeld.toml", "workers = 3\n[log]\nlevel = \"debug\"\n");
    c5.run("pixeldctl reload && pixeldctl drain && pixeldctl resume");
    assert_eq!(json(c5, "pixeldctl stats --json")["workers"], 3);
    let load = c5.client().load(Load::on(c5.unix("/run/pixeld/http.sock")));
    load.wait_for_answers(400);
    load.stop().assert_all_ok();
    c5.run("systemctl restart pixeld");
    assert_eq!(post(c5).unwrap(), 200);
}

#[test]
fn both_hosts_drained_means_503_in_json_and_never_502() {
    let site = deployment::start();
    for host in [&site.c5, &site.t2] {
        host.run("pixeldctl drain");
    }
    let load = site.client.load(Load::on(C5_OUTSIDE));
    for _ in 0..10 {
        let answer = site.client.post(C5_OUTSIDE, PIXEL);
        assert_eq!((answer.status, answer.body.as_str()), (503, r#"{"detail":"Service Unavailable"}"#));
        assert_eq!(answer.field("content-type"), Some("application/json"));
    }
    wait_until("all are answered", || load.report().answered() >= 200);
    let report = load.stop();
    assert_eq!(report.by_status.get(&503), Some(&report.sent), "{report}");
    for host in [&site.c5, &site.t2] {
        host.run("pixeldctl resume");
    }
    wait_until("both serve again", || {
        [&site.c5, &site.t2].iter().all(|host| {
            site.client.post(C5_OUTSIDE, PIXEL);
            stats(host).ok > 2
        })
    });
}

#[test]
fn nginx_restart_leaves_no_connection_open() {
    let site = deployment::start();
    let load = site.client.load(Load { connections: 16, ..Load::on(C5_OUTSIDE) });
    load.wait_for_answers(200);
    site.c5.run("systemctl restart nginx");
    load.wait_for_answers(400);
    let report = load.stop();
    // nginx closes its connections and accepts none for a moment.
    assert_eq!(report.ok(), report.answered(), "{report}");
    let load = site.client.load(Load { limit: 400, ..Load::on(C5_OUTSIDE) });
    wait_until("all are answered", || load.report().sent >= 400);
    load.stop().assert_all_ok();
    site.c5.run("systemctl stop nginx");
    for host in [&site.c5, &site.t2] {
        wait_until("its connections are closed", || {
            json(host, "pixeldctl stats --json")["connections"]["open"] == 0
        });
    }
}

#[test]
fn overload_costs_time_but_no_response_or_memory() {
    let site = Site::boot();
    let c5 = &site.c5;
    c5.write("/etc/pixeld/pixeld.toml", "workers = 1\n[limits]\nconnections = 64\n");
    c5.run("systemctl start pixeld");
    let memory = || json(c5, "pixeldctl stats --json")["process"]["memoryBytes"].as_u64().unwrap();
    let socket = c5.unix("/run/pixeld/http.sock");
    let busy = Load { connections: 32, rate: 1_000_000, limit: u64::MAX, ..Load::on(socket.clone()) };
    let first = c5.client().load(busy.clone());
    first.wait_for_answers(2_000);
    let with_some = memory();
    let second = c5.client().load(busy);
    let flood = "while :; do pixeldctl stats >/dev/null || exit 1; done";
    c5.run(&format!("timeout 10 sh -c '{flood}' && timeout 10 sh -c '{flood}' & "));
    std::thread::sleep(Duration::from_secs(10));
    let with_all = memory();
    for report in [first.stop(), second.stop()] {
        report.assert_all_ok();
        assert!(report.slowest < Duration::from_secs(5), "{report}");
        println!("{} answers, the slowest after {:?}", report.ok(), report.slowest);
    }
    assert!(with_all < with_some + (4 << 20), "{with_some} and then {with_all} bytes");
    let begun = std::time::Instant::now();
    assert_eq!(post(c5).unwrap(), 200);
    assert!(begun.elapsed() < Duration::from_secs(1), "it has not recovered");
}
