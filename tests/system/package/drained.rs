//! A host that was drained before its packages are upgraded.

use super::{HTTP, PIXEL, host_with_release, install, on_both_releases};
use crate::harness::{Request, deployment::json};

#[test]
fn drained_host_is_still_drained_after_upgrades() {
    on_both_releases(|release| {
        let host = host_with_release(release);
        host.run("pixeldctl drain");
        let drained = json(&host, "pixeldctl stats --json")["drainedBy"].clone();
        assert!(drained["by"].is_string(), "{drained:#}");
        // The same version again, and the earlier one, are upgrades to dpkg as well.
        for package in ["pixeld.deb", "pixeld.deb", "old.deb", "pixeld.deb"] {
            let pid = host.run("systemctl show -P MainPID pixeld").stdout;
            install(&host, package);
            assert_ne!(
                host.run("systemctl show -P MainPID pixeld").stdout,
                pid,
                "{package}: it was restarted"
            );
            let answer = host.client().send(host.unix(HTTP), &Request::pixel(PIXEL)).unwrap();
            assert_eq!(answer.status, 503, "{release:?}, {package}");
            assert_eq!(json(&host, "pixeldctl stats --json")["drainedBy"], drained, "{release:?}, {package}");
        }
        host.run("pixeldctl resume");
        assert_eq!(host.client().send(host.unix(HTTP), &Request::pixel(PIXEL)).unwrap().status, 200);
    });
}
