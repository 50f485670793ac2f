//! From a data directory that is in use to a state of it that holds still: the log's tail, the catalog, and its files.
//!
//! The order, and the proof, is in [`super`].

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alula_catalog::{Catalog, DataFile, FileId, SequenceNumber, Tier, copy_database};

use super::staging::Staging;
use super::wal_tail::WalTail;
use super::{Error, Progress, Result};
use crate::data_files::StoredFile;
use crate::layout::Layout;

/// Attempts at a log and a catalog that fit together, and at finding all of the catalog's files: each takes one more only
/// if the server was as fast as the attempt.
const ATTEMPTS: usize = 50;

/// A state of the store, in the staging directory.
#[derive(Debug)]
pub(super) struct Capture {
    pub tail: WalTail,
    pub store_uuid: [u8; 16],
    pub flushed_seq: SequenceNumber,
    /// Live files of the local tier, and those of user tables.
    pub local: Vec<Arc<dyn StoredFile>>,
    /// Live files of the remote tier.
    pub remote: Vec<DataFile>,
}

/// Takes states of a data directory until one of them has all its files.
#[derive(Debug)]
pub(super) struct Capturing<'a> {
    layout: &'a Layout,
    staging: &'a Staging<'a>,
    progress: &'a Progress,
    tail: Option<WalTail>,
    /// Where each file can be read: the second name that it has in the staging directory, or its own.
    held: BTreeMap<FileId, PathBuf>,
    /// Files that were not there.
    missing: Vec<FileId>,
    attempts: usize,
}

impl<'a> Capturing<'a> {
    pub(super) fn new(layout: &'a Layout, staging: &'a Staging<'a>, progress: &'a Progress) -> Self {
        Self {
            layout,
            staging,
            progress,
            tail: None,
            held: BTreeMap::new(),
            missing: Vec::new(),
            attempts: 0,
        }
    }

    /// Takes a state, and holds every file of it that is `wanted` by a second name. The server may remove its own name at
    /// any time from then on.
    ///
    /// Where second names cannot be made, a file may have gone by the time it is read: see [`Self::take_again`].
    ///
    /// # Errors
    /// `MissingDataFile` — it is missing although the store has it. `Unsettled`.
    pub(super) fn take(&mut self, wanted: impl Fn(&dyn StoredFile) -> bool) -> Result<Capture> {
        while self.attempts < ATTEMPTS {
            self.attempts += 1;
            self.progress.check()?;
            let tail = match self.tail.take() {
                Some(tail) => tail,
                None => WalTail::copy(self.layout, &self.staging.wal_dir(), self.progress)?,
            };
            let catalog = self.copy_catalog()?;
            let live = catalog.live_files()?;
            if !tail.still_holds(self.layout)? {
                continue;
            }
            let (remote, local): (Vec<_>, Vec<_>) =
                live.into_iter().partition(|file| file.tier == Tier::Remote);
            let local = local.into_iter().map(|file| Arc::new(file) as Arc<dyn StoredFile>);
            let of_user_tables =
                catalog.live_user_files()?.into_iter().map(|file| Arc::new(file) as Arc<dyn StoredFile>);
            let local: Vec<_> = local.chain(of_user_tables).collect();
            // Gone before, and the catalog still has it: it is lost.
            if let Some(file) = local.iter().find(|file| self.missing.contains(&file.id())) {
                return Err(Error::MissingDataFile { file: Layout::data_file_name(file) });
            }
            self.missing =
                self.hold(local.iter().map(AsRef::as_ref).filter(|file| wanted(*file))).into_iter().collect();
            if !self.missing.is_empty() {
                self.tail = Some(tail);
                continue;
            }
            let (store_uuid, flushed_seq) = (catalog.store_uuid()?, catalog.flushed_seq()?);
            return Ok(Capture { tail, store_uuid, flushed_seq, local, remote });
        }
        Err(Error::Unsettled)
    }

    /// Goes back to the state before `capture`, of which some files were not there when they were read.
    pub(super) fn take_again(&mut self, capture: Capture, missing: Vec<FileId>) {
        for id in &missing {
            self.held.remove(id);
        }
        self.missing = missing;
        self.tail = Some(capture.tail);
    }

    /// Where a held file can be read.
    pub(super) fn path(&self, file: FileId) -> Option<&Path> {
        self.held.get(&file).map(PathBuf::as_path)
    }

    /// The catalog as it is at one instant.
    ///
    /// # Errors
    /// `Catalog` — also if it has lost something of what was committed: that is no state to go back to.
    fn copy_catalog(&self) -> Result<Catalog> {
        let path = self.staging.new_catalog()?;
        let from = self.layout.root().join(Catalog::FILE_NAME);
        // Before the database, as it may only be behind. Without it, or with a part of it, less is noticed.
        let _ = std::fs::copy(mark_beside(&from), mark_beside(&path));
        copy_database(&from, &path)?;
        Ok(Catalog::inspect(&path)?)
    }

    /// Gives files second names. Returns one that is not there, if any.
    fn hold<'f>(&mut self, files: impl Iterator<Item = &'f dyn StoredFile>) -> Option<FileId> {
        let disk = self.layout.disk();
        for file in files {
            if self.held.contains_key(&file.id()) {
                continue;
            }
            let path = self.layout.data_file(file);
            let second = self.staging.data_file(file.id());
            match disk.hard_link(&path, &second) {
                Ok(()) => {
                    self.held.insert(file.id(), second);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(file.id()),
                // The data is on another file system than the data directory, or on one without links.
                Err(_) => {
                    self.held.insert(file.id(), path);
                }
            }
        }
        None
    }
}

/// Where the catalog at `path` notes how much was committed.
fn mark_beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-mark");
    PathBuf::from(name)
}
