//! pixeld answers `POST /pixel` behind systemd sockets. This library is the daemon in parts, for its tests, fuzzing
//! and benchmarks; it is no public interface.
//!
//! Each module may use those above it in this list, never those below.

#![deny(clippy::disallowed_methods)]

#[cfg(test)]
mod corpus;

// As the fuzz targets and their checks call it.
#[cfg(test)]
extern crate self as pixeld;

use pixeld_control::{self as control, environment, exit, sanitize};

/// The system calls that need `unsafe`, for sockets and for memory that outlives a process; nothing else
/// in this crate does.
mod sys;

/// Addresses, listening sockets and accepted ones, TCP and Unix alike, and how many there may be.
pub mod net;
/// systemd's interfaces: inherited sockets, sd_notify, watchdog, descriptor store.
pub mod systemd;

/// The log: events, the queue of the thread that writes them, and their subscribers.
pub mod log;

/// Configuration files, merged and validated into [`config::Settings`].
pub mod config;
/// The domain: from the bytes of a body to a pixel, or to the reason for its rejection.
pub mod pixel;
/// Counters that one worker writes and any thread reads, in memory that can outlive the process.
pub mod stats;

/// Requests and responses of HTTP/1.1 as bytes.
pub mod http;

/// One connection, from its first byte to its last, and the connections of a worker.
pub mod connection;

/// Worker threads: accepting connections, and dispatching them to the least loaded worker.
pub mod worker;

/// The daemon: start, main loop, reload, shutdown, and the control service.
pub mod daemon;
