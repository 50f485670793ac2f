use alula_catalog::{Signal, TenantId};
use arrow::array::RecordBatch;
use datafusion::prelude::{SessionContext, col};
use tempfile::tempdir;

use super::*;
use crate::Storage;
use crate::table::tests::context_with;
use crate::testing::{config, entry, open};

const NOON_S: i64 = 1_795_262_400;
const SECOND_NS: i64 = 1_000_000_000;

/// 600 rows of ten minutes in a file, 300 of five minutes two hours later in the buffer.
async fn half_flushed(dir: &std::path::Path) -> Storage {
    let storage = open(config(dir)).unwrap();
    storage.append(entry("a", "old", NOON_S, 600)).await.unwrap();
    storage.flush().await.unwrap();
    storage.append(entry("a", "new", NOON_S + 7200, 300)).await.unwrap();
    storage
}

fn table(storage: &Storage) -> TelemetryTable {
    let tenant: TenantId = "a".parse().unwrap();
    TelemetryTable::new(&storage.snapshot(), &tenant, Signal::Logs)
}

fn at(second: i64) -> Expr {
    lit(timestamp_scalar((NOON_S + second) * SECOND_NS))
}

#[tokio::test]
async fn rows_are_told_by_the_times_of_files_and_of_samples_of_the_buffer() {
    let dir = tempdir().unwrap();
    let storage = half_flushed(dir.path()).await;
    let state = SessionContext::new().state();
    let rows = table(&storage).rows_by_time(&state, &[]).unwrap();
    let (in_chunks, in_files): (Vec<TimedRows>, Vec<TimedRows>) =
        rows.iter().partition(|rows| rows.timestamps.min_ns == rows.timestamps.max_ns);
    let file = TimeRange { min_ns: NOON_S * SECOND_NS, max_ns: (NOON_S + 599) * SECOND_NS };
    assert_eq!(in_files, [TimedRows { timestamps: file, num_rows: 600 }]);
    assert!(in_chunks.len() > 100 && in_chunks.len() <= SAMPLES, "{}", in_chunks.len());
    assert_eq!(in_chunks.iter().map(|rows| rows.num_rows).sum::<u64>(), 300);
}

#[tokio::test]
async fn rows_that_the_filters_rule_out_do_not_count() {
    let dir = tempdir().unwrap();
    let storage = half_flushed(dir.path()).await;
    let state = SessionContext::new().state();
    let num_rows = |filters: &[Expr]| {
        let rows = table(&storage).rows_by_time(&state, filters).unwrap();
        rows.iter().map(|rows| rows.num_rows).sum::<u64>()
    };
    let timestamp = || col(TIMESTAMP);
    assert_eq!(num_rows(&[timestamp().lt(at(3600))]), 600);
    assert_eq!(num_rows(&[timestamp().gt_eq(at(3600)), timestamp().lt(at(7200 + 100))]), 100);
    assert_eq!(num_rows(&[timestamp().gt(at(20_000))]), 0);
    // Of a file that is half in the range, half of the rows.
    let half = num_rows(&[timestamp().lt(at(300))]);
    assert!((290..=310).contains(&half), "{half}");
}

#[test]
fn a_range_may_be_all_of_time() {
    let rows = TimedRows { timestamps: ALWAYS, num_rows: u64::MAX };
    assert_eq!(rows.within(ALWAYS), Some(rows));
    let positive = TimeRange { min_ns: 0, max_ns: i64::MAX };
    assert_eq!(rows.within(positive).unwrap().num_rows, u64::MAX / 2);
}

#[tokio::test]
async fn slices_that_meet_have_every_row_once_also_one_at_a_border() {
    let dir = tempdir().unwrap();
    let storage = half_flushed(dir.path()).await;
    let context = context_with(table(&storage));
    let borders = [0, 299, 300, 599, 7200, 7499, 9000].map(|second| Some((NOON_S + second) * SECOND_NS));
    let ends: Vec<_> = [None].into_iter().chain(borders).chain([None]).collect();
    let mut counts = Vec::new();
    for slice in ends.windows(2).map(|ends| TimeSlice { from_ns: ends[0], before_ns: ends[1] }) {
        let plan = context.state().create_logical_plan("SELECT body FROM logs").await.unwrap();
        let plan = bind_times(plan, slice).unwrap();
        let rows = context.execute_logical_plan(plan).await.unwrap().collect().await.unwrap();
        counts.push(rows.iter().map(RecordBatch::num_rows).sum::<usize>());
    }
    assert_eq!(counts, [0, 299, 1, 299, 1, 299, 1, 0]);
}
