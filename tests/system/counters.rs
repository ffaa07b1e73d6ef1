//! Counters outlive the process that counted.

use serde_json::Value;

use crate::harness::{
    Host, Release, Request, Site,
    deployment::{json, stats},
    wait_until,
};

fn post(host: &Host) {
    let pixel = Request::pixel(r#"{"x":1,"y":2,"channel":"R","value":3}"#);
    let answer = host.client().send(host.unix("/run/pixeld/http.sock"), &pixel);
    assert_eq!(answer.unwrap().status, 200);
}

/// Posts a pixel, then expects these numbers of requests and starts.
fn expect(host: &Host, requests: u64, starts: u64, since: &Value) {
    post(host);
    let stats = json(host, "pixeldctl stats --json");
    assert_eq!(stats["requests"]["ok"], requests, "{stats:#}");
    assert_eq!(stats["process"]["starts"], starts, "{stats:#}");
    assert_eq!(&stats["countersSinceUnixMs"], since, "{stats:#}");
    // A worker records the latency after it has sent the response.
    wait_until("the latency of each request is counted", || {
        json(host, "pixeldctl stats --json")["latency"]["count"] == requests
    });
}

#[test]
fn counters_survive_restarts_and_crashes() {
    for release in [Release::Trixie, Release::Bookworm] {
        let site = Site::boot_release(release);
        let c5 = &site.c5;
        c5.run("systemctl start pixeld");
        let since = json(c5, "pixeldctl stats --json")["countersSinceUnixMs"].clone();
        expect(c5, 1, 1, &since);
        c5.run("systemctl restart pixeld");
        expect(c5, 2, 2, &since);
        c5.kill("KILL", stats(c5).pid);
        expect(c5, 3, 3, &since);
        c5.kill("ABRT", stats(c5).pid);
        expect(c5, 4, 4, &since);
        c5.run("systemctl reload pixeld");
        expect(c5, 5, 4, &since);
        // Two descriptors are kept, that of the counters and one for connections, however often the
        // daemon starts.
        assert_eq!(c5.run("systemctl show -P NFileDescriptorStore pixeld").stdout.trim(), "2");
        assert!(c5.entries("EVENT=countersReset").is_empty());
    }
}

#[test]
fn sandbox_allows_shared_counters() {
    let site = Site::boot();
    let c5 = &site.c5;
    c5.run("systemctl start pixeld");
    post(c5);
    let maps = c5.read(&format!("/proc/{}/maps", stats(c5).pid));
    let counters: Vec<_> = maps.lines().filter(|line| line.contains("memfd:pixeld-counters")).collect();
    assert_eq!(counters.len(), 1, "{maps}");
    assert!(counters[0].contains(" rw-s "), "{counters:?}");
    for property in
        ["PrivateUsers=yes", "PrivateNetwork=yes", "MemoryDenyWriteExecute=yes", "NoNewPrivileges=yes"]
    {
        let (name, value) = property.split_once('=').unwrap();
        assert_eq!(c5.run(&format!("systemctl show -P {name} pixeld")).stdout.trim(), value, "{name}");
    }
    let status = c5.read(&format!("/proc/{}/status", stats(c5).pid));
    assert!(status.lines().any(|line| line.starts_with("Seccomp:") && line.ends_with('2')), "{status}");
}
