//! pixeldctl doctor on real hosts: what it finds is there, and its remedies work.

use std::net::SocketAddr;

use serde_json::Value;

use crate::harness::{C5_OUTSIDE, Client, Host, Network, Release, Request, Site, deployment};

/// The check that a busy test machine may really fail.
const NOT_OURS: &str = "cpu-steal";

struct Report {
    status: i32,
    findings: Vec<Value>,
}

fn doctor(host: &Host) -> Report {
    let output = host.try_run("pixeldctl doctor --json");
    let report: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output}"));
    assert_eq!(report["ok"], output.status == 0, "{output}");
    Report { status: output.status, findings: report["findings"].as_array().unwrap().clone() }
}

impl Report {
    /// The names of the checks that something is wrong with.
    fn wrong(&self) -> Vec<&str> {
        let is_wrong = |finding: &&Value| ["warning", "problem"].contains(&text(&finding["state"]));
        let names = self.findings.iter().filter(is_wrong).map(|finding| text(&finding["check"]));
        names.filter(|name| *name != NOT_OURS).collect()
    }

    fn of(&self, check: &str) -> &Value {
        self.findings.iter().find(|finding| finding["check"] == check).expect(check)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The only thing that is wrong, which `part` is said of.
#[track_caller]
fn finds(host: &Host, check: &str, state: &str, part: &str) -> Value {
    let report = doctor(host);
    assert_eq!(report.wrong(), [check], "{:#?}", report.findings);
    assert_eq!(report.status, 1);
    // A check may have other findings with which nothing is wrong.
    let wrong = |finding: &&Value| finding["check"] == check && finding["state"] == state;
    let finding = report.findings.iter().find(wrong);
    let finding = finding.unwrap_or_else(|| panic!("no {state}: {:#?}", report.findings)).clone();
    let said = format!("{} {}", text(&finding["summary"]), text(&finding["evidence"]));
    assert!(said.contains(part), "{part}: {finding:#}");
    finding
}

/// Runs what a finding says fixes it, as an operator would paste it; these hosts have no sudo.
#[track_caller]
fn fix(host: &Host, finding: &Value) {
    shell(host, finding["fix"].as_array().unwrap().iter().map(text));
    assert_is_well(host);
}

#[track_caller]
fn shell<'a>(host: &Host, lines: impl Iterator<Item = &'a str>) {
    let lines: Vec<_> = lines.collect();
    host.run(&format!("set -e; sudo() {{ \"$@\"; }}\n{}", lines.join("\n")));
}

#[track_caller]
fn assert_is_well(host: &Host) {
    let report = doctor(host);
    assert_eq!(report.wrong(), [""; 0], "{:#?}", report.findings);
}

#[test]
fn fresh_site_has_no_problem() {
    let site = deployment::start();
    for host in [&site.c5, &site.t2] {
        assert_is_well(host);
    }
    let report = doctor(&site.c5);
    for check in
        ["daemon", "sockets", "upstreams", "keepalive", "exposure", "file-limit", "backlog", "journal"]
    {
        assert_eq!(report.of(check)["state"], "ok", "{check}: {:#?}", report.findings);
    }
    assert_eq!(report.of("clock")["state"], "skipped");
    assert_eq!(doctor(&site.t2).of("upstreams")["state"], "skipped", "t2's nginx has nothing to do with it");

    site.c5.run("useradd -G pixeld reader && useradd nobodys");
    let seen_by = |user| site.c5.try_run_as(user, "pixeldctl doctor").stdout;
    let reader = seen_by("reader");
    for line in ["ok       file-limit", "skipped  upstreams", "skipped  journal"] {
        assert!(reader.contains(line), "{line}: {reader}");
    }
    let nobodys = seen_by("nobodys");
    for line in ["skipped  daemon", "skipped  file-limit", "ok       sockets"] {
        assert!(nobodys.contains(line), "{line}: {nobodys}");
    }
    let mut sentences = nobodys.lines().filter(|line| !line.contains("fix:"));
    assert!(sentences.all(|line| line.chars().count() <= 80), "{nobodys}");
    site.c5.run("usermod -aG systemd-journal reader");
    assert!(seen_by("reader").contains("ok       journal"));
}

#[test]
fn doctor_works_on_the_oldest_release() {
    let host = Host::builder("old").release(Release::Bookworm).with_pixeld().boot();
    host.run("systemctl enable --now --quiet pixeld-tcp.socket pixeld");
    assert_is_well(&host);
    let report = doctor(&host);
    for check in ["daemon", "sockets", "exposure", "file-limit", "workers", "backlog", "journal"] {
        assert_eq!(report.of(check)["state"], "ok", "{check}: {:#?}", report.findings);
    }
    host.run("systemctl stop pixeld");
    assert_is_well(&host);
    host.wait_for("systemctl is-active pixeld");
    host.run("systemctl stop pixeld.socket");
    let report = doctor(&host);
    let wrong = ["daemon", "sockets", "sockets", "sockets", "sockets"];
    assert_eq!(report.wrong(), wrong, "nothing is open that starts it: {:#?}", report.findings);
    host.run("systemctl start pixeld");
    assert_is_well(&host);
}

#[test]
fn rejected_configuration_is_a_problem() {
    for release in [Release::Trixie, Release::Bookworm] {
        let host = Host::builder("c5").release(release).with_pixeld().boot();
        host.run("systemctl enable --now --quiet pixeld");
        assert_eq!(doctor(&host).of("config")["state"], "ok");
        let file = "/etc/pixeld/pixeld.toml.d/50.toml";
        host.write(file, "workers = 1\n");
        host.run(&format!("chmod 0600 {file} && pixeld --check"));
        finds(&host, "config", "problem", &format!("{file}: cannot be read by user pixeld"));
        host.run("useradd -G pixeld reader");
        let reader = host.try_run_as("reader", "pixeldctl doctor").stdout;
        assert!(reader.contains("skipped  config"), "{reader}");

        host.write(file, "[limits]\nbodi = \"16KiB\"\n");
        host.run(&format!("chmod 0644 {file}"));
        let fault = format!("{file}:2: limits.bodi: unknown key (did you mean limits.body?)");
        finds(&host, "config", "problem", &fault);
        assert!(!host.try_run("systemctl restart pixeld").success());
        let starts = || host.entries("EVENT=configRejected").len();
        let before = starts();
        // More often than systemd starts a service for a socket before it closes that.
        for user in ["root", "reader"] {
            let ask = "for i in $(seq 15); do pixeldctl status; done";
            let output = host.try_run_as(user, ask);
            assert_eq!(output.stderr.matches(&fault).count(), 15, "{output}");
        }
        assert_eq!(host.try_run("pixeldctl drain").status, 69);
        assert_eq!(starts(), before, "asking has started the service");
        host.run("systemctl is-active pixeld.socket pixeld-control.socket pixeld-admin.socket");

        let report = doctor(&host);
        assert_eq!(report.wrong(), ["daemon", "config"], "{:#?}", report.findings);
        for check in report.wrong() {
            let evidence = text(&report.of(check)["evidence"]);
            assert!(evidence.contains(&fault), "{check}: {evidence}");
        }
        let shown = host.try_run("pixeldctl doctor").stdout;
        assert!(!shown.contains("pixeld runs"), "{shown}");
        assert_eq!(starts(), before, "looking has started the service");

        // Clients do, until systemd closes the sockets; the reason is still shown.
        for _ in 0..40 {
            host.try_run("socat -u /dev/null UNIX-CONNECT:/run/pixeld/control.sock");
        }
        host.wait_for("test $(systemctl show -P Result pixeld-control.socket) = trigger-limit-hit");
        let output = host.try_run("pixeldctl status");
        assert!(output.status == 69 && output.stderr.contains(&fault), "{output}");

        host.write(file, "[limits]\nbody = \"16KiB\"\n");
        fix(&host, report.of("config"));
    }
}

/// Faults that cost requests although the configuration is right.
#[test]
fn each_fault_of_a_running_host_is_found() {
    let host = Host::builder("c5").with_pixeld().boot();
    host.run("systemctl enable --now --quiet pixeld");
    assert_is_well(&host);

    host.run("pixeldctl drain");
    fix(&host, &finds(&host, "daemon", "warning", "drained by root"));

    host.write("/etc/systemd/system/pixeld.service.d/once.conf", "[Service]\nRestart=no\n");
    fix(&host, &finds(&host, "daemon", "warning", "NeedDaemonReload=yes"));

    let pid = deployment::stats(&host).pid;
    host.run(&format!("kill -STOP {pid}"));
    let output = host.try_run("pixeldctl doctor --timeout 1s");
    host.run(&format!("kill -CONT {pid}"));
    assert!(output.stdout.contains("problem  daemon      pixeld runs but does not respond"), "{output}");

    host.kill("KILL", pid);
    host.wait_for("systemctl is-failed pixeld");
    fix(&host, &finds(&host, "daemon", "problem", "pixeld.service has failed (Result=signal)"));

    host.run("systemctl enable --now --quiet pixeld-metrics.timer");
    host.wait_for("test $(systemctl show -P ConditionResult pixeld-metrics.service) = no");
    let missing = finds(&host, "metrics", "warning", "/var/lib/prometheus/node-exporter");
    fix(&host, &missing);
    host.run(
        "mkdir -p /var/lib/prometheus/node-exporter && systemctl enable --now --quiet pixeld-metrics.timer",
    );
    host.wait_for("test -s /var/lib/prometheus/node-exporter/pixeld.prom");
    assert_is_well(&host);

    // A hypervisor that takes every second tick.
    let stolen = r"while :; do i=$((i + 100))
        printf 'cpu  %012d 0 0 0 0 0 0 %012d 0 0\n' $i $i | dd of=/run/stat conv=notrunc status=none
        sleep 0.1; done";
    host.write("/run/steal", stolen);
    host.run(
        "systemd-run --quiet --unit steal sh /run/steal && sleep 0.3 && mount --bind /run/stat /proc/stat",
    );
    let report = doctor(&host);
    assert_eq!(report.of(NOT_OURS)["state"], "problem", "{:#?}", report.findings);
    host.run("umount /proc/stat && systemctl stop steal");

    // This file marks the container as one; otherwise doctor expects a program that sets the clock.
    host.run("mv /run/systemd/container /run/container");
    finds(&host, "clock", "warning", "NTPSynchronized=no");
    host.run("mv /run/container /run/systemd/container");

    let journal = "systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service";
    host.run(&format!("systemctl stop {journal}; systemctl restart pixeld"));
    host.wait_for("pixeldctl stats --json | grep -q 'logLinesDropped.*[1-9]'");
    host.run(&format!("systemctl start {journal}"));
    finds(&host, "log-lines", "warning", "lines of its log");
}

#[test]
fn faulty_service_is_found_and_fixed() {
    let site = deployment::start();
    let c5 = &site.c5;

    c5.run("systemctl disable --quiet pixeld.socket");
    fix(c5, &finds(c5, "sockets", "warning", "pixeld.socket is not enabled"));

    c5.run("systemctl stop pixeld.socket pixeld-control.socket pixeld-admin.socket pixeld");
    let report = doctor(c5);
    assert_eq!(report.wrong(), ["daemon", "sockets", "sockets", "sockets", "upstreams"]);
    fix(c5, report.of("daemon"));

    c5.write("/etc/systemd/system/pixeld.service.d/few.conf", "[Service]\nLimitNOFILE=4096\n");
    c5.run("systemctl daemon-reload && systemctl restart pixeld");
    fix(c5, &finds(c5, "file-limit", "problem", "Max open files 4096"));

    c5.run("pixeldctl workers 64");
    fix(c5, &finds(c5, "workers", "warning", "64 workers share"));

    let noisy = "[Service]\nLogRateLimitIntervalSec=1s\nLogRateLimitBurst=3\n";
    c5.write("/etc/systemd/system/pixeld.service.d/noisy.conf", noisy);
    c5.write("/etc/pixeld/pixeld.toml.d/noisy.toml", "[log]\nlevel = \"debug\"\n");
    c5.run("systemctl daemon-reload && systemctl restart pixeld");
    // journald says what it dropped when it takes a line again.
    let refused = "curl --silent --output /dev/null --unix-socket /run/pixeld/http.sock http://c5/nowhere";
    c5.wait_for(&format!(
        "for i in 1 2 3 4 5 6 7 8; do {refused}; done; journalctl -b | grep 'Suppressed .* pixeld.service'"
    ));
    fix(c5, &finds(c5, "journal", "warning", "suppressed"));
}

#[test]
fn faulty_nginx_is_found() {
    let site = deployment::start();
    let c5 = &site.c5;
    let upstreams = "/etc/nginx/pixeld-upstreams.conf";
    let conf = "/etc/nginx/conf.d/pixeld.conf";
    let change = |file: &str, from: &str, to: &str| {
        let before = c5.read(file);
        assert!(before.contains(from), "{before}");
        c5.write(file, before.replace(from, to));
        before
    };

    let before = change(upstreams, "unix:/run/pixeld/http.sock", "unix:/run/pixeld.sock");
    finds(c5, "upstreams", "problem", "/run/pixeld.sock, where no service listens");
    c5.run("systemd-run --quiet socat UNIX-LISTEN:/run/pixeld.sock,fork /dev/null");
    c5.wait_for("test -S /run/pixeld.sock");
    finds(c5, "upstreams", "problem", "/run/pixeld.sock, where another service listens");
    c5.write(upstreams, before);

    site.t2.run("systemctl stop pixeld-tcp.socket pixeld");
    let finding = finds(c5, "upstreams", "warning", "10.77.0.20:8000, which does not respond");
    site.t2.run("systemctl start pixeld && pixeldctl drain");
    finds(c5, "upstreams", "warning", "10.77.0.20:8000, which is drained");
    site.t2.run("pixeldctl resume");
    let pid = deployment::stats(&site.t2).pid;
    site.t2.run(&format!("kill -STOP {pid}"));
    finds(c5, "upstreams", "warning", "10.77.0.20:8000, which does not respond");
    site.t2.run(&format!("kill -CONT {pid}"));
    site.t2.write("/etc/pixeld/pixeld.toml.d/faulty.toml", "workers = 0\n");
    assert!(!site.t2.try_run("systemctl restart pixeld").success());
    finds(c5, "upstreams", "warning", "10.77.0.20:8000, which does not respond");
    site.t2.run("rm /etc/pixeld/pixeld.toml.d/faulty.toml && systemctl start pixeld");
    assert_is_well(c5);
    assert!(finding["fix"][1].as_str().unwrap().contains("pixeld-tcp.socket"), "{finding:#}");

    for (line, said) in [
        ("keepalive 256;", "upstream pixeld has no keepalive"),
        ("proxy_http_version 1.1;", "location = /pixel lacks proxy_http_version 1.1"),
        ("proxy_set_header Connection \"\";", "location = /pixel lacks proxy_set_header Connection"),
    ] {
        let before = change(conf, line, "");
        finds(c5, "keepalive", "warning", said);
        c5.write(conf, before);
    }

    // Few ports and one server at the other end of them: soon there is none left.
    let before = change(conf, "keepalive 256;", "");
    let both = change(upstreams, "server unix:/run/pixeld/http.sock", "#");
    c5.run("systemctl restart nginx");
    c5.sysctl("net.ipv4.ip_local_port_range", "40000 40099");
    for _ in 0..60 {
        site.client.send(C5_OUTSIDE, &Request::pixel("{}")).unwrap();
    }
    let report = doctor(c5);
    assert_eq!(report.wrong(), ["keepalive", "time-wait"], "{:#?}", report.findings);
    let said = text(&report.of("time-wait")["summary"]);
    assert!(said.contains("from this host to 10.77.0.20:8000"), "{said}");
    c5.sysctl("net.ipv4.ip_local_port_range", "32768 60999");
    c5.write(conf, before);
    c5.write(upstreams, both);

    let before = change(conf, "keepalive 256;", "keepalife 256;");
    finds(c5, "upstreams", "problem", "unknown directive \"keepalife\"");
    c5.write(conf, before);
    assert_is_well(c5);
}

#[test]
fn wrong_socket_access_is_found() {
    let site = deployment::start();
    let c5 = &site.c5;
    c5.run("gpasswd --delete www-data pixeld-proxy");
    fix(c5, &finds(c5, "access", "problem", "nginx's user www-data may not connect"));
    assert_eq!(site.client.send(C5_OUTSIDE, &Request::pixel("{}")).unwrap().status, 422);

    c5.run("chmod 0666 /run/pixeld/http.sock");
    fix(c5, &finds(c5, "access", "warning", "every local user may connect"));

    c5.run("sed -i '/backup;/d' /etc/nginx/pixeld-upstreams.conf");
    finds(c5, "failover", "warning", "no backup of unix:/run/pixeld/http.sock, 10.77.0.20:8000");
}

#[test]
fn address_filter_not_in_effect_is_a_problem() {
    for release in [Release::Trixie, Release::Bookworm] {
        let internet = Network::new();
        let builder = Host::builder("t2").release(release).attach(&internet, "wan0", "203.0.113.20/24");
        let t2 = builder.without_bpf().with_pixeld().boot();
        t2.run("systemctl enable --now --quiet pixeld-tcp.socket pixeld");
        let stranger = Client::in_network(&internet, "203.0.113.5/24");
        let port = SocketAddr::from(([203, 0, 113, 20], 8000));
        let pixel = Request::pixel(r#"{"x":1,"y":2,"channel":"R","value":100}"#);
        assert_eq!(stranger.send(port, &pixel).expect("the port is open").status, 200, "{release:?}");

        let finding = finds(&t2, "exposure", "problem", "IPIngressBytes=[no data]");
        let lines = finding["fix"].as_array().unwrap().iter().map(text);
        let lines: Vec<_> = lines.map(|line| line.replace("10.0.0.20:8000", "127.0.0.1:8000")).collect();
        shell(&t2, lines.iter().map(String::as_str));
        assert_is_well(&t2);
        assert!(stranger.send(port, &pixel).is_err(), "{release:?}: still open");
    }
}

#[test]
fn open_port_and_short_queue_are_found() {
    let Site { t2, .. } = &deployment::start();

    t2.write("/etc/systemd/system/pixeld-tcp.socket.d/open.conf", "[Socket]\nIPAddressAllow=any\n");
    t2.run("systemctl daemon-reload && systemctl restart pixeld-tcp.socket");
    fix(t2, &finds(t2, "exposure", "problem", "open.conf"));

    t2.sysctl("net.core.somaxconn", "128");
    finds(t2, "backlog", "warning", "net.core.somaxconn = 128");
    t2.run("systemctl stop pixeld.socket && systemctl start pixeld");
    let report = doctor(t2);
    assert_eq!(report.wrong(), ["backlog", "backlog"], "both of pixeld's sockets: {:#?}", report.findings);
    let short = report.findings.iter().filter(|finding| finding["check"] == "backlog");
    t2.sysctl("net.core.somaxconn", "4096");
    for finding in short {
        assert_eq!(finding["state"], "problem");
        // Only from outside can the parameter be set on such a host.
        let lines = finding["fix"].as_array().unwrap().iter().filter(|line| !text(line).contains("sysctl"));
        shell(t2, lines.map(text));
    }
    assert_is_well(t2);

    // A service that never accepts, and a client that reconnects repeatedly.
    t2.write("/run/systemd/system/lazy.socket", "[Socket]\nListenStream=9999\nBacklog=1\n");
    t2.write("/run/systemd/system/lazy.service", "[Service]\nExecStart=sleep infinity\n");
    t2.run("systemctl daemon-reload && systemctl start lazy.socket");
    let client = "while :; do curl --silent --max-time 0.1 http://127.0.0.1:9999/; done";
    t2.run(&format!("systemd-run --quiet --unit eager sh -c '{client}'"));
    t2.wait_for("nstat -asz TcpExtListenOverflows | grep -q 'Overflows *[1-9]'");
    finds(t2, "overflows", "problem", "*:9999 is full");
    t2.run("systemctl stop eager lazy.socket lazy.service");

    t2.run("systemctl disable --quiet pixeld-tcp.socket");
    fix(t2, &finds(t2, "sockets", "warning", "pixeld-tcp.socket is not enabled"));
}
