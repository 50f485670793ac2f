//! Compares the tree of data files with the catalog, at start.
//!
//! A file of the catalog that is missing is a loss, and put on record; but where not one of them is there, they are in another
//! place most likely, and the server does not start. A file that the catalog does not know was left by a
//! flush or a compaction that never committed, or was dropped and came back; it goes. But not before its footer was asked:
//! a file that holds rows which are in no other place means that the catalog is not the latest, and then nothing is removed
//! and the server does not start.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use alula_catalog::{Catalog, DataFile, FileId, SequenceNumber, Signal, Tier, UserTableId};

use crate::data_files::{DataFileReader, FileDamage, StoredFile};
use crate::disk::{create_dir_durably, sync_dir};
use crate::layout::Layout;
use crate::parquet::{Footer, UserFooter, is_data_file_name, read_footer, read_user_footer};
use crate::store::Store;
use crate::wal::recover;
use crate::{Error, Result};

/// So many files are not lost one by one.
const MANY_FILES: usize = 8;

/// Puts missing files on record and removes files that are no part of the store.
///
/// # Errors
/// `ForeignFile`, `OutdatedCatalog` — the catalog is not the one that these files belong to; nothing was removed. `NoDataFiles` —
/// the files are in another place; nothing went on record.
pub(crate) fn reconcile_files(store: &Store, live: &[DataFile]) -> Result<()> {
    let of_user_tables = store.catalog.live_user_files()?;
    let local = live.iter().filter(|file| file.tier == Tier::Local).map(|file| file as &dyn StoredFile);
    let local: Vec<_> = local.chain(of_user_tables.iter().map(|file| file as &dyn StoredFile)).collect();
    let tree = Tree::read(&store.layout);
    let missing = report_missing(store, &local, &tree)?;
    let known: HashSet<PathBuf> = local.iter().map(|file| store.layout.data_file(*file)).collect();
    let orphans: Vec<_> = tree.files.into_iter().filter(|path| !known.contains(path)).collect();
    let mut judge = Judge::new(&store.layout, &store.catalog, missing)?;
    // All of them before the first is removed: one may say that the catalog is the wrong one.
    let verdicts = orphans.iter().map(|path| judge.of(path)).collect::<Result<Vec<_>>>()?;
    let mut removed = 0;
    for (path, verdict) in orphans.iter().zip(verdicts) {
        let done = match verdict {
            Verdict::Remove => {
                removed += 1;
                store.layout.disk().remove_file(path).map_err(Error::io(path, "cannot remove the file"))
            }
            Verdict::SetAside(reason) => {
                tracing::error!(
                    file = %path.display(), reason,
                    "a file that is no part of the store may hold rows; it is kept in data/quarantine"
                );
                set_aside(&store.layout, path)
            }
        };
        if let Err(error) = done {
            tracing::warn!(
                error = alula_catalog::error_chain(&error),
                "a file that is no part of the store stays"
            );
        }
    }
    if removed > 0 {
        tracing::info!(removed, "removed files of flushes and compactions that had not been committed");
    }
    remove_empty_dirs(&store.layout, &tree.dirs);
    Ok(())
}

/// Moves a file to where nothing looks for rows.
pub(crate) fn set_aside(layout: &Layout, path: &Path) -> Result<()> {
    let dir = layout.data_quarantine_dir();
    create_dir_durably(layout.disk(), &dir)?;
    let target = dir.join(path.file_name().unwrap_or_default());
    layout
        .disk()
        .rename(path, &target)
        .map_err(Error::io(path, "cannot move the file to data/quarantine"))?;
    sync_dir(layout.disk(), &dir)?;
    sync_dir(layout.disk(), path.parent().unwrap_or(Path::new(".")))
}

/// Puts files on record that are not there, or not as long as they should be.
///
/// # Errors
/// `NoDataFiles`.
fn report_missing(store: &Store, files: &[&dyn StoredFile], tree: &Tree) -> Result<HashSet<FileId>> {
    let mut damaged = Vec::new();
    let num_files = files.len();
    let mut num_missing = 0;
    for file in files.iter().copied() {
        let path = store.layout.data_file(file);
        let expected = file.size_bytes();
        let damage = match store.layout.disk().file_len(&path) {
            Ok(found) if found == expected => continue,
            Ok(found) => FileDamage::Size { found, expected },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                num_missing += 1;
                FileDamage::Missing
            }
            // A query that needs it says so too, once it cannot open it.
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "cannot look at a data file");
                continue;
            }
        };
        damaged.push((file, damage));
    }
    // Few files may be lost one by one, but then the directories that they were in are still there, or they are on record.
    let is_elsewhere = num_files >= MANY_FILES || tree.is_empty();
    if num_missing == num_files && is_elsewhere && !all_on_record(store, &damaged) {
        return Err(Error::NoDataFiles { path: store.layout.data_root(), num_files });
    }
    store.data_files.report_all(&damaged);
    Ok(damaged.into_iter().map(|(file, _)| file.id()).collect())
}

/// Whether an earlier start, or a query, has found them all.
fn all_on_record(store: &Store, damaged: &[(&dyn StoredFile, FileDamage)]) -> bool {
    let losses = store.losses.listed();
    let on_record: HashSet<&str> = losses.iter().map(|recorded| recorded.loss.source.as_str()).collect();
    damaged
        .iter()
        .all(|(file, _)| on_record.contains(format!("data/{}", Layout::data_file_name(*file)).as_str()))
}

/// What is below the directories of the signals and of user tables.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Files with names that data files have, or have while they are written.
    pub files: Vec<PathBuf>,
    /// Below these directories, each before what is in it.
    pub dirs: Vec<PathBuf>,
    /// Directories that could not be read.
    pub unreadable: Vec<(PathBuf, io::Error)>,
}

impl Tree {
    /// Whether nothing is there, as in the place of a file system that is not mounted.
    fn is_empty(&self) -> bool {
        self.files.is_empty() && self.dirs.is_empty() && self.unreadable.is_empty()
    }

    /// Never fails: what cannot be read is left out, and said in the server's log.
    pub(crate) fn read(layout: &Layout) -> Self {
        let mut tree = Self::default();
        let of_signals = Signal::ALL.into_iter().map(|signal| layout.data_root().join(signal.table_name()));
        let mut open: Vec<_> = of_signals.chain([layout.user_tables_dir()]).collect();
        while let Some(dir) = open.pop() {
            let entries = match layout.disk().list(&dir) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    tracing::error!(directory = %dir.display(), %error, "cannot list a directory of data files");
                    tree.unreadable.push((dir, error));
                    continue;
                }
            };
            for entry in entries {
                let path = dir.join(&entry.name);
                if entry.is_dir {
                    tree.dirs.push(path.clone());
                    open.push(path);
                } else if entry.name.to_str().is_some_and(is_data_file_name) {
                    tree.files.push(path);
                }
            }
        }
        tree.files.sort();
        tree
    }
}

/// A directory that holds something is left as it is.
fn remove_empty_dirs(layout: &Layout, dirs: &[PathBuf]) {
    for dir in dirs.iter().rev() {
        if layout.disk().list(dir).is_ok_and(|entries| entries.is_empty()) {
            let _ = layout.disk().remove_dir(dir);
        }
    }
}

/// What becomes of a file that the catalog does not know.
pub(crate) enum Verdict {
    Remove,
    /// It may have rows that are in no other place, for this reason.
    SetAside(String),
}

/// Decides what becomes of files that the catalog does not know.
pub(crate) struct Judge<'a> {
    layout: &'a Layout,
    store_uuid: [u8; 16],
    flushed: SequenceNumber,
    /// The version that each user table has.
    user_tables: HashMap<UserTableId, u64>,
    /// Files of the catalog that are not as they should be.
    missing: HashSet<FileId>,
    /// Read when it is first asked for.
    log: Option<LogExtent>,
}

/// What the log has of the entries that are in no file.
#[derive(Clone, Debug, Default)]
struct LogExtent {
    last_seq: SequenceNumber,
    /// Ranges that cannot be read, both ends included.
    losses: Vec<(SequenceNumber, SequenceNumber)>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(layout: &'a Layout, catalog: &Catalog, missing: HashSet<FileId>) -> Result<Self> {
        let (store_uuid, flushed) = (catalog.store_uuid()?, catalog.flushed_seq()?);
        let user_tables = catalog.user_tables()?.into_iter().map(|table| (table.id, table.version)).collect();
        Ok(Self { layout, store_uuid, flushed, user_tables, missing, log: None })
    }

    /// # Errors
    /// As of [`reconcile_files`].
    pub(crate) fn of(&mut self, path: &Path) -> Result<Verdict> {
        if path.extension().is_some_and(|extension| extension == "tmp") {
            return Ok(Verdict::Remove);
        }
        let reader = match DataFileReader::open(self.layout.disk(), path) {
            Ok(reader) => reader,
            Err(error) => return Ok(Verdict::SetAside(error.to_string())),
        };
        let judged = if path.starts_with(self.layout.user_tables_dir()) {
            read_user_footer(&reader).map(|footer| self.of_user_footer(path, &footer))
        } else {
            read_footer(&reader).map(|footer| self.of_footer(path, &footer))
        };
        match judged {
            Ok(verdict) => verdict,
            Err(error) => Ok(Verdict::SetAside(alula_catalog::error_chain(&error))),
        }
    }

    fn of_footer(&mut self, path: &Path, footer: &Footer) -> Result<Verdict> {
        let (first, last) = (footer.file.first_seq, footer.file.last_seq);
        if footer.store_uuid != self.store_uuid {
            return Err(Error::ForeignFile { path: path.to_owned() });
        }
        let outdated = || Err(Error::OutdatedCatalog { path: path.to_owned() });
        if last <= self.flushed {
            // Its rows are in the files of the catalog; unless one that it replaced is gone already.
            let is_only_one = footer.replaces.iter().any(|replaced| self.missing.contains(replaced));
            return if is_only_one { outdated() } else { Ok(Verdict::Remove) };
        }
        let log = self.log_extent()?;
        if first <= self.flushed || last > log.last_seq {
            return outdated();
        }
        let lost =
            log.losses.iter().find(|(lost_first, lost_last)| *lost_first <= last && first <= *lost_last);
        Ok(match lost {
            Some((lost_first, lost_last)) => Verdict::SetAside(format!(
                "it may have rows of the entries {lost_first} to {lost_last}, which the log has lost"
            )),
            None => Verdict::Remove,
        })
    }

    /// It was dropped and came back, or its transaction was cut off at its COMMIT.
    fn of_user_footer(&self, path: &Path, footer: &UserFooter) -> Result<Verdict> {
        if footer.identity.store_uuid != self.store_uuid {
            return Err(Error::ForeignFile { path: path.to_owned() });
        }
        let version = self.user_tables.get(&footer.file.table);
        let is_later = version.is_some_and(|version| footer.identity.table_version > version + 1);
        // Files are removed after the COMMIT that replaces them, never before.
        let is_only_one = footer.replaces.iter().any(|replaced| self.missing.contains(replaced));
        if is_later || is_only_one {
            return Err(Error::OutdatedCatalog { path: path.to_owned() });
        }
        Ok(Verdict::Remove)
    }

    fn log_extent(&mut self) -> Result<LogExtent> {
        if let Some(log) = &self.log {
            return Ok(log.clone());
        }
        let recovered = recover(self.layout, self.store_uuid, self.flushed)?;
        let mut log = LogExtent { last_seq: self.flushed, losses: Vec::new() };
        log.losses.extend(recovered.missing_segments().map(|loss| (loss.first, loss.last)));
        for index in 0..recovered.num_segments() {
            let segment = recovered.read(index)?;
            log.last_seq = log.last_seq.max(segment.last_seq);
            log.losses.extend(segment.losses.iter().map(|loss| (loss.first, loss.last)));
        }
        Ok(self.log.insert(log).clone())
    }
}

#[cfg(test)]
mod tests;
