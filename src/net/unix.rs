use std::{
    io::{self, ErrorKind, Read, Write},
    net::Shutdown,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd};

use crate::sys;

/// A connection over a Unix socket, in the runtime of the thread that serves it.
///
/// Not tokio's, which has epoll tell of room to write, too. Such a socket has room whenever its other
/// end has read something, so epoll would wake the thread for each answer that a client reads, to do
/// nothing; behind a proxy on the same host that nearly doubled what a request costs. Here epoll is
/// asked for it by the first answer that finds no room.
#[derive(Debug)]
pub struct Unix {
    /// Gone only while it is registered otherwise, and when that fails.
    socket: Option<AsyncFd<UnixStream>>,
    is_told_of_room: bool,
}

impl Unix {
    /// Registers a connection that does not block with the runtime of this thread.
    ///
    /// # Errors
    /// When epoll takes no more descriptors.
    pub fn new(socket: UnixStream) -> io::Result<Self> {
        Ok(Self { socket: Some(sys::watch_stream(socket, Interest::READABLE)?), is_told_of_room: false })
    }

    /// Takes the connection out of its runtime.
    ///
    /// # Errors
    /// When it could not be registered any more.
    pub fn into_std(self) -> io::Result<UnixStream> {
        Ok(self.socket.ok_or_else(gone)?.into_inner())
    }

    fn socket(&self) -> io::Result<&AsyncFd<UnixStream>> {
        self.socket.as_ref().ok_or_else(gone)
    }

    /// Has epoll tell of room from now on, and of everything else anew.
    fn ask_for_room(&mut self, cx: &Context<'_>) -> io::Result<()> {
        let socket = self.socket.take().ok_or_else(gone)?.into_inner();
        self.socket = Some(sys::watch_stream(socket, Interest::READABLE | Interest::WRITABLE)?);
        self.is_told_of_room = true;
        // Whoever waited for something to read has to do so anew, too.
        cx.waker().wake_by_ref();
        Ok(())
    }
}

fn gone() -> io::Error {
    io::Error::other("epoll has not taken the connection back")
}

impl AsFd for Unix {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_ref().expect("a connection that could not be registered is dropped").as_fd()
    }
}

impl AsyncRead for Unix {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut().socket()?;
        loop {
            let mut ready = ready!(socket.poll_read_ready(cx))?;
            let room = buf.initialize_unfilled();
            match ready.try_io(|socket| socket.get_ref().read(room)) {
                Ok(Ok(length)) => {
                    // Less than there was room for is all there was; epoll tells of more.
                    if 0 < length && length < room.len() {
                        ready.clear_ready();
                    }
                    buf.advance(length);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Unix {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.is_told_of_room {
            match this.socket()?.get_ref().write(buf) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => this.ask_for_room(cx)?,
                result => return Poll::Ready(result),
            }
        }
        let socket = this.socket()?;
        loop {
            let mut ready = ready!(socket.poll_write_ready(cx))?;
            if let Ok(result) = ready.try_io(|socket| socket.get_ref().write(buf)) {
                return Poll::Ready(result);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket()?.get_ref().shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn pair() -> (Unix, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (Unix::new(near).unwrap(), far)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_finds_no_room_waits_for_it_and_is_whole() {
        let (mut near, mut far) = pair();
        let sent: Vec<_> = (0..=250).cycle().take(4 << 20).collect();
        let reader = thread::spawn(move || {
            let mut received = Vec::new();
            far.write_all(b"begin").unwrap();
            far.read_to_end(&mut received).unwrap();
            received
        });
        near.write_all(&sent).await.unwrap();
        assert!(near.is_told_of_room, "all of it has fit");
        let mut begin = [0; 5];
        near.read_exact(&mut begin).await.unwrap();
        near.shutdown().await.unwrap();
        assert_eq!(&begin, b"begin");
        assert!(reader.join().unwrap() == sent);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_comes_in_pieces_and_the_end_are_noticed() {
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
}
