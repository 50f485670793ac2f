//! Compaction of an open data directory: what it leaves, what it never touches, and what failures and crashes leave of it.

mod deletions;
mod failures;
mod many_files;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use alula_catalog::{Catalog, SequenceNumber, Signal};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Encoding;
use tempfile::tempdir;

use super::*;
use crate::data_files::DataFiles;
use crate::disk::faulty::FaultyDisk;
use crate::maintenance::Garbage;
use crate::testing::{TextDecoder, bodies, config, crash_image, entry, expected, layout, open};
use crate::{Config, Storage};

/// In a day that is long over.
const OLD_S: i64 = 1_600_000_000;
const HOUR_S: i64 = 3600;

/// Everything that is over is cold.
fn cold() -> CompactionConfig {
    CompactionConfig { cold_after: Duration::ZERO, day_after: Duration::ZERO, ..CompactionConfig::default() }
}

/// An open directory on `disk`.
fn open_on(disk: &Arc<FaultyDisk>, config: &Config) -> Storage {
    std::fs::create_dir_all(&config.data_dir).unwrap();
    let catalog = Arc::new(Catalog::open(&config.data_dir.join("catalog.db")).unwrap());
    Storage::open_on(Arc::<FaultyDisk>::clone(disk), config, catalog, &TextDecoder).unwrap()
}

/// Stores entries of tenant `a`, each in a file of its own. The labels are `<label>0`, `<label>1`, ...
async fn store_files(storage: &Storage, label: &str, first_s: i64, rows: &[usize]) {
    for (i, count) in rows.iter().enumerate() {
        storage.append(entry("a", &format!("{label}{i}"), first_s + i as i64, *count)).await.unwrap();
        storage.flush().await.unwrap();
    }
}

/// What [`bodies`] gives for [`store_files`].
fn stored(label: &str, rows: &[usize]) -> BTreeMap<String, usize> {
    let labels: Vec<_> = rows.iter().enumerate().map(|(i, count)| (format!("{label}{i}"), *count)).collect();
    expected(&labels.iter().map(|(label, count)| (label.as_str(), *count)).collect::<Vec<_>>())
}

fn live(storage: &Storage) -> Vec<DataFile> {
    storage.store().catalog.live_files().unwrap()
}

/// Steps of the task until it is idle, or the engine closes.
fn settle(storage: &Storage, config: CompactionConfig) -> usize {
    let mut task = Compaction::new(&config);
    let mut pace = Pace::new(1.0);
    let mut worked = || match task.step(storage.store(), &mut pace) {
        Ok(step) => step == Step::Worked,
        Err(Error::Closed) => false,
        Err(error) => panic!("{error}"),
    };
    (0..1_000).take_while(|_| worked()).count()
}

/// Data files on disk, live or not, and temporary ones.
fn files_on_disk(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().map(Result::unwrap).fold(0, |sum, entry| {
        let is_dir = entry.file_type().unwrap().is_dir();
        sum + if is_dir { files_on_disk(&entry.path()) } else { 1 }
    })
}

#[tokio::test]
async fn the_files_of_a_cold_hour_become_one_with_the_same_rows() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    let rows = [5, 1, 12, 3];
    store_files(&storage, "x", OLD_S, &rows).await;
    let before = live(&storage);
    assert_eq!(settle(&storage, CompactionConfig { day_after: Duration::MAX, ..cold() }), 1);

    let after = live(&storage);
    assert_eq!(bodies(&storage, "a").await, stored("x", &rows));
    assert_eq!(after.len(), 1);
    let file = &after[0];
    assert_eq!((file.hour, file.num_hours, file.num_rows), (before[0].hour, 1, 21));
    assert_eq!((file.first_seq, file.last_seq), (SequenceNumber(1), SequenceNumber(4)));
    assert_eq!(file.timestamps.min_ns, OLD_S * 1_000_000_000);
    assert_eq!(file.timestamps.max_ns, (OLD_S + 13) * 1_000_000_000);
    let dead = storage.store().catalog.dead_files().unwrap();
    assert_eq!(dead.len(), 4);

    let path = layout(dir.path()).data_file(file);
    let parquet = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap();
    let footer = parquet.metadata().file_metadata().key_value_metadata().unwrap();
    let key = |name: &str| footer.iter().find(|pair| pair.key == name).unwrap().value.clone().unwrap();
    let ids: Vec<_> = before.iter().map(|file| file.id.to_string()).collect();
    assert_eq!(key("alula.replaces"), ids.join(","));
    assert_eq!((key("alula.num_hours"), key("alula.deletions_applied")), ("1".to_owned(), "0".to_owned()));
    assert_eq!((key("alula.first_seq"), key("alula.last_seq")), ("1".to_owned(), "4".to_owned()));
    let service = parquet.metadata().row_group(0).columns().iter();
    let service = service.into_iter().find(|column| column.column_path().string() == "service_name").unwrap();
    assert!(service.encodings().any(|encoding| encoding == Encoding::RLE_DICTIONARY));
    assert!(parquet.metadata().row_group(0).sorting_columns().is_some());
}

#[tokio::test]
async fn an_hour_that_is_not_cold_is_left_alone_until_it_has_eight_files() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    store_files(&storage, "x", OLD_S, &[2; 7]).await;
    assert_eq!(settle(&storage, CompactionConfig::default()), 0);
    store_files(&storage, "y", OLD_S, &[2]).await;
    assert_eq!(settle(&storage, CompactionConfig::default()), 1);
    assert_eq!(live(&storage).len(), 1);
}

#[tokio::test]
async fn late_rows_join_the_file_of_their_hour() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    let hours_only = CompactionConfig { day_after: Duration::MAX, ..cold() };
    store_files(&storage, "x", OLD_S, &[3, 4]).await;
    settle(&storage, hours_only);
    let hour = live(&storage)[0].hour;
    // In the middle of the hour, where the first file has rows around it.
    store_files(&storage, "late", OLD_S + 1, &[2]).await;
    assert_eq!(live(&storage).len(), 2);
    settle(&storage, hours_only);
    let files = live(&storage);
    assert_eq!((files.len(), files[0].hour, files[0].num_rows), (1, hour, 9));
    let mut rows = stored("x", &[3, 4]);
    rows.extend(stored("late", &[2]));
    assert_eq!(bodies(&storage, "a").await, rows);
}

#[tokio::test]
async fn the_hours_of_a_cold_day_become_a_file_that_survives_a_restart() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    for hour in 0..5 {
        store_files(&storage, &format!("h{hour}-"), OLD_S + hour * HOUR_S, &[2, 3]).await;
    }
    settle(&storage, cold());
    let files = live(&storage);
    assert_eq!((files.len(), files[0].num_hours, files[0].num_rows), (1, 24, 25));
    assert_eq!(files[0].hour.0 % 24, 0);
    let rows = bodies(&storage, "a").await;
    assert_eq!(rows.len(), 25);
    storage.close().await.unwrap();
    let storage = open(config(dir.path())).unwrap();
    assert_eq!(bodies(&storage, "a").await, rows);
    assert_eq!(live(&storage), files);
    // Only what is live is left.
    assert_eq!(files_on_disk(&dir.path().join("data")), 1);
}

#[tokio::test]
async fn a_forced_compaction_tells_what_it_found_and_left_and_keeps_to_its_tenant() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    store_files(&storage, "x", OLD_S, &[2, 3]).await;
    for _ in 0..2 {
        storage.append(entry("b", "y", OLD_S, 4)).await.unwrap();
        storage.append(entry("b", "z", OLD_S, 4)).await.unwrap();
        storage.flush().await.unwrap();
    }
    let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
    assert_eq!(
        storage.compact(Some(&"nobody".parse().unwrap()), None).await.unwrap(),
        CompactionReport::default()
    );
    assert_eq!(storage.compact(Some(&a), Some(Signal::Traces)).await.unwrap(), CompactionReport::default());
    let before = live(&storage);
    let report = storage.compact(Some(&a), Some(Signal::Logs)).await.unwrap();
    assert_eq!((report.before.num_files, report.before.num_rows), (2, 5));
    assert_eq!((report.after.num_files, report.after.num_rows), (1, 5));
    assert!(report.after.size_bytes < report.before.size_bytes && report.after.size_bytes > 0);
    let of_b =
        |files: &[DataFile]| files.iter().filter(|file| file.num_rows != 5).cloned().collect::<Vec<_>>();
    assert_eq!(of_b(&live(&storage)), of_b(&before)[2..], "nothing of the other tenant was touched");
    storage.compact(None, None).await.unwrap();
    assert_eq!(storage.compact(Some(&b), None).await.unwrap().before.num_files, 1);
}

#[tokio::test]
async fn a_query_that_began_before_reads_the_replaced_files_to_their_end() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    store_files(&storage, "x", OLD_S, &[2, 3]).await;
    let before = storage.snapshot();
    storage.compact(None, None).await.unwrap();
    let mut pace = Pace::new(1.0);
    Garbage::default().step(storage.store(), &mut pace).unwrap();
    for file in before.table(&"a".parse().unwrap(), Signal::Logs).files.iter() {
        DataFiles::new(layout(dir.path())).open(file).unwrap();
    }
    assert_eq!(files_on_disk(&dir.path().join("data")), 3);
    drop(before);
    Garbage::default().step(storage.store(), &mut pace).unwrap();
    assert_eq!(files_on_disk(&dir.path().join("data")), 1);
    assert_eq!(bodies(&storage, "a").await, stored("x", &[2, 3]));
}

/// Scenario: rows arrive and are flushed while compaction takes one step after the other.
/// Guarantees: every snapshot has each row once.
#[tokio::test(flavor = "multi_thread")]
async fn compaction_beside_ingest_and_flush_shows_each_row_once() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    let compacting = {
        let storage = storage.clone();
        tokio::task::spawn_blocking(move || {
            let mut num_compactions = 0;
            while !storage.store().is_stopping() {
                num_compactions += settle(&storage, cold());
                std::thread::yield_now();
            }
            num_compactions
        })
    };
    let mut all = BTreeMap::new();
    for i in 0..40 {
        let label = format!("e{i}");
        storage.append(entry("a", &label, OLD_S + i, 2)).await.unwrap();
        all.extend(expected(&[(label.as_str(), 2)]));
        if i % 3 == 0 {
            storage.flush().await.unwrap();
        }
        assert_eq!(bodies(&storage, "a").await, all);
    }
    storage.close().await.unwrap();
    assert!(compacting.await.unwrap() > 0);
    let storage = open(config(dir.path())).unwrap();
    assert_eq!(bodies(&storage, "a").await, all);
}

#[cfg(feature = "datafusion")]
#[tokio::test]
async fn sql_reads_the_files_of_a_day() {
    use crate::table::tests::query;

    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    for hour in 0..4 {
        store_files(&storage, &format!("h{hour}-"), OLD_S + hour * HOUR_S, &[2, 5]).await;
    }
    let sql = "SELECT service_name, date_trunc('hour', timestamp) AS hour, count(*) FROM logs GROUP BY 1, 2 ORDER BY 2, 1";
    let one_hour = "SELECT body FROM logs WHERE timestamp >= '2020-09-13T13:26:40Z' \
                    AND timestamp < '2020-09-13T14:26:40Z' ORDER BY body";
    let before = (query(&storage, "a", sql).await.unwrap(), query(&storage, "a", one_hour).await.unwrap());
    assert!(before.1.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>() == 7);
    settle(&storage, cold());
    assert_eq!((live(&storage).len(), live(&storage)[0].num_hours), (1, 24));
    let after = (query(&storage, "a", sql).await.unwrap(), query(&storage, "a", one_hour).await.unwrap());
    assert_eq!(after, before);
}

/// Scenario: while a forced compaction is at work, a flush adds a file after each of its steps.
/// Guarantees: it ends, with what it began with in one file, and touches none of the others.
#[tokio::test]
async fn a_forced_compaction_ends_although_flushes_go_on() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    store_files(&storage, "before", OLD_S, &[3; 5]).await;
    let store = storage.store();
    let before = store.buffer.snapshot();
    let mut compaction = Compaction::forced(&cold(), CompactionScope::default(), &before);
    drop(before);
    let mut num_added = 0;
    while !matches!(compaction.attempt(store, &mut Pace::new(1.0), now_ns()).unwrap(), Attempt::NothingDue) {
        store_files(&storage, &format!("meanwhile{num_added}-"), OLD_S, &[1]).await;
        num_added += 1;
        assert!(num_added < 20, "it goes on for ever");
    }
    assert!(num_added > 0, "there was something to do");
    assert_eq!(live(&storage).len(), 1 + num_added);
}
