use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    pin::Pin,
    task::{Context, Poll},
};

use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::unix::Unix;

/// An accepted connection that belongs to no runtime yet, so it can go to any thread.
#[derive(Debug)]
pub enum Socket {
    /// Over TCP, version 4 or 6.
    Tcp(std::net::TcpStream),
    /// Over a Unix socket.
    Unix(std::os::unix::net::UnixStream),
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

impl Socket {
    pub(super) fn tcp(fd: OwnedFd) -> Self {
        Self::Tcp(fd.into())
    }

    pub(super) fn unix(fd: OwnedFd) -> Self {
        Self::Unix(fd.into())
    }

    /// A connection that another process has accepted.
    ///
    /// # Errors
    /// When it is neither TCP nor a Unix socket.
    pub fn adopt(fd: OwnedFd) -> io::Result<Self> {
        let address = getsockname::<SockaddrStorage>(fd.as_raw_fd())?;
        match address.family() {
            Some(AddressFamily::Inet | AddressFamily::Inet6) => Ok(Self::Tcp(fd.into())),
            Some(AddressFamily::Unix) => Ok(Self::Unix(fd.into())),
            _ => Err(io::Error::other("that is no connection over TCP or a Unix socket")),
        }
    }

    /// The address of the other end; a Unix socket's has none, and neither has one that is gone.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Registers the connection with the runtime of this thread.
    ///
    /// # Errors
    /// When epoll takes no more descriptors.
    pub fn into_stream(self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(socket) => Stream::Tcp(tokio::net::TcpStream::from_std(socket)?),
            Self::Unix(socket) => Stream::Unix(Unix::new(socket)?),
        })
    }
}

/// A connection in the runtime of the thread that serves it.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP, version 4 or 6.
    Tcp(tokio::net::TcpStream),
    /// Over a Unix socket.
    Unix(Unix),
}

impl Stream {
    /// Takes the connection out of its runtime, for another thread to serve.
    ///
    /// # Errors
    /// When it cannot be taken out of epoll.
    pub fn into_socket(self) -> io::Result<Socket> {
        Ok(match self {
            Self::Tcp(stream) => Socket::Tcp(stream.into_std()?),
            Self::Unix(stream) => Socket::Unix(stream.into_std()?),
        })
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

macro_rules! delegate {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
