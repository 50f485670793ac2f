//! Removes files that are no part of the store any more.
//!
//! A file goes when nothing in this process names it: snapshots and running scans hold the same [`Arc`]. Its row in the
//! catalog goes after it, so a crash between the two leaves a row whose file is gone, which the next start drops.
//!
//! [`Arc`]: std::sync::Arc

use std::io;

use alula_catalog::{DataFile, FileId};

use super::{Pace, Step, Task};
use crate::Result;
use crate::store::Store;

/// The task.
#[derive(Debug)]
pub(crate) struct Garbage;

impl Task for Garbage {
    fn name(&self) -> &'static str {
        "remove replaced files"
    }

    fn step(&mut self, store: &Store, pace: &mut Pace) -> Result<Step> {
        let unread = store.take_unread_garbage();
        let mut removed = Vec::new();
        let mut kept = Vec::new();
        for file in unread {
            if pace.breathe(store).is_ok() && remove(store, &file) {
                removed.push(file.id);
            } else {
                kept.push(file);
            }
        }
        store.add_garbage(kept);
        if removed.is_empty() {
            return Ok(Step::Idle);
        }
        forget(store, &removed)?;
        Ok(Step::Worked)
    }
}

/// Removes what an earlier process left of files that are dead. Before the first query: nobody reads them.
pub(crate) fn remove_dead_files(store: &Store) -> Result<()> {
    let dead = store.catalog.dead_files()?;
    let removed: Vec<_> =
        dead.iter().filter(|dead| remove(store, &dead.file)).map(|dead| dead.file.id).collect();
    forget(store, &removed)
}

fn forget(store: &Store, removed: &[FileId]) -> Result<()> {
    if removed.is_empty() {
        return Ok(());
    }
    tracing::debug!(num_files = removed.len(), "removed replaced files");
    Ok(store.catalog.forget_files(removed)?)
}

/// Whether the file is gone, durably or not: one that comes back is swept at the next start.
fn remove(store: &Store, file: &DataFile) -> bool {
    let path = store.layout.data_file(file);
    match store.layout.disk().remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "cannot remove a replaced file; trying again later");
            return false;
        }
    }
    store.data_files.forget(file.id);
    true
}

#[cfg(test)]
mod tests;
