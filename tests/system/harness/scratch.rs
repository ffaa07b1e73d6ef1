//! Folder and control group of a host. Both are named after the test process and locked by it, so that a later test
//! can detect and remove those of a killed test.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

use super::root;

/// A host's folder on a real disk, and the name of its control group. Dropping it removes both.
#[derive(Debug)]
pub struct Scratch {
    /// Unique on this machine.
    pub id: String,
    /// Where the host's changes to its root, and its console's output, go.
    pub folder: PathBuf,
    _lock: Flock<File>,
}

impl Scratch {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let hosts = root::cache().join("hosts");
        fs::create_dir_all(&hosts).expect("create the folder for hosts");
        let _sweeping = root::lock(&hosts.join("lock"));
        sweep(&hosts);

        let id = format!("pixeld-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = hosts.join(&id);
        for part in ["upper", "work", "root"] {
            fs::create_dir_all(folder.join(part)).expect("create a host's folder");
        }
        let lock = try_lock(&folder).expect("a new host's folder is locked by nobody else");
        Self { id, folder, _lock: lock }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        match await_cgroup_removal(&self.id) {
            Ok(()) => root::remove(&self.folder),
            // The next test tries again.
            Err(error) => eprintln!("the control group {} stays: {error}", self.id),
        }
    }
}

/// Removes a host's control group; after SIGKILL its last processes may take a moment to leave it.
pub fn await_cgroup_removal(id: &str) -> io::Result<()> {
    let start = Instant::now();
    loop {
        let removed = remove_cgroup(id);
        if removed.is_ok() || start.elapsed() > Duration::from_secs(5) {
            return removed;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Removes what killed test processes left behind.
fn sweep(hosts: &Path) {
    for entry in fs::read_dir(hosts).expect("list the hosts' folders").flatten() {
        let folder = entry.path();
        let id = entry.file_name().to_string_lossy().into_owned();
        if folder.is_dir() && try_lock(&folder).is_some() && remove_cgroup(&id).is_ok() {
            root::remove(&folder);
        }
    }
}

fn try_lock(folder: &Path) -> Option<Flock<File>> {
    let file = File::open(folder).ok()?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).ok()
}

/// Where control groups (version 2) are in this thread's view; a hybrid setup has them aside.
fn cgroups() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/thread-self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let folder = fields.next()?;
        (fields.next()? == "cgroup2").then(|| PathBuf::from(folder))
    })
}

fn remove_cgroup(id: &str) -> io::Result<()> {
    fn remove(group: &Path) -> io::Result<()> {
        for entry in fs::read_dir(group)?.flatten() {
            if entry.file_type()?.is_dir() {
                remove(&entry.path())?;
            }
        }
        fs::remove_dir(group)
    }
    let Some(group) = cgroups().map(|groups| groups.join(id)) else { return Ok(()) };
    if group.exists() { remove(&group) } else { Ok(()) }
}
