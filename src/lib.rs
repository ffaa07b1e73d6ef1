//! pixeld answers `POST /pixel` behind systemd sockets; pixeldctl looks inside it.
//!
//! Each folder is a room with one purpose, and may use the rooms above it in this list, never those
//! below.

#![deny(clippy::disallowed_methods)]

/// Environment variables of both programs.
pub mod environment;
/// Exit codes of both programs (sysexits.h).
pub mod exit;
/// Addresses, listening sockets and accepted ones, TCP and Unix alike, and how many there may be.
pub mod net;
/// Text from files and peers, made safe to print: it steers no terminal, forges no line and has a bounded
/// length.
pub mod sanitize;
/// The system calls that need `unsafe`, for sockets and for memory that outlives a process; nothing else
/// in this crate does.
mod sys;

/// Configuration files, merged and validated into [`config::Settings`].
pub mod config;
/// What the daemon tells its operator, and the queue that keeps telling from ever waiting.
pub mod log;
/// The domain: the bytes of a body in, a pixel or the reason for its refusal out.
pub mod pixel;
/// Counters that one worker writes and everybody reads, in memory that can outlive the process.
pub mod stats;
/// systemd's side of the contract: inherited sockets, readiness, status, watchdog, what it keeps.
pub mod systemd;

/// The Varlink interface `io.pixeld.Control`: its types, its server, its client.
pub mod control;
/// One HTTP/1.1 connection, from its first byte to its last.
pub mod http;
/// Threads that serve connections, and how connections are dealt to them.
pub mod worker;

/// pixeldctl: one file for each command. It knows of the daemon only what goes over its socket;
/// `doctor` looks at the host around it, too.
pub mod ctl;
/// The daemon: start, reload, stop, and what operators ask of it.
pub mod daemon;
