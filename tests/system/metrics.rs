//! The figures for Prometheus on a real host: a timer writes them where node_exporter looks.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::harness::{Host, PIXEL, Release, Request, wait_until};

const FOLDER: &str = "/var/lib/prometheus/node-exporter";
const FILE: &str = "/var/lib/prometheus/node-exporter/pixeld.prom";

/// Where the host has this machine's programs, and the folder of that name.
const TOOLS: &str = "/srv/tools";
const MONITORING: &str = "/srv/monitoring";

fn monitoring() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("monitoring")
}

fn assert_promtool_agrees(text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool, of Debian's package prometheus, can be started");
    promtool.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("promtool reads");
    let output = promtool.wait_with_output().expect("promtool ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}\n{text}");
}

/// Whether the file has this line.
fn says(host: &Host, line: &str) -> bool {
    host.try_run(&format!("grep -qxF '{line}' {FILE}")).success()
}

/// Makes the timer fire each second to keep the test short.
fn hurry(host: &Host) {
    let often = "[Timer]\nOnCalendar=*:*:*\nAccuracySec=1ms\n";
    host.write("/etc/systemd/system/pixeld-metrics.timer.d/often.conf", often);
    host.run("systemctl daemon-reload");
}

fn state(host: &Host, unit: &str) -> String {
    host.run(&format!("systemctl show -P ActiveState {unit}")).stdout.trim().into()
}

#[test]
fn metrics_timer_keeps_the_file_current() {
    the_file_is_whole_and_true(Release::Trixie);
}

#[test]
fn metrics_timer_works_with_the_oldest_systemd() {
    the_file_is_whole_and_true(Release::Bookworm);
}

fn the_file_is_whole_and_true(release: Release) {
    let c5 = Host::builder("c5").release(release).with_pixeld();
    let c5 = &c5.with_folder("/usr/bin", TOOLS).with_folder(monitoring(), MONITORING).boot();
    c5.run(
        // systemd 252 does not know PrivateUsers=identity.
        "systemd-analyze verify --man=no pixeld-metrics.timer pixeld-metrics.service 2>&1 | \
         grep -v 'ignoring: identity$' | diff /dev/null -",
    );
    c5.run(&format!("mkdir -p {FOLDER} && systemctl start pixeld"));
    let answer = c5.client().send(c5.unix("/run/pixeld/http.sock"), &Request::pixel(PIXEL));
    assert_eq!(answer.expect("a response").status, 200);

    // Written at once, with the timer as it is shipped.
    c5.run("systemctl enable --now --quiet pixeld-metrics.timer");
    wait_until("the file says that pixeld is up", || says(c5, "pixeld_up 1"));
    let text = c5.read(FILE);
    assert!(text.contains("\npixeld_requests_total{outcome=\"ok\"} 1\n"), "{text}");
    assert_promtool_agrees(&text);
    assert_eq!(c5.run(&format!("stat -c '%a %U' {FILE}")).stdout, "644 root\n");

    hurry(c5);
    let reads = "test -s FILE && tail -n 1 FILE | grep -q '^pixeld_worker_heartbeat_age_seconds'";
    let look = format!(
        "inode=$(stat -c %i {FILE}); seen=1; until [ $seen = 4 ]; do {} || exit 1; \
         now=$(stat -c %i {FILE}); [ $now = $inode ] || seen=$((seen + 1)); inode=$now; done",
        reads.replace("FILE", FILE)
    );
    let looked = c5.try_run(&look);
    assert!(looked.success(), "the file was read completely three times: {looked}");
    assert_eq!(c5.run(&format!("ls -A {FOLDER}")).stdout, "pixeld.prom\n");

    a_stopped_daemon_stays_stopped(c5);
    c5.run("systemctl start pixeld");
    wait_until("the file says that pixeld is up again", || says(c5, "pixeld_up 1"));
    if release == Release::Trixie {
        prometheus_scrapes_the_file_and_alerts(c5);
    }

    let failed = c5.run("systemctl --failed --plain --no-legend").stdout;
    assert_eq!(failed, "");
    let journal = c5.run("journalctl -u pixeld-metrics.service -o cat").stdout;
    assert_eq!(journal, "", "what goes well is no news, four times a minute");
}

/// Debian's node_exporter serves the file, and Debian's Prometheus loads the rules, as monitoring/README.md says.
fn prometheus_scrapes_the_file_and_alerts(c5: &Host) {
    let config = c5.read(&format!("{MONITORING}/prometheus.yml"));
    // The other host is not there.
    let config = config
        .replace("15s", "1s")
        .replace("'c5:9100'", "'127.0.0.1:9100'")
        .replace("t2:9100", "127.0.0.1:1");
    c5.write("/srv/prometheus/prometheus.yml", config);
    c5.run(&format!("cp {MONITORING}/pixeld.rules.yml /srv/prometheus/"));
    let exporter = format!("{TOOLS}/prometheus-node-exporter --web.listen-address=127.0.0.1:9100");
    let prometheus = format!(
        "{TOOLS}/prometheus --config.file=/srv/prometheus/prometheus.yml --storage.tsdb.path=/srv/prometheus/data \
         --web.listen-address=127.0.0.1:9090"
    );
    for (unit, command) in [("node-exporter", exporter), ("prometheus", prometheus)] {
        c5.run(&format!("systemd-run --quiet --unit={unit} {command}"));
    }
    let api = |path: &str, filter: &str| {
        let ask = format!("curl -sf --get 'http://127.0.0.1:9090/api/v1/{path} | jq -r '{filter}'");
        c5.try_run(&ask).stdout
    };
    let value = |query: &str| {
        api(&format!("query' --data-urlencode 'query={query}'"), ".data.result[0].value[1]").trim().to_owned()
    };
    for (query, expected) in [
        ("pixeld_up", "1"),
        ("count(up{job=\"pixeld\"} == 0)", "1"),
        ("count(node_textfile_mtime_seconds{file=~\".*/pixeld[.]prom\"})", "1"),
        ("count(node_cpu_seconds_total{mode=\"steal\"}) > bool 0", "1"),
        ("count(ALERTS{alertname=\"PixeldNoHostServing\"}) or vector(0)", "0"),
        ("node_textfile_scrape_error", "0"),
    ] {
        wait_until(query, || value(query) == expected);
    }
    c5.run("pixeldctl drain");
    wait_until("the alert is pending", || {
        value("count(ALERTS{alertname=\"PixeldNoHostServing\",alertstate=\"pending\"})") == "1"
    });
    c5.run("pixeldctl resume");
    let faults = api("rules'", ".data.groups[].rules[] | select(.health != \"ok\") | .name + .lastError");
    assert_eq!(faults, "");
    assert_eq!(api("rules'", "[.data.groups[].rules[]] | length > 15"), "true\n");
    c5.run("systemctl stop prometheus.service node-exporter.service");
}

/// Its sockets stay, and systemd starts it when a client connects.
fn a_stopped_daemon_stays_stopped(c5: &Host) {
    for _ in 0..3 {
        c5.run("systemctl start pixeld");
        wait_until("the file says that pixeld is up", || says(c5, "pixeld_up 1"));
        // Queries run all the time, so that some arrive while the daemon stops.
        c5.run("(for i in $(seq 20); do systemctl start pixeld-metrics.service; done) >/dev/null 2>&1 &");
        let starts = starts(c5);
        c5.run("systemctl stop pixeld.service 2>/dev/null");
        wait_until("the file says that pixeld is down", || says(c5, "pixeld_up 0"));
        let inode = c5.run(&format!("stat -c %i {FILE}")).stdout;
        wait_until("the file is replaced", || c5.run(&format!("stat -c %i {FILE}")).stdout != inode);
        assert_eq!(state(c5, "pixeld.service"), "inactive");
        assert_eq!(state(c5, "pixeld-control.socket"), "active");
        assert_eq!(self::starts(c5), starts, "the timer has started pixeld");
        assert_eq!(c5.run(&format!("grep -vc '^#' {FILE}")).stdout, "1\n", "no figures are left");
    }
}

#[test]
fn pixeld_stop_ends_the_metrics_job_first() {
    let c5 = &Host::builder("c5").with_pixeld().boot();
    c5.run(&format!("mkdir -p {FOLDER} /srv/slow && systemctl start pixeld"));
    // Between what systemd says and the question, so much time passes that pixeld can be stopped.
    let slow = format!("#!/bin/sh\n/usr/bin/systemctl \"$@\" && touch {FOLDER}/called && exec sleep 30\n");
    c5.write("/srv/slow/systemctl", slow);
    let path = "[Service]\nEnvironment=PATH=/srv/slow:/usr/bin\n";
    c5.write("/etc/systemd/system/pixeld-metrics.service.d/slow.conf", path);
    c5.run("chmod +x /srv/slow/systemctl && systemctl daemon-reload");
    c5.run("systemctl start --no-block pixeld-metrics.service");
    c5.wait_for(&format!("test -e {FOLDER}/called"));
    assert_eq!(state(c5, "pixeld-metrics.service"), "activating");

    c5.run("systemctl stop pixeld.service 2>/dev/null");
    assert_eq!(state(c5, "pixeld-metrics.service"), "inactive", "it would ask now, and start pixeld");
    assert_eq!(state(c5, "pixeld.service"), "inactive");
}

fn starts(host: &Host) -> usize {
    host.entries("EVENT=ready").len()
}

#[test]
fn missing_collector_folder_fails_nothing() {
    let c5 = &Host::builder("c5").with_pixeld().boot();
    c5.run("systemctl start pixeld");
    hurry(c5);
    c5.run("systemctl start pixeld-metrics.timer");
    c5.wait_for("test $(systemctl show -P ConditionResult pixeld-metrics.service) = no");
    let before = c5.run("systemctl show -P ConditionTimestampMonotonic pixeld-metrics.service").stdout;
    wait_until("the timer continues", || {
        c5.run("systemctl show -P ConditionTimestampMonotonic pixeld-metrics.service").stdout != before
    });
    assert_eq!(c5.run("systemctl --failed --plain --no-legend").stdout, "");
    assert!(!c5.try_run(&format!("test -e {FOLDER}")).success());

    let shipped = c5.run("cat $(systemctl show -P FragmentPath pixeld-metrics.service)").stdout;
    let lines: Vec<_> = shipped.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
    c5.run("mkdir /srv/collector");
    c5.write("/etc/systemd/system/pixeld-metrics.service.d/folder.conf", lines.join("\n") + "\n");
    c5.run("systemctl daemon-reload");
    c5.wait_for("grep -qx 'pixeld_up 1' /srv/collector/pixeld.prom");

    c5.run("rm /srv/collector/pixeld.prom; mkdir -p /srv/collector/pixeld.prom/x");
    c5.wait_for("journalctl -u pixeld-metrics -o cat | grep 'cannot write /srv/collector/pixeld.prom'");
}
