//! Removes files that are no part of the store any more.
//!
//! A file goes when nothing in this process names it: snapshots and running scans hold the same [`Arc`]. Its row in the
//! catalog goes after it, so a crash between the two leaves a row whose file is gone, which the next start drops. A file
//! that moved to the remote tier leaves its local copy behind, which goes the same way; its row stays.
//!
//! [`Arc`]: std::sync::Arc

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alula_catalog::{DataFile, FileId, Tier, UserFile};

use super::{Pace, Step, Task};
use crate::Result;
use crate::data_files::StoredFile;
use crate::store::Store;

/// Objects removed in one step.
const REMOTE_BATCH: usize = 64;
/// How long an object store that did not answer is left alone.
const REMOTE_PAUSE: Duration = Duration::from_secs(30);

/// The task.
#[derive(Debug, Default)]
pub(crate) struct Garbage {
    /// The object store did not answer: it is left alone until then.
    remote_from: Option<Instant>,
}

impl Task for Garbage {
    fn name(&self) -> &'static str {
        "remove replaced files"
    }

    fn step(&mut self, store: &Store, pace: &mut Pace) -> Result<Step> {
        let (local, remote): (Vec<_>, Vec<_>) =
            store.take_unread_garbage().into_iter().partition(|file| file.tier == Tier::Local);
        let (mut removed, mut kept) = (Vec::new(), Vec::new());
        for file in local {
            if pace.breathe(store).is_ok() && remove_local(store, &file) {
                removed.push((file.id, file.tier));
            } else {
                kept.push(file);
            }
        }
        self.remove_remote(store, remote, &mut removed, &mut kept);
        store.add_garbage(kept);
        let of_user_tables = store.remove_user_garbage();
        if removed.is_empty() && !of_user_tables {
            return Ok(Step::Idle);
        }
        forget(store, &removed)?;
        Ok(Step::Worked)
    }
}

impl Garbage {
    /// Removes the objects of files, unless the object store did not answer lately.
    fn remove_remote(
        &mut self,
        store: &Store,
        files: Vec<Arc<DataFile>>,
        removed: &mut Vec<(FileId, Tier)>,
        kept: &mut Vec<Arc<DataFile>>,
    ) {
        let Some(remote) = store.data_files.remote().filter(|_| !files.is_empty()) else {
            return kept.extend(files);
        };
        if self.remote_from.is_some_and(|from| Instant::now() < from) {
            return kept.extend(files);
        }
        let batch = &files[..files.len().min(REMOTE_BATCH)];
        let gone = remote.delete(batch).unwrap_or_default();
        self.remote_from = (gone.len() < batch.len()).then(|| Instant::now() + REMOTE_PAUSE);
        removed.extend(gone.iter().map(|id| (*id, Tier::Remote)));
        kept.extend(files.into_iter().filter(|file| !gone.contains(&file.id)));
    }
}

/// Removes what an earlier process left of files that are dead. Before the first query: nobody reads them.
///
/// Objects of the remote tier go later: a start waits for no object store.
pub(crate) fn remove_dead_files(store: &Store) -> Result<()> {
    let dead = store.catalog.dead_files()?.into_iter().map(|dead| dead.file);
    let (local, remote): (Vec<_>, Vec<_>) = dead.partition(|file| file.tier == Tier::Local);
    store.add_garbage(remote.into_iter().map(Arc::new).collect());
    let removed = local.iter().filter(|file| remove_local(store, *file));
    forget(store, &removed.map(|file| (file.id, file.tier)).collect::<Vec<_>>())?;
    let of_user_tables = store.catalog.dead_user_files()?;
    let removed = of_user_tables.iter().filter(|file| remove_local(store, *file));
    Ok(store.catalog.forget_user_files(&removed.map(|file| file.id).collect::<Vec<_>>())?)
}

impl Store {
    /// Removes files of user tables that nobody reads. Whether there were any.
    ///
    /// A row that cannot be dropped is dropped at the next start.
    pub(crate) fn remove_user_garbage(&self) -> bool {
        let unread = self.user_tables.take_unread_garbage();
        let (removed, kept): (Vec<_>, Vec<_>) = unread.into_iter().partition(|file| remove_local(self, file));
        self.user_tables.put_back_garbage(kept);
        if removed.is_empty() {
            return false;
        }
        self.remove_empty_tables(&removed);
        let ids: Vec<FileId> = removed.iter().map(|file| file.id).collect();
        if let Err(error) = self.catalog.forget_user_files(&ids) {
            let error = alula_catalog::error_chain(&error);
            tracing::warn!(error, "cannot forget removed files of user tables");
        }
        true
    }

    /// Removes the directories of tables that are gone. One that comes back is swept at the next start.
    fn remove_empty_tables(&self, removed: &[Arc<UserFile>]) {
        let snapshot = self.buffer.snapshot();
        let live: HashSet<_> = snapshot.user_files().map(|file| file.table).collect();
        let gone = removed.iter().filter(|file| !live.contains(&file.table));
        let dirs: BTreeSet<_> =
            gone.filter_map(|file| Some(self.layout.data_file(file).parent()?.to_owned())).collect();
        if !dirs.is_empty() {
            self.user_tables.beside_no_commit(|| {
                for dir in &dirs {
                    // A transaction that is under way may have files in it.
                    let _ = self.layout.disk().remove_dir(dir);
                }
            });
        }
    }
}

fn forget(store: &Store, removed: &[(FileId, Tier)]) -> Result<()> {
    if removed.is_empty() {
        return Ok(());
    }
    tracing::debug!(num_files = removed.len(), "removed replaced files");
    Ok(store.catalog.forget_files(removed)?)
}

/// Whether the file is gone, durably or not: one that comes back is swept at the next start.
fn remove_local(store: &Store, file: &(impl StoredFile + ?Sized)) -> bool {
    for name in [Some(file.name()), file.uncommitted_name()].into_iter().flatten() {
        let path = store.layout.data_root().join(name);
        match store.layout.disk().remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(
                    file = %path.display(), %error,
                    "cannot remove a replaced file; trying again later"
                );
                return false;
            }
        }
    }
    store.data_files.forget(file.id());
    true
}

#[cfg(test)]
mod tests;
