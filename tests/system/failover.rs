//! Clients do not notice that a host stops and starts again under load.

use crate::harness::{C5_OUTSIDE, Load, LoadHandle, deployment, wait_until};

/// As the manual says. The service ends before its sockets are closed, and without the job mode a request
/// that comes in between would start it again, which cancels the stop.
const STOP: &str = "systemctl stop pixeld.socket";

fn load(site: &crate::harness::Site) -> LoadHandle {
    let load = site.client.load(Load { connections: 8, rate: 400, ..Load::on(C5_OUTSIDE) });
    load.wait_for_answers(100);
    load
}

#[test]
fn t2_stop_and_start_lose_no_request() {
    let site = deployment::start();
    let load = load(&site);
    site.t2.run(STOP);
    load.wait_for_answers(400);
    site.t2.run("systemctl start pixeld");
    let before = deployment::stats(&site.t2).ok;
    load.wait_for_answers(800);
    assert!(deployment::stats(&site.t2).ok > before, "t2 is not used again");
    load.stop().assert_all_ok();
}

#[test]
fn stop_is_not_cancelled_by_new_requests() {
    let site = deployment::start();
    let load = load(&site);
    for _ in 0..15 {
        site.t2.run(&format!("{STOP} && ! systemctl is-active pixeld"));
        site.t2.run("systemctl start pixeld");
        wait_until("nginx uses it again", || deployment::stats(&site.t2).ok > 5);
    }
    load.stop().assert_all_ok();
}

#[test]
fn c5_stop_and_start_lose_no_request() {
    let site = deployment::start();
    let load = load(&site);
    site.c5.run(STOP);
    load.wait_for_answers(400);
    site.c5.run("systemctl start pixeld");
    let before = deployment::stats(&site.c5).ok;
    load.wait_for_answers(800);
    assert!(deployment::stats(&site.c5).ok > before, "c5 is not used again");
    load.stop().assert_all_ok();
}

#[test]
fn powered_off_t2_loses_no_request() {
    let site = deployment::start();
    let load = load(&site);
    site.t2.run("ip link set lan0 down");
    load.wait_for_answers(400);
    site.t2.run("ip link set lan0 up");
    load.wait_for_answers(400);
    load.stop().assert_all_ok();
}

/// As an overload would: each host lets requests time out, so nginx counts a failure against both.
#[test]
fn timeouts_of_both_hosts_lose_no_request() {
    let site = deployment::start();
    let load = site.client.load(Load { connections: 64, rate: 640, ..Load::on(C5_OUTSIDE) });
    load.wait_for_answers(640);
    let both = [&site.c5, &site.t2];
    for host in both {
        host.run("pkill -STOP -x pixeld");
    }
    // proxy_read_timeout is 3 s.
    site.c5.wait_for("grep -c 'upstream timed out' /var/log/nginx/pixeld/error.log | grep -q '[0-9][0-9]'");
    for host in both {
        host.run("pkill -CONT -x pixeld");
    }
    load.wait_for_answers(640);
    load.stop().assert_all_ok();
    let log: u64 = site.c5.run("stat -c %s /var/log/nginx/pixeld/error.log").stdout.trim().parse().unwrap();
    assert!(log < 200_000, "{log} bytes of error log");
}

#[test]
fn timeout_of_a_single_host_loses_no_request() {
    let site = deployment::start();
    site.c5.run("sed -i '/^server 10/s/^/#/' /etc/nginx/pixeld-upstreams.conf && systemctl restart nginx");
    let load = load(&site);
    site.c5.run("pkill -STOP -x pixeld");
    site.c5.wait_for("grep -q 'upstream timed out' /var/log/nginx/pixeld/error.log");
    site.c5.run("pkill -CONT -x pixeld");
    load.wait_for_answers(400);
    site.c5.run("systemctl restart pixeld");
    load.wait_for_answers(400);
    load.stop().assert_all_ok();
}

#[test]
fn rolling_restart_loses_no_request() {
    let site = deployment::start();
    let load = load(&site);
    for _ in 0..3 {
        for host in [&site.c5, &site.t2] {
            host.run("systemctl restart pixeld");
        }
    }
    load.stop().assert_all_ok();
}

#[test]
fn no_host_left_means_503_in_json() {
    let site = deployment::start();
    for host in [&site.c5, &site.t2] {
        host.run(STOP);
    }
    for _ in 0..10 {
        let answer = site.client.post(C5_OUTSIDE, "{}");
        assert_eq!((answer.status, answer.body.as_str()), (503, r#"{"detail":"Service Unavailable"}"#));
    }
}
