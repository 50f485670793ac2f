//! Histograms with explicit bounds: their quantiles, and merging without loss of exactness.

use std::mem::size_of;

use datafusion::common::{exec_datafusion_err, exec_err};
use datafusion::error::Result;

use super::outside_of_quantiles;

/// The buckets of one data point, per bucket and not cumulative, as OTLP has them.
///
/// Bucket `i` covers `(bounds[i - 1], bounds[i]]`; the first reaches down without end, the one after the last bound up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buckets<'a> {
    bounds: &'a [f64],
    counts: &'a [u64],
}

impl<'a> Buckets<'a> {
    /// `None` if there are no buckets: OTLP allows a histogram of which only count and sum are known.
    ///
    /// # Errors
    /// `Execution` — the lists do not belong together, or the bounds do not rise.
    pub(super) fn try_new(bounds: &'a [f64], counts: &'a [u64]) -> Result<Option<Self>> {
        if bounds.is_empty() && counts.is_empty() {
            return Ok(None);
        }
        if counts.len() != bounds.len() + 1 {
            return exec_err!(
                "a histogram with {} bounds has {} counts, not {}: pass explicit_bounds and bucket_counts of the same row",
                bounds.len(),
                bounds.len() + 1,
                counts.len()
            );
        }
        if bounds.iter().any(|bound| bound.is_nan()) || bounds.windows(2).any(|pair| pair[0] >= pair[1]) {
            return exec_err!("the bounds of a histogram must rise from each to the next");
        }
        Ok(Some(Self { bounds, counts }))
    }

    /// The value below which the share `q` of the observations lies, or `None` if the buckets cannot tell.
    ///
    /// Inside a bucket observations are taken to be spread evenly. `min` and `max`, where known, are the edges of the
    /// buckets that they lie in; else the first bucket begins at 0 (or is its bound, if that is not above 0), and the
    /// last is its lower bound.
    ///
    /// Source: <https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile>
    pub(super) fn quantile(self, q: f64, min: Option<f64>, max: Option<f64>) -> Option<f64> {
        if let Some(outside) = outside_of_quantiles(q) {
            return Some(outside);
        }
        let total: u128 = self.counts.iter().map(|count| u128::from(*count)).sum();
        let rank = q * total as f64;
        let mut below = 0_u128;
        for (bucket, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let through = below + u128::from(*count);
            if through as f64 >= rank || through == total {
                let (lower, upper) = self.edges(bucket, min, max)?;
                let share = ((rank - below as f64) / *count as f64).clamp(0.0, 1.0);
                return Some(interpolate(lower, upper, share));
            }
            below = through;
        }
        None
    }

    fn edges(self, bucket: usize, min: Option<f64>, max: Option<f64>) -> Option<(f64, f64)> {
        let lower = if bucket == 0 { f64::NEG_INFINITY } else { self.bounds[bucket - 1] };
        let upper = self.bounds.get(bucket).copied().unwrap_or(f64::INFINITY);
        // Extremes that contradict each other are no extremes.
        let (min, max) = match (min, max) {
            (Some(min), Some(max)) if min > max => (None, None),
            other => other,
        };
        let inside = |value: &f64| value.is_finite() && *value >= lower && *value <= upper;
        let least = min.filter(inside).or(Some(lower).filter(|edge| edge.is_finite()));
        let most = max.filter(inside).or(Some(upper).filter(|edge| edge.is_finite()));
        match (least, most) {
            (Some(least), Some(most)) => Some((least, most)),
            (None, Some(most)) => Some((if most > 0.0 { 0.0 } else { most }, most)),
            (Some(least), None) => Some((least, least)),
            (None, None) => None,
        }
    }
}

fn interpolate(lower: f64, upper: f64, share: f64) -> f64 {
    let width = upper - lower;
    if width.is_finite() { lower + width * share } else { lower * (1.0 - share) + upper * share }
}

/// The sum of histograms, on the bounds that all of them have.
///
/// A bound that one of them lacks is no bound of the sum, because that one does not tell what lies on either side.
/// What remains is exact.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Merged {
    pub(super) bounds: Vec<f64>,
    pub(super) counts: Vec<u64>,
}

impl From<Buckets<'_>> for Merged {
    fn from(buckets: Buckets<'_>) -> Self {
        Self { bounds: buckets.bounds.to_vec(), counts: buckets.counts.to_vec() }
    }
}

impl Merged {
    /// # Errors
    /// `Execution` — a count passes 64 bits.
    pub(super) fn add(&mut self, other: Buckets<'_>) -> Result<()> {
        if self.bounds == other.bounds {
            return add_each(&mut self.counts, other.counts);
        }
        let common = common_bounds(&self.bounds, other.bounds);
        if common.len() < self.bounds.len() {
            self.counts = on_bounds(&common, Buckets { bounds: &self.bounds, counts: &self.counts })?;
            self.bounds = common;
        }
        add_each(&mut self.counts, &on_bounds(&self.bounds, other)?)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.bounds.capacity() * size_of::<f64>() + self.counts.capacity() * size_of::<u64>()
    }
}

fn common_bounds(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    let mut theirs = theirs.iter().peekable();
    let is_common = |bound: &f64| {
        while theirs.next_if(|other| *other < bound).is_some() {}
        theirs.peek() == Some(&bound)
    };
    ours.iter().copied().filter(is_common).collect()
}

/// The counts of `buckets` between `bounds`, which are some of its own.
fn on_bounds(bounds: &[f64], buckets: Buckets<'_>) -> Result<Vec<u64>> {
    let mut counts = vec![0; bounds.len() + 1];
    let mut bucket = 0;
    for (i, count) in buckets.counts.iter().enumerate() {
        counts[bucket] = add(counts[bucket], *count)?;
        if bucket < bounds.len() && buckets.bounds.get(i) == Some(&bounds[bucket]) {
            bucket += 1;
        }
    }
    Ok(counts)
}

fn add_each(ours: &mut [u64], theirs: &[u64]) -> Result<()> {
    for (our, their) in ours.iter_mut().zip(theirs) {
        *our = add(*our, *their)?;
    }
    Ok(())
}

/// # Errors
/// `Execution` — the sum passes 64 bits.
pub(super) fn add(a: u64, b: u64) -> Result<u64> {
    a.checked_add(b).ok_or_else(|| {
        exec_datafusion_err!("the counts of the merged histograms pass 2^64 - 1: merge fewer of them")
    })
}
