//! The shipped site: what clients see of nginx itself, and what operators can switch on in it.

mod abuse;
mod access;
mod balance;
mod tls;

use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{
    C5_OUTSIDE, Client, Host, Load, Release, Request, Response, Site,
    deployment::{self, change_site},
    wait_until,
};

const PIXEL: &str = r#"{"x":10,"y":20,"channel":"R","value":255}"#;
const HEAD: &str = "POST /pixel HTTP/1.1\r\nhost: c5\r\ncontent-length: 41\r\n\r\n";

/// What comes back for these bytes, from outside.
fn ask(site: &Site, bytes: impl AsRef<[u8]>) -> Response {
    let bytes = bytes.as_ref();
    let mut connection = site.client.connect(C5_OUTSIDE).unwrap();
    connection.send_raw(bytes).unwrap();
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]);
    connection.receive().unwrap_or_else(|error| panic!("{shown:?}: {error}"))
}

#[test]
fn all_that_nginx_answers_by_itself_is_json_like_that_of_pixeld() {
    let long = "a".repeat(20_000);
    let start = "/pixel HTTP/1.1\r\nhost: c5\r\n";
    let cases = [
        ("nonsense\r\n\r\n".to_owned(), 400, "Bad Request"),
        ("\x16\x03\x01\x02\x01\x01\r\n\r\n".into(), 400, "Bad Request"),
        ("POST /pixel HTTP/1.1\r\n\r\n".into(), 400, "Bad Request"),
        (format!("POST {start}content-length: x\r\n\r\n"), 400, "Bad Request"),
        (format!("post {start}\r\n"), 400, "Bad Request"),
        ("POST /nowhere HTTP/1.1\r\nhost: c5\r\n\r\n".into(), 404, "Not Found"),
        ("POST /pixeld-answer HTTP/1.1\r\nhost: c5\r\n\r\n".into(), 404, "Not Found"),
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
            assert_eq!((answer.status, answer.text()), (*status, body), "{release:?}: {bytes}");
            assert_eq!(answer.header("content-type"), Some("application/json"), "{bytes}");
            assert_eq!(answer.header("server"), Some("nginx"), "its version is nobody's business");
            assert_eq!(answer.header("allow"), (*status == 405).then_some("POST"), "{bytes}");
        }
    }
}

#[test]
fn requests_that_are_sent_before_any_is_answered_are_all_answered() {
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
fn who_is_too_slow_is_cut_off_and_nobody_else() {
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
fn the_access_log_tells_of_each_request_who_answered_it_and_is_rotated() {
    let site = deployment::start();
    site.t2.run("pixeldctl drain");
    let load = site.client.load(Load { limit: 20, ..Load::on(C5_OUTSIDE) });
    wait_until("all are answered", || load.report().sent >= 20);
    load.stop().assert_all_ok();
    ask(&site, "PUT /pixel HTTP/1.1\r\nhost: \"c5\\\"\r\n\r\n");
    ask(&site, "PUT /pixel?\"\\ HTTP/1.1\r\nhost: c5\r\n\r\n");
    ask(&site, b"PUT /pix\xffel HTTP/1.1\r\nhost: c5\r\n\r\n");

    let c5 = &site.c5;
    // Each process of nginx writes what it has done, when its buffer is old enough.
    c5.wait_for("test $(wc -l < /var/log/nginx/pixeld.access.log) -ge 23");
    let log = c5.read("/var/log/nginx/pixeld.access.log");
    let entries: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
        .collect();
    assert_eq!(entries.len(), 23, "{log}");
    let retried = entries.iter().find(|entry| entry["retries"] == 1).expect("the drained host was asked");
    assert_eq!(retried["upstream"], "10.77.0.20:8000, unix:/run/pixeld/http.sock");
    assert_eq!((&retried["upstream_status"], &retried["status"]), (&"503, 200".into(), &200.into()));
    assert!(retried["upstream_time"].as_str().unwrap().contains(", "), "{retried}");
    let refused =
        entries.iter().find(|entry| entry["request"] == "PUT /pixel?\"\\ HTTP/1.1").expect("it is told");
    assert_eq!(
        (&refused["status"], &refused["upstream"], &refused["retries"]),
        (&405.into(), &"".into(), &0.into())
    );
    assert_eq!(refused["client"], "203.0.113.50");
    assert!(entries.iter().any(|entry| entry["request"] == "(not ASCII)"), "{log}");

    c5.run("logrotate --force /etc/logrotate.d/nginx");
    c5.run("grep -q PUT /var/log/nginx/pixeld.access.log.1");
    site.client.post(C5_OUTSIDE, PIXEL);
    c5.wait_for("grep 'POST /pixel' /var/log/nginx/pixeld.access.log");
}

#[test]
fn site_without_ipv6_starts_and_with_it_listens() {
    let site = deployment::start();
    let c5 = &site.c5;
    // As on a kernel without IPv6, such a socket cannot be made.
    c5.write("/run/systemd/system/nginx.service.d/x.conf", "[Service]\nRestrictAddressFamilies=~AF_INET6\n");
    c5.run("systemctl daemon-reload && systemctl restart nginx");
    assert_eq!(site.client.post(C5_OUTSIDE, PIXEL).status, 200);
    c5.run("cp /usr/share/pixeld/nginx/pixeld-ipv6.conf /etc/nginx/");
    assert!(!c5.try_run("systemctl restart nginx").success(), "the test has no effect");

    c5.run("rm /run/systemd/system/nginx.service.d/x.conf");
    c5.run("systemctl daemon-reload && systemctl restart nginx");
    let address: std::net::SocketAddr = "[::1]:80".parse().unwrap();
    for address in [C5_OUTSIDE, address] {
        let client = if address.is_ipv6() { c5.client() } else { site.client.clone() };
        assert_eq!(client.post(address, PIXEL).status, 200, "{address}");
    }
}

fn assert_refused_for_now(answer: &Response) {
    assert_eq!((answer.status, answer.text().as_str()), (429, r#"{"detail":"Too Many Requests"}"#));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[test]
fn one_line_bounds_the_requests_of_each_client_and_another_one_its_connections() {
    let site = deployment::start();
    let neighbour = Client::in_network(&site.internet, "203.0.113.51/24");
    let slower = ("rate=1000r/s", "rate=1r/s");
    change_site(&site.c5, &[("#limit_req ", "limit_req "), slower]);
    let mut connection = site.client.connect(C5_OUTSIDE).unwrap();
    let answers: Vec<_> = (0..250).map(|_| connection.send(&Request::pixel(PIXEL)).unwrap()).collect();
    assert!(answers[..200].iter().all(|answer| answer.status == 200), "the burst is let through");
    assert_refused_for_now(answers.iter().find(|answer| answer.status != 200).expect("not all are"));
    assert_eq!(neighbour.post(C5_OUTSIDE, PIXEL).status, 200);

    deployment::retry_as_shipped(&site.c5);
    // Fewer than shipped, and with time enough for them on a busy machine.
    let fewer = ("#limit_conn pixeld_connections 100;", "limit_conn pixeld_connections 10;");
    let patient = ("client_body_timeout 10s;", "client_body_timeout 60s;");
    change_site(&site.c5, &[fewer, patient]);
    let mut begun = Vec::new();
    wait_until("the next one is refused", || {
        let is_refused = site.client.post(C5_OUTSIDE, PIXEL).status == 429;
        // nginx counts those whose head it has read; a few more, where one is not among them.
        if !is_refused && begun.len() < 15 {
            let mut connection = site.client.connect(C5_OUTSIDE).unwrap();
            connection.send_raw(HEAD.as_bytes()).unwrap();
            begun.push(connection);
        }
        is_refused
    });
    assert!(begun.len() >= 10, "refused at the request after {}", begun.len());
    assert_refused_for_now(&site.client.post(C5_OUTSIDE, PIXEL));
    assert_eq!(neighbour.post(C5_OUTSIDE, PIXEL).status, 200);
    drop(begun);
    wait_until("it is served again", || site.client.post(C5_OUTSIDE, PIXEL).status == 200);
}

fn main_process(c5: &Host) -> String {
    c5.run("systemctl show -P MainPID nginx").stdout.trim().into()
}

#[test]
fn make_install_nginx_puts_everything_in_place_and_nginx_gets_its_descriptors() {
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
    let ipv6 = folder.path().join("etc/nginx/pixeld-ipv6.conf");
    assert_eq!(ipv6.exists(), std::path::Path::new("/proc/net/if_inet6").exists());
    let own = ["nginx/pixeld-upstreams.conf", "nginx/pixeld-tls.conf"]
        .map(|file| folder.path().join("etc").join(file));
    for file in &own {
        std::fs::write(file, "# the operator's\n").unwrap();
    }
    make();
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
