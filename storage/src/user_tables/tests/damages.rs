//! Files that are not what was written, and a catalog that is lost.

use std::fs;
use std::path::Path;

use alula_catalog::UserFile;

use super::*;
use crate::health::Health;
use crate::verify::{RemoteSource, RepairMode, repair, verify};

async fn closed(tables: &[(&str, &[i64])]) -> (tempfile::TempDir, Vec<UserFile>) {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    storage.append(entry("a", "x", 1_795_262_400, 2)).await.unwrap();
    for (name, numbers) in tables {
        create_and_commit(&storage, "a", name, numbers).unwrap();
    }
    let files = storage.store().catalog.live_user_files().unwrap();
    storage.close().await.unwrap();
    (dir, files)
}

fn damage(dir: &Path, file: &UserFile) {
    let path = crate::testing::layout(dir).data_file(file);
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 4;
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_missing_or_damaged_file_fails_what_reads_it_and_goes_on_record() {
    let (dir, files) = closed(&[("hosts", &[1]), ("teams", &[2])]).await;
    let here = crate::testing::layout(dir.path());
    fs::remove_file(here.data_file(&files[0])).unwrap();
    damage(dir.path(), &files[1]);
    for _ in 0..2 {
        let storage = open(config(dir.path())).unwrap();
        let tables = storage.user_tables(&"a".parse().unwrap());
        let found: Vec<_> =
            tables.iter().map(|table| contents_of(storage.store(), table).unwrap_err()).collect();
        assert!(matches!(&found[0], Error::MissingFile { file } if file.contains(&files[0].id.to_string())));
        assert!(matches!(&found[1], Error::CorruptFile { file } if file.contains(&files[1].id.to_string())));
        let losses = storage.store().catalog.data_losses().unwrap();
        let sources: Vec<_> = losses.iter().map(|known| known.loss.source.as_str()).collect();
        let name = |file: &UserFile| format!("data/{}", crate::layout::Layout::data_file_name(file));
        assert_eq!(sources, [name(&files[0]), name(&files[1])]);
        assert!(losses.iter().all(|known| known.loss.num_rows == Some(1) && known.loss.signal.is_none()));
        assert!(matches!(&*storage.watch_health().borrow(), Health::Degraded { .. }));
        storage.close().await.unwrap();
    }
    // An append does not need the old rows, and a replacement mends the table.
    let storage = open(config(dir.path())).unwrap();
    for number in 10..20 {
        append_and_commit(&storage, "a", "hosts", &[number]).unwrap();
    }
    assert!(storage.user_tables(&"a".parse().unwrap()).get("hosts").unwrap().num_files() <= 7);
    let mut transaction = begin(&storage, "a");
    transaction.create_table("hosts", &schema(), CreateMode::Replace).unwrap();
    append(&mut transaction, "hosts", &rows(&[5])).unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(contents(&storage, "a", "hosts"), expected([5]));
}

#[tokio::test]
async fn a_file_that_the_catalog_does_not_know_goes_unless_the_catalog_is_the_wrong_one() {
    let (dir, files) = closed(&[("hosts", &[1])]).await;
    let earlier = tempdir().unwrap();
    crash_image(dir.path(), earlier.path());
    let storage = open(config(dir.path())).unwrap();
    append_and_commit(&storage, "a", "hosts", &[2]).unwrap();
    append_and_commit(&storage, "a", "hosts", &[3]).unwrap();
    storage.close().await.unwrap();

    // A file that came back.
    let here = crate::testing::layout(dir.path());
    let back = here.data_file(&files[0]).with_file_name("0123456789abcdef0123456789abcdef.parquet");
    fs::copy(here.data_file(&files[0]), &back).unwrap();
    let storage = open(config(dir.path())).unwrap();
    assert!(!back.exists());
    assert_eq!(contents(&storage, "a", "hosts"), expected([1, 2, 3]));
    storage.close().await.unwrap();

    // The catalog of another time, and no catalog.
    for from in [Some(earlier.path()), None] {
        let image = tempdir().unwrap();
        crash_image(dir.path(), image.path());
        let before = files_on_disk_of(image.path());
        for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm", "catalog.db-mark"] {
            let _ = fs::remove_file(image.path().join(name));
            if let Some(from) = from {
                let _ = fs::copy(from.join(name), image.path().join(name));
            }
        }
        let error = open(config(image.path())).unwrap_err();
        assert!(matches!(error, Error::OutdatedCatalog { .. } | Error::ForeignFile { .. }), "{error:?}");
        assert_eq!(files_on_disk_of(image.path()), before);
    }
}

fn files_on_disk_of(dir: &Path) -> usize {
    crate::reconcile::Tree::read(&crate::testing::layout(dir)).files.len()
}

#[tokio::test]
async fn verify_reads_every_row_of_user_tables_and_names_what_is_wrong() {
    let (dir, files) = closed(&[("hosts", &[1, 2]), ("none", &[])]).await;
    let report = verify(dir.path(), None).unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
    let found = report.findings.iter().find(|finding| finding.part == "user tables").unwrap();
    assert!(found.text.starts_with("2 with 2 sound files: all 2 rows read"), "{found}");
    damage(dir.path(), &files[0]);
    let report = verify(dir.path(), None).unwrap();
    let paths: Vec<_> = report.problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, [format!("data/{}", crate::layout::Layout::data_file_name(&files[0]))]);
}

/// Guarantees: the tables of a lost catalog come back with name, columns and committed rows; no row of a transaction that was
/// under way does, and none twice.
#[tokio::test]
async fn a_lost_catalog_is_built_anew_with_all_user_tables() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    create_and_commit(&storage, "a", "hosts", &[0]).unwrap();
    let held = storage.snapshot();
    for number in 1..30 {
        append_and_commit(&storage, "a", "hosts", &[number]).unwrap();
        storage.store().remove_user_garbage();
    }
    create_and_commit(&storage, "a", "empty", &[]).unwrap();
    create_and_commit(&storage, "b", "hosts", &[7]).unwrap();
    let mut replaced = begin(&storage, "b");
    replaced.create_table("hosts", &schema(), CreateMode::Replace).unwrap();
    append(&mut replaced, "hosts", &rows(&[8])).unwrap();
    replaced.commit().await.unwrap();
    let mut open_one = begin(&storage, "a");
    append(&mut open_one, "hosts", &rows(&[99])).unwrap();
    create(&mut open_one, "other").unwrap();
    // With files on disk that were merged and dropped, and are still read.
    let image = tempdir().unwrap();
    crash_image(dir.path(), image.path());
    drop((open_one, held, storage));

    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let _ = fs::remove_file(image.path().join(name));
    }
    let report = repair(image.path(), RepairMode::IfNeeded, &RemoteSource::Unknown).unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
    let storage = open(config(image.path())).unwrap();
    assert_eq!(names(&storage, "a"), ["empty", "hosts"]);
    assert_eq!(names(&storage, "b"), ["hosts"]);
    assert_eq!(contents(&storage, "a", "hosts"), expected(0..30));
    assert_eq!(contents(&storage, "a", "empty"), expected([]));
    assert_eq!(contents(&storage, "b", "hosts"), expected([8]));
    let tables = storage.user_tables(&"a".parse().unwrap());
    assert_eq!(tables.get("empty").unwrap().schema(), &schema());
    append_and_commit(&storage, "a", "hosts", &[30]).unwrap();
    storage.close().await.unwrap();
    let report = verify(image.path(), None).unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
}
