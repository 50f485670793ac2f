//! What is appended: one OTLP request, as bytes for the log and as rows for the buffer.

use std::error::Error as StdError;

use alula_catalog::{Signal, TenantId};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;

/// One accepted OTLP request.
#[derive(Clone, Debug)]
pub struct Entry {
    pub tenant: TenantId,
    pub signal: Signal,
    /// When the request arrived, in nanoseconds since the Unix epoch.
    pub received_ns: i64,
    /// The request as received, after decompression.
    pub payload: Bytes,
    /// Records of the request that were refused, by their place in it.
    pub rejected: Vec<u32>,
    /// The other records, in [`alula_catalog::schema::entry_schema`] of the signal.
    pub batch: RecordBatch,
}

/// An [`Entry`] as the log gives it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEntry {
    pub tenant: TenantId,
    pub signal: Signal,
    pub received_ns: i64,
    pub payload: Bytes,
    pub rejected: Vec<u32>,
}

/// Turns an entry of the log into the rows that it had when it was accepted.
///
/// The log is replayed by this, so it must give the same rows for the same entry, whatever limits are configured now:
/// it leaves out exactly `rejected` and checks nothing else.
pub trait EntryDecoder: Send + Sync {
    fn decode(&self, entry: &LoggedEntry) -> Result<RecordBatch, Box<dyn StdError + Send + Sync>>;
}
