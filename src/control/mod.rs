//! The control interface `io.pixeld.Control`: Varlink over Unix sockets. The types are shared by
//! both ends, and the description that clients can ask for is checked against them.

mod client;
mod interface;
mod message;
mod server;
mod types;

pub use client::{CallError, Client};
pub use server::{Access, Caller, Operator, serve};
pub use types::{
    Connections, ControlError, Reloaded, Requests, ServiceState, Stats, Worker, WorkerState, Workers,
    WorkersSet,
};

/// The name of the interface.
pub const INTERFACE: &str = "io.pixeld.Control";
