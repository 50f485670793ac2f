//! Backup and restore, by a process of their own: the server need not run, and need not know if it does.
//!
//! | file | purpose |
//! |---|---|
//! | `take.rs` | `alula backup`: from a data directory to a snapshot |
//! | `capture.rs` | a state of a data directory that is in use |
//! | `wal_tail.rs` | a copy of the log that somebody writes to |
//! | `staging.rs` | where that state is held fast while it is copied |
//! | `pool.rs` | the data files that all snapshots share |
//! | `prune.rs` | removes snapshots that are not to be kept |
//! | `restore.rs` | `alula restore`: from a snapshot to a data directory |
//! | `manifest.rs` | what a backup says about itself, and every name in it |
//! | `snapshots.rs` | which snapshots there are |
//! | `target/` | where a backup is kept: a directory or an object store |
//! | `workers.rs`, `progress.rs` | a few threads; how far they are |
//!
//! # A state of a store that does not stop
//!
//! 1. The *log* is copied: every segment, and of the one that is written to what is there.
//! 2. The *catalog* is copied, in one read transaction of SQLite.
//! 3. The *live files* of that copy get second names in a staging directory, so that the server may remove its own.
//!
//! **Every row that was acknowledged before the start is in it.** Let its entry be number `n`, and `f` the flushed sequence
//! number of the catalog's copy. If `n <= f`, the row is in live files of that same catalog (or was dropped by a retention, a
//! deletion or a loss that it has on record). If `n > f`, no flush up to `n` was committed when the catalog was copied. A
//! segment is removed only after the commit of a flush of all its entries, so the segment of `n` was there from before the
//! start until after step 2, and step 1 found it. The other way around, catalog first, a flush between the two would take
//! rows from the log that the older catalog does not have in files.
//!
//! **No row is in it twice.** Replay skips entries up to `f`, as it does after a crash between a flush's commit and the
//! removal of its segments. Entries that were refused are left out as after a crash: see `wal_tail.rs`.
//!
//! **Rows acknowledged meanwhile** may or may not be in it; what is there is the log up to some entry, without gaps.
//!
//! What the server may do at the same time, and what follows:
//!
//! | it | then |
//! |---|---|
//! | appends to the segment that is being copied | a torn tail, which was never acknowledged before the start, and which recovery leaves out in silence |
//! | removes a segment before it is opened | its entries are `<= f` |
//! | flushes between 1 and 2 | entries up to `f` are in files, and skipped in the copied log |
//! | registers a tenant and logs its first entry | the catalog is copied after the log, so it has the tenant |
//! | removes a compacted file before 3 reached it | another copy of the catalog, which no longer names it; second names that were made stay. The log's copy stays, too: a later `f` only makes more of it superfluous |
//! | is killed, or starts | nothing: it is the same directory after a crash, and a replay that is under way changes the catalog by commits |
//!
//! Where the data is on another file system than its directory, or on one without hard links, files are read under their
//! own names, and one that is gone by then leads to another copy of the catalog, too.
//!
//! # What is written
//!
//! The format is in `manifest.rs`. Its `MANIFEST.json` comes last, after everything else is durable: a snapshot without it does
//! not exist. A data file is compared with the catalog's checksum before it gets into the pool.
//!
//! **Bounds**: four files at a time with one chunk of each in memory, the lists of files, and one segment of the log.

mod capture;
mod error;
mod manifest;
mod pool;
mod progress;
mod prune;
mod restore;
mod snapshots;
mod staging;
mod take;
mod target;
mod wal_tail;
mod workers;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use tokio::runtime::Handle;

pub use self::error::{Error, ErrorKind, Result};
pub use self::progress::Progress;
pub use self::target::Location;
use crate::blocking::blocking;
use crate::disk::{Disk, RealDisk};
use crate::layout::Layout;

/// What is to be backed up, and where to.
#[derive(Clone, Debug)]
pub struct BackupOptions {
    pub data_dir: PathBuf,
    pub to: Location,
    /// Removes all but so many snapshots of this store, the new one included.
    pub keep: Option<NonZeroUsize>,
    /// Compares the data files that the backup has already with their checksums, and replaces what is damaged.
    pub verify: bool,
}

/// What is to be restored, and where to.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    pub from: Location,
    /// The newest, if None.
    pub snapshot: Option<String>,
    pub data_dir: PathBuf,
}

/// A snapshot that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackupReport {
    pub snapshot: String,
    pub store_uuid: String,
    /// Every row that was acknowledged before this time is in the snapshot.
    pub complete_until: String,
    pub data_files: u64,
    /// Those that the backup did not have.
    pub new_data_files: u64,
    /// Those that it had damaged.
    pub repaired_data_files: u64,
    pub bytes: u64,
    pub new_bytes: u64,
    /// Referenced and not copied: they are in the store's remote tier.
    pub remote_files: u64,
    pub remote_bytes: u64,
    pub removed_snapshots: u64,
    pub removed_data_files: u64,
}

/// A store that was restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    pub snapshot: String,
    pub store_uuid: String,
    /// Every row that was acknowledged before this time is there.
    pub complete_until: String,
    /// No row that was acknowledged after this time is.
    pub nothing_after: String,
    pub data_files: u64,
    pub rows_in_files: u64,
    pub log_segments: u64,
    pub bytes: u64,
    pub remote_files: u64,
    pub remote_bytes: u64,
}

/// Makes a snapshot of a store, whether or not a server runs on it.
///
/// Durable: when this returns, the snapshot survives power loss.
/// Cancel: by [`Progress::cancel`]; dropping the future only stops waiting for it.
pub async fn backup(options: BackupOptions, progress: Arc<Progress>) -> Result<BackupReport> {
    let runtime = Handle::current();
    blocking(move || Ok(backup_blocking(options, &progress, &runtime))).await?
}

fn backup_blocking(options: BackupOptions, progress: &Progress, runtime: &Handle) -> Result<BackupReport> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let target = options.to.open(Arc::clone(&disk), runtime)?;
    options.to.ensure_outside(&options.data_dir)?;
    let wishes = take::Wishes { keep: options.keep.map(NonZeroUsize::get), verify: options.verify };
    take::take(&Layout::new(options.data_dir, disk), target.as_ref(), wishes, progress)
}

/// Makes a store of a snapshot, in a directory that is empty or does not exist.
///
/// Durable: when this returns, the store survives power loss. Before, no server starts in the directory.
/// Cancel: as of [`backup`].
pub async fn restore(options: RestoreOptions, progress: Arc<Progress>) -> Result<RestoreReport> {
    let runtime = Handle::current();
    blocking(move || Ok(restore_blocking(options, &progress, &runtime))).await?
}

fn restore_blocking(options: RestoreOptions, progress: &Progress, runtime: &Handle) -> Result<RestoreReport> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let target = options.from.open(Arc::clone(&disk), runtime)?;
    let layout = Layout::new(options.data_dir, disk);
    restore::restore(target.as_ref(), options.snapshot.as_deref(), &layout, progress)
}

/// Whether a server may use the directory.
///
/// # Errors
/// `RestoreUnfinished`.
pub fn ensure_restored(data_dir: &Path) -> Result<()> {
    restore::ensure_restored(data_dir)
}

#[cfg(test)]
mod tests;
