//! Workers: threads of one runtime each, whose connections never leave them while a request is in
//! flight, so the request path takes no lock. All accept connections, one at a time.

mod accept_backoff;
mod accept_loop;
mod acceptor;
mod command;
mod connection_server;
mod dispatcher;
mod pool;
mod shared;
mod thread;

pub use pool::{Pool, Resized, WorkerReport};
pub use shared::Shared;
