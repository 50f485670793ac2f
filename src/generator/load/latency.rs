//! A histogram of times: fixed memory, any range, 1.6% resolution.

use std::time::Duration;

/// Buckets of equal width in each power of two: the width is at most 1/64 of the value.
const SUB_BUCKET_BITS: u32 = 6;
const SUB_BUCKETS: u64 = 1 << SUB_BUCKET_BITS;
/// Enough for every 64-bit number of microseconds.
const BUCKETS: usize = ((64 - SUB_BUCKET_BITS as usize) + 1) << SUB_BUCKET_BITS;

/// Times in microseconds.
#[derive(Clone, Debug)]
pub(crate) struct LatencyHistogram {
    counts: Vec<u64>,
    total: u64,
    max_us: u64,
}

impl LatencyHistogram {
    pub(super) fn new() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max_us: 0 }
    }

    pub(super) fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket_of(micros)] += 1;
        self.total += 1;
        self.max_us = self.max_us.max(micros);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max_us = self.max_us.max(other.max_us);
    }

    /// The smallest time that a share `quantile` of all times does not exceed, rounded up to its bucket's end.
    /// `None` without times.
    pub(super) fn quantile(&self, quantile: f64) -> Option<Duration> {
        let rank = ((quantile * self.total as f64).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_micros(last_of(bucket).min(self.max_us)))
    }

    pub(super) fn max(&self) -> Option<Duration> {
        (self.total > 0).then(|| Duration::from_micros(self.max_us))
    }
}

/// Below 64 each number has its own bucket; above, the six bits after the leading one choose it.
fn bucket_of(micros: u64) -> usize {
    if micros < SUB_BUCKETS {
        return micros as usize;
    }
    let shift = micros.ilog2() - SUB_BUCKET_BITS;
    let power = u64::from(shift + 1) << SUB_BUCKET_BITS;
    (power + ((micros >> shift) - SUB_BUCKETS)) as usize
}

/// The largest number of a bucket.
fn last_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < SUB_BUCKETS {
        return bucket;
    }
    let shift = (bucket >> SUB_BUCKET_BITS) - 1;
    let first = (SUB_BUCKETS + bucket % SUB_BUCKETS) << shift;
    first + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests;
