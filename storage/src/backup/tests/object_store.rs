//! Backups in an object store.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::{Fixture, flush_one, stored_in};
use crate::backup::manifest::Checksum;
use crate::backup::restore::restore;
use crate::backup::take::{Wishes, take};
use crate::backup::target::{Bucket, Claim, Existing, Source, Target};
use crate::backup::{BackupReport, Error, Progress, Result};
use crate::disk::{Disk, RealDisk};
use crate::remote::testing::FaultyStore;
use crate::testing::{entry, expected, layout};

fn bucket(store: Arc<impl ObjectStore>) -> Bucket {
    let root = ObjectPath::from("backups/of this");
    Bucket::new(store as _, root, "memory://backups".to_owned(), Handle::current()).impatient()
}

async fn back_up(fixture: &Fixture, store: &Arc<FaultyStore>, keep: Option<usize>) -> Result<BackupReport> {
    let (layout, bucket) = (layout(&fixture.data_dir()), bucket(Arc::clone(store)));
    let wishes = Wishes { keep, verify: false };
    spawn_blocking(move || take(&layout, &bucket, wishes, &Progress::default())).await.unwrap()
}

async fn restore_to(store: &Arc<FaultyStore>, data_dir: &Path) -> Result<()> {
    let (layout, bucket) = (layout(data_dir), bucket(Arc::clone(store)));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_is_sent_in_parts_and_only_if_it_is_sound() {
    let fixture = Fixture::new();
    let store = Arc::new(InMemory::new());
    let path = fixture.dir.path().join("large");
    let content: Vec<u8> = (0..20_000_000_u32).map(|i| (i % 253) as u8).collect();
    std::fs::write(&path, &content).unwrap();
    let bucket = bucket(store);
    let expected = Checksum::of(&content);
    let size_bytes = content.len() as u64;
    let put = move |bucket: &Bucket, checksum, name: &str| {
        let progress = Progress::default();
        let source = Source {
            path: &path,
            file: RealDisk.open(&path).unwrap(),
            size_bytes,
            checksum: Some(checksum),
            may_be_linked: true,
            progress: &progress,
        };
        bucket.put(name, "20261121T120231.068Z", &source, Existing::Keep)
    };
    spawn_blocking(move || {
        assert_eq!(put(&bucket, expected, "files/large").unwrap(), expected);
        let listed = bucket.list("files").unwrap();
        assert_eq!((listed[0].name.as_str(), listed[0].size_bytes), ("files/large", size_bytes));
        assert_eq!(bucket.read("files/large", 7_999_990, 100).unwrap(), content[7_999_990..8_000_090]);

        let error = put(&bucket, Checksum([7; 16]), "files/damaged").unwrap_err();
        assert!(matches!(error, Error::Storage(crate::Error::CorruptFile { .. })), "{error:?}");
        assert_eq!(bucket.list("files").unwrap().len(), 1);

        assert_eq!(bucket.claim("20261121T120231.068Z", b"{}").unwrap(), Claim::Made);
        assert_eq!(bucket.claim("20261121T120231.068Z", b"{}").unwrap(), Claim::Taken);
    })
    .await
    .unwrap();
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
