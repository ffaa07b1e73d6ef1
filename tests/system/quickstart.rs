//! The quick start of the README on Debian 13 with git, curl and sudo, and a clone.
//!
//! Tests reach no network, so Debian's packages come from apt's cache and the crates from this machine's Cargo.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{ECHO, Host, Output, PIXEL, Release, wait_for_some};

/// Where the host finds this machine's crates.
const CRATES: &str = "/opt/crates";
/// For a build of everything, on a machine that does other things too.
const BUILD: Duration = Duration::from_secs(900);
/// The same build, without the optimizations that take most of its time.
const QUICKLY: &str = "CARGO_NET_OFFLINE=true CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0 \
                       CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16";

#[test]
fn quickstart_on_a_clean_host_builds_and_serves() {
    let host = host_with_clone();
    let without_make = in_clone(&host, "make run");
    assert_eq!(without_make.status, 127, "{without_make}");
    succeed(&host, "sudo apt install make");

    let refused = in_clone(&host, "make run");
    assert_eq!(refused.status, 2, "{refused}");
    for program in ["cc", "cargo", "rustc"] {
        assert!(refused.stderr.contains(&format!("\n  {program}: not found; ")), "{refused}");
    }
    let readme = readme_line("sudo apt install ");
    let named = readme.replace(" make ", " ");
    assert!(refused.stderr.contains(&format!("\n  {named}\n")), "not what the README names: {refused}");
    succeed(&host, &readme);

    serve_and_stop(&host);
    install_and_uninstall(&host);
}

/// `make install` and `make install-nginx`, as the README has them, and the end of both.
fn install_and_uninstall(host: &Host) {
    const DANGLING: &str = "find /etc /usr/local -xtype l";

    host.run(
        "DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends nginx-light logrotate",
    );
    let dangling = host.run(DANGLING).stdout;
    host.run("rm -f /etc/nginx/sites-enabled/default && cd /home/alice/pixeld && make install");
    host.run("systemd-sysusers && systemctl daemon-reload && systemctl enable --quiet --now pixeld pixeld-metrics.timer");
    host.run("cd /home/alice/pixeld && make install-nginx && nginx -t && systemctl daemon-reload");
    host.run("systemctl restart nginx && systemctl is-active pixeld-logrotate.timer");
    host.run("ln -s /usr/local/share/pixeld/nginx/pixeld.d/limit-requests.conf /etc/nginx/pixeld.d/");
    let curl = "curl --silent --fail -H 'content-type: application/json' -d @- http://127.0.0.1/pixel";
    host.run(&format!("echo '{PIXEL}' | {curl}"));

    host.run("cd /home/alice/pixeld && make uninstall");
    assert_eq!(host.run("systemctl list-units --plain --no-legend --all 'pixeld*'").stdout, "");
    host.run("! pgrep -x pixeld && nginx -t && systemctl is-active nginx");
    assert_eq!(host.run(DANGLING).stdout, dangling);
    let left = host
        .run("find /etc /usr /run -xdev -name '*pixeld*' ! -path '/etc/nginx/pixeld*' ! -path /etc/pixeld")
        .stdout;
    assert_eq!(left, "/etc/pixeld/pixeld.toml\n");
}

/// Runs `make run`, does what it says, and ends it by what Ctrl-C sends.
fn serve_and_stop(host: &Host) {
    succeed(host, &format!("mkdir -p ~/.cargo/registry && ln -s {CRATES}/* ~/.cargo/registry/"));
    let settings: Vec<_> = QUICKLY.split(' ').map(|setting| format!("--setenv={setting}")).collect();
    host.run(&format!(
        "systemd-run --quiet --unit=by-hand --uid=alice --working-directory=/home/alice/pixeld {} make run",
        settings.join(" ")
    ));
    let said = wait_for_some("it is built", BUILD, || {
        let said = host.run("journalctl --unit=by-hand --output=cat").stdout;
        assert_ne!(host.run("systemctl show -P ActiveState by-hand").stdout, "failed\n", "{said}");
        said.contains("Ctrl-C stops it").then_some(said)
    });
    let (_, hints) = said.split_once("Ctrl-C stops it").unwrap();
    let (curl, stats) = hints.split_once("  target/release/pixeldctl").expect(hints);
    let curl = curl.trim_start_matches("):").trim();
    let answer = wait_for_some("a pixel is answered", Duration::from_secs(20), || {
        Some(in_clone(host, curl)).filter(Output::success)
    });
    assert!(answer.stdout.starts_with("HTTP/1.1 200 OK\r\n") && answer.stdout.ends_with(ECHO), "{answer}");
    let stats = stats.lines().next().unwrap();
    let counted = succeed(host, &format!("target/release/pixeldctl{stats}")).stdout;
    assert!(counted.contains("requests: 1 (1 ok)"), "{counted}");
    let program = host.run("readlink /proc/$(pgrep -x pixeld)/exe").stdout;
    assert_eq!(program, "/home/alice/pixeld/target/release/pixeld\n");

    host.run("systemctl kill --signal=INT by-hand");
    host.wait_for("! systemctl is-active --quiet by-hand");
    host.run("! pgrep -x pixeld && ! systemctl is-failed by-hand");
    assert_eq!(succeed(host, "git status --porcelain").stdout, "", "the clone stays clean");
}

/// A host with a user with sudo and a clone of this checkout, including what is not committed.
fn host_with_clone() -> Host {
    let crates = cargo_home().join("registry");
    let host = Host::builder("fresh")
        .release(Release::TrixieFresh)
        .with_folder(crates.join("cache"), &format!("{CRATES}/cache"))
        .with_folder(crates.join("index"), &format!("{CRATES}/index"))
        // sudo looks for the host's name.
        .hosts_entry("fresh", ([127, 0, 0, 1], 0).into())
        .with_file("/etc/sudoers.d/alice", "alice ALL=(ALL) NOPASSWD: ALL\n")
        // apt cannot ask a test, and the disk is thrown away.
        .with_file("/etc/apt/apt.conf.d/99-test", "APT::Get::Assume-Yes \"true\";\n")
        .with_file("/etc/dpkg/dpkg.cfg.d/99-test", "force-unsafe-io\n")
        .boot();
    host.write("/srv/pixeld.tar", checkout());
    host.run(
        "cd /srv && mkdir pixeld && tar -C pixeld -xf pixeld.tar --no-same-owner && cd pixeld \
         && git init --quiet --initial-branch=main && git add --all \
         && git -c user.name=test -c user.email=test@localhost commit --quiet --message=now \
         && git bundle create --quiet /srv/pixeld.bundle HEAD main",
    );
    host.run("useradd --create-home --shell /bin/bash alice");
    host.run_as("alice", "git clone --quiet /srv/pixeld.bundle /home/alice/pixeld");
    host
}

/// The files that are here and that git does not ignore.
fn checkout() -> Vec<u8> {
    let mut files = Command::new("git")
        // The files may be those of the user who became root for the tests.
        .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("start git");
    let tar = Command::new("tar")
        .args(["--create", "--null", "--no-recursion", "--ignore-failed-read", "--files-from=-"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(files.stdout.take().expect("git's output is a pipe"))
        .output()
        .expect("start tar");
    assert!(files.wait().expect("wait for git").success(), "git lists no files; is this a checkout?");
    assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
    tar.stdout
}

/// The README's first command with this beginning, without its comment.
fn readme_line(start: &str) -> String {
    let readme = include_str!("../../README.md");
    let line = readme.lines().find(|line| line.trim_start().starts_with(start));
    line.and_then(|line| line.split('#').next()).expect(start).trim().into()
}

/// Runs a command in the clone as its owner.
fn in_clone(host: &Host, command: &str) -> Output {
    host.try_run_as("alice", &format!("cd ~alice/pixeld && export HOME=/home/alice && {command}"))
}

#[track_caller]
fn succeed(host: &Host, command: &str) -> Output {
    let output = in_clone(host, command);
    assert!(output.success(), "{command}: {output}");
    output
}

/// `tests/run-all` sets `CARGO_HOME` to that of the user who became root.
fn cargo_home() -> PathBuf {
    let home = || env::home_dir().expect("HOME is set").join(".cargo");
    env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}
