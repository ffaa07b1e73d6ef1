//! Varlink messages as the daemon reads and writes them: a bounded buffer for each client, each
//! response serialized once. zlink's own connection collects the descriptors of an unfinished message
//! and serializes a response again each time its buffer grows.

use std::{io, os::fd::AsFd, rc::Rc};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use tokio::net::UnixStream;
use zlink::Call;

use super::transport::AnyCall;

/// Bytes of a call, without the NUL byte that ends it.
pub const MAX_CALL_SIZE: usize = 64 << 10;
/// Bytes read at once.
const CHUNK: usize = 4 << 10;

/// The calls of one client.
#[derive(Debug)]
pub struct CallReader {
    stream: Rc<UnixStream>,
    buffer: Vec<u8>,
    /// Where the next message begins.
    start: usize,
    /// Up to here `buffer` has no NUL byte behind `start`.
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

    /// Reads what is there; `false` at the end of the stream.
    ///
    /// This is read(2), without a buffer for control messages: the kernel closes descriptors that come
    /// along before they get a number here. Closing them may block this thread (`SO_LINGER`), which is
    /// why none but those of the control sockets call this.
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

    /// Gives back the memory of a large message.
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
        // POLLHUP is reported unasked.
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

/// A message with the NUL byte that ends it.
///
/// # Errors
/// If `message` cannot be expressed in JSON.
pub fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(message)?;
    bytes.push(0);
    Ok(bytes)
}

/// Writes all of it.
///
/// # Errors
/// As write(2).
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

    /// A call of exactly so many bytes, with its NUL byte.
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
