use std::time::Duration;

use pixeld_control::{CallError, ControlClient, EventInfo, ServiceState, Stats, WorkersReply};
use serde::Serialize;

use super::{
    args::Purpose,
    error::CommandErrors,
    events, fanout,
    options::Options,
    render::{self, BAD, GOOD, ODD, styled},
    stats_format::{self, STALLED_MS},
    workers,
};

/// The replies of a daemon at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    pub stats: Stats,
    pub workers: WorkersReply,
    pub events: Vec<EventInfo>,
}

impl Status {
    /// Queries what these statistics lack.
    pub async fn complete(stats: Stats, client: &mut ControlClient) -> Result<Self, CallError> {
        Ok(Self { stats, workers: client.workers().await?, events: client.events().await?.events })
    }
}

/// `pixeldctl status`
pub async fn run(options: &Options) -> Result<(), CommandErrors> {
    let replies = fanout::ask(options, Purpose::Read, async |client| {
        Status::complete(client.stats().await?, client).await
    });
    replies.await.print_each(options, show)
}

fn show(status: &Status) -> String {
    /// As many as systemctl shows log lines.
    const EVENTS: usize = 10;

    // Without /proc, the daemon reports no value.
    let unknown = || "?".into();
    let Status { stats, workers, events } = status;
    let (process, connections) = (&stats.process, &stats.connections);
    let stalled: Vec<_> =
        workers.workers.iter().filter(|worker| worker.heartbeat_age_ms > STALLED_MS).collect();
    let dot = if render::is_utf8(&render::locale()) { "●" } else { "*" };
    let dot = match stats.state {
        _ if !stalled.is_empty() || !stats.accept_errors.is_empty() => styled(BAD, dot),
        ServiceState::Serving => styled(GOOD, dot),
        ServiceState::Drained | ServiceState::Stopping => styled(ODD, dot),
    };
    let busiest = workers.workers.iter().map(|worker| worker.busy).fold(0.0, f64::max);
    let mut lines = vec![("State", stats_format::state(stats))];
    lines.extend(stats_format::drained_by(stats));
    lines.extend([
        (
            "Since",
            // By the monotonic clock of the daemon, because wall clocks may differ.
            format!(
                "{}; {} ago",
                render::moment(process.started_unix_ms),
                render::duration(Duration::from_millis(process.uptime_ms))
            ),
        ),
        ("Listeners", stats.listeners.join(", ")),
    ]);
    lines.extend(stats_format::accept_errors(stats).map(|error| ("", error)));
    lines.extend([(
        "Workers",
        format!("{}; the busiest one is busy {}", workers::summary(workers), render::percent(busiest)),
    )]);
    lines.extend(workers::runtime_override(workers).map(|by| ("", by)));
    lines.extend([
        ("Requests", stats_format::requests(&stats.requests)),
        ("Rate", stats_format::rates(&stats.rates)),
        ("Latency", stats_format::recent_latency(&stats.recent_latency)),
        (
            "Connections",
            format!(
                "{} open ({} idle) of {} at most",
                connections.open, connections.idle, connections.effective_limit
            ),
        ),
        (
            "Process",
            format!(
                "pid {}, {} CPU, {} memory, {} of {} descriptors",
                process.pid,
                render::cpu(process.cpu_ms),
                process.memory_bytes.map_or_else(unknown, render::bytes),
                process.descriptors_used.map_or_else(unknown, |count| count.to_string()),
                process.descriptors_allowed
            ),
        ),
        (
            "Counting",
            format!(
                "since {}, over {} of the daemon",
                render::moment(stats.counters_since_unix_ms),
                render::counted(process.starts, "start")
            ),
        ),
    ]);
    lines.extend(stalled.iter().map(|worker| {
        let since = render::duration(Duration::from_millis(worker.heartbeat_age_ms));
        ("Stalled", styled(BAD, format_args!("worker {} has made no progress for {since}", worker.number)))
    }));
    lines.extend(stats_format::warnings(stats));
    let last: String = events[events.len().saturating_sub(EVENTS)..]
        .iter()
        .map(|event| events::line(event) + "\n")
        .collect();
    format!("{dot} pixeld {}\n{}\n{last}", process.version, render::pairs(lines))
}
