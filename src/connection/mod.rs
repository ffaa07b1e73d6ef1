//! One connection, from its first byte to its last.
//!
//! [`serve`] alternates between two ways to receive a request. The fast path handles each request that is in the
//! buffer as a whole: nearly all of them behind a proxy. The body decoder has hyper decode any other body. Either
//! way, the fast path sends the response.
//!
//! The rest of the module holds the state of a worker's connections: their registry, the phase of each, and the order
//! in which they are closed at the connection limit.

mod body_decoder;
mod buffers;
mod closing;
mod connection_state;
mod detached_connection;
mod eviction;
mod fast_path;
mod phase_timer;
mod registry;
mod serve;
mod worker_context;
mod yield_now;

pub use closing::ServeOutcome;
pub use connection_state::ConnectionRequest;
pub use detached_connection::DetachedConnection;
pub use eviction::{Evicted, EvictionQueue, Peer};
pub use registry::Registry;
pub use serve::serve;
pub use worker_context::WorkerContext;
