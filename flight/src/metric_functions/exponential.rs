//! Exponential histograms: their quantiles, and merging.
//!
//! With `base = 2^(2^-scale)`, bucket `index` covers `(base^index, base^(index + 1)]`, mirrored for negative values.
//! What is at most `zero_threshold` away from 0 is in the zero bucket.
//!
//! Source: <https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponentialhistogram>

use std::mem::size_of;

use datafusion::error::Result;

use super::explicit::add;
use super::outside_of_quantiles;

/// The most buckets that each side of a merged histogram has; the scale gives way.
pub(super) const MAX_BUCKETS: i64 = 1024;

/// Below this every double is in bucket 0 or -1, so a smaller scale says the same.
const MIN_SCALE: i32 = -64;

/// Binary logarithms of the smallest and of the largest double.
const LOG2_SMALLEST: f64 = -1074.0;
const LOG2_LARGEST: f64 = 1024.0;

/// The buckets of one sign, from `offset` on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Side<'a> {
    pub(super) offset: i32,
    pub(super) counts: &'a [u64],
}

impl Side<'_> {
    fn populated(self) -> impl DoubleEndedIterator<Item = (i64, u64)> {
        let first = i64::from(self.offset);
        let indexed = self.counts.iter().enumerate().map(move |(i, count)| (first + i as i64, *count));
        indexed.filter(|(_, count)| *count > 0)
    }

    fn total(self) -> u128 {
        self.counts.iter().map(|count| u128::from(*count)).sum()
    }

    fn span(self) -> Option<Span> {
        let (first, _) = self.populated().next()?;
        let (last, _) = self.populated().next_back()?;
        Some(Span { first, last })
    }
}

/// The buckets of one data point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buckets<'a> {
    pub(super) scale: i32,
    pub(super) zero_count: u64,
    pub(super) zero_threshold: f64,
    pub(super) positive: Side<'a>,
    pub(super) negative: Side<'a>,
}

/// Where a quantile lies.
enum Place {
    Negative(i64),
    Zero,
    Positive(i64),
}

impl Buckets<'_> {
    /// The value below which the share `q` of the observations lies; `None` without observations.
    ///
    /// Inside a bucket the logarithms of the observations are taken to be spread evenly, inside the zero bucket the
    /// observations themselves. If all others have one sign, the zero bucket ends at 0.
    ///
    /// Source: <https://prometheus.io/docs/specs/native_histograms/#interpolation-within-a-bucket>
    pub(super) fn quantile(&self, q: f64) -> Option<f64> {
        if let Some(outside) = outside_of_quantiles(q) {
            return Some(outside);
        }
        let total = self.negative.total() + u128::from(self.zero_count) + self.positive.total();
        let rank = q * total as f64;
        let mut below = 0_u128;
        for (place, count) in self.ascending() {
            let through = below + u128::from(count);
            if through as f64 >= rank || through == total {
                let share = ((rank - below as f64) / count as f64).clamp(0.0, 1.0);
                return Some(self.value(&place, share));
            }
            below = through;
        }
        None
    }

    fn ascending(&self) -> impl Iterator<Item = (Place, u64)> {
        let negative = self.negative.populated().rev().map(|(index, count)| (Place::Negative(index), count));
        let zero = (self.zero_count > 0).then_some((Place::Zero, self.zero_count));
        let positive = self.positive.populated().map(|(index, count)| (Place::Positive(index), count));
        negative.chain(zero).chain(positive)
    }

    fn value(&self, place: &Place, share: f64) -> f64 {
        match place {
            Place::Positive(index) => self.magnitude(*index, share),
            Place::Negative(index) => -self.magnitude(*index, 1.0 - share),
            Place::Zero => {
                let threshold = threshold(self.zero_threshold).min(f64::MAX);
                let (negative, positive) = (self.negative.total() > 0, self.positive.total() > 0);
                let lower = if positive && !negative { 0.0 } else { -threshold };
                let upper = if negative && !positive { 0.0 } else { threshold };
                lower * (1.0 - share) + upper * share
            }
        }
    }

    fn magnitude(&self, index: i64, share: f64) -> f64 {
        // What the zero bucket covers of a bucket holds nothing.
        let zero = threshold(self.zero_threshold).min(f64::MAX).log2();
        let lower = log2_edge(self.scale, index).max(zero);
        let upper = log2_edge(self.scale, index + 1).max(zero);
        (lower + (upper - lower) * share).exp2().min(f64::MAX)
    }
}

/// A threshold that is no distance is none.
fn threshold(given: f64) -> f64 {
    given.max(0.0)
}

/// The binary logarithm of the lower edge of a bucket, within what a double can hold.
fn log2_edge(scale: i32, index: i64) -> f64 {
    // Outside of these bounds the edge is 1, or no double.
    let width = (-f64::from(scale.clamp(-1000, 1000))).exp2();
    (index as f64 * width).clamp(LOG2_SMALLEST, LOG2_LARGEST)
}

fn edge(scale: i32, index: i64) -> f64 {
    log2_edge(scale, index).exp2().min(f64::MAX)
}

/// Bucket indexes from the first to the last that is populated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    first: i64,
    last: i64,
}

impl Span {
    fn coarser(self, steps: u32) -> Self {
        Self { first: self.first >> steps, last: self.last >> steps }
    }

    fn with(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }

    fn fits(self) -> bool {
        self.last - self.first < MAX_BUCKETS
            && self.first >= i64::from(i32::MIN)
            && self.last <= i64::from(i32::MAX)
    }
}

/// The sum of exponential histograms, on the smallest of their scales.
///
/// The buckets that the widest zero bucket covers move into it only in [`Merged::finished`]: done at each step, the result
/// would depend on the order of the steps.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Merged {
    pub(super) scale: i32,
    pub(super) zero_count: u64,
    pub(super) zero_threshold: f64,
    pub(super) positive: Dense,
    pub(super) negative: Dense,
}

impl Merged {
    /// # Errors
    /// `Execution` — a count passes 64 bits.
    pub(super) fn try_new(buckets: &Buckets<'_>) -> Result<Self> {
        let scale = buckets.scale.max(MIN_SCALE);
        let (positive, negative) = (Dense::default(), Dense::default());
        let mut merged = Self { scale, zero_count: 0, zero_threshold: 0.0, positive, negative };
        merged.add(buckets)?;
        Ok(merged)
    }

    /// Bounds: each side keeps at most [`MAX_BUCKETS`], at a smaller scale if need be.
    ///
    /// # Errors
    /// `Execution` — a count passes 64 bits.
    pub(super) fn add(&mut self, other: &Buckets<'_>) -> Result<()> {
        let other_scale = other.scale.max(MIN_SCALE);
        let mut scale = self.scale.min(other_scale);
        let sides =
            [(self.positive.span(), other.positive.span()), (self.negative.span(), other.negative.span())];
        let fits = |scale, (ours, theirs): (Option<Span>, Option<Span>)| {
            let ours = ours.map(|span| span.coarser(steps(self.scale, scale)));
            let theirs = theirs.map(|span| span.coarser(steps(other_scale, scale)));
            match (ours, theirs) {
                (Some(ours), Some(theirs)) => ours.with(theirs).fits(),
                (Some(span), None) | (None, Some(span)) => span.fits(),
                (None, None) => true,
            }
        };
        while !sides.iter().all(|side| fits(scale, *side)) {
            scale -= 1;
        }
        for (ours, theirs) in [(&mut self.positive, other.positive), (&mut self.negative, other.negative)] {
            ours.join_neighbours(steps(self.scale, scale))?;
            ours.add(theirs, steps(other_scale, scale))?;
        }
        self.scale = scale;
        self.zero_count = add(self.zero_count, other.zero_count)?;
        self.zero_threshold = self.zero_threshold.max(threshold(other.zero_threshold));
        Ok(())
    }

    /// The sum as a histogram: what the zero bucket covers is in it and nowhere else.
    ///
    /// If the threshold ends inside a populated bucket, it grows to that bucket's end.
    ///
    /// # Errors
    /// `Execution` — a count passes 64 bits.
    pub(super) fn finished(mut self) -> Result<Self> {
        let scale = self.scale;
        for side in [&mut self.positive, &mut self.negative] {
            let covered = side
                .counts
                .iter()
                .zip(side.first..)
                .take_while(|(_, index)| edge(scale, *index) < self.zero_threshold)
                .count();
            for (count, index) in side.counts.drain(..covered).zip(side.first..) {
                if count > 0 {
                    self.zero_count = add(self.zero_count, count)?;
                    self.zero_threshold = self.zero_threshold.max(edge(scale, index + 1));
                }
            }
            side.first += covered as i64;
            side.trim();
        }
        Ok(self)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        (self.positive.counts.capacity() + self.negative.counts.capacity()) * size_of::<u64>()
    }
}

/// How often neighbours are joined on the way from one scale to a smaller one. 63 times leave two buckets.
fn steps(from: i32, to: i32) -> u32 {
    from.abs_diff(to).min(63)
}

/// The buckets of one sign without those at either end that are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dense {
    pub(super) first: i64,
    pub(super) counts: Vec<u64>,
}

impl Dense {
    fn span(&self) -> Option<Span> {
        let last = self.first + self.counts.len() as i64 - 1;
        (!self.counts.is_empty()).then_some(Span { first: self.first, last })
    }

    /// Halves the number of buckets so many times.
    fn join_neighbours(&mut self, steps: u32) -> Result<()> {
        let Some(span) = self.span().map(|span| span.coarser(steps)).filter(|_| steps > 0) else {
            return Ok(());
        };
        let mut coarse = Self::default();
        coarse.reach(span);
        for (count, index) in self.counts.iter().zip(self.first..) {
            coarse.count(index >> steps, *count)?;
        }
        *self = coarse;
        Ok(())
    }

    /// Adds buckets whose neighbours are joined so many times before.
    fn add(&mut self, theirs: Side<'_>, steps: u32) -> Result<()> {
        let Some(span) = theirs.span() else { return Ok(()) };
        self.reach(span.coarser(steps));
        for (index, count) in theirs.populated() {
            self.count(index >> steps, count)?;
        }
        Ok(())
    }

    /// Makes room for all of a span, which must fit.
    fn reach(&mut self, span: Span) {
        let Some(ours) = self.span() else {
            self.first = span.first;
            self.counts = vec![0; (span.last - span.first + 1) as usize];
            return;
        };
        if span.first < ours.first {
            self.counts.splice(..0, std::iter::repeat_n(0, (ours.first - span.first) as usize));
            self.first = span.first;
        }
        if span.last > ours.last {
            self.counts.resize((span.last - self.first + 1) as usize, 0);
        }
    }

    fn count(&mut self, index: i64, count: u64) -> Result<()> {
        let slot = &mut self.counts[(index - self.first) as usize];
        *slot = add(*slot, count)?;
        Ok(())
    }

    fn trim(&mut self) {
        let leading = self.counts.iter().take_while(|count| **count == 0).count();
        self.counts.drain(..leading);
        self.first = if self.counts.is_empty() { 0 } else { self.first + leading as i64 };
    }
}
