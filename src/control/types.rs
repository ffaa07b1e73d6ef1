//! What goes over the wire; `io.pixeld.Control.varlink` describes the same for clients.

use std::fmt;

use serde::{Deserialize, Serialize};
use zlink::introspect::{CustomType, ReplyError, Type};

/// What the daemon is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub enum ServiceState {
    /// Requests are answered.
    Serving,
    /// Requests in flight are finished, then the daemon ends.
    Stopping,
}

/// Answered requests by their outcome, since the start of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct Requests {
    /// All of them.
    pub total: u64,
    /// 200: the pixel was accepted.
    pub ok: u64,
    /// 422: the body is no pixel.
    pub invalid: u64,
    /// 422, or as configured: the value is not in 0..=255.
    pub out_of_range: u64,
    /// 400: the request or its body cannot be read.
    pub malformed: u64,
    /// 404: another path.
    pub not_found: u64,
    /// 405: another method.
    pub method_not_allowed: u64,
    /// 408: head or body did not arrive in time.
    pub timed_out: u64,
    /// 413: the body is over limits.body.
    pub too_large: u64,
    /// 415: the body has a content encoding.
    pub unsupported_media_type: u64,
    /// 431: the head is over limits.head, or has too many fields.
    pub head_too_large: u64,
    /// 501: the transfer encoding is not chunked.
    pub not_implemented: u64,
    /// 500: a fault of the daemon's own.
    pub failed: u64,
}

/// Client connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct Connections {
    /// Open now.
    pub open: u64,
    /// Accepted since the start of the daemon.
    pub accepted: u64,
    /// Open ones at most (limits.connections).
    pub limit: u64,
    /// Idle ones that were closed to make room for new ones at the limit.
    pub evicted: u64,
    /// Cut off because their client did not take its answers in time (timeouts.write).
    pub cut: u64,
    /// Times that accepting paused, at the limit or for want of descriptors or memory.
    pub pauses: u64,
}

/// The reply to GetStats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct Stats {
    /// What the daemon is doing.
    pub state: ServiceState,
    /// The daemon's version.
    pub version: String,
    /// The daemon's process.
    pub pid: u32,
    /// Milliseconds since the daemon started.
    pub uptime_ms: u64,
    /// Where requests are taken.
    pub listeners: Vec<String>,
    /// Threads that serve.
    pub workers: u64,
    /// Answered requests.
    pub requests: Requests,
    /// Client connections.
    pub connections: Connections,
    /// Bytes of request bodies that were read.
    pub bytes_received: u64,
    /// Bytes of answer bodies that were written.
    pub bytes_sent: u64,
    /// Log lines that were dropped because the log was not taken fast enough.
    pub log_lines_dropped: u64,
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub enum WorkerState {
    /// It takes connections.
    Serving,
    /// It finishes the requests that it has, gives its connections away and ends.
    Leaving,
}

/// One worker thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct Worker {
    /// Its number, from 1.
    pub number: u64,
    /// What it is doing.
    pub state: WorkerState,
    /// Requests that it has answered.
    pub requests: u64,
    /// Connections that it has.
    pub connections: u64,
    /// Connections that it was given since it started.
    pub connections_taken: u64,
    /// Milliseconds since it last came round; more than a few seconds mean that it is stuck.
    pub progress_age_ms: u64,
}

/// The reply to GetWorkers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct Workers {
    /// How many the configuration asks for; "auto" is counted.
    pub configured: u64,
    /// Each worker, by number.
    pub workers: Vec<Worker>,
}

/// The reply to SetWorkers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct WorkersSet {
    /// Workers that served before.
    pub from: u64,
    /// Workers that serve now.
    pub to: u64,
}

/// The reply to Reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct Reloaded {
    /// What changed and holds from now on, each as "key: from -> to".
    pub changed: Vec<String>,
    /// Keys that changed in the files but need a restart to be applied.
    pub needs_restart: Vec<String>,
}

/// Why a method of io.pixeld.Control did nothing.
#[derive(Debug, Clone, PartialEq, Eq, zlink::ReplyError, ReplyError)]
#[zlink(interface = "io.pixeld.Control")]
pub enum ControlError {
    /// This socket is for reading; the one that is named here is for changing.
    NotPermitted {
        /// The path of the socket that is for changing.
        socket: String,
    },
    /// A parameter has a value that cannot be.
    InvalidValue {
        /// The parameter.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The configuration has faults, and nothing was changed.
    InvalidConfiguration {
        /// Each fault with its file, line and key.
        faults: Vec<String>,
    },
    /// The operating system refused.
    Failed {
        /// What was attempted, and what the system said.
        reason: String,
    },
    /// The daemon is stopping.
    Stopping,
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPermitted { socket } => {
                write!(f, "this socket is for reading; changing is done over {socket}")
            }
            Self::InvalidValue { field, reason } => write!(f, "{field}: {reason}"),
            Self::InvalidConfiguration { faults } => f.write_str(&faults.join("\n")),
            Self::Failed { reason } => f.write_str(reason),
            Self::Stopping => f.write_str("the daemon is stopping"),
        }
    }
}

impl std::error::Error for ControlError {}
