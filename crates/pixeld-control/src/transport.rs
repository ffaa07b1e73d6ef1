//! The client's connection: zlink frames messages, and this module limits the size of a reply.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use zlink::{
    Connection,
    connection::socket::{self, ReadResult},
    tokio::unix::Stream,
};

/// A call of any method of any interface; parameters are checked when the method is known.
#[derive(Debug, Serialize, Deserialize)]
pub struct AnyCall {
    /// Interface and method, joined by a dot.
    pub method: String,
    /// An object, or null.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub parameters: Value,
}

/// A socket with a size limit for messages.
#[derive(Debug)]
pub struct LimitedSocket(pub Stream);

/// The reading side of [`LimitedSocket`].
#[derive(Debug)]
pub struct LimitedReadHalf {
    half: <Stream as socket::Socket>::ReadHalf,
    /// Bytes since the end of the last message.
    pending: usize,
}

pub type LimitedConnection = Connection<LimitedSocket>;

/// The maximum size of a reply.
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
        // Passed descriptors are closed when the result is dropped.
        let read = &buf[..result.bytes_read()];
        self.pending = match read.iter().rposition(|byte| *byte == 0) {
            Some(end) => read.len() - end - 1,
            None => self.pending + read.len(),
        };
        if self.pending > MAX_REPLY_SIZE { Err(zlink::Error::BufferOverflow) } else { Ok(result) }
    }
}
