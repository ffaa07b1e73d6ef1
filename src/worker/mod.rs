//! Workers: threads of one runtime each, whose connections never leave them while a request is in
//! flight, so the request path takes no lock. One more thread accepts and deals.

mod acceptor;
mod deck;
mod handover;
mod pool;
mod thread;

pub use acceptor::Acceptor;
pub use handover::{Outbox, pair, receive};
pub use pool::{Pool, Resized, WorkerReport};
pub use thread::Shared;
