//! Rows that are durable in the log but not yet in files.
//!
//! | file | purpose |
//! |---|---|
//! | `chunk.rs` | one immutable batch of rows with its statistics, and the merging of small ones |
//! | `snapshot.rs` | [`Snapshot`]: what a query sees, of all tenants, at one instant |
//!
//! [`Buffer`] holds the current snapshot behind an atomic pointer. A reader takes the pointer: no lock, no copy. A change
//! builds the next snapshot beside it, sharing everything that did not change, and swaps the pointer.
//!
//! ```text
//! appended -> hot chunks --freeze--> frozen chunks --commit--> files
//! ```
//!
//! **Invariant.** `commit_frozen` puts the files in and takes the frozen chunks out in one swap, so no snapshot has a row
//! twice or not at all.

mod chunk;
mod snapshot;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use alula_catalog::{DataFile, FileId, TenantId, TenantNumber};
use arc_swap::ArcSwap;

use crate::UserTables;
use crate::arrivals::Arrivals;
use crate::deletion::Deletion;

pub(crate) use chunk::{Chunk, sequences_of, timestamps_of};
pub use snapshot::Snapshot;
pub(crate) use snapshot::{TableKey, TableSnapshot};

/// The current snapshot and the one way to change it.
#[derive(Debug)]
pub(crate) struct Buffer {
    current: ArcSwap<Snapshot>,
    /// Taken by whoever changes the snapshot (the log's writer, the flush), never by readers.
    change: Mutex<()>,
    hot_bytes: AtomicUsize,
    frozen_bytes: AtomicUsize,
    arrivals: Arrivals,
}

impl Buffer {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        Self {
            current: ArcSwap::from_pointee(snapshot),
            change: Mutex::new(()),
            hot_bytes: AtomicUsize::new(0),
            frozen_bytes: AtomicUsize::new(0),
            arrivals: Arrivals::default(),
        }
    }

    /// Who is to be told of rows that come.
    pub(crate) fn arrivals(&self) -> &Arrivals {
        &self.arrivals
    }

    /// What a query that starts now sees.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Units: bytes of Arrow buffers that wait for the next freeze.
    pub(crate) fn hot_bytes(&self) -> usize {
        self.hot_bytes.load(Ordering::Relaxed)
    }

    /// Units: bytes of Arrow buffers, hot and frozen.
    pub(crate) fn total_bytes(&self) -> usize {
        self.hot_bytes() + self.frozen_bytes.load(Ordering::Relaxed)
    }

    /// Makes rows visible. They must be durable.
    pub(crate) fn append(&self, chunks: Vec<(TableKey, Chunk)>) {
        let added: usize = chunks.iter().map(|(_, chunk)| chunk.bytes).sum();
        self.hot_bytes.fetch_add(added, Ordering::Relaxed);
        let arrived: Vec<_> = chunks.iter().map(|(key, chunk)| (*key, chunk.last_seq)).collect();
        let mut by_table: HashMap<TableKey, Vec<Arc<Chunk>>> = HashMap::new();
        for (key, chunk) in chunks {
            by_table.entry(key).or_default().push(Arc::new(chunk));
        }
        self.change(|next| {
            for (key, chunks) in by_table {
                next.update_table(key, |table| table.hot.extend(chunks));
            }
        });
        self.arrivals.announce(arrived.into_iter());
    }

    /// Joins runs of small hot chunks of `tables`, so that a scan of many small requests does not crawl from one to the next.
    ///
    /// Only the log's writer calls this, between groups, so the hot chunks stay as they are meanwhile.
    pub(crate) fn merge_small_chunks(&self, tables: &HashSet<TableKey>) {
        for key in tables {
            // The merged chunk may complete a run of its own size.
            while self.merge_last_run(*key) {}
        }
    }

    /// Joins the run at the end of a table's hot chunks. False if there is none to join.
    fn merge_last_run(&self, key: TableKey) -> bool {
        let snapshot = self.snapshot();
        let Some(table) = snapshot.table_by_key(key) else { return false };
        let Some(run) = chunk::plan_merge(&table.hot) else { return false };
        let chunks = &table.hot[run.clone()];
        let merged = match Chunk::concat(chunks) {
            Ok(merged) => merged,
            Err(error) => {
                // The rows stay where they are; only the scan is slower.
                tracing::warn!(%error, "cannot merge buffered chunks");
                return false;
            }
        };
        let (before, after) = (chunks.iter().map(|chunk| chunk.bytes).sum(), merged.bytes);
        self.change(|next| {
            next.update_table(key, |table| {
                table.hot.splice(run, [Arc::new(merged)]);
            });
        });
        self.hot_bytes.fetch_add(after, Ordering::Relaxed);
        self.hot_bytes.fetch_sub(before, Ordering::Relaxed);
        true
    }

    /// Sets the hot chunks of all tables aside for a flush; later rows go to fresh ones.
    ///
    /// There must be no frozen chunks from before.
    pub(crate) fn freeze(&self) {
        self.change(|next| {
            next.update_tables(|table| {
                assert!(table.frozen.is_empty(), "a flush is still under way");
                table.frozen = std::mem::take(&mut table.hot);
            });
        });
        self.frozen_bytes.store(self.hot_bytes.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Replaces all frozen chunks by the files that now hold their rows.
    pub(crate) fn commit_frozen(&self, files: Vec<DataFile>) {
        self.change(|next| {
            next.update_tables(|table| table.frozen.clear());
            next.add_files(files);
        });
        self.frozen_bytes.store(0, Ordering::Relaxed);
    }

    /// Replaces files by others that hold the same rows, or fewer, in one swap. Returns the replaced ones.
    ///
    /// A snapshot from before still names them, so they stay on disk until it is gone.
    pub(crate) fn replace_files(&self, dead: &[FileId], live: Vec<DataFile>) -> Vec<Arc<DataFile>> {
        let dead = dead.iter().copied().collect();
        let mut removed = Vec::new();
        self.change(|next| {
            removed = next.remove_files(&dead);
            next.add_files(live);
        });
        removed
    }

    /// Replaces all deletions on record.
    pub(crate) fn set_deletions(&self, by_table: HashMap<TableKey, Vec<Arc<Deletion>>>) {
        self.change(|next| next.set_deletions(by_table));
    }

    /// Adds the latest deletion of a table.
    pub(crate) fn add_deletion(&self, key: TableKey, deletion: Arc<Deletion>) {
        self.change(|next| {
            next.update_table(key, |table| Arc::make_mut(&mut table.deletions).push(deletion));
        });
    }

    /// Replaces the user tables of a tenant.
    pub(crate) fn set_user_tables(&self, tenant: TenantNumber, tables: Arc<UserTables>) {
        self.change(|next| next.set_user_tables(tenant, tables));
    }

    /// Keeps every change waiting: the log's writer stops between the sync of a group and its publication.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> std::sync::MutexGuard<'_, ()> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add_tenant(&self, id: TenantId, number: TenantNumber) {
        self.change(|next| next.add_tenant(id, number));
    }

    fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        let _guard = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&self.current.load());
        change(&mut next);
        self.current.store(Arc::new(next));
    }
}

#[cfg(test)]
mod tests;
