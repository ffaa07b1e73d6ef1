//! Clients do not notice restarts, on real hosts and without a proxy that repeats requests.

mod many_clients;
mod sockets;

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use many_clients::{allow_descriptors, ask_all, open};

use crate::harness::{
    C5_OUTSIDE, Host, Load, LoadHandle, PIXEL, Release, Request, Site,
    deployment::{self, json, stats},
    wait_until,
};

const RELEASES: [Release; 2] = [Release::Trixie, Release::Bookworm];
/// Where c5's nginx reaches the pixeld of t2.
const T2_PIXELD: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 0, 20)), 8000);
const STOP_ALL: &str = "systemctl stop pixeld.socket";

fn full_load(site: &Site) -> LoadHandle {
    let load = Load { connections: 16, rate: 20_000, limit: u64::MAX, ..Load::on(C5_OUTSIDE) };
    let load = site.client.load(Load { duration: Duration::from_secs(600), ..load });
    load.wait_for_answers(200);
    load
}

/// Pixels that both hosts say they have accepted.
fn counted(site: &Site) -> u64 {
    [&site.c5, &site.t2].map(|host| stats(host).ok).iter().sum()
}

#[test]
fn restarts_under_full_load_without_retries() {
    for release in RELEASES {
        let site = deployment::start_on(release);
        deployment::retry_only(&site.c5, "off");
        let load = full_load(&site);
        thread::scope(|scope| {
            for host in [&site.c5, &site.t2] {
                scope.spawn(|| restart_quickly(host, 20));
            }
        });
        load.wait_for_answers(200);
        let report = load.stop();
        report.assert_all_ok();
        assert_eq!(counted(&site), report.ok(), "each is counted, and once: {report}");
        for host in [&site.c5, &site.t2] {
            let connections = json(host, "pixeldctl stats --json")["connections"].clone();
            let adopted = connections["adopted"].as_u64().expect("a number");
            assert!(adopted >= 20, "connections of nginx survive each restart: {connections:#}");
        }
    }
}

#[track_caller]
fn restart_quickly(host: &Host, times: u32) {
    let restarts = format!("for i in $(seq {times}); do systemctl restart pixeld || exit; done");
    let output = host.try_run_within(Duration::from_secs(120), &restarts);
    assert!(output.success(), "{output}");
    let sockets = "systemctl is-active pixeld pixeld.socket pixeld-control.socket pixeld-admin.socket";
    host.run(sockets);
}

#[test]
fn hundred_restarts_hit_no_start_limit() {
    for release in RELEASES {
        let site = Site::boot_release(release);
        site.c5.run("systemctl start pixeld");
        restart_quickly(&site.c5, 100);
        assert_eq!(json(&site.c5, "pixeldctl stats --json")["process"]["starts"], 101);
        assert_eq!(site.c5.run("systemctl --failed --plain --no-legend").stdout, "");
        let answer = site.c5.client().send(site.c5.unix("/run/pixeld/http.sock"), &Request::pixel(PIXEL));
        assert_eq!(answer.unwrap().status, 200);
    }
}

#[test]
fn thousand_connections_survive_restarts() {
    for release in RELEASES {
        connections_go_on(release, 1_000);
    }
}

#[test]
fn connections_at_the_limit_survive_restarts() {
    for release in RELEASES {
        connections_go_on(release, 10_000);
    }
}

fn connections_go_on(release: Release, count: usize) {
    allow_descriptors(count + 1_000);
    let site = Site::boot_release(release);
    let t2 = &site.t2;
    t2.write("/etc/pixeld/pixeld.toml.d/patient.toml", "workers = 3\n[timeouts]\nkeep-alive = \"10m\"\n");
    t2.run("systemctl start pixeld-tcp.socket pixeld");
    let mut connections = open(&site, count);
    // Some are handed off before their first request, the others after one.
    ask_all(connections.iter_mut().step_by(3));
    for restart in 1..=2 {
        let begun = Instant::now();
        t2.run("systemctl restart pixeld");
        let took = begun.elapsed();
        eprintln!("{release:?}: restarted in {took:.3?} with {count} connections");
        assert!(took < Duration::from_secs(15), "{took:?}");
        let stats = json(t2, "pixeldctl stats --json");
        assert_eq!(stats["connections"]["adopted"], restart * count, "{stats:#}");
        assert_eq!(stats["connections"]["open"], count, "{stats:#}");
        let workers = json(t2, "pixeldctl workers --json")["workers"].clone();
        let each = workers.as_array().unwrap().iter().map(|worker| worker["connections"].as_u64().unwrap());
        let (fewest, most) = (each.clone().min().unwrap(), each.max().unwrap());
        assert!(most - fewest <= 1, "they are spread over the workers: {workers:#}");
        ask_all(connections.iter_mut());
    }
    assert_eq!(json(t2, "pixeldctl stats --json")["connections"]["accepted"], count);
    for event in ["adoptFailed", "handoffFailed"] {
        assert!(t2.entries(&format!("EVENT={event}")).is_empty());
    }
}

#[test]
fn ten_thousand_slow_requests_survive_a_restart() {
    const COUNT: usize = 10_000;
    allow_descriptors(COUNT + 1_000);
    let site = Site::boot();
    let t2 = &site.t2;
    let patience = ["keep-alive", "body", "drain"].map(|key| format!("{key} = \"5m\"\n")).concat();
    t2.write("/etc/pixeld/pixeld.toml.d/patient.toml", format!("[timeouts]\n{patience}"));
    t2.run("systemctl start pixeld-tcp.socket pixeld");
    let mut connections = open(&site, COUNT);
    let request = raw_pixel();
    let (begin, rest) = request.split_at(request.len() - 10);
    for connection in &mut connections {
        connection.send_raw(begin.as_bytes()).unwrap();
    }
    wait_until("all have begun", || json(t2, "pixeldctl stats --json")["connections"]["idle"] == 0);
    t2.run("systemctl restart --no-block pixeld");
    t2.wait_for("systemctl is-active pixeld | grep -q deactivating");
    for connection in &mut connections {
        connection.send_raw(rest.as_bytes()).unwrap();
        assert_eq!(connection.receive().expect("a response").status, 200);
    }
    t2.wait_for("systemctl is-active pixeld | grep -q ^active");
    assert_eq!(json(t2, "pixeldctl stats --json")["connections"]["adopted"], COUNT);
    ask_all(connections.iter_mut());
}

/// A request as it goes over the wire.
fn raw_pixel() -> String {
    let head = "POST /pixel HTTP/1.1\r\nhost: t2\r\ncontent-type: application/json\r\n";
    format!("{head}content-length: {}\r\n\r\n{PIXEL}", PIXEL.len())
}

#[test]
fn stopped_journald_does_not_block_a_restart() {
    for release in RELEASES {
        let site = Site::boot_release(release);
        let c5 = &site.c5;
        c5.write("/etc/pixeld/pixeld.toml.d/workers.toml", "workers = 20\n");
        c5.run("systemctl start pixeld");
        c5.run("kill -STOP $(systemctl show -P MainPID systemd-journald)");
        // Each start and stop logs more lines than the journal's queue can hold.
        let restarts = c5
            .try_run_within(Duration::from_secs(40), "systemctl restart pixeld && systemctl restart pixeld");
        c5.run("kill -CONT $(systemctl show -P MainPID systemd-journald)");
        assert!(restarts.success(), "{restarts}");
        let answer = c5.client().send(c5.unix("/run/pixeld/http.sock"), &Request::pixel(PIXEL));
        assert_eq!(answer.unwrap().status, 200);
        c5.wait_for_entry("_PID=$(systemctl show -P MainPID pixeld) EVENT=ready");
    }
}

#[test]
fn killed_daemon_miscounts_only_in_flight() {
    const KILLS: u64 = 5;
    let site = deployment::start();
    let load = full_load(&site);
    for _ in 0..KILLS {
        site.t2.run("systemctl kill --signal=KILL --kill-whom=main pixeld");
        let before = stats(&site.t2).ok;
        wait_until("nginx uses it again", || stats(&site.t2).ok > before + 20);
    }
    let report = load.stop();
    report.assert_all_ok();
    // Those that it had counted and not answered were counted again where nginx went with them.
    let expected = report.ok()..=report.ok() + KILLS * report.per_connection.len() as u64;
    let counted = counted(&site);
    assert!(expected.contains(&counted), "{counted} counted, {expected:?} expected: {report}");
    for event in ["connectionsAdopted", "adoptFailed"] {
        assert!(site.t2.entries(&format!("EVENT={event}")).is_empty(), "it left nothing");
    }
}

#[test]
fn stop_completes_every_begun_response() {
    for release in RELEASES {
        let site = Site::boot_release(release);
        let t2 = &site.t2;
        t2.run("systemctl start pixeld-tcp.socket pixeld");
        let request = raw_pixel();
        let [mut unread, mut halfway] = [(); 2].map(|()| site.insider.connect(T2_PIXELD).unwrap());
        unread.send_raw(request.as_bytes()).unwrap();
        let (begin, rest) = request.split_at(request.len() - 10);
        halfway.send_raw(begin.as_bytes()).unwrap();
        wait_until("one is answered, the other one has begun", || {
            let stats = json(t2, "pixeldctl stats --json");
            stats["requests"]["ok"] == 1 && stats["connections"]["idle"] == 1
        });
        t2.run(&format!("systemd-run --quiet sh -c \"{STOP_ALL}\""));
        t2.wait_for("systemctl is-active pixeld | grep -q deactivating");
        halfway.send_raw(rest.as_bytes()).unwrap();
        t2.wait_for("systemctl is-active pixeld | grep -q inactive");
        // Nothing was read until now.
        for connection in [&mut unread, &mut halfway] {
            assert_eq!(connection.receive().expect("the whole answer").status, 200);
            assert_eq!(connection.receive().unwrap_err().kind(), ErrorKind::UnexpectedEof, "no reset");
        }
        assert!(site.insider.connect(T2_PIXELD).is_err(), "its sockets are closed, too");
    }
}

#[test]
fn restart_without_fd_store_loses_no_request() {
    for release in RELEASES {
        let site = deployment::start_on(release);
        for host in [&site.c5, &site.t2] {
            let drop_in = "/etc/systemd/system/pixeld.service.d/store.conf";
            host.write(drop_in, "[Service]\nFileDescriptorStoreMax=0\n");
            host.run("systemctl daemon-reload && systemctl restart pixeld");
        }
        let load = site.client.load(Load::on(C5_OUTSIDE));
        for _ in 0..3 {
            load.wait_for_answers(100);
            thread::scope(|scope| {
                let client = scope.spawn(|| until_asked_to_close(&site));
                site.t2.run("systemctl restart pixeld");
                assert!(client.join().unwrap() > 0);
            });
        }
        load.stop().assert_all_ok();
    }
}

/// Sends requests to t2 on one connection until a response announces the close. Returns the number of responses.
fn until_asked_to_close(site: &Site) -> usize {
    let mut connection = site.insider.connect(T2_PIXELD).unwrap();
    let begun = Instant::now();
    for answers in 1.. {
        let answer = connection.send(&Request::pixel(PIXEL)).expect("no connection is closed without a word");
        assert_eq!(answer.status, 200);
        if answer.field("connection") == Some("close") {
            return answers;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "no response announced the close");
    }
    unreachable!("there is always another number")
}
