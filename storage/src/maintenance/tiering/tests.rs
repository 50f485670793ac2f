//! A file is local or remote, once, whatever fails on its way; and nothing is left over.

use std::path::Path;
use std::sync::atomic::Ordering;

use alula_catalog::{Hour, SequenceNumber, Signal, TenantNumber, TimeRange};
use tempfile::tempdir;

use super::*;
use crate::maintenance::{Garbage, tier_all};
use crate::remote::testing::FaultyStore;
use crate::testing::{bodies, config, crash_image, entry, expected, open};
use crate::{Config, Storage};

const NOON_S: i64 = 1_795_262_400;

fn open_with(dir: &Path, remote: RemoteConfig) -> Storage {
    open(Config { remote: Some(remote), ..config(dir) }).unwrap()
}

async fn flush(storage: &Storage, label: &str, count: usize) {
    storage.append(entry("a", label, NOON_S, count)).await.unwrap();
    storage.flush().await.unwrap();
}

fn files(storage: &Storage) -> Vec<DataFile> {
    storage.store().catalog.live_files().unwrap()
}

fn local_copies(storage: &Storage) -> usize {
    let mut count = 0;
    let mut dirs = vec![storage.store().layout.data_root()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { dirs.push(path) } else { count += 1 }
        }
    }
    count
}

/// Tiers and removes until nothing is left to do, past failures.
fn settle(storage: &Storage) {
    for _ in 0..50 {
        tier_all(storage);
        let mut pace = Pace::new(1.0);
        Garbage::default().step(storage.store(), &mut pace).unwrap();
        if files(storage).iter().all(|file| file.tier == Tier::Remote) {
            return;
        }
    }
    panic!("files stay local");
}

#[tokio::test]
async fn a_file_moves_and_its_local_copy_goes_once_no_scan_reads_it() {
    let (dir, store) = (tempdir().unwrap(), FaultyStore::new(1));
    let storage = open_with(dir.path(), store.config());
    flush(&storage, "x", 20).await;
    let before = storage.snapshot();
    settle(&storage);
    assert_eq!(local_copies(&storage), 1, "a snapshot still names it");
    drop(before);
    settle(&storage);
    assert_eq!(local_copies(&storage), 0);
    assert_eq!(bodies(&storage, "a").await, expected(&[("x", 20)]));
    assert_eq!(store.data_files().await.len(), 1);
    drop(storage);
    let storage = open_with(dir.path(), store.config());
    assert_eq!(bodies(&storage, "a").await, expected(&[("x", 20)]));
}

#[tokio::test]
async fn faults_and_lost_answers_double_and_lose_nothing() {
    let (dir, store) = (tempdir().unwrap(), FaultyStore::new(2));
    let storage = open_with(dir.path(), store.config());
    store.failing.store(20, Ordering::Relaxed);
    store.unanswered.store(20, Ordering::Relaxed);
    let labels: Vec<String> = (0..60).map(|i| format!("l{i}")).collect();
    for label in &labels {
        flush(&storage, label, 2).await;
    }
    settle(&storage);
    store.failing.store(0, Ordering::Relaxed);
    store.unanswered.store(0, Ordering::Relaxed);
    settle(&storage);
    let all: Vec<_> = labels.iter().map(|label| (label.as_str(), 2)).collect();
    assert_eq!(bodies(&storage, "a").await, expected(&all));
    let mut names: Vec<_> = files(&storage).iter().map(crate::remote::object_name).collect();
    names.sort();
    assert_eq!(store.data_files().await, names, "one object for each file and none besides");
    assert_eq!(local_copies(&storage), 0);
}

#[tokio::test]
async fn a_large_file_goes_in_parts_and_unfinished_uploads_are_aborted() {
    let (dir, store) = (tempdir().unwrap(), FaultyStore::new(3));
    let mut remote = store.config();
    remote.backend.as_mut().unwrap().multipart_above = 0;
    let storage = open_with(dir.path(), remote.clone());
    let labels: Vec<String> = (0..40).map(|i| format!("l{i}")).collect();
    store.failing.store(30, Ordering::Relaxed);
    store.unanswered.store(30, Ordering::Relaxed);
    for label in &labels {
        flush(&storage, label, 2).await;
    }
    settle(&storage);
    // After a crash there is nobody who remembers but the catalog.
    let image = tempdir().unwrap();
    crash_image(dir.path(), image.path());
    drop(storage);
    store.failing.store(0, Ordering::Relaxed);
    store.unanswered.store(0, Ordering::Relaxed);
    let storage = open_with(image.path(), remote);
    tier_all(&storage);
    assert_eq!(store.open_uploads.load(Ordering::Relaxed), 0);
    assert!(storage.store().catalog.unfinished_uploads().unwrap().is_empty());
    let all: Vec<_> = labels.iter().map(|label| (label.as_str(), 2)).collect();
    assert_eq!(bodies(&storage, "a").await, expected(&all));
    assert_eq!(store.data_files().await.len(), labels.len());
}

#[tokio::test]
async fn a_crash_before_the_commit_leaves_an_object_that_the_next_attempt_uses() {
    let (dir, store) = (tempdir().unwrap(), FaultyStore::new(4));
    let storage = open_with(dir.path(), store.config());
    flush(&storage, "x", 20).await;
    let remote = Arc::clone(storage.store().data_files.remote().unwrap());
    let file = Arc::clone(storage.store().buffer.snapshot().files().next().unwrap());
    remote.wait(Arc::clone(&remote).upload(Arc::clone(&file))).unwrap().unwrap();
    drop((storage, remote));
    let storage = open_with(dir.path(), store.config());
    assert_eq!(files(&storage)[0].tier, Tier::Local);
    settle(&storage);
    assert_eq!(store.data_files().await, [crate::remote::object_name(&file)]);
    assert_eq!(bodies(&storage, "a").await, expected(&[("x", 20)]));
}

#[tokio::test]
async fn a_torn_object_of_an_interrupted_put_is_put_again() {
    let (dir, store) = (tempdir().unwrap(), FaultyStore::new(5));
    let storage = open_with(dir.path(), store.config());
    flush(&storage, "x", 20).await;
    let remote = Arc::clone(storage.store().data_files.remote().unwrap());
    let file = Arc::clone(storage.store().buffer.snapshot().files().next().unwrap());
    remote.wait(Arc::clone(&remote).upload(Arc::clone(&file))).unwrap().unwrap();
    store.change(&file, |bytes| bytes.truncate(100)).await;
    drop(file);
    settle(&storage);
    assert_eq!(bodies(&storage, "a").await, expected(&[("x", 20)]));
}

#[tokio::test]
async fn a_crash_after_the_commit_leaves_a_local_copy_that_the_next_start_sweeps() {
    let (dir, store) = (tempdir().unwrap(), FaultyStore::new(6));
    let storage = open_with(dir.path(), store.config());
    flush(&storage, "x", 20).await;
    tier_all(&storage);
    assert_eq!(local_copies(&storage), 1);
    let image = tempdir().unwrap();
    crash_image(dir.path(), image.path());
    drop(storage);
    let storage = open_with(image.path(), store.config());
    assert_eq!(local_copies(&storage), 0);
    assert_eq!(bodies(&storage, "a").await, expected(&[("x", 20)]));
}

#[tokio::test]
async fn a_file_that_is_replaced_on_its_way_does_not_come_back() {
    let (dir, store) = (tempdir().unwrap(), FaultyStore::new(7));
    let storage = open_with(dir.path(), store.config());
    flush(&storage, "x", 20).await;
    let inner = storage.store();
    let remote = Arc::clone(inner.data_files.remote().unwrap());
    let file = Arc::clone(inner.buffer.snapshot().files().next().unwrap());
    let hashes = remote.wait(Arc::clone(&remote).upload(Arc::clone(&file))).unwrap().unwrap();
    inner.replace_files(vec![file.id], Vec::new()).unwrap();
    let task = Tiering::new(remote, &store.config(), CompactionConfig::default());
    task.commit(inner, file, &hashes).unwrap();
    assert!(bodies(&storage, "a").await.is_empty());
    assert!(store.data_files().await.is_empty(), "its object is gone");
}

#[tokio::test]
async fn the_object_of_a_dropped_file_goes_and_before_it_the_row_stays() {
    let (dir, store) = (tempdir().unwrap(), FaultyStore::new(8));
    let storage = open_with(dir.path(), store.config());
    flush(&storage, "x", 20).await;
    settle(&storage);
    let file = files(&storage)[0].id;
    store.is_down.store(true, Ordering::Relaxed);
    storage.store().replace_files(vec![file], Vec::new()).unwrap();
    settle(&storage);
    assert_eq!(storage.store().catalog.dead_files().unwrap().len(), 1);
    // Nobody waits for the store at a start; what is dead is remembered.
    drop(storage);
    let storage = open_with(dir.path(), store.config());
    assert_eq!(storage.store().catalog.dead_files().unwrap().len(), 1);
    store.is_down.store(false, Ordering::Relaxed);
    settle(&storage);
    assert!(store.data_files().await.is_empty());
    assert!(storage.store().catalog.dead_files().unwrap().is_empty());
}

#[tokio::test]
async fn objects_of_no_file_are_removed_once_they_are_old_enough() {
    let (dir, store) = (tempdir().unwrap(), FaultyStore::new(9));
    let storage = open_with(dir.path(), store.config());
    flush(&storage, "x", 20).await;
    settle(&storage);
    let inner = storage.store();
    let remote = Arc::clone(inner.data_files.remote().unwrap());
    flush(&storage, "y", 20).await;
    let orphan =
        inner.buffer.snapshot().files().find(|file| file.tier == Tier::Local).map(Arc::clone).unwrap();
    remote.wait(Arc::clone(&remote).upload(Arc::clone(&orphan))).unwrap().unwrap();
    inner.replace_files(vec![orphan.id], Vec::new()).unwrap();
    let clean = |age| remote.wait(Arc::clone(&remote).remove_orphans(age)).unwrap().unwrap();
    assert_eq!(clean(Duration::from_hours(1)), 0);
    assert_eq!(clean(Duration::ZERO), 1);
    assert_eq!(clean(Duration::ZERO), 0);
    assert_eq!(bodies(&storage, "a").await, expected(&[("x", 20)]));
}

#[tokio::test]
async fn a_copy_of_a_data_directory_reads_the_tier_and_changes_nothing_there() {
    let (dir, store) = (tempdir().unwrap(), FaultyStore::new(10));
    let storage = open_with(dir.path(), store.config());
    flush(&storage, "x", 20).await;
    settle(&storage);
    let copy = tempdir().unwrap();
    crash_image(dir.path(), copy.path());
    // No backup has it.
    std::fs::remove_file(copy.path().join("remote-owner")).unwrap();
    let restored = open_with(copy.path(), store.config());
    assert_eq!(bodies(&restored, "a").await, expected(&[("x", 20)]));
    flush(&restored, "y", 3).await;
    let file = files(&restored)[0].id;
    restored.store().replace_files(vec![file], Vec::new()).unwrap();
    tier_all(&restored);
    Garbage::default().step(restored.store(), &mut Pace::new(1.0)).unwrap();
    assert_eq!(bodies(&restored, "a").await, expected(&[("y", 3)]));
    assert_eq!(bodies(&storage, "a").await, expected(&[("x", 20)]), "the original has all it had");
    assert_eq!(store.data_files().await.len(), 1);
}

#[tokio::test]
async fn a_store_that_is_down_keeps_files_local_and_is_left_alone_for_a_while() {
    let (dir, store) = (tempdir().unwrap(), FaultyStore::new(11));
    let storage = open_with(dir.path(), store.config());
    store.is_down.store(true, Ordering::Relaxed);
    flush(&storage, "x", 20).await;
    let remote = Arc::clone(storage.store().data_files.remote().unwrap());
    let mut task = Tiering::new(remote, &store.config(), CompactionConfig::default());
    while task.pause.is_none() {
        task.step(storage.store(), &mut Pace::new(1.0)).unwrap();
    }
    let (first, until) = task.pause.unwrap();
    task.begin(storage.store(), until.checked_sub(Duration::from_millis(1)).unwrap());
    assert!(task.uploads.is_empty() && task.cleaning.is_none());
    task.begin(storage.store(), until);
    assert_eq!(task.uploads.len(), 1);
    let end = loop {
        if let Some(end) = task.next_end(storage.store()) {
            break end;
        }
    };
    task.finish(storage.store(), end).unwrap();
    assert_eq!(task.pause.unwrap().0, first * 2);
    assert_eq!(bodies(&storage, "a").await, expected(&[("x", 20)]));
}

#[tokio::test]
async fn a_file_that_cannot_be_read_holds_up_no_other() {
    let (dir, store) = (tempdir().unwrap(), FaultyStore::new(12));
    let storage = open_with(dir.path(), store.config());
    let labels: Vec<String> = (0..=UPLOADS).map(|i| format!("l{i}")).collect();
    for label in &labels {
        flush(&storage, label, 2).await;
    }
    let (lost, kept) = (&files(&storage)[..UPLOADS], &files(&storage)[UPLOADS]);
    for file in lost {
        std::fs::remove_file(storage.store().layout.data_file(file)).unwrap();
    }
    let remote = Arc::clone(storage.store().data_files.remote().unwrap());
    let mut task = Tiering::new(remote, &store.config(), CompactionConfig::default());
    let mut failures = 0;
    while storage.store().catalog.tier_of(kept.id).unwrap() == Some(Tier::Local) {
        failures += usize::from(task.step(storage.store(), &mut Pace::new(1.0)).is_err());
        assert!(failures <= UPLOADS, "a file was tried again at once");
    }
    assert_eq!((failures, task.set_aside.len()), (UPLOADS, UPLOADS));
    task.set_aside.values_mut().for_each(|until| *until = Some(Instant::now()));
    task.begin(storage.store(), Instant::now());
    assert_eq!(task.uploads.len(), UPLOADS, "they are tried again later");
}

#[test]
fn a_file_moves_when_it_is_old_and_compaction_is_done_with_it() {
    const HOUR_NS: i64 = 3_600_000_000_000;
    let now_ns = 1_795_262_400_000_000_000;
    let compaction = CompactionConfig { target_bytes: 1000, ..CompactionConfig::default() };
    let rule = |hours| Rule { after: Duration::from_hours(hours), compaction };
    let file = |rows_age_h: i64, written_age_h: i64, num_hours, size_bytes| {
        let written_s = ((now_ns - written_age_h * HOUR_NS) / 1_000_000_000) as u64;
        let written = uuid::Timestamp::from_unix(uuid::NoContext, written_s, 0);
        let newest = now_ns - rows_age_h * HOUR_NS;
        DataFile {
            id: FileId(uuid::Uuid::new_v7(written).as_u128()),
            tenant: TenantNumber(1),
            signal: Signal::Logs,
            hour: Hour::of(newest),
            num_hours,
            tier: Tier::Local,
            num_rows: 1,
            size_bytes,
            checksum: [0; 16],
            timestamps: TimeRange { min_ns: newest, max_ns: newest },
            first_seq: SequenceNumber(1),
            last_seq: SequenceNumber(1),
            schema_version: 1,
            deletions_applied: 0,
        }
    };
    for (is_due, hours, file) in [
        (true, 0, file(0, 0, 1, 1)),
        (true, 0, file(-5, 0, 1, 1)),
        (false, 24, file(23, 23, 24, 1)),
        (true, 24, file(24, 0, 24, 1)),
        (false, 24, file(24, 0, 1, 500)),
        (true, 24, file(24, 0, 1, 501)),
        (false, 240, file(240, 47, 1, 1)),
        (true, 240, file(240, 48, 1, 1)),
        (true, 1, file(24, 1, 1, 1)),
        (false, 0, DataFile { tier: Tier::Remote, ..file(240, 240, 24, 1) }),
    ] {
        assert_eq!(rule(hours).is_due(&file, now_ns), is_due, "after {hours} h: {file:?}");
    }
}
