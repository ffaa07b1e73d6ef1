//! The shipped site: what clients see of nginx itself, and what operators can switch on in it.

mod abuse;
mod access;
mod balance;
mod tls;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{
    C5_OUTSIDE, Client, Host, Load, PIXEL, Release, Request, Response, Site,
    deployment::{self, change_site},
    wait_until,
};

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

const LOG: &str = "/var/log/nginx/pixeld.access.log";

/// The lines of the access log once there are so many. Each process of nginx writes its own when its buffer is old
/// enough.
fn log_entries(c5: &Host, at_least: usize) -> Vec<serde_json::Value> {
    c5.wait_for(&format!("test $(wc -l < {LOG}) -ge {at_least}"));
    let log = c5.read(LOG);
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    log.lines().map(parse).collect()
}

fn entry<'a>(entries: &'a [serde_json::Value], request: &str) -> &'a serde_json::Value {
    entries
        .iter()
        .find(|entry| entry["request"] == request)
        .unwrap_or_else(|| panic!("{request}: {entries:?}"))
}

#[test]
fn access_log_names_the_hosts_and_is_rotated() {
    let site = deployment::start();
    site.t2.run("pixeldctl drain");
    let load = site.client.load(Load { limit: 20, ..Load::on(C5_OUTSIDE) });
    wait_until("all are answered", || load.report().sent >= 20);
    load.stop().assert_all_ok();
    ask(&site, "PUT /pixel HTTP/1.1\r\nhost: \"c5\\\"\r\n\r\n");

    let c5 = &site.c5;
    let entries = log_entries(c5, 21);
    assert_eq!(entries.len(), 21, "{entries:?}");
    let accepted = entry(&entries, "POST /pixel");
    assert_eq!(accepted["upstream"], "unix:/run/pixeld/http.sock");
    assert_eq!((&accepted["status"], &accepted["retries"]), (&200.into(), &0.into()));
    let retried = entry(&entries, "POST /pixel HTTP/1.1");
    assert_eq!(retried["upstream"], "10.77.0.20:8000, unix:/run/pixeld/http.sock");
    assert_eq!((&retried["upstream_status"], &retried["status"]), (&"503, 200".into(), &200.into()));
    assert_eq!(retried["retries"], 1);
    assert!(retried["upstream_time"].as_str().unwrap().contains(", "), "{retried}");
    let refused = entry(&entries, "PUT /pixel HTTP/1.1");
    assert_eq!((&refused["status"], &refused["retries"]), (&405.into(), &0.into()));
    assert_eq!((&refused["client"], &refused["connection_requests"]), (&"203.0.113.50".into(), &1.into()));

    c5.run("logrotate --force /etc/logrotate.d/nginx");
    c5.run(&format!("grep -q PUT {LOG}.1"));
    site.client.post(C5_OUTSIDE, PIXEL);
    c5.wait_for(&format!("grep 'POST /pixel' {LOG}"));
}

/// Sends bytes and the end of the stream, and waits until nginx closes the connection.
fn play(site: &Site, bytes: &[u8]) -> Vec<u8> {
    let exchange = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&C5_OUTSIDE, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(15)))?;
        stream.write_all(bytes)?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = Vec::new();
        // A connection that nginx resets has nothing more to read.
        let _ = stream.read_to_end(&mut answer);
        Ok(answer)
    };
    site.client.in_its_network(exchange).unwrap()
}

#[test]
fn access_log_line_of_any_bytes_is_json() {
    let json = "content-type: application/json";
    let whole = |line: &[u8], fields: &str| {
        let rest = format!("\r\nhost: c5\r\n{fields}\r\ncontent-length: 41\r\n\r\n{PIXEL}");
        [line, rest.as_bytes()].concat()
    };
    let long = "a".repeat(20_000);
    // The request, its status, and how the log names it.
    let odd: Vec<(Vec<u8>, u16, &str)> = vec![
        (whole(b"POST /pixel HTTP/1.1", json), 200, "POST /pixel"),
        (whole(b"POST /pixel?\xff\xfe HTTP/1.1", json), 200, "POST /pixel"),
        (whole(b"POST /pixel?\"\\{}$ HTTP/1.0", json), 200, "POST /pixel"),
        (whole(b"POST /pixel HTTP/1.1", "content-type: application/json; charset=utf-8"), 200, "POST /pixel"),
        (whole(b"POST /pixel HTTP/1.1", "x: y"), 422, "POST /pixel HTTP/1.1"),
        (whole(b"POST /pixel HTTP/1.1", "content-encoding: gzip"), 415, "POST /pixel HTTP/1.1"),
        (whole(b"POST /pixel HTTP/1.1", "content-type: a\x01"), 400, "POST /pixel HTTP/1.1"),
        (whole(b"PUT /pixel?\"\\ HTTP/1.1", json), 405, "(not plain ASCII)"),
        (whole(b"GET /pixel?\xff HTTP/1.1", json), 405, "(not plain ASCII)"),
        (whole(b"GET /pixel?{} HTTP/1.1", json), 405, "GET /pixel?{} HTTP/1.1"),
        (whole(b"POST /pix\xffel HTTP/1.1", json), 404, "(not plain ASCII)"),
        (whole(b"POST /pixel/\" HTTP/1.1", json), 404, "(not plain ASCII)"),
        (whole(b"POST /%70ixel HTTP/1.1", json), 404, "POST /%70ixel HTTP/1.1"),
        (whole(b"POST //pixel HTTP/1.1", json), 404, "POST //pixel HTTP/1.1"),
        (whole(b"post /pixel HTTP/1.1", json), 400, "post /pixel HTTP/1.1"),
        (whole(b"POST /pixel HTTP/7.9", json), 505, "POST /pixel HTTP/7.9"),
        (whole(b"POST /pixel HTTP/x", json), 400, "POST /pixel HTTP/x"),
        (whole(format!("POST /{long} HTTP/1.1").as_bytes(), json), 414, "POST /aaaaaaaaaaaaaaaaaaaaaaaa"),
        (whole(b"POST /pixel HTTP/1.1", &format!("x: {long}")), 431, "POST /pixel HTTP/1.1"),
        (
            b"POST /pixel HTTP/1.1\r\nhost: c5\r\ncontent-length: 20000\r\n\r\n".to_vec(),
            413,
            "POST /pixel HTTP/1.1",
        ),
        (b"\x16\x03\x01\x02\x00\x01\x00\"\\\r\n\r\n".to_vec(), 400, "(not plain ASCII)"),
        (b"nonsense\r\n\r\n".to_vec(), 400, "nonsense"),
        (b"GET /pixel\r\n".to_vec(), 405, "GET /pixel"),
        (b"GET /\"\r\n".to_vec(), 404, "(not plain ASCII)"),
    ];
    for release in [Release::Trixie, Release::Bookworm] {
        let site = deployment::start_on(release);
        for (bytes, ..) in &odd {
            play(&site, bytes);
        }
        let entries = log_entries(&site.c5, odd.len());
        assert_eq!(entries.len(), odd.len(), "{entries:?}");
        // The first characters of each are enough.
        let shown = |status: u64, request: &str| format!("{status} {}", &request[..request.len().min(25)]);
        let logged = |entry: &serde_json::Value| {
            shown(entry["status"].as_u64().unwrap(), entry["request"].as_str().unwrap())
        };
        let mut logged: Vec<_> = entries.iter().map(logged).collect();
        let mut expected: Vec<_> =
            odd.iter().map(|(_, status, name)| shown(u64::from(*status), name)).collect();
        logged.sort();
        expected.sort();
        assert_eq!(logged, expected, "{release:?}");
        let is_whole = |entry: &serde_json::Value| {
            [
                "time",
                "client",
                "bytes_in",
                "bytes_out",
                "seconds",
                "upstream",
                "upstream_time",
                "upstream_status",
                "retries",
            ]
            .iter()
            .all(|field| !entry[field].is_null())
        };
        assert!(entries.iter().all(is_whole), "{entries:?}");
    }
}

#[test]
fn included_line_logs_errors_and_slow_requests_only() {
    let site = deployment::start();
    let c5 = &site.c5;
    // As the site's file says.
    let site_file = c5.read("/etc/nginx/conf.d/pixeld.conf");
    let line = site_file.lines().find(|line| line.contains("if=$pixeld_is_notable;")).expect("an example");
    c5.run("mkdir -p /etc/nginx/pixeld.d/pixel");
    c5.write("/etc/nginx/pixeld.d/pixel/log.conf", line.trim_start_matches("# "));
    c5.run("nginx -t && systemctl restart nginx");
    for _ in 0..200 {
        assert_eq!(site.client.post(C5_OUTSIDE, PIXEL).status, 200);
    }
    let mut slow = site.client.connect(C5_OUTSIDE).unwrap();
    slow.send_raw(HEAD.replace("host:", "content-type: application/json\r\nhost:").as_bytes()).unwrap();
    let begun = Instant::now();
    wait_until("the request is slow", || begun.elapsed() > Duration::from_millis(300));
    slow.send_raw(PIXEL.as_bytes()).unwrap();
    assert_eq!(slow.receive().unwrap().status, 200);
    assert_eq!(site.client.post(C5_OUTSIDE, "{}").status, 422);
    ask(&site, "GET /pixel HTTP/1.1\r\nhost: c5\r\n\r\n");
    ask(&site, "POST /nowhere HTTP/1.1\r\nhost: c5\r\ncontent-length: 0\r\n\r\n");

    c5.wait_for(&format!("test $(grep -cE '\"status\":4(04|05|22)' {LOG}) -ge 3"));
    c5.wait_for(&format!("grep '\"status\":200' {LOG}"));
    let entries = log_entries(c5, 4);
    let is_fast =
        |entry: &&serde_json::Value| entry["status"] == 200 && entry["seconds"].as_f64() < Some(0.1);
    assert_eq!(entries.iter().find(is_fast), None);
    assert!(entries.len() < 100, "the others were accepted at once: {entries:?}");
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
    assert_eq!((answer.status, answer.body.as_str()), (429, r#"{"detail":"Too Many Requests"}"#));
    assert_eq!(answer.field("content-type"), Some("application/json"));
    assert_eq!(answer.field("retry-after"), Some("1"));
}

#[test]
fn rate_and_connection_limits_are_one_line_each() {
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
