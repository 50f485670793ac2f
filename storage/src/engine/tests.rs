mod faults;
mod retries;

use alula_catalog::{RetryWindowChange, Signal};
use tempfile::tempdir;

use super::*;
use crate::testing::{bodies, config, crash_image, entry, expected, open};
use crate::{ErrorKind, RejectionGroup};

const NOON_S: i64 = 1_795_262_400;

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
async fn an_entry_whose_rows_are_larger_than_the_queue_is_taken_alone() {
    let dir = tempdir().unwrap();
    let storage = open(Config { wal_queue_bytes: 64, ..config(dir.path()) }).unwrap();
    let large = entry("a", "large", NOON_S, 1_000);
    assert!(large.payload.len() < 64 && large.batch.get_array_memory_size() > 64);
    storage.append(large).await.unwrap();
    storage.append(entry("a", "next", NOON_S, 1)).await.unwrap();
    assert_eq!(bodies(&storage, "a").await.len(), 1_001);
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
        // One poll hands the entry over; then the client is gone. The writer may have answered already.
        let _ = futures::poll!(append.as_mut());
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
    let losses = storage.inner.store.catalog.data_losses().unwrap();
    assert_eq!(losses.iter().map(|r| (r.loss.first_seq.0, r.loss.last_seq.0)).collect::<Vec<_>>(), [(2, 2)]);
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
    assert!(chunks < 16, "{chunks} chunks after 200 appends");
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

/// Scenario: the data directory cannot be written while rows come in, then it can again.
/// Guarantees: rows stay visible once, appends are refused once the buffer is full, and a later flush makes up for it.
#[tokio::test]
async fn a_failed_flush_keeps_every_row_once_and_is_made_up_for() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    storage.append(entry("a", "first", NOON_S, 2)).await.unwrap();
    let data = dir.path().join("data");
    std::fs::remove_dir(&data).unwrap();
    std::fs::write(&data, "in the way").unwrap();
    assert_eq!(storage.flush().await.unwrap_err().kind(), ErrorKind::Internal);
    storage.append(entry("a", "second", NOON_S, 2)).await.unwrap();
    storage.flush().await.unwrap_err();
    let both = expected(&[("first", 2), ("second", 2)]);
    assert_eq!(bodies(&storage, "a").await, both, "while it fails");
    let image = tempdir().unwrap();
    crash_image(dir.path(), image.path());

    std::fs::remove_file(&data).unwrap();
    std::fs::create_dir(&data).unwrap();
    storage.flush().await.unwrap();
    assert_eq!(bodies(&storage, "a").await, both, "after it succeeded");
    assert_eq!(storage.inner.buffer.total_bytes(), 0);
    assert_eq!(std::fs::read_dir(dir.path().join("wal")).unwrap().count(), 0, "flushed segments are removed");

    std::fs::remove_file(image.path().join("data")).unwrap();
    assert_eq!(
        bodies(&open(config(image.path())).unwrap(), "a").await,
        both,
        "after a crash while it failed"
    );
}

#[tokio::test]
async fn a_full_buffer_that_cannot_be_flushed_refuses_until_it_can() {
    let dir = tempdir().unwrap();
    let storage = open(Config { max_buffer_bytes: 1, ..config(dir.path()) }).unwrap();
    storage.append(entry("a", "fits", NOON_S, 1)).await.unwrap();
    let data = dir.path().join("data");
    std::fs::remove_dir(&data).unwrap();
    std::fs::write(&data, "in the way").unwrap();
    storage.flush().await.unwrap_err();
    let error = storage.append(entry("a", "waits", NOON_S, 1)).await.unwrap_err();
    assert!(matches!(error, Error::Overloaded { what: "the buffer", .. }), "frozen rows count: {error}");
    std::fs::remove_file(&data).unwrap();
    storage.flush().await.unwrap();
    storage.append(entry("a", "later", NOON_S, 1)).await.unwrap();
    assert_eq!(bodies(&storage, "a").await, expected(&[("fits", 1), ("later", 1)]));
}

/// Scenario: the files are written, and the COMMIT is refused.
/// Guarantees: the files stay, because a COMMIT that failed may still be on disk, and no attempt writes them again.
#[tokio::test]
async fn a_commit_that_fails_is_tried_again_with_the_same_files() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    storage.append(entry("a", "x", NOON_S, 2)).await.unwrap();
    storage.inner.store.catalog.commit_flush(&[], SequenceNumber(1), &RetryWindowChange::NONE).unwrap();
    let hour = dir.path().join("data/logs/1/2026/11/21/12");
    let files = || {
        let files = std::fs::read_dir(&hour).unwrap().map(|file| file.unwrap().file_name());
        files.collect::<Vec<_>>()
    };
    assert!(matches!(storage.flush().await, Err(Error::Catalog(_))));
    let first = files();
    assert!(matches!(storage.flush().await, Err(Error::Catalog(_))));
    assert_eq!((first.len(), files()), (1, first));
}

#[tokio::test]
async fn a_close_whose_flush_fails_leaves_the_rows_to_the_next_start() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    storage.append(entry("a", "x", NOON_S, 2)).await.unwrap();
    let data = dir.path().join("data");
    std::fs::remove_dir(&data).unwrap();
    std::fs::write(&data, "in the way").unwrap();
    let error = storage.close().await.unwrap_err();
    assert!(
        matches!(&error, Error::FlushTable { source, .. } if matches!(**source, Error::Io { .. })),
        "{error}"
    );
    std::fs::remove_file(&data).unwrap();
    let storage = open(config(dir.path())).expect("the directory is free though the flush failed");
    assert_eq!(bodies(&storage, "a").await, expected(&[("x", 2)]));
}

#[tokio::test]
async fn a_second_close_says_closed() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    storage.append(entry("a", "x", NOON_S, 2)).await.unwrap();
    storage.close().await.unwrap();
    assert!(matches!(storage.close().await, Err(Error::Closed)));
    assert!(matches!(storage.flush().await, Err(Error::Closed)));
    assert_eq!(bodies(&storage, "a").await, expected(&[("x", 2)]), "snapshots stay readable");
}

/// Scenario: an engine is dropped, not closed, while it flushes, and another one opens the same directory.
/// Guarantees: the second finds the directory free and at rest, and every row once.
#[tokio::test]
async fn a_dropped_engine_leaves_the_directory_at_rest() {
    let dir = tempdir().unwrap();
    let mut labels = Vec::new();
    for round in 0..5 {
        let storage = open(config(dir.path())).unwrap();
        let label = format!("round{round}");
        storage.append(entry("a", &label, NOON_S, 500)).await.unwrap();
        labels.push(label);
        let expected = expected(&labels.iter().map(|label| (label.as_str(), 500)).collect::<Vec<_>>());
        assert_eq!(bodies(&storage, "a").await, expected, "round {round}");
        let (reply, _) = oneshot::channel();
        storage.inner.flush.send(FlushRequest::Flush(reply)).unwrap();
    }
}

#[tokio::test]
async fn the_list_of_refused_records_counts_as_part_of_an_entry() {
    let dir = tempdir().unwrap();
    let storage = open(Config { wal_queue_bytes: 100, ..config(dir.path()) }).unwrap();
    let entry = Entry { rejected: (0..100).collect(), ..entry("a", "x", NOON_S, 1) };
    assert!(matches!(storage.append(entry).await, Err(Error::TooLarge { .. })));
}

/// Scenario: many append at once while flushes run and others read.
/// Guarantees: every read finds each row at most once, and all that were acknowledged before it began; so does a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_find_every_acknowledged_row_once_while_flushes_run() {
    let dir = tempdir().unwrap();
    let storage = open(Config { wal_segment_bytes: 2000, ..config(dir.path()) }).unwrap();
    let appenders = (0..4).map(|appender| {
        let storage = storage.clone();
        tokio::spawn(async move {
            let tenant = if appender % 2 == 0 { "a" } else { "b" };
            for i in 0..40 {
                let label = format!("w{appender}n{i}");
                storage.append(entry(tenant, &label, NOON_S + i * 600, 3)).await.unwrap();
                let found = bodies(&storage, tenant).await;
                assert!(found.values().all(|count| *count == 1), "a row is there twice");
                assert_eq!(found.get(&format!("{label}-2")), Some(&1), "an acknowledged row is not there");
                if i % 8 == appender {
                    storage.flush().await.unwrap();
                }
            }
        })
    });
    for appender in appenders.collect::<Vec<_>>() {
        appender.await.unwrap();
    }
    let image = tempdir().unwrap();
    crash_image(dir.path(), image.path());
    let recovered = open(config(image.path())).unwrap();
    for (tenant, appenders) in [("a", [0, 2]), ("b", [1, 3])] {
        let labels: Vec<_> =
            appenders.iter().flat_map(|a| (0..40).map(move |i| format!("w{a}n{i}"))).collect();
        let all = expected(&labels.iter().map(|label| (label.as_str(), 3)).collect::<Vec<_>>());
        assert_eq!(bodies(&storage, tenant).await, all, "tenant {tenant}");
        assert_eq!(bodies(&recovered, tenant).await, all, "tenant {tenant} after a crash");
    }
}

#[tokio::test]
async fn what_was_refused_is_visible_at_once_and_after_a_restart() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    let tenant: TenantId = "a".parse().unwrap();
    let group = |count| RejectionGroup { reason: "bad time".to_owned(), count, sample: "{}".to_owned() };
    let told = |storage: &Storage| {
        let rejections = storage.snapshot().rejections(&tenant);
        rejections.iter().map(|row| (row.reason.clone(), row.count, row.requests)).collect::<Vec<_>>()
    };
    storage.record_rejections(&tenant, Signal::Logs, NOON_S, vec![group(3)]);
    assert_eq!(told(&storage), [("bad time".to_owned(), 3, 1)]);
    storage.close().await.unwrap();
    assert_eq!(told(&storage), [("bad time".to_owned(), 3, 1)], "a closed engine stays readable");
    drop(storage);
    let storage = open(config(dir.path())).unwrap();
    storage.record_rejections(&tenant, Signal::Logs, NOON_S, vec![group(4)]);
    assert_eq!(told(&storage), [("bad time".to_owned(), 7, 2)], "it goes on where it was");
    // Not closed: dropping it saves them too.
    drop(storage);
    assert_eq!(told(&open(config(dir.path())).unwrap()), [("bad time".to_owned(), 7, 2)]);
}

#[tokio::test]
async fn rejections_are_saved_while_the_engine_runs() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    let group = RejectionGroup { reason: "bad time".to_owned(), count: 1, sample: String::new() };
    storage.record_rejections(&"a".parse().unwrap(), Signal::Logs, NOON_S, vec![group]);
    let catalog = Arc::clone(&storage.inner.store.catalog);
    // The catalog is asked until it has them; that it never does is what the test's time limit is for.
    let saved = tokio::task::spawn_blocking(move || {
        loop {
            let saved = catalog.ingest_rejections().unwrap();
            if !saved.is_empty() {
                return saved;
            }
            thread::yield_now();
        }
    });
    assert_eq!(saved.await.unwrap()[0].reason, "bad time");
}

#[test]
fn the_end_of_every_thread_is_waited_for_also_past_one_that_panicked() {
    let dir = tempdir().unwrap();
    let (saving, stop_saving) = sync_channel(0);
    let (watching, stop_watching) = sync_channel(0);
    let (working, work) = sync_channel(1);
    let works = move || {
        // Long enough for one who does not wait to be gone.
        (0..10_000).for_each(|_| thread::yield_now());
        working.send(()).unwrap();
    };
    let running = Running {
        threads: [
            spawn("panics", || panic!("for the test")).unwrap(),
            spawn("works", works).unwrap(),
            spawn("saves", move || assert!(stop_saving.recv().is_err())).unwrap(),
            spawn("watches", move || assert!(stop_watching.recv().is_err())).unwrap(),
            spawn("maintains", || ()).unwrap(),
        ],
        until_closed: [saving, watching],
        _lock: crate::testing::layout(dir.path()).lock().unwrap(),
    };
    assert!(matches!(running.join(), Err(Error::ThreadEnded("panics"))));
    assert_eq!(work.try_recv(), Ok(()));
}

/// Guarantees: whoever is told of an entry finds it in the snapshot that it takes then.
#[tokio::test]
async fn a_follower_is_told_of_its_own_table_and_of_no_other() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    let (a, b): (TenantId, TenantId) = ("a".parse().unwrap(), "b".parse().unwrap());
    let mut of_a = storage.follow(&a, Signal::Logs).await.unwrap();
    let of_b = storage.follow(&b, Signal::Logs).await.unwrap();
    let traces = storage.follow(&a, Signal::Traces).await.unwrap();
    storage.append(entry("a", "x", 0, 2)).await.unwrap();
    of_a.changed().await.unwrap();
    assert_eq!(*of_a.borrow(), storage.snapshot().last_seq(&a, Signal::Logs));
    assert!(!of_b.has_changed().unwrap() && !traces.has_changed().unwrap());
}
