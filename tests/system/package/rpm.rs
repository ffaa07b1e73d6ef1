//! The packages for Amazon Linux, installed by dnf from the repository, on a Debian with systemd and dnf.
//! That shows what the scripts and the files do, and neither SELinux nor another systemd.

use std::path::PathBuf;

use super::{
    CONFIG, HTTP, OLD_CONFIG, SOCKETS, built, load_through_nginx, mode_of_http_socket, post, property,
    release_before, repository, starts_of_sockets, version,
};
use crate::harness::{
    Host, Load, Output, Release,
    deployment::{json, retry_only, stats},
};

/// Where `make rpm` has put a package.
pub fn rpm(name: &str) -> PathBuf {
    let architecture = if name == "pixeld-nginx" { "noarch" } else { std::env::consts::ARCH };
    built("rpm", "generate-rpm", &format!("{name}-{}-1.{architecture}", version()))
}

/// A host with the repository and with packages from it, such as `pixeld-0.1.0`.
fn host_with(packages: &str) -> Host {
    let host = Host::builder("c5").release(Release::TrixieDnf).boot();
    host.run("rm /etc/nginx/sites-enabled/default");
    let repository = repository::Repository::of_rpms();
    repository::serve(&host, repository.files());
    // rpm knows none of Debian's packages: one stands for what they provide.
    for (index, package) in repository.packages("rpm").iter().enumerate() {
        host.copy(package, &format!("/root/{index}.rpm"));
    }
    host.write("/root/provide", PROVIDE);
    host.run("cd /root && sh provide");
    host.run(&format!("curl -sSfo {SOURCE} --create-dirs {}/pixeld.repo", repository::URL));
    dnf(&host, &format!("install {packages}"));
    host
}

fn host_with_release() -> Host {
    host_with(&format!("pixeld-{}", release_before().0))
}

const SOURCE: &str = "/etc/yum.repos.d/pixeld.repo";

/// Has rpm install a package that provides what the others require.
const PROVIDE: &str = r"
requires=$(rpm -qp --requires *.rpm | grep -v -e '^rpmlib(' -e '^pixeld' -e '^systemd' | cut -d ' ' -f 1 | sort -u)
{
    printf '%s\n' 'Name: debian' 'Version: 13' 'Release: 1' 'Summary: Debian' 'License: none' 'BuildArch: noarch'
    printf 'Provides: %s\n' 'systemd = 257' $requires
    printf '%%description\nDebian\n%%files\n'
} >debian.spec
rpmbuild --quiet -bb debian.spec && rpm --install rpmbuild/RPMS/noarch/debian-13-1.noarch.rpm
";

/// Has dnf do this, of which nothing goes wrong.
#[track_caller]
fn dnf(host: &Host, command: &str) -> Output {
    let output = host.run(&format!("dnf --assumeyes --setopt=install_weak_deps=0 {command}"));
    super::assert_no_complaint(&output);
    output
}

#[test]
fn installed_rpm_serves_only_after_a_start() {
    let host = host_with("pixeld");
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
    host.run("journalctl --list-catalog | grep -q 'Reload of pixeld rejected'");
    assert_eq!(host.run("rpm --verify --nodeps pixeld").stdout, "", "all files are as packaged");
    let documents = host.run("rpm -q --docfiles pixeld").stdout;
    for name in ["third-party-notices.gz", "pixeld.cdx.json", "monitoring/pixeld.rules.yml"] {
        assert!(documents.contains(&format!("/usr/share/doc/pixeld/{name}\n")), "{documents}");
    }
    host.reboot();
    host.wait_for("systemctl is-active pixeld.service");
    assert_eq!(post(&host).unwrap(), 200);

    let files = repository::Repository::of_rpms().files();
    for (port, ending) in [(8001, "repodata/repomd.xml"), (8002, ".rpm")] {
        repository::serve_at(&host, port, repository::with_another_byte(&files, ending));
        host.run(&format!(
            "sed -i 's,^baseurl=.*,baseurl=http://127.0.0.1:{port}/rpm,' {SOURCE} && dnf clean all"
        ));
        let output = host.try_run("dnf --assumeyes reinstall pixeld");
        assert_eq!(output.status, 1, "{ending}: {output}");
    }
}

#[test]
fn rpm_upgrade_and_downgrade_lose_no_request() {
    let (released, _) = release_before();
    let host = host_with(&format!("pixeld-{released} pixeld-nginx-{released}"));
    host.write(CONFIG, OLD_CONFIG);
    host.run("systemctl start pixeld");
    retry_only(&host, "off");
    let load = load_through_nginx(&host);
    let sockets = starts_of_sockets(&host);
    for command in ["upgrade", "downgrade", "upgrade"] {
        let pid = stats(&host).pid;
        dnf(&host, &format!("{command} pixeld"));
        assert_ne!(stats(&host).pid, pid, "{command}: the service was restarted");
        assert_eq!(mode_of_http_socket(&host), "660 pixeld-proxy", "{command}");
        assert_eq!(host.read(CONFIG), OLD_CONFIG, "{command}");
        assert_eq!(json(&host, "pixeldctl workers --json")["workers"].as_array().unwrap().len(), 3);
        load.wait_for_answers(100);
    }
    assert_eq!(host.run("rpm -q --qf '%{VERSION}' pixeld").stdout, version());
    let report = load.stop();
    report.assert_all_ok();
    assert_eq!(starts_of_sockets(&host), sockets, "the sockets were left alone");
    assert_eq!(stats(&host).ok, report.ok(), "each is counted, and once: {report}");
    assert_eq!(json(&host, "pixeldctl stats --json")["process"]["starts"], 4);
    assert_eq!(host.run("systemctl --failed --plain --no-legend").stdout, "");
}

#[test]
fn rpm_upgrade_keeps_the_admin_socket_as_it_was() {
    let host = host_with_release();
    host.run("systemctl start pixeld");
    dnf(&host, "upgrade pixeld");
    host.run("systemctl stop pixeld.socket && systemctl start pixeld && pixeldctl drain && pixeldctl resume");

    dnf(&host, "downgrade pixeld");
    host.run("systemctl disable --now --quiet pixeld-admin.socket");
    for command in ["upgrade", "reinstall"] {
        dnf(&host, &format!("{command} pixeld"));
        super::assert_admin_socket_is_off(&host);
    }
}

#[test]
fn rpm_upgrade_with_faulty_config_restarts_nothing() {
    let host = host_with_release();
    host.run("systemctl start pixeld");
    let pid = stats(&host).pid;
    host.write("/etc/pixeld/pixeld.toml", "workers = 0\n");
    let output = host.run("dnf --assumeyes upgrade pixeld");
    assert!(output.stdout.contains("/etc/pixeld/pixeld.toml:1: workers: 0 "), "{output}");
    assert!(output.stdout.contains("was not restarted"), "{output}");
    assert_eq!(stats(&host).pid, pid);
}

#[test]
fn rpm_upgrade_checks_config_as_the_unit_user() {
    let host = host_with("pixeld");
    host.run("systemctl start pixeld");
    let pid = stats(&host).pid;
    let file = "/etc/pixeld/pixeld.toml.d/50.toml";
    host.run("mkdir -p /etc/pixeld/pixeld.toml.d && chmod 0755 /etc/pixeld/pixeld.toml.d");
    host.run(&format!("umask 077 && echo 'workers = 1' >{file} && pixeld --check"));
    // rpm runs the script of the version that it replaces, so this one is replaced by itself.
    let output = host.run("dnf --assumeyes reinstall pixeld");
    assert!(output.stdout.contains(&format!("{file}: cannot be read by user pixeld (uid ")), "{output}");
    assert!(output.stdout.contains("was not restarted"), "{output}");
    assert_eq!(stats(&host).pid, pid);
    host.run(&format!("chmod 0644 {file}"));
    dnf(&host, "reinstall pixeld");
    assert_ne!(stats(&host).pid, pid);
}

#[test]
fn rpm_erase_ends_all_and_keeps_changed_files() {
    let host = host_with("pixeld");
    host.run(
        "systemctl enable --quiet pixeld-metrics.timer && systemctl enable --now --quiet pixeld-tcp.socket",
    );
    host.run("systemctl start pixeld");
    host.write("/etc/pixeld/pixeld.toml", "workers = 2\n");
    dnf(&host, "install pixeld-nginx");
    host.run("dnf --assumeyes remove pixeld-nginx && nginx -t");
    let loads = [host.unix(HTTP), std::net::SocketAddr::from(([127, 0, 0, 1], 8000)).into()]
        .map(|target: crate::harness::Endpoint| host.client().load(Load::on(target)));
    for load in &loads {
        load.wait_for_answers(100);
    }
    let output = host.run("dnf --assumeyes remove pixeld");
    for load in loads {
        let report = load.stop();
        assert!(report.errors > 0, "requests came until after the end: {report}");
        assert_eq!(report.ok(), report.answered(), "what was answered was answered well: {report}");
    }
    // As rpm has it: what an administrator has changed stays, under another name.
    assert!(
        output.stdout.contains("/etc/pixeld/pixeld.toml saved as /etc/pixeld/pixeld.toml.rpmsave"),
        "{output}"
    );
    let units = host.run("systemctl list-units --plain --no-legend --state=active 'pixeld*'").stdout;
    assert_eq!(units, "");
    host.run("! pgrep -x pixeld");
    let left = host.run("find /etc /run /usr /var -xdev -name '*pixeld*' ! -path '/run/systemd/*'").stdout;
    let of_dnf = |path: &str| path == SOURCE || path.starts_with("/var/cache/dnf/");
    let left: Vec<_> = left.lines().filter(|path| !of_dnf(path)).collect();
    assert_eq!(left, ["/etc/pixeld", "/etc/pixeld/pixeld.toml.rpmsave", "/var/log/nginx/pixeld"]);
    host.reboot();
    assert_eq!(host.run("systemctl list-unit-files --no-legend 'pixeld*' || true").stdout, "");
}
