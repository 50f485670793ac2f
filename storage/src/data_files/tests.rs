//! A file that changed on disk is never read, wherever the change is.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use alula_catalog::Signal;
use tempfile::tempdir;

use super::*;
use crate::health::Health;
use crate::testing::{config, entry, layout, open};

#[tokio::test]
async fn a_file_with_any_flipped_bit_is_refused_by_name() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    storage.append(entry("a", "x", 1_795_262_400, 20)).await.unwrap();
    storage.flush().await.unwrap();
    let file = Arc::clone(&storage.snapshot().table(&"a".parse().unwrap(), Signal::Logs).files[0]);
    let here = layout(dir.path());
    let path = here.data_file(&file);
    let whole = fs::read(&path).unwrap();
    DataFiles::new(here.clone()).open(&file).unwrap();
    for at in (0..whole.len()).step_by(97) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&path, &flipped).unwrap();
        let refused = DataFiles::new(here.clone()).open(&file).expect_err("a bit is wrong");
        assert!(refused.to_string().contains(&file.id.to_string()), "{refused}");
    }
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let refused = DataFiles::new(here.clone()).open(&file);
    assert!(matches!(refused, Err(Error::CorruptFile { .. })), "the last byte is missing");
    fs::remove_file(&path).unwrap();
    assert!(matches!(DataFiles::new(here).open(&file), Err(Error::MissingFile { .. })));
}

/// A file of a closed directory, and where it is.
async fn closed_file() -> (tempfile::TempDir, Arc<DataFile>) {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    storage.append(entry("a", "x", 1_795_262_400, 20)).await.unwrap();
    storage.flush().await.unwrap();
    let file = Arc::clone(&storage.snapshot().table(&"a".parse().unwrap(), Signal::Logs).files[0]);
    storage.close().await.unwrap();
    (dir, file)
}

/// Has eight threads ask for the file at once. How many of them read it, and how many were refused.
fn ask_at_once(verification: &Verification, file: &DataFile, is_sound: bool) -> (usize, usize) {
    let (arrived, read, refused) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                arrived.fetch_add(1, Ordering::SeqCst);
                let ensured = verification.ensure(file, || {
                    read.fetch_add(1, Ordering::SeqCst);
                    // As long as it takes until all others ask for it too.
                    while arrived.load(Ordering::SeqCst) < 8 {
                        std::thread::yield_now();
                    }
                    if is_sound {
                        return Ok(());
                    }
                    verification.report(file, FileDamage::Checksum);
                    Err(corrupt(file))
                });
                refused.fetch_add(usize::from(ensured.is_err()), Ordering::SeqCst);
            });
        }
    });
    (read.into_inner(), refused.into_inner())
}

#[tokio::test]
async fn queries_that_need_a_file_at_once_share_the_work_of_verifying_it() {
    let (_dir, file) = closed_file().await;
    let verification = Verification::default();
    assert_eq!(ask_at_once(&verification, &file, true), (1, 0));
    assert_eq!(ask_at_once(&verification, &file, true), (0, 0), "it is known");
    verification.forget(file.id);
    assert_eq!(ask_at_once(&verification, &file, false), (1, 8), "a damaged one is not read by each");
    assert_eq!(ask_at_once(&verification, &file, true), (0, 8), "nor again for a while");
}

#[tokio::test]
async fn a_failure_of_the_disk_is_no_damage_and_the_next_query_tries_again() {
    let (_dir, file) = closed_file().await;
    let verification = Verification::default();
    let failed = verification.ensure(&file, || Err(Error::Closed));
    assert!(matches!(failed, Err(Error::Closed)));
    verification.ensure(&file, || Ok(())).unwrap();
}

#[tokio::test]
async fn a_damaged_file_goes_on_record_once_and_degrades_health() {
    let (dir, file) = closed_file().await;
    let path = layout(dir.path()).data_file(&file);
    let mut bytes = fs::read(&path).unwrap();
    bytes[50] ^= 1;
    fs::write(path, bytes).unwrap();
    for start in 0..2 {
        let storage = open(config(dir.path())).unwrap();
        for _ in 0..3 {
            let snapshot = storage.snapshot();
            assert!(matches!(snapshot.data_files().open(&file), Err(Error::CorruptFile { .. })));
        }
        let losses = storage.store().catalog.data_losses().unwrap();
        assert_eq!(losses.len(), 1, "start {start}");
        assert_eq!(losses[0].loss.source, format!("data/{}", Layout::data_file_name(&file)));
        assert_eq!(losses[0].loss.detail, "its checksum is not the one it was written with");
        assert_eq!((losses[0].loss.num_rows, losses[0].loss.signal), (Some(20), Some(Signal::Logs)));
        assert!(matches!(&*storage.watch_health().borrow(), Health::Degraded { .. }));
        storage.close().await.unwrap();
    }
}
