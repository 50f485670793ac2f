//! What is appended: one OTLP request, as bytes for the log and as rows for the buffer.

use std::error::Error as StdError;

use alula_catalog::{SequenceNumber, Signal, TenantId};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use crate::checksum::Hasher;

/// One accepted OTLP request.
#[derive(Clone, Debug)]
pub struct Entry {
    pub tenant: TenantId,
    pub signal: Signal,
    /// When the request arrived, in nanoseconds since the Unix epoch.
    pub received_ns: i64,
    /// By which a repeated request is known and not stored again. None if not all of its records carry a time: then two
    /// equal requests may be two events, and both are stored.
    pub batch_id: Option<BatchId>,
    /// The request as received, after decompression.
    pub payload: Bytes,
    /// Records of the request that were refused, by their place in it.
    pub rejected: Vec<u32>,
    /// The other records, in [`alula_catalog::schema::entry_schema`] of the signal.
    pub batch: RecordBatch,
}

/// The name of a request's content: the checksum of tenant, signal and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchId([u8; 16]);

impl BatchId {
    /// Reads all of `request`, so not for an async worker where that may be large.
    pub fn of(tenant: &TenantId, signal: Signal, request: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(tenant.as_str().as_bytes());
        hasher.update(&[0, signal.code()]);
        hasher.update(request);
        Self(hasher.checksum())
    }

    /// None if all bytes are zero, which on disk stands for an entry without an id.
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    pub(crate) fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub seq: SequenceNumber,
    /// The same batch was stored before, under this number, and was not stored again.
    pub is_duplicate: bool,
    /// How many records were rejected when it was stored: of a duplicate, what the first had in [`Entry::rejected`].
    pub num_rejected: u32,
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
