//! The Debian packages, on hosts that have never seen pixeld.

mod arm64;
mod chroot;
mod contents;
mod drained;
mod readme;
mod release;
mod repository;
mod rpm;
mod site;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, thread};

use crate::harness::{
    Host, Load, LoadHandle, Output, PIXEL, Release, Request, cache,
    deployment::{json, stats},
};

const RELEASES: [Release; 2] = [Release::Trixie, Release::Bookworm];
const SOCKETS: [&str; 3] = ["pixeld.socket", "pixeld-control.socket", "pixeld-admin.socket"];
const HTTP: &str = "/run/pixeld/http.sock";
const CONFIG: &str = "/etc/pixeld/pixeld.toml";
/// Settings that every version accepts; this key has another name since 0.2.0.
const OLD_CONFIG: &str = "workers = 3\n\n[limits]\nhead = \"24KiB\"\n";

/// Where `make deb` has put a package for this machine.
pub fn deb(name: &str) -> PathBuf {
    let architecture = match name {
        "pixeld-nginx" => "all",
        _ if cfg!(target_arch = "aarch64") => "arm64",
        _ => "amd64",
    };
    built("deb", "debian", &format!("{name}_{}_{architecture}", version()))
}

/// This version as packages spell it.
fn version() -> String {
    env!("CARGO_PKG_VERSION").replace('-', "~")
}

/// Version and commit of the release that upgrades begin with.
fn release_before() -> (&'static str, &'static str) {
    let line = include_str!("../../../packaging/released").lines().rfind(|line| !line.starts_with('#'));
    line.and_then(|line| line.split_once(' ')).expect("a release")
}

/// Where `make released-packages` has put its file of this kind and beginning.
fn released(kind: &str, start: &str) -> PathBuf {
    let cache = env::var_os("PIXELD_RELEASES").map_or_else(|| cache().join("releases"), PathBuf::from);
    let (version, commit) = release_before();
    find(kind, &cache.join(format!("{version}-{}", &commit[..12])), &format!("{start}{version}"))
}

/// The file of this kind and beginning, which make has put into a folder of Cargo's.
fn built(kind: &str, folder: &str, start: &str) -> PathBuf {
    let target = || env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let here = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(target());
    find(kind, &env::var_os("PIXELD_PACKAGES").map_or_else(here, PathBuf::from).join(folder), start)
}

fn find(kind: &str, folder: &Path, start: &str) -> PathBuf {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let found = entries
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(start)));
    let missing =
        || panic!("{} has no {start}*: run `make deb rpm released-packages` first", folder.display());
    found.filter(|path| path.extension().is_some_and(|extension| extension == kind)).unwrap_or_else(missing)
}

/// A host with the package, and that of the release before beside it.
fn host_with_package(release: Release) -> Host {
    let host = host_with_files(release);
    install(&host, "pixeld.deb");
    host
}

/// A host with the package of the release before, and that of this version beside it.
fn host_with_release(release: Release) -> Host {
    let host = host_with_files(release);
    install(&host, "old.deb");
    host
}

fn host_with_files(release: Release) -> Host {
    let host = Host::builder("c5").release(release).boot();
    for name in ["pixeld", "pixeld-nginx"] {
        host.copy(deb(name), &format!("/root/{name}.deb"));
        let old = name.replace("pixeld", "old");
        host.copy(released("deb", &format!("{name}_")), &format!("/root/{old}.deb"));
    }
    host
}

/// Keeps configuration files that were changed, which dpkg asks about otherwise.
const DPKG: &str = "dpkg --force-confold -i";

/// Has dpkg install a package, of which nothing goes wrong.
#[track_caller]
fn install(host: &Host, package: &str) {
    assert_no_complaint(&host.run(&format!("{DPKG} /root/{package}")));
}

/// That a package manager and the scripts of packages print nothing of a fault, apart from what a downgrade and
/// [`OLD_CONFIG`] bring with them.
#[track_caller]
fn assert_no_complaint(output: &Output) {
    let mut said = format!("{}{}", output.stdout, output.stderr).to_lowercase();
    let kept = format!("warning: {CONFIG} created as {CONFIG}.rpmnew");
    for expected in ["dpkg: warning: downgrading", &kept, &format!("warning: {CONFIG}:4: limits.head")] {
        said = said.replace(expected, "");
    }
    // A deprecated key is one "which the next version rejects".
    let complaints = ["warning", "error", "fail", "refuse", "rejects the configuration"];
    assert!(complaints.iter().all(|words| !said.contains(words)), "{output}");
}

fn post(host: &Host) -> std::io::Result<u16> {
    host.client().send(host.unix(HTTP), &Request::pixel(PIXEL)).map(|response| response.status)
}

fn mode_of_http_socket(host: &Host) -> String {
    host.run(&format!("stat -c '%a %G' {HTTP}")).stdout.trim().into()
}

fn property(host: &Host, unit: &str, name: &str) -> String {
    host.run(&format!("systemctl show -P {name} {unit}")).stdout.trim().into()
}

/// Properties that change with each start of a socket.
fn starts_of_sockets(host: &Host) -> Vec<String> {
    SOCKETS.map(|unit| property(host, unit, "InvocationID")).into()
}

/// nginx is reloaded meanwhile, and closes the connections that it keeps.
fn load_through_nginx(host: &Host) -> LoadHandle {
    let nginx: SocketAddr = "127.0.0.1:80".parse().unwrap();
    // apt takes its time on a busy machine.
    let duration = std::time::Duration::from_secs(240);
    let load = host.client().load(Load { comes_again: true, duration, ..Load::on(nginx) });
    load.wait_for_answers(100);
    load
}

/// Does this on hosts of both releases at a time.
fn on_both_releases(test: fn(Release)) {
    thread::scope(|scope| {
        for tested in RELEASES.map(|release| scope.spawn(move || test(release))) {
            tested.join().unwrap();
        }
    });
}

#[test]
fn installed_deb_serves_and_survives_a_boot() {
    on_both_releases(|release| {
        let host = repository::host_with_repository(release);
        repository::install_newest(&host);
        assert_eq!(post(&host).unwrap(), 200);
        for unit in SOCKETS.into_iter().chain(["pixeld.service"]) {
            assert_eq!(host.run(&format!("systemctl is-enabled {unit}")).stdout, "enabled\n", "{unit}");
        }
        for unit in ["pixeld-tcp.socket", "pixeld-metrics.timer"] {
            assert!(!host.try_run(&format!("systemctl is-enabled {unit}")).success(), "{unit} is enabled");
        }
        assert_eq!(property(&host, "pixeld", "User"), "pixeld");
        host.run("journalctl --list-catalog | grep -q 'Reload of pixeld rejected'");
        host.run("stat -c %G /run/pixeld/admin.sock | grep -qx pixeld-admin");
        assert_eq!(mode_of_http_socket(&host), "660 pixeld-proxy");
        // As the README has it for the second host, on one where the service runs.
        host.run("systemctl enable --quiet pixeld-tcp.socket && systemctl restart pixeld");
        host.run("systemctl is-active pixeld-tcp.socket");
        host.reboot();
        host.wait_for("systemctl is-active pixeld.service pixeld-tcp.socket");
        assert_eq!(post(&host).unwrap(), 200);
    });
}

#[test]
fn deb_upgrade_and_downgrade_lose_no_request() {
    on_both_releases(|release| {
        let host = repository::host_with_repository(release);
        let (released, _) = release_before();
        host.run("rm -f /etc/nginx/sites-enabled/default && systemctl start nginx");
        repository::apt_install(&host, &format!("pixeld={released} pixeld-nginx={released}"));
        host.write(CONFIG, OLD_CONFIG);
        site::retry_nothing(&host);
        assert_eq!(mode_of_http_socket(&host), "666 root");
        let load = load_through_nginx(&host);
        let sockets = starts_of_sockets(&host);
        for version in [&version(), released, &version()] {
            let pid = stats(&host).pid;
            repository::apt_install(&host, &format!("pixeld={version}"));
            assert_ne!(stats(&host).pid, pid, "{version}: the service was restarted");
            // An upgrade opens no socket again, so its package changes the one that is open.
            assert_eq!(mode_of_http_socket(&host), "660 pixeld-proxy", "{version}");
            assert_eq!(host.read(CONFIG), OLD_CONFIG, "{version}");
            assert_eq!(json(&host, "pixeldctl workers --json")["workers"].as_array().unwrap().len(), 3);
            load.wait_for_answers(100);
        }
        let report = load.stop();
        report.assert_all_ok();
        assert_eq!(starts_of_sockets(&host), sockets, "the sockets were left alone");
        assert_eq!(stats(&host).ok, report.ok(), "each is counted, and once: {report}");
        assert_eq!(json(&host, "pixeldctl stats --json")["process"]["starts"], 4);
        assert_eq!(host.run("systemctl --failed --plain --no-legend").stdout, "");
        host.run("systemctl stop pixeld.socket && systemctl start pixeld && pixeldctl drain");
    });
}

#[test]
fn deb_upgrade_keeps_the_admin_socket_closed() {
    on_both_releases(|release| {
        let host = host_with_release(release);
        host.run("systemctl disable --now --quiet pixeld-admin.socket");
        for _ in 0..2 {
            install(&host, "pixeld.deb");
            assert_admin_socket_is_off(&host);
        }
        host.reboot();
        assert_admin_socket_is_off(&host);
    });
}

#[track_caller]
fn assert_admin_socket_is_off(host: &Host) {
    assert_eq!(post(host).unwrap(), 200);
    assert_eq!(host.run("systemctl is-enabled pixeld.service").stdout, "enabled\n");
    assert_eq!(host.try_run("systemctl is-enabled pixeld-admin.socket").stdout, "disabled\n");
    assert_eq!(property(host, "pixeld-admin.socket", "ActiveState"), "inactive");
    assert_eq!(host.try_run("pixeldctl drain").status, 69);
}

#[test]
fn upgrade_with_another_proxy_keeps_mode_0666() {
    let host = host_with_release(Release::Trixie);
    let proxy = "TCP-LISTEN:9000,bind=127.0.0.1,fork,reuseaddr UNIX-CONNECT:/run/pixeld/http.sock";
    host.run(&format!("systemd-run --quiet --uid=daemon socat {proxy}"));
    host.wait_for("ss -Hltn 'sport = 9000' | grep -q 9000");
    let load = host.client().load(Load::on(SocketAddr::from(([127, 0, 0, 1], 9000))));
    load.wait_for_answers(100);
    let output = host.run("dpkg -i /root/pixeld.deb");
    assert!(output.stderr.contains("user daemon) is connected"), "{output}");
    load.wait_for_answers(100);
    load.stop().assert_all_ok();
    let drop_in = "/etc/systemd/system/pixeld.socket.d/keep-mode-0666.conf";
    assert!(output.stderr.contains(drop_in), "{output}");
    host.reboot();
    assert_eq!(mode_of_http_socket(&host), "666 pixeld-proxy");

    // As the drop-in says.
    host.run(&format!("/usr/libexec/pixeld/proxy-group daemon && rm {drop_in} && systemctl daemon-reload"));
    host.run("/usr/libexec/pixeld/proxy-group");
    assert_eq!(mode_of_http_socket(&host), "660 pixeld-proxy");
    assert_eq!(post(&host).unwrap(), 200);
}

#[test]
fn deb_upgrade_keeps_operator_changes() {
    let host = host_with_release(Release::Trixie);
    host.write("/etc/pixeld/pixeld.toml", "workers = 3\n");
    host.run("systemctl disable --quiet pixeld.service && systemctl stop pixeld.service");
    host.run("systemctl enable --quiet pixeld-metrics.timer");
    install(&host, "pixeld.deb");
    assert_eq!(host.read("/etc/pixeld/pixeld.toml"), "workers = 3\n");
    assert_eq!(host.try_run("systemctl is-enabled pixeld.service").stdout, "disabled\n");
    assert_eq!(host.run("systemctl is-enabled pixeld-metrics.timer").stdout, "enabled\n");
    assert_eq!(property(&host, "pixeld.service", "ActiveState"), "inactive");
}

#[test]
fn deb_upgrade_with_faulty_config_restarts_nothing() {
    let host = host_with_release(Release::Trixie);
    assert_eq!(post(&host).unwrap(), 200);
    let pid = stats(&host).pid;
    host.write("/etc/pixeld/pixeld.toml", "workers = 0\n");
    let output = host.run(&format!("{DPKG} /root/pixeld.deb"));
    assert!(output.stderr.contains("/etc/pixeld/pixeld.toml:1: workers: 0 "), "{output}");
    assert!(output.stderr.contains("was not restarted"), "{output}");
    assert_eq!(stats(&host).pid, pid);
    host.write("/etc/pixeld/pixeld.toml", "workers = 1\n");
    install(&host, "pixeld.deb");
    assert_ne!(stats(&host).pid, pid);
}

/// The daemon cannot read a file that only root may read.
#[test]
fn deb_upgrade_checks_config_as_the_unit_user() {
    let host = host_with_release(Release::Trixie);
    site::install(&host, "old-nginx.deb");
    let load = load_through_nginx(&host);
    let pid = stats(&host).pid;
    let file = "/etc/pixeld/pixeld.toml.d/50.toml";
    host.run("mkdir -p /etc/pixeld/pixeld.toml.d && chmod 0755 /etc/pixeld/pixeld.toml.d");
    host.run(&format!("umask 077 && echo 'workers = 1' >{file} && pixeld --check"));
    let refuses = |user: &str| {
        let output = host.run("dpkg -i /root/pixeld.deb");
        assert!(output.stderr.contains(&format!("{file}: cannot be read by user {user} (uid ")), "{output}");
        assert!(output.stderr.contains("was not restarted"), "{output}");
        assert_eq!(stats(&host).pid, pid);
    };
    refuses("pixeld");

    let drop_in = "/etc/systemd/system/pixeld.service.d/50.conf";
    let check_with = |settings: &str| {
        host.write(drop_in, format!("[Service]\n{settings}\n"));
        host.run("systemctl daemon-reload");
        host.try_run("/usr/libexec/pixeld/check-config")
    };
    let output = check_with("User=daemon\nGroup=daemon");
    assert!(output.stderr.contains("cannot be read by user daemon"), "{output}");
    refuses("daemon");
    host.run(&format!("chown daemon:adm {file} && chmod 0640 {file}"));
    for settings in ["User=daemon", "User=backup\nSupplementaryGroups=news adm", "User=backup\nGroup=adm"] {
        let output = check_with(settings);
        assert_eq!(output.status, 0, "{settings}: {output}");
    }
    for (settings, user) in [
        ("User=backup\nGroup=", "backup"),
        ("User=another\nGroup=\nDynamicUser=yes", "nobody"),
        // It has no capabilities.
        ("User=\nGroup=", "root"),
    ] {
        let output = check_with(settings);
        assert_eq!(output.status, 78, "{settings}: {output}");
        assert!(output.stderr.contains(&format!("cannot be read by user {user}")), "{output}");
    }
    assert_eq!(check_with("User=another").status, 67);
    let other = "/etc/pixeld/other.toml";
    host.write(other, "workers = 0\n");
    let output =
        check_with(&format!("ExecStart=\nExecStart=/usr/bin/pixeld --sockets=inherited --config {other}"));
    assert!(output.stderr.contains(&format!("{other}:1: workers")), "{output}");

    host.run(&format!("rm {drop_in} && systemctl daemon-reload && chmod 0644 {file}"));
    install(&host, "pixeld.deb");
    assert_ne!(stats(&host).pid, pid);
    load.stop().assert_all_ok();
}

#[test]
fn deb_removal_ends_all_and_purge_leaves_nothing() {
    on_both_releases(|release| {
        let host = host_with_package(release);
        host.write("/etc/pixeld/pixeld.toml.d/mine.toml", "workers = 2\n");
        host.run("systemctl enable --quiet pixeld-tcp.socket pixeld-metrics.timer");
        let load = host.client().load(Load::on(host.unix(HTTP)));
        load.wait_for_answers(100);
        host.run("dpkg -r pixeld");
        let report = load.stop();
        assert!(report.errors > 0, "requests came until after the end: {report}");
        assert_eq!(report.ok(), report.answered(), "what was answered was answered well: {report}");
        let units = host.run("systemctl list-units --plain --no-legend --state=active 'pixeld*'").stdout;
        assert_eq!(units, "");
        host.run("! pgrep -x pixeld && test ! -e /run/pixeld && test -e /etc/pixeld/pixeld.toml");

        // Installed again, it is as it was.
        install(&host, "pixeld.deb");
        assert_eq!(post(&host).unwrap(), 200);
        assert_eq!(json(&host, "pixeldctl workers --json")["workers"].as_array().unwrap().len(), 2);

        host.run("dpkg -P pixeld");
        let left =
            host.run("find /etc /run /usr /var -xdev -name '*pixeld*' ! -path '/run/systemd/*'").stdout;
        assert_eq!(left, "");
        host.reboot();
        assert_eq!(host.run("systemctl list-unit-files --no-legend 'pixeld*' || true").stdout, "");
    });
}

#[test]
fn programs_need_no_newer_glibc_than_amazon_linux() {
    let folder = tempfile::tempdir().unwrap();
    let unpack = Command::new("dpkg-deb").arg("-x").arg(deb("pixeld")).arg(folder.path()).status();
    assert!(unpack.expect("start dpkg-deb").success());
    for program in ["pixeld", "pixeldctl"] {
        let path = folder.path().join("usr/bin").join(program);
        let output = Command::new("objdump").arg("-T").arg(path).output().expect("start objdump");
        let symbols = String::from_utf8(output.stdout).expect("symbols are text");
        let versions = symbols.split("GLIBC_2.").skip(1).map(|rest| {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            rest[..digits].parse::<u32>().expect("a number")
        });
        let newest = versions.max().expect("programs use glibc");
        assert!(
            newest <= 34,
            "{program} needs glibc 2.{newest}, and Amazon Linux 2023 has 2.34: see NO_LATER in the Makefile"
        );
    }
}
