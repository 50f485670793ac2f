mod crashes;
mod log_tail;
mod object_store;
mod races;
mod restores;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::{TempDir, tempdir};

use super::manifest::MANIFEST;
use super::{
    BackupOptions, BackupReport, Error, Location, Progress, RestoreOptions, RestoreReport, Result, backup,
    restore,
};
use crate::Storage;
use crate::testing::{bodies, config, entry, expected, open};

const DAY_S: i64 = 86_400;

/// A data directory, a place for backups, and room for restored stores.
struct Fixture {
    dir: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { dir: tempdir().unwrap() }
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data-dir")
    }

    fn backups(&self) -> PathBuf {
        self.dir.path().join("backups")
    }

    fn open(&self) -> Storage {
        open(config(&self.data_dir())).unwrap()
    }

    fn options(&self) -> BackupOptions {
        BackupOptions { data_dir: self.data_dir(), to: at(&self.backups()), keep: None, verify: false }
    }

    async fn back_up(&self) -> BackupReport {
        backup(self.options(), Arc::default()).await.unwrap()
    }

    /// Restores a snapshot to a directory of that name.
    async fn try_restore(&self, snapshot: Option<&str>, name: &str) -> Result<RestoreReport> {
        let options = RestoreOptions {
            from: at(&self.backups()),
            snapshot: snapshot.map(str::to_owned),
            data_dir: self.dir.path().join(name),
        };
        restore(options, Arc::default()).await
    }

    /// What a server finds in the restored store, which must have lost nothing.
    async fn restored(&self, snapshot: Option<&str>) -> BTreeMap<String, usize> {
        let name = format!("restored-{}", snapshot.unwrap_or("newest"));
        self.try_restore(snapshot, &name).await.unwrap();
        stored_in(&self.dir.path().join(name)).await
    }

    fn pool(&self) -> Vec<String> {
        let mut names = names_in(&self.backups().join("files"));
        names.sort();
        names
    }

    fn snapshot_file(&self, snapshot: &str, name: &str) -> PathBuf {
        self.backups().join("snapshots").join(snapshot).join(name)
    }
}

fn at(path: &Path) -> Location {
    Location::parse(path.to_str().unwrap()).unwrap()
}

async fn stored_in(data_dir: &Path) -> BTreeMap<String, usize> {
    let storage = open(config(data_dir)).unwrap();
    assert_eq!(storage.store().catalog.data_losses().unwrap(), []);
    let found = bodies(&storage, "a").await;
    storage.close().await.unwrap();
    found
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}

/// Stores an entry in a file of its own.
async fn flush_one(storage: &Storage, label: &str, day: i64) {
    storage.append(entry("a", label, day * DAY_S, 2)).await.unwrap();
    storage.flush().await.unwrap();
}

#[tokio::test]
async fn rows_in_files_and_rows_in_the_log_of_a_store_in_use_come_back() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    flush_one(&storage, "file", 0).await;
    storage.append(entry("a", "log", 0, 3)).await.unwrap();
    storage.append(entry("b", "other-tenant", 0, 1)).await.unwrap();

    let report = fixture.back_up().await;
    assert_eq!((report.data_files, report.new_data_files), (1, 1));
    storage.append(entry("a", "later", 0, 1)).await.unwrap();

    let restored = fixture.try_restore(None, "restored").await.unwrap();
    assert_eq!((restored.data_files, restored.log_segments, restored.rows_in_files), (1, 1, 2));
    assert_eq!((&restored.snapshot, restored.bytes), (&report.snapshot, report.bytes));
    assert_eq!(stored_in(&fixture.dir.path().join("restored")).await, expected(&[("file", 2), ("log", 3)]));
    // Nothing of the backup stays beside the data.
    assert!(!fixture.data_dir().join("backup.tmp").exists());
    storage.close().await.unwrap();
}

#[tokio::test]
async fn a_store_that_no_server_has_open_is_backed_up_the_same_way() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    flush_one(&storage, "file", 0).await;
    storage.append(entry("a", "log", 0, 3)).await.unwrap();
    // Ends without a flush.
    drop(storage);
    fixture.back_up().await;
    assert_eq!(fixture.restored(None).await, expected(&[("file", 2), ("log", 3)]));
    assert_eq!(stored_in(&fixture.data_dir()).await, expected(&[("file", 2), ("log", 3)]));
}

#[tokio::test]
async fn a_second_backup_copies_only_the_files_that_are_new() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    for day in 0..3 {
        flush_one(&storage, &format!("first-{day}"), day).await;
    }
    let first = fixture.back_up().await;
    assert_eq!((first.data_files, first.new_data_files), (3, 3));
    flush_one(&storage, "second", 7).await;
    let second = fixture.back_up().await;
    assert_eq!((second.data_files, second.new_data_files), (4, 1));
    assert!(second.new_bytes < second.bytes);
    assert_eq!(fixture.pool().len(), 4);
    let third = fixture.back_up().await;
    assert_eq!((third.data_files, third.new_data_files), (4, 0));

    let days = [("first-0", 2), ("first-1", 2), ("first-2", 2)];
    assert_eq!(fixture.restored(Some(&first.snapshot)).await, expected(&days));
    assert_eq!(
        fixture.restored(Some(&third.snapshot)).await,
        expected(&[&days[..], &[("second", 2)]].concat())
    );
    storage.close().await.unwrap();
}

#[tokio::test]
async fn old_snapshots_go_and_only_the_files_that_no_other_one_needs() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    let mut snapshots = Vec::new();
    for day in 0..3 {
        flush_one(&storage, &format!("day-{day}"), day).await;
        snapshots.push(fixture.back_up().await.snapshot);
    }
    storage.compact(None, None).await.unwrap();
    // Of another store, older than all of them.
    let other = Fixture::new();
    let other_storage = other.open();
    flush_one(&other_storage, "other", 0).await;
    let options = BackupOptions { to: at(&fixture.backups()), ..other.options() };
    let others = backup(options, Arc::default()).await.unwrap();
    let before = fixture.pool().len();

    let keep = NonZeroUsize::new(2);
    let report = backup(BackupOptions { keep, ..fixture.options() }, Arc::default()).await.unwrap();
    assert_eq!(report.removed_snapshots, 2);
    let mut left = names_in(&fixture.backups().join("snapshots"));
    left.sort();
    assert_eq!(left, [snapshots[2].clone(), others.snapshot.clone(), report.snapshot.clone()]);
    assert_eq!(
        fixture.pool().len(),
        before + report.new_data_files as usize - report.removed_data_files as usize
    );
    let days = [("day-0", 2), ("day-1", 2), ("day-2", 2)];
    assert_eq!(fixture.restored(Some(&snapshots[2])).await, expected(&days));
    assert_eq!(fixture.restored(Some(&report.snapshot)).await, expected(&days));
    assert_eq!(fixture.restored(Some(&others.snapshot)).await, expected(&[("other", 2)]));

    // The newest alone: whatever only the one before it used goes.
    flush_one(&storage, "day-9", 9).await;
    let keep = NonZeroUsize::new(1);
    let report = backup(BackupOptions { keep, ..fixture.options() }, Arc::default()).await.unwrap();
    assert_eq!(fixture.pool().len() as u64, report.data_files + others.data_files);
    let error = fixture.try_restore(None, "which").await.unwrap_err();
    assert!(matches!(&error, Error::SeveralStores { available, .. } if available.contains(&others.snapshot)));
    storage.close().await.unwrap();
    other_storage.close().await.unwrap();
}

#[tokio::test]
async fn verification_finds_damaged_files_of_the_pool_and_replaces_them() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    for day in 0..3 {
        flush_one(&storage, &format!("day-{day}"), day).await;
    }
    fixture.back_up().await;
    let pool = fixture.backups().join("files");
    let [flipped, short, _] = &fixture.pool()[..] else { panic!("three files") };
    for (name, cut) in [(flipped, 0), (short, 1)] {
        let mut bytes = std::fs::read(pool.join(name)).unwrap();
        bytes.truncate(bytes.len() - cut);
        bytes[100] ^= 1;
        std::fs::remove_file(pool.join(name)).unwrap();
        std::fs::write(pool.join(name), bytes).unwrap();
    }
    // The size alone tells of the one that is too short.
    assert_eq!(fixture.back_up().await.repaired_data_files, 1);
    assert_eq!(fixture.try_restore(None, "damaged").await.unwrap_err().kind(), super::ErrorKind::Failed);
    let report = backup(BackupOptions { verify: true, ..fixture.options() }, Arc::default()).await.unwrap();
    assert_eq!((report.repaired_data_files, report.new_data_files), (1, 0));
    assert_eq!(fixture.restored(None).await, expected(&[("day-0", 2), ("day-1", 2), ("day-2", 2)]));
    storage.close().await.unwrap();
}

#[tokio::test]
async fn a_damaged_data_file_is_not_backed_up_and_its_backup_is_kept() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    flush_one(&storage, "kept", 0).await;
    let kept = fixture.back_up().await;
    flush_one(&storage, "day-1", 1).await;
    for path in files_below(&fixture.data_dir().join("data")) {
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[100] ^= 1;
        // By another name, as a disk would damage one of two.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
    let error = backup(fixture.options(), Arc::default()).await.unwrap_err();
    assert!(matches!(error, Error::Storage(crate::Error::CorruptFile { .. })), "{error:?}");
    assert_eq!(fixture.pool().len(), 1);
    assert_eq!(fixture.restored(None).await, expected(&[("kept", 2)]));
    assert_eq!(names_in(&fixture.backups().join("snapshots")).len(), 2);
    assert!(!fixture.data_dir().join("backup.tmp").exists());
    assert_eq!(kept.data_files, 1);
    drop(storage);
}

#[tokio::test]
async fn what_an_interrupted_backup_left_is_used_and_cleaned_up_by_the_next() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    flush_one(&storage, "file", 0).await;
    let complete = fixture.back_up().await;
    // Killed just before its end.
    std::fs::remove_file(fixture.snapshot_file(&complete.snapshot, MANIFEST)).unwrap();
    std::fs::create_dir_all(fixture.data_dir().join("backup.tmp/files")).unwrap();
    std::fs::write(fixture.data_dir().join("backup.tmp/files/left"), "left").unwrap();
    assert!(matches!(fixture.try_restore(None, "none").await.unwrap_err(), Error::NoBackup { .. }));

    let report = fixture.back_up().await;
    assert_eq!((report.data_files, report.new_data_files), (1, 0));
    assert!(!fixture.data_dir().join("backup.tmp").exists());
    assert_eq!(fixture.restored(None).await, expected(&[("file", 2)]));
    storage.close().await.unwrap();
}

#[tokio::test]
async fn a_second_backup_at_the_same_time_is_refused() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    let layout = crate::testing::layout(&fixture.data_dir());
    let staging = super::staging::Staging::open(&layout).unwrap();
    let error = backup(fixture.options(), Arc::default()).await.unwrap_err();
    let pid = std::process::id().to_string();
    assert!(matches!(&error, Error::BackupRunning { pid: found, .. } if *found == pid), "{error:?}");
    drop(staging);
    fixture.back_up().await;
    storage.close().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_backed_up_or_restored_is_said() {
    let fixture = Fixture::new();
    let nothing = backup(fixture.options(), Arc::default()).await.unwrap_err();
    assert!(matches!(nothing, Error::NotAStore { .. }));
    assert!(!fixture.data_dir().exists() && !fixture.backups().exists());

    let storage = fixture.open();
    let inside = BackupOptions { to: at(&fixture.data_dir().join("backups/daily")), ..fixture.options() };
    let error = backup(inside, Arc::default()).await.unwrap_err();
    assert!(matches!(error, Error::InvalidLocation { .. }), "{error:?}");
    assert!(matches!(fixture.try_restore(None, "x").await.unwrap_err(), Error::NoBackup { .. }));
    let snapshot = fixture.back_up().await.snapshot;
    let error = fixture.try_restore(Some("20200101T000000.000Z"), "x").await.unwrap_err();
    assert!(matches!(&error, Error::NoSnapshot { available, .. } if *available == snapshot), "{error:?}");

    let progress = Arc::new(Progress::default());
    progress.cancel();
    let error = backup(fixture.options(), progress).await.unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error:?}");
    storage.close().await.unwrap();
}

#[tokio::test]
async fn a_data_file_that_the_store_has_lost_fails_the_backup_by_name() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    flush_one(&storage, "file", 0).await;
    let [path] = &files_below(&fixture.data_dir().join("data"))[..] else { panic!("one file") };
    let kept = std::fs::read(path).unwrap();
    std::fs::remove_file(path).unwrap();
    let error = backup(fixture.options(), Arc::default()).await.unwrap_err();
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(matches!(&error, Error::MissingDataFile { file } if file.ends_with(name)), "{error:?}");
    // A file that the backup has is not missed.
    std::fs::write(path, kept).unwrap();
    fixture.back_up().await;
    std::fs::remove_file(path).unwrap();
    fixture.back_up().await;
    assert_eq!(fixture.restored(None).await, expected(&[("file", 2)]));
    drop(storage);
}

#[test]
fn locations_are_directories_or_urls_without_credentials() {
    assert_eq!(at(Path::new("/var/backups")).to_string(), "/var/backups");
    for good in
        ["backups", "./backups", "file:///var/backups", "s3://bucket/path", "gs://bucket", "az://container/x"]
    {
        Location::parse(good).unwrap();
    }
    for bad in ["", "file://host/path", "ftp://host/path", "http://host/path", "s3://key:secret@bucket/path"]
    {
        let error = Location::parse(bad).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn names_of_snapshots_sort_as_their_times_do() {
    let name = |time_ns| super::manifest::snapshot_name(time_ns);
    let times = [0, 1_000_000, 999_000_000, 1_000_000_000, 1_800_000_000_000_000_000];
    assert!(times.map(name).is_sorted());
    assert_eq!(name(1_795_262_551_068_000_000), "20261121T120231.068Z");
    assert!(times.map(name).iter().all(|name| super::manifest::is_snapshot_name(name)));
    assert!(!super::manifest::is_snapshot_name("20261121T120231.068Z/.."));
}

#[tokio::test]
async fn a_catalog_that_has_lost_its_last_commits_is_not_backed_up() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    flush_one(&storage, "one", 0).await;
    storage.close().await.unwrap();
    drop(storage);
    let catalog = fixture.data_dir().join("catalog.db");
    let older = std::fs::read(&catalog).unwrap();
    let storage = fixture.open();
    flush_one(&storage, "two", 1).await;
    storage.close().await.unwrap();
    drop(storage);
    std::fs::write(&catalog, older).unwrap();
    let error = backup(fixture.options(), Arc::default()).await.unwrap_err();
    assert!(matches!(error, Error::Catalog(alula_catalog::Error::DamagedCatalog { .. })), "{error:?}");
}
