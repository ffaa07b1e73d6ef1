use serde::{Deserialize, Serialize};
use zlink::introspect::CustomType;

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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct WorkerInfo {
    /// Its number, from 1.
    pub number: u64,
    /// What it is doing.
    pub state: WorkerState,
    /// Requests that it has answered since it started.
    pub requests: u64,
    /// Connections that it has.
    pub connections: u64,
    /// Of those, the ones that wait for their next request.
    pub idle_connections: u64,
    /// Connections that it was given since it started.
    pub connections_taken: u64,
    /// CPU time that it has used.
    pub cpu_ms: u64,
    /// The share of the last ten seconds in which it was busy, from 0 to 1. One that is always busy
    /// lets requests wait.
    pub busy: f64,
    /// Milliseconds since it last came round; more than a few seconds mean that it is stalled.
    #[serde(alias = "progressAgeMs")]
    pub heartbeat_age_ms: u64,
}
