//! The shipped site: what clients see of nginx itself.

mod abuse;
mod access;
mod balance;
mod logs;
mod switches;

pub use self::switches::certificate;

use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{
    C5_OUTSIDE, Host, PIXEL, Release, Request, Response, Site,
    deployment::{self, change_site},
    wait_until,
};

const HEAD: &str = "POST /pixel HTTP/1.1\r\nhost: c5\r\ncontent-length: 41\r\n\r\n";

/// Sends these bytes from outside and returns the response.
fn ask(site: &Site, bytes: impl AsRef<[u8]>) -> Response {
    let bytes = bytes.as_ref();
    let mut connection = site.client.connect(C5_OUTSIDE).unwrap();
    connection.send_raw(bytes).unwrap();
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]);
    connection.receive().unwrap_or_else(|error| panic!("{shown:?}: {error}"))
}

#[test]
fn nginx_errors_are_json_like_pixelds() {
    let long = "a".repeat(20_000);
    let start = "/pixel HTTP/1.1\r\nhost: c5\r\n";
    let cases = [
        ("nonsense\r\n\r\n".to_owned(), 400, "Bad Request"),
        ("\x16\x03\x01\x02\x01\x01\r\n\r\n".into(), 400, "Bad Request"),
        ("POST /pixel HTTP/1.1\r\n\r\n".into(), 400, "Bad Request"),
        (format!("POST {start}content-length: x\r\n\r\n"), 400, "Bad Request"),
        (format!("post {start}\r\n"), 400, "Bad Request"),
        ("POST /nowhere HTTP/1.1\r\nhost: c5\r\n\r\n".into(), 404, "Not Found"),
        ("POST /pixeld-error HTTP/1.1\r\nhost: c5\r\n\r\n".into(), 404, "Not Found"),
        (format!("GET {start}\r\n"), 405, "Method Not Allowed"),
        (format!("OPTIONS {start}\r\n"), 405, "Method Not Allowed"),
        (format!("TRACE {start}\r\n"), 405, "Method Not Allowed"),
        (format!("POST {start}content-length: 17000\r\n\r\n"), 413, "Content Too Large"),
        (format!("POST /{long} HTTP/1.1\r\nhost: c5\r\n\r\n"), 414, "URI Too Long"),
        (format!("POST {start}x: {long}\r\n\r\n"), 431, "Request Header Fields Too Large"),
        (format!("POST {start}transfer-encoding: gzip\r\n\r\n"), 501, "Not Implemented"),
        ("POST /pixel HTTP/2.0\r\nhost: c5\r\n\r\n".into(), 505, "HTTP Version Not Supported"),
    ];
    for release in [Release::Trixie, Release::Bookworm] {
        let site = deployment::start_on(release);
        for (bytes, status, detail) in &cases {
            let answer = ask(&site, bytes);
            let body = format!(r#"{{"detail":"{detail}"}}"#);
            assert_eq!((answer.status, &answer.body), (*status, &body), "{release:?}: {bytes}");
            assert_eq!(answer.field("content-type"), Some("application/json"), "{bytes}");
            assert_eq!(answer.field("server"), Some("nginx"), "its version is nobody's business");
            assert_eq!(answer.field("allow"), (*status == 405).then_some("POST"), "{bytes}");
        }
    }
}

#[test]
fn pipelined_requests_are_all_answered() {
    let site = deployment::start();
    let mut connection = site.client.connect(C5_OUTSIDE).unwrap();
    let large = "x".repeat(700);
    let json = "content-type: application/json\r\ncontent-length: 41";
    let one = format!("POST /pixel HTTP/1.1\r\nhost: c5\r\nx: {large}\r\n{json}\r\n\r\n{PIXEL}");
    connection.send_raw(one.repeat(100).as_bytes()).unwrap();
    for nth in 0..100 {
        assert_eq!(connection.receive().unwrap().status, 200, "the answer {nth}");
    }
}

#[test]
fn only_the_slow_client_is_cut() {
    let site = deployment::start();
    let shipped = ["client_header_timeout 10s;", "client_body_timeout 10s;"];
    let shorter = shipped.map(|line| line.replace("10s", "1s"));
    change_site(&site.c5, &[(shipped[0], &shorter[0]), (shipped[1], &shorter[1])]);
    let slow = ["", "POST /pixel HTTP/1.1\r\nhost: c5\r\n", HEAD].map(|begun| {
        let mut connection = site.client.connect(C5_OUTSIDE).unwrap();
        connection.send_raw(begun.as_bytes()).unwrap();
        connection
    });
    let begun = Instant::now();
    for connection in &slow {
        wait_until("nginx closes it", || connection.is_closed_unanswered());
    }
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(site.client.post(C5_OUTSIDE, PIXEL).status, 200);
}

#[test]
fn site_without_ipv6_starts_and_with_it_listens() {
    let site = deployment::start();
    let c5 = &site.c5;
    // As on a kernel without IPv6, such a socket cannot be made.
    c5.write("/run/systemd/system/nginx.service.d/x.conf", "[Service]\nRestrictAddressFamilies=~AF_INET6\n");
    c5.run("systemctl daemon-reload && systemctl restart nginx");
    assert_eq!(site.client.post(C5_OUTSIDE, PIXEL).status, 200);
    c5.run(
        "mkdir -p /etc/nginx/pixeld.d && cp /usr/share/pixeld/nginx/pixeld.d/ipv6.conf /etc/nginx/pixeld.d/",
    );
    assert!(!c5.try_run("systemctl restart nginx").success(), "the test has no effect");

    c5.run("rm /run/systemd/system/nginx.service.d/x.conf");
    c5.run("systemctl daemon-reload && systemctl restart nginx");
    let address: std::net::SocketAddr = "[::1]:80".parse().unwrap();
    for address in [C5_OUTSIDE, address] {
        let client = if address.is_ipv6() { c5.client() } else { site.client.clone() };
        assert_eq!(client.post(address, PIXEL).status, 200, "{address}");
    }
}

fn main_process(c5: &Host) -> String {
    c5.run("systemctl show -P MainPID nginx").stdout.trim().into()
}

#[test]
fn make_install_nginx_installs_site_and_limits() {
    let folder = tempfile::tempdir().unwrap();
    let make = || {
        let output = Command::new("make")
            .args(["--silent", "-C", env!("CARGO_MANIFEST_DIR"), "install-nginx"])
            .arg(format!("DESTDIR={}", folder.path().display()))
            .env_remove("MAKEFLAGS")
            .env_remove("MAKELEVEL")
            .output()
            .expect("start make");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    make();
    let nginx = folder.path().join("etc/nginx");
    let ipv6 = nginx.join("pixeld.d/ipv6.conf");
    assert_eq!(ipv6.exists(), std::path::Path::new("/proc/net/if_inet6").exists());
    let own = ["pixeld-upstreams.conf", "pixeld-logrotate.conf"].map(|file| nginx.join(file));
    for file in &own {
        std::fs::write(file, "# the operator's\n").unwrap();
    }
    let _ = std::fs::remove_file(&ipv6);
    make();
    assert!(!ipv6.exists(), "what was switched off stays so");
    for file in &own {
        assert_eq!(std::fs::read_to_string(file).unwrap(), "# the operator's\n");
    }

    let site = deployment::start();
    let c5 = &site.c5;
    let drop_in = "etc/systemd/system/nginx.service.d/pixeld.conf";
    c5.copy(folder.path().join(drop_in), &format!("/{drop_in}"));
    c5.run("systemctl daemon-reload && systemctl restart nginx");
    let verified = c5.run("systemd-analyze verify --man=no nginx.service 2>&1").stdout;
    assert!(!verified.contains("pixeld"), "{verified}");
    let before = main_process(c5);
    let limits = c5.run(&format!("cat /proc/$(pgrep -P {before} | head -n 1)/limits")).stdout;
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    // As many as this machine allows for; without the drop-in the soft limit is 1024.
    assert_eq!(files.split_whitespace().nth(3), files.split_whitespace().nth(4), "{files}");
    assert_eq!(c5.run("systemctl show -P LimitNOFILE nginx").stdout.trim(), "65536");

    c5.run("pkill -KILL nginx");
    wait_until("nginx is back", || site.client.connect(C5_OUTSIDE).is_ok());
    wait_until("it answers", || site.client.send(C5_OUTSIDE, &Request::pixel(PIXEL)).is_ok());
    assert_ne!(main_process(c5), before);
}
