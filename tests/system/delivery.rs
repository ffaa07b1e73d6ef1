//! From a bare host to a response through nginx.

use std::net::SocketAddr;

use crate::harness::{C5_OUTSIDE, ECHO, PIXEL, Request, Site, deployment};

#[test]
fn thousand_posts_are_spread_over_both_hosts() {
    let site = deployment::start();
    let mut connection = site.client.connect(C5_OUTSIDE).unwrap();
    for i in 0..1000 {
        let body = format!(r#"{{"x":{i},"y":-{i},"channel":"G","value":{}}}"#, i % 256);
        let response = connection.send(&Request::pixel(&body)).unwrap();
        // The one integer that is written in two ways.
        let echo = format!(r#"{{"status":"ok","received":{}}}"#, body.replace("\"y\":-0", "\"y\":0"));
        assert_eq!((response.status, response.body.as_str()), (200, echo.as_str()));
    }
    let counted = [&site.c5, &site.t2].map(|host| deployment::stats(host).ok);
    assert!(counted.iter().all(|ok| *ok > 0), "{counted:?}");
    assert_eq!(counted.iter().sum::<u64>(), 1000, "{counted:?}");
}

#[test]
fn first_connection_starts_the_service() {
    let site = Site::boot();
    site.c5.run("systemctl start pixeld.socket");
    assert!(!site.c5.try_run("systemctl is-active pixeld").success());
    let answer =
        site.c5.client().send(site.c5.unix("/run/pixeld/http.sock"), &Request::pixel(PIXEL)).unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, ECHO));
    // The daemon serves before systemd has read READY=1.
    site.c5.wait_for("systemctl is-active pixeld");
}

#[test]
fn only_port_80_and_pixel_are_reachable() {
    let site = deployment::start();
    for port in [22, 8000, 8080, 443] {
        let address = SocketAddr::new(C5_OUTSIDE.ip(), port);
        assert!(site.client.connect(address).is_err(), "port {port} of c5 is open");
    }
    let listening = site.c5.run("ss -Hltn | awk '{ print $4 }'").stdout;
    assert!(listening.lines().all(|address| address.ends_with(":80")), "{listening}");

    let mut connection = site.client.connect(C5_OUTSIDE).unwrap();
    for path in
        ["/", "/docs", "/openapi.json", "/stats", "/pixel/", "/PIXEL", "/%70ixel", "/pixel%2f", "//pixel"]
    {
        let response = connection.send(&Request::new("POST", path, PIXEL)).unwrap();
        assert_eq!((response.status, response.body.as_str()), (404, r#"{"detail":"Not Found"}"#), "{path}");
    }
    let response = connection.send(&Request::new("GET", "/pixel", "")).unwrap();
    assert_eq!((response.status, response.field("allow")), (405, Some("POST")));
    let response = connection.send(&Request::pixel("x".repeat(17 << 10))).unwrap();
    assert_eq!((response.status, response.body.as_str()), (413, r#"{"detail":"Content Too Large"}"#));
}

#[test]
fn port_8000_of_t2_is_for_private_addresses_only() {
    let site = deployment::start();
    let t2: SocketAddr = "10.77.0.20:8000".parse().unwrap();
    assert_eq!(site.insider.send(t2, &Request::pixel(PIXEL)).unwrap().body, ECHO);
    // The same host, and a client whose address is a public one (RFC 5737).
    site.t2.run("ip address add 192.0.2.20/24 dev lan0");
    let stranger = crate::harness::Client::in_network(&site.private, "192.0.2.50/24");
    assert!(stranger.send(SocketAddr::from(([192, 0, 2, 20], 8000)), &Request::pixel(PIXEL)).is_err());
}

#[test]
fn installed_files_pass_systemd_and_nginx_checks() {
    let site = deployment::start();
    site.c5.run("systemd-analyze verify --man=no /usr/lib/systemd/system/pixeld*");
    site.c5.run("nginx -t");
    for page in ["pixeld.8", "pixeldctl.1", "pixeld.toml.5"] {
        site.c5.run(&format!("find /usr/share/man -name {page} | grep -q ."));
    }
    let answer = site
        .c5
        .run("curl -s --unix-socket /run/pixeld/http.sock http://localhost/ -o /dev/null -w '%{http_code}'");
    assert_eq!(answer.stdout, "404");
}
