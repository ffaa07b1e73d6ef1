//! Types of the interface; `io.pixeld.Control.varlink` describes them for clients.
//!
//! Aliases are the names of fields in 0.1, so that pixeldctl can read replies of a host that is not upgraded yet.

mod config;
mod error;
mod event;
mod outcome;
mod replies;
mod stats;
mod worker;

pub use config::{Setting, SettingChange};
pub use error::ControlError;
pub use event::{EventInfo, EventLevel, Level, unix_ms};
pub use outcome::Outcome;
pub use replies::{
    ConfigReply, DrainReply, EventsReply, ReloadReply, ResumeReply, SetLogLevelReply, SetWorkersReply,
    StatsReply, WatchEventsReply, WorkersReply,
};
pub use stats::{
    Attribution, ConnectionStats, LatencyBucket, LatencyStats, ProcessInfo, RequestCounts, RequestRates,
    ServiceState, Stats, saturating_sum,
};
pub use worker::{WorkerInfo, WorkerState};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_0_1_are_decoded() {
        let workers = r#"{"configured":2,"setTo":3,"setBy":{"by":"root (pid 1)","atUnixMs":5},"workers":[
            {"number":1,"state":"serving","requests":0,"connections":0,"idleConnections":0,
             "connectionsTaken":0,"cpuMs":0,"busy":0.0,"progressAgeMs":7}]}"#;
        let workers: WorkersReply = serde_json::from_str(workers).unwrap();
        assert_eq!((workers.override_count, workers.workers[0].heartbeat_age_ms), (Some(3), 7));
        assert_eq!(workers.overridden_by.unwrap().by, "root (pid 1)");

        let connections = r#"{"open":1,"idle":1,"accepted":1,"restored":4,"limit":10000,"allowed":72,
            "evicted":0,"cut":2,"pauses":3}"#;
        let ConnectionStats { adopted, effective_limit, write_timeouts, accept_pauses, .. } =
            serde_json::from_str(connections).unwrap();
        assert_eq!((adopted, effective_limit, write_timeouts, accept_pauses), (4, 72, 2, 3));

        let setting = r#"{"key":"workers","value":"2","origin":null,"needsRestart":false,"setTo":"3",
            "setBy":null}"#;
        assert_eq!(serde_json::from_str::<Setting>(setting).unwrap().override_value.unwrap(), "3");

        let change = r#"{"key":"workers","from":"2","to":"3","needsRestart":false,"setByHand":true}"#;
        assert!(serde_json::from_str::<SettingChange>(change).unwrap().overridden);
    }
}
