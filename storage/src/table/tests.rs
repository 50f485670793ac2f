//! The three locks, each with the others open, and what pruning leaves out.

use alula_catalog::SequenceNumber;
use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::{collect, displayable};
use datafusion::prelude::{CsvReadOptions, SessionConfig, SessionContext};
use tempfile::tempdir;

use super::*;
use crate::testing::{bodies, config, entry, expected, open};
use crate::{RejectionGroup, Storage};

const NOON_S: i64 = 1_795_262_400;

/// Tenant `a` with a flushed and a buffered entry, tenant `b` with both as well.
async fn two_tenants(dir: &std::path::Path) -> Storage {
    let storage = open(config(dir)).unwrap();
    for tenant in ["a", "b"] {
        storage.append(entry(tenant, &format!("{tenant}-old"), NOON_S, 3)).await.unwrap();
    }
    storage.flush().await.unwrap();
    for tenant in ["a", "b"] {
        storage.append(entry(tenant, &format!("{tenant}-new"), NOON_S + 7200, 2)).await.unwrap();
    }
    for tenant in ["a", "b"] {
        let group = RejectionGroup { reason: format!("{tenant}-reason"), count: 1, sample: String::new() };
        storage.record_rejections(&tenant.parse().unwrap(), Signal::Logs, NOON_S, vec![group]);
    }
    storage
}

async fn system_table(storage: &Storage, tenant: &TenantId) -> Arc<dyn TableProvider> {
    let catalog = tenant_catalog(&storage.snapshot(), tenant).unwrap();
    let schema = catalog.schema(SYSTEM_SCHEMA_NAME).unwrap();
    schema.table("ingest_rejections").await.unwrap().unwrap()
}

/// A context without a tenant, whose one table is that of `tenant`.
async fn context_with_system_table(storage: &Storage, tenant: &TenantId) -> SessionContext {
    let context = SessionContext::new();
    context.register_table("rejections", system_table(storage, tenant).await).unwrap();
    context
}

/// The rows that `sql` gives to `tenant`, as the query path binds it.
pub(crate) async fn query(storage: &Storage, tenant: &str, sql: &str) -> Result<Vec<RecordBatch>> {
    query_snapshot(&storage.snapshot(), tenant, sql).await
}

pub(crate) async fn query_snapshot(
    snapshot: &Arc<Snapshot>,
    tenant: &str,
    sql: &str,
) -> Result<Vec<RecordBatch>> {
    let tenant: TenantId = tenant.parse().unwrap();
    let runtime = RuntimeEnvBuilder::new()
        .with_object_store_registry(Arc::new(SealedObjectStores::default()))
        .build_arc()?;
    let options = SessionConfig::new().with_default_catalog_and_schema(CATALOG_NAME, SCHEMA_NAME);
    let context = SessionContext::new_with_config_rt(options, runtime);
    context.register_catalog(CATALOG_NAME, tenant_catalog(snapshot, &tenant)?);
    let plan = bind_tenant(context.state().create_logical_plan(sql).await?, &tenant)?;
    let physical = context.state().create_physical_plan(&plan).await?;
    guard_physical(&physical, &tenant)?;
    collect(physical, context.task_ctx()).await
}

pub(crate) fn context_with(table: TelemetryTable) -> SessionContext {
    let runtime = RuntimeEnvBuilder::new()
        .with_object_store_registry(Arc::new(SealedObjectStores::default()))
        .build_arc()
        .unwrap();
    let context = SessionContext::new_with_config_rt(SessionConfig::default(), runtime);
    context.register_table("logs", Arc::new(table)).unwrap();
    context
}

#[tokio::test]
async fn a_table_holds_only_its_tenants_rows_without_any_filter() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    let snapshot = storage.snapshot();
    for tenant in ["a", "b"] {
        let tenant: TenantId = tenant.parse().unwrap();
        let rows = snapshot.table(&tenant, Signal::Logs);
        let number = snapshot.tenant_number(&tenant).unwrap();
        assert!(rows.files.iter().all(|file| file.tenant == number));
        let mut seen = 0;
        for chunk in rows.hot.iter().chain(&rows.frozen) {
            let ids = chunk.batch.column_by_name("tenant_id").unwrap();
            let ids = arrow::compute::cast(ids, &arrow::datatypes::DataType::Utf8).unwrap();
            for id in arrow::array::AsArray::as_string::<i32>(&ids) {
                assert_eq!(id, Some(tenant.as_str()));
                seen += 1;
            }
        }
        assert_eq!((rows.files.len(), seen), (1, 2));
    }
}

#[tokio::test]
async fn the_filter_finds_nothing_in_a_table_of_another_tenant() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    let (a, b): (TenantId, TenantId) = ("a".parse().unwrap(), "b".parse().unwrap());
    // The guards are passed by: the filter of tenant a is put over the table of tenant b by hand.
    let table = TelemetryTable::new(&storage.snapshot(), &b, Signal::Logs);
    let runtime = RuntimeEnvBuilder::new()
        .with_object_store_registry(Arc::new(SealedObjectStores::default()))
        .build_arc()
        .unwrap();
    let context = SessionContext::new_with_config_rt(SessionConfig::default(), runtime);
    context.register_table("logs", Arc::new(table)).unwrap();
    for (tenant, rows) in [(&a, 0), (&b, 5)] {
        let sql = format!("SELECT body FROM logs WHERE tenant_id = '{tenant}'");
        let found = context.sql(&sql).await.unwrap().collect().await.unwrap();
        assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), rows, "tenant {tenant}");
    }
}

#[tokio::test]
async fn both_guards_refuse_a_table_of_another_tenant() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    let (a, b): (TenantId, TenantId) = ("a".parse().unwrap(), "b".parse().unwrap());
    let context = context_with(TelemetryTable::new(&storage.snapshot(), &b, Signal::Logs));
    for sql in [
        "SELECT * FROM logs",
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM logs)",
        "SELECT (SELECT count(body) FROM logs)",
        "WITH t AS (SELECT * FROM logs) SELECT 1 UNION ALL SELECT count(*) FROM t",
        "SELECT 1 WHERE 1 IN (SELECT severity_number FROM logs)",
    ] {
        let plan = context.state().create_logical_plan(sql).await.unwrap();
        assert!(bind_tenant(plan.clone(), &a).is_err(), "the logical guard let through: {sql}");
        assert!(bind_tenant(plan, &b).is_ok(), "{sql}");
    }
    let plan = context.state().create_logical_plan("SELECT body FROM logs").await.unwrap();
    let physical = context.state().create_physical_plan(&plan).await.unwrap();
    assert!(guard_physical(&physical, &a).is_err());
    assert!(guard_physical(&physical, &b).is_ok());
}

#[tokio::test]
async fn a_system_table_holds_only_its_tenants_rows_without_any_filter() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    for tenant in ["a", "b"] {
        let context = context_with_system_table(&storage, &tenant.parse().unwrap()).await;
        let sql = "SELECT tenant_id, reason FROM rejections";
        let rows = context.sql(sql).await.unwrap().collect().await.unwrap();
        let shown = pretty_format_batches(&rows).unwrap().to_string();
        assert!(shown.contains(&format!("| {tenant}         | {tenant}-reason |")), "{shown}");
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 1, "{shown}");
    }
}

#[tokio::test]
async fn the_filter_finds_nothing_in_a_system_table_of_another_tenant() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    let (a, b): (TenantId, TenantId) = ("a".parse().unwrap(), "b".parse().unwrap());
    let context = context_with_system_table(&storage, &b).await;
    for (tenant, rows) in [(&a, 0), (&b, 1)] {
        let sql = format!("SELECT reason FROM rejections WHERE tenant_id = '{tenant}'");
        let found = context.sql(&sql).await.unwrap().collect().await.unwrap();
        let found: usize = found.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(found, rows, "tenant {tenant}");
    }
}

#[tokio::test]
async fn both_guards_refuse_a_system_table_of_another_tenant() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    let (a, b): (TenantId, TenantId) = ("a".parse().unwrap(), "b".parse().unwrap());
    let context = context_with_system_table(&storage, &b).await;
    for sql in [
        "SELECT * FROM rejections",
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM rejections)",
        "WITH t AS (SELECT * FROM rejections) SELECT 1 UNION ALL SELECT count(*) FROM t",
    ] {
        let plan = context.state().create_logical_plan(sql).await.unwrap();
        assert!(bind_tenant(plan.clone(), &a).is_err(), "the logical guard let through: {sql}");
        let bound = bind_tenant(plan, &b).unwrap().display_indent().to_string();
        assert!(bound.contains("tenant_id = Utf8(\"b\")"), "{sql}: {bound}");
    }
    let plan = context.state().create_logical_plan("SELECT reason FROM rejections").await.unwrap();
    let physical = context.state().create_physical_plan(&plan).await.unwrap();
    assert!(guard_physical(&physical, &a).is_err());
    assert!(guard_physical(&physical, &b).is_ok());
}

/// Scenario: something is refused after a snapshot was taken, and a statement names the table twice.
/// Guarantees: both times it sees the rows of its snapshot.
#[tokio::test]
async fn a_system_table_has_the_rows_of_its_snapshot() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    let a: TenantId = "a".parse().unwrap();
    let before = storage.snapshot();
    let group = RejectionGroup { reason: "later".to_owned(), count: 1, sample: String::new() };
    storage.record_rejections(&a, Signal::Logs, NOON_S, vec![group]);
    let table = "alula.system.ingest_rejections";
    let sql = format!("SELECT count(*) || ' and ' || (SELECT count(*) FROM {table}) AS rows FROM {table}");
    for (snapshot, expected) in [(before, "| 1 and 1 |"), (storage.snapshot(), "| 2 and 2 |")] {
        let context = SessionContext::new();
        context.register_catalog(CATALOG_NAME, tenant_catalog(&snapshot, &a).unwrap());
        let rows = context.sql(&sql).await.unwrap().collect().await.unwrap();
        let shown = pretty_format_batches(&rows).unwrap().to_string();
        assert!(shown.contains(expected), "{shown}");
    }
}

#[tokio::test]
async fn both_guards_refuse_a_leaf_that_is_no_telemetry_table() {
    let dir = tempdir().unwrap();
    let a: TenantId = "a".parse().unwrap();
    let path = dir.path().join("foreign.csv");
    std::fs::write(&path, "x\n1\n").unwrap();
    let context = SessionContext::new();
    context.register_csv("foreign", path.to_str().unwrap(), CsvReadOptions::default()).await.unwrap();
    let plan = context.state().create_logical_plan("SELECT * FROM foreign").await.unwrap();
    assert!(bind_tenant(plan.clone(), &a).is_err());
    let physical = context.state().create_physical_plan(&plan).await.unwrap();
    assert!(guard_physical(&physical, &a).is_err());
}

#[tokio::test]
async fn every_scan_of_a_plan_gets_the_filter() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    let a: TenantId = "a".parse().unwrap();
    let context = context_with(TelemetryTable::new(&storage.snapshot(), &a, Signal::Logs));
    let sql = "WITH t AS (SELECT * FROM logs) \
               SELECT (SELECT count(*) FROM logs), x.body FROM logs x JOIN t ON x.body = t.body \
               WHERE EXISTS (SELECT 1 FROM logs y WHERE y.body = x.body)";
    let plan = context.state().create_logical_plan(sql).await.unwrap();
    let bound = bind_tenant(plan, &a).unwrap().display_indent().to_string();
    let scans = bound.matches("TableScan: logs").count();
    assert_eq!(scans, 4, "{bound}");
    assert_eq!(bound.matches("tenant_id = Utf8(\"a\")").count(), scans, "{bound}");
}

#[tokio::test]
async fn statements_that_change_something_are_refused() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    for sql in [
        "DELETE FROM logs",
        "INSERT INTO logs SELECT * FROM logs",
        "UPDATE logs SET body = 'x'",
        "COPY logs TO '/tmp/stolen.parquet'",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "SET datafusion.execution.batch_size = 1",
        "EXPLAIN ANALYZE COPY logs TO '/tmp/stolen.parquet'",
    ] {
        assert!(query(&storage, "a", sql).await.is_err(), "{sql}");
    }
}

#[tokio::test]
async fn a_time_filter_leaves_out_files_and_chunks() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    let count = async |filter: &str| {
        let sql = format!("SELECT count(*) FROM logs WHERE {filter}");
        pretty_format_batches(&query(&storage, "a", &sql).await.unwrap()).unwrap().to_string()
    };
    for (filter, rows) in [
        ("timestamp < '2026-11-21T13:00:00Z'", 3),
        ("timestamp >= '2026-11-21T13:00:00Z'", 2),
        ("timestamp = '2026-11-21T12:00:01Z'", 1),
        ("timestamp > '2027-01-01T00:00:00Z'", 0),
        ("timestamp > now() + INTERVAL '100 years'", 0),
        ("body LIKE '%new%' OR timestamp < '2026-11-21T12:00:01Z'", 3),
    ] {
        assert!(count(filter).await.contains(&format!("| {rows} ")), "{filter}: {}", count(filter).await);
    }
    let a: TenantId = "a".parse().unwrap();
    let context = context_with(TelemetryTable::new(&storage.snapshot(), &a, Signal::Logs));
    let explain = async |filter: &str| {
        let sql = format!("SELECT body FROM logs WHERE {filter}");
        let plan = context.state().create_logical_plan(&sql).await.unwrap();
        let physical = context.state().create_physical_plan(&plan).await.unwrap();
        displayable(physical.as_ref()).indent(false).to_string()
    };
    let old = explain("timestamp < '2026-11-21T13:00:00Z'").await;
    assert!(old.contains("chunks=0") && old.contains(".parquet"), "{old}");
    assert!(old.contains("predicate=timestamp"), "the filter did not reach Parquet: {old}");
    let new = explain("timestamp >= '2026-11-21T13:00:00Z'").await;
    assert!(new.contains("chunks=1") && !new.contains(".parquet"), "{new}");
}

#[tokio::test]
async fn counts_and_time_bounds_come_from_statistics_and_are_right() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    let sql = "SELECT count(*) AS n, min(timestamp) AS first, max(timestamp) AS last FROM logs";
    let fast = query(&storage, "a", sql).await.unwrap();
    let slow = query(&storage, "a", &format!("{sql} WHERE length(body) > 0")).await.unwrap();
    let a: TenantId = "a".parse().unwrap();
    let context = context_with(TelemetryTable::new(&storage.snapshot(), &a, Signal::Logs));
    let plan = bind_tenant(context.state().create_logical_plan(sql).await.unwrap(), &a).unwrap();
    let physical = context.state().create_physical_plan(&plan).await.unwrap();
    let shown = displayable(physical.as_ref()).indent(false).to_string();
    assert!(!shown.contains("TelemetryScan"), "the tenant filter hides the statistics: {shown}");
    assert_eq!(
        pretty_format_batches(&fast).unwrap().to_string(),
        pretty_format_batches(&slow).unwrap().to_string()
    );
}

#[tokio::test]
async fn a_limit_is_kept_across_buffer_and_files() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    for limit in 0..7 {
        let rows = query(&storage, "a", &format!("SELECT body FROM logs LIMIT {limit}")).await.unwrap();
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), limit.min(5));
    }
}

/// Scenario: any predicate, over rows of two hours in files and two in the buffer.
/// Guarantees: leaving out files and chunks gives the count that evaluating the predicate on every row gives.
#[tokio::test]
async fn pruning_never_loses_a_matching_row() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    for (label, first_s) in [("old", NOON_S - 7200), ("before-epoch", -5), ("noon", NOON_S)] {
        storage.append(entry("a", label, first_s, 3)).await.unwrap();
    }
    storage.flush().await.unwrap();
    for (label, first_s) in [("edge", NOON_S + 3599), ("late", NOON_S + 7200)] {
        storage.append(entry("a", label, first_s, 2)).await.unwrap();
    }
    let count = async |sql: &str| {
        let batches = query(&storage, "a", sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let column = arrow::compute::cast(batches[0].column(0), &arrow::datatypes::DataType::Int64).unwrap();
        arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&column).value(0)
    };
    for predicate in [
        "timestamp IS NULL",
        "timestamp IS NOT NULL",
        "NOT (timestamp < '2026-11-21T12:00:01Z')",
        "NOT (timestamp < '2026-11-21T12:00:01Z' OR body = 'late-0')",
        "timestamp < '1970-01-01T00:00:00Z' OR timestamp > '2026-11-21T12:59:59Z'",
        "timestamp <> '2026-11-21T12:00:01Z'",
        "timestamp IN ('2026-11-21T12:00:01Z', '2026-11-21T14:00:00Z')",
        "timestamp NOT IN ('2026-11-21T12:00:01Z', '2026-11-21T14:00:00Z')",
        "timestamp BETWEEN '2026-11-21T12:00:02Z' AND '2026-11-21T13:00:00Z'",
        "timestamp NOT BETWEEN '2026-11-21T12:00:02Z' AND '2026-11-21T13:00:00Z'",
        "CAST(timestamp AS DATE) = DATE '2026-11-21'",
        "CAST(timestamp AS DATE) <> DATE '2026-11-21'",
        "CAST(timestamp AS DATE) < DATE '2026-11-21'",
        "CAST(timestamp AS TIMESTAMP(0)) = '2026-11-21T12:00:01'",
        "CAST(timestamp AS BIGINT) < 0",
        "CAST(timestamp AS BIGINT) % 2000000000 = 0",
        "CAST(timestamp AS VARCHAR) < '2000'",
        "CAST(timestamp AS VARCHAR) LIKE '2026-11-21T12%'",
        "date_trunc('hour', timestamp) = '2026-11-21T12:00:00Z'",
        "date_trunc('day', timestamp) = '1969-12-31T00:00:00Z'",
        "extract(hour FROM timestamp) = 12",
        "timestamp + INTERVAL '1 hour' > '2026-11-21T13:00:01Z'",
        "'2026-11-21T12:00:01Z' > timestamp",
        "timestamp < now() - INTERVAL '10 years'",
        "timestamp > now() + INTERVAL '10 years' OR timestamp < '2026-11-21T11:00:00Z'",
        "timestamp = timestamp",
        "timestamp = ingested_at",
        "CASE WHEN timestamp < '2000-01-01' THEN true ELSE body LIKE 'l%' END",
        "(timestamp > '2026-11-21T13:30:00Z') IS NOT TRUE",
        "(timestamp > '2026-11-21T13:30:00Z') = false",
        "coalesce(NULLIF(timestamp, timestamp), timestamp) > '2026-11-21T13:30:00Z'",
        "tenant_id = 'a'",
        "tenant_id <> 'a'",
        "tenant_id = 'a' OR tenant_id = 'b'",
        "tenant_id IN ('b', 'c')",
        "NOT tenant_id = 'b'",
        "service_name = 'odd' AND timestamp < '2026-11-21T12:00:01Z'",
        "trace_id IS NULL AND timestamp >= '2026-11-21T14:00:00Z'",
        "trace_id = 'x' OR timestamp >= '2026-11-21T14:00:01Z'",
        "false",
        "NULL",
        "timestamp > NULL",
    ] {
        let pruned = count(&format!("SELECT count(*) FROM logs WHERE {predicate}")).await;
        let sql = format!("SELECT coalesce(sum(CASE WHEN {predicate} THEN 1 ELSE 0 END), 0) FROM logs");
        assert_eq!(pruned, count(&sql).await, "{predicate}");
    }
}

#[tokio::test]
async fn a_limit_below_a_count_is_counted() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    for (sql, expected) in [
        ("SELECT count(*) FROM (SELECT * FROM logs LIMIT 1)", 1),
        ("SELECT count(*) FROM (SELECT * FROM logs LIMIT 3 OFFSET 1)", 3),
        ("SELECT count(timestamp) FROM (SELECT * FROM logs LIMIT 9)", 5),
        ("SELECT count(*) FROM (SELECT * FROM logs WHERE body LIKE '%-1' LIMIT 2)", 2),
        ("SELECT count(*) FROM (SELECT * FROM logs WHERE timestamp > '2026-11-21T13:00:00Z' LIMIT 9)", 2),
        ("SELECT count(*) FROM (SELECT * FROM logs UNION ALL SELECT * FROM logs LIMIT 7)", 7),
    ] {
        let shown = pretty_format_batches(&query(&storage, "a", sql).await.unwrap()).unwrap().to_string();
        assert!(shown.contains(&format!("| {expected} ")), "{sql}: {shown}");
    }
}

#[tokio::test]
async fn rows_on_their_way_into_files_are_scanned_once() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    let data = dir.path().join("data");
    let aside = dir.path().join("aside");
    std::fs::rename(&data, &aside).unwrap();
    std::fs::write(&data, "in the way").unwrap();
    storage.flush().await.unwrap_err();
    std::fs::remove_file(&data).unwrap();
    std::fs::rename(&aside, &data).unwrap();
    storage.append(entry("a", "a-newer", NOON_S, 1)).await.unwrap();
    let rows = query(&storage, "a", "SELECT body FROM logs").await.unwrap();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 6);
    assert_eq!(bodies(&storage, "a").await, expected(&[("a-old", 3), ("a-new", 2), ("a-newer", 1)]));
}

#[tokio::test]
async fn a_plan_bound_to_entries_sees_their_rows_alone_wherever_they_are() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    let a: TenantId = "a".parse().unwrap();
    // Entries 1 and 3 are of tenant a: the first is in a file, the other in the buffer.
    for (after, up_to, expected) in
        [(0, 0, 0), (0, 1, 3), (0, 2, 3), (0, 3, 5), (1, 3, 2), (2, 3, 2), (3, 9, 0)]
    {
        let range = SequenceRange { after: SequenceNumber(after), up_to: SequenceNumber(up_to) };
        let snapshot = storage.snapshot();
        let context = context_with(TelemetryTable::new(&snapshot, &a, Signal::Logs));
        for sql in ["SELECT body FROM logs", "SELECT 1 WHERE 1 < (SELECT count(*) FROM logs)"] {
            let plan = context.state().create_logical_plan(sql).await.unwrap();
            let plan = bind_sequences(bind_tenant(plan, &a).unwrap(), range).unwrap();
            let physical = context.state().create_physical_plan(&plan).await.unwrap();
            let rows = collect(physical, context.task_ctx()).await.unwrap();
            let rows: usize = rows.iter().map(RecordBatch::num_rows).sum();
            let expected = if sql.contains("1 <") { usize::from(expected > 1) } else { expected };
            assert_eq!(rows, expected, "{sql}, {range:?}");
        }
        assert!(snapshot.max_rows_between(&a, Signal::Logs, range) >= expected as u64);
    }
}

#[tokio::test]
async fn a_filter_on_entries_leaves_out_files_and_chunks() {
    let dir = tempdir().unwrap();
    let storage = two_tenants(dir.path()).await;
    let a: TenantId = "a".parse().unwrap();
    let context = context_with(TelemetryTable::new(&storage.snapshot(), &a, Signal::Logs));
    for (filter, chunks, files) in
        [("ingest_seq <= 2", 0, 1), ("ingest_seq > 1", 1, 0), ("ingest_seq = 3", 1, 0)]
    {
        let plan = format!("SELECT body FROM logs WHERE {filter}");
        let plan = context.state().create_logical_plan(&plan).await.unwrap();
        let physical = context.state().create_physical_plan(&plan).await.unwrap();
        let shown = displayable(physical.as_ref()).indent(false).to_string();
        assert!(shown.contains(&format!("chunks={chunks}")), "{filter}: {shown}");
        assert_eq!(shown.matches(".parquet").count(), files, "{filter}: {shown}");
    }
}
