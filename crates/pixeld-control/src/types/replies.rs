use serde::{Deserialize, Serialize};
use zlink::introspect::Type;

use super::{Attribution, EventInfo, Setting, SettingChange, Stats, WorkerInfo};

/// The reply to GetStats, and each one to WatchStats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct StatsReply {
    /// State and counters.
    pub stats: Stats,
}

/// The reply to GetWorkers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct WorkersReply {
    /// Configured number of workers; "auto" is resolved.
    pub configured: u64,
    /// The runtime override: the number in effect instead until the override is removed or the daemon exits;
    /// null if there is none.
    #[serde(rename = "override", alias = "setTo")]
    #[zlink(rename = "override")]
    pub override_count: Option<u64>,
    /// The caller that set the override; null if there is none.
    #[serde(alias = "setBy")]
    pub overridden_by: Option<Attribution>,
    /// The workers, by number.
    pub workers: Vec<WorkerInfo>,
}

/// The reply to SetWorkers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct SetWorkersReply {
    /// Number of workers that served before.
    pub from: u64,
    /// Number of workers that serve now.
    pub to: u64,
    /// Connections that moved between workers.
    pub moved: u64,
    /// Surplus workers that still finish requests.
    pub leaving: u64,
}

/// The reply to GetConfig.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct ConfigReply {
    /// The keys, in the order of pixeld.toml(5).
    pub settings: Vec<Setting>,
}

/// The reply to Reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct ReloadReply {
    /// Whether the changes were applied; false for a dry run.
    pub applied: bool,
    /// The changed keys, in the order of pixeld.toml(5).
    pub changes: Vec<SettingChange>,
    /// Lines of the files that the next version will reject.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// The reply to SetLogLevel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct SetLogLevelReply {
    /// The level before.
    pub from: String,
    /// The level now.
    pub to: String,
}

/// The reply to Drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct DrainReply {
    /// Whether the daemon was drained before.
    pub already: bool,
}

/// The reply to Resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct ResumeReply {
    /// Whether the daemon was not drained.
    pub already: bool,
}

/// The reply to GetEvents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct EventsReply {
    /// The events.
    pub events: Vec<EventInfo>,
}

/// Each reply to WatchEvents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct WatchEventsReply {
    /// The last events in the first reply, then new ones.
    pub events: Vec<EventInfo>,
    /// Events omitted because the client read too slowly.
    pub missed: u64,
}
