//! The control interface `io.pixeld.Control`: Varlink over Unix sockets. The types are shared by
//! both ends, and the description that clients can ask for is checked against them.

mod client;
mod framing;
mod handler_trait;
mod interface;
mod router;
mod server;
mod subscription;
mod transport;
mod types;
mod well_known;

pub use client::{CallError, ControlClient, EventStream, StatsStream};
pub use handler_trait::{Change, Changed, ControlHandler, PeerCredentials, Query, Snapshot};
pub use router::Access;
pub use server::serve;
pub use types::{
    Attribution, ConfigReply, ConnectionStats, ControlError, DrainReply, EventInfo, EventLevel, EventsReply,
    LatencyBucket, LatencyStats, ProcessInfo, ReloadReply, RequestCounts, RequestRates, ResumeReply,
    ServiceState, SetLogLevelReply, SetWorkersReply, Setting, SettingChange, Stats, StatsReply,
    WatchEventsReply, WorkerInfo, WorkerState, WorkersReply, unix_ms,
};
pub use well_known::ServiceInfo;

/// The name of the interface.
pub const INTERFACE: &str = "io.pixeld.Control";

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
