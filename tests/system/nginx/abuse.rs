//! No client can harm other clients through nginx.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{io::Write, thread};

use super::PIXEL;
use crate::harness::{C5_OUTSIDE, Client, Request, Site, deployment, wait_until};

/// Accepted connections of both hosts together: those that nginx has opened.
fn upstream_connections(site: &Site) -> u64 {
    let accepted = |host| {
        let stats = deployment::json(host, "pixeldctl stats --json");
        stats.pointer("/connections/accepted").and_then(serde_json::Value::as_u64).expect("a count")
    };
    accepted(&site.c5) + accepted(&site.t2)
}

#[test]
fn rejected_fields_keep_the_upstream_connection() {
    let site = deployment::start();
    let json = "content-type: application/json";
    let start = "POST /pixel HTTP/1.1";
    let many: String = (0..200).map(|n| format!("\r\nx-{n}: 1")).collect();
    let cases = [
        (start, r#"host: a"b"#.to_owned(), json.to_owned(), 200),
        ("POST /pixel?\"<\\^ HTTP/1.1", "host: c5".into(), json.into(), 200),
        ("POST /\"/../pixel HTTP/1.1", "host: c5".into(), json.into(), 404),
        (start, "host: c5\r\nx: a\x01b".into(), json.into(), 200),
        (start, format!("host: c5{many}"), json.into(), 200),
        (start, "host: c5".into(), format!("{json}\x01"), 400),
        (start, "host: c5".into(), format!("{json}\r\ncontent-encoding: identity\x7f"), 400),
        (start, "host: c5".into(), format!("{json}; x={}", "a".repeat(16_200)), 431),
    ];
    // Those that nginx opens anyway: each of its processes one to each host.
    let post = || site.client.post(C5_OUTSIDE, PIXEL);
    (0..50).for_each(|_| assert_eq!(post().status, 200));
    let before = upstream_connections(&site);
    for (start, host, fields, status) in &cases {
        for _ in 0..200 {
            let mut connection = site.client.connect(C5_OUTSIDE).unwrap();
            let request = format!("{start}\r\n{host}\r\n{fields}\r\ncontent-length: 41\r\n\r\n{PIXEL}");
            connection.send_raw(request.as_bytes()).unwrap();
            let answer = connection.receive().unwrap();
            assert_eq!(answer.status, *status, "{start} {host} {fields}: {}", answer.body);
        }
    }
    let opened = upstream_connections(&site) - before;
    // Each of the questions above is a connection of its own on no host's HTTP socket.
    assert!(opened < 20, "nginx opened {opened} connections for {} requests", 200 * cases.len());
}

/// Requests a second, each of which hangs up once it is sent; fewer where the machine manages fewer.
const RATE: u32 = 2_500;

/// Ends the attack, also when the test panics.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn attack(client: &Client, request: &[u8], over: &AtomicBool, sent: &AtomicU64) {
    const THREADS: u32 = 4;
    let every = Duration::from_secs(1) * THREADS / RATE;
    let one_thread = || {
        let mut due = Instant::now();
        while !over.load(Relaxed) {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            // Missed requests are not made up for.
            due = (due + every).max(Instant::now());
            if let Ok(mut stream) = TcpStream::connect_timeout(&C5_OUTSIDE, Duration::from_secs(1))
                && stream.write_all(request).is_ok()
            {
                sent.fetch_add(1, Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| client.in_its_network(one_thread));
        }
    });
}

#[test]
fn expensive_rejections_cost_others_nothing() {
    let site = deployment::start();
    let c5 = &site.c5;
    // As the README has it: a client takes two connections and two descriptors.
    let connections = "s/worker_connections .*;/worker_connections 8192;/";
    let drop_in = "nginx.service.d/pixeld.conf";
    c5.run(&format!("install -D /usr/share/pixeld/nginx/{drop_in} /etc/systemd/system/{drop_in}"));
    c5.run(&format!("sed -i '{connections}' /etc/nginx/nginx.conf"));
    c5.run("systemctl daemon-reload && systemctl restart nginx");

    let body = format!("{{\"a\":[{}1e15]}}", "1e15,".repeat(3_270));
    assert!(body.len() <= 16 << 10, "{}", body.len());
    let head = "POST /pixel HTTP/1.1\r\nhost: c5\r\ncontent-type: application/json\r\n";
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    let (over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let others = Client::in_network(&site.internet, "203.0.113.51/24");
    let outcomes: Vec<_> = thread::scope(|scope| {
        let _ends = Ends(&over);
        scope.spawn(|| attack(&site.client, request.as_bytes(), &over, &sent));
        // Longer than a time-out of nginx's takes to count against a host, proxy_read_timeout.
        let begun = Instant::now();
        wait_until("the attack lasts", || {
            begun.elapsed() > Duration::from_secs(4) && sent.load(Relaxed) > 2_000
        });
        let ask = |_| {
            let asked = Instant::now();
            let answer = others.send(C5_OUTSIDE, &Request::pixel(PIXEL));
            (answer.map(|answer| answer.status).map_err(|error| error.to_string()), asked.elapsed())
        };
        (0..20).map(ask).collect()
    });
    assert!(outcomes.iter().all(|(status, _)| *status == Ok(200)), "{outcomes:?}");
    // One may be unlucky where other programs use the CPUs as well.
    let late = outcomes.iter().filter(|(_, took)| *took > Duration::from_secs(1)).count();
    assert!(late <= 2, "{late} of 20 took longer than a second: {outcomes:?}");
}
