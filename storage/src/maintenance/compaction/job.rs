//! One compaction, from its inputs to the COMMIT.
//!
//! ```text
//! open and verify inputs -> merge into a temporary file -> sync, rename -> read it back and compare -> COMMIT
//! ```
//!
//! The inputs stay part of the store until the COMMIT, so whatever fails before it costs only the work. An input that another
//! task took out of the store meanwhile makes the COMMIT fail, and the output is removed.

use std::collections::HashSet;
use std::sync::Arc;

use alula_catalog::{DataFile, FileId, Signal};
use arrow::array::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use super::input::{BATCH_ROWS, Input, key_converter, keys_of, parquet_error};
use super::merge::Merge;
use super::plan::CompactionPlan;
use super::tally::{Tallier, Tally};
use crate::buffer::TableSnapshot;
use crate::data_files::DataFileReader;
use crate::deletion::RowFilter;
use crate::layout::Layout;
use crate::maintenance::Pace;
use crate::parquet::{DataFileWriter, FileIdentity, NewDataFile};
use crate::store::Store;
use crate::{Error, Result};

/// What is left out of the files of one table.
#[derive(Debug)]
pub(super) struct Deletions {
    /// Files that may have rows of a deletion.
    touched: HashSet<FileId>,
    filter: Option<RowFilter>,
    /// No row of a deletion up to this one is in the output.
    applied: u64,
}

impl Deletions {
    /// The pending deletions of `table` as far as they concern `files`, which are among its own.
    ///
    /// # Errors
    /// `Predicate` — one cannot be compiled.
    pub(super) fn of(table: &TableSnapshot, signal: Signal, files: &[Arc<DataFile>]) -> Result<Self> {
        let applied = table.newest_pending_deletion();
        let (touched, filter) = match table.divide(signal, files)?.touched {
            Some((touched, filter)) => (touched.iter().map(|file| file.id).collect(), Some(filter)),
            None => (HashSet::new(), None),
        };
        Ok(Self { touched, filter, applied })
    }

    pub(super) fn touch(&self, file: &DataFile) -> bool {
        self.touched.contains(&file.id)
    }

    fn filter_of(&self, file: &DataFile) -> Option<&RowFilter> {
        self.filter.as_ref().filter(|_| self.touch(file))
    }
}

/// Why a compaction did not happen.
#[derive(Debug)]
pub(super) struct Failure {
    pub error: Box<Error>,
    /// The files that are better left alone for a while.
    pub blamed: Vec<FileId>,
}

/// Replaces the inputs of `plan` by one file; by none, if all their rows are deleted.
///
/// Durable: when this returns.
pub(super) fn compact(
    store: &Store,
    pace: &mut Pace,
    plan: &CompactionPlan,
    deletions: &Deletions,
) -> Result<Option<DataFile>, Failure> {
    let ids = || plan.inputs.iter().map(|file| file.id).collect::<Vec<_>>();
    let mut inputs = Vec::with_capacity(plan.inputs.len());
    for file in &plan.inputs {
        let input = Input::open(&store.data_files, file, plan.inputs.len(), deletions.filter_of(file))
            .and_then(|input| pace.breathe(store).map(|()| input));
        inputs.push(input.map_err(|error| Failure { error: Box::new(error), blamed: vec![file.id] })?);
    }
    let all = |error| Failure { error: Box::new(error), blamed: ids() };
    let output = merge(store, pace, plan, inputs, deletions).map_err(all)?;
    store.replace_files(ids(), output.iter().cloned().collect()).map_err(all)?;
    Ok(output)
}

fn merge(
    store: &Store,
    pace: &mut Pace,
    plan: &CompactionPlan,
    inputs: Vec<Input<'_>>,
    deletions: &Deletions,
) -> Result<Option<DataFile>> {
    let first = plan.inputs.first().ok_or(Error::WrongSchema)?;
    let snapshot = store.buffer.snapshot();
    let tenant_id = snapshot.tenant_id(first.tenant).ok_or(Error::WrongSchema)?.clone();
    // Its chunks need not stay in memory for as long as this takes.
    drop(snapshot);
    let identity = FileIdentity {
        store_uuid: store.store_uuid,
        tenant: first.tenant,
        tenant_id: &tenant_id,
        signal: first.signal,
    };
    let mut rows = Merge::new(first.signal, inputs)?;
    let mut writer = None;
    while let Some(batch) = rows.next_batch()? {
        let writer = match &mut writer {
            Some(writer) => writer,
            None => {
                writer.insert(DataFileWriter::create(&store.layout, &identity, new_file(plan, deletions))?)
            }
        };
        writer.write(&batch)?;
        pace.breathe(store)?;
    }
    let expected = rows.tally()?;
    let Some(writer) = writer else { return Ok(None) };
    let output = writer.finish(&replaced_files(store, plan)?)?;
    let checked = read_back(store, pace, &output).and_then(|found| compare(plan, &output, expected, found));
    if let Err(error) = checked {
        store.discard(&output);
        return Err(error);
    }
    Ok(Some(output))
}

fn new_file(plan: &CompactionPlan, deletions: &Deletions) -> NewDataFile {
    let applied_to_all = plan.inputs.iter().map(|file| file.deletions_applied).min().unwrap_or_default();
    NewDataFile {
        id: plan.output_id(),
        hour: plan.hour,
        num_hours: plan.num_hours,
        max_rows: plan.input_rows(),
        deletions_applied: deletions.applied.max(applied_to_all),
    }
}

/// The inputs, and every other file of their hours that is dead and may still lie around.
fn replaced_files(store: &Store, plan: &CompactionPlan) -> Result<Vec<FileId>> {
    let hours = |file: &DataFile| file.hour.0..file.hour.0 + i64::from(file.num_hours);
    let (first, end) = (plan.hour.0, plan.hour.0 + i64::from(plan.num_hours));
    let is_of_partition = |file: &DataFile| {
        let of_table =
            plan.inputs.iter().any(|input| (input.tenant, input.signal) == (file.tenant, file.signal));
        of_table && hours(file).start < end && first < hours(file).end
    };
    let dead = store.catalog.dead_files()?.into_iter().map(|dead| dead.file);
    let inputs = plan.inputs.iter().map(|file| file.id);
    Ok(inputs.chain(dead.filter(is_of_partition).map(|file| file.id)).collect())
}

/// What is in a file, as it is on disk.
///
/// # Errors
/// `CorruptFile`, `UnsortedFile` — the file is not what was written.
pub(super) fn read_back(store: &Store, pace: &mut Pace, file: &DataFile) -> Result<Tally> {
    let parquet_error = |source| parquet_error(file, source);
    let path = store.layout.data_file(file);
    // Not by way of `DataFiles`, where damage counts as a loss: this file is no part of the store.
    let reader = DataFileReader::open(store.layout.disk(), &path)
        .map_err(Error::io(&path, "cannot read the data file back"))?;
    let unreadable = |error| Error::io(&path, "cannot read the data file back")(error);
    let is_whole = reader.size_bytes() == file.size_bytes
        && reader.has_checksum(file.checksum, unreadable, || pace.breathe(store))?;
    if !is_whole {
        return Err(Error::CorruptFile { file: Layout::data_file_name(file) });
    }
    let reader = ParquetRecordBatchReaderBuilder::try_new(reader)
        .and_then(|builder| builder.with_batch_size(BATCH_ROWS).build())
        .map_err(parquet_error)?;
    let converter = key_converter(file.signal)?;
    let mut tallier = Tallier::default();
    let mut last: Option<arrow::row::OwnedRow> = None;
    for batch in reader {
        let batch: RecordBatch = batch.map_err(|e| parquet_error(ParquetError::External(e.into())))?;
        tallier.add(&batch)?;
        let keys = keys_of(&batch, &converter, file.signal)?;
        let is_sorted = keys.iter().is_sorted() && last.is_none_or(|last| last.row() <= keys.row(0));
        if !is_sorted {
            return Err(Error::UnsortedFile { file: Layout::data_file_name(file) });
        }
        last = Some(keys.row(keys.num_rows() - 1).owned());
        pace.breathe(store)?;
    }
    Ok(tallier.tally())
}

pub(super) fn compare(plan: &CompactionPlan, output: &DataFile, expected: Tally, found: Tally) -> Result<()> {
    let is_described = found.num_rows == output.num_rows
        && found.timestamps == Some(output.timestamps)
        && found.sequences == Some((output.first_seq, output.last_seq));
    let difference = if is_described { expected.difference(&found) } else { Some("the file's description") };
    match difference {
        None => Ok(()),
        Some(what) => {
            let names: Vec<_> = plan.inputs.iter().map(Layout::data_file_name).collect();
            Err(Error::CompactionMismatch { files: names.join(", "), what })
        }
    }
}
