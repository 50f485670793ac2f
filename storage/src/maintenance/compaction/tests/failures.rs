//! What a compaction that fails leaves: the files as they were, and nothing else.

use super::*;

/// Scenario: the disk fails for good at the n-th operation of a compaction, for each n; then the process dies.
/// Guarantees: every row is there once, before and after the restart, and no file stays that is not part of the store.
#[tokio::test]
async fn a_compaction_that_fails_at_any_step_loses_and_doubles_nothing() {
    let disk = Arc::new(FaultyDisk::default());
    let rows = [3, 1, 4];
    for operations in 0.. {
        let dir = tempdir().unwrap();
        let storage = open_on(&disk, &config(dir.path()));
        for hour in 0..2 {
            store_files(&storage, &format!("h{hour}-"), OLD_S + hour * HOUR_S, &rows).await;
        }
        let all = bodies(&storage, "a").await;
        disk.fail_after(operations);
        let stepped = Compaction::new(&cold()).step(storage.store(), &mut Pace::new(1.0));
        disk.fail_after(usize::MAX);
        assert_eq!(bodies(&storage, "a").await, all);

        let image = tempdir().unwrap();
        crash_image(dir.path(), image.path());
        let restarted = open(config(image.path())).unwrap();
        assert_eq!(bodies(&restarted, "a").await, all);
        assert_eq!(files_on_disk(&image.path().join("data")), live(&restarted).len());
        if stepped.is_ok() {
            assert!(
                operations > 4,
                "a file is created, written, synced and renamed, and its directory is synced"
            );
            assert_eq!(live(&restarted).len(), 1);
            return;
        }
        assert_eq!(live(&restarted).len(), 6);
        // It is tried again.
        assert_eq!(settle(&restarted, cold()), 1);
        assert_eq!(bodies(&restarted, "a").await, all);
    }
}

#[tokio::test]
async fn files_that_failed_for_a_while_are_left_alone_and_do_not_keep_others_waiting() {
    let disk = Arc::new(FaultyDisk::default());
    let dir = tempdir().unwrap();
    let storage = open_on(&disk, &config(dir.path()));
    store_files(&storage, "old", OLD_S, &[1, 1]).await;
    store_files(&storage, "new", OLD_S + 48 * HOUR_S, &[1, 1]).await;
    let mut task = Compaction::new(&cold());
    let mut pace = Pace::new(1.0);
    disk.fail_after(0);
    assert!(matches!(task.step(storage.store(), &mut pace), Err(Error::Io { .. })));
    disk.fail_after(usize::MAX);
    assert_eq!(task.step(storage.store(), &mut pace).unwrap(), Step::Worked);
    assert_eq!(task.step(storage.store(), &mut pace).unwrap(), Step::Idle);
    let num_rows: Vec<_> = live(&storage).iter().map(|file| file.num_rows).collect();
    assert_eq!(num_rows, [2, 1, 1], "the older files were compacted, the newer ones wait");
}

#[tokio::test]
async fn an_output_that_is_damaged_on_disk_is_dropped_and_not_tried_again() {
    let disk = Arc::new(FaultyDisk::default());
    let dir = tempdir().unwrap();
    let storage = open_on(&disk, &config(dir.path()));
    store_files(&storage, "x", OLD_S, &[3, 4]).await;
    let before = live(&storage);
    disk.is_rotten.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(settle(&storage, cold()), 1, "it fails once");
    let failed = storage.compact(None, None).await;
    assert!(matches!(failed, Err(Error::CorruptFile { .. })), "{failed:?}");
    assert_eq!(live(&storage), before);
    assert_eq!(files_on_disk(&dir.path().join("data")), 2);
    assert_eq!(bodies(&storage, "a").await, stored("x", &[3, 4]));
    assert_eq!(storage.store().catalog.data_losses().unwrap().len(), 0, "it was no part of the store");
}

#[tokio::test]
async fn a_damaged_input_is_left_out_and_the_others_are_compacted() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    store_files(&storage, "x", OLD_S, &[3, 4, 5]).await;
    let damaged = live(&storage).remove(1);
    let path = layout(dir.path()).data_file(&damaged);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    // What this process wrote itself is not read again before it is used.
    storage.store().data_files.forget(damaged.id);
    settle(&storage, cold());
    let files = live(&storage);
    assert_eq!(files.iter().map(|file| file.num_rows).collect::<Vec<_>>(), [8, 4]);
    assert_eq!(files[1], damaged, "it stays part of the store, and fails the queries that need it");
}

#[tokio::test]
async fn a_compaction_whose_input_was_dropped_meanwhile_leaves_nothing() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    store_files(&storage, "x", OLD_S, &[3, 4, 5]).await;
    let store = storage.store();
    let (plan, deletions) = Compaction::new(&cold()).most_urgent(store, now_ns()).unwrap();
    // Retention takes one of the inputs.
    let files = live(&storage);
    store.replace_files(vec![files[1].id], Vec::new()).unwrap();
    let failure = compact(store, &mut Pace::new(1.0), &plan, &deletions).unwrap_err();
    assert!(is_overtaken(&failure.error), "{failure:?}");
    assert_eq!(live(&storage), [files[0].clone(), files[2].clone()]);
    assert_eq!(files_on_disk(&dir.path().join("data")), 3, "the dropped one is removed as garbage, later");
    assert_eq!(settle(&storage, cold()), 1);
    assert_eq!(live(&storage)[0].num_rows, 8);
}

#[tokio::test]
async fn what_does_not_fit_on_the_disk_is_not_begun() {
    let disk = Arc::new(FaultyDisk::default());
    let dir = tempdir().unwrap();
    let storage = open_on(&disk, &config(dir.path()));
    store_files(&storage, "x", OLD_S, &[3, 4]).await;
    let input_bytes: u64 = live(&storage).iter().map(|file| file.size_bytes).sum();
    let free = |bytes| disk.free_bytes.store(bytes, std::sync::atomic::Ordering::Relaxed);
    free(SPARE_BYTES + input_bytes - 1);
    // Nothing may be written.
    disk.fail_after(0);
    assert_eq!(settle(&storage, cold()), 0);
    disk.fail_after(usize::MAX);
    free(SPARE_BYTES + input_bytes);
    assert_eq!(settle(&storage, cold()), 1);
}

#[tokio::test]
async fn a_compaction_ends_with_the_engine() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    store_files(&storage, "x", OLD_S, &[3, 4]).await;
    let before = live(&storage);
    storage.store().stopping.store(true, std::sync::atomic::Ordering::Relaxed);
    let stepped = Compaction::new(&cold()).step(storage.store(), &mut Pace::new(1.0));
    assert!(matches!(stepped, Err(Error::Closed)));
    assert_eq!(live(&storage), before);
    assert_eq!(files_on_disk(&dir.path().join("data")), 2);
}

/// Guarantees: each way in which the rows of an output can differ is found, and said with the names of all files.
#[tokio::test]
async fn an_output_with_other_rows_is_told_with_the_names_of_its_inputs() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    store_files(&storage, "x", OLD_S, &[3, 4]).await;
    let files = live(&storage);
    let store = storage.store();
    let (plan, _) = Compaction::new(&cold()).most_urgent(store, now_ns()).unwrap();
    let tally = |file| job::read_back(store, &mut Pace::new(1.0), file).unwrap();
    let both = tally(&files[0]).and(&tally(&files[1]));
    let refused = job::compare(&plan, &files[1], both, tally(&files[1])).unwrap_err();
    let text = refused.to_string();
    assert!(files.iter().all(|file| text.contains(&file.id.to_string())), "{text}");
    assert!(matches!(refused, Error::CompactionMismatch { what: "the number of rows", .. }));
    assert!(job::compare(&plan, &files[1], tally(&files[1]), tally(&files[1])).is_ok());
}
