//! The inverse of the conversion: rows back to the OTLP requests that make them.
//!
//! It is total: whatever an Arrow client sends becomes requests, or an error that names row and column.
//!
//! | file | purpose |
//! |---|---|
//! | `given.rs` | columns by name, and the types that each may have |
//! | `columns.rs` | single values of columns whose type is settled |
//! | `json.rs` | attributes and bodies from JSON text |
//! | `shared.rs` | resource, scope, and the time of a record |
//! | `logs.rs`, `traces.rs`, `metrics.rs`, `points.rs` | the records of one signal |
//! | `requests.rs`, `key.rs` | grouping rows into requests of bounded size |
//! | `split.rs` | for the tests, requests in a form in which they can be compared |
//!
//! **Invariants**
//! - What a table shows of a record is in the request that is made of it, but for what the server makes itself: the tenant, the
//!   time of receipt, the number in the log, the series, and that a time is one of receipt.
//! - Rows keep their order, one record each, so the ordinal of a record in its request is that of its row.

mod columns;
mod given;
mod json;
mod key;
mod logs;
mod metrics;
mod points;
mod requests;
mod shared;
#[cfg(test)]
mod split;
#[cfg(test)]
mod tests;
mod traces;

use arrow::array::RecordBatch;
use bytes::Bytes;

use alula_catalog::Signal;

use crate::Result;

#[cfg(test)]
pub(super) use json::parse;
use requests::{Bounds, Requests};
#[cfg(test)]
pub(super) use split::{split_logs, split_metrics, split_traces};

/// An OTLP request that makes some of the rows that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Of the export request of the signal.
    pub payload: Bytes,
    /// How many rows came before the first of these.
    pub first_row: u64,
    pub num_rows: u64,
}

/// Makes requests of batches. After an error it can go on with nothing.
pub(crate) trait Restore: Send {
    /// Goes over to the next batch.
    ///
    /// # Errors
    /// `BadColumn`, `BadValue` — what is wrong with its columns.
    fn begin(&mut self, batch: &RecordBatch) -> Result<()>;

    /// The next request that is full; none once the batch is used up.
    ///
    /// # Errors
    /// `BadValue` — what is wrong with a row.
    fn next(&mut self) -> Result<Option<Restored>>;

    /// The last request, which is not full.
    fn finish(&mut self) -> Option<Restored>;
}

/// Requests of several rows have at most `max_bytes`.
pub(crate) fn restorer(signal: Signal, max_bytes: usize) -> Box<dyn Restore> {
    let bounds = Bounds::default();
    bounded(signal, Bounds { bytes: bounds.bytes.min(max_bytes), ..bounds })
}

fn bounded(signal: Signal, bounds: Bounds) -> Box<dyn Restore> {
    match signal {
        Signal::Metrics => Box::new(Requests::<metrics::MetricRows>::new(bounds)),
        Signal::Logs => Box::new(Requests::<logs::LogRows>::new(bounds)),
        Signal::Traces => Box::new(Requests::<traces::SpanRows>::new(bounds)),
    }
}

/// What is wrong with a column, or with one value in it.
#[derive(Debug)]
struct Fault {
    /// Within its batch.
    row: Option<usize>,
    column: String,
    /// Follows the name of the column in a sentence.
    what: String,
}

impl Fault {
    fn of_column(name: &str, what: impl Into<String>) -> Self {
        Self { row: None, column: name.to_owned(), what: what.into() }
    }
}

type Read<T> = std::result::Result<T, Fault>;
