//! pixeld answers `POST /pixel` behind systemd sockets; pixeldctl looks inside it.
//!
//! Each folder is a room with one purpose. A room may use those above it in this list, never
//! those below, and `ctl` knows nothing but `control`'s types and client.

/// Exit codes of both programs (sysexits.h).
pub mod exit;
/// The system calls that need `unsafe`; nothing else in this crate does.
mod sys;

/// Addresses, listening sockets and accepted ones, TCP and Unix alike.
pub mod net;
/// The domain: the bytes of a body in, a pixel or the reason for its refusal out.
pub mod pixel;
/// Counters that one worker writes and everybody reads.
pub mod stats;

/// Configuration files, merged and validated into [`config::Settings`].
pub mod config;
/// The Varlink interface `io.pixeld.Control`: its types, its server, its client.
pub mod control;
/// pixeldctl: one file for each command.
pub mod ctl;
/// The daemon: start, reload, stop.
pub mod daemon;
/// One HTTP/1.1 connection, from its first byte to its last.
pub mod http;
/// What the daemon tells its operator, and the queue that keeps telling from ever waiting.
pub mod log;
/// systemd's side of the contract: inherited sockets, readiness, status, watchdog.
pub mod systemd;
/// Threads that serve connections, and how connections are dealt to them.
pub mod worker;
