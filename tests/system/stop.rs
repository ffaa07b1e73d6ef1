//! The one command that stops everything, while requests keep coming on every socket.

use std::net::SocketAddr;

use crate::harness::{Endpoint, Host, Load, LoadHandle, PIXEL, Release, Request, Site, deployment};

const STOP: &str = "systemctl stop pixeld.socket";
const ALL: &str = "pixeld pixeld.socket pixeld-tcp.socket pixeld-control.socket pixeld-admin.socket";

/// Load on each socket that any user may open; what the control socket makes of it does not matter.
fn load_on_each_socket(host: &Host) -> Vec<LoadHandle> {
    let port: Endpoint = SocketAddr::from(([127, 0, 0, 1], 8000)).into();
    let targets = [host.unix("/run/pixeld/http.sock"), port, host.unix("/run/pixeld/control.sock")];
    let loads: Vec<_> = targets
        .map(|target| host.client().load(Load { connections: 16, rate: 2000, ..Load::on(target) }))
        .into();
    loads[..2].iter().for_each(|load| load.wait_for_answers(100));
    loads
}

fn units(host: &Host) -> String {
    host.run(
        "systemctl list-units --plain --no-legend --state=active,activating,deactivating,failed 'pixeld*'",
    )
    .stdout
}

#[test]
fn socket_stop_under_load_closes_everything() {
    for release in [Release::Trixie, Release::Bookworm] {
        let Site { t2, .. } = &deployment::start_on(release);
        for _ in 0..5 {
            let loads = load_on_each_socket(t2);
            t2.run(STOP);
            assert_eq!(units(t2), "");
            // Whatever else comes.
            for load in &loads {
                wait_for_errors(load, 100);
            }
            assert_eq!(units(t2), "");
            t2.run(
                "! ss -Hlx | grep /run/pixeld/ && ! ss -Hlt | grep :8000 && test ! -e /run/pixeld/http.sock",
            );
            drop(loads);
            t2.run("systemctl start pixeld");
            t2.run(&format!("systemctl is-active {ALL}"));
        }
        // The others close with it also where it is closed already.
        t2.run(&format!("{STOP} && systemctl start pixeld-tcp.socket && {STOP}"));
        assert_eq!(units(t2), "");
    }
}

#[test]
fn socket_restart_under_load_reopens_all() {
    let Site { t2, .. } = &deployment::start();
    let started =
        || ALL.split(' ').map(|unit| t2.run(&format!("systemctl show -P InvocationID {unit}")).stdout);
    let loads = load_on_each_socket(t2);
    for _ in 0..5 {
        let before: Vec<_> = started().collect();
        t2.run("systemctl restart pixeld.socket");
        t2.wait_for(&format!("systemctl is-active {ALL}"));
        assert!(started().zip(before).all(|(now, before)| now != before));
    }
    drop(loads);
    assert_eq!(
        t2.client().send(t2.unix("/run/pixeld/http.sock"), &Request::pixel(PIXEL)).unwrap().status,
        200
    );
    assert_eq!(t2.run("systemctl --failed --plain --no-legend").stdout, "");
}

#[track_caller]
fn wait_for_errors(load: &LoadHandle, more: u64) {
    let before = load.report().errors;
    crate::harness::wait_until("requests are refused", || load.report().errors >= before + more);
}
