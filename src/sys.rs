//! The only module with `unsafe`: it turns descriptor numbers into owned descriptors, and lends
//! owned ones to epoll.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
};

use nix::sys::socket::{SockFlag, accept4};
use tokio::io::unix::AsyncFd;

use crate::net::Listener;

/// Takes the descriptors that the service manager passed, with their names, and removes
/// `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES` from the environment (`sd_listen_fds(3)`).
/// The descriptors are close-on-exec. To be called once, before any thread is started.
///
/// # Errors
/// When those variables contradict each other, or name descriptors that are not open.
pub fn take_listen_fds() -> io::Result<Vec<(OwnedFd, String)>> {
    // SAFETY: the caller has started no thread, so nobody reads the environment meanwhile.
    let passed = unsafe { sd_notify::listen_fds_with_names_and_unset_env() }?;
    // SAFETY: the service manager passed these descriptors to this process, the variables that
    // named them are gone, and setting close-on-exec on each has shown that it is open: nobody
    // else owns them.
    Ok(passed.map(|(fd, name)| (unsafe { OwnedFd::from_raw_fd(fd) }, name)).collect())
}

/// Accepts one connection, non-blocking and close-on-exec in the same call (accept4(2)).
///
/// # Errors
/// As accept(2): `WouldBlock` when nobody waits, `EMFILE` and the like when resources are short.
pub fn accept(listener: impl AsFd) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = accept4(listener.as_fd().as_raw_fd(), flags)?;
    // SAFETY: accept4 has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lets the runtime of this thread tell when somebody waits to be accepted.
///
/// # Errors
/// When epoll takes no more descriptors.
pub fn watch(listener: Listener) -> io::Result<AsyncFd<Listener>> {
    // SAFETY: a Listener owns its descriptor and returns the same one until it is dropped, which
    // AsyncFd does only after it has taken the descriptor out of epoll.
    Ok(unsafe { AsyncFd::register(listener) }?)
}
