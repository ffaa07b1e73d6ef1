use std::time::Duration;

use pixeld_control::{ConnectionStats, ControlClient, LatencyStats, RequestCounts, RequestRates, Stats};
use serde_json::Value;

use super::{
    args::Purpose,
    error::CommandErrors,
    fanout,
    options::Options,
    render,
    stats_format::{self, StatsSum},
};

/// `pixeldctl stats`
pub async fn run(options: &Options) -> Result<(), CommandErrors> {
    let replies = fanout::ask(options, Purpose::Read, ControlClient::stats).await;
    replies.print(options, show, sum)
}

fn show(stats: &Stats) -> String {
    let process = &stats.process;
    let uptime = render::duration(Duration::from_millis(process.uptime_ms));
    let mut lines = vec![
        ("pixeld", format!("{} (pid {})", process.version, process.pid)),
        ("state", format!("{}, up {uptime}", stats_format::state(stats))),
    ];
    lines.extend(stats_format::drained_by(stats));
    lines.push(("listeners", stats.listeners.join(", ")));
    lines.extend(stats_format::accept_errors(stats).map(|error| ("", error)));
    lines.extend(counted(
        stats.workers,
        &stats.requests,
        &stats.rates,
        &stats.latency,
        &stats.connections,
        (stats.bytes_received, stats.bytes_sent),
    ));
    lines.extend(stats_format::warnings(stats));
    render::pairs(lines)
}

/// The sum of several daemons as JSON and as text.
fn sum(all: &[&Stats]) -> Option<(Value, String)> {
    let sum = StatsSum::of(all);
    let bytes = (sum.bytes_received, sum.bytes_sent);
    let lines = counted(sum.workers, &sum.requests, &sum.rates, &sum.latency, &sum.connections, bytes);
    Some((serde_json::to_value(&sum).ok()?, render::pairs(lines)))
}

fn counted(
    workers: u64,
    requests: &RequestCounts,
    rates: &RequestRates,
    latency: &LatencyStats,
    connections: &ConnectionStats,
    (received, sent): (u64, u64),
) -> Vec<(&'static str, String)> {
    let ConnectionStats { open, idle, effective_limit, accepted, adopted, .. } = connections;
    let mut connections =
        format!("{open} open ({idle} idle) of {effective_limit} at most, {accepted} accepted");
    if *adopted > 0 {
        connections += &format!(", {adopted} adopted");
    }
    vec![
        ("workers", workers.to_string()),
        ("requests", stats_format::requests(requests)),
        ("rate", stats_format::rates(rates)),
        ("latency", stats_format::latency(latency)),
        ("connections", connections),
        ("bytes", format!("{} in, {} out", render::bytes(received), render::bytes(sent))),
    ]
}
