//! [`RowFilter`]: which rows of a batch stay.
//!
//! A predicate may fail on a row that it does not concern: `CAST(body AS INT) > 5` on a text that came later, or that an
//! earlier deletion removed. So each predicate is evaluated on the rows that it concerns and on no others, the earlier
//! deletions first; and where evaluating many rows at once fails, which depends on how they lie in batches, each is evaluated
//! by itself. Then the outcome is the same for any division of a table into batches.

use std::sync::Arc;

use alula_catalog::schema::{INGEST_SEQ, TIMESTAMP, table_schema};
use alula_catalog::{SequenceNumber, Signal, TimeRange};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, RecordBatch, RecordBatchOptions,
    UInt64Array, new_null_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{cast, filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::{SchemaRef, TimestampNanosecondType, UInt64Type};

use super::{Deletion, PredicateError, RowPredicate};
use crate::{Error, Result};

/// Deletions to be applied to rows of one table.
#[derive(Debug)]
pub(crate) struct RowFilter {
    conditions: Vec<Condition>,
    /// Places in the table's schema, ascending.
    columns: Vec<usize>,
    /// Of those columns.
    schema: SchemaRef,
}

#[derive(Debug)]
struct Condition {
    deletion: u64,
    /// None if there are no later rows.
    last_seq: Option<SequenceNumber>,
    /// None if the predicate may hold at any time.
    timestamps: Option<TimeRange>,
    predicate: Arc<dyn RowPredicate>,
    /// Places of the predicate's columns among those of the filter.
    columns: Vec<usize>,
}

impl RowFilter {
    /// `deletions` are in order, and no row will come that is later than `newest_seq`.
    pub(super) fn try_new<'a>(
        signal: Signal,
        deletions: impl Iterator<Item = &'a Arc<Deletion>>,
        newest_seq: SequenceNumber,
    ) -> Result<Self> {
        let schema = table_schema(signal);
        let mut conditions = Vec::new();
        let mut columns = Vec::new();
        for deletion in deletions {
            let predicate = Arc::clone(deletion.predicate()?);
            let last_seq = Some(deletion.record.request.last_seq).filter(|seq| *seq < newest_seq);
            let timestamps = Some(predicate.timestamps())
                .filter(|range| (range.min_ns, range.max_ns) != (i64::MIN, i64::MAX));
            columns.extend_from_slice(predicate.columns());
            let needed = [last_seq.map(|_| INGEST_SEQ), timestamps.map(|_| TIMESTAMP)];
            for name in needed.into_iter().flatten() {
                columns.push(schema.index_of(name)?);
            }
            let deletion = deletion.record.id;
            conditions.push(Condition { deletion, last_seq, timestamps, predicate, columns: Vec::new() });
        }
        columns.sort_unstable();
        columns.dedup();
        for condition in &mut conditions {
            let places = condition.predicate.columns().iter().map(|column| columns.binary_search(column));
            condition.columns = places.collect::<Result<_, _>>().map_err(|_| Error::WrongSchema)?;
        }
        let schema = Arc::new(schema.project(&columns)?);
        Ok(Self { conditions, columns, schema })
    }

    /// The columns that it needs, by their places in the table's schema, ascending.
    #[cfg_attr(not(feature = "datafusion"), expect(dead_code, reason = "only the scan leaves columns out"))]
    pub(crate) fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Shape: true for each row of `batch` that stays. `batch` may have other columns besides those that are needed; one that
    /// it lacks, as older files do, is null.
    ///
    /// # Errors
    /// `Predicate` — a predicate fails on a row.
    pub(crate) fn keep(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let rows = self.needed(batch)?;
        let mut kept = BooleanBuffer::new_set(rows.num_rows());
        for condition in &self.conditions {
            let concerned = &kept & &condition.concerned(&rows)?;
            let count = concerned.count_set_bits();
            if count == 0 {
                continue;
            }
            let narrowed = rows.project(&condition.columns)?;
            let narrowed = if count == rows.num_rows() {
                narrowed
            } else {
                filter_record_batch(&narrowed, &BooleanArray::new(concerned.clone(), None))?
            };
            let failed = |source| Error::Predicate { deletion: condition.deletion, source };
            let deleted = evaluate(condition.predicate.as_ref(), &narrowed).map_err(failed)?;
            if deleted.count_set_bits() > 0 {
                kept = &kept & &!&spread(&deleted, &concerned);
            }
        }
        Ok(BooleanArray::new(kept, None))
    }

    fn needed(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let column = |field: &arrow::datatypes::FieldRef| -> Result<ArrayRef> {
            match batch.column_by_name(field.name()) {
                Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
                Some(column) => Ok(cast(column, field.data_type())?),
                None => Ok(new_null_array(field.data_type(), batch.num_rows())),
            }
        };
        let columns = self.schema.fields().iter().map(column).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

impl Condition {
    /// The rows that the predicate is asked about.
    fn concerned(&self, rows: &RecordBatch) -> Result<BooleanBuffer> {
        let mut concerned = BooleanBuffer::new_set(rows.num_rows());
        if let Some(last_seq) = self.last_seq {
            let seqs: &UInt64Array = rows
                .column_by_name(INGEST_SEQ)
                .and_then(|column| column.as_primitive_opt::<UInt64Type>())
                .ok_or(Error::WrongSchema)?;
            concerned = BooleanBuffer::collect_bool(seqs.len(), |row| seqs.values()[row] <= last_seq.0);
        }
        if let Some(TimeRange { min_ns, max_ns }) = self.timestamps {
            let times = rows
                .column_by_name(TIMESTAMP)
                .and_then(|column| column.as_primitive_opt::<TimestampNanosecondType>())
                .ok_or(Error::WrongSchema)?;
            let within = |row: usize| (min_ns..=max_ns).contains(&times.values()[row]);
            concerned = &concerned & &BooleanBuffer::collect_bool(times.len(), within);
        }
        Ok(concerned)
    }
}

/// Which of `rows` the predicate is true of; null is not true.
pub(super) fn evaluate(
    predicate: &dyn RowPredicate,
    rows: &RecordBatch,
) -> Result<BooleanBuffer, PredicateError> {
    match predicate.evaluate(rows) {
        Ok(values) if values.len() != rows.num_rows() => {
            Err(format!("{} values for {} rows", values.len(), rows.num_rows()).into())
        }
        Ok(values) if values.null_count() > 0 => Ok(prep_null_mask_filter(&values).values().clone()),
        Ok(values) => Ok(values.values().clone()),
        Err(_) if rows.num_rows() > 1 => {
            let half = rows.num_rows() / 2;
            let mut joined = BooleanBufferBuilder::new(rows.num_rows());
            joined.append_buffer(&evaluate(predicate, &rows.slice(0, half))?);
            joined.append_buffer(&evaluate(predicate, &rows.slice(half, rows.num_rows() - half))?);
            Ok(joined.finish())
        }
        Err(error) => Err(error),
    }
}

/// Puts the values of the rows that are set in `places` to their places.
fn spread(values: &BooleanBuffer, places: &BooleanBuffer) -> BooleanBuffer {
    if values.len() == places.len() {
        return values.clone();
    }
    let mut spread = BooleanBufferBuilder::new(places.len());
    spread.append_n(places.len(), false);
    for (value, place) in values.iter().zip(places.set_indices()) {
        spread.set_bit(place, value);
    }
    spread.finish()
}
