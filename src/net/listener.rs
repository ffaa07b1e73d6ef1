use std::{
    ffi::OsStr,
    fmt, fs, io,
    net::SocketAddr,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    sync::Arc,
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, acceptfrom_with, getsockname, sockopt},
};

use super::{
    Address, BindError, Socket,
    bind::{self, FileId},
};
use crate::sys;

/// A stream socket that listens: checked, non-blocking and close-on-exec.
#[derive(Debug)]
pub struct Listener {
    fd: Arc<OwnedFd>,
    address: Address,
    is_own: bool,
    /// The file of a Unix socket that this process has opened.
    file: Option<FileId>,
}

impl Listener {
    /// Opens a socket on `address`. Replaces a Unix socket on which no process listens. The access mode of a Unix
    /// socket is 0660 before a client can connect.
    ///
    /// # Errors
    /// If the address is in use, does not belong to this host, or its folder is not writable.
    pub fn bind(address: &Address) -> Result<Self, BindError> {
        let fail = |cause| BindError { address: address.clone(), cause };
        match address {
            Address::Tcp(ip) => {
                let fd = bind::listen_tcp(ip).map_err(fail)?;
                let address = local_address(&fd).map_err(fail)?;
                Ok(Self { fd: fd.into(), address, is_own: true, file: None })
            }
            Address::Unix(path) => {
                let (fd, file) = bind::listen_unix(path).map_err(fail)?;
                Ok(Self { fd: fd.into(), address: address.clone(), is_own: true, file: Some(file) })
            }
        }
    }

    /// Checks an inherited descriptor, and makes it non-blocking.
    ///
    /// # Errors
    /// If it is not a stream socket that listens on an IP or Unix address.
    pub fn adopt(fd: OwnedFd) -> io::Result<Self> {
        let other = |what| Err(io::Error::other(format!("it is {what}, not a listening stream socket")));
        match sockopt::socket_type(&fd) {
            Ok(SocketType::STREAM) => {}
            Ok(SocketType::DGRAM) => return other("a datagram socket"),
            Ok(_) => return other("a socket of another type"),
            Err(Errno::NOTSOCK) => return other("no socket"),
            Err(error) => return Err(error.into()),
        }
        if !sockopt::socket_acceptconn(&fd)? {
            return other("a socket that does not listen");
        }
        let address = local_address(&fd)?;
        fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
        match address {
            Address::Tcp(_) => {
                bind::set_nodelay(&fd)?;
                bind::limit_tcp_send_buffer(&fd)?;
            }
            Address::Unix(_) => {
                sys::reject_descriptors(&fd)?;
            }
        }
        Ok(Self { fd: fd.into(), address, is_own: false, file: None })
    }

    /// Returns the address. If its port was configured as 0, it has the port that the kernel chose.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether this process has opened the socket, so that its backlog is lost with it.
    pub fn is_own(&self) -> bool {
        self.is_own
    }

    /// Returns the descriptor, for registration with a runtime.
    pub fn shared_fd(&self) -> Arc<OwnedFd> {
        self.fd.clone()
    }

    /// Returns another descriptor of the same Unix socket.
    ///
    /// # Errors
    /// If there is no descriptor left.
    pub fn try_clone(&self) -> io::Result<std::os::unix::net::UnixListener> {
        Ok(self.fd.try_clone()?.into())
    }

    /// Accepts a connection without waiting, and returns it with the address of the client. A client of a Unix
    /// socket has no address. The connection is non-blocking and close-on-exec.
    ///
    /// # Errors
    /// As accept(2): `WouldBlock` if the backlog is empty, `EMFILE` and others if resources are short.
    pub fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        let (fd, peer) = acceptfrom_with(&self.fd, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        // A client that connected before the listener was adopted has not inherited the first option.
        if matches!(self.address, Address::Unix(_)) {
            sys::reject_descriptors(&fd)?;
            bind::limit_unix_send_buffer(&fd)?;
        }
        Ok((Socket::new(fd), peer.and_then(|peer| peer.try_into().ok())))
    }

    /// Removes the file of a Unix socket that this process has opened.
    pub fn remove_file(&self) {
        // Another process may have bound its own socket to the path.
        if let (Some(file), Address::Unix(path)) = (&self.file, &self.address)
            && FileId::of(path).is_ok_and(|found| found == *file)
        {
            let _ = fs::remove_file(path);
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.remove_file();
    }
}

fn local_address(fd: &OwnedFd) -> io::Result<Address> {
    let address = getsockname(fd)?;
    match address.address_family() {
        AddressFamily::INET | AddressFamily::INET6 => Ok(Address::Tcp(address.try_into()?)),
        AddressFamily::UNIX => {
            let unix = SocketAddrUnix::try_from(address)?;
            let path = unix.path_bytes().map_or("(unnamed)".as_ref(), OsStr::from_bytes);
            Ok(Address::Unix(path.into()))
        }
        _ => Err(io::Error::other("its address family is neither IPv4, IPv6 nor Unix")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn unix_in(folder: &tempfile::TempDir) -> Address {
        Address::Unix(folder.path().join("s"))
    }

    #[test]
    fn only_a_stale_socket_is_replaced() {
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
    fn regular_file_at_the_path_is_kept() {
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
    fn adopted_listener_is_nonblocking_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let address = unix_in(&folder);
        let socket = std::os::unix::net::UnixListener::bind(address.path().unwrap()).unwrap();
        let listener = Listener::adopt(socket.into()).unwrap();
        assert_eq!(listener.address(), &address);
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(listener);
        assert!(address.path().unwrap().exists());
    }

    #[test]
    fn replaced_socket_file_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let address = unix_in(&folder);
        let path = address.path().unwrap();
        let first = Listener::bind(&address).unwrap();
        fs::remove_file(path).unwrap();
        let second = Listener::bind(&address).unwrap();
        drop(first);
        UnixStream::connect(path).expect("the second one is still there");
        drop(second);
        assert!(!path.exists());
    }
}
