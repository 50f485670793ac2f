//! Splits rows by the hour of their timestamp and sorts each part.

use std::collections::BTreeMap;
use std::sync::Arc;

use alula_catalog::schema::{TIMESTAMP, sort_columns};
use alula_catalog::{Hour, Signal};
use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::{self, SortColumn, SortOptions};
use arrow::datatypes::TimestampNanosecondType;

use crate::buffer::Chunk;
use crate::{Error, Result};

/// The rows of one hour, in the table's sort order.
#[derive(Debug)]
pub(crate) struct Partition {
    pub hour: Hour,
    pub rows: RecordBatch,
}

/// Splits the rows of `chunks` into sorted hours.
///
/// Bounds: holds the rows twice while it works. Rows of equal sort key may change their order.
pub(crate) fn partition_rows(signal: Signal, chunks: &[Arc<Chunk>]) -> Result<Vec<Partition>> {
    let schema = chunks.first().ok_or(Error::WrongSchema)?.batch.schema();
    let rows = compute::concat_batches(&schema, chunks.iter().map(|chunk| &chunk.batch))?;
    rows_by_hour(&rows)?.into_iter().map(|(hour, indices)| sorted(signal, hour, &rows, indices)).collect()
}

fn rows_by_hour(rows: &RecordBatch) -> Result<BTreeMap<Hour, Vec<u32>>> {
    let timestamps = rows
        .column_by_name(TIMESTAMP)
        .and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>())
        .ok_or(Error::WrongSchema)?;
    let mut hours: BTreeMap<Hour, Vec<u32>> = BTreeMap::new();
    for (row, timestamp) in timestamps.values().iter().enumerate() {
        hours.entry(Hour::of(*timestamp)).or_default().push(row as u32);
    }
    Ok(hours)
}

fn sorted(signal: Signal, hour: Hour, rows: &RecordBatch, indices: Vec<u32>) -> Result<Partition> {
    let indices = UInt32Array::from(indices);
    let rows = compute::take_record_batch(rows, &indices)?;
    let keys = sort_columns(signal)
        .iter()
        .map(|name| {
            let values = Arc::clone(rows.column_by_name(name).ok_or(Error::WrongSchema)?);
            let options = Some(SortOptions { descending: false, nulls_first: true });
            Ok(SortColumn { values, options })
        })
        .collect::<Result<Vec<_>>>()?;
    let order = compute::lexsort_to_indices(&keys, None)?;
    Ok(Partition { hour, rows: compute::take_record_batch(&rows, &order)? })
}
