//! Writes one data file so that it is on disk, whole, under its final name.
//!
//! Our own writer, because `object_store` 0.13 never syncs a local file: after a power cut, what it had reported as
//! written is gone or empty.

use std::path::{Path, PathBuf};

use alula_catalog::schema::{SCHEMA_VERSION, table_schema};
use alula_catalog::{
    DataFile, FileId, Hour, SequenceNumber, Signal, TenantId, TenantNumber, Tier, TimeRange,
};
use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;

use super::Partition;
use super::hashing_file::HashingFile;
use super::properties::{footer, writer_properties};
use crate::buffer::{sequences_of, timestamps_of};
use crate::disk::{create_dir_durably, sync_dir};
use crate::layout::Layout;
use crate::{Error, Result};

/// Rows handed to the Parquet encoder at a time.
const SLICE_ROWS: usize = 16 * 1024;

/// Whose rows a file holds.
#[derive(Clone, Debug)]
pub(crate) struct FileIdentity<'a> {
    pub store_uuid: [u8; 16],
    pub tenant: TenantNumber,
    pub tenant_id: &'a TenantId,
    pub signal: Signal,
}

/// What is known of a file before its rows are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewDataFile {
    pub id: FileId,
    pub hour: Hour,
    pub num_hours: u32,
    /// An upper bound.
    pub max_rows: u64,
    pub deletions_applied: u64,
}

/// Writes a partition to a new file.
///
/// Durable: bytes, name and every new directory survive power loss when this returns. The file is no part of the store
/// until the catalog says so; one that stays behind after a crash is swept at the next start.
pub(crate) fn write_data_file(
    layout: &Layout,
    identity: &FileIdentity<'_>,
    partition: &Partition,
) -> Result<DataFile> {
    let rows = &partition.rows;
    let file = NewDataFile {
        id: FileId(uuid::Uuid::now_v7().as_u128()),
        hour: partition.hour,
        num_hours: 1,
        max_rows: rows.num_rows() as u64,
        deletions_applied: 0,
    };
    let mut writer = DataFileWriter::create(layout, identity, file)?;
    for start in (0..rows.num_rows()).step_by(SLICE_ROWS) {
        writer.write(&rows.slice(start, SLICE_ROWS.min(rows.num_rows() - start)))?;
    }
    writer.finish(&[])
}

/// Whether a file name is one that this module gives.
pub(crate) fn is_data_file_name(name: &str) -> bool {
    let stem = name.strip_suffix(".parquet").or_else(|| name.strip_suffix(".parquet.tmp"));
    stem.is_some_and(|stem| stem.len() == 32 && stem.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A data file that is being written. Dropping it before [`Self::finish`] removes what is there of it.
///
/// Bounds: a row group is in memory, encoded, until it is complete.
#[derive(Debug)]
pub(crate) struct DataFileWriter<'a> {
    layout: &'a Layout,
    identity: &'a FileIdentity<'a>,
    /// Complete only when it is finished.
    file: DataFile,
    bounds: Option<Bounds>,
    temporary: PathBuf,
    /// Taken by [`Self::finish`].
    parquet: Option<ArrowWriter<HashingFile>>,
    is_finished: bool,
}

impl<'a> DataFileWriter<'a> {
    pub(crate) fn create(
        layout: &'a Layout,
        identity: &'a FileIdentity<'a>,
        new: NewDataFile,
    ) -> Result<Self> {
        let file = DataFile {
            id: new.id,
            tenant: identity.tenant,
            signal: identity.signal,
            hour: new.hour,
            num_hours: new.num_hours,
            tier: Tier::Local,
            num_rows: 0,
            size_bytes: 0,
            checksum: [0; 16],
            timestamps: TimeRange { min_ns: 0, max_ns: 0 },
            first_seq: SequenceNumber(0),
            last_seq: SequenceNumber(0),
            schema_version: SCHEMA_VERSION,
            deletions_applied: new.deletions_applied,
        };
        let path = layout.data_file(&file);
        create_dir_durably(layout.disk(), parent(&path))?;
        let temporary = path.with_extension("parquet.tmp");
        let mut writer =
            Self { layout, identity, file, bounds: None, temporary, parquet: None, is_finished: false };
        let target = HashingFile::create(layout.disk(), &writer.temporary)
            .map_err(Error::io(&writer.temporary, "cannot create the data file"))?;
        let properties = writer_properties(identity.signal, new.max_rows as usize);
        let parquet = ArrowWriter::try_new(target, table_schema(identity.signal), Some(properties));
        writer.parquet = Some(parquet.map_err(|source| writer.parquet_error(source))?);
        Ok(writer)
    }

    /// Adds rows, which come after all earlier ones in the table's sort order.
    pub(crate) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        self.bounds = Some(Bounds::of(rows)?.and(self.bounds));
        self.file.num_rows += rows.num_rows() as u64;
        let parquet = self.parquet.as_mut().expect("only `finish`, which takes the writer, takes it");
        parquet.write(rows).map_err(|source| self.parquet_error(source))
    }

    /// Completes the file. `replaces` are files that are no part of the store when this one is, see
    /// [`footer`].
    ///
    /// Durable: as of [`write_data_file`].
    ///
    /// # Errors
    /// `WrongSchema` — no row was written.
    pub(crate) fn finish(mut self, replaces: &[FileId]) -> Result<DataFile> {
        let bounds = self.bounds.ok_or(Error::WrongSchema)?;
        self.file.timestamps = bounds.timestamps;
        (self.file.first_seq, self.file.last_seq) = bounds.sequences;
        let mut parquet = self.parquet.take().expect("only `finish`, which takes the writer, takes it");
        for pair in footer(&self.file, self.identity.tenant_id.as_str(), self.identity.store_uuid, replaces) {
            parquet.append_key_value_metadata(pair);
        }
        parquet.flush().map_err(|source| self.parquet_error(source))?;
        parquet.inner_mut().hold_end();
        let mut written = parquet.into_inner().map_err(|source| self.parquet_error(source))?;
        let path = self.layout.data_file(&self.file);
        written.write_end().map_err(Error::io(&path, "cannot write the end of the data file"))?;
        let disk = self.layout.disk();
        let written = written.sync().map_err(Error::io(&path, "cannot sync the data file"))?;
        disk.rename(&self.temporary, &path).map_err(Error::io(&path, "cannot rename the data file"))?;
        sync_dir(disk, parent(&path))?;
        self.file.size_bytes = written.size_bytes;
        self.file.checksum = written.checksum;
        self.is_finished = true;
        Ok(self.file.clone())
    }

    fn parquet_error(&self, source: ::parquet::errors::ParquetError) -> Error {
        Error::Parquet { path: self.temporary.clone(), source }
    }
}

impl Drop for DataFileWriter<'_> {
    /// Gives the space back, which may be why it failed. What cannot be removed is swept at the next start.
    fn drop(&mut self) {
        if !self.is_finished {
            let disk = self.layout.disk();
            let path = self.layout.data_file(&self.file);
            let _ = disk.remove_file(&self.temporary).or_else(|_| disk.remove_file(&path));
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

/// Exact bounds of rows.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    timestamps: TimeRange,
    sequences: (SequenceNumber, SequenceNumber),
}

impl Bounds {
    fn of(rows: &RecordBatch) -> Result<Self> {
        let timestamps = timestamps_of(rows).ok_or(Error::WrongSchema)?;
        let sequences = sequences_of(rows).ok_or(Error::WrongSchema)?;
        Ok(Self { timestamps, sequences })
    }

    fn and(self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        let timestamps = TimeRange {
            min_ns: self.timestamps.min_ns.min(other.timestamps.min_ns),
            max_ns: self.timestamps.max_ns.max(other.timestamps.max_ns),
        };
        let (first, last) = self.sequences;
        Self { timestamps, sequences: (first.min(other.sequences.0), last.max(other.sequences.1)) }
    }
}
