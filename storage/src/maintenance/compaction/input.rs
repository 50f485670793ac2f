//! One sorted input of a merge, a batch at a time.

use std::sync::Arc;

use alula_catalog::schema::{sort_columns, table_schema};
use alula_catalog::{DataFile, Signal};
use arrow::array::RecordBatch;
use arrow::compute::{self, SortOptions};
use arrow::row::{Row, RowConverter, Rows, SortField};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;

use super::tally::{Tallier, Tally};
use crate::data_files::DataFiles;
use crate::deletion::RowFilter;
use crate::layout::Layout;
use crate::{Error, Result};

/// Rows of a batch, of input and output, unless they are wide.
pub(super) const BATCH_ROWS: usize = 8192;
/// Bytes that the batches of all inputs may have together, by the average width of each file's rows.
const ALL_BATCHES_BYTES: usize = 64 << 20;

/// A file that is being read in its order.
pub(super) struct Input<'a> {
    file: Arc<DataFile>,
    reader: ParquetRecordBatchReader,
    filter: Option<&'a RowFilter>,
    /// Units: bytes, encoded but not compressed, of an average row.
    row_bytes: usize,
    /// Rows that were read, and what of them is left by the filter.
    num_read: u64,
    tallier: Tallier,
    /// The sort keys of the current batch; none at the end.
    keys: Option<Rows>,
    row: usize,
}

impl<'a> Input<'a> {
    /// Opens one of `fan_in` inputs.
    pub(super) fn open(
        data_files: &DataFiles,
        file: &Arc<DataFile>,
        fan_in: usize,
        filter: Option<&'a RowFilter>,
    ) -> Result<Self> {
        let parquet_error = |source| parquet_error(file, source);
        let builder =
            ParquetRecordBatchReaderBuilder::try_new(data_files.open(file)?).map_err(parquet_error)?;
        if builder.schema().fields() != table_schema(file.signal).fields() {
            return Err(Error::WrongSchema);
        }
        let encoded_bytes: i64 =
            builder.metadata().row_groups().iter().map(RowGroupMetaData::total_byte_size).sum();
        let row_bytes = (encoded_bytes.max(0) as usize / file.num_rows.max(1) as usize).max(1);
        let batch_rows = (ALL_BATCHES_BYTES / fan_in / row_bytes).clamp(1, BATCH_ROWS / fan_in.isqrt());
        let reader = builder.with_batch_size(batch_rows).build().map_err(parquet_error)?;
        Ok(Self {
            file: Arc::clone(file),
            reader,
            filter,
            row_bytes,
            num_read: 0,
            tallier: Tallier::default(),
            keys: None,
            row: 0,
        })
    }

    /// Goes to the next row. The batch, if that is the first of one.
    ///
    /// # Errors
    /// `UnsortedFile` — the file is not sorted.
    pub(super) fn advance(&mut self, converter: &RowConverter) -> Result<Option<RecordBatch>> {
        let Some(keys) = &self.keys else { return self.next_batch(converter, None) };
        if self.row + 1 == keys.num_rows() {
            let keys = self.keys.take();
            return self.next_batch(converter, keys);
        }
        self.row += 1;
        if keys.row(self.row) < keys.row(self.row - 1) { Err(self.out_of_order()) } else { Ok(None) }
    }

    pub(super) fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// The sort key of the current row; none at the end.
    pub(super) fn key(&self) -> Option<Row<'_>> {
        self.keys.as_ref().map(|keys| keys.row(self.row))
    }

    pub(super) fn row(&self) -> usize {
        self.row
    }

    /// What of the file is left by the filter, once it is read to its end.
    ///
    /// # Errors
    /// `MiscountedFile` — the file has other rows than the catalog says.
    pub(super) fn tally(&self) -> Result<Tally> {
        let tally = self.tallier.tally();
        let bounds = (tally.timestamps, tally.sequences);
        let known = (Some(self.file.timestamps), Some((self.file.first_seq, self.file.last_seq)));
        // A filter may take away what is at the bounds.
        if self.num_read == self.file.num_rows && (self.filter.is_some() || bounds == known) {
            Ok(tally)
        } else {
            Err(Error::MiscountedFile { file: Layout::data_file_name(&self.file) })
        }
    }

    fn next_batch(&mut self, converter: &RowConverter, before: Option<Rows>) -> Result<Option<RecordBatch>> {
        self.row = 0;
        for batch in self.reader.by_ref() {
            let batch =
                batch.map_err(|error| parquet_error(&self.file, ParquetError::External(error.into())))?;
            self.num_read += batch.num_rows() as u64;
            let batch = match self.filter {
                None => batch,
                Some(filter) => compute::filter_record_batch(&batch, &filter.keep(&batch)?)?,
            };
            if batch.num_rows() == 0 {
                continue;
            }
            self.tallier.add(&batch)?;
            let keys = keys_of(&batch, converter, self.file.signal)?;
            let follows = before.as_ref().is_none_or(|b| b.row(b.num_rows() - 1) <= keys.row(0));
            if !follows {
                return Err(self.out_of_order());
            }
            self.keys = Some(keys);
            return Ok(Some(batch));
        }
        Ok(None)
    }

    fn out_of_order(&self) -> Error {
        Error::UnsortedFile { file: Layout::data_file_name(&self.file) }
    }
}

/// Encodes the sort columns of a table so that keys compare as bytes.
pub(super) fn key_converter(signal: Signal) -> Result<RowConverter> {
    let schema = table_schema(signal);
    let options = SortOptions { descending: false, nulls_first: true };
    let fields = sort_columns(signal).iter().map(|name| {
        let field = schema.field_with_name(name)?;
        Ok(SortField::new_with_options(field.data_type().clone(), options))
    });
    Ok(RowConverter::new(fields.collect::<Result<_>>()?)?)
}

pub(super) fn keys_of(batch: &RecordBatch, converter: &RowConverter, signal: Signal) -> Result<Rows> {
    let columns = sort_columns(signal)
        .iter()
        .map(|name| batch.column_by_name(name).map(Arc::clone).ok_or(Error::WrongSchema));
    Ok(converter.convert_columns(&columns.collect::<Result<Vec<_>>>()?)?)
}

pub(super) fn parquet_error(file: &DataFile, source: ParquetError) -> Error {
    Error::Parquet { path: Layout::data_file_name(file).into(), source }
}
