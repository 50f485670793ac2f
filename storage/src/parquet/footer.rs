//! What the footer of a data file says about it, read back.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use alula_catalog::{
    DataFile, FileId, Hour, SequenceNumber, Signal, TenantId, TenantNumber, Tier, TimeRange,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaDataReader};
use parquet::file::reader::ChunkReader;

use super::own_checksum;
use super::properties::FILE_FORMAT_VERSION;
use crate::checksum::{Hasher, digits};
use crate::data_files::DataFileReader;

/// A footer's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    /// Without its size and checksum, which a footer cannot hold.
    pub file: DataFile,
    pub tenant_id: TenantId,
    pub store_uuid: [u8; 16],
    /// Files that are no part of the store where this one is.
    pub replaces: Vec<FileId>,
    /// The file has a checksum of itself.
    pub has_checksum: bool,
}

/// The checksums of a file's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checksums {
    /// Of all bytes, as the catalog has it.
    pub whole: [u8; 16],
    /// Whether the file is what its own checksum says; None if it has none.
    pub is_own: Option<bool>,
}

/// Bytes read at a time while a file is hashed.
const HASHED_BYTES: usize = 1 << 20;
/// The largest end of a file that is searched for its checksum. Footers are far smaller.
const MAX_END_BYTES: u64 = 64 << 20;

/// Hashes a file. Nothing in it is taken for true, and nothing is decoded.
pub(crate) fn checksums(file: &DataFileReader) -> std::io::Result<Checksums> {
    let size_bytes = file.size_bytes();
    let last = file.read(size_bytes.saturating_sub(8), size_bytes.min(8) as usize)?;
    // The footer, its length and the magic.
    let end_bytes = last.first_chunk().map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)) + 8);
    let end_at = size_bytes - end_bytes.min(size_bytes).min(MAX_END_BYTES);
    let mut hasher = Hasher::default();
    let mut at = 0;
    while at < end_at {
        let length = HASHED_BYTES.min((end_at - at) as usize);
        hasher.update(&file.read(at, length)?);
        at += length as u64;
    }
    let mut end = file.read(end_at, (size_bytes - end_at) as usize)?.to_vec();
    let mut of_own = hasher.clone();
    hasher.update(&end);
    let whole = hasher.checksum();
    let is_own = own_checksum::place_of(&end).map(|place| {
        let value = place..place + own_checksum::UNKNOWN.len();
        let found = end[value.clone()].to_vec();
        end[value].copy_from_slice(own_checksum::UNKNOWN.as_bytes());
        of_own.update(&end);
        digits(of_own.checksum()).as_bytes() == found
    });
    Ok(Checksums { whole, is_own })
}

/// Why a file is not one of ours, or not whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FooterError {
    #[error("it is no whole Parquet file")]
    Parquet(#[source] ParquetError),
    #[error("its footer cannot be decoded")]
    Panicked,
    #[error("its footer has no key {key}")]
    Missing { key: &'static str },
    #[error("the key {key} of its footer is {value:?}")]
    Invalid { key: &'static str, value: String },
    #[error("it has format version {found}, this version of alula reads up to {FILE_FORMAT_VERSION}")]
    Newer { found: u32 },
}

/// Reads the footer of a Parquet file.
pub(crate) fn read_footer(file: &impl ChunkReader) -> Result<Footer, FooterError> {
    with_keys(file, decode)
}

/// Decodes the keys of a footer.
pub(super) fn with_keys<T>(
    file: &impl ChunkReader,
    decode: impl FnOnce(&Keys<'_>) -> Result<T, FooterError>,
) -> Result<T, FooterError> {
    // The reader panics on some damages.
    let parsed = catch_unwind(AssertUnwindSafe(|| ParquetMetaDataReader::new().parse_and_finish(file)));
    let metadata = parsed.map_err(|_| FooterError::Panicked)?.map_err(FooterError::Parquet)?;
    let pairs = metadata.file_metadata().key_value_metadata().map(Vec::as_slice).unwrap_or_default();
    decode(&Keys { pairs })
}

fn decode(keys: &Keys<'_>) -> Result<Footer, FooterError> {
    keys.check_version()?;
    let signal = keys.text("alula.signal")?;
    let signal = Signal::ALL
        .into_iter()
        .find(|known| known.table_name() == signal)
        .ok_or_else(|| keys.invalid("alula.signal"))?;
    let uuid: uuid::Uuid = keys.parse("alula.store_uuid")?;
    let file = DataFile {
        id: FileId(keys.hex("alula.file_id")?),
        tenant: TenantNumber(keys.parse("alula.tenant_number")?),
        signal,
        hour: Hour(keys.parse("alula.hour")?),
        // The first files had neither this key nor the last one.
        num_hours: keys.parse_or("alula.num_hours", 1)?,
        tier: Tier::Local,
        num_rows: keys.parse("alula.num_rows")?,
        size_bytes: 0,
        checksum: [0; 16],
        timestamps: TimeRange {
            min_ns: keys.parse("alula.min_timestamp_ns")?,
            max_ns: keys.parse("alula.max_timestamp_ns")?,
        },
        first_seq: SequenceNumber(keys.parse("alula.first_seq")?),
        last_seq: SequenceNumber(keys.parse("alula.last_seq")?),
        schema_version: keys.parse("alula.schema_version")?,
        deletions_applied: keys.parse_or("alula.deletions_applied", 0)?,
    };
    if !matches!(file.num_hours, 1 | 24) {
        return Err(keys.invalid("alula.num_hours"));
    }
    let has_checksum = keys.find(own_checksum::KEY).is_some();
    if !has_checksum && keys.find("alula.num_hours").is_some() {
        // Both came with the same version, so one of them alone was not written so.
        return Err(FooterError::Missing { key: own_checksum::KEY });
    }
    let tenant_id = keys.parse("alula.tenant_id")?;
    Ok(Footer { file, tenant_id, store_uuid: uuid.into_bytes(), replaces: keys.replaces()?, has_checksum })
}

/// The keys of a footer and their values.
pub(super) struct Keys<'a> {
    pairs: &'a [KeyValue],
}

impl Keys<'_> {
    pub(super) fn find(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|pair| pair.key == key)?.value.as_deref()
    }

    pub(super) fn text(&self, key: &'static str) -> Result<&str, FooterError> {
        self.find(key).ok_or(FooterError::Missing { key })
    }

    pub(super) fn parse<T: FromStr>(&self, key: &'static str) -> Result<T, FooterError> {
        self.text(key)?.parse().map_err(|_| self.invalid(key))
    }

    fn parse_or<T: FromStr>(&self, key: &'static str, default: T) -> Result<T, FooterError> {
        if self.find(key).is_none() { Ok(default) } else { self.parse(key) }
    }

    /// Before everything that a later version may change.
    pub(super) fn check_version(&self) -> Result<(), FooterError> {
        let version = self.parse("alula.format_version")?;
        if version > FILE_FORMAT_VERSION { Err(FooterError::Newer { found: version }) } else { Ok(()) }
    }

    /// 128 bits as 32 digits.
    pub(super) fn hex(&self, key: &'static str) -> Result<u128, FooterError> {
        hex_128(self.text(key)?).ok_or_else(|| self.invalid(key))
    }

    /// Files that are no part of the store where this one is.
    pub(super) fn replaces(&self) -> Result<Vec<FileId>, FooterError> {
        let Some(list) = self.find("alula.replaces") else { return Ok(Vec::new()) };
        let ids: Option<Vec<_>> = list.split(',').map(|id| hex_128(id).map(FileId)).collect();
        ids.ok_or_else(|| self.invalid("alula.replaces"))
    }

    fn invalid(&self, key: &'static str) -> FooterError {
        FooterError::Invalid { key, value: self.find(key).unwrap_or_default().to_owned() }
    }
}

fn hex_128(text: &str) -> Option<u128> {
    u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32)
}

#[cfg(test)]
mod tests;
