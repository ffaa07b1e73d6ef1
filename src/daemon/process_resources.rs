//! Resources of this process: descriptors, CPU time, memory.

use std::{fs, io, os::fd::AsFd, time::Duration};

use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
    unistd::{SysconfVar, sysconf},
};

use crate::net::FdBudget;

/// Checks that `count` descriptors can be opened, because a tokio runtime panics if it gets none.
///
/// # Errors
/// When there are fewer; the error names the limit to raise.
pub fn ensure_descriptors(count: usize) -> io::Result<()> {
    let stderr = io::stderr();
    let probes: io::Result<Vec<_>> = (0..count).map(|_| stderr.as_fd().try_clone_to_owned()).collect();
    match probes.map_err(|error| error.raw_os_error().map(Errno::from_raw)) {
        Err(Some(Errno::EMFILE)) => Err(io::Error::other(format!(
            "open-file limit is {}, and {count} more descriptors are needed; raise LimitNOFILE= (in a shell: \
             ulimit -n)",
            descriptors_allowed(),
        ))),
        Err(Some(Errno::ENFILE)) => {
            Err(io::Error::other("the host has no free file descriptors; raise fs.file-max"))
        }
        // The code that needs the descriptors reports other errors.
        _ => Ok(()),
    }
}

/// Returns the CPU time of all threads.
pub fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Returns the resident bytes; 0 if /proc is missing.
pub fn resident_bytes() -> u64 {
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| u64::try_from(size).ok());
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * page.unwrap_or(4096)
}

/// Returns the number of open descriptors; 0 if /proc is missing. Before Linux 6.2 it counts them, which takes long
/// if there are many.
pub fn descriptors_used() -> u64 {
    const FOLDER: &str = "/proc/self/fd";

    match fs::metadata(FOLDER).map_or(0, |folder| folder.len()) {
        // The folder that is read is one of them.
        0 => fs::read_dir(FOLDER).map_or(0, |entries| entries.count().saturating_sub(1) as u64),
        used => used,
    }
}

pub fn descriptors_allowed() -> u64 {
    FdBudget::from_rlimit().limit() as u64
}

/// Raises the soft limit to the hard limit, because each connection is a descriptor.
pub fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // After a failure, the soft limit is still in effect.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
