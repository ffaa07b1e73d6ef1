//! HTTP/1.1 on one connection (RFC 9110, RFC 9112). The connection owns its socket; hyper borrows
//! it, so an idle connection can be taken back unharmed and go on elsewhere.

mod answer;
mod buf_list;
mod check;
mod connection;
mod context;
mod eviction;
mod express;
mod head;
mod io;
mod judge;
mod plain;
mod policy;
mod registry;
mod replay;
mod service;
mod track;
mod turn;

pub use connection::{Ended, Parked, serve};
pub use context::Context;
pub use eviction::{Evicted, EvictionQueue, Peer};
#[cfg(test)]
pub use judge::STUMBLING_BLOCK;
pub use policy::Policy;
pub use registry::{Incomplete, Registry};
pub use track::Recall;
