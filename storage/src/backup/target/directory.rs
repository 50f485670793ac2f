//! [`Directory`]: backups in a local directory.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Claim, Existing, Listed, Source, Target};
use crate::Error;
use crate::backup::manifest::{Checksum, FILE_LIST, POOL, SNAPSHOTS, WAL, in_snapshot};
use crate::backup::{Error as BackupError, Result};
use crate::disk::{Disk, create_dir_durably, create_durably, read_exact_at, sync_dir};

#[derive(Debug)]
pub(in crate::backup) struct Directory {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    /// Directories with names that are not durable yet.
    unsynced: Mutex<BTreeSet<PathBuf>>,
}

impl Directory {
    pub(in crate::backup) fn new(root: PathBuf, disk: Arc<dyn Disk>) -> Self {
        Self { root, disk, unsynced: Mutex::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn note_unsynced(&self, dir: &Path) {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.to_owned());
    }

    /// Sees to names that an earlier backup made and was killed before it had synced them: what is found is relied on.
    fn adopt(&self) {
        self.note_unsynced(&self.root);
        self.note_unsynced(&self.root.join(POOL));
        for dir in self.root.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty()) {
            // Whoever may not do this to a directory has not made the next one in it.
            let _ = self.disk.sync_dir(dir);
        }
    }

    /// The directory of a file, which is made if need be.
    fn parent(&self, path: &Path) -> Result<PathBuf> {
        let dir = path.parent().unwrap_or(&self.root).to_owned();
        create_dir_durably(self.disk.as_ref(), &dir)?;
        Ok(dir)
    }

    fn list_into(&self, dir: &str, found: &mut Vec<Listed>) -> Result<()> {
        let path = self.path(dir);
        let entries = match self.disk.list(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io(&path, "cannot list the directory")(error).into()),
        };
        for entry in entries {
            // What is not text is not ours.
            let Some(name) = entry.name.to_str() else { continue };
            let name = format!("{dir}/{name}");
            if entry.is_dir {
                self.list_into(&name, found)?;
                continue;
            }
            let path = self.path(&name);
            match self.disk.file_len(&path) {
                Ok(size_bytes) => found.push(Listed { name, size_bytes }),
                // Renamed or removed since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io(&path, "cannot read the file's size")(error).into()),
            }
        }
        Ok(())
    }

    /// Copies a file under a temporary name, and gives it its own when all of it is on disk.
    fn copy(&self, source: &Source<'_>, path: &Path, temporary: &Path) -> Result<Checksum> {
        let file = self.disk.create(temporary).map_err(Error::io(temporary, "cannot create the file"))?;
        let checksum = source.read(|bytes, at| {
            let written = file.write_all_at(&bytes, at);
            Ok(written.map_err(Error::io(temporary, "cannot write the file"))?)
        })?;
        file.sync_data().map_err(Error::io(temporary, "cannot sync the file"))?;
        self.disk.rename(temporary, path).map_err(Error::io(path, "cannot rename the file"))?;
        Ok(checksum)
    }

    /// Whether the file could be given a second name.
    fn link(&self, source: &Source<'_>, path: &Path) -> bool {
        match self.disk.hard_link(source.path, path) {
            Ok(()) => true,
            // The same, of an earlier attempt or of another backup.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.disk.file_len(path).is_ok_and(|found| found == source.size_bytes)
            }
            // Another file system, or one without links.
            Err(_) => false,
        }
    }
}

impl Target for Directory {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    fn list(&self, dir: &str) -> Result<Vec<Listed>> {
        let mut found = Vec::new();
        self.list_into(dir, &mut found)?;
        Ok(found)
    }

    fn read(&self, name: &str, offset: u64, length: usize) -> Result<Vec<u8>> {
        let path = self.path(name);
        let read = || read_exact_at(self.disk.open(&path)?.as_ref(), length, offset);
        let damaged = |reason| BackupError::Damaged { file: path.display().to_string(), reason };
        read().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => damaged("it is missing"),
            io::ErrorKind::UnexpectedEof => damaged("it is too short"),
            _ => Error::io(&path, "cannot read the file")(error).into(),
        })
    }

    fn claim(&self, snapshot: &str, file_list: &[u8]) -> Result<Claim> {
        let snapshots = self.path(SNAPSHOTS);
        create_dir_durably(self.disk.as_ref(), &snapshots)?;
        self.adopt();
        let dir = snapshots.join(snapshot);
        match self.disk.create_dir(&dir) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(Claim::Taken),
            Err(error) => return Err(Error::io(&dir, "cannot create the directory")(error).into()),
        }
        sync_dir(self.disk.as_ref(), &snapshots)?;
        self.write(&in_snapshot(snapshot, FILE_LIST), file_list)?;
        Ok(Claim::Made)
    }

    fn put(&self, name: &str, snapshot: &str, source: &Source<'_>, existing: Existing) -> Result<Checksum> {
        let path = self.path(name);
        let dir = self.parent(&path)?;
        self.note_unsynced(&dir);
        if source.may_be_linked && existing == Existing::Keep {
            // Before the link: a damaged file must not get into the pool.
            let checksum = source.read(|_, _| Ok(()))?;
            if self.link(source, &path) {
                return Ok(checksum);
            }
        }
        let temporary = self.path(&format!("{name}.{snapshot}.tmp"));
        self.copy(source, &path, &temporary).inspect_err(|_| {
            let _ = self.disk.remove_file(&temporary);
        })
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(name);
        self.parent(&path)?;
        create_durably(self.disk.as_ref(), &path, |file| file.write_all_at(bytes, 0))
            .map_err(Error::io(&path, "cannot write the file"))?;
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let unsynced = std::mem::take(&mut *self.unsynced.lock().unwrap_or_else(PoisonError::into_inner));
        for dir in unsynced {
            match self.disk.sync_dir(&dir) {
                Ok(()) => {}
                // With all that was in it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io(&dir, "cannot sync the directory")(error).into()),
            }
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        match self.disk.remove_file(&path) {
            Ok(()) => {
                self.note_unsynced(path.parent().unwrap_or(&self.root));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::io(&path, "cannot remove the file")(error).into()),
        }
    }

    fn remove_snapshot(&self, snapshot: &str) -> Result<()> {
        let dir = self.path(SNAPSHOTS).join(snapshot);
        for dir in [dir.join(WAL), dir] {
            match self.disk.remove_dir(&dir) {
                Ok(()) => self.note_unsynced(dir.parent().unwrap_or(&self.root)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io(&dir, "cannot remove the directory")(error).into()),
            }
        }
        Ok(())
    }
}
