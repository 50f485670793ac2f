//! Rows that were deleted do not come out of a compaction.

use alula_catalog::TimeRange;
use alula_catalog::schema::{BODY, table_schema};
use arrow::array::{AsArray, BooleanArray, RecordBatch};

use super::*;
use crate::maintenance::tier_all;
use crate::remote::testing::FaultyStore;
use crate::verify::{RemoteSource, RepairMode, repair};
use crate::{PredicateCompiler, PredicateError, RowPredicate};

/// A predicate is the start of a body.
#[derive(Debug)]
struct StartsWith;

#[derive(Debug)]
struct Body {
    start: String,
    column: [usize; 1],
}

impl PredicateCompiler for StartsWith {
    fn compile(&self, signal: Signal, predicate: &str) -> Result<Arc<dyn RowPredicate>, PredicateError> {
        let column = [table_schema(signal).index_of(BODY)?];
        Ok(Arc::new(Body { start: predicate.to_owned(), column }))
    }
}

impl RowPredicate for Body {
    fn columns(&self) -> &[usize] {
        &self.column
    }

    fn timestamps(&self) -> TimeRange {
        TimeRange { min_ns: i64::MIN, max_ns: i64::MAX }
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<BooleanArray, PredicateError> {
        let bodies = rows.column(0).as_string::<i32>();
        Ok(bodies.iter().map(|body| body.map(|body| body.starts_with(&self.start))).collect())
    }
}

fn open_with_predicates(dir: &Path) -> Storage {
    let storage = open(config(dir)).unwrap();
    storage.compile_predicates_with(Arc::new(StartsWith));
    storage
}

async fn delete(storage: &Storage, start: &str) {
    let (snapshot, tenant) = (storage.snapshot(), "a".parse().unwrap());
    let last_seq = snapshot.last_seq(&tenant, Signal::Logs);
    let proposed = snapshot.propose_deletion(&tenant, Signal::Logs, start, last_seq, "ops").unwrap();
    storage.delete(proposed.unwrap(), 1).await.unwrap();
    assert!(!is_completed(storage), "the files have the rows");
}

fn is_completed(storage: &Storage) -> bool {
    storage.store().complete_deletions().unwrap();
    storage.store().catalog.deletions().unwrap().iter().all(|deletion| deletion.completed_ns.is_some())
}

/// [`bodies`] reads the files as they are.
#[tokio::test]
async fn deleted_rows_are_gone_from_every_file_and_later_ones_stay() {
    let dir = tempdir().unwrap();
    let storage = open_with_predicates(dir.path());
    store_files(&storage, "x", OLD_S, &[3, 4]).await;
    // Alone in its partition.
    store_files(&storage, "y", OLD_S + 72 * HOUR_S, &[5]).await;
    delete(&storage, "x1").await;
    delete(&storage, "y0-3").await;
    store_files(&storage, "x", OLD_S, &[1]).await;
    store_files(&storage, "z", OLD_S + 1, &[2]).await;
    let untouched = live(&storage).into_iter().filter(|file| file.num_rows < 3).collect::<Vec<_>>();

    // Nothing else is due: only what deletions concern is written again, and at once.
    assert_eq!(settle(&storage, CompactionConfig::default()), 3);
    let mut left = stored("x", &[3]);
    *left.get_mut("x0-0").unwrap() = 2;
    left.extend(stored("y", &[5]));
    left.remove("y0-3");
    left.extend(stored("z", &[2]));
    assert_eq!(bodies(&storage, "a").await, left);
    let files = live(&storage);
    assert!(untouched.iter().all(|file| files.contains(file)));
    assert!(is_completed(&storage));
    assert_eq!(settle(&storage, CompactionConfig::default()), 0);
    let rewritten = files.iter().find(|file| file.num_rows == 4).unwrap();
    assert_eq!(rewritten.deletions_applied, 2);
}

#[tokio::test]
async fn a_file_of_which_every_row_was_deleted_leaves_none() {
    let dir = tempdir().unwrap();
    let storage = open_with_predicates(dir.path());
    store_files(&storage, "x", OLD_S, &[3]).await;
    delete(&storage, "x").await;
    let report = storage.compact(None, None).await.unwrap();
    assert_eq!((report.before.num_rows, report.after.num_rows, report.after.num_files), (3, 0, 0));
    assert!(is_completed(&storage));
    storage.close().await.unwrap();
    let storage = open(config(dir.path())).unwrap();
    assert_eq!(bodies(&storage, "a").await, BTreeMap::new());
    assert_eq!(files_on_disk(&dir.path().join("data")), 0);
}

/// Guarantees: what a merge leaves out of some inputs is compared with what it read, and the bounds are those of what is left.
#[tokio::test]
async fn a_merge_takes_deleted_rows_out_of_those_inputs_that_have_them() {
    let dir = tempdir().unwrap();
    let storage = open_with_predicates(dir.path());
    store_files(&storage, "x", OLD_S, &[4, 4, 4]).await;
    delete(&storage, "x0-0").await;
    delete(&storage, "x2-3").await;
    store_files(&storage, "late", OLD_S + 2, &[2]).await;
    storage.compact(None, None).await.unwrap();
    let files = live(&storage);
    assert_eq!((files.len(), files[0].num_rows, files[0].deletions_applied), (1, 12, 2));
    assert_eq!(files[0].timestamps.min_ns, (OLD_S + 1) * 1_000_000_000);
    assert_eq!(files[0].timestamps.max_ns, (OLD_S + 4) * 1_000_000_000);
    let mut left = stored("x", &[4, 4, 4]);
    left.retain(|body, _| body != "x0-0" && body != "x2-3");
    left.extend(stored("late", &[2]));
    assert_eq!(bodies(&storage, "a").await, left);
    assert!(is_completed(&storage));
}

#[tokio::test]
async fn a_remote_file_with_deleted_rows_becomes_a_local_one_without_them() {
    let (dir, objects) = (tempdir().unwrap(), FaultyStore::new(1));
    let storage = open(Config { remote: Some(objects.config()), ..config(dir.path()) }).unwrap();
    storage.compile_predicates_with(Arc::new(StartsWith));
    storage.append(entry("a", "x", 1_795_262_400, 4)).await.unwrap();
    storage.append(entry("a", "y", 1_795_262_400, 4)).await.unwrap();
    storage.flush().await.unwrap();
    tier_all(&storage);
    let store = storage.store();
    assert_eq!(store.catalog.live_files().unwrap()[0].tier, Tier::Remote);
    // One without deleted rows stays as it is.
    compact_all(store, &CompactionConfig::default(), CompactionScope::default()).unwrap();
    assert_eq!(store.catalog.live_files().unwrap()[0].tier, Tier::Remote);
    delete(&storage, "x").await;
    compact_all(store, &CompactionConfig::default(), CompactionScope::default()).unwrap();
    assert_eq!(store.catalog.live_files().unwrap()[0].tier, Tier::Local);
    assert_eq!(bodies(&storage, "a").await, expected(&[("y", 4)]));
    assert!(is_completed(&storage));
}

#[tokio::test]
async fn a_deleted_row_does_not_come_back_with_the_object_that_had_it_when_the_catalog_is_lost() {
    let (dir, objects) = (tempdir().unwrap(), FaultyStore::new(2));
    let with_remote = || Config { remote: Some(objects.config()), ..config(dir.path()) };
    let storage = open(with_remote()).unwrap();
    storage.compile_predicates_with(Arc::new(StartsWith));
    storage.append(entry("a", "x", 1_795_262_400, 4)).await.unwrap();
    storage.append(entry("a", "y", 1_795_262_400, 4)).await.unwrap();
    storage.append(entry("b", "z", 1_795_262_400, 4)).await.unwrap();
    storage.flush().await.unwrap();
    tier_all(&storage);
    let files = storage.store().catalog.live_files().unwrap();
    let (replaced, other) = (&files[0], &files[1]);
    let object = objects.bytes_of(replaced).await;
    delete(&storage, "x").await;
    compact_all(storage.store(), &CompactionConfig::default(), CompactionScope::default()).unwrap();
    storage.close().await.unwrap();
    // The log has no entry any more that is in a file.
    open(with_remote()).unwrap().close().await.unwrap();
    // As if it could not be removed.
    assert_eq!(objects.data_files().await.len(), 1);
    objects.put_beside(other, &crate::remote::object_name(replaced), object).await;
    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm", "catalog.db-mark"] {
        let _ = std::fs::remove_file(dir.path().join(name));
    }
    let tier = RemoteSource::Tier(Box::new(objects.config()));
    let report = repair(dir.path(), RepairMode::IfNeeded, &tier).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(bodies(&open(with_remote()).unwrap(), "a").await, expected(&[("y", 4)]));
}
