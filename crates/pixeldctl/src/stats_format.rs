//! Texts that several commands share, rates between two replies, and the sum of several daemons.

use pixeld_control::{
    ConnectionStats, LatencyStats, Outcome, RequestCounts, RequestRates, ServiceState, Stats, saturating_sum,
};

use super::render::{self, ODD, styled};

/// The heartbeat age above which a worker is stalled; the watchdog is about to end the daemon.
pub const STALLED_MS: u64 = 3000;

/// `7 (5 ok, 1 out of range, 1 not found)`
pub fn requests(requests: &RequestCounts) -> String {
    let counts: Vec<_> = Outcome::ALL
        .iter()
        .map(|outcome| (outcome, requests.get(*outcome)))
        .filter(|(outcome, count)| *count > 0 || **outcome == Outcome::Ok)
        .map(|(outcome, count)| format!("{count} {}", outcome.name()))
        .collect();
    format!("{} ({})", requests.total, counts.join(", "))
}

/// `12/s over 1 s, 10/s over 10 s, 9.5/s over 1 min`
pub fn rates(rates: &RequestRates) -> String {
    format!(
        "{} over 1 s, {} over 10 s, {} over 1 min",
        render::rate(rates.last_second),
        render::rate(rates.last_ten_seconds),
        render::rate(rates.last_minute)
    )
}

/// `p50 12 us, p90 15 us, p99 40 us, p99.9 61 us, max 87 us`
pub fn latency(latency: &LatencyStats) -> String {
    if latency.count == 0 {
        return "no requests".into();
    }
    let figures = [
        ("p50", latency.p50_us),
        ("p90", latency.p90_us),
        ("p99", latency.p99_us),
        ("p99.9", latency.p999_us),
        ("max", latency.max_us),
    ];
    figures.map(|(name, us)| format!("{name} {}", render::latency(us))).join(", ")
}

/// `p50 12 us, p99 40 us, max 87 us over 10 s`
pub fn recent_latency(latency: &LatencyStats) -> String {
    if latency.count == 0 {
        return "no requests in the last 10 s".into();
    }
    let figures = [("p50", latency.p50_us), ("p99", latency.p99_us), ("max", latency.max_us)];
    let figures = figures.map(|(name, us)| format!("{name} {}", render::latency(us)));
    format!("{} over 10 s", figures.join(", "))
}

pub fn state(stats: &Stats) -> String {
    match stats.state {
        ServiceState::Serving => styled(render::GOOD, "serving"),
        ServiceState::Stopping => styled(ODD, "stopping"),
        ServiceState::Drained => format!("{}, rejects requests with 503", styled(ODD, "drained")),
    }
}

pub fn drained_by(stats: &Stats) -> Option<(&'static str, String)> {
    stats.drained_by.as_ref().map(|by| ("", format!("drained {}", render::attribution(by))))
}

/// The addresses that accept no connection, with the reasons.
pub fn accept_errors(stats: &Stats) -> impl Iterator<Item = String> {
    stats
        .accept_errors
        .iter()
        .map(|error| styled(render::BAD, format_args!("accepts no connections at {error}")))
}

/// Counters that are zero on a healthy host, if they are not.
pub fn warnings(stats: &Stats) -> Vec<(&'static str, String)> {
    let connections = &stats.connections;
    [
        ("evicted", connections.evicted, "connections closed at the limit"),
        ("write timeouts", connections.write_timeouts, "connections closed because the client did not read"),
        ("paused", connections.accept_pauses, "pauses of accepting"),
        ("log", stats.log_lines_dropped, "lines dropped"),
    ]
    .into_iter()
    .filter(|(_, count, _)| *count > 0)
    .map(|(name, count, what)| (name, format!("{count} {what}")))
    .collect()
}

/// Rates between two replies of a daemon.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    pub requests: f64,
    pub errors: f64,
    /// CPU time per second; above 1 if several threads are busy.
    pub busy: Option<f64>,
}

impl Rates {
    /// Returns `None` if no time has passed.
    pub fn between(before: &Stats, now: &Stats) -> Option<Self> {
        let ms = elapsed_ms(before, now)?;
        let errors = |stats: &Stats| stats.requests.total.saturating_sub(stats.requests.ok);
        let per_second = |before: u64, now: u64| per_second(now.saturating_sub(before), ms);
        let is_same_process = before.process.started_unix_ms == now.process.started_unix_ms;
        Some(Self {
            requests: per_second(before.requests.total, now.requests.total),
            errors: per_second(errors(before), errors(now)),
            busy: is_same_process.then(|| per_second(before.process.cpu_ms, now.process.cpu_ms) / 1e3),
        })
    }
}

/// Measures by the daemon's clock, so that network delays do not matter; also across a restart.
pub fn elapsed_ms(before: &Stats, now: &Stats) -> Option<u64> {
    let clock = |stats: &Stats| stats.process.started_unix_ms + stats.process.uptime_ms;
    clock(now).checked_sub(clock(before)).filter(|ms| *ms > 0)
}

#[allow(clippy::cast_precision_loss)] // rates, to be read by people
pub fn per_second(count: u64, ms: u64) -> f64 {
    count as f64 * 1e3 / ms as f64
}

/// The sum of several daemons.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatsSum {
    pub workers: u64,
    pub requests: RequestCounts,
    pub rates: RequestRates,
    pub latency: LatencyStats,
    pub recent_latency: LatencyStats,
    pub connections: ConnectionStats,
    pub bytes_received: u64,
    pub bytes_sent: u64,
}

impl StatsSum {
    /// Adds statistics up; quantiles are those of all requests together.
    pub fn of(all: &[&Stats]) -> Self {
        let sum = |count: fn(&Stats) -> u64| saturating_sum(all.iter().map(|stats| count(stats)));
        let rate = |rate: fn(&Stats) -> f64| all.iter().map(|stats| rate(stats)).sum();
        let latency =
            |latency: fn(&Stats) -> &LatencyStats| LatencyStats::sum(all.iter().map(|stats| latency(stats)));
        Self {
            workers: sum(|stats| stats.workers),
            requests: RequestCounts {
                total: sum(|stats| stats.requests.total),
                ..RequestCounts::new(|outcome| {
                    saturating_sum(all.iter().map(|stats| stats.requests.get(outcome)))
                })
            },
            rates: RequestRates {
                last_second: rate(|stats| stats.rates.last_second),
                last_ten_seconds: rate(|stats| stats.rates.last_ten_seconds),
                last_minute: rate(|stats| stats.rates.last_minute),
            },
            latency: latency(|stats| &stats.latency),
            recent_latency: latency(|stats| &stats.recent_latency),
            connections: ConnectionStats {
                open: sum(|stats| stats.connections.open),
                idle: sum(|stats| stats.connections.idle),
                accepted: sum(|stats| stats.connections.accepted),
                adopted: sum(|stats| stats.connections.adopted),
                limit: sum(|stats| stats.connections.limit),
                effective_limit: sum(|stats| stats.connections.effective_limit),
                evicted: sum(|stats| stats.connections.evicted),
                write_timeouts: sum(|stats| stats.connections.write_timeouts),
                accept_pauses: sum(|stats| stats.connections.accept_pauses),
            },
            bytes_received: sum(|stats| stats.bytes_received),
            bytes_sent: sum(|stats| stats.bytes_sent),
        }
    }
}
