use std::time::Duration;

use super::counter::{self, Counter};
use crate::sys::shareable;

shareable!(Histogram { buckets, sum_us, max_us });

/// Sub-buckets of each power of two. They limit the error of a quantile to a sixteenth.
const SUB_BITS: u32 = 4;
const SUB_BUCKETS: usize = 1 << SUB_BITS;
/// Durations of 2^27 µs (134 s) or longer share the last bucket.
const OCTAVES: usize = 23;
const OVERFLOW: usize = SUB_BUCKETS + OCTAVES * SUB_BUCKETS;
const BUCKETS: usize = OVERFLOW + 1;

/// A log-linear histogram of durations, as HdrHistogram. Buckets are exact up to 16 µs; wider ones have at most a
/// sixteenth of their value. One thread writes, any may read.
#[derive(Debug)]
#[repr(C)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    sum_us: Counter,
    max_us: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        let buckets = std::array::from_fn(|_| Counter::default());
        Self { buckets, sum_us: Counter::default(), max_us: Counter::default() }
    }
}

impl Histogram {
    /// Counts `times` events of this duration.
    pub fn record(&self, duration: Duration, times: u64) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(us)].add(times);
        self.sum_us.add(us.saturating_mul(times));
        self.max_us.raise(us);
    }

    /// Adds all recorded events to `sum`.
    pub fn add_to(&self, sum: &mut HistogramSnapshot) {
        for (total, counter) in sum.buckets.iter_mut().zip(&self.buckets) {
            *total = total.saturating_add(counter.get());
        }
        sum.sum_us = sum.sum_us.saturating_add(self.sum_us.get());
        sum.max_us = sum.max_us.max(self.max_us.get());
    }
}

/// The sum of histograms at one time, from which an earlier one can be subtracted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramSnapshot {
    buckets: Box<[u64; BUCKETS]>,
    sum_us: u64,
    max_us: u64,
}

impl Default for HistogramSnapshot {
    fn default() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), sum_us: 0, max_us: 0 }
    }
}

impl HistogramSnapshot {
    pub fn count(&self) -> u64 {
        counter::sum(self.buckets.iter().copied())
    }

    /// Returns the total time of all events, in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    pub fn max_us(&self) -> u64 {
        self.max_us
    }

    /// Returns the exclusive upper bound in microseconds and the count of each bucket that is not empty.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let counted = self.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
        counted.map(|(i, count)| (bound(i), *count))
    }

    /// Returns the events since `earlier`. Their maximum is known only as the bound of a bucket.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut recent = self.clone();
        for (count, before) in recent.buckets.iter_mut().zip(earlier.buckets.iter()) {
            *count = count.saturating_sub(*before);
        }
        recent.sum_us = self.sum_us.saturating_sub(earlier.sum_us);
        let longest = recent.buckets().last().map_or(0, |(bound, _)| bound);
        recent.max_us = longest.min(self.max_us);
        recent
    }
}

/// Returns the index of the bucket for a duration in microseconds.
fn bucket(us: u64) -> usize {
    let Some(octave) = us.checked_ilog2().and_then(|log| log.checked_sub(SUB_BITS)) else {
        return usize::try_from(us).unwrap_or(0);
    };
    // Within SUB_BUCKETS, whatever the octave.
    let sub = usize::try_from(us >> octave).unwrap_or(0) - SUB_BUCKETS;
    (SUB_BUCKETS + octave as usize * SUB_BUCKETS + sub).min(OVERFLOW)
}

/// Returns the exclusive upper bound of a bucket, in microseconds.
fn bound(bucket: usize) -> u64 {
    match bucket.checked_sub(SUB_BUCKETS) {
        None => bucket as u64 + 1,
        // The largest integer of Varlink.
        Some(_) if bucket == OVERFLOW => i64::MAX as u64,
        Some(above) => ((SUB_BUCKETS + above % SUB_BUCKETS + 1) as u64) << (above / SUB_BUCKETS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_bound_is_at_most_a_sixteenth_high() {
        let times = (0..27).flat_map(|log| [1_u64 << log, (1 << log) + 1, (2 << log) - 1]);
        for us in times.chain([0, 15, 16, 17, 31, 32, 33, 1000]) {
            let (low, high) = (bucket(us).checked_sub(1).map_or(0, bound), bound(bucket(us)));
            assert!((low..high).contains(&us), "{us} is not in {low}..{high}");
            assert!(high - low <= 1 + us / 16, "{us}: {low}..{high} is too wide");
        }
        assert_eq!((bucket(1 << 27), bucket(u64::MAX)), (OVERFLOW, OVERFLOW));
        assert_eq!((bucket((1 << 27) - 1), bound(OVERFLOW - 1)), (OVERFLOW - 1, 1 << 27));
    }

    #[test]
    fn later_snapshot_less_an_earlier_one_is_what_came_since() {
        let histogram = Histogram::default();
        let snapshot = || {
            let mut snapshot = HistogramSnapshot::default();
            histogram.add_to(&mut snapshot);
            snapshot
        };
        histogram.record(Duration::from_micros(3), 1);
        histogram.record(Duration::from_micros(70), 2);
        let early = snapshot();
        assert_eq!(early.buckets().map(|(_, count)| count).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((early.sum_us(), early.max_us()), (143, 70));
        histogram.record(Duration::from_millis(9), 1);
        let recent = snapshot().since(&early);
        assert_eq!(recent.buckets().map(|(_, count)| count).collect::<Vec<_>>(), [1]);
        assert_eq!((recent.sum_us(), recent.max_us()), (9_000, 9_000));
        assert_eq!(early.since(&early).max_us(), 0);
    }
}
