use serde::{Deserialize, Serialize};
use zlink::introspect::Type;

use super::{Attribution, EventInfo, Setting, SettingChange, Stats, WorkerInfo};

/// The reply to GetStats, and each one to WatchStats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct StatsReply {
    /// All of it.
    pub stats: Stats,
}

/// The reply to GetWorkers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct WorkersReply {
    /// How many the configuration asks for; "auto" is counted.
    pub configured: u64,
    /// The runtime override: how many there are instead, until it is removed or the daemon ends.
    #[serde(rename = "override", alias = "setTo")]
    #[zlink(rename = "override")]
    pub override_count: Option<u64>,
    /// Who set the override, and when.
    #[serde(alias = "setBy")]
    pub overridden_by: Option<Attribution>,
    /// Each worker, by number.
    pub workers: Vec<WorkerInfo>,
}

/// The reply to SetWorkers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct SetWorkersReply {
    /// Workers that served before.
    pub from: u64,
    /// Workers that serve now.
    pub to: u64,
    /// Connections that went from one worker to another.
    pub moved: u64,
    /// Workers that still finish their requests.
    pub leaving: u64,
}

/// The reply to GetConfig.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct ConfigReply {
    /// Each key, in the order of pixeld.toml.
    pub settings: Vec<Setting>,
}

/// The reply to Reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct ReloadReply {
    /// Whether the changes are in effect now; false for a dry run.
    pub applied: bool,
    /// The keys that differ, in the order of pixeld.toml.
    pub changes: Vec<SettingChange>,
    /// Lines of the files that a later version rejects.
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
    /// Whether the daemon was drained already.
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
    /// The last events, the oldest first.
    pub events: Vec<EventInfo>,
}

/// Each reply to WatchEvents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct WatchEventsReply {
    /// The last events in the first reply, then those that are new.
    pub events: Vec<EventInfo>,
    /// Events that were left out because the client did not take them fast enough.
    pub missed: u64,
}
