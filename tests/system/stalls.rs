//! Recovery from a stalled thread, a stalled daemon and a stalled journal.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{
    C5_OUTSIDE, Host, Load, PIXEL, Request, Site,
    deployment::{self, json, stats},
    wait_until,
};

fn property(host: &Host, name: &str) -> String {
    host.run(&format!("systemctl show -P {name} pixeld")).stdout.trim().into()
}

fn drop_in(host: &Host, lines: &str) {
    host.write("/etc/systemd/system/pixeld.service.d/test.conf", format!("[Service]\n{lines}\n"));
    host.run("systemctl daemon-reload");
}

#[test]
fn stalled_worker_restarts_the_service() {
    let site = Site::boot();
    let c5 = &site.c5;
    c5.write("/etc/pixeld/pixeld.toml", "workers = 2\n");
    drop_in(c5, "WatchdogSec=8s");
    c5.run("systemctl start pixeld");
    let pid = stats(c5).pid;
    let pixel = Request::pixel(PIXEL);
    let mut connections: Vec<_> =
        (0..10).map(|_| c5.client().connect(c5.unix("/run/pixeld/http.sock")).unwrap()).collect();
    for connection in &mut connections {
        assert_eq!(connection.send(&pixel).unwrap().status, 200);
    }
    let kept = json(c5, "pixeldctl workers --json")["workers"][0]["connections"].as_u64().unwrap();
    assert!((1..10).contains(&kept), "both have some: {kept}");
    let thread = c5.run(&format!("grep -lx pixeld-2 /proc/{pid}/task/*/comm | cut -d/ -f5")).stdout;
    // A tracer decides when the system calls of a thread begin.
    let hold = "-qq -e trace=epoll_wait,epoll_pwait -e inject=epoll_wait,epoll_pwait:delay_enter=60s";
    let tracer = format!("strace {hold} -p {} -o /dev/null & echo $!", thread.trim());
    let tracer = c5.run(&tracer).stdout;

    c5.wait_for_entry("EVENT=workerStalled WORKER=2");
    let events = json(c5, "pixeldctl status --json")["events"].clone();
    let is_worker = |event: &Value| event["name"] == "workerStalled" && event["worker"] == 2;
    assert!(events.as_array().unwrap().iter().any(is_worker), "{events:#}");
    let workers = json(c5, "pixeldctl workers --json");
    assert!(workers["workers"][1]["heartbeatAgeMs"].as_u64().unwrap() > 4_000, "{workers:#}");
    assert!(workers["workers"][0]["heartbeatAgeMs"].as_u64().unwrap() < 4_000, "{workers:#}");

    c5.wait_for_entry(&format!("EVENT=stopped HANDED_OFF={kept}"));
    // A thread that is traced does not even die by itself.
    c5.run(&format!("kill {}", tracer.trim()));
    wait_until("it is restarted", || property(c5, "NRestarts") == "1");
    c5.wait_for("systemctl is-active pixeld");
    assert_ne!(stats(c5).pid, pid);
    let journal = c5.run("journalctl -u pixeld").stdout;
    assert!(journal.contains("status=70") && !journal.contains("Watchdog timeout"), "{journal}");
    let answered = connections.iter_mut().filter_map(|connection| connection.send(&pixel).ok());
    assert_eq!(answered.filter(|answer| answer.status == 200).count() as u64, kept);
    assert_eq!(c5.client().send(c5.unix("/run/pixeld/http.sock"), &pixel).unwrap().status, 200);
}

#[test]
fn starved_worker_is_not_reported_as_stalled() {
    let site = Site::boot();
    let c5 = &site.c5;
    c5.write("/etc/pixeld/pixeld.toml", "workers = 2\n");
    drop_in(c5, "WatchdogSec=6s\nNice=19\nCPUAffinity=0");
    c5.run("systemctl start pixeld");
    let pid = stats(c5).pid;
    c5.run("for i in 1 2 3; do timeout 12 taskset -c 0 sh -c 'while :; do :; done' & done");
    let load = c5.client().load(Load {
        connections: 32,
        rate: 20_000,
        ..Load::on(c5.unix("/run/pixeld/http.sock"))
    });
    thread::sleep(Duration::from_secs(11));
    load.stop().assert_all_ok();
    assert_eq!((stats(c5).pid, property(c5, "NRestarts")), (pid, "0".into()));
    assert!(c5.entries("EVENT=workerStalled").is_empty());
}

#[test]
fn stopped_journald_blocks_no_request() {
    let site = Site::boot();
    let c5 = &site.c5;
    c5.write("/etc/pixeld/pixeld.toml", "workers = 2\n[log]\nlevel = \"debug\"\n");
    c5.run("systemctl start pixeld");
    c5.run("systemctl kill -s STOP systemd-journald");
    let load = c5.client().load(Load {
        request: Request::new("POST", "/nowhere", ""),
        connections: 4,
        rate: 2_000,
        ..Load::on(c5.unix("/run/pixeld/http.sock"))
    });
    let dropped = || json(c5, "pixeldctl stats --json")["logLinesDropped"].as_u64().unwrap();
    wait_until("lines are dropped", || dropped() > 100);
    let report = load.stop();
    assert_eq!((report.errors, report.answered()), (0, report.by_status[&404]), "{report}");
    assert!(report.slowest < Duration::from_secs(2), "{report}");
    let events = json(c5, "pixeldctl events --json")["events"].clone();
    assert!(events.as_array().unwrap().iter().any(|event| event["name"] == "logStalled"), "{events:#}");

    c5.run("systemctl kill -s CONT systemd-journald");
    c5.wait_for_entry("EVENT=logLinesDropped");
    let lines = |entry: &Value| entry["LINES"].as_str().unwrap().parse::<u64>().unwrap();
    let reported: u64 = c5.entries("EVENT=logLinesDropped").iter().map(lines).sum();
    assert_eq!(reported, dropped(), "each line that was lost is reported");
}

#[test]
fn frozen_host_is_avoided_and_used_again() {
    let site = deployment::start();
    let load = site.client.load(Load { connections: 8, rate: 400, ..Load::on(C5_OUTSIDE) });
    load.wait_for_answers(100);
    let pid = stats(&site.t2).pid;
    site.t2.run(&format!("kill -STOP {pid}"));
    let begun = Instant::now();
    load.wait_for_answers(400);
    let stopped_for = begun.elapsed();
    site.t2.run(&format!("kill -CONT {pid}"));
    let before = stats(&site.t2).ok;
    wait_until("it is used again", || stats(&site.t2).ok > before + 50);
    let report = load.stop();
    report.assert_all_ok();
    // nginx waits 3 s for a response of t2, and then sends the request to c5.
    assert!(report.slowest < Duration::from_secs(8), "{report}");
    assert!(stopped_for < Duration::from_secs(9), "the watchdog might have come first");
    assert_eq!(stats(&site.t2).pid, pid, "it was not restarted for so short a time");
}

#[test]
fn watchdog_restarts_a_stalled_daemon() {
    let site = Site::boot();
    let c5 = &site.c5;
    drop_in(c5, "WatchdogSec=2s");
    c5.run("systemctl start pixeld");
    let pid = stats(c5).pid;
    c5.run(&format!("kill -STOP {pid}"));
    wait_until("it is restarted", || property(c5, "NRestarts") == "1");
    c5.wait_for("systemctl is-active pixeld");
    assert_ne!(stats(c5).pid, pid);
}
