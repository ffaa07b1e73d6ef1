use std::time::Duration;

use pixeld_control::{ConnectionStats, ControlClient, Stats};
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
    lines.extend(counted(&StatsSum::of(&[stats])));
    lines.extend(stats_format::warnings(stats));
    render::pairs(lines)
}

/// The sum of several daemons as JSON and as text.
fn sum(all: &[&Stats]) -> Option<(Value, String)> {
    let sum = StatsSum::of(all);
    Some((serde_json::to_value(&sum).ok()?, render::pairs(counted(&sum))))
}

fn counted(sum: &StatsSum) -> Vec<(&'static str, String)> {
    let ConnectionStats { open, idle, effective_limit, accepted, adopted, .. } = &sum.connections;
    let mut connections =
        format!("{open} open ({idle} idle) of {effective_limit} at most, {accepted} accepted");
    if *adopted > 0 {
        connections += &format!(", {adopted} adopted");
    }
    vec![
        ("workers", sum.workers.to_string()),
        ("requests", stats_format::requests(&sum.requests)),
        ("rate", stats_format::rates(&sum.rates)),
        ("latency", stats_format::latency(&sum.latency)),
        ("connections", connections),
        ("bytes", format!("{} in, {} out", render::bytes(sum.bytes_received), render::bytes(sum.bytes_sent))),
    ]
}
