//! Backups while the store changes as fast as it can, and at the very moments that matter.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Fixture, at, flush_one, stored_in};
use crate::backup::take::{Wishes, take};
use crate::backup::{BackupReport, Location, Progress};
use crate::disk::faulty::FaultyDisk;
use crate::disk::{Disk, RealDisk};
use crate::layout::Layout;
use crate::testing::{config, entry, expected, open};
use crate::{Config, Storage};

/// As many as there are moments to hit by chance.
const BACKUPS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn backups_under_ingest_flush_and_compaction_at_full_speed_have_every_row_that_was_acknowledged_before()
{
    let fixture = Fixture::new();
    let storage = open(Config {
        wal_segment_bytes: 16 << 10,
        maintenance_interval: Duration::from_millis(1),
        ..config(&fixture.data_dir())
    })
    .unwrap();
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let appending = tokio::spawn(append_until(storage.clone(), Arc::clone(&acknowledged), Arc::clone(&done)));
    let flushing = tokio::spawn(flush_until(storage.clone(), Arc::clone(&done)));
    let compacting = tokio::spawn(compact_until(storage.clone(), Arc::clone(&done)));

    let mut taken: Vec<(usize, BackupReport)> = Vec::new();
    for _ in 0..BACKUPS {
        let before = acknowledged.load(Ordering::SeqCst);
        taken.push((before, fixture.back_up().await));
    }
    done.store(true, Ordering::SeqCst);
    let sent = appending.await.unwrap();
    flushing.await.unwrap();
    compacting.await.unwrap();
    storage.close().await.unwrap();

    let mut from_files = 0;
    for (before, report) in taken {
        let found = fixture.restored(Some(&report.snapshot)).await;
        // The rows of the first so many entries, each once: none of those before the backup is missing, and none came twice.
        let num_entries = found.len() / 3;
        let labels: Vec<_> = (0..num_entries).map(|number| format!("e{number}")).collect();
        let labels: Vec<_> = labels.iter().map(|label| (label.as_str(), 3)).collect();
        assert_eq!(found, expected(&labels), "{report:?}");
        assert!((before..=sent).contains(&num_entries), "{before} <= {num_entries} <= {sent}");
        from_files += report.data_files;
    }
    assert!(from_files > 0 && sent > 0, "the scenario took place");
}

async fn append_until(storage: Storage, acknowledged: Arc<AtomicUsize>, done: Arc<AtomicBool>) -> usize {
    let mut number = 0;
    while !done.load(Ordering::SeqCst) {
        storage.append(entry("a", &format!("e{number}"), 60 * number as i64, 3)).await.unwrap();
        number += 1;
        acknowledged.store(number, Ordering::SeqCst);
    }
    number
}

async fn flush_until(storage: Storage, done: Arc<AtomicBool>) {
    while !done.load(Ordering::SeqCst) {
        storage.flush().await.unwrap();
    }
}

async fn compact_until(storage: Storage, done: Arc<AtomicBool>) {
    while !done.load(Ordering::SeqCst) {
        storage.compact(None, None).await.unwrap();
    }
}

/// Takes a backup on a disk on which things happen.
async fn back_up_on(fixture: &Fixture, disk: FaultyDisk) -> BackupReport {
    let layout = Layout::new(fixture.data_dir(), Arc::new(disk));
    let location: Location = at(&fixture.backups());
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let target = location.open(Arc::new(RealDisk) as Arc<dyn Disk>, &runtime).unwrap();
        take(&layout, target.as_ref(), Wishes::default(), &Progress::default()).unwrap()
    })
    .await
    .unwrap()
}

/// Replaces every file by a compacted one, and removes them, while a backup waits.
fn compact_meanwhile(storage: &Storage) -> impl FnOnce() + Send + 'static {
    let (storage, runtime) = (storage.clone(), tokio::runtime::Handle::current());
    move || {
        runtime.block_on(async {
            storage.append(entry("a", "meanwhile", 0, 1)).await.unwrap();
            storage.flush().await.unwrap();
            storage.compact(None, None).await.unwrap();
        });
        let store = storage.store();
        for dead in store.catalog.dead_files().unwrap() {
            let _ = std::fs::remove_file(store.layout.data_file(&dead.file));
        }
    }
}

async fn two_files_and_a_log(fixture: &Fixture) -> Storage {
    let storage = fixture.open();
    // In one hour, so that they are compacted together.
    for label in ["one", "two"] {
        flush_one(&storage, label, 0).await;
    }
    storage.append(entry("a", "log", 0, 3)).await.unwrap();
    storage
}

/// Whether the row that came during the backup is in it is open.
fn assert_complete(mut found: BTreeMap<String, usize>) {
    found.remove("meanwhile-0");
    assert_eq!(found, expected(&[("one", 2), ("two", 2), ("log", 3)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_compacted_away_after_the_catalog_was_copied_lead_to_another_copy() {
    let fixture = Fixture::new();
    let storage = two_files_and_a_log(&fixture).await;
    let report = back_up_on(&fixture, FaultyDisk::before_link(compact_meanwhile(&storage))).await;
    assert_eq!(report.data_files, 1);
    assert_complete(fixture.restored(None).await);
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_without_second_names_may_go_while_they_are_read() {
    let fixture = Fixture::new();
    let storage = two_files_and_a_log(&fixture).await;
    let report = back_up_on(&fixture, FaultyDisk::without_links(compact_meanwhile(&storage))).await;
    assert_eq!(report.data_files, 1);
    assert_complete(fixture.restored(None).await);
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_or_starts_meanwhile_changes_nothing() {
    let fixture = Fixture::new();
    let storage = two_files_and_a_log(&fixture).await;
    let storage = Arc::new(Mutex::new(Some(storage)));
    let restart = {
        let (storage, data_dir) = (Arc::clone(&storage), fixture.data_dir());
        move || {
            let mut storage = storage.lock().unwrap();
            // Without a flush, like a kill; the next start moves the log into files and removes it.
            drop(storage.take());
            *storage = Some(open(config(&data_dir)).unwrap());
        }
    };
    back_up_on(&fixture, FaultyDisk::before_link(restart)).await;
    let storage = storage.lock().unwrap().take().unwrap();
    assert_complete(fixture.restored(None).await);
    storage.close().await.unwrap();
    assert_complete(stored_in(&fixture.data_dir()).await);
}
