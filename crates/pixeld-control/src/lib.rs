#![doc = include_str!("../README.md")]
//!
//! # Server
//!
//! [`serve`] is the daemon's end: it frames, validates and routes calls, and asks a [`ControlHandler`] for each reply.
//! Client and server share the types; tests compare the published interface description with them.

#![warn(missing_docs)]
#![deny(clippy::disallowed_methods)]

/// Environment variables of pixeld and pixeldctl.
#[doc(hidden)]
pub mod environment;
/// Exit codes of pixeld and pixeldctl (sysexits.h).
#[doc(hidden)]
pub mod exit;
/// Makes text from files and peers safe to print: without control characters, with a bounded length.
pub mod sanitize;
/// System calls that need `unsafe`, used by both programs.
#[doc(hidden)]
pub mod sys;

mod access;
mod client;
mod framing;
mod handler;
mod interface;
mod reply;
mod router;
mod server;
mod subscription;
mod types;
mod well_known;

pub use access::Access;
pub use client::{CallError, ControlClient, EventStream, StatsStream};
pub use handler::{
    Change, Changed, Claim, ControlHandler, EventSource, PeerCredentials, Query, ServerFault, Snapshot,
};
pub use server::serve;
pub use types::{
    Attribution, ConfigReply, ConnectionStats, ControlError, DrainReply, EventInfo, EventLevel, EventsReply,
    LatencyBucket, LatencyStats, Level, Outcome, ProcessInfo, ReloadReply, RequestCounts, RequestRates,
    ResumeReply, ServiceState, SetLogLevelReply, SetWorkersReply, Setting, SettingChange, Stats, StatsReply,
    WatchEventsReply, WorkerInfo, WorkerState, WorkersReply, saturating_sum, unix_ms,
};
pub use well_known::ServiceInfo;

/// The name of the interface.
pub const INTERFACE: &str = "io.pixeld.Control";

/// The maximum number of workers.
pub const MAX_WORKERS: usize = 1024;

/// The version of pixeld and pixeldctl, which is that of this interface as well.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
