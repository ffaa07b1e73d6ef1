//! What goes over the wire; `io.pixeld.Control.varlink` describes the same for clients.

mod config;
mod error;
mod event;
mod replies;
mod stats;
mod worker;

pub use config::{Setting, SettingChange};
pub use error::ControlError;
pub use event::{Event, EventLevel, unix_ms};
pub use replies::{
    Drained, Events, LogLevelSet, MoreEvents, Reloaded, Resumed, Settings, StatsReply, Workers, WorkersSet,
};
pub use stats::{Act, Connections, Latency, LatencyBucket, Process, Rates, Requests, ServiceState, Stats};
pub use worker::{Worker, WorkerState};
