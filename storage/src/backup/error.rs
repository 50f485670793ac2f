//! What can go wrong in a backup or a restore, named after what the operator can do about it.

use std::path::PathBuf;

use crate::remote::Failure;

/// The result of a step of a backup or a restore.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why there is no backup, or no restored store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{path} holds no store: it has no catalog.db")]
    NotAStore { path: PathBuf },

    #[error("another backup of {path} is running (process {pid}); wait for its end")]
    BackupRunning { path: PathBuf, pid: String },

    #[error("backups cannot be kept at {given:?}: {reason}")]
    InvalidLocation { given: String, reason: String },

    #[error("the backup's file {file} is damaged: {reason}; restore another snapshot")]
    Damaged { file: String, reason: &'static str },

    #[error(
        "the backup's file {file} has format version {found}, this version of alula reads up to {known}; use a newer one"
    )]
    NewerFormat { file: String, found: u32, known: u32 },

    #[error("{location} holds no backup")]
    NoBackup { location: String },

    #[error("{location} has no snapshot {wanted:?}; it has {available}")]
    NoSnapshot { location: String, wanted: String, available: String },

    #[error("{location} has snapshots of several stores; name one: {available}")]
    SeveralStores { location: String, available: String },

    #[error("the directory {path} is not empty")]
    NotEmpty { path: PathBuf },

    #[error("a restore into {path} did not end, so it holds a part of a store only; repeat the restore")]
    RestoreUnfinished { path: PathBuf },

    #[error("the data file {file} is part of the store and is missing; run `alula verify`")]
    MissingDataFile { file: String },

    #[error("the store changed faster than it could be listed; try again")]
    Unsettled,

    #[error("a file of the backup was removed while it was being made: {file}; try again")]
    Removed { file: String },

    #[error("the snapshot {snapshot} was made, but older ones could not be removed")]
    NotPruned {
        snapshot: String,
        #[source]
        source: Box<Error>,
    },

    #[error("interrupted")]
    Interrupted,

    #[error("{location}: {doing} {name}")]
    ObjectStore {
        location: String,
        doing: &'static str,
        name: String,
        #[source]
        source: Box<Failure>,
    },

    #[error(transparent)]
    Storage(#[from] crate::Error),

    #[error(transparent)]
    Catalog(#[from] alula_catalog::Error),
}

/// What the operator is to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// What was asked for: nothing was tried.
    Usage,
    /// The object store did not answer, or not as it should.
    Unreachable,
    /// The credentials for the object store.
    NotAuthorised,
    Interrupted,
    /// The store, the backup or the disk.
    Failed,
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotAStore { .. }
            | Self::InvalidLocation { .. }
            | Self::NoSnapshot { .. }
            | Self::SeveralStores { .. }
            | Self::NotEmpty { .. } => ErrorKind::Usage,
            Self::Interrupted => ErrorKind::Interrupted,
            Self::ObjectStore { source, .. } => match source.as_ref() {
                Failure::TimedOut(_) => ErrorKind::Unreachable,
                Failure::Store(error) => match error.as_ref() {
                    object_store::Error::Unauthenticated { .. }
                    | object_store::Error::PermissionDenied { .. } => ErrorKind::NotAuthorised,
                    object_store::Error::Generic { .. } => ErrorKind::Unreachable,
                    _ => ErrorKind::Failed,
                },
                Failure::Damaged | Failure::Cache(_) => ErrorKind::Failed,
            },
            Self::NotPruned { source, .. } => source.kind(),
            Self::BackupRunning { .. }
            | Self::Damaged { .. }
            | Self::NewerFormat { .. }
            | Self::NoBackup { .. }
            | Self::RestoreUnfinished { .. }
            | Self::MissingDataFile { .. }
            | Self::Unsettled
            | Self::Removed { .. }
            | Self::Storage(_)
            | Self::Catalog(_) => ErrorKind::Failed,
        }
    }
}
