//! Deleted rows are in no answer, wherever they are stored and whatever happens next; all others stay.

mod compaction;

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use arrow::util::display::array_value_to_string;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::sqlparser::dialect::GenericDialect;
use datafusion::logical_expr::sqlparser::parser::Parser;
use datafusion::prelude::SessionContext;
use tempfile::tempdir;

use super::*;
use crate::table::SqlPredicates;
use crate::table::tests::query_snapshot;
use crate::testing::{bodies, config, crash_image, entry, expected, open};
use crate::{Config, Storage};

const NOON_S: i64 = 1_795_262_400;

fn compiler() -> Arc<dyn PredicateCompiler> {
    let parse = |text: &str| {
        let sql_error = |error| DataFusionError::SQL(Box::new(error), None);
        let mut parser = Parser::new(&GenericDialect {}).try_with_sql(text).map_err(sql_error)?;
        parser.parse_expr().map_err(sql_error)
    };
    Arc::new(SqlPredicates::new(SessionContext::new().state(), parse))
}

fn open_with_sql(config: Config) -> Storage {
    let storage = open(config).unwrap();
    storage.compile_predicates_with(compiler());
    storage
}

fn propose(storage: &Storage, tenant: &str, predicate: &str) -> Result<Option<ProposedDeletion>> {
    let (snapshot, tenant) = (storage.snapshot(), tenant.parse().unwrap());
    let last_seq = snapshot.last_seq(&tenant, Signal::Logs);
    snapshot.propose_deletion(&tenant, Signal::Logs, predicate, last_seq, "ops")
}

async fn count(snapshot: &Arc<Snapshot>, tenant: &str) -> Result<i64, DataFusionError> {
    let rows = query_snapshot(snapshot, tenant, "SELECT count(*) FROM logs").await?;
    Ok(rows[0].column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(0))
}

/// As a statement does it: counts first.
async fn delete(storage: &Storage, tenant: &str, predicate: &str) -> i64 {
    let before = count(&storage.snapshot(), tenant).await.unwrap();
    let proposed = propose(storage, tenant, predicate).unwrap().unwrap();
    let num_rows = before - count(proposed.snapshot(), tenant).await.unwrap();
    storage.delete(proposed, num_rows as u64).await.unwrap();
    num_rows
}

/// Bodies that queries show, and how often, asked for in several ways that must agree.
async fn shown(storage: &Storage, tenant: &str) -> BTreeMap<String, usize> {
    let snapshot = storage.snapshot();
    let ask = async |sql: &str| query_snapshot(&snapshot, tenant, sql).await.unwrap();
    let mut bodies = BTreeMap::new();
    for batch in ask("SELECT body FROM logs").await {
        for body in batch.column(0).as_string::<i32>().iter().flatten() {
            *bodies.entry(body.to_owned()).or_default() += 1;
        }
    }
    let rows: usize = bodies.values().sum();
    assert_eq!(count(&snapshot, tenant).await.unwrap(), rows as i64);
    let counted = ask("SELECT count(body) FROM logs WHERE ingest_seq > 0").await;
    assert_eq!(counted[0].column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0), rows as i64);
    for limit in [1, 2, 1000] {
        let limited = ask(&format!("SELECT service_name FROM logs LIMIT {limit}")).await;
        assert_eq!(limited.iter().map(RecordBatch::num_rows).sum::<usize>(), rows.min(limit));
    }
    let whole = ask("SELECT * FROM logs ORDER BY timestamp DESC").await;
    assert_eq!(whole.iter().map(RecordBatch::num_rows).sum::<usize>(), rows);
    bodies
}

async fn text(storage: &Storage, tenant: &str, sql: &str) -> String {
    let rows = query_snapshot(&storage.snapshot(), tenant, sql).await.unwrap();
    array_value_to_string(rows[0].column(0), 0).unwrap()
}

/// A storage with an entry in files, one on its way into files and one in the buffer, of each of two tenants.
async fn in_all_places(dir: &Path) -> Storage {
    let storage = open_with_sql(config(dir));
    for tenant in ["a", "b"] {
        storage.append(entry(tenant, "file", NOON_S, 3)).await.unwrap();
    }
    storage.flush().await.unwrap();
    for tenant in ["a", "b"] {
        storage.append(entry(tenant, "frozen", NOON_S + 1, 3)).await.unwrap();
    }
    storage.store().buffer.freeze();
    for tenant in ["a", "b"] {
        storage.append(entry(tenant, "hot", NOON_S + 2, 3)).await.unwrap();
    }
    storage
}

const ALL: [(&str, usize); 3] = [("file", 3), ("frozen", 3), ("hot", 3)];

#[tokio::test]
async fn deleted_rows_are_gone_from_files_and_buffer_and_those_of_others_stay() {
    let dir = tempdir().unwrap();
    let storage = in_all_places(dir.path()).await;
    assert_eq!(delete(&storage, "a", "body LIKE '%-1'").await, 3);
    let mut left = expected(&ALL);
    left.retain(|body, _| !body.ends_with("-1"));
    assert_eq!(shown(&storage, "a").await, left);
    assert_eq!(shown(&storage, "b").await, expected(&ALL));
    assert_eq!(delete(&storage, "a", "true").await, 6);
    assert_eq!(shown(&storage, "a").await, BTreeMap::new());
    assert_eq!(shown(&storage, "b").await, expected(&ALL));
}

#[tokio::test]
async fn a_predicate_on_the_tenant_reaches_no_other_tenant() {
    let dir = tempdir().unwrap();
    let storage = in_all_places(dir.path()).await;
    assert_eq!(delete(&storage, "a", "tenant_id = 'b'").await, 0);
    assert_eq!(delete(&storage, "a", "tenant_id <> 'b' OR tenant_id = 'b' OR true").await, 9);
    assert_eq!(shown(&storage, "b").await, expected(&ALL));
    assert_eq!(text(&storage, "b", "SELECT count(*) FROM system.deletions").await, "0");
}

#[tokio::test]
async fn a_row_counts_for_the_first_deletion_that_hits_it() {
    let dir = tempdir().unwrap();
    let storage = in_all_places(dir.path()).await;
    assert_eq!(delete(&storage, "a", "body = 'file-0' OR body = 'hot-0'").await, 2);
    assert_eq!(delete(&storage, "a", "body LIKE '%-0'").await, 1);
    assert_eq!(delete(&storage, "a", "body LIKE '%-0'").await, 0);
    let rows =
        text(&storage, "a", "SELECT string_agg(num_rows, ' ' ORDER BY id) FROM system.deletions").await;
    assert_eq!(rows, "2 1 0");
}

/// A restart loads deletions, and flushes what is in the log: nothing of that brings a row back.
#[tokio::test]
async fn deletions_survive_a_restart_and_a_crash_and_the_flush_that_comes_with_it() {
    let dir = tempdir().unwrap();
    let storage = in_all_places(dir.path()).await;
    // Begun, and not committed: nothing of it is on disk.
    let proposed = propose(&storage, "a", "true").unwrap().unwrap();
    delete(&storage, "a", "body LIKE '%-1'").await;
    let mut left = expected(&ALL);
    left.retain(|body, _| !body.ends_with("-1"));

    let image = tempdir().unwrap();
    crash_image(dir.path(), image.path());
    for _ in 0..2 {
        let storage = open_with_sql(config(image.path()));
        assert_eq!(shown(&storage, "a").await, left);
        assert_eq!(bodies(&storage, "a").await, expected(&ALL), "only a compaction takes rows out of files");
        storage.close().await.unwrap();
    }
    assert!(matches!(storage.delete(proposed, 9).await, Err(Error::DeletedMeanwhile)));
    assert_eq!(shown(&storage, "a").await, left);
}

#[tokio::test]
async fn rows_that_come_later_stay_even_where_they_are_joined_with_deleted_ones() {
    let dir = tempdir().unwrap();
    let storage = open_with_sql(config(dir.path()));
    storage.append(entry("a", "early", NOON_S, 2)).await.unwrap();
    assert_eq!(delete(&storage, "a", "service_name = 'even'").await, 2);
    // Enough of them that chunks are merged.
    for number in 0..20 {
        storage.append(entry("a", &format!("late{number}"), NOON_S, 2)).await.unwrap();
    }
    let labels: Vec<_> = (0..20).map(|number| format!("late{number}")).collect();
    let late = expected(&labels.iter().map(|label| (label.as_str(), 2)).collect::<Vec<_>>());
    assert_eq!(shown(&storage, "a").await, late);
    storage.flush().await.unwrap();
    assert_eq!(shown(&storage, "a").await, late);
}

/// Scenario: a predicate casts a text to a number. All rows had numbers when it was accepted; one that comes later has not, and
/// lies in the same chunk, then in the same file, as those that the deletion is about.
#[tokio::test]
async fn a_predicate_is_not_asked_about_rows_that_it_does_not_concern() {
    let dir = tempdir().unwrap();
    let storage = open_with_sql(config(dir.path()));
    let predicate = "CAST(split_part(body, '-', 1) AS INT) > 7";
    for label in ["7", "8"] {
        storage.append(entry("a", label, NOON_S, 2)).await.unwrap();
    }
    assert_eq!(delete(&storage, "a", predicate).await, 2);
    for _ in 0..10 {
        storage.append(entry("a", "text", NOON_S, 1)).await.unwrap();
    }
    storage.append(entry("a", "9", NOON_S, 1)).await.unwrap();
    let left = || {
        let mut left = expected(&[("7", 2), ("9", 1)]);
        left.insert("text-0".to_owned(), 1);
        left
    };
    assert_eq!(shown(&storage, "a").await, left());
    storage.flush().await.unwrap();
    assert_eq!(shown(&storage, "a").await, left());
    // A row that fails is a reason to refuse a deletion.
    let proposed = propose(&storage, "a", predicate).unwrap().unwrap();
    let error = count(proposed.snapshot(), "a").await.unwrap_err();
    assert!(error.to_string().contains("Cannot cast string 'text'"), "{error}");
    // Not where another condition keeps it away from the row, or an earlier deletion removed it.
    delete(&storage, "a", "body = 'text-0'").await;
    assert_eq!(delete(&storage, "a", predicate).await, 1);
    assert_eq!(shown(&storage, "a").await, expected(&[("7", 2)]));
}

#[tokio::test]
async fn a_condition_that_is_null_deletes_nothing() {
    let dir = tempdir().unwrap();
    let storage = in_all_places(dir.path()).await;
    for predicate in ["span_id = 'x'", "NOT (span_id = 'x')", "span_id <> 'x'", "NULL", "false", "1 = 2"] {
        assert_eq!(delete(&storage, "a", predicate).await, 0, "{predicate}");
    }
    assert_eq!(shown(&storage, "a").await, expected(&ALL));
    assert_eq!(delete(&storage, "a", "span_id = 'x' OR body = 'hot-2'").await, 1);
    assert_eq!(delete(&storage, "a", "span_id IS NULL").await, 8);
}

#[tokio::test]
async fn a_condition_on_time_leaves_files_of_other_times_alone() {
    let dir = tempdir().unwrap();
    let storage = open_with_sql(config(dir.path()));
    for hour in 0..4 {
        storage.append(entry("a", &format!("h{hour}"), NOON_S + hour * 3600, 2)).await.unwrap();
    }
    storage.flush().await.unwrap();
    let predicates = [
        "timestamp >= '2026-11-21T13:00:00Z' AND timestamp < '2026-11-21T14:00:00Z'",
        "TIMESTAMP '2026-11-21T15:00:00' <= timestamp AND body LIKE '%-0'",
        "timestamp BETWEEN '2026-11-22T00:00:00Z' AND '2026-11-23T00:00:00Z'",
    ];
    let touched = async |predicate| {
        let table = storage.snapshot().table(&"a".parse().unwrap(), Signal::Logs);
        let before =
            table.divide(Signal::Logs, &table.files).unwrap().touched.map_or(0, |(files, _)| files.len());
        assert_eq!(before, 0);
        let deleted = delete(&storage, "a", predicate).await;
        let table = storage.snapshot().table(&"a".parse().unwrap(), Signal::Logs);
        let touched =
            table.divide(Signal::Logs, &table.files).unwrap().touched.map_or(0, |(files, _)| files.len());
        // It stands in the way of the next one's count.
        let id = table.newest_pending_deletion();
        let files =
            table.files.iter().map(|file| DataFile { deletions_applied: id, ..DataFile::clone(file) });
        let ids: Vec<_> = table.files.iter().map(|file| file.id).collect();
        storage.store().buffer.replace_files(&ids, files.collect());
        (deleted, touched)
    };
    assert_eq!(touched(predicates[0]).await, (2, 1));
    assert_eq!(touched(predicates[1]).await, (1, 1));
    assert_eq!(touched(predicates[2]).await, (0, 0));
}

#[tokio::test]
async fn a_deletion_is_completed_when_no_row_of_it_can_come_back() {
    let dir = tempdir().unwrap();
    let storage = in_all_places(dir.path()).await;
    let pending =
        async || text(&storage, "a", "SELECT count(*) FROM system.deletions WHERE completed IS NULL").await;
    delete(&storage, "a", "timestamp < '2000-01-01T00:00:00Z'").await;
    delete(&storage, "a", "body = 'hot-0'").await;
    assert_eq!(storage.store().complete_deletions().unwrap(), 0, "rows are in the buffer");
    assert_eq!(pending().await, "2");

    let image = tempdir().unwrap();
    crash_image(dir.path(), image.path());
    let storage = open_with_sql(config(image.path()));
    let pending =
        async || text(&storage, "a", "SELECT count(*) FROM system.deletions WHERE completed IS NULL").await;
    assert_eq!(storage.store().complete_deletions().unwrap(), 1, "no file has rows that are so old");
    assert_eq!(pending().await, "1");
    let mut left = expected(&ALL);
    left.remove("hot-0");
    assert_eq!(shown(&storage, "a").await, left);
    assert_eq!(storage.store().complete_deletions().unwrap(), 0);
}

#[tokio::test]
async fn a_deleted_batch_that_is_sent_again_is_not_stored_again() {
    let dir = tempdir().unwrap();
    let storage = open_with_sql(config(dir.path()));
    let batch = entry("a", "once", NOON_S, 3);
    storage.append(batch.clone()).await.unwrap();
    delete(&storage, "a", "true").await;
    assert!(storage.append(batch.clone()).await.unwrap().is_duplicate);
    storage.flush().await.unwrap();
    assert!(storage.append(batch).await.unwrap().is_duplicate);
    assert_eq!(shown(&storage, "a").await, BTreeMap::new());
}

#[tokio::test]
async fn a_snapshot_from_before_keeps_its_rows() {
    let dir = tempdir().unwrap();
    let storage = in_all_places(dir.path()).await;
    let before = storage.snapshot();
    delete(&storage, "a", "true").await;
    assert_eq!(count(&before, "a").await.unwrap(), 9);
    assert_eq!(count(&storage.snapshot(), "a").await.unwrap(), 0);
}

#[tokio::test]
async fn a_deletion_whose_commit_fails_did_not_happen_and_can_be_asked_for_again() {
    let dir = tempdir().unwrap();
    let storage = in_all_places(dir.path()).await;
    let mut commits = 0;
    let second = move || {
        commits += 1;
        commits > 1
    };
    storage.store().catalog.set_commit_gate(second).unwrap();
    let proposed = propose(&storage, "a", "true").unwrap().unwrap();
    assert!(matches!(storage.delete(proposed, 9).await, Err(Error::Catalog(_))));
    assert_eq!(shown(&storage, "a").await, expected(&ALL));
    assert_eq!(delete(&storage, "a", "true").await, 9);
    assert_eq!(shown(&storage, "a").await, BTreeMap::new());
}

#[tokio::test]
async fn a_tenant_that_never_sent_anything_has_nothing_to_delete() {
    let dir = tempdir().unwrap();
    let storage = in_all_places(dir.path()).await;
    assert!(propose(&storage, "c", "true").unwrap().is_none());
}

#[tokio::test]
async fn deletions_are_bounded_in_length_and_number() {
    let dir = tempdir().unwrap();
    let long = format!("body = '{}'", "x".repeat(MAX_PREDICATE_BYTES));
    {
        let storage = in_all_places(dir.path()).await;
        assert!(matches!(propose(&storage, "a", &long), Err(Error::PredicateTooLong { .. })));
        let catalog = &storage.store().catalog;
        let tenant = storage.snapshot().tenant_number(&"a".parse().unwrap()).unwrap();
        for number in 1..MAX_PENDING {
            let deletion = NewDeletion {
                tenant,
                signal: Signal::Logs,
                predicate: format!("body = 'file-{number}'"),
                last_seq: SequenceNumber(4),
                num_rows: 1,
                requested_by: "ops".to_owned(),
            };
            catalog.add_deletion(&deletion).unwrap();
        }
        storage.store().load_deletions().unwrap();
        assert_eq!(delete(&storage, "a", "body = 'hot-0'").await, 1);
        let error = propose(&storage, "a", "body = 'hot-1'").unwrap_err();
        assert!(error.to_string().contains("run VACUUM"), "{error}");
        let mut left = expected(&ALL);
        for body in ["file-1", "file-2", "hot-0"] {
            left.remove(body);
        }
        assert_eq!(shown(&storage, "a").await, left);
        assert!(propose(&storage, "b", "true").unwrap().is_some(), "the bound is of each table");
    }
}

/// Scenario: a later version of the program has no such function any more.
#[tokio::test]
async fn a_deletion_that_cannot_be_planned_fails_queries_of_its_table_and_is_never_skipped() {
    let dir = tempdir().unwrap();
    let storage = in_all_places(dir.path()).await;
    let tenant = storage.snapshot().tenant_number(&"a".parse().unwrap()).unwrap();
    let deletion = NewDeletion {
        tenant,
        signal: Signal::Logs,
        predicate: "was_a_function(body)".to_owned(),
        last_seq: SequenceNumber(100),
        num_rows: 1,
        requested_by: "ops".to_owned(),
    };
    storage.store().catalog.add_deletion(&deletion).unwrap();
    storage.store().load_deletions().unwrap();
    let error = count(&storage.snapshot(), "a").await.unwrap_err();
    assert!(error.to_string().contains("deletion 1 cannot be applied"), "{error}");
    assert_eq!(storage.store().complete_deletions().unwrap(), 0);
    assert_eq!(shown(&storage, "b").await, expected(&ALL));
}

#[tokio::test]
async fn without_sql_nothing_is_read_past_a_deletion() {
    let dir = tempdir().unwrap();
    let storage = in_all_places(dir.path()).await;
    delete(&storage, "a", "body = 'file-0'").await;
    let image = tempdir().unwrap();
    crash_image(dir.path(), image.path());
    let storage = open(config(image.path())).unwrap();
    assert!(count(&storage.snapshot(), "a").await.is_err());
    assert_eq!(storage.store().complete_deletions().unwrap(), 0);
    storage.compile_predicates_with(compiler());
    assert_eq!(count(&storage.snapshot(), "a").await.unwrap(), 8);
}

#[test]
fn only_what_depends_on_a_row_alone_can_be_a_predicate() {
    let compiler = compiler();
    for (predicate, reason) in [
        ("random() < 0.5", "random()"),
        ("uuid() = body", "uuid()"),
        ("timestamp < now()", "now()"),
        ("timestamp < current_date", "current_date()"),
        ("count(*) > 1", "aggregate"),
        ("row_number() OVER () = 1", "aggregate or window"),
        ("body IN (SELECT body FROM logs)", "subquery"),
        ("EXISTS (SELECT 1)", "subquery"),
        ("body = (SELECT max(body) FROM traces)", "subquery"),
        ("body = $1", "parameter"),
        ("body", "true or false"),
        ("timestamp", "true or false"),
        ("nosuch = 1", "nosuch"),
        ("traces.body = 'x'", "traces.body"),
        ("no_such_function(body)", "no_such_function"),
        ("body = ", "Expected"),
    ] {
        let error = compiler.compile(Signal::Logs, predicate).unwrap_err();
        assert!(error.to_string().contains(reason), "{predicate}: {error}");
    }
    for (predicate, columns) in [
        ("true", 0),
        ("logs.body = 'x' AND body <> upper(service_name)", 2),
        ("CASE WHEN body ~ 'a.c' THEN severity_number > 9 ELSE span_id IS NULL END", 3),
        ("body IN ('a', 'b', 'c', 'd', 'e') AND CAST(severity_number AS TEXT) LIKE '1%'", 2),
        ("date_trunc('hour', timestamp) = TIMESTAMP '2026-11-21T12:00:00'", 1),
    ] {
        let compiled = compiler.compile(Signal::Logs, predicate).unwrap();
        assert_eq!(compiled.columns().len(), columns, "{predicate}");
    }
}

/// A predicate that fails wherever it is asked about several rows at once, and about the body `bad` alone.
#[derive(Debug)]
struct OneAtATime;

impl RowPredicate for OneAtATime {
    fn columns(&self) -> &[usize] {
        &[0]
    }

    fn timestamps(&self) -> TimeRange {
        TimeRange { min_ns: i64::MIN, max_ns: i64::MAX }
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<BooleanArray, PredicateError> {
        let values = rows.column(0).as_string::<i32>();
        if rows.num_rows() > 1 || values.value(0) == "bad" {
            return Err("one at a time".into());
        }
        Ok(vec![Some(values.value(0) == "x")].into())
    }
}

#[test]
fn where_evaluating_many_rows_fails_each_is_evaluated_by_itself() {
    let rows = |bodies: &[&str]| {
        let column: ArrayRef = Arc::new(StringArray::from(bodies.to_vec()));
        RecordBatch::try_from_iter([("body", column)]).unwrap()
    };
    let deleted = filter::evaluate(&OneAtATime, &rows(&["x", "y", "x", "z", "x"])).unwrap();
    assert_eq!(deleted.iter().collect::<Vec<_>>(), [true, false, true, false, true]);
    assert!(filter::evaluate(&OneAtATime, &rows(&["x", "bad", "y"])).is_err());
}
