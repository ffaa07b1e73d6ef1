//! A booted host, and what a test can do on it.

use std::fs;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{fmt, thread};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::Value;

use super::client::{Client, Endpoint};
use super::container::Container;
use super::host_builder::{BOOT, HostBuilder};
use super::network::Namespace;
use super::{SOON, wait_for_some};

/// How long a command may take unless a test says otherwise.
const COMMAND: Duration = Duration::from_secs(60);

/// A host that runs. Dropping it halts it, and shows the end of its journal if the test failed.
pub struct Host {
    name: String,
    container: Container,
    leader: AtomicU32,
    namespace: Arc<Namespace>,
}

impl Host {
    /// A host with this name, Debian 13, and no network yet.
    pub fn builder(name: &str) -> HostBuilder {
        HostBuilder::new(name)
    }

    /// Takes a container that has been started, and waits until its systemd says that everything runs.
    pub fn await_first_boot(
        name: String,
        container: Container,
        namespace: Arc<Namespace>,
        bound: Duration,
    ) -> Self {
        let leader = AtomicU32::new(container.leader());
        let host = Self { name, container, leader, namespace };
        host.await_boot(bound);
        host
    }

    /// Runs a shell command as root. Panics unless it succeeds within a minute.
    #[track_caller]
    pub fn run(&self, command: &str) -> Output {
        self.try_run(command).expect_success(&self.name, command)
    }

    /// Runs a shell command as root; after a minute it is ended with status 124. Something left in
    /// the background keeps running.
    pub fn try_run(&self, command: &str) -> Output {
        self.execute(&["sh", "-c", command], b"", COMMAND)
    }

    /// As [`Self::try_run`], with another bound in time.
    pub fn try_run_within(&self, bound: Duration, command: &str) -> Output {
        self.execute(&["sh", "-c", command], b"", bound)
    }

    /// As [`Self::run`], but as another user, with that user's groups.
    #[track_caller]
    pub fn run_as(&self, user: &str, command: &str) -> Output {
        self.try_run_as(user, command).expect_success(&self.name, command)
    }

    /// As [`Self::try_run`], but as another user, with that user's groups.
    pub fn try_run_as(&self, user: &str, command: &str) -> Output {
        let become_user = r#"exec setpriv --reuid "$0" --regid "$(id -g "$0")" --init-groups sh -c "$1""#;
        self.execute(&["sh", "-c", become_user, user, command], b"", COMMAND)
    }

    /// Polls until a shell command succeeds; panics with its last output.
    #[track_caller]
    pub fn wait_for(&self, command: &str) -> Output {
        let start = Instant::now();
        loop {
            let output = self.try_run(command);
            if output.success() || start.elapsed() > SOON {
                return output.expect_success(&self.name, command);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a fatal signal, and waits until systemd has reaped the process: until it has ended, it may
    /// still accept a connection, which then ends with it.
    #[track_caller]
    pub fn kill(&self, signal: &str, pid: u64) {
        self.run(&format!("kill -{signal} {pid}"));
        self.wait_for(&format!("! kill -0 {pid} 2>/dev/null"));
    }

    /// The entries in the journal of pixeld.service that match all of these fields, such as `EVENT=ready`.
    #[track_caller]
    pub fn entries(&self, matches: &str) -> Vec<Value> {
        let journal = self.run(&format!("journalctl -q -u pixeld.service -o json {matches}")).stdout;
        journal.lines().map(|line| serde_json::from_str(line).expect("journalctl prints JSON")).collect()
    }

    /// Waits for such an entry.
    #[track_caller]
    pub fn wait_for_entry(&self, matches: &str) -> Value {
        self.wait_for(&format!("journalctl -q -u pixeld.service -o cat {matches} | grep -q ."));
        self.entries(matches).swap_remove(0)
    }

    /// Writes a file of mode 0644, and creates the folders on the way to it.
    #[track_caller]
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let script = r#"mkdir -p "$(dirname "$0")" && cat > "$0""#;
        self.execute(&["sh", "-c", script, path], content.as_ref(), COMMAND)
            .expect_success(&self.name, &format!("write {path}"));
    }

    /// A file's text.
    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        self.execute(&["cat", path], b"", COMMAND).expect_success(&self.name, &format!("read {path}")).stdout
    }

    /// Copies a file from this machine, with its mode.
    #[track_caller]
    pub fn copy(&self, local: impl AsRef<Path>, remote: &str) {
        let local = local.as_ref();
        let content = fs::read(local).unwrap_or_else(|error| panic!("read {}: {error}", local.display()));
        let mode = fs::metadata(local).expect("stat what was read").permissions().mode() & 0o7777;
        self.write(remote, content);
        self.run(&format!("chmod {mode:o} '{remote}'"));
    }

    /// The last lines of the journal since boot.
    pub fn journal_tail(&self, lines: u32) -> String {
        let command = format!("journalctl -b --no-pager -n {lines}");
        self.try_run_within(Duration::from_secs(10), &command).stdout
    }

    /// A Unix socket on the host, for a client anywhere.
    pub fn unix(&self, path: &str) -> Endpoint {
        Endpoint::Unix(format!("/proc/{}/root{path}", self.leader()).into())
    }

    /// A client on the host itself, for `127.0.0.1`.
    pub fn client(&self) -> Client {
        Client::new(Arc::clone(&self.namespace))
    }

    /// Sets one of the kernel's parameters of the host's network, which the container itself may not.
    pub fn sysctl(&self, key: &str, value: &str) {
        let file = format!("/proc/sys/{}", key.replace('.', "/"));
        self.namespace.enter(|| fs::write(&file, value)).unwrap_or_else(|error| panic!("set {key}: {error}"));
    }

    /// Halts the host, boots it again, and returns when it is up.
    pub fn reboot(&self) {
        self.container.restart();
        self.leader.store(self.container.leader(), Ordering::Relaxed);
        self.await_boot(BOOT);
    }

    /// The process id of the host's systemd, as this process sees it.
    pub fn leader(&self) -> u32 {
        self.leader.load(Ordering::Relaxed)
    }

    /// The network namespace's inode.
    pub fn network_inode(&self) -> u64 {
        self.namespace.inode()
    }

    fn await_boot(&self, bound: Duration) {
        let state = wait_for_some("the host boots", bound, || {
            let state = self.try_run("systemctl is-system-running --wait 2>&1").stdout;
            let settled = ["running", "degraded", "maintenance"].contains(&state.trim());
            settled.then(|| state.trim().to_owned())
        });
        if state != "running" {
            let failed = self.try_run("systemctl --failed --no-legend --plain").stdout;
            panic!("{} is {state}: {failed}\n{}", self.name, self.container.console());
        }
    }

    fn execute(&self, command: &[&str], input: &[u8], bound: Duration) -> Output {
        // Files, not pipes: what a command leaves in the background cannot hold the test up.
        let [mut stdin, mut stdout, mut stderr] =
            std::array::from_fn(|_| tempfile::tempfile().expect("create a temporary file"));
        stdin.write_all(input).and_then(|()| stdin.rewind()).expect("store a command's input");
        #[expect(clippy::zombie_processes, reason = "`exit_status` waits for it")]
        let nsenter = Command::new("nsenter")
            .args(["--target", &self.leader().to_string(), "--all", "--"])
            .args(["timeout", "--kill-after=2", &bound.as_secs_f64().to_string()])
            .args(command)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .envs([("HOME", "/root"), ("LANG", "C.UTF-8")])
            .stdin(stdin)
            .stdout(stdout.try_clone().expect("duplicate a descriptor"))
            .stderr(stderr.try_clone().expect("duplicate a descriptor"))
            .spawn()
            .expect("start nsenter");
        let status = exit_status(&nsenter);
        let text = |file: &mut fs::File| {
            let mut bytes = Vec::new();
            file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("read a command's output");
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (stdout, stderr) = (text(&mut stdout), text(&mut stderr));
        Output { status, stdout, stderr }
    }
}

/// Waits for nsenter, and returns its exit status, or -1 after a signal. It stops when its command is stopped, as
/// systemd does before it ends all processes, and then does not see that the command has ended.
fn exit_status(nsenter: &Child) -> i32 {
    let pid = Pid::from_raw(nsenter.id().cast_signed());
    loop {
        match waitpid(pid, Some(WaitPidFlag::WUNTRACED)).expect("wait for nsenter") {
            WaitStatus::Exited(_, status) => return status,
            WaitStatus::Stopped(..) => kill(pid, Signal::SIGCONT).expect("continue nsenter"),
            _ => return -1,
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- journal of {}:\n{}---", self.name, self.journal_tail(60));
        }
    }
}

/// Status and output of a command.
#[derive(Clone, Debug)]
pub struct Output {
    /// The exit status; 124 when the command was ended for taking too long, -1 after a signal.
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    pub const fn success(&self) -> bool {
        self.status == 0
    }

    #[track_caller]
    fn expect_success(self, host: &str, command: &str) -> Self {
        assert!(self.success(), "{host}: {command}\n{self}");
        self
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status: {}\nstdout: {}\nstderr: {}", self.status, self.stdout, self.stderr)
    }
}
