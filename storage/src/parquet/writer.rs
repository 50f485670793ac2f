//! Writes one data file so that it is on disk, whole, under its final name.
//!
//! Our own writer, because `object_store` 0.13 never syncs a local file: after a power cut, what it had reported as
//! written is gone or empty.

use std::io::{self, Write};
use std::path::Path;

use alula_catalog::schema::SCHEMA_VERSION;
use alula_catalog::{DataFile, FileId, Signal, TenantId, TenantNumber, Tier};
use parquet::arrow::ArrowWriter;

use super::Partition;
use super::properties::{footer, writer_properties};
use crate::buffer::{sequences_of, timestamps_of};
use crate::disk::{Disk, DiskFile, create_dir_durably, sync_dir};
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

/// Writes a partition to a new file.
///
/// Durable: bytes, name and every new directory survive power loss when this returns. The file is no part of the store
/// until the catalog says so; one that stays behind after a crash is swept at the next start.
pub(crate) fn write_data_file(
    layout: &Layout,
    identity: &FileIdentity<'_>,
    partition: &Partition,
) -> Result<DataFile> {
    let timestamps = timestamps_of(&partition.rows).ok_or(Error::WrongSchema)?;
    let (first_seq, last_seq) = sequences_of(&partition.rows).ok_or(Error::WrongSchema)?;
    let mut file = DataFile {
        id: FileId(uuid::Uuid::now_v7().as_u128()),
        tenant: identity.tenant,
        signal: identity.signal,
        hour: partition.hour,
        num_hours: 1,
        tier: Tier::Local,
        num_rows: partition.rows.num_rows() as u64,
        size_bytes: 0,
        checksum: [0; 16],
        timestamps,
        first_seq,
        last_seq,
        schema_version: SCHEMA_VERSION,
        deletions_applied: 0,
    };
    let path = layout.data_file(&file);
    let dir = path.parent().unwrap_or(Path::new("."));
    let disk = layout.disk();
    create_dir_durably(disk, dir)?;
    let temporary = path.with_extension("parquet.tmp");
    let written = encode(disk, &temporary, &file, identity, partition).and_then(|hashing| {
        let io = |doing| {
            let path = path.clone();
            move |source| Error::Io { path, doing, source }
        };
        hashing.file.sync_data().map_err(io("cannot sync the data file"))?;
        disk.rename(&temporary, &path).map_err(io("cannot rename the data file"))?;
        sync_dir(disk, dir)?;
        Ok(hashing)
    });
    match written {
        Ok(hashing) => {
            file.size_bytes = hashing.bytes;
            file.checksum.copy_from_slice(&hashing.hasher.finalize().as_bytes()[..16]);
            Ok(file)
        }
        Err(error) => {
            // Gives the space back, which may be why it failed. What cannot be removed is swept at the next start.
            let _ = disk.remove_file(&temporary).or_else(|_| disk.remove_file(&path));
            Err(error)
        }
    }
}

/// Whether a file name is one that this module gives.
pub(crate) fn is_data_file_name(name: &str) -> bool {
    let stem = name.strip_suffix(".parquet").or_else(|| name.strip_suffix(".parquet.tmp"));
    stem.is_some_and(|stem| stem.len() == 32 && stem.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn encode(
    disk: &dyn Disk,
    path: &Path,
    file: &DataFile,
    identity: &FileIdentity<'_>,
    partition: &Partition,
) -> Result<HashingFile> {
    let rows = &partition.rows;
    let footer = footer(file, identity.tenant_id.as_str(), identity.store_uuid);
    let properties = writer_properties(file.signal, rows.num_rows(), footer);
    let parquet_error = |source| Error::Parquet { path: path.to_owned(), source };
    let target = HashingFile::create(disk, path).map_err(|source| Error::Io {
        path: path.to_owned(),
        doing: "cannot create the data file",
        source,
    })?;
    let mut writer = ArrowWriter::try_new(target, rows.schema(), Some(properties)).map_err(parquet_error)?;
    for start in (0..rows.num_rows()).step_by(SLICE_ROWS) {
        let length = SLICE_ROWS.min(rows.num_rows() - start);
        writer.write(&rows.slice(start, length)).map_err(parquet_error)?;
    }
    writer.into_inner().map_err(parquet_error)
}

/// A file that hashes what is written to it.
#[derive(Debug)]
struct HashingFile {
    file: Box<dyn DiskFile>,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl HashingFile {
    fn create(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        Ok(Self { file: disk.create(path)?, hasher: blake3::Hasher::new(), bytes: 0 })
    }
}

impl Write for HashingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(bytes, self.bytes)?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
