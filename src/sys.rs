//! The only module of the daemon with `unsafe`; pixeld-control has one, too. It turns descriptor numbers into
//! owned descriptors, lends owned ones to epoll, receives into uninitialized memory, and maps memory that outlives
//! a process.
#![allow(unsafe_code)]

use std::{
    io,
    num::NonZeroUsize,
    ops::Deref,
    os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd},
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
use rustix::{
    ioctl,
    net::{RecvFlags, recv},
};
use tokio::io::{Interest, ReadBuf, unix::AsyncFd};

pub use pixeld_control::sys::{ensure_stdout_was_open, ignore_signals, reject_descriptors};

/// Takes the descriptors that the service manager passed, with their names (`sd_listen_fds(3)`). They
/// are close-on-exec.
///
/// The variables `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES` stay, because only a process with one thread may
/// change its environment. Child processes ignore them, because `LISTEN_PID` is the number of this process.
///
/// # Errors
/// When those variables contradict each other, or name descriptors that are not open; and when it is
/// called again, because they have an owner then.
pub fn take_listen_fds() -> io::Result<Vec<(OwnedFd, String)>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);

    if TAKEN.swap(true, Relaxed) {
        return Err(io::Error::other("they were taken already"));
    }
    // Names without descriptors for this process are those of another one: a wrapper, or the host's, as
    // LISTEN_PID= is seen inside a PID namespace. sd_listen_fds_with_names(3) returns 0 as well.
    if sd_notify::listen_fds()?.len() == 0 {
        return Ok(Vec::new());
    }
    let passed = sd_notify::listen_fds_with_names()?;
    // SAFETY: the service manager passed these descriptors to this process, setting close-on-exec on
    // each has shown that it is open, and this line runs once: nothing else owns them.
    Ok(passed.map(|(fd, name)| (unsafe { OwnedFd::from_raw_fd(fd) }, name)).collect())
}

/// Registers a listener with the runtime of this thread.
///
/// # Errors
/// When epoll takes no more descriptors.
pub fn register_listener(listener: Arc<OwnedFd>) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: an OwnedFd is the same descriptor until it is dropped, which AsyncFd, having a share in it, lets
    // happen only after it has taken the descriptor out of epoll.
    Ok(unsafe { AsyncFd::register(listener) }?)
}

/// Registers a connection with the runtime of this thread, which then reports its readiness.
///
/// # Errors
/// When epoll takes no more descriptors.
pub fn register_socket(socket: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is the same descriptor until it is dropped, which AsyncFd does only after it
    // has taken the descriptor out of epoll.
    Ok(unsafe { AsyncFd::register_with_interest(socket, interest) }?)
}

/// Receives what is available into the unfilled part of the buffer, which is not zeroed first. Returns the number
/// of bytes, zero at the end of the stream (recv(2)).
///
/// # Errors
/// As recv(2): `WouldBlock` when nothing is there, `ConnectionReset` and the like when it has broken.
pub fn receive(socket: impl AsFd, buf: &mut ReadBuf<'_>) -> io::Result<usize> {
    // SAFETY: only received bytes are written to it.
    let unfilled = unsafe { buf.unfilled_mut() };
    let ((received, _), length) = recv(socket, unfilled, RecvFlags::empty())?;
    debug_assert_eq!(received.len(), length);
    // SAFETY: recv initialized this number of bytes at its beginning.
    unsafe { buf.assume_init(length) };
    buf.advance(length);
    Ok(length)
}

/// Whether the other end has taken everything that was sent: over TCP, whether its host has acknowledged it;
/// over a Unix socket, whether it was read (`SIOCOUTQ`, tcp(7), unix(7)). If that cannot be found out, yes.
#[allow(clippy::cast_possible_truncation)] // a small constant, of another type with each C library
pub fn is_send_queue_empty(socket: BorrowedFd<'_>) -> bool {
    // SAFETY: SIOCOUTQ, by its other name, writes an int and reads nothing.
    let unsent = unsafe { ioctl::Getter::<{ libc::TIOCOUTQ as ioctl::Opcode }, libc::c_int>::new() };
    // SAFETY: as above, for any descriptor.
    unsafe { ioctl::ioctl(socket, unsent) }.map_or(true, |bytes| bytes == 0)
}

/// No process can take pages away under a mapping.
const FIXED_SIZE: SealFlag = SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW);

/// A file of zeros that lies in memory and has no path, only descriptors (memfd_create(2)). Its size
/// can never change.
///
/// # Errors
/// When memory or descriptors are short.
pub fn create_memfd(name: &str, bytes: usize) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // Without it, Linux 6.3 and later warn, and up to 6.5 fail with vm.memfd_noexec=2. Earlier kernels do not know it.
    let no_exec = MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
    let file = memfd_create(name, flags | no_exec).or_else(|error| match error {
        Errno::EINVAL => memfd_create(name, flags),
        error => Err(error),
    })?;
    ftruncate(&file, i64::try_from(bytes).map_err(io::Error::other)?)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(FIXED_SIZE | SealFlag::F_SEAL_SEAL))?;
    Ok(file)
}

/// A type that may be in memory that other processes write.
///
/// # Safety
/// It consists of atomics only: every value of its bytes is valid, and they may change at any time.
pub unsafe trait Shareable: Sync {}

// SAFETY: it is an atomic, valid whatever its value.
unsafe impl Shareable for AtomicU64 {}
// SAFETY: an array consists of its elements.
unsafe impl<T: Shareable, const N: usize> Shareable for [T; N] {}

/// Makes a struct [`Shareable`] whose fields all are. They are named here to compile only if none is missing.
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

/// A `T` in a [`create_memfd`].
#[derive(Debug)]
pub struct Mapping<T>(NonNull<T>);

impl<T: Shareable> Mapping<T> {
    const SIZE: NonZeroUsize = NonZeroUsize::new(size_of::<T>()).expect("a type with a size");

    /// Maps the whole file.
    ///
    /// # Errors
    /// When the file is not a [`create_memfd`] of this size, or memory is short.
    pub fn new(file: &OwnedFd) -> io::Result<Self> {
        let not_ours = |_| io::Error::other("stored descriptor is not shared memory");
        let seals = fcntl(file, FcntlArg::F_GET_SEALS).map_err(not_ours)?;
        let size = fstat(file)?.st_size;
        if !SealFlag::from_bits_retain(seals).contains(FIXED_SIZE) {
            return Err(io::Error::other("size of the stored memory is not sealed"));
        }
        if usize::try_from(size) != Ok(size_of::<T>()) {
            return Err(io::Error::other(format!(
                "stored memory has {size} bytes instead of {}",
                size_of::<T>()
            )));
        }
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe { mmap(None, Self::SIZE, access, MapFlags::MAP_SHARED, file, 0) }?;
        Ok(Self(start.cast()))
    }
}

impl<T: Shareable> Deref for Mapping<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the mapping is as large as a T, is aligned to a page, can be read and written, and
        // stays until self is dropped; the file cannot shrink. Whatever bytes are there make a valid
        // T, and others change them through atomics only, for a T has nothing else.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Drop for Mapping<T> {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this size, and no borrow of it is left.
        let unmapped = unsafe { munmap(self.0.cast(), size_of::<T>()) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}

// SAFETY: a mapping is at the same address in every thread, and a Shareable may be used by several.
unsafe impl<T: Shareable> Send for Mapping<T> {}
// SAFETY: as above.
unsafe impl<T: Shareable> Sync for Mapping<T> {}
