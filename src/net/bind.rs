//! Opens the sockets that pixeld does not inherit from systemd.

use std::{
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::Path,
};

use nix::{
    errno::Errno,
    sys::socket::{
        self, AddressFamily, Backlog, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, sockopt,
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

const SOCKET_FLAGS: SockFlag = SockFlag::SOCK_CLOEXEC.union(SockFlag::SOCK_NONBLOCK);

pub fn listen_tcp(address: &SockaddrStorage) -> io::Result<OwnedFd> {
    let family = address.family().unwrap_or(AddressFamily::Inet);
    let fd = socket::socket(family, SockType::Stream, SOCKET_FLAGS, None)?;
    socket::setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if family == AddressFamily::Inet6 {
        // So that "[::]:8000" and "0.0.0.0:8000" can be configured together.
        socket::setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    set_nodelay(&fd)?;
    limit_tcp_send_buffer(&fd)?;
    socket::bind(fd.as_raw_fd(), address)?;
    socket::listen(&fd, Backlog::MAXCONN)?;
    Ok(fd)
}

pub fn listen_unix(path: &Path) -> io::Result<(OwnedFd, FileId)> {
    let fd = socket::socket(AddressFamily::Unix, SockType::Stream, SOCKET_FLAGS, None)?;
    let address = UnixAddr::new(path)?;
    match socket::bind(fd.as_raw_fd(), &address) {
        Err(nix::Error::EADDRINUSE) if is_stale(path) => {
            fs::remove_file(path)?;
            socket::bind(fd.as_raw_fd(), &address)?;
        }
        result => result?,
    }
    // Clients cannot connect before listen(2), so the mode that the umask gave has no effect.
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    let file = FileId::of(path)?;
    sys::reject_descriptors(&fd)?;
    socket::listen(&fd, Backlog::MAXCONN)?;
    Ok((fd, file))
}

/// Whether `path` is a socket on which no process listens.
fn is_stale(path: &Path) -> bool {
    // Not blocking: if the backlog of that process is full, connect(2) would wait.
    let connect = || {
        let fd = socket::socket(AddressFamily::Unix, SockType::Stream, SOCKET_FLAGS, None)?;
        socket::connect(fd.as_raw_fd(), &UnixAddr::new(path)?)
    };
    is_socket(path) && connect() == Err(Errno::ECONNREFUSED)
}

fn is_socket(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.file_type().is_socket())
}

/// Disables Nagle's algorithm, because a response is one write. Accepted sockets inherit this.
pub fn set_nodelay(fd: &OwnedFd) -> io::Result<()> {
    Ok(socket::setsockopt(fd, sockopt::TcpNoDelay, &true)?)
}

/// The bytes of responses that the kernel keeps for a client that does not read. The kernel doubles this, and
/// accepts one more segment of up to 36 KiB. So a response of 64 KiB takes one write.
const UNIX_SEND_BUFFER: usize = 40 << 10;
/// The same over TCP, where bytes count until they are acknowledged. Linux delays an acknowledgement by up to 40 ms,
/// which would delay the rest of a response that does not fit.
const TCP_SEND_BUFFER: usize = 256 << 10;

/// Sets [`UNIX_SEND_BUFFER`] on an accepted socket, because it does not inherit it from the listener.
pub fn limit_unix_send_buffer(fd: impl AsFd) -> io::Result<()> {
    Ok(socket::setsockopt(&fd, sockopt::SndBuf, &UNIX_SEND_BUFFER)?)
}

/// Sets [`TCP_SEND_BUFFER`] on a listener, from which accepted sockets inherit it, or on an accepted socket.
pub fn limit_tcp_send_buffer(fd: impl AsFd) -> io::Result<()> {
    Ok(socket::setsockopt(&fd, sockopt::SndBuf, &TCP_SEND_BUFFER)?)
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
        socket::listen(&busy, Backlog::new(0).unwrap()).unwrap();
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
