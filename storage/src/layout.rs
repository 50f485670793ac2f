//! Every path inside the data directory, and the disk that it is on.
//!
//! ```text
//! <data_dir>/
//!   LOCK                                                 held by the running server, holds its process id
//!   catalog.db                                           tenants, data files, flushed sequence number
//!   wal/<first sequence number, 20 digits>.wal           segments of the write-ahead log
//!   wal/mark                                             what of the log is certain, while nobody writes to it
//!   wal/quarantine/<segment>                             damaged segments, kept for a look
//!   data/<signal>/<tenant number>/YYYY/MM/DD/HH/<id>.parquet   rows of an hour
//!   data/<signal>/<tenant number>/YYYY/MM/DD/<id>.parquet      rows of a day, once it is compacted
//!   data/tables/<tenant number>/<table id>/<id>.parquet  rows of a user table; `.parquet.tmp` until they are committed
//!   data/quarantine/<id>.parquet                         files that are no part of the store and may hold lost rows
//!   cache/                                               blocks of remote files; may go at any time
//!   remote-owner                                         proves to the remote tier that it is ours
//!   remote-owner.given-up                                the same after a repair that may not know of every object
//!   backup.lock                                          held (flock) by a running backup; its process id
//!   backup.tmp/                                          where a running backup holds files by second names; one left is removed
//!   restore.tmp/                                         a restore that did not end; no server starts beside it
//! ```

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alula_catalog::{SequenceNumber, UserFile};

use crate::data_files::StoredFile;
use crate::disk::{Disk, create_dir_durably, sync_dir};
use crate::lock_file::{Lock, take_lock, write_pid};
use crate::{Error, Result};

/// The paths of one data directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
    disk: Arc<dyn Disk>,
}

impl Layout {
    pub(crate) fn new(root: PathBuf, disk: Arc<dyn Disk>) -> Self {
        Self { root, disk }
    }

    /// What all files below the root are read and written by.
    pub(crate) fn disk(&self) -> &dyn Disk {
        self.disk.as_ref()
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn wal_dir(&self) -> PathBuf {
        self.root.join("wal")
    }

    pub(crate) fn segment(&self, first_seq: SequenceNumber) -> PathBuf {
        self.wal_dir().join(format!("{:020}.wal", first_seq.0))
    }

    pub(crate) fn mark(&self) -> PathBuf {
        self.wal_dir().join("mark")
    }

    pub(crate) fn quarantine_dir(&self) -> PathBuf {
        self.wal_dir().join("quarantine")
    }

    pub(crate) fn data_root(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(crate) fn data_quarantine_dir(&self) -> PathBuf {
        self.data_root().join("quarantine")
    }

    pub(crate) fn cache_dir(&self) -> PathBuf {
        self.root.join("cache")
    }

    pub(crate) fn remote_owner(&self) -> PathBuf {
        self.root.join("remote-owner")
    }

    pub(crate) fn remote_owner_given_up(&self) -> PathBuf {
        self.root.join("remote-owner.given-up")
    }

    /// Where the files of user tables are.
    pub(crate) fn user_tables_dir(&self) -> PathBuf {
        self.data_root().join("tables")
    }

    /// Where a data file is, relative to [`Self::data_root`].
    pub(crate) fn data_file_name(file: &(impl StoredFile + ?Sized)) -> String {
        file.name()
    }

    pub(crate) fn data_file(&self, file: &(impl StoredFile + ?Sized)) -> PathBuf {
        self.data_root().join(file.name())
    }

    /// Where the file of a user table is until its transaction is committed.
    pub(crate) fn uncommitted(&self, file: &UserFile) -> PathBuf {
        self.data_file(file).with_extension("parquet.tmp")
    }

    /// Makes the root durable, and its name: whoever made it may not have.
    fn sync_root(&self) -> Result<()> {
        sync_dir(self.disk(), &self.root)?;
        let parent = self.root.parent().filter(|parent| !parent.as_os_str().is_empty());
        match sync_dir(self.disk(), parent.unwrap_or(Path::new("."))) {
            // The parent of a directory that was given to us may be closed to us; who made it sees to its name. The root of a
            // disk has none.
            Err(Error::Io { path, source, .. })
                if matches!(source.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound) =>
            {
                tracing::warn!(path = %path.display(), error = %source, "cannot sync the parent of the data directory");
                Ok(())
            }
            synced => synced,
        }
    }

    /// Takes the data directory for this process, until the returned file is dropped.
    ///
    /// The lock is of no use after a crash and so not written through [`Self::disk`].
    pub(crate) fn lock(&self) -> Result<File> {
        create_dir_durably(self.disk(), &self.root)?;
        // Where the disk is not the machine's.
        std::fs::create_dir_all(&self.root).map_err(Error::io(&self.root, "cannot create the directory"))?;
        self.sync_root()?;
        let path = self.root.join("LOCK");
        let mut file = match take_lock(&path)? {
            Lock::Ours(file) => file,
            Lock::Taken { pid } => return Err(Error::DirectoryInUse { path: self.root.clone(), pid }),
        };
        // On a full disk it has to do without.
        if let Err(error) = write_pid(&mut file) {
            tracing::warn!(path = %path.display(), %error, "cannot write the process id into the lock file");
        }
        Ok(file)
    }
}
