//! The only module of pixeld-control with `unsafe`: sets a socket option that libraries lack, ignores signals, and
//! checks stdout before main.
#![allow(unsafe_code)]

use std::{
    ffi::c_int,
    io,
    os::fd::{AsFd, AsRawFd},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use nix::{
    errno::Errno,
    libc::{self, socklen_t},
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
};

/// Ignores signals. Child processes start with the default actions.
pub fn ignore_signals(signals: &[Signal]) {
    extern "C" fn nothing(_: c_int) {}

    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    for signal in signals {
        // SAFETY: the handler does nothing, which is safe in any state of the program.
        let set = unsafe { sigaction(*signal, &action) };
        debug_assert!(set.is_ok(), "{signal} can be handled");
    }
}

/// Fails if stdout was closed when this program began. The standard library opens /dev/null in its place
/// before main, so that writing to it succeeds and nothing is written.
///
/// # Errors
/// EBADF, as write(2) would.
pub fn ensure_stdout_was_open() -> io::Result<()> {
    // The use keeps the linker from removing it.
    std::hint::black_box(&PROBE_STDOUT);
    if STDOUT_WAS_CLOSED.load(Relaxed) { Err(Errno::EBADF.into()) } else { Ok(()) }
}

static STDOUT_WAS_CLOSED: AtomicBool = AtomicBool::new(false);

// SAFETY: the C library calls what is in this section before main, with arguments that a function without
// any may ignore. It only asks the kernel about a number, and stores a flag.
#[used]
#[unsafe(link_section = ".init_array")]
static PROBE_STDOUT: extern "C" fn() = {
    extern "C" fn probe() {
        // SAFETY: this call takes any number, whether it is that of a descriptor or not.
        let flags = unsafe { nix::libc::fcntl(nix::libc::STDOUT_FILENO, nix::libc::F_GETFD) };
        STDOUT_WAS_CLOSED.store(flags == -1, Relaxed);
    }
    probe
};

/// Has the kernel reject messages that pass descriptors (SCM_RIGHTS) to this Unix socket, if it can: sendmsg(2) fails
/// with EPERM for the peer. Clients that connect to a listener from then on have this from the start.
///
/// Closing a received descriptor may wait for as long as its sender chose (SO_LINGER), and this thread with it.
/// Kernels before 6.16 lack the option, which is no error: there, only the mode of the socket's file protects.
///
/// # Errors
/// As setsockopt(2): EOPNOTSUPP if it is no Unix socket.
pub fn reject_descriptors(socket: impl AsFd) -> io::Result<bool> {
    match set_pass_rights(&socket, false) {
        Err(Errno::ENOPROTOOPT) => Ok(false),
        result => Ok(result.map(|()| true)?),
    }
}

fn set_pass_rights(socket: &impl AsFd, pass: bool) -> nix::Result<()> {
    /// `SO_PASSRIGHTS` (asm-generic/socket.h), which libc does not have yet.
    const SO_PASSRIGHTS: c_int = 83;
    const SIZE: socklen_t = c_int::BITS / u8::BITS;
    let fd = socket.as_fd().as_raw_fd();
    let value = c_int::from(pass);
    // SAFETY: the descriptor is open, and the kernel reads an int from where one is.
    let set =
        unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, SO_PASSRIGHTS, (&raw const value).cast(), SIZE) };
    Errno::result(set).map(drop)
}
