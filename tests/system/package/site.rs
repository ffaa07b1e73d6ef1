//! The package that puts the site among those of nginx.

use std::net::SocketAddr;
use std::process::Command;

use super::{PIXEL, deb, install as install_package};
use crate::harness::{Host, Load, Release, Request};
use crate::nginx::certificate;

const LINK: &str = "/etc/nginx/sites-enabled/pixeld";
const UPSTREAMS: &str = "/etc/nginx/pixeld-upstreams.conf";
/// As unattended upgrades do it, without a terminal for questions.
const APT: &str =
    "DEBIAN_FRONTEND=noninteractive apt-get --quiet=2 --yes --allow-downgrades --reinstall install";

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
    let answer = host.client().send(nginx(), &Request::pixel(PIXEL)).expect("nginx answers");
    (answer.status, answer.body)
}

fn nginx() -> SocketAddr {
    "127.0.0.1:80".parse().unwrap()
}

/// Load of clients that do not send again what got no response.
#[track_caller]
fn assert_costs_no_connection(host: &Host, command: &str) {
    let load = host.client().load(Load::on(nginx()));
    load.wait_for_answers(100);
    host.run(command);
    load.wait_for_answers(100);
    let report = load.stop();
    report.assert_all_ok();
    assert_eq!(report.connects, 8, "{report}");
}

/// A later version of the package, whose site responds to one path more.
fn later_package() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"dpkg-deb --raw-extract "$0" package && cd package \
        && sed -i 's/^Version: .*/Version: 0.9/' DEBIAN/control \
        && sed -i 's,^    location / {,    location = /later { return 204; }\n&,' usr/share/pixeld/nginx/pixeld.conf \
        && grep -q 'location = /later' usr/share/pixeld/nginx/pixeld.conf \
        && dpkg-deb --root-owner-group --build . ../later.deb"#;
    let output =
        Command::new("sh").args(["-c", script]).arg(deb("pixeld-nginx")).current_dir(&folder).output();
    let output = output.expect("start a shell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}

#[test]
fn site_serves_only_while_its_package_is_installed() {
    let host = super::host_with_package(Release::Bookworm);
    install(&host, "pixeld-nginx.deb");
    assert_eq!(post(&host).0, 200);
    assert_logs_are_rotated(&host, "www-data:adm");
    let on_ipv6 = Request::pixel(PIXEL);
    let on_ipv6 = host.client().send("[::1]:80".parse::<SocketAddr>().unwrap(), &on_ipv6);
    assert_eq!(on_ipv6.unwrap().status, 200);
    host.run("dpkg -r pixeld-nginx");
    host.wait_for("! curl --silent --max-time 1 http://127.0.0.1/ --output /dev/null");
    host.run("nginx -t && systemctl is-active nginx");
    install_package(&host, "pixeld-nginx.deb");
    host.wait_for("curl --silent http://127.0.0.1/ | grep -qxF '{\"detail\":\"Not Found\"}'");

    // Nothing changed, also where an operator has edited a file; nginx restarts, so that no earlier process is left.
    let edit = "sed -i 's/^#server 10.0.0.20/server 10.77.0.20/'";
    host.run(&format!("{edit} {UPSTREAMS} && nginx -t && systemctl restart nginx"));
    let reinstall = format!("{APT} /root/pixeld-nginx.deb </dev/null");
    assert_costs_no_connection(&host, &reinstall);

    // An upgrade that changes the site asks nothing, whatever is switched on.
    let shipped = "/usr/share/pixeld/nginx/pixeld.d";
    for file in ["acme.conf", "limit-requests.conf", "limit-connections.conf", "pixel/body-size.conf"] {
        host.run(&format!("ln -s {shipped}/{file} /etc/nginx/pixeld.d/{file}"));
    }
    host.run("nginx -t && systemctl reload nginx");
    host.copy(later_package().path().join("later.deb"), "/root/later.deb");
    host.run(&format!("{APT} /root/later.deb </dev/null"));
    host.wait_for("curl --silent --write-out '%{http_code}' http://127.0.0.1/later | grep -qx 204");
    assert_eq!(post(&host).0, 200);
    host.run(&format!("grep -q '^server 10.77.0.20' {UPSTREAMS} && {reinstall}"));

    // Switched off by the administrator, it stays off.
    host.run(&format!("rm {LINK}"));
    install_package(&host, "pixeld-nginx.deb");
    host.run(&format!("test ! -e {LINK}"));

    // Its logs go with its configuration, and not before; so do those of version 0.1.0.
    let logs = "find /var/log -xdev -path '*pixeld*' -type f";
    host.run("touch /var/log/nginx/pixeld/access.log.1 /var/log/nginx/pixeld.access.log.2.gz");
    host.run("dpkg -r pixeld-nginx");
    assert_eq!(host.run(logs).stdout.lines().count(), 4);
    host.run("dpkg -P pixeld-nginx && nginx -t");
    let left =
        host.run("find /etc /usr /var -xdev -name '*pixeld-nginx*' -o -path '/etc/nginx/*pixeld*'").stdout;
    assert_eq!(left + &host.run(logs).stdout, "");
    assert_eq!(host.run("find /etc/systemd /etc/nginx -xtype l").stdout, "");
    assert_eq!(host.try_run("systemctl is-active pixeld-logrotate.timer").stdout, "inactive\n");
}

#[track_caller]
fn assert_logs_are_rotated(host: &Host, owner: &str) {
    host.run("systemctl is-active pixeld-logrotate.timer");
    let owners = host.run("stat -c '%a %U:%G' /var/log/nginx/pixeld/*.log | sort -u").stdout;
    assert_eq!(owners, format!("640 {owner}\n"));
}

#[test]
fn upgrade_and_rollback_of_both_debs_lose_nothing() {
    let host = super::host_with_release(Release::Trixie);
    install(&host, "old-nginx.deb");
    let edited = host.read(UPSTREAMS).replace("#server 10.0.0.20", "#server 10.77.0.20");
    host.write(UPSTREAMS, &edited);
    let load = super::load_through_nginx(&host);
    for [daemon, site] in [["pixeld", "pixeld-nginx"], ["old", "old-nginx"], ["pixeld", "pixeld-nginx"]] {
        // Asks nothing. Only a rollback asks a question, about the operator's file.
        let kept = if site.starts_with("old") { "-o DPkg::Options::=--force-confold" } else { "" };
        host.run(&format!("{APT} {kept} /root/{daemon}.deb /root/{site}.deb </dev/null"));
        host.run(&format!("nginx -t && test -e {LINK}"));
        load.wait_for_answers(100);
    }
    load.stop().assert_all_ok();
    assert_eq!(host.read(UPSTREAMS), edited);
    assert_eq!(host.run(&format!("readlink {LINK}")).stdout, "/usr/share/pixeld/nginx/pixeld.conf\n");
    host.run("test ! -e /etc/nginx/sites-available/pixeld && test ! -e /etc/nginx/pixeld-tls.conf");
    assert_logs_are_rotated(&host, "www-data:adm");
    assert_eq!(super::mode_of_http_socket(&host), "660 pixeld-proxy");
    host.run("id -nG www-data | grep -qw pixeld-proxy && nginx -t");
    host.run("dpkg -P pixeld-nginx pixeld");
    host.run("getent group pixeld-proxy | grep -q ':$'");
    assert_edited_site_is_kept(&host);
}

/// A site of version 0.1.0 that was edited, as its README said, stays in use; the upgrade asks nothing.
fn assert_edited_site_is_kept(host: &Host) {
    host.run("dpkg -i /root/old.deb /root/old-nginx.deb");
    let site = "/etc/nginx/sites-available/pixeld";
    let certificate = certificate();
    for file in ["pixeld.key", "pixeld.crt"] {
        host.copy(certificate.path().join(file), &format!("/etc/nginx/{file}"));
    }
    host.run(&format!("sed -i 's/#include pixeld-tls.conf;/include pixeld-tls.conf;/; s/16k;/17k;/' {site}"));
    host.run("nginx -t && systemctl reload nginx");
    let edited = host.read(site);
    let output = host.run(&format!("{APT} /root/pixeld.deb /root/pixeld-nginx.deb </dev/null"));
    assert!(output.stdout.contains("sites-available/pixeld was edited and stays in use"), "{output}");
    assert_eq!(host.read(site), edited);
    host.run("nginx -t && systemctl restart nginx");
    let pixel = format!("-H 'content-type: application/json' -d '{PIXEL}' https://127.0.0.1/pixel");
    host.run(&format!("curl --fail --silent --insecure {pixel}"));

    // As that said.
    let command = output.stdout.lines().find_map(|line| line.strip_prefix("  ln ")).expect("a command");
    host.run(&format!("ln {command}"));
    assert_eq!(post(host).0, 200);
    host.run("dpkg -P pixeld-nginx pixeld");
    let left = host.run("find /etc/nginx -name '*pixeld*' ! -name 'pixeld.key' ! -name 'pixeld.crt'").stdout;
    assert_eq!(left, "");
}

#[test]
fn debians_site_keeps_port_80_with_a_notice() {
    let host = super::host_with_package(Release::Trixie);
    host.run("test -e /etc/nginx/sites-enabled/default && systemctl start nginx");
    let output = host.run("dpkg -i /root/pixeld-nginx.deb");
    assert!(output.stderr.contains("site not enabled"), "{output}");
    host.run("nginx -t && systemctl restart nginx");
    assert_ne!(post(&host).0, 200);

    // The commands that were named, word for word.
    let commands: Vec<_> = output.stderr.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    host.run(&commands.join(" && "));
    host.wait_for(&format!(
        "curl --silent -H 'content-type: application/json' -d '{PIXEL}' http://127.0.0.1/pixel | grep -q '\"ok\"'"
    ));

    host.run("dpkg -P pixeld-nginx");
    assert_layout_of_nginx_org_works(&host);
}

/// The layout of nginx.org's package below /etc: one folder of sites, and its own user.
fn assert_layout_of_nginx_org_works(host: &Host) {
    host.run("systemctl stop nginx && rm -r /etc/nginx/sites-* && useradd --system nginx");
    host.write(
        "/etc/nginx/nginx.conf",
        "user nginx;\nworker_processes auto;\nerror_log /var/log/nginx/error.log notice;\npid /run/nginx.pid;\n\
         events { worker_connections 1024; }\nhttp {\n include /etc/nginx/mime.types;\n\
         default_type application/octet-stream;\n access_log /var/log/nginx/access.log;\n\
         keepalive_timeout 65;\n include /etc/nginx/conf.d/*.conf;\n}\n",
    );
    host.write(
        "/etc/nginx/conf.d/default.conf",
        "server {\n listen 80;\n server_name localhost;\n location / { root /usr/share/nginx/html; }\n}\n",
    );
    host.run("sed -i 's/create 0640 www-data adm/create 640 nginx adm/' /etc/logrotate.d/nginx");
    host.run("systemctl start nginx");
    install_package(host, "pixeld-nginx.deb");
    host.wait_for("curl --silent http://127.0.0.1/ | grep -qxF '{\"detail\":\"Not Found\"}'");
    assert_eq!(post(host).0, 200);
    assert_logs_are_rotated(host, "nginx:adm");
    host.run("id -nG nginx | grep -qw pixeld-proxy");
    let link = "/etc/nginx/conf.d/pixeld.conf";
    assert_eq!(host.run(&format!("readlink {link}")).stdout, "/usr/share/pixeld/nginx/pixeld.conf\n");
    host.run("systemctl restart nginx");
    assert_eq!(post(host).0, 200);
    host.run(&format!("dpkg -r pixeld-nginx && test ! -L {link} && nginx -t && systemctl is-active nginx"));
}
