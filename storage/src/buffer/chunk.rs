//! One immutable batch of buffered rows, and the merging of small ones.

use std::ops::Range;
use std::sync::Arc;

use alula_catalog::schema::{INGEST_SEQ, TIMESTAMP, table_schema};
use alula_catalog::{SequenceNumber, Signal, TimeRange};
use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::compute;
use arrow::datatypes::TimestampNanosecondType;

use crate::{Error, Result};

/// Buffered rows of one table.
///
/// Shape: [`table_schema`] of the signal, at least one row.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub batch: RecordBatch,
    /// Units: bytes of Arrow buffers.
    pub bytes: usize,
    pub timestamps: TimeRange,
    pub first_seq: SequenceNumber,
    pub last_seq: SequenceNumber,
}

impl Chunk {
    /// Gives the rows of an entry their sequence number.
    ///
    /// # Errors
    /// `WrongSchema` — the batch is empty or not in the entry schema of `signal`.
    pub(crate) fn from_entry(signal: Signal, batch: &RecordBatch, seq: SequenceNumber) -> Result<Self> {
        let mut columns = batch.columns().to_vec();
        let sequence: ArrayRef = Arc::new(UInt64Array::from_value(seq.0, batch.num_rows()));
        columns.push(sequence);
        let batch = RecordBatch::try_new(table_schema(signal), columns).map_err(|_| Error::WrongSchema)?;
        let timestamps = timestamps_of(&batch).ok_or(Error::WrongSchema)?;
        let bytes = batch.get_array_memory_size();
        Ok(Self { batch, bytes, timestamps, first_seq: seq, last_seq: seq })
    }

    /// One chunk with the rows of all, in order.
    pub(crate) fn concat(chunks: &[Arc<Self>]) -> Result<Self> {
        let schema = chunks.first().ok_or(Error::WrongSchema)?.batch.schema();
        let batch = compute::concat_batches(&schema, chunks.iter().map(|chunk| &chunk.batch))?;
        let bytes = batch.get_array_memory_size();
        let timestamps = timestamps_of(&batch).ok_or(Error::WrongSchema)?;
        let seqs = chunks.iter().flat_map(|chunk| [chunk.first_seq, chunk.last_seq]);
        let (first_seq, last_seq) = seqs
            .fold((SequenceNumber(u64::MAX), SequenceNumber(0)), |(min, max), seq| {
                (min.min(seq), max.max(seq))
            });
        Ok(Self { batch, bytes, timestamps, first_seq, last_seq })
    }

    pub(crate) fn num_rows(&self) -> usize {
        self.batch.num_rows()
    }
}

/// The exact smallest and largest timestamp of a batch; none if it has no rows.
pub(crate) fn timestamps_of(batch: &RecordBatch) -> Option<TimeRange> {
    let column = batch.column_by_name(TIMESTAMP)?.as_primitive_opt::<TimestampNanosecondType>()?;
    Some(TimeRange { min_ns: compute::min(column)?, max_ns: compute::max(column)? })
}

/// The exact smallest and largest sequence number of a batch; none if it has no rows.
pub(crate) fn sequences_of(batch: &RecordBatch) -> Option<(SequenceNumber, SequenceNumber)> {
    let column = batch.column_by_name(INGEST_SEQ)?.as_primitive_opt::<arrow::datatypes::UInt64Type>()?;
    Some((SequenceNumber(compute::min(column)?), SequenceNumber(compute::max(column)?)))
}

/// How many chunks of one size class make the next class.
const MERGE_FAN_IN: usize = 8;
/// Chunks of this many rows are large enough to scan as they are.
const MERGED_ROWS: usize = 32 * 1024;

/// The run of chunks at the end that should become one, if it is time.
///
/// Size classes grow by a factor of [`MERGE_FAN_IN`], so a row is copied about log8(rows) times in all, however small the
/// requests are.
pub(crate) fn plan_merge(chunks: &[Arc<Chunk>]) -> Option<Range<usize>> {
    let class = |chunk: &Chunk| chunk.num_rows().max(1).ilog(MERGE_FAN_IN);
    let last = chunks.last().filter(|chunk| chunk.num_rows() < MERGED_ROWS)?;
    let run = chunks.iter().rev().take_while(|chunk| class(chunk) <= class(last)).count();
    (run >= MERGE_FAN_IN).then(|| chunks.len() - run..chunks.len())
}
