//! The quick start of the README, by somebody who has Debian 13, git, curl and sudo, and a clone.
//!
//! No network of a test leads anywhere, so three things come from this machine: Debian's packages from
//! apt's cache, the crates from Cargo's, and the toolchain that `rustup default stable` would fetch.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{ECHO, Host, Output, Release, wait_for_some};

/// Where the host finds what comes from this machine.
const TOOLCHAIN: &str = "/opt/toolchain";
const CRATES: &str = "/opt/crates";
/// For a build of everything, on a machine that does other things too.
const BUILD: Duration = Duration::from_secs(400);
/// The same build, without the optimizations that take most of its time.
const QUICKLY: &str = "CARGO_NET_OFFLINE=true CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0 \
                       CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16";

#[test]
fn quickstart_on_a_clean_host_builds_and_serves() {
    let host = host_with_clone();
    let without_make = in_clone(&host, "make run");
    assert_eq!(without_make.status, 127, "{without_make}");
    let readme = readme_line("sudo apt install ");
    assert!(readme.split(' ').any(|package| package == "make"), "{readme}");
    succeed(&host, "sudo apt install make");

    let told = refusal(&host);
    for program in ["cc", "cargo", "rustc"] {
        assert!(told.contains(&format!("\n  {program}: not found; ")), "{told}");
    }
    let way = told.lines().find_map(|line| line.strip_prefix("  sudo apt install ")).expect(&told);
    let (packages, then) = way.split_once(" && ").expect("two commands");
    assert_eq!(then, readme_line("rustup default "), "the README says the same");
    let mut both: Vec<_> = packages.split(' ').chain(["make"]).collect();
    both.sort_unstable();
    assert_eq!(format!("sudo apt install {}", both.join(" ")), readme, "the README says the same");
    succeed(&host, &readme);

    let told = refusal(&host);
    assert!(told.contains("cargo: does not run; rustup may have no toolchain yet"), "{told}");
    assert!(told.contains(&format!("\n  {then}\n")), "{told}");
    succeed(&host, &format!("rustup toolchain link stable-here {TOOLCHAIN} && rustup default stable-here"));
    // What the cargo of Debian 13 would say: a stand-in, for it is large.
    succeed(
        &host,
        "mkdir ../old && echo 'echo cargo 1.85.1' | tee ../old/cargo > ../old/rustc && chmod +x ../old/*",
    );
    let old = in_clone(&host, "PATH=../old:$PATH make run");
    assert!(old.stderr.contains("cargo: is of Rust 1.85.1; 1.88 or later is needed"), "{old}");

    serve_and_stop(&host);
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

/// A host with a user who may become root, and who has cloned what is here, committed or not.
fn host_with_clone() -> Host {
    let crates = cargo_home().join("registry");
    let host = Host::builder("fresh")
        .release(Release::TrixieFresh)
        .with_folder(toolchain(), TOOLCHAIN)
        .with_folder(crates.join("cache"), &format!("{CRATES}/cache"))
        .with_folder(crates.join("index"), &format!("{CRATES}/index"))
        // sudo looks for the host's name.
        .hosts_entry("fresh", ([127, 0, 0, 1], 0).into())
        .with_file("/etc/sudoers.d/alice", "alice ALL=(ALL) NOPASSWD: ALL\n")
        // Nobody is there to say yes, and nobody will miss this disk.
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
        // They may be somebody else's, who has become root for the tests.
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

/// The rest of the README's first command that begins so, without its comment.
fn readme_line(start: &str) -> String {
    let readme = include_str!("../../README.md");
    let line = readme.lines().find(|line| line.trim_start().starts_with(start));
    line.and_then(|line| line.split('#').next()).expect(start).trim().into()
}

/// Runs a command in the clone as its owner, who has logged in.
fn in_clone(host: &Host, command: &str) -> Output {
    host.try_run_as("alice", &format!("cd ~alice/pixeld && export HOME=/home/alice && {command}"))
}

#[track_caller]
fn succeed(host: &Host, command: &str) -> Output {
    let output = in_clone(host, command);
    assert!(output.success(), "{command}: {output}");
    output
}

/// What `make run` says where it does not build.
#[track_caller]
fn refusal(host: &Host) -> String {
    let output = in_clone(host, "make run");
    assert_eq!(output.status, 2, "{output}");
    assert!(output.stderr.starts_with("pixeld cannot be built yet:\n"), "{output}");
    output.stderr
}

/// As `tests/run-all` says, which is not root yet, or as cargo and rustc do.
fn cargo_home() -> PathBuf {
    let home = || env::home_dir().expect("HOME is set").join(".cargo");
    env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}

fn toolchain() -> PathBuf {
    env::var_os("PIXELD_TOOLCHAIN").map_or_else(sysroot, PathBuf::from)
}

fn sysroot() -> PathBuf {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().expect("start rustc");
    assert!(output.status.success(), "rustc has no sysroot: {}", String::from_utf8_lossy(&output.stderr));
    Path::new(String::from_utf8_lossy(&output.stdout).trim()).into()
}
