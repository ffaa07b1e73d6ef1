//! What the operating system says about this process.

use std::{fs, time::Duration};

use nix::{
    sys::resource::{Resource, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
    unistd::{SysconfVar, sysconf},
};

use crate::net::Files;

/// CPU time that all threads have used.
pub fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Bytes that are resident; 0 where /proc is not there.
pub fn resident_bytes() -> u64 {
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| u64::try_from(size).ok());
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * page.unwrap_or(4096)
}

/// Descriptors that are open; 0 where /proc is not there.
pub fn descriptors_used() -> u64 {
    // The one that looks is not counted.
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1) as u64)
}

/// Descriptors that may be open.
pub fn descriptors_allowed() -> u64 {
    Files::allowed().number() as u64
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
