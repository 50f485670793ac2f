//! What can go wrong in storage, named after what the caller can do about it.

use std::path::{Path, PathBuf};

use alula_catalog::SequenceNumber;

/// The result of a storage operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why storage could not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{what} is full ({limit} {unit}); try again shortly")]
    Overloaded { what: &'static str, limit: usize, unit: &'static str },

    #[error("an entry of {bytes} bytes is larger than the write-ahead log takes ({limit_bytes} bytes)")]
    TooLarge { bytes: usize, limit_bytes: usize },

    #[error(
        "storage is read-only since the disk failed: {reason}; restart the server once the disk is sound"
    )]
    ReadOnly { reason: String },

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

    #[error("{path} has format version {found}, this version of alula reads up to {known}; use a newer one")]
    NewerFormat { path: PathBuf, found: u32, known: u32 },

    #[error("log entry {seq} cannot be decoded")]
    Undecodable {
        seq: SequenceNumber,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    #[error("the rows of an entry do not have the schema of their table")]
    WrongSchema,

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
            Self::WrongSchema => ErrorKind::InvalidInput,
            Self::TooLarge { .. } => ErrorKind::ResourceExhausted,
            Self::Overloaded { .. }
            | Self::ReadOnly { .. }
            | Self::WalWrite(_)
            | Self::Closed
            | Self::DirectoryInUse { .. } => ErrorKind::Unavailable,
            // The first entry of a tenant on a full disk: the sender keeps it and tries again.
            Self::Catalog(error) if error.is_temporary() => ErrorKind::Unavailable,
            Self::CorruptSegment { .. }
            | Self::CorruptFile { .. }
            | Self::RefusedCorruption { .. }
            | Self::NewerFormat { .. }
            | Self::Undecodable { .. } => ErrorKind::Corrupted,
            Self::Io { .. }
            | Self::Catalog(_)
            | Self::Arrow(_)
            | Self::Parquet { .. }
            | Self::ThreadEnded(_) => ErrorKind::Internal,
        }
    }
}
