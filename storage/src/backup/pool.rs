//! [`Pool`]: the data files that all snapshots share, and what a backup adds to them.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use alula_catalog::FileId;

use super::manifest::{Checksum, POOL, PoolFile};
use super::target::{CHUNK_BYTES, Existing, Source, Target};
use super::{Error, Progress, Result};
use crate::checksum::Hasher;
use crate::data_files::StoredFile;
use crate::disk::Disk;

/// The pool of a target.
#[derive(Debug)]
pub(super) struct Pool<'a> {
    target: &'a dyn Target,
    disk: &'a dyn Disk,
    progress: &'a Progress,
    /// Sizes of the files that were there at the start, by name.
    found: HashMap<String, u64>,
    /// Files that are there are read and compared with their checksums.
    verify: bool,
    filled: Mutex<Filled>,
}

/// What was done to the pool.
#[derive(Debug, Default)]
pub(super) struct Filled {
    done: HashSet<FileId>,
    /// Files that were to be copied and were not there.
    gone: Vec<FileId>,
    pub new_files: u64,
    pub new_bytes: u64,
    pub repaired_files: u64,
}

/// How the pool has a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Had {
    Sound,
    Damaged,
    Not,
}

impl<'a> Pool<'a> {
    pub(super) fn list(
        target: &'a dyn Target,
        disk: &'a dyn Disk,
        progress: &'a Progress,
        verify: bool,
    ) -> Result<Self> {
        let found = sizes(target)?;
        Ok(Self { target, disk, progress, found, verify, filled: Mutex::default() })
    }

    /// Whether a backup may need the store's own file.
    pub(super) fn needs(&self, file: &dyn StoredFile) -> bool {
        let file = PoolFile::of(file);
        self.verify || self.found.get(&file.name()) != Some(&file.size_bytes)
    }

    /// Sees to it that a file is there, taken from `held`.
    ///
    /// That it is gone from there is no error: see [`Self::take_gone`].
    pub(super) fn fill(&self, file: &dyn StoredFile, held: &Path, snapshot: &str) -> Result<()> {
        if self.filled().done.contains(&file.id()) {
            return Ok(());
        }
        self.progress.check()?;
        let pooled = PoolFile::of(file);
        let had = self.look_up(&pooled)?;
        if had != Had::Sound {
            let opened = match self.disk.open(held) {
                Ok(opened) => opened,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.filled().gone.push(file.id());
                    return Ok(());
                }
                Err(error) => return Err(crate::Error::io(held, "cannot open the data file")(error).into()),
            };
            let source = Source {
                path: held,
                file: opened,
                size_bytes: pooled.size_bytes,
                checksum: Some(pooled.blake3),
                may_be_linked: true,
                progress: self.progress,
            };
            let existing = if had == Had::Damaged { Existing::Replace } else { Existing::Keep };
            self.target.put(&pooled.name(), snapshot, &source, existing)?;
        }
        let mut filled = self.filled();
        filled.done.insert(file.id());
        match had {
            Had::Sound => {}
            Had::Damaged => filled.repaired_files += 1,
            Had::Not => {
                filled.new_files += 1;
                filled.new_bytes += pooled.size_bytes;
            }
        }
        drop(filled);
        self.progress.add_file(pooled.size_bytes);
        Ok(())
    }

    /// Files that were gone when they were to be read.
    pub(super) fn take_gone(&self) -> Vec<FileId> {
        std::mem::take(&mut self.filled().gone)
    }

    /// Makes what was added durable, and looks whether all of `files` are there: another backup of the same store may have
    /// removed what it did not know to be needed.
    ///
    /// # Errors
    /// `Removed`.
    pub(super) fn finish(self, files: &[PoolFile]) -> Result<Filled> {
        self.target.sync()?;
        let found = sizes(self.target)?;
        match files.iter().find(|file| found.get(&file.name()) != Some(&file.size_bytes)) {
            Some(file) => Err(Error::Removed { file: file.name() }),
            None => Ok(self.filled.into_inner().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    fn look_up(&self, file: &PoolFile) -> Result<Had> {
        match self.found.get(&file.name()) {
            None => Ok(Had::Not),
            Some(size_bytes) if *size_bytes != file.size_bytes => Ok(Had::Damaged),
            Some(_) if !self.verify => Ok(Had::Sound),
            Some(_) => match checksum_of(self.target, &file.name(), file.size_bytes, self.progress) {
                Ok(found) if found == file.blake3 => Ok(Had::Sound),
                // A sector that cannot be read is as bad as one that reads as something else.
                Ok(_) | Err(Error::Storage(crate::Error::Io { .. }) | Error::Damaged { .. }) => {
                    Ok(Had::Damaged)
                }
                Err(error) => Err(error),
            },
        }
    }

    fn filled(&self) -> MutexGuard<'_, Filled> {
        self.filled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sizes(target: &dyn Target) -> Result<HashMap<String, u64>> {
    Ok(target.list(POOL)?.into_iter().map(|file| (file.name, file.size_bytes)).collect())
}

/// Reads a file of a backup.
fn checksum_of(target: &dyn Target, name: &str, size_bytes: u64, progress: &Progress) -> Result<Checksum> {
    let mut hasher = Hasher::default();
    let mut at = 0;
    while at < size_bytes {
        progress.check()?;
        let length = CHUNK_BYTES.min((size_bytes - at) as usize);
        hasher.update(&target.read(name, at, length)?);
        at += length as u64;
    }
    Ok(Checksum::finish(&hasher))
}
