//! [`UserTableWriter`]: the rows of one statement, on their way into files of a table.

use std::collections::HashSet;
use std::sync::Arc;

use alula_catalog::{FileId, TenantId, UserFile};
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use super::UserTable;
use super::columns::{Columns, Part};
use super::merge::{FileSize, plan_merge};
use super::quota::{Reservation, WriterPlace};
use crate::layout::Layout;
use crate::parquet::{UserFileIdentity, UserFileWriter, expanded_bytes, value_bytes};
use crate::store::Store;
use crate::{Error, Result};

/// A file of this size is followed by another one, so that a scan can be divided.
const MAX_FILE_BYTES: u64 = 128 << 20;
/// Rows of a file that is merged, in memory at a time, and their bytes, about.
const MERGED_ROWS: u64 = 4 * 1024;
const MERGED_BYTES: u64 = 16 << 20;

/// What a writer has to know of its transaction.
#[derive(Debug)]
pub(super) struct Of {
    pub store: Arc<Store>,
    pub reservation: Arc<Reservation>,
    pub tenant: TenantId,
    /// That the table has once the transaction is committed.
    pub table_version: u64,
    /// Files that the table had when the transaction began.
    pub base: Vec<FileId>,
    /// Bytes that are free once the transaction is committed.
    pub freed: u64,
}

/// Writes rows to files that are in no table until [`UserTransaction::add`] puts them there. Dropped before, it removes them.
///
/// All methods block on the disk: call them from a thread that may block. [`UserTransaction::append`] does that.
///
/// Bounds: a row group of 64 MiB at most is in memory, encoded, besides the batch that is written and 16 MiB of its rows, or
/// one row, as those of the table. Of files that are merged about as much is in memory at a time.
///
/// [`UserTransaction::add`]: super::UserTransaction::add
/// [`UserTransaction::append`]: super::UserTransaction::append
#[derive(Debug)]
pub(crate) struct UserTableWriter {
    of: Of,
    table: Arc<UserTable>,
    columns: Columns,
    _place: WriterPlace,
    file: Option<OpenFile>,
    written: WrittenFiles,
    num_rows: u64,
}

#[derive(Debug)]
struct OpenFile {
    writer: UserFileWriter,
    /// Taken from the tenant's quota for it.
    reserved: u64,
}

/// Rows that were written by one statement.
#[derive(Debug)]
pub(crate) struct WrittenRows {
    pub(super) num_rows: u64,
    /// The table that they are for, as it was.
    pub(super) before: Arc<UserTable>,
    /// The files that the table has with them.
    pub(super) files: Vec<Arc<UserFile>>,
    pub(super) written: WrittenFiles,
}

impl UserTableWriter {
    /// # Errors
    /// As of [`Columns::try_new`].
    pub(super) fn try_new(of: Of, place: WriterPlace, table: Arc<UserTable>, given: &Schema) -> Result<Self> {
        let columns = Columns::try_new(&table.name, &table.schema, given)?;
        let written = WrittenFiles::new(&of.store, &of.reservation);
        Ok(Self { of, table, columns, _place: place, file: None, written, num_rows: 0 })
    }

    /// Adds rows, which have the schema that was said before.
    ///
    /// # Errors
    /// `UserTable` — they do not fit the table, or the tenant's quota. `DiskFull`, `ReadOnly`, `Io`, `Parquet` — the disk is in
    /// the way. `Closed` — storage is. After any of them the writer is to be dropped.
    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        for Part { start, num_rows, bytes } in self.columns.parts(rows)? {
            let rows = self.columns.apply(&rows.slice(start, num_rows))?;
            self.write_table_rows(&rows, bytes)?;
        }
        Ok(())
    }

    fn write_table_rows(&mut self, rows: &RecordBatch, bytes: u64) -> Result<()> {
        self.of.store.ensure_writable()?;
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(OpenFile { writer: create_file(&self.of, &self.table)?, reserved: 0 }),
        };
        file.writer.write(rows, bytes)?;
        self.num_rows += rows.num_rows() as u64;
        let more = file.writer.size_bytes().saturating_sub(file.reserved);
        self.of.reservation.grow(more, self.of.freed)?;
        file.reserved += more;
        if file.reserved >= MAX_FILE_BYTES { self.complete_file() } else { Ok(()) }
    }

    /// Completes the last file, and merges files of the table where it has many.
    ///
    /// Durable: not before the transaction is committed.
    pub(super) fn finish(mut self) -> Result<WrittenRows> {
        self.complete_file()?;
        let new = self.written.files.iter().map(Arc::clone);
        let old = self.table.files.iter().filter(|file| file.num_rows > 0).map(Arc::clone);
        let files = if self.written.files.is_empty() {
            self.table.files.to_vec()
        } else {
            let files = old.chain(new).collect();
            self.merge(files)
        };
        let written = WrittenFiles::new(&self.of.store, &self.of.reservation);
        let written = std::mem::replace(&mut self.written, written);
        Ok(WrittenRows { num_rows: self.num_rows, before: Arc::clone(&self.table), files, written })
    }

    fn complete_file(&mut self) -> Result<()> {
        let Some(OpenFile { writer, reserved }) = self.file.take() else { return Ok(()) };
        let finished = writer.finish(&[]);
        let size_bytes = finished.as_ref().map_or(0, |file| file.size_bytes);
        self.of.reservation.settle(reserved, size_bytes);
        self.written.push(finished?);
        Ok(())
    }

    /// The files of the table after a merge, if one is due.
    ///
    /// It is no part of what the statement is for: where it fails, the files stay as they are.
    fn merge(&mut self, files: Vec<Arc<UserFile>>) -> Vec<Arc<UserFile>> {
        let mut unreadable: HashSet<FileId> = HashSet::new();
        loop {
            let readable: Vec<_> = files.iter().filter(|file| !unreadable.contains(&file.id)).collect();
            let sizes: Vec<_> = readable
                .iter()
                .map(|file| FileSize { num_rows: file.num_rows, size_bytes: file.size_bytes })
                .collect();
            let Some(places) = plan_merge(&sizes) else { return files };
            let inputs: Vec<Arc<UserFile>> =
                places.iter().map(|place| Arc::clone(readable[*place])).collect();
            let is_unreadable = |file: &&Arc<UserFile>| self.of.store.data_files.open_local(*file).is_err();
            if let Some(file) = inputs.iter().find(is_unreadable) {
                unreadable.insert(file.id);
                continue;
            }
            let is_input = |file: &Arc<UserFile>| inputs.iter().any(|input| input.id == file.id);
            let mut merged: Vec<_> = files.iter().filter(|file| !is_input(file)).map(Arc::clone).collect();
            return match self.merge_files(&inputs, &merged) {
                Ok(file) => {
                    merged.push(file);
                    merged
                }
                Err(error) => {
                    let error = alula_catalog::error_chain(&error);
                    tracing::warn!(error, table = %self.table.id, "cannot merge files of a user table");
                    files
                }
            };
        }
    }

    /// One file in the place of `inputs`, beside those that stay.
    fn merge_files(&mut self, inputs: &[Arc<UserFile>], stay: &[Arc<UserFile>]) -> Result<Arc<UserFile>> {
        let store = &self.of.store;
        let mut writer = create_file(&self.of, &self.table)?;
        for input in inputs {
            let name = || Layout::data_file_name(input);
            let parquet = |source: ParquetError| Error::Parquet { path: name().into(), source };
            let reader = ParquetRecordBatchReaderBuilder::try_new(store.data_files.open_local(input)?);
            let reader = reader.and_then(|reader| {
                let at_a_time = merged_rows(reader.metadata(), &self.table.schema);
                reader.with_batch_size(at_a_time).build()
            });
            let reader = reader.map_err(parquet)?;
            let mut num_rows = 0;
            for batch in reader {
                store.ensure_writable()?;
                let batch = batch?;
                num_rows += batch.num_rows() as u64;
                let rows = RecordBatch::try_new(Arc::clone(&self.table.schema), batch.columns().to_vec())?;
                let columns = rows.columns().iter();
                let bytes = columns.map(|column| expanded_bytes(column, column.data_type()));
                writer.write(&rows, bytes.fold(0, u64::saturating_add))?;
            }
            if num_rows != input.num_rows {
                return Err(Error::MiscountedFile { file: name() });
            }
        }
        // Whoever has to do without a catalog must not take any of these for files of the table.
        let mut replaces = store.user_tables.garbage_of(self.table.id);
        replaces.extend(self.of.base.iter().filter(|id| !stay.iter().any(|file| file.id == **id)));
        replaces.sort_unstable();
        replaces.dedup();
        let file = writer.finish(&replaces)?;
        self.of.reservation.settle(0, file.size_bytes);
        Ok(self.written.push(file))
    }
}

impl Drop for UserTableWriter {
    /// Its files go by themselves.
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            self.of.reservation.settle(file.reserved, 0);
        }
    }
}

/// How many rows of a file have about [`MERGED_BYTES`]. As a row group is bounded without encodings too, a run of rows that
/// are larger than the others in it cannot have much more.
fn merged_rows(metadata: &ParquetMetaData, schema: &SchemaRef) -> usize {
    let of_row = schema.fields().iter().map(|field| value_bytes(field.data_type())).sum::<u64>();
    let largest = metadata.row_groups().iter().map(|group| unencoded_bytes(group) / num_rows(group)).max();
    let rows = MERGED_BYTES / (of_row + largest.unwrap_or(0)).max(1);
    usize::try_from(rows.clamp(1, MERGED_ROWS)).expect("it is at most 4,096")
}

fn num_rows(group: &RowGroupMetaData) -> u64 {
    u64::try_from(group.num_rows()).unwrap_or(0).max(1)
}

fn unencoded_bytes(group: &RowGroupMetaData) -> u64 {
    let of_column = |values: Option<i64>, encoded: i64| u64::try_from(values.unwrap_or(0).max(encoded));
    let columns = group.columns().iter().map(|column| {
        of_column(column.unencoded_byte_array_data_bytes(), column.uncompressed_size()).unwrap_or(0)
    });
    columns.fold(0, u64::saturating_add)
}

/// Opens a file of a table. Its directory must not be removed between the two steps of that.
pub(super) fn create_file(of: &Of, table: &UserTable) -> Result<UserFileWriter> {
    let identity = UserFileIdentity {
        store_uuid: of.store.store_uuid,
        tenant: of.store.tenant_number(&of.tenant)?,
        tenant_id: of.tenant.clone(),
        table: table.id,
        table_name: table.name.clone(),
        table_version: of.table_version,
    };
    let store = &of.store;
    store.user_tables.beside_no_commit(|| UserFileWriter::create(&store.layout, identity, &table.schema))
}

/// Files on disk that are not committed; dropped, they go as soon as nobody reads them.
#[derive(Debug)]
pub(super) struct WrittenFiles {
    store: Arc<Store>,
    /// Has their bytes.
    reservation: Arc<Reservation>,
    pub files: Vec<Arc<UserFile>>,
}

impl WrittenFiles {
    pub(super) fn new(store: &Arc<Store>, reservation: &Arc<Reservation>) -> Self {
        Self { store: Arc::clone(store), reservation: Arc::clone(reservation), files: Vec::new() }
    }

    /// A file that was written, whose bytes are reserved.
    pub(super) fn push(&mut self, file: UserFile) -> Arc<UserFile> {
        self.store.data_files.note_verified(file.id);
        let file = Arc::new(file);
        self.files.push(Arc::clone(&file));
        file
    }

    pub(super) fn absorb(&mut self, mut other: Self) {
        self.files.append(&mut other.files);
    }

    /// Gives up the files that are not kept.
    pub(super) fn retain(&mut self, is_kept: impl Fn(FileId) -> bool) {
        let given_up: Vec<_> = self.files.extract_if(.., |file| !is_kept(file.id)).collect();
        self.give_up(given_up);
    }

    /// They are committed, or may be.
    pub(super) fn take(&mut self) -> Vec<Arc<UserFile>> {
        let files = std::mem::take(&mut self.files);
        self.reservation.settle(files.iter().map(|file| file.size_bytes).sum(), 0);
        files
    }

    /// It is not known whether they are committed: their bytes stay taken.
    pub(super) fn leave(&mut self) -> Vec<Arc<UserFile>> {
        let files = std::mem::take(&mut self.files);
        self.reservation.leave(files.iter().map(|file| file.size_bytes).sum());
        files
    }

    fn give_up(&self, files: Vec<Arc<UserFile>>) {
        self.reservation.settle(files.iter().map(|file| file.size_bytes).sum(), 0);
        self.store.user_tables.add_garbage(files);
    }
}

impl Drop for WrittenFiles {
    fn drop(&mut self) {
        let files = std::mem::take(&mut self.files);
        self.give_up(files);
    }
}

#[cfg(test)]
mod tests;
