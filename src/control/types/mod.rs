//! What goes over the wire; `io.pixeld.Control.varlink` describes the same for clients.

mod config;
mod error;
mod event;
mod replies;
mod stats;
mod worker;

pub use config::{Setting, SettingChange};
pub use error::ControlError;
pub use event::{EventInfo, EventLevel, unix_ms};
pub use replies::{
    ConfigReply, DrainReply, EventsReply, ReloadReply, ResumeReply, SetLogLevelReply, SetWorkersReply,
    StatsReply, WatchEventsReply, WorkersReply,
};
pub use stats::{
    Attribution, ConnectionStats, LatencyBucket, LatencyStats, ProcessInfo, RequestCounts, RequestRates,
    ServiceState, Stats,
};
pub use worker::{WorkerInfo, WorkerState};
