//! The abilities of a compromised daemon inside its sandbox, and the clients that the kernel admits.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::harness::{
    Client, Host, PIXEL, Release, Request, Site,
    deployment::{self, json, stats},
};

/// Whether this machine's kernel filters packets for control groups. Where it does not, says what is
/// skipped, past the test harness, which shows nothing of tests that pass.
fn filters_packets(host: &Host, skipped: &str) -> bool {
    let denied = "systemd-run --wait --quiet -p IPAddressDeny=any socat -u /dev/null TCP:127.0.0.1:8000,connect-timeout=2";
    let filters = !host.try_run(denied).success();
    if !filters {
        let line = format!("skipped: {skipped}: the kernel lets systemd attach no BPF filter\n");
        std::io::stderr().write_all(line.as_bytes()).expect("write to stderr");
    }
    filters
}

/// Puts the probe in pixeld's place, in the same unit, and says what it found.
fn probe(t2: &Host, targets: &str) -> String {
    t2.write("/opt/probe.pl", include_str!("sandbox/probe.pl"));
    let exec = format!("ExecStart=\nExecStart=/usr/bin/perl /opt/probe.pl {targets}");
    let service =
        format!("[Service]\nType=exec\n{exec}\nExecPaths=/usr/bin/perl\nWatchdogSec=0\nRestart=no\n");
    t2.write("/etc/systemd/system/pixeld.service.d/probe.conf", service);
    t2.run("chmod -R a+rX /opt && systemctl daemon-reload && systemctl restart pixeld");
    // Accepted clients: the probe waits for a connection.
    let _accepted = t2.client().connect(SocketAddr::from((Ipv4Addr::LOCALHOST, 8000))).unwrap();
    t2.wait_for("journalctl -u pixeld -o cat | grep 'probe: done'");
    t2.run("journalctl -u pixeld -o cat").stdout
}

/// The paths of what the probe has found so, a line each.
fn places(found: &str, what: &str, outcome: &str) -> String {
    let end = format!(": {outcome}");
    let paths =
        found.lines().filter_map(|line| line.strip_suffix(&end)?.strip_prefix(what)?.strip_prefix(" /"));
    paths.map(|path| format!("/{path}\n")).collect()
}

/// The sockets that the daemon is asked over, and those that it is ready and logs over.
fn is_own(socket: &str) -> bool {
    let folders = ["/run/pixeld/", "/run/systemd/journal/"];
    socket == "/run/systemd/notify" || folders.iter().any(|folder| socket.starts_with(folder))
}

fn what_can_be_reached_from_the_sandbox(release: Release) {
    let site = deployment::start_on(release);
    // Neighbours of t2 with a public address (RFC 5737) and with that of a cloud's metadata service.
    let [public, metadata] = ["192.0.2", "169.254.169"];
    let neighbours = [format!("{public}.50/24"), format!("{metadata}.254/24"), "10.77.0.50/24".into()]
        .map(|address| Client::in_network(&site.private, &address));
    let _listeners = neighbours.each_ref().map(|neighbour| {
        neighbour.in_its_network(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80)).unwrap())
    });
    site.t2
        .run(&format!("ip address add {public}.20/24 dev lan0 && ip address add {metadata}.20/24 dev lan0"));
    let [public, metadata, private] =
        [format!("{public}.50"), format!("{metadata}.254"), "10.77.0.50".into()];
    for target in [&public, &metadata, &private] {
        site.t2.run(&format!("socat -u /dev/null TCP:{target}:80,connect-timeout=5"));
    }

    let filters = filters_packets(&site.t2, "whom accepted sockets reach");
    let found = probe(&site.t2, &format!("{private} {public} {metadata}"));
    let says = |line: &str| assert!(found.lines().any(|found| found == line), "not {line:?}:\n{found}");
    for family in ["AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET"] {
        says(&format!("socket {family}: refused"));
    }
    says("shell: refused");
    assert_eq!(places(&found, "folder", "writable"), "", "{found}");
    assert_eq!(places(&found, "file", "writable"), "", "{found}");
    let sockets = places(&found, "socket", "connected");
    let strangers: Vec<_> = sockets.lines().filter(|path| !is_own(path)).collect();
    assert_eq!(strangers, [""; 0], "{found}");
    assert!(sockets.contains("/run/systemd/notify\n"), "{found}");
    for socket in if filters { &["accepted", "inherited"][..] } else { &[] } {
        // Allowed by the socket unit. Without this one, the others would prove nothing.
        says(&format!("{socket}, to {private}: connected"));
        says(&format!("{socket}, to {public}: refused"));
        says(&format!("{socket}, to {metadata}: refused"));
    }
}

#[test]
fn sandbox_blocks_metadata_and_internet() {
    what_can_be_reached_from_the_sandbox(Release::Trixie);
}

#[test]
fn sandbox_blocks_both_on_the_oldest_systemd() {
    what_can_be_reached_from_the_sandbox(Release::Bookworm);
}

/// The lines that a comment of the unit says to put into a drop-in, for the range of this network.
fn narrowed(unit: &str) -> String {
    let lines = unit.lines().skip_while(|line| *line != "#   [Socket]").take(3);
    let drop_in: String = lines.map(|line| format!("{}\n", line.trim_start_matches(['#', ' ']))).collect();
    assert_eq!(drop_in, "[Socket]\nIPAddressAllow=\nIPAddressAllow=localhost 10.0.0.0/16\n");
    drop_in.replace("10.0.0.0/16", "10.77.0.0/27")
}

#[test]
fn port_8000_can_be_narrowed_to_one_range() {
    for release in [Release::Trixie, Release::Bookworm] {
        let site = deployment::start_on(release);
        if !filters_packets(&site.t2, "whom port 8000 lets in") {
            return;
        }
        let t2: SocketAddr = "10.77.0.20:8000".parse().unwrap();
        let outsider = Client::in_network(&site.private, "10.77.0.40/24");
        for client in [&site.insider, &outsider] {
            assert_eq!(client.post(t2, PIXEL).status, 200);
        }
        let unit = site.t2.read("/usr/lib/systemd/system/pixeld-tcp.socket");
        site.t2.write("/etc/systemd/system/pixeld-tcp.socket.d/narrow.conf", narrowed(&unit));
        site.t2.run("systemctl daemon-reload");
        let advice = unit.lines().find_map(|line| line.strip_prefix("#   systemctl ")).unwrap();
        site.t2.run(&format!("systemctl {advice}"));
        assert_eq!(site.insider.post(t2, PIXEL).status, 200);
        assert!(outsider.send(t2, &Request::pixel(PIXEL)).is_err(), "10.77.0.40 is let in");
    }
}

#[test]
fn systemd_analyze_rates_the_units_as_safe() {
    for release in [Release::Trixie, Release::Bookworm] {
        let host = Host::builder("c5").release(release).with_pixeld().boot();
        // Tenths: more than 0.2 would fail.
        host.run("systemd-analyze security --no-pager --threshold=2 pixeld.service");
        let verify = host.run("systemd-analyze verify --man=no /usr/lib/systemd/system/pixeld* 2>&1");
        let known = |line: &&str| release == Release::Bookworm && line.ends_with("ignoring: identity");
        let complaints: Vec<_> = verify.stdout.lines().filter(|line| !known(line)).collect();
        assert_eq!(complaints, [""; 0], "{release:?}");
        host.run("systemctl start pixeld && systemctl reload pixeld");
        let shown = host.run("systemctl show -p TasksMax,OOMScoreAdjust,OOMPolicy pixeld").stdout;
        for line in ["TasksMax=1100", "OOMScoreAdjust=-500", "OOMPolicy=continue"] {
            assert!(shown.lines().any(|shown| shown == line), "{shown}");
        }
        let memory = |name: &str| -> u64 {
            host.run(&format!("systemctl show -P {name} pixeld")).stdout.trim().parse().unwrap()
        };
        assert!(memory("MemoryHigh") < memory("MemoryMax"), "they are numbers, and the soft one is less");
    }
}

#[test]
fn sandbox_executes_only_the_two_programs() {
    let site = Site::boot();
    site.c5.run("systemctl start pixeld");
    let pid = stats(&site.c5).pid;
    let inside = |command: &str| site.c5.try_run(&format!("nsenter --target {pid} --mount {command}"));
    assert!(inside("/usr/bin/pixeldctl --version").success());
    for program in ["/bin/sh -c :", "/usr/bin/perl -e1", "/usr/bin/curl --version"] {
        let refused = inside(program);
        assert!(refused.stderr.contains("Permission denied"), "{program}: {refused}");
    }
    assert!(
        json(&site.c5, "pixeldctl workers 1024 --json").is_object(),
        "as many threads as may be configured"
    );
}
