//! The only module of the daemon with `unsafe`, besides that of pixeld-control. It turns descriptor numbers into owned
//! descriptors, registers descriptors with epoll, and maps shared memory.
#![allow(unsafe_code)]

use std::{
    io,
    num::NonZeroUsize,
    ops::Deref,
    os::fd::{BorrowedFd, FromRawFd, OwnedFd},
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, SealFlag, fcntl},
    libc,
    sys::{
        memfd::{MFdFlags, memfd_create},
        mman::{MapFlags, ProtFlags, mmap, munmap},
        stat::fstat,
    },
    unistd::ftruncate,
};
use rustix::ioctl;
use tokio::io::{Interest, unix::AsyncFd};

pub use pixeld_control::sys::{ensure_stdout_was_open, ignore_signals, reject_descriptors};

/// Takes the descriptors that systemd passed, with their names (`sd_listen_fds(3)`), and makes them close-on-exec.
///
/// The variables `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES` are not removed, because a change of the environment
/// is unsound with several threads. Child processes ignore them, because `LISTEN_PID` is not their PID.
///
/// # Errors
/// When the variables contradict each other or name descriptors that are not open, and at a second call.
pub fn take_listen_fds() -> io::Result<Vec<(OwnedFd, String)>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);

    if TAKEN.swap(true, Relaxed) {
        return Err(io::Error::other("they were taken already"));
    }
    // Names without descriptors belong to another process: LISTEN_PID= names a wrapper, or is a PID outside of this
    // PID namespace. sd_listen_fds_with_names(3) returns 0, too.
    if sd_notify::listen_fds()?.len() == 0 {
        return Ok(Vec::new());
    }
    let passed = sd_notify::listen_fds_with_names()?;
    // SAFETY: the service manager passed these descriptors to this process, setting close-on-exec on
    // each has shown that it is open, and this line runs once: nothing else owns them.
    Ok(passed.map(|(fd, name)| (unsafe { OwnedFd::from_raw_fd(fd) }, name)).collect())
}

/// Registers a listener with the runtime of this thread.
pub fn register_listener(listener: Arc<OwnedFd>) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: an OwnedFd is the same descriptor until it is dropped. AsyncFd owns a share of it, which it drops only
    // after it has removed the descriptor from epoll.
    Ok(unsafe { AsyncFd::register(listener) }?)
}

/// Registers a connection with the runtime of this thread.
pub fn register_socket(socket: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is the same descriptor until it is dropped. AsyncFd drops it only after it has removed the
    // descriptor from epoll.
    Ok(unsafe { AsyncFd::register_with_interest(socket, interest) }?)
}

/// Whether the peer has taken all sent bytes: acknowledged over TCP, read over a Unix socket (`SIOCOUTQ`, tcp(7),
/// unix(7)). True if the query fails.
#[allow(clippy::cast_possible_truncation)] // a small constant, of another type with each C library
pub fn is_send_queue_empty(socket: BorrowedFd<'_>) -> bool {
    // SAFETY: TIOCOUTQ, another name of SIOCOUTQ, writes an int and reads nothing.
    let unsent = unsafe { ioctl::Getter::<{ libc::TIOCOUTQ as ioctl::Opcode }, libc::c_int>::new() };
    // SAFETY: as above, for any descriptor.
    unsafe { ioctl::ioctl(socket, unsent) }.map_or(true, |bytes| bytes == 0)
}

/// Seals that keep other processes from removing pages of a mapping.
const FIXED_SIZE: SealFlag = SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW);

/// Creates a file of zeros in memory, without a path and with a fixed size (memfd_create(2)).
pub fn create_memfd(name: &str, bytes: usize) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // Linux 6.3 warns without this flag, and fails up to 6.5 if vm.memfd_noexec=2. Earlier kernels do not have it.
    let no_exec = MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    let file = memfd_create(name, flags | no_exec).or_else(|error| match error {
        Errno::EINVAL => memfd_create(name, flags),
        error => Err(error),
    })?;
    ftruncate(&file, i64::try_from(bytes).map_err(io::Error::other)?)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(FIXED_SIZE | SealFlag::F_SEAL_SEAL))?;
    Ok(file)
}

/// A type for memory that other processes write.
///
/// # Safety
/// The type consists of atomics only: every value of its bytes is valid, and they may change at any time.
pub unsafe trait Shareable: Sync {}

// SAFETY: it is an atomic, and every value is valid.
unsafe impl Shareable for AtomicU64 {}
// SAFETY: an array consists of its elements only.
unsafe impl<T: Shareable, const N: usize> Shareable for [T; N] {}

/// Makes a struct [`Shareable`] if all its fields are. The code compiles only if no field is missing.
macro_rules! shareable {
    ($type:ident($field:ident)) => { $crate::sys::shareable!(@ $type, $type($field), $field); };
    ($type:ident { $($field:ident),+ $(,)? }) => {
        $crate::sys::shareable!(@ $type, $type { $($field),+ }, $($field),+);
    };
    (@ $type:ident, $pattern:pat, $($field:ident),+) => {
        const _: fn(&$type) = |value| {
            fn is_shareable<T: $crate::sys::Shareable>(_: &T) {}
            let $pattern = value;
            $(is_shareable($field);)+
        };
        // SAFETY: the lines above name all fields, and each of them is Shareable.
        #[allow(unsafe_code)]
        unsafe impl $crate::sys::Shareable for $type {}
    };
}
pub(crate) use shareable;

/// A `T` in the file of [`create_memfd`].
#[derive(Debug)]
pub struct Mapping<T>(NonNull<T>);

impl<T: Shareable> Mapping<T> {
    const SIZE: NonZeroUsize = NonZeroUsize::new(size_of::<T>()).expect("a type with a size");

    /// Maps the whole file.
    ///
    /// # Errors
    /// When the file is not from [`create_memfd`] with this size, or memory is exhausted.
    pub fn new(file: &OwnedFd) -> io::Result<Self> {
        let not_ours = |_| {
            io::Error::other(
                "the descriptor that systemd stored as \"counters\" is no shared memory of pixeld",
            )
        };
        let seals = fcntl(file, FcntlArg::F_GET_SEALS).map_err(not_ours)?;
        let size = fstat(file)?.st_size;
        if !SealFlag::from_bits_retain(seals).contains(FIXED_SIZE) {
            return Err(io::Error::other(
                "the descriptor that systemd stored as \"counters\" is no shared memory of pixeld: its size is not sealed",
            ));
        }
        if usize::try_from(size) != Ok(size_of::<T>()) {
            return Err(io::Error::other(format!(
                "the stored memory has {size} bytes, but this version of pixeld needs {}",
                size_of::<T>()
            )));
        }
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses does not overlap existing memory.
        let start = unsafe { mmap(None, Self::SIZE, access, MapFlags::MAP_SHARED, file, 0) }?;
        Ok(Self(start.cast()))
    }
}

impl<T: Shareable> Deref for Mapping<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the mapping has the size of T, is aligned to a page, can be read and written, and exists until self
        // is dropped; the file cannot shrink. All bytes are a valid T. It consists of atomics, so others may change
        // them.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Drop for Mapping<T> {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this size, and no borrow of it remains.
        let unmapped = unsafe { munmap(self.0.cast(), size_of::<T>()) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}

// SAFETY: a mapping has the same address in every thread, and a Shareable is Sync.
unsafe impl<T: Shareable> Send for Mapping<T> {}
// SAFETY: as above.
unsafe impl<T: Shareable> Sync for Mapping<T> {}
