//! Histograms of durations, from a millisecond to the usual ceiling of timeouts.

use std::time::Duration;

use super::counter::Counter;

/// The upper bounds of the buckets in seconds. One more bucket, without a bound, counts all longer
/// durations. The list is short, because every connection has each bucket as a series in two
/// families.
pub const BOUNDS: [f64; 10] = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];

/// The same bounds in nanoseconds.
const NANOS: [u64; 10] = [
    1_000_000,
    5_000_000,
    25_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
    30_000_000_000,
    300_000_000_000,
];

/// Counts of durations. Has one writer at a time, like its counters.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    buckets: [Counter; BOUNDS.len() + 1],
    nanos: Counter,
}

impl Histogram {
    pub(super) fn observe(&self, nanos: u64) {
        let place = NANOS.iter().take_while(|bound| nanos > **bound).count();
        if let Some(bucket) = self.buckets.get(place) {
            bucket.add(1);
        }
        self.nanos.add(nanos);
    }

    /// Adds the counts of another worker.
    pub(super) fn merge(&self, other: &Self) {
        for (sum, bucket) in self.buckets.iter().zip(&other.buckets) {
            sum.add(bucket.get());
        }
        self.nanos.add(other.nanos.get());
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().map(Counter::get).sum()
    }

    pub(super) fn sum_seconds(&self) -> f64 {
        Duration::from_nanos(self.nanos.get()).as_secs_f64()
    }

    /// Returns each bound with the number of durations that do not exceed it.
    pub(super) fn cumulative_buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let sums = self.buckets.iter().scan(0, |sum, bucket| {
            *sum += bucket.get();
            Some(*sum)
        });
        BOUNDS.into_iter().zip(sums)
    }
}

#[cfg(test)]
mod tests {
    use super::{BOUNDS, Histogram, NANOS};
    use std::time::Duration;

    #[test]
    fn bounds_agree() {
        for (seconds, nanos) in BOUNDS.into_iter().zip(NANOS) {
            assert_eq!(Duration::from_secs_f64(seconds).as_nanos(), nanos.into());
        }
        assert!(NANOS.is_sorted());
    }

    #[test]
    fn a_duration_is_counted_in_the_lowest_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::default();
        let millis = |number: u64| number * 1_000_000;
        for duration in [millis(1), millis(2), millis(300_000), millis(300_001)] {
            histogram.observe(duration);
        }
        let merged = Histogram::default();
        merged.merge(&histogram);
        assert_eq!(merged.count(), 4);
        assert_eq!(merged.sum_seconds(), 600.004);
        let cumulative: Vec<_> = merged.cumulative_buckets().collect();
        assert_eq!(cumulative[0], (0.001, 1));
        assert_eq!(cumulative[1], (0.005, 2));
        assert_eq!(cumulative[9], (300.0, 3));
    }
}
