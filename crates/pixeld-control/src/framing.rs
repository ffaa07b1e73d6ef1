//! The framing of Varlink messages in the daemon: a bounded buffer for each client, and each reply is serialized once.
//! zlink's own connection collects the descriptors of an incomplete message, and serializes a reply again each time
//! its buffer grows.

use std::{io, os::fd::AsFd, rc::Rc};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use tokio::net::UnixStream;
use zlink::Call;

use super::transport::AnyCall;

/// The maximum size of a call, without the NUL byte at its end.
pub const MAX_CALL_SIZE: usize = 64 << 10;
/// Bytes read at once.
const CHUNK: usize = 4 << 10;

/// The calls of one client.
#[derive(Debug)]
pub struct CallReader {
    stream: Rc<UnixStream>,
    buffer: Vec<u8>,
    /// The start of the next message.
    start: usize,
    /// `buffer` has no NUL byte between `start` and here.
    searched: usize,
}

impl CallReader {
    pub fn new(stream: Rc<UnixStream>) -> Self {
        Self { stream, buffer: Vec::new(), start: 0, searched: 0 }
    }

    /// Waits for the next call; `None` at the end of the stream.
    ///
    /// # Errors
    /// `InvalidData` if the message is not a call, `FileTooLarge` if it exceeds [`MAX_CALL_SIZE`].
    pub async fn next(&mut self) -> io::Result<Option<Call<AnyCall>>> {
        loop {
            if let Some(length) = self.buffer[self.searched..].iter().position(|byte| *byte == 0) {
                let end = self.searched + length;
                let message = &self.buffer[self.start..end];
                let call = if message.len() > MAX_CALL_SIZE { Err(too_large()) } else { parse(message) };
                self.start = end + 1;
                self.searched = self.start;
                self.release();
                return call.map(Some);
            }
            self.searched = self.buffer.len();
            if self.buffer.len() - self.start > MAX_CALL_SIZE {
                return Err(too_large());
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Reads available bytes; returns `false` at the end of the stream.
    ///
    /// Uses read(2), without a buffer for control messages: the kernel closes passed descriptors before they get a
    /// number. To close one may block (`SO_LINGER`), so only threads of control sockets call this.
    async fn fill(&mut self) -> io::Result<bool> {
        loop {
            self.stream.readable().await?;
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
            let mut chunk = [0; CHUNK];
            match self.stream.try_read(&mut chunk) {
                Ok(0) => return Ok(false),
                Ok(length) => {
                    self.buffer.reserve_exact(length);
                    self.buffer.extend_from_slice(&chunk[..length]);
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Releases the memory of a large message.
    fn release(&mut self) {
        if self.start == self.buffer.len() {
            (self.start, self.searched) = (0, 0);
            self.buffer.clear();
            self.buffer.shrink_to(CHUNK);
        }
    }

    /// Whether the peer has closed the connection. One that has only shut down its sending side still
    /// waits for responses.
    pub fn is_deserted(&self) -> bool {
        // POLLHUP is reported without being requested.
        let mut peer = [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
        poll(&mut peer, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }
}

fn parse(message: &[u8]) -> io::Result<Call<AnyCall>> {
    serde_json::from_slice(message).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("a call is larger than {MAX_CALL_SIZE} bytes"))
}

/// Returns a message with its NUL byte.
///
/// # Errors
/// If `message` cannot be serialized.
pub fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(message)?;
    bytes.push(0);
    Ok(bytes)
}

pub async fn write(stream: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{IoSlice, Read, Write},
        mem::MaybeUninit,
        os::unix::net,
        time::Duration,
    };

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use tokio::time::timeout;

    use super::*;

    fn pair() -> (net::UnixStream, CallReader) {
        let (near, far) = net::UnixStream::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        (near, CallReader::new(Rc::new(UnixStream::from_std(far).unwrap())))
    }

    /// Returns a call of `size` bytes, with its NUL byte.
    fn call(method: &str, size: usize) -> Vec<u8> {
        let mut call = format!("{{\"method\":\"{method}\"}}").into_bytes();
        call.resize(size, b' ');
        call.push(0);
        call
    }

    #[tokio::test]
    async fn split_call_equals_whole_call() {
        let (mut near, mut reader) = pair();
        let (first, second) = (call("a.B", 20), call("c.D", 30));
        near.write_all(&[&first[..], &second[..10]].concat()).unwrap();
        assert_eq!(reader.next().await.unwrap().unwrap().method().method, "a.B");
        near.write_all(&second[10..]).unwrap();
        near.write_all(&call("e.F", 16)).unwrap();
        assert_eq!(reader.next().await.unwrap().unwrap().method().method, "c.D");
        assert_eq!(reader.next().await.unwrap().unwrap().method().method, "e.F");
        drop(near);
        assert!(reader.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn descriptors_of_unfinished_call_are_closed() {
        let (near, mut reader) = pair();
        let (mut read_end, write_end) = io::pipe().unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let passed = [write_end.as_fd()];
        assert!(control.push(SendAncillaryMessage::ScmRights(&passed)));
        sendmsg(&near, &[IoSlice::new(b"{")], &mut control, SendFlags::empty()).unwrap();
        drop(write_end);
        assert!(timeout(Duration::from_millis(10), reader.next()).await.is_err());
        assert_eq!(reader.buffer, b"{");
        assert_eq!(read_end.read(&mut [0]).unwrap(), 0, "the last write end is closed");
    }

    #[tokio::test]
    async fn call_above_the_size_limit_is_rejected() {
        let (mut near, mut reader) = pair();
        near.write_all(&call("a.B", MAX_CALL_SIZE)).unwrap();
        assert!(reader.next().await.unwrap().is_some());
        assert!(reader.buffer.capacity() <= CHUNK, "{} bytes kept", reader.buffer.capacity());
        near.write_all(&call("a.B", MAX_CALL_SIZE + 1)).unwrap();
        assert_eq!(reader.next().await.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert!(reader.buffer.capacity() <= MAX_CALL_SIZE + 2 * CHUNK);
    }
}
