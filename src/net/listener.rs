use std::{
    fmt, fs, io,
    net::SocketAddr,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::{
            fs::{FileTypeExt, PermissionsExt},
            net::UnixStream,
        },
    },
    path::Path,
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::socket::{
        self, AddressFamily, Backlog, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, sockopt,
    },
};
use rustix::net::{SocketFlags, acceptfrom_with};

use super::{Address, Socket};

/// A stream socket that listens: checked, non-blocking and close-on-exec.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    address: Address,
    is_own: bool,
}

/// Why an address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}{}", hint(address, cause))]
pub struct BindError {
    /// The address as the configuration has it.
    pub address: Address,
    /// What the operating system said.
    pub cause: io::Error,
}

/// Why an inherited descriptor is no [`Listener`].
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// It is a file, a pipe, or a socket of another kind.
    #[error("it is {0}, not a listening stream socket")]
    NotAStreamListener(&'static str),
    /// Its address family is neither IP nor Unix.
    #[error("its address family is neither IPv4, IPv6 nor Unix")]
    OtherFamily,
    /// The operating system refused to look at it or to change it.
    #[error("{0}")]
    Os(#[from] io::Error),
}

impl Listener {
    /// Opens a socket of our own on `address`. A Unix socket that nobody listens on any more is
    /// replaced; its access mode is 0660 from the first moment.
    ///
    /// # Errors
    /// When the address is taken, not ours, or not to be written to.
    pub fn bind(address: &Address) -> Result<Self, BindError> {
        let fail = |cause| BindError { address: address.clone(), cause };
        match address {
            Address::Tcp(ip) => {
                let (fd, address) = bind_tcp(&SockaddrStorage::from(*ip)).map_err(fail)?;
                Ok(Self { fd, address, is_own: true })
            }
            Address::Unix(path) => {
                let fd = bind_unix(path).map_err(fail)?;
                Ok(Self { fd, address: address.clone(), is_own: true })
            }
        }
    }

    /// Checks a descriptor that was inherited and makes it non-blocking.
    ///
    /// # Errors
    /// When it is anything but a stream socket that listens on an IP or Unix address.
    pub fn adopt(fd: OwnedFd) -> Result<Self, AdoptError> {
        match socket::getsockopt(&fd, sockopt::SockType) {
            Ok(SockType::Stream) => {}
            Ok(SockType::Datagram) => return Err(AdoptError::NotAStreamListener("a datagram socket")),
            Ok(_) => return Err(AdoptError::NotAStreamListener("a socket of another type")),
            Err(nix::Error::ENOTSOCK) => return Err(AdoptError::NotAStreamListener("no socket")),
            Err(errno) => return Err(io::Error::from(errno).into()),
        }
        if !socket::getsockopt(&fd, sockopt::AcceptConn).map_err(io::Error::from)? {
            return Err(AdoptError::NotAStreamListener("a socket that does not listen"));
        }
        let address = local_address(&fd)?;
        let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL).map_err(io::Error::from)?);
        fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map_err(io::Error::from)?;
        if matches!(address, Address::Tcp(_)) {
            send_at_once(&fd)?;
        }
        Ok(Self { fd, address, is_own: false })
    }

    /// The address that it listens on, with the port that the kernel chose where 0 was asked for.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether nobody else has it, so that whoever waits in its backlog is lost with it.
    pub fn is_own(&self) -> bool {
        self.is_own
    }

    /// The same Unix socket for the runtime of this thread; this listener keeps its own descriptor.
    ///
    /// # Errors
    /// When there is no descriptor left, or it is no Unix socket.
    pub fn to_unix(&self) -> io::Result<tokio::net::UnixListener> {
        tokio::net::UnixListener::from_std(self.fd.try_clone()?.into())
    }

    /// Accepts one connection without waiting, non-blocking and close-on-exec; with the address of its
    /// other end, which a Unix socket's has not.
    ///
    /// # Errors
    /// As accept(2): `WouldBlock` when nobody waits, `EMFILE` and the like when resources are short.
    pub fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        let (fd, peer) = acceptfrom_with(&self.fd, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        Ok((Socket::new(fd), peer.and_then(|peer| peer.try_into().ok())))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.is_own
            && let Address::Unix(path) = &self.address
        {
            // Somebody may have removed it before us; then there is nothing to do.
            let _ = fs::remove_file(path);
        }
    }
}

const NEW: SockFlag = SockFlag::SOCK_CLOEXEC.union(SockFlag::SOCK_NONBLOCK);

fn bind_tcp(address: &SockaddrStorage) -> io::Result<(OwnedFd, Address)> {
    let family = address.family().unwrap_or(AddressFamily::Inet);
    let fd = socket::socket(family, SockType::Stream, NEW, None)?;
    socket::setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if family == AddressFamily::Inet6 {
        // "[::]:8000" and "0.0.0.0:8000" can stand side by side, and each means what it says.
        socket::setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    send_at_once(&fd)?;
    socket::bind(fd.as_raw_fd(), address)?;
    socket::listen(&fd, Backlog::MAXCONN)?;
    let address = local_address(&fd).map_err(io::Error::other)?;
    Ok((fd, address))
}

fn bind_unix(path: &Path) -> io::Result<OwnedFd> {
    let fd = socket::socket(AddressFamily::Unix, SockType::Stream, NEW, None)?;
    let address = UnixAddr::new(path)?;
    match socket::bind(fd.as_raw_fd(), &address) {
        Err(nix::Error::EADDRINUSE) if is_abandoned(path) => {
            fs::remove_file(path)?;
            socket::bind(fd.as_raw_fd(), &address)?;
        }
        result => result?,
    }
    // Before listen(2) nobody can connect, so nobody sees the mode that the umask gave.
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    socket::listen(&fd, Backlog::MAXCONN)?;
    Ok(fd)
}

/// Whether `path` is a socket left behind by a process that is gone.
fn is_abandoned(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
        && UnixStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
}

/// Accepted sockets inherit this: an answer is one write, so holding it back gains nothing.
fn send_at_once(fd: &OwnedFd) -> io::Result<()> {
    Ok(socket::setsockopt(fd, sockopt::TcpNoDelay, &true)?)
}

fn local_address(fd: &OwnedFd) -> Result<Address, AdoptError> {
    let address: SockaddrStorage = socket::getsockname(fd.as_raw_fd()).map_err(io::Error::from)?;
    if let Some(ip) = address.as_sockaddr_in() {
        Ok(Address::Tcp((*ip).into()))
    } else if let Some(ip) = address.as_sockaddr_in6() {
        Ok(Address::Tcp((*ip).into()))
    } else if let Some(unix) = address.as_unix_addr() {
        Ok(Address::Unix(unix.path().unwrap_or(Path::new("(unnamed)")).into()))
    } else {
        Err(AdoptError::OtherFamily)
    }
}

fn hint(address: &Address, cause: &io::Error) -> &'static str {
    let is_socket = |path| fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    match cause.kind() {
        io::ErrorKind::AddrInUse if address.path().is_some_and(|path| !is_socket(path)) => {
            " (a file that is no socket is in the way: remove it, or choose another path)"
        }
        io::ErrorKind::AddrInUse => " (another process listens there: stop it, or choose another address)",
        io::ErrorKind::NotFound => " (its folder does not exist: create it)",
        io::ErrorKind::PermissionDenied => {
            " (choose a port above 1023, or a folder that this user may write to)"
        }
        io::ErrorKind::AddrNotAvailable => " (no interface of this host has that address)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix_in(folder: &tempfile::TempDir) -> Address {
        Address::Unix(folder.path().join("s"))
    }

    #[test]
    fn an_abandoned_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let address = unix_in(&folder);
        let path = address.path().unwrap();
        drop(std::os::unix::net::UnixListener::bind(path).unwrap());
        assert!(path.exists());

        let listener = Listener::bind(&address).unwrap();
        let error = Listener::bind(&address).unwrap_err().to_string();
        assert!(error.contains("another process listens there"), "{error}");
        assert!(error.contains("unix:/"), "{error}");

        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_in_the_way_is_never_removed() {
        let folder = tempfile::tempdir().unwrap();
        let address = unix_in(&folder);
        fs::write(address.path().unwrap(), "precious").unwrap();
        let error = Listener::bind(&address).unwrap_err().to_string();
        assert!(error.contains("a file that is no socket is in the way"), "{error}");
        assert_eq!(fs::read_to_string(address.path().unwrap()).unwrap(), "precious");
    }

    #[test]
    fn only_a_listening_stream_socket_is_adopted() {
        let file: OwnedFd = fs::File::open("/dev/null").unwrap().into();
        let datagram: OwnedFd = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into();
        let (connected, _other) = UnixStream::pair().unwrap();
        for (fd, what) in [(file, "no socket"), (datagram, "datagram"), (connected.into(), "does not listen")]
        {
            let error = Listener::adopt(fd).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn an_adopted_listener_does_not_block_and_its_path_stays() {
        let folder = tempfile::tempdir().unwrap();
        let address = unix_in(&folder);
        let socket = std::os::unix::net::UnixListener::bind(address.path().unwrap()).unwrap();
        let listener = Listener::adopt(socket.into()).unwrap();
        assert_eq!(listener.address(), &address);
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(listener);
        assert!(address.path().unwrap().exists());
    }
}
