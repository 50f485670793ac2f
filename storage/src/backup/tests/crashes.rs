//! Power cuts at every operation on the directory that backups are in.

use std::path::Path;
use std::sync::Arc;

use crate::backup::manifest::{
    FILE_LIST, FORMAT_VERSION, FileList, MANIFEST, PoolId, in_snapshot, snapshot_name,
};
use crate::backup::prune::prune;
use crate::backup::snapshots::find_snapshots;
use crate::backup::target::{Directory, Existing, Source, Target};
use crate::backup::{Progress, Result};
use crate::disk::Disk;
use crate::disk::sim::{Image, SimDisk, TearMode};
use alula_catalog::FileId;

const STORE: &str = "0000000000000000000000000000002a";

/// Makes a snapshot of these files, as a backup does; their content is their number.
fn make_snapshot(target: &Directory, time_ns: i64, files: &[u128]) -> Result<String> {
    let snapshot = snapshot_name(time_ns);
    let ids: Vec<_> = files.iter().map(|id| PoolId(FileId(*id))).collect();
    let file_list = FileList {
        format_version: FORMAT_VERSION,
        store_uuid: STORE.to_owned(),
        started_ns: time_ns,
        data_files: ids.clone(),
    };
    target.claim(&snapshot, &file_list.encode())?;
    let (scratch, path) =
        (SimDisk::new(Path::new("/scratch"), Image::default(), 0), Path::new("/scratch/source"));
    let progress = Progress::default();
    let put = |name: &str, content: &[u8]| {
        let file = scratch.create(path).unwrap();
        file.write_all_at(content, 0).unwrap();
        let source = Source {
            path,
            file,
            size_bytes: content.len() as u64,
            checksum: None,
            may_be_linked: false,
            progress: &progress,
        };
        target.put(name, &snapshot, &source, Existing::Keep).map(|_| ())
    };
    let there = target.list("files")?;
    for id in ids {
        if !there.iter().any(|file| file.name == id.file_name()) {
            put(&id.file_name(), id.0.to_string().repeat(100).as_bytes())?;
        }
    }
    put(&in_snapshot(&snapshot, "wal/00000000000000000001.wal"), b"log")?;
    put(&in_snapshot(&snapshot, "catalog.db"), b"catalog")?;
    target.sync()?;
    target.write(&in_snapshot(&snapshot, MANIFEST), b"manifest")?;
    Ok(snapshot)
}

/// Two backups, of which the second takes the place of the first.
fn scenario(target: &Directory) -> Result<()> {
    make_snapshot(target, 1_000_000_000, &[1, 2])?;
    let newest = make_snapshot(target, 2_000_000_000, &[2, 3])?;
    prune(target, STORE, &newest, Some(1), 3_000_000_000)?;
    Ok(())
}

/// Every snapshot that exists has all of its files, and they are what was put there.
fn assert_whole(target: &Directory, when: &str) -> usize {
    let mut finished = find_snapshots(target).unwrap();
    finished.retain(|_, found| found.is_finished());
    for (name, found) in &finished {
        let list = found.file_list.as_ref().unwrap_or_else(|| panic!("{when}: {name} has no {FILE_LIST}"));
        for id in &list.data_files {
            let content = id.0.to_string().repeat(100);
            let found = target.read(&id.file_name(), 0, content.len());
            assert_eq!(found.unwrap_or_default(), content.as_bytes(), "{when}: {name}");
        }
        for (file, content) in [("catalog.db", &b"catalog"[..]), ("wal/00000000000000000001.wal", b"log")] {
            let found = target.read(&in_snapshot(name, file), 0, content.len());
            assert_eq!(found.unwrap_or_default(), content, "{when}: {name}");
        }
    }
    finished.len()
}

#[test]
fn a_snapshot_that_exists_after_a_power_cut_has_all_of_its_files() {
    let root = Path::new("/sim");
    let on = |disk: &SimDisk| Directory::new(root.join("backups"), Arc::new(disk.clone()));
    let disk = SimDisk::new(root, Image::default(), 0);
    scenario(&on(&disk)).unwrap();
    let num_operations = disk.num_operations();
    assert_eq!(assert_whole(&on(&disk), "without a cut"), 1);
    assert_eq!(on(&disk).list("files").unwrap().len(), 2);

    let mut num_left = [0; 3];
    for operation in 0..num_operations {
        for (seed, mode) in TearMode::ALL.into_iter().enumerate() {
            let disk = SimDisk::new(root, Image::default(), seed as u64);
            disk.cut_power_at(operation);
            scenario(&on(&disk)).unwrap_err();
            let image = disk.image().after_power_cut(mode, seed as u64);
            let disk = SimDisk::new(root, image, 0);
            let when = format!("{mode:?} at {operation}");
            num_left[assert_whole(&on(&disk), &when)] += 1;

            // The next backup goes on from there.
            let newest = make_snapshot(&on(&disk), 4_000_000_000, &[3]).unwrap();
            let a_day_later = 100_000_000_000_000;
            prune(&on(&disk), STORE, &newest, Some(1), a_day_later).unwrap();
            assert_eq!(assert_whole(&on(&disk), &when), 1);
            let left: Vec<_> = on(&disk).list("files").unwrap().into_iter().map(|file| file.name).collect();
            assert_eq!(left, [PoolId(FileId(3)).file_name()], "{when}");
        }
    }
    assert!(num_left.iter().all(|number| *number > 0), "{num_left:?}");
}

/// Scenario: a backup is killed at any operation, the next one is made, and then the power goes.
#[test]
fn what_a_killed_backup_left_is_durable_once_another_one_relies_on_it() {
    let root = Path::new("/sim");
    let on = |disk: &SimDisk| Directory::new(root.join("backups"), Arc::new(disk.clone()));
    let disk = SimDisk::new(root, Image::default(), 0);
    scenario(&on(&disk)).unwrap();
    for operation in 0..disk.num_operations() {
        let disk = SimDisk::new(root, Image::default(), 0);
        disk.cut_power_at(operation);
        scenario(&on(&disk)).unwrap_err();
        // Only the process has ended: what it wrote is there, synced or not.
        let disk = SimDisk::new(root, disk.image(), 0);
        make_snapshot(&on(&disk), 4_000_000_000, &[1, 2, 3]).unwrap();
        for (seed, mode) in TearMode::ALL.into_iter().enumerate() {
            let image = disk.image().after_power_cut(mode, seed as u64);
            let left = SimDisk::new(root, image, 0);
            let when = format!("{mode:?} after a kill at {operation}");
            assert!(assert_whole(&on(&left), &when) > 0, "{when}: the newest is gone");
        }
    }
}
