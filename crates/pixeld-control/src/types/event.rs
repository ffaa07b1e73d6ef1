use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use zlink::introspect::CustomType;

/// Severity of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub enum EventLevel {
    /// A part of the daemon does not work.
    Error,
    /// A part will stop working, or works with a lower limit.
    Warn,
    /// The daemon changed its state.
    Info,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct EventInfo {
    /// Time of the event.
    pub at_unix_ms: u64,
    /// Name of the event, such as "workerExited".
    pub name: String,
    /// Severity.
    pub level: EventLevel,
    /// Text for operators. It can change with each version.
    pub message: String,
    /// Number of the worker concerned; null if there is none.
    pub worker: Option<u64>,
}

/// A log level; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A part of the daemon does not work.
    Error,
    /// A part will stop working, or works with a lower limit.
    Warn,
    /// The daemon changed its state.
    Info,
    /// A request was rejected, or a connection ended early.
    Debug,
}

impl Level {
    /// All levels, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Error, Self::Warn, Self::Info, Self::Debug];

    /// Returns its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// Returns milliseconds since 1970-01-01 UTC, or 0 for an earlier time.
pub fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis().try_into().unwrap_or(u64::MAX))
}
