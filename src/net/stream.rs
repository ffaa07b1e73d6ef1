use std::{
    io::{self, ErrorKind, IoSlice},
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketType, getpeername,
        getsockname, recv, send, sendmsg, shutdown, sockopt,
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd},
    task::coop,
};

use super::bind::{limit_tcp_send_buffer, limit_unix_send_buffer};
use crate::sys;

/// A non-blocking connection over TCP or a Unix socket. It is not registered with a runtime, so it can move to any
/// thread.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Socket {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Checks a connection that another process has accepted, and makes it non-blocking. A connection that the client
    /// has reset is adopted, too: its first read fails.
    ///
    /// # Errors
    /// If it is not a connected stream socket over TCP or a Unix socket.
    pub fn adopt(fd: OwnedFd) -> io::Result<Self> {
        let family = getsockname(&fd)?.address_family();
        let is_known = matches!(family, AddressFamily::INET | AddressFamily::INET6 | AddressFamily::UNIX);
        if !is_known || sockopt::socket_type(&fd)? != SocketType::STREAM {
            return Err(io::Error::other("that is no connection over TCP or a Unix socket"));
        }
        if getpeername(&fd).is_err() && sockopt::socket_error(&fd)?.is_ok() {
            return Err(io::Error::other("that socket is not connected"));
        }
        // An earlier version of pixeld may have accepted it without these options.
        if family == AddressFamily::UNIX {
            sys::reject_descriptors(&fd)?;
            limit_unix_send_buffer(&fd)?;
        } else {
            limit_tcp_send_buffer(&fd)?;
        }
        let flags = fcntl_getfl(&fd)?;
        if !flags.contains(OFlags::NONBLOCK) {
            fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
        }
        Ok(Self(fd))
    }

    /// Returns the address of the client. `None` for a Unix socket, or if the client has closed the connection.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        getpeername(&self.0).ok().flatten()?.try_into().ok()
    }

    /// Converts the connection for the runtime of this thread.
    pub fn into_stream(self) -> Stream {
        Stream(EpollState::Unregistered(self.0))
    }
}

/// A connection in the runtime of the thread that serves it.
///
/// It differs from tokio's streams in two ways, to save system calls and wake-ups:
/// - It is registered with epoll only when a read finds no input. A client that sends one request and closes the
///   connection needs no registration.
/// - It is registered for writing only when the send buffer is full. A Unix socket becomes writable whenever its
///   client has read something, so epoll would wake the thread after each response, for nothing. Behind a proxy on
///   the same host, that nearly doubled the cost of a request.
#[derive(Debug)]
pub struct Stream(EpollState);

#[derive(Debug)]
enum EpollState {
    Unregistered(OwnedFd),
    /// epoll reports input.
    Read(AsyncFd<OwnedFd>),
    /// epoll reports input and space in the send buffer. Entered when that buffer is full for the first time.
    ReadWrite(AsyncFd<OwnedFd>),
    /// The registration has failed.
    Failed,
}

impl Stream {
    /// Removes the connection from its runtime, so that it can move to another thread.
    ///
    /// # Errors
    /// If its registration had failed.
    pub fn into_socket(self) -> io::Result<Socket> {
        self.0.into_fd().map(Socket)
    }

    /// Whether a read would return bytes at once.
    pub fn has_input(&self) -> bool {
        let peek = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        self.0.fd().is_ok_and(|fd| recv(fd, &mut [0], peek).is_ok_and(|(_, length)| length > 0))
    }

    /// Whether the client has taken everything that was sent.
    pub fn is_send_queue_empty(&self) -> bool {
        self.0.fd().is_ok_and(sys::is_send_queue_empty)
    }

    fn register(&mut self, interest: Interest) -> io::Result<()> {
        let fd = std::mem::replace(&mut self.0, EpollState::Failed).into_fd()?;
        let watched = sys::register_socket(fd, interest)?;
        self.0 =
            if interest.is_writable() { EpollState::ReadWrite(watched) } else { EpollState::Read(watched) };
        Ok(())
    }
}

impl EpollState {
    fn into_fd(self) -> io::Result<OwnedFd> {
        match self {
            Self::Unregistered(fd) => Ok(fd),
            Self::Read(watched) | Self::ReadWrite(watched) => Ok(watched.into_inner()),
            Self::Failed => Err(not_registered()),
        }
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        match self {
            Self::Unregistered(fd) => Ok(fd.as_fd()),
            Self::Read(watched) | Self::ReadWrite(watched) => Ok(watched.as_fd()),
            Self::Failed => Err(not_registered()),
        }
    }
}

fn not_registered() -> io::Error {
    io::Error::other("epoll has not taken the connection")
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let length = ready!(self.get_mut().poll_receive(cx, buf.initialize_unfilled()))?;
        buf.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl Stream {
    /// Receives bytes into `buf`, and returns their number, 0 at the end of the input (recv(2)).
    pub fn poll_receive(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            match &self.0 {
                EpollState::Unregistered(fd) => {
                    let budget = ready!(coop::poll_proceed(cx));
                    match recv(fd, &mut *buf, RecvFlags::empty()) {
                        Err(Errno::WOULDBLOCK) => self.register(Interest::READABLE)?,
                        Err(Errno::INTR) => {}
                        result => {
                            budget.made_progress();
                            return Poll::Ready(Ok(result?.0));
                        }
                    }
                }
                EpollState::Read(watched) | EpollState::ReadWrite(watched) => {
                    let mut ready = ready!(watched.poll_read_ready(cx))?;
                    match ready.try_io(|fd| Ok(recv(fd, &mut *buf, RecvFlags::empty())?.0)) {
                        Ok(Ok(length)) => {
                            // A short read has emptied the socket, so the next read waits for epoll.
                            if 0 < length && length < buf.len() {
                                ready.clear_ready();
                            }
                            return Poll::Ready(Ok(length));
                        }
                        Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                        Ok(Err(error)) => return Poll::Ready(Err(error)),
                        Err(_would_block) => {}
                    }
                }
                EpollState::Failed => return Poll::Ready(Err(not_registered())),
            }
        }
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        send: impl Fn(BorrowedFd<'_>) -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if !matches!(self.0, EpollState::ReadWrite(_)) {
            match send(self.0.fd()?) {
                Err(Errno::WOULDBLOCK) => {
                    self.register(Interest::READABLE | Interest::WRITABLE)?;
                    // The new registration has no waker for reading, so the task must poll again.
                    cx.waker().wake_by_ref();
                }
                result => return Poll::Ready(Ok(result?)),
            }
        }
        let EpollState::ReadWrite(watched) = &self.0 else { return Poll::Ready(Err(not_registered())) };
        loop {
            let mut ready = ready!(watched.poll_write_ready(cx))?;
            if let Ok(result) = ready.try_io(|fd| Ok(send(fd.as_fd())?)) {
                return Poll::Ready(result);
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(cx, |fd| send(fd, buf, SendFlags::NOSIGNAL))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let send = |fd: BorrowedFd<'_>| {
            sendmsg(fd, slices, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)
        };
        self.get_mut().poll_send(cx, send)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(shutdown(self.0.fd()?, Shutdown::Write).map_err(Into::into))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{IoSlice, Read, Write},
        mem::MaybeUninit,
        os::unix::net::UnixStream,
        thread,
    };

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, sendmsg};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A version before this one, or its listener, may not have had the option.
    #[test]
    fn adopted_connection_accepts_no_descriptors() {
        let (near, far) = UnixStream::pair().unwrap();
        let send = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let passed = [far.as_fd()];
            assert!(control.push(SendAncillaryMessage::ScmRights(&passed)));
            sendmsg(&far, &[IoSlice::new(b"P")], &mut control, SendFlags::NOSIGNAL)
        };
        assert_eq!(send(), Ok(1));
        let _adopted = Socket::adopt(near.into()).unwrap();
        // Kernels before 6.16 cannot reject it.
        let (other, _peer) = UnixStream::pair().unwrap();
        assert!(matches!(send(), Err(Errno::PERM)) || !sys::reject_descriptors(other).unwrap());
    }

    fn pair() -> (Stream, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (Socket::new(near.into()).into_stream(), far)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn short_connection_is_never_registered() {
        let (mut near, mut far) = pair();
        far.write_all(b"question").unwrap();
        let mut question = [0; 8];
        near.read_exact(&mut question).await.unwrap();
        near.write_all(b"answer").await.unwrap();
        near.shutdown().await.unwrap();
        assert!(matches!(near.0, EpollState::Unregistered(_)), "{near:?}");
        let mut answer = String::new();
        far.read_to_string(&mut answer).unwrap();
        assert_eq!((&question, answer.as_str()), (b"question", "answer"));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn blocked_write_completes_later() {
        let (mut near, mut far) = pair();
        let sent: Vec<_> = (0..=250).cycle().take(4 << 20).collect();
        let reader = thread::spawn(move || {
            let mut received = Vec::new();
            far.write_all(b"begin").unwrap();
            far.read_to_end(&mut received).unwrap();
            received
        });
        near.write_all(&sent).await.unwrap();
        assert!(matches!(near.0, EpollState::ReadWrite(_)), "all of it has fit");
        let mut begin = [0; 5];
        near.read_exact(&mut begin).await.unwrap();
        near.shutdown().await.unwrap();
        assert_eq!(&begin, b"begin");
        assert!(reader.join().unwrap() == sent);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn split_data_and_the_end_are_noticed() {
        let (mut near, mut far) = pair();
        let writer = thread::spawn(move || {
            for piece in ["one ", "two ", "three"] {
                far.write_all(piece.as_bytes()).unwrap();
                thread::yield_now();
            }
        });
        let mut received = String::new();
        near.read_to_string(&mut received).await.unwrap();
        assert_eq!(received, "one two three");
        writer.join().unwrap();
        assert!(near.write_all(b"x").await.is_err());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn stream_moves_between_runtimes() {
        let (near, mut far) = pair();
        let mut near = near;
        let reader = tokio::time::timeout(std::time::Duration::ZERO, near.read_u8());
        assert!(reader.await.is_err());
        assert!(matches!(near.0, EpollState::Read(_)), "{near:?}");
        let mut near = near.into_socket().unwrap().into_stream();
        far.write_all(b"!").unwrap();
        assert_eq!(near.read_u8().await.unwrap(), b'!');
    }
}
