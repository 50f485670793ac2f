//! Thousands of files in one hour. `plan/tests.rs` has ten thousand of them; opening as many takes a debug build too long.

use std::sync::atomic::Ordering;

use super::*;

const NUM_FILES: usize = 2_000;

/// Files of one hour, all with the rows of `first`, which is one of them.
fn clone_file(storage: &Storage, first: &DataFile, count: usize) {
    let store = storage.store();
    let bytes = std::fs::read(store.layout.data_file(first)).unwrap();
    let clones: Vec<_> =
        (1..count as u128).map(|i| DataFile { id: FileId(first.id.0 ^ i), ..first.clone() }).collect();
    for clone in &clones {
        std::fs::write(store.layout.data_file(clone), &bytes).unwrap();
        store.data_files.note_verified(clone.id);
    }
    store.replace_files(Vec::new(), clones).unwrap();
}

/// Scenario: a sender without batching, for hours.
/// Guarantees: the files become one, in rounds of bounded size; no more than a round of them is ever open.
#[tokio::test]
async fn thousands_of_files_of_an_hour_compact_away() {
    let disk = Arc::new(FaultyDisk::without_syncs());
    let dir = tempdir().unwrap();
    let storage = open_on(&disk, &config(dir.path()));
    store_files(&storage, "x", OLD_S, &[1]).await;
    let first = live(&storage).remove(0);
    clone_file(&storage, &first, NUM_FILES);
    let open_before = disk.num_open.load(Ordering::Relaxed);
    disk.most_open.store(open_before, Ordering::Relaxed);

    let mut task = Compaction::new(&cold());
    let mut pace = Pace::new(1.0);
    while task.step(storage.store(), &mut pace).unwrap() == Step::Worked {
        Garbage::default().step(storage.store(), &mut pace).unwrap();
    }
    let files = live(&storage);
    assert_eq!((files.len(), files[0].num_rows), (1, NUM_FILES as u64));
    assert_eq!(files_on_disk(&dir.path().join("data")), 1);
    assert_eq!(bodies(&storage, "a").await, BTreeMap::from([("x0-0".to_owned(), NUM_FILES)]));
    let most_open = disk.most_open.load(Ordering::Relaxed) - open_before;
    assert!(most_open <= plan::MAX_INPUTS + 1, "{most_open} files were open");
}

/// Guarantees: a query opens files one after the other, however many there are.
#[cfg(feature = "datafusion")]
#[tokio::test]
async fn a_query_over_many_small_files_has_few_of_them_open() {
    use arrow::array::AsArray;

    let disk = Arc::new(FaultyDisk::without_syncs());
    let dir = tempdir().unwrap();
    let storage = open_on(&disk, &config(dir.path()));
    store_files(&storage, "x", OLD_S, &[1]).await;
    let first = live(&storage).remove(0);
    clone_file(&storage, &first, 300);
    let open_before = disk.num_open.load(Ordering::Relaxed);
    disk.most_open.store(open_before, Ordering::Relaxed);
    let sql = "SELECT count(body) FROM logs WHERE body = 'x0-0'";
    let rows = crate::table::tests::query(&storage, "a", sql).await.unwrap();
    let count = rows[0].column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0);
    assert_eq!(count, 300);
    let most_open = disk.most_open.load(Ordering::Relaxed) - open_before;
    let partitions = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    assert!(most_open <= 2 * partitions, "{most_open} files were open");
}
