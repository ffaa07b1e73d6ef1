//! Workers: threads with a runtime each. A connection does not leave its worker during a request, so the request
//! path takes no lock. All workers accept connections, at each listener one worker at a time.

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
