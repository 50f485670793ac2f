//! Removes snapshots that are not to be kept, and the data files that only they used.
//!
//! What a snapshot uses is in its `FILES.json`, which is there before the first of its files and goes last, whether or not the
//! snapshot was ever finished. So the files of a backup that is running are known, too, whoever runs it. Only files that a
//! removed snapshot used are ever removed, and only if no other one does.

use std::collections::{BTreeMap, HashSet};

use super::Result;
use super::manifest::{FILE_LIST, MANIFEST, POOL, PoolId, in_snapshot, is_snapshot_name};
use super::snapshots::{Found, find_snapshots};
use super::target::{Listed, Target};

/// A snapshot that is not finished after this long never will be.
const ABANDONED_AFTER_NS: i64 = 24 * 3600 * 1_000_000_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pruned {
    pub snapshots: u64,
    pub files: u64,
}

/// Keeps the newest `keep` snapshots of a store (all, if None), and removes what is left of backups that never ended.
///
/// `newest` was made just now and is kept in any case.
pub(super) fn prune(
    target: &dyn Target,
    store_uuid: &str,
    newest: &str,
    keep: Option<usize>,
    now_ns: i64,
) -> Result<Pruned> {
    // Before the snapshots: a file that comes later is not removed.
    let pool = target.list(POOL)?;
    let mut kept = find_snapshots(target)?;
    let is_abandoned = |found: &Found| {
        let started_ns = found.file_list.as_ref().map_or(now_ns, |list| list.started_ns);
        !found.is_finished() && now_ns.saturating_sub(started_ns) > ABANDONED_AFTER_NS
    };
    let mut newer = 0;
    let mut doomed = Vec::new();
    for (name, found) in kept.iter().rev().filter(|(_, found)| found.is_of(store_uuid)) {
        newer += usize::from(found.is_finished());
        let is_surplus = found.is_finished() && keep.is_some_and(|keep| newer > keep);
        if name != newest && (is_surplus || is_abandoned(found)) {
            doomed.push(name.clone());
        }
    }
    let doomed: BTreeMap<_, _> = doomed.iter().filter_map(|name| kept.remove_entry(name)).collect();
    let unknown = kept.iter().any(|(name, found)| found.may_use_any(name));
    if unknown && !doomed.is_empty() {
        tracing::warn!(
            "a snapshot has no readable {FILE_LIST}; no data file is removed, because it may need any"
        );
    }
    let mut pruned = Pruned::default();
    // From here on they do not exist, so a crash leaves none with missing files.
    for (name, _) in doomed.iter().filter(|(_, found)| found.is_finished()) {
        target.remove(&in_snapshot(name, MANIFEST))?;
        pruned.snapshots += 1;
    }
    target.sync()?;
    if !unknown {
        pruned.files = remove_files(target, &pool, &kept, &doomed)?;
    }
    let is_list = |name: &str, file: &String| *file == in_snapshot(name, FILE_LIST);
    for (name, found) in &doomed {
        found.names.iter().filter(|file| !is_list(name, file)).try_for_each(|file| target.remove(file))?;
    }
    target.sync()?;
    // By its list, the next backup goes on if this one is interrupted.
    for name in doomed.keys() {
        target.remove(&in_snapshot(name, FILE_LIST))?;
        target.remove_snapshot(name)?;
    }
    target.sync()?;
    Ok(pruned)
}

/// Removes the files that only `doomed` snapshots use, and what was left of copies into the pool.
fn remove_files(
    target: &dyn Target,
    pool: &[Listed],
    kept: &BTreeMap<String, Found>,
    doomed: &BTreeMap<String, Found>,
) -> Result<u64> {
    let used = |snapshots: &BTreeMap<String, Found>| -> HashSet<PoolId> {
        let lists = snapshots.values().filter_map(|found| found.file_list.as_ref());
        lists.flat_map(|list| list.data_files.iter().copied()).collect()
    };
    let (needed, unneeded) = (used(kept), used(doomed));
    let is_being_made = |snapshot: &str| kept.get(snapshot).is_some_and(|found| !found.is_finished());
    let mut removed = 0;
    for Listed { name, .. } in pool {
        let Some((id, rest)) = PoolId::parse_name(name) else { continue };
        let copied_for = rest.strip_prefix('.').and_then(|rest| rest.strip_suffix(".tmp"));
        let goes = match copied_for {
            Some(snapshot) => is_snapshot_name(snapshot) && !is_being_made(snapshot),
            None => rest.is_empty() && unneeded.contains(&id) && !needed.contains(&id),
        };
        if goes {
            target.remove(name)?;
            removed += u64::from(copied_for.is_none());
        }
    }
    Ok(removed)
}
