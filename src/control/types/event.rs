use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use zlink::introspect::CustomType;

use crate::log::{Level, RecordedEvent};

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

impl From<&RecordedEvent> for EventInfo {
    fn from(told: &RecordedEvent) -> Self {
        Self {
            at_unix_ms: unix_ms(told.at),
            name: told.event.name().into(),
            level: match told.event.level() {
                Level::Error => EventLevel::Error,
                Level::Warn => EventLevel::Warn,
                Level::Info | Level::Debug => EventLevel::Info,
            },
            message: told.event.message(),
            worker: told.event.worker().map(|worker| worker as u64),
        }
    }
}

/// Milliseconds since 1970-01-01 UTC; a clock before that counts as then.
pub fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis().try_into().unwrap_or(u64::MAX))
}
