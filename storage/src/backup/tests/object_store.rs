//! Backups in an object store.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::{Fixture, flush_one, stored_in};
use crate::backup::manifest::Checksum;
use crate::backup::restore::restore;
use crate::backup::take::{Wishes, take};
use crate::backup::target::{Bucket, Claim, Existing, Source, Target};
use crate::backup::{BackupReport, Error, ErrorKind, Progress, Result};
use crate::disk::{Disk, RealDisk};
use crate::remote::testing::FaultyStore;
use crate::remote::{Objects, Patience};
use crate::testing::{entry, expected, layout};

fn patient() -> Patience {
    Patience { pause: Duration::from_millis(1), ..Patience::default() }
}

/// For a store that never answers: it need not be waited for long.
fn impatient() -> Patience {
    Patience { attempts: 2, request: Duration::from_millis(100), slowest_link: u64::MAX, ..patient() }
}

fn bucket(store: &Arc<FaultyStore>, patience: Patience) -> Bucket {
    let objects = Objects::new(store.backend("backups/of this"), patience);
    Bucket::new(objects, "memory://backups".to_owned(), Handle::current())
}

async fn back_up(fixture: &Fixture, store: &Arc<FaultyStore>, keep: Option<usize>) -> Result<BackupReport> {
    back_up_to(fixture, bucket(store, patient()), keep).await
}

async fn back_up_to(fixture: &Fixture, bucket: Bucket, keep: Option<usize>) -> Result<BackupReport> {
    let layout = layout(&fixture.data_dir());
    let wishes = Wishes { keep, verify: false };
    spawn_blocking(move || take(&layout, &bucket, wishes, &Progress::default())).await.unwrap()
}

async fn restore_to(store: &Arc<FaultyStore>, data_dir: &Path) -> Result<()> {
    let (layout, bucket) = (layout(data_dir), bucket(store, patient()));
    spawn_blocking(move || restore(&bucket, None, &layout, &Progress::default()).map(|_| ())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_store_keeps_backups_like_a_directory_does() {
    let fixture = Fixture::new();
    let store = FaultyStore::new(1);
    let storage = fixture.open();
    flush_one(&storage, "file", 0).await;
    storage.append(entry("a", "log", 0, 3)).await.unwrap();
    let first = back_up(&fixture, &store, None).await.unwrap();
    assert_eq!((first.data_files, first.new_data_files), (1, 1));
    flush_one(&storage, "second", 5).await;
    let second = back_up(&fixture, &store, Some(1)).await.unwrap();
    assert_eq!((second.data_files, second.removed_snapshots), (3, 1));
    assert_eq!(second.new_data_files, 2);

    let restored = fixture.dir.path().join("restored");
    restore_to(&store, &restored).await.unwrap();
    assert_eq!(stored_in(&restored).await, expected(&[("file", 2), ("log", 3), ("second", 2)]));
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_fail_and_answers_that_are_lost_do_no_harm() {
    for seed in 0..8 {
        let fixture = Fixture::new();
        let store = FaultyStore::new(seed);
        let storage = fixture.open();
        flush_one(&storage, "file", 0).await;
        storage.append(entry("a", "log", 0, 3)).await.unwrap();
        store.failing.store(10, Ordering::Relaxed);
        store.unanswered.store(10, Ordering::Relaxed);
        // One that gives up leaves nothing that the next could take for a snapshot.
        let mut attempts = 0;
        while let Err(error) = back_up(&fixture, &store, NonZeroUsize::MIN.get().into()).await {
            attempts += 1;
            assert!(
                matches!(error, Error::ObjectStore { .. } | Error::NotPruned { .. }) && attempts < 20,
                "{error:?}"
            );
        }
        store.failing.store(0, Ordering::Relaxed);
        store.unanswered.store(0, Ordering::Relaxed);
        let restored = fixture.dir.path().join("restored");
        restore_to(&store, &restored).await.unwrap();
        assert_eq!(stored_in(&restored).await, expected(&[("file", 2), ("log", 3)]), "seed {seed}");
        storage.close().await.unwrap();
    }
}

/// A file that is sent in three parts, and what it is put with.
struct LargeFile {
    path: PathBuf,
    content: Vec<u8>,
}

impl LargeFile {
    fn new(dir: &Path) -> Arc<Self> {
        let path = dir.join("large");
        let content: Vec<u8> = (0..20_000_000_u32).map(|i| (i % 253) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        Arc::new(Self { path, content })
    }

    fn put(&self, bucket: &Bucket, name: &str, checksum: Checksum, existing: Existing) -> Result<Checksum> {
        let progress = Progress::default();
        let source = Source {
            path: &self.path,
            file: RealDisk.open(&self.path).unwrap(),
            size_bytes: self.content.len() as u64,
            checksum: Some(checksum),
            may_be_linked: true,
            progress: &progress,
        };
        bucket.put(name, "20261121T120231.068Z", &source, existing)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_is_sent_in_parts_and_only_if_it_is_sound() {
    let fixture = Fixture::new();
    let store = FaultyStore::new(2);
    let bucket = bucket(&store, patient());
    let large = LargeFile::new(fixture.dir.path());
    spawn_blocking(move || {
        let (sound, content) = (Checksum::of(&large.content), &large.content);
        assert_eq!(large.put(&bucket, "files/large", sound, Existing::Keep).unwrap(), sound);
        let listed = bucket.list("files").unwrap();
        assert_eq!((listed[0].name.as_str(), listed[0].size_bytes), ("files/large", content.len() as u64));
        assert_eq!(bucket.read("files/large", 7_999_990, 100).unwrap(), content[7_999_990..8_000_090]);

        let error = large.put(&bucket, "files/damaged", Checksum([7; 16]), Existing::Keep).unwrap_err();
        assert!(matches!(error, Error::Storage(crate::Error::CorruptFile { .. })), "{error:?}");
        assert_eq!(bucket.list("files").unwrap().len(), 1);
        assert_eq!(store.open_uploads.load(Ordering::Relaxed), 0);

        assert_eq!(bucket.claim("20261121T120231.068Z", b"{}").unwrap(), Claim::Made);
        assert_eq!(bucket.claim("20261121T120231.068Z", b"{}").unwrap(), Claim::Taken);
    })
    .await
    .unwrap();
}

/// Scenario: the parts of a file are made one object, and the answer is lost.
/// Guarantees: the file counts as put, unless it was to replace a damaged one, which may have the same size.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_that_is_there_counts_as_put_although_nobody_said_so() {
    let fixture = Fixture::new();
    let store = FaultyStore::new(3);
    store.completions_unanswered.store(true, Ordering::Relaxed);
    let bucket = bucket(&store, patient());
    let large = LargeFile::new(fixture.dir.path());
    spawn_blocking(move || {
        let sound = Checksum::of(&large.content);
        for existing in [Existing::Keep, Existing::Replace] {
            let put = large.put(&bucket, "files/large", sound, existing);
            assert_eq!(put.is_ok(), existing == Existing::Keep, "{put:?}");
            let listed = bucket.list("files").unwrap();
            assert_eq!(listed[0].size_bytes, large.content.len() as u64);
        }
    })
    .await
    .unwrap();
}

/// Scenario: the store answers some requests, and then none.
/// Guarantees: whichever is the first without an answer, the backup ends and says so, and what it made is no snapshot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_falls_silent_ends_the_backup_with_an_error() {
    let fixture = Fixture::new();
    let storage = fixture.open();
    flush_one(&storage, "file", 0).await;
    storage.append(entry("a", "log", 0, 3)).await.unwrap();
    let mut answered = 0;
    loop {
        let store = FaultyStore::new(5);
        store.answered.store(answered, Ordering::Relaxed);
        let ended = back_up_to(&fixture, bucket(&store, impatient()), Some(1)).await;
        store.answered.store(usize::MAX, Ordering::Relaxed);
        let Err(error) = ended else { break };
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
        let told = alula_catalog::error_chain(&error);
        assert!(
            told.contains("memory://backups: cannot ") && told.ends_with("no answer within 100ms"),
            "{told}"
        );
        let snapshot = restore_to(&store, &fixture.dir.path().join(format!("restored-{answered}"))).await;
        match error {
            Error::NotPruned { .. } => snapshot.unwrap(),
            _ => assert!(matches!(snapshot, Err(Error::NoBackup { .. })), "{snapshot:?}"),
        }
        answered += 1;
        assert!(answered < 40, "{told}");
    }
    assert!(answered > 8, "a backup takes more requests than {answered}");
    storage.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_falls_silent_ends_the_upload_of_a_large_file() {
    let fixture = Fixture::new();
    let large = LargeFile::new(fixture.dir.path());
    // To begin, three parts, to complete, to abort.
    for answered in 0..6 {
        let store = FaultyStore::new(6);
        store.answered.store(answered, Ordering::Relaxed);
        let (bucket, large) = (bucket(&store, impatient()), Arc::clone(&large));
        let put = move || {
            let sound = Checksum::of(&large.content);
            large.put(&bucket, "files/large", sound, Existing::Keep)
        };
        let ended = spawn_blocking(put).await.unwrap();
        match answered {
            5 => assert!(ended.is_ok(), "{ended:?}"),
            _ => assert_eq!(ended.unwrap_err().kind(), ErrorKind::Unreachable),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_store_that_is_down_is_told_before_anything_is_done() {
    let fixture = Fixture::new();
    let store = FaultyStore::new(4);
    store.is_down.store(true, Ordering::Relaxed);
    let storage = fixture.open();
    let error = back_up(&fixture, &store, None).await.unwrap_err();
    assert!(matches!(error, Error::ObjectStore { .. }), "{error:?}");
    assert!(!fixture.data_dir().join("backup.lock").exists());
    storage.close().await.unwrap();
}
