//! pixeld as a systemd service: what an operator sees and does.

use std::time::{Duration, Instant};

use crate::harness::{
    Client, Host, PIXEL, Release, Request, Site,
    deployment::{self, json, stats},
    wait_until,
};

fn post(host: &Host) -> std::io::Result<u16> {
    let answer = host.client().send(host.unix("/run/pixeld/http.sock"), &Request::pixel(PIXEL));
    answer.map(|response| response.status)
}

fn property(host: &Host, unit: &str, name: &str) -> String {
    host.run(&format!("systemctl show -P {name} {unit}")).stdout.trim().into()
}

#[test]
fn status_text_and_journal_fields_are_current() {
    let site = Site::boot();
    site.c5.run("systemctl start pixeld");
    assert_eq!(post(&site.c5).unwrap(), 200);
    let expected =
        if std::thread::available_parallelism().unwrap().get() == 1 { "1 worker," } else { "workers," };
    wait_until("the status line counts the request", || {
        let status = property(&site.c5, "pixeld", "StatusText");
        status.starts_with("Serving: ") && status.contains(expected) && status.contains(", 1 request, ")
    });

    site.c5.write("/etc/pixeld/pixeld.toml.d/debug.toml", "[log]\nlevel = \"debug\"\n");
    site.c5.run("systemctl reload pixeld");
    let refused = Request::new("POST", "/nowhere", "").field("X-Real-IP", "203.0.113.77");
    let answer = site.c5.client().send(site.c5.unix("/run/pixeld/http.sock"), &refused).unwrap();
    assert_eq!(answer.status, 404);
    let entry = site.c5.wait_for_entry("EVENT=requestRejected");
    for (field, value) in [
        ("CLIENT", "203.0.113.77"),
        ("STATUS", "404"),
        ("REASON", "no such path"),
        ("PRIORITY", "7"),
        ("SYSLOG_IDENTIFIER", "pixeld"),
    ] {
        assert_eq!(entry[field], value, "{entry:#}");
    }
    assert!(entry["WORKER"].as_str().is_some_and(|number| number.parse::<u32>().is_ok()), "{entry:#}");
    let ready = site.c5.wait_for_entry("EVENT=ready");
    assert_eq!(ready["PRIORITY"], "6");
}

#[test]
fn systemctl_verbs_work() {
    let site = Site::boot();
    let c5 = &site.c5;
    c5.run("systemctl enable --quiet pixeld");
    c5.reboot();
    c5.wait_for("systemctl is-active pixeld pixeld.socket pixeld-control.socket pixeld-admin.socket");
    assert_eq!(post(c5).unwrap(), 200);
    assert_eq!(property(c5, "pixeld", "User"), "pixeld");

    let sockets_since = |unit: &str| property(c5, unit, "ActiveEnterTimestampMonotonic");
    let before = sockets_since("pixeld.socket");
    let pid = stats(c5).pid;
    c5.run("systemctl restart pixeld");
    assert_ne!(stats(c5).pid, pid);
    assert_eq!(sockets_since("pixeld.socket"), before, "a restart leaves the sockets alone");
    assert_eq!(post(c5).unwrap(), 200);

    let pid = stats(c5).pid;
    c5.write("/etc/pixeld/pixeld.toml.d/workers.toml", "workers = 3\n");
    c5.run("systemctl reload pixeld");
    assert_eq!(stats(c5).pid, pid);
    assert_eq!(json(c5, "pixeldctl workers --json")["workers"].as_array().unwrap().len(), 3);

    c5.write("/etc/pixeld/pixeld.toml.d/workers.toml", "workers = 0\n");
    let reload = c5.try_run("systemctl reload pixeld");
    assert!(!reload.success(), "a bad file fails the reload visibly");
    let failed = c5.wait_for_entry("EVENT=reloadFailed");
    let reason = failed["REASON"].as_str().unwrap();
    assert!(reason.starts_with("/etc/pixeld/pixeld.toml.d/workers.toml:1: workers: "), "{failed:#}");
    assert_eq!(json(c5, "pixeldctl workers --json")["workers"].as_array().unwrap().len(), 3);

    c5.run("rm /etc/pixeld/pixeld.toml.d/workers.toml");
    c5.run("systemctl stop pixeld.socket");
    assert!(post(c5).is_err());
    assert!(!c5.try_run("systemctl is-active pixeld").success());
    assert_eq!(property(c5, "pixeld", "Result"), "success");
    c5.run("systemctl start pixeld");
    assert_eq!(post(c5).unwrap(), 200);
    let failed = c5.run("systemctl --failed --plain --no-legend").stdout;
    assert_eq!(failed, "");
}

#[test]
fn faulty_configuration_is_explained_and_recoverable() {
    let site = Site::boot();
    let c5 = &site.c5;
    c5.run("systemctl start pixeld.socket");
    c5.write("/etc/pixeld/pixeld.toml", "workers = 2\n[limits]\nbodi = \"16KiB\"\n");
    let fault = "/etc/pixeld/pixeld.toml:3: limits.bodi: unknown key (did you mean limits.body?)";

    let check = c5.try_run("pixeld --check");
    assert_eq!((check.status, check.stderr.trim()), (78, fault));
    let start = c5.try_run("systemctl start pixeld");
    assert!(!start.success());
    let status = c5.try_run("systemctl status --no-pager --full pixeld");
    assert!(status.stdout.contains("status=78/CONFIG"), "{status}");
    assert!(property(c5, "pixeld", "StatusText").contains(fault));
    assert!(c5.run("journalctl -u pixeld").stdout.contains(fault));
    let explained = c5.run("journalctl --update-catalog && journalctl -x -u pixeld").stdout;
    assert!(explained.contains("Subject: pixeld does not start: configuration rejected"), "{explained}");

    // Clients that wait on the socket trigger the service repeatedly, up to the limit.
    c5.run("systemctl reset-failed; systemctl start pixeld.socket");
    let _waiting = post(c5);
    c5.wait_for("test $(systemctl show -P Result pixeld.socket) = trigger-limit-hit");
    let starts = c5.entries("EVENT=configRejected").len();
    assert!(starts <= 25, "started {starts} times");

    c5.write("/etc/pixeld/pixeld.toml", "workers = 2\n");
    c5.run("systemctl start pixeld");
    assert_eq!(post(c5).unwrap(), 200);
    c5.run("systemctl is-active pixeld.socket pixeld-control.socket pixeld-admin.socket");
}

#[test]
fn killed_daemon_is_back_for_the_next_request() {
    let site = Site::boot();
    let c5 = &site.c5;
    c5.run("systemctl start pixeld");
    let pid = stats(c5).pid;
    c5.kill("KILL", pid);
    assert_eq!(post(c5).unwrap(), 200);
    assert_ne!(stats(c5).pid, pid);
    assert_eq!(property(c5, "pixeld", "NRestarts"), "1");
}

#[test]
fn systemctl_stop_finishes_the_request() {
    let site = Site::boot();
    let c5 = &site.c5;
    c5.run("systemctl start pixeld");
    let client: Client = c5.client();
    let mut connection = client.connect(c5.unix("/run/pixeld/http.sock")).unwrap();
    let (first, rest) = PIXEL.split_at(10);
    let head =
        "POST /pixel HTTP/1.1\r\nHost: c5\r\nContent-Type: application/json\r\nContent-Length: 41\r\n\r\n";
    connection.send_raw(format!("{head}{first}").as_bytes()).unwrap();
    wait_until("the connection is open", || json(c5, "pixeldctl stats --json")["connections"]["open"] == 1);
    c5.run("systemctl stop --no-block pixeld.socket");
    c5.wait_for("test $(systemctl show -P ActiveState pixeld) = deactivating");
    let begun = Instant::now();
    connection.send_raw(rest.as_bytes()).unwrap();
    let answer = connection.receive().unwrap();
    // systemd keeps the connection for the next start, and closes it when there is none.
    assert_eq!((answer.status, answer.field("connection")), (200, None));
    c5.wait_for("test $(systemctl show -P ActiveState pixeld) = inactive");
    assert!(begun.elapsed() < Duration::from_secs(10), "it waited for more than the request");
    assert_eq!(property(c5, "pixeld", "Result"), "success");
}

#[test]
fn sandbox_has_no_network_of_its_own() {
    let site = deployment::start();
    let pid = stats(&site.t2).pid;
    let interfaces = site.t2.run(&format!("nsenter -t {pid} -n ip -o link | wc -l")).stdout;
    assert_eq!(interfaces.trim(), "1", "only its own loopback");
    let limits = site.t2.read(&format!("/proc/{pid}/limits"));
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().nth(3), files.split_whitespace().nth(4), "{files}");
}

#[test]
fn disabled_admin_socket_stays_closed() {
    for release in [Release::Trixie, Release::Bookworm] {
        let site = Site::boot_release(release);
        let c5 = &site.c5;
        c5.run("systemctl enable --now --quiet pixeld && pixeldctl drain && pixeldctl resume");
        c5.run("systemctl disable --now --quiet pixeld-admin.socket");
        assert_read_only(c5);

        c5.run("systemctl restart pixeld");
        assert_read_only(c5);
        c5.run("systemctl stop pixeld.socket && systemctl start pixeld");
        assert_read_only(c5);
        c5.run("systemctl restart 'pixeld*'");
        assert_read_only(c5);
        c5.reboot();
        c5.wait_for("systemctl is-active pixeld");
        assert_read_only(c5);
        let report = c5.try_run("pixeldctl doctor --json").stdout;
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        let sockets = report["findings"].as_array().unwrap().iter().find(|found| found["check"] == "sockets");
        let sockets = sockets.unwrap();
        assert_eq!(sockets["state"], "ok", "{sockets:#}");
        assert!(sockets["evidence"].as_str().unwrap().contains("pixeld-admin.socket"), "{sockets:#}");

        c5.write("/etc/pixeld/pixeld.toml.d/workers.toml", "workers = 3\n");
        let reload = c5.try_run("systemctl reload pixeld");
        assert!(!reload.success());
        c5.wait_for("journalctl -u pixeld -o cat | grep -q 'has no admin socket'");
        c5.run("systemctl kill -s HUP pixeld");
        c5.wait_for("test $(pixeldctl workers --json | grep -o '\"number\"' | wc -l) = 3");

        c5.run("systemctl enable --quiet pixeld-admin.socket && systemctl restart pixeld-admin.socket");
        c5.run("pixeldctl drain && pixeldctl resume && systemctl reload pixeld");
        c5.run("systemctl stop pixeld.socket && systemctl start pixeld && pixeldctl drain");
        assert_eq!(c5.run("systemctl --failed --plain --no-legend").stdout, "");
    }
}

#[track_caller]
fn assert_read_only(host: &Host) {
    assert_eq!(post(host).unwrap(), 200);
    let drain = host.try_run("pixeldctl drain");
    assert_eq!(drain.status, 69, "{drain}");
    assert!(drain.stderr.contains("systemctl enable pixeld-admin.socket"), "{drain}");
    host.run("pixeldctl status && test ! -e /run/pixeld/admin.sock");
}

/// As with a drop-in that names a path that is missing.
#[test]
fn failed_start_is_not_repeated_but_recoverable() {
    let site = Site::boot();
    let c5 = &site.c5;
    c5.run("systemctl start pixeld && pixeldctl drain");
    let drop_in = "/etc/systemd/system/pixeld.service.d/zz-nowhere.conf";
    c5.run("mkdir -p /etc/systemd/system/pixeld.service.d");
    c5.write(drop_in, "[Service]\nBindReadOnlyPaths=/nowhere\n");
    c5.run("systemctl daemon-reload");
    c5.try_run("systemctl restart pixeld");
    c5.wait_for("test $(systemctl show -P ActiveState pixeld) = failed");
    let shown = |unit: &str, name: &str| property(c5, unit, name);
    assert_eq!((shown("pixeld", "ExecMainStatus"), shown("pixeld", "NRestarts")), ("226".into(), "0".into()));
    assert_eq!(shown("pixeld.socket", "ActiveState"), "active");

    // Each connection that waits is a reason to start it.
    let _ = post(c5);
    c5.wait_for("test $(systemctl show -P Result pixeld.socket) = trigger-limit-hit");
    c5.run(&format!("rm {drop_in} && systemctl daemon-reload && systemctl start pixeld"));
    // The failure has ended the drain.
    assert_eq!(post(c5).unwrap(), 200);
}

#[test]
fn log_resumes_when_journald_is_back() {
    let site = Site::boot();
    let c5 = &site.c5;
    c5.run("systemctl start pixeld");
    let journal = "systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service";
    c5.run(&format!("systemctl stop {journal}; systemctl restart pixeld"));
    wait_until("lines are lost", || json(c5, "pixeldctl stats --json")["logLinesDropped"].as_u64() > Some(0));
    c5.run(&format!("systemctl start {journal}"));
    let dropped = c5.wait_for_entry("EVENT=logLinesDropped");
    assert!(dropped["REASON"].as_str().unwrap().contains("cannot reach the journal"), "{dropped:#}");
    c5.run("pixeldctl drain");
    let drained = c5.wait_for_entry("EVENT=drained");
    assert!(drained["BY"].as_str().unwrap().starts_with("root"), "{drained:#}");
}

#[test]
fn filtered_accept4_is_reported_without_spinning() {
    let site = Site::boot();
    let c5 = &site.c5;
    let drop_in = "/etc/systemd/system/pixeld.service.d/zz-filter.conf";
    c5.run("mkdir -p /etc/systemd/system/pixeld.service.d");
    c5.write(drop_in, "[Service]\nSystemCallFilter=~accept4 accept\n");
    c5.run("systemctl daemon-reload && systemctl start pixeld");
    c5.try_run("timeout 1 socat -u UNIX-CONNECT:/run/pixeld/http.sock -");
    let paused = || -> Vec<_> {
        let paused = c5.entries("EVENT=acceptPaused").into_iter();
        paused.map(|entry| entry["REASON"].as_str().unwrap().to_owned()).collect()
    };
    let is_http = |reason: &String| reason.starts_with("unix:/run/pixeld/http.sock: Operation not permitted");
    wait_until("the journal says so", || paused().iter().any(is_http));
    wait_until("the status line says so", || {
        property(c5, "pixeld", "StatusText")
            .starts_with("Accepts no connections at unix:/run/pixeld/http.sock")
    });
    let used = || property(c5, "pixeld", "CPUUsageNSec").parse::<u64>().unwrap();
    let before = used();
    let begun = Instant::now();
    c5.run("sleep 2");
    assert!(Duration::from_nanos(used() - before) < begun.elapsed() / 2);
    assert_eq!(paused().iter().filter(|reason| is_http(reason)).count(), 1);
    // Control clients are not accepted either, and the journal says so.
    assert_ne!(c5.try_run("pixeldctl stats --timeout 1s").status, 0);
    let is_control = |reason: &String| reason.contains(" socket: Operation not permitted");
    wait_until("the journal says so", || paused().iter().any(is_control));
    c5.run(&format!("rm {drop_in} && systemctl daemon-reload && systemctl restart pixeld"));
    assert_eq!(post(c5).unwrap(), 200);
}

#[test]
fn tcp_socket_serves_ipv4_despite_bindv6only() {
    let site = Site::boot();
    site.t2.sysctl("net.ipv6.bindv6only", "1");
    site.t2.run("systemctl start pixeld-tcp.socket pixeld");
    for address in ["10.77.0.20:8000", "127.0.0.1:8000", "[::1]:8000"] {
        let address: std::net::SocketAddr = address.parse().unwrap();
        let client = if address.ip().is_loopback() { site.t2.client() } else { site.insider.clone() };
        assert_eq!(client.post(address, PIXEL).status, 200, "{address}");
    }
}
