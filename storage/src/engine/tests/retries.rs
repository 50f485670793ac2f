//! A batch that is sent again: what is stored, and what its sender is told.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use alula_catalog::schema::entry_schema;
use arrow::record_batch::RecordBatch;
use futures::FutureExt;

use super::*;

fn is_pending<F: Future>(future: Pin<&mut F>) -> bool {
    matches!(future.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
}

fn again(seq: u64) -> Appended {
    Appended { seq: SequenceNumber(seq), is_duplicate: true, num_rejected: 0 }
}

fn stored(seq: u64) -> Appended {
    Appended { seq: SequenceNumber(seq), is_duplicate: false, num_rejected: 0 }
}

#[tokio::test]
async fn an_entry_that_is_sent_again_is_stored_once() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    assert_eq!(storage.append(entry("a", "x", NOON_S, 3)).await.unwrap(), stored(1));
    assert_eq!(storage.append(entry("a", "x", NOON_S, 3)).await.unwrap(), again(1));
    storage.flush().await.unwrap();
    assert_eq!(storage.append(entry("a", "x", NOON_S, 3)).await.unwrap(), again(1));
    assert_eq!(storage.append(entry("b", "x", NOON_S, 3)).await.unwrap(), stored(2), "of another tenant");
    let metrics = BatchId::of(&"a".parse().unwrap(), Signal::Metrics, &entry("a", "x", NOON_S, 3).payload);
    let other = Entry { batch_id: Some(metrics), ..entry("a", "y", NOON_S, 1) };
    assert_eq!(storage.append(other).await.unwrap(), stored(3), "of another signal");
    assert_eq!(bodies(&storage, "a").await, expected(&[("x", 3), ("y", 1)]));
}

#[tokio::test]
async fn equal_entries_without_an_id_are_both_kept() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    let untimed = || Entry { batch_id: None, ..entry("a", "x", NOON_S, 1) };
    assert_eq!(storage.append(untimed()).await.unwrap(), stored(1));
    assert_eq!(storage.append(untimed()).await.unwrap(), stored(2));
    let image = tempdir().unwrap();
    crash_image(dir.path(), image.path());
    let recovered = open(config(image.path())).unwrap();
    assert_eq!(recovered.append(untimed()).await.unwrap(), stored(3));
    assert_eq!(bodies(&recovered, "a").await, [("x-0".to_owned(), 3)].into());
    assert_eq!(recovered.inner.store.catalog.retryable_batches().unwrap(), []);
}

#[tokio::test]
async fn an_entry_that_comes_again_after_the_window_is_stored_again() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    let send = || storage.append(entry("a", "x", NOON_S, 1));
    send().await.unwrap();
    storage.flush().await.unwrap();
    storage.inner.retry_window.pass(Duration::from_secs(300));
    assert_eq!(send().await.unwrap(), again(1));
    storage.inner.retry_window.pass(Duration::from_secs(300));
    assert_eq!(send().await.unwrap(), stored(2));
    assert_eq!(bodies(&storage, "a").await, [("x-0".to_owned(), 2)].into());
}

/// Scenario: the system's clock is set ahead by an hour, and then back by two, between two copies of an entry.
/// Guarantees: it is stored once.
#[tokio::test]
async fn an_entry_is_known_whatever_the_system_s_clock_does_meanwhile() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    let hour_ns = 3_600_000_000_000;
    let at = |label: &str, hours: i64| {
        let entry = entry("a", label, NOON_S, 1);
        Entry { received_ns: entry.received_ns + hours * hour_ns, ..entry }
    };
    for (seq, (label, hours)) in (1..).zip([("x", 0), ("y", 1), ("z", -1)]) {
        assert_eq!(storage.append(at(label, hours)).await.unwrap(), stored(seq));
        assert_eq!(storage.append(at("x", hours)).await.unwrap(), again(1), "{hours}");
    }
}

/// Scenario: the same entry comes three times while the first is between its sync and its publication; one of the senders
/// goes away.
/// Guarantees: nobody is answered before the rows are visible, and one entry is stored.
#[tokio::test]
async fn a_duplicate_is_answered_only_when_the_first_is_stored() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    storage.append(entry("a", "warm", NOON_S, 1)).await.unwrap();
    for (round, drops_first) in [(0, false), (1, true)] {
        let label = format!("round{round}");
        let send = || storage.append(entry("a", &label, NOON_S, 1));
        let mut first = Box::pin(send());
        let (mut second, mut third) = (pin!(send()), pin!(send()));
        {
            let _held = storage.inner.buffer.hold();
            assert!(is_pending(first.as_mut()) && is_pending(second.as_mut()) && is_pending(third.as_mut()));
            // Whatever the writer does meanwhile, it cannot publish.
            assert!(is_pending(second.as_mut()) && is_pending(third.as_mut()));
        }
        if drops_first {
            drop(first);
        } else {
            assert_eq!(first.await.unwrap(), stored(2));
        }
        assert_eq!(second.await.unwrap(), again(2 + round));
        assert_eq!(bodies(&storage, "a").await.get(&format!("{label}-0")), Some(&1));
        assert_eq!(third.await.unwrap(), again(2 + round));
    }
}

/// Scenario: an entry comes again with more or fewer records rejected, as it does when a limit or the clock has moved:
/// while the first is in flight, after it, after a crash, and after restarts with the id in the catalog alone.
/// Guarantees: every answer has the number of the first.
#[tokio::test]
async fn a_duplicate_has_as_many_rejected_records_as_the_first() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    storage.append(entry("a", "warm", NOON_S, 1)).await.unwrap();
    let send = |label: &str, num_rejected: u32| Entry {
        rejected: (0..num_rejected).collect(),
        ..entry("a", label, NOON_S, 2)
    };
    for (seq, (label, num_rejected)) in (2..).zip([("some", 3), ("none", 0)]) {
        let mut first = pin!(storage.append(send(label, num_rejected)));
        let mut in_flight = pin!(storage.append(send(label, 1)));
        {
            let _held = storage.inner.buffer.hold();
            assert!(is_pending(first.as_mut()) && is_pending(in_flight.as_mut()));
        }
        assert_eq!(first.await.unwrap(), Appended { num_rejected, ..stored(seq) });
        assert_eq!(in_flight.await.unwrap(), Appended { num_rejected, ..again(seq) });
    }
    let image = tempdir().unwrap();
    crash_image(dir.path(), image.path());
    let recovered = open(config(image.path())).unwrap();
    for (case, path, mut storage) in [("stopped", dir.path(), storage), ("killed", image.path(), recovered)] {
        for life in 0..3 {
            for num_rejected in [0, 1, 3] {
                let some = storage.append(send("some", num_rejected)).await.unwrap();
                let none = storage.append(send("none", num_rejected)).await.unwrap();
                let expected = [Appended { num_rejected: 3, ..again(2) }, again(3)];
                assert_eq!([some, none], expected, "{case}, life {life}");
            }
            storage.close().await.unwrap();
            storage = open(config(path)).unwrap();
        }
    }
}

#[tokio::test]
async fn an_acknowledged_entry_is_a_duplicate_after_a_restart_and_after_a_crash_at_any_moment() {
    let dir = tempdir().unwrap();
    let mut storage = open(Config { wal_segment_bytes: 300, ..config(dir.path()) }).unwrap();
    let mut labels: Vec<String> = Vec::new();
    for round in 0..12_u32 {
        let label = format!("round{round}");
        storage.append(entry("a", &label, NOON_S, 2)).await.unwrap();
        labels.push(label);
        if round % 5 == 3 {
            storage.flush().await.unwrap();
        }
        if round == 6 {
            storage.close().await.unwrap();
            drop(storage);
            storage = open(config(dir.path())).unwrap();
        }
        let image = tempdir().unwrap();
        crash_image(dir.path(), image.path());
        let all = expected(&labels.iter().map(|label| (label.as_str(), 2)).collect::<Vec<_>>());
        // The first recovery flushes all; the second knows the ids from the catalog alone.
        for life in 0..2 {
            let recovered = open(config(image.path())).unwrap();
            for (index, label) in labels.iter().enumerate() {
                let answer = recovered.append(entry("a", label, NOON_S, 2)).await.unwrap();
                assert_eq!(answer, again(index as u64 + 1), "{label} after round {round}, life {life}");
            }
            assert_eq!(bodies(&recovered, "a").await, all);
        }
    }
}

/// Scenario: the disk refuses an entry while the same one waits behind it.
/// Guarantees: the second is stored once the disk takes something again, and nothing of the first comes back after a crash.
#[tokio::test]
async fn an_entry_whose_first_failed_is_stored_itself() {
    let dir = tempdir().unwrap();
    // Each group goes to a segment of its own, so that it can be refused one.
    let storage = open(Config { wal_segment_bytes: 1, ..config(dir.path()) }).unwrap();
    storage.append(entry("a", "one", NOON_S, 1)).await.unwrap();
    let send = || storage.append(entry("a", "x", NOON_S, 1));
    let (wal, aside) = (dir.path().join("wal"), dir.path().join("aside"));
    let mut ahead = pin!(storage.append(entry("a", "two", NOON_S, 1)));
    let (mut first, mut second) = (pin!(send()), pin!(send()));
    {
        // The writer has written the entry ahead and cannot go on to the next, so both of the others are in place.
        let _held = storage.inner.buffer.hold();
        assert!(is_pending(ahead.as_mut()));
        let segment = wal.join("00000000000000000002.wal");
        while !std::fs::metadata(&segment).is_ok_and(|written| written.len() > 96) {
            thread::yield_now();
        }
        std::fs::rename(&wal, &aside).unwrap();
        assert!(is_pending(first.as_mut()) && is_pending(second.as_mut()));
    }
    assert_eq!(ahead.await.unwrap(), stored(2));
    assert!(matches!(first.await, Err(Error::WalWrite(_))));
    let image = tempdir().unwrap();
    crash_image(&aside, &image.path().join("wal"));
    crash_image(&dir.path().join("data"), &image.path().join("data"));
    std::fs::copy(dir.path().join("catalog.db"), image.path().join("catalog.db")).unwrap();
    std::fs::copy(dir.path().join("catalog.db-wal"), image.path().join("catalog.db-wal")).unwrap();

    std::fs::rename(&aside, &wal).unwrap();
    let second = match second.await {
        Ok(stored) => stored,
        // The writer still pauses.
        Err(error) => {
            assert!(matches!(error, Error::WalWrite(_)), "{error}");
            storage.watch_health().wait_for(|health| *health == Health::Sound).await.unwrap();
            send().await.unwrap()
        }
    };
    assert_eq!(second, stored(3));
    assert_eq!(send().await.unwrap(), again(3));
    assert_eq!(bodies(&storage, "a").await, expected(&[("one", 1), ("two", 1), ("x", 1)]));
    let recovered = open(config(image.path())).unwrap();
    let answer = recovered.append(entry("a", "x", NOON_S, 1)).await.unwrap();
    assert_eq!(answer, stored(3), "it was never stored there");
}

#[tokio::test]
async fn an_entry_that_was_refused_may_come_again() {
    let dir = tempdir().unwrap();
    let storage =
        open(Config { wal_queue_bytes: 100_000, max_buffer_bytes: 1, ..config(dir.path()) }).unwrap();
    let x = || entry("a", "x", NOON_S, 1);
    let wrong = RecordBatch::new_empty(entry_schema(Signal::Metrics));
    let refused = storage.append(Entry { batch: wrong, ..x() }).await;
    assert!(matches!(refused, Err(Error::WrongSchema)), "{refused:?}");
    let refused = storage.append(Entry { rejected: vec![0; 100_000], ..x() }).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    storage.append(entry("a", "fits", NOON_S, 1)).await.unwrap();
    let refused = storage.append(x()).await;
    assert!(matches!(refused, Err(Error::Overloaded { what: "the buffer", .. })), "{refused:?}");
    assert!(storage.append(entry("a", "fits", NOON_S, 1)).await.unwrap().is_duplicate, "that needs no room");
    storage.flush().await.unwrap();
    let all = storage.inner.queue_bytes.acquire_many(100_000).await.unwrap();
    let refused = storage.append(x()).await;
    assert!(matches!(refused, Err(Error::Overloaded { .. })), "{refused:?}");
    drop(all);
    assert_eq!(storage.append(x()).await.unwrap(), stored(2));
}

/// Scenario: the disk stands still, and a sender repeats an entry again and again meanwhile.
/// Guarantees: what waits is counted as if it were in the queue, so it takes no more memory than that may have.
#[tokio::test]
async fn copies_that_wait_for_the_first_take_their_share_of_the_queue() {
    let dir = tempdir().unwrap();
    let send_bytes = entry("a", "x", NOON_S, 100).batch.get_array_memory_size();
    let storage = open(Config { wal_queue_bytes: 3 * send_bytes, ..config(dir.path()) }).unwrap();
    storage.append(entry("a", "warm", NOON_S, 1)).await.unwrap();
    let send = || storage.append(entry("a", "x", NOON_S, 100));
    let (mut first, mut second, mut third) = (pin!(send()), pin!(send()), pin!(send()));
    {
        let _held = storage.inner.buffer.hold();
        assert!(is_pending(first.as_mut()) && is_pending(second.as_mut()) && is_pending(third.as_mut()));
        let refused = send().now_or_never().expect("there is no room to wait");
        assert!(matches!(refused, Err(Error::Overloaded { .. })), "{refused:?}");
    }
    assert_eq!(first.await.unwrap(), stored(2));
    assert_eq!(second.await.unwrap(), again(2));
    assert_eq!(third.await.unwrap(), again(2));
    assert_eq!(storage.inner.queue_bytes.available_permits(), 3 * send_bytes);
    assert_eq!(bodies(&storage, "a").await, expected(&[("warm", 1), ("x", 100)]));
}

/// Scenario: many senders send the same entries at the same time, while flushes run.
/// Guarantees: each is stored once, also after a crash.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn entries_that_many_send_at_once_are_stored_once() {
    let dir = tempdir().unwrap();
    let storage = open(Config { wal_segment_bytes: 2000, ..config(dir.path()) }).unwrap();
    let labels: Vec<String> = (0..60).map(|i| format!("n{i}")).collect();
    let senders = (0..6).map(|sender| {
        let (storage, labels) = (storage.clone(), labels.clone());
        tokio::spawn(async move {
            let mut first = 0;
            for (i, label) in labels.iter().enumerate() {
                let answer = storage.append(entry("a", label, NOON_S, 2)).await.unwrap();
                first += usize::from(!answer.is_duplicate);
                if i % 20 == sender {
                    storage.flush().await.unwrap();
                }
            }
            first
        })
    });
    let mut first = 0;
    for sender in senders.collect::<Vec<_>>() {
        first += sender.await.unwrap();
    }
    assert_eq!(first, labels.len());
    let all = expected(&labels.iter().map(|label| (label.as_str(), 2)).collect::<Vec<_>>());
    assert_eq!(bodies(&storage, "a").await, all);
    let image = tempdir().unwrap();
    crash_image(dir.path(), image.path());
    let recovered = open(config(image.path())).unwrap();
    for label in &labels {
        assert!(recovered.append(entry("a", label, NOON_S, 2)).await.unwrap().is_duplicate, "{label}");
    }
    assert_eq!(bodies(&recovered, "a").await, all);
}
