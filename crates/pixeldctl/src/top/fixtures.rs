//! Replies of daemons, for tests.

use pixeld_control::{
    ConnectionStats, EventInfo, EventLevel, LatencyStats, ProcessInfo, RequestCounts, RequestRates,
    ServiceState, Stats, WorkerInfo, WorkerState, WorkersReply,
};

use super::model::{HostUpdate, Model};
use crate::status::Status;

/// Returns the sample of a daemon after some seconds with 100 requests each, one of them invalid, which its workers
/// share evenly.
pub fn sample(started_unix_ms: u64, seconds: u64, workers: u64) -> Status {
    let total = seconds * 100;
    let latency =
        LatencyStats { count: total, p50_us: 120, p99_us: 1234, ..LatencyStats::new(Vec::new(), 0, 0) };
    let requests = RequestCounts { total, ok: total - seconds, invalid: seconds, ..RequestCounts::default() };
    let stats = Stats {
        state: ServiceState::Serving,
        drained_by: None,
        process: ProcessInfo {
            version: "1.2.3".into(),
            pid: 4711,
            started_unix_ms,
            uptime_ms: seconds * 1000,
            starts: 1,
            cpu_ms: seconds * 500,
            memory_bytes: Some(1 << 20),
            descriptors_used: Some(20),
            descriptors_allowed: 1024,
        },
        counters_since_unix_ms: started_unix_ms,
        config_loaded_unix_ms: 1,
        last_reload_succeeded: true,
        listeners: vec!["[::]:8000".into()],
        accept_errors: Vec::new(),
        workers,
        requests,
        rates: RequestRates { last_second: 100.0, last_ten_seconds: 100.0, last_minute: 100.0 },
        latency: latency.clone(),
        recent_latency: latency,
        connections: ConnectionStats {
            open: 17,
            idle: 13,
            accepted: 20,
            adopted: 0,
            limit: 10_000,
            effective_limit: 10_000,
            evicted: 0,
            write_timeouts: 0,
            accept_pauses: 0,
        },
        bytes_received: 0,
        bytes_sent: 0,
        log_lines_dropped: 0,
    };
    let worker = |number| WorkerInfo {
        number,
        state: WorkerState::Serving,
        requests: total / workers,
        connections: 5,
        idle_connections: 4,
        connections_taken: 9,
        cpu_ms: seconds * 250,
        #[allow(clippy::cast_precision_loss)] // there are few
        busy: number as f64 / workers as f64,
        heartbeat_age_ms: 321,
    };
    let workers = WorkersReply {
        configured: workers,
        override_count: None,
        overridden_by: None,
        workers: (1..=workers).map(worker).collect(),
    };
    let event = EventInfo {
        at_unix_ms: started_unix_ms,
        name: "ready".into(),
        level: EventLevel::Info,
        message: format!("Ready since {started_unix_ms}"),
        worker: None,
    };
    Status { stats, workers, events: vec![event] }
}

/// Returns a model of these hosts after 39 samples.
pub fn model(names: &[&str], workers: u64) -> Model {
    let mut model = Model::new(names.iter().map(ToString::to_string));
    for host in 0..names.len() {
        for second in 1..40 {
            model.apply(host, HostUpdate::Sample(sample(1000 * host as u64, second, workers).into()));
        }
    }
    model
}
