//! What goes on for as long as somebody looks, from two hosts at once.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::hosts::Hosts;
use crate::support::{Daemon, PIXEL, PIXELDCTL, eventually, post, stderr, stdout};

/// A pixeldctl that goes on; it ends with the test.
struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line that contains all of these.
    fn wait_for(&mut self, parts: &[&str]) -> String {
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "it ended before {parts:?}");
            if parts.iter().all(|part| line.contains(part)) {
                return line;
            }
        }
    }

    /// Ends it: what it said on stderr.
    fn kill(mut self) -> String {
        self.child.kill().unwrap();
        std::io::read_to_string(self.child.stderr.take().unwrap()).unwrap()
    }

    /// Waits until it ends by itself: its exit code, and what it said on stderr.
    fn end(mut self) -> (i32, String) {
        let status = eventually("the end of pixeldctl", || self.child.try_wait().unwrap());
        let said = std::io::read_to_string(self.child.stderr.take().unwrap()).unwrap();
        (status.code().unwrap(), said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn events_of_two_hosts_are_merged() {
    let (c5, t2) = (Daemon::start("workers = 1"), Daemon::start("workers = 1"));
    let hosts = Hosts::with_daemons(&c5, &t2);
    let mut following = Running::start(&mut hosts.command(&["events", "-f", "-H", "c5", "-H", "t2"]));
    for (host, daemon) in [("c5 ", &c5), ("t2 ", &t2)] {
        daemon.ctl(&["workers", "2"]);
        assert!(following.wait_for(&["Workers set from 1 to 2"]).starts_with(host));
    }
    let mut following =
        Running::start(&mut hosts.command(&["events", "-f", "--json", "-H", "c5", "-H", "t2"]));
    t2.ctl(&["drain"]);
    let event: Value = serde_json::from_str(&following.wait_for(&["\"drained\""])).unwrap();
    assert_eq!(event["host"], "t2");
}

#[test]
fn missed_events_are_reported_with_their_host() {
    let reply = r#"printf '{"parameters":{"events":[],"missed":3},"continues":true}\0'"#;
    // The question is taken first, so that it can be asked.
    for (options, line, away) in [
        (
            &[][..],
            "t2 3 events were missed\n",
            "t2 away: the daemon closed the connection; connecting again\n",
        ),
        (
            &["--json"],
            "{\"host\":\"t2\",\"missed\":3}\n",
            "{\"host\":\"t2\",\"away\":\"the daemon closed the connection\"}\n",
        ),
    ] {
        // The second time it is gone for good.
        let once = "if [ -e \"$here/once\" ]; then exit 127; fi\n: > \"$here/once\"";
        let script = format!("{once}\ndd bs=4k count=1 of=/dev/null 2>&-\n{reply}");
        let hosts = Hosts::new().script("t2", &script);
        let output = hosts.ctl(&[&["events", "--follow", "-H", "t2"], options].concat());
        assert_eq!(stdout(&output), format!("{line}{away}"), "{output:?}");
        assert!(
            stderr(&output).starts_with("pixeldctl: t2: pixeldctl is not installed there\n"),
            "{output:?}"
        );
    }
}

#[test]
fn figures_of_two_hosts_are_watched_together() {
    let (c5, t2) = (Daemon::start("workers = 1"), Daemon::start("workers = 1"));
    let hosts = Hosts::with_daemons(&c5, &t2);
    let watch = ["stats", "--watch", "0.1", "-H", "c5", "-H", "t2"];
    let mut watching = Running::start(&mut hosts.command(&watch));
    assert!(watching.wait_for(&["REQ/S"]).starts_with("HOST "));
    for host in ["c5 ", "t2 "] {
        assert!(watching.wait_for(&[host]).contains(':'));
    }
    let mut watching = Running::start(&mut hosts.command(&[&watch[..], &["--json"]].concat()));
    t2.unix_client().ask(post(PIXEL));
    let line = watching.wait_for(&["\"host\":\"t2\"", "\"ok\":1,"]);
    assert!(serde_json::from_str::<Value>(&line).unwrap()["stats"]["latency"].is_object());
}

#[test]
fn lost_host_does_not_end_the_other_stream() {
    let (c5, mut t2) = (Daemon::start("workers = 1"), Daemon::start("workers = 1"));
    let hosts = Hosts::with_daemons(&c5, &t2);
    let mut following =
        Running::start(&mut hosts.command(&["events", "-f", "-H", "c5", "-H", "t2", "-H", "nobody"]));
    following.wait_for(&["t2 ", "Ready"]);
    t2.stop();
    following.wait_for(&["t2 away: "]);
    c5.ctl(&["workers", "2"]);
    following.wait_for(&["c5 ", "Workers set from 1 to 2"]);
    let said = following.kill();
    let printed: Vec<_> = said.lines().filter(|line| line.starts_with("pixeldctl: ")).collect();
    assert_eq!(printed, ["pixeldctl: nobody: ssh: Could not resolve hostname nobody"]);
}

#[test]
fn interrupted_watch_leaves_no_process() {
    let (c5, t2) = (Daemon::start("workers = 1"), Daemon::start("workers = 1"));
    let hosts = Hosts::with_daemons(&c5, &t2);
    let descriptors = t2.stats()["process"]["descriptorsUsed"].clone();
    let mut watching =
        Running::start(&mut hosts.command(&["stats", "--watch", "0.1", "-H", "c5", "-H", "t2"]));
    watching.wait_for(&["t2 "]);
    drop(watching);
    hosts.expect_no_ssh_left();
    eventually("the daemon's descriptors", || {
        (t2.stats()["process"]["descriptorsUsed"] == descriptors).then_some(())
    });
}

#[test]
fn watch_with_a_closed_pipe_ends_silently() {
    let t2 = Daemon::start("workers = 1");
    let hosts = Hosts::new().daemon("t2", &t2);
    for options in [&["--watch", "0.1"][..], &["--watch", "0.1", "--json"]] {
        let mut command = hosts.command(&[&["stats", "-H", "t2"], options].concat());
        let mut watching = Running::start(&mut command);
        watching.wait_for(&[]);
        let Running { child, lines } = &mut watching;
        // Nobody reads any more from here on.
        let (unused, _) = std::io::pipe().unwrap();
        drop(std::mem::replace(lines, BufReader::new(from_pipe(unused))));
        let status = eventually("the end of pixeldctl", || child.try_wait().unwrap());
        assert_eq!(status.code(), Some(74));
        let said = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
        assert_eq!(said, "");
    }
    hosts.expect_no_ssh_left();
}

fn from_pipe(reader: std::io::PipeReader) -> ChildStdout {
    ChildStdout::from(std::os::fd::OwnedFd::from(reader))
}

#[test]
fn bridge_ends_with_either_side() {
    let mut t2 = Daemon::start("workers = 1");
    let bridge = || {
        let mut command = Command::new(PIXELDCTL);
        command.args(["bridge", "change"]).env("PIXELDCTL_SOCKET", t2.admin_socket());
        command.stdin(Stdio::piped());
        Running::start(&mut command)
    };
    let (mut asked, mut waiting) = (bridge(), bridge());
    drop(asked.child.stdin.take());
    // Its connection is there once the daemon has answered a call over it.
    let calls = waiting.child.stdin.as_mut().unwrap();
    calls.write_all(b"{\"method\":\"org.varlink.service.GetInfo\"}\0").unwrap();
    assert!(waiting.lines.read_until(0, &mut Vec::new()).unwrap() > 0);
    assert_eq!(asked.end(), (0, String::new()));
    t2.stop();
    assert_eq!(waiting.end(), (0, String::new()));
}

#[test]
fn bridge_to_a_stalled_daemon_ends() {
    let t2 = Daemon::start("workers = 1");
    t2.signal(Signal::SIGSTOP);
    let mut command = Command::new(PIXELDCTL);
    command.args(["bridge", "read", "--timeout", "200ms"]).env("PIXELDCTL_SOCKET", t2.admin_socket());
    let bridge = Running::start(command.stdin(Stdio::null()));
    let (code, said) = bridge.end();
    t2.signal(Signal::SIGCONT);
    assert_eq!((code, said.lines().next()), (75, Some("pixeldctl: no response within 200ms")));
}
