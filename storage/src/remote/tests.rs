//! What a scan gets of a remote file is what was uploaded, or an error that says what is wrong.

use std::fs;
use std::path::Path;

use alula_catalog::{Signal, Tier};
use tempfile::{TempDir, tempdir};

use super::testing::FaultyStore;
use super::*;
use crate::ErrorKind;
use crate::Storage;
use crate::health::Health;
use crate::testing::{bodies, config, entry, expected, open};

/// A storage with one file of tenant `a`, which is in the remote tier.
async fn with_remote_file(dir: &Path, remote: RemoteConfig) -> (Storage, Arc<DataFile>) {
    let storage = open(crate::Config { remote: Some(remote), ..config(dir) }).unwrap();
    storage.append(entry("a", "x", 1_795_262_400, 200)).await.unwrap();
    storage.flush().await.unwrap();
    crate::maintenance::tier_all(&storage);
    let file = file_of_a(&storage);
    assert_eq!(file.tier, Tier::Remote);
    (storage, file)
}

fn file_of_a(storage: &Storage) -> Arc<DataFile> {
    let table = storage.snapshot().table(&"a".parse().unwrap(), Signal::Logs);
    assert_eq!(table.files.len(), 1);
    Arc::clone(&table.files[0])
}

fn tier(storage: &Storage) -> Arc<RemoteTier> {
    Arc::clone(storage.store().data_files.remote().unwrap())
}

/// All bytes of the file, in ranges that begin and end anywhere.
async fn read(storage: &Storage, file: &Arc<DataFile>) -> Result<Vec<u8>> {
    let size = file.size_bytes;
    let ranges = vec![0..1, 1..size / 3, size / 3..size - 5, size - 5..size];
    let parts = tier(storage).read_ranges(Arc::clone(file), ranges).await?;
    Ok(parts.concat())
}

fn is_what_was_written(file: &DataFile, bytes: &[u8]) -> bool {
    blake3::hash(bytes).as_bytes()[..16] == file.checksum
}

fn files_in(dir: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

#[tokio::test]
async fn a_block_is_fetched_once_and_then_read_from_memory() {
    let (dir, store) = (tempdir().unwrap(), FaultyStore::new(1));
    let (storage, file) = with_remote_file(dir.path(), store.config()).await;
    assert!(is_what_was_written(&file, &read(&storage, &file).await.unwrap()));
    store.is_down.store(true, Ordering::Relaxed);
    assert!(is_what_was_written(&file, &read(&storage, &file).await.unwrap()));
}

#[tokio::test]
async fn a_damaged_object_is_an_error_that_names_the_file_and_never_bytes() {
    let (dir, store) = (tempdir().unwrap(), FaultyStore::new(2));
    let (storage, file) = with_remote_file(dir.path(), store.config()).await;
    let middle = (file.size_bytes / 2) as usize;
    store.change(&file, |bytes| bytes[middle] ^= 4).await;
    for result in [read(&storage, &file).await.map(drop), tier(&storage).download(&file).map(drop)] {
        assert!(
            matches!(&result, Err(Error::CorruptFile { file: name }) if *name == object_name(&file)),
            "{result:?}"
        );
    }
    store.change(&file, |bytes| bytes.truncate(middle)).await;
    assert_eq!(read(&storage, &file).await.unwrap_err().kind(), ErrorKind::Corrupted);
    store.remove(&file).await;
    assert!(matches!(read(&storage, &file).await, Err(Error::MissingObject { .. })));
}

/// A file of the remote tier is lost as one of the local disk is: it is on record, once.
#[tokio::test]
async fn a_lost_object_goes_on_record_once_and_a_store_that_is_down_does_not() {
    let (dir, store) = (tempdir().unwrap(), FaultyStore::new(3));
    let (storage, file) = with_remote_file(dir.path(), store.config()).await;
    let data_files = Arc::clone(&storage.store().data_files);
    let losses = || storage.store().catalog.data_losses().unwrap();
    store.is_down.store(true, Ordering::Relaxed);
    data_files.open(&file).unwrap_err();
    assert_eq!(losses(), []);
    store.is_down.store(false, Ordering::Relaxed);
    store.remove(&file).await;
    for _ in 0..2 {
        assert!(matches!(data_files.open(&file), Err(Error::MissingObject { .. })));
    }
    let found = losses();
    assert_eq!((found.len(), found[0].loss.detail.as_str()), (1, "it is missing"));
    assert_eq!(found[0].loss.source, format!("data/{}", Layout::data_file_name(&file)));
    assert!(matches!(&*storage.watch_health().borrow(), Health::Degraded { .. }));
}

#[cfg(feature = "datafusion")]
#[tokio::test]
async fn a_query_that_finds_an_object_damaged_puts_it_on_record() {
    let (dir, store) = (tempdir().unwrap(), FaultyStore::new(4));
    let (storage, file) = with_remote_file(dir.path(), store.config()).await;
    store.change(&file, |bytes| bytes.iter_mut().for_each(|byte| *byte ^= 4)).await;
    crate::table::tests::query(&storage, "a", "SELECT * FROM logs").await.unwrap_err();
    let losses = storage.store().catalog.data_losses().unwrap();
    assert_eq!((losses.len(), losses[0].loss.num_rows), (1, Some(200)));
    assert!(losses[0].loss.detail.contains("checksum"), "{}", losses[0].loss.detail);
}

#[tokio::test]
async fn a_store_that_is_down_fails_only_queries_that_need_it() {
    let (dir, store) = (tempdir().unwrap(), FaultyStore::new(3));
    let (storage, file) = with_remote_file(dir.path(), store.config()).await;
    store.is_down.store(true, Ordering::Relaxed);
    let refused = read(&storage, &file).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.to_string().contains("remote tier"), "{refused}");
    storage.append(entry("b", "y", 1_795_262_400, 3)).await.unwrap();
    storage.flush().await.unwrap();
    assert_eq!(bodies(&storage, "b").await, expected(&[("y", 3)]));
    store.is_down.store(false, Ordering::Relaxed);
    assert_eq!(bodies(&storage, "a").await, expected(&[("x", 200)]));
}

#[tokio::test]
async fn a_read_outlives_requests_that_fail_or_lose_their_answers() {
    let (dir, store) = (tempdir().unwrap(), FaultyStore::new(4));
    let (storage, file) = with_remote_file(dir.path(), store.config()).await;
    store.failing.store(20, Ordering::Relaxed);
    store.unanswered.store(20, Ordering::Relaxed);
    let mut failures = 0;
    for _ in 0..50 {
        // A tier of its own has nothing in its cache.
        let tier = open_tier(&storage, &store.config());
        match tier.read_ranges(Arc::clone(&file), std::iter::once(0..file.size_bytes).collect()).await {
            Ok(parts) => assert!(is_what_was_written(&file, &parts.concat())),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                failures += 1;
            }
        }
    }
    assert!(failures < 15, "{failures} of 50 reads failed for good");
}

fn open_tier(storage: &Storage, remote: &RemoteConfig) -> Arc<RemoteTier> {
    let store = storage.store();
    RemoteTier::open(remote, &store.layout, &store.catalog, store.store_uuid).unwrap()
}

#[tokio::test]
async fn a_damaged_cache_on_disk_costs_a_request_and_never_a_row() {
    let (dir, store) = (tempdir().unwrap(), FaultyStore::new(5));
    let remote = RemoteConfig { cache_bytes: 64 << 20, ..store.config() };
    let (storage, file) = with_remote_file(dir.path(), remote).await;
    let tier = tier(&storage);
    let read = || tier.read_ranges(Arc::clone(&file), std::iter::once(0..file.size_bytes).collect());
    let whole = read().await.unwrap().concat();
    let (cache, settling) = (dir.path().join("cache"), Arc::clone(&tier));
    tier.wait(async move { settling.cache.settle().await }).unwrap();

    // On disk is what is read without the store.
    store.is_down.store(true, Ordering::Relaxed);
    assert_eq!(read().await.unwrap().concat(), whole);
    let settling = Arc::clone(&tier);
    tier.wait(async move { settling.cache.settle().await }).unwrap();

    let needle = &whole[whole.len() / 2..whole.len() / 2 + 32];
    let mut num_flipped = 0;
    for path in files_in(&cache) {
        let mut bytes = fs::read(&path).unwrap();
        let found: Vec<_> = (0..bytes.len() - 32).filter(|at| &bytes[*at..*at + 32] == needle).collect();
        num_flipped += found.len();
        for at in found {
            bytes[at + 7] ^= 1;
        }
        // In place: the cache has it open.
        let file = fs::File::options().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
    }
    assert!(num_flipped > 0, "the cache is on disk");
    assert_eq!(read().await.unwrap_err().kind(), ErrorKind::Unavailable);
    store.is_down.store(false, Ordering::Relaxed);
    assert_eq!(read().await.unwrap().concat(), whole);
}

#[tokio::test]
async fn a_remote_file_without_a_configured_tier_is_an_error_that_says_so() {
    let (dir, store) = (tempdir().unwrap(), FaultyStore::new(6));
    let (storage, file) = with_remote_file(dir.path(), store.config()).await;
    drop(storage);
    let storage = open(config(dir.path())).unwrap();
    assert_eq!(file_of_a(&storage).id, file.id);
    let refused = storage.store().data_files.open(&file).map(drop);
    assert!(matches!(refused, Err(Error::RemoteNotConfigured)), "{refused:?}");
}

#[tokio::test]
async fn a_directory_of_files_is_a_remote_tier_that_keeps_them_private_and_whole() {
    let (dir, archive): (TempDir, TempDir) = (tempdir().unwrap(), tempdir().unwrap());
    let url = format!("file://{}", archive.path().display()).parse().unwrap();
    let remote = RemoteConfig { after: Duration::ZERO, cache_bytes: 0, ..RemoteConfig::new(url) };
    let (storage, file) = with_remote_file(dir.path(), remote).await;
    let uuid = format!("{:032x}", u128::from_be_bytes(storage.store().store_uuid));
    let object = archive.path().join(uuid).join(object_name(&file));
    assert!(is_what_was_written(&file, &fs::read(&object).unwrap()));
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&object).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(bodies(&storage, "a").await, expected(&[("x", 200)]));

    // A directory that is not mounted has lost nothing.
    let elsewhere = archive.path().with_extension("away");
    fs::rename(archive.path(), &elsewhere).unwrap();
    let fresh = open_tier(
        &storage,
        &RemoteConfig {
            cache_bytes: 0,
            ..RemoteConfig::new(format!("file://{}", archive.path().display()).parse().unwrap())
        },
    );
    let refused = fresh.read_ranges(Arc::clone(&file), std::iter::once(0..4).collect()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    fs::rename(&elsewhere, archive.path()).unwrap();
    assert!(fresh.read_ranges(Arc::clone(&file), std::iter::once(0..4).collect()).await.is_ok());
}

#[tokio::test]
async fn a_query_whose_future_is_dropped_leaves_the_tier_working() {
    let (dir, store) = (tempdir().unwrap(), FaultyStore::new(7));
    let (storage, file) = with_remote_file(dir.path(), store.config()).await;
    for _ in 0..20 {
        let tier = tier(&storage);
        let mut reading =
            Box::pin(tier.read_ranges(Arc::clone(&file), std::iter::once(0..file.size_bytes).collect()));
        let _ = futures::poll!(reading.as_mut());
    }
    assert!(is_what_was_written(&file, &read(&storage, &file).await.unwrap()));
}
