//! What pixeldctl doctor tells of a daemon that was started by hand, on a host whose programs say
//! what the test has them say.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
    thread::available_parallelism,
};

use serde_json::Value;

use crate::support::{Daemon, PIXELDCTL, Setup, captured, code, stderr, stdout};

/// Programs that stand before those of this host.
struct Programs(tempfile::TempDir);

impl Programs {
    /// None of them knows anything.
    fn silent() -> Self {
        let programs = Self(tempfile::tempdir().unwrap());
        for name in ["systemctl", "nginx", "ss", "journalctl", "timedatectl", "df"] {
            programs.say(name, "echo not today >&2; exit 1");
        }
        programs
    }

    /// What a program does, as lines of shell.
    fn say(&self, name: &str, script: &str) {
        let path = self.0.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }

    /// A program that prints this.
    fn print(&self, name: &str, text: &str) {
        self.say(name, &format!("cat <<'end'\n{text}\nend"));
    }

    fn doctor(&self, socket: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(PIXELDCTL);
        command.arg("doctor").args(arguments).env_clear();
        let path = format!("{}:/usr/bin:/bin", self.0.path().display());
        captured(command.env("PIXELDCTL_SOCKET", socket).env("PATH", path))
    }

    fn findings(&self, socket: &Path) -> Vec<Value> {
        let output = self.doctor(socket, &["--json"]);
        let report: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{output:?}"));
        assert_eq!(stderr(&output), "");
        assert_eq!(code(&output), i32::from(report["ok"] == false), "{report:#}");
        report["findings"].as_array().unwrap().clone()
    }
}

fn of<'a>(findings: &'a [Value], check: &str) -> &'a Value {
    findings.iter().find(|finding| finding["check"] == check).expect(check)
}

fn assert_found(findings: &[Value], check: &str, state: &str, part: &str) {
    let finding = of(findings, check);
    assert_eq!(finding["state"], state, "{finding:#}");
    assert!(finding["summary"].as_str().unwrap().contains(part), "{part}: {finding:#}");
}

#[test]
fn doctor_without_a_daemon_has_a_finding() {
    let output = Programs::silent().doctor(Path::new("/nowhere/control.sock"), &[]);
    assert_eq!((code(&output), stderr(&output).as_str()), (1, ""), "{output:?}");
    let text = stdout(&output);
    assert!(text.contains("problem  daemon      pixeld is not running\n"), "{text}");
    assert!(
        text.contains(
            "/nowhere/control.sock
"
        ),
        "{text}"
    );
    assert!(text.contains("fix:  sudo systemctl start pixeld\n"), "{text}");
    assert!(!text.contains('\x1b'), "no colour without a terminal: {text}");
}

#[test]
fn failing_programs_are_quoted_and_skipped() {
    let daemon = Daemon::start("");
    let findings = Programs::silent().findings(&daemon.control_socket());
    assert_found(&findings, "daemon", "ok", &daemon.pid().to_string());
    assert_found(&findings, "sockets", "skipped", "systemctl fails: not today");
    assert_found(&findings, "backlog", "skipped", "ss fails: not today");
    assert_found(&findings, "journal", "skipped", "not the system's pixeld.service");
    assert_found(&findings, "upstreams", "skipped", "nginx fails: not today");
    assert_found(&findings, "exposure", "ok", "no public address");
    assert_found(&findings, "disk", "skipped", "df fails: not today");
    assert_eq!(findings.len(), 19, "{findings:#?}");
}

#[test]
fn drained_daemon_is_not_healthy() {
    let daemon = Daemon::start("");
    daemon.ctl(&["drain"]);
    let findings = Programs::silent().findings(&daemon.control_socket());
    let drained =
        findings.iter().find(|finding| finding["state"] == "warning" && finding["check"] == "daemon");
    let drained = drained.expect("a warning");
    assert!(drained["summary"].as_str().unwrap().contains("is drained"), "{drained}");
    let by = daemon.stats()["drainedBy"]["by"].as_str().unwrap().to_owned();
    assert!(drained["evidence"].as_str().unwrap().contains(&format!("drained by {by} at ")), "{drained}");
    assert_eq!(drained["fix"][0], "pixeldctl resume");
    daemon.ctl(&["resume"]);
    assert_found(&Programs::silent().findings(&daemon.control_socket()), "daemon", "ok", "runs");
    let output = Programs::silent().doctor(&daemon.control_socket(), &[]);
    assert!(!stdout(&output).contains("drained"), "{output:?}");
}

#[test]
fn configuration_that_the_daemon_rejects_is_a_problem() {
    let daemon = Daemon::start("");
    assert_found(&Programs::silent().findings(&daemon.admin_socket()), "config", "ok", "accepts");
    daemon.configure("limits.bodi = 1");
    let findings = Programs::silent().findings(&daemon.admin_socket());
    assert_found(&findings, "config", "problem", "rejects");
    let evidence = of(&findings, "config")["evidence"].as_str().unwrap();
    assert!(evidence.contains(&format!("{}:1: limits.bodi", daemon.config_file().display())), "{evidence}");
    // The socket for reading takes no such question, and nothing was applied.
    let findings = Programs::silent().findings(&daemon.control_socket());
    assert_found(&findings, "config", "skipped", "");
    assert_found(&findings, "daemon", "ok", "runs");
}

#[test]
fn foreground_daemon_is_probed_by_its_process() {
    let daemon = Setup::new("workers = 2").before("ulimit -n 1000").start();
    let findings = Programs::silent().findings(&daemon.control_socket());
    assert_found(&findings, "file-limit", "problem", "1000 open files");
    assert_eq!(of(&findings, "file-limit")["fix"][0], "ulimit -n 65536");

    let many = 2 * available_parallelism().unwrap().get() + 1;
    let daemon = Daemon::start(&format!("workers = {many}"));
    let findings = Programs::silent().findings(&daemon.control_socket());
    assert_found(&findings, "workers", "warning", &format!("{many} workers share"));
    assert_eq!(of(&findings, "workers")["fix"][1], "pixeldctl reload");
}

#[test]
fn daemon_on_every_address_is_a_problem() {
    let daemon = Setup::new("").tcp(([0, 0, 0, 0], 0).into()).start();
    let findings = Programs::silent().findings(&daemon.control_socket());
    assert_found(&findings, "exposure", "problem", &format!("0.0.0.0:{}", daemon.address().port()));
}

#[test]
fn program_output_is_combined_with_the_daemons() {
    let daemon = Daemon::start("");
    let programs = Programs::silent();
    let (path, address) = (daemon.http_socket().display().to_string(), daemon.address());
    programs.print("ss", &format!("u_str LISTEN 0 16 {path} 1 * 0\ntcp LISTEN 0 4096 {address} 0.0.0.0:*"));
    programs.print(
        "nginx",
        &format!(
            "# configuration file /etc/nginx/nginx.conf:\nhttp {{ upstream pixeld {{ server unix:{path}; \
             server {address}; server unix:{path}.old; }} }}"
        ),
    );
    programs
        .print("journalctl", r#"{"MESSAGE":"Suppressed 7 messages from pixeld.service","N_DROPPED":"7"}"#);
    let findings = programs.findings(&daemon.control_socket());
    assert_found(&findings, "backlog", "problem", &format!("unix:{path} queues only 16 clients"));
    assert_found(&findings, "upstreams", "problem", &format!("{path}.old, where no service listens"));
    let wrong_upstreams = findings.iter().filter(|finding| finding["check"] == "upstreams").count();
    assert_eq!(wrong_upstreams, 1, "the other two servers are right: {findings:#?}");
    assert_found(&findings, "keepalive", "warning", "for each request");
    assert_found(&findings, "journal", "skipped", "not the system's pixeld.service");

    programs.print("systemctl", &daemon.pid().to_string());
    let findings = programs.findings(&daemon.control_socket());
    assert_found(&findings, "journal", "warning", "7 lines");
}

#[test]
fn hanging_program_does_not_block_the_doctor() {
    let daemon = Daemon::start("");
    let programs = Programs::silent();
    programs.say("systemctl", "exec sleep 60");
    let output = programs.doctor(&daemon.control_socket(), &["--timeout", "300ms"]);
    let text = stdout(&output);
    assert!(text.contains("skipped  sockets     systemctl did not end within 300ms"), "{text}");
}
