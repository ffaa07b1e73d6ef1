use std::net::SocketAddr;

use bytes::Bytes;

use super::eviction::EvictionEntry;
use crate::net::Socket;

/// A connection that belongs to no thread: no response is in flight, and of a request only what is unread.
#[derive(Debug)]
pub struct DetachedConnection {
    pub socket: Socket,
    /// The address of its other end, where that has one.
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
