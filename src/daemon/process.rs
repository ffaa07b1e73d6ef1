//! What the operating system says about this process.

use std::{
    fs::File,
    io,
    os::{fd::AsFd, unix::fs::FileExt},
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::OFlag,
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        stat::{Mode, fstat},
    },
    time::{ClockId, clock_gettime},
    unistd::{SysconfVar, sysconf},
};

use crate::net::FdBudget;

static STATM: LazyLock<Option<File>> = LazyLock::new(|| File::open("/proc/self/statm").ok());
static DESCRIPTORS: LazyLock<Mutex<Option<Descriptors>>> = LazyLock::new(|| {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let folder = Dir::open("/proc/self/fd", flags, Mode::empty()).ok();
    Mutex::new(folder.map(|folder| Descriptors { folder, counted: None }))
});

/// The open descriptors.
struct Descriptors {
    /// `/proc/self/fd`.
    folder: Dir,
    /// How many there were, and when.
    counted: Option<(u64, Instant)>,
}

/// Opens the files in /proc that the functions below read: when descriptors have run out, it would be too late.
pub fn open_proc_files() {
    LazyLock::force(&STATM);
    LazyLock::force(&DESCRIPTORS);
}

/// Whether so many descriptors can be opened: a runtime panics where the operating system has none for it.
///
/// # Errors
/// When there are fewer: with the limit, and with what to do.
pub fn ensure_descriptors(count: usize) -> io::Result<()> {
    let stderr = io::stderr();
    let probes: io::Result<Vec<_>> = (0..count).map(|_| stderr.as_fd().try_clone_to_owned()).collect();
    match probes.map_err(|error| error.raw_os_error().map(Errno::from_raw)) {
        Err(Some(Errno::EMFILE)) => Err(io::Error::other(format!(
            "too few descriptors: the open-file limit is {}, and a start takes {count} beside those that are \
             open: raise LimitNOFILE= (by hand, ulimit -n)",
            descriptors_allowed(),
        ))),
        Err(Some(Errno::ENFILE)) => {
            Err(io::Error::other("the host has no descriptor left: raise fs.file-max"))
        }
        // What else is wrong is said by what really needs them.
        _ => Ok(()),
    }
}

/// CPU time that all threads have used.
pub fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Bytes that are resident; 0 where /proc is not there.
pub fn resident_bytes() -> u64 {
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| u64::try_from(size).ok());
    let mut statm = [0; 256];
    let length = STATM.as_ref().and_then(|file| file.read_at(&mut statm, 0).ok()).unwrap_or(0);
    let statm = str::from_utf8(&statm[..length]).unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * page.unwrap_or(4096)
}

/// Descriptors that are open; 0 where /proc is not there. Before Linux 6.2 they have to be counted, which
/// takes long if there are many, so that is done once a second at most.
pub fn descriptors_used() -> u64 {
    const COUNTED_FOR: Duration = Duration::from_secs(1);

    let mut descriptors = DESCRIPTORS.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(Descriptors { folder, counted }) = &mut *descriptors else { return 0 };
    let size = fstat(&*folder).map_or(0, |folder| folder.st_size);
    if let Ok(used @ 1..) = u64::try_from(size) {
        return used;
    }
    if let Some((used, _)) = counted.filter(|(_, at)| at.elapsed() < COUNTED_FOR) {
        return used;
    }
    let is_number = |name: &[u8]| name.iter().all(u8::is_ascii_digit);
    // Each time from its beginning.
    let entries = folder.iter().flatten().filter(|entry| is_number(entry.file_name().to_bytes()));
    let used = entries.count() as u64;
    *counted = Some((used, Instant::now()));
    used
}

/// Descriptors that may be open.
pub fn descriptors_allowed() -> u64 {
    FdBudget::from_rlimit().limit() as u64
}

/// Each connection is a descriptor, so as many as the hard limit allows may be open.
pub fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // Then the soft limit holds, as it would have anyway.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
