//! The files that operators enable in the site without editing it.

use std::process::Command;

use super::{HEAD, PIXEL};
use crate::harness::{
    C5_OUTSIDE, Client, ECHO, Host, Release, Request, Response, Site,
    deployment::{self, change_site, switch_on},
    wait_until,
};

fn assert_refused_for_now(answer: &Response) {
    assert_eq!((answer.status, answer.body.as_str()), (429, r#"{"detail":"Too Many Requests"}"#));
    assert_eq!(answer.field("content-type"), Some("application/json"));
    assert_eq!(answer.field("retry-after"), Some("1"));
}

#[test]
fn rate_and_connection_limits_are_a_file_each() {
    let site = deployment::start();
    let c5 = &site.c5;
    let neighbour = Client::in_network(&site.internet, "203.0.113.51/24");
    // Slower than shipped, for a machine that may be slow itself.
    change_site(c5, &[("rate=1000r/s", "rate=1r/s")]);
    switch_on(c5, "limit-requests.conf");
    let mut connection = site.client.connect(C5_OUTSIDE).unwrap();
    let answers: Vec<_> = (0..250).map(|_| connection.send(&Request::pixel(PIXEL)).unwrap()).collect();
    assert!(answers[..200].iter().all(|answer| answer.status == 200), "the burst is let through");
    assert_refused_for_now(answers.iter().find(|answer| answer.status != 200).expect("not all are"));
    assert_eq!(neighbour.post(C5_OUTSIDE, PIXEL).status, 200);

    deployment::retry_as_shipped(c5);
    c5.run("rm /etc/nginx/pixeld.d/limit-requests.conf");
    // With time enough for them on a busy machine.
    change_site(c5, &[("client_body_timeout 10s;", "client_body_timeout 60s;")]);
    switch_on(c5, "limit-connections.conf");
    let mut begun = Vec::new();
    wait_until("the next one is refused", || {
        let is_refused = site.client.post(C5_OUTSIDE, PIXEL).status == 429;
        // nginx counts those whose head it has read; a few more, where one is not among them.
        if !is_refused && begun.len() < 110 {
            let mut connection = site.client.connect(C5_OUTSIDE).unwrap();
            connection.send_raw(HEAD.as_bytes()).unwrap();
            begun.push(connection);
        }
        is_refused
    });
    assert!(begun.len() >= 100, "refused at the request after {}", begun.len());
    assert_refused_for_now(&site.client.post(C5_OUTSIDE, PIXEL));
    assert_eq!(neighbour.post(C5_OUTSIDE, PIXEL).status, 200);
    drop(begun);
    wait_until("it is served again", || site.client.post(C5_OUTSIDE, PIXEL).status == 200);
}

#[test]
fn larger_bodies_are_a_file_and_a_key() {
    let site = deployment::start();
    let status = |length: usize| {
        let body = format!("{{{}{}", " ".repeat(length - PIXEL.len()), &PIXEL[1..]);
        assert_eq!(body.len(), length);
        site.client.post(C5_OUTSIDE, &body).status
    };
    assert_eq!([16 << 10, 17 << 10].map(status), [200, 413]);
    switch_on(&site.c5, "pixel/body-size.conf");
    for host in [&site.c5, &site.t2] {
        host.write("/etc/pixeld/pixeld.toml.d/body.toml", "limits.body = \"64 KiB\"\n");
        host.run("systemctl reload pixeld");
    }
    assert_eq!([17 << 10, 64 << 10, 65 << 10].map(status), [200, 200, 413]);
}

/// A certificate that vouches for itself, for "c5", and its key.
pub fn certificate() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-subj", "/CN=c5", "-addext", "subjectAltName=DNS:c5", "-days", "2"])
        .args(["-keyout", "pixeld.key", "-out", "pixeld.crt"])
        .current_dir(&folder)
        .output()
        .expect("start openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}

const CURL: &str = "curl --silent --show-error --max-time 10 --cacert /etc/nginx/pixeld.crt";
const WRITTEN: &str = "-w '\\n%{http_code} %{http_version}'";

fn post(url: &str) -> String {
    format!("-H 'content-type: application/json' -d '{PIXEL}' {url}")
}

fn assert_tls_rejects_weak_protocols(c5: &Host) {
    let post = post("https://c5/pixel");
    for tls in ["--tlsv1.2 --tls-max 1.2", "--tlsv1.3"] {
        // Asks for HTTP/2, too.
        let answer = c5.run(&format!("{CURL} --http2 {tls} {WRITTEN} {post}")).stdout;
        assert_eq!(answer, format!("{ECHO}\n200 1.1"), "{tls}");
    }
    let old = "--tlsv1.0 --tls-max 1.1 --ciphers DEFAULT@SECLEVEL=0";
    let refused = c5.try_run(&format!("{CURL} {old} {post}"));
    assert!(refused.stderr.contains("alert protocol version"), "{refused}");
    let weak = "--tlsv1.2 --tls-max 1.2 --ciphers AES128-SHA:ECDHE-ECDSA-AES128-SHA256";
    let refused = c5.try_run(&format!("{CURL} {weak} {post}"));
    assert!(refused.stderr.contains("handshake failure"), "{refused}");

    let plain = c5.run(&format!("{CURL} {WRITTEN} http://c5:443/pixel")).stdout;
    assert_eq!(plain, "{\"detail\":\"Bad Request\"}\n400 1.1");
}

/// A CA asks over port 80 while nginx serves; a redirect is not in its way.
fn assert_challenge_is_answered(c5: &Host) {
    let challenge = "/.well-known/acme-challenge/token";
    c5.write(&format!("/var/www/pixeld{challenge}"), "token.thumbprint");
    let answer = c5.run(&format!("{CURL} {WRITTEN} http://c5{challenge}")).stdout;
    assert_eq!(answer, "token.thumbprint\n200 1.1");
    let missing = c5.run(&format!("{CURL} {WRITTEN} http://c5{challenge}x")).stdout;
    assert_eq!(missing, "{\"detail\":\"Not Found\"}\n404 1.1");
}

#[test]
fn tls_with_redirect_and_acme_is_links_alone() {
    let certificate = certificate();
    for release in [Release::Trixie, Release::Bookworm] {
        let site = deployment::start_on(release);
        let c5 = &site.c5;
        switch_on(c5, "acme.conf");
        assert_challenge_is_answered(c5);
        for file in ["pixeld.key", "pixeld.crt"] {
            c5.copy(certificate.path().join(file), &format!("/etc/nginx/{file}"));
        }
        switch_on(c5, "tls.conf");
        switch_on(c5, "tls-ipv6.conf");
        assert_tls_rejects_weak_protocols(c5);
        c5.run(&format!("{CURL} --resolve c5:443:[::1] {}", post("https://c5/pixel")));
        assert_eq!(site.client.send(C5_OUTSIDE, &Request::pixel(PIXEL)).unwrap().status, 200);

        switch_on(c5, "redirect.conf");
        assert_redirected(&site);
        assert_challenge_is_answered(c5);
        assert_tls_rejects_weak_protocols(c5);
    }
}

#[track_caller]
fn assert_redirected(site: &Site) {
    let answer = site.client.send(C5_OUTSIDE, &Request::pixel(PIXEL)).unwrap();
    assert_eq!(answer.status, 308);
    assert_eq!(answer.field("location"), Some("https://pixeld/pixel"));
    // The method stays.
    let followed = site.c5.run(&format!("{CURL} --location {WRITTEN} {}", post("http://c5/pixel"))).stdout;
    assert_eq!(followed, format!("{ECHO}\n200 1.1"));
}
