//! systemd executes itself again, reads its units again or restarts all of user space, while requests come.

use std::thread;

use crate::harness::{
    C5_OUTSIDE, Host, Load, Release, SOON,
    deployment::{self, json, stats},
    wait_for_some, wait_until,
};

#[test]
fn daemon_reexec_and_reload_lose_no_request() {
    for release in [Release::Trixie, Release::Bookworm] {
        let site = deployment::start_on(release);
        let load = site.client.load(Load { rate: 2_000, ..Load::on(C5_OUTSIDE) });
        load.wait_for_answers(100);
        thread::scope(|scope| {
            for host in [&site.c5, &site.t2] {
                scope.spawn(|| reexec_and_restart(host));
            }
        });
        load.wait_for_answers(100);
        load.stop().assert_all_ok();
    }
}

#[track_caller]
fn reexec_and_restart(host: &Host) {
    let pid = stats(host).pid;
    host.run(
        "systemctl daemon-reexec && systemctl daemon-reload && systemctl is-active pixeld pixeld.socket",
    );
    assert_eq!(stats(host).pid, pid);
    // Whether systemd has kept what the daemon has stored, and still takes more.
    host.run("systemctl daemon-reexec && systemctl restart pixeld");
    let after = json(host, "pixeldctl stats --json");
    assert_eq!(after["process"]["starts"], 2, "{after:#}");
    assert!(after["connections"]["adopted"].as_u64() > Some(0), "{after:#}");
}

/// systemd 254 and later. To pixeld it is what a boot is: its sockets and connections close, and it is not drained.
#[test]
fn soft_reboot_of_one_host_loses_no_request() {
    let site = deployment::start();
    let load = site.client.load(Load { rate: 2_000, ..Load::on(C5_OUTSIDE) });
    load.wait_for_answers(100);
    site.t2.run("pixeldctl drain");
    // The connection over which this is asked breaks off.
    site.t2.try_run("systemctl soft-reboot");
    wait_for_some("the host is up again", SOON, || {
        let state =
            site.t2.try_run("systemctl show -P SoftRebootsCount && systemctl is-system-running --wait");
        (state.stdout == "1\nrunning\n").then_some(())
    });
    site.t2.run("systemctl is-active pixeld pixeld-tcp.socket pixeld-admin.socket");
    wait_until("nginx uses it again", || {
        load.wait_for_answers(10);
        stats(&site.t2).ok > 20
    });
    assert_eq!(json(&site.t2, "pixeldctl stats --json")["process"]["starts"], 1);
    load.stop().assert_all_ok();
}
