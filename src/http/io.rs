use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

use crate::{net::Stream, stats::WorkerStats};

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
