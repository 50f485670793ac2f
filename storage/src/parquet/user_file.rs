//! Files of user tables: what their footer says, and how one is written.

use std::fmt;
use std::path::PathBuf;

use alula_catalog::{FileId, TenantId, TenantNumber, UserFile, UserTableId};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::reader::ChunkReader;

use super::footer::{FooterError, Keys, with_keys};
use super::hashing_file::HashingFile;
use super::own_checksum;
use super::properties::{FILE_FORMAT_VERSION, ROW_GROUP_BYTES, common_properties};
use crate::disk::create_dir_durably;
use crate::layout::Layout;
use crate::{Error, Result};

/// Rows handed to the Parquet encoder at a time: tables may be wide.
const SLICE_ROWS: usize = 4 * 1024;
/// What the rows of a row group may have without encodings, so that one can be read in few pieces: a value that is repeated
/// takes next to nothing in the file.
const EXPANDED_ROW_GROUP_BYTES: u64 = 256 << 20;

/// Of which table a file has rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserFileIdentity {
    pub store_uuid: [u8; 16],
    pub tenant: TenantNumber,
    pub tenant_id: TenantId,
    pub table: UserTableId,
    pub table_name: String,
    /// That the table has once the file is part of it.
    pub table_version: u64,
}

/// A footer's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserFooter {
    /// Without its size and checksum, which a footer cannot hold.
    pub file: UserFile,
    pub identity: UserFileIdentity,
    /// Files that are in no table where this one is.
    pub replaces: Vec<FileId>,
}

impl UserFooter {
    fn to_pairs(&self) -> Vec<KeyValue> {
        let Self { file, identity, replaces } = self;
        let uuid = uuid::Uuid::from_bytes(identity.store_uuid).to_string();
        let replaces: Vec<String> = replaces.iter().map(FileId::to_string).collect();
        [
            ("alula.format_version", FILE_FORMAT_VERSION.to_string()),
            ("alula.store_uuid", uuid),
            ("alula.file_id", file.id.to_string()),
            ("alula.user_table_id", identity.table.to_string()),
            ("alula.user_table_name", identity.table_name.clone()),
            ("alula.user_table_version", identity.table_version.to_string()),
            ("alula.tenant_number", identity.tenant.to_string()),
            ("alula.tenant_id", identity.tenant_id.to_string()),
            ("alula.num_rows", file.num_rows.to_string()),
        ]
        .into_iter()
        .chain((!replaces.is_empty()).then(|| ("alula.replaces", replaces.join(","))))
        // Must be the last: see there.
        .chain([(own_checksum::KEY, own_checksum::UNKNOWN.to_owned())])
        .map(|(key, value)| KeyValue::new(key.to_owned(), value))
        .collect()
    }

    fn decode(keys: &Keys<'_>) -> Result<Self, FooterError> {
        keys.check_version()?;
        let uuid: uuid::Uuid = keys.parse("alula.store_uuid")?;
        let identity = UserFileIdentity {
            store_uuid: uuid.into_bytes(),
            tenant: TenantNumber(keys.parse("alula.tenant_number")?),
            tenant_id: keys.parse("alula.tenant_id")?,
            table: UserTableId(keys.hex("alula.user_table_id")?),
            table_name: keys.text("alula.user_table_name")?.to_owned(),
            table_version: keys.parse("alula.user_table_version")?,
        };
        let file = UserFile {
            id: FileId(keys.hex("alula.file_id")?),
            tenant: identity.tenant,
            table: identity.table,
            num_rows: keys.parse("alula.num_rows")?,
            size_bytes: 0,
            checksum: [0; 16],
        };
        keys.text(own_checksum::KEY)?;
        Ok(Self { file, identity, replaces: keys.replaces()? })
    }
}

/// Reads the footer of a file of a user table.
pub(crate) fn read_user_footer(file: &impl ChunkReader) -> Result<UserFooter, FooterError> {
    with_keys(file, UserFooter::decode)
}

/// A file that is being written. Dropping it before [`Self::finish`] removes what is there of it.
///
/// Bounds: a row group of 64 MiB at most is in memory, encoded, until it is complete.
pub(crate) struct UserFileWriter {
    layout: Layout,
    identity: UserFileIdentity,
    /// Complete only when it is finished.
    file: UserFile,
    temporary: PathBuf,
    /// Taken by [`Self::finish`].
    parquet: Option<ArrowWriter<HashingFile>>,
    /// What was written since a row group ended, without encodings.
    expanded_bytes: u64,
    is_finished: bool,
}

impl fmt::Debug for UserFileWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserFileWriter").field("file", &self.file).finish_non_exhaustive()
    }
}

impl UserFileWriter {
    pub(crate) fn create(layout: &Layout, identity: UserFileIdentity, schema: &SchemaRef) -> Result<Self> {
        let file = UserFile {
            id: FileId(uuid::Uuid::now_v7().as_u128()),
            tenant: identity.tenant,
            table: identity.table,
            num_rows: 0,
            size_bytes: 0,
            checksum: [0; 16],
        };
        let temporary = layout.uncommitted(&file);
        create_dir_durably(layout.disk(), temporary.parent().unwrap_or(layout.root()))?;
        let layout = layout.clone();
        let (parquet, expanded_bytes) = (None, 0);
        let mut writer =
            Self { layout, identity, file, temporary, parquet, expanded_bytes, is_finished: false };
        let target = HashingFile::create(writer.layout.disk(), &writer.temporary)
            .map_err(Error::io(&writer.temporary, "cannot create the data file"))?;
        let parquet =
            ArrowWriter::try_new(target, SchemaRef::clone(schema), Some(common_properties().build()));
        writer.parquet = Some(parquet.map_err(|source| writer.parquet_error(source))?);
        Ok(writer)
    }

    /// Adds rows, which have the schema of the table, and `expanded_bytes` without encodings.
    ///
    /// Bounds: as many bytes as the caller gives at a time are in memory, besides.
    pub(crate) fn write(&mut self, rows: &RecordBatch, expanded_bytes: u64) -> Result<()> {
        for start in (0..rows.num_rows()).step_by(SLICE_ROWS) {
            let slice = rows.slice(start, SLICE_ROWS.min(rows.num_rows() - start));
            self.file.num_rows += slice.num_rows() as u64;
            let parquet = self.parquet.as_mut().expect("only `finish`, which takes the writer, takes it");
            let mut written = parquet.write(&slice);
            // Of many columns each has a buffer of its own, which no bound on encoded bytes sees.
            if written.is_ok() && parquet.memory_size() > ROW_GROUP_BYTES {
                written = parquet.flush();
            }
            written.map_err(|source| self.parquet_error(source))?;
        }
        self.expanded_bytes = self.expanded_bytes.saturating_add(expanded_bytes);
        if self.expanded_bytes >= EXPANDED_ROW_GROUP_BYTES {
            self.expanded_bytes = 0;
            let parquet = self.parquet.as_mut().expect("only `finish`, which takes the writer, takes it");
            parquet.flush().map_err(|source| self.parquet_error(source))?;
        }
        Ok(())
    }

    /// Units: bytes that the file has, or will have about.
    pub(crate) fn size_bytes(&self) -> u64 {
        let bytes = |parquet: &ArrowWriter<_>| parquet.bytes_written() + parquet.in_progress_size();
        self.parquet.as_ref().map_or(0, bytes) as u64
    }

    /// Completes the file, under the name that it has until it is committed. `replaces` are files that are in no table when
    /// this one is.
    ///
    /// Durable: its bytes; its name is not.
    pub(crate) fn finish(mut self, replaces: &[FileId]) -> Result<UserFile> {
        let mut parquet = self.parquet.take().expect("only `finish`, which takes the writer, takes it");
        let footer = UserFooter {
            file: self.file.clone(),
            identity: self.identity.clone(),
            replaces: replaces.to_vec(),
        };
        for pair in footer.to_pairs() {
            parquet.append_key_value_metadata(pair);
        }
        parquet.flush().map_err(|source| self.parquet_error(source))?;
        parquet.inner_mut().hold_end();
        let mut written = parquet.into_inner().map_err(|source| self.parquet_error(source))?;
        let path = &self.temporary;
        written.write_end().map_err(Error::io(path, "cannot write the end of the data file"))?;
        let written = written.sync().map_err(Error::io(path, "cannot sync the data file"))?;
        self.file.size_bytes = written.size_bytes;
        self.file.checksum = written.checksum;
        self.is_finished = true;
        Ok(self.file.clone())
    }

    fn parquet_error(&self, source: parquet::errors::ParquetError) -> Error {
        Error::Parquet { path: self.temporary.clone(), source }
    }
}

impl Drop for UserFileWriter {
    /// What cannot be removed is swept at the next start.
    fn drop(&mut self) {
        if !self.is_finished {
            let _ = self.layout.disk().remove_file(&self.temporary);
        }
    }
}
