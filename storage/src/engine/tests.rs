use std::collections::BTreeMap;

use alula_catalog::Signal;
use tempfile::tempdir;

use super::*;
use crate::ErrorKind;
use crate::testing::{config, crash_image, entry, open, query};

const NOON_S: i64 = 1_795_262_400;

/// Bodies of a tenant's log records and how often each is there.
async fn bodies(storage: &Storage, tenant: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for batch in query(storage, tenant, "SELECT body FROM logs").await.unwrap() {
        for body in arrow::array::AsArray::as_string::<i32>(batch.column(0)).iter().flatten() {
            *counts.entry(body.to_owned()).or_default() += 1;
        }
    }
    counts
}

fn expected(labels: &[(&str, usize)]) -> BTreeMap<String, usize> {
    labels.iter().flat_map(|(label, count)| (0..*count).map(move |i| (format!("{label}-{i}"), 1))).collect()
}

#[tokio::test]
async fn rows_are_visible_when_append_returns_and_stay_the_same_through_flush_and_restart() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    storage.append(entry("a", "first", NOON_S, 10)).await.unwrap();
    let first = expected(&[("first", 10)]);
    assert_eq!(bodies(&storage, "a").await, first);
    storage.flush().await.unwrap();
    assert_eq!(bodies(&storage, "a").await, first, "after the flush");
    storage.append(entry("a", "second", NOON_S, 7)).await.unwrap();
    let both = expected(&[("first", 10), ("second", 7)]);
    assert_eq!(bodies(&storage, "a").await, both, "half in a file, half in the buffer");
    storage.close().await.unwrap();
    drop(storage);
    let storage = open(config(dir.path())).unwrap();
    assert_eq!(bodies(&storage, "a").await, both, "after the restart");
}

#[tokio::test]
async fn a_crash_image_at_any_moment_has_every_acknowledged_entry_once() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..12_u32 {
        let label = format!("round{round}");
        storage.append(entry("a", &label, NOON_S + i64::from(round) * 1800, 5)).await.unwrap();
        acknowledged.push(label);
        if round % 5 == 3 {
            storage.flush().await.unwrap();
        }
        let image = tempdir().unwrap();
        crash_image(dir.path(), image.path());
        let labels: Vec<_> = acknowledged.iter().map(|label| (label.as_str(), 5)).collect();
        // Twice: recovery itself may be interrupted after it is done and start again.
        for _ in 0..2 {
            let recovered = open(config(image.path())).unwrap();
            assert_eq!(bodies(&recovered, "a").await, expected(&labels), "after round {round}");
        }
    }
}

#[tokio::test]
async fn files_of_a_flush_that_did_not_commit_are_removed_at_start() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    storage.append(entry("a", "x", NOON_S, 3)).await.unwrap();
    storage.flush().await.unwrap();
    storage.close().await.unwrap();
    drop(storage);
    let hour = dir.path().join("data/logs/1/2026/11/21/12");
    let file = std::fs::read_dir(&hour).unwrap().next().unwrap().unwrap().path();
    let orphan = hour.join("0123456789abcdef0123456789abcdef.parquet");
    let foreign = hour.join("notes.parquet");
    std::fs::copy(&file, &orphan).unwrap();
    std::fs::copy(&file, &foreign).unwrap();
    let storage = open(config(dir.path())).unwrap();
    assert!(!orphan.exists() && file.exists());
    assert!(foreign.exists(), "a file that is not ours was removed");
    assert_eq!(bodies(&storage, "a").await, expected(&[("x", 3)]));
}

#[tokio::test]
async fn rows_go_to_the_hour_of_their_timestamp() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    storage.append(entry("a", "late", 0, 2)).await.unwrap();
    storage.append(entry("a", "edge", NOON_S - 1, 2)).await.unwrap();
    storage.flush().await.unwrap();
    for (hour, exists) in
        [("1970/01/01/00", true), ("2026/11/21/11", true), ("2026/11/21/12", true), ("2026/11/21/13", false)]
    {
        assert_eq!(dir.path().join("data/logs/1").join(hour).is_dir(), exists, "{hour}");
    }
    assert_eq!(bodies(&storage, "a").await, expected(&[("late", 2), ("edge", 2)]));
}

#[tokio::test]
async fn a_full_buffer_refuses_and_a_flush_makes_room() {
    let dir = tempdir().unwrap();
    let storage = open(Config { max_buffer_bytes: 1, ..config(dir.path()) }).unwrap();
    storage.append(entry("a", "fits", NOON_S, 1)).await.unwrap();
    let error = storage.append(entry("a", "waits", NOON_S, 1)).await.unwrap_err();
    assert!(matches!(error, Error::Overloaded { what: "the buffer", .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    storage.flush().await.unwrap();
    storage.append(entry("a", "later", NOON_S, 1)).await.unwrap();
    assert_eq!(bodies(&storage, "a").await, expected(&[("fits", 1), ("later", 1)]));
}

#[tokio::test]
async fn an_entry_past_the_queue_is_refused_for_good() {
    let dir = tempdir().unwrap();
    let storage = open(Config { wal_queue_bytes: 4, ..config(dir.path()) }).unwrap();
    let error = storage.append(entry("a", "long-label", NOON_S, 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
}

#[tokio::test]
async fn a_second_process_is_told_who_has_the_directory() {
    let dir = tempdir().unwrap();
    let _storage = open(config(dir.path())).unwrap();
    let error = open(config(dir.path())).unwrap_err();
    let pid = std::process::id().to_string();
    assert!(error.to_string().contains(&pid), "{error}");
}

#[tokio::test]
async fn appends_after_close_are_refused() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    storage.close().await.unwrap();
    assert!(matches!(storage.append(entry("a", "x", NOON_S, 1)).await, Err(Error::Closed)));
    open(config(dir.path())).expect("the directory is free though a clone of the engine is still there");
}

#[tokio::test]
async fn a_dropped_append_is_still_committed() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    storage.append(entry("a", "warm", NOON_S, 1)).await.unwrap();
    {
        let append = storage.append(entry("a", "dropped", NOON_S, 1));
        let mut append = std::pin::pin!(append);
        // One poll hands the entry over; then the client is gone.
        assert!(futures::poll!(append.as_mut()).is_pending());
    }
    // Whatever comes later is numbered later, so the dropped one is visible once this is.
    storage.append(entry("a", "after", NOON_S, 1)).await.unwrap();
    assert_eq!(bodies(&storage, "a").await, expected(&[("warm", 1), ("dropped", 1), ("after", 1)]));
}

/// Scenario: a byte of an acknowledged entry rots while the server is down.
/// Guarantees: `refuse` does not start and changes nothing; `salvage` starts with all other entries, puts the loss on record and
/// keeps the damaged segment.
#[tokio::test]
async fn a_damaged_entry_is_put_on_record_and_costs_no_other() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    for label in ["one", "two", "three"] {
        storage.append(entry("a", label, NOON_S, 2)).await.unwrap();
    }
    let image = tempdir().unwrap();
    crash_image(dir.path(), image.path());
    let segment = image.path().join("wal/00000000000000000001.wal");
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(3).position(|window| window == b"two").unwrap();
    bytes[at] = b'T';
    std::fs::write(&segment, bytes).unwrap();

    let refuse = Config { on_corruption: crate::OnCorruption::Refuse, ..config(image.path()) };
    let error = open(refuse).unwrap_err();
    assert!(matches!(
        error,
        Error::RefusedCorruption { first: SequenceNumber(2), last: SequenceNumber(2), .. }
    ));

    let storage = open(config(image.path())).unwrap();
    assert_eq!(bodies(&storage, "a").await, expected(&[("one", 2), ("three", 2)]));
    let losses = storage.inner.catalog.data_losses().unwrap();
    assert_eq!(losses.iter().map(|loss| (loss.first_seq.0, loss.last_seq.0)).collect::<Vec<_>>(), [(2, 2)]);
    assert!(image.path().join("wal/quarantine/00000000000000000001.wal").exists());
}

#[tokio::test]
async fn many_small_appends_become_few_chunks() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    for i in 0..200 {
        storage.append(entry("a", &format!("n{i}"), NOON_S, 3)).await.unwrap();
    }
    let chunks = storage.snapshot().table(&"a".parse().unwrap(), Signal::Logs).hot.len();
    assert!(chunks < 40, "{chunks} chunks after 200 appends");
    assert_eq!(bodies(&storage, "a").await.values().sum::<usize>(), 600);
}

#[tokio::test]
async fn the_log_goes_on_in_new_segments_and_all_of_them_are_replayed() {
    let dir = tempdir().unwrap();
    let storage = open(Config { wal_segment_bytes: 300, ..config(dir.path()) }).unwrap();
    let labels: Vec<String> = (0..20).map(|i| format!("s{i}")).collect();
    for label in &labels {
        storage.append(entry("a", label, NOON_S, 2)).await.unwrap();
    }
    let image = tempdir().unwrap();
    crash_image(dir.path(), image.path());
    assert!(std::fs::read_dir(image.path().join("wal")).unwrap().count() > 5);
    let recovered = open(config(image.path())).unwrap();
    let labels: Vec<_> = labels.iter().map(|label| (label.as_str(), 2)).collect();
    assert_eq!(bodies(&recovered, "a").await, expected(&labels));
    assert_eq!(
        std::fs::read_dir(image.path().join("wal")).unwrap().count(),
        0,
        "replayed segments are removed"
    );
}
