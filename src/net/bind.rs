//! Opens the sockets that pixeld does not inherit from systemd.

use std::{
    fs, io,
    net::SocketAddr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::Path,
};

use nix::libc::SOMAXCONN;
use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with, sockopt,
    },
};

use super::Address;
use crate::sys;

/// An address on which pixeld cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}{}", hint(address, cause))]
pub struct BindError {
    /// The configured address.
    pub address: Address,
    /// The error of the operating system.
    pub cause: io::Error,
}

/// The identity of a file. Its inode number is not reused while the socket is open.
#[derive(Debug, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub fn of(path: &Path) -> io::Result<Self> {
        path.symlink_metadata().map(|meta| Self { device: meta.dev(), inode: meta.ino() })
    }
}

fn stream_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(family, SocketType::STREAM, flags, None)?)
}

pub fn listen_tcp(address: &SocketAddr) -> io::Result<OwnedFd> {
    let fd = stream_socket(if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET })?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    if address.is_ipv6() {
        // So that "[::]:8000" and "0.0.0.0:8000" can be configured together.
        sockopt::set_ipv6_v6only(&fd, true)?;
    }
    set_nodelay(&fd)?;
    limit_tcp_send_buffer(&fd)?;
    bind(&fd, address)?;
    listen(&fd, SOMAXCONN)?;
    Ok(fd)
}

pub fn listen_unix(path: &Path) -> io::Result<(OwnedFd, FileId)> {
    let fd = stream_socket(AddressFamily::UNIX)?;
    let address = SocketAddrUnix::new(path)?;
    match bind(&fd, &address) {
        Err(Errno::ADDRINUSE) if is_stale(path) => {
            fs::remove_file(path)?;
            bind(&fd, &address)?;
        }
        result => result?,
    }
    // Clients cannot connect before listen(2), so the mode that the umask gave has no effect.
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    let file = FileId::of(path)?;
    sys::reject_descriptors(&fd)?;
    listen(&fd, SOMAXCONN)?;
    Ok((fd, file))
}

/// Whether `path` is a socket on which no process listens.
fn is_stale(path: &Path) -> bool {
    // Not blocking: if the backlog of that process is full, connect(2) would wait.
    let connected = || -> io::Result<()> {
        Ok(connect(stream_socket(AddressFamily::UNIX)?, &SocketAddrUnix::new(path)?)?)
    };
    is_socket(path) && connected().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn is_socket(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.file_type().is_socket())
}

/// Disables Nagle's algorithm, because a response is one write. Accepted sockets inherit this.
pub fn set_nodelay(fd: &OwnedFd) -> io::Result<()> {
    Ok(sockopt::set_tcp_nodelay(fd, true)?)
}

/// The bytes of responses that the kernel keeps for a client that does not read. The kernel doubles this, and
/// accepts one more segment of up to 36 KiB. So a response of 64 KiB takes one write.
const UNIX_SEND_BUFFER: usize = 40 << 10;
/// The same over TCP, where bytes count until they are acknowledged. Linux delays an acknowledgement by up to 40 ms,
/// which would delay the rest of a response that does not fit.
const TCP_SEND_BUFFER: usize = 256 << 10;

/// Sets [`UNIX_SEND_BUFFER`] on an accepted socket, because it does not inherit it from the listener.
pub fn limit_unix_send_buffer(fd: impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_socket_send_buffer_size(fd, UNIX_SEND_BUFFER)?)
}

/// Sets [`TCP_SEND_BUFFER`] on a listener, from which accepted sockets inherit it, or on an accepted socket.
pub fn limit_tcp_send_buffer(fd: impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_socket_send_buffer_size(fd, TCP_SEND_BUFFER)?)
}

fn hint(address: &Address, cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::AddrInUse if address.path().is_some_and(|path| !is_socket(path)) => {
            " (a file that is no socket is in the way: remove it, or choose another path)"
        }
        io::ErrorKind::AddrInUse => " (another process listens there: stop it, or choose another address)",
        io::ErrorKind::NotFound => " (its folder does not exist: create it)",
        io::ErrorKind::PermissionDenied if address.path().is_some() => {
            " (choose a folder that this user may write to)"
        }
        io::ErrorKind::PermissionDenied => " (choose a port above 1023)",
        io::ErrorKind::AddrNotAvailable => " (no interface of this host has that address)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::net::{UnixListener, UnixStream},
        sync::mpsc::channel,
        thread,
        time::Duration,
    };

    use super::*;
    use crate::net::Listener;

    fn unix(path: &Path) -> Address {
        Address::Unix(path.into())
    }

    #[test]
    fn socket_with_a_full_backlog_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let busy = UnixListener::bind(&path).unwrap();
        listen(&busy, 0).unwrap();
        let _waiting = UnixStream::connect(&path).unwrap();
        let (told, bound) = channel();
        thread::spawn(move || told.send(Listener::bind(&unix(&path)).map(drop)));
        let error = bound.recv_timeout(Duration::from_secs(10)).expect("it does not wait").unwrap_err();
        assert!(error.to_string().contains("another process listens there"), "{error}");
    }

    #[test]
    fn permission_error_advice_fits_the_socket() {
        let advice = |address: &str| {
            let cause = io::ErrorKind::PermissionDenied.into();
            BindError { address: address.parse().unwrap(), cause }.to_string()
        };
        assert!(advice("127.0.0.1:80").ends_with("(choose a port above 1023)"));
        assert!(advice("unix:/s").ends_with("(choose a folder that this user may write to)"));
    }
}
