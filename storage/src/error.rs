//! What can go wrong in storage, named after what the caller can do about it.

use std::path::{Path, PathBuf};

use alula_catalog::{SequenceNumber, Signal, TenantId};

use crate::UserTableError;

/// The result of a storage operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

const REPAIR: &str = "`alula verify --repair` builds the catalog anew from the data files";

/// Why storage could not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{what} is full ({limit} {unit}); try again shortly")]
    Overloaded { what: &'static str, limit: usize, unit: &'static str },

    #[error("an entry of {bytes} bytes is larger than the write-ahead log takes ({limit_bytes} bytes)")]
    TooLarge { bytes: usize, limit_bytes: usize },

    #[error("storage is read-only: {reason}")]
    ReadOnly { reason: &'static str },

    #[error(
        "the disk of the data directory is nearly full: free some space, and it goes on by itself once {needed_bytes} \
         bytes are free (see storage.min_free_bytes)"
    )]
    /// The free bytes are those of one moment, so the text leaves them out: it stands in the health, which is compared.
    DiskFull { free_bytes: u64, needed_bytes: u64 },

    #[error("the write-ahead log could not be written; nothing was stored, try again shortly")]
    WalWrite(#[source] std::io::Error),

    #[error("storage is closed")]
    Closed,

    #[error(
        "the data directory {path} is in use by process {pid}; stop it, or choose another with --data-dir"
    )]
    DirectoryInUse { path: PathBuf, pid: String },

    #[error("{path}: {doing}")]
    Io {
        path: PathBuf,
        doing: &'static str,
        #[source]
        source: std::io::Error,
    },

    #[error("{path} is damaged at byte {offset}: {reason}")]
    CorruptSegment { path: PathBuf, offset: u64, reason: &'static str },

    #[error(
        "acknowledged log entries {first} to {last} in {path} cannot be read and storage.wal_on_corruption is \"refuse\"; \
         set it to \"salvage\" to recover everything else"
    )]
    RefusedCorruption { path: PathBuf, first: SequenceNumber, last: SequenceNumber },

    #[error(
        "the data file {file} is damaged: its checksum is not the one it was written with; restore it from a backup, \
         or run `alula verify`"
    )]
    CorruptFile { file: String },

    #[error("there is no data directory {path}; choose another with --data-dir")]
    NoDataDirectory { path: PathBuf },

    #[error("{path} and {other} belong to different data directories; move one of them away")]
    SeveralStores { path: PathBuf, other: PathBuf },

    #[error("{path} and {other} have the same tenant under two names; move one of them away")]
    SeveralTenants { path: PathBuf, other: PathBuf },

    #[error("the data file {file} is missing; restore it from a backup, or run `alula verify`")]
    MissingFile { file: String },

    #[error(
        "not one of the {num_files} data files of the catalog is in {path}: it seems not to be mounted, or was removed; \
         mount it, or restore a backup; if the files are gone for good, `alula verify --repair --force` builds a catalog \
         without them"
    )]
    NoDataFiles { path: PathBuf, num_files: usize },

    #[error(
        "{path} belongs to another catalog than the one in this data directory, or its catalog was lost; {REPAIR}"
    )]
    ForeignFile { path: PathBuf },

    #[error(
        "{path} has rows that neither the catalog nor the log knows: the catalog is not the latest; {REPAIR}"
    )]
    OutdatedCatalog { path: PathBuf },

    #[error("the object store of the remote tier does not answer: cannot {doing}; try again later")]
    RemoteUnavailable {
        doing: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    #[error("stored rows are in the remote tier, and storage.remote_url is not set; set it to what it was")]
    RemoteNotConfigured,

    #[error(
        "the objects in the remote tier belong to another data directory, of which this one is a copy; nothing is moved \
         there and nothing is removed from there, see docs/remote.md"
    )]
    RemoteOwned,

    #[error(
        "the object store of the remote tier has no object for the data file {file}; restore it from a backup"
    )]
    MissingObject { file: String },

    #[error("{given:?} is no URL of a remote tier: {reason}")]
    InvalidRemoteUrl { given: String, reason: &'static str },

    #[error(
        "the remote tier cannot be set up; see docs/remote.md for the environment variables that it reads"
    )]
    RemoteSetup(#[source] Box<dyn std::error::Error + Send + Sync>),

    #[error("the rows of the data file {file} are not in the order of its table")]
    UnsortedFile { file: String },

    #[error("the data file {file} has other rows than the catalog says; run `alula verify`")]
    MiscountedFile { file: String },

    #[error(
        "the output of a compaction differs from its inputs in {what}, and was dropped; the inputs are {files}"
    )]
    CompactionMismatch { files: String, what: &'static str },

    #[error("{path} has format version {found}, this version of alula reads up to {known}; use a newer one")]
    NewerFormat { path: PathBuf, found: u32, known: u32 },

    #[error("log entry {seq} cannot be decoded")]
    Undecodable {
        seq: SequenceNumber,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    #[error(
        "the log holds more rows than fit into memory (storage.max_buffer_bytes is {limit_bytes}), and they cannot be \
         moved into data files; free some space on the disk, or raise the setting"
    )]
    ReplayBlocked {
        limit_bytes: usize,
        #[source]
        source: Box<Error>,
    },

    #[error("cannot write the {signal} of tenant {tenant} to data files")]
    FlushTable {
        tenant: TenantId,
        signal: Signal,
        #[source]
        source: Box<Error>,
    },

    #[error(
        "the predicate of a deletion has {bytes} bytes, and may have {limit_bytes}: delete in several statements"
    )]
    PredicateTooLong { bytes: usize, limit_bytes: usize },

    #[error(
        "the table has {limit} deletions that its files are not free of yet: run VACUUM, which rewrites them, \
         and try again"
    )]
    TooManyDeletions { limit: usize },

    #[error("another deletion took place meanwhile; count again")]
    DeletedMeanwhile,

    #[error("deletion {deletion} cannot be applied to the rows of its table")]
    Predicate {
        deletion: u64,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    #[error("the rows of an entry do not have the schema of their table")]
    WrongSchema,

    #[error(transparent)]
    UserTable(#[from] UserTableError),

    #[error("catalog error")]
    Catalog(#[from] alula_catalog::Error),

    #[error("arrow error")]
    Arrow(#[from] arrow::error::ArrowError),

    #[error("parquet error in {path}")]
    Parquet {
        path: PathBuf,
        #[source]
        source: ::parquet::errors::ParquetError,
    },

    #[error("a storage thread ended: {0}")]
    ThreadEnded(&'static str),

    #[error("a bug in alula ended {0}; the log says where")]
    Panicked(&'static str),
}

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The input can never be stored as it is.
    InvalidInput,
    /// Too large for a configured limit.
    ResourceExhausted,
    /// Try again later.
    Unavailable,
    /// Stored bytes are damaged.
    Corrupted,
    /// Nothing the caller can do.
    Internal,
}

impl Error {
    /// For `map_err`: what was being done to which path when the disk failed.
    pub(crate) fn io(path: &Path, doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, doing, source }
    }

    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoDataDirectory { .. }
            | Self::WrongSchema
            | Self::InvalidRemoteUrl { .. }
            | Self::RemoteSetup(_) => ErrorKind::InvalidInput,
            Self::TooLarge { .. } | Self::PredicateTooLong { .. } | Self::TooManyDeletions { .. } => {
                ErrorKind::ResourceExhausted
            }
            Self::Overloaded { .. }
            | Self::ReadOnly { .. }
            | Self::DiskFull { .. }
            | Self::WalWrite(_)
            | Self::Closed
            | Self::DeletedMeanwhile
            | Self::RemoteUnavailable { .. }
            | Self::RemoteNotConfigured
            | Self::RemoteOwned
            | Self::DirectoryInUse { .. } => ErrorKind::Unavailable,
            // The first entry of a tenant on a full disk: the sender keeps it and tries again.
            Self::Catalog(error) if error.is_temporary() => ErrorKind::Unavailable,
            Self::UserTable(error) => error.kind(),
            Self::FlushTable { source, .. } | Self::ReplayBlocked { source, .. } => source.kind(),
            Self::CorruptSegment { .. }
            | Self::CorruptFile { .. }
            | Self::MissingFile { .. }
            | Self::NoDataFiles { .. }
            | Self::SeveralStores { .. }
            | Self::SeveralTenants { .. }
            | Self::ForeignFile { .. }
            | Self::OutdatedCatalog { .. }
            | Self::UnsortedFile { .. }
            | Self::MiscountedFile { .. }
            | Self::MissingObject { .. }
            | Self::RefusedCorruption { .. }
            | Self::NewerFormat { .. }
            | Self::Undecodable { .. }
            | Self::Predicate { .. } => ErrorKind::Corrupted,
            Self::Io { .. }
            | Self::Catalog(_)
            | Self::Arrow(_)
            | Self::Parquet { .. }
            | Self::CompactionMismatch { .. }
            | Self::ThreadEnded(_)
            | Self::Panicked(_) => ErrorKind::Internal,
        }
    }
}
