//! The logs of the site and their size.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::{HEAD, PIXEL, ask};
use crate::harness::{
    C5_OUTSIDE, Host, Load, Release, Site,
    deployment::{self, change_site, switch_on},
    wait_until,
};

const FOLDER: &str = "/var/log/nginx/pixeld";
const LOG: &str = "/var/log/nginx/pixeld/access.log";

/// Waits for this number of lines in the access log and returns them. Each nginx process writes its buffer after some
/// seconds.
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

    // Debian's own rotation leaves them alone.
    c5.run("logrotate --force /etc/logrotate.d/nginx");
    assert_eq!(c5.run(&format!("ls {FOLDER}")).stdout, "access.log\nerror.log\n");
    c5.run("logrotate --force /usr/share/pixeld/nginx/pixeld-logrotate.conf");
    c5.run(&format!("grep -q PUT {LOG}.1"));
    site.client.post(C5_OUTSIDE, PIXEL);
    c5.wait_for(&format!("grep 'POST /pixel' {LOG}"));
}

/// Has the rotation in place, as the package and `make install-nginx` do while nginx runs.
fn install_rotation(c5: &Host) {
    let shipped = "/usr/share/pixeld/nginx";
    c5.run(&format!(
        "cd {shipped} && cp pixeld-logrotate.conf /etc/nginx/ && cp *.service *.timer /etc/systemd/system/"
    ));
    c5.run(&format!(
        "install -D -m 0644 -t /etc/systemd/system/nginx.service.d {shipped}/nginx.service.d/pixeld.conf"
    ));
    c5.run("systemctl daemon-reload && systemctl start nginx");
    c5.run("systemctl is-active pixeld-logrotate.timer");
    let units = "pixeld-logrotate.service pixeld-logrotate.timer nginx.service";
    let verified = c5.run(&format!("systemd-analyze verify --man=no {units} 2>&1")).stdout;
    assert!(!verified.contains("pixeld"), "{verified}");
}

/// Sends requests that the rate limit refuses, with lines as long as clients can make them; returns the number of
/// refusals. Both logs have a line for each of those.
fn send_refused(site: &Site, requests: usize) -> usize {
    // nginx closes a connection after 1,000.
    const PIPELINED: usize = 25;
    const EACH: usize = 750;
    let request =
        format!("POST /pixel?{} HTTP/1.1\r\nhost: c5\r\ncontent-length: 0\r\n\r\n", "a".repeat(1_800));
    let pipelined = request.repeat(PIPELINED);
    let send = || {
        let mut connection = site.client.connect(C5_OUTSIDE).unwrap();
        let mut refused = 0;
        for _ in 0..EACH / PIPELINED {
            connection.send_raw(pipelined.as_bytes()).unwrap();
            refused += (0..PIPELINED).filter(|_| connection.receive().unwrap().status == 429).count();
        }
        refused
    };
    let threads = 4;
    thread::scope(|scope| {
        let each = || (0..requests / EACH / threads).map(|_| send()).sum::<usize>();
        let senders: Vec<_> = (0..threads).map(|_| scope.spawn(each)).collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).sum()
    })
}

#[test]
fn logs_of_a_burst_fit_on_a_small_disk() {
    const DISK: u64 = 100 << 20;
    const REQUESTS: usize = 12_000;
    const BURSTS: u64 = 4;
    let site = deployment::start();
    let c5 = &site.c5;
    c5.run(&format!("systemctl stop nginx && mount -t tmpfs -o size={DISK} tmpfs /var/log/nginx"));
    c5.run("/usr/libexec/pixeld/site-logs");
    // So that nearly all are refused, however slow this machine is.
    change_site(c5, &[("rate=1000r/s", "rate=1r/s")]);
    switch_on(c5, "limit-requests.conf");
    install_rotation(c5);

    let mut refused = send_refused(&site, REQUESTS);
    // The timer does it by itself.
    c5.wait_for(&format!("test -e {FOLDER}/error.log.1"));
    for _ in 1..BURSTS {
        refused += send_refused(&site, REQUESTS);
        c5.run("systemctl start pixeld-logrotate.service");
    }
    let sent = BURSTS * REQUESTS as u64;
    let number = |command: &str| c5.run(command).stdout.trim().parse::<u64>().unwrap();
    let lines = |log: &str| number(&format!("zcat -f {FOLDER}/{log}.log* | wc -l"));
    c5.wait_for(&format!("test $(zcat -f {FOLDER}/access.log* | wc -l) -ge {sent}"));
    assert_eq!(lines("access"), sent, "none is lost");
    assert_eq!(lines("error"), refused as u64, "none is lost");
    let written = number(&format!("zcat -f {FOLDER}/* | wc -c"));
    assert!(written > DISK, "{written} bytes would not have filled the disk");

    let owners = c5.run(&format!("stat -c '%a %U:%G' {FOLDER}/* | sort -u")).stdout;
    assert_eq!(owners, "640 www-data:adm\n");
    let listed = c5.run(&format!("ls {FOLDER}")).stdout;
    for name in ["error.log.1\n", "error.log.2.gz\n"] {
        assert!(listed.contains(name), "{listed}");
    }
    assert_eq!(c5.run("journalctl -q -b -u pixeld-logrotate.service -o cat").stdout, "");
    // The disk is a small one.
    let finds = |part: &str| {
        let report = c5.try_run("pixeldctl doctor --json").stdout;
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        let mut findings = report["findings"].as_array().unwrap().iter();
        let finding = findings.find(|finding| finding["check"] == "disk").unwrap();
        assert!(finding["summary"].as_str().unwrap().contains(part), "{finding:#}");
        finding["fix"][0].as_str().unwrap().to_owned()
    };
    finds("free for logs, which may need 1.0 GiB");
    c5.run(&format!("systemctl stop pixeld-logrotate.timer && truncate -s 300M {LOG}"));
    let fix = finds("has 300.0 MiB and is not rotated");
    c5.run(fix.strip_prefix("sudo ").unwrap());
    c5.wait_for(&format!("test $(stat -c %s {LOG}) -lt 1000000"));
    finds("free for logs, which may need 1.0 GiB");

    c5.run("systemctl stop nginx");
    assert_eq!(
        c5.try_run("systemctl is-active pixeld-logrotate.timer").stdout,
        "inactive\n",
        "with nginx it ends"
    );
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
        // 256 bytes of it, and three dots.
        assert_eq!(entries.iter().map(|entry| entry["request"].as_str().unwrap().len()).max(), Some(259));
    }
}

#[test]
fn included_line_logs_errors_and_slow_requests_only() {
    let site = deployment::start();
    let c5 = &site.c5;
    switch_on(c5, "pixel/log-notable.conf");
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
