use std::time::Duration;

use super::{failure::Failure, render};
use crate::control::{Client, ServiceState, Stats};

/// `pixeldctl stats`
pub async fn run(client: &mut Client, json: bool) -> Result<(), Failure> {
    render::print(&client.stats().await?, json, show)
}

fn show(stats: &Stats) -> String {
    let state = match stats.state {
        ServiceState::Serving => "serving",
        ServiceState::Stopping => "stopping",
    };
    let requests = &stats.requests;
    let outcomes: Vec<_> = [
        ("ok", requests.ok),
        ("invalid", requests.invalid),
        ("out of range", requests.out_of_range),
        ("malformed", requests.malformed),
        ("not found", requests.not_found),
        ("method not allowed", requests.method_not_allowed),
        ("timed out", requests.timed_out),
        ("too large", requests.too_large),
        ("unsupported media type", requests.unsupported_media_type),
        ("head too large", requests.head_too_large),
        ("not implemented", requests.not_implemented),
        ("failed", requests.failed),
    ]
    .iter()
    .filter(|(name, count)| *count > 0 || *name == "ok")
    .map(|(name, count)| format!("{count} {name}"))
    .collect();
    let connections = &stats.connections;
    let mut lines = vec![
        ("pixeld", format!("{} (pid {})", stats.version, stats.pid)),
        ("state", format!("{state}, up {}", render::duration(Duration::from_millis(stats.uptime_ms)))),
        ("listeners", stats.listeners.join(", ")),
        ("workers", stats.workers.to_string()),
        ("requests", format!("{} ({})", requests.total, outcomes.join(", "))),
        (
            "connections",
            format!(
                "{} open of {} at most, {} accepted",
                connections.open, connections.limit, connections.accepted
            ),
        ),
        (
            "bodies",
            format!("{} in, {} out", render::bytes(stats.bytes_received), render::bytes(stats.bytes_sent)),
        ),
    ];
    if connections.evicted > 0 {
        lines.push(("evicted", format!("{} idle connections closed at the limit", connections.evicted)));
    }
    if connections.cut > 0 {
        lines.push(("cut", format!("{} connections whose answers were not taken in time", connections.cut)));
    }
    if connections.pauses > 0 {
        lines.push(("paused", format!("accepting stopped {} times for want of room", connections.pauses)));
    }
    if stats.log_lines_dropped > 0 {
        lines.push(("log", format!("{} lines dropped", stats.log_lines_dropped)));
    }
    lines.iter().map(|(name, value)| format!("{name:>11}: {value}\n")).collect()
}
