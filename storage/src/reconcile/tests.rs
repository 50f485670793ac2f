//! Data directories that do not agree with their catalog.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use alula_catalog::{Catalog, DataLoss, Hour, TimeRange};
use tempfile::{TempDir, tempdir};

use super::*;
use crate::Storage;
use crate::health::Health;
use crate::testing::{bodies, config, crash_image, entry, expected, layout, open, store};

const NOON_S: i64 = 1_795_262_400;

/// A directory whose storage is closed, with a file of each label.
async fn closed(labels: &[&str]) -> (TempDir, Vec<DataFile>) {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    for label in labels {
        storage.append(entry("a", label, NOON_S, 2)).await.unwrap();
        storage.flush().await.unwrap();
    }
    let files = storage.store().catalog.live_files().unwrap();
    storage.close().await.unwrap();
    (dir, files)
}

fn losses(storage: &Storage) -> Vec<DataLoss> {
    let losses = storage.store().catalog.data_losses().unwrap();
    losses.into_iter().map(|recorded| recorded.loss).collect()
}

#[tokio::test]
async fn a_missing_or_shortened_file_goes_on_record_once_and_fails_its_queries_only() {
    let (dir, files) = closed(&["x", "y", "z"]).await;
    let here = layout(dir.path());
    fs::remove_file(here.data_file(&files[0])).unwrap();
    let shortened = here.data_file(&files[1]);
    let bytes = fs::read(&shortened).unwrap();
    fs::write(&shortened, &bytes[..bytes.len() - 7]).unwrap();
    for start in 0..3 {
        let storage = open(config(dir.path())).unwrap();
        let found = losses(&storage);
        assert_eq!(found.len(), 2, "start {start}: {found:?}");
        for (loss, file) in found.iter().zip(&files) {
            assert_eq!(loss.source, format!("data/{}", Layout::data_file_name(file)));
            assert_eq!((loss.tenant, loss.num_rows), (Some(file.tenant), Some(2)));
            assert_eq!((loss.first_seq, loss.last_seq), (file.first_seq, file.last_seq));
            assert_eq!(loss.timestamps, Some(file.timestamps));
        }
        assert!(matches!(&*storage.watch_health().borrow(), Health::Degraded { .. }));
        let snapshot = storage.snapshot();
        let open = |file| snapshot.data_files().open(file);
        let error = open(&files[0]).unwrap_err();
        assert!(matches!(&error, Error::MissingFile { .. }), "{error}");
        assert!(error.to_string().contains(&files[0].id.to_string()), "{error}");
        assert!(matches!(open(&files[1]), Err(Error::CorruptFile { .. })));
        open(&files[2]).unwrap();
        storage.close().await.unwrap();
    }
}

/// Scenario: of 2,001 files one is left, which a start and another one find.
/// Guarantees: each of the others is on record, once and in order, by one COMMIT in all; none is asked for one by one.
#[test]
fn many_files_that_are_lost_one_by_one_go_on_record_together() {
    let dir = tempdir().unwrap();
    let store = store(dir.path(), [7; 16]);
    let tenant = store.catalog.register_tenant(&"a".parse().unwrap()).unwrap();
    let file = |id: u64| DataFile {
        id: FileId(id.into()),
        tenant,
        signal: Signal::Logs,
        hour: Hour(495_000),
        num_hours: 1,
        tier: Tier::Local,
        num_rows: id + 1,
        size_bytes: 4,
        checksum: [0; 16],
        timestamps: TimeRange { min_ns: 0, max_ns: 0 },
        first_seq: SequenceNumber(id + 1),
        last_seq: SequenceNumber(id + 1),
        schema_version: 1,
        deletions_applied: 0,
    };
    let files: Vec<_> = (0..=2_000).map(file).collect();
    let left = store.layout.data_file(&files[1_000]);
    fs::create_dir_all(left.parent().unwrap()).unwrap();
    fs::write(&left, b"PAR1").unwrap();
    let num_commits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&num_commits);
    store.catalog.set_commit_gate(move || counted.fetch_add(1, Ordering::Relaxed) < 1_000_000).unwrap();

    for _ in 0..2 {
        reconcile_files(&store, &files).unwrap();
        assert_eq!(num_commits.load(Ordering::Relaxed), 1);
        let listed = store.losses.listed();
        let expected = (1..=2_001).filter(|rows| *rows != 1_001).map(Some);
        assert!(listed.iter().map(|known| known.loss.num_rows).eq(expected));
        for (recorded, file) in listed.iter().zip(files.iter().filter(|file| file.id != files[1_000].id)) {
            assert_eq!(recorded.loss.source, format!("data/{}", Layout::data_file_name(file)));
            assert_eq!(recorded.loss.detail, "it is missing");
        }
        assert_eq!(*listed, store.catalog.data_losses().unwrap());
        let health = store.condition.watch().borrow().clone();
        assert!(
            matches!(&health, Health::Degraded { reason } if reason.contains("2000 losses")),
            "{health:?}"
        );
    }
    assert!(left.exists());
}

/// Scenario: the file system of `data/` is not mounted, with few files or many, or its directories alone are left.
/// Guarantees: nothing goes on record as lost, and once it is mounted all is as before.
#[tokio::test]
async fn a_start_without_the_data_files_is_refused_and_puts_no_loss_on_record() {
    let many = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for (labels, keeps_dirs) in [(&many[..1], false), (&many[..], false), (&many[..], true)] {
        let (dir, files) = closed(labels).await;
        let here = layout(dir.path());
        let mounted = dir.path().join("elsewhere");
        fs::rename(here.data_root(), &mounted).unwrap();
        if keeps_dirs {
            for file in &files {
                fs::create_dir_all(here.data_file(file).parent().unwrap()).unwrap();
            }
        }
        let error = open(config(dir.path())).unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, Error::NoDataFiles { num_files, .. } if num_files == labels.len())
                && text.contains("mounted")
                && text.contains(here.data_root().to_str().unwrap()),
            "{text}"
        );
        let _ = fs::remove_dir_all(here.data_root());
        fs::rename(&mounted, here.data_root()).unwrap();
        let storage = open(config(dir.path())).unwrap();
        assert_eq!(losses(&storage), []);
        assert_eq!(bodies(&storage, "a").await.values().sum::<usize>(), labels.len() * 2);
        storage.close().await.unwrap();
    }
}

/// Scenario: a store has one file, that file alone is lost, and the starts after the first find its directories removed.
#[tokio::test]
async fn the_loss_of_the_only_file_stops_no_start() {
    let (dir, files) = closed(&["x"]).await;
    fs::remove_file(layout(dir.path()).data_file(&files[0])).unwrap();
    for _ in 0..3 {
        let storage = open(config(dir.path())).unwrap();
        assert_eq!(losses(&storage).len(), 1);
        storage.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_no_part_of_the_store_goes_and_what_is_not_ours_stays() {
    let (dir, files) = closed(&["x"]).await;
    let here = layout(dir.path());
    let whole = here.data_file(&files[0]);
    let beside = |name: &str| whole.with_file_name(name);
    // A file that was dropped and came back, half a file, and empty directories.
    fs::copy(&whole, beside("0123456789abcdef0123456789abcdef.parquet")).unwrap();
    fs::write(beside("0123456789abcdef0123456789abcdee.parquet.tmp"), b"half").unwrap();
    fs::create_dir_all(here.data_root().join("traces/7/2020/01/01/00")).unwrap();
    // Names that we do not give, and a place where we look for nothing.
    fs::write(beside("notes.txt"), b"of a person").unwrap();
    fs::create_dir_all(here.data_quarantine_dir()).unwrap();
    let kept = here.data_quarantine_dir().join("0123456789abcdef0123456789abcdef.parquet");
    fs::write(&kept, b"evidence").unwrap();
    // Whole, but damaged inside: it may have held rows.
    fs::write(beside("0123456789abcdef0123456789abcded.parquet"), b"PAR1 no more").unwrap();

    let storage = open(config(dir.path())).unwrap();
    let tree = Tree::read(&here);
    assert_eq!(tree.files, std::slice::from_ref(&whole));
    assert!(beside("notes.txt").exists() && kept.exists());
    assert!(here.data_quarantine_dir().join("0123456789abcdef0123456789abcded.parquet").exists());
    assert!(!here.data_root().join("traces/7").exists());
    assert_eq!(losses(&storage), []);
    assert_eq!(bodies(&storage, "a").await, expected(&[("x", 2)]));
}

/// Scenario: the files of a flush are on disk, and the catalog was put back to a state before it; its log is gone.
#[tokio::test]
async fn files_that_a_lost_or_older_catalog_does_not_know_are_never_removed() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    storage.append(entry("a", "x", NOON_S, 2)).await.unwrap();
    storage.flush().await.unwrap();
    let earlier = tempdir().unwrap();
    crash_image(dir.path(), earlier.path());
    storage.append(entry("a", "y", NOON_S, 2)).await.unwrap();
    storage.flush().await.unwrap();
    storage.close().await.unwrap();
    let before = Tree::read(&layout(dir.path())).files;
    assert_eq!(before.len(), 2);

    for (case, from) in [("older", Some(earlier.path())), ("lost", None)] {
        let image = tempdir().unwrap();
        crash_image(dir.path(), image.path());
        for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm", "catalog.db-mark"] {
            let _ = fs::remove_file(image.path().join(name));
            if let Some(from) = from {
                let _ = fs::copy(from.join(name), image.path().join(name));
            }
        }
        let error = open(config(image.path())).unwrap_err();
        let is_expected = match case {
            "older" => matches!(error, Error::OutdatedCatalog { .. }),
            _ => matches!(error, Error::ForeignFile { .. }),
        };
        assert!(is_expected, "{case}: {error:?}");
        assert!(error.to_string().contains("`alula verify --repair`"), "{error}");
        assert_eq!(Tree::read(&layout(image.path())).files.len(), 2, "{case}: a file was removed");
    }
}

/// Scenario: a crash between the files of a flush and its COMMIT, and an entry that the log has lost.
#[tokio::test]
async fn files_of_a_flush_that_did_not_commit_are_kept_aside_if_the_log_lost_their_entries() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    for label in ["x", "y", "z"] {
        storage.append(entry("a", label, NOON_S, 2)).await.unwrap();
    }
    let image = tempdir().unwrap();
    crash_image(dir.path(), image.path());
    storage.flush().await.unwrap();
    crash_image(&dir.path().join("data"), &image.path().join("data"));
    drop(storage);
    assert_eq!(Tree::read(&layout(image.path())).files.len(), 1);

    let damaged = tempdir().unwrap();
    crash_image(image.path(), damaged.path());
    let segment = fs::read_dir(damaged.path().join("wal")).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.filter(|path| path.extension().is_some_and(|e| e == "wal")).max().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(3).position(|window| window == b"y 1").unwrap();
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();

    let storage = open(config(image.path())).unwrap();
    assert_eq!(bodies(&storage, "a").await, expected(&[("x", 2), ("y", 2), ("z", 2)]));
    assert!(!layout(image.path()).data_quarantine_dir().exists());
    let storage = open(config(damaged.path())).unwrap();
    assert_eq!(bodies(&storage, "a").await, expected(&[("x", 2), ("z", 2)]));
    assert_eq!(losses(&storage).len(), 1);
    let kept = fs::read_dir(layout(damaged.path()).data_quarantine_dir()).unwrap().count();
    assert_eq!(kept, 1, "the file has the rows of the lost entry");
}

#[cfg(unix)]
#[tokio::test]
async fn a_directory_that_cannot_be_read_is_skipped() {
    let (dir, _) = closed(&["x"]).await;
    // A file where a directory should be: it cannot be listed, whoever asks.
    fs::write(dir.path().join("data/traces"), b"").unwrap();
    let storage = open(config(dir.path())).unwrap();
    assert_eq!(bodies(&storage, "a").await, expected(&[("x", 2)]));
    assert_eq!(Catalog::open(&dir.path().join("catalog.db")).unwrap().data_losses().unwrap(), []);
}
