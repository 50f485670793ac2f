//! Ids of flushed batches: by them a batch that is sent again is known, though the log has it no more.
//!
//! ```text
//! u32 format version (1) | u32 number of batches | batch, batch, ...        all integers little endian
//!
//! batch, 40 bytes:  0  u32 tenant number   4  u64 sequence number   12  i64 received, ns   20  16 bytes id
//!                  36  u32 number of rejected records
//! ```

use rusqlite::{Connection, params};

use super::Catalog;
use crate::{Error, Result, SequenceNumber, TenantNumber};

const FORMAT_VERSION: u32 = 1;
const HEADER_BYTES: usize = 8;
const BATCH_BYTES: usize = 40;

/// A stored batch, by which a repeated one is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryableBatch {
    pub tenant: TenantNumber,
    pub seq: SequenceNumber,
    /// When it was received. Units: nanoseconds since the Unix epoch.
    pub received_ns: i64,
    pub id: [u8; 16],
    /// Records of it that were not stored.
    pub num_rejected: u32,
}

/// How a flush changes the ids on disk.
#[derive(Clone, Debug)]
pub struct RetryWindowChange {
    /// Those of the entries that are flushed, in order of their sequence numbers.
    pub batches: Vec<RetryableBatch>,
    /// Rows whose batches were all received before this go.
    pub forget_before_ns: i64,
}

impl RetryWindowChange {
    /// A flush of entries without ids.
    pub const NONE: Self = Self { batches: Vec::new(), forget_before_ns: i64::MIN };

    /// Part of the transaction of a flush up to `flushed_seq`.
    pub(super) fn apply(&self, connection: &Connection, flushed_seq: SequenceNumber) -> Result<()> {
        connection
            .execute("DELETE FROM retry_window WHERE newest_received_ns < ?1", [self.forget_before_ns])?;
        let Some(newest_received_ns) = self.batches.iter().map(|batch| batch.received_ns).max() else {
            return Ok(());
        };
        connection.execute(
            "INSERT INTO retry_window (last_seq, newest_received_ns, batches) VALUES (?1, ?2, ?3)",
            params![flushed_seq.0 as i64, newest_received_ns, encode(&self.batches)],
        )?;
        Ok(())
    }
}

impl Catalog {
    /// The batches of all flushes that are still on record, in order of their sequence numbers.
    ///
    /// # Errors
    /// `InvalidRow` — a row is damaged, or was written by a newer version.
    pub fn retryable_batches(&self) -> Result<Vec<RetryableBatch>> {
        let connection = self.lock();
        let mut statement =
            connection.prepare("SELECT last_seq, batches FROM retry_window ORDER BY last_seq")?;
        let mut rows = statement.query([])?;
        let mut batches = Vec::new();
        while let Some(row) = rows.next()? {
            let last_seq: i64 = row.get(0)?;
            decode(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?, &mut batches).map_err(
                |detail| Error::InvalidRow {
                    table: "retry_window",
                    detail: format!("{detail}, in the row of entry {last_seq}"),
                },
            )?;
        }
        Ok(batches)
    }
}

fn encode(batches: &[RetryableBatch]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + batches.len() * BATCH_BYTES);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&(batches.len() as u32).to_le_bytes());
    for batch in batches {
        bytes.extend_from_slice(&batch.tenant.0.to_le_bytes());
        bytes.extend_from_slice(&batch.seq.0.to_le_bytes());
        bytes.extend_from_slice(&batch.received_ns.to_le_bytes());
        bytes.extend_from_slice(&batch.id);
        bytes.extend_from_slice(&batch.num_rejected.to_le_bytes());
    }
    bytes
}

/// Adds the batches of one row to `batches`, or says why they cannot be read.
fn decode(bytes: &[u8], batches: &mut Vec<RetryableBatch>) -> Result<(), String> {
    let Some((version, rest)) = bytes.split_first_chunk() else {
        return Err(format!("{} bytes are no list of batches", bytes.len()));
    };
    // The version comes before everything that a later one may change.
    let version = u32::from_le_bytes(*version);
    if version != FORMAT_VERSION {
        return Err(format!("the list of batches has format version {version}, not {FORMAT_VERSION}"));
    }
    let Some((count, rest)) = rest.split_first_chunk() else {
        return Err(format!("{} bytes are no list of batches", bytes.len()));
    };
    let count = u32::from_le_bytes(*count) as usize;
    let (list, extra) = rest.as_chunks::<BATCH_BYTES>();
    if list.len() != count || !extra.is_empty() {
        return Err(format!("{} bytes are no list of {count} batches", bytes.len()));
    }
    batches.extend(list.iter().map(|batch| RetryableBatch {
        tenant: TenantNumber(u32::from_le_bytes(array_at(batch, 0))),
        seq: SequenceNumber(u64::from_le_bytes(array_at(batch, 4))),
        received_ns: i64::from_le_bytes(array_at(batch, 12)),
        id: array_at(batch, 20),
        num_rejected: u32::from_le_bytes(array_at(batch, 36)),
    }));
    Ok(())
}

fn array_at<const N: usize>(batch: &[u8; BATCH_BYTES], at: usize) -> [u8; N] {
    *batch[at..].first_chunk().expect("the offset is inside the batch")
}

#[cfg(test)]
mod tests;
