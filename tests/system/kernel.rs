//! Settings of the kernel that administrators change.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::harness::{Connection, Host, PIXEL, Request, SOON, deployment::json, program, wait_for_some};

/// Values that hardened hosts set, from Linux 6.3 on. 1: memory files are not executable. 2: requests for executable ones
/// fail, too.
#[test]
fn counters_and_connections_stay_with_memfd_noexec() {
    let host = Host::builder("c5").with_pixeld().boot();
    if !host.try_run("test -e /proc/sys/vm/memfd_noexec").success() {
        eprintln!("skipped: this kernel has no vm.memfd_noexec");
        return;
    }
    host.run("mount -o remount,bind,rw /proc/sys && systemctl start pixeld");
    let mut connection = host.client().connect(host.unix("/run/pixeld/http.sock")).unwrap();
    for noexec in [1, 2] {
        host.run(&format!("sysctl -qw vm.memfd_noexec={noexec}"));
        ask(&mut connection);
        // The counters of before, and then new ones.
        host.run("systemctl restart pixeld");
        ask(&mut connection);
        let stats = json(&host, "pixeldctl stats --json");
        assert_eq!(
            (&stats["process"]["starts"], &stats["requests"]["ok"]),
            (&2.into(), &2.into()),
            "{stats:#}"
        );
        host.run("systemctl stop pixeld.socket && systemctl start pixeld");
        connection = host.client().connect(host.unix("/run/pixeld/http.sock")).unwrap();
    }
    let journal = host.run("journalctl -u pixeld -o cat -p warning").stdout;
    assert_eq!(journal, "");
}

#[track_caller]
fn ask(connection: &mut Connection) {
    assert_eq!(connection.send(&Request::pixel(PIXEL)).unwrap().status, 200);
}

/// A group of version 1 for one controller, with a pixeld in it. Dropping it ends both.
struct Group {
    path: String,
    daemon: Option<Child>,
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        let _ = fs::remove_dir(&self.path);
    }
}

/// As on hosts before systemd 256. If this machine has only control groups of version 2, the tests of drop-ins cover this.
#[test]
fn auto_workers_heed_cgroup_v1_quota_and_cpuset() {
    for (controller, settings) in [
        ("cpu", &[("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "100000")][..]),
        ("cpuset", &[("cpuset.mems", "0"), ("cpuset.cpus", "0")]),
    ] {
        let root = Path::new("/sys/fs/cgroup").join(controller);
        if !root.join("cgroup.procs").exists() || root.join("cgroup.controllers").exists() {
            continue;
        }
        let path = root.join(format!("pixeld-{}", std::process::id())).display().to_string();
        fs::create_dir(&path).unwrap();
        let mut group = Group { path, daemon: None };
        for (file, value) in settings {
            fs::write(format!("{}/{file}", group.path), value).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::write(
            at("pixeld.toml"),
            format!(
                "[listen]\nhttp = [\"unix:{}\"]\ncontrol = \"unix:{}\"\nadmin = \"unix:{}\"\n",
                at("http.sock"),
                at("control.sock"),
                at("admin.sock")
            ),
        )
        .unwrap();
        let start = "echo $$ > \"$0\"/cgroup.procs && exec \"$@\"";
        let daemon = Command::new("sh")
            .args(["-c", start, &group.path])
            .arg(program("pixeld"))
            .args(["--config", &at("pixeld.toml")])
            .stdin(Stdio::null())
            .stderr(fs::File::create(at("log")).unwrap())
            .spawn()
            .unwrap();
        group.daemon = Some(daemon);
        let workers = wait_for_some("pixeld answers", SOON, || {
            let ask = Command::new(program("pixeldctl"))
                .args(["--socket", &at("control.sock"), "workers", "--json"])
                .output()
                .unwrap();
            serde_json::from_slice::<serde_json::Value>(&ask.stdout).ok()
        });
        assert_eq!(workers["workers"].as_array().unwrap().len(), 1, "{controller}: {workers:#}");
    }
}
