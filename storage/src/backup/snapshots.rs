//! Which snapshots a backup has, finished or not.

use std::collections::BTreeMap;

use super::Result;
use super::manifest::{
    FILE_LIST, FileList, MANIFEST, MAX_MANIFEST_BYTES, SNAPSHOTS, in_snapshot, is_snapshot_name,
};
use super::target::Target;

/// A snapshot. It exists for a restore only if it is finished.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Of all its files, below the root of the backup.
    pub names: Vec<String>,
    /// Of a finished one. Units: bytes.
    pub manifest_bytes: Option<u64>,
    /// None if it is not there or cannot be read.
    pub file_list: Option<FileList>,
}

impl Found {
    pub(super) fn is_finished(&self) -> bool {
        self.manifest_bytes.is_some()
    }

    /// Whether it may use any data file, as far as can be told: before its list was there, it used none.
    pub(super) fn may_use_any(&self, name: &str) -> bool {
        self.file_list.is_none() && (self.is_finished() || self.names.contains(&in_snapshot(name, FILE_LIST)))
    }

    pub(super) fn is_of(&self, store_uuid: &str) -> bool {
        self.file_list.as_ref().is_some_and(|list| list.store_uuid == store_uuid)
    }
}

/// All snapshots by name, oldest first.
pub(super) fn find_snapshots(target: &dyn Target) -> Result<BTreeMap<String, Found>> {
    let mut snapshots: BTreeMap<String, Found> = BTreeMap::new();
    for listed in target.list(SNAPSHOTS)? {
        let rest = listed.name.strip_prefix(SNAPSHOTS).and_then(|rest| rest.strip_prefix('/'));
        let Some((snapshot, file)) = rest.and_then(|rest| rest.split_once('/')) else { continue };
        if !is_snapshot_name(snapshot) {
            continue;
        }
        let found = snapshots.entry(snapshot.to_owned()).or_default();
        if file == MANIFEST {
            found.manifest_bytes = Some(listed.size_bytes);
        } else if file == FILE_LIST && listed.size_bytes <= MAX_MANIFEST_BYTES {
            let bytes = target.read(&listed.name, 0, listed.size_bytes as usize)?;
            found.file_list = FileList::decode(&bytes);
        }
        found.names.push(listed.name);
    }
    Ok(snapshots)
}
