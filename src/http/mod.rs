//! HTTP/1.1 on one connection (RFC 9110, RFC 9112). A request's head is judged in one place; the response is
//! written at once if the body is there, and otherwise hyper decodes the body first.

mod body_decoder;
mod buf_list;
mod buffers;
mod catch_panic;
mod connection;
mod connection_state;
mod context;
mod eviction;
mod fast_path;
mod io;
mod phase_timer;
mod policy;
mod registry;
pub mod request_head;
mod response;
mod yield_now;

pub use catch_panic::catch_panic;
pub use connection::{ServeOutcome, begin, serve};
pub use connection_state::ConnectionRequest;
pub use context::Context;
pub use eviction::{Evicted, EvictionQueue, Peer};
pub use io::DetachedConnection;
pub use policy::Policy;
pub use registry::Registry;
