//! `alula restore`: from a snapshot to a data directory.
//!
//! ```text
//! <data directory>/restore.tmp/    the store while it is not complete; no server starts beside it
//! ```
//!
//! Everything is copied there, compared with its checksum and synced. Then it is moved up, the catalog last, and `restore.tmp`
//! is removed. A restore that is interrupted anywhere leaves `restore.tmp`, and the next one begins anew. The copy is made
//! inside the data directory because that may be a mount point, and its parent somebody else's.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use alula_catalog::{Catalog, Tier};

use super::manifest::{
    CATALOG, Checksum, KEYS, MANIFEST, MAX_MANIFEST_BYTES, Manifest, PoolFile, WAL, hex, in_snapshot,
    is_snapshot_file,
};
use super::snapshots::find_snapshots;
use super::staging::remove_tree;
use super::target::{CHUNK_BYTES, Target};
use super::workers::for_each;
use super::{Error, Progress, RestoreReport, Result};
use crate::checksum::Hasher;
use crate::data_files::StoredFile;
use crate::disk::{Disk, create_dir_durably, sync_dir};
use crate::layout::Layout;

const STAGING: &str = "restore.tmp";
const DATA: &str = "data";
/// What a store consists of, in the order in which it is put in its place: without the catalog there is none.
const PARTS: [&str; 4] = [DATA, WAL, KEYS, CATALOG];
/// What a directory without a store may have: the lock, and what file systems put into their roots.
const NO_STORE: [&str; 2] = ["LOCK", "lost+found"];

/// # Errors
/// `RestoreUnfinished` — the directory has a part of a store only.
pub(super) fn ensure_restored(data_dir: &Path) -> Result<()> {
    if data_dir.join(STAGING).exists() {
        return Err(Error::RestoreUnfinished { path: data_dir.to_owned() });
    }
    Ok(())
}

/// Makes the store of a snapshot (of the newest, without a name) in an empty directory. Blocks.
pub(super) fn restore(
    target: &dyn Target,
    snapshot: Option<&str>,
    layout: &Layout,
    progress: &Progress,
) -> Result<RestoreReport> {
    let manifest = read_manifest(target, snapshot)?;
    let restoring = Restoring::begin(layout)?;
    let own_bytes: u64 = manifest.files.iter().map(|file| file.size_bytes).sum();
    let data_bytes: u64 = manifest.data_files.iter().map(|file| file.size_bytes).sum();
    progress.begin(manifest.files.len() + manifest.data_files.len(), own_bytes + data_bytes);
    let copying = Copying { target, disk: layout.disk(), progress, unsynced: Mutex::default() };
    copying.snapshot_files(&manifest, &restoring.store)?;
    let data_files = copying.data_files(&manifest, &restoring.store)?;
    copying.sync()?;
    progress.check()?;
    restoring.finish()?;
    let is_segment = |name: &str| name.starts_with(WAL);
    Ok(RestoreReport {
        data_files,
        log_segments: manifest.files.iter().filter(|file| is_segment(&file.name)).count() as u64,
        bytes: progress.bytes().0,
        snapshot: manifest.snapshot,
        store_uuid: manifest.store_uuid,
        complete_until: manifest.started,
        nothing_after: manifest.captured,
        rows_in_files: manifest.rows_in_files,
        remote_files: manifest.remote_files,
        remote_bytes: manifest.remote_bytes,
    })
}

/// The manifest of a snapshot, or of the newest one if there are snapshots of one store only.
fn read_manifest(target: &dyn Target, wanted: Option<&str>) -> Result<Manifest> {
    let mut snapshots = find_snapshots(target)?;
    snapshots.retain(|_, found| found.is_finished());
    let available = snapshots.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let location = target.location();
    let lists = snapshots.values().filter_map(|found| found.file_list.as_ref());
    let num_stores = lists.map(|list| &list.store_uuid).collect::<BTreeSet<_>>().len();
    let name = match wanted {
        _ if snapshots.is_empty() => return Err(Error::NoBackup { location }),
        Some(wanted) if snapshots.contains_key(wanted) => wanted.to_owned(),
        Some(wanted) => return Err(Error::NoSnapshot { location, wanted: wanted.to_owned(), available }),
        None if num_stores > 1 => return Err(Error::SeveralStores { location, available }),
        None => snapshots.keys().next_back().cloned().unwrap_or_default(),
    };
    let file = in_snapshot(&name, MANIFEST);
    let bytes = snapshots.get(&name).and_then(|found| found.manifest_bytes).unwrap_or_default();
    if bytes > MAX_MANIFEST_BYTES {
        return Err(Error::Damaged { file, reason: "it is too large" });
    }
    let manifest = Manifest::decode(&file, &target.read(&file, 0, bytes as usize)?)?;
    if manifest.snapshot != name {
        return Err(Error::Damaged { file, reason: "it is of another snapshot" });
    }
    Ok(manifest)
}

/// A data directory that is to have a store.
#[derive(Debug)]
struct Restoring<'a> {
    layout: &'a Layout,
    /// Where the store is made.
    store: PathBuf,
    /// No server, and no other restore.
    _lock: File,
}

impl<'a> Restoring<'a> {
    /// Takes an empty directory, or one that an interrupted restore left, which is emptied.
    ///
    /// # Errors
    /// `NotEmpty` — nothing was changed.
    fn begin(layout: &'a Layout) -> Result<Self> {
        let (disk, root) = (layout.disk(), layout.root());
        ensure_empty(disk, root)?;
        let lock = layout.lock()?;
        // Somebody else may have been first.
        ensure_empty(disk, root)?;
        let staging = root.join(STAGING);
        if disk.is_dir(&staging) {
            // By the staging directory the next attempt knows that all this is a restore's, so it goes last.
            for entry in disk.list(root).map_err(crate::Error::io(root, "cannot list the directory"))? {
                let path = root.join(&entry.name);
                match entry.name.to_str() {
                    Some(name) if name == STAGING || NO_STORE.contains(&name) => {}
                    _ if entry.is_dir => remove_tree(disk, &path)?,
                    _ => {
                        disk.remove_file(&path).map_err(crate::Error::io(&path, "cannot remove the file"))?;
                    }
                }
            }
            remove_tree(disk, &staging)?;
        }
        create_dir_durably(disk, &staging)?;
        Ok(Self { layout, store: staging, _lock: lock })
    }

    /// Puts the store in its place.
    ///
    /// Durable: when this returns. A crash before leaves the staging directory there.
    fn finish(self) -> Result<()> {
        let (disk, root) = (self.layout.disk(), self.layout.root());
        let parts = disk.list(&self.store);
        let parts = parts.map_err(crate::Error::io(&self.store, "cannot list the directory"))?;
        for part in PARTS.iter().filter(|part| parts.iter().any(|entry| entry.name == **part)) {
            let path = root.join(part);
            let moved = disk.rename(&self.store.join(part), &path);
            moved.map_err(crate::Error::io(&path, "cannot move it into its place"))?;
        }
        // An earlier attempt may have made the directory and been killed before it had synced its name.
        for dir in root.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty()) {
            let _ = disk.sync_dir(dir);
        }
        sync_dir(disk, root)?;
        remove_tree(disk, &self.store)?;
        Ok(sync_dir(disk, root)?)
    }
}

fn ensure_empty(disk: &dyn Disk, root: &Path) -> Result<()> {
    if !disk.is_dir(root) {
        return Ok(());
    }
    let entries = disk.list(root).map_err(crate::Error::io(root, "cannot list the directory"))?;
    let interrupted = entries.iter().any(|entry| entry.name == STAGING);
    let is_part = |name: &str| {
        let is_database = [KEYS, CATALOG].iter().any(|database| name.starts_with(database));
        name == STAGING || PARTS.contains(&name) || is_database
    };
    let is_harmless = |name: &str| NO_STORE.contains(&name) || (interrupted && is_part(name));
    if entries.iter().all(|entry| entry.name.to_str().is_some_and(is_harmless)) {
        Ok(())
    } else {
        Err(Error::NotEmpty { path: root.to_owned() })
    }
}

/// Copies files out of a backup.
#[derive(Debug)]
struct Copying<'a> {
    target: &'a dyn Target,
    disk: &'a dyn Disk,
    progress: &'a Progress,
    /// Directories with names that are not durable yet.
    unsynced: Mutex<BTreeSet<PathBuf>>,
}

impl Copying<'_> {
    /// The databases and the log.
    fn snapshot_files(&self, manifest: &Manifest, store: &Path) -> Result<()> {
        let damaged = |reason| Error::Damaged { file: in_snapshot(&manifest.snapshot, MANIFEST), reason };
        if manifest.files.iter().any(|file| !is_snapshot_file(&file.name)) {
            return Err(damaged("it names a file that is no part of a store"));
        }
        if !manifest.files.iter().any(|file| file.name == CATALOG) {
            return Err(damaged("it names no catalog"));
        }
        for_each(&manifest.files, |file| {
            let from = in_snapshot(&manifest.snapshot, &file.name);
            self.copy(&from, file.size_bytes, file.blake3, &store.join(&file.name))
        })
    }

    /// Every file that the restored catalog says is there, so that none is missing for a manifest that leaves it out.
    fn data_files(&self, manifest: &Manifest, store: &Path) -> Result<u64> {
        let damaged = |reason| Error::Damaged { file: in_snapshot(&manifest.snapshot, MANIFEST), reason };
        let catalog = Catalog::inspect(&store.join(CATALOG))?;
        if hex(catalog.store_uuid()?) != manifest.store_uuid {
            return Err(damaged("it is of another store than its catalog"));
        }
        let local = catalog.live_files()?.into_iter().filter(|file| file.tier == Tier::Local);
        let local = local.map(|file| Box::new(file) as Box<dyn StoredFile>);
        let of_user_tables =
            catalog.live_user_files()?.into_iter().map(|file| Box::new(file) as Box<dyn StoredFile>);
        let local: Vec<_> = local.chain(of_user_tables).collect();
        let named: HashMap<_, _> = manifest.data_files.iter().map(|file| (file.id, file)).collect();
        let is_named = |file: &dyn StoredFile| {
            let file = PoolFile::of(file);
            named.get(&file.id) == Some(&&file)
        };
        if !local.iter().all(|file| is_named(file.as_ref())) {
            return Err(damaged("it leaves out a data file of the catalog, or says something else about it"));
        }
        for_each(&local, |file| {
            let pooled = PoolFile::of(file.as_ref());
            let path = store.join(DATA).join(Layout::data_file_name(file.as_ref()));
            self.copy(&pooled.name(), pooled.size_bytes, pooled.blake3, &path)
        })?;
        Ok(local.len() as u64)
    }

    /// Durable: the bytes when this returns, the name after [`Self::sync`].
    fn copy(&self, from: &str, size_bytes: u64, checksum: Checksum, to: &Path) -> Result<()> {
        let dir = to.parent().unwrap_or(Path::new("."));
        create_dir_durably(self.disk, dir)?;
        let file = self.disk.create(to).map_err(crate::Error::io(to, "cannot create the file"))?;
        let mut hasher = Hasher::default();
        let mut at = 0;
        while at < size_bytes {
            self.progress.check()?;
            let bytes = self.target.read(from, at, CHUNK_BYTES.min((size_bytes - at) as usize))?;
            hasher.update(&bytes);
            file.write_all_at(&bytes, at).map_err(crate::Error::io(to, "cannot write the file"))?;
            at += bytes.len() as u64;
        }
        if Checksum::finish(&hasher) != checksum {
            let file = format!("{}/{from}", self.target.location().trim_end_matches('/'));
            return Err(Error::Damaged { file, reason: "its checksum is another" });
        }
        file.sync_data().map_err(crate::Error::io(to, "cannot sync the file"))?;
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.to_owned());
        self.progress.add_file(size_bytes);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let unsynced = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(unsynced.iter().try_for_each(|dir| sync_dir(self.disk, dir))?)
    }
}
