//! The package for arm64 on a host of that architecture, which qemu emulates.

use std::time::Duration;

use super::{DPKG, HTTP, built, post, version};
use crate::harness::{Connection, Host, PIXEL, Release, Request, deployment::json};

/// systemd under qemu cannot set up these namespaces.
const WITHOUT_NAMESPACES: &str = "[Service]\nPrivateNetwork=no\nPrivateIPC=no\nPrivateUsers=no\n";

/// Emulated commands that take a second elsewhere take tens of seconds on a busy machine.
const EMULATED: Duration = Duration::from_secs(300);

#[track_caller]
fn run_slowly(host: &Host, command: &str) {
    let output = host.try_run_within(EMULATED, command);
    assert!(output.success(), "{command}: {output}");
}

#[test]
#[ignore = "takes minutes, and needs what `make test-all` installs and builds"]
fn arm64_deb_serves_and_hands_off_at_a_restart() {
    let host = Host::builder("arm")
        .release(Release::BookwormArm64)
        .with_file("/etc/systemd/system/pixeld.service.d/qemu.conf", WITHOUT_NAMESPACES)
        .with_file("/etc/dpkg/dpkg.cfg.d/99-test", "force-unsafe-io\n")
        .within(EMULATED)
        .boot();
    assert_eq!(host.run("uname -m").stdout, "aarch64\n");
    host.copy(built("deb", "debian-12/debian", &format!("pixeld_{}_arm64", version())), "/root/pixeld.deb");
    run_slowly(&host, &format!("{DPKG} /root/pixeld.deb"));
    run_slowly(&host, "systemctl start pixeld");
    assert_eq!(post(&host).unwrap(), 200);
    run_slowly(&host, "pixeldctl workers 3");
    assert_eq!(json(&host, "pixeldctl workers --json")["workers"].as_array().unwrap().len(), 3);
    let mut kept = Connection::open(&host.unix(HTTP)).unwrap();
    assert_eq!(kept.send(&Request::pixel(PIXEL)).unwrap().status, 200);
    run_slowly(&host, "systemctl restart pixeld");
    assert_eq!(kept.send(&Request::pixel(PIXEL)).unwrap().status, 200);
    // This may take longer than `timeouts.idle`.
    run_slowly(&host, &format!("{DPKG} /root/pixeld.deb"));
    assert_eq!(post(&host).unwrap(), 200);
    let stats = json(&host, "pixeldctl stats --json");
    assert_eq!((&stats["requests"]["ok"], &stats["process"]["starts"]), (&4.into(), &3.into()), "{stats:#}");
    assert!(stats["connections"]["adopted"].as_u64() >= Some(1), "{stats:#}");

    run_slowly(&host, "dpkg --purge pixeld");
    assert!(!host.try_run("systemctl is-active pixeld.socket").success());
}
