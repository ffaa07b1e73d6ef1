use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zlink::introspect::CustomType;

use super::Outcome;

/// The state of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub enum ServiceState {
    /// It serves requests.
    Serving,
    /// It responds to each request with 503, so that the proxy sends it to another host.
    Drained,
    /// It finishes the requests in flight and exits.
    Stopping,
}

/// The caller of a change at run time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct Attribution {
    /// The caller, such as "root (pid 4711)".
    pub by: String,
    /// Time of the change.
    pub at_unix_ms: u64,
}

/// The process of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct ProcessInfo {
    /// Version of the daemon.
    pub version: String,
    /// Process ID.
    pub pid: u32,
    /// When the process started.
    pub started_unix_ms: u64,
    /// How long ago that was.
    pub uptime_ms: u64,
    /// Starts of the daemon since the counters were reset, including this one.
    pub starts: u64,
    /// CPU time used.
    pub cpu_ms: u64,
    /// Resident memory in bytes; null if /proc cannot be read.
    pub memory_bytes: Option<u64>,
    /// Open file descriptors; null if /proc cannot be read.
    pub descriptors_used: Option<u64>,
    /// Limit of open file descriptors (RLIMIT_NOFILE).
    pub descriptors_allowed: u64,
}

/// Requests that have a response, by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct RequestCounts {
    /// All requests.
    pub total: u64,
    /// 200: the pixel was accepted.
    pub ok: u64,
    /// 422: the body is not a pixel.
    pub invalid: u64,
    /// 422, or pixel.range-error-status: the value is not in 0 to 255.
    pub out_of_range: u64,
    /// 400: not valid HTTP, or a body that cannot be decoded. 505: the major version of HTTP is not 1.
    pub malformed: u64,
    /// 404: another path.
    pub not_found: u64,
    /// 405: another method.
    pub method_not_allowed: u64,
    /// 408: the header section or the body did not arrive in time.
    pub timed_out: u64,
    /// 413: the body is larger than limits.body.
    pub too_large: u64,
    /// 415: the body has a content encoding.
    pub unsupported_media_type: u64,
    /// 431: the header section is larger than limits.header or has too many fields. 414: the request line
    /// alone is larger.
    pub head_too_large: u64,
    /// 501: the transfer encoding is not chunked.
    pub not_implemented: u64,
    /// 503: the daemon was drained.
    pub unavailable: u64,
    /// 500, or no response: internal error of the daemon.
    pub failed: u64,
}

impl RequestCounts {
    /// Returns the counts that `count` returns for each outcome.
    pub fn new(count: impl Fn(Outcome) -> u64) -> Self {
        let mut requests = Self::default();
        for outcome in Outcome::ALL {
            *requests.of(outcome) = count(outcome);
            requests.total = requests.total.saturating_add(count(outcome));
        }
        requests
    }

    /// Returns the count of one outcome.
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

/// Requests per second, or since the start of the daemon if that is more recent.
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

/// Requests that took less than a bound, and at least the bound of the previous bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct LatencyBucket {
    /// Upper bound.
    pub below_us: u64,
    /// Number of requests.
    pub count: u64,
}

/// Time from the first byte of a request to the last byte of its response. A percentile is the upper bound of
/// a bucket, at most 1/16 too high.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct LatencyStats {
    /// Requests whose response was sent completely.
    pub count: u64,
    /// Sum of their times.
    pub sum_us: u64,
    /// 50 % took at most this long.
    pub p50_us: u64,
    /// 90 % took at most this long.
    pub p90_us: u64,
    /// 99 % took at most this long.
    pub p99_us: u64,
    /// 99.9 % took at most this long.
    pub p999_us: u64,
    /// Longest time.
    pub max_us: u64,
    /// The buckets that are not empty, by their bounds.
    pub buckets: Vec<LatencyBucket>,
}

impl LatencyStats {
    /// Computes the percentiles from buckets, sorted by their exclusive upper bounds.
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

    /// Returns the sum, with percentiles over all requests.
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

/// Returns the sum of counts, saturated at 64 bits.
pub fn saturating_sum(counts: impl IntoIterator<Item = u64>) -> u64 {
    counts.into_iter().fold(0, u64::saturating_add)
}

/// Client connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct ConnectionStats {
    /// Open connections.
    pub open: u64,
    /// Open connections without a request in progress.
    pub idle: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections adopted from the previous process after a restart.
    #[serde(alias = "restored")]
    pub adopted: u64,
    /// Configured limit (limits.connections).
    pub limit: u64,
    /// Limit in effect, lower if the open-file limit requires it.
    #[serde(alias = "allowed")]
    pub effective_limit: u64,
    /// Connections closed because the limit was reached, idle or with an incomplete request.
    pub evicted: u64,
    /// Connections closed because the client did not read its response in time (timeouts.write).
    #[serde(alias = "cut")]
    pub write_timeouts: u64,
    /// Pauses of accepting, at the limit or because file descriptors or memory ran out.
    #[serde(alias = "pauses")]
    pub accept_pauses: u64,
}

/// State and counters of the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct Stats {
    /// State of the daemon.
    pub state: ServiceState,
    /// The caller that drained the daemon; null if it is not drained.
    pub drained_by: Option<Attribution>,
    /// Process of the daemon.
    pub process: ProcessInfo,
    /// When the counters were last reset.
    #[serde(alias = "countingSinceUnixMs")]
    pub counters_since_unix_ms: u64,
    /// When the configuration in effect was read, at the start or by a reload.
    #[serde(default)]
    pub config_loaded_unix_ms: u64,
    /// Whether the last reload succeeded; true if there was none.
    #[serde(default)]
    pub last_reload_succeeded: bool,
    /// Addresses that accept requests.
    pub listeners: Vec<String>,
    /// Addresses at which the operating system rejects accepting connections, each with the reason.
    #[serde(default)]
    pub accept_errors: Vec<String>,
    /// Workers that serve.
    pub workers: u64,
    /// Requests that have a response.
    pub requests: RequestCounts,
    /// Their rates.
    pub rates: RequestRates,
    /// Their latency since the counters were reset.
    pub latency: LatencyStats,
    /// Their latency over the last ten seconds.
    pub recent_latency: LatencyStats,
    /// Client connections.
    pub connections: ConnectionStats,
    /// Bytes received on client connections, including header sections.
    pub bytes_received: u64,
    /// Bytes sent on client connections, including header sections.
    pub bytes_sent: u64,
    /// Log lines dropped because they could not be written, or not fast enough.
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
