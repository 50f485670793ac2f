//! [`bind_times`]: lets a plan see the rows of some time alone; and how many rows of a table there are when.
//!
//! Every row has a `timestamp`, which never changes, so a row is in one of two slices that meet and in no other.

use alula_catalog::TimeRange;
use alula_catalog::schema::TIMESTAMP;
use arrow::array::AsArray;
use arrow::datatypes::TimestampNanosecondType;
use datafusion::catalog::Session;
use datafusion::common::Column;
use datafusion::error::Result;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};

use super::predicate::{ALWAYS, timestamps};
use super::provider::{Kept, TelemetryTable, timestamp_scalar};
use super::sequences::filter_telemetry;
use crate::buffer::Chunk;

/// Rows of a chunk whose times are looked at.
const SAMPLES: usize = 256;

/// The time from an instant, with it, to another, without it. Where there is none it has no end on that side.
///
/// Units: nanoseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeSlice {
    pub from_ns: Option<i64>,
    pub before_ns: Option<i64>,
}

/// A number of rows, and when they are: spread evenly, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedRows {
    pub timestamps: TimeRange,
    pub num_rows: u64,
}

/// Puts a filter on `timestamp` over every scan of telemetry, in subqueries too. Tables of other kinds are as they are.
///
/// # Errors
/// The plan cannot be walked, which means a bug.
pub fn bind_times(plan: LogicalPlan, slice: TimeSlice) -> Result<LogicalPlan> {
    filter_telemetry(plan, |table| {
        let timestamp = Expr::Column(Column::new(Some(table.clone()), TIMESTAMP));
        let from = slice.from_ns.map(|ns| timestamp.clone().gt_eq(lit(timestamp_scalar(ns))));
        let before = slice.before_ns.map(|ns| timestamp.lt(lit(timestamp_scalar(ns))));
        conjunction(from.into_iter().chain(before)).unwrap_or_else(|| lit(true))
    })
}

impl TelemetryTable {
    /// When the rows are that a scan with these filters looks at: of files as the catalog says it, of the buffer as a sample
    /// of each chunk does. Deleted rows count.
    pub fn rows_by_time(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<TimedRows>> {
        let asked = conjunction(filters.iter().cloned()).map_or(ALWAYS, |filter| timestamps(&filter));
        let Kept { chunks, files } = self.kept(state, filters)?;
        let in_chunks = chunks.iter().flat_map(|chunk| sampled(chunk));
        let in_files =
            files.iter().map(|file| TimedRows { timestamps: file.timestamps, num_rows: file.num_rows });
        Ok(in_chunks.chain(in_files).filter_map(|rows| rows.within(asked)).collect())
    }
}

impl TimedRows {
    /// Those of them that are in a range.
    fn within(self, range: TimeRange) -> Option<Self> {
        let num_ns = |range: TimeRange| u128::from(range.max_ns.abs_diff(range.min_ns)) + 1;
        let timestamps = TimeRange {
            min_ns: self.timestamps.min_ns.max(range.min_ns),
            max_ns: self.timestamps.max_ns.min(range.max_ns),
        };
        if timestamps.min_ns > timestamps.max_ns {
            return None;
        }
        let num_rows = u128::from(self.num_rows) * num_ns(timestamps) / num_ns(self.timestamps);
        Some(Self { timestamps, num_rows: u64::try_from(num_rows).unwrap_or(self.num_rows).max(1) })
    }
}

/// The rows of a chunk, each as if it were at the time of one near it.
///
/// The times of what came in one request may be years apart, so smallest and largest would say little.
fn sampled(chunk: &Chunk) -> Vec<TimedRows> {
    let column = chunk.batch.column_by_name(TIMESTAMP);
    let Some(column) = column.and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>()) else {
        return Vec::new();
    };
    let neighbours = column.values().chunks(chunk.num_rows().div_ceil(SAMPLES).max(1));
    let sample = |rows: &[i64]| TimedRows {
        timestamps: TimeRange { min_ns: rows[0], max_ns: rows[0] },
        num_rows: rows.len() as u64,
    };
    neighbours.map(sample).collect()
}

#[cfg(test)]
mod tests;
