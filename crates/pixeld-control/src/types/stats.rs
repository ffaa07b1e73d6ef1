use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zlink::introspect::CustomType;

use super::Outcome;

/// What the daemon is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub enum ServiceState {
    /// Requests are answered.
    Serving,
    /// Requests are answered with 503, so that a proxy goes to another host.
    Drained,
    /// Requests in flight are finished, then the daemon ends.
    Stopping,
}

/// Who changed something at run time, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct Attribution {
    /// Who did it, such as "root (pid 4711)".
    pub by: String,
    /// When.
    pub at_unix_ms: u64,
}

/// The daemon's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct ProcessInfo {
    /// The daemon's version.
    pub version: String,
    /// Its process ID.
    pub pid: u32,
    /// When it started.
    pub started_unix_ms: u64,
    /// How long ago that was.
    pub uptime_ms: u64,
    /// How often the daemon has started since the counters began, this time included.
    pub starts: u64,
    /// CPU time that it has used.
    pub cpu_ms: u64,
    /// Bytes of memory that are resident; null where /proc is missing.
    pub memory_bytes: Option<u64>,
    /// Descriptors that are open; null where /proc is missing.
    pub descriptors_used: Option<u64>,
    /// Descriptors that may be open (RLIMIT_NOFILE).
    pub descriptors_allowed: u64,
}

/// Answered requests by their outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct RequestCounts {
    /// All of them.
    pub total: u64,
    /// 200: the pixel was accepted.
    pub ok: u64,
    /// 422: the body is no pixel.
    pub invalid: u64,
    /// 422, or as configured: the value is not in 0..=255.
    pub out_of_range: u64,
    /// 400: the request or its body cannot be read. 505: the major version of HTTP is not 1.
    pub malformed: u64,
    /// 404: another path.
    pub not_found: u64,
    /// 405: another method.
    pub method_not_allowed: u64,
    /// 408: head or body did not arrive in time.
    pub timed_out: u64,
    /// 413: the body is over limits.body.
    pub too_large: u64,
    /// 415: the body has a content encoding.
    pub unsupported_media_type: u64,
    /// 431: the head is over limits.header, or has too many fields. 414: the request line alone is over it.
    pub head_too_large: u64,
    /// 501: the transfer encoding is not chunked.
    pub not_implemented: u64,
    /// 503: the daemon was drained.
    pub unavailable: u64,
    /// 500, or no answer at all: a fault of the daemon's own.
    pub failed: u64,
}

impl RequestCounts {
    /// Asks `count` for each outcome.
    pub fn new(count: impl Fn(Outcome) -> u64) -> Self {
        let mut requests = Self::default();
        for outcome in Outcome::ALL {
            *requests.of(outcome) = count(outcome);
            requests.total = requests.total.saturating_add(count(outcome));
        }
        requests
    }

    /// The count of one outcome.
    pub fn get(&self, outcome: Outcome) -> u64 {
        *{ *self }.of(outcome)
    }

    fn of(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Ok => &mut self.ok,
            Outcome::Invalid => &mut self.invalid,
            Outcome::OutOfRange => &mut self.out_of_range,
            Outcome::Malformed => &mut self.malformed,
            Outcome::NotFound => &mut self.not_found,
            Outcome::MethodNotAllowed => &mut self.method_not_allowed,
            Outcome::TimedOut => &mut self.timed_out,
            Outcome::TooLarge => &mut self.too_large,
            Outcome::UnsupportedMediaType => &mut self.unsupported_media_type,
            Outcome::HeadTooLarge => &mut self.head_too_large,
            Outcome::NotImplemented => &mut self.not_implemented,
            Outcome::Unavailable => &mut self.unavailable,
            Outcome::Failed => &mut self.failed,
        }
    }
}

/// Answered requests for each second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct RequestRates {
    /// Over the last second.
    pub last_second: f64,
    /// Over the last ten seconds.
    pub last_ten_seconds: f64,
    /// Over the last minute.
    pub last_minute: f64,
}

/// Requests that took less than a bound, and no less than the bound before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct LatencyBucket {
    /// The bound.
    pub below_us: u64,
    /// Requests.
    pub count: u64,
}

/// How long requests took, from the first byte of the request to the last byte of the answer. A
/// quantile is the bound of the bucket that it falls into, which is at most a sixteenth too high.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct LatencyStats {
    /// Requests whose answer was sent to its last byte.
    pub count: u64,
    /// The time of all of them together.
    pub sum_us: u64,
    /// Half of them took no longer.
    pub p50_us: u64,
    /// 90 % of them took no longer.
    pub p90_us: u64,
    /// 99 % of them took no longer.
    pub p99_us: u64,
    /// 99.9 % of them took no longer.
    pub p999_us: u64,
    /// None of them took longer.
    pub max_us: u64,
    /// All of them, in buckets that are not empty, by their bounds.
    pub buckets: Vec<LatencyBucket>,
}

impl LatencyStats {
    /// Puts it together from its buckets, by their bounds, which are not included.
    pub fn new(buckets: Vec<LatencyBucket>, sum_us: u64, max_us: u64) -> Self {
        let count = saturating_sum(buckets.iter().map(|bucket| bucket.count));
        let quantile = |share: f64| {
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let wanted = ((count as f64 * share).ceil() as u64).clamp(1, count.max(1));
            let mut so_far = 0_u64;
            let reached = buckets.iter().find(|bucket| {
                so_far = so_far.saturating_add(bucket.count);
                so_far >= wanted
            });
            reached.map_or(0, |bucket| bucket.below_us.min(max_us))
        };
        Self {
            count,
            sum_us,
            p50_us: quantile(0.5),
            p90_us: quantile(0.9),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
            max_us,
            buckets,
        }
    }

    /// Adds up several of them; quantiles are those of all requests together.
    pub fn sum<'s>(all: impl IntoIterator<Item = &'s Self>) -> Self {
        let (mut counts, mut sum_us, mut max_us) = (BTreeMap::<u64, u64>::new(), 0_u64, 0);
        for stats in all {
            for bucket in &stats.buckets {
                let count = counts.entry(bucket.below_us).or_default();
                *count = count.saturating_add(bucket.count);
            }
            sum_us = sum_us.saturating_add(stats.sum_us);
            max_us = max_us.max(stats.max_us);
        }
        let buckets = counts.into_iter().map(|(below_us, count)| LatencyBucket { below_us, count });
        Self::new(buckets.collect(), sum_us, max_us)
    }
}

/// Adds up counts; a sum beyond 64 bits stays at the largest number.
pub fn saturating_sum(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

/// Client connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct ConnectionStats {
    /// Open now.
    pub open: u64,
    /// Of those, the ones that wait for their next request.
    pub idle: u64,
    /// Accepted.
    pub accepted: u64,
    /// Adopted from the previous process, at a restart.
    #[serde(alias = "restored")]
    pub adopted: u64,
    /// Open ones at most, as configured (limits.connections).
    pub limit: u64,
    /// Open ones at most; fewer than `limit` where the limit of open files leaves no room for so many.
    #[serde(alias = "allowed")]
    pub effective_limit: u64,
    /// Closed to make room for new ones at the limit: idle ones, or with an incomplete request.
    pub evicted: u64,
    /// Cut off because their client did not take its answers in time (timeouts.write).
    #[serde(alias = "cut")]
    pub write_timeouts: u64,
    /// Times that accepting paused, at the limit or for want of descriptors or memory.
    #[serde(alias = "pauses")]
    pub accept_pauses: u64,
}

/// What the daemon is doing, and what it has counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct Stats {
    /// What the daemon is doing.
    pub state: ServiceState,
    /// Who drained it, where it is drained.
    pub drained_by: Option<Attribution>,
    /// The daemon's process.
    pub process: ProcessInfo,
    /// When the counters began.
    #[serde(alias = "countingSinceUnixMs")]
    pub counters_since_unix_ms: u64,
    /// When the configuration in effect was read.
    #[serde(default)]
    pub config_loaded_unix_ms: u64,
    /// Whether the last reload succeeded; true if there was none.
    #[serde(default)]
    pub last_reload_succeeded: bool,
    /// Where requests are taken.
    pub listeners: Vec<String>,
    /// Those at which no connection can be accepted at present, each with the reason.
    #[serde(default)]
    pub accept_errors: Vec<String>,
    /// Threads that serve.
    pub workers: u64,
    /// Answered requests.
    pub requests: RequestCounts,
    /// Answered requests for each second.
    pub rates: RequestRates,
    /// How long they took.
    pub latency: LatencyStats,
    /// How long those of the last ten seconds took.
    pub recent_latency: LatencyStats,
    /// Client connections.
    pub connections: ConnectionStats,
    /// Bytes that came in on client connections.
    pub bytes_received: u64,
    /// Bytes that went out on client connections.
    pub bytes_sent: u64,
    /// Log lines that were dropped because the log did not take them.
    pub log_lines_dropped: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Buckets of one each, from 1 to `last`.
    fn up_to(last: u64) -> Vec<LatencyBucket> {
        (1..=last).map(|below_us| LatencyBucket { below_us, count: 1 }).collect()
    }

    #[test]
    fn known_distribution_has_its_quantiles() {
        let all = LatencyStats::new(up_to(1000), 500_500, 1000);
        assert_eq!((all.count, all.sum_us, all.max_us), (1000, 500_500, 1000));
        assert_eq!((all.p50_us, all.p90_us, all.p99_us, all.p999_us), (500, 900, 990, 999));
        let none = LatencyStats::new(Vec::new(), 0, 0);
        assert_eq!((none.count, none.p50_us, none.p999_us), (0, 0, 0));
        let one = LatencyStats::new(vec![LatencyBucket { below_us: 8, count: 1 }], 7, 7);
        assert_eq!((one.p50_us, one.p999_us), (7, 7));
    }

    #[test]
    fn sum_has_the_quantiles_of_all() {
        let (low, high) = (up_to(10), vec![LatencyBucket { below_us: 10, count: 10 }]);
        let sum = LatencyStats::sum([&LatencyStats::new(low, 55, 10), &LatencyStats::new(high, 95, 9)]);
        assert_eq!((sum.count, sum.sum_us, sum.max_us), (20, 150, 10));
        assert_eq!((sum.p50_us, sum.buckets.last().unwrap().count), (10, 11));
    }

    #[test]
    fn sums_beyond_64_bits_stay_at_the_largest_number() {
        let half = u64::MAX / 2 + 1;
        let buckets =
            vec![LatencyBucket { below_us: 1, count: half }, LatencyBucket { below_us: 9, count: half }];
        let stats = LatencyStats::new(buckets, half, 8);
        let sum = LatencyStats::sum([&stats, &stats]);
        assert_eq!((sum.count, sum.sum_us, sum.p999_us), (u64::MAX, u64::MAX, 1));
    }
}
