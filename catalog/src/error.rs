//! What can go wrong between a program and its catalog.

use std::path::PathBuf;

use rusqlite::ErrorCode;

use crate::{FileId, SequenceNumber, UserTableId};

/// An error and its sources, as one line: what the edges log, or tell a client whose mistake it was.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}

/// The result of a catalog operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a name was refused or the catalog could not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(
        "invalid tenant id {given:?}: use 1 to 63 of a-z, 0-9, '-' and '_', starting with a letter or digit"
    )]
    InvalidTenantId { given: String },

    #[error("cannot open the database {path}")]
    Open {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },

    #[error("cannot take the lock {path}")]
    Lock {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },

    #[error(
        "the database {path} was written by a newer version of alula (schema {found}, this one knows {known}); use that version"
    )]
    NewerSchema { path: PathBuf, found: i64, known: i64 },

    #[error("cannot bring the database {path} to this version's schema")]
    Migrate {
        path: PathBuf,
        #[source]
        source: refinery::Error,
    },

    #[error("the catalog {path} {damage}; `alula verify --repair` builds it anew from the data files")]
    DamagedCatalog { path: PathBuf, damage: CatalogDamage },

    #[error("cannot keep the mark beside the catalog {path}")]
    Mark {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },

    #[error(
        "SQLite refused the settings that make {path} durable (journal_mode={journal_mode}, synchronous={synchronous}); \
         keep it on a local file system"
    )]
    NotDurable { path: PathBuf, journal_mode: String, synchronous: i64 },

    #[error(
        "log entries from {first_seq} on are to be flushed, but all up to {flushed_seq} are in data files already"
    )]
    AlreadyFlushed { first_seq: SequenceNumber, flushed_seq: SequenceNumber },

    #[error("the data file {file} is not part of the store in the way it should be; nothing was changed")]
    NotLive { file: FileId },

    #[error("no loss {id} is on record; nothing was acknowledged")]
    UnknownLoss { id: u64 },

    #[error("the user table {table} was changed by another transaction; nothing was changed")]
    UserTableChanged { table: UserTableId },

    #[error("the database {path} is damaged: {detail}; restore it from a backup")]
    Damaged { path: PathBuf, detail: String },

    #[error("catalog database error")]
    Database(#[from] rusqlite::Error),

    #[error("the catalog's table {table} holds an impossible value: {detail}")]
    InvalidRow { table: &'static str, detail: String },
}

/// Why a catalog must not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogDamage {
    #[error("is missing or empty")]
    Missing,
    /// What SQLite says.
    #[error("is damaged: {0}")]
    Structure(String),
    #[error("is damaged: rows of its table {table} are not what was written")]
    Rows { table: String },
    #[error("is not the latest: it has {found} changes of {expected}")]
    Outdated { found: u64, expected: u64 },
}

impl Error {
    /// Whether the same call may succeed later: the disk is full or fails, or someone else holds the database.
    pub fn is_temporary(&self) -> bool {
        let Self::Database(rusqlite::Error::SqliteFailure(failure, _)) = self else { return false };
        matches!(
            failure.code,
            ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
        )
    }
}

/// Whether the error is about the machine rather than about what is in a database.
pub(crate) fn is_of_the_machine(error: &rusqlite::Error) -> bool {
    let rusqlite::Error::SqliteFailure(failure, _) = error else { return false };
    matches!(
        failure.code,
        ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::OutOfMemory
            | ErrorCode::NoLargeFileSupport
    ) || (failure.code == ErrorCode::SystemIoFailure
        && failure.extended_code != rusqlite::ffi::SQLITE_IOERR_SHORT_READ)
}
