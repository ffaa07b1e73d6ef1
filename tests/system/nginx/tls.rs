//! TLS, switched on by one line.

use std::process::Command;

use crate::harness::{
    C5_OUTSIDE, Release, Request,
    deployment::{self, change_site},
};

/// A certificate that vouches for itself, for "c5", and its key.
fn certificate() -> tempfile::TempDir {
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

#[test]
fn tls_include_rejects_weak_protocols() {
    let certificate = certificate();
    for release in [Release::Trixie, Release::Bookworm] {
        let site = deployment::start_on(release);
        let c5 = &site.c5;
        for file in ["pixeld.key", "pixeld.crt"] {
            c5.copy(certificate.path().join(file), &format!("/etc/nginx/{file}"));
        }
        c5.run("cp /usr/share/pixeld/nginx/pixeld-tls.conf /etc/nginx/");
        change_site(c5, &[("#include pixeld-tls.conf;", "include pixeld-tls.conf;")]);

        let curl = "curl --silent --show-error --max-time 10 --cacert /etc/nginx/pixeld.crt";
        let pixel = r#"{"x":10,"y":20,"channel":"R","value":255}"#;
        let post = format!("-H 'content-type: application/json' -d '{pixel}' https://c5/pixel");
        let written = "-w '\\n%{http_code} %{http_version}'";
        for tls in ["--tlsv1.2 --tls-max 1.2", "--tlsv1.3"] {
            // Asks for HTTP/2, too.
            let answer = c5.run(&format!("{curl} --http2 {tls} {written} {post}")).stdout;
            assert_eq!(answer, format!("{{\"status\":\"ok\",\"received\":{pixel}}}\n200 1.1"), "{tls}");
        }
        let old = "--tlsv1.0 --tls-max 1.1 --ciphers DEFAULT@SECLEVEL=0";
        let refused = c5.try_run(&format!("{curl} {old} {post}"));
        assert!(refused.stderr.contains("alert protocol version"), "{refused}");
        let weak = "--tlsv1.2 --tls-max 1.2 --ciphers AES128-SHA:ECDHE-ECDSA-AES128-SHA256";
        let refused = c5.try_run(&format!("{curl} {weak} {post}"));
        assert!(refused.stderr.contains("handshake failure"), "{refused}");

        let plain = c5.run(&format!("{curl} {written} http://c5:443/pixel")).stdout;
        assert_eq!(plain, "{\"detail\":\"Bad Request\"}\n400 1.1");
        assert_eq!(site.client.send(C5_OUTSIDE, &Request::pixel(pixel)).unwrap().status, 200);
    }
}
