//! [`Staging`]: a directory beside the data, where everything that the server may remove is held fast first.
//!
//! ```text
//! <data directory>/backup.lock     held while a backup runs; holds its process id
//! <data directory>/backup.tmp/     catalog/catalog.db, auth.db, wal/, files/<id>.parquet (second names of live files)
//! ```

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use alula_catalog::FileId;

use super::manifest::{CATALOG, KEYS, POOL, PoolId, WAL};
use super::{Error, Result};
use crate::disk::Disk;
use crate::layout::Layout;
use crate::lock_file::{Lock, take_lock, write_pid};

/// The staging directory of one backup, which is empty at first and removed with this value.
#[derive(Debug)]
pub(super) struct Staging<'a> {
    layout: &'a Layout,
    dir: PathBuf,
    /// One backup at a time: the other would remove what this one holds.
    _lock: File,
}

impl<'a> Staging<'a> {
    /// Removes what an interrupted backup left.
    ///
    /// # Errors
    /// `BackupRunning`.
    pub(super) fn open(layout: &'a Layout) -> Result<Self> {
        let lock = lock(layout.root())?;
        let dir = layout.root().join("backup.tmp");
        remove_tree(layout.disk(), &dir)?;
        let staging = Self { layout, dir, _lock: lock };
        for dir in [staging.dir.clone(), staging.wal_dir(), staging.dir.join(POOL)] {
            let made = layout.disk().create_dir(&dir);
            made.map_err(crate::Error::io(&dir, "cannot create the directory"))?;
        }
        Ok(staging)
    }

    /// Where the latest copy of the catalog is.
    pub(super) fn catalog(&self) -> PathBuf {
        self.catalog_dir().join(CATALOG)
    }

    /// Where the next copy of the catalog goes, with nothing left there of the one before.
    pub(super) fn new_catalog(&self) -> Result<PathBuf> {
        let dir = self.catalog_dir();
        remove_tree(self.layout.disk(), &dir)?;
        self.layout.disk().create_dir(&dir).map_err(crate::Error::io(&dir, "cannot create the directory"))?;
        Ok(self.catalog())
    }

    fn catalog_dir(&self) -> PathBuf {
        self.dir.join("catalog")
    }

    pub(super) fn keys(&self) -> PathBuf {
        self.dir.join(KEYS)
    }

    pub(super) fn wal_dir(&self) -> PathBuf {
        self.dir.join(WAL)
    }

    /// The second name of a live file.
    pub(super) fn data_file(&self, id: FileId) -> PathBuf {
        self.dir.join(PoolId(id).file_name())
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        // What stays is removed by the next backup.
        let _ = remove_tree(self.layout.disk(), &self.dir);
    }
}

fn lock(root: &Path) -> Result<File> {
    let path = root.join("backup.lock");
    let mut file = match take_lock(&path)? {
        Lock::Ours(file) => file,
        Lock::Taken { pid } => return Err(Error::BackupRunning { path: root.to_owned(), pid }),
    };
    write_pid(&mut file).map_err(crate::Error::io(&path, "cannot write the lock file"))?;
    Ok(file)
}

/// Removes a directory and all that is in it, if it is there.
pub(super) fn remove_tree(disk: &dyn Disk, dir: &Path) -> Result<()> {
    let entries = match disk.list(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(crate::Error::io(dir, "cannot list the directory")(error).into()),
    };
    for entry in entries {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            remove_tree(disk, &path)?;
        } else {
            disk.remove_file(&path).map_err(crate::Error::io(&path, "cannot remove the file"))?;
        }
    }
    Ok(disk.remove_dir(dir).map_err(crate::Error::io(dir, "cannot remove the directory"))?)
}
