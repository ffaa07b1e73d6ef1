use serde::{Deserialize, Serialize};
use zlink::introspect::CustomType;

/// The state of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub enum WorkerState {
    /// It takes connections.
    Serving,
    /// It finishes its requests, moves its connections to other workers and exits.
    Leaving,
}

/// One worker thread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct WorkerInfo {
    /// Number of the worker, from 1.
    pub number: u64,
    /// State of the worker.
    pub state: WorkerState,
    /// Requests served since the worker started.
    pub requests: u64,
    /// Open connections.
    pub connections: u64,
    /// Open connections without a request in progress.
    pub idle_connections: u64,
    /// Connections taken since the worker started, from clients and from other workers.
    pub connections_taken: u64,
    /// CPU time used.
    pub cpu_ms: u64,
    /// Share of the last ten seconds in which the worker was busy, from 0 to 1. Near 1, the worker delays its
    /// requests.
    pub busy: f64,
    /// Time since the last heartbeat, normally at most 1000. A few thousand mean that the worker is stalled.
    #[serde(alias = "progressAgeMs")]
    pub heartbeat_age_ms: u64,
}
