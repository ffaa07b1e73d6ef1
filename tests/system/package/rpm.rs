//! The packages for Amazon Linux, installed by rpm, which runs their scripts, on a Debian with systemd.
//! That shows what the scripts and the files do, and neither dnf nor SELinux, nor another systemd.

use std::path::PathBuf;

use super::{
    HTTP, SOCKETS, built, load_through_nginx, mode_of_http_socket, post, property, released,
    starts_of_sockets, version,
};
use crate::harness::{
    Host, Load, Output, Release,
    deployment::{json, retry_only, stats},
};

fn rpm(start: &str) -> PathBuf {
    built("rpm", "generate-rpm", &format!("{start}-{}-", version()))
}

/// A host with rpm and nginx, this package installed, the others beside it.
fn host_with(package: &str) -> Host {
    let host = Host::builder("c5")
        .release(Release::TrixieFresh)
        .with_file("/etc/dpkg/dpkg.cfg.d/99-test", "force-unsafe-io\n")
        .boot();
    host.run("DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends rpm jq nginx-light");
    host.run("rm /etc/nginx/sites-enabled/default");
    host.copy(rpm("pixeld"), "/root/pixeld.rpm");
    host.copy(rpm("pixeld-nginx"), "/root/pixeld-nginx.rpm");
    host.copy(released("rpm", "pixeld-"), "/root/old.rpm");
    host.copy(released("rpm", "pixeld-nginx-"), "/root/old-nginx.rpm");
    install(&host, "--install", package);
    host
}

/// Has rpm do this, of which nothing goes wrong. It knows of no package of Debian's.
#[track_caller]
fn install(host: &Host, how: &str, package: &str) -> Output {
    let output = host.run(&format!("rpm --nodeps {how} /root/{package}"));
    let kept = "warning: /etc/pixeld/pixeld.toml created as /etc/pixeld/pixeld.toml.rpmnew";
    let said = output.stderr.replace(kept, "").to_lowercase();
    assert!(["warning", "error", "fail", "refuse"].iter().all(|word| !said.contains(word)), "{output}");
    output
}

#[test]
fn installed_rpm_serves_only_after_a_start() {
    let host = host_with("pixeld.rpm");
    assert!(post(&host).is_err(), "nothing is open yet");
    for unit in SOCKETS.into_iter().chain(["pixeld.service"]) {
        assert_eq!(host.run(&format!("systemctl is-enabled {unit}")).stdout, "enabled\n", "{unit}");
    }
    for unit in ["pixeld-tcp.socket", "pixeld-metrics.timer"] {
        assert!(!host.try_run(&format!("systemctl is-enabled {unit}")).success(), "{unit} is enabled");
    }
    host.run("systemctl start pixeld");
    assert_eq!(post(&host).unwrap(), 200);
    assert_eq!(property(&host, "pixeld", "User"), "pixeld");
    host.run("stat -c %G /run/pixeld/admin.sock | grep -qx pixeld-admin");
    host.run("journalctl --list-catalog | grep -q 'A reload of pixeld was refused'");
    assert_eq!(host.run("rpm --verify --nodeps pixeld").stdout, "", "all files are as packaged");
    let documents = host.run("rpm -q --docfiles pixeld").stdout;
    for name in ["third-party-notices.gz", "pixeld.cdx.json"] {
        assert!(documents.contains(&format!("/usr/share/doc/pixeld/{name}\n")), "{documents}");
    }
    host.reboot();
    host.wait_for("systemctl is-active pixeld.service");
    assert_eq!(post(&host).unwrap(), 200);
}

#[test]
fn rpm_upgrade_and_downgrade_lose_no_request() {
    let host = host_with("old.rpm");
    host.run("systemctl start pixeld");
    host.write("/etc/pixeld/pixeld.toml", "workers = 3\n");
    install(&host, "--install", "old-nginx.rpm");
    retry_only(&host, "off");
    let load = load_through_nginx(&host);
    let sockets = starts_of_sockets(&host);
    for (how, package) in
        [("--upgrade", "pixeld.rpm"), ("--upgrade --oldpackage", "old.rpm"), ("--upgrade", "pixeld.rpm")]
    {
        let pid = stats(&host).pid;
        install(&host, how, package);
        assert_ne!(stats(&host).pid, pid, "{how} {package}: the service was restarted");
        assert_eq!(mode_of_http_socket(&host), "660 pixeld-proxy", "{how} {package}");
        load.wait_for_answers(100);
    }
    assert_eq!(host.run("rpm -q --qf '%{VERSION}' pixeld").stdout, version());
    let report = load.stop();
    report.assert_all_ok();
    assert_eq!(starts_of_sockets(&host), sockets, "the sockets were left alone");
    assert_eq!(stats(&host).ok, report.ok(), "each is counted, and once: {report}");
    assert_eq!(json(&host, "pixeldctl stats --json")["process"]["starts"], 4);
    assert_eq!(host.read("/etc/pixeld/pixeld.toml"), "workers = 3\n");
    assert_eq!(host.run("systemctl --failed --plain --no-legend").stdout, "");
}

#[test]
fn rpm_upgrade_keeps_the_admin_socket_as_it_was() {
    let host = host_with("old.rpm");
    host.run("systemctl start pixeld");
    install(&host, "--upgrade", "pixeld.rpm");
    host.run("systemctl stop pixeld.socket && systemctl start pixeld && pixeldctl drain && pixeldctl resume");

    install(&host, "--upgrade --oldpackage", "old.rpm");
    host.run("systemctl disable --now --quiet pixeld-admin.socket");
    for options in ["--upgrade", "--upgrade --force"] {
        install(&host, options, "pixeld.rpm");
        super::assert_admin_socket_is_off(&host);
    }
}

#[test]
fn rpm_upgrade_with_faulty_config_restarts_nothing() {
    let host = host_with("old.rpm");
    host.run("systemctl start pixeld");
    let pid = stats(&host).pid;
    host.write("/etc/pixeld/pixeld.toml", "workers = 0\n");
    let output = host.run("rpm --nodeps --upgrade /root/pixeld.rpm");
    assert!(output.stderr.contains("/etc/pixeld/pixeld.toml:1: workers: 0 workers"), "{output}");
    assert!(output.stderr.contains("was not restarted"), "{output}");
    assert_eq!(stats(&host).pid, pid);
}

#[test]
fn rpm_upgrade_checks_config_as_the_unit_user() {
    let host = host_with("pixeld.rpm");
    host.run("systemctl start pixeld");
    let pid = stats(&host).pid;
    let file = "/etc/pixeld/pixeld.toml.d/50.toml";
    host.run("mkdir -p /etc/pixeld/pixeld.toml.d && chmod 0755 /etc/pixeld/pixeld.toml.d");
    host.run(&format!("umask 077 && echo 'workers = 1' >{file} && pixeld --check"));
    // rpm runs the script of the version that it replaces, so this one is replaced by itself.
    let output = host.run("rpm --nodeps --reinstall /root/pixeld.rpm");
    assert!(output.stderr.contains(&format!("{file}: cannot be read by user pixeld (uid ")), "{output}");
    assert!(output.stderr.contains("was not restarted"), "{output}");
    assert_eq!(stats(&host).pid, pid);
    host.run(&format!("chmod 0644 {file}"));
    install(&host, "--reinstall", "pixeld.rpm");
    assert_ne!(stats(&host).pid, pid);
}

#[test]
fn rpm_erase_ends_all_and_keeps_changed_files() {
    let host = host_with("pixeld.rpm");
    host.run(
        "systemctl enable --quiet pixeld-metrics.timer && systemctl enable --now --quiet pixeld-tcp.socket",
    );
    host.run("systemctl start pixeld");
    host.write("/etc/pixeld/pixeld.toml", "workers = 2\n");
    install(&host, "--install", "pixeld-nginx.rpm");
    host.run("rpm --erase pixeld-nginx && nginx -t");
    let loads = [host.unix(HTTP), std::net::SocketAddr::from(([127, 0, 0, 1], 8000)).into()]
        .map(|target: crate::harness::Endpoint| host.client().load(Load::on(target)));
    for load in &loads {
        load.wait_for_answers(100);
    }
    let output = host.run("rpm --nodeps --erase pixeld");
    for load in loads {
        let report = load.stop();
        assert!(report.errors > 0, "requests came until after the end: {report}");
        assert_eq!(report.ok(), report.answered(), "what was answered was answered well: {report}");
    }
    // As rpm has it: what an administrator has changed stays, under another name.
    assert!(
        output.stderr.contains("/etc/pixeld/pixeld.toml saved as /etc/pixeld/pixeld.toml.rpmsave"),
        "{output}"
    );
    let units = host.run("systemctl list-units --plain --no-legend --state=active 'pixeld*'").stdout;
    assert_eq!(units, "");
    host.run("! pgrep -x pixeld");
    let left = host.run("find /etc /run /usr /var -xdev -name '*pixeld*' ! -path '/run/systemd/*'").stdout;
    let left: Vec<_> = left.lines().filter(|path| !path.starts_with("/var/lib/rpm/")).collect();
    let log = "/var/log/nginx/pixeld.access.log";
    assert_eq!(left, ["/etc/pixeld", "/etc/pixeld/pixeld.toml.rpmsave", log]);
    host.reboot();
    assert_eq!(host.run("systemctl list-unit-files --no-legend 'pixeld*' || true").stdout, "");
}
