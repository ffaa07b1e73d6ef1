//! Varlink's frames over a Unix socket as a client sees them, with bounds: zlink reads and writes them,
//! this stops a daemon from sending without end.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use zlink::{
    Connection,
    connection::socket::{self, ReadResult},
    tokio::unix::Stream,
};

/// A call to any method of any interface; the parameters are looked at when the method is known.
#[derive(Debug, Serialize, Deserialize)]
pub struct AnyCall {
    /// The interface and the method, joined by a dot.
    pub method: String,
    /// What the method is to be called with: an object, or nothing.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub parameters: Value,
}

/// A socket whose messages have a limit.
#[derive(Debug)]
pub struct LimitedSocket(pub Stream);

/// The reading side of [`LimitedSocket`].
#[derive(Debug)]
pub struct LimitedReadHalf {
    half: <Stream as socket::Socket>::ReadHalf,
    /// Bytes since the last end of a message.
    pending: usize,
}

/// A connection that takes messages of limited size.
pub type LimitedConnection = Connection<LimitedSocket>;

/// Bytes of a reply.
const MAX_REPLY_SIZE: usize = 1 << 20;

impl socket::Socket for LimitedSocket {
    type ReadHalf = LimitedReadHalf;
    type WriteHalf = <Stream as socket::Socket>::WriteHalf;

    fn split(self) -> (LimitedReadHalf, Self::WriteHalf) {
        let (half, write) = self.0.split();
        (LimitedReadHalf { half, pending: 0 }, write)
    }
}

impl socket::ReadHalf for LimitedReadHalf {
    async fn read(&mut self, buf: &mut [u8]) -> zlink::Result<ReadResult> {
        let result = self.half.read(buf).await?;
        // Descriptors that a peer sends along are closed when the result is dropped.
        let read = &buf[..result.bytes_read()];
        self.pending = match read.iter().rposition(|byte| *byte == 0) {
            Some(end) => read.len() - end - 1,
            None => self.pending + read.len(),
        };
        if self.pending > MAX_REPLY_SIZE { Err(zlink::Error::BufferOverflow) } else { Ok(result) }
    }
}
