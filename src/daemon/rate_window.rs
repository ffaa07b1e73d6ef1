use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::stats::HistogramSnapshot;

/// The counters at a time within the last minute.
#[derive(Debug, Clone)]
pub struct RateSample {
    pub at: Instant,
    pub total: u64,
    pub latency: HistogramSnapshot,
    /// The busy time of each worker, by its number.
    pub busy: Vec<(usize, Duration)>,
}

/// The samples of the last minute, for computing rates.
#[derive(Debug)]
pub struct RateWindow(VecDeque<RateSample>);

/// The longest period of a rate.
const WINDOW: Duration = Duration::from_secs(60);
/// Minimum time between two samples.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(900);

impl RateWindow {
    pub fn new(first: RateSample) -> Self {
        Self(VecDeque::from([first]))
    }

    /// Whether the last sample is old enough for another one.
    pub fn is_due(&self, now: Instant) -> bool {
        self.0.back().is_none_or(|last| now - last.at >= SAMPLE_INTERVAL)
    }

    /// Adds a sample, and drops those that are too old.
    pub fn add(&mut self, sample: RateSample) {
        while self.0.get(1).is_some_and(|second| sample.at - second.at >= WINDOW) {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    /// Returns the youngest sample of at least this age, or else the oldest.
    pub fn before(&self, now: Instant, age: Duration) -> &RateSample {
        let old_enough = self.0.iter().rev().find(|sample| now - sample.at >= age);
        old_enough.unwrap_or(&self.0[0])
    }

    /// Returns the requests per second over the last `age`, or since the oldest sample.
    pub fn rate(&self, now: &RateSample, age: Duration) -> f64 {
        let before = self.before(now.at, age);
        let seconds = (now.at - before.at).as_secs_f64();
        #[allow(clippy::cast_precision_loss)] // a rate, to be read by people
        let requests = now.total.saturating_sub(before.total) as f64;
        // Right after the start the period is too short.
        if seconds < 0.01 { 0.0 } else { requests / seconds }
    }

    /// Returns the share of the last ten seconds in which a worker was busy, from 0 to 1.
    pub fn busy(&self, now: Instant, worker: usize, busy: Duration) -> f64 {
        let before = self.before(now, Duration::from_secs(10));
        let earlier = before.busy.iter().find(|(number, _)| *number == worker).map(|(_, busy)| *busy);
        let seconds = (now - before.at).as_secs_f64().max(0.01);
        // Another worker may have the same number meanwhile.
        let recent = busy.checked_sub(earlier.unwrap_or_default()).unwrap_or(busy);
        (recent.as_secs_f64() / seconds).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(start: Instant, second: u64, total: u64) -> RateSample {
        let at = start + Duration::from_secs(second);
        let busy = vec![(1, Duration::from_millis(500 * second))];
        RateSample { at, total, latency: HistogramSnapshot::default(), busy }
    }

    #[test]
    fn rate_covers_its_window() {
        let start = Instant::now();
        let mut rates = RateWindow::new(sample(start, 0, 0));
        for second in 1..=100 {
            // 10 a second at first, 100 a second in the last ten seconds.
            rates.add(sample(start, second, second * 10 + second.saturating_sub(90) * 90));
        }
        let now = sample(start, 100, 1_900);
        let rate = |seconds| rates.rate(&now, Duration::from_secs(seconds));
        assert!((rate(1) - 100.0).abs() < 0.1 && (rate(10) - 100.0).abs() < 0.1);
        assert!((rate(60) - 25.0).abs() < 0.1, "{}", rate(60));
        assert!(rates.0.len() <= 62);
        assert!((rates.busy(now.at, 1, Duration::from_secs(50)) - 0.5).abs() < 0.01);
        assert!(rates.busy(now.at, 2, Duration::ZERO) < 0.01);
    }

    #[test]
    fn rate_right_after_start_is_zero() {
        let start = Instant::now();
        let rates = RateWindow::new(sample(start, 0, 0));
        assert!(rates.rate(&sample(start, 0, 5), Duration::from_secs(1)) < 0.1);
    }
}
