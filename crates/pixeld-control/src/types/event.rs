use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use zlink::introspect::CustomType;

/// How urgent an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub enum EventLevel {
    /// Something does not work.
    Error,
    /// Something will stop working, or works for fewer than it should.
    Warn,
    /// The daemon changed its state.
    Info,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct EventInfo {
    /// When.
    pub at_unix_ms: u64,
    /// What happened, such as "workerExited".
    pub name: String,
    /// How urgent it is.
    pub level: EventLevel,
    /// A sentence for people.
    pub message: String,
    /// The worker that it happened to.
    pub worker: Option<u64>,
}

/// How much is logged; each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something does not work.
    Error,
    /// Something will stop working, or works for fewer than it should.
    Warn,
    /// The daemon changed its state.
    Info,
    /// Each request that was rejected, each connection that ended early.
    Debug,
}

impl Level {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Error, Self::Warn, Self::Info, Self::Debug];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// Milliseconds since 1970-01-01 UTC; a clock before that counts as then.
pub fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis().try_into().unwrap_or(u64::MAX))
}
