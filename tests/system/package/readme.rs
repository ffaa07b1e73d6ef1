//! The installation that README.md and docs/install.md describe, line by line.

use super::{PIXEL, deb, repository};
use crate::harness::{Host, Release, Request};

const README: &str = include_str!("../../../README.md");
const INSTALL: &str = include_str!("../../../docs/install.md");

/// The commands of the README's block that begins with this one.
pub fn block(begin: &str) -> Vec<&'static str> {
    block_of(README, begin)
}

fn block_of(document: &'static str, begin: &str) -> Vec<&'static str> {
    let lines = document.lines().skip_while(|line| line.strip_prefix("    ") != Some(begin));
    let block: Vec<_> = lines.map_while(|line| line.strip_prefix("    ")).collect();
    assert!(!block.is_empty(), "no block begins with {begin}");
    block
}

/// Runs them as root, in a checkout that contains only its packages.
pub fn follow(host: &Host, commands: &[&str]) {
    for command in commands {
        let command = match command.split(" #").next().unwrap().trim() {
            "make deb" => continue,
            // The change that the operator makes in the editor.
            edit if edit.starts_with("sudoedit ") => {
                edit.replace("sudoedit", "sed -i 's/^#server 10.0.0.20:8000/server 10.77.0.20:8000/'")
            }
            command => {
                command.replace("sudo apt install", "DEBIAN_FRONTEND=noninteractive apt-get install --yes")
            }
        };
        let command = command.replace("sudo ", "").replace("ADDRESS", repository::URL);
        host.run(&format!("cd /root && {command}"));
    }
}

#[test]
fn readme_commands_install_both_hosts() {
    let host = repository::host_with_repository(Release::Bookworm);
    repository::install_newest(&host);
    host.run("systemctl is-active pixeld.socket && pixeldctl status");

    // The same version from files.
    for name in ["pixeld", "pixeld-nginx"] {
        let local = deb(name);
        let file = local.file_name().unwrap().to_str().unwrap();
        host.run("mkdir -p /root/target/debian");
        host.copy(&local, &format!("/root/target/debian/{file}"));
    }
    follow(&host, &block_of(INSTALL, "make deb"));
    host.run("systemctl is-active pixeld.socket && pixeldctl status");

    // One host is both, as far as that goes.
    let second: Vec<_> = block("sudo systemctl enable pixeld-tcp.socket");
    follow(&host, &second);
    host.run("systemctl is-active pixeld-tcp.socket");

    follow(&host, &block("sudo apt install nginx"));
    let nginx: std::net::SocketAddr = "127.0.0.1:80".parse().unwrap();
    let answer = host.client().send(nginx, &Request::pixel(PIXEL)).expect("nginx answers");
    assert_eq!(answer.status, 200, "{}", answer.body);
    host.run("grep -q '^server 10.77.0.20:8000 ' /etc/nginx/pixeld-upstreams.conf");
    host.run("grep -q 'worker_connections 8192;' /etc/nginx/nginx.conf");
}
