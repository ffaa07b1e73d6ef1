use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use super::eviction::EvictionEntry;
use crate::{
    net::{Socket, Stream},
    stats::WorkerStats,
};

/// A connection that belongs to no thread: no response is in flight, and of a request only what is unread.
#[derive(Debug)]
pub struct DetachedConnection {
    /// The socket.
    pub socket: Socket,
    /// The address of its other end, if that has one.
    pub peer: Option<SocketAddr>,
    /// What was read from it and not answered.
    pub unread: Bytes,
    /// Requests that were answered on it.
    pub requests: usize,
    /// Where it is in the order in which connections give way, once it is on its way to a worker.
    pub eviction_entry: Option<EvictionEntry>,
}

impl DetachedConnection {
    /// Bytes that can be unread of a connection that is handed off with an incomplete request.
    pub const MAX_UNREAD: usize = 60 << 10;

    /// A connection that was just accepted.
    pub fn new(socket: Socket, peer: Option<SocketAddr>) -> Self {
        Self { socket, peer, unread: Bytes::new(), requests: 0, eviction_entry: None }
    }
}

/// A connection's socket, and what was read from it and is not answered.
#[derive(Debug)]
pub struct Io {
    pub stream: Stream,
    pub unread: Vec<u8>,
}

impl Io {
    /// Reads from the socket and counts what came. At the end of the input, nothing came.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        stats: &WorkerStats,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        stats.received(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}
