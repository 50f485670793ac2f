//! OTLP requests to Arrow batches: pure, synchronous and total.
//!
//! | file | purpose |
//! |---|---|
//! | `checks.rs` | which records are kept, and why not |
//! | `footprint.rs` | how much memory the decoded request may take |
//! | `expansion.rs` | how much larger than the request its rows may become |
//! | `sample.rs` | a rejected record as text |
//! | `json.rs` | canonical JSON text of attributes |
//! | `columns.rs` | column builders addressed by row, interned texts |
//! | `common.rs` | the columns all tables share |
//! | `logs.rs`, `traces.rs`, `metrics.rs` | the columns of one signal |
//! | `points.rs`, `exemplars.rs`, `series.rs` | the five kinds of data point, their exemplars, their identity |
//! | `restore/` | the inverse: rows back to requests |
//!
//! ```text
//! bytes --prost--> request --walk--> resource { scope { record: admitted? -> one row } } --> batch + rejections
//! ```
//!
//! **Invariants**
//! - The batch has exactly `alula_catalog::schema::entry_schema(signal)`.
//! - A record is admitted or rejected as a whole and alone: a bad record never fails its neighbours.
//! - No admitted field is lost: `restore/` makes an equal request of the batch, in which a record without any time has that of its
//!   receipt.
//! - The replay of a request's rejected ordinals gives the batch that the live request gave.

mod checks;
mod columns;
mod common;
mod exemplars;
mod expansion;
mod footprint;
mod json;
mod logs;
mod metrics;
mod points;
mod restore;
mod sample;
mod series;
mod traces;

#[cfg(test)]
pub(crate) mod tests;

use arrow::array::RecordBatch;
use prost::Message;

use alula_catalog::{Signal, TenantId};

use crate::{Error, Result, SizeLimit};
use columns::NamedColumns;
use common::CommonColumns;

pub(crate) use checks::{Limits, Policy, Reason, Rejection};
#[cfg(feature = "fuzzing")]
pub(crate) use footprint::footprint;
pub use restore::Restored;
pub(crate) use restore::{Restore, restorer};

/// The largest payload, in bytes, that is converted.
///
/// A byte of payload makes at most 31 bytes of text (an empty entity reference is two bytes and becomes 62), so every
/// 32-bit offset of the batch fits.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024 * 1024;

/// Decoded, a payload up to this size takes some megabytes at most.
const SMALL_PAYLOAD_BYTES: usize = 32 * 1024;

/// What a conversion must know besides the payload.
#[derive(Clone, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) tenant: TenantId,
    /// Units: nanoseconds since the Unix epoch.
    pub(crate) received_ns: i64,
    pub(crate) policy: Policy<'a>,
}

/// The rows of one request.
#[derive(Clone, Debug)]
pub(crate) struct Converted {
    /// Shape: a row for each record that was kept, in the order of the request.
    pub(crate) batch: RecordBatch,
    /// In ascending order of ordinals. Empty when replaying.
    pub(crate) rejected: Vec<Rejection>,
    /// Every record, kept or not, carries a time, so that two equal requests are one that was sent twice.
    pub(crate) all_timed: bool,
}

/// Converts the protobuf bytes of one export request.
///
/// # Errors
/// [`Error::Malformed`] — the payload is not a message of this signal; sending it again is pointless.
/// [`Error::TooLarge`] — the payload exceeds [`MAX_PAYLOAD_BYTES`].
/// [`Error::TooDense`] — a live payload would take far more memory than its bytes.
pub(crate) fn convert(signal: Signal, payload: &[u8], context: &Context<'_>) -> Result<Converted> {
    if payload.len() > MAX_PAYLOAD_BYTES {
        let limit = SizeLimit { bytes: MAX_PAYLOAD_BYTES, setting: "ingest.max_http_message_bytes" };
        return Err(Error::TooLarge { limit });
    }
    // The log is replayed whatever the limits are.
    if matches!(context.policy, Policy::Check(_)) && payload.len() > SMALL_PAYLOAD_BYTES {
        footprint::check(signal, payload)?;
    }
    let common = CommonColumns::new(context, payload.len());
    match signal {
        Signal::Metrics => metrics::convert(&decode(payload, "ExportMetricsServiceRequest")?, common),
        Signal::Logs => logs::convert(&decode(payload, "ExportLogsServiceRequest")?, common),
        Signal::Traces => traces::convert(&decode(payload, "ExportTraceServiceRequest")?, common),
    }
}

fn decode<M: Message + Default>(payload: &[u8], message: &'static str) -> Result<M> {
    M::decode(payload).map_err(|source| Error::Malformed { message, source })
}

fn finish(signal: Signal, common: CommonColumns, mut columns: NamedColumns) -> Result<Converted> {
    let rows = common.rows();
    let all_timed = common.all_timed();
    let rejected = common.finish(&mut columns);
    let batch =
        columns::batch(signal, rows, columns).map_err(|source| Error::SchemaBroken { signal, source })?;
    Ok(Converted { batch, rejected, all_timed })
}
