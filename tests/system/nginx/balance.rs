//! Which host gets how much, and what clients see when a host is slow, silent or has too much to do.

use std::time::Duration;

use crate::harness::{
    C5_OUTSIDE, Host, Load, Report, Site,
    deployment::{self, stats},
    wait_until,
};

/// Lets pixeld run for a fifth of the time only, as a host does that has spent its CPU credits.
fn throttle(t2: &Host) {
    let pid = stats(t2).pid;
    let duty = format!("while kill -STOP {pid} && sleep 0.04 && kill -CONT {pid}; do sleep 0.01; done");
    t2.run(&format!("systemd-run --quiet --unit=throttle sh -c '{duty}'"));
}

fn answered(site: &Site) -> [u64; 2] {
    [&site.c5, &site.t2].map(|host| stats(host).ok)
}

#[test]
fn throttled_host_gets_fewer_requests() {
    let site = deployment::start();
    let load = Load { connections: 16, rate: 600, ..Load::on(C5_OUTSIDE) };
    let even = site.client.load(load.clone());
    even.wait_for_answers(600);
    even.stop().assert_all_ok();
    let [c5, t2] = answered(&site);
    assert!(t2 * 4 > c5, "hosts that are equally fast share the work: {c5} and {t2}");

    throttle(&site.t2);
    let uneven = site.client.load(load);
    uneven.wait_for_answers(900);
    let report = uneven.stop();
    site.t2.run("systemctl stop throttle; pkill -CONT pixeld");
    report.assert_all_ok();
    let [c5_then, t2_then] = answered(&site);
    let (c5, t2) = (c5_then - c5, t2_then - t2);
    assert!(t2 > 0 && t2 * 2 < c5, "the slow one gets less: {c5} and {t2}; {report}");
}

/// Answers of pixeld, or word that it is overloaded or away; never one of a broken gateway.
fn assert_served_or_asked_to_retry(report: &Report) {
    let unavailable = report.by_status.get(&503).copied().unwrap_or(0);
    assert!(report.ok() > 0 && report.errors == 0, "{report}");
    assert_eq!(report.ok() + unavailable, report.sent, "{report}");
}

#[test]
fn blackholed_host_costs_no_response() {
    let site = deployment::start();
    let load = site.client.load(Load { connections: 16, ..Load::on(C5_OUTSIDE) });
    load.wait_for_answers(400);
    // Nothing comes back from it: neither answers nor refusals.
    site.t2.run("ip route add blackhole 10.77.0.10/32");
    load.wait_for_answers(800);
    site.t2.run("ip route del blackhole 10.77.0.10/32");
    let before = stats(&site.t2).ok;
    wait_until("it is used again", || stats(&site.t2).ok > before + 10);
    let report = load.stop();
    report.assert_all_ok();
    // One attempt at it (proxy_read_timeout, 3 s), and then the other host.
    assert!(report.slowest < Duration::from_secs(6), "{report}");
}

#[test]
fn overload_means_waiting_or_503() {
    let site = deployment::start();
    for host in [&site.c5, &site.t2] {
        host.write("/etc/pixeld/pixeld.toml", "workers = 1\n[limits]\nconnections = 16\n");
        host.run("systemctl restart pixeld");
    }
    // As fast as answers come, from four times as many clients as the hosts let in together.
    let load = Load { connections: 128, rate: 1_000_000, limit: u64::MAX, ..Load::on(C5_OUTSIDE) };
    let load = site.client.load(load);
    load.wait_for_answers(10_000);
    site.c5.run("systemctl restart pixeld");
    site.t2.run("pixeldctl drain");
    load.wait_for_answers(4_000);
    site.t2.run("pixeldctl resume");
    load.wait_for_answers(4_000);
    assert_served_or_asked_to_retry(&load.stop());
}

#[test]
fn drained_and_silent_hosts_mean_503_at_worst() {
    let site = deployment::start();
    let load = site.client.load(Load { connections: 16, ..Load::on(C5_OUTSIDE) });
    load.wait_for_answers(200);
    site.c5.run("pixeldctl drain");
    site.t2.run("ip route add blackhole 10.77.0.10/32");
    wait_until("clients get 503", || {
        load.report().by_status.get(&503).is_some_and(|unavailable| *unavailable > 100)
    });
    site.t2.run("ip route del blackhole 10.77.0.10/32 && pixeldctl drain");
    let before = load.report().answered();
    wait_until("clients get 503", || load.report().answered() > before + 200);
    for host in [&site.c5, &site.t2] {
        host.run("pixeldctl resume");
    }
    let before = load.report().ok();
    wait_until("clients are served again", || load.report().ok() > before + 200);
    assert_served_or_asked_to_retry(&load.stop());
}
