//! A lost catalog, and files in the remote tier.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use alula_catalog::{FileId, Tier};

use super::*;
use crate::maintenance::tier_all;
use crate::remote::testing::FaultyStore;
use crate::testing::layout;
use crate::{Config, RemoteConfig};

/// A file holds so many rows.
const ROWS: usize = 3;

fn open_with(dir: &Path, remote: &RemoteConfig) -> Storage {
    open(Config { remote: Some(remote.clone()), ..config(dir) }).unwrap()
}

fn repair_with(dir: &Path, remote: &RemoteConfig) -> Result<Report> {
    super::super::repair(dir, RepairMode::Always, &RemoteSource::Tier(Box::new(remote.clone())))
}

async fn put(storage: &Storage, tenant: &str, label: &str) {
    storage.append(entry(tenant, label, NOON_S, ROWS)).await.unwrap();
    storage.flush().await.unwrap();
}

/// A closed directory with three files in the tier, one of them made of two, and one in the data directory.
async fn closed_with(remote: &RemoteConfig) -> TempDir {
    let dir = tempdir().unwrap();
    let storage = open_with(dir.path(), remote);
    for (tenant, label) in [("a", "x"), ("a", "y"), ("b", "z")] {
        put(&storage, tenant, label).await;
    }
    storage.compact(None, None).await.unwrap();
    put(&storage, "c", "w").await;
    tier_all(&storage);
    put(&storage, "c", "v").await;
    storage.close().await.unwrap();
    // The log has no entry any more that is in a file.
    open_with(dir.path(), remote).close().await.unwrap();
    dir
}

async fn rows_with(dir: &Path, remote: &RemoteConfig) -> BTreeMap<String, usize> {
    let storage = open_with(dir, remote);
    let rows = all_rows(&storage).await;
    storage.close().await.unwrap();
    rows
}

fn remote_of(dir: &Path) -> Vec<DataFile> {
    live(dir).into_iter().filter(|file| file.tier == Tier::Remote).collect()
}

/// What the catalog has of its files, and the hashes of those that are remote.
fn catalog_of(dir: &Path) -> String {
    let catalog = Catalog::inspect(&dir.join("catalog.db")).unwrap();
    let hashes: Vec<_> = remote_of(dir).iter().map(|file| catalog.block_hashes(file.id).unwrap()).collect();
    let (uuid, flushed) = (catalog.store_uuid().unwrap(), catalog.flushed_seq().unwrap());
    format!("{uuid:?} {flushed:?} {:?} {:?} {hashes:?}", catalog.tenants().unwrap(), live(dir))
}

fn finds(report: &Report, text: &str) -> bool {
    report.findings.iter().any(|finding| finding.text.contains(text))
}

#[tokio::test]
async fn a_lost_catalog_is_built_anew_with_the_files_of_the_remote_tier() {
    let store = FaultyStore::new(1);
    let remote = store.config();
    let dir = closed_with(&remote).await;
    let (rows, before) = (rows_with(dir.path(), &remote).await, catalog_of(dir.path()));
    assert_eq!((remote_of(dir.path()).len(), rows.len()), (3, 5 * ROWS));
    let owner = fs::read(dir.path().join("remote-owner")).unwrap();
    remove_catalog(dir.path());
    let report = repair_with(dir.path(), &remote).unwrap();
    assert!(report.is_sound() && finds(&report, "3 of these are in s3://unused/tier/"), "{report:?}");
    assert_eq!(catalog_of(dir.path()), before);
    assert_eq!(rows_with(dir.path(), &remote).await, rows);
    assert_eq!(fs::read(dir.path().join("remote-owner")).unwrap(), owner, "they are its own still");

    // What the directory gets from there on moves as before, and nothing is removed that a file needs.
    let storage = open_with(dir.path(), &remote);
    put(&storage, "a", "later").await;
    tier_all(&storage);
    assert_eq!(all_rows(&storage).await.len(), rows.len() + ROWS);
    storage.close().await.unwrap();
    assert_eq!(remote_of(dir.path()).len(), 5);
    assert_eq!(store.data_files().await.len(), 5);
}

#[tokio::test]
async fn a_directory_that_lost_everything_but_its_number_finds_its_store_in_the_tier() {
    let store = FaultyStore::new(2);
    let remote = store.config();
    let dir = closed_with(&remote).await;
    // Of another store.
    closed_with(&remote).await;
    let catalog = Catalog::inspect(&dir.path().join("catalog.db")).unwrap();
    let (uuid, expected) = (catalog.store_uuid().unwrap(), remote_of(dir.path()));
    drop(catalog);
    let empty = tempdir().unwrap();
    fs::copy(dir.path().join("remote-owner"), empty.path().join("remote-owner")).unwrap();
    let report = repair_with(empty.path(), &remote).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(live(empty.path()), expected);
    assert_eq!(Catalog::inspect(&empty.path().join("catalog.db")).unwrap().store_uuid().unwrap(), uuid);

    let nobody = tempdir().unwrap();
    let report = repair_with(nobody.path(), &remote).unwrap();
    assert!(finds(&report, "none taken in: 2 stores are in s3://unused/tier"), "{report:?}");
    assert_eq!(live(nobody.path()), []);
}

/// Scenario: two files are uploaded and, before the catalog says so, merged into one that moves; their objects stay.
#[tokio::test]
async fn no_row_comes_twice_after_a_compaction_and_moves() {
    let store = FaultyStore::new(3);
    let remote = store.config();
    let dir = tempdir().unwrap();
    let storage = open_with(dir.path(), &remote);
    put(&storage, "a", "x").await;
    put(&storage, "a", "y").await;
    let inputs = storage.store().catalog.live_files().unwrap();
    let tier = Arc::clone(storage.store().data_files.remote().unwrap());
    for file in &inputs {
        // As an upload whose COMMIT did not come any more.
        let (tier, file) = (Arc::clone(&tier), Arc::new(file.clone()));
        let uploading = Arc::clone(&tier);
        tier.wait(async move { uploading.upload(file).await }).unwrap().unwrap();
    }
    storage.compact(None, None).await.unwrap();
    let output = storage.store().catalog.live_files().unwrap();
    assert_eq!(output.len(), 1);
    {
        let (uploading, file) = (Arc::clone(&tier), Arc::new(output[0].clone()));
        let hashes = tier.wait(async move { uploading.upload(file).await }).unwrap().unwrap();
        storage.store().catalog.move_to_remote(output[0].id, &hashes).unwrap();
    }
    drop((tier, storage));
    fs::remove_file(layout(dir.path()).data_file(&output[0])).unwrap();
    assert_eq!(store.data_files().await.len(), 3);
    let gets = store.num_gets.load(Ordering::Relaxed);
    remove_catalog(dir.path());
    let report = repair_with(dir.path(), &remote).unwrap();
    assert!(report.is_sound() && finds(&report, "2 left out: others have their rows"), "{report:?}");
    // Its OWNER twice, three footers, one object.
    assert!(store.num_gets.load(Ordering::Relaxed) - gets <= 7, "replaced objects are not read whole");
    assert_eq!(remote_of(dir.path()), [DataFile { tier: Tier::Remote, ..output[0].clone() }]);
    let storage = open_with(dir.path(), &remote);
    assert_eq!(bodies(&storage, "a").await, expected(&[("x", ROWS), ("y", ROWS)]));
    // The tier is ours, so what belongs to no file goes.
    tier_all(&storage);
    assert_eq!(store.data_files().await.len(), 1);
}

#[tokio::test]
async fn a_file_that_is_in_both_places_is_taken_once_and_a_damaged_copy_does_not_matter() {
    let store = FaultyStore::new(4);
    let remote = store.config();
    let dir = closed_with(&remote).await;
    let files = remote_of(dir.path());
    let rows = rows_with(dir.path(), &remote).await;
    let storage = open_with(dir.path(), &remote);
    for file in &files[..2] {
        let path = layout(dir.path()).data_file(file);
        let reader = storage.snapshot().data_files().open(file).unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, reader.read(0, file.size_bytes as usize).unwrap()).unwrap();
    }
    storage.close().await.unwrap();
    let damaged = layout(dir.path()).data_file(&files[1]);
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[20] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    remove_catalog(dir.path());
    let report = repair_with(dir.path(), &remote).unwrap();
    assert!(report.is_sound() && finds(&report, "another copy of it is sound"), "{report:?}");
    assert!(finds(&report, "1 left out: also in the data directory"), "{report:?}");
    assert_eq!(remote_of(dir.path()), files[1..]);
    assert_eq!(Catalog::inspect(&dir.path().join("catalog.db")).unwrap().data_losses().unwrap(), []);
    assert_eq!(rows_with(dir.path(), &remote).await, rows);
}

/// Scenario: of six objects one is damaged, one is cut short, one is of another store, one is under another's name, and one is no
/// data file at all.
/// Guarantees: each is named, none is removed, by the repair or the server after it; the sixth is taken in; once they are
/// whole again, so is the store.
#[tokio::test]
async fn objects_that_cannot_be_taken_in_are_named_and_never_removed() {
    let store = FaultyStore::new(5);
    let remote = store.config();
    let dir = closed_with(&remote).await;
    let (files, rows) = (remote_of(dir.path()), rows_with(dir.path(), &remote).await);
    let other = FaultyStore::new(6);
    let foreign = closed_with(&other.config()).await;
    let foreign_file = remote_of(foreign.path()).remove(0);
    let foreign_bytes = other.bytes_of(&foreign_file).await;
    let sound = [store.bytes_of(&files[0]).await, store.bytes_of(&files[1]).await];
    store.change(&files[0], |bytes| bytes[20] ^= 1).await;
    store.change(&files[1], |bytes| bytes.truncate(40)).await;
    store.put_beside(&files[2], &crate::remote::object_name(&foreign_file), foreign_bytes).await;
    let moved = DataFile { id: FileId(77), ..files[2].clone() };
    let moved_name = crate::remote::object_name(&moved);
    store.put_beside(&files[2], &moved_name, store.bytes_of(&files[2]).await).await;
    store.put_beside(&files[2], "README.txt", b"hello".to_vec()).await;
    remove_catalog(dir.path());
    let report = repair_with(dir.path(), &remote).unwrap();
    let name = |file| crate::remote::object_name(file);
    for (name, text) in [
        (name(&files[0]), "its checksum is not"),
        (name(&files[1]), "it is no whole Parquet file"),
        (name(&foreign_file), "it belongs to another store"),
        (moved_name.clone(), "its places are"),
    ] {
        let is = |problem: &&Problem| problem.path.ends_with(&name) && problem.text.contains(text);
        assert_eq!(report.problems.iter().filter(is).count(), 1, "{text}: {report:?}");
    }
    assert_eq!(report.problems.len(), 4, "{report:?}");
    assert!(finds(&report, "1 objects are none, and stay: README.txt"), "{report:?}");
    assert_eq!(remote_of(dir.path()), files[2..]);
    let losses = Catalog::inspect(&dir.path().join("catalog.db")).unwrap().data_losses().unwrap();
    assert_eq!(losses.len(), 2, "the two that are damaged: {losses:?}");
    let objects = store.data_files().await;
    assert_eq!(objects.len(), 5);
    let storage = open_with(dir.path(), &remote);
    tier_all(&storage);
    storage.close().await.unwrap();
    assert_eq!(store.data_files().await, objects, "an object that no catalog has may hold rows");

    for (file, bytes) in files.iter().zip(sound) {
        store.change(file, |object| *object = bytes).await;
    }
    for name in [name(&foreign_file), moved_name] {
        store.remove_named(&name).await;
    }
    let report = repair_with(dir.path(), &remote).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(rows_with(dir.path(), &remote).await, rows);
    let storage = open_with(dir.path(), &remote);
    tier_all(&storage);
    assert_eq!(
        storage.store().catalog.live_files().unwrap().len(),
        remote_of(dir.path()).len(),
        "it moves files again"
    );
}

#[tokio::test]
async fn a_store_that_does_not_answer_ends_the_repair_and_changes_nothing() {
    let store = FaultyStore::new(7);
    let remote = store.config();
    let dir = closed_with(&remote).await;
    let rows = rows_with(dir.path(), &remote).await;
    remove_catalog(dir.path());
    let before = files_below(dir.path());
    let unchanged = |dir: &Path| {
        let mut after = files_below(dir);
        after.insert(dir.join("LOCK"), before[&dir.join("LOCK")].clone());
        assert_eq!(after, before);
    };
    store.is_down.store(true, Ordering::Relaxed);
    let refused = repair_with(dir.path(), &remote).unwrap_err();
    assert!(matches!(refused, Error::RemoteUnavailable { .. }), "{refused}");
    unchanged(dir.path());
    store.is_down.store(false, Ordering::Relaxed);
    // Nor does a repair that does not know of the tier go on without it.
    let refused = repair(dir.path(), RepairMode::IfNeeded).unwrap_err();
    assert!(matches!(refused, Error::RemoteNotConfigured), "{refused}");
    unchanged(dir.path());

    // Left out: the directory neither moves nor removes anything, and a later repair takes all of it in.
    super::super::repair(dir.path(), RepairMode::IfNeeded, &RemoteSource::LeftOut).unwrap();
    assert_eq!(remote_of(dir.path()), []);
    let storage = open_with(dir.path(), &remote);
    tier_all(&storage);
    storage.close().await.unwrap();
    assert_eq!(store.data_files().await.len(), 3);
    assert!(repair_with(dir.path(), &remote).unwrap().is_sound());
    assert_eq!(rows_with(dir.path(), &remote).await, rows);
}

/// Scenario: the store answers so many requests and then no more, wherever in the repair that is.
#[tokio::test]
async fn a_store_that_goes_away_meanwhile_ends_the_repair_and_changes_nothing() {
    let store = FaultyStore::new(8);
    let remote = store.config();
    let dir = closed_with(&remote).await;
    remove_catalog(dir.path());
    let mut answered = 0;
    loop {
        store.down_after.store(answered, Ordering::Relaxed);
        match repair_with(dir.path(), &remote) {
            Ok(report) => {
                assert!(report.is_sound(), "{report:?}");
                break;
            }
            Err(error) => assert!(matches!(error, Error::RemoteUnavailable { .. }), "{answered}: {error}"),
        }
        assert!(!dir.path().join("catalog.db").exists());
        answered += 1;
    }
    assert!(answered >= 8, "{answered}");
    assert_eq!(remote_of(dir.path()).len(), 3);
}

#[tokio::test]
async fn objects_of_another_directory_are_left_alone() {
    let store = FaultyStore::new(9);
    let remote = store.config();
    let dir = closed_with(&remote).await;
    fs::remove_file(dir.path().join("remote-owner")).unwrap();
    remove_catalog(dir.path());
    let refused = repair_with(dir.path(), &remote).unwrap_err();
    assert!(matches!(refused, Error::RemoteOwned), "{refused}");
    assert!(!dir.path().join("catalog.db").exists());
    store.remove_named("OWNER").await;
    assert!(repair_with(dir.path(), &remote).unwrap().is_sound());
    assert_eq!(remote_of(dir.path()).len(), 3);
}

#[tokio::test]
async fn rows_of_a_remote_file_that_the_log_has_too_come_once() {
    let store = FaultyStore::new(10);
    let remote = store.config();
    let dir = tempdir().unwrap();
    let storage = open_with(dir.path(), &remote);
    put(&storage, "a", "x").await;
    put(&storage, "a", "y").await;
    storage.append(entry("a", "unflushed", NOON_S, ROWS)).await.unwrap();
    let wal = image(dir.path());
    tier_all(&storage);
    storage.flush().await.unwrap();
    let rows = all_rows(&storage).await;
    let copy = image(dir.path());
    drop(storage);
    // Segments that a crash left there.
    for (path, bytes) in files_below(&wal.path().join("wal")) {
        fs::write(copy.path().join(path.strip_prefix(wal.path()).unwrap()), bytes).unwrap();
    }
    remove_catalog(copy.path());
    assert!(repair_with(copy.path(), &remote).unwrap().is_sound());
    assert_eq!(rows_with(copy.path(), &remote).await, rows);
}

#[tokio::test]
async fn a_file_that_the_store_had_given_up_does_not_come_back_with_its_object() {
    let store = FaultyStore::new(11);
    let remote = store.config();
    let dir = closed_with(&remote).await;
    let files = remote_of(dir.path());
    let catalog = Catalog::open(&dir.path().join("catalog.db")).unwrap();
    // As a retention does, whose object is still there.
    catalog.replace_files(&[files[0].id], &[]).unwrap();
    drop(catalog);
    let report = repair_with(dir.path(), &remote).unwrap();
    assert!(report.is_sound() && finds(&report, "1 left out: given up before"), "{report:?}");
    assert_eq!(remote_of(dir.path()), files[1..]);
}

#[tokio::test]
async fn a_check_compares_names_and_sizes_of_objects_and_says_what_it_did_not_read() {
    let store = FaultyStore::new(12);
    let remote = store.config();
    let dir = closed_with(&remote).await;
    let files = remote_of(dir.path());
    let check = || super::super::verify(dir.path(), Some(&remote)).unwrap();
    let report = check();
    assert!(report.is_sound() && finds(&report, "3 of 3 are there"), "{report:?}");
    assert!(finds(&report, "their contents were not read"), "{report:?}");
    let without = verify(dir.path()).unwrap();
    assert!(finds(&without, "3, not checked: storage.remote_url is not set"), "{without:?}");
    store.is_down.store(true, Ordering::Relaxed);
    let report = check();
    assert!(report.is_sound() && finds(&report, "3, not checked: the object store"), "{report:?}");
    store.is_down.store(false, Ordering::Relaxed);
    store.change(&files[0], |bytes| bytes.truncate(9)).await;
    store.remove(&files[1]).await;
    let report = check();
    let problems: Vec<_> = report.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("s3://unused/tier/") && problems[0].contains("it has 9 bytes of"));
    assert!(problems[1].contains("it is missing; restore the object"), "{problems:?}");
}
