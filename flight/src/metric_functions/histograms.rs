//! Histograms as columns: the arguments of the functions, and the results and states of the aggregates.

use std::sync::Arc;

use alula_catalog::schema::{
    NEGATIVE_BUCKET_COUNTS, NEGATIVE_OFFSET, POSITIVE_BUCKET_COUNTS, POSITIVE_OFFSET, SCALE, ZERO_COUNT,
    ZERO_THRESHOLD,
};
use arrow::array::{
    ArrayRef, Float64Array, Float64Builder, Int32Array, ListBuilder, UInt64Array, UInt64Builder,
};
use arrow::datatypes::{Float64Type, Int32Type, UInt64Type};
use datafusion::error::Result;

use super::arguments::{Arguments, Lists, Numbers, Parameter, Wanted};
use super::exponential::Side;
use super::{explicit, exponential};

pub(super) const EXPLICIT: [Parameter; 2] = [("bounds", Wanted::Floats), ("counts", Wanted::Counts)];

pub(super) const EXPONENTIAL: [Parameter; 7] = [
    (SCALE, Wanted::Int32),
    (ZERO_COUNT, Wanted::UInt64),
    (ZERO_THRESHOLD, Wanted::Float),
    (POSITIVE_OFFSET, Wanted::Int32),
    (POSITIVE_BUCKET_COUNTS, Wanted::Counts),
    (NEGATIVE_OFFSET, Wanted::Int32),
    (NEGATIVE_BUCKET_COUNTS, Wanted::Counts),
];

/// The columns of [`EXPLICIT`].
#[derive(Debug)]
pub(super) struct ExplicitRows<'a> {
    bounds: Lists<'a, Float64Type>,
    counts: Lists<'a, UInt64Type>,
}

impl<'a> ExplicitRows<'a> {
    /// Takes them from the arguments, from the one at `first` on.
    pub(super) fn new(arguments: &'a Arguments, first: usize) -> Self {
        Self { bounds: arguments.lists(first), counts: arguments.lists(first + 1) }
    }

    /// `None` for a null, and for a histogram without buckets.
    ///
    /// # Errors
    /// `Execution` — bounds and counts are not those of a histogram.
    pub(super) fn get(&self, row: usize) -> Result<Option<explicit::Buckets<'a>>> {
        match (self.bounds.get(row)?, self.counts.get(row)?) {
            (Some(bounds), Some(counts)) => explicit::Buckets::try_new(bounds, counts),
            _ => Ok(None),
        }
    }
}

type OffsetsAndCounts<'a> = (Numbers<'a, Int32Type>, Lists<'a, UInt64Type>);

/// The columns of [`EXPONENTIAL`].
#[derive(Debug)]
pub(super) struct ExponentialRows<'a> {
    scale: Numbers<'a, Int32Type>,
    zero_count: Numbers<'a, UInt64Type>,
    zero_threshold: Numbers<'a, Float64Type>,
    positive: OffsetsAndCounts<'a>,
    negative: OffsetsAndCounts<'a>,
}

impl<'a> ExponentialRows<'a> {
    /// Takes them from the arguments, from the one at `first` on.
    pub(super) fn new(arguments: &'a Arguments, first: usize) -> Self {
        Self {
            scale: arguments.numbers(first),
            zero_count: arguments.numbers(first + 1),
            zero_threshold: arguments.numbers(first + 2),
            positive: (arguments.numbers(first + 3), arguments.lists(first + 4)),
            negative: (arguments.numbers(first + 5), arguments.lists(first + 6)),
        }
    }

    /// `None` without scale or count of zeros. A null threshold is 0; a side with a null has no buckets.
    ///
    /// # Errors
    /// `Execution` — a list has a null in it.
    pub(super) fn get(&self, row: usize) -> Result<Option<exponential::Buckets<'a>>> {
        let (Some(scale), Some(zero_count)) = (self.scale.get(row), self.zero_count.get(row)) else {
            return Ok(None);
        };
        Ok(Some(exponential::Buckets {
            scale,
            zero_count,
            zero_threshold: self.zero_threshold.get(row).unwrap_or(0.0),
            positive: side(&self.positive, row)?,
            negative: side(&self.negative, row)?,
        }))
    }
}

fn side<'a>((offsets, counts): &OffsetsAndCounts<'a>, row: usize) -> Result<Side<'a>> {
    Ok(match (offsets.get(row), counts.get(row)?) {
        (Some(offset), Some(counts)) => Side { offset, counts },
        _ => Side::default(),
    })
}

/// The columns of [`EXPLICIT`], null where there is no histogram.
pub(super) fn explicit_columns(rows: &[Option<explicit::Merged>]) -> Vec<ArrayRef> {
    let mut bounds = ListBuilder::new(Float64Builder::new());
    let mut counts = ListBuilder::new(UInt64Builder::new());
    for row in rows {
        if let Some(merged) = row {
            bounds.values().append_slice(&merged.bounds);
            counts.values().append_slice(&merged.counts);
        }
        bounds.append(row.is_some());
        counts.append(row.is_some());
    }
    vec![Arc::new(bounds.finish()), Arc::new(counts.finish())]
}

/// The columns of [`EXPONENTIAL`], null where there is no histogram.
pub(super) fn exponential_columns(rows: &[Option<exponential::Merged>]) -> Vec<ArrayRef> {
    let merged = || rows.iter().map(Option::as_ref);
    let offsets = |side: fn(&exponential::Merged) -> &exponential::Dense| -> ArrayRef {
        // A merged side fits into 32 bits of index.
        Arc::new(merged().map(|row| row.map(|merged| side(merged).first as i32)).collect::<Int32Array>())
    };
    let counts = |side: fn(&exponential::Merged) -> &exponential::Dense| -> ArrayRef {
        let mut lists = ListBuilder::new(UInt64Builder::new());
        for row in merged() {
            if let Some(merged) = row {
                lists.values().append_slice(&side(merged).counts);
            }
            lists.append(row.is_some());
        }
        Arc::new(lists.finish())
    };
    vec![
        Arc::new(merged().map(|row| row.map(|merged| merged.scale)).collect::<Int32Array>()),
        Arc::new(merged().map(|row| row.map(|merged| merged.zero_count)).collect::<UInt64Array>()),
        Arc::new(merged().map(|row| row.map(|merged| merged.zero_threshold)).collect::<Float64Array>()),
        offsets(|merged| &merged.positive),
        counts(|merged| &merged.positive),
        offsets(|merged| &merged.negative),
        counts(|merged| &merged.negative),
    ]
}
