//! Workers: threads with a runtime each. A connection stays on its worker while a request is handled, so the fast
//! path takes no lock. All workers accept connections, but at each listener only one worker at a time.

mod accept_backoff;
mod accept_loop;
mod acceptor;
mod command;
mod connection_server;
mod dispatcher;
mod pool;
mod shared_state;
mod thread;

pub use pool::{Pool, Resized, WorkerReport};
pub use shared_state::SharedState;
