//! Sockets that are restarted under load: afterwards every one is open, and no client has noticed.

use std::time::Duration;

use super::{RELEASES, T2_PIXELD};
use crate::harness::{C5_OUTSIDE, Host, Load, LoadHandle, deployment, wait_until};

const UNITS: &str =
    "pixeld.service pixeld.socket pixeld-tcp.socket pixeld-control.socket pixeld-admin.socket";

/// How often each is done to each host. For more rounds: `ROUNDS=60 cargo test --test system restart::sockets`.
fn rounds() -> u32 {
    std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(2)
}

#[test]
fn socket_restart_under_load_loses_no_request() {
    for release in RELEASES {
        let site = deployment::start_on(release);
        site.c5.run("systemctl enable --quiet pixeld-tcp.socket && systemctl restart pixeld-tcp.socket");
        let load = Load { rate: 2_000, limit: u64::MAX, ..Load::on(C5_OUTSIDE) };
        let load = site.client.load(Load { duration: Duration::from_secs(1_800), ..load });
        // One host at a time, as an operator would; the other one answers meanwhile.
        for host in [&site.t2, &site.c5] {
            load.wait_for_answers(200);
            for command in [
                "systemctl restart pixeld-tcp.socket".to_owned(),
                "systemctl restart 'pixeld*'".to_owned(),
                format!("systemctl try-restart {UNITS}"),
            ] {
                restart(host, &command, &load);
            }
            wait_until("nginx uses it again", || {
                let before = deployment::stats(host).ok;
                load.wait_for_answers(100);
                deployment::stats(host).ok > before
            });
        }
        load.stop().assert_all_ok();
    }
}

#[track_caller]
fn restart(host: &Host, command: &str, load: &LoadHandle) {
    for round in 1..=rounds() {
        let output = host.try_run(command);
        assert!(output.success(), "{command}, round {round}: {output}");
        host.run(&format!("systemctl is-active {UNITS}"));
        host.run("ss -Hltn 'sport = :8000' | grep -q LISTEN && test -S /run/pixeld/http.sock");
        host.run("pixeldctl status");
        load.wait_for_answers(10);
    }
}

#[test]
fn tcp_socket_disabled_now_closes_and_restarted_opens() {
    for release in RELEASES {
        let site = deployment::start_on(release);
        let t2 = &site.t2;
        assert!(site.insider.connect(T2_PIXELD).is_ok());
        t2.run("systemctl disable --quiet --now pixeld-tcp.socket");
        assert!(site.insider.connect(T2_PIXELD).is_err(), "{release:?}: still open");
        // The other sockets stay, and each starts the service.
        t2.run("pixeldctl status && systemctl is-active pixeld.service pixeld.socket");
        assert!(site.insider.connect(T2_PIXELD).is_err(), "{release:?}: open again");
        t2.run("systemctl restart pixeld-tcp.socket");
        assert!(site.insider.connect(T2_PIXELD).is_ok(), "{release:?}: not open");
    }
}
