//! Functions over data points: quantiles and sums of histograms, and how a series changed.
//!
//! | file | purpose |
//! |---|---|
//! | `explicit.rs`, `exponential.rs` | the two kinds of histogram: quantiles and merging, without Arrow |
//! | `series.rs` | the points of one series: increase, rate and difference, without Arrow |
//! | `arguments.rs`, `histograms.rs` | which types the functions take; reading their rows, writing their results |
//! | `quantile.rs` | `histogram_quantile`, `exp_histogram_quantile` |
//! | `merge.rs` | `histogram_merge`, `exp_histogram_merge` |
//! | `change.rs` | `increase`, `rate`, `delta` |
//!
//! **Invariants**
//! - The result of an aggregate does not depend on the order or the partitions in which its rows come.
//! - No input makes a function panic, or hold more than its rows do.
//! - A count that 64 bits cannot hold is an error, never another count.

mod arguments;
mod change;
mod explicit;
mod exponential;
mod histograms;
mod merge;
mod quantile;
mod series;

use std::sync::Arc;

use arrow::array::{Array, BooleanArray};
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

use change::Change;
use merge::Merge;
use quantile::{ExpHistogramQuantile, HistogramQuantile};

pub(crate) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        Arc::new(ScalarUDF::from(HistogramQuantile::new())),
        Arc::new(ScalarUDF::from(ExpHistogramQuantile::new())),
    ]
}

pub(crate) fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    vec![
        Arc::new(AggregateUDF::from(Merge::new(merge::Kind::Explicit))),
        Arc::new(AggregateUDF::from(Merge::new(merge::Kind::Exponential))),
        Arc::new(AggregateUDF::from(Change::new(series::Kind::Increase))),
        Arc::new(AggregateUDF::from(Change::new(series::Kind::Rate))),
        Arc::new(AggregateUDF::from(Change::new(series::Kind::Delta))),
    ]
}

/// What a quantile is outside of `[0, 1]`, as in Prometheus.
fn outside_of_quantiles(q: f64) -> Option<f64> {
    if q.is_nan() {
        Some(f64::NAN)
    } else if q < 0.0 {
        Some(f64::NEG_INFINITY)
    } else if q > 1.0 {
        Some(f64::INFINITY)
    } else {
        None
    }
}

/// Whether the FILTER of an aggregate lets a row through.
fn is_counted(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

#[cfg(test)]
mod tests;
