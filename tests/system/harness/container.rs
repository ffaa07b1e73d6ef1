//! A running systemd-nspawn, and the thread that keeps it.
//!
//! The keeper thread has a mount namespace of its own: there it mounts the host's overlay, and
//! control groups as a pure version-2 hierarchy, whatever the machine has. The container runs below
//! another process namespace, and gets SIGKILL when the keeper is gone. So the kernel ends and
//! unmounts everything when the test process dies, by whatever cause.

use std::fs::{self, File};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Once, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use super::network::Namespace;
use super::scratch::{Scratch, await_cgroup_removal};
use super::{SOON, wait_for_some};

/// How long a host may take to halt before its processes are killed.
const HALT: Duration = Duration::from_secs(15);

/// A folder of this machine that a container can read.
#[derive(Debug)]
pub struct Folder {
    pub local: PathBuf,
    pub remote: String,
}

impl Folder {
    fn option(&self) -> String {
        format!("--bind-ro={}:{}", self.local.display(), self.remote)
    }
}

/// A container that was started; its systemd need not be ready. Dropping it halts it.
#[derive(Debug)]
pub struct Container {
    keeper: Option<JoinHandle<()>>,
    /// Each message has the keeper restart the container, and the channel's end halt it.
    restart: Option<mpsc::Sender<()>>,
    /// The id of each wrapper process that the keeper started.
    started: Mutex<mpsc::Receiver<u32>>,
    wrapper: AtomicU32,
    scratch: Scratch,
}

impl Container {
    /// Starts a container from a root folder that stays as it is. `prepare` may change the
    /// container's own view of it before the start.
    pub fn start(
        name: &str,
        lower: PathBuf,
        folders: Vec<Folder>,
        namespace: Arc<Namespace>,
        bpf: bool,
        prepare: impl FnOnce(&Path) + Send + 'static,
    ) -> Self {
        require_tools();
        let scratch = Scratch::new();
        let (id, folder) = (scratch.id.clone(), scratch.folder.clone());
        let (restart, orders) = mpsc::channel();
        let (starts, started) = mpsc::channel();
        let machine = name.to_owned();
        let keeper = thread::Builder::new()
            .name(format!("{name}'s keeper"))
            .spawn(move || {
                unshare(CloneFlags::CLONE_NEWNS).expect("create a mount namespace");
                namespace.join();
                mount_root(&lower, &folder);
                prepare(&folder.join("root"));
                mount_cgroups();
                loop {
                    let nspawn = Nspawn::spawn(&machine, &id, &folder, &folders, bpf);
                    starts.send(nspawn.0.id()).expect("the container learns of the start");
                    if orders.recv().is_err() {
                        break;
                    }
                    drop(nspawn);
                    await_cgroup_removal(&id).expect("remove the control group");
                }
            })
            .expect("start a keeper thread");
        let container = Self {
            keeper: Some(keeper),
            restart: Some(restart),
            started: Mutex::new(started),
            wrapper: AtomicU32::new(0),
            scratch,
        };
        container.await_start();
        container
    }

    /// Halts the container, and starts it again from what it has on its disk.
    pub fn restart(&self) {
        self.restart.as_ref().expect("not halting").send(()).expect("the keeper awaits orders");
        self.await_start();
    }

    fn await_start(&self) {
        // When the keeper panicked, dropping the container passes the keeper's message on.
        let started = self.started.lock().expect("nobody panics with the lock").recv();
        self.wrapper.store(started.expect("the keeper starts the container"), Ordering::Relaxed);
    }

    /// The process id, as this process sees it, of the container's systemd; waits until it runs.
    pub fn leader(&self) -> u32 {
        wait_for_some("the container's systemd runs", SOON, || {
            let wrapper = self.wrapper.load(Ordering::Relaxed);
            assert!(Process::read(wrapper).is_some(), "nspawn ended:\n{}", self.console());
            leader(wrapper).map(|process| process.id)
        })
    }

    /// Returns the console output so far.
    pub fn console(&self) -> String {
        let bytes = fs::read(self.scratch.folder.join("console")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.restart.take());
        if let Some(Err(panic)) = self.keeper.take().map(JoinHandle::join)
            && !thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}

/// The process around nspawn: it ends after nspawn, and takes nspawn and all below with it when
/// killed. Dropping it halts the container.
struct Nspawn(Child);

impl Nspawn {
    fn spawn(machine: &str, cgroup: &str, folder: &Path, folders: &[Folder], bpf: bool) -> Self {
        let console = File::create(folder.join("console")).expect("create the console's file");
        let into_cgroup = "mkdir $0 && echo $$ > $0/cgroup.procs && exec \"$@\"";
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "sh", "-c", into_cgroup])
            .arg(Path::new("/sys/fs/cgroup").join(cgroup))
            .args(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit"])
            .args(["--network-namespace-path=/proc/self/ns/net", "--console=read-only"])
            // As much as a real host has: services may confine themselves by namespaces and BPF.
            .arg("--capability=all")
            .args(bpf.then_some("--system-call-filter=bpf"))
            .args(["--link-journal=no", "--resolv-conf=off", "--timezone=off"])
            .arg(format!("--machine={machine}"))
            .args(folders.iter().map(Folder::option))
            .arg("--directory")
            .arg(folder.join("root"))
            .stdin(Stdio::null())
            .stderr(console.try_clone().expect("duplicate a descriptor"))
            .stdout(console)
            .spawn()
            .expect("start setpriv");
        Self(child)
    }
}

impl Drop for Nspawn {
    fn drop(&mut self) {
        if let Some(leader) = leader(self.0.id()) {
            let nspawn = Pid::from_raw(leader.parent.cast_signed());
            let _ = kill(nspawn, Signal::SIGTERM);
            let start = Instant::now();
            while matches!(self.0.try_wait(), Ok(None)) && start.elapsed() < HALT {
                thread::sleep(Duration::from_millis(10));
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process and where it belongs.
struct Process {
    id: u32,
    parent: u32,
    name: String,
    /// Its id in the innermost process namespace.
    inner_id: u32,
}

impl Process {
    /// Nothing for a process that has ended, even if its parent has not noticed yet.
    fn read(id: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let ended = field("State:")?.starts_with('Z');
        (!ended).then_some(Self {
            id,
            parent: field("PPid:")?.parse().ok()?,
            name: field("Name:")?.into(),
            inner_id: field("NSpid:")?.split_whitespace().last()?.parse().ok()?,
        })
    }
}

/// The container's systemd: the first in its process namespace, two below the wrapper.
fn leader(wrapper: u32) -> Option<Process> {
    fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Process::read)
        .filter(|process| process.name == "systemd" && process.inner_id == 1)
        .find(|process| Process::read(process.parent).is_some_and(|nspawn| nspawn.parent == wrapper))
}

fn mount_root(lower: &Path, folder: &Path) {
    run("mount", &["--make-rprivate", "/"]);
    let [lower, upper, work] =
        [lower.to_owned(), folder.join("upper"), folder.join("work")].map(|path| path.display().to_string());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    run("mount", &["-t", "overlay", "-o", &options, "overlay", &folder.join("root").display().to_string()]);
}

fn mount_cgroups() {
    run("umount", &["--lazy", "--recursive", "/sys/fs/cgroup"]);
    run("mount", &["-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"]);
    // Where nspawn keeps track of containers by name: names are unique only within a test.
    run("mount", &["-t", "tmpfs", "tmpfs", "/run"]);
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("start a program");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {stderr}", arguments.join(" "));
}

/// Panics with advice where hosts cannot be booted.
fn require_tools() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        assert!(geteuid().is_root(), "system tests boot containers, which only root may do");
        let path = std::env::var_os("PATH").unwrap_or_default();
        for tool in ["mmdebstrap", "systemd-nspawn", "ip", "nsenter", "setpriv", "unshare", "mount"] {
            let found = std::env::split_paths(&path).any(|folder| folder.join(tool).exists());
            assert!(
                found,
                "{tool} is missing; install mmdebstrap debian-archive-keyring systemd-container \
                 iproute2 util-linux mount"
            );
        }
    });
}
