use std::{
    io,
    ops::Deref,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use super::memory_layout::{DrainedBy, Region};
use crate::sys;

/// The memory with the counters: a memfd, which systemd stores when the process exits.
#[derive(Debug)]
pub struct SharedStats {
    mapping: sys::Mapping<Region>,
    file: OwnedFd,
}

impl SharedStats {
    /// Creates counters that start at 0.
    pub fn create(unix_ms: u64) -> io::Result<Self> {
        let file = sys::create_memfd("pixeld-counters", size_of::<Region>())?;
        let mapping = sys::Mapping::<Region>::new(&file)?;
        mapping.begin(unix_ms);
        Ok(Self { mapping, file })
    }

    /// Continues the counters of a previous process.
    ///
    /// # Errors
    /// When the file is not such memory, or has the layout of another version.
    pub fn adopt(file: OwnedFd) -> io::Result<Self> {
        let mapping = sys::Mapping::<Region>::new(&file)?;
        if !mapping.is_ours() {
            return Err(io::Error::other("they are of another version of pixeld, which counts differently"));
        }
        Ok(Self { mapping, file })
    }
}

/// Returns the drained state that any version has stored in this file; `None` if the file has no counters.
pub fn read_drained(file: &OwnedFd) -> Option<Option<DrainedBy>> {
    let mut prefix = [0; Region::PREFIX];
    let length = rustix::io::pread(file, &mut prefix, 0).ok()?;
    if length < prefix.len() { None } else { Region::read_drained(&prefix) }
}

impl Deref for SharedStats {
    type Target = Region;

    fn deref(&self) -> &Region {
        &self.mapping
    }
}

impl AsFd for SharedStats {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::PermissionsExt, path::Path};

    use super::*;
    use crate::stats::DrainedBy;

    #[test]
    fn counters_continue_in_the_next_process() {
        let first = SharedStats::create(1_700_000_000_000).unwrap();
        first.starts.add(1);
        first.register_worker(3);
        first.worker(3).bytes_sent.add(80);
        let by = DrainedBy::new(1_700_000_000_500, 4711, 1000, Some(&"a".repeat(40)));
        first.set_drained(Some(by));

        let kept = first.as_fd().try_clone_to_owned().unwrap();
        drop(first);
        let second = SharedStats::adopt(kept).unwrap();
        assert_eq!((second.since_unix_ms(), second.starts.get()), (1_700_000_000_000, 1));
        assert_eq!(second.workers().iter().map(|worker| worker.bytes_sent.get()).sum::<u64>(), 80);
        assert_eq!((second.is_drained(), second.drained_by()), (true, Some(by)));
        second.set_drained(None);
        assert_eq!((second.is_drained(), second.drained_by()), (false, None));
    }

    #[test]
    fn foreign_memory_is_rejected() {
        let reason = |file: OwnedFd| SharedStats::adopt(file).unwrap_err().to_string();
        assert!(reason(File::open("/dev/null").unwrap().into()).contains("no shared memory"));
        let short = sys::create_memfd("short", 4096).unwrap();
        assert!(reason(short).contains("bytes"));
        let other = sys::create_memfd("other", size_of::<Region>()).unwrap();
        assert!(reason(other).contains("another version"));
    }

    #[test]
    fn counters_cannot_be_executed() {
        let file = File::from(sys::create_memfd("counters", 4096).unwrap());
        let executable = file.metadata().unwrap().permissions().mode() & 0o111 != 0;
        assert_eq!(executable, !Path::new("/proc/sys/vm/memfd_noexec").exists(), "Linux 6.3 and later");
    }
}
