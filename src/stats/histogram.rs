use std::time::Duration;

use super::counter::{self, Counter};

/// Sub-buckets of each power of two, which bound the error of a quantile to a sixteenth.
const SUB_BITS: u32 = 4;
const SUB_BUCKETS: usize = 1 << SUB_BITS;
/// Durations of 2^27 µs (134 s) or longer share the last bucket.
const OCTAVES: usize = 23;
const OVERFLOW: usize = SUB_BUCKETS + OCTAVES * SUB_BUCKETS;
const BUCKETS: usize = OVERFLOW + 1;

/// A log-linear histogram of durations, as HdrHistogram: buckets of microseconds, exact up to 16, and above at most
/// a sixteenth of their value wide. One thread writes, any may read.
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
    /// Counts `times` events that took so long each.
    pub fn record(&self, duration: Duration, times: u64) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(us)].add(times);
        self.sum_us.add(us.saturating_mul(times));
        self.max_us.raise(us);
    }

    /// Adds what was recorded so far to `sum`.
    pub fn add_to(&self, sum: &mut HistogramSnapshot) {
        for (total, counter) in sum.buckets.iter_mut().zip(&self.buckets) {
            *total = total.saturating_add(counter.get());
        }
        sum.sum_us = sum.sum_us.saturating_add(self.sum_us.get());
        sum.max_us = sum.max_us.max(self.max_us.get());
    }
}

/// What histograms held at one moment; several can be added up, and an earlier one taken away.
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
    /// Puts one together from its [`Self::buckets`]; bounds that are none of a bucket's go into the
    /// bucket that they fall into.
    pub fn from_buckets(buckets: impl IntoIterator<Item = (u64, u64)>, sum_us: u64, max_us: u64) -> Self {
        let mut snapshot = Self { sum_us, max_us, ..Self::default() };
        for (below_us, count) in buckets {
            let total = &mut snapshot.buckets[bucket(below_us.saturating_sub(1))];
            *total = total.saturating_add(count);
        }
        snapshot
    }

    /// How many events.
    pub fn count(&self) -> u64 {
        counter::sum(self.buckets.iter().copied())
    }

    /// The time of all events together, in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// The longest, in microseconds.
    pub fn max_us(&self) -> u64 {
        self.max_us
    }

    /// The time that a share of the events, from 0 to 1, did not exceed, in microseconds; 0 without
    /// events.
    pub fn quantile_us(&self, share: f64) -> u64 {
        let count = self.count();
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let wanted = ((count as f64 * share).ceil() as u64).clamp(1, count.max(1));
        let mut so_far = 0_u64;
        for (bound, n) in self.buckets() {
            so_far = so_far.saturating_add(n);
            if so_far >= wanted {
                return bound.min(self.max_us);
            }
        }
        0
    }

    /// The buckets that are not empty: each one's bound, which it does not include, and its count.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let counted = self.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
        counted.map(|(i, count)| (bound(i), *count))
    }

    /// What came since `earlier`; the maximum is then only known as a bucket's bound.
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

impl std::ops::AddAssign<&Self> for HistogramSnapshot {
    fn add_assign(&mut self, other: &Self) {
        for (mine, its) in self.buckets.iter_mut().zip(other.buckets.iter()) {
            *mine = mine.saturating_add(*its);
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        self.max_us = self.max_us.max(other.max_us);
    }
}

/// The bucket of so many microseconds.
fn bucket(us: u64) -> usize {
    let Some(octave) = us.checked_ilog2().and_then(|log| log.checked_sub(SUB_BITS)) else {
        return usize::try_from(us).unwrap_or(0);
    };
    // Within SUB_BUCKETS, whatever the octave.
    let sub = usize::try_from(us >> octave).unwrap_or(0) - SUB_BUCKETS;
    (SUB_BUCKETS + octave as usize * SUB_BUCKETS + sub).min(OVERFLOW)
}

/// The bound of a bucket, in microseconds, which it does not include.
fn bound(bucket: usize) -> u64 {
    match bucket.checked_sub(SUB_BUCKETS) {
        None => bucket as u64 + 1,
        // The longest that Varlink has an integer for.
        Some(_) if bucket == OVERFLOW => i64::MAX as u64,
        Some(above) => ((SUB_BUCKETS + above % SUB_BUCKETS + 1) as u64) << (above / SUB_BUCKETS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: &[u64]) -> HistogramSnapshot {
        let histogram = Histogram::default();
        for us in times {
            histogram.record(Duration::from_micros(*us), 1);
        }
        let mut snapshot = HistogramSnapshot::default();
        histogram.add_to(&mut snapshot);
        snapshot
    }

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
    fn known_distribution_has_its_quantiles() {
        let all = of(&(1..=1000).collect::<Vec<_>>());
        assert_eq!((all.count(), all.sum_us(), all.max_us()), (1000, 500_500, 1000));
        for (share, exact) in [(0.5, 500), (0.9, 900), (0.99, 990), (0.999, 999)] {
            let quantile = all.quantile_us(share);
            assert!((exact..=exact + exact / 16 + 1).contains(&quantile), "{share}: {quantile}");
        }
        assert_eq!(all.quantile_us(1.0), 1000);
        assert_eq!(of(&[]).quantile_us(0.5), 0);
        assert_eq!(of(&[7]).quantile_us(0.001), 7);
    }

    #[test]
    fn histograms_add_and_subtract() {
        let (mut sum, late) = (of(&[3, 70]), of(&[500, 9_000]));
        let early = sum.clone();
        sum += &late;
        assert_eq!((sum.count(), sum.sum_us(), sum.max_us()), (4, 9_573, 9_000));
        let recent = sum.since(&early);
        assert_eq!((recent.count(), recent.sum_us()), (2, 9_500));
        assert_eq!(recent.max_us(), 9_000);
        assert_eq!(early.since(&early).max_us(), 0);
    }

    #[test]
    fn sums_beyond_64_bits_stay_at_the_largest_number() {
        let half = u64::MAX / 2 + 1;
        let buckets = [(1, half), (1, half), (5, half), (9, half)];
        let mut sum = HistogramSnapshot::from_buckets(buckets, half, 8);
        sum += &sum.clone();
        assert_eq!((sum.count(), sum.sum_us()), (u64::MAX, u64::MAX));
        assert_eq!(sum.buckets().collect::<Vec<_>>(), [(1, u64::MAX), (5, u64::MAX), (9, u64::MAX)]);
        assert_eq!((sum.quantile_us(0.5), sum.quantile_us(1.0)), (1, 1));
        assert_eq!(sum.since(&sum).count(), 0);
    }

    #[test]
    fn buckets_have_every_sample() {
        let all = of(&[1, 1, 40, 41, 12_345, 1 << 40]);
        assert_eq!(HistogramSnapshot::from_buckets(all.buckets(), all.sum_us(), all.max_us()), all);
    }
}
