//! Starts that are interrupted, and what they leave for the next one.

use std::error::Error as StdError;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use alula_catalog::Catalog;
use arrow::array::RecordBatch;
use tempfile::tempdir;

use super::*;
use crate::Storage;
use crate::testing::{TextDecoder, bodies, config, crash_image, entry, expected, open};

const NOON_S: i64 = 1_795_262_400;

/// Stands for a process that dies: gives rows `left` times, then fails.
struct DyingDecoder {
    left: AtomicUsize,
}

impl EntryDecoder for DyingDecoder {
    fn decode(&self, entry: &LoggedEntry) -> Result<RecordBatch, Box<dyn StdError + Send + Sync>> {
        let alive = |left: usize| left.checked_sub(1);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, alive)
            .map_err(|_| "the process died")?;
        TextDecoder.decode(entry)
    }
}

/// Scenario: the process dies in the middle of recovery, again and again, each time one entry later; one entry is damaged.
/// Guarantees: every other entry is there once, and the loss is on record once.
#[tokio::test]
async fn a_recovery_that_is_interrupted_anywhere_can_be_repeated() {
    let dir = tempdir().unwrap();
    let storage = open(Config { wal_segment_bytes: 300, ..config(dir.path()) }).unwrap();
    let labels: Vec<String> = (0..9).map(|i| format!("entry{i}")).collect();
    for label in &labels {
        storage.append(entry("a", label, NOON_S, 2)).await.unwrap();
    }
    let image = tempdir().unwrap();
    crash_image(dir.path(), image.path());
    let first = image.path().join("wal/00000000000000000001.wal");
    let mut bytes = fs::read(&first).unwrap();
    let at = bytes.windows(6).position(|window| window == b"entry1").unwrap();
    bytes[at] ^= 1;
    fs::write(&first, bytes).unwrap();

    let slow = || Config { flush_bytes: 1, ..config(image.path()) };
    for lives in 0..4 {
        let catalog = Arc::new(Catalog::open(&image.path().join("catalog.db")).unwrap());
        let decoder = DyingDecoder { left: AtomicUsize::new(lives) };
        let error = Storage::open(&slow(), catalog, &decoder).unwrap_err();
        assert!(matches!(error, Error::Undecodable { .. }), "{error}");
    }
    let storage = open(slow()).unwrap();
    let intact: Vec<_> = labels.iter().filter(|label| *label != "entry1").map(|l| (l.as_str(), 2)).collect();
    assert_eq!(bodies(&storage, "a").await, expected(&intact));
    let losses = Catalog::open(&image.path().join("catalog.db")).unwrap().data_losses().unwrap();
    assert_eq!(losses.iter().map(|r| (r.loss.first_seq.0, r.loss.last_seq.0)).collect::<Vec<_>>(), [(2, 2)]);
    for label in &labels {
        let again = storage.append(entry("a", label, NOON_S, 2)).await.unwrap();
        assert_eq!(again.is_duplicate, label != "entry1", "{label}: only what was lost is stored again");
    }
    let all: Vec<_> = labels.iter().map(|label| (label.as_str(), 2)).collect();
    assert_eq!(bodies(&storage, "a").await, expected(&all));
}

#[tokio::test]
async fn numbers_of_lost_entries_are_never_given_out_again() {
    let dir = tempdir().unwrap();
    let storage = open(Config { wal_segment_bytes: 300, ..config(dir.path()) }).unwrap();
    for i in 0..9 {
        storage.append(entry("a", &format!("entry{i}"), NOON_S, 2)).await.unwrap();
    }
    let image = tempdir().unwrap();
    crash_image(dir.path(), image.path());
    let mut segments: Vec<_> =
        fs::read_dir(image.path().join("wal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    let last = segments.last().unwrap();
    let length = fs::read(last).unwrap().len();
    fs::write(last, vec![0; length]).unwrap();

    // Started and stopped without an entry in between: what was lost must outlast the log that showed it.
    for _ in 0..2 {
        open(config(image.path())).unwrap().close().await.unwrap();
    }
    let storage = open(config(image.path())).unwrap();
    let losses = Catalog::open(&image.path().join("catalog.db")).unwrap().data_losses().unwrap();
    assert_eq!(losses.len(), 1, "{losses:?}");
    let next = storage.append(entry("a", "next", NOON_S, 1)).await.unwrap();
    assert!(next.seq > losses[0].loss.last_seq, "{next:?} is on record as lost: {losses:?}");
    let again = tempdir().unwrap();
    crash_image(image.path(), again.path());
    let recovered = open(config(again.path())).unwrap();
    assert_eq!(bodies(&recovered, "a").await.get("next-0"), Some(&1));
    assert_eq!(Catalog::open(&again.path().join("catalog.db")).unwrap().data_losses().unwrap(), losses);
}

/// Scenario: a crash between any two steps of a flush: files written, COMMIT, segments removed.
/// Guarantees: every row is there once, and entries that come later are, too.
#[tokio::test]
async fn a_crash_between_any_two_steps_of_a_flush_loses_and_doubles_nothing() {
    let dir = tempdir().unwrap();
    let storage = open(Config { wal_segment_bytes: 300, ..config(dir.path()) }).unwrap();
    storage.append(entry("a", "earlier", NOON_S, 2)).await.unwrap();
    storage.flush().await.unwrap();
    for label in ["x", "y", "z"] {
        storage.append(entry("a", label, NOON_S, 2)).await.unwrap();
    }
    let (before, after) = (tempdir().unwrap(), tempdir().unwrap());
    crash_image(dir.path(), before.path());
    storage.flush().await.unwrap();
    crash_image(dir.path(), after.path());

    // `before` and `after` are images of the whole directory; later arguments replace single directories of the first.
    let images = [
        ("before the flush", vec![(before.path(), "")]),
        ("files written", vec![(before.path(), ""), (after.path(), "data")]),
        ("committed", vec![(after.path(), ""), (before.path(), "wal")]),
        ("segments removed", vec![(after.path(), "")]),
    ];
    let rows = expected(&[("earlier", 2), ("x", 2), ("y", 2), ("z", 2)]);
    for (step, parts) in images {
        let image = tempdir().unwrap();
        for (from, part) in parts {
            crash_image(&from.join(part), &image.path().join(part));
        }
        let recovered = open(config(image.path())).unwrap();
        for label in ["earlier", "x", "y", "z"] {
            let again = recovered.append(entry("a", label, NOON_S, 2)).await.unwrap();
            assert!(again.is_duplicate, "{step}: {label}");
        }
        assert_eq!(bodies(&recovered, "a").await, rows, "{step}");
        recovered.append(entry("a", "later", NOON_S, 2)).await.unwrap();
        recovered.close().await.unwrap();
        let recovered = open(config(image.path())).unwrap();
        let mut rows = rows.clone();
        rows.extend(expected(&[("later", 2)]));
        assert_eq!(bodies(&recovered, "a").await, rows, "{step}, restarted");
        let files =
            recovered.snapshot().table(&"a".parse().unwrap(), alula_catalog::Signal::Logs).files.len();
        assert_eq!(count_files(&image.path().join("data")), files, "{step}: orphans are left");
    }
}

fn count_files(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { count_files(&path) } else { 1 }).sum()
}
