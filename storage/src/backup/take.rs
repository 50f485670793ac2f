//! `alula backup`: from a data directory to a snapshot.

use std::path::Path;

use alula_catalog::{Catalog, copy_database, now_ns};

use super::capture::{Capture, Capturing};
use super::manifest::{
    CATALOG, FORMAT_VERSION, FileList, KEYS, MANIFEST, Manifest, PoolFile, SnapshotFile, WAL, hex,
    in_snapshot, readable_time, snapshot_name,
};
use super::pool::{Filled, Pool};
use super::prune::prune;
use super::staging::Staging;
use super::target::{Claim, Existing, Source, Target};
use super::workers::for_each;
use super::{BackupReport, Error, Progress, Result};
use crate::layout::Layout;

const MILLISECOND_NS: i64 = 1_000_000;
/// Names that may be taken already.
const MOST_CLAIMS: i64 = 1_000;

/// What is asked of a backup, besides where from and where to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wishes {
    /// How many snapshots of the store to keep, this one included.
    pub keep: Option<usize>,
    pub verify: bool,
}

/// Makes a snapshot in `target`. Blocks.
pub(super) fn take(
    layout: &Layout,
    target: &dyn Target,
    wishes: Wishes,
    progress: &Progress,
) -> Result<BackupReport> {
    let started_ns = now_ns();
    if !layout.root().join(Catalog::FILE_NAME).exists() {
        return Err(Error::NotAStore { path: layout.root().to_owned() });
    }
    // Before anything is done here: that a target cannot be reached is told at once.
    let pool = Pool::list(target, layout.disk(), progress, wishes.verify)?;
    let staging = Staging::open(layout)?;
    let keys = layout.root().join(KEYS);
    if keys.exists() {
        copy_database(&keys, &staging.keys())?;
    }
    let mut capturing = Capturing::new(layout, &staging, progress);
    let mut capture = capturing.take(|file| pool.needs(file))?;
    let mut captured_ns = now_ns();
    // Before any data file is copied: who prunes meanwhile sees which are needed.
    let mut snapshot = claim(target, started_ns, &capture)?;
    loop {
        let files = &capture.local;
        progress.begin(files.len(), files.iter().map(|file| file.size_bytes()).sum());
        // Without a path where the pool has the file already.
        let held = |id| capturing.path(id).unwrap_or(Path::new(""));
        for_each(files, |file| pool.fill(file.as_ref(), held(file.id()), &snapshot))?;
        let gone = pool.take_gone();
        if gone.is_empty() {
            break;
        }
        capturing.take_again(capture, gone);
        capture = capturing.take(|file| pool.needs(file))?;
        captured_ns = now_ns();
        // The first one is never finished, so what was copied for it is in use until it is removed.
        snapshot = claim(target, started_ns, &capture)?;
    }
    let data_files: Vec<_> = capture.local.iter().map(PoolFile::of).collect();
    let filled = pool.finish(&data_files)?;
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        alula_version: env!("CARGO_PKG_VERSION").to_owned(),
        store_uuid: hex(capture.store_uuid),
        snapshot: snapshot.clone(),
        started: readable_time(started_ns),
        captured: readable_time(captured_ns),
        flushed_seq: capture.flushed_seq.0,
        rows_in_files: capture.local.iter().map(|file| file.num_rows()).sum::<u64>()
            + capture.remote.iter().map(|file| file.num_rows).sum::<u64>(),
        remote_files: capture.remote.len() as u64,
        remote_bytes: capture.remote.iter().map(|file| file.size_bytes).sum(),
        files: put_snapshot_files(layout, &staging, &capture, target, &snapshot, progress)?,
        data_files,
    };
    target.sync()?;
    progress.check()?;
    target.write(&in_snapshot(&snapshot, MANIFEST), &manifest.encode())?;
    let pruned = prune(target, &manifest.store_uuid, &snapshot, wishes.keep, now_ns());
    let pruned = pruned.map_err(|source| Error::NotPruned { snapshot, source: Box::new(source) })?;
    Ok(report(&manifest, &filled, pruned.snapshots, pruned.files))
}

fn report(manifest: &Manifest, filled: &Filled, removed_snapshots: u64, removed_files: u64) -> BackupReport {
    let own_bytes: u64 = manifest.files.iter().map(|file| file.size_bytes).sum();
    let data_bytes: u64 = manifest.data_files.iter().map(|file| file.size_bytes).sum();
    BackupReport {
        snapshot: manifest.snapshot.clone(),
        store_uuid: manifest.store_uuid.clone(),
        complete_until: manifest.started.clone(),
        data_files: manifest.data_files.len() as u64,
        new_data_files: filled.new_files,
        repaired_data_files: filled.repaired_files,
        bytes: own_bytes + data_bytes,
        new_bytes: own_bytes + filled.new_bytes,
        remote_files: manifest.remote_files,
        remote_bytes: manifest.remote_bytes,
        removed_snapshots,
        removed_data_files: removed_files,
    }
}

/// Makes a snapshot of a name that is free: of the time of the start, or of the first millisecond after it that no other
/// backup has.
fn claim(target: &dyn Target, started_ns: i64, capture: &Capture) -> Result<String> {
    let file_list = FileList {
        format_version: FORMAT_VERSION,
        store_uuid: hex(capture.store_uuid),
        started_ns,
        data_files: capture.local.iter().map(|file| PoolFile::of(file).id).collect(),
    };
    let file_list = file_list.encode();
    for later_ms in 0..MOST_CLAIMS {
        let name = snapshot_name(started_ns + later_ms * MILLISECOND_NS);
        if target.claim(&name, &file_list)? == Claim::Made {
            return Ok(name);
        }
    }
    Err(Error::Unsettled)
}

/// Copies the two databases and the tail of the log.
fn put_snapshot_files(
    layout: &Layout,
    staging: &Staging<'_>,
    capture: &Capture,
    target: &dyn Target,
    snapshot: &str,
    progress: &Progress,
) -> Result<Vec<SnapshotFile>> {
    let disk = layout.disk();
    let mut paths = vec![(CATALOG.to_owned(), staging.catalog())];
    if staging.keys().exists() {
        paths.push((KEYS.to_owned(), staging.keys()));
    }
    let segments = capture.tail.segments.iter();
    paths.extend(segments.map(|name| (format!("{WAL}/{name}"), staging.wal_dir().join(name))));
    let mut files = Vec::new();
    for (name, path) in paths {
        let file = disk.open(&path).map_err(crate::Error::io(&path, "cannot open the file"))?;
        let size_bytes = file.len().map_err(crate::Error::io(&path, "cannot read the file's size"))?;
        let source = Source { path: &path, file, size_bytes, checksum: None, may_be_linked: false, progress };
        let blake3 = target.put(&in_snapshot(snapshot, &name), snapshot, &source, Existing::Keep)?;
        files.push(SnapshotFile { name, size_bytes, blake3 });
    }
    Ok(files)
}
