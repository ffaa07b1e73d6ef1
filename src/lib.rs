//! The pixeld daemon, which serves `POST /pixel` over systemd's sockets. This library is for tests, fuzzing and
//! benchmarks; it is not a public interface.
//!
//! Each module uses only those above it in this list.

#![deny(clippy::disallowed_methods)]

#[cfg(test)]
mod fuzz_corpus;

// The checks of the fuzz targets use this name.
#[cfg(test)]
extern crate self as pixeld;

use pixeld_control::{self as control, environment, exit, sanitize};

/// All `unsafe` code of this crate: system calls for descriptors and shared memory.
mod sys;

/// Addresses, listening and accepted sockets (TCP and Unix), and the descriptor budget.
pub mod net;
/// systemd's interfaces: inherited sockets, sd_notify, watchdog, descriptor store.
pub mod systemd;

/// The log: events, the write queue with its thread, and subscribers.
pub mod log;

/// Configuration files, merged and validated into [`config::Settings`].
pub mod config;
/// The request body: parsed to a pixel, or to the reason for its rejection.
pub mod pixel;
/// Counters and histograms in memory that outlives the process.
pub mod stats;

/// Requests and responses of HTTP/1.1 as bytes.
pub mod http;

/// One connection, from its first byte to its last, and the connections of a worker.
pub mod connection;

/// Worker threads: accepting connections, and dispatching them to the least loaded worker.
pub mod worker;

/// The daemon: start, main loop, reload, shutdown, and the control service.
pub mod daemon;
