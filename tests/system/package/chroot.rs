//! Packages installed where no systemd runs, as image builders do.

use std::{fs, path::Path, process::Command};

use super::{SOCKETS, deb, mode_of_http_socket, on_both_releases, post, released};
use crate::harness::{Host, Request};

#[test]
fn packages_installed_in_a_chroot_work_after_its_boot() {
    on_both_releases(|release| {
        let host = Host::builder("c5").release(release).before_boot(install_all).boot();
        for unit in SOCKETS.into_iter().chain(["pixeld.service", "nginx.service"]) {
            host.wait_for(&format!("systemctl is-active {unit}"));
        }
        assert_eq!(post(&host).unwrap(), 200);
        assert_eq!(mode_of_http_socket(&host), "660 pixeld-proxy");
        let nginx: std::net::SocketAddr = "127.0.0.1:80".parse().unwrap();
        let answer = host.client().send(nginx, &Request::pixel(super::PIXEL)).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        host.run("pixeldctl drain");
        assert_eq!(host.run("systemctl --failed --plain --no-legend").stdout, "");
    });
}

/// The release before, and upgrades from it: in a bare chroot, and in a container without an init system.
fn install_all(root: &Path) {
    let names = ["pixeld", "pixeld-nginx"];
    fs::remove_file(root.join("etc/nginx/sites-enabled/default")).unwrap();
    for package in names.map(|name| released("deb", &format!("{name}_"))) {
        dpkg(&["chroot"], root, &package);
    }
    for inside in [&["chroot"][..], &["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--root"]] {
        for package in names.map(deb) {
            let printed = dpkg(inside, root, &package);
            let words = ["warning", "error", "fail", "cannot", "not found", "unable", "no such"];
            assert!(words.iter().all(|word| !printed.contains(word)), "{inside:?}: {printed}");
        }
    }
    run(Command::new("systemctl").arg("--root").arg(root).args(["enable", "nginx"]));
}

/// Has dpkg install a package in a root folder; returns what it prints in lower case.
fn dpkg(inside: &[&str], root: &Path, package: &Path) -> String {
    fs::copy(package, root.join("root/package.deb")).unwrap();
    let [program, options @ ..] = inside else { unreachable!("there is a program") };
    let mut command = Command::new(program);
    command.args(options).arg(root).args(["dpkg", "-i", "/root/package.deb"]);
    run(command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("start a program");
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).to_lowercase();
    assert!(output.status.success(), "{command:?}: {printed}");
    printed
}
