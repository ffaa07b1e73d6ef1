//! The package that puts the site among those of nginx.

use super::{PIXEL, install as install_package};
use crate::harness::{Host, Release, Request};

const LINK: &str = "/etc/nginx/sites-enabled/pixeld";

/// Installs the site as the README says, and starts nginx.
pub(super) fn install(host: &Host, package: &str) {
    host.run("rm -f /etc/nginx/sites-enabled/default && systemctl start nginx");
    install_package(host, package);
}

/// Has nginx send no request twice.
pub(super) fn retry_nothing(host: &Host) {
    let site = "/etc/nginx/sites-available/pixeld";
    host.run(&format!("sed -i 's/proxy_next_upstream [^;]*;/proxy_next_upstream off;/' {site}"));
    host.run(&format!("grep -q 'proxy_next_upstream off;' {site} && nginx -t && systemctl restart nginx"));
}

fn post(host: &Host) -> (u16, String) {
    let nginx: std::net::SocketAddr = "127.0.0.1:80".parse().unwrap();
    let answer = host.client().send(nginx, &Request::pixel(PIXEL)).expect("nginx answers");
    (answer.status, answer.body)
}

#[test]
fn site_serves_only_while_its_package_is_installed() {
    let host = super::host_with_package(Release::Bookworm);
    install(&host, "pixeld-nginx.deb");
    assert_eq!(post(&host).0, 200);
    let on_ipv6 = Request::pixel(PIXEL);
    let on_ipv6 = host.client().send("[::1]:80".parse::<std::net::SocketAddr>().unwrap(), &on_ipv6);
    assert_eq!(on_ipv6.unwrap().status, 200);
    host.run("dpkg -r pixeld-nginx");
    host.wait_for("! curl --silent --max-time 1 http://127.0.0.1/ --output /dev/null");
    host.run("nginx -t && systemctl is-active nginx");
    install_package(&host, "pixeld-nginx.deb");
    host.wait_for("curl --silent http://127.0.0.1/ | grep -qxF '{\"detail\":\"Not Found\"}'");

    // Switched off by the administrator, it stays off.
    host.run(&format!("rm {LINK}"));
    install_package(&host, "pixeld-nginx.deb");
    host.run(&format!("test ! -e {LINK}"));

    // Its log goes with its configuration, and not before; so do those that were rotated.
    let logs = "find /var/log -xdev -name '*pixeld*'";
    host.run("touch /var/log/nginx/pixeld.access.log.1 /var/log/nginx/pixeld.access.log.2.gz");
    host.run("dpkg -r pixeld-nginx");
    assert_eq!(host.run(logs).stdout.lines().count(), 3);
    host.run("dpkg -P pixeld-nginx && nginx -t");
    let left =
        host.run("find /etc /usr /var -xdev -name '*pixeld-nginx*' -o -path '/etc/nginx/*pixeld*'").stdout;
    assert_eq!(left + &host.run(logs).stdout, "");
}

#[test]
fn upgrade_and_rollback_of_both_debs_lose_nothing() {
    let host = super::host_with_release(Release::Trixie);
    install(&host, "old-nginx.deb");
    let upstreams = "/etc/nginx/pixeld-upstreams.conf";
    let edited = host.read(upstreams).replace("#server 10.0.0.20", "#server 10.77.0.20");
    host.write(upstreams, &edited);
    let load = super::load_through_nginx(&host);
    for [daemon, site] in [["pixeld", "pixeld-nginx"], ["old", "old-nginx"], ["pixeld", "pixeld-nginx"]] {
        // As apt does it without a terminal; the operator's file stays.
        host.run(&format!("dpkg --force-confold -i /root/{daemon}.deb /root/{site}.deb"));
        load.wait_for_answers(100);
    }
    load.stop().assert_all_ok();
    assert_eq!(host.read(upstreams), edited);
    assert_eq!(super::mode_of_http_socket(&host), "660 pixeld-proxy");
    host.run("id -nG www-data | grep -qw pixeld-proxy && nginx -t");
    host.run("dpkg -P pixeld-nginx pixeld");
    host.run("getent group pixeld-proxy | grep -q ':$'");
}

#[test]
fn debians_site_keeps_port_80_with_a_notice() {
    let host = super::host_with_package(Release::Trixie);
    host.run("test -e /etc/nginx/sites-enabled/default && systemctl start nginx");
    let output = host.run("dpkg -i /root/pixeld-nginx.deb");
    assert!(output.stderr.contains("the site is not enabled"), "{output}");
    host.run("nginx -t && systemctl restart nginx");
    assert_ne!(post(&host).0, 200);

    // The commands that were named, word for word.
    let commands: Vec<_> = output.stderr.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    host.run(&commands.join(" && "));
    host.wait_for(&format!(
        "curl --silent -H 'content-type: application/json' -d '{PIXEL}' http://127.0.0.1/pixel | grep -q '\"ok\"'"
    ));
}
