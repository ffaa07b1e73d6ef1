//! The framing of Varlink messages: a bounded buffer for each connection, and each message is serialized once.
//! zlink's own connection collects the descriptors of an incomplete message, has no limit of its own for a message,
//! and serializes a reply again each time its buffer grows.

use std::{io, os::fd::AsFd, sync::Arc};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::net::UnixStream;

/// The maximum size of a call, without the NUL byte at its end.
pub const MAX_CALL_SIZE: usize = 64 << 10;
/// The maximum size of a reply.
const MAX_REPLY_SIZE: usize = 1 << 20;
/// Bytes read at once.
const CHUNK: usize = 4 << 10;

/// A call of any method of any interface; parameters are checked when the method is known.
#[derive(Debug, Serialize, Deserialize)]
pub struct AnyCall {
    /// Interface and method, joined by a dot.
    pub method: String,
    /// An object, or null.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub parameters: Value,
}

/// Reads the messages of one connection.
#[derive(Debug)]
pub struct MessageReader {
    stream: Arc<UnixStream>,
    /// The kind of its messages, in errors.
    kind: &'static str,
    max_size: usize,
    buffer: Vec<u8>,
    /// The start of the next message.
    start: usize,
    /// `buffer` has no NUL byte between `start` and here.
    searched: usize,
}

impl MessageReader {
    /// Returns a reader of the calls of a client.
    pub fn of_calls(stream: Arc<UnixStream>) -> Self {
        Self { stream, kind: "call", max_size: MAX_CALL_SIZE, buffer: Vec::new(), start: 0, searched: 0 }
    }

    /// Returns a reader of the replies of a daemon.
    pub fn of_replies(stream: Arc<UnixStream>) -> Self {
        Self { kind: "reply", max_size: MAX_REPLY_SIZE, ..Self::of_calls(stream) }
    }

    /// Waits for the next message; `None` at the end of the stream. Cancel safe.
    ///
    /// # Errors
    /// `InvalidData` if the message is not a `T`, `FileTooLarge` if it is too large.
    pub async fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some(length) = self.buffer[self.searched..].iter().position(|byte| *byte == 0) {
                let end = self.searched + length;
                let message = &self.buffer[self.start..end];
                let message =
                    if message.len() > self.max_size { Err(self.too_large()) } else { parse(message) };
                self.start = end + 1;
                self.searched = self.start;
                self.release();
                return message.map(Some);
            }
            self.searched = self.buffer.len();
            if self.buffer.len() - self.start > self.max_size {
                return Err(self.too_large());
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

    fn too_large(&self) -> io::Error {
        let Self { kind, max_size, .. } = self;
        io::Error::new(io::ErrorKind::FileTooLarge, format!("a {kind} is larger than {max_size} bytes"))
    }
}

fn parse<T: DeserializeOwned>(message: &[u8]) -> io::Result<T> {
    serde_json::from_slice(message).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
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
    use std::{io::Write, os::unix::net};

    use super::*;

    fn pair() -> (net::UnixStream, MessageReader) {
        let (near, far) = net::UnixStream::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        (near, MessageReader::of_calls(Arc::new(UnixStream::from_std(far).unwrap())))
    }

    /// Returns a call of `size` bytes, with its NUL byte.
    fn call(method: &str, size: usize) -> Vec<u8> {
        let mut call = format!("{{\"method\":\"{method}\"}}").into_bytes();
        call.resize(size, b' ');
        call.push(0);
        call
    }

    async fn next(reader: &mut MessageReader) -> io::Result<Option<String>> {
        Ok(reader.next::<AnyCall>().await?.map(|call| call.method))
    }

    #[tokio::test]
    async fn split_call_equals_whole_call() {
        let (mut near, mut reader) = pair();
        let (first, second) = (call("a.B", 20), call("c.D", 30));
        near.write_all(&[&first[..], &second[..10]].concat()).unwrap();
        assert_eq!(next(&mut reader).await.unwrap().unwrap(), "a.B");
        near.write_all(&second[10..]).unwrap();
        near.write_all(&call("e.F", 16)).unwrap();
        assert_eq!(next(&mut reader).await.unwrap().unwrap(), "c.D");
        assert_eq!(next(&mut reader).await.unwrap().unwrap(), "e.F");
        drop(near);
        assert!(next(&mut reader).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn call_above_the_size_limit_is_rejected() {
        let (mut near, mut reader) = pair();
        near.write_all(&call("a.B", MAX_CALL_SIZE)).unwrap();
        assert!(next(&mut reader).await.unwrap().is_some());
        assert!(reader.buffer.capacity() <= CHUNK, "{} bytes kept", reader.buffer.capacity());
        near.write_all(&call("a.B", MAX_CALL_SIZE + 1)).unwrap();
        assert_eq!(next(&mut reader).await.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert!(reader.buffer.capacity() <= MAX_CALL_SIZE + 2 * CHUNK);
    }
}
