//! What a backup says about itself: the names, `MANIFEST.json` and `FILES.json`.
//!
//! ```text
//! files/<file id, 32 hex digits>.parquet       data files, shared by all snapshots; never changed
//! files/<...>.parquet.<snapshot>.tmp           one that is being copied for that snapshot (in a directory only)
//! snapshots/<time of the start, UTC>/
//!   FILES.json       which data files it uses; written before the first of them is copied, removed last
//!   catalog.db  auth.db  wal/<segment>
//!   MANIFEST.json    every file with size and checksum; written last: without it the snapshot does not exist
//! ```

use alula_catalog::FileId;
use serde::{Deserialize, Serialize};

use super::{Error, Result};
use crate::checksum::{Hasher, checksum_of, digits};
use crate::data_files::StoredFile;

pub(super) const FORMAT_VERSION: u32 = 1;

pub(super) const POOL: &str = "files";
pub(super) const SNAPSHOTS: &str = "snapshots";
pub(super) const MANIFEST: &str = "MANIFEST.json";
pub(super) const FILE_LIST: &str = "FILES.json";
pub(super) const CATALOG: &str = "catalog.db";
pub(super) const KEYS: &str = "auth.db";
pub(super) const WAL: &str = "wal";

/// The largest manifest that is read: about ten million data files.
pub(super) const MAX_MANIFEST_BYTES: u64 = 1 << 30;

/// The checksum of a whole file, as the catalog has it of data files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Checksum(pub [u8; 16]);

impl Checksum {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(checksum_of(bytes))
    }

    pub(super) fn finish(hasher: &Hasher) -> Self {
        Self(hasher.checksum())
    }
}

impl From<Checksum> for String {
    fn from(checksum: Checksum) -> Self {
        digits(checksum.0)
    }
}

impl TryFrom<String> for Checksum {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Ok(Self(hex_128(&text).ok_or("a checksum has 32 hexadecimal digits")?.to_be_bytes()))
    }
}

fn hex_128(text: &str) -> Option<u128> {
    let is_hex = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hex.then(|| u128::from_str_radix(text, 16).ok())?
}

/// A file of the snapshot itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SnapshotFile {
    /// Below the snapshot's directory.
    pub name: String,
    pub size_bytes: u64,
    pub blake3: Checksum,
}

/// A file of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PoolFile {
    pub id: PoolId,
    pub size_bytes: u64,
    pub blake3: Checksum,
}

impl PoolFile {
    pub(super) fn of(file: &(impl StoredFile + ?Sized)) -> Self {
        Self { id: PoolId(file.id()), size_bytes: file.size_bytes(), blake3: Checksum(file.checksum()) }
    }

    /// Below the root of the backup.
    pub(super) fn name(&self) -> String {
        self.id.file_name()
    }
}

/// The id of a data file, as its name has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct PoolId(pub FileId);

impl PoolId {
    pub(super) fn file_name(self) -> String {
        format!("{POOL}/{}.parquet", self.0)
    }

    /// Of a name below the root of the backup, and what follows the name that [`Self::file_name`] gives.
    pub(super) fn parse_name(name: &str) -> Option<(Self, &str)> {
        let (id, rest) = name.strip_prefix(POOL)?.strip_prefix('/')?.split_at_checked(32)?;
        Some((Self(FileId(hex_128(id)?)), rest.strip_prefix(".parquet")?))
    }
}

impl From<PoolId> for String {
    fn from(id: PoolId) -> Self {
        id.0.to_string()
    }
}

impl TryFrom<String> for PoolId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        hex_128(&text).map(|id| Self(FileId(id))).ok_or("a file id has 32 hexadecimal digits")
    }
}

/// `MANIFEST.json`, but for its checksum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub format_version: u32,
    /// Who wrote it.
    pub alula_version: String,
    pub store_uuid: String,
    pub snapshot: String,
    /// Every row that was acknowledged before this is in the snapshot.
    pub started: String,
    /// No row that was acknowledged after this is.
    pub captured: String,
    /// Entries up to this one are in data files, later ones in the log.
    pub flushed_seq: u64,
    pub rows_in_files: u64,
    /// Files that the catalog names and that are not in the backup: they are in the store's remote tier.
    pub remote_files: u64,
    pub remote_bytes: u64,
    pub files: Vec<SnapshotFile>,
    pub data_files: Vec<PoolFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    manifest: Manifest,
    /// Of the manifest, written without spaces.
    blake3: Checksum,
}

#[derive(Deserialize)]
struct AnyVersion {
    manifest: Version,
}

#[derive(Deserialize)]
struct Version {
    format_version: u32,
}

impl Manifest {
    pub(super) fn encode(&self) -> Vec<u8> {
        let sealed = Sealed { manifest: self.clone(), blake3: self.checksum() };
        let mut text = to_json(&sealed, serde_json::to_vec_pretty);
        text.push(b'\n');
        text
    }

    /// # Errors
    /// `NewerFormat`, `Damaged` — also if a single letter of it is another.
    pub(super) fn decode(file: &str, bytes: &[u8]) -> Result<Self> {
        let damaged = |reason| Error::Damaged { file: file.to_owned(), reason };
        let is_newer = |any: &AnyVersion| any.manifest.format_version > FORMAT_VERSION;
        if let Some(newer) = serde_json::from_slice::<AnyVersion>(bytes).ok().filter(is_newer) {
            let found = newer.manifest.format_version;
            return Err(Error::NewerFormat { file: file.to_owned(), found, known: FORMAT_VERSION });
        }
        let sealed: Sealed = serde_json::from_slice(bytes).map_err(|_| damaged("it is no manifest"))?;
        if sealed.blake3 != sealed.manifest.checksum() {
            return Err(damaged("its checksum is another"));
        }
        Ok(sealed.manifest)
    }

    fn checksum(&self) -> Checksum {
        Checksum::of(&to_json(self, serde_json::to_vec))
    }
}

/// `FILES.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileList {
    pub format_version: u32,
    pub store_uuid: String,
    /// Units: nanoseconds since the Unix epoch.
    pub started_ns: i64,
    pub data_files: Vec<PoolId>,
}

impl FileList {
    pub(super) fn encode(&self) -> Vec<u8> {
        to_json(self, serde_json::to_vec)
    }

    /// None if it cannot be read, for whatever reason.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let list: Self = serde_json::from_slice(bytes).ok()?;
        (list.format_version == FORMAT_VERSION).then_some(list)
    }
}

fn to_json<T>(value: &T, write: fn(&T) -> serde_json::Result<Vec<u8>>) -> Vec<u8> {
    write(value).expect("strings, numbers and lists of them have a JSON form")
}

/// A store's UUID, as the backup has it.
pub(super) fn hex(uuid: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(uuid))
}

/// The name of a file of a snapshot, below the root of the backup.
pub(super) fn in_snapshot(snapshot: &str, file: &str) -> String {
    format!("{SNAPSHOTS}/{snapshot}/{file}")
}

/// Whether a snapshot may have a file of this name: a manifest must not be able to name a path outside of the store.
pub(super) fn is_snapshot_file(name: &str) -> bool {
    let is_segment = |name: &str| {
        let stem = name.strip_prefix(WAL).and_then(|name| name.strip_prefix('/')?.strip_suffix(".wal"));
        stem.is_some_and(|stem| stem.len() == 20 && stem.bytes().all(|byte| byte.is_ascii_digit()))
    };
    name == CATALOG || name == KEYS || is_segment(name)
}

/// The name of a snapshot that was started at `time_ns`: names sort as their times do.
pub(super) fn snapshot_name(time_ns: i64) -> String {
    format_time(time_ns, "%Y%m%dT%H%M%S%.3fZ")
}

/// Whether a name is one that [`snapshot_name`] gives.
pub(super) fn is_snapshot_name(name: &str) -> bool {
    let pattern = "dddddddd-dddddd.dddZ";
    let fits = |(byte, expected): (u8, u8)| match expected {
        b'd' => byte.is_ascii_digit(),
        b'-' => byte == b'T',
        other => byte == other,
    };
    name.len() == pattern.len() && name.bytes().zip(pattern.bytes()).all(fits)
}

/// A time for people.
pub(super) fn readable_time(time_ns: i64) -> String {
    format_time(time_ns, "%Y-%m-%dT%H:%M:%S%.3fZ")
}

fn format_time(time_ns: i64, format: &str) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(time_ns)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime(format).to_string()
}
