use std::net::SocketAddr;

use bytes::Bytes;
use tokio::time::Instant;

use super::eviction::EvictionEntry;
use crate::net::Socket;

/// A connection that belongs to no thread. No response is in flight. `unread` may contain an incomplete request.
#[derive(Debug)]
pub struct DetachedConnection {
    pub socket: Socket,
    /// The address of the client. A Unix socket has none.
    pub peer: Option<SocketAddr>,
    /// The bytes that were read and not handled yet.
    pub unread: Bytes,
    /// When the first byte of the incomplete request in `unread` arrived, if its header section is incomplete. The
    /// next process does not get this.
    pub begun: Option<Instant>,
    /// The number of requests that got a response.
    pub requests: usize,
    /// Its place in the order of eviction. The dispatcher sets it.
    pub eviction_entry: Option<EvictionEntry>,
}

impl DetachedConnection {
    /// The most unread bytes with which a connection can be handed off.
    pub const MAX_UNREAD: usize = 60 << 10;

    /// Creates a connection that was just accepted.
    pub fn new(socket: Socket, peer: Option<SocketAddr>) -> Self {
        Self { socket, peer, unread: Bytes::new(), begun: None, requests: 0, eviction_entry: None }
    }
}
