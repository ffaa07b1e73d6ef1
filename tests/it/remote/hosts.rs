use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Daemon, PIXELDCTL, captured, eventually, stderr, stdout};

/// Hosts as ssh knows them: each is a script that gets what it is to run as its arguments.
pub struct Hosts(TempDir);

/// Plays ssh: takes its command line apart as ssh would, and runs the rest on a "host".
const SSH: &str = r#"#!/bin/sh
here=${0%/*}
if [ "$1" != -xT ] || [ "$2" != -- ]; then echo "ssh: unexpected: $*" >&2; exit 99; fi
host=$3; shift 3
printf '%s: %s\n' "$host" "$*" >> "$here/log"
echo $$ >> "$here/pids"
if [ ! -e "$here/host $host" ]; then echo "ssh: Could not resolve hostname $host" >&2; exit 255; fi
. "$here/host $host"
"#;

impl Hosts {
    pub fn new() -> Self {
        let hosts = Self(tempfile::tempdir().unwrap());
        fs::write(hosts.ssh(), SSH).unwrap();
        fs::set_permissions(hosts.ssh(), PermissionsExt::from_mode(0o755)).unwrap();
        hosts
    }

    /// Two hosts with a daemon each.
    pub fn with_daemons(c5: &Daemon, t2: &Daemon) -> Self {
        Self::new().daemon("c5", c5).daemon("t2", t2)
    }

    /// A host where `script` runs whatever is asked for.
    pub fn script(self, host: &str, script: &str) -> Self {
        fs::write(self.0.path().join(format!("host {host}")), script).unwrap();
        self
    }

    /// A host whose pixeldctl finds this daemon.
    pub fn daemon(self, host: &str, daemon: &Daemon) -> Self {
        self.socket(host, &daemon.admin_socket())
    }

    /// A host whose pixeldctl looks for its daemon at this socket.
    pub fn socket(self, host: &str, socket: &Path) -> Self {
        let script = format!("shift\nPIXELDCTL_SOCKET='{}' exec '{PIXELDCTL}' \"$@\"\n", socket.display());
        self.script(host, &script)
    }

    fn ssh(&self) -> PathBuf {
        self.0.path().join("ssh")
    }

    /// What ssh was asked for so far: `HOST: COMMAND`.
    pub fn asked(&self) -> Vec<String> {
        let log = fs::read_to_string(self.0.path().join("log")).unwrap_or_default();
        let mut lines: Vec<_> = log.lines().map(String::from).collect();
        lines.sort();
        lines
    }

    /// Ends what a host has left in the background, whose process it wrote to `$here/left`.
    pub fn end_what_is_left(&self) {
        let left = fs::read_to_string(self.0.path().join("left")).unwrap();
        kill(Pid::from_raw(left.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
    }

    /// Waits until no ssh is left of those that were started.
    pub fn expect_no_ssh_left(&self) {
        let pids = fs::read_to_string(self.0.path().join("pids")).unwrap();
        assert!(!pids.is_empty());
        for pid in pids.lines() {
            eventually("the end of ssh", || {
                let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                (state.is_empty() || state.contains(") Z ")).then_some(())
            });
        }
    }

    /// pixeldctl, which uses this ssh. Without `-H` it finds no daemon.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PIXELDCTL);
        command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").env("PIXELDCTL_SSH", self.ssh());
        command.env("PIXELDCTL_SOCKET", self.0.path().join("nobody.sock"));
        command
    }

    pub fn ctl(&self, arguments: &[&str]) -> Output {
        captured(&mut self.command(arguments))
    }

    /// What pixeldctl prints; it has to succeed, and to say nothing on stderr.
    pub fn text(&self, arguments: &[&str]) -> String {
        let output = self.ctl(arguments);
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    }

    /// As [`Self::text`], as JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.text(&[arguments, &["--json"]].concat())).unwrap()
    }
}
